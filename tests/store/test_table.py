"""A table of months is read as one frame, and nothing of it is missing unsaid."""

import json
import os
import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from alpha_assets.errors import BadInput, MissingOutput, RangeError, StorageError
from alpha_assets.store import ManifestInput, MonthTable, Store, content_hash
from alpha_assets.store.folder import Folder
from alpha_assets.store.hashing import combined_hash
from alpha_assets.store.manifest import MANIFEST, UNSEALED
from alpha_assets.store.table import DAMAGED

KEY = ("session", "symbol")


def rows(month: int, *symbols: str) -> pl.DataFrame:
    """Return one row per symbol on the first of a month of 2024."""
    return pl.DataFrame(
        {
            "session": [date(2024, month, 1)] * len(symbols),
            "symbol": list(symbols),
            "x": [float(month)] * len(symbols),
        },
        schema={"session": pl.Date, "symbol": pl.String, "x": pl.Float32},
    )


@pytest.fixture
def table(store: Store, made: ManifestInput) -> MonthTable:
    """Three months of two symbols, rows given in the wrong order."""
    table = MonthTable(store, ("sim", "panel"), KEY)
    for month in (2, 1, 3):
        table.write(f"2024-0{month}", rows(month, "b", "a"), made)
    return table


def test_a_span_comes_in_the_order_of_months_and_keys(table: MonthTable) -> None:
    assert table.months() == ("2024-01", "2024-02", "2024-03")
    assert table.read().collect().rows() == [
        (date(2024, month, 1), symbol, float(month)) for month in (1, 2, 3) for symbol in "ab"
    ]
    assert table.read("2024-02", "2024-02").collect().height == 2
    assert table.read(last="2024-02", columns=["x"]).collect().to_series().to_list() == [1, 1, 2, 2]


def test_the_schema_is_what_was_written_without_a_month(table: MonthTable) -> None:
    assert dict(table.read().collect_schema()) == dict(rows(1).schema)
    assert (Path(table.store.address) / "sim/panel/month=2024-01/rows.parquet").is_file()


def test_each_folder_is_named_after_the_table(table: MonthTable) -> None:
    manifest = table.folder("2024-01").manifest()

    assert manifest is not None
    assert manifest.table == "panel"
    assert manifest.content_hash == content_hash(rows(1, "a", "b"), KEY)


def test_the_combined_hash_says_which_months_and_what(
    table: MonthTable, made: ManifestInput
) -> None:
    before = table.combined_hash(last="2024-02")

    assert before == combined_hash(table.hashes("2024-01", "2024-02"))
    table.write("2024-03", rows(3, "c"), made)
    assert table.combined_hash(last="2024-02") == before
    table.write("2024-02", rows(2, "b", "a"), made)
    assert table.combined_hash(last="2024-02") == before
    table.write("2024-02", rows(2, "a"), made)
    assert table.combined_hash(last="2024-02") != before


def test_a_frame_is_read_as_it_was_when_it_was_asked_for(
    table: MonthTable, made: ManifestInput
) -> None:
    frame = table.read()
    table.write("2024-02", rows(2), made)

    assert frame.collect().height == 6
    assert table.read().collect().height == 4


def test_a_month_without_rows_is_no_gap(table: MonthTable, made: ManifestInput) -> None:
    table.write("2024-04", rows(4), made)
    table.write("2024-05", rows(5, "a"), made)

    assert table.read("2024-04").collect().rows() == [(date(2024, 5, 1), "a", 5.0)]


def test_a_look_back_before_the_table_starts_is_no_gap(table: MonthTable) -> None:
    assert table.read("2023-06", "2024-01").collect().height == 2


def test_a_month_that_was_never_made_is_missing(table: MonthTable, made: ManifestInput) -> None:
    table.write("2024-06", rows(6, "a"), made)

    with pytest.raises(MissingOutput, match="2 of the months 2024-01 to 2024-06, first 2024-04"):
        table.read()
    with pytest.raises(MissingOutput, match="lacks 2 of the months 2024-04 to 2024-06"):
        table.read("2024-04", "2024-06")
    with pytest.raises(MissingOutput, match="1 of the months 2024-06 to 2024-07, first 2024-07"):
        table.read("2024-06", "2024-07")
    with pytest.raises(MissingOutput, match="sim/panel has no month from 2025-01 to the end"):
        table.read("2025-01")
    with pytest.raises(MissingOutput, match="sim/panel has no month from the start to 2023-12"):
        table.read(last="2023-12")


def test_months_with_other_columns_are_refused(table: MonthTable, made: ManifestInput) -> None:
    table.write("2024-02", rows(2, "a").with_columns(pl.col("x").cast(pl.Float64)), made)

    with pytest.raises(
        StorageError, match=r"months 2024-02 and 2024-03 differ .* \(first: x\).*delete .*=2024-02"
    ):
        table.read()
    table.write("2024-02", rows(2, "a").select("symbol", "session", "x"), made)
    with pytest.raises(StorageError, match=r"first: their order"):
        table.read()


def test_a_damaged_month_is_named(table: MonthTable) -> None:
    os.truncate(Path(table.folder("2024-02").address) / "rows.parquet", 100)

    with pytest.raises(StorageError, match=r"month=2024-02/rows.parquet has 100 bytes"):
        table.read()


def put_in_place_of(table: MonthTable, month: str, other: Folder) -> None:
    """Copy another folder, with its manifest, over that of a month."""
    place = Path(table.folder(month).address)
    shutil.rmtree(place)
    shutil.copytree(other.address, place)


def test_a_whole_month_in_the_place_of_another_is_refused(
    table: MonthTable, made: ManifestInput
) -> None:
    put_in_place_of(table, "2024-02", table.folder("2024-01"))

    why = r"panel/month=2024-02 holds panel of 2024-01, as its manifest records.*delete .*-02 and"
    folder = table.folder("2024-02")
    for read in (table.read, folder.read, folder.manifest, folder.exists):
        with pytest.raises(StorageError, match=why):
            read()
    assert list(table.damaged()) == ["2024-02"]
    assert table.hashes()["2024-02"] == DAMAGED
    table.write("2024-02", rows(2, "a"), made)
    assert not table.damaged()


def test_a_whole_month_of_another_table_is_refused(table: MonthTable, made: ManifestInput) -> None:
    other = MonthTable(table.store, ("sim", "features"), KEY)
    other.write("2024-02", rows(2, "a", "b"), made)
    put_in_place_of(table, "2024-02", other.folder("2024-02"))

    with pytest.raises(StorageError, match=r"panel/month=2024-02 holds features of 2024-02"):
        table.read()


def test_an_older_month_whose_manifest_names_none_is_read(table: MonthTable) -> None:
    manifest = Path(table.folder("2024-02").address, MANIFEST)
    known = json.loads(manifest.read_text())
    assert known.pop("month") == "2024-02"
    manifest.write_text(json.dumps({**known, "schema_version": UNSEALED}))

    assert table.read().collect().height == 6
    assert not table.damaged()


def test_what_cannot_be_asked_for_is_refused(table: MonthTable, made: ManifestInput) -> None:
    with pytest.raises(BadInput, match="sim/panel has no column 'y'; it has session, symbol, x"):
        table.read(columns=["y"])
    with pytest.raises(RangeError, match="'2024-13' is not a month"):
        table.folder("2024-13")
    with pytest.raises(BadInput, match="2 rows of sim/panel/month=2024-01/rows share"):
        table.write("2024-01", rows(1, "a", "a"), made)


def test_strangers_in_the_folder_are_no_months(table: MonthTable) -> None:
    path = Path(table.store.address) / "sim" / "panel"
    (path / "month=2024-09").mkdir()
    (path / "notes").mkdir()
    Path(path / "month=2024-10").write_text("")

    assert table.months() == ("2024-01", "2024-02", "2024-03")


def test_damaged_months_are_named_and_strays_are_none(table: MonthTable) -> None:
    path = Path(table.store.address) / "sim" / "panel"
    for stray in (".DS_Store", "month=2024-03/.DS_Store", "month=2024-05", "Thumbs.db"):
        (path / stray).write_bytes(b"?")
    (path / "month=2024-04").mkdir()
    (path / "notes").mkdir()
    assert table.damaged() == {}
    assert table.months() == ("2024-01", "2024-02", "2024-03")

    (path / "month=2024-01" / "rows.parquet").unlink()
    (path / "month=2024-02" / "manifest.json").unlink()
    (path / "month=2024-03" / "manifest.json").write_text("{}")

    assert [reason.split(": ")[0].split("; ")[0] for reason in table.damaged().values()] == [
        f"{path / 'month=2024-01' / 'rows.parquet'} is gone",
        f"{path / 'month=2024-02' / 'manifest.json'} is gone",
        f"{path / 'month=2024-03' / 'manifest.json'}",
    ]
    assert table.hashes()["2024-03"] == "damaged"
