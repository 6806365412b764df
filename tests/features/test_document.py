"""The generated page of features says what the catalogue and the stored measurement say."""

import re
from pathlib import Path

import pytest

from alpha_assets.features import CATALOG, INTERACTIONS
from alpha_assets.features.document import COVERAGE, column_of, measured_in, page
from alpha_assets.features.formulas import formula_of
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.describe import publication_words

DOCS = Path(__file__).parents[2] / "docs"
MEASURED = measured_in(DOCS / COVERAGE)
BY_NAME = {feature.name: feature for feature in CATALOG}


@pytest.fixture(scope="module")
def text() -> str:
    return page(CATALOG, MEASURED)


def cells(text: str, name: str) -> list[str]:
    (row,) = re.findall(rf"^\| `{name}` \| .*\|$", text, flags=re.MULTILINE)
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]]


def test_the_stored_page_is_the_generated_one(text: str) -> None:
    assert (DOCS / "FEATURES.md").read_text(encoding="utf-8") == text, "run `make docs`"


def test_the_measurement_names_exactly_the_features_that_there_are() -> None:
    assert list(MEASURED) == [f.name for f in (*CATALOG, *INTERACTIONS)], "run `make coverage`"
    families = {name: row["family"] for name, row in MEASURED.items()}
    assert families == {f.name: f.family for f in (*CATALOG, *INTERACTIONS)}


def test_what_the_simulated_market_has_is_filled_there() -> None:
    off = {name for name, row in MEASURED.items() if not row["filled"]}
    assert off == {f.name for f in CATALOG if f.family in ("short_volume", "short_interest", "iv")}
    never = {name for name in set(MEASURED) - off if not float(MEASURED[name]["filled"])}
    assert never == {"margin_chg_1d"}  # balances are daily only after its last session


def test_every_feature_and_product_stands_on_the_page_once(text: str) -> None:
    for feature in (*CATALOG, *INTERACTIONS):
        assert text.count(f"| `{feature.name}` |") == 1


def test_a_row_says_all_that_is_known_of_a_feature(text: str) -> None:
    row = cells(text, "sector_short_z_60")
    assert row[:6] == [
        "`sector_short_z_60`",
        "How unusual the sector's short ratio is against its last 60 sessions.",
        "(x - MA_60(x)) / SD_60(x)",
        "standard deviations",
        "60",
        "sector_short_selling_ratio",
    ]
    assert row[6:8] == [
        "sector_short_selling: 16:30 of the day: next session",
        "`sector_short_z_60_cs_z`",
    ]
    assert re.fullmatch(r"\d+\.\d%, \d+% in 20\d\d-\d\d", row[8])
    assert row[9] == BY_NAME["sector_short_z_60"].source
    assert cells(text, "iv_30")[8] == "off"


def test_market_wide_features_are_read_as_z_scores_in_time(text: str) -> None:
    assert column_of(BY_NAME["ss_ratio"]) == "ss_ratio_ts_z"
    assert column_of(BY_NAME["flow_frgn_z"]) == "flow_frgn_z_cs_z"
    row = cells(text, "x_beta_60__opt_iv_z")
    assert row[2] == "`beta_60_cs_z` · `opt_iv_z_ts_z`"
    assert row[4] == (
        "daily_bars: 16:30 of the day: next session; "
        "index_options: 03:00 of the next day: next session"
    )


def test_a_feature_that_was_not_measured_has_a_dash() -> None:
    text = page(CATALOG, {})
    assert cells(text, "ret_1")[8] == "–"


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("mom_12_1", "C[-21] / C[-252] - 1"),
        ("sma_ratio_20", "C / MA_20(C) - 1"),
        ("n_stale_20", None),
        ("iv_30", "as known: implied, at the money, 30 days, fraction a year"),
        ("fund_cash_to_assets", "`over(statements_cash, statements_total_assets)`"),
        ("limit_up_20", "`window_sum(upper_limit, 20)`"),
    ],
)
def test_formulas_are_declared_or_come_from_the_code(name: str, formula: str | None) -> None:
    found = formula_of(BY_NAME[name])
    assert BY_NAME[name].about.endswith(".")
    if formula is None:
        assert found.startswith("`window_sum(np.where(")
    else:
        assert found == formula


def test_almost_every_feature_has_a_formula() -> None:
    without = [f.name for f in CATALOG if not formula_of(f)]
    assert len(without) < len(CATALOG) / 20, without


@pytest.mark.parametrize(
    ("feed", "words"),
    [
        ("daily_bars", "16:30 of the day: next session"),
        ("dividends", "00:00 of the day: that session"),
        ("short_positions", "17:30 of the day in `disclosed`: next session"),
        ("index_options", "03:00 of the next day: next session"),
        (
            "short_interest",
            "18:00 of the 9th session after the day, or of the day in `published`: "
            "the 10th session after",
        ),
        (
            "margin",
            "two sessions after a weekly balance, one session after a daily one, 16:30, or of "
            "the day in `published`: the session after",
        ),
    ],
)
def test_publication_is_told_in_words(feed: str, words: str) -> None:
    assert publication_words(FEEDS[feed]) == words
