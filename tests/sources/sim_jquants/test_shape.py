"""Every table has the columns, the order and the types of the samples."""

import json
from pathlib import Path
from typing import Any

import pytest
from tests.sources.jquants.conftest import KEY, Serve
from tests.sources.sim_jquants.conftest import Ask

from alpha_assets.sources.jquants.endpoints import ENDPOINTS, HALF_DAY_COLUMNS
from alpha_assets.sources.sim.side import margin

SAMPLES = Path(__file__).resolve().parents[1] / "samples.json"
QUERIES: dict[str, dict[str, str]] = {
    "/markets/calendar": {},
    "/equities/master": {"date": "2020-09-28"},
    "/equities/bars/daily": {"code": "13010"},
    "/indices/bars/daily/topix": {},
    "/indices/bars/daily": {"date": "2020-09-28"},
    "/equities/investor-types": {},
    "/markets/margin-interest": {"date": "2020-09-25"},
    "/markets/margin-alert": {"date": "2020-09-28"},
    "/markets/short-ratio": {"date": "2020-09-28"},
    "/markets/short-sale-report": {"code": "13010"},
    "/derivatives/bars/daily/options/225": {"date": "2020-09-28"},
    "/fins/summary": {"code": "13010"},
    "/fins/earnings-date": {"code": "13010"},
    "/fins/dividend": {"code": "13010"},
    "/equities/valuation": {"date": "2020-09-28"},
}
# The simulated exchange does not tell its orders apart by kind.
NOT_SERVED = {"/markets/breakdown"}


@pytest.fixture(scope="module")
def samples() -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads(SAMPLES.read_text(encoding="utf-8"))
    return found


def kinds(rows: list[dict[str, Any]], name: str) -> set[str]:
    """Return the JSON types of a column."""
    return {type(row[name]).__name__ for row in rows}


@pytest.mark.parametrize("path", QUERIES)
def test_rows_have_the_shape_of_the_samples(
    serve: Serve,
    ask: Ask,
    samples: dict[str, list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
    path: str,
) -> None:
    monkeypatch.setattr(margin, "ENTERS", 0.2)  # more issues under watch
    server = serve(page_size=5000, keys={KEY: "premium"})
    rows = ask(server, path, **QUERIES[path])[1]["data"]
    assert rows
    for row in rows:
        columns = list(row)
        if path == "/equities/bars/daily":  # of this plan, and not in the samples
            columns = [name for name in row if name not in HALF_DAY_COLUMNS]
        assert columns == list(samples[path][0])
    for name in samples[path][0]:
        allowed = kinds(samples[path], name)
        assert kinds(rows, name) <= allowed | ({"NoneType"} if "float" in allowed else set()), name


@pytest.mark.parametrize("path", ENDPOINTS)
def test_the_columns_that_the_source_knows_are_those_of_the_samples(
    samples: dict[str, list[dict[str, Any]]], path: str
) -> None:
    columns = list(ENDPOINTS[path].columns)
    if path == "/equities/bars/daily":  # of other plans, and of newer answers
        columns = [name for name in columns if name not in (*HALF_DAY_COLUMNS, "MktCap")]
    assert columns == list(samples[path][0])


def test_every_table_of_the_server_is_tried_here(serve: Serve) -> None:
    assert set(serve().exchange.tables) == set(QUERIES)
    assert set(ENDPOINTS) - set(QUERIES) == NOT_SERVED
