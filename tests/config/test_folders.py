"""Where markets and recipes are found: a variable, the project around, what ships."""

from pathlib import Path

import pytest

from alpha_assets.config import folders
from alpha_assets.config.folders import names, pipelines_folder, project_folder, write_project
from alpha_assets.errors import SpecError


@pytest.fixture(autouse=True)
def _no_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALPHA_PIPELINES", raising=False)


def test_a_project_is_found_from_every_folder_below_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_project(tmp_path / "mine")
    of_dagster = {"dagster.yaml", "dagster.postgres.yaml", "workspace.yaml"}
    assert {path.name for path in written} >= {*of_dagster, "sim.toml"}
    (tmp_path / "mine" / "pipelines" / "recipes" / "my_own.toml").write_text("about = 'x'\n")
    below = tmp_path / "mine" / "notebooks" / "deep"
    below.mkdir(parents=True)
    for here in (tmp_path / "mine", below):
        monkeypatch.chdir(here)
        assert project_folder() == tmp_path / "mine"
        assert "my_own" in names("recipes")
        assert "sim" in names("markets")


def test_outside_of_a_project_what_ships_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert project_folder() is None
    assert "rolling_transformer" in names("recipes")


def test_a_wheel_finds_what_it_carries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "site-packages" / "alpha_assets" / "shipped"
    write_project(inside)
    monkeypatch.setattr(folders, "SHIPPED", (inside, tmp_path))
    monkeypatch.chdir(tmp_path)
    assert pipelines_folder() == inside / "pipelines"
    write_project(tmp_path / "mine")
    assert (tmp_path / "mine" / "dagster.yaml").read_bytes() == (
        inside / "dagster.yaml"
    ).read_bytes()


def test_the_variable_comes_first_and_must_name_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_project(tmp_path / "mine")
    monkeypatch.setenv("ALPHA_PIPELINES", str(tmp_path / "mine" / "pipelines"))
    assert pipelines_folder() == tmp_path / "mine" / "pipelines"
    monkeypatch.setenv("ALPHA_PIPELINES", str(tmp_path / "absent"))
    with pytest.raises(SpecError, match="there is no such folder; set it to the one that holds"):
        pipelines_folder()


def test_a_project_is_never_written_over(tmp_path: Path) -> None:
    write_project(tmp_path)
    (tmp_path / "dagster.yaml").write_text("mine: true\n")
    with pytest.raises(SpecError, match=r"holds dagster\.yaml already"):
        write_project(tmp_path)
    assert (tmp_path / "dagster.yaml").read_text() == "mine: true\n"
    with pytest.raises(SpecError, match="cannot be written"):
        write_project(tmp_path / "dagster.yaml" / "below")
