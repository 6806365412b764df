"""Tables and arrays as plain JSON values that lose no bit.

A table that a person may want to read is columns of values; one that is only computed with is
Parquet, and an array its bytes, both as base64.
"""

import base64
import io
import math
import zlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, cast
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from alpha_assets.feeds.base import DataType

Table = dict[str, list[Any]]
Schema = Mapping[str, DataType]


def table_of(frame: pl.DataFrame, zone: ZoneInfo) -> Table:
    """Return a frame as columns of plain values; instants as local time with its offset."""
    return {name: [plain(value, zone) for value in frame[name]] for name in frame.columns}


def plain(value: Any, zone: ZoneInfo) -> Any:  # noqa: ANN401 -- any cell
    """Return a cell as a value of JSON."""
    if isinstance(value, datetime):
        return value.astimezone(zone).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, pl.Series | list):
        return [plain(item, zone) for item in value]
    if isinstance(value, dict):
        return {name: plain(item, zone) for name, item in value.items()}
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


def frame_of(table: Mapping[str, list[Any]], schema: Schema) -> pl.DataFrame:
    """Return the frame of a printed table; columns that were not printed are left out."""
    return pl.DataFrame(
        [_column(name, table[name], dtype) for name, dtype in schema.items() if name in table]
    )


def _column(name: str, values: list[Any], dtype: DataType) -> pl.Series:
    if dtype == pl.Date:
        values = [None if value is None else date.fromisoformat(value) for value in values]
    elif isinstance(dtype, pl.Datetime):
        values = [None if value is None else _utc(value) for value in values]
    elif dtype in (pl.Float32, pl.Float64):
        values = [float(value) if isinstance(value, str) else value for value in values]
    elif isinstance(dtype, pl.List) and isinstance(dtype.inner, pl.Struct):
        entries = [entry for entry in values if entry is not None]
        flat = pl.DataFrame([item for entry in entries for item in entry]).to_dict(as_series=False)
        fields = [
            _column(f.name, flat.get(f.name, []), cast("DataType", f.dtype))
            for f in dtype.inner.fields
        ]
        rows = iter(pl.DataFrame(fields).to_dicts())
        values = [None if entry is None else [next(rows) for _ in entry] for entry in values]
    return pl.Series(name, values, dtype=dtype)


def _utc(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def packed_table(frame: pl.DataFrame) -> str:
    """Return a frame as Parquet in base64."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, compression="zstd")
    return base64.b64encode(buffer.getvalue()).decode()


def unpacked_table(text: str) -> pl.DataFrame:
    """Return the frame of `packed_table`."""
    return pl.read_parquet(io.BytesIO(base64.b64decode(text)))


def packed_array(array: NDArray[Any]) -> dict[str, Any]:
    """Return an array as its type, shape and zipped bytes in base64, C order, little-endian."""
    data = np.ascontiguousarray(array)
    raw = base64.b64encode(zlib.compress(data.tobytes())).decode()
    return {"dtype": data.dtype.str, "shape": list(array.shape), "zlib_base64": raw}


def unpacked_array(packed: Mapping[str, Any]) -> NDArray[Any]:
    """Return the array of `packed_array`."""
    raw = zlib.decompress(base64.b64decode(packed["zlib_base64"]))
    return np.frombuffer(raw, dtype=packed["dtype"]).reshape(packed["shape"]).copy()
