"""What describes the models of a month: all that their weights depend on, and what feeds them.

The card is the same text for the same weights: it holds no clock time.
"""

from typing import Any

from pydantic import Field

from alpha_assets.dataset.sizes import Sizes
from alpha_assets.spec import Spec
from alpha_assets.training.learner import Learner

SCHEMA_VERSION = 5
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
    """One seed's training, epoch by epoch.

    Attributes:
        seed: of everything random.
        fold: its key, where the month has several; empty for the one.
        hashes: by file of its folder.
        best_epoch: the one that was kept, from 1.
        valid_rank_ic: of the one that was kept; None without validation sessions.
        settings: what each epoch tried, where it is not one more pass.
        losses: on the training sessions.
        rank_ics: per epoch and horizon.
        warnings: what the guard found odd.
    """

    seed: int
    fold: str = ""
    hashes: dict[str, str]
    best_epoch: int
    valid_rank_ic: float | None
    settings: tuple[str, ...]
    losses: tuple[float, ...]
    rank_ics: tuple[tuple[float, ...], ...]
    warnings: tuple[str, ...]


class FoldCard(Spec):
    """The sessions of one of a month's several models."""

    key: str
    train_sessions: tuple[str, ...]
    valid_sessions: tuple[str, ...]


class InputCard(Spec):
    """What was made of the vectors of a feed.

    Attributes:
        kind: of the input.
        feed: whose vectors.
        column: of the feed.
        width: numbers of a vector.
        max_age: sessions after which one counts as missing.
        columns: of the model's features that are made of it; none of raw vectors.
        explained: of each component the share of the total variance.
        sessions: training sessions with a vector.
        states: sessions and symbols that it was fitted on.
        distinct: vectors among them.
        hash: of the file of what was fitted.
    """

    kind: str
    feed: str
    column: str
    width: int
    max_age: int
    columns: tuple[str, ...] = ()
    explained: tuple[float, ...] = ()
    sessions: int = 0
    states: int = 0
    distinct: int = 0
    hash: str = ""


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
    families: dict[str, tuple[int, ...]]  # places of the columns of `features`
    n_neighbours: int  # of each symbol in the graph that the model reads; 0: it reads none
    left_out: tuple[str, ...]  # columns of the recipe that span too little of the training window
    horizons: tuple[int, ...]
    symbols: tuple[str, ...]
    sectors: tuple[str, ...]
    train_sessions: tuple[str, ...]
    valid_sessions: tuple[str, ...]
    folds: tuple[FoldCard, ...]  # into which these are cut; empty for one model
    purge_sessions: int
    embargo_sessions: int
    seeds: tuple[SeedCard, ...]
    precision: str
    threads: int
    device: str
    instruction_set: str
    libraries: dict[str, str]
    parent: str | None  # whose weights training began with: an earlier month, or a recipe
    inputs: dict[str, InputCard] = Field(default_factory=dict)  # made of vectors of feeds, by name

    @property
    def section_columns(self) -> tuple[str, ...]:
        """Those of `features` that stand in the cross-section: without those of fitted inputs."""
        fitted = {column for one in self.inputs.values() for column in one.columns}
        return tuple(column for column in self.features if column not in fitted)

    @property
    def sizes(self) -> Sizes:
        """What the model was made for."""
        return Sizes(
            n_features=len(self.features),
            n_market=len(self.market_features),
            steps=self.learner.window.sequence,
            n_horizons=len(self.horizons),
            n_symbols=len(self.symbols),
            n_sectors=len(self.sectors),
            families=self.families,
            n_neighbours=self.n_neighbours,
            vectors={n: one.width for n, one in self.inputs.items() if not one.columns},
            columns=self.features,
        )
