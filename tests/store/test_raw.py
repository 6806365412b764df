"""Raw rows are appended, never changed, and read as they were known at an instant."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alpha_assets.errors import BadInput, FeedError, RangeError, SourceMismatch, StorageError
from alpha_assets.store import ManifestInput, RawTable, Store, content_hash
from alpha_assets.store.hashing import combined_hash

TOKYO = ZoneInfo("Asia/Tokyo")
INSTANT = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Balances:
    """A feed of weekly balances."""

    name: str = "balances"
    key: tuple[str, ...] = ("event_date", "symbol")
    derived: tuple[str, ...] = ()

    @property
    def schema(self) -> Mapping[str, pl.DataType | type[pl.DataType]]:
        return {
            "event_date": pl.Date,
            "symbol": pl.String,
            "shares": pl.Float64,
            "available_at": INSTANT,
            "ingested_at": INSTANT,
            "revision": pl.Int16,
        }


def row(
    day: int, symbol: str, shares: float | None, available_at: datetime, revision: int = 0
) -> dict[str, object]:
    """Return a raw row of a day of March 2024."""
    return {
        "event_date": date(2024, 3, day),
        "symbol": symbol,
        "shares": shares,
        "available_at": available_at,
        "ingested_at": available_at + timedelta(minutes=5),
        "revision": revision,
    }


def frame(*rows: dict[str, object]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=dict(Balances().schema))


def at(day: int, hour: int = 7, month: int = 3) -> datetime:
    """Return an instant of 2024, UTC; 07:00 is 16:00 in Tokyo."""
    return datetime(2024, month, day, hour, tzinfo=UTC)


@pytest.fixture
def table(store: Store) -> RawTable:
    """An empty table."""
    return RawTable(store, "jp", Balances(), TOKYO)


# What was published: `a` of the 1st is corrected twice, the second time in April; `b` once,
# and the correction carries the instant of the first; `c` came late.
PUBLISHED = frame(
    row(1, "a", 10.0, at(5)),
    row(1, "a", 11.0, at(6), 1),
    row(1, "a", 12.0, at(3, month=4), 2),
    row(1, "b", 20.0, at(5)),
    row(1, "b", 21.0, at(5), 1),
    row(1, "c", 30.0, at(8)),
    row(8, "a", 13.0, at(12)),
)


@pytest.fixture
def published(table: RawTable, made: ManifestInput) -> RawTable:
    table.append(PUBLISHED, made)
    return table


def known(rows: pl.LazyFrame) -> dict[tuple[int, str], float]:
    """Return shares by day of March and symbol."""
    found = rows.collect()
    assert found.columns == list(Balances().schema)
    assert found.select("event_date", "symbol").is_unique().all()
    return {(r["event_date"].day, r["symbol"]): r["shares"] for r in found.iter_rows(named=True)}


def test_what_was_known_at_an_instant_by_hand(published: RawTable) -> None:
    assert known(published.as_known_at(at(4))) == {}
    assert known(published.as_known_at(at(5, hour=6))) == {}
    assert known(published.as_known_at(at(5))) == {(1, "a"): 10.0, (1, "b"): 21.0}
    assert known(published.as_known_at(at(7))) == {(1, "a"): 11.0, (1, "b"): 21.0}
    assert known(published.as_known_at(at(31))) == {
        (1, "a"): 11.0,
        (1, "b"): 21.0,
        (1, "c"): 30.0,
        (8, "a"): 13.0,
    }
    assert known(published.as_known_at(at(3, month=4)))[1, "a"] == 12.0


def test_the_latest_and_the_first_of_each_key_by_hand(published: RawTable) -> None:
    rest = {(1, "c"): 30.0, (8, "a"): 13.0}

    assert known(published.latest()) == {(1, "a"): 12.0, (1, "b"): 21.0, **rest}
    assert known(published.first_effective()) == {(1, "a"): 10.0, (1, "b"): 20.0, **rest}
    assert known(published.first_effective(until=at(7))) == {(1, "a"): 10.0, (1, "b"): 20.0}


def test_a_row_that_came_out_later_is_the_one_known_whatever_its_revision(
    table: RawTable, made: ManifestInput
) -> None:
    table.append(frame(row(1, "a", 1.0, at(6), 0), row(1, "a", 2.0, at(5), 1)), made)

    assert known(table.latest()) == {(1, "a"): 1.0}
    assert known(table.first_effective()) == {(1, "a"): 2.0}


def test_reading_until_an_instant_shows_every_revision_by_then(published: RawTable) -> None:
    assert published.read(until=at(6)).collect().height == 4
    assert published.read().collect().height == 7
    assert published.read(columns=["shares"], until=at(5)).collect().to_series().to_list() == [
        10.0,
        20.0,
        21.0,
    ]
    assert published.read(first="2024-04").collect()["revision"].to_list() == [2]
    assert published.read(last="2024-03").collect().height == 6
    assert published.read(until=at(30, month=4), last="2024-03").collect().height == 6


def test_rows_lie_in_the_month_of_publication_on_the_clock_of_the_market(
    table: RawTable, made: ManifestInput
) -> None:
    evening_in_march = datetime(2024, 3, 31, 14, 59, tzinfo=UTC)
    april_in_tokyo = datetime(2024, 3, 31, 15, 0, tzinfo=UTC)

    table.append(frame(row(1, "a", 1.0, evening_in_march), row(1, "b", 2.0, april_in_tokyo)), made)

    assert table.months() == ("2024-03", "2024-04")
    assert known(table.read(last="2024-03")) == {(1, "a"): 1.0}
    assert known(table.read(until=april_in_tokyo)) == {(1, "a"): 1.0, (1, "b"): 2.0}
    assert (Path(table.store.address) / "jp/raw/balances/month=2024-04/rows.parquet").is_file()


def test_appending_again_changes_nothing(published: RawTable, made: ManifestInput) -> None:
    def files() -> dict[str, tuple[int, int]]:
        paths = Path(published.store.address).joinpath("jp").rglob("*.*")
        return {str(p): (p.stat().st_ino, p.stat().st_mtime_ns) for p in paths if p.is_file()}

    before, hashes = files(), published.hashes()
    again = PUBLISHED.sample(fraction=1, shuffle=True, seed=1).with_columns(
        pl.col("ingested_at") + timedelta(days=30)
    )
    appended = published.append(again, made)

    assert (appended.rows, appended.months) == (0, ())
    assert files() == before
    assert published.hashes() == hashes


@settings(max_examples=8, deadline=None, derandomize=True)
@given(st.permutations(range(7)), st.lists(st.integers(1, 6), max_size=3))
def test_the_content_does_not_depend_on_how_the_rows_arrived(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], cuts: list[int]
) -> None:
    made = ManifestInput(digest="d")
    at_once = RawTable(Store(str(tmp_path_factory.mktemp("one"))), "jp", Balances(), TOKYO)
    at_once.append(PUBLISHED, made)
    bit_by_bit = RawTable(Store(str(tmp_path_factory.mktemp("other"))), "jp", Balances(), TOKYO)
    bounds = [0, *sorted(set(cuts)), 7]

    for start, stop in pairwise(bounds):
        bit_by_bit.append(PUBLISHED[order[start:stop]], made)

    assert bit_by_bit.hashes() == at_once.hashes()
    assert bit_by_bit.combined_hash() == at_once.combined_hash()


def test_only_months_that_get_rows_are_rewritten(published: RawTable, made: ManifestInput) -> None:
    before = published.hashes()

    appended = published.append(
        pl.concat([PUBLISHED, frame(row(8, "b", 23.0, at(12, month=4)))]), made
    )

    assert (appended.rows, appended.months) == (1, ("2024-04",))
    assert published.hashes()["2024-03"] == before["2024-03"]
    assert published.hashes()["2024-04"] != before["2024-04"]
    assert published.read(first="2024-04").collect().height == 2


def test_rows_are_hashed_by_the_month_that_they_describe(
    table: RawTable, made: ManifestInput
) -> None:
    early, late = row(1, "a", 10.0, at(5)), row(2, "a", 11.0, at(6))
    february = {**row(1, "b", 9.0, at(6)), "event_date": date(2024, 2, 28)}
    table.append(frame(early, late, february), made)
    correction = row(1, "a", 12.0, at(3, month=4), revision=1)
    table.append(frame(correction), made)

    key = (*Balances().key, "revision")
    by_hand = {
        "2024-03": {
            "2024-02": content_hash(frame(february), key),
            "2024-03": content_hash(frame(early, late), key),
        },
        "2024-04": {"2024-03": content_hash(frame(correction), key)},
    }
    found = table.hashes_by_date()
    assert found.of_month == by_hand
    february_alone = combined_hash({"2024-03 2024-02": by_hand["2024-03"]["2024-02"]})
    assert found.combined(("", "9999-12"), ("2024-02", "2024-02")) == february_alone
    assert found.combined(("2024-04", "2024-04"), ("2024-03", "2024-03")) == combined_hash(
        {"2024-04 2024-03": by_hand["2024-04"]["2024-03"]}
    )

    # A month of an earlier version, whose manifest has none of them.
    table.table.write("2024-03", frame(early, late, february), made)
    assert table.hashes_by_date() == found

    manifest = Path(table.store.address) / "jp/raw/balances/month=2024-03/manifest.json"
    manifest.write_text("{}")
    damaged = table.hashes_by_date()
    assert damaged.of_month["2024-03"] == {"": "damaged"}
    nothing = found.combined(("2024-03", "2024-03"), ("2020-01", "2020-01"))
    assert damaged.combined(("2024-03", "2024-03"), ("2020-01", "2020-01")) != nothing


def test_nothing_stored_is_nothing_to_read(table: RawTable, made: ManifestInput) -> None:
    assert known(table.read()) == known(table.latest()) == known(table.as_known_at(at(1))) == {}
    assert table.last_available() is None
    assert table.append(PUBLISHED.clear(), made).rows == 0
    assert table.months() == ()
    with pytest.raises(BadInput, match="no column 'price'; it has event_date"):
        table.read(columns=["price"])


def test_the_last_instant_of_publication_is_remembered(published: RawTable) -> None:
    assert published.last_available() == at(3, month=4)


def test_missing_values_equal_themselves(table: RawTable, made: ManifestInput) -> None:
    odd = frame(row(1, "a", None, at(5)), row(1, "b", float("nan"), at(5)))
    table.append(odd, made)

    assert table.append(odd, made).rows == 0


@pytest.mark.parametrize(("stored", "given"), [(10.0, 10.5), (None, 0.0), (float("nan"), None)])
def test_a_stored_row_does_not_change(
    table: RawTable, made: ManifestInput, stored: float | None, given: float | None
) -> None:
    table.append(frame(row(1, "a", stored, at(5)), row(1, "b", 1.0, at(5))), made)

    with pytest.raises(
        FeedError,
        match=r"1 rows of jp/raw/balances month 2024-03 are stored with other values, first "
        rf"\(event_date=2024-03-01, symbol=a, revision=0\): shares = {stored} is stored, {given} "
        "was given; .* append a correction with a higher revision",
    ):
        table.append(frame(row(1, "a", given, at(5))), made)


def test_another_instant_is_another_value(published: RawTable, made: ManifestInput) -> None:
    with pytest.raises(FeedError, match=r"first .*symbol=c, revision=0.: available_at = "):
        published.append(frame(row(1, "c", 30.0, at(9))), made)


def test_rows_that_cannot_be_raw_rows_are_refused(table: RawTable, made: ManifestInput) -> None:
    for rows, words in [
        (PUBLISHED.drop("shares"), r"lack columns \['shares'\]"),
        (PUBLISHED.with_columns(x=1), r"unknown columns \['x'\]; want event_date, symbol"),
        (PUBLISHED.with_columns(pl.col("shares").cast(pl.Int64)), "shares is Int64; want Float64"),
        (
            PUBLISHED.with_columns(pl.col("available_at").dt.replace_time_zone(None)),
            "available_at is Datetime",
        ),
        (frame(row(1, None, 1.0, at(5))), "1 rows for jp/raw/balances have no symbol, first"),  # type: ignore[arg-type]
        (
            PUBLISHED.with_columns(available_at=pl.lit(None, dtype=INSTANT)),
            "7 rows .* have no available_at",
        ),
        (pl.concat([PUBLISHED, PUBLISHED[:1]]), r"share \(event_date, symbol, revision\)"),
    ]:
        with pytest.raises(FeedError, match=words):
            table.append(rows, made)
    assert table.months() == ()


def test_rows_of_another_source_are_refused_with_both_names(
    table: RawTable, made: ManifestInput
) -> None:
    table.append(PUBLISHED, made.model_copy(update={"extra": {"source": "files:/a"}}))
    other = ManifestInput(digest="ba9876543210", extra={"source": "files:/b"})

    with pytest.raises(
        SourceMismatch,
        match=r"rows of source 'files:/a' \(digest 0123456789ab\), these are of source 'files:/b' "
        r"\(digest ba9876543210\); .* choose another --storage",
    ):
        table.append(frame(row(15, "a", 1.0, at(19))), other)


def test_a_table_of_other_columns_is_refused(published: RawTable) -> None:
    @dataclass(frozen=True)
    class Renamed(Balances):
        @property
        def schema(self) -> Mapping[str, pl.DataType | type[pl.DataType]]:
            return {{"shares": "lots"}.get(k, k): v for k, v in super().schema.items()}

    other = RawTable(published.store, "jp", Renamed(), TOKYO)
    with pytest.raises(StorageError, match=r"feed balances now wants .*lots.*choose another"):
        other.read()


def test_a_derived_column_that_older_months_lack_is_null_in_them(published: RawTable) -> None:
    @dataclass(frozen=True)
    class Levelled(Balances):
        derived: tuple[str, ...] = ("level",)

        @property
        def schema(self) -> Mapping[str, pl.DataType | type[pl.DataType]]:
            return {**super().schema, "level": pl.Float64}

    newer = RawTable(published.store, "jp", Levelled(), TOKYO)
    more = frame(row(9, "a", 14.0, at(4, month=4)), row(8, "b", 15.0, at(12))).with_columns(
        level=pl.lit(0.5)
    )
    known = newer.table.folder("2024-03").manifest()
    assert known is not None
    newer.append(more.head(1), ManifestInput(digest=known.digest))  # April's file gets the column
    assert newer.read().collect()["level"].to_list() == [None] * 7 + [0.5]
    newer.append(more.tail(1), ManifestInput(digest=known.digest))  # March's is rewritten with it
    assert newer.read().collect().sort("shares")["level"].drop_nulls().to_list() == [0.5, 0.5]
    assert newer.read().collect().height == 9


def test_an_instant_without_a_zone_is_refused(published: RawTable) -> None:
    with pytest.raises(RangeError, match="has no time zone; want one, such as UTC"):
        published.as_known_at(datetime(2024, 3, 5))  # noqa: DTZ001
