"""What is kept of a trained month: weights as safetensors, and a card that describes them.

Nothing here is pickled.  The card is the same text for the same weights: it holds no clock time.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from platform import python_version
from typing import Any

import numpy as np
import polars as pl
import safetensors
import torch
from pydantic import ValidationError
from safetensors.torch import load, save

from alpha_assets.dataset import Axes, Split
from alpha_assets.errors import MissingOutput, StaleOutput
from alpha_assets.models import Ranker, Sizes, build_model
from alpha_assets.spec import Spec
from alpha_assets.training.month import Learner, TrainedMonth

SCHEMA_VERSION = 2
CARD = "card.json"
# Of a card: by which settings beyond those that training reads, and on which machine.
RECORDS = (
    "recipe",
    "digest",
    "resolved_recipe",
    "learner",
    "threads",
    "device",
    "instruction_set",
    "libraries",
)


class SeedCard(Spec):
    """One seed's training, epoch by epoch."""

    seed: int
    weights_hash: str
    best_epoch: int
    valid_rank_ic: float
    losses: tuple[float, ...]
    rank_ics: tuple[tuple[float, ...], ...]  # per epoch and horizon
    warnings: tuple[str, ...]


class Card(Spec):
    """Everything that the weights of a month depend on, and what they can be fed with."""

    schema_version: int
    market: str
    recipe: str
    month: str
    digest: str
    data_hash: str
    resolved_recipe: dict[str, Any]
    learner: Learner
    features: tuple[str, ...]
    market_features: tuple[str, ...]
    left_out: tuple[str, ...]  # columns of the recipe that span too little of the training window
    horizons: tuple[int, ...]
    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    train_sessions: tuple[str, ...]
    valid_sessions: tuple[str, ...]
    purge_sessions: int
    embargo_sessions: int
    seeds: tuple[SeedCard, ...]
    precision: str
    threads: int
    device: str
    instruction_set: str
    libraries: dict[str, str]
    parent: str | None  # the month of the weights that a warm start began with

    @property
    def sizes(self) -> Sizes:
        """What the model was made for."""
        return Sizes(
            n_features=len(self.features),
            n_market=len(self.market_features),
            steps=self.learner.training.sequence,
            n_horizons=len(self.horizons),
            n_symbols=len(self.symbols),
        )


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A month's models, ready to score."""

    card: Card
    models: tuple[Ranker, ...]

    def weights(self) -> dict[int, dict[str, torch.Tensor]]:
        """Return the weights by seed: what a warm start of a later month begins with."""
        return {
            seed.seed: dict(model.state_dict())
            for seed, model in zip(self.card.seeds, self.models, strict=True)
        }


def make_card(
    trained: TrainedMonth,
    axes: Axes,
    split: Split,
    *,
    market: str,
    recipe: str,
    digest: str,
    data_hash: str,
    resolved_recipe: Mapping[str, Any],
    embargo_sessions: int,
    left_out: Sequence[str] = (),
    parent: str | None = None,
) -> Card:
    """Return the card of a trained month.

    Args:
        trained: its weights and histories.
        axes: of the dataset that it was trained on.
        split: its sessions.
        market: by name.
        recipe: by name.
        digest: of market and recipe.
        data_hash: of the stages that it was trained on.
        resolved_recipe: the recipe as read, overrides included; plain JSON values.
        embargo_sessions: on top of the purge.
        left_out: columns of the recipe that the month's models do not read.
        parent: the month that a warm start began with.
    """
    spec, device = trained.learner.training, trained.device
    return Card(
        schema_version=SCHEMA_VERSION,
        market=market,
        recipe=recipe,
        month=trained.month,
        digest=digest,
        data_hash=data_hash,
        resolved_recipe=dict(resolved_recipe),
        learner=trained.learner,
        features=axes.features,
        market_features=axes.market_features,
        left_out=tuple(left_out),
        horizons=axes.horizons,
        symbols=axes.known_symbols,
        sectors=axes.known_sectors,
        train_sessions=tuple(str(session) for session in split.train),
        valid_sessions=tuple(str(session) for session in split.valid),
        purge_sessions=max(axes.horizons),
        embargo_sessions=embargo_sessions,
        seeds=tuple(
            SeedCard(
                seed=seed.seed,
                weights_hash=_hash(save(seed.weights)),
                best_epoch=seed.best,
                valid_rank_ic=seed.valid_rank_ic,
                losses=tuple(epoch.loss for epoch in seed.epochs),
                rank_ics=tuple(epoch.rank_ic for epoch in seed.epochs),
                warnings=seed.warnings,
            )
            for seed in trained.seeds
        ),
        precision="bf16" if spec.autocasts(device) else "float32",
        threads=spec.threads,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        instruction_set=torch.backends.cpu.get_cpu_capability(),
        libraries={
            "python": python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
            "polars": pl.__version__,
            "safetensors": safetensors.__version__,
        },
        parent=parent,
    )


def checkpoint_files(trained: TrainedMonth, card: Card) -> dict[str, bytes]:
    """Return the files of a checkpoint's folder by relative path."""
    files = {_weights_file(seed.seed): save(seed.weights) for seed in trained.seeds}
    text = json.dumps(card.model_dump(mode="json"), indent=1, sort_keys=True)
    return {**files, CARD: text.encode()}


def checkpoint_of(
    files: Mapping[str, bytes], name: str, device: torch.device | str = "cpu"
) -> Checkpoint:
    """Return the models that the files of a checkpoint hold.

    Args:
        files: by relative path, as their folder's manifest names them.
        name: of the folder, for messages.
        device: where the models go.

    Raises:
        MissingOutput: the card or the weights of a seed are not there.
        StaleOutput: a card of another form, or weights that are not those the card names.
    """
    card = _parsed_card(_file(files, CARD, name), f"{name}/{CARD}")
    models = []
    for seed in card.seeds:
        path = f"{name}/{_weights_file(seed.seed)}"
        content = _file(files, _weights_file(seed.seed), name)
        if _hash(content) != seed.weights_hash:
            raise StaleOutput(
                f"{path}: its hash is {_hash(content)}, the card says {seed.weights_hash}; "
                "train the month again"
            )
        model = build_model(card.learner.model, card.sizes)
        try:
            model.load_state_dict(load(content))
        except (safetensors.SafetensorError, RuntimeError) as error:
            raise StaleOutput(
                f"{path}: not the weights of the model on the card ({error}); train the month again"
            ) from error
        models.append(model.to(device).eval())
    return Checkpoint(card, tuple(models))


def _parsed_card(content: bytes, path: str) -> Card:
    try:
        version = json.loads(content).get("schema_version")
        if version != SCHEMA_VERSION:
            raise StaleOutput(
                f"{path}: schema_version = {version}, want {SCHEMA_VERSION}; train the month again"
            )
        return Card.model_validate_json(content)
    except (ValidationError, ValueError, AttributeError) as error:
        if isinstance(error, StaleOutput):
            raise
        raise StaleOutput(f"{path}: not a card ({error}); train the month again") from error


def _file(files: Mapping[str, bytes], file: str, name: str) -> bytes:
    if file not in files:
        raise MissingOutput(f"{name}/{file}: there is no such file; train the month")
    return files[file]


def _weights_file(seed: int) -> str:
    return f"seed={seed}/model.safetensors"


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
