"""A file that cannot be used is shown as broken; every other one works."""

import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from alpha_assets import project
from alpha_assets.definitions import defs

TINY = Path(__file__).parents[1] / "pipelines"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(TINY, tmp_path / "pipelines")
    monkeypatch.setenv("ALPHA_PIPELINES", str(tmp_path / "pipelines"))
    return tmp_path / "pipelines"


def text(words: str) -> Callable[[Path], None]:
    return lambda path: (path.write_text(words), None)[1]


def changed(of: str, old: str, new: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        before = (TINY / of).read_text()
        assert old in before
        path.write_text(before.replace(old, new))

    return write


FILES: list[tuple[str, Callable[[Path], None], str]] = [
    ("markets/half.toml", text('about = "x"\n[source'), "not a TOML file"),
    ("markets/deep.toml", text("a = " + "[" * 5000), "not a TOML file"),
    ("markets/bytes.toml", lambda path: (path.write_bytes(b"\xff\xfe\x00"), None)[1], "utf-8"),
    ("markets/folder.toml", lambda path: path.mkdir(), "cannot be read: Is a directory"),
    ("markets/empty.toml", text(""), "key 'about' is missing"),
    ("markets/Upper Case.toml", text(""), "a file is named by small letters"),
    ("markets/telaviv.toml", changed("markets/tiny.toml", "XTKS", "XTAE"), "cannot make"),
    ("markets/nowhere.toml", changed("markets/tiny.toml", "XTKS", "XXXX"), "is not known"),
    ("recipes/half.toml", text('markets = ["tiny"]\n[loss'), "not a TOML file"),
    ("recipes/raw.toml", changed("recipes/tiny.toml", "", ""), "cannot be called 'raw'"),
    ("recipes/typo.toml", changed("recipes/tiny.toml", "patience", "patients"), "patients"),
]


@pytest.fixture
def broken(folder: Path) -> Path:
    for name, write, _ in FILES:
        write(folder / name)
    far = changed("recipes/tiny.toml", '["tiny"]', '["tiny", "telaviv", "mars"]')
    far(folder / "recipes" / "far.toml")
    # Two files, one name: market tiny with recipe us_x is tiny_us_x, and so is tiny_us with x.
    changed("recipes/tiny.toml", "", "")(folder / "recipes" / "us_x.toml")
    changed("recipes/tiny_us.toml", "", "")(folder / "recipes" / "x.toml")
    return folder


def test_the_others_load_and_the_broken_ones_are_shown_with_their_errors(broken: Path) -> None:
    made = defs()
    assert isinstance(made, dg.Definitions)
    graph = made.resolve_asset_graph()
    shown = {
        "/".join(key.path[1:]): graph.get(key).description or ""
        for key in graph.get_all_asset_keys()
        if key.path[0] == "broken"
    }
    for name, _, words in FILES:
        of_file = name.removesuffix(".toml")
        assert any(words in error for key, error in shown.items() if key.startswith(of_file)), name
    assert "its market telaviv is broken" in shown["recipes/far/telaviv"]
    assert "there is no market 'mars'" in shown["recipes/far/mars"]
    assert "would share the name 'tiny_us_x'" in shown["recipes/x/tiny_us"]
    assert len(shown) == len(FILES) + 3
    assert set(made.metadata) == {f"broken/{key}" for key in shown}
    jobs = {job.name for job in made.resolve_all_job_defs()}
    whole = ("tiny_tiny", "tiny_tiny_feeds", "tiny_us_tiny_us", "tiny_far", "tiny_us_x")
    assert {f"{name}_{when}" for name in whole for when in ("day", "month")} <= jobs


def test_the_lists_name_the_broken_ones_too(broken: Path) -> None:
    markets = {row["market"]: row for row in project.markets()}
    recipes = {row["recipe"]: row for row in project.recipes()}
    assert markets["tiny"]["error"] is None
    assert recipes["tiny"]["error"] is None
    assert "there is no market 'mars'" not in recipes["tiny"]["digest"]
    assert recipes["far"]["model"] == "transformer"
    assert "XTAE" in recipes["far"]["error"] or "'mars'" in recipes["far"]["error"]
    for name, _, words in FILES:
        kind, file = name.split("/")
        row = (markets if kind == "markets" else recipes)[file.removesuffix(".toml")]
        assert words in row["error"], name


def test_where_all_is_well_nothing_is_said(folder: Path) -> None:
    assert not defs().metadata
    assert all("error" not in row for row in (*project.markets(), *project.recipes()))


def test_a_folder_without_membership_costs_the_universes_that_ask_for_it_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pipelines" / "markets").mkdir(parents=True)
    (tmp_path / "pipelines" / "recipes").mkdir()
    shutil.copy(TINY / "markets" / "tiny_us.toml", tmp_path / "pipelines" / "markets")
    of_tiny_us = "recipes/tiny_us.toml"
    changed(of_tiny_us, "", "")(tmp_path / "pipelines" / "recipes" / "indexed.toml")
    changed(of_tiny_us, '"traded"', '"all"')(tmp_path / "pipelines" / "recipes" / "whole.toml")
    (tmp_path / "DIR").mkdir()
    (tmp_path / "DIR" / "daily_bars.csv").write_text(
        "date,symbol,open,high,low,close,volume\n2020-01-02,A,1,1,1,1,1\n"
    )
    monkeypatch.setenv("ALPHA_PIPELINES", str(tmp_path / "pipelines"))
    monkeypatch.setenv("ALPHA_DATA", str(tmp_path / "DIR"))

    made = defs()
    why = "membership = true needs the feed 'membership', which this market does not have"
    assert set(made.metadata) == {"broken/recipes/indexed/tiny_us"}
    graph = made.resolve_asset_graph()
    off = graph.get(dg.AssetKey(["tiny_us", "cross_section", "traded"]))
    assert (off.is_materializable, off.group_name) == (False, "tiny_us_off")
    assert (off.description or "").startswith(f"**Off on market tiny_us:** {why}")
    for key in (["tiny_us", "cross_section", "all"], ["tiny_us", "whole", "checkpoint"]):
        assert graph.get(dg.AssetKey(key)).is_materializable
    refused = graph.get(dg.AssetKey(["broken", "recipes", "indexed", "tiny_us"]))
    assert why in (refused.description or "")
