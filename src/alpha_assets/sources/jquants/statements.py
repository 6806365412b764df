"""Summaries of statements: one basis a document, actuals and two years' forecasts.

The API has a column for the group and one for the parent alone.  A document is read on one of
the two bases only: the group's where any value of the group is there, else the parent's.
"""

from collections.abc import Mapping

import polars as pl

from alpha_assets.feeds.corporate import STATEMENTS
from alpha_assets.sources.jquants.endpoints import FINS_SUMMARY
from alpha_assets.sources.jquants.parse import columns_of, in_order, numbers, text
from alpha_assets.sources.jquants.prices import clock

_PARENT = "parent."
_THEIRS = {
    ours: theirs
    for ours, theirs in FINS_SUMMARY.theirs.items()
    if STATEMENTS.schema[ours.removeprefix(_PARENT)] == pl.Float64
}
# Ours -> theirs: of the parent alone, of the group, and those without a basis.
PARENT = {
    ours.removeprefix(_PARENT): theirs
    for ours, theirs in _THEIRS.items()
    if ours.startswith(_PARENT)
}
GROUP = {ours: theirs for ours, theirs in _THEIRS.items() if ours in PARENT}
EITHER = {
    ours: theirs
    for ours, theirs in _THEIRS.items()
    if ours not in GROUP and not ours.startswith(_PARENT)
}


def statements(frame: pl.DataFrame) -> pl.DataFrame:
    """Return documents as they were disclosed; amounts are never restated for splits.

    `is_consolidated` is null where neither the kind of the document nor its columns
    name the basis.
    """
    group, parent = _values(frame, GROUP), _values(frame, PARENT)
    of_parent = _is_empty(group) & ~_is_empty(parent)
    columns = {
        **columns_of(FINS_SUMMARY, frame, skip=GROUP),
        **{name: group[name].zip_with(~of_parent, parent[name]) for name in GROUP},
        "is_consolidated": _basis(frame, of_parent),
    }
    rows = in_order(FINS_SUMMARY, columns).with_columns(clock(frame))
    return rows.sort("event_date", "symbol", "document", maintain_order=True)


def _values(frame: pl.DataFrame, words: Mapping[str, str]) -> dict[str, pl.Series]:
    return {ours: numbers(frame, theirs, FINS_SUMMARY.key) for ours, theirs in words.items()}


def _is_empty(values: Mapping[str, pl.Series]) -> pl.Series:
    """Return whether a row has none of some values."""
    return pl.DataFrame(dict(values)).select(pl.all_horizontal(pl.all().is_null())).to_series()


def _basis(frame: pl.DataFrame, of_parent: pl.Series) -> pl.Series:
    """Return whether a document is of the group; null where it is not known."""
    kind = text(frame, "DocType").fill_null("")
    alone = kind.str.contains("_NonConsolidated_", literal=True) | of_parent
    group = kind.str.contains("_Consolidated_", literal=True) & ~of_parent
    nothing = pl.Series([None], dtype=pl.Boolean).new_from_index(0, frame.height)
    return nothing.set(group, True).set(alone, False)
