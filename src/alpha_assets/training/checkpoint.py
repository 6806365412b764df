"""What is kept of a trained month: weights as safetensors, and a card that describes them.

Nothing here is pickled.  The card is the same text for the same weights: it holds no clock time.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from platform import python_version
from typing import Any

import numpy as np
import polars as pl
import safetensors
import torch
from pydantic import ValidationError
from safetensors.torch import load, save

from alpha_assets.dataset import Axes, Split
from alpha_assets.errors import BadInput, MissingOutput, StaleOutput
from alpha_assets.models.base import Ranker
from alpha_assets.training.card import CARD, SCHEMA_VERSION, Card, FoldCard, InputCard, SeedCard
from alpha_assets.training.estimator import Scorer, Trained, Weights
from alpha_assets.training.loaders import load_model
from alpha_assets.training.month import TrainedMonth
from alpha_assets.training.pca import Pca

WEIGHTS = "model.safetensors"


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A month's models, ready to score."""

    card: Card
    models: tuple[Scorer, ...]
    weights: Mapping[str, Weights]  # by folder
    texts: Mapping[str, Mapping[str, bytes]]  # by folder and file: of models that are no tensors
    fitted: Mapping[str, Pca] = field(default_factory=dict)  # inputs by name

    def by_seed(self) -> dict[int, Weights]:
        """Return the weights that a warm start or a second stage begins with.

        Raises:
            BadInput: the month has a model for each of several folds.
        """
        if self.card.folds:
            raise BadInput(
                f"the checkpoint of {self.card.month} has a model for each of "
                f"{len(self.card.folds)} folds; start from a recipe with split.folds = 0"
            )
        return {seed.seed: self.weights[_folder(seed.seed, seed.fold)] for seed in self.card.seeds}


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
    inputs: Mapping[str, InputCard] | None = None,
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
        inputs: what was made of vectors of feeds, by name.
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
        families=dict(axes.families),
        n_neighbours=trained.sizes.n_neighbours,
        left_out=tuple(left_out),
        horizons=axes.horizons,
        symbols=axes.known_symbols,
        sectors=axes.known_sectors,
        train_sessions=tuple(str(session) for session in split.train),
        valid_sessions=tuple(str(session) for session in split.valid),
        folds=tuple(
            FoldCard(
                key=fold.key,
                train_sessions=tuple(str(session) for session in fold.train),
                valid_sessions=tuple(str(session) for session in fold.valid),
            )
            for fold in split.blocks
        ),
        purge_sessions=max(axes.horizons),
        embargo_sessions=embargo_sessions,
        seeds=tuple(
            SeedCard(
                seed=seed.seed,
                fold=seed.fold,
                hashes={name: _hash(content) for name, content in seed_files(seed).items()},
                best_epoch=seed.best,
                valid_rank_ic=seed.valid_rank_ic,
                settings=tuple(epoch.setting for epoch in seed.epochs if epoch.setting),
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
            **{name: version(name) for name in trained.learner.model.libraries},
        },
        parent=parent,
        inputs=dict(inputs or {}),
    )


def checkpoint_files(
    trained: TrainedMonth, card: Card, fitted: Mapping[str, Pca] | None = None
) -> dict[str, bytes]:
    """Return the files of a checkpoint's folder by relative path.

    Args:
        trained: its models.
        card: of the month; the hashes of fitted inputs are added to it.
        fitted: inputs by name.
    """
    of_inputs = {input_file(name): pca.stored() for name, pca in (fitted or {}).items()}
    hashed = {
        name: one.model_copy(update={"hash": _hash(of_inputs[input_file(name)])})
        if input_file(name) in of_inputs
        else one
        for name, one in card.inputs.items()
    }
    files = {
        f"{_folder(seed.seed, seed.fold)}/{name}": content
        for seed in trained.seeds
        for name, content in seed_files(seed).items()
    }
    plain = card.model_copy(update={"inputs": hashed}).model_dump(mode="json")
    if not hashed:
        del plain["inputs"]  # the card of a model without them is as it was
    text = json.dumps(plain, indent=1, sort_keys=True)
    return {**files, **of_inputs, CARD: text.encode()}


def input_file(name: str) -> str:
    """Return the file of a fitted input."""
    return f"{name}.safetensors"


def seed_files(seed: Trained) -> dict[str, bytes]:
    """Return the files of one seed by name: tensors in one file, and texts of what has none."""
    tensors = {WEIGHTS: save(seed.weights)} if seed.weights else {}
    return {**tensors, **seed.texts}


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
    models: list[Scorer] = []
    weights: dict[str, Weights] = {}
    texts: dict[str, dict[str, bytes]] = {}
    for seed in card.seeds:
        contents = {
            file: _checked(files, f"{_folder(seed.seed, seed.fold)}/{file}", name, hashed)
            for file, hashed in seed.hashes.items()
        }
        folder = _folder(seed.seed, seed.fold)
        try:
            weights[folder] = load(contents.pop(WEIGHTS)) if WEIGHTS in contents else {}
            texts[folder] = contents
            model = load_model(card.learner, weights[folder], contents, card.sizes)
        except (safetensors.SafetensorError, RuntimeError) as error:
            raise StaleOutput(
                f"{name}/{folder}: not the weights of the model on the card "
                f"({' '.join(str(error).split())}); train the month again"
            ) from error
        models.append(model.to(device) if isinstance(model, Ranker) else model)
    return Checkpoint(card, tuple(models), weights, texts, _fitted(files, card, name))


def _fitted(files: Mapping[str, bytes], card: Card, name: str) -> dict[str, Pca]:
    """Return the fitted inputs of a checkpoint by name."""
    found = {}
    for of_input, one in card.inputs.items():
        if not one.columns:
            continue  # raw vectors
        content = _checked(files, input_file(of_input), name, one.hash)
        try:
            found[of_input] = Pca.of(content, one.explained)
        except (safetensors.SafetensorError, KeyError) as error:
            raise StaleOutput(
                f"{name}/{input_file(of_input)}: not the input on the card ({error}); train the "
                "month again"
            ) from error
    return found


def _checked(files: Mapping[str, bytes], file: str, name: str, hashed: str) -> bytes:
    """Return a file of a checkpoint, refused where it is not the one that the card names."""
    content = _file(files, file, name)
    if _hash(content) != hashed:
        raise StaleOutput(
            f"{name}/{file}: its hash is {_hash(content)}, the card says {hashed}; "
            "train the month again"
        )
    return content


def _parsed_card(content: bytes, path: str) -> Card:
    try:
        version = json.loads(content).get("schema_version")
        if version != SCHEMA_VERSION:
            raise StaleOutput(
                f"{path}: schema_version = {version}, want {SCHEMA_VERSION}; train the month again"
            )
        return Card.model_validate_json(content)
    except StaleOutput:
        raise
    except ValidationError as error:
        why = _first_problem(error)
        raise StaleOutput(f"{path}: not a card ({why}); train the month again") from error
    except (ValueError, AttributeError, RecursionError) as error:
        raise StaleOutput(f"{path}: not a card ({error}); train the month again") from error


def _first_problem(error: ValidationError) -> str:
    """Return in one line what is wrong with a card, and how much else is."""
    first, *others = error.errors(include_url=False)
    key = ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        words = f"unknown key '{key}' of a card"
    elif isinstance(first["input"], dict | list):
        words = f"{key}: {first['msg']}" if key else first["msg"]
    else:
        words = f"{key} = {first['input']!r}: {first['msg']}"
    return f"{words}; and {len(others)} more" if others else words


def _file(files: Mapping[str, bytes], file: str, name: str) -> bytes:
    if file not in files:
        raise MissingOutput(f"{name}/{file}: there is no such file; train the month")
    return files[file]


def _folder(seed: int, fold: str) -> str:
    """Return the folder of one model's files, below that of the checkpoint."""
    return f"fold={fold}/seed={seed}" if fold else f"seed={seed}"


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
