"""Loss terms on identical data and trials: what each makes of one network, paired with `ic`.

    python -W ignore benchmarks/bench_loss_choice.py [--storage FOLDER] [--first 2022-01]
        [--last 2023-12] [--seeds 0 1 2]

`rolling_transformer` without its line on `sim`, retrained every third month, the same months,
seeds, epochs and portfolio; the loss alone differs.  Judged first by rank IC and turnover, then by
net Sharpe ratio, as differences from the recipe's own loss on common sessions with the intervals of
`compare`.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import alpha_assets as aa

RECIPE, MARKET, OWN = "rolling_transformer", "sim", "ic"
# A line that starts at ridge would hold most of what is planted, whatever the loss.
WITHOUT_LINE = ("model.linear_path=false", "model.linear_start=zero", "training.max_epochs=8")
TERMS: dict[str, dict[str, Any]] = {
    OWN: {"kind": "ic"},
    "soft_spearman": {"kind": "soft_spearman"},
    "pairwise_logistic": {"kind": "pairwise_logistic"},
    "pairwise_logistic, one random pairing": {"kind": "pairwise_logistic", "shifts": 0},
    "listmle": {"kind": "listmle"},
    "mse": {"kind": "mse"},
    "huber": {"kind": "huber"},
    "weighted_mse, exponential": {"kind": "weighted_mse", "weighting": "exponential"},
    "weighted_mse, top": {"kind": "weighted_mse", "weighting": "top"},
    "weighted_mse, upper": {"kind": "weighted_mse", "weighting": "upper"},
    "ic_huber": {"kind": "ic_huber"},
}


def toml_of(table: dict[str, Any]) -> str:
    """Return a table as an inline one."""
    return "{" + ", ".join(f"{key} = {json.dumps(value)}" for key, value in table.items()) + "}"


def main() -> None:
    """Print the figures and differences that `compare` gives."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--storage")
    parser.add_argument("--first", default="2022-01")
    parser.add_argument("--last", default="2023-12")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as room:
        storage = asked.storage or str(Path(room) / "storage")
        names: dict[str, str] = {}
        for term, table in TERMS.items():
            project = aa.open(
                RECIPE,
                market=MARKET,
                storage=storage,
                overrides=(
                    f"loss=[{toml_of(table)}]",
                    f"training.seeds={list(asked.seeds)}",
                    "training.retrain_every=3",
                    *WITHOUT_LINE,
                ),
            )
            project.run(asked.first, asked.last)
            names[term] = project.context.recipe.folder
            print(f"{names[term]}  {term}", flush=True)
        first, *others = names.values()
        found = aa.compare(first, *others, market=MARKET, storage=storage)
    term_of = {name: term for term, name in names.items()}
    for name in ("figures", "differences"):
        print(f"\n{name}")
        for row in found[name]:
            print("  ".join(term_of.get(str(cell), str(cell)) for cell in row.values()))
    print(*found["notes"], sep="\n")


if __name__ == "__main__":
    main()
