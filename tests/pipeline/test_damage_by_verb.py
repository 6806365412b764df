"""Every verb refuses, by name, a damaged or exchanged output that it reads; `run` mends it."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.damage import flipped, replace, truncated

import alpha_assets as aa
from alpha_assets.errors import BadInput, StorageError
from alpha_assets.store.lock import _lock_file
from alpha_assets.store.manifest import MANIFEST, parse_manifest, sealed_text

MONTHS = {"first_month": "2021-07", "last_month": "2021-08"}
ROWS = "rows.parquet"
REFUSALS = (BadInput, StorageError)
pytestmark = pytest.mark.usefixtures("pipelines")
COUNT = "select count(*) n, sum(score) s from tiny_predictions"


def missing_file(path: Path) -> None:
    path.unlink()


def missing_manifest(path: Path) -> None:
    (output_of(path) / MANIFEST).unlink()


def other_file(path: Path) -> None:
    """Put the whole file of another output in the place of one."""
    folder = output_of(path)
    same = [p / path.relative_to(folder) for p in sorted(folder.parent.iterdir()) if p != folder]
    found = [p for p in same if p.is_file()]
    replace(path, found[0].read_bytes() if found else (folder / MANIFEST).read_bytes())


def other_month(path: Path) -> None:
    """Put another month, with its manifest, in the place of one."""
    folder = output_of(path)
    other = next(p for p in sorted(folder.parent.iterdir()) if p != folder and p.is_dir())
    shutil.rmtree(folder)
    shutil.copytree(other, folder, copy_function=os.link)


def resealed(path: Path, change: Callable[[Any], dict[str, Any]]) -> None:
    manifest = output_of(path) / MANIFEST
    known = parse_manifest(manifest.read_bytes(), "here")
    replace(manifest, sealed_text(known.model_copy(update=change(known))))


def other_digest(path: Path) -> None:
    resealed(path, lambda _: {"digest": "another"})


def other_inputs(path: Path) -> None:
    resealed(path, lambda known: {"inputs": {**known.inputs, next(iter(known.inputs)): "other"}})


def output_of(path: Path) -> Path:
    return next(p for p in path.parents if (p / MANIFEST).exists())


FILES = (truncated, flipped, other_file, missing_file, missing_manifest)
STAGE = (*FILES, other_digest, other_inputs)
VERBS: dict[str, Callable[[str], Any]] = {
    "report": lambda storage: aa.report("tiny", storage=storage),
    "results": lambda storage: aa.results("tiny", storage=storage),
    "predict": lambda storage: aa.predict("tiny", asof="2021-08-31", storage=storage),
    "why": lambda storage: aa.why("13030", "2021-07-28", "tiny", storage=storage),
    "sql": lambda storage: aa.sql(COUNT, market="tiny", storage=storage),
    "audit": lambda storage: aa.audit(
        "tiny", first_month="2021-07", last_month="2021-07", cuts=0, sessions=0, clock=0,
        storage=storage,
    ),
}  # fmt: skip
# Each with what is read of it.  A query knows no recipe: it is answered from what is stored,
# whatever made it.  The digest and the inputs of raw rows name their source and are not judged.
READ: tuple[tuple[str, str, tuple[Callable[[Path], None], ...]], ...] = (
    ("report", "tiny/backtest/daily.parquet", STAGE),
    ("results", "tiny/backtest/metrics.json", STAGE),
    ("predict", "tiny/checkpoint/2021-08/card.json", (*STAGE, other_month)),
    ("predict", "tiny/checkpoint/2021-08/seed=0/model.safetensors", (truncated, flipped)),
    ("predict", f"raw/daily_bars/month=2021-07/{ROWS}", (*FILES, other_month)),
    ("predict", f"raw/listings/month=2021-01/{ROWS}", (missing_file, missing_manifest)),
    ("why", f"tiny/predictions/month=2021-07/{ROWS}", (*STAGE, other_month)),
    ("why", f"panel/month=2021-07/{ROWS}", (*STAGE, other_month)),
    ("why", "tiny/checkpoint/2021-07/card.json", (other_inputs, other_month)),
    ("why", f"tiny/targets/month=2021-07/{ROWS}", (missing_manifest, other_month)),
    ("sql", f"tiny/predictions/month=2021-07/{ROWS}", (*FILES, other_month)),
)
CASES = [
    pytest.param(verb, name, damage, id=f"{verb}-{name.replace('/', '.')}-{damage.__name__}")
    for verb, name, damages in READ
    for damage in damages
]


@pytest.mark.parametrize(("verb", "name", "damage"), CASES)
def test_a_verb_refuses_what_is_damaged_or_exchanged(
    storage: Path, verb: str, name: str, damage: Callable[[Path], None]
) -> None:
    path = storage / "tiny" / name
    output = output_of(path).relative_to(storage / "tiny").parts
    stage = next(part for part in output if part not in ("raw", "tiny"))
    damage(path)

    with pytest.raises(REFUSALS) as refused:
        VERBS[verb](str(storage))
    assert stage in str(refused.value)


@pytest.mark.parametrize("verb", ["results", "predict", "why", "sql"])
def test_a_verb_answers_from_what_is_whole(built: Path, verb: str) -> None:
    assert VERBS[verb](str(built))


@pytest.mark.parametrize("verb", ["results", "report"])
def test_figures_of_targets_that_have_changed_since_are_refused(storage: Path, verb: str) -> None:
    other_month(storage / "tiny" / "tiny" / "targets" / "month=2021-07" / ROWS)

    with pytest.raises(BadInput, match=r"backtest is not fresh: its input targets has changed"):
        VERBS[verb](str(storage))


def garble_notes(storage: Path) -> None:
    """Damage the notes beside the raw rows, and what was planted."""
    notes = storage / "tiny"
    for number, path in enumerate(sorted((notes / "_deliveries").rglob(MANIFEST))):
        (truncated, flipped, missing_file)[number % 3](path)
    for path in sorted((notes / "_warnings").rglob(MANIFEST)):
        truncated(path)
    for path in sorted((notes / "_oracle").rglob("oracle.json")):
        flipped(path)
    replace(notes / "tiny" / "backtest" / "metrics.json", b"{}")


def test_a_run_makes_notes_and_figures_again_with_the_same_content(
    storage: Path, built: Path
) -> None:
    garble_notes(storage)
    locks = storage / "_tmp" / "locks"
    locks.mkdir(parents=True, exist_ok=True)
    _lock_file(locks, "tiny/tiny/backtest").write_bytes(b"\0\xffgarbage")

    aa.run("tiny", storage=str(storage), **MONTHS)

    assert not [row for row in aa.status("tiny", storage=str(storage)) if row["to do"]]
    for name in ("backtest", "targets/month=2021-07", "checkpoint/2021-08"):
        before, after = (
            json.loads((root / "tiny" / "tiny" / name / MANIFEST).read_text())["content_hash"]
            for root in (built, storage)
        )
        assert before == after, name
    figures = [aa.results("tiny", storage=str(root))["figures"] for root in (built, storage)]
    assert figures[0] == figures[1]


@pytest.mark.parametrize("content", [b"", b"\0\xffgarbage", b"\x08" + b"\0" * 7 + b"{}      "])
def test_a_garbled_state_of_training_is_refused(storage: Path, content: bytes) -> None:
    shutil.rmtree(storage / "tiny" / "tiny" / "checkpoint" / "2021-08")
    states = storage / "_tmp" / "resume" / "tiny" / "tiny" / "2021-08"
    states.mkdir(parents=True)
    (states / "seed=0.safetensors").write_bytes(content)

    with pytest.raises(StorageError, match=r"state of training cannot be read.*delete it to train"):
        aa.run("tiny", storage=str(storage), **MONTHS)


@pytest.mark.slow
@pytest.mark.parametrize("damage", FILES)
def test_an_audit_refuses_damaged_raw_rows(storage: Path, damage: Callable[[Path], None]) -> None:
    damage(storage / "tiny" / "raw" / "daily_bars" / "month=2021-05" / ROWS)

    with pytest.raises(StorageError, match=r"daily_bars/month=2021-05"):
        VERBS["audit"](str(storage))
