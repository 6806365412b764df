"""Keys of recipes that have another place by now: read where they were, with a word.

Recipes live longer than versions.  One that still has the old place is read as it was meant, and
a warning names the new one.
"""

import logging
from collections.abc import Mapping
from typing import Any

from alpha_assets.errors import SpecError
from alpha_assets.training import GuardSpec

DEFAULT_RULE = "long_short_quantile"  # of a portfolio that names none
LOG = logging.getLogger(__name__)

# From section and key to the section that holds the key by now.
MOVED: Mapping[tuple[str, str], str] = {
    ("training", "sequence"): "window",
    ("training", "min_span"): "window",
    ("training", "learning_rate"): "optimiser",
    ("training", "warmup_share"): "optimiser",
    ("training", "weight_decay"): "optimiser",
    ("training", "clip"): "optimiser",
    **{("gates", key): "guard" for key in GuardSpec.model_fields},
}


def in_place(tables: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Return a recipe's tables with every key where it belongs by now; warn of those that moved.

    Args:
        tables: what the file holds, overrides applied.
        origin: the file, for the message.

    Raises:
        SpecError: a key stands in its old place and in its new one, or the kind of model has
            another name by now and other keys.
    """
    found = dict(tables)
    moved = []
    for (section, key), place in MOVED.items():
        old = found.get(section)
        if not isinstance(old, dict) or key not in old:
            continue
        new = found.get(place, {})
        if not isinstance(new, dict) or key in new:
            raise SpecError(
                f"{origin}: {section}.{key} = {old[key]!r} is {place}.{key} by now, and that is "
                f"given as well; take {section}.{key} out"
            )
        found[section] = {name: value for name, value in old.items() if name != key}
        found[place] = {**new, key: old[key]}
        moved.append(f"[{section}] {key} is [{place}] {key}")
    portfolio = found.get("portfolio")
    if isinstance(portfolio, dict) and "rule" not in portfolio:
        found["portfolio"] = {"rule": DEFAULT_RULE, **portfolio}
    if found.get("gates") == {}:
        del found["gates"]
    model = found.get("model")
    if isinstance(model, dict) and model.get("kind") == "branches":
        raise SpecError(
            f'{origin}: model.kind = "branches" is "multi_branch" by now, and names what each '
            "branch reads: add a section [model.branches.<name>] with families for the columns, "
            "and one with vectors for each input of raw vectors; hidden and latent take the place "
            "of width"
        )
    if isinstance(found.get("loss"), dict):
        found["loss"] = [found["loss"]]
        moved.append("[loss] is a list of terms, [[loss]]")
    if moved:
        LOG.warning("%s: written for an earlier version: %s by now", origin, "; ".join(moved))
    return found
