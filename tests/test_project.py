"""The verbs in Python, on a market that trains in a second."""

import ast
import inspect
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from importlib import import_module
from pathlib import Path
from typing import Any, Unpack, get_type_hints

import numpy as np
import polars as pl
import pytest
from tests.conftest import edited, linked

import alpha_assets as aa
from alpha_assets import cli, project
from alpha_assets.calendar import as_date
from alpha_assets.config.market import load_market
from alpha_assets.errors import BadInput, MissingOutput, RangeError, SpecError, StaleOutput
from alpha_assets.pipeline import figures, train, windows
from alpha_assets.pipeline.checkpoint import stored_checkpoint
from alpha_assets.pipeline.report import command_again

FASTER = ("[training]", "[training]\nlearning_rate = 0.01")  # an edit of tiny.toml
PIPELINES = Path(__file__).parent / "pipelines"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, tiny_run: Path) -> str:
    """A storage in which `tiny` and `tiny_feeds` have been run."""
    folder = str(linked(tiny_run, tmp_path_factory.mktemp("storage")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        aa.run("tiny", storage=folder)
        aa.run("tiny_feeds", storage=folder, first_month="2021-05", last_month="2021-07")
    return folder


@pytest.fixture(autouse=True)
def _tiny_pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))


def test_every_verb_is_reached_from_the_package_and_none_imports_dagster(storage: str) -> None:
    code = f"""
import sys
import alpha_assets as aa
from alpha_assets import cli, project
print(all(callable(getattr(aa, v)) for v in aa.VERBS))
cli.main(["status", "--recipe", "tiny", "--storage", {storage!r}, "--json"], standalone_mode=False)
rooms = ("dagster", "alpha_assets.defs", "alpha_assets.definitions")
print([name for name in sys.modules if name.startswith(rooms)])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, *shown, last = done.stdout.strip().splitlines()
    assert first == "True"
    assert "panel" in {row["stage"] for row in json.loads("\n".join(shown))}
    assert last == "[]"


@pytest.mark.parametrize("name", ["audit", "report"])
def test_importing_a_room_called_as_a_verb_leaves_the_verb(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the import of a room does to its package, in whatever order they are imported.
    monkeypatch.setattr(aa, name, import_module(f"alpha_assets.{name}"))
    assert getattr(aa, name) is getattr(project, name)


def test_type_checkers_read_of_the_package_what_is_there() -> None:
    tree = ast.parse(Path(aa.__file__).with_suffix(".pyi").read_text())
    (verbs,) = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    (exported,) = [node for node in tree.body if isinstance(node, ast.Assign)]

    assert verbs.module == "alpha_assets.project"
    assert [alias.name for alias in verbs.names] == list(aa.VERBS)
    assert set(ast.literal_eval(exported.value)) == {*aa.VERBS, "__version__"}


def test_no_argument_of_a_verb_is_of_any_type() -> None:
    methods = [m for name, m in vars(aa.Project).items() if name[0] != "_" and callable(m)]
    for verb in [*(getattr(aa, name) for name in aa.VERBS), *methods]:
        hints = get_type_hints(verb)
        arguments = set(inspect.signature(verb).parameters) - {"self"}
        assert arguments <= set(hints), verb
        assert Any not in [hints[name] for name in arguments], verb


def test_the_keywords_of_open_are_defined_once_and_every_verb_takes_them() -> None:
    of_open = {"where": Unpack[project.Where]}
    without = {"Project", "catalog", "copy", "import_check", "init", "market_toml", "markets"}
    without |= {"recipe_toml", "recipes", "sql"}  # verbs of a market, a folder or a table

    for verb in [project.open_context, *(getattr(aa, name) for name in {*aa.VERBS} - without)]:
        hints = get_type_hints(verb)
        assert {"where": hints["where"]} == of_open, verb
        assert not set(hints) & set(project.Where.__annotations__), verb
    for name in project.Where.__annotations__:
        assert f"`{name}`, " in str(project.open.__doc__), name


@pytest.mark.parametrize("verb", [project.open_context, aa.open, aa.status, aa.run])
def test_an_unknown_keyword_is_refused_by_name(verb: Callable[..., object]) -> None:
    with pytest.raises(TypeError, match="'storge' is no keyword of a verb; want one of market, da"):
        verb("tiny", storge="elsewhere")


def test_methods_of_a_project_are_the_verbs(storage: str) -> None:
    opened = aa.open("tiny", storage=storage)

    assert repr(opened) == f"<tiny on tiny in {storage}>"
    assert opened.results() == aa.results("tiny", storage=storage)
    assert opened.status() == aa.status("tiny", storage=storage)
    decided = opened.predict("2021-08-17")
    assert decided == aa.predict("tiny", storage=storage, asof="2021-08-17")
    symbol = decided["rows"][0]["symbol"]
    explained = opened.why(symbol, "2021-08-17", brief=True)
    assert explained == aa.why(symbol, "2021-08-17", "tiny", brief=True, storage=storage)


def test_stored_rows_are_frames_of_what_is_fresh(storage: str) -> None:
    opened = aa.open("tiny", storage=storage)
    query = "select * from tiny_predictions where session >= '2021-08-01' order by all"
    asked = pl.DataFrame(aa.sql(query, market="tiny", storage=storage))

    scores = opened.predictions("2021-08", "2021-08").collect()

    names = ["session", "symbol", "horizon", "score"]
    assert scores.select(names).sort(names).rows() == asked.select(names).sort(names).rows()
    panel, features = opened.panel("2021-08").collect(), opened.features("2021-08").collect()
    assert panel.select("session", "symbol").equals(features.select("session", "symbol"))

    with pytest.raises(RangeError, match="'2021/08' is not a month"):
        opened.panel("2021/08")
    other = aa.open("tiny", storage=storage, overrides=["optimiser.learning_rate=0.01"])
    assert other.panel("2021-08").collect().equals(panel)  # no recipe changes the market's
    with pytest.raises(MissingOutput, match=r"tiny@\w{12}/predictions has no month"):
        other.predictions()  # a variant has its own
    moved = aa.open("tiny", storage=storage, overrides=["market.max_stale=7"])
    with pytest.raises(StaleOutput, match=r"predictions/month=2021-\d\d was made by digest \w{12}"):
        moved.predictions()


def test_rows_that_were_not_made_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingOutput, match="tiny/panel has no month from the start to the end"):
        aa.open("tiny", storage=str(tmp_path)).panel()


def test_a_project_asks_its_source_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    opened = aa.open("tiny", storage=str(tmp_path))
    before = {row["stage"]: row["why"] for row in opened.status()}
    source = type(opened.context.market.source)
    offered = opened.context.market.source.feeds()
    refused = tuple(name for name in offered if name != "margin")
    monkeypatch.setattr(source, "feeds", lambda self: refused)

    after = {row["stage"]: row["why"] for row in opened.status()}

    assert not before["raw/margin"].startswith("off: ")
    assert after["raw/margin"].startswith("off: the source does not have it")


def test_a_run_ends_in_figures_and_a_page(storage: str) -> None:
    found = aa.results("tiny", storage=storage)

    assert "SIMULATED DATA" in found["title"]
    assert Path(found["report"]).read_text().startswith("<!doctype html>")
    assert {"Sharpe, net", "Sharpe, gross"} <= set(found["figures"])
    assert found["metrics"]["signal"]["h5"]["rank_ic"]["n_sessions"] > 20


def test_months_asked_for_without_a_model_are_named_and_count_in_no_figure(storage: str) -> None:
    found = aa.results("tiny_feeds", storage=storage)
    span, net = found["metrics"]["span"], found["metrics"]["portfolio"]["net"]
    assert (span["asked_first_month"], span["asked_last_month"]) == ("2021-05", "2021-07")
    assert (span["first_session"], span["n_sessions"]) == ("2021-07-01", 20)
    assert net["n_sessions"] == 20
    (left_out,) = span["undecided"]
    assert (left_out["first_session"], left_out["last_session"]) == ("2021-05-06", "2021-06-30")
    assert left_out["n_sessions"] == span["n_sessions_undecided"] == 40
    assert left_out["why"] == (
        "too little history for a model, the first month with enough is 2021-07"
    )
    assert "without 40 sessions that nothing decided" in found["title"]
    page = Path(found["report"]).read_text()
    assert "2021-05-06 to 2021-06-30 (40 sessions) was asked for and not decided" in page
    daily = aa.sql("select * from tiny_feeds_daily", market="tiny", storage=storage)
    assert len(daily) == 20  # the books open with the first decision


def test_scaled_returns_are_what_a_recipe_of_that_kind_is_trained_on(storage: str) -> None:
    context = project.open_context("tiny_feeds", storage=storage)
    split = windows.split_of(context, "2021-07", windows.first_usable(context))
    data = train.training_data(context, split)
    panel = context.panel.read().sort("symbol", "session").collect()
    level = (pl.col("close") / pl.col("cum_factor")).log()
    moves = panel.select("session", "symbol", move=level.diff().over("symbol"))
    n_compared = 0
    for d, day in enumerate(data.axes.sessions):
        before = moves.filter(pl.col("session") <= as_date(day)).group_by("symbol").tail(60)
        sizes = before.group_by("symbol").agg(pl.col("move").std(), n=pl.col("move").count())
        for symbol, deviation, _ in sizes.filter(pl.col("n") == 60).rows():
            place = data.axes.symbols.index(symbol) if symbol in data.axes.symbols else None
            if place is None or not data.mask_DN[d, place]:
                continue
            wanted = data.return_DNH[d, place] / deviation
            np.testing.assert_allclose(data.target_DNH[d, place], wanted, rtol=1e-4)
            n_compared += 1
    assert n_compared > 100
    inputs = context.checkpoint("2021-07").manifest()
    assert inputs is not None
    assert [name for name in inputs.inputs if name.startswith("features")] == [
        "features/volatility"
    ]


def test_a_best_epoch_that_is_the_last_is_in_card_manifest_and_page(storage: str) -> None:
    context = project.open_context("tiny", storage=storage)
    marked = 0
    for month in context.checkpoints.months():
        manifest = context.checkpoint(month).manifest()
        card = stored_checkpoint(context.checkpoint(month)).card
        assert manifest is not None
        (seed,) = card.seeds
        is_last = seed.best_epoch == len(seed.losses)
        assert any("the best epoch is the last" in line for line in seed.warnings) == is_last
        assert manifest.extra["unfinished_seeds"] == int(is_last)
        marked += is_last
    page = Path(aa.results("tiny", storage=storage)["report"]).read_text()
    assert page.count("the best epoch is the last: raise training.max_epochs") == marked


@pytest.mark.parametrize("reads_files", [False, True])
def test_command_of_the_page_is_the_run_again(tmp_path: Path, reads_files: bool) -> None:
    recipe, overrides = "tiny", ["market.sim.n_symbols=25", "market.signal=0"]
    where: dict[str, Any] = {"storage": str(tmp_path / "of mine")}
    if reads_files:
        recipe, overrides = "tiny_us", ["market.max_stale=7"]
        where["data"] = tmp_path / "the data"
        where["data"].mkdir()
        bar = {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0}
        day = {"date": date(2011, 8, 1), "symbol": "A"}
        pl.DataFrame([day | bar]).write_parquet(where["data"] / "daily_bars.parquet")
        member = {"symbol": "A", "start": date(2011, 8, 1), "end": None}
        spells = pl.DataFrame([member], schema_overrides={"end": pl.Date})
        spells.write_parquet(where["data"] / "membership.parquet")
    overrides += ["portfolio.quantile=0.3", "training.seeds=[3]", "about='a b'"]
    context = project.open_context(recipe, overrides=overrides, **where)
    command = command_again(context, {"asked_first_month": "2021-07"})
    program, verb, *arguments = shlex.split(command)
    assert (program, verb) == ("alpha-assets", "run")
    asked = cli.run.make_context("run", arguments).params
    months = asked.pop("first_month"), asked.pop("last_month")
    assert months == ("2021-07", None)
    asked.pop("as_json")
    asked.pop("workers")
    followed = project.open_context(**asked)
    assert followed.recipe.digest == context.recipe.digest
    assert followed.market.data_digest == context.market.data_digest
    assert followed.backtest.address == context.backtest.address
    facts = figures.facts(context, "")
    assert facts.overrides == tuple(overrides)
    assert facts.data_folder == (str(where["data"]) if reads_files else None)
    assert followed.recipe.digest != project.open_context(recipe, **where).recipe.digest


def test_a_second_run_does_nothing_again(storage: str) -> None:
    before = {path: path.stat().st_mtime_ns for path in Path(storage).rglob("manifest.json")}
    said: list[str] = []

    aa.run("tiny", storage=storage, progress=lambda stage, what: said.append(stage))

    after = {path: path.stat().st_mtime_ns for path in Path(storage).rglob("manifest.json")}
    made_again = {path for path in after if after[path] != before.get(path)}
    assert {path.parent.name for path in made_again} <= {"report"}
    assert set(said) <= {"raw", "report"}


@pytest.mark.parametrize("recipe", ["tiny", "tiny_feeds"])
def test_predict_equals_the_backtest(storage: str, recipe: str) -> None:
    query = f"select session, symbol, horizon, score from {recipe}_predictions order by all"
    stored = {
        (r["session"], r["symbol"], r["horizon"]): r["score"]
        for r in aa.sql(query, market="tiny", storage=storage)
    }
    session = sorted({key[0] for key in stored})[7]

    decided = aa.predict(recipe, storage=storage, asof=session.isoformat())

    assert decided["rows"]
    for row in decided["rows"]:
        assert stored[row["session"], row["symbol"], row["horizon"]] == row["score"]


def test_predict_decides_the_next_session_by_default(storage: str) -> None:
    decided = aa.predict("tiny", storage=storage, train=True)
    assert decided["session"] == "2021-09-01"  # the bars end on 2021-08-31
    assert decided["model_month"] == "2021-09"


def test_status_names_what_is_there_and_what_is_stale(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = {row["stage"]: row for row in aa.status("tiny", storage=storage)}
    assert fresh["panel"]["to do"] == 0
    assert fresh["raw/membership"]["why"].startswith("off: ")

    monkeypatch.setenv("ALPHA_PIPELINES", edited(tmp_path / "pipelines", "tiny", *FASTER))
    changed = aa.status("tiny", storage=storage)
    stale = {row["stage"]: row for row in changed}
    assert stale["tiny/predictions"]["to do"] > 0
    assert "digest" in stale["tiny/predictions"]["why"]
    assert stale["tiny/checkpoint"]["to do"] == stale["tiny/checkpoint"]["made"]
    assert stale["panel"]["to do"] == 0


def test_status_shows_models_and_those_whose_inputs_changed(storage: str, tmp_path: Path) -> None:
    shutil.copytree(storage, tmp_path / "copy")
    copy = str(tmp_path / "copy")
    (of_models,) = [r for r in aa.status("tiny", storage=copy) if r["stage"] == "tiny/checkpoint"]
    assert (of_models["first"], of_models["to do"], of_models["why"]) == ("2021-07", 0, "")
    assert of_models["made"] >= 2

    shutil.rmtree(tmp_path / "copy" / "tiny" / "panel" / "month=2021-06")

    (of_models,) = [r for r in aa.status("tiny", storage=copy) if r["stage"] == "tiny/checkpoint"]
    assert of_models["to do"] == of_models["made"]
    assert of_models["why"] == (
        "2021-07: its input cross_section/traded/liquidity is to be made again"
    )


def test_months_are_read_before_any_row_is(storage: str) -> None:
    said: list[str] = []
    for verb in (aa.run, aa.audit):
        with pytest.raises(RangeError, match="'2021/07' is not a month; want YYYY-MM"):
            verb(
                "tiny",
                storage=storage,
                last_month="2021/07",
                progress=lambda stage, what: said.append(stage),
            )
    assert said == []


def test_an_edit_of_a_recipe_makes_what_is_stored_stale_by_name(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", edited(tmp_path / "pipelines", "tiny", *FASTER))
    with pytest.raises(BadInput, match=r"was made by digest \w{12}, this is \w{12}"):
        aa.results("tiny", storage=storage)


def test_an_override_asks_for_a_variant_that_lies_beside_the_recipe(storage: str) -> None:
    with pytest.raises(
        MissingOutput, match=r"tiny/tiny@\w{12}/backtest has not been made; .*--set"
    ):
        aa.results("tiny", storage=storage, overrides=["optimiser.learning_rate=0.01"])


def test_raw_rows_of_two_sources_are_not_mixed(storage: str) -> None:
    with pytest.raises(BadInput, match=r"raw rows of two sources are not mixed: choose another"):
        aa.run("tiny", storage=storage, overrides=["market.signal=0"])


@pytest.mark.parametrize(
    ("asked", "error", "words"),
    [
        (
            {"recipe": "tinny"},
            SpecError,
            "there is no recipe 'tinny' in pipelines/recipes; did you mean tiny. want one of",
        ),
        (
            {"recipe": "tin\u0443"},
            SpecError,
            r"'tin\u0443' \(with U\+0443 CYRILLIC SMALL LETTER U\)",
        ),
        ({"size": ""}, SpecError, "--size '' names no size; leave it out for the recipe's own"),
        ({"market": "mars"}, SpecError, "there is no market 'mars' in pipelines/markets; want"),
        ({"overrides": ["training.epochs=3"]}, SpecError, "unknown key 'training.epochs'"),
        ({"overrides": ["window.sequence=0"]}, SpecError, r"window.sequence = 0: .*greater"),
        ({"overrides": ["portfolio.horizon=7"]}, SpecError, "portfolio.horizon = 7 is not predict"),
        ({"overrides": ["universe.name=best"]}, SpecError, "has no universe 'best'; want one of"),
        ({"overrides": ["features.names=['ret_9']"]}, SpecError, "there is no 'ret_9'"),
        (
            {"overrides": ["window.sequence=100000"]},
            RangeError,
            r"no month of the calendar, which ends at .*: split.valid_sessions = 15, a label of 5 "
            r"sessions behind each span, window.sequence = 100000 make 100025 sessions; want less "
            "of what asks for most, window.sequence = 100000, or bring more history",
        ),
        (
            {"overrides": ["window.sequence=150"]},
            RangeError,
            r"no month up to 2021-08 has a full training window; the first one is 2021-1.: .*most, "
            "window.sequence = 150, or bring",
        ),
        (
            {"overrides": ["split.embargo_sessions=1000000"]},
            RangeError,
            "of what asks for most, split.embargo_sessions = 1000000, or",
        ),
        ({"first_month": "2021-7"}, RangeError, "'2021-7' is not a month"),
        ({"first_month": "2021-13"}, RangeError, "'2021-13' is not a month"),
        ({"first_month": "2021-08", "last_month": "2021-07"}, RangeError, "before first month"),
        ({"last_month": "2031-01"}, RangeError, "month 2031-01 has no bars"),
        ({"first_month": "2031-01"}, RangeError, "month 2031-01 has no bars"),
        ({"last_month": "2021-02"}, RangeError, "the first one is 2021-07"),
        (
            {"first_month": "2021-02", "last_month": "2021-03"},
            RangeError,
            "month 2021-03 has too little history",
        ),
        ({"data": Path("/nowhere")}, SpecError, "--data /nowhere: there is no such folder"),
        ({"data": "s3://rows"}, SpecError, "this is a URL; raw rows are read from a folder"),
        ({"device": "abacus"}, BadInput, "--device abacus"),
        ({"storage": "ftp://bucket"}, BadInput, "ftp"),
    ],
)
def test_bad_input_is_named(
    storage: str, asked: dict[str, object], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        aa.run(**{"recipe": "tiny", "storage": storage, **asked})


@pytest.mark.parametrize(
    ("asof", "words"),
    [
        ("2021-07-22", "2021-07-22 is no session of XTKS; the next one is 2021-07-26"),
        ("soon", "'soon' is not a date; want YYYY-MM-DD"),
        ("2021-09-02", "cannot be decided yet: stored bars reach the decision of 2021-09-01"),
    ],
)
def test_a_session_that_cannot_be_decided_is_named(storage: str, asof: str, words: str) -> None:
    with pytest.raises(RangeError, match=words):
        aa.predict("tiny", storage=storage, asof=asof)


def test_predict_without_a_model_names_the_command_that_makes_it(storage: str) -> None:
    with pytest.raises(
        MissingOutput, match=r"alpha-assets predict --recipe tiny --market tiny .*--train"
    ):
        aa.predict("tiny", storage=storage, asof="2021-03-03")


def test_a_query_that_is_wrong_lists_the_tables(storage: str) -> None:
    with pytest.raises(BadInput, match=r"tables: .*panel"):
        aa.sql("select * from nothing", market="tiny", storage=storage)


def test_a_folder_is_checked_with_the_market_s_publication_times(tmp_path: Path) -> None:
    calendar = load_market("tiny_us").calendar
    ahead = as_date(calendar.sessions[-3])  # years from now
    bars = {name: [10.0] for name in ("open", "high", "low", "close", "volume")}
    table = pl.DataFrame({"date": [ahead], "symbol": ["A"], **bars})
    table.write_parquet(tmp_path / "daily_bars.parquet")

    early = aa.import_check(tmp_path, market="tiny_us")["warnings"]

    # The market's file says 18:00; the feed's usual time is 16:30.
    public = datetime.combine(ahead, time(18), tzinfo=calendar.zone).astimezone(UTC)
    assert [w["rule"] for w in early] == ["not_public_yet"]
    assert f"available_at = {public:%Y-%m-%d %H:%M}" in early[0]["examples"][0]["value"]


def test_a_folder_is_checked_with_the_market_s_calendar_and_exit_words(tmp_path: Path) -> None:
    bars = {name: [10.0] for name in ("open", "high", "low", "close", "volume")}
    day = {"date": [date(2020, 1, 2)], "symbol": ["A"]}
    pl.DataFrame({**day, **bars}).write_parquet(tmp_path / "daily_bars.parquet")
    listed = {"symbol": ["A"], "sector": ["T"], "exit": ["active_at_cut"]}
    pl.DataFrame(listed).write_parquet(tmp_path / "listings.parquet")

    ours = aa.import_check(tmp_path, market="tiny_us")
    assert (ours["errors"], ours["rows"]) == ([], {"daily_bars": 1, "listings": 1})

    # Tokyo is closed on 2 January, and the market maps no words.
    other = aa.import_check(tmp_path, market="tiny")
    assert {e["rule"] for e in other["errors"]} == {"outside_calendar", "unknown_exit"}
    assert "an import would stop" in other["text"]
