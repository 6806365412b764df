"""What every asset has beside its computation: owners, tags, where its code is, how fresh it is."""

import re
from collections.abc import Sequence
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypedDict

import dagster as dg
import numpy as np

from alpha_assets.config.folders import PACKAGE, named_file
from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.pipeline.identity import Identity

LATELY = 3 * 366  # sessions whose longest pause is the usual one
LATE = timedelta(hours=12)  # after the decision of a session
DAILY, MONTHLY = "daily", "monthly"  # how often an asset is made where the schedules are on


class Attributes(TypedDict):
    """Arguments of `dg.asset` and `dg.AssetSpec` that all assets share."""

    group_name: str
    owners: list[str]
    tags: dict[str, str]


class Versioned(Attributes):
    """The same of an asset that is made here."""

    code_version: str | None
    freshness_policy: dg.FreshnessPolicy | None


def attributes(
    market: Market, stage: str, *, recipe: Recipe | None = None, off: bool = False
) -> Attributes:
    """Return group, owners and tags; the tags can be searched for: `tag:stage=panel`.

    Feeds and universes that are off have a group of their own: a range of months is refused for a
    selection that holds what nothing makes, and `group:<market>_raw` should be all that a source
    delivers.
    """
    part = recipe.name if recipe else "off" if off else "raw" if stage == "raw" else "market"
    tags = {"market": market.name, "stage": stage}
    tags |= {"recipe": recipe.name} if recipe else {}
    tags |= {"simulated": ""} if market.is_simulated else {}
    tags |= {"off": ""} if off else {}
    return Attributes(
        group_name=f"{market.name}_{part}", owners=list(market.spec.owners), tags=tags
    )


def versioned(
    market: Market,
    stage: str,
    made_by: Identity | None = None,
    *,
    recipe: Recipe | None = None,
    cadence: str | None = DAILY,
) -> Versioned:
    """Return the attributes of an asset that is made here.

    Args:
        market: whose asset it is.
        stage: of the pipeline.
        made_by: its settings and code; None for raw rows, which a source delivers.
        recipe: whose asset it is, for the stages of one.
        cadence: `daily` or `monthly`; None where no schedule makes it.
    """
    return Versioned(
        **attributes(market, stage, recipe=recipe),
        code_version=None if made_by is None else code_version(made_by),
        freshness_policy=freshness(market, cadence),
    )


def code_version(made_by: Identity) -> str:
    """Return what Dagster compares as the version of an asset's code: our code, our settings."""
    return f"{made_by.code}-{made_by.digest}" if made_by.code else made_by.digest


def freshness(market: Market, cadence: str | None) -> dg.FreshnessPolicy | None:
    """Return how long an asset may go without being made: the longest pause between sessions.

    None for a market whose rows have ended, and where no schedule makes the asset.  Dagster looks
    at the last materialisation of any month.
    """
    if cadence is None or market.source.last_day is not None:
        return None
    decisions = market.calendar.decisions[-LATELY:]
    if cadence == MONTHLY:
        month_D = market.calendar.sessions[-LATELY:].astype("datetime64[M]")
        _, first_M = np.unique(month_D, return_index=True)
        decisions = decisions[first_M[1:]]  # the first month may have begun before
    longest = np.diff(decisions).max().astype("timedelta64[s]").item()
    return dg.FreshnessPolicy.time_window(fail_window=longest + LATE)


def references(
    *roots: str, market: Market, recipe: Recipe | None = None, places: Sequence[Path] = ()
) -> dict[str, Any]:
    """Return where an asset's code and settings are, as metadata.

    Args:
        roots: functions as `room.module:name`.
        market: whose file is named.
        recipe: whose file is named too.
        places: further files.
    """
    files = [named_file("markets", market.name)]
    files += [named_file("recipes", recipe.name)] if recipe else []
    found: list[Any] = [where(root) for root in roots]
    found += [
        dg.LocalFileCodeReference(
            file_path=str(path.absolute()), label=f"{path.parent.name}/{path.name}"
        )
        for path in (*files, *places)
    ]
    return {"dagster/code_references": dg.CodeReferencesMetadataValue(code_references=found)}


@cache
def where(root: str) -> dg.LocalFileCodeReference:
    """Return the file and line of a definition of this package, given as `room.module:name`.

    The source is read, so that nothing heavy is imported for it.
    """
    module, _, name = root.partition(":")
    path = PACKAGE.joinpath(*module.split("."))
    path = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    text = path.read_text(encoding="utf-8")
    defined = re.search(rf"^(?:def|class) {name}\b|^{name}\b[^\n]* = ", text, re.MULTILINE)
    if defined is None:  # the room offers what one of its modules defines
        taken = re.search(
            rf"^from alpha_assets\.(\S+) import [^\n(]*\b{name}\b", text, re.MULTILINE
        )
        taken = taken or re.search(
            rf"^from alpha_assets\.(\S+) import \([^)]*\b{name}\b", text, re.MULTILINE
        )
        if taken is not None:
            return where(f"{taken[1]}:{name}")
    line = 1 if defined is None else text.count("\n", 0, defined.start()) + 1
    return dg.LocalFileCodeReference(file_path=str(path), line_number=line, label=name)
