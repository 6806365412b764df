"""A prediction explained: everything that was used, nothing that was not, and all of it again."""

import copy
import json
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import CliRunner, Result
from tests.conftest import linked

import alpha_assets as aa
from alpha_assets import project
from alpha_assets.audit import why
from alpha_assets.audit.not_found import why_not
from alpha_assets.audit.recompute import disagreements, recomputed
from alpha_assets.audit.serialize import packed_array, packed_table, unpacked_array, unpacked_table
from alpha_assets.audit.why import explain
from alpha_assets.cli import main
from alpha_assets.errors import BadInput, MissingOutput, RangeError
from alpha_assets.features import CATALOG
from alpha_assets.pipeline import predictions as stage_of_scores
from alpha_assets.pipeline import windows
from alpha_assets.pipeline.context import RecipeContext

PIPELINES = Path(__file__).parents[1] / "pipelines"
# Of a symbol, across symbols, on the graph, of a sector, the market, a section; and products.
FEATURES = [
    *("ret_1", "ret_5", "rev_5", "turn_z", "beta_60", "sec_ret_5", "graph_degree"),
    *("sector_short_ratio", "ss_ratio", "flow_frgn_net", "margin_ls_ratio"),
    *("x_rev_5__turn_z", "x_beta_60__opt_iv_z"),
    "beta_252",  # of a year, which this market has not had
]
OVERRIDES = [f"features.names={json.dumps(FEATURES)}", "window.min_span=0.5"]
Explanation = dict[str, Any]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory, tiny_market: Path) -> str:
    """A storage in which a month was decided by a model that reads every kind of feature."""
    folder = str(linked(tiny_market, tmp_path_factory.mktemp("explained")))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        aa.run("tiny", storage=folder, overrides=OVERRIDES, device="cpu", last_month="2021-07")
    return folder


@pytest.fixture(scope="module")
def context(storage: str) -> RecipeContext:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        made = project.open_context("tiny", storage=storage, overrides=OVERRIDES, device="cpu")
        assert made.market.calendar
    return made


@pytest.fixture(scope="module")
def predictions(context: RecipeContext) -> pl.DataFrame:
    return context.predictions.read().collect()


@pytest.fixture(scope="module")
def one(context: RecipeContext) -> Explanation:
    """A symbol with a correction of a bar that came a week later, through JSON."""
    return printed(context, "13030", "2021-07-28")


def printed(context: RecipeContext, symbol: str, session: str) -> Explanation:
    loaded: Explanation = json.loads(json.dumps(explain(context, symbol, session)))
    return loaded


# The first symbol of the first session and the last of the last; the others are a slow proof.
FEW = ((0, 0), (-1, -1))
MORE = ((0, -1), (9, 0), (9, -1), (-1, 0))


@pytest.mark.parametrize("places", [FEW, pytest.param(MORE, marks=pytest.mark.slow)])
def test_everything_comes_out_again_from_what_was_printed(
    context: RecipeContext, predictions: pl.DataFrame, places: tuple[tuple[int, int], ...]
) -> None:
    days = predictions["session"].unique().sort()
    young = context.panel.read().join(predictions.lazy(), on=["session", "symbol"], how="semi")
    youngest = young.sort("n_bars", "symbol", "session").head(1).collect()
    asked = [(youngest["symbol"][0], youngest["session"][0])]
    for place, which in places:
        of_day = predictions.filter(pl.col("session") == days[place])["symbol"].unique().sort()
        asked.append((of_day[which], days[place]))

    for symbol, day in asked:
        assert disagreements(printed(context, symbol, str(day))) == [], (symbol, day)


def test_what_is_told_is_what_is_stored(
    context: RecipeContext, predictions: pl.DataFrame, one: Explanation
) -> None:
    here = (pl.col("symbol") == "13030") & (pl.col("session") == date(2021, 7, 28))
    stored = predictions.filter(here).select("horizon", "score").rows()
    assert [(item["horizon"], item["score"]) for item in one["scores"]] == stored
    again = recomputed(one)
    assert again.scores == {horizon: {"score": score} for horizon, score in stored}
    features = context.features.read().filter(here).collect().row(0, named=True)
    section = context.section.read().filter(here).collect().row(0, named=True)
    for item in one["features"]:
        if item["enters"] != "product":
            assert item["value"] == features[item["name"]] == again.features[item["name"]]
        assert item["z"] == section[item["column"]] == again.z[item["column"]]
    assert {item["enters"] for item in one["features"]} == {"across_symbols", "in_time", "product"}
    targets = context.targets.read().filter(pl.col("symbol") == "13030").collect()
    rebalanced = date.fromisoformat(one["target"]["rebalanced"])
    held = targets.filter(pl.col("session") == rebalanced)
    assert one["target"]["target_weight"] == held["target_weight"][0]
    assert not one["target"]["at_this_session"]


def test_no_row_that_was_used_came_out_after_the_decision(one: Explanation) -> None:
    decided = datetime.fromisoformat(one["decided"]["utc"])
    assert one["decided"]["local"] == "2021-07-28T08:30:00+09:00"
    for feed, told in one["raw"].items():
        stamps = [datetime.fromisoformat(text) for text in told["rows"]["available_at"]]
        assert all(stamp <= decided for stamp in stamps), feed
        assert all(day <= "2021-07-28" for day in told["rows"]["effective"]), feed


def test_only_feeds_that_the_recipe_reads_are_named(one: Explanation) -> None:
    # Bars, listings and membership say who is there; the rest is read for a feature.
    assert {*one["raw"]} == {
        *("daily_bars", "listings", "sector_short_selling", "investor_types", "margin"),
        "index_options",
    }
    assert not {name for name in one["panel"] if name.startswith(("news", "earnings", "val_"))}
    assert {"margin_age", "sector_short_selling_age"} <= {*one["panel"]}


def test_a_correction_that_came_later_is_kept_and_shown_and_not_used(one: Explanation) -> None:
    bars = one["raw"]["daily_bars"]
    assert bars["n_later"] == 1
    later = {name: values[0] for name, values in bars["later"].items()}
    assert (later["event_date"], later["revision"]) == ("2021-02-03", 1)
    place = bars["rows"]["event_date"].index("2021-02-03")
    assert bars["rows"]["revision"][place] == 0
    first = [bars["rows"][name][place] for name in ("open", "high", "low", "close", "volume")]
    assert first != [later[name] for name in ("open", "high", "low", "close", "volume")]


def test_a_column_that_the_month_goes_without_is_told_and_not_in_the_window(
    one: Explanation, storage: str
) -> None:
    without = [item["column"] for item in one["features"] if item["left_out"]]

    assert "beta_252_cs_z" in without
    assert not {*without} & {*one["window"], *one["section"]["columns"]}
    assert (
        "left out (spans too little of the training window); 0 across"
        in call(storage, "13030", "2021-07-28").stdout
    )


def test_as_few_rows_are_told_as_make_the_state(one: Explanation) -> None:
    sold = one["raw"]["sector_short_selling"]
    # The market's short sales of a day are those of its sectors on that day, and no other.
    assert {sold["rows"]["event_date"][n] for n in sold["joins"]["short_selling"]} == {"2021-07-27"}
    assert one["raw"]["margin"]["n_rows"] == 1
    # Of an index, one evening's table of options.
    options = one["raw"]["index_options"]["rows"]
    assert set(options["event_date"]) == {"2021-07-27"}
    assert set(options["available_at"]) == {"2021-07-28T03:00:00+09:00"}


def spoilt_panel(told: Explanation) -> None:
    told["raw"]["daily_bars"]["rows"]["close"][-1] += 1.0


def spoilt_side(told: Explanation) -> None:
    told["raw"]["margin"]["rows"]["long"][-1] += 1.0


def spoilt_rows(told: Explanation) -> None:
    rows = told["panel_rows"]
    last = [n for n, symbol in enumerate(rows["symbol"]) if symbol == told["symbol"]][-1]
    rows["close"][last] *= 1.01


def spoilt_others(told: Explanation) -> None:
    panel = unpacked_table(told["panel_of_all"])
    told["panel_of_all"] = packed_table(panel.with_columns(pl.col("close") * pl.col("close")))


def spoilt_moments(told: Explanation) -> None:
    next(item for item in told["features"] if item["name"] == "ret_5")["sd"] *= 1.001


def spoilt_window(told: Explanation) -> None:
    told["window"]["ret_1_cs_z"][0] += 0.5


def spoilt_section(told: Explanation) -> None:
    packed = told["section"]["arrays"]["x_BNTF"]
    x_BTNF = unpacked_array(packed)
    x_BTNF[:, 0] += 1.0
    told["section"]["arrays"]["x_BNTF"] = packed_array(x_BTNF)


def spoilt_score(told: Explanation) -> None:
    told["scores"][0]["score"] += 1e-6


def spoilt_contribution(told: Explanation) -> None:
    entry = told["attribution"]["horizons"][0]["contributions"][0]
    entry["contribution"] = -entry["contribution"]


def spoilt_base(told: Explanation) -> None:
    told["attribution"]["horizons"][1]["base"] = 0.0


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (spoilt_panel, "panel close: "),
        (spoilt_side, "panel margin_long: "),
        (spoilt_rows, "feature ret_1: "),
        (spoilt_others, "feature beta_60: "),
        (spoilt_moments, "ret_5_cs_z: "),
        (spoilt_window, "ret_1_cs_z: the window is not what the model sees"),
        (spoilt_section, "score of horizon 2: "),
        (spoilt_score, "score of horizon 2: "),
        (spoilt_contribution, "attribution at horizon 2: contributions is "),
        (spoilt_base, "attribution at horizon 5: base is "),
    ],
)
def test_each_link_of_the_chain_is_computed_and_not_copied(
    one: Explanation, spoil: Any, words: str
) -> None:
    told = copy.deepcopy(one)
    spoil(told)
    assert any(line.startswith(words) for line in disagreements(told)), disagreements(told)


def test_a_score_is_the_sum_of_what_is_attributed_to_its_inputs(one: Explanation) -> None:
    assert one["attribution"]["method"].startswith("integrated gradients, ")
    families = {item["column"]: item["family"] for item in one["features"]}
    columns = {*one["section"]["columns"], *one["section"]["market_columns"]}
    for item, score in zip(one["attribution"]["horizons"], one["scores"], strict=True):
        entries = item["contributions"]
        assert (item["horizon"], item["score"]) == (score["horizon"], score["score"])
        assert {entry["column"] for entry in entries} == columns
        sizes = [abs(entry["contribution"]) for entry in entries]
        assert sizes == sorted(sizes, reverse=True)
        for entry in entries:
            assert entry["z"] == one["window"][entry["column"]][-1]
            of_share = entry["column"].removesuffix("_missing")  # of a family's known values
            assert entry["family"] == families.get(entry["column"], of_share)

        total = item["base"] + sum(entry["contribution"] for entry in entries)
        assert item["score"] - total == pytest.approx(item["gap"], abs=1e-12)
        assert item["adds_up"]
        assert abs(item["gap"]) <= item["allowed_gap"] < 2e-3 * sum(sizes) + 1e-5
        of_families = sum(family["contribution"] for family in item["families"])
        assert of_families == pytest.approx(sum(entry["contribution"] for entry in entries))
        assert sum(family["n_columns"] for family in item["families"]) == len(columns)
        assert item["other_names"] == 0.0, "this model scores each name from its own rows"


def test_a_score_that_another_model_made_is_told_from_the_named_one(
    one: Explanation, context: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = context.predictions.read().collect().with_columns(pl.col("score") + 1)
    clean = type(context.predictions).read

    def other(table: Any, *asked: Any, **how: Any) -> pl.LazyFrame:
        return made.lazy() if table.parts[-1] == "predictions" else clean(table, *asked, **how)

    monkeypatch.setattr(type(context.predictions), "read", other)
    found = disagreements(printed(context, "13030", "2021-07-28"))
    assert [line.split(":")[0] for line in found] == ["score of horizon 2", "score of horizon 5"]


@pytest.mark.parametrize(
    ("symbol", "session", "error", "words"),
    [
        ("13033", "2021-07-28", BadInput, r"no bar of symbol '13033' \(nearest: .*13030"),
        ("1303", "2021-07-28", BadInput, r"'1303' \(a ticker of 13030\)"),
        ("13030", "2021-07-22", RangeError, "nearest are 2021-07-21 and 2021-07-26"),
        ("13030", "soon", RangeError, "'soon' is not a date"),
        ("13030", "1850-01-01", RangeError, "outside XTKS's sessions"),
        ("13030", "2021-06-01", MissingOutput, "predicted are 2021-07 to 2021-07; alpha-assets"),
    ],
)
def test_what_cannot_be_explained_is_refused_with_the_way_out(
    context: RecipeContext, symbol: str, session: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        explain(context, symbol, session)


def test_a_symbol_outside_the_universe_is_told_by_its_rules(
    context: RecipeContext, predictions: pl.DataFrame
) -> None:
    panel = context.panel.read("2021-07", "2021-07").collect()
    key = ["session", "symbol"]
    section = context.section.read("2021-07", "2021-07").select(key).collect()
    outside = panel.join(section, on=key, how="anti").sort(key)
    symbol, day = outside["symbol"][0], outside["session"][0]
    with pytest.raises(MissingOutput, match=r"not in the universe 'traded' \(min_history = 20, "):
        explain(context, symbol, str(day))

    halted = panel.filter(pl.col("stale") > 0).join(section, on=key, how="semi").sort(key)
    symbol, day = halted["symbol"][0], halted["session"][0]
    before = context.market.calendar.before(day)
    with pytest.raises(MissingOutput, match=f"no bar of {before}, the session before.*predicted"):
        explain(context, symbol, str(day))


def test_a_symbol_that_is_not_there_is_told_by_its_bars(context: RecipeContext) -> None:
    # On the first session of all, its first bar is still to come.
    model = stage_of_scores.month_model(context, "2021-07")
    error = why_not(context, "13030", date(2021, 1, 4), model)
    assert "13030 has no prediction at 2021-01-04: its first bar, of 2021-01-04, was" in str(error)
    assert "it is predicted on 20 sessions, 2021-07-01 to 2021-07-30, next 2021-07-01" in str(error)

    listed = context.raw["listings"].read().filter(pl.col("exit") != "active").collect()
    gone = listed.filter(pl.col("event_date") < date(2021, 7, 20)).sort("symbol")
    assert gone.height
    exit, day = gone["exit"][0], gone["event_date"][0]
    with pytest.raises(MissingOutput, match=rf"its exit \({exit}, {day}\) was known"):
        explain(context, gone["symbol"][0], "2021-07-30")


def test_an_unknown_sector_is_no_row_s_and_compared_with_nothing() -> None:
    # Comparing a column with None makes polars warn; warnings are errors in tests.
    rows = pl.DataFrame(
        {
            "session": [date(2021, 7, 1)] * 2,
            "symbol": ["A", "B"],
            "sector": [None, "T"],
            "market_segment": [None, "Prime"],
        }
    )
    of_sector = next(item for item in CATALOG if item.scope == "sector")
    unknown = {"sector": None, "market_segment": None}
    for known, wanted in ((unknown, []), ({**unknown, "sector": "T"}, ["B"])):
        carries = why._carries(rows, "A", known, [of_sector])
        assert rows.filter(carries)["symbol"].to_list() == wanted


def test_a_month_without_a_model_is_told(
    context: RecipeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = context.checkpoint("2021-07").manifest()
    assert manifest is not None
    skipped = manifest.model_copy(
        update={"status": windows.NO_HISTORY, "extra": {"first_month": "2021-09"}}
    )
    monkeypatch.setattr(why, "month_model", lambda *_: stage_of_scores.MonthModel(skipped, None))
    with pytest.raises(MissingOutput, match=r"2021-07 has no model.*enough is 2021-09"):
        explain(context, "13030", "2021-07-28")


def call(storage: str, *arguments: str) -> Result:
    words = ["why", *arguments, "--recipe", "tiny", "--storage", storage, "--device", "cpu"]
    words += [word for override in OVERRIDES for word in ("--set", override)]
    return CliRunner().invoke(main, words, env={"ALPHA_PIPELINES": str(PIPELINES)})


def test_the_command_line_shows_it_to_a_person(storage: str, context: RecipeContext) -> None:
    shown = call(storage, "13030", "2021-07-28")
    assert shown.exit_code == 0, shown.output
    for words in (
        f"why 13030 at 2021-07-28: {context.recipe.folder} on tiny, model of 2021-07",
        "decided 2021-07-28 08:30 Asia/Tokyo (2021-07-27 23:30 UTC)",
        "1 later row kept and not used",
        "2021-07-28 03:00",  # the options of the night before
        "z in time over 252 sessions",
        "horizon   5: ",
        "attribution of the scores by integrated gradients, ",
        "the other 11 columns",
        "0: none of them enters the score",
        "    by family: ",
        "target since 2021-07-26: ",
    ):
        assert words in shown.output, words


def test_json_can_be_computed_again_and_brief_json_is_to_be_read(storage: str) -> None:
    shown = call(storage, "13030", "2021-07-28", "--json")
    assert shown.exit_code == 0, shown.output
    assert disagreements(json.loads(shown.stdout)) == []

    brief = call(storage, "13030", "2021-07-28", "--json", "--brief")
    told = json.loads(brief.stdout)
    assert told["section"]["arrays"] is None
    assert told["panel_of_all"] is None
    with pytest.raises(BadInput, match="--brief"):
        disagreements(told)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["13030", "2021-07-22"], "error: 2021-07-22 is no session of XTKS"),
        (["X", "2021-07-28"], "error: market 'tiny' has no bar of symbol 'X'"),
        (["13030"], "Missing argument"),
    ],
)
def test_a_refusal_is_one_line_and_exit_code_2(
    storage: str, arguments: list[str], words: str
) -> None:
    shown = call(storage, *arguments)
    assert shown.exit_code == 2
    assert words in shown.output
    assert "Traceback" not in shown.output
