"""What each family of a recipe's features is worth to its models, on validation sessions alone.

Nothing of the decided months is looked at, so that families may be dropped by it without having
chosen on what is judged.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.calendar import as_date, month_range, month_start
from alpha_assets.errors import BadInput, MissingOutput
from alpha_assets.evaluation.inference import overlapping_mean
from alpha_assets.pipeline.checkpoint import checkpoint_stage, stored_checkpoint
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import POINTER, RecipeContext
from alpha_assets.pipeline.inputs import training_view
from alpha_assets.pipeline.train import training_data
from alpha_assets.pipeline.windows import SKIPPED, first_usable, split_of
from alpha_assets.progress import Pace
from alpha_assets.training.importance import permutation_drops


def importance(
    context: RecipeContext, first_month: str | None = None, last_month: str | None = None
) -> list[dict[str, Any]]:
    """Return a row per horizon and family, the dearest family first, and one for all together.

    Args:
        context: whose stored models are looked at.
        first_month: of the models; default: the first one that is stored.
        last_month: of the models; default: the last one.

    Returns:
        Rows of `horizon`, `family`, `columns` (how many), `rank_ic` (with all families), `loss`
        (of it, when the family's columns are permuted), `low` and `high` of the loss, None where
        `reasons` says why, `n_sessions`.  A session that several months validate on counts once,
        with their mean.

    Raises:
        BadInput: the recipe has no validation sessions, or several folds a month.
        RangeError: the last month is before the first one, or one of them is not a month.
        MissingOutput: no model of those months is stored.
        StaleOutput: other settings, other code or other inputs made one.
    """
    recipe = context.recipe
    if not recipe.spec.split.valid_sessions:
        raise BadInput(
            f"{recipe.folder}: split.valid_sessions = 0, and families are judged on validation "
            "sessions; give it some"
        )
    if recipe.spec.split.folds:
        raise BadInput(
            f"{recipe.folder}: split.folds = {recipe.spec.split.folds} models a month validate "
            "on sessions that the others learned; families are judged by recipes of one model"
        )
    months = _models(context, first_month, last_month)
    checkpoint_stage(recipe).require(context, months, fresh=False)
    plain: dict[np.datetime64, list[Array]] = {}
    drops: dict[str, dict[np.datetime64, list[Array]]] = {}
    columns: dict[str, int] = {}
    pace = Pace(context.progress, "importance")
    for done, month in enumerate(months):
        pace("months", done, len(months))
        split = split_of(context, month, first_usable(context))
        data, _ = training_view(context, split, training_data(context, split))
        checkpoint = stored_checkpoint(context.checkpoint(month), context.on_device)
        ic_DH, lost = permutation_drops(checkpoint, data, split.valid, seed=0)
        for d, session in enumerate(split.valid):
            plain.setdefault(session, []).append(ic_DH[d])
            for name, lost_DH in lost.items():
                drops.setdefault(name, {}).setdefault(session, []).append(lost_DH[d])
        columns |= {name: len(places) for name, places in data.axes.families.items()}
    whole_DH = _means(plain)
    rows = []
    for h, horizon in enumerate(recipe.spec.label.horizons):
        base = overlapping_mean(whole_DH[:, h], horizon, 1.0, seed=0)
        of_horizon: list[dict[str, Any]] = []
        for name, by_session in drops.items():
            figures = overlapping_mean(_means(by_session)[:, h], horizon, 1.0, seed=0)
            of_horizon.append(
                {
                    "horizon": horizon,
                    "family": name,
                    "columns": columns[name],
                    "rank_ic": base["mean"],
                    "loss": figures["mean"],
                    **_ends(figures),
                    "n_sessions": figures["n_sessions"],
                    "first": str(as_date(min(plain))),
                    "last": str(as_date(max(plain))),
                }
            )
        rows += sorted(of_horizon, key=lambda row: -float(row["loss"]))
    return rows


def _models(context: RecipeContext, first: str | None, last: str | None) -> list[str]:
    """Return the months that have a model of their own.

    Raises:
        RangeError: the last month is before the first one, or one of them is not a month.
        MissingOutput: there are none.
    """
    asked = ""
    if first and last:
        _ = month_range(first, last)
        asked = f" from {first} to {last}"
    elif end := first or last:
        _ = month_start(end)
        asked = f" from {first} on" if first else f" to {last}"
    found = []
    for month in context.checkpoints.months():
        if (first and month < first) or (last and month > last):
            continue
        manifest = context.checkpoint(month).manifest()
        if manifest is not None and manifest.status not in (*SKIPPED, POINTER):
            found.append(month)
    if not found:
        raise MissingOutput(
            f"{context.recipe.folder} has no model on market {context.market.name!r}{asked}; "
            f"{run_again(context)}"
        )
    return found


def _ends(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ends of an interval, or why there is none."""
    if math.isnan(figures["low"]):
        return {"low": None, "high": None, "reasons": {"low": figures["reasons"]["low"]}}
    return {"low": figures["low"], "high": figures["high"], "reasons": {}}


def _means(by_session: dict[np.datetime64, list[Array]]) -> Array:
    """Return the mean over models of each session, in order, [D, H]."""
    return np.array([np.mean(by_session[session], axis=0) for session in sorted(by_session)])
