"""What decides the content of an output beside its inputs: settings, and the code that makes it.

Every stage has one `Identity`.  Its `digest` covers the settings that the stage reads and no
others, so that another portfolio rule makes no model stale; its `code` covers the definitions that
the stage reaches, in normalised syntax, so that an edited kernel makes stale what it computes.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache

from alpha_assets.backtest.rules.solver import is_installed
from alpha_assets.code import code_digest
from alpha_assets.config.market import Market
from alpha_assets.config.recipe import Recipe
from alpha_assets.features.code import compute_digest, feature_digests
from alpha_assets.features.compute import inputs_with
from alpha_assets.pipeline.families import weighs_drift
from alpha_assets.spec import digest, kept
from alpha_assets.training import Learner

# What declares a stage: what it reads is in its inputs, and what makes it is a root.
DECLARATIONS = (
    "market_stages:raw_rows",
    "market_stages:panel_stage",
    "market_stages:features_stage",
    "market_stages:cross_section_stage",
    "market_stages:graph_stage",
    "checkpoint:checkpoint_stage",
    "predictions:predictions_stage",
    "targets:targets_stage",
    "study:study_stage",
    "backtest:backtest_stage",
    "report:coverage_stage",
    "report:report_stage",
    "oracle:oracle_stage",
)
IDENTITIES = ("checkpoint", "counting", "study")  # functions of this module that makers call

# What holds settings and files rather than arithmetic: the settings are in the digests, the
# content of files in the inputs.  Following these types would reach all of the package.
SETTINGS_AND_FILES: dict[str, tuple[str, ...]] = {
    f"alpha_assets.{name}": ()
    for name in (
        "pipeline.context:MarketContext",
        "pipeline.context:RecipeContext",
        "pipeline.command:command",
        "pipeline.command:run_again",
        "pipeline.stage:Stage",
        "pipeline.seen:Seen",
        *(f"pipeline.{name}" for name in DECLARATIONS),
        *(f"pipeline.identity:{name}" for name in IDENTITIES),
        "config.market:Market",
        "config.recipe:Recipe",
        "store.store:Store",
        "store.folder:Folder",
        "store.manifest:Manifest",
        "store.manifest:ManifestInput",
        "store.raw:RawTable",
    )
}
# What chooses, of the files of the store, the rows that a stage reads.
READ_BACK = ("store.raw_rows:RawRows", "store.table:MonthTable", "store.table:FamilyTable")
# Where a kind selects what is reached: an edit of one model leaves others fresh.
MODELS = "alpha_assets.training.learner:ModelSpec"
ESTIMATORS = "alpha_assets.training.estimators:ESTIMATORS"
LOADERS = "alpha_assets.training.loaders:LOADERS"
LOSSES = "alpha_assets.models.losses:LossSpec"
RULES = "alpha_assets.backtest.rules:PortfolioSpec"
Chosen = tuple[tuple[str, tuple[str, ...]], ...]  # registries, and the keys that count

THREADS = "threads"  # of training: any number gives the same bits

# The roots of each stage's code: what makes its outputs, from reading its inputs on.
PANEL = ("pipeline.market_stages:make_panel", "panel.joins:joins_of")
FEATURES = ("pipeline.market_stages:make_features",)
MEMBERS = ("pipeline.market_stages:make_members",)
CROSS_SECTION = ("pipeline.market_stages:make_section", "features.interactions:interaction")
GRAPH = ("pipeline.market_stages:make_graph",)
# What a context keeps, and what settings are asked for: their types are no way to it.
LEARNED = ("pipeline.columns:resident_of", "dataset.inputs:InputsSpec")
CHECKPOINT = ("pipeline.checkpoint:make_model", *LEARNED)
PREDICTIONS = ("pipeline.predictions:make_scores", "dataset.inputs:InputsSpec")
STUDY = ("pipeline.study:make_study", *LEARNED)
TARGETS = ("pipeline.targets:make_targets",)
ORACLE = ("pipeline.oracle:make_oracle",)
BACKTEST = ("pipeline.backtest:make_backtest", *ORACLE)  # it measures what was planted, too
COUNTING = ("quality.cells:count_cells", "quality.cells:keep_cells")
COVERAGE = ("pipeline.report:make_coverage",)
REPORT = ("pipeline.report:make_report",)
# Counts of cells record their own code; a page prints the command, which others only name in
# refusals.
COUNTED: Chosen = tuple((f"alpha_assets.{name}", ()) for name in COUNTING)
PRINTED = ("alpha_assets.pipeline.command:command",)
SOURCE = "alpha_assets.feeds.base:Source"  # any source fits it: of raw rows, their own counts


@dataclass(frozen=True)
class Identity:
    """What decides an output beside its inputs.

    Attributes:
        digest: of the settings that its stage reads.
        code: of the definitions that its stage reaches; empty where code is not compared.
        parts: digests of code by name, so that what has changed can be named.
    """

    digest: str
    code: str = ""
    parts: Mapping[str, str] | None = None


@cache
def _code(roots: tuple[str, ...], chosen: Chosen = (), followed: tuple[str, ...] = ()) -> str:
    """Return the digest of what roots reach, and of how they read stored rows.

    Args:
        roots: below the package.
        chosen: what of the tables counts, beside `SETTINGS_AND_FILES`.
        followed: of those, what counts nevertheless.
    """
    select = {**SETTINGS_AND_FILES, **dict(chosen)}
    for name in followed:
        del select[name]
    return code_digest(*(f"alpha_assets.{root}" for root in (*roots, *READ_BACK)), select=select)


def raw(market: Market) -> str:
    """Return the digest of the code by which a source's rows are stored: recorded, not compared.

    What was stored cannot always be fetched again.
    """
    # A class outside of the package, which a test makes, has the code of the one that it changes.
    source = next(
        one for one in type(market.source).__mro__ if one.__module__.startswith("alpha_assets.")
    )
    roots = ("alpha_assets.feeds.ingest:ingest", source)
    return code_digest(*roots, select={**SETTINGS_AND_FILES, SOURCE: ()})


def oracle(market: Market) -> Identity:
    """Return the identity of what was planted in a simulated market."""
    return Identity(digest(market.source.identity, market.spec.sim), _code(ORACLE))


def panel(market: Market) -> Identity:
    """Return the identity of what was known at each decision."""
    return Identity(market.data_digest, _code(PANEL))


def together(identities: Mapping[str, Identity]) -> Identity:
    """Return the identity of families that are looked at as one output."""
    return Identity(
        digest({name: one.digest for name, one in identities.items()}),
        digest({name: one.code for name, one in identities.items()}),
    )


def features(market: Market, family: str) -> Identity:
    """Return the identity of a family of the catalogue, its code feature by feature."""
    names = [feature.name for feature in market.catalog if feature.family == family]
    known = {**_feature_codes(), **_own_codes(market)}
    codes = {name: known[name] for name in names}
    offered = sorted(set(names) - set(market.missing_features))
    return Identity(
        digest(market.data_digest, names, offered),
        digest(_code(FEATURES, COUNTED), _compute_code(), codes),
        codes,
    )


def counting() -> str:
    """Return the digest of the code that counts cells: counts of other code are not read."""
    return _code(COUNTING)


@cache
def _feature_codes() -> dict[str, str]:
    return feature_digests()


@kept
def _own_codes(market: Market) -> Mapping[str, str]:
    """Return the digests of the features of a market's own feeds, by name."""
    own = [feature for feature in market.catalog if feature.name not in _feature_codes()]
    inputs = inputs_with(market.own_joins, market.spec.max_stale)
    return feature_digests(catalog=own, inputs=inputs)


@cache
def _compute_code() -> str:
    return compute_digest()


def members(market: Market, universe: str) -> Identity:
    """Return the identity of who is in a universe."""
    return Identity(digest(market.data_digest, universe, market.universe(universe)), _code(MEMBERS))


def cross_section(market: Market, universe: str, family: str) -> Identity:
    """Return the identity of a family of z-scored features inside a universe."""
    names = [feature.name for feature in market.choice if feature.family == family]
    offered = sorted(set(names) - set(market.missing_features))
    return Identity(
        digest(market.data_digest, universe, market.universe(universe), names, offered),
        _code(CROSS_SECTION),
    )


def graph(market: Market, universe: str, rules: Mapping[str, float]) -> Identity:
    """Return the identity of the correlation graph inside a universe."""
    return Identity(
        digest(market.data_digest, universe, market.universe(universe), dict(rules)), _code(GRAPH)
    )


def checkpoint(recipe: Recipe) -> Identity:
    """Return the identity of a month's model: what is trained on, and how; not what is held."""
    spec = recipe.spec
    return Identity(
        digest(*_learned(recipe, spec.split)),
        _code(CHECKPOINT, _fitted_by(recipe)),
    )


def study(recipe: Recipe) -> Identity:
    """Return the identity of a study: what each fold is trained on and how, and the folds."""
    spec = recipe.spec
    return Identity(
        digest(*_learned(recipe, spec.study)),
        _code(STUDY, _fitted_by(recipe)),
    )


def _learned(recipe: Recipe, folds: object) -> tuple[object, ...]:
    spec, market = recipe.spec, recipe.market
    return (
        market.data_digest,
        {"name": spec.universe.name},
        market.universe(spec.universe.name),
        [feature.name for feature in recipe.features],
        spec.inputs,
        spec.label,
        folds,
        *_without_threads(recipe.learner),
    )


def _fitted_by(recipe: Recipe) -> Chosen:
    """Return what of the tables counts where a model is fitted."""
    estimator = recipe.spec.model.estimator
    losses = tuple(term.kind for term in recipe.spec.loss)
    return (*_of_model(recipe), (ESTIMATORS, (estimator,)), (LOSSES, losses))


def _held(recipe: Recipe) -> tuple[object, ...]:
    """Return whom a recipe scores, where that is not everyone whom it is trained on."""
    held = recipe.spec.universe.held
    return (held, recipe.market.universe(held)) if held else ()


def _of_model(recipe: Recipe) -> Chosen:
    """Return what of the tables counts where a model is read."""
    model = recipe.spec.model
    return ((MODELS, (model.kind,)), (LOADERS, (model.estimator,)))


def _without_threads(learner: Learner) -> tuple[object, ...]:
    """Return what decides a model but for the guard, which stops it or does not."""
    training = learner.training.model_dump(mode="json")
    del training[THREADS]
    return (
        learner.model,
        learner.loss,
        learner.window,
        learner.optimiser,
        training,
        learner.cost_bps,
    )


def predictions(recipe: Recipe) -> Identity:
    """Return the identity of scores; the model itself is an input."""
    return Identity(
        digest(*_learned(recipe, recipe.spec.split), *_held(recipe)),
        _code(PREDICTIONS, (*_of_model(recipe), (LOSSES, ()))),
    )


def targets(recipe: Recipe) -> Identity:
    """Return the identity of what to hold; of costs, where the rule reads them."""
    rule = recipe.spec.portfolio
    return Identity(
        digest(
            recipe.market.data_digest,
            rule,
            {"name": recipe.spec.universe.name},
            *_held(recipe),
            *([recipe.costs] if rule.needs_costs else []),
        ),
        _code(TARGETS, ((RULES, (rule.rule,)),)),
    )


def backtest(recipe: Recipe) -> Identity:
    """Return the identity of books and figures, which print the digest of the whole recipe.

    On simulated markets, where a rule of the family of the attainable needs the solver, also of
    whether it is installed.
    """
    if weighs_drift(recipe.market):
        return Identity(digest(recipe.digest, {"solver": is_installed()}), _code(BACKTEST))
    return Identity(recipe.digest, _code(BACKTEST))


def coverage(market: Market, families: Collection[str]) -> Identity:
    """Return the identity of what is there of some families of features, and of all feeds."""
    names = [feature.name for feature in market.choice if feature.family in families]
    missing = {name: why for name, why in market.missing_features.items() if name in names}
    off = (missing, dict(market.feeds_off))
    return Identity(
        digest(market.data_digest, names, *off, dict(market.spec.coverage)), _code(COVERAGE)
    )


def report(recipe: Recipe) -> Identity:
    """Return the identity of the tear sheet, which prints what the recipe is about."""
    code = _code(REPORT, followed=PRINTED)
    return Identity(digest(recipe.digest, recipe.spec.about), code)
