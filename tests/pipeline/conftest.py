"""What tests of the pipeline share: the recipe `tiny` as it was run, to read or to damage."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import PIPELINES, linked


@pytest.fixture(scope="module")
def pipelines() -> Iterator[None]:
    """Markets and recipes are those of the tests while a module runs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        yield


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> Path:
    """A storage in which `tiny` decided two months; tests run verbs on it that change nothing."""
    return linked(tiny_run, tmp_path_factory.mktemp("built"))


@pytest.fixture
def storage(built: Path, tmp_path: Path) -> Path:
    """The same storage, its files shared until one is replaced."""
    return linked(built, tmp_path / "storage")
