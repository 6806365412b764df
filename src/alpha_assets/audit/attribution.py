"""What a score is made of, input by input and family by family, as plain values."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from alpha_assets.dataset.batch import Batch
from alpha_assets.training.attribution import attribute
from alpha_assets.training.checkpoint import Checkpoint

NO_FAMILY = "none"  # of inputs that are no feature of the recipe, such as raw vectors


def attributed(
    checkpoint: Checkpoint, batch: Batch, place: int, features: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the attribution of one symbol's score at every horizon.

    Args:
        checkpoint: of the session's month.
        batch: of that one session, on the checkpoint's device.
        place: of the symbol.
        features: `name`, `family` and `column` of each feature of the recipe.

    Returns:
        `method`, `n_models`, and by horizon `score`, `base`, `contributions` (largest absolute
        value first), `families`, `other_names`, `gap`, `allowed_gap` and `adds_up`.
        `z` is the value of the decision session; of raw vectors None.
    """
    card, found = checkpoint.card, attribute(checkpoint, batch, place)
    parts = found.parts
    about = {item["column"]: (item["name"], item["family"]) for item in features}
    about |= {
        card.features[f]: (card.features[f], family)
        for family, places in card.families.items()
        for f in places
        if card.features[f] not in about
    }
    # Without a universe row at the session there would be no score: the last step is known.
    z = dict(zip(card.features, batch.x_BNTF[0, place, -1].tolist(), strict=True))
    z |= dict(zip(card.market_features, batch.market_BTM[0, -1].tolist(), strict=True))
    horizons = []
    for h, horizon in enumerate(card.horizons):
        values = dict(zip(card.features, parts.own_HF[h].tolist(), strict=True))
        values |= dict(zip(card.market_features, parts.market_HM[h].tolist(), strict=True))
        values |= {name: float(value_H[h]) for name, value_H in parts.vectors_H.items()}
        entries = []
        for column, contribution in values.items():
            name, family = about.get(column, (column, NO_FAMILY))
            entry = {"feature": name, "column": column, "family": family, "z": z.get(column)}
            entries.append({**entry, "contribution": contribution})
        entries.sort(key=lambda entry: (-abs(entry["contribution"]), entry["column"]))
        horizons.append(
            {
                "horizon": horizon,
                "score": float(found.score_H[h]),
                "base": float(parts.base_H[h]),
                "contributions": entries,
                "families": _families(entries),
                "other_names": float(parts.others_H[h]),
                "gap": float(found.gap_H[h]),
                "allowed_gap": float(found.allowed_H[h]),
                "adds_up": bool(found.adds_up_H[h]),
            }
        )
    return {"method": found.method, "n_models": found.n_models, "horizons": horizons}


def _families(entries: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the sum of each family's contributions, largest absolute value first."""
    by_family = defaultdict(list)
    for entry in entries:
        by_family[entry["family"]].append(entry["contribution"])
    sums = [
        {"family": family, "n_columns": len(values), "contribution": sum(values)}
        for family, values in by_family.items()
    ]
    return sorted(sums, key=lambda one: (-abs(one["contribution"]), one["family"]))
