"""One look at a storage asks once what there is, and never takes an old file for a new one."""

from pathlib import Path

import polars as pl
import pytest

from alpha_assets.store import folder_backend
from alpha_assets.store.folder_backend import FolderBackend
from alpha_assets.store.look import Look
from alpha_assets.store.manifest import ManifestInput
from alpha_assets.store.store import Store
from alpha_assets.store.table import MonthTable

MONTHS = ("2023-01", "2023-02")


def table(store: Store) -> MonthTable:
    return MonthTable(store, ("market", "panel"), ("symbol",))


def write(store: Store, month: str, value: float) -> str:
    frame = pl.DataFrame({"symbol": ["a"], "value": [value]})
    return table(store).write(month, frame, ManifestInput(digest="d")).content_hash


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store(str(tmp_path / "storage"))
    for month in MONTHS:
        write(found, month, 1.0)
    return found


def test_each_listing_is_asked_for_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, honest = list[str](), FolderBackend.finished

    def finished(self: FolderBackend, name: str) -> object:
        asked.append(name)
        return honest(self, name)

    monkeypatch.setattr(FolderBackend, "finished", finished)
    months = table(Look(store.url))
    for _ in range(3):
        assert months.months() == MONTHS
        assert [*months.hashes()] == [*MONTHS]
    assert asked == ["market/panel"]


def test_a_month_that_was_replaced_meanwhile_is_read_as_it_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_backend, "_YOUNG_NS", 0)  # every manifest has a stamp
    months = table(Look(store.url))
    before = months.hashes()
    after = write(store, MONTHS[0], 2.0)
    assert after != before[MONTHS[0]]
    manifest_now, damage = months.folder(MONTHS[0]).look()
    assert damage is None
    assert manifest_now is not None
    assert manifest_now.content_hash == after


def test_what_the_look_itself_writes_it_sees(store: Store) -> None:
    look = Look(store.url)
    assert table(look).months() == MONTHS
    made = write(look, "2023-03", 3.0)
    assert table(look).months() == (*MONTHS, "2023-03")
    assert table(look).hashes()["2023-03"] == made


def test_two_looks_at_one_place_share_the_manifests_that_were_read(store: Store) -> None:
    assert Look(store.url).backend == Look(store.url).backend == store.backend
    assert hash(Look(store.url).backend) == hash(store.backend)
