"""The form in which a folder delivers each feed, and one file of it read with its types.

Every value is read as the contract declares it, or reported as an error: a file's rows
are never dropped, and a number that is written as a word does not become empty.
"""

import codecs
import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from alpha_assets.errors import FeedError
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import INSTANT, DataType, Feed, Stamped
from alpha_assets.feeds.problem import FILE, ROW, Example, Problem, raise_errors, violations
from alpha_assets.printable import printable
from alpha_assets.sources.files.content import (
    HEAD,
    content_problems,
    regular_file,
    require_regular,
    text_problems,
)
from alpha_assets.sources.files.csv_integrity import line_problems, without_trailer
from alpha_assets.sources.files.intervals import LISTED

# A folder has no calendar of its own: the exchange's is used.
READABLE = tuple(name for name in FEEDS if name != "trading_calendar")
EVENT_DATE = "event_date"
DATE_WORDS = {"dividends": "ex_date"}  # what the contract calls the event date; else `date`
# Parts of a key that may be empty: a position without a client, a report has no period.
EMPTY_PARTS = {
    "short_positions": ("client", "fund"),
    "earnings_dates": ("period", "fiscal_year_end"),
}
LIMITS = ("upper_limit", "lower_limit")  # touched flags, or the limits themselves as prices
MAX_ROWS = 200_000_000  # of a Parquet file
FIRST_DAY, LAST_DAY = -719_162, 2_932_896  # 0001-01-01 and 9999-12-31, from 1970-01-01
DAY_IN = {"ms": 86_400_000, "us": 86_400_000_000, "ns": 86_400_000_000_000}
YEARS = (1900, 2100)  # of dates that can be meant

DECIMAL_COMMA = r"^\s*[-+]?\d+,\d+\s*$"
BLANK_START = re.compile(rb"\A(?:[ \t]*[\r\n]+)+")  # blank lines before the header
FILE_WORDS = "deliver the file again"
WORDS: Mapping[DataType, str] = {
    pl.Float64: "a number",
    pl.Int16: "a whole number",
    pl.Int32: "a whole number",
    pl.Int64: "a whole number",
    pl.String: "text",
    pl.Date: "a date, YYYY-MM-DD or YYYYMMDD",
    pl.Boolean: "true or false",
    INSTANT: "an instant with a zone, such as 2020-01-06T16:30:00+09:00",
}


@dataclass(frozen=True)
class Form:
    """How the files of a feed are written."""

    words: Mapping[str, str] = field(default_factory=dict)  # their columns -> ours
    separator: str = ","  # of text
    has_trailer: bool = False  # the last line of a text holds its number of rows


@dataclass(frozen=True)
class Table:
    """What a delivered table is made of."""

    feed: str
    place: tuple[str, ...]  # what identifies a row; without it the rest is not checked
    fields: Mapping[str, DataType]  # delivered name -> type
    required: tuple[str, ...]
    either: tuple[str, ...] = ()  # at least one of them is there

    @property
    def date_word(self) -> str | None:
        """The delivered name of `event_date`; None for spells, which have two dates."""
        return None if self.feed in SPELLS else DATE_WORDS.get(self.feed, "date")


SPELLS: Mapping[str, Table] = {
    "listings": Table(
        "listings",
        ("symbol",),
        {"symbol": pl.String, **LISTED},
        ("symbol", "sector"),
    ),
    "membership": Table(
        "membership",
        ("symbol", "start", "end"),
        {"symbol": pl.String, "start": pl.Date, "end": pl.Date},
        ("symbol", "start", "end"),
    ),
}


def table_of(feed: str, own: Feed | None = None) -> Table:
    """Return the delivered form of a feed: spells, else the feed's own columns and a date.

    Args:
        feed: its name.
        own: its declaration, where it is the market's own.
    """
    if own is not None:
        return _own_table(own)
    if feed in SPELLS:
        return SPELLS[feed]
    declared = FEEDS[feed]
    word = DATE_WORDS.get(feed, "date")
    columns = {c.name: c.dtype for c in declared.columns if not c.is_derived}
    key = {name: columns.get(name, pl.String) for name in declared.key if name != EVENT_DATE}
    fields: dict[str, DataType] = {word: pl.Date, **key, **columns}
    if feed == "daily_bars":
        fields["adj_close"] = pl.Float64
    required = (word, *key, *[column.name for column in declared.columns if column.required])
    return Table(
        feed, (word, *key), {**fields, "available_at": INSTANT}, tuple(dict.fromkeys(required))
    )


def _own_table(feed: Feed) -> Table:
    """Return the form of a feed whose rows have a date, or a stamp."""
    columns = {column.name: column.dtype for column in feed.columns}
    key = {name: pl.String() for name in feed.key if name != EVENT_DATE}
    fields: dict[str, DataType] = {"date": pl.Date, **key, **columns, "available_at": INSTANT}
    is_stamped = isinstance(feed.publication, Stamped)
    stamp = ("available_at",) if is_stamped else ()
    either = () if is_stamped else ("date", "available_at")
    return Table(feed.name, (*key, *stamp), fields, (*key, *stamp, *columns), either)


@dataclass(frozen=True)
class FileRead:
    """One file: its rows with the contract's types, and what is wrong with it."""

    frame: pl.DataFrame | None  # None where not even the key can be read
    problems: list[Problem]
    unknown: tuple[str, ...] = ()  # columns that the contract does not name


def read_file(path: Path, shown: str, table: Table, form: Form) -> FileRead:
    """Return a file's rows as the contract types them, with where each came from.

    Args:
        path: a Parquet or CSV file.
        shown: its name in messages.
        table: what it must hold.
        form: how it is written.
    """
    is_text = path.suffix == ".csv"
    words = form.words
    raw, problems = _raw(path, shown, table, form)
    if raw is None:
        return FileRead(None, problems)
    twice = {t: o for t, o in words.items() if {t, o} <= {*raw.columns} and o not in words}
    problems += _two_of_one(twice, shown, table)
    raw = raw.rename({t: o for t, o in words.items() if t not in twice}, strict=False)
    problems += _missing(raw, shown, table)
    unknown = tuple(name for name in raw.columns if name not in table.fields)
    raw = raw.select(name for name in raw.columns if name in table.fields)
    raw = raw.with_columns(
        pl.lit(shown).alias(FILE),
        pl.int_range(1, pl.len() + 1, dtype=pl.UInt32).alias(ROW),
    )
    raw, named = _without_blank(raw, shown, table) if is_text else _dated(raw, table)
    problems += named
    good: list[pl.Series] = []
    for name in raw.columns[:-2]:
        values, bad = _typed(raw[name], table.fields[name], is_text)
        if bad is None:
            good.append(values)
            continue
        problems += _wrong_type(raw.filter(bad), name, table, is_text)
    frame = raw.select(FILE, ROW).with_columns(good)
    has_one = not table.either or bool({*table.either} & {*frame.columns})
    if not (has_one and set(table.place) <= set(frame.columns)):
        return FileRead(None, problems, unknown)
    frame = frame.with_columns(pl.col(EMPTY_PARTS.get(table.feed, ())).fill_null(""))
    problems += _impossible_dates(frame, table)
    if table.date_word:
        frame = frame.rename({table.date_word: EVENT_DATE}, strict=False)
    return FileRead(frame, problems, unknown)


def _raw(
    path: Path, shown: str, table: Table, form: Form
) -> tuple[pl.DataFrame | None, list[Problem]]:
    """Return a file's columns as they are written, text untyped; None where it is no table."""
    is_text = path.suffix == ".csv"
    problems: list[Problem] = []
    why = regular_file(path)
    if why is not None:
        example = (Example(shown, None, "", why),)
        wanted = "a feed is a regular file; remove what is none, or deliver it again"
        return None, [Problem("error", table.feed, "no_regular_file", wanted, 1, example)]
    try:
        with path.open("rb") as file:
            problems += content_problems(file.read(HEAD), shown, table.feed, is_text=is_text)
        if problems:
            return None, problems
        if not is_text:
            n_rows = pl.scan_parquet(path).select(pl.len()).collect().item()
            if n_rows > MAX_ROWS:  # a constant column of any length packs into a few bytes
                wanted = f"a file has at most {MAX_ROWS:,} rows; part it into several"
                example = (Example(shown, None, "", f"{n_rows:,} rows"),)
                return None, [Problem("error", table.feed, "too_many_rows", wanted, 1, example)]
            return pl.read_parquet(path), []
        content = BLANK_START.sub(b"", path.read_bytes().removeprefix(codecs.BOM_UTF8))
        if not content:
            problems = content_problems(b"", shown, table.feed, is_text=True)
        problems += text_problems(content, shown, table.feed, form.separator)
        if problems:
            return None, problems
        if form.has_trailer:
            content, problems = without_trailer(content, shown, table.feed)
        problems += line_problems(content, shown, table.feed, form.separator)
        # Text is typed here, not guessed: "0050" stays a symbol, "n/a" is named as no number.
        raw = pl.read_csv(
            io.BytesIO(content.rstrip(b"\r\n")),
            infer_schema=False,
            separator=form.separator,
            truncate_ragged_lines=bool(problems),
        )
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        wanted = f"a whole table is wanted, it is truncated or none; {FILE_WORDS}"
        example = (Example(shown, None, "", reason),)
        return None, [Problem("error", table.feed, "unreadable", wanted, 1, example)]
    return raw, problems


def _without_blank(
    raw: pl.DataFrame, shown: str, table: Table
) -> tuple[pl.DataFrame, list[Problem]]:
    """Return text without rows that hold nothing at all, blank lines or separators alone."""
    fields = pl.exclude(FILE, ROW)
    is_blank = raw.select(
        pl.all_horizontal(fields.is_null() | (fields.str.strip_chars() == "")).alias("blank")
    )["blank"]
    if raw.width == 2 or not is_blank.any():
        return raw, []
    rows = raw.filter(is_blank)
    wanted = "a line without any value is skipped"
    return raw.filter(~is_blank), violations(
        "warning", table.feed, "blank_line", wanted, rows, key=(), values=()
    )


def _dated(raw: pl.DataFrame, table: Table) -> tuple[pl.DataFrame, list[Problem]]:
    """Return typed columns without dates and instants that no calendar has, each of them named.

    Parquet holds days and microseconds of any size; what lies outside the years 1 to 9999 cannot
    even be shown.
    """
    problems: list[Problem] = []
    for name, dtype in raw.schema.items():
        if dtype == pl.Date:
            a_day = 1
        elif isinstance(dtype, pl.Datetime):
            a_day = DAY_IN[dtype.time_unit]
        else:
            continue
        number = raw[name].to_physical().cast(pl.Int64)
        day = number // a_day
        # One day less on each side: a zone may move an instant over midnight.
        strange = ~day.is_between(FIRST_DAY + 1, LAST_DAY - 1)
        if not strange.fill_null(False).any():
            continue
        rows = raw.filter(strange).select(FILE, ROW, number.filter(strange).alias(name))
        problems += violations(
            "error",
            table.feed,
            "impossible_date",
            f"{name} is a date between {YEARS[0]} and {YEARS[1]}; {FILE_WORDS}",
            rows,
            key=(),
            values=(name,),
        )
        raw = raw.with_columns(raw[name].set(strange, None))
    return raw, problems


def header_of(path: Path, form: Form) -> list[str]:
    """Return the names of a file's columns, as they are written.

    Raises:
        FeedError: the file cannot be read, or is no table.
    """
    try:
        require_regular(path)
        with path.open("rb") as file:
            head = file.read(HEAD)
            is_text = path.suffix == ".csv"
            raise_errors(content_problems(head, path.name, path.stem, is_text=is_text), str(path))
            if not is_text:
                return pl.scan_parquet(path).collect_schema().names()
            line = (head + file.readline()).removeprefix(codecs.BOM_UTF8).lstrip(b"\r\n")
        text = line.splitlines()[0].decode("utf-8", errors="replace")
        return next(csv.reader([text], delimiter=form.separator))
    except (
        pl.exceptions.PolarsError,
        pl.exceptions.PanicException,
        OSError,
        csv.Error,
        IndexError,
    ) as error:
        raise FeedError(
            f"{path}: the file cannot be read: {printable(str(error))}; it is truncated or no "
            "table: deliver it again"
        ) from None


def _two_of_one(twice: Mapping[str, str], shown: str, table: Table) -> list[Problem]:
    """Return the columns that are there under the file's name and under the contract's."""
    if not twice:
        return []
    wanted = "a column is there once; mend [source.columns] in the market's file"
    examples = tuple(Example(shown, None, "", f"{t!r} and {o!r}") for t, o in twice.items())
    return [Problem("error", table.feed, "column_twice", wanted, len(twice), examples)]


def _wrong_type(rows: pl.DataFrame, name: str, table: Table, is_text: bool) -> list[Problem]:
    """Return the rows whose value breaks the contract."""
    dtype = table.fields[name]
    given = rows.schema[name]
    values: tuple[str, ...] = (name,) if is_text else (name, "type")
    rows = rows.with_columns(pl.lit(str(given)).alias("type"))
    words = WORDS.get(dtype, str(dtype))
    if dtype == pl.Float64 and is_text and rows[name].str.contains(DECIMAL_COMMA).any():
        words += " with a decimal point, not a comma"
    if isinstance(dtype, pl.Array):
        words = f"a list of {dtype.shape[0]} numbers, in Parquet"
        values = (name,) if is_text else ("type",)
        if isinstance(given, pl.List):
            rows = rows.with_columns(pl.col(name).list.len().alias("length"))
            values = ("length", "type")
    return violations(
        "error",
        table.feed,
        "wrong_type",
        f"{name} is {words}; {FILE_WORDS}",
        rows,
        key=[part for part in table.place if part != name],
        values=values,
    )


def _missing(raw: pl.DataFrame, shown: str, table: Table) -> list[Problem]:
    absent = [name for name in table.required if name not in raw.columns]
    if table.either and not {*table.either} & {*raw.columns}:
        absent.append(" or ".join(table.either))
    if not absent:
        return []
    needed = [*table.required, *([" or ".join(table.either)] if table.either else [])]
    wanted = f"{table.feed} has {', '.join(needed)}; add what is missing, or rename it"
    examples = tuple(
        Example(shown, None, "", f"there is no column {name!r}; it has {', '.join(raw.columns)}")
        for name in absent
    )
    return [Problem("error", table.feed, "missing_column", wanted, len(absent), examples)]


def _impossible_dates(frame: pl.DataFrame, table: Table) -> list[Problem]:
    dates = [
        name
        for name, dtype in table.fields.items()
        if dtype in (pl.Date, INSTANT) and name in frame.columns
    ]
    strange = pl.any_horizontal(~pl.col(dates).dt.year().is_between(*YEARS)) if dates else False
    return violations(
        "error",
        table.feed,
        "impossible_date",
        f"dates lie between {YEARS[0]} and {YEARS[1]}; leave an end that has not come empty",
        frame.filter(strange),
        key=("symbol",),
        values=dates,
    )


def _typed(values: pl.Series, dtype: DataType, is_text: bool) -> tuple[pl.Series, pl.Series | None]:
    """Return a column as the type that is wanted, and which values are none; None: all are."""
    if values.dtype in (pl.Categorical, pl.Enum):
        values = values.cast(pl.String)
    if values.dtype == dtype or values.dtype == pl.Null:
        return (_stripped(values) if dtype == pl.String else values.cast(dtype)), None
    if is_text:
        made = _parsed(_stripped(values), dtype, values.name)
        given = _stripped(values)
    else:
        made, given = _converted(values, dtype), values
    bad = made.is_null() & given.is_not_null()
    return made, bad if bad.any() else None


def _converted(values: pl.Series, dtype: DataType) -> pl.Series:
    """Return typed values as another type; null where that would change a value."""
    given = values.dtype
    nothing = pl.Series(values.name, [None], dtype=dtype).new_from_index(0, len(values))
    if dtype == pl.Float64:
        return values.cast(dtype) if given.is_numeric() else nothing
    if dtype == pl.String:
        return values.cast(dtype) if given.is_integer() else nothing
    if dtype == pl.Date and given == pl.Datetime and not _zone(values):
        # What pandas writes: midnight, without a zone.
        return values.dt.date().set(values.dt.truncate("1d") != values, None)
    if dtype == INSTANT and given == pl.Datetime and _zone(values):
        return values.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if given.is_numeric() and dtype == pl.Boolean and values.name in LIMITS:
        return _flag_or_price(values.cast(pl.Float64))
    if given.is_numeric() and dtype == pl.Boolean:
        number = values.cast(pl.Float64)
        return (number == 1.0).set(~number.is_in([0.0, 1.0]), None)
    if given.is_numeric() and isinstance(dtype, type) and dtype.is_integer():
        whole = values.cast(dtype, strict=False)
        return whole.set((whole.cast(pl.Float64) != values.cast(pl.Float64)).fill_null(True), None)
    return _vectors(values, dtype) if isinstance(dtype, pl.Array) else nothing


def _vectors(values: pl.Series, dtype: pl.Array) -> pl.Series:
    """Return lists as vectors; null where one has another length, or holds what is no number."""
    given = values.dtype
    width = dtype.shape[0]
    if isinstance(given, pl.Array):
        values, given = values.arr.to_list(), pl.List(given.inner)
    if not isinstance(given, pl.List) or not given.inner.is_numeric():
        return pl.Series(values.name, [None], dtype=dtype).new_from_index(0, len(values))
    lists = pl.col(values.name)
    numbers = lists.list.drop_nulls().list.len()
    whole = (lists.list.len() == width) & (numbers == width)
    return (
        values.to_frame().select(pl.when(whole).then(lists).list.to_array(width)).to_series()
    ).cast(dtype)


def _parsed(text: pl.Series, dtype: DataType, name: str) -> pl.Series:
    """Return text as a type; null where it is none."""
    if dtype == pl.String:
        return text
    if dtype == pl.Date:
        day = text.str.strip_suffix(" 00:00:00").str.strip_suffix("T00:00:00")
        plain = day.str.replace(r"^(\d{4})(\d\d)(\d\d)$", "${1}-${2}-${3}")
        return _of_a_calendar(plain.str.to_date("%Y-%m-%d", strict=False))
    if dtype == INSTANT:
        made = text.str.to_datetime("%+", time_unit="us", strict=False)
        return _of_a_calendar(made.dt.convert_time_zone("UTC"))
    if dtype == pl.Boolean:
        words = {"true": True, "false": False, "1": True, "0": False}
        flags = text.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
        if name in LIMITS and (flags.is_null() & text.is_not_null()).any():
            return _flag_or_price(text.cast(pl.Float64, strict=False))
        return flags
    if isinstance(dtype, pl.Array):
        return pl.Series(name, [None], dtype=dtype).new_from_index(0, len(text))
    return text.cast(dtype, strict=False)


def _of_a_calendar(made: pl.Series) -> pl.Series:
    """Return dates or instants; null where the year has a sign or five digits."""
    return made.set(~made.dt.year().is_between(1, 9998).fill_null(True), None)


def _flag_or_price(values: pl.Series) -> pl.Series:
    """Return touched flags, or the numbers as they are where they are the limits' prices."""
    known = values.drop_nulls()
    return values == 1.0 if known.is_in([0.0, 1.0]).all() else values


def _stripped(values: pl.Series) -> pl.Series:
    text = values.cast(pl.String).str.strip_chars()
    return text.set(text == "", None)


def _zone(values: pl.Series) -> str | None:
    dtype = values.dtype
    return dtype.time_zone if isinstance(dtype, pl.Datetime) else None
