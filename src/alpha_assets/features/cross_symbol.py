"""Features that read all symbols at once: how they are declared.

    @across(unit="fraction", source="Moskowitz & Grinblatt (1999).")
    def sec_ret_5(ret_5: Array, sector: Index) -> Array:

Its parameters are what it needs: an input, another feature of one symbol, `sector` (a number
per sector, -1 where unknown), `coarse_sector` (likewise, of the exchange's 17), `graph` (the
correlation graph of the session's week) or `graph_4w` (that of four weeks before).
Shape letters: D sessions, S sessions of one week, N symbols.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.arrays.types import Array, Index
from alpha_assets.features import liquidity, price, volatility
from alpha_assets.features.base import Feature, at_max_stale, family_of
from alpha_assets.features.correlation import WINDOW, Graph
from alpha_assets.features.inputs import INPUTS, MARKET_RETURN, inputs_at, parameters

WEEK = 5  # sessions in a week, at most
WEEKS_BEFORE = 4  # between `graph_4w` and `graph`, counting weeks that have a session
SECTOR, COARSE_SECTOR = "sector", "coarse_sector"
GRAPH, GRAPH_BEFORE = "graph", "graph_4w"
GRAPH_INPUTS = ("session_return", MARKET_RETURN)
# Returns behind a graph on the last session on which it is in force.
GRAPH_ROWS = {
    GRAPH: WEEK - 1 + WINDOW,
    GRAPH_BEFORE: WEEK - 1 + WEEKS_BEFORE * WEEK + WINDOW,
}
# Features of one symbol that others may be compared by.
OWN = {
    item.name: item for item in (*price.ret, price.mom_12_1, volatility.vol_yz_20, liquidity.turn_z)
}


@dataclass(frozen=True)
class Across(Feature):
    """A feature of one symbol that is made from all symbols.

    Attributes:
        needs: the names of the function's parameters; `inputs` are the inputs behind them.
    """

    needs: tuple[str, ...] = ()

    def __call__(self, *needs: Array | Index | Graph) -> Array:
        """Return the feature; NaN where it is unknown, and where it has no finite value."""
        return super().__call__(*cast(tuple[Array, ...], needs))

    @property
    def reads_graph(self) -> bool:
        """Whether it is computed week by week, on the graph."""
        return any(name in GRAPH_ROWS for name in self.needs)


def across(
    *, unit: str, source: str, formula: str = "", rows: int = 1
) -> Callable[[Callable[..., Array]], Across]:
    """Return a decorator that makes a function a feature across symbols.

    One that needs a graph is called with arrays [S, N] of the sessions of one week and
    returns [N] or [S, N]; any other one is called with [D, N].

    Args:
        unit: of the value, in words.
        source: who described it.
        formula: in the field's symbols; empty where the code says it as well.
        rows: rows of its needs behind one value, the row itself included.
    """

    def declare(fn: Callable[..., Array]) -> Across:
        name, needs = fn.__name__, parameters(fn)
        about = inspect.getdoc(fn) or ""
        assert about, f"feature {name}: no docstring says what it means"
        return Across(
            name=name,
            family=family_of(fn),
            inputs=tuple(dict.fromkeys(item for need in needs for item in _behind(need))),
            rows=rows,
            lookback=rows - 1 + max(_lookback(need, MAX_STALE) for need in needs),
            unit=unit,
            about=" ".join(about.split()),
            source=source,
            formula=formula,
            requires=(),
            fn=fn,
            feeds=("listings",) if {SECTOR, COARSE_SECTOR} & {*needs} else (),
            needs=needs,
        )

    return declare


def _behind(need: str) -> tuple[str, ...]:
    """Return the inputs that something needed is made of."""
    if need in (SECTOR, COARSE_SECTOR):
        return ()
    if need in GRAPH_ROWS:
        return GRAPH_INPUTS
    if need in OWN:
        return OWN[need].inputs
    assert need in INPUTS, f"{need!r} is no input, no graph, no feature of one symbol"
    return (need,)


def _lookback(need: str, max_stale: int) -> int:
    """Return the panel rows behind one value of something needed."""
    inputs = inputs_at(max_stale)
    if need in (SECTOR, COARSE_SECTOR):
        return 1
    if need in GRAPH_ROWS:
        return GRAPH_ROWS[need] - 1 + max(inputs[item].lookback for item in GRAPH_INPUTS)
    return feature_at(OWN[need], max_stale).lookback if need in OWN else inputs[need].lookback


def feature_at(item: Feature, max_stale: int) -> Feature:
    """Return a feature on a market with this `max_stale`; itself where that is its own."""
    if max_stale == item.max_stale:
        return item
    inputs = inputs_at(max_stale)
    if isinstance(item, Across):
        behind = max(_lookback(need, max_stale) for need in item.needs)
    else:
        behind = max(inputs[name].lookback for name in item.inputs)
    return at_max_stale(item, max_stale, behind)


@cache
def own_at(max_stale: int) -> Mapping[str, Feature]:
    """Return `OWN` on a market with this `max_stale`."""
    return {name: feature_at(item, max_stale) for name, item in OWN.items()}
