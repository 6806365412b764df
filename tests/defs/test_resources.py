"""Contexts of a step can be pickled and write to its log; a step fails at once and in one line."""

import pickle
from pathlib import Path

import dagster as dg
import pytest
from tests.conftest import PIPELINES

from alpha_assets.config.market import load_market
from alpha_assets.config.recipe import load_recipe
from alpha_assets.defs.resources import RETRIES, Storage, in_one_line
from alpha_assets.errors import CheckFailed, FeedError, SpecError, StorageError, Unreachable
from alpha_assets.sources.jquants.client import NotEntitled, Refused, WrongKey


def materialize(error: Exception, tmp_path: Path) -> tuple[int, list[dg.DagsterEvent]]:
    """How often an asset that ends in an error was tried, and what the run's log holds."""
    tries = 0

    @dg.asset
    def raw(context: dg.AssetExecutionContext, storage: Storage) -> None:
        nonlocal tries
        tries += 1
        with in_one_line(context):
            raise error

    made = dg.materialize(
        [raw], resources={"storage": Storage(url=str(tmp_path))}, raise_on_error=False
    )
    assert not made.success
    return tries, made.all_events


@pytest.mark.parametrize(
    "error",
    [
        FeedError("JQUANTS_API_KEY is not set"),
        WrongKey("the key is refused"),
        NotEntitled("the plan does not include it"),
        Refused("HTTP 400"),
        SpecError("[source] plan is free"),
        StorageError("the disk is full"),
        CheckFailed("no cell is filled"),
    ],
)
def test_what_a_second_try_would_find_again_fails_at_once(error: Exception, tmp_path: Path) -> None:
    tries, events = materialize(error, tmp_path)
    assert tries == 1
    (failure,) = [event for event in events if event.is_step_failure]
    data = failure.step_failure_data
    assert data.user_failure_data is not None
    assert data.user_failure_data.description == str(error)
    assert data.error is not None
    assert type(error).__name__ not in (data.error.cause.cls_name if data.error.cause else "")


def test_a_server_without_an_answer_is_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("alpha_assets.defs.resources.FIRST_WAIT_SECONDS", 0)
    tries, _ = materialize(Unreachable("timed out"), tmp_path)
    assert tries == 1 + RETRIES


def test_contexts_of_a_step_survive_pickling_and_write_to_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALPHA_PIPELINES", str(PIPELINES))
    market = load_market("tiny")
    recipe = load_recipe("tiny", market)

    @dg.asset
    def panel(context: dg.AssetExecutionContext, storage: Storage) -> None:
        with storage.of_market(market, context) as made:
            made.progress("panel", "the context's")
            copy = pickle.loads(pickle.dumps(made))
            assert copy == made
            copy.progress("panel", "its copy's")
        with storage.of_recipe(recipe, context) as made_of_recipe:
            copy = pickle.loads(pickle.dumps(made_of_recipe))
            assert copy == made_of_recipe
            copy.progress("targets", "the copy's of a recipe")

    with dg.DagsterInstance.ephemeral() as instance:
        url = str(tmp_path)
        run = dg.materialize(
            [panel], instance=instance, resources={"storage": Storage(url=url, device="cpu")}
        )
        entries = instance.all_logs(run.run_id)
    lines = [entry.user_message for entry in entries if entry.step_key and not entry.dagster_event]
    assert lines == [
        "panel: the context's",
        "panel: its copy's",
        "targets: the copy's of a recipe",
    ]
