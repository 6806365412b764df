"""A table in one file a family: read as one, each family written, damaged and refused alone."""

import os
from collections.abc import Callable
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from tests.store.memory import MemoryBackend

from alpha_assets.errors import BadInput, MissingOutput, StorageError
from alpha_assets.store import ManifestInput, Store, folder_backend
from alpha_assets.store.manifest import MANIFEST
from alpha_assets.store.sql import ask
from alpha_assets.store.store import BACKENDS
from alpha_assets.store.table import FamilyTable

KEY = ("session", "symbol")
MONTH = "2024-01"
SYMBOLS = ["a", "b", "c"]


def rows(column: str, *values: float, day: int = 1) -> pl.DataFrame:
    n = len(values)
    keys = {"session": [date(2024, 1, day)] * n, "symbol": SYMBOLS[:n]}
    return pl.DataFrame({**keys, column: list(values)})


def by(code: str) -> ManifestInput:
    return ManifestInput(digest="settings", code=code, inputs={"panel": "abc"})


@pytest.fixture(params=["folder", "memory"])
def table(
    request: pytest.FixtureRequest, store: Store, monkeypatch: pytest.MonkeyPatch
) -> FamilyTable:
    """Two families of a month, on a backend with folders and on one without."""
    if request.param == "memory":
        opened: dict[str, MemoryBackend] = {}
        monkeypatch.setitem(BACKENDS, "memory", lambda u: opened.setdefault(u, MemoryBackend(u)))
        store = Store("memory://one")
    table = FamilyTable(store, ("sim", "features"), KEY)
    frames = {"price": rows("ret", 1, 2), "news": rows("n", 5, 6)}
    table.write(MONTH, frames, {"price": by("old"), "news": by("old")})
    return table


def test_families_are_read_side_by_side(table: FamilyTable) -> None:
    assert table.held([MONTH]) == ("news", "price")
    assert table.read().collect().select("symbol", "ret", "n").rows() == [("a", 1, 5), ("b", 2, 6)]
    assert table.read(columns=["n", "session"]).collect().columns == ["n", "session"]
    assert table.only(["price"]).read().collect().columns == [*KEY, "ret"]
    assert table.of("news").read().collect()["n"].to_list() == [5, 6]
    assert table.read(columns=["symbol"]).collect()["symbol"].to_list() == ["a", "b"]
    with pytest.raises(BadInput, match="has no column 'n'; it has session, symbol, ret"):
        table.only(["price"]).read(columns=["n"])
    with pytest.raises(MissingOutput, match="features has no month"):
        table.only(["price", "risk"]).read()


def test_a_family_is_written_alone_and_the_others_stay_as_they_are(table: FamilyTable) -> None:
    before = table.folder(MONTH).manifest()
    assert before is not None

    table.write(MONTH, {"risk": rows("beta", 7, 8)}, {"risk": by("new")})

    after = table.folder(MONTH).manifest()
    assert after is not None
    assert {**after.families, "risk": None} == {**before.families, "risk": None}
    kept = {name: after.files[name] for name in before.files}
    assert kept == before.files  # the very same files, inode and time included
    assert after.families["risk"].code == "new"
    assert after.rows == 2
    assert table.folder(MONTH).damage() is None
    assert table.read().collect().select("beta", "n", "ret").rows() == [(7, 5, 1), (8, 6, 2)]
    table.write(MONTH, {"price": rows("ret", 3, 4)}, {"price": by("newer")})
    assert table.hashes_by_family()["news"] == {MONTH: before.families["news"].content_hash}
    assert table.hashes_by_family()["price"] != {MONTH: before.families["price"].content_hash}
    assert table.read().collect()["ret"].to_list() == [3, 4]


def test_one_key_hash_names_the_rows_that_families_share(table: FamilyTable) -> None:
    table.write(MONTH, {"price": rows("ret", 1, 2, 3)}, {"price": by("old")})

    with pytest.raises(StorageError, match="news and price have other rows"):
        table.read().collect()
    assert table.of("price").read().collect().height == 3
    # A query shows what there is of each row.
    asked = ask(table.store, "sim", "select symbol, ret, n from features order by symbol")
    assert [tuple(row.values()) for row in asked] == [("a", 1, 5), ("b", 2, 6), ("c", 3, None)]
    table.write(MONTH, {"risk": rows("beta", 7, 8, 9)}, {"risk": by("old")})
    asked = ask(table.store, "sim", "select symbol, ret, n, beta from features order by symbol")
    assert [tuple(row.values()) for row in asked][2] == ("c", 3, None, 9)


def test_a_query_sees_one_view_over_months_of_other_families(table: FamilyTable) -> None:
    second = {"price": rows("ret", 9, day=2).with_columns(session=date(2024, 2, 1))}
    table.write("2024-02", second, {"price": by("old")})

    asked = ask(table.store, "sim", "select session, ret, n from features order by session, symbol")

    assert [tuple(row.values())[1:] for row in asked] == [(1, 5), (2, 6), (9, None)]
    assert table.held([MONTH, "2024-02"]) == ("price",)
    assert table.read().collect().columns == [*KEY, "ret"]


def put(table: FamilyTable, file: str, change: Callable[[bytes], bytes]) -> None:
    """Change a stored file behind the store's back."""
    name = f"{table.folder(MONTH).name}/{file}"
    content = table.store.backend.get(name)
    assert content is not None
    table.store.backend.put(name, change(content))


@pytest.mark.parametrize("change", [lambda c: c[:-9], lambda c: c[:40] + b"?" + c[41:]])
def test_damage_of_one_family_is_its_own(
    table: FamilyTable, change: Callable[[bytes], bytes]
) -> None:
    put(table, "price.parquet", change)

    assert "price.parquet has" in str(table.of("price").folder(MONTH).damage())
    assert table.of("news").folder(MONTH).damage() is None
    assert table.of("news").read().collect()["n"].to_list() == [5, 6]
    with pytest.raises(StorageError, match=r"price.parquet has .*delete "):
        table.read().collect()
    # Another family is written: the damaged one is not passed off as sound.
    table.write(MONTH, {"risk": rows("beta", 7, 8)}, {"risk": by("new")})
    assert "price.parquet has" in str(table.of("price").folder(MONTH).damage())
    table.write(MONTH, {"price": rows("ret", 1, 2)}, {"price": by("old")})
    assert table.folder(MONTH).damage() is None


def test_a_family_whose_file_is_gone_is_missing_once_another_is_written(table: FamilyTable) -> None:
    table.store.backend.delete(f"{table.folder(MONTH).name}/price.parquet")
    assert "price.parquet is gone" in str(table.of("price").folder(MONTH).damage())

    table.write(MONTH, {"news": rows("n", 1, 2)}, {"news": by("new")})

    assert table.of("price").months() == ()
    assert table.held([MONTH]) == ("news",)


def test_other_code_is_recorded_for_one_family(table: FamilyTable) -> None:
    folder = table.of("price").folder(MONTH)
    found = folder.manifest()
    assert found is not None

    assert folder.restamp(found, "new", {"kept": 1})

    whole = table.folder(MONTH).manifest()
    assert whole is not None
    assert {name: held.code for name, held in whole.families.items()} == {
        "news": "old",
        "price": "new",
    }
    assert whole.families["price"].extra == {"kept": 1}
    assert not folder.restamp(found, "newer", {})


def test_a_month_in_one_file_is_of_an_earlier_version(store: Store, made: ManifestInput) -> None:
    table = FamilyTable(store, ("sim", "features"), KEY)
    table.folder(MONTH).write({"rows": rows("ret", 1, 2)}, made)

    assert table.of("price").folder(MONTH).manifest() is None
    assert table.of("price").folder(MONTH).is_of_one_file()
    with pytest.raises(StorageError, match="holds all columns in one file, as an earlier version"):
        table.read()
    table.write(MONTH, {"price": rows("ret", 1, 2)}, {"price": by("new")})
    assert table.store.backend.list(table.folder(MONTH).name).files == {MANIFEST, "price.parquet"}


def test_a_writer_that_is_killed_leaves_the_old_version(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = FamilyTable(store, ("sim", "features"), KEY)
    frames = {"price": rows("ret", 1, 2), "news": rows("n", 5, 6)}
    table.write(MONTH, frames, {"price": by("old"), "news": by("old")})
    before = table.folder(MONTH).manifest()
    for where in ("_kept", "_fill", "publish"):

        def killed(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(folder_backend, where, killed)
            with pytest.raises(KeyboardInterrupt):
                table.write(MONTH, {"price": rows("ret", 3, 4)}, {"price": by("new")})
        assert table.folder(MONTH).manifest() == before, where
        assert table.folder(MONTH).damage() is None, where
        assert table.read().collect()["ret"].to_list() == [1, 2], where


def test_files_are_copied_where_links_are_not_supported(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = FamilyTable(store, ("sim", "features"), KEY)
    table.write(MONTH, {"price": rows("ret", 1, 2)}, {"price": by("old")})

    def refused(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", refused)
        table.write(MONTH, {"news": rows("n", 5, 6)}, {"news": by("new")})

    assert table.folder(MONTH).damage() is None
    assert table.read().collect()["ret"].to_list() == [1, 2]
    assert Path(table.folder(MONTH).address, "price.parquet").is_file()
