"""SQL sees the stored tables and nothing else."""

import os
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from alpha_assets.errors import BadInput, MissingOutput, SpecError, StorageError
from alpha_assets.store import ManifestInput, MonthTable, Store, sql
from alpha_assets.store.sql import ask


@pytest.fixture
def filled(store: Store, made: ManifestInput) -> Store:
    """A panel of two months, the second with one more column, and a backtest."""
    panel = MonthTable(store, ("sim", "panel"), ("session", "symbol"))
    for month in (1, 2):
        rows = {"session": [date(2024, month, 1)] * 2, "symbol": ["a", "b"], "x": [1.0, 2.0]}
        more = {"y": [5, 6]} if month == 2 else {}
        panel.write(f"2024-0{month}", pl.DataFrame({**rows, **more}), made)
    trades = pl.DataFrame({"symbol": ["a"], "shares": [3.0]})
    store.folder("sim", "my.recipe", "backtest").write({"trades": trades}, made)
    store.folder("sim", "_secret").write({"rows": trades}, made)
    return store


def test_tables_are_views_over_what_manifests_name(filled: Store) -> None:
    root = Path(filled.address) / "sim" / "panel"
    pl.DataFrame({"x": [9.0]}).write_parquet(root / "month=2024-01" / "stray.parquet")
    (root / "month=2024-03").mkdir()
    (root / ".DS_Store").write_bytes(b"?")

    assert ask(filled, "sim", "select count(*) n, sum(x) x, sum(y) y from panel") == [
        {"n": 4, "x": 6.0, "y": 11}
    ]
    query = """
        with held as (select symbol from "my.recipe_trades")
        select p.x, i from PANEL p join held using (symbol), range(2) r(i) order by all
    """
    assert [tuple(row.values()) for row in ask(filled, "sim", query)] == [
        (1.0, 0), (1.0, 0), (1.0, 1), (1.0, 1),
    ]  # fmt: skip
    assert [row["column_name"] for row in ask(filled, "sim", "describe panel")][:2] == [
        "session",
        "symbol",
    ]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("select * from read_csv('/etc/passwd')", r"read_csv\(\) is not offered"),
        ("select * from READ_PARQUET('{path}')", r"(?i)read_parquet\(\) is not offered"),
        ("select (select count(*) from read_text('/etc/passwd'))", r"read_text\(\) is not"),
        ("with a as (from glob('/*')) from a", r"glob\(\) is not offered"),
        ("from query('select 1')", r"query\(\) is not offered"),
        ("from duckdb_settings()", r"duckdb_settings\(\) is not offered"),
        ("select * from '{path}'", "there is no table '/.*rows.parquet'"),
        ("select * from information_schema.tables", "no table 'information_schema.tables'"),
        ("select * from nothing", "there is no table 'nothing'\ntables: my.recipe_trades"),
        ("select * from _secret", "there is no table '_secret'"),
        ("select * from filled", "there is no table 'filled'"),  # a variable of the caller
        ("copy panel to '{path}'", "the query is COPY; want one SELECT"),
        ("copy (select 1) to '{out}'", "the query is COPY"),
        ("export database '{out}'", "the query is EXPORT"),
        ("attach '{out}' as z", "the query is ATTACH"),
        ("install httpfs", "the query is LOAD"),
        ("load httpfs", "the query is LOAD"),
        ("set enable_external_access = true", "the query is SET"),
        ("pragma database_list", "want one SELECT"),
        ("call pragma_version()", "the query is CALL"),
        ("create table t as select 1", "the query is CREATE"),
        ("select 1; select 2", "the query is SELECT and SELECT; want one SELECT"),
        ("select 1; copy panel to '{out}'", "the query is SELECT and COPY"),
        ("", "the query is empty"),
        ("selekt", "Parser Error"),
        ("select z from panel", "(?s)z.*tables: "),
        ("select * from main.panel", "there is no table 'main.panel'"),
        ('select (with "{path}" as (select 1) select 1), (from "{path}")', "Permission Error"),
        ("create or replace view panel as select 1", "the query is CREATE"),
        ("from 'https://127.0.0.1:1/x.parquet'", "there is no table 'https:"),
        ("select getenv('HOME')", "getenv does not exist"),
        ("from panel, lateral (from read_blob(symbol))", r"read_blob\(\) is not offered"),
        ("select interval 1 day", "a type that is not shown .*; cast it"),
        ("select \udc80", "the query is not valid text"),
    ],
)
def test_what_reaches_beyond_them_is_refused(
    filled: Store, tmp_path: Path, query: str, words: str
) -> None:
    path = Path(filled.address) / "sim" / "panel" / "month=2024-01" / "rows.parquet"
    before, out = path.read_bytes(), tmp_path / "out"

    with pytest.raises(BadInput, match=words):
        ask(filled, "sim", query.format(path=path, out=out))

    assert path.read_bytes() == before
    assert not out.exists()


def test_damaged_files_are_named_where_they_are_asked_for(filled: Store) -> None:
    month = Path(filled.address) / "sim" / "panel" / "month=2024-02"
    content = bytearray((month / "rows.parquet").read_bytes())
    content[len(content) // 2] ^= 1
    (month / "rows.parquet").write_bytes(content)

    with pytest.raises(StorageError, match=r"month=2024-02/rows.parquet has other bytes"):
        ask(filled, "sim", "select 1 from panel")
    assert ask(filled, "sim", 'select shares from "my.recipe_trades"') == [{"shares": 3}]

    os.unlink(month / "manifest.json")  # noqa: PTH108
    with pytest.raises((StorageError, MissingOutput), match="month=2024-02"):
        ask(filled, "sim", "select 1 from panel")

    (Path(filled.address) / "sim" / "my.recipe" / "backtest" / "manifest.json").write_text("{}")
    with pytest.raises(BadInput, match=r"no table 'my.recipe_trades'\n.*not a manifest"):
        ask(filled, "sim", 'select shares from "my.recipe_trades"')


ENDLESS = "with recursive t(n) as (select 1 union all select n + 1 from t) select count(*) from t"


def test_a_query_without_an_end_ends(filled: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sql, "SECONDS", 0.2)
    with pytest.raises(BadInput, match=r"ended after 0.2 seconds; ask for less"):
        ask(filled, "sim", ENDLESS)
    monkeypatch.setattr(sql, "SECONDS", 60)
    monkeypatch.setattr(sql, "ROWS_SHOWN", 3)
    assert len(ask(filled, "sim", "from range(3)")) == 3
    with pytest.raises(BadInput, match="more than 3 rows; ask for less"):
        ask(filled, "sim", "from range(1000000000000)")


def test_a_deep_query_is_answered_or_refused(filled: Store) -> None:
    assert ask(filled, "sim", f"select {'abs(' * 90}1{')' * 90} n") == [{"n": 1}]
    with pytest.raises(BadInput, match="nested too deeply"):
        ask(filled, "sim", f"select {'abs(' * 900}1{')' * 900} n")


@pytest.mark.parametrize("market", ["/etc", "..", "sim/..", ""])
def test_a_market_is_a_folder_of_the_storage(filled: Store, market: str) -> None:
    with pytest.raises(SpecError, match="cannot name an output folder"):
        ask(filled, market, "select 1")


def test_a_market_without_outputs_is_named(store: Store) -> None:
    with pytest.raises(MissingOutput, match=r"mars does not exist; alpha-assets run --market mars"):
        ask(store, "mars", "select 1")
