"""Features of valuations: by hand, over a split, and against those of the statements themselves."""

import math
from datetime import UTC, date, datetime

import numpy as np
import polars as pl
import pytest
from tests.features.through import through
from tests.panel.market import TOKYO

from alpha_assets.arrays.types import Array
from alpha_assets.features import CATALOG, compute_features, missing_features
from alpha_assets.features.inputs import inputs_behind
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.ingest import with_clock
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.joins import joins_of
from alpha_assets.sources.sim import SimSpec
from alpha_assets.sources.sim.source import SimSource

FAMILY = tuple(feature for feature in CATALOG if feature.family == "val")
FEATURES = {feature.name: feature for feature in FAMILY}
KEYS = ["session", "symbol"]
earnings_yield = through(
    "val_earnings_yield",
    "valuation_eps",
    "valuation_lag",
    "valuation_age",
    "cum_factor",
    "raw_close",
)
ROWS, SPLIT = 8, 5  # the row from which a 1-to-2 split is known


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def value(name: str, told: float, close: float = 200.0) -> float:
    """Return a feature of one row that was told yesterday evening."""
    behind = inputs_behind(FEATURES[f"val_{name}"].inputs)
    leaves = [one for one, item in behind.items() if item.columns]
    inputs = {"valuation_lag": 1.0, "valuation_age": 0.0, "cum_factor": 1.0, "raw_close": close}
    rows = [np.full((1, 1), inputs.get(one, told)) for one in leaves]
    return float(through(f"val_{name}", *leaves)(*rows)[0, 0])


@pytest.mark.parametrize(
    ("name", "told", "wanted"),
    [
        ("earnings_yield", 10.0, 0.05),
        ("earnings_yield", -10.0, -0.05),
        ("earnings_yield", 0.0, 0.0),
        ("forward_earnings_yield", 12.0, 0.06),
        ("forward_earnings_yield", -1.0, -0.005),
        ("book_to_price", 300.0, 1.5),
        ("book_to_price", -40.0, -0.2),
        ("return_on_equity", -0.1, -0.1),
        ("forward_return_on_equity", 0.12, 0.12),
        ("ln_market_value", 5e9, np.log(5e9)),
    ],
)
def test_values_by_hand(name: str, told: float, wanted: float) -> None:
    assert value(name, told) == pytest.approx(wanted, rel=1e-14)


@pytest.mark.parametrize("name", [feature.name.removeprefix("val_") for feature in FAMILY])
def test_what_is_not_told_is_not_known(name: str) -> None:
    assert np.isnan(value(name, np.nan))


def test_without_a_price_there_is_no_yield_and_without_a_value_no_size() -> None:
    assert np.isnan(value("earnings_yield", 10.0, close=np.nan))
    assert np.isnan(value("book_to_price", 10.0, close=0.0))
    assert np.isnan(value("ln_market_value", 0.0))


def test_a_valuation_from_before_a_split_is_restated_for_it() -> None:
    # Told once, in row 3, of the bar that stands there; the price halves in row SPLIT.
    after = np.arange(ROWS) >= SPLIT
    cum_factor, close = column(*np.where(after, 0.5, 1.0)), column(*np.where(after, 50.0, 100.0))
    age = column(*[np.nan] * 3, 0, 1, 2, 3, 4)
    eps, lag = np.where(np.isnan(age), np.nan, 7.0), np.where(np.isnan(age), np.nan, 1.0)
    found = earnings_yield(eps, lag, age, cum_factor, close)[:, 0]

    np.testing.assert_allclose(found, [np.nan] * 3 + [0.07] * 5)


def test_the_day_of_the_split_is_in_new_shares() -> None:
    cum_factor, close = column(1.0, 0.5), column(100.0, 50.0)
    told, one, none = column(7.0, 3.5), column(1.0, 1.0), column(0.0, 0.0)

    np.testing.assert_allclose(
        earnings_yield(told, one, none, cum_factor, close)[:, 0], [0.07, 0.07]
    )


@pytest.mark.parametrize("offset", [0, 5, 20, 25])
def test_no_more_rows_are_read_than_are_declared(offset: int) -> None:
    # However late it came, and with a split in every row.
    feature, n = earnings_yield, 40
    cum_factor = column(*np.cumprod(np.full(n, 0.9)))
    eps, lag = np.full((n, 1), 7.0), np.full((n, 1), 1.0 + offset)
    inputs = (eps, lag, np.zeros((n, 1)), cum_factor, np.full((n, 1), 100.0))
    recent = tuple(one[-feature.rows :] for one in inputs)

    assert feature(*inputs)[-1] == pytest.approx(0.07 * 0.9 ** min(offset, 20))
    np.testing.assert_array_equal(feature(*recent)[-1], feature(*inputs)[-1])


def test_a_market_without_the_feed_loses_the_family_by_name() -> None:
    assert len(FAMILY) == 6
    missing = missing_features(CATALOG, ("raw_price_level", "tse_ticks"), {"valuation": "refused"})
    assert set(missing) == set(FEATURES)
    assert set(missing.values()) == {"needs the feed 'valuation', which is off: refused"}
    # Prices that carry later splits cost the yields, and nothing else of it.
    split = set(missing_features(CATALOG, (), {})) & set(FEATURES)
    assert split == {"val_earnings_yield", "val_forward_earnings_yield", "val_book_to_price"}


# ------------------------------------------------------------------- against the statements
SPEC = SimSpec(
    seed=21,
    n_symbols=40,
    first=date(2021, 1, 4),
    last=date(2022, 12, 30),
    splits_annual=0.5,
    late_within_sessions=200,
)
PAIRS = {
    "val_earnings_yield": "fund_earnings_yield",
    "val_book_to_price": "fund_book_to_price",
    "val_return_on_equity": "fund_return_on_equity",
    "val_ln_market_value": "fund_ln_market_value",
    "val_forward_earnings_yield": "fund_forecast_earnings_yield",
}
# Valuations are rounded: amounts a share to hundredths, returns to a hundredth of a percent,
# market values to millions.  What that can move: relative or absolute, whichever is wider.
ROUNDING = {
    "val_earnings_yield": {"rel_tol": 3e-4},
    "val_book_to_price": {"rel_tol": 1e-4},
    "val_return_on_equity": {"abs_tol": 5.1e-5},
    "val_ln_market_value": {"abs_tol": 0.01},
    "val_forward_earnings_yield": {"rel_tol": 3e-4},
}


@pytest.fixture(scope="module")
def panel() -> pl.DataFrame:
    """The panel of an exchange with splits."""
    source, raw = SimSource(SPEC, TOKYO), {}
    for name in ("daily_bars", "listings", "statements", "valuation"):
        rows = source.rows(name)
        if "revision" not in rows.columns:
            rows = rows.with_columns(revision=pl.lit(0, pl.Int16))
        raw[name] = with_clock(rows, FEEDS[name], TOKYO, datetime(2030, 1, 1, tzinfo=UTC))
    side = joins_of({name: FEEDS[name] for name in raw})
    return build_panel(raw, TOKYO, date(2015, 1, 5), SPEC.last, side=side)


@pytest.fixture(scope="module")
def both(panel: pl.DataFrame) -> pl.DataFrame:
    """Both families, and the sessions since the company said something new."""
    wanted = [f for f in CATALOG if f.name in {*PAIRS, *PAIRS.values()}]
    made = compute_features(panel, wanted, SPEC.first, SPEC.last, dtype=np.float64)
    more = panel.select(*KEYS, "cum_factor", "statements_age")
    return made.join(more, on=KEYS, validate="1:1").sort("symbol", "session")


def never_split(both: pl.DataFrame) -> pl.DataFrame:
    """Return the rows of symbols without a split.

    The simulated statements divide a forecast by the shares of the listing, whatever was split
    since: their forecast earnings a share are no yardstick for the others.
    """
    return both.filter((pl.col("cum_factor") == 1).all().over("symbol"))


def compared(rows: pl.DataFrame, name: str, wanted: pl.Expr) -> tuple[int, list[object]]:
    """Return how many rows have both, and those that differ by more than rounding."""
    both = rows.select(*KEYS, name, wanted.alias("wanted")).drop_nulls()
    far = [row for row in both.rows() if not math.isclose(row[2], row[3], **ROUNDING[name])]  # type: ignore[arg-type]
    return both.height, far


@pytest.mark.parametrize(("name", "of_statements"), PAIRS.items())
def test_it_says_what_the_statements_say_unless_one_just_came_out(
    both: pl.DataFrame, name: str, of_statements: str
) -> None:
    rows = never_split(both) if "forward" in name else both
    known = rows.filter(pl.col("statements_age") > 0)
    n, far = compared(known, name, pl.col(of_statements))
    assert n > 3_000
    assert far == []
    # What the statements tell, the exchange has worked out.
    assert known.filter(pl.col(name).is_null() & pl.col(of_statements).is_not_null()).is_empty()


def test_a_document_enters_the_valuation_a_session_after_the_statements(
    both: pl.DataFrame,
) -> None:
    """Public at half past midnight, it is in the next row of the exchange, not in the last one."""
    name, of_statements = "val_return_on_equity", pl.col("fund_return_on_equity")
    later = pl.col(of_statements.meta.output_name()).shift(1).over("symbol")
    fresh = pl.col("statements_age") == 0
    after = both.filter(fresh.shift(1).over("symbol") & (pl.col("statements_age") == 1))
    stepped = both.with_columns(later.alias("then")).join(after, on=KEYS, how="semi")
    n, far = compared(stepped, name, pl.col("then"))
    assert n > 50
    assert far == []
    n, far = compared(both.filter(fresh), name, of_statements)
    assert len(far) > 0.5 * n > 20
