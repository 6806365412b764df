"""Summaries of statements in our words: one basis a document, actuals and two years' forecasts.

The API has a column for the group and one for the parent alone.  A document is read on one of
the two bases only: the group's where it says anything of the group, else the parent's; sums of
the two would be of nobody.
"""

from collections.abc import Mapping

import polars as pl

from alpha_assets.feeds.corporate import ACTUALS, FORECASTS
from alpha_assets.sources.jquants.parse import dates, numbers, text
from alpha_assets.sources.jquants.prices import clock

# Ours -> theirs.  Those of one basis have a twin, `NC...`, of the parent alone.
BASED = {
    "sales": "Sales",
    "operating_profit": "OP",
    "ordinary_profit": "OdP",
    "profit": "NP",
    "eps": "EPS",
    "total_assets": "TA",
    "equity": "Eq",
    "equity_ratio": "EqAR",
    "bps": "BPS",
}
PLAIN = {
    "diluted_eps": "DEPS",
    "operating_cash_flow": "CFO",
    "investing_cash_flow": "CFI",
    "financing_cash_flow": "CFF",
    "cash": "CashEq",
    "dividend": "DivAnn",
    "payout_ratio": "PayoutRatioAnn",
    "shares_outstanding": "ShOutFY",
    "treasury_shares": "TrShFY",
    "average_shares": "AvgSh",
}
EXPECTED = {
    "sales": "Sales",
    "operating_profit": "OP",
    "ordinary_profit": "OdP",
    "profit": "NP",
    "eps": "EPS",
}
THIS_YEAR, NEXT_YEAR = "F", "NxF"
# The one name that the API spells differently.
SPELLED = {"NxFNP": "NxFNp"}
PREFIXES = {"forecast": THIS_YEAR, "next": NEXT_YEAR}

GROUP = {
    **BASED,
    **{
        f"{ours}_{name}": SPELLED.get(f"{theirs}{word}", f"{theirs}{word}")
        for ours, theirs in PREFIXES.items()
        for name, word in EXPECTED.items()
    },
}
PARENT = {
    **{name: f"NC{word}" for name, word in BASED.items()},
    **{
        f"{ours}_{name}": f"{theirs}NC{word}"
        for ours, theirs in PREFIXES.items()
        for name, word in EXPECTED.items()
    },
}
EITHER = {
    **PLAIN,
    **{f"{ours}_dividend": f"{theirs}DivAnn" for ours, theirs in PREFIXES.items()},
}
WORDS = {
    "document": "DiscNo",
    "disclosed_at": "DiscTime",
    "kind": "DocType",
    "period": "CurPerType",
}
DAYS = {
    "period_start": "CurPerSt",
    "period_end": "CurPerEn",
    "fiscal_year_start": "CurFYSt",
    "fiscal_year_end": "CurFYEn",
}
COLUMNS = (
    "Code",
    "DiscDate",
    *WORDS.values(),
    *DAYS.values(),
    *GROUP.values(),
    *PARENT.values(),
    *EITHER.values(),
)
VALUES = (*ACTUALS, *(f"{prefix}_{name}" for prefix in PREFIXES for name in FORECASTS))
_KEY = ("DiscNo", "Code")


def statements(frame: pl.DataFrame) -> pl.DataFrame:
    """Return documents as they were disclosed; amounts are never restated for splits.

    `is_consolidated` is null where neither the kind of the document nor its columns say it:
    forecasts revised without a word about their basis.
    """
    group, parent = _values(frame, GROUP), _values(frame, PARENT)
    of_parent = _silent(group) & ~_silent(parent)
    values = {name: group[name].zip_with(~of_parent, parent[name]) for name in GROUP}
    values |= _values(frame, EITHER)
    made = {
        "event_date": dates(frame, "DiscDate", _KEY),
        "symbol": frame["Code"],
        **{ours: text(frame, theirs) for ours, theirs in WORDS.items()},
        **{ours: dates(frame, theirs, _KEY) for ours, theirs in DAYS.items()},
        "is_consolidated": _basis(frame, of_parent),
        **{name: values[name] for name in VALUES},
    }
    rows = pl.DataFrame(made).with_columns(clock(frame))
    return rows.sort("event_date", "symbol", "document", maintain_order=True)


def _values(frame: pl.DataFrame, words: Mapping[str, str]) -> dict[str, pl.Series]:
    return {ours: numbers(frame, theirs, _KEY) for ours, theirs in words.items()}


def _silent(values: Mapping[str, pl.Series]) -> pl.Series:
    """Return whether a row has none of some values."""
    return pl.DataFrame(dict(values)).select(pl.all_horizontal(pl.all().is_null())).to_series()


def _basis(frame: pl.DataFrame, of_parent: pl.Series) -> pl.Series:
    """Return whether a document is of the group; null where it does not say."""
    kind = text(frame, "DocType").fill_null("")
    alone = kind.str.contains("_NonConsolidated_", literal=True) | of_parent
    group = kind.str.contains("_Consolidated_", literal=True) & ~of_parent
    nothing = pl.Series([None], dtype=pl.Boolean).new_from_index(0, frame.height)
    return nothing.set(group, True).set(alone, False)
