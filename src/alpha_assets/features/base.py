"""What a feature is: a documented function of named inputs with a declared look-back.

    @feature(rows=YEAR + 1, unit="fraction", source="Jegadeesh & Titman (1993).")
    def mom_12_1(last_close: Array) -> Array:

Its parameters are its inputs, the constant `FAMILY` of its module is its family, its docstring is
what it means.  `windowed` makes one feature per window of a function with a keyword `n`.
Decorating registers nothing: `CATALOG` in `features/__init__.py` lists what exists.
"""

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import Any

import numpy as np

from alpha_assets.arrays.keys import MAX_STALE
from alpha_assets.arrays.types import Array
from alpha_assets.features.inputs import INPUTS, carries, parameters, union, widest
from alpha_assets.feeds.base import Scope

SESSIONS_PER_YEAR = 245  # Tokyo, mean of 2016-2026: what every annualised feature is scaled by


# What a market must offer for a feature that declares it, and why another market lacks it.
REQUIREMENTS = {
    "raw_price_level": "needs prices as they were traded, and this market's carry later splits",
    "tse_ticks": "needs the Tokyo exchange's table of ticks, and this market has another",
}


@dataclass(frozen=True)
class Feature:
    """One number per session and symbol that looks only backwards.

    Attributes:
        name: its column in the table `features`.
        family: the file it stands in; missing shares are counted per family.
        inputs: names in `INPUTS`, in the order of the function's parameters.
        rows: rows of its inputs behind one value, the row itself included.
        lookback: rows of the panel behind one value, those behind its inputs included.
        unit: of the value, in words.
        about: what it means in the market.
        formula: in the field's symbols; empty where the code says it as well.
        source: who described it.
        requires: keys of `REQUIREMENTS` that a market must offer, those of its inputs included.
        fn: from the inputs' arrays [D, N] to the feature's.
        scope: of whom it is a fact: a symbol, its sector or section, or the whole market; a
            wider one is computed once per key and is equal for all of its symbols.
        feeds: side feeds that it is made from; a market without one of them lacks it.
        max_stale: sessions over which a symbol's last price is carried: its market's setting.
    """

    name: str
    family: str
    inputs: tuple[str, ...]
    rows: int
    lookback: int
    unit: str
    about: str
    source: str
    requires: tuple[str, ...]
    fn: Callable[..., Array]
    scope: Scope = "symbol"
    feeds: tuple[str, ...] = ()
    formula: str = ""
    max_stale: int = MAX_STALE

    def __call__(self, *inputs_DN: Array) -> Array:
        """Return the feature; NaN where it is unknown, and where it has no finite value."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            # Adding zero makes -0.0 the 0.0 that it means.
            value_DN = self.fn(*inputs_DN) + 0.0
            value_DN[~np.isfinite(value_DN)] = np.nan
        return value_DN


def feature(
    *, rows: int, unit: str, source: str, formula: str = "", requires: tuple[str, ...] = ()
) -> Callable[[Callable[..., Array]], Feature]:
    """Return a decorator that makes a function a feature; its docstring is the meaning.

    Args:
        rows: rows of its inputs behind one value, the row itself included; `max_stale` more
            where the function has that keyword.
        unit: of the value, in words.
        source: who described it.
        formula: in the field's symbols; empty where the code says it as well.
        requires: keys of `REQUIREMENTS`, beside those that its inputs require.
    """

    def declare(fn: Callable[..., Array]) -> Feature:
        return build_feature(
            fn.__name__,
            family_of(fn),
            fn,
            parameters(fn),
            rows=rows,
            unit=unit,
            about=inspect.getdoc(fn) or "",
            formula=formula,
            source=source,
            requires=requires,
        )

    return declare


def windowed(
    *,
    windows: tuple[int, ...],
    rows: Callable[[int], int],
    unit: str,
    source: str,
    formula: str = "",
    requires: tuple[str, ...] = (),
) -> Callable[[Callable[..., Array]], tuple[Feature, ...]]:
    """Return a decorator that makes a function of a keyword `n` one feature per window.

    The feature for n = 20 of `ret` is called `ret_20`; `{n}` in the docstring and in the formula
    becomes 20.

    Args:
        windows: the values of n.
        rows: from n to the rows of its inputs behind one value.
        unit: of the value, in words.
        source: who described it.
        formula: in the field's symbols; empty where the code says it as well.
        requires: keys of `REQUIREMENTS`, beside those that its inputs require.
    """

    def declare(fn: Callable[..., Array]) -> tuple[Feature, ...]:
        return tuple(
            build_feature(
                f"{fn.__name__}_{n}",
                family_of(fn),
                partial(fn, n=n),
                parameters(fn),
                rows=rows(n),
                unit=unit,
                about=(inspect.getdoc(fn) or "").replace("{n}", str(n)),
                formula=formula.replace("{n}", str(n)),
                source=source,
                requires=requires,
            )
            for n in windows
        )

    return declare


def build_feature(
    name: str,
    family: str,
    fn: Callable[..., Array],
    inputs: tuple[str, ...],
    *,
    rows: int,
    unit: str,
    about: str,
    source: str,
    formula: str = "",
    requires: tuple[str, ...] = (),
) -> Feature:
    """Return a feature; directly for tables of features that differ in their inputs only."""
    assert about.strip(), f"feature {name}: no docstring says what it means"
    assert source, f"feature {name}: it names no source"
    for item in inputs:
        assert item in INPUTS, f"feature {name}: {item!r} is no input; {_near(item)}"
    requires = union([*(INPUTS[item].requires for item in inputs), requires])
    for item in requires:
        assert item in REQUIREMENTS, f"feature {name}: unknown requirement {item!r}"
    if carries(fn):
        rows, fn = rows + MAX_STALE, partial(fn, max_stale=MAX_STALE)
    return Feature(
        name=name,
        family=family,
        inputs=inputs,
        rows=rows,
        lookback=rows + max(INPUTS[item].lookback for item in inputs) - 1,
        unit=unit,
        about=" ".join(about.split()),
        source=source,
        formula=formula,
        requires=requires,
        fn=fn,
        scope=widest(INPUTS[item].scope for item in inputs),
        feeds=union(INPUTS[item].feeds for item in inputs),
    )


def at_max_stale(item: Feature, max_stale: int, behind: int) -> Feature:
    """Return a feature on a market with this `max_stale`: its function and its look-back.

    Args:
        item: the feature.
        max_stale: of the market.
        behind: panel rows behind one row of what the function reads.
    """
    rows, fn = item.rows, item.fn
    if carries(fn):
        rows, fn = rows + max_stale - item.max_stale, partial(fn, max_stale=max_stale)
    return replace(item, rows=rows, fn=fn, max_stale=max_stale, lookback=rows - 1 + behind)


def shared_max_stale(catalog: Iterable[Feature]) -> int:
    """Return the `max_stale` of features of one market."""
    found = {item.max_stale for item in catalog} or {MAX_STALE}
    assert len(found) == 1, f"features of several markets: max_stale {sorted(found)}"
    return found.pop()


def _near(name: str) -> str:
    near = ", ".join(get_close_matches(name, INPUTS, n=5))
    return f"did you mean one of {near}?" if near else "want one of INPUTS"


def family_of(declared: Callable[..., Any]) -> str:
    """Return the family that the module of a feature declares as `FAMILY`.

    It is the prefix of stored columns and what recipes name, whatever the file is called.
    """
    family = declared.__globals__.get("FAMILY")
    assert isinstance(family, str), f"{declared.__module__} declares no FAMILY"
    return family


def as_known(x_DN: Array) -> Array:
    """Return an input as it is: what was known is the feature."""
    return x_DN.copy()
