"""Side feeds of the simulated exchange: what adds up, what comes later, what can be found."""

from datetime import UTC, date, datetime, time

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from alpha_assets.calendar import Calendar
from alpha_assets.features import CATALOG, compute_features
from alpha_assets.feeds import FEEDS, SIDE_FEEDS
from alpha_assets.feeds.flows import INVESTORS
from alpha_assets.feeds.ingest import with_clock
from alpha_assets.feeds.sectors import SECTORS as SECTORS_33
from alpha_assets.panel.build import build_panel
from alpha_assets.panel.joins import joins_of
from alpha_assets.sources.sim import SimSpec, tokyo
from alpha_assets.sources.sim.market import generate
from alpha_assets.sources.sim.roster import SEGMENTS_BEFORE
from alpha_assets.sources.sim.side import SIDE_ROWS
from alpha_assets.sources.sim.side.common import hidden
from alpha_assets.sources.sim.source import SimSource

NOW = datetime(2030, 1, 1, tzinfo=UTC)
SMALL = SimSpec(
    seed=5,
    n_symbols=40,
    first=date(2021, 1, 4),
    last=date(2021, 9, 30),
    splits_annual=1.0,
    corrected_share=0.01,
    late_within_sessions=150,
    delistings_annual=0.2,
)
# Everything that is planted is planted in side feeds, and strongly.
STRONG = SimSpec(
    seed=6,
    n_symbols=150,
    first=date(2021, 1, 4),
    last=date(2021, 12, 30),
    signal=5.0,
    signal_variation=0.0,
    price_share=0.0,
)
NULL = STRONG.model_copy(update={"signal": 0.0})
EMBEDDED = tuple(f.name for f in CATALOG if f.name.startswith("news_emb_"))
# Feature -> hidden state that it reveals, and the correlation at least, with its sign.
REVEALS = {
    "ssp_total": ("short_positions", -0.75),
    "sector_short_ratio": ("sector_short", -0.9),
    "margin_imbalance": ("margin", -0.8),
    "flow_frgn_imp": ("flows", 0.5),
}
FEEDS_BEHIND = ("sector_short_selling", "short_positions", "margin", "investor_types", "news")

every_side_feed = pytest.mark.parametrize("name", SIDE_ROWS)


@pytest.fixture(scope="module")
def rows(tokyo_calendar: Calendar) -> dict[str, pl.DataFrame]:
    source = SimSource(SMALL, tokyo_calendar)
    return {name: stamped(source, name) for name in SIDE_ROWS}


def stamped(source: SimSource, name: str) -> pl.DataFrame:
    made = source.rows(name)
    if "revision" not in made.columns:
        made = made.with_columns(revision=pl.lit(0, pl.Int16))
    return with_clock(made, FEEDS[name], source.calendar, NOW)


@every_side_feed
def test_rows_have_the_columns_and_keys_of_their_feed(
    name: str, rows: dict[str, pl.DataFrame]
) -> None:
    feed, made = FEEDS[name], rows[name]
    values = {c: t for c, t in feed.schema.items() if c not in ("available_at", "ingested_at")}

    assert made.height > 0
    assert {c: made.schema[c] for c in values} == values
    assert not made.select(*feed.key, "revision").is_duplicated().any()
    assert made.select(feed.key).null_count().row(0) == (0,) * len(feed.key)
    for column in feed.columns:
        if column.required:
            assert made[column.name].null_count() == 0, column.name


@every_side_feed
def test_a_row_is_public_after_its_day_and_a_correction_after_its_row(
    name: str, rows: dict[str, pl.DataFrame], tokyo_calendar: Calendar
) -> None:
    made = rows[name]
    known = tokyo_calendar.sessions[tokyo_calendar.effective(made["available_at"].to_numpy())]
    assert (known > made["event_date"].to_numpy()).all()
    order = made.sort(*FEEDS[name].key, "revision")
    later = order.filter(pl.col("revision") > 0).join(
        order.filter(revision=0), on=FEEDS[name].key, suffix="_first", how="left"
    )
    assert (later["available_at"] > later["available_at_first"]).all()
    assert later["available_at_first"].null_count() == 0


def test_every_feed_that_is_corrected_in_life_is_corrected_here(
    rows: dict[str, pl.DataFrame],
) -> None:
    corrected = [name for name, made in rows.items() if made["revision"].max() > 0]  # type: ignore[operator]
    assert {"investor_types", "statements"} <= set(corrected)


@every_side_feed
def test_a_market_that_ends_later_adds_rows_and_changes_none(
    name: str, rows: dict[str, pl.DataFrame], tokyo_calendar: Calendar
) -> None:
    cut = date(2021, 6, 30)
    shorter = SimSource(SMALL.model_copy(update={"last": cut}), tokyo_calendar)
    # What is public by the end of the last day, and what describes a day until then.
    end = pl.lit(tokyo_calendar.instant([cut], time(0), 1)[0]).dt.replace_time_zone("UTC")
    early, late = stamped(shorter, name), rows[name]
    public = pl.col("available_at") < end

    assert early.filter(public).equals(late.filter(public))
    assert late.height > early.height
    strange = early.filter(~public).join(
        late, on=[*FEEDS[name].key, "revision", "available_at"], how="anti"
    )
    assert strange.height == 0


def test_customers_add_up_to_the_brokers_and_with_the_members_to_all(
    rows: dict[str, pl.DataFrame],
) -> None:
    weeks = rows["investor_types"]
    customers = [w for w in INVESTORS if w not in ("proprietary", "brokerage", "total")]
    for side in ("sell", "buy"):
        summed = sum((weeks[f"{who}_{side}"] for who in customers), start=weeks["total_buy"] * 0)
        assert summed.equals(weeks[f"brokerage_{side}"], check_names=False)
        both = weeks[f"proprietary_{side}"] + weeks[f"brokerage_{side}"]
        assert both.equals(weeks[f"total_{side}"], check_names=False)
    # What somebody bought somebody sold.
    assert weeks["total_sell"].equals(weeks["total_buy"], check_names=False)
    assert (weeks.select(pl.selectors.ends_with("_sell", "_buy")).min_horizontal() >= 0).all()


def test_the_sections_add_up_to_all(rows: dict[str, pl.DataFrame]) -> None:
    first = rows["investor_types"].filter(revision=0)
    values = pl.selectors.ends_with("_sell", "_buy")
    parts = first.filter(pl.col("section") != "All").group_by("event_date").agg(values.sum())
    whole = first.filter(section="All").select("event_date", values)
    assert parts.sort("event_date").equals(whole.sort("event_date"))


def test_balances_are_what_is_on_either_terms(rows: dict[str, pl.DataFrame]) -> None:
    made = rows["margin"]
    for side in ("short", "long"):
        parts = made[f"{side}_negotiable"] + made[f"{side}_standard"]
        assert parts.equals(made[side], check_names=False)
        assert (made[f"{side}_standard"] >= 0).all()
        assert (made[f"{side}_negotiable"] >= 0).all()


def test_a_balance_in_shares_follows_a_split(tokyo_calendar: Calendar) -> None:
    market = generate(SMALL, tokyo_calendar)
    made = SIDE_ROWS["margin"](market, tokyo_calendar)
    number, symbol = np.nonzero(market.factor < 0.6)
    assert len(number) > 5
    growth = []
    for at, who in zip(number.tolist(), symbol.tolist(), strict=True):
        own = made.filter(symbol=market.roster.code[who]).sort("event_date")
        day = market.sessions[at].item()
        around = pl.concat(
            [
                own.filter(pl.col("event_date") < day).tail(1),
                own.filter(pl.col("event_date") >= day).head(1),
            ]
        )
        if around.height == 2:
            middle = (around["long"] * around["short"]).sqrt()  # shares lent, whoever is long
            growth.append(float(middle[1] / middle[0] * market.factor[at, who]))
    assert np.median(growth) == pytest.approx(1.0, abs=0.05)


def test_short_sales_are_part_of_what_is_traded(
    rows: dict[str, pl.DataFrame], tokyo_calendar: Calendar
) -> None:
    market = generate(SMALL, tokyo_calendar)
    # As they stand in the end: a wrong first version is not part of anything.
    made = rows["sector_short_selling"].sort("revision")
    made = made.unique(["event_date", "sector"], keep="last").sort("event_date", "sector")
    total = (
        made.group_by("event_date", maintain_order=True)
        .agg(pl.col("selling", "restricted", "exempt").sum())
        .select(pl.sum_horizontal("selling", "restricted", "exempt"))
        .to_series()
    )
    # Whole yen: three roundings of half a yen for each of 33 sectors.
    traded = np.nansum(market.bar["turnover_value"], axis=1)
    assert np.abs(total.to_numpy() - traded).max() < 3 * 33 / 2


@pytest.mark.parametrize(
    ("name", "state", "usual", "slope", "noise"),
    [
        ("margin", "margin", 1.2, -0.6, 0.05),
        ("sector_short_selling", "sector_short", 0.40, -0.04, 0.01),
        ("investor_types", "flows", 0.0, 0.03, 0.004),
        ("short_positions", "short_positions", 0.016, -0.005, 0.0),
    ],
)
def test_a_row_tells_the_state_of_its_own_day_and_of_no_other(
    name: str,
    state: str,
    usual: float,
    slope: float,
    noise: float,
    rows: dict[str, pl.DataFrame],
    tokyo_calendar: Calendar,
) -> None:
    market = generate(SMALL, tokyo_calendar)
    roster, g_DN = market.roster, hidden(market, state)
    made = rows[name].filter(revision=0)
    if name == "short_positions":
        # A wrong first version says another state; its correction is out a few sessions later.
        made = rows[name].sort("revision").unique(FEEDS[name].key, keep="last")
        made = made.filter(pl.col("event_date") < market.sessions[-8].item())
    short = pl.col("restricted") + pl.col("exempt")
    bought = pl.col("foreigners_buy") - pl.col("foreigners_sell")
    # The first fund holds .65 of a position, the other one the rest.
    part = pl.when(pl.col("fund") == "").then(0.65).otherwise(0.35)
    told, who, key = {
        "margin": ((pl.col("long") / pl.col("short")).log(), roster.code, "symbol"),
        "sector_short_selling": (
            short / (short + pl.col("selling")),
            # Makers of semiconductors have a state of their own, and no row.
            [tokyo.SECTORS[s].name if s else "" for s in roster.sector],
            "sector",
        ),
        "investor_types": (
            bought / (pl.col("total_buy") + pl.col("total_sell")),
            [SEGMENTS_BEFORE[s] for s in roster.segment],
            "section",
        ),
        "short_positions": (pl.col("ratio") / part, roster.code, "symbol"),
    }[name]
    said = made.select("event_date", pl.col(key).alias("who"), told.alias("told"))
    listed = {word: [n for n, w in enumerate(who) if w == word] for word in set(who)}
    gap = []
    for day, word, value in said.rows():
        at = int(np.searchsorted(market.sessions, np.datetime64(day)))
        g = [g_DN[at, n] for n in listed.get(word, []) if not np.isnan(g_DN[at, n])]
        if g:
            gap.append(value - max(usual + slope * g[0], 0.0 if noise == 0 else -9.0))
    assert len(gap) > 50
    if noise == 0:
        assert np.abs(gap).max() < 0.5e-4 / 0.35 + 1e-9  # ratios have four decimals
    else:
        assert abs(np.mean(gap)) < 0.2 * noise
        assert np.std(gap) == pytest.approx(noise, rel=0.2)


def features_of(spec: SimSpec, calendar: Calendar) -> pl.DataFrame:
    """Return the features that reveal, the panel's bars beside them."""
    source = SimSource(spec, calendar)
    raw = {name: stamped(source, name) for name in ("daily_bars", "listings", *FEEDS_BEHIND)}
    side = joins_of({name: SIDE_FEEDS[name] for name in FEEDS_BEHIND})
    panel = build_panel(raw, calendar, spec.first, spec.last, side=side)
    catalog = [f for f in CATALOG if f.name in (*REVEALS, *EMBEDDED)]
    return compute_features(panel, catalog, spec.first, spec.last, dtype=np.float64)


def placed(features: pl.DataFrame, name: str, spec: SimSpec, calendar: Calendar) -> np.ndarray:
    """Return a feature as [D, N] in the order of the market's symbols."""
    market = generate(spec, calendar)
    made = np.full(market.f.shape, np.nan)
    day = np.searchsorted(market.sessions, features["session"].to_numpy())
    number = {code: n for n, code in enumerate(market.roster.code)}
    symbol = np.array([number[code] for code in features["symbol"].to_list()])
    made[day, symbol] = features[name].to_numpy()
    return made


def correlations(x_DN: np.ndarray, y_DN: np.ndarray, skip: int = 60) -> np.ndarray:
    """Return the correlation across symbols of each session that has one."""
    found = []
    for x_N, y_N in zip(x_DN[skip:], y_DN[skip:], strict=True):
        known = ~np.isnan(x_N) & ~np.isnan(y_N)
        if known.sum() > 20 and x_N[known].std() > 0 and y_N[known].std() > 0:
            found.append(np.corrcoef(x_N[known], y_N[known])[0, 1])
    assert len(found) > 100
    return np.array(found)


@pytest.fixture(scope="module")
def strong(tokyo_calendar: Calendar) -> pl.DataFrame:
    return features_of(STRONG, tokyo_calendar)


@pytest.mark.parametrize("name", REVEALS)
def test_a_feature_finds_the_hidden_state_of_the_evening_before(
    name: str, strong: pl.DataFrame, tokyo_calendar: Calendar
) -> None:
    state, floor = REVEALS[name]
    g_DN = hidden(generate(STRONG, tokyo_calendar), state)
    x_DN = placed(strong, name, STRONG, tokyo_calendar)
    found = correlations(x_DN[1:], g_DN[:-1]).mean()
    assert found * np.sign(floor) > abs(floor), found


def embedded(features: pl.DataFrame, spec: SimSpec, calendar: Calendar) -> np.ndarray:
    x_KDN = np.stack([placed(features, name, spec, calendar) for name in EMBEDDED])
    return np.nan_to_num(x_KDN)


def fitted(x_KDN: np.ndarray, y_DN: np.ndarray) -> np.ndarray:
    """Return the least-squares fit of y by the numbers x; nothing new is no news."""
    known = ~np.isnan(y_DN)
    weights, *_ = np.linalg.lstsq(x_KDN[:, known].T, y_DN[known], rcond=None)
    return np.where(known, np.tensordot(weights, x_KDN, 1), np.nan)


def test_the_numbers_of_an_article_find_the_hidden_state_of_news(
    strong: pl.DataFrame, tokyo_calendar: Calendar
) -> None:
    g_DN = hidden(generate(STRONG, tokyo_calendar), "news")
    x_KDN = embedded(strong, STRONG, tokyo_calendar)
    fit_DN = fitted(x_KDN[:, 1:], g_DN[:-1])
    assert correlations(fit_DN, g_DN[:-1]).mean() > 0.7


def relation(x_DN: np.ndarray, spec: SimSpec, calendar: Calendar) -> float:
    """Return the mean correlation with the session's own return, in standard errors."""
    market = generate(spec, calendar)
    found = correlations(x_DN, np.log(market.bar["close"] / market.bar["open"]))
    return float(found.mean() / (found.std(ddof=1) / np.sqrt(len(found))))


@pytest.mark.parametrize("spec", [STRONG, NULL], ids=["strong", "null"])
def test_what_is_planted_can_be_earned_and_without_a_signal_nothing_can(
    spec: SimSpec, tokyo_calendar: Calendar
) -> None:
    features = features_of(spec, tokyo_calendar)
    made = {
        name: np.sign(floor) * placed(features, name, spec, tokyo_calendar)
        for name, (_, floor) in REVEALS.items()
    }
    g_DN = hidden(generate(spec, tokyo_calendar), "news")
    x_KDN = embedded(features, spec, tokyo_calendar)
    made["news"] = np.vstack([g_DN[:1] * np.nan, fitted(x_KDN[:, 1:], g_DN[:-1])])
    for name, x_DN in made.items():
        found = relation(x_DN, spec, tokyo_calendar)
        assert found > 4 if spec.signal else abs(found) < 3, (name, found)


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("margin", ("long", "long_negotiable")),
        ("sector_short_selling", ("selling",)),
        ("short_positions", ("ratio", "shares")),
    ],
)
def test_some_rows_are_published_wrong_and_corrected_later(
    name: str, columns: tuple[str, ...], rows: dict[str, pl.DataFrame], tokyo_calendar: Calendar
) -> None:
    feed = FEEDS[name]
    first, late = (rows[name].filter(revision=k) for k in range(2))
    both = late.join(first, on=list(feed.key), suffix="_first")

    assert 0.002 < late.height / first.height < 0.03
    assert both.height == late.height
    for column in columns:
        assert (both[column] != both[f"{column}_first"]).all(), column
    # Known three sessions after the first version is: the first at D, the correction at D + 3.
    known, again = (
        tokyo_calendar.effective(both[stamp].dt.replace_time_zone(None).to_numpy())
        for stamp in ("available_at_first", "available_at")
    )
    assert set((again - known).tolist()) == {3}


@pytest.mark.parametrize("last", [date(2021, 6, 1), date(2021, 7, 30)])
@pytest.mark.parametrize("n_symbols", [20, 28])
def test_a_market_whose_sectors_are_empty_so_far_has_rows_of_every_feed(
    tokyo_calendar: Calendar, n_symbols: int, last: date
) -> None:
    # With this seed the first of the sectors has no symbol that is listed by `last`.
    spec = SimSpec(seed=1, n_symbols=n_symbols, first=date(2021, 6, 1), last=last, late_share=0.8)
    source = SimSource(spec, tokyo_calendar)
    made = {name: source.rows(name) for name in source.feeds()}
    assert made["sector_indices"].schema["sector"] == pl.String
    assert made["daily_bars"]["event_date"].max() == last
    in_sectors = made["sector_indices"].filter(event_date=last)["sector"]
    assert 0 < in_sectors.len() < len(SECTORS_33) - 1


def test_a_market_of_too_few_symbols_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"n_symbols\n.*greater than or equal to 20"):
        SimSpec(n_symbols=19)
