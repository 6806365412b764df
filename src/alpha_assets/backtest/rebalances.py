"""Which sessions rebalance, and targets as weights on the axes of a market.

A period (a session, an ISO week, a month) is rebalanced on its first session that can be
decided: one at which some name of the universe had a bar on the session before.  What came
later in the period plays no part, so that the rule can be followed on the day.
Shape letters: D rebalance sessions, N symbols, R rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from alpha_assets.arrays.places import codes
from alpha_assets.arrays.types import Array, Dates
from alpha_assets.backtest.rules import PortfolioSpec, QuantileSpec
from alpha_assets.backtest.rules.cost_aware import UNSOLVED
from alpha_assets.backtest.rules.quantile import BOTTOM, TOP
from alpha_assets.calendar import Calendar, RebalanceRule
from alpha_assets.errors import BadInput

if TYPE_CHECKING:
    from alpha_assets.backtest.market_data import Marks

MUCH_LESS = 0.9  # of the exposure
MAX_GROSS = 10.0  # of equity: the limit of `portfolio.gross_exposure`
ROUNDING = 1e-9  # of equity
BOUND = 1 - 1e-5  # of a cap: who trades more than this share of it was stopped by it


def rebalance_sessions(
    decided: Dates, earlier: Dates, calendar: Calendar, rule: RebalanceRule
) -> Dates:
    """Return those of `decided` that are the first decided session of their period.

    Args:
        decided: sessions with scores, sorted.
        earlier: sessions before them in the period of the first one that were decided as well.
        calendar: of the market.
        rule: when the portfolio rebalances.
    """
    both = np.union1d(np.asarray(earlier, dtype="datetime64[D]"), decided)
    period = calendar.period_of(both, rule)
    first = np.append(True, period[1:] != period[:-1])[: len(both)]
    return np.intersect1d(both[first], decided)


@dataclass(frozen=True)
class Displaced:
    """Rebalances that did not take place where the calendar has them.

    Attributes:
        moved: the calendar's session and the one on which the period was rebalanced.
        missed: the calendar's session of each period in which nothing could be decided.
    """

    moved: tuple[tuple[np.datetime64, np.datetime64], ...]
    missed: tuple[np.datetime64, ...]

    @property
    def sentences(self) -> tuple[str, ...]:
        """What happened, for a log and a report; empty where nothing did."""
        found = []
        if self.moved:
            days = _some([f"{when} instead of {due}" for due, when in self.moved])
            found.append(
                f"{len(self.moved)} rebalances came later than the first session of their period, "
                f"because no name of the universe had a bar on the session before: {days}."
            )
        if self.missed:
            days = _some([str(day) for day in self.missed])
            found.append(
                f"{len(self.missed)} rebalances were missed, because on no session of their "
                f"period a name of the universe had a bar on the session before: due {days}."
            )
        return tuple(found)


def displaced(
    rebalanced: Dates, sessions: Dates, calendar: Calendar, rule: RebalanceRule
) -> Displaced:
    """Return which rebalances of periods that begin within `sessions` were moved or missed.

    Args:
        rebalanced: sessions that were rebalance sessions.
        sessions: of the market, consecutive; a period that ends after them is not missed yet.
        calendar: of the market.
        rule: when the portfolio rebalances.
    """
    moved, missed = [], []
    if not len(sessions):
        return Displaced((), ())
    when = dict(zip(calendar.period_of(rebalanced, rule).tolist(), rebalanced, strict=True))
    due = sessions[calendar.rebalances(sessions, rule)]
    for day, period in zip(due, calendar.period_of(due, rule).tolist(), strict=True):
        actual = when.get(period)
        if actual is None:
            if calendar.period_sessions(day, rule)[-1] <= sessions[-1]:
                missed.append(day)
        elif actual != day:
            moved.append((day, actual))
    return Displaced(tuple(moved), tuple(missed))


@dataclass(frozen=True)
class HeldBack:
    """Rebalances that could not be what their rule asks for.

    Attributes:
        unsolved: at which a solver did not converge, so that what was held stayed.
        over_cap: at which limits took more trading than `max_turnover` allows.
        capped: at which `max_turnover` was traded and no more: the cap bound.
        n: rebalances in all.
        gross: sum of absolute weights at the last one.
    """

    unsolved: tuple[date, ...]
    over_cap: tuple[date, ...]
    capped: tuple[date, ...] = ()
    n: int = 0
    gross: float = 0.0

    @property
    def sentences(self) -> tuple[str, ...]:
        """What happened, for a log and a report; empty where nothing did."""
        found = []
        if self.unsolved:
            found.append(
                f"At {len(self.unsolved)} rebalances the solver did not converge, and what was "
                f"held stayed, cut to its limits: {_some([str(day) for day in self.unsolved])}."
            )
        if self.over_cap:
            found.append(
                f"At {len(self.over_cap)} rebalances limits took more trading than "
                f"portfolio.max_turnover allows: {_some([str(day) for day in self.over_cap])}."
            )
        if self.capped:
            found.append(
                f"At {len(self.capped)} of {self.n} rebalances trading stopped at "
                "portfolio.max_turnover, short of what the rule aims at; the last one holds "
                f"{self.gross:.3g} of equity: {_some([str(day) for day in self.capped])}."
            )
        return tuple(found)


def held_back(
    targets: pl.DataFrame, max_turnover: float | None, held: Mapping[str, float] | None = None
) -> HeldBack:
    """Return which rebalances of some targets could not be what their rule asks for.

    Args:
        targets: consecutive rebalances.
        max_turnover: the rule's cap, if it has one.
        held: weights of the targets before them; None: nothing.
    """
    stuck = targets.filter(pl.col("reason") == UNSOLVED)["session"].unique().sort().to_list()
    over, capped, before = list[date](), list[date](), dict(held or {})
    for (session,), rows in targets.sort("session", "symbol").group_by(
        "session", maintain_order=True
    ):
        now = dict(rows.select("symbol", "target_weight").iter_rows())
        # Names without a row have left the market: given up, not sold.
        turnover = sum(abs(weight - before.get(name, 0.0)) for name, weight in now.items())
        if max_turnover is not None and turnover > max_turnover + ROUNDING:
            over.append(session)
        elif max_turnover is not None and turnover > max_turnover * BOUND:
            capped.append(session)
        before = now
    gross = sum(abs(weight) for weight in before.values())
    return HeldBack(tuple(stuck), tuple(over), tuple(capped), targets["session"].n_unique(), gross)


def below_exposure(filled: Mapping[date, float], n: int, rule: PortfolioSpec) -> tuple[str, ...]:
    """Return, in words, that a rule aims at much less than its exposure; else nothing.

    What is aimed at counts, not what is held on the way there: a book that is built up in steps, or
    under a cap on turnover, is not short of its exposure.

    Args:
        filled: by rebalance the share of the exposure that is aimed at, where it is less than
            `MUCH_LESS`; see `little_aimed_at`.
        n: rebalances in all.
        rule: that decided them.
    """
    if not filled:
        return ()
    first = min(filled)
    limits = ", ".join(f"portfolio.{name} = {value:g}" for name, value in rule.limits.items())
    some = f"At {len(filled)} of {n} rebalances"
    exposure = f"less than {MUCH_LESS:.0%} of portfolio.gross_exposure = {rule.gross_exposure:g}"
    amount = f"{filled[first] * rule.gross_exposure:.3g} at {first}"
    if not rule.fills_its_exposure:
        return (
            f"{some} rule = {rule.rule!r} aimed at {exposure}, the most that it may hold, first "
            f"{amount}: drift, risk and costs leave no more worth holding"
            f"{f', inside {limits}' if limits else ''}.",
        )
    return (
        f"{some} the limits left {exposure} to aim at, first {amount}: {limits or 'neutrality'} "
        "hold it back; want wider limits, more names a side, or a lower exposure.",
    )


def thin_sides(targets: pl.DataFrame, rule: PortfolioSpec) -> tuple[str, ...]:
    """Return, in words, that the universe is too small for the rule's sides; else nothing.

    Where fewer names than `count` could be held on a side, and where a band reaches among the names
    that the other side enters, or to the last one.

    Args:
        targets: rebalances; those that hold nothing are not counted.
        rule: that decided them.
    """
    if not isinstance(rule, QuantileSpec):
        return ()
    each = (
        targets.group_by("session")
        .agg(
            n=pl.col("score").is_not_null().sum(),
            long=(pl.col("reason") == TOP).sum(),
            short=(pl.col("reason") == BOTTOM).sum(),
            is_empty=(pl.col("target_weight") == 0).all(),
        )
        .filter(~pl.col("is_empty"))
        .sort("session")
    )
    sides = ["long"] if rule.is_long_only else ["long", "short"]
    found = []
    thin = each.filter(pl.min_horizontal(sides) < (rule.count or 0))
    if thin.height:
        first = thin.row(0, named=True)
        names = " and ".join(f"{first[side]} {side}" for side in sides)
        found.append(
            f"At {thin.height} of {each.height} rebalances a side has fewer names than "
            f"portfolio.count = {rule.count}, first {names} at {first['session']}: the universe "
            "has too few that may be held; want a smaller count."
        )
    wide = [
        (row["session"], row["n"])
        for row in each.iter_rows(named=True)
        if (rule.exit_count or 0) + (1 if rule.is_long_only else rule.size(row["n"])) > row["n"]
    ]
    if rule.exit_count is not None and wide:
        day, n = wide[0]
        where = "to the last name" if rule.is_long_only else "among those that the other side holds"
        found.append(
            f"At {len(wide)} of {each.height} rebalances the hold band reaches {where}, first at "
            f"{day}: a name leaves below rank {rule.exit_count} of {n} (portfolio.exit_count); "
            "want a narrower band."
        )
    return tuple(found)


def little_aimed_at(filled: Mapping[date, float]) -> dict[date, float]:
    """Return the rebalances that aim at much less than the rule's exposure.

    Args:
        filled: by rebalance the share of the exposure that is aimed at; those that aim at nothing
            are counted as empty, and not here.
    """
    return {day: share for day, share in filled.items() if 0 < share < MUCH_LESS}


def _some(words: list[str], most: int = 5) -> str:
    rest = f", and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + rest


def targets_by_session(targets: pl.DataFrame, marks: "Marks") -> dict[int, Array]:
    """Return the weights of each rebalance by the place of its session; 0 without a row.

    Raises:
        BadInput: a date that is no session of the marks, a name without marks, a weight that
            is not a finite number, two rows of one session and symbol, or weights of a session
            that sum to more than any gross exposure allows.
    """
    named = targets.filter(pl.col("session") <= marks.sessions[-1])
    day_R = named["session"].to_numpy().astype("datetime64[D]")
    session_R = np.searchsorted(marks.sessions, day_R)
    is_stranger_R = marks.sessions[session_R] != day_R
    if is_stranger_R.any():
        raise BadInput(
            f"targets of {day_R[is_stranger_R][0]} have no session in the books, which begin on "
            f"{marks.sessions[0]}; targets stand on sessions"
        )
    n_rows_D = np.bincount(session_R, minlength=len(marks.sessions))
    days = np.flatnonzero(n_rows_D)
    place_R = (np.cumsum(n_rows_D > 0) - 1)[session_R]
    is_named_R = named["symbol"].is_not_null().to_numpy()
    place_R, named = place_R[is_named_R], named.filter(pl.Series(is_named_R))
    odd = named.filter(~pl.col("target_weight").is_finite().fill_null(False))
    if odd.height:
        first = odd.row(0, named=True)
        raise BadInput(
            f"the target of {first['symbol']!r} on {first['session']} is "
            f"{first['target_weight']}; want a share of equity, signed"
        )
    symbol_R = codes(named["symbol"], pl.Series(marks.symbols, dtype=pl.String))
    if (symbol_R < 0).any():
        unknown = named["symbol"].to_list()[int(np.argmax(symbol_R < 0))]
        raise BadInput(f"targets name {unknown!r}, which the marks do not have")
    shape = (len(days), len(marks.symbols))
    cell_R = place_R * len(marks.symbols) + symbol_R
    n_rows_DN = np.bincount(cell_R, minlength=shape[0] * shape[1]).reshape(shape)
    if (n_rows_DN > 1).any():
        d, n = np.argwhere(n_rows_DN > 1)[0]
        raise BadInput(
            f"{marks.symbols[n]!r} has {n_rows_DN[d, n]} targets on {marks.sessions[days[d]]}; "
            "want one"
        )
    weight_DN = np.zeros(n_rows_DN.shape)
    weight_DN.ravel()[cell_R] = named["target_weight"].to_numpy()
    gross_D = np.abs(weight_DN).sum(axis=1)
    if (gross_D > MAX_GROSS + ROUNDING).any():
        d = int(np.argmax(gross_D > MAX_GROSS + ROUNDING))
        raise BadInput(
            f"the absolute targets of {marks.sessions[days[d]]} sum to {gross_D[d]:g} of equity, "
            f"and {MAX_GROSS:g} is the most that portfolio.gross_exposure allows; a target is a "
            "share of equity: are they in percent, or in money?"
        )
    return dict(zip(days.tolist(), weight_DN, strict=True))
