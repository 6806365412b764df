"""Which parameters each table takes, which it cannot do without, and what they select.

Source: the API's documentation of each endpoint.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime

import polars as pl

from alpha_assets.sources.jquants import endpoints

PAGE = "pagination_key"


class BadQuery(Exception):
    """Answered with status 400 and these words."""


@dataclass(frozen=True)
class Rules:
    """How one table may be asked."""

    equal: Mapping[str, str]  # parameter -> the column that it must equal
    span: tuple[str, str, str] | None = None  # first, last, column
    one_of: tuple[str, ...] = ()  # at least one of them
    span_with: str | None = None  # the span needs this parameter
    apart: tuple[tuple[str, frozenset[str]], ...] = field(default=())  # never together
    exactly_one: bool = False  # of the parameters of `equal`

    def check(self, query: Mapping[str, str]) -> dict[str, str]:
        """Return the query with codes and dates in their normal form.

        Raises:
            BadQuery: it cannot be answered.
        """
        ends = self.span[:2] if self.span else ()
        known = {*self.equal, *ends}
        for name in query:
            if name not in known:
                raise BadQuery(f"{name} is not a parameter here.")
        given = set(query)
        if self.one_of and not given & set(self.one_of):
            raise BadQuery(f"This API requires at least 1 parameter: {', '.join(self.one_of)}.")
        if self.span_with and given & set(ends) and self.span_with not in given:
            raise BadQuery(f"{' and '.join(ends)} require {self.span_with}.")
        if self.exactly_one and len(given) != 1:
            raise BadQuery(f"Exactly one parameter is required: {', '.join(self.equal)}.")
        for name, others in self.apart:
            if name in given and given & others:
                raise BadQuery(f"{name} cannot be combined with {', '.join(sorted(others))}.")
        return {name: _normal(name, value) for name, value in query.items()}

    def select(self, frame: pl.DataFrame, query: Mapping[str, str]) -> pl.DataFrame:
        """Return the rows that a checked query asks for."""
        conditions = [
            pl.col(column) == query[name] for name, column in self.equal.items() if name in query
        ]
        if self.span and "date" not in query:
            first, last, column = self.span
            if first in query:
                conditions.append(pl.col(column) >= query[first])
            if last in query:
                conditions.append(pl.col(column) <= query[last])
        return frame.filter(*conditions) if conditions else frame


_BY_CODE = Rules(
    {"code": "Code", "date": "Date"}, ("from", "to", "Date"), ("code", "date"), span_with="code"
)
RULES: dict[str, Rules] = {
    endpoints.CALENDAR.path: Rules({"hol_div": "HolDiv"}, ("from", "to", "Date")),
    endpoints.MASTER.path: Rules({"code": "Code", "date": "Date"}),
    endpoints.BARS.path: _BY_CODE,
    endpoints.TOPIX.path: Rules({}, ("from", "to", "Date")),
    endpoints.INDICES.path: _BY_CODE,
    endpoints.INVESTOR_TYPES.path: Rules({"section": "Section"}, ("from", "to", "PubDate")),
    endpoints.MARGIN_INTEREST.path: Rules(
        {"code": "Code", "date": "Date", "published_date": "PubDate"},
        ("from", "to", "Date"),
        ("code", "date", "published_date"),
        span_with="code",
        apart=(("published_date", frozenset({"date", "from", "to"})),),
    ),
    endpoints.MARGIN_ALERT.path: Rules(
        {"code": "Code", "date": "PubDate"},
        ("from", "to", "PubDate"),
        ("code", "date"),
        span_with="code",
    ),
    endpoints.SHORT_RATIO.path: Rules(
        {"s33": "S33", "date": "Date"}, ("from", "to", "Date"), ("s33", "date"), span_with="s33"
    ),
    endpoints.SHORT_SALE_REPORT.path: Rules(
        {"code": "Code", "disc_date": "DiscDate", "calc_date": "CalcDate"},
        ("disc_date_from", "disc_date_to", "DiscDate"),
        ("code", "disc_date", "calc_date"),
        span_with="code",
    ),
    endpoints.OPTIONS_225.path: Rules({"date": "Date"}, one_of=("date",)),
    endpoints.FINS_SUMMARY.path: Rules(
        {"code": "Code", "date": "DiscDate"}, one_of=("code", "date")
    ),
    endpoints.EARNINGS_DATE.path: Rules(
        {"code": "Code", "date": "PubDate", "scheduled_date": "SchDate"}, exactly_one=True
    ),
    endpoints.BREAKDOWN.path: _BY_CODE,
    endpoints.VALUATION.path: _BY_CODE,
    endpoints.DIVIDEND.path: Rules(
        {"code": "Code", "date": "PubDate"},
        ("from", "to", "PubDate"),
        ("code", "date"),
        span_with="code",
    ),
}

_NO_DATES = {"code", "s33", "section", "hol_div"}


def iso_date(text: str) -> date:
    """Return a date written with or without hyphens.

    Raises:
        BadQuery: there is no such date.
    """
    digits = text.replace("-", "") if len(text) == 10 else text
    try:
        if len(digits) != 8:
            raise ValueError
        return datetime.strptime(digits, "%Y%m%d").date()  # noqa: DTZ007
    except ValueError:
        raise BadQuery(f"{text} is not a date; want YYYY-MM-DD or YYYYMMDD.") from None


def _normal(name: str, value: str) -> str:
    if name == "code":
        if len(value) not in (4, 5) or not value.isalnum():
            raise BadQuery(f"{value} is not a code of 4 or 5 characters.")
        return value if len(value) == 5 else value + "0"
    if name == "s33":
        return value.zfill(4)
    return value if name in _NO_DATES else iso_date(value).isoformat()
