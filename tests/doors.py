"""Each door's smallest recipe that needs it, as changes of the recipes of the tests."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from tests.conftest import PIPELINES

MODEL = (
    '[model]\nkind = "transformer"\nd_model = 8\nlayers = 1\nheads = 2\n\n[[loss]]\nkind = "ic"\n'
)
TRAINING = "[training]\nmax_epochs = 2\n"
# By name of the recipe: what stands in `tiny.toml`, and what stands there instead.
DOORS: Mapping[str, Mapping[str, str]] = {
    "quantiles": {
        MODEL: """
[model]
kind = "linear"
quantiles = [0.1, 0.5, 0.9]

[[loss]]
kind = "ic"
weight = 0.5
horizon_weights = [0.0, 1.0]

[[loss]]
kind = "pinball"
weight = 0.5
"""
    },
    "turnover": {
        MODEL: """
[model]
kind = "linear"

[[loss]]
kind = "ic"

[[loss]]
kind = "turnover"
weight = 0.2

[optimiser]
schedule = "linear"
""",
        TRAINING: """
[training]
sampler = "blocks"
batch_sessions = 8
block_sessions = 4
selection = "net_sharpe"
max_epochs = 2
""",
    },
    "line": {
        MODEL: MODEL.replace("heads = 2", 'heads = 2\nlinear_path = true\nlinear_start = "ridge"')
    },
    "averaged": {
        MODEL: '[model]\nkind = "linear"\n\n[[loss]]\nkind = "ic"\n',
        TRAINING: '[training]\naverage = "ema"\naverage_decay = 0.9\nmax_epochs = 3\n',
    },
    "folds": {
        MODEL: '[model]\nkind = "ridge"\n',
        "sequence = 3": "sequence = 1",
        "valid_sessions = 15": "valid_sessions = 15\nfolds = 5",
    },
    "news_pca": {
        "[label]": '[inputs.news]\nkind = "pca"\nfeed = "news"\ncomponents = 3\n\n[label]',
    },
    "news_branch": {
        MODEL: """
[model]
kind = "multi_branch"
activation = "gelu"
linear_path = true
branches.price = { families = ["price", "volatility"], hidden = 4, latent = 4 }
branches.news = { vectors = "news", hidden = 4, latent = 4, scale = 0.8 }
branches.statement = { families = ["fund"], absent = true }

[[loss]]
kind = "ic"
""",
        "[label]": '[inputs.news]\nkind = "vectors"\nfeed = "news"\nmax_age = 40\n\n[label]',
    },
    "no_validation": {
        MODEL: '[model]\nkind = "linear"\n\n[[loss]]\nkind = "ic"\n',
        "valid_sessions = 15": "valid_sessions = 0",
    },
}


def written(folder: Path) -> Path:
    """Return a folder of markets and recipes with one recipe for each door."""
    shutil.copytree(PIPELINES, folder)
    plain = (folder / "recipes" / "tiny.toml").read_text()
    for name, edits in DOORS.items():
        text = plain
        for before, after in edits.items():
            assert before in text, (name, before)
            text = text.replace(before, after)
        (folder / "recipes" / f"{name}.toml").write_text(text)
    return folder
