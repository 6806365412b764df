"""A recipe: everything of an experiment that may change a number.

Composes the specs that the rooms below declare; `pipelines/recipes/<name>.toml` holds one.
Adding a recipe needs no Python.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Annotated, Any, Self, get_args

from pydantic import Field, model_validator

from alpha_assets.backtest import CostsSpec, PortfolioSpec, check_costs
from alpha_assets.backtest.portfolio import check_portfolio
from alpha_assets.config.folders import named_file
from alpha_assets.config.market import RESERVED_NAMES, Market
from alpha_assets.config.moved_keys import in_place
from alpha_assets.config.sizes import SIZE, at_size, size_of, sizes_in
from alpha_assets.dataset import (
    FixedSpec,
    FoldsSpec,
    InputsSpec,
    PcaSpec,
    SplitSpec,
    VectorsSpec,
)
from alpha_assets.dataset.inputs import columns_of, family_of
from alpha_assets.errors import SpecError, did_you_mean
from alpha_assets.evaluation import GatesSpec
from alpha_assets.features import Feature, FeaturesSpec, select
from alpha_assets.labels import LabelSpec
from alpha_assets.models import LossSpec
from alpha_assets.panel.vectors import vector_columns
from alpha_assets.spec import (
    EACH_ONCE,
    PickledByFields,
    Spec,
    digest,
    override,
    parse_spec,
    read_toml,
)
from alpha_assets.training import (
    GuardSpec,
    Learner,
    ModelSpec,
    OptimiserSpec,
    TrainingSpec,
    WindowSpec,
    check_inputs,
    check_learner,
)

RULE = "portfolio.rule="  # how an override of it begins
VARIANT = "@"  # between the name of a recipe and the digest of a variant's settings


class UniverseChoice(Spec):
    """Declared under `[universe]` in a recipe: the name of one of the market's universes."""

    name: str = "all"
    """Of one of the market's universes: whom the model is trained on."""
    held: str = ""
    """Of one of the market's universes: who of them is scored, held and judged; none: all."""


class RecipeSpec(Spec):
    """Everything that a recipe's file declares."""

    about: str
    """One sentence for lists."""
    markets: Annotated[tuple[str, ...], EACH_ONCE] = Field(min_length=1)
    """Where the recipe may run; the first is its home."""
    universe: UniverseChoice = UniverseChoice()
    """Whom it is trained on, and whom it holds."""
    features: FeaturesSpec = FeaturesSpec()
    """What it reads; without the section, everything the market can have."""
    inputs: InputsSpec = InputsSpec()
    """What the model reads beside its features."""
    label: LabelSpec
    """What is predicted."""
    split: SplitSpec = SplitSpec()
    """Which sessions a month is trained and validated on."""
    study: FoldsSpec | None = None
    """Folds other than months, for evaluation alone; none: no study."""
    model: ModelSpec
    """The ranker."""
    loss: tuple[LossSpec, ...] = ()
    """What training minimises: the weighted sum of its terms; of networks."""
    window: WindowSpec = WindowSpec()
    """What a model sees of the past."""
    optimiser: OptimiserSpec = OptimiserSpec()
    """Of networks."""
    training: TrainingSpec = TrainingSpec()
    """The training loop."""
    portfolio: PortfolioSpec
    """From scores to holdings."""
    costs: CostsSpec | None = None
    """Of trading; none: the market's."""
    guard: GuardSpec = GuardSpec()
    """When a month's training is stopped."""
    gates: GatesSpec | None = None
    """What the figures must reach; none: nothing is asked of them."""

    @model_validator(mode="after")
    def _portfolio_trades_a_predicted_horizon(self) -> Self:
        if self.portfolio.horizon not in self.label.horizons:
            raise ValueError(
                f"portfolio.horizon = {self.portfolio.horizon} is not predicted; "
                f"want one of label.horizons = {list(self.label.horizons)}"
            )
        return self

    @model_validator(mode="after")
    def _study_can_be_judged(self) -> Self:
        study, longest = self.study, max(self.label.horizons)
        if study is None:
            return self
        if study.embargo_sessions < longest:
            raise ValueError(
                f"study.embargo_sessions = {study.embargo_sessions} under a label of {longest} "
                f"sessions; want {longest} or more: what trains after a test session looks back "
                "on the days of its label"
            )
        if self.training.warm_start or self.training.parent:
            raise ValueError(
                f'study.kind = "{study.kind}": a model that starts from another one '
                "(training.warm_start or training.parent) may have learned what a fold is judged "
                "on; leave one of them out"
            )
        selects = study.valid_share > 0 if isinstance(study, FixedSpec) else study.valid_sessions
        if isinstance(study, FixedSpec) and study.valid_from is not None:
            selects = study.valid_from != study.test_from
        selection = self.training.selection
        if not selects and selection != "rank_ic":
            raise ValueError(
                f'training.selection = "{selection}" selects on validation sessions, and the '
                "study has none: give it some, or take selection out"
            )
        n_valid = None if isinstance(study, FixedSpec) else study.valid_sessions
        if selection == "net_sharpe" and n_valid is not None and n_valid <= longest + 1:
            raise ValueError(
                f'training.selection = "net_sharpe" needs more validation sessions than the '
                f"longest horizon: study.valid_sessions = {n_valid}, want more than {longest + 1}"
            )
        return self

    @model_validator(mode="after")
    def _sections_of_training_fit(self) -> Self:
        check_learner(self.model, self.loss, self.window, self.training)
        check_inputs(self.model, self.inputs)
        self._fitted_inputs_fit()
        training, n_needed = self.training, self.split.needed_sessions
        if training.sampler == "blocks" and training.block_sessions > n_needed:
            raise ValueError(
                f"training.block_sessions = {training.block_sessions}: more than the {n_needed} "
                "training sessions of [split], so that no block is whole; want shorter blocks, or "
                "a longer split.lookback_sessions (split.min_train_sessions, where it is set)"
            )
        horizons, selection = self.label.horizons, training.selection
        for term in self.loss:
            if term.horizon_weights and len(term.horizon_weights) != len(horizons):
                raise ValueError(
                    f'loss "{term.kind}": horizon_weights = {list(term.horizon_weights)} are '
                    f"{len(term.horizon_weights)}, and label.horizons = {list(horizons)} are "
                    f"{len(horizons)}; want one for each"
                )
        if self.split.folds and (self.training.warm_start or self.training.parent):
            raise ValueError(
                f"split.folds = {self.split.folds}: a model that starts from another one "
                "(training.warm_start or training.parent) may have learned what its fold holds "
                "out; leave one of them out"
            )
        if not self.split.valid_sessions and selection != "rank_ic":
            raise ValueError(
                f'training.selection = "{selection}" selects on validation sessions, and '
                "split.valid_sessions = 0: take selection out, or give it sessions"
            )
        if selection == "net_sharpe" and self.split.valid_sessions <= max(horizons) + 1:
            raise ValueError(
                f'training.selection = "net_sharpe" needs more validation sessions than the '
                f"longest horizon: split.valid_sessions = {self.split.valid_sessions}, want more "
                f"than {max(horizons) + 1}"
            )
        return self

    def _fitted_inputs_fit(self) -> None:
        """Refuse fitted inputs that the other sections make impossible."""
        split, training = self.split, self.training
        if self.study is not None and self.inputs.named:
            raise ValueError(
                f"[inputs.{next(iter(self.inputs.named))}] is made for the checkpoint of a month, "
                "and the folds of [study] have none: leave one of them out"
            )
        for name, one in self.inputs.fitted.items():
            if one.components > split.needed_sessions:
                raise ValueError(
                    f"[inputs.{name}] components = {one.components}: more than the "
                    f"{split.needed_sessions} training sessions of [split]; want fewer components"
                )
            if split.folds:
                raise ValueError(
                    f"[inputs.{name}] is fitted once for a month, and split.folds = "
                    f"{split.folds} holds out sessions that it is fitted on: leave one of them out"
                )
            for key, value in (("warm_start", training.warm_start), ("parent", training.parent)):
                if value:
                    raise ValueError(
                        f"[inputs.{name}] is fitted anew for each checkpoint, so that its columns "
                        f"mean something else than those that training.{key} learned; leave one "
                        "of them out"
                    )


@dataclass(frozen=True)
class Recipe(PickledByFields):
    """A recipe on one market, checked against what that market has."""

    name: str
    spec: RecipeSpec
    market: Market
    overrides: tuple[str, ...] = ()  # `section.key=value` that the file does not hold
    variant: str = ""  # digest of the settings, where they are not those of the file
    is_pinned: bool = False  # the overrides on today's file give other settings
    parent: "Recipe | None" = None  # whose models of the same months training starts from

    @property
    def folder(self) -> str:
        """The folder of its outputs below the market's; a variant lies beside its recipe."""
        return f"{self.name}{VARIANT}{self.variant}" if self.variant else self.name

    @cached_property
    def features(self) -> tuple[Feature, ...]:
        """The catalogued features that the recipe reads, in catalogue order."""
        market = self.market
        return select(
            market.choice, self.spec.features, market.missing_features, market.how_to_enable
        )

    def check_features(self) -> None:
        """Refuse features that the market cannot have before anything runs.

        Raises:
            SpecError: naming them, why, and how to have them; or a column that a term of the loss
                reads and the recipe does not.
        """
        if self.parent is None:
            self._check_columns()
            return
        self.parent.check_features()
        read, learned = (
            [feature.name for feature in recipe.features] for recipe in (self, self.parent)
        )
        if read != learned:
            odd = sorted(set(read).symmetric_difference(learned))[:3] or ["their order"]
            raise SpecError(
                f"{self.folder} reads {len(read)} features and training.parent = "
                f"{self.parent.name!r} {len(learned)} (first difference: {', '.join(odd)}); a "
                "second stage reads what its parent was trained on: give both the same [features]"
            )
        self._check_columns()

    def _check_columns(self) -> None:
        """Refuse a model or terms of the loss that read what the recipe does not."""
        scored = [f"{one.name}_cs_z" for one in self.features if one.scope != "market"]
        families = dict.fromkeys(one.family for one in self.features)
        fitted = self.spec.inputs.fitted
        self.spec.model.check_reads(
            [*families, *map(family_of, fitted)],
            [
                *scored,
                *[f"{family}_missing" for family in families],
                *[column for name, one in fitted.items() for column in columns_of(name, one)],
            ],
            sum(one.scope == "market" for one in self.features),
        )
        for term in self.spec.loss:
            for name in term.columns:
                if name not in scored:
                    raise SpecError(
                        f'{self.folder}: loss "{term.kind}" reads column {name!r}, which is none '
                        f"of the {len(scored)} of [features]; {did_you_mean(name, scored)}"
                        'Want the name of a feature that the recipe reads, followed by "_cs_z"'
                    )

    def on(self, market: Market) -> "Recipe":
        """Return the recipe, and those that it starts from, on the same market as it is now."""
        parent = None if self.parent is None else self.parent.on(market)
        return replace(self, market=market, parent=parent)

    def check_installed(self) -> None:
        """Refuse a model or rule whose library is not installed before anything is read.

        Raises:
            BadInput: naming the extra that brings it.
        """
        self.spec.model.check_installed()
        self.spec.portfolio.check_installed()

    @property
    def costs(self) -> CostsSpec:
        """The recipe's costs, else the market's."""
        return self.spec.costs or self.market.spec.costs

    @property
    def held_universe(self) -> str:
        """The universe, by name, that those who are scored and held are in beside their own."""
        return self.spec.universe.held or self.spec.universe.name

    @property
    def learner(self) -> Learner:
        """The sections that training reads; costs only where selection goes by them."""
        spec, costs = self.spec, self.costs
        by_costs = spec.training.selection == "net_sharpe"
        return Learner(
            model=spec.model,
            loss=spec.loss,
            window=spec.window,
            optimiser=spec.optimiser,
            training=spec.training,
            guard=spec.guard,
            cost_bps=costs.commission_bps + costs.half_spread_bps if by_costs else 0.0,
        )

    @property
    def resolved(self) -> dict[str, Any]:
        """The recipe with every default filled in, as plain values; without its study."""
        costs = self.costs.model_dump(mode="json")
        return {**traded_settings(self.spec), "about": self.spec.about, "costs": costs}

    @cached_property
    def digest(self) -> str:
        """Name of all that can change a number of a backtest; not `about`, and no study."""
        return digest(
            self.market.data_digest,
            self.name,
            traded_settings(self.spec),
            self.market.universe(self.spec.universe.name),
            *([self.market.universe(self.spec.universe.held)] if self.spec.universe.held else []),
            [feature.name for feature in self.features],
            self.costs,
            *([] if self.parent is None else [self.parent.digest]),
        )


def load_recipe(
    name: str, market: Market, *, overrides: Sequence[str] = (), children: Sequence[str] = ()
) -> Recipe:
    """Return a recipe by name, on a market; a variant of it where overrides change its settings.

    Args:
        name: of a file.
        market: on which.
        overrides: `section.key=value`, or `size=<name>` of one of the file's `[sizes]`.
        children: recipes whose models start from its models, the first one first.

    Raises:
        SpecError: unknown name, a file with a missing or wrong key, or a market that
            lacks what the recipe names.
    """
    if name.startswith("_") or name in RESERVED_NAMES:
        raise SpecError(f"a recipe cannot be called {name!r}: that folder has another meaning")
    path = named_file("recipes", name)
    tables = read_toml(path)
    sized, others = at_size(tables, overrides, path.name)
    settings = in_place(override(_of_rule(sized, others), others), path.name)
    spec = parse_spec(settings, RecipeSpec, origin=path.name)
    if not overrides:
        _check_sizes(tables, path.name)
    variant = settings_digest(spec)
    if not overrides or variant == _digest_of_file(at_size(tables, (), path.name)[0], path.name):
        variant = ""
    return checked(Recipe(name, spec, market, tuple(overrides), variant), children)


def _check_sizes(tables: Mapping[str, Any], origin: str) -> None:
    """Refuse a file with a size that cannot be chosen, before it is asked for.

    Of the file as it is: what an override mends at one size may be wrong at another.
    """
    for name in sizes_in(tables):
        at = in_place(at_size(tables, [f"{SIZE}={name}"], origin)[0], origin)
        parse_spec(at, RecipeSpec, origin=f"{origin} at {SIZE} {name}")


def _of_rule(tables: Mapping[str, Any], overrides: Sequence[str]) -> Mapping[str, Any]:
    """Return a file's tables without what an override of the portfolio's rule makes meaningless.

    Keys that the file's rule has and the other one has not, such as its quantile.
    """
    chosen = [
        words.partition("=")[2].strip("\"' ") for words in overrides if words.startswith(RULE)
    ]
    portfolio = tables.get("portfolio")
    kinds = {name: kind for kind in get_args(get_args(PortfolioSpec)[0]) for name in kind.names()}
    if not chosen or not isinstance(portfolio, dict) or chosen[-1] not in kinds:
        return tables
    fields = kinds[chosen[-1]].model_fields
    known = {field for kind in kinds.values() for field in kind.model_fields}
    kept = {key: value for key, value in portfolio.items() if key in fields or key not in known}
    return {**tables, "portfolio": kept}


def settings_digest(spec: RecipeSpec) -> str:
    """Return the name of a recipe's settings, whatever the market; not of `about`."""
    return digest(
        {**traded_settings(spec), **({} if spec.study is None else {"study": spec.study})}
    )


def traded_settings(spec: RecipeSpec) -> dict[str, Any]:
    """Return the settings that can change what is traded, as plain values: without the study."""
    return {**spec.model_dump(mode="json", exclude={"study"}), "about": ""}


def _digest_of_file(tables: Mapping[str, Any], origin: str) -> str:
    """Return the digest of a file's own settings; empty where it needs overrides to be one."""
    try:
        return settings_digest(parse_spec(in_place(tables, origin), RecipeSpec, origin=origin))
    except SpecError:
        return ""


def checked(recipe: Recipe, children: Sequence[str] = ()) -> Recipe:
    """Return a recipe, with its parent, once its market has what it names.

    Args:
        recipe: without its parent.
        children: recipes whose models start from its models, the first one first.

    Raises:
        SpecError: it may not run there, or names a universe or prices that the market lacks, or a
            parent that is another kind of model or starts from the recipe itself.
    """
    spec, market = recipe.spec, recipe.market
    if market.name not in spec.markets:
        raise SpecError(
            f"{recipe.name}.toml: markets = {list(spec.markets)}, and this is market "
            f"{market.name!r}; add it to the list if the recipe may run there, or choose --market "
            "from it"
        )
    _check_vectors(recipe)
    named = [market.universe(name).symbols for name in {spec.universe.name, recipe.held_universe}]
    listed = [set(symbols) for symbols in named if symbols is not None]
    n_names = len(set.intersection(*listed)) if listed else None
    check_portfolio(spec.portfolio, market.price_level, n_names)
    check_costs(recipe.costs, market.price_level)
    parent_name = spec.training.parent
    if not parent_name:
        return recipe
    line = (*children, recipe.folder)
    if parent_name in line:
        raise SpecError(
            f"{recipe.folder}: training.parent = {parent_name!r} starts from itself "
            f"({' from '.join((*line, parent_name))}); one of them must start without a parent"
        )
    size = _size_of_parent(parent_name, recipe.overrides)
    parent = load_recipe(parent_name, market, overrides=size, children=line)
    _check_parent(recipe, parent)
    return replace(recipe, parent=parent)


def _size_of_parent(name: str, overrides: Sequence[str]) -> list[str]:
    """Return the size at which a parent is taken: the recipe's own, where its file has that."""
    size = size_of(overrides)
    return [f"{SIZE}={size}"] if size in recipe_sizes(name) else []


def vector_column(market: Market, spec: PcaSpec | VectorsSpec) -> str:
    """Return the column of a feed's vectors that an input is made of."""
    return spec.column or next(iter(vector_columns(market.declared[spec.feed])))


def _check_vectors(recipe: Recipe) -> None:
    """Refuse inputs made from vectors that the market does not have.

    Raises:
        SpecError: naming the input, the feed, and what there is.
    """
    market = recipe.market
    offered = {
        name: vector_columns(feed)
        for name, feed in market.feeds.items()
        if feed.scope == "symbol" and vector_columns(feed)
    }
    have = f"feeds with vectors by symbol here: {', '.join(offered) or 'none'}"
    for name, one in recipe.spec.inputs.named.items():
        of_input = f"{recipe.folder}: [inputs.{name}] feed = {one.feed!r}"
        if one.feed not in market.declared:
            near = get_close_matches(one.feed, market.declared, n=1)
            guess = f"; did you mean {near[0]!r}?" if near else ""
            raise SpecError(f"{of_input} is no feed of market {market.name!r}{guess}; {have}")
        if one.feed not in market.feeds:
            raise SpecError(
                f"{of_input} is off on market {market.name!r}: {market.feeds_off[one.feed]}; {have}"
            )
        if one.feed not in offered:
            raise SpecError(f"{of_input} has no vectors by symbol; {have}")
        columns = offered[one.feed]
        if one.column and one.column not in columns:
            raise SpecError(
                f"{recipe.folder}: [inputs.{name}] column = {one.column!r} is no column of "
                f"vectors of {one.feed}; want one of {', '.join(columns)}"
            )
        if not one.column and len(columns) > 1:
            raise SpecError(
                f"{of_input} has several columns of vectors; name one of "
                f"{', '.join(columns)} by column"
            )
        width = columns[vector_column(market, one)]
        if isinstance(one, PcaSpec) and one.components > width:
            raise SpecError(
                f"{recipe.folder}: [inputs.{name}] components = {one.components}: a vector of "
                f"{one.feed} has {width} numbers; want {width} components at most"
            )


def _check_parent(recipe: Recipe, parent: Recipe) -> None:
    """Refuse a parent whose models cannot be what a recipe's training starts from.

    Raises:
        SpecError: naming the key and both values.
    """
    own, other = recipe.spec, parent.spec
    for key, mine, theirs in (
        ("universe.name", own.universe.name, other.universe.name),
        ("model.kind", own.model.kind, other.model.kind),
        ("label.horizons", list(own.label.horizons), list(other.label.horizons)),
    ):
        if mine != theirs:
            raise SpecError(
                f"{recipe.folder}: {key} = {mine!r}, and that of training.parent = "
                f"{parent.name!r} is {theirs!r}; a second stage goes on with the same model on the "
                "same data: give both the same"
            )
    if own.inputs != other.inputs:
        raise SpecError(
            f"{recipe.folder}: [inputs] is {own.inputs.model_dump(mode='json')}, and that of "
            f"training.parent = {parent.name!r} is {other.inputs.model_dump(mode='json')}; a "
            "second stage reads what its parent was trained on: give both the same"
        )
    lacking = sorted(set(own.training.seeds) - set(other.training.seeds))
    if lacking:
        raise SpecError(
            f"{recipe.folder}: training.seeds = {list(own.training.seeds)}, and training.parent = "
            f"{parent.name!r} trains {list(other.training.seeds)}: seed {lacking[0]} has nothing "
            "to start from; each seed starts from the same seed of the parent"
        )


def recipe_sizes(name: str) -> tuple[str, ...]:
    """Return the names of the sizes that a recipe's file has beside its own."""
    return sizes_in(read_toml(named_file("recipes", name)))


def markets_of(name: str) -> tuple[str, ...]:
    """Return the markets that a recipe lists; the first is its home."""
    path = named_file("recipes", name)
    listed = read_toml(path).get("markets")
    if not isinstance(listed, list) or not listed:
        raise SpecError(f"{path.name}: markets = {listed!r}; want a list of market names")
    return tuple(str(market) for market in listed)
