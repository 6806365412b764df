"""The command line: what it prints, and the exit codes 0 ok, 1 failed check, 2 bad input."""

import inspect
import json
import os
import re
import runpy
import sys
import tomllib
from datetime import date
from pathlib import Path
from typing import Any, Unpack, get_type_hints

import pytest
from click.testing import CliRunner, Result

from alpha_assets import cli, project
from alpha_assets.cli import demo_environment, follow, main, prediction, serving
from alpha_assets.config.market import load_market
from alpha_assets.errors import BadInput, CheckFailed, DegenerateModel, LockHeld, SpecError
from alpha_assets.sources.jquants import JQuantsSpec

HERE = Path(__file__).parent
PIPELINES = HERE / "pipelines"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"ALPHA_PIPELINES": str(PIPELINES)})


def test_help_lists_every_verb_with_a_sentence() -> None:
    shown = call("--help")
    assert shown.exit_code == 0
    verbs = (
        "run",
        "study",
        "predict",
        "audit",
        "report",
        "results",
        "compare",
        "components",
        "copy",
        "importance",
        "restamp",
        "status",
        "why",
        "demo",
        "import-check",
        "sql",
        "markets",
        "recipes",
        "features",
        "init",
        "ui",
        "serve-sim-jquants",
    )
    assert set(verbs) == set(main.commands)
    for verb in verbs:
        assert re.search(rf"^  {verb} +[A-Z].+", shown.output, re.MULTILINE), verb


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_option_is_an_argument_with_a_type(name: str) -> None:
    command = main.commands[name]
    assert command.callback is not None
    hints = get_type_hints(command.callback)
    arguments = set(inspect.signature(command.callback).parameters)

    assert arguments <= set(hints)
    assert Any not in hints.values()
    if "where" in arguments:
        assert hints["where"] == Unpack[project.Where]
        arguments |= set(project.Where.__annotations__)
    asked = {option.name for option in command.params}
    assert asked <= arguments
    assert arguments - asked <= {"where", *project.Where.__annotations__}


@pytest.mark.parametrize(
    ("verb", "market"), [("serve-sim-jquants", "sim"), ("sql", "sim"), ("import-check", "us")]
)
def test_a_verb_without_a_recipe_says_which_market_it_takes(verb: str, market: str) -> None:
    shown = " ".join(call(verb, "--help").output.split())
    assert f"[default: {market}]" in shown
    assert "recipe" not in shown


def test_an_unknown_feature_gets_the_nearest_names_and_where_the_rest_is() -> None:
    shown = call("status", "--recipe", "tiny", "--set", 'features.names=["ret_51"]')
    assert shown.exit_code == 2
    assert "there is no 'ret_51'; did you mean ret_5, " in shown.output
    assert "docs/FEATURES.md lists all " in shown.output
    assert len(shown.output) < 200

    shown = call("status", "--recipe", "tiny", "--set", 'features.families=["priec"]')
    assert "there is no 'priec'; want some of price, trend, " in shown.output


def test_what_a_local_server_says_to_run_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ALPHA_PIPELINES", raising=False)
    monkeypatch.setenv("JQUANTS_API_KEY", "mine")
    said = serving("http://127.0.0.1:9/v2", "mine", "light", date(2022, 7, 1), date(2022, 8, 31))
    assert "export JQUANTS_API_KEY=mine" in said
    assert "at most 55 requests a minute on the plan light" in said

    words = said.splitlines()[-1].split()
    assert words[:4] == ["alpha-assets", "run", "--market", "jp"]
    market = load_market(
        "jp", overrides=[w.removeprefix("market.") for w in words if w.startswith("market.")]
    )
    source = market.spec.source
    assert isinstance(source, JQuantsSpec)
    assert (source.plan, source.first, source.last) == (
        "light",
        date(2022, 7, 1),
        date(2022, 8, 31),
    )
    assert market.feeds_off["margin"].startswith("not entitled")


def test_markets_and_recipes_are_listed_for_people_and_for_programs() -> None:
    assert "tiny" in call("markets").output
    listed = json.loads(call("recipes", "--json").output)
    assert [row["recipe"] for row in listed if row["recipe"] == "tiny"] == ["tiny"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--recipe", "nothing"], "error: there is no recipe 'nothing'"),
        (["run", "--recipe", "tiny", "--set", "model.width=3"], "unknown key 'model"),
        (["run", "--recipe", "tiny", "--first-month", "July"], "'July' is not a month"),
        (["status", "--recipe", "tiny", "--market", "mars"], "there is no market 'mars'"),
        (
            ["run", "--recipe", "tiny", "--workers", "0"],
            "--workers '0' is no number of workers; wa",
        ),
        (["run", "--recipe", "tiny", "--device", "gpu"], "here trains on one; want cpu, cuda or"),
        (["import-check", "/nowhere", "--market", "tiny_us"], "/nowhere: there is no such folder"),
        (
            ["import-check", __file__, "--market", "tiny_us"],
            f"this is a file; name the folder that it lies in, {HERE}",
        ),
        (["run", "--recipe", "tiny", "--data", __file__], f"{__file__}: this is a file; name the"),
        (["run", "--recipe", "tiny", "--data", ""], "'--data': '' names no folder; '.' is this"),
        (["import-check", " "], "' ' names no folder"),
        (["sql", "select 1", "--market", "tiny"], "does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmp_path: Path, arguments: list[str], words: str
) -> None:
    storage = [] if arguments[0] == "import-check" else ["--storage", str(tmp_path)]
    shown = call(*arguments, *storage)
    assert shown.exit_code == 2, shown.output
    assert words in shown.output
    assert "Traceback" not in shown.output


@pytest.mark.parametrize(
    "arguments",
    [
        ["demo"],
        ["ui"],
        ["run", "--recipe", "tiny"],
        ["status", "--recipe", "tiny"],
        ["sql", "select 1", "--market", "tiny"],
    ],
    ids=lambda words: words[0],
)
@pytest.mark.parametrize("storage", [__file__, f"{__file__}/below"])
def test_a_storage_that_is_a_file_is_refused(arguments: list[str], storage: str) -> None:
    shown = call(*arguments, "--storage", storage)
    assert shown.exit_code == 2, shown.output
    assert f"error: storage = '{storage}': {__file__} is no folder; want one" in shown.output


def test_an_empty_storage_is_no_default() -> None:
    for verb in (["status", "--recipe", "tiny"], ["sql", "select 1"]):
        shown = call(*verb, "--storage", "")
        assert (shown.exit_code, "want a folder, such as 'storage'" in shown.output) == (2, True)


@pytest.mark.parametrize("arguments", [["frobnicate"], ["run", "--frob"], ["audit", "--cuts", "x"]])
def test_an_unknown_word_is_exit_code_2_and_says_where_help_is(arguments: list[str]) -> None:
    shown = call(*arguments)
    assert shown.exit_code == 2
    assert "Usage:" in shown.output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (CheckFailed("the equity is used up"), 1),
        (DegenerateModel("layer head is dead"), 1),
        (LockHeld("held by process 7"), 2),
    ],
)
def test_a_no_is_exit_code_1_and_a_refusal_is_2(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    def fail(*asked: object, workers: str) -> None:
        raise error

    monkeypatch.setattr(project.Project, "run", fail)
    shown = call("run", "--recipe", "tiny")
    assert shown.exit_code == code
    assert f"error: {error}" in shown.output


def test_a_failed_certificate_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = {"passed": False, "text": "certificate: FAILED"}
    monkeypatch.setattr(project.Project, "audit", lambda *_, **asked: certificate)
    shown = call("audit", "--recipe", "tiny")
    assert shown.exit_code == 1
    assert "FAILED" in shown.output


def test_a_market_and_a_recipe_are_printed_as_toml() -> None:
    shown = call("recipes", "tiny")
    assert shown.exit_code == 0
    assert tomllib.loads(shown.output)["training"]["patience"] >= 1
    assert "commission_bps" in shown.output  # the market's, filled in
    assert json.loads(call("markets", "tiny", "--json").output)["source"]["kind"] == "sim"
    missing = call("markets", "nowhere")
    assert missing.exit_code == 2
    assert "want one of tiny" in missing.output


def test_the_catalogue_is_listed_for_people_and_for_programs() -> None:
    rows = json.loads(call("features", "--market", "tiny", "--json").output)
    by_name = {row["feature"]: row for row in rows}
    assert by_name["ret_5"]["family"] == "price"
    assert by_name["ret_5"]["missing"] is None
    assert all(row["meaning"] and row["source"] for row in rows)
    assert "ret_5" in call("features", "--market", "tiny").output


def test_a_table_shows_control_characters_and_does_not_print_them() -> None:
    shown = cli.table([{"symbol": "A\x1b[31m", "name": "x" * 1_000_000}])
    assert all(line.isprintable() for line in shown.splitlines())
    assert ("A\\x1b[31m" in shown, len(shown) < 10_000) == (True, True)


LOG = """\
run 1 of 2 starts: 2 assets
2026-11-28 16:54:01 +0000 - dagster - DEBUG - __ASSET_JOB - 5441 - 20461 - RUN_START - Started.
2026-11-28 16:54:02 +0000 - dagster - INFO - __ASSET_JOB - 5441 - sim__panel - panel: 2021-01
2026-11-28 16:54:05 +0000 - dagster - DEBUG - __ASSET_JOB - 5441 - 20461 - sim__panel - \
ASSET_MATERIALIZATION - Materialized value sim panel.
2026-11-28 16:54:05 +0000 - dagster - DEBUG - __ASSET_JOB - 5441 - 20461 - sim__panel - \
ASSET_MATERIALIZATION - Materialized value sim panel.
Traceback: something
"""


def test_a_prediction_is_shown_to_four_decimals() -> None:
    rows = [{"symbol": "A", "score": -2.784102439880371, "target_weight": None, "horizon": 10}]
    shown = prediction({"title": "one session", "notes": ["a note"], "rows": rows})
    assert shown.splitlines()[:2] == ["one session", "a note"]
    assert shown.splitlines()[-1].split() == ["A", "-2.7841", "10"]


def test_the_demo_reports_what_its_dagster_run_logs_and_keeps_the_log() -> None:
    lines: list[str] = []
    log = follow(LOG.splitlines(keepends=True), lambda stage, what: lines.append(stage + what))
    starts = "dagsterrun 1 of 2 starts: 2 assets"
    assert lines == [starts, "panel2021-01", "dagsterassets: 1 of 2"]  # each asset once, no rate
    assert log == LOG


def test_the_demo_has_a_dagster_home_without_telemetry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    environment = demo_environment(str(tmp_path / "st"))
    home = Path(environment["DAGSTER_HOME"])
    assert home == tmp_path / "st" / "_dagster"
    assert "telemetry:\n  enabled: false" in (home / "dagster.yaml").read_text()
    assert environment["ALPHA_STORAGE"] == str(tmp_path / "st")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))  # a home of the user's, without a file
    assert demo_environment(str(tmp_path / "st"))["DAGSTER_DISABLE_TELEMETRY"] == "yes"


def test_a_demo_in_a_storage_that_is_no_folder_is_refused_and_makes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for url in ("s3://bucket/x", "GS://bucket"):
        with pytest.raises(BadInput, match=f"storage = '{url}': demo and ui .* want a folder"):
            demo_environment(url)
    with pytest.raises(SpecError, match="'ftp' storage is not supported"):
        demo_environment("ftp://host/x")
    assert list(tmp_path.iterdir()) == []
    named = demo_environment(f"file://localhost{tmp_path}/my%20storage")["ALPHA_STORAGE"]
    assert named == str(tmp_path / "my storage")


def started(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment that `ui` hands over to."""
    handed: list[tuple[list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _, *with_what: handed.append(with_what))
    for name in ("ALPHA_PIPELINES", "DAGSTER_HOME", "ALPHA_DAGSTER_DIR", "ALPHA_STORAGE"):
        monkeypatch.delenv(name, raising=False)
    shown = CliRunner().invoke(main, ["ui", *arguments])
    assert shown.exit_code == 0, shown.output
    return handed[0]


def test_the_ui_works_in_a_project_folder_and_with_a_storage_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.init(tmp_path / "mine")
    (tmp_path / "mine" / "notes").mkdir()
    monkeypatch.chdir(tmp_path / "mine" / "notes")
    command, environment = started(monkeypatch, "--storage", str(tmp_path / "st"), "--port", "3210")
    workspace = str(tmp_path / "mine" / "workspace.yaml")
    module = [sys.executable, "-W", "ignore", "-m", "alpha_assets.defs.launch"]
    assert command == [*module, "dev", "-w", workspace, "-h", "127.0.0.1", "-p", "3210"]
    # `defs.launch` leaves this folder, from which the project would be found.
    assert environment["ALPHA_PIPELINES"] == str(tmp_path / "mine" / "pipelines")
    assert environment["ALPHA_STORAGE"] == str(tmp_path / "st")
    assert environment["DAGSTER_HOME"] == str(tmp_path / "st" / "_dagster")
    made = Path(environment["DAGSTER_HOME"]) / "dagster.yaml"
    assert "telemetry:\n  enabled: false" in made.read_text()


def test_the_ui_works_without_a_project_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command, environment = started(monkeypatch)
    assert Path(command[command.index("-w") + 1]).is_file()
    assert Path(environment["ALPHA_PIPELINES"], "markets", "sim.toml").is_file()
    assert environment["ALPHA_STORAGE"] == str(tmp_path / "storage")


@pytest.mark.parametrize("width", [None, 40, 60, 500])
def test_a_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch, width: int | None) -> None:
    monkeypatch.setattr(cli, "screen_width", lambda: width)
    row = {"stage": "tiny/checkpoint", "to do": 3, "why": "its input has changed since " * 4}
    lines = cli.table([row]).splitlines()
    longest = max(len(line) for line in lines)
    if width is None or width == 500:
        assert "…" not in lines[2]
    else:
        assert longest <= width
        assert lines[2].startswith("tiny/checkpoint")
        assert lines[2].endswith("…")


@pytest.mark.parametrize("module", ["alpha_assets", "alpha_assets.cli"])
@pytest.mark.filterwarnings("ignore:.*found in sys.modules")
def test_the_package_runs_as_a_module(
    module: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["alpha-assets", "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(module, run_name="__main__")
    assert stopped.value.code == 0
    assert "import-check" in capsys.readouterr().out
