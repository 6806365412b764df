"""The content hash sees what a table says, and nothing of how it is stored."""

import io
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha_assets.errors import BadInput
from alpha_assets.store import combined_hash, content_hash

KEY = ("session", "symbol")
FLOATS = [None, float("nan"), 0.0, -0.0, 1.0, float("inf"), float("-inf"), 5e-324]
TEXTS = [None, "", "a", "ab", "株"]
quick = settings(max_examples=25, deadline=None, derandomize=True)


@st.composite
def tables(draw: st.DrawFn) -> pl.DataFrame:
    """Any small table with a key."""
    n = draw(st.integers(1, 8))
    return pl.DataFrame(
        {
            "session": [date(2024, 1, 1 + i // 3) for i in range(n)],
            "symbol": [f"s{i % 3}" for i in range(n)],
            "price": draw(st.lists(st.sampled_from(FLOATS), min_size=n, max_size=n)),
            "count": draw(st.lists(st.sampled_from([None, 0, 1, -1]), min_size=n, max_size=n)),
            "name": draw(st.lists(st.sampled_from(TEXTS), min_size=n, max_size=n)),
            "flag": draw(st.lists(st.sampled_from([None, True, False]), min_size=n, max_size=n)),
            "vector": draw(
                st.lists(
                    st.sampled_from([None, [], [0.0], [None], [1.0, 2.0]]), min_size=n, max_size=n
                )
            ),
        },
        schema={
            "session": pl.Date,
            "symbol": pl.String,
            "price": pl.Float64,
            "count": pl.Int32,
            "name": pl.String,
            "flag": pl.Boolean,
            "vector": pl.List(pl.Float32),
        },
    )


@quick
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_rows_and_columns_is_not_content(table: pl.DataFrame, random: object) -> None:
    order = list(range(table.height))
    random.shuffle(order)  # type: ignore[attr-defined]
    columns = table.columns[::-1]

    shuffled = table[order].select(columns)

    assert content_hash(shuffled, KEY, table.columns) == content_hash(table, KEY)


@quick
@given(tables(), st.sampled_from(["zstd", "lz4", "uncompressed"]), st.integers(1, 4))
def test_codec_row_groups_and_chunks_are_not_content(
    table: pl.DataFrame, codec: str, size: int
) -> None:
    file = io.BytesIO()
    table.write_parquet(file, compression=codec, row_group_size=size)  # type: ignore[arg-type]
    chunks = pl.concat([table[i : i + size] for i in range(0, table.height, size)], rechunk=False)

    assert content_hash(pl.read_parquet(file.getvalue()), KEY) == content_hash(table, KEY)
    assert content_hash(chunks, KEY) == content_hash(table, KEY)


@quick
@given(tables(), st.data())
def test_any_changed_cell_is_content(table: pl.DataFrame, data: st.DataObject) -> None:
    column = data.draw(st.sampled_from(["price", "count", "name", "flag", "vector"]))
    row = data.draw(st.integers(0, table.height - 1))
    choices = {
        "price": FLOATS,
        "count": [None, 0, 1, -1],
        "name": TEXTS,
        "flag": [None, True, False],
        "vector": [None, [], [0.0], [None], [1.0, 2.0]],
    }[column]
    values = table[column].to_list()
    other = data.draw(st.sampled_from([c for c in choices if repr(c) != repr(values[row])]))
    values[row] = other

    changed = table.with_columns(pl.Series(column, values, dtype=table.schema[column]))

    assert content_hash(changed, KEY) != content_hash(table, KEY)


def test_null_nan_and_the_two_zeros_are_four_values() -> None:
    columns = [pl.DataFrame({"x": [value]}, schema={"x": pl.Float64}) for value in FLOATS]

    assert len({content_hash(column) for column in columns}) == len(FLOATS)


def test_every_nan_is_the_same_nan() -> None:
    bits = np.array([0x7FF8000000000000, 0xFFF8000000000000, 0x7FF8000000000123], dtype=np.uint64)
    frames = [pl.DataFrame({"x": bits[i : i + 1].view(np.float64)}) for i in range(3)]

    assert len({content_hash(frame) for frame in frames}) == 1


def test_text_in_a_dictionary_is_that_text() -> None:
    text = pl.DataFrame({"sector": ["bank", None, "food"]})

    assert content_hash(text.cast(pl.Categorical)) == content_hash(text)
    assert content_hash(text.cast(pl.Enum(["food", "bank"]))) == content_hash(text)


def test_text_does_not_run_into_its_neighbour() -> None:
    assert content_hash(pl.DataFrame({"x": ["ab", "c"]})) != content_hash(
        pl.DataFrame({"x": ["a", "bc"]})
    )
    assert content_hash(pl.DataFrame({"x": [[1], [2, 3]]})) != content_hash(
        pl.DataFrame({"x": [[1, 2], [3]]})
    )


def test_names_types_and_order_of_columns_are_content() -> None:
    table = pl.DataFrame({"a": [1, 2], "b": [3, 4]})

    assert content_hash(table) != content_hash(table.rename({"b": "c"}))
    assert content_hash(table) != content_hash(table.with_columns(pl.col("b").cast(pl.Int32)))
    assert content_hash(table) != content_hash(table.select("b", "a"))
    assert content_hash(table, columns=["a", "b"]) == content_hash(
        table.select("b", "a"), columns=["a", "b"]
    )


def test_the_moment_of_ingestion_is_not_content() -> None:
    early = pl.DataFrame({"a": [1], "ingested_at": [datetime(2024, 1, 1)]})  # noqa: DTZ001
    late = pl.DataFrame({"a": [1], "ingested_at": [datetime(2025, 1, 1)]})  # noqa: DTZ001

    assert content_hash(early) == content_hash(late) == content_hash(early.drop("ingested_at"))


def test_vectors_structs_instants_and_slices_have_a_hash() -> None:
    table = pl.DataFrame(
        {
            "k": [1, 2, 3],
            "vector": [[1.0, 2.0], None, [3.0, None]],
            "record": [{"a": 1}, {"a": None}, {"a": 3}],
            "at": [datetime(2024, 1, 1, 9, 30)] * 3,  # noqa: DTZ001
            "raw": [b"x", None, b"\x00"],
        },
        schema_overrides={"vector": pl.Array(pl.Float32, 2)},
    )

    assert content_hash(table[1:], ("k",)) == content_hash(table.filter(pl.col("k") > 1), ("k",))
    assert content_hash(table) != content_hash(table.with_columns(pl.lit(None).alias("raw")))


def test_the_hash_is_the_one_of_the_day_it_was_written() -> None:
    table = pl.DataFrame({"a": [1, None], "b": ["x", "yz"], "c": [0.5, float("nan")]})

    assert content_hash(table) == "26a79536bdc210f994d04fefc4acef51"


def test_months_that_change_places_change_the_combined_hash() -> None:
    assert combined_hash({"2024-01": "a", "2024-02": "b"}) == combined_hash(
        {"2024-02": "b", "2024-01": "a"}
    )
    assert combined_hash({"2024-01": "a", "2024-02": "b"}) != combined_hash(
        {"2024-01": "b", "2024-02": "a"}
    )


def test_rows_without_an_identity_are_refused() -> None:
    twice = pl.DataFrame({"symbol": ["b", "a", "b"], "x": [1, 2, 3]})
    nobody = pl.DataFrame({"symbol": ["a", None], "x": [1, 2]})

    with pytest.raises(BadInput, match=r"2 rows of the table share \(symbol\), first \('b',\)"):
        content_hash(twice, ("symbol",))
    with pytest.raises(BadInput, match=r"symbol is null, first in .*'x': 2"):
        content_hash(nobody, ("symbol",))
    with pytest.raises(BadInput, match="no column 'session'"):
        content_hash(twice, ("session",))
    with pytest.raises(BadInput, match="'x' is Object, which has no content hash"):
        content_hash(pl.DataFrame({"x": pl.Series([object()], dtype=pl.Object)}))
