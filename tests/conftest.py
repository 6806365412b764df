"""What every test may rely on: one thread, no network, and the real data where it is."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real market data beside the checkout."""
    folder = SHARED / "data"
    if not folder.is_dir():
        pytest.skip("real market data is not beside this checkout (../shared/data)")
    return folder
