"""The API's tables beside the prices in our words: shorts, margin, flows, options, companies.

Every function takes text as it landed and returns rows in the order of their key.  A price of 0
in the options table means that nothing was traded.
"""

import polars as pl

from alpha_assets.calendar import Calendar
from alpha_assets.errors import FeedError
from alpha_assets.feeds.base import DataType
from alpha_assets.feeds.flows import ALL_SECTIONS, INVESTORS
from alpha_assets.feeds.margin import REASONS
from alpha_assets.sources.jquants.parse import dates, numbers, text
from alpha_assets.sources.jquants.prices import SECTORS, clock, on_sessions

_SECTOR_OF_CODE = {code: english for code, _, english in SECTORS}
_N_SECTORS = 33
# The exchange counts its sector indices on with letters: 0049, 004A, ..., 0060.
SECTOR_OF_INDEX = {f"{0x40 + n:04X}": SECTORS[n][2] for n in range(_N_SECTORS)}

SECTIONS = {
    "TSE1st": "First Section",
    "TSE2nd": "Second Section",
    "TSEMothers": "Mothers",
    "TSEJASDAQ": "JASDAQ",
    "TSEPrime": "Prime",
    "TSEStandard": "Standard",
    "TSEGrowth": "Growth",
    "TokyoNagoya": ALL_SECTIONS,
}
INVESTOR_WORDS = dict(
    zip(
        INVESTORS,
        ("Prop", "Brk", "Tot", "Ind", "Frgn", "SecCo", "InvTr", "BusCo", "OthCo", "InsCo", "Bank",
         "TrstBnk", "OthFin"),
        strict=True,
    )
)  # fmt: skip
INVESTOR_COLUMNS = {
    f"{name}_{side}": f"{word}{side.capitalize()}"
    for name, word in INVESTOR_WORDS.items()
    for side in ("sell", "buy")
}
REASON_WORDS = dict(
    zip(
        REASONS,
        ("Restricted", "DailyPublication", "Monitoring", "RestrictedByJSF", "PrecautionByJSF",
         "UnclearOrSecOnAlert"),
        strict=True,
    )
)  # fmt: skip
MARGIN_COLUMNS = {
    "short": "ShrtVol",
    "long": "LongVol",
    "short_negotiable": "ShrtNegVol",
    "long_negotiable": "LongNegVol",
    "short_standard": "ShrtStdVol",
    "long_standard": "LongStdVol",
    "short_value": "ShrtVal",
    "long_value": "LongVal",
}
ALERT_COLUMNS = {
    "short": "ShrtOut",
    "short_change": "ShrtOutChg",
    "short_ratio": "ShrtOutRatio",
    "long": "LongOut",
    "long_change": "LongOutChg",
    "long_ratio": "LongOutRatio",
    "short_to_long": "SLRatio",
}
OPTION_COLUMNS = {
    "settlement": "Settle",
    "volume": "Vo",
    "open_interest": "OI",
    "implied_volatility": "IV",
    "base_volatility": "BaseVol",
    "underlying": "UnderPx",
    "interest_rate": "IR",
}
OPTION_TEXT = (
    "Date", "Code", "EmMrgnTrgDiv", "PCDiv", "CM", "Strike", "SQD", "C", *OPTION_COLUMNS.values()
)  # fmt: skip
BREAKDOWN_COLUMNS = {
    f"{name}_{of}": f"{word}{suffix}"
    for of, suffix in (("value", "Va"), ("volume", "Vo"))
    for name, word in (
        ("long_sell", "LongSell"),
        ("short_sell", "ShrtNoMrgn"),
        ("margin_sell_new", "MrgnSellNew"),
        ("margin_sell_close", "MrgnSellClose"),
        ("long_buy", "LongBuy"),
        ("margin_buy_new", "MrgnBuyNew"),
        ("margin_buy_close", "MrgnBuyClose"),
    )
}
VALUATION_COLUMNS = {
    "eps": "EPS",
    "forward_eps": "FwdEPS",
    "bps": "BPS",
    "roe": "ROE",
    "forward_roe": "FwdROE",
    "per": "PER",
    "forward_per": "FwdPER",
    "pbr": "PBR",
    "market_value": "MktCap",
}
MILLION = 1e6  # yen: the unit of MktCap
_ALERT_KEY = ("PubDate", "AppDate", "Code")


def sector_short_selling(frame: pl.DataFrame) -> pl.DataFrame:
    """Return each sector's sales of each session; code 9999 is `Other`."""
    key = ("Date", "S33")
    made = {
        "event_date": dates(frame, "Date", key),
        # Some files write the code without its leading zero.
        "sector": frame["S33"].str.zfill(4).replace(_SECTOR_OF_CODE),
        "selling": numbers(frame, "SellExShortVa", key),
        "restricted": numbers(frame, "ShrtWithResVa", key),
        "exempt": numbers(frame, "ShrtNoResVa", key),
    }
    # Without trading the row is there and says nothing.
    return _rows(frame, made, ("event_date", "sector")).filter(
        pl.any_horizontal(pl.col("selling", "restricted", "exempt").is_not_null())
    )


def short_positions(frame: pl.DataFrame) -> pl.DataFrame:
    """Return reports of large short positions; a name that was left empty stays empty."""
    key = ("DiscDate", "CalcDate", "Code", "SSName")
    before = dates(frame, "PrevRptDate", key)
    made = {
        "event_date": dates(frame, "CalcDate", key),
        "symbol": frame["Code"],
        "seller": _word(frame, "SSName"),
        "client": _word(frame, "DICName"),
        "fund": _word(frame, "FundName"),
        "disclosed": dates(frame, "DiscDate", key),
        "ratio": numbers(frame, "ShrtPosToSO", key),
        "shares": numbers(frame, "ShrtPosShares", key),
        "previous_date": before,
        # Without a report before, its ratio is written as 0.
        "previous_ratio": numbers(frame, "PrevRptRatio", key).set(before.is_null(), None),
    }
    return _rows(frame, made, ("event_date", "symbol", "seller", "client", "fund", "disclosed"))


def margin(frame: pl.DataFrame) -> pl.DataFrame:
    """Return margin balances; only those of the daily regime have a day of publication."""
    key = ("Date", "Code")
    made = {
        "event_date": dates(frame, "Date", key),
        "symbol": frame["Code"],
        "published": dates(frame, "PubDate", key),
        "issue_type": text(frame, "IssType"),
        **{ours: numbers(frame, theirs, key) for ours, theirs in MARGIN_COLUMNS.items()},
    }
    return _rows(frame, made, ("event_date", "symbol", "published"))


def margin_alerts(frame: pl.DataFrame) -> pl.DataFrame:
    """Return balances of issues under watch, with all versions and the reasons."""
    made = {
        "event_date": dates(frame, "AppDate", _ALERT_KEY),
        "symbol": frame["Code"],
        "published": dates(frame, "PubDate", _ALERT_KEY),
        **_reasons(frame),
        **{ours: numbers(frame, theirs, _ALERT_KEY) for ours, theirs in ALERT_COLUMNS.items()},
        "stage": text(frame, "TSEMrgnRegCls"),
    }
    return pl.DataFrame(made).sort("event_date", "symbol", "published")


def investor_types(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the trades of a week by section and type of investor, with all versions."""
    key = ("PubDate", "EnDate", "Section")
    made = {
        "event_date": dates(frame, "EnDate", key),
        "section": frame["Section"].replace(SECTIONS),
        "start": dates(frame, "StDate", key),
        "published": dates(frame, "PubDate", key),
        **{ours: numbers(frame, theirs, key) for ours, theirs in INVESTOR_COLUMNS.items()},
    }
    return pl.DataFrame(made).sort("event_date", "section", "published")


def index_options(frame: pl.DataFrame) -> pl.DataFrame:
    """Return every contract of the surface, those rows for emergency margin included."""
    key = ("Date", "Code", "EmMrgnTrgDiv")
    close = numbers(frame, "C", key)
    values = {ours: numbers(frame, theirs, key) for ours, theirs in OPTION_COLUMNS.items()}
    made = {
        "event_date": dates(frame, "Date", key),
        "contract": frame["Code"],
        "division": frame["EmMrgnTrgDiv"],
        "put_call": text(frame, "PCDiv"),
        "contract_month": text(frame, "CM"),
        "strike": numbers(frame, "Strike", key),
        "expiry": dates(frame, "SQD", key),
        "close": close.set((close == 0).fill_null(False), None),
        **values,
    }
    return _rows(frame, made, ("event_date", "contract", "division"))


def sector_indices(frame: pl.DataFrame, calendar: Calendar) -> pl.DataFrame:
    """Return the levels of the 33 sector indices on sessions.

    The API made up a row for 2020-10-01, when nothing was traded; it is left out.
    """
    frame = frame.filter(
        pl.col("Code").is_in(list(SECTOR_OF_INDEX)),
        pl.Series(on_sessions(dates(frame, "Date", ("Date", "Code")), calendar)),
    )
    key = ("Date", "Code")
    made = {
        "event_date": dates(frame, "Date", key),
        "sector": frame["Code"].replace(SECTOR_OF_INDEX),
        "code": frame["Code"],
        "open": numbers(frame, "O", key),
        "high": numbers(frame, "H", key),
        "low": numbers(frame, "L", key),
        "close": numbers(frame, "C", key),
    }
    return _rows(frame, made, ("event_date", "sector"))


def earnings_dates(frame: pl.DataFrame) -> pl.DataFrame:
    """Return announced days of reports; a day that is not decided is null."""
    key = ("PubDate", "Code", "FQName")
    made = {
        "event_date": dates(frame, "PubDate", key),
        "symbol": frame["Code"],
        "period": _word(frame, "FQName"),
        "fiscal_year_end": _word(frame, "FYE"),
        "scheduled": dates(frame, "SchDate", key),
    }
    return _rows(frame, made, ("event_date", "symbol", "period", "fiscal_year_end"))


def valuation(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a day's valuations in yen; funds have a row that says nothing."""
    key = ("Date", "Code")
    made = {
        "event_date": dates(frame, "Date", key),
        "symbol": frame["Code"],
        **{ours: numbers(frame, theirs, key) for ours, theirs in VALUATION_COLUMNS.items()},
    }
    made["market_value"] = made["market_value"] * MILLION
    return _rows(frame, made, ("event_date", "symbol"))


def breakdown(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a session's trades by kind of order."""
    key = ("Date", "Code")
    made = {
        "event_date": dates(frame, "Date", key),
        "symbol": frame["Code"],
        **{ours: numbers(frame, theirs, key) for ours, theirs in BREAKDOWN_COLUMNS.items()},
    }
    return _rows(frame, made, ("event_date", "symbol"))


def _word(frame: pl.DataFrame, name: str) -> pl.Series:
    """Return a part of a key: what was left empty is empty, not unknown."""
    return frame[name].fill_null("")


def _reasons(frame: pl.DataFrame) -> dict[str, pl.Series]:
    """Return why each issue is under watch, from the object that the API nests in the row."""
    words = text(frame, "PubReason")
    dtype: DataType = pl.Struct(dict.fromkeys(REASON_WORDS.values(), pl.String()))
    try:
        told = words.str.json_decode(dtype).struct.unnest()
    except pl.exceptions.PolarsError:
        raise FeedError(
            "PubReason holds something that is no object of flags, such as "
            f"{words.drop_nulls().first()!r}"
        ) from None
    flags = {"1": True, "0": False}
    found = {}
    for ours, theirs in REASON_WORDS.items():
        flag = told[theirs].replace_strict(flags, default=None, return_dtype=pl.Boolean)
        unread = (flag.is_null() & words.is_not_null()).arg_true()
        if len(unread):
            row = frame.row(int(unread[0]), named=True)
            place = " ".join(f"{part}={row[part]}" for part in _ALERT_KEY)
            raise FeedError(f"PubReason says {row['PubReason']} of {theirs}, no 0 or 1; at {place}")
        found[ours] = flag
    return found


def _rows(frame: pl.DataFrame, made: dict[str, pl.Series], order: tuple[str, ...]) -> pl.DataFrame:
    """Return rows with the stamps of a server that keeps every version of them."""
    return pl.DataFrame(made).with_columns(clock(frame)).sort(order, maintain_order=True)
