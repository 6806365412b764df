"""The storage beside what its raw rows make: what is shared, taken over or counted counts too."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.conftest import PIPELINES, linked

from alpha_assets import project
from alpha_assets.audit.rebuild import Rebuilt
from alpha_assets.audit.stored import compare_stored
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.freshness import COUNTS, RESTAMPED
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stages import make, stage_of
from alpha_assets.store.manifest import ManifestInput

MONTH = "2021-07"
QUANTILE = ("portfolio.quantile=0.3",)


@pytest.fixture(scope="module", autouse=True)
def pipelines() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ALPHA_PIPELINES", str(PIPELINES))
        yield


def opened(storage: Path, overrides: tuple[str, ...] = ()) -> RecipeContext:
    return project.open_context("tiny", storage=str(storage), overrides=overrides, device="cpu")


@pytest.fixture
def stored(tiny_run: Path, tmp_path: Path) -> Path:
    return linked(tiny_run, tmp_path / "storage")


def changed(context: RecipeContext, here: RecipeContext) -> dict[str, str | None]:
    """Return what was compared of a month; with the first difference, where there is one."""
    found = compare_stored(context, Rebuilt(here), [MONTH])
    return {one.stage: str(one.first) if one.first else None for one in found.comparisons}


def test_a_model_that_a_variant_shares_is_the_one_that_it_would_train(
    stored: Path, tiny_market: Path, tmp_path: Path
) -> None:
    variant = opened(stored, QUANTILE)
    make(variant, "checkpoint", [MONTH])
    held = variant.checkpoint(MONTH).manifest()
    assert held is not None
    assert held.shares
    here = opened(linked(tiny_market, tmp_path / "here"), QUANTILE)
    make(here, "checkpoint", [MONTH])  # trained: there is no model of the recipe's own

    found = changed(variant, here)

    assert found[f"checkpoint {MONTH}"] is found[f"card {MONTH}"] is None


def test_a_model_that_was_taken_over_is_the_one_that_was_trained(
    stored: Path, tiny_run: Path
) -> None:
    context = opened(stored)
    folder = context.checkpoint(MONTH)
    manifest = folder.manifest()
    assert manifest is not None
    extra = {**manifest.extra, RESTAMPED: {"from": "other", "sample": [MONTH]}}
    assert folder.restamp(manifest, manifest.code, extra)

    assert changed(context, opened(tiny_run))[f"card {MONTH}"] is None


def test_counts_that_are_not_those_of_the_rows_are_named(stored: Path, tiny_run: Path) -> None:
    context = opened(stored)
    assert changed(context, opened(tiny_run))[f"counts {MONTH}"] is None
    table = context.features.of("price")
    held = table.folder(MONTH).manifest()
    assert held is not None
    counts = {**held.extra[COUNTS]}
    assert '"ret_1 22":[759,732,' in counts["cells"]
    counts["cells"] = counts["cells"].replace('"ret_1 22":[759,732,', '"ret_1 22":[759,731,')
    manifest = ManifestInput(
        digest=held.digest,
        code=held.code,
        inputs=held.inputs,
        extra={**held.extra, COUNTS: counts},
    )
    rows = table.folder(MONTH).read()
    context.features.write(MONTH, {"price": rows}, {"price": manifest})
    assert stage_of(context, "features").stale(context, [MONTH], Seen()) == {}

    found = changed(context, opened(tiny_run))

    assert found[f"features {MONTH}"] is None
    assert found[f"counts {MONTH}"] == f"counts {MONTH} price.cells.ret_1 22[1]: 732 became 731"
