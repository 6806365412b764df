"""The content hash: names the values of a table, independent of its storage format.

It sees columns in schema order and rows in key order, and nothing of codec, chunks, row
groups or dictionaries.  Two cells are the same when their bits are, with these readings:

- null, NaN, 0.0 and -0.0 are four different values (1/x differs between the zeros, and a
  rebuilt table must have the same bits);
- all NaN are one value: their payload depends on the instruction that made them;
- text in a categorical or enumerated column is that text;
- the name and the type of every column count; `ingested_at` does not: it is the
  time at which this copy arrived.
"""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

from alpha_assets.errors import BadInput

HASH_LENGTH = 32  # hexadecimal digits
UNHASHED = ("ingested_at",)
FORMAT = "alpha-assets content hash 1"


def content_hash(
    frame: pl.DataFrame,
    key: Sequence[str] = (),
    columns: Sequence[str] | None = None,
    digests: Mapping[str, str] | None = None,
) -> str:
    """Return 32 hexadecimal digits that name the content of a table.

    Args:
        frame: the table.
        key: columns that identify a row; rows are hashed in their order.  Without a key the
            order of the rows is part of the content.
        columns: the schema's columns in order; default: all, in the frame's order.
        digests: `column_digest` of columns that many tables share, where it is known.

    Raises:
        BadInput: two rows share a key, a key is null, or a column's type has no hash.
    """
    names = frame.columns if columns is None else list(columns)
    ordered = in_key_order(frame, key, "the table") if key else frame
    whole = hashlib.sha256(f"{FORMAT}\n{frame.height}\n".encode())
    for name in names:
        if name in UNHASHED:
            continue
        series = ordered.get_column(name)
        column = (digests or {}).get(name) or column_digest(series)
        whole.update(f"{name}\0{_type_name(series.dtype)}\0{column}\n".encode())
    return whole.hexdigest()[:HASH_LENGTH]


def column_digest(series: pl.Series) -> str:
    """Return what names the values of a column, in their order."""
    column = hashlib.sha256()
    _feed(column, series.rechunk())
    return column.hexdigest()


def bytes_hash(content: bytes) -> str:
    """Return 32 hexadecimal digits that name the bytes of a file."""
    return hashlib.sha256(content).hexdigest()[:HASH_LENGTH]


def combined_hash(hashes: Mapping[str, str]) -> str:
    """Return one hash for several named ones, in whatever order they come."""
    lines = "".join(f"{name}\0{hashes[name]}\n" for name in sorted(hashes))
    return hashlib.sha256(lines.encode()).hexdigest()[:HASH_LENGTH]


def in_key_order(frame: pl.DataFrame, key: Sequence[str], name: str) -> pl.DataFrame:
    """Return the rows sorted by `key`; the same object where they already are.

    Args:
        frame: the table.
        key: columns that identify a row.
        name: of the table, for the message.

    Raises:
        BadInput: a key column is missing or holds null, or two rows share a key.
    """
    missing = [column for column in key if column not in frame.columns]
    if missing:
        raise BadInput(f"{name} has no column {missing[0]!r}, which is part of its key {key}")
    for column in key:
        if frame[column].null_count():
            row = frame.row(int(frame[column].is_null().arg_true()[0]), named=True)
            raise BadInput(f"{name}: {column} is null, first in {row}; it identifies the row")
    if frame.height < 2 or frame.select(_ascends(key)).item():
        return frame
    ordered = frame.sort(key)
    if not ordered.select(_ascends(key)).item():
        shared = ordered.filter(ordered.select(key).is_duplicated())
        raise BadInput(
            f"{shared.height} rows of {name} share ({', '.join(key)}), first "
            f"{shared.select(key).row(0)}; drop all but one of each"
        )
    return ordered


def _ascends(key: Sequence[str]) -> pl.Expr:
    """Whether every row's key is strictly greater than that of the row before."""
    greater = pl.lit(False)
    for column in reversed(key):
        now, before = pl.col(column).slice(1), pl.col(column).head(pl.len() - 1)
        greater = (now > before) | ((now == before) & greater)
    return greater.all().alias("ascends")


def _feed(into: Any, series: pl.Series) -> None:  # noqa: ANN401 (hashlib's type is private)
    """Add a series of one chunk to a hash: which rows are null, then the values."""
    dtype = series.dtype
    nulls = series.null_count()
    into.update(f"{len(series)} {nulls}\n".encode())
    if nulls:
        into.update(np.packbits(series.is_null().to_numpy()).tobytes())
    if isinstance(dtype, pl.Categorical | pl.Enum):
        series, dtype = series.cast(pl.String), pl.String()
    if dtype.is_float():
        _feed_floats(into, series, nulls)
    elif dtype == pl.Boolean:
        into.update(np.packbits(_filled(series, nulls, False).to_numpy()).tobytes())
    elif dtype.is_integer():
        into.update(np.ascontiguousarray(_filled(series, nulls, 0).to_numpy()).data)
    elif isinstance(dtype, pl.Date | pl.Datetime | pl.Duration | pl.Time):
        number = series.cast(pl.Int32 if isinstance(dtype, pl.Date) else pl.Int64)
        into.update(np.ascontiguousarray(_filled(number, nulls, 0).to_numpy()).data)
    elif dtype in (pl.String, pl.Binary):
        _feed_bytes(into, series, nulls)
    elif isinstance(dtype, pl.List | pl.Array):
        lists = series.arr.to_list() if isinstance(dtype, pl.Array) else series
        into.update(lists.list.len().fill_null(0).cast(pl.UInt64).to_numpy().tobytes())
        filled = lists.filter(lists.list.len().fill_null(0) > 0)
        _feed(into, filled.explode().rechunk())
    elif isinstance(dtype, pl.Struct):
        for field in series.struct.fields:
            _feed(into, series.struct.field(field).rechunk())
    elif dtype != pl.Null:
        raise BadInput(
            f"column {series.name!r} is {dtype}, which has no content hash; store it as numbers, "
            "text, dates, instants, or lists of them"
        )


def _filled(series: pl.Series, nulls: int, value: object) -> pl.Series:
    """Fill what is null: a call that costs more than the bytes of a short column."""
    return series.fill_null(value) if nulls else series


def _feed_floats(into: Any, series: pl.Series, nulls: int) -> None:  # noqa: ANN401
    values = _filled(series, nulls, 0.0).to_numpy()
    unordered = np.isnan(values)
    if unordered.any():
        values = np.where(unordered, np.array(np.nan, dtype=values.dtype), values)
    into.update(np.ascontiguousarray(values).data)


def _feed_bytes(into: Any, series: pl.Series, nulls: int) -> None:  # noqa: ANN401
    """Add text: the length of every value, then all of them without a gap."""
    if series.dtype == pl.Binary:
        blank = _filled(series, nulls, b"")
        lengths, joined = blank.bin.size(), b"".join(blank)
    else:
        blank = _filled(series, nulls, "")
        lengths, joined = blank.str.len_bytes(), (blank.str.join("")[0] or "").encode()
    into.update(lengths.cast(pl.UInt64).to_numpy().tobytes())
    into.update(joined)


def _type_name(dtype: pl.DataType) -> str:
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return "String"
    return str(dtype)
