"""Outputs of other code are taken over where a sample of them comes out the same, bit by bit."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import torch
from click.testing import CliRunner
from tests.conftest import edited, linked

import alpha_assets as aa
from alpha_assets.cli import main
from alpha_assets.errors import BadInput
from alpha_assets.pipeline import identity, market_stages
from alpha_assets.pipeline.restamp import _file_difference, _groups, _sample
from alpha_assets.store.folder_backend import FolderBackend
from alpha_assets.store.manifest import MANIFEST, Manifest
from alpha_assets.training.month import train_month

WIDER = ("quantile = 0.2", "quantile = 0.3")  # an edit of tiny.toml
PIPELINES = Path(__file__).parents[1] / "pipelines"
MONTHS = [f"2021-0{number}" for number in range(1, 9)]


@pytest.fixture(autouse=True)
def _pipelines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))


@pytest.fixture
def storage(tiny_run: Path, tmp_path: Path) -> Path:
    """A storage in which `tiny` decided two months; its files are shared until replaced."""
    return linked(tiny_run, tmp_path / "storage")


@pytest.fixture
def edit(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return what gives stages another code: those that reach these definitions."""
    honest, edited = identity._code, set[tuple[str, ...]]()

    def code(roots: tuple[str, ...], *chosen: Any, **how: Any) -> str:
        found = honest(roots, *chosen, **how)
        return found[::-1] if roots in edited else found

    monkeypatch.setattr(identity, "_code", code)
    return lambda *roots: edited.update(roots)


def to_do(storage: Path) -> dict[str, str]:
    return {r["stage"]: r["why"] for r in aa.status("tiny", storage=str(storage)) if r["to do"]}


FAMILIES = ("price", "trend", "volatility", "risk", "liquidity", "trading")  # of the recipe


def restamp(storage: Path, *stages: str, **how: Any) -> dict[str, dict[str, Any]]:
    found = aa.restamp("tiny", stages=stages, storage=str(storage), device="cpu", **how)
    return {row["stage"]: row for row in found["rows"]}


def manifests(storage: Path, stage: str) -> dict[str, str]:
    """Return the texts of a stage's manifests by path."""
    found = sorted((storage / "tiny" / stage).rglob(MANIFEST))
    return {str(path.relative_to(storage)): path.read_text() for path in found}


def test_a_stage_is_taken_over_after_a_sample_of_it_was_made_again(
    storage: Path, edit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, made, words = market_stages.feature_rows, set[str](), list[str]()

    def rows(market: Any, panel: pl.DataFrame, *asked: Any) -> pl.DataFrame:
        frame = honest(market, panel, *asked)
        made.update(frame["session"].dt.strftime("%Y-%m"))
        return frame

    monkeypatch.setattr(market_stages, "feature_rows", rows)
    before = manifests(storage, "features")
    edit(identity.FEATURES)
    assert "made by code that has changed since" in to_do(storage)["features"]

    shown = restamp(storage, progress=lambda stage, what: words.append(f"{stage}: {what}"))

    families = [name for name in shown if name.startswith("features/")]
    assert families == [f"features/{family}" for family in FAMILIES]
    samples = {}
    for name in families:
        row = shown[name]
        assert (row["of other code"], row["taken over"], row["left"], row["why"]) == (8, 8, 0, "")
        sample = samples[name.removeprefix("features/")] = row["sample"].split(", ")
        assert len(sample) == 5
        assert {MONTHS[0], MONTHS[-1]} <= set(sample) < set(MONTHS)
    assert made == {month for sample in samples.values() for month in sample}
    assert any(line.startswith("restamp: features/price 2021-01") for line in words)
    assert to_do(storage) == {}  # with all that follows
    assert shown["cross_section/traded/price"]["of other code"] == 0
    for path, text in manifests(storage, "features").items():
        was, now = json.loads(before[path]), json.loads(text)
        assert now.pop("seal") != was.pop("seal")
        for family, sample in samples.items():  # families that the recipe does not read stay
            old, new = was["families"][family], now["families"][family]
            assert new["extra"].pop("restamped") == {"from": old["code"], "sample": sample}
            assert new.pop("code") != old.pop("code")
        assert now == was
    assert restamp(storage, "features")["features/price"]["of other code"] == 0
    why = {row["stage"]: row["why"] for row in aa.status("tiny", storage=str(storage))}
    assert why["features"] == "restamped: 48 of 48, on a sample of 30"
    assert why["panel"] == ""


def test_counts_that_other_code_counted_are_not_compared(
    storage: Path, edit: Callable[..., None]
) -> None:
    edit(identity.FEATURES, identity.COUNTING)

    row = restamp(storage, "features")["features/price"]

    assert (row["taken over"], row["why"]) == (8, "")


@pytest.fixture
def other_bits(monkeypatch: pytest.MonkeyPatch, storage: Path) -> str:
    """Let one cell of the features of the last month come out otherwise; return its words."""
    honest = market_stages.feature_rows
    rows = pl.read_parquet(storage / "tiny/features/month=2021-08/price.parquet")
    session, symbol, value = rows.drop_nulls("ret_5").select("session", "symbol", "ret_5").row(7)
    cell = (pl.col("session") == session) & (pl.col("symbol") == symbol)

    def edited(*given: Any) -> pl.DataFrame:
        turned = pl.when(cell).then(-pl.col("ret_5")).otherwise(pl.col("ret_5"))
        return honest(*given).with_columns(turned.alias("ret_5"))

    monkeypatch.setattr(market_stages, "feature_rows", edited)
    return f"refused: features/price {session} {symbol} ret_5: {value!r} became {-value!r}"


def test_other_bits_are_refused_with_the_first_cell_and_nothing_is_written(
    storage: Path, edit: Callable[..., None], other_bits: str
) -> None:
    edit(identity.FEATURES, identity.CROSS_SECTION, identity.TARGETS)
    before = manifests(storage, "")

    called = CliRunner().invoke(
        main, ["restamp", "--recipe", "tiny", "--storage", str(storage), "--device", "cpu"]
    )

    assert called.exit_code == 1, called.output
    assert f"features/price: {other_bits}; alpha-assets run --recipe tiny" in called.output
    assert "\ntargets: left, because features/price was refused" in called.output
    assert manifests(storage, "") == before


def test_a_stage_before_the_refused_one_is_taken_over(
    storage: Path, edit: Callable[..., None], other_bits: str
) -> None:
    edit(identity.PANEL, identity.FEATURES)

    shown = restamp(storage)

    assert shown["panel"]["taken over"] == 8
    assert (shown["features/price"]["taken over"], shown["targets"]["taken over"]) == (0, 0)
    assert shown["features/price"]["why"].startswith(other_bits)
    assert "panel" not in to_do(storage)
    assert "features" in to_do(storage)


def test_what_is_stale_for_another_reason_is_left_and_named(
    storage: Path, edit: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(identity.TARGETS)
    before = manifests(storage, "tiny/targets")

    monkeypatch.setenv("ALPHA_PIPELINES", edited(tmp_path / "pipelines", "tiny", *WIDER))
    shown = restamp(storage)

    row = shown["targets"]
    assert (row["of other code"], row["taken over"], row["left"]) == (0, 0, 2)
    assert row["why"].startswith("left: 2021-07: made by digest ")
    assert "alpha-assets run --recipe tiny --market tiny" in row["why"]
    assert shown["backtest"]["left"] == 1  # of this digest or not, it is made from them
    assert manifests(storage, "tiny/targets") == before


def test_what_is_made_from_a_stage_that_is_not_named_waits_for_it(
    storage: Path, edit: Callable[..., None]
) -> None:
    edit(identity.FEATURES, identity.CROSS_SECTION)

    shown = restamp(storage, "cross_section/traded")

    assert list(shown) == [f"cross_section/traded/{f}" for f in ("members", *FAMILIES)]
    row = shown["cross_section/traded/price"]
    assert row["left"] == 8
    assert "its input features/price is to be made again" in row["why"]


def test_a_model_is_trained_wholly_and_compared_weight_by_weight(
    storage: Path, edit: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, epochs, flip = train_month, list[int](), [False]

    def train(*given: Any, **named: Any) -> Any:
        trained = honest(*given, **named)
        epochs.append(max(len(seed.epochs) for seed in trained.seeds))
        if flip[0]:
            seed = trained.seeds[0]
            name, weight = max(seed.weights.items())
            changed = weight.clone()
            changed.view(-1)[0] = torch.nextafter(changed.view(-1)[0], torch.tensor(9.0))
            seeds = (replace(seed, weights={**seed.weights, name: changed}), *trained.seeds[1:])
            return replace(trained, seeds=seeds)
        return trained

    monkeypatch.setattr("alpha_assets.training.month.train_month", train)
    edit(identity.CHECKPOINT)
    before = manifests(storage, "tiny/checkpoint")
    weights = {path: path.stat().st_ino for path in storage.rglob("*.safetensors")}

    flip[0] = True
    refused = restamp(storage, "checkpoint")["checkpoint"]["why"]
    assert refused.startswith("refused: checkpoint/seed=0/model.safetensors 2021-07 ")
    assert " became " in refused
    assert manifests(storage, "tiny/checkpoint") == before

    # Its card names the digest of the whole recipe; another portfolio trains no other model.
    flip[0] = False
    epochs.clear()
    with monkeypatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", edited(tmp_path / "pipelines", "tiny", *WIDER))
        row = restamp(storage, "tiny/checkpoint")["checkpoint"]
    assert (row["sample"], row["taken over"], row["why"]) == ("2021-07, 2021-08", 2, "")
    assert epochs == [2, 2]
    assert {path: path.stat().st_ino for path in storage.rglob("*.safetensors")} == weights
    assert not list(storage.glob("_tmp/resume/**/*.*"))
    assert to_do(storage) == {}


def test_a_backtest_is_made_again_whole(storage: Path, edit: Callable[..., None]) -> None:
    edit(identity.BACKTEST)

    row = restamp(storage, "backtest")["backtest"]

    assert (row["sample"], row["taken over"], row["why"]) == ("backtest", 1, "")
    assert to_do(storage) == {}
    (row,) = [r for r in aa.status("tiny", storage=str(storage)) if r["stage"] == "tiny/backtest"]
    assert row["why"] == "restamped: 1 of 1, on a sample of 1"


def test_killed_on_the_way_each_month_is_as_before_or_taken_over(
    storage: Path, edit: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, done = FolderBackend.replace_manifest, list[str]()

    def killed(self: FolderBackend, name: str, text: bytes) -> None:
        if len(done) == 3:
            raise KeyboardInterrupt
        honest(self, name, text)
        done.append(name)

    edit(identity.CROSS_SECTION)
    before = manifests(storage, "cross_section")
    with monkeypatch.context() as patch:
        patch.setattr(FolderBackend, "replace_manifest", killed)
        with pytest.raises(KeyboardInterrupt):
            restamp(storage, "cross_section/traded")

    after = manifests(storage, "cross_section")
    changed = sorted(path for path in after if after[path] != before[path])
    assert changed == [f"{name}/{MANIFEST}" for name in sorted(done)]
    assert aa.status("tiny", storage=str(storage))
    left = restamp(storage, "cross_section/traded")
    assert left["cross_section/traded/price"]["taken over"] == 5
    assert left["cross_section/traded/trend"]["taken over"] == 8
    assert to_do(storage) == {}


def test_an_unknown_stage_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="there is no stage 'featurs'; did you mean features"):
        restamp(tmp_path, "panel", "featurs")
    with pytest.raises(BadInput, match="there is no stage 'zzz'; want some of panel, "):
        restamp(tmp_path, "zzz")
    assert restamp(tmp_path) == {}


def test_a_stage_that_is_asked_for_and_not_stored_is_named(storage: Path) -> None:
    (row,) = restamp(storage, "graph/all").values()
    assert row["why"] == "nothing of it is stored"
    assert row["of other code"] == row["taken over"] == 0


def test_months_vouch_for_those_of_their_own_code_and_status() -> None:
    def of(code: str, status: str = "complete") -> Manifest:
        return Manifest.model_construct(code=code, status=status)

    stored = {"2021-01": of("a", "skipped"), "2021-02": of("a"), "2021-03": of("b")}
    assert _groups({**stored, "2021-04": of("a")}) == [
        ["2021-01"],
        ["2021-02", "2021-04"],
        ["2021-03"],
    ]


def test_a_sample_has_the_ends_and_three_between_by_a_seed() -> None:
    assert _sample(MONTHS[:1], "0") == MONTHS[:1]
    assert _sample(MONTHS[:5], "0") == MONTHS[:5]
    samples = {tuple(_sample(MONTHS, str(seed))) for seed in range(20)}
    assert len(samples) > 5
    assert all(len(one) == 5 and one[0] == MONTHS[0] and one[4] == MONTHS[7] for one in samples)
    assert _sample(MONTHS, "0") == _sample(MONTHS, "0")


def test_of_a_long_line_the_part_that_differs_is_shown() -> None:
    was, now = (b"one\n" + b"=" * 300 + end for end in (b"mean 0.01", b"mean 0.02"))
    found = _file_difference("report/page.html", "", was, now, ())
    assert found is not None
    assert "line 2" in found
    assert "mean 0.01' became" in found
    assert found.endswith("mean 0.02'")
    assert len(found) < 150
