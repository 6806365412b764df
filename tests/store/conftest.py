"""What the tests of the store share: a store of their own, and what a maker says of a folder."""

from pathlib import Path

import pytest

from alpha_assets.store import ManifestInput, Store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store."""
    return Store(str(tmp_path / "storage"))


@pytest.fixture
def made() -> ManifestInput:
    """What the maker of a folder says of it."""
    return ManifestInput(digest="0123456789ab", inputs={"panel": "abc"})
