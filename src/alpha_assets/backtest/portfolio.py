"""What to hold, from one session's scores and what was known when it was decided.

No price of the session, or of a later one, is an argument of anything here.
Shape letters: N scored names, M names that are scored or held, T sessions.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from math import nan
from typing import NamedTuple, TypedDict

import numpy as np
import polars as pl

from alpha_assets.arrays.places import codes
from alpha_assets.arrays.types import Array, Index
from alpha_assets.backtest.costs import CostsSpec
from alpha_assets.backtest.rules import (
    Charges,
    OptimisedSpec,
    PortfolioSpec,
    QuantileSpec,
    Seen,
    Worth,
    aim_of,
    declared,
    moved,
    worth_of,
)
from alpha_assets.backtest.rules.base import BETA, COVARIANCE_SESSIONS, RETURN, VOLATILITY
from alpha_assets.backtest.rules.optimised import ADV, SPREAD
from alpha_assets.errors import BadInput, SpecError

TARGETS = {
    "session": pl.Date,
    "symbol": pl.String,
    "score": pl.Float32,
    "target_weight": pl.Float64,
    "reason": pl.String,
}
NO_SCORE = "no longer scored"  # of a name that is held and on its way out


@dataclass(frozen=True)
class Known:
    """What is known of names at a session, beside their scores.

    Attributes:
        not_shortable: symbols known not to be shortable: no short position is entered in them.
        held: weights that the targets so far hold, of names that are still in the market.
        sector: by symbol; a name without one counts as of a sector of its own.
        features: `symbol` and the features that the rule reads, as of the session.
        returns: `session`, `symbol`, `ret_1` up to the session; of rules with a covariance.
        scores: `session`, `symbol`, `score` of the session and those before; of rules that
            estimate what a score was worth.
        sessions: consecutive ones of the market up to the session; of the same rules.
        costs: the recipe's; of rules that read them.
    """

    not_shortable: Collection[str] = ()
    held: Mapping[str, float] = field(default_factory=dict)
    sector: Mapping[str, str | None] = field(default_factory=dict)
    features: pl.DataFrame | None = None
    returns: pl.DataFrame | None = None
    scores: pl.DataFrame | None = None
    sessions: Sequence[date] = ()
    costs: CostsSpec | None = None


NOTHING_KNOWN = Known()


class Decided(NamedTuple):
    """What was decided for a session.

    Attributes:
        rows: `TARGETS`.
        filled: share of `gross_exposure` that the rule aims at; see `Aim.filled`.
    """

    rows: pl.DataFrame
    filled: float


def check_portfolio(spec: PortfolioSpec, price_level: str, named: int | None = None) -> None:
    """Refuse rules that a market or its universe can never follow.

    Args:
        spec: the rule.
        price_level: of the market.
        named: names of the universe, where they are listed; else None.

    Raises:
        SpecError: lots on split-adjusted prices, sides that the universe can never fill, a hold
            band as wide as the universe, or one that reaches into the other side.
    """
    if spec.lot is not None and price_level != "raw":
        raise SpecError(
            f"portfolio.lot = {spec.lot} needs prices as traded, and this market's price level "
            f"is {price_level!r}; leave lot out"
        )
    if named is not None and spec.most_names(named) < spec.min_side:
        raise SpecError(
            f"portfolio: of the {named} names of the universe a side holds "
            f"{spec.most_names(named)}, and min_side = {spec.min_side}: nothing would ever be "
            "held; set quantile or count so that a side has enough names, choose rank_weighted, "
            "or lower min_side"
        )
    if named is not None and isinstance(spec, QuantileSpec) and spec.count is not None:
        _check_count(spec, spec.count, named)
    last = None if named is None else spec.last_rank(named)
    if named is not None and last is not None and last >= named:
        raise SpecError(
            f"portfolio: a held name leaves below rank {last} (exit_count or exit_quantile), and "
            f"the universe has {named} names: none would ever leave; set a narrower band"
        )


def _check_count(spec: QuantileSpec, count: int, named: int) -> None:
    """Refuse sides, and bands around them, that a universe of named symbols is too small for."""
    n_sides = 1 if spec.is_long_only else 2
    if n_sides * count > named:
        sides = "a side of" if n_sides == 1 else "two sides of"
        raise SpecError(
            f"portfolio: {sides} count = {count} names, {n_sides * count} in all, could never be "
            f"full: the universe has {named}; want at most {named // n_sides}"
        )
    if n_sides == 2 and (spec.exit_count or 0) + count > named:
        raise SpecError(
            f"portfolio: exit_count = {spec.exit_count} of the {named} names of the universe "
            f"reaches into the {count} that the other side enters: a name would stay long among "
            f"those to be short; want at most {named - count}"
        )


def target_weights(
    scores: pl.DataFrame, known: Known | Collection[str], spec: PortfolioSpec
) -> pl.DataFrame:
    """Return what to hold from one session on; see `decided`."""
    return decided(scores, known, spec).rows


def decided(scores: pl.DataFrame, known: Known | Collection[str], spec: PortfolioSpec) -> Decided:
    """Return what to hold from one session on, and how much of its exposure the rule aims at.

    Names of equal score stand in the order of symbols.  Two sides share the gross exposure
    equally; one side alone has all of it.  Every scored name has a row, and every name that the
    targets so far hold: a weight of 0 is one that is not to be held.

    Args:
        scores: `session`, `symbol`, `horizon`, `score` of one session.
        known: of its names; a collection: symbols that cannot be shorted, and nothing else.
        spec: the rule.

    Raises:
        BadInput: several sessions, a symbol twice, a score that is not a finite number, or a rule
            that reads costs and is given none.
    """
    if not isinstance(known, Known):
        known = Known(not_shortable=known)
    scored = (
        scores.filter(pl.col("horizon") == spec.horizon)
        .select("session", "symbol", "score")
        .sort("symbol")
    )
    _check_scores(scored)
    if not scored.height:
        rows = scored.with_columns(target_weight=pl.lit(0.0), reason=pl.lit("")).cast(TARGETS)  # type: ignore[arg-type]
        return Decided(rows, nan)
    symbols = scored["symbol"].to_list()
    seen = _seen(scored, symbols, known, spec)
    aim = aim_of(seen, spec)
    gone = sorted(set(known.held) - set(symbols)) if spec.remembers else []
    held_M = np.concatenate([seen.held_N, [known.held[name] for name in gone]])
    aim_M = np.concatenate([aim.weight_N, np.zeros(len(gone))])
    sector_M = _sectors([*symbols, *gone], known)
    weight_M = moved(held_M, aim_M, sector_M, spec).weight_M
    n = len(symbols)
    rows = scored.with_columns(
        pl.Series("target_weight", weight_M[:n]),
        pl.Series("reason", aim.reason_N.tolist(), pl.String),
    ).cast(TARGETS)  # type: ignore[arg-type]
    if not gone:
        return Decided(rows, aim.filled)
    leaving = pl.DataFrame(
        {
            "session": [scored["session"][0]] * len(gone),
            "symbol": gone,
            "score": [None] * len(gone),
            "target_weight": weight_M[n:],
            "reason": [NO_SCORE] * len(gone),
        },
        schema=TARGETS,
    )
    return Decided(pl.concat([rows, leaving]).sort("symbol"), aim.filled)


def _seen(scored: pl.DataFrame, symbols: list[str], known: Known, spec: PortfolioSpec) -> Seen:
    """Return what the rule sees of the scored names."""
    features = known.features
    if features is None:
        features = pl.DataFrame({"symbol": symbols})
    of_names = scored.select("symbol").join(
        features, on="symbol", how="left", maintain_order="left"
    )

    def column(name: str) -> Array:
        if name not in of_names.columns:
            return np.full(len(symbols), np.nan)
        return of_names[name].cast(pl.Float64).fill_null(np.nan).to_numpy()

    return_TN = _returns(symbols, known)[-COVARIANCE_SESSIONS:]
    return Seen(
        session=str(scored["session"][0]),
        score_N=scored["score"].to_numpy().astype(np.float64),
        held_N=np.array([known.held.get(name, 0.0) for name in symbols]),
        is_barred_N=np.array([name in known.not_shortable for name in symbols], dtype=bool),
        sector_N=_sectors(symbols, known),
        volatility_N=column(VOLATILITY),
        beta_N=column(BETA),
        regime={name: _flag(features, name) for name in spec.regimes.used},
        return_TN=return_TN,
        **_weighed(symbols, known, spec, return_TN, column),
    )


class _Weighed(TypedDict, total=False):
    charges: Charges
    worth: Worth


def _weighed(
    symbols: list[str],
    known: Known,
    spec: PortfolioSpec,
    return_TN: Array,
    column: Callable[[str], Array],
) -> _Weighed:
    """Return what a rule reads that weighs drift against costs; of another rule nothing."""
    if not isinstance(spec, OptimisedSpec):
        return {}
    if known.costs is None:
        raise BadInput(f"rule {spec.kind!r} reads costs, and none were given")
    charges = Charges.of(known.costs, spec.capital, column(ADV), column(SPREAD), return_TN)
    if spec.drift_bps is not None:
        return {"charges": charges, "worth": declared(spec.drift_bps)}
    if known.scores is None or known.returns is None:
        return {"charges": charges}
    names = sorted({*known.scores["symbol"].to_list(), *symbols})
    sessions = known.sessions[-(spec.scores_back + 1) :]
    worth = worth_of(
        _spread(known.scores, "score", sessions, names),
        _spread(known.returns, RETURN, sessions, names),
        spec.horizon,
        spec.calibration_sessions,
    )
    return {"charges": charges, "worth": worth}


def _spread(
    frame: pl.DataFrame, value: str, sessions: Sequence[date], symbols: Sequence[str]
) -> Array:
    """Return a column on the axes (sessions, symbols), NaN where unknown."""
    days, names = pl.Series(sessions, dtype=pl.Date), pl.Series(symbols, dtype=pl.String)
    is_asked = pl.col("session").is_in(days.implode()) & pl.col("symbol").is_in(names.implode())
    rows = frame.filter(is_asked)
    found_DN = np.full((len(days), len(names)), np.nan)
    place_R = days.search_sorted(rows["session"]).to_numpy()
    column_R = codes(rows["symbol"], names)
    found_DN[place_R, column_R] = rows[value].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return found_DN


def _sectors(symbols: list[str], known: Known) -> Index:
    """Return the place of each name's sector; an unknown one is a sector of its own."""
    words = [known.sector.get(name) for name in symbols]
    places = {word: k for k, word in enumerate(sorted({word for word in words if word}))}
    return np.array([places[word] if word else -1 for word in words], dtype=np.int64)


def _flag(features: pl.DataFrame, name: str) -> float | None:
    """Return a flag of the market, which is the same in every row; None where it is unknown."""
    if name not in features.columns:
        return None
    values = features[name].drop_nulls().drop_nans()
    return float(values[0]) if len(values) else None


def _returns(symbols: list[str], known: Known) -> Array:
    """Return daily returns on the axes (sessions, symbols), NaN where unknown."""
    if known.returns is None:
        return np.full((0, len(symbols)), np.nan)
    sessions = known.returns["session"].unique().sort()
    place = {name: k for k, name in enumerate(symbols)}
    rows = known.returns.filter(pl.col("symbol").is_in(symbols))
    return_TN = np.full((len(sessions), len(symbols)), np.nan)
    row_R = sessions.search_sorted(rows["session"]).to_numpy()
    column_R = rows["symbol"].replace_strict(place, return_dtype=pl.Int64).to_numpy()
    return_TN[row_R, column_R] = rows[RETURN].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return return_TN


def _check_scores(scored: pl.DataFrame) -> None:
    if scored["session"].n_unique() > 1:
        raise BadInput(
            f"scores of {scored['session'].n_unique()} sessions were given; targets are decided "
            "one session at a time"
        )
    if scored["symbol"].n_unique() < scored.height:
        twin = scored["symbol"].filter(scored["symbol"].is_duplicated())[0]
        raise BadInput(f"symbol {twin!r} has two scores in one session; want one")
    odd = scored.filter(~pl.col("score").is_finite().fill_null(False))
    if odd.height:
        first = odd.row(0, named=True)
        raise BadInput(
            f"{odd.height} scores are not finite numbers, first {first['symbol']!r} at "
            f"{first['session']}: {first['score']}; a name without a score has no row"
        )
