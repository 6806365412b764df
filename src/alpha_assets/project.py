"""The verbs of the project as functions: what the command line and notebooks share.

    import alpha_assets as aa
    project = aa.open("rolling_transformer", market="sim")
    project.run(first_month="2023-07")

`aa.run("rolling_transformer", market="sim", first_month="2023-07")` is the same in one line.
Each verb returns plain values: dicts, lists, numbers and text.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Unpack

import polars as pl

from alpha_assets import VERBS
from alpha_assets.calendar import month_of, month_range
from alpha_assets.config import listing
from alpha_assets.config.folders import write_project
from alpha_assets.config.keywords import AUDIT_SESSIONS, CLOCK_SESSIONS, Where
from alpha_assets.config.market import OF_MARKET, load_market
from alpha_assets.config.recipe import VARIANT, markets_of
from alpha_assets.config.sizes import SIZE
from alpha_assets.errors import BadInput, SpecError
from alpha_assets.pipeline.context import RecipeContext, silent
from alpha_assets.pipeline.variants import RECORD, recipe_named, stored_variants
from alpha_assets.progress import Progress
from alpha_assets.store.location import DEFAULT_STORAGE, STORAGE_VARIABLE
from alpha_assets.store.store import Store
from alpha_assets.store.table import FamilyTable, MonthTable
from alpha_assets.training.device import AUTO, checked_device

# A verb imports what it alone needs when it is called: `status` and `results` load neither what
# trains nor what simulates.
if TYPE_CHECKING:
    from alpha_assets.sources.sim_jquants import Server

RECIPE = "rolling_transformer"  # where none is named

catalog = listing.catalog
market_toml = listing.market_toml
markets = listing.markets
recipe_toml = listing.recipe_toml
recipes = listing.recipes


@dataclass(frozen=True, repr=False)
class Project:
    """A recipe on a market, and where its outputs lie; its methods are the verbs.

        project = aa.open("rolling_transformer", market="sim")
        project.run(first_month="2023-07")
        project.predictions().collect()

    Every method asks the source and the storage as they then are.  Results are plain values:
    dicts, lists, numbers and text.  Frozen; picklable where its `progress` is.
    """

    context: RecipeContext

    def __repr__(self) -> str:
        context = self.context
        return f"<{context.recipe.folder} on {context.market.name} in {context.store.address}>"

    def run(
        self,
        first_month: str | None = None,
        last_month: str | None = None,
        *,
        workers: int | str = 1,
    ) -> dict[str, Any]:
        """Run every stage that is missing or stale; return its figures.

        Args:
            first_month: first to decide; default: the first with a full training window.
            last_month: last to decide; default: the last with bars.
            workers: processes that train months side by side; 1 is this process alone, `auto` as
                many as the device has places for, `ray` those of a cluster.
        """
        from alpha_assets.pipeline import runner
        from alpha_assets.pipeline.executor import executor_named

        context = self._anew()
        runner.run(context, first_month, last_month, executor=executor_named(workers, context))
        return figures(context)

    def study(self, *, workers: int | str = 1) -> dict[str, Any]:
        """Train and judge the folds of the recipe's `[study]`, for evaluation alone.

        Args:
            workers: processes that train folds side by side; see `run`.

        Returns:
            `title`, `rows` (one per fold and horizon, and of all folds together), `kind`,
            `address`.
        """
        from alpha_assets.pipeline import runner
        from alpha_assets.pipeline.executor import executor_named
        from alpha_assets.pipeline.study import stored_study

        context = self._anew()
        runner.study(context, executor=executor_named(workers, context))
        return stored_study(context)

    def results(self) -> dict[str, Any]:
        """Return the figures of the stored backtest, and of the study where one is stored."""
        context = self._anew()
        found = figures(context)
        if context.recipe.spec.study is None or context.study.manifest() is None:
            return found
        from alpha_assets.pipeline.study import stored_study

        return {**found, "study": stored_study(context)}

    def compare(self, *others: str) -> dict[str, Any]:
        """Return figures on the sessions that are judged of all, and differences from this recipe.

        Args:
            others: recipes, or variants of any, `<recipe>@<digest>`, on the same market and
                storage.

        Returns:
            `title`, `figures` and `differences` (rows, formatted), `notes`, and in `comparison`
            the same as numbers; see `pipeline/compare.py`.
        """
        if not others:
            raise BadInput(
                f"{self.context.recipe.folder} is compared with nothing; name another recipe or "
                "variant"
            )
        from alpha_assets.pipeline.compare import compare as compare_stored
        from alpha_assets.pipeline.results import compared_figures

        context = self._anew()
        contexts = [context, *[self._beside(context, name) for name in others]]
        found = compare_stored(contexts)
        return {**compared_figures(found), "comparison": found}

    def components(self, *off: str) -> dict[str, Any]:
        """Return the correlation of the stored scores with each component of a rig.

        Args:
            off: components without which the recipe is run again, over the same months, below
                `<storage>/_off/`.

        Returns:
            `title`, `rows`, formatted, and in `components` the same as numbers; see
            `pipeline/components.py`.
        """
        from alpha_assets.pipeline.components import components as planted_components
        from alpha_assets.pipeline.report import stored_metrics
        from alpha_assets.pipeline.results import component_rows, title

        context = self._anew()
        found = planted_components(context, off)
        return {
            "title": title(context, stored_metrics(context)),
            "rows": component_rows(found),
            "components": found,
        }

    def importance(
        self, first_month: str | None = None, last_month: str | None = None
    ) -> dict[str, Any]:
        """Return what each family of features is worth to the stored models, on validation alone.

        Args:
            first_month: of the models; default: the first one that is stored.
            last_month: of the models; default: the last one.

        Returns:
            `title`, `rows`, formatted, and in `importance` the same as numbers; see
            `pipeline/importance.py`.
        """
        from alpha_assets.pipeline.importance import importance as family_importance
        from alpha_assets.pipeline.results import importance_rows

        context = self._anew()
        found = family_importance(context, first_month, last_month)
        return {
            "title": f"{context.recipe.folder} on {context.market.name}: validation sessions "
            f"{found[0]['first']} to {found[0]['last']}",
            "rows": importance_rows(found),
            "importance": found,
        }

    def report(self) -> dict[str, Any]:
        """Make the tear sheet again from the stored backtest; return its figures."""
        from alpha_assets.pipeline.backtest import judged_months
        from alpha_assets.pipeline.report import coverage_stage, report_stage, stored_metrics

        context = self._anew()
        stored_metrics(context)  # refused by name where the backtest is not fresh
        months = judged_months(context)
        coverage_stage(context.recipe).ensure(context, months)
        report_stage(context.recipe).ensure(context, months, again=True)
        return figures(context)

    def predict(self, asof: str | None = None, *, train: bool = False) -> dict[str, Any]:
        """Return the scores and targets of one session, from rows effective by it alone.

        Args:
            asof: the session, `YYYY-MM-DD`; default: the next one.
            train: make the month's checkpoint and the targets that the session goes on from,
                where they are missing or stale.
        """
        from alpha_assets.pipeline import runner
        from alpha_assets.pipeline.decide import decide, session_to_decide

        context = self._anew()
        if train:
            month = month_of(session_to_decide(context, asof))
            runner.make_what_is_remembered(context, month)
            runner.make_model(context, month)
        decided = decide(context, asof)
        return {
            "title": f"{context.recipe.folder} on {context.market.name}, decided {decided.session}",
            "session": decided.session.isoformat(),
            "model_month": decided.model_month,
            "rows": decided.rows.to_dicts(),
            "notes": list(decided.notes),
        }

    def status(self, *, verify: bool = False) -> list[dict[str, Any]]:
        """Return every stage: months there, months to make again, and why the first one is.

        With `verify` every stored byte is hashed; else size, time and inode are compared.
        """
        from alpha_assets.pipeline.status import status as status_rows
        from alpha_assets.store.look import Look

        context = self._anew()
        return status_rows(replace(context, store=Look(context.store.url, verify)))

    def restamp(self, stages: Sequence[str] = (), *, seed: int = 0) -> dict[str, Any]:
        """Take over what only other code made, where a sample of it comes out the same bits.

        Args:
            stages: by name; default: all that have something stored.
            seed: of the random months of a sample.

        Returns:
            `rows`, one per stage, and `refused`: the stage whose sample differs, else None.
        """
        from alpha_assets.pipeline.restamp import restamp as take_over

        rows = take_over(self._anew(), stages, seed=seed)
        refused = next((row.stage for row in rows if row.refused), None)
        return {"rows": [row.as_json() for row in rows], "refused": refused}

    def audit(
        self,
        first_month: str | None = None,
        last_month: str | None = None,
        *,
        cuts: int = 2,
        seed: int = 0,
        vintage: bool = False,
        sessions: int = AUDIT_SESSIONS,
        clock: int = CLOCK_SESSIONS,
    ) -> dict[str, Any]:
        """Return the causality certificate of the recipe.

        Args:
            first_month: first decided month to cut; default: the last.
            last_month: last one; default: the last decidable month.
            cuts: random cut sessions beside the first and last of each decided month.
            seed: of the cuts and the noise.
            vintage: also restate the past as a vendor would.
            sessions: cuts of the cheap stages, spread over the months asked for, or over all of
                the data by default.
            clock: of the last sessions, on which each feed's publication is moved by a day and by
                an hour; `"clock"` then holds what that did to the panel, and `"passed"` is of
                both.  0: none.
        """
        from alpha_assets.audit import audit as certify
        from alpha_assets.audit import audit_clock, choose_cuts
        from alpha_assets.pipeline import runner
        from alpha_assets.pipeline.frontier import months_of_data

        context = self._anew()
        context.recipe.check_installed()
        runner.check_form(first_month, last_month)
        context = runner.ingest_all(context)
        stored = months_of_data(context)
        last = last_month or stored[-1]
        runner.check_months(context, stored, first_month, last)
        months = month_range(first_month or last, last)
        chosen = choose_cuts(context, months, cuts, seed)
        moved = audit_clock(context, clock).as_json() if clock else None
        cheap = months if first_month or last_month else stored
        certificate = certify(
            context, chosen, seed=seed, vintage=vintage, sessions=sessions, months=cheap
        ).as_json()
        if moved is None:
            return certificate
        return {
            **certificate,
            "passed": certificate["passed"] and moved["passed"],
            "text": f"{certificate['text']}\n\n{moved['text']}",
            "clock": moved,
        }

    def why(self, symbol: str, session: str, *, brief: bool = False) -> dict[str, Any]:
        """Return what one prediction was made from, so that it can be computed again from that.

        With `brief`, the tables of other symbols are left out; it can then be read, not computed.
        """
        from alpha_assets.audit.why import explain, without_others

        explanation = explain(self._anew(), symbol, session)
        return without_others(explanation) if brief else explanation

    def panel(self, first_month: str | None = None, last_month: str | None = None) -> pl.LazyFrame:
        """Return the stored panel: what was known at each decision; refused where it is stale."""
        return self._rows("panel", first_month, last_month)

    def features(
        self, first_month: str | None = None, last_month: str | None = None
    ) -> pl.LazyFrame:
        """Return the features that the recipe needs, as stored; refused where they are stale."""
        return self._rows("features", first_month, last_month)

    def predictions(
        self, first_month: str | None = None, last_month: str | None = None
    ) -> pl.LazyFrame:
        """Return the stored scores per session, symbol and horizon; refused where stale."""
        return self._rows("predictions", first_month, last_month)

    def _rows(self, stage: str, first: str | None, last: str | None) -> pl.LazyFrame:
        """Return the rows of a span of months of a stage, each of them fresh.

        Raises:
            MissingOutput: one has not been made.
            StaleOutput: one was made by other settings, other code or other inputs.
            StorageError: one is damaged.
        """
        from alpha_assets.pipeline import runner
        from alpha_assets.pipeline.seen import Seen
        from alpha_assets.pipeline.stages import stage_of

        runner.check_form(first, last)
        context, seen = self._anew(), Seen()
        made = stage_of(context, stage)
        table = made.place(context)
        assert isinstance(table, MonthTable | FamilyTable), "what has rows of months is a table"
        for month in table.months(first, last):
            made.require(context, [month], seen=seen)
        return table.read(first, last)

    def _beside(self, context: RecipeContext, name: str) -> RecipeContext:
        """Return the context of another recipe or variant on the same market and storage."""
        market, base = context.market, name.partition(VARIANT)[0]
        listed = markets_of(base)
        # A variant may name markets of its own, and is stored on one of them.
        if market.name not in listed and name not in stored_variants(context.store, market, base):
            both = [one for one in markets_of(context.recipe.name) if one in listed]
            way_out = f"choose --market {' or '.join(both)}" if both else "they have none together"
            raise SpecError(
                f"{context.recipe.folder} and {name} are compared on one market, {market.name!r} "
                f"here; {base}.toml: markets = {list(listed)}; {way_out}"
            )
        recipe = recipe_named(name, market, context.store)
        recipe.check_features()
        return replace(context, recipe=recipe)

    def _anew(self) -> RecipeContext:
        """Return the context over a source that is opened anew.

        A source remembers what it has read: a folder may have changed since, and a feed may have
        been refused, which gives another market.
        """
        market = replace(self.context.market)
        recipe = self.context.recipe.on(market)
        recipe.check_features()
        return replace(self.context, market=market, recipe=recipe)


def init(folder: Path | str) -> list[str]:
    """Write a project folder with the shipped markets, recipes and Dagster files; list them."""
    return [str(path) for path in write_project(Path(folder).expanduser().absolute())]


def store_at(storage: str | None) -> Store:
    """Return the store that a verb was given; None is that of `ALPHA_STORAGE`, else `storage`."""
    default = os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE
    return Store(default if storage is None else storage).checked()


def open_context(recipe: str, **where: Unpack[Where]) -> RecipeContext:
    """Return the context of a recipe on a market; the keywords are those of `open`."""
    known = Where.__annotations__
    for name in where.keys() - known.keys():  # type checkers refuse it earlier
        raise TypeError(f"{name!r} is no keyword of a verb; want one of {', '.join(known)}")
    overrides, data = where.get("overrides", ()), where.get("data")
    of_market = [o.removeprefix(OF_MARKET) for o in overrides if o.startswith(OF_MARKET)]
    of_recipe = [o for o in overrides if not o.startswith(OF_MARKET)]
    size = where.get("size")
    if size is not None:
        if not size.strip():
            raise SpecError(f"--size {size!r} names no size; leave it out for the recipe's own")
        of_recipe = [f"{SIZE}={size}", *of_recipe]
    # Where the market is named, a stored variant is known without its recipe's file.
    home = where.get("market") or markets_of(recipe.partition(VARIANT)[0])[0]
    storage = where.get("storage")
    store = store_at(storage)
    loaded = load_market(
        home,
        overrides=of_market,
        data=None if data is None else Path(data),
        storage=storage,
    )
    chosen = recipe_named(recipe, loaded, store, of_recipe)
    chosen.check_features()
    return RecipeContext(
        loaded,
        store,
        recipe=chosen,
        device=checked_device(where.get("device", AUTO)),
        progress=where.get("progress", silent),
    )


def open(recipe: str = RECIPE, **where: Unpack[Where]) -> Project:
    """Return a recipe on a market, whose methods are the verbs.

    Args:
        recipe: a name in `pipelines/recipes`, or of a stored variant, `<recipe>@<digest>`.
        where: `market`, a name in `pipelines/markets`; default: the recipe's home.
            `data`, a folder of files to read instead of the market's source.
            `storage`, where outputs lie; default: `ALPHA_STORAGE`, else `storage`.
            `overrides`, each `section.key=value` of the recipe; with `market.` in front, of the
            market.
            `size`, one of the recipe's `[sizes]`.
            `device`, `cpu`, `cuda`, or `auto`, the default.
            `progress`, called with a stage and what it is doing.
    """
    return Project(open_context(recipe, **where))


def run(
    recipe: str = RECIPE,
    *,
    first_month: str | None = None,
    last_month: str | None = None,
    workers: int | str = 1,
    **where: Unpack[Where],
) -> dict[str, Any]:
    """Run every stage that is missing or stale; see `Project.run`."""
    return open(recipe, **where).run(first_month, last_month, workers=workers)


def study(
    recipe: str = RECIPE, *, workers: int | str = 1, **where: Unpack[Where]
) -> dict[str, Any]:
    """Train and judge the folds of the recipe's `[study]`; see `Project.study`."""
    return open(recipe, **where).study(workers=workers)


def results(recipe: str = RECIPE, **where: Unpack[Where]) -> dict[str, Any]:
    """Return the figures of the stored backtest; see `Project.results`."""
    return open(recipe, **where).results()


def compare(recipe: str, *others: str, **where: Unpack[Where]) -> dict[str, Any]:
    """Return figures and paired differences on common sessions; see `Project.compare`."""
    of_recipe = [o for o in where.get("overrides", ()) if not o.startswith(OF_MARKET)]
    if of_recipe:
        raise BadInput(
            f"compare takes variants by name, not {', '.join(of_recipe)}: run --set makes one and "
            f"prints its name, <recipe>{VARIANT}<digest>; only overrides of the market are of all"
        )
    return open(recipe, **where).compare(*others)


def components(
    recipe: str = RECIPE, *, off: Sequence[str] = (), **where: Unpack[Where]
) -> dict[str, Any]:
    """Return what the stored scores hold of a rig's components; see `Project.components`."""
    return open(recipe, **where).components(*off)


def importance(
    recipe: str = RECIPE,
    *,
    first_month: str | None = None,
    last_month: str | None = None,
    **where: Unpack[Where],
) -> dict[str, Any]:
    """Return what each family of features is worth to stored models; see `Project.importance`."""
    return open(recipe, **where).importance(first_month, last_month)


def report(recipe: str = RECIPE, **where: Unpack[Where]) -> dict[str, Any]:
    """Make the tear sheet again; see `Project.report`."""
    return open(recipe, **where).report()


def predict(
    recipe: str = RECIPE,
    *,
    asof: str | None = None,
    train: bool = False,
    **where: Unpack[Where],
) -> dict[str, Any]:
    """Return the scores and targets of one session; see `Project.predict`."""
    return open(recipe, **where).predict(asof, train=train)


def status(
    recipe: str = RECIPE, *, verify: bool = False, **where: Unpack[Where]
) -> list[dict[str, Any]]:
    """Return every stage: months there, months to make again, and why; see `Project.status`."""
    return open(recipe, **where).status(verify=verify)


def restamp(
    recipe: str = RECIPE, *, stages: Sequence[str] = (), seed: int = 0, **where: Unpack[Where]
) -> dict[str, Any]:
    """Take over what only other code made, shown on a sample; see `Project.restamp`."""
    return open(recipe, **where).restamp(stages, seed=seed)


def audit(
    recipe: str = RECIPE,
    *,
    first_month: str | None = None,
    last_month: str | None = None,
    cuts: int = 2,
    seed: int = 0,
    vintage: bool = False,
    sessions: int = AUDIT_SESSIONS,
    clock: int = CLOCK_SESSIONS,
    **where: Unpack[Where],
) -> dict[str, Any]:
    """Return the causality certificate of a recipe; see `Project.audit`."""
    return open(recipe, **where).audit(
        first_month,
        last_month,
        cuts=cuts,
        seed=seed,
        vintage=vintage,
        sessions=sessions,
        clock=clock,
    )


def why(
    symbol: str,
    session: str,
    recipe: str = RECIPE,
    *,
    brief: bool = False,
    **where: Unpack[Where],
) -> dict[str, Any]:
    """Return what one prediction was made from; see `Project.why`."""
    return open(recipe, **where).why(symbol, session, brief=brief)


def sim_jquants_server(
    market: str = "sim",
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    now: str | None = None,
    keys: Sequence[str] = (),
    page_size: int = 1_000,
    faults: Sequence[str] = (),
) -> "Server":
    """Return a server that shows a simulated market as the J-Quants API, not yet answering.

    Args:
        market: a simulated one.
        host: address to listen on.
        port: 0 = any free one.
        now: the simulated instant, ISO 8601; default: midnight after the market's last session.
        keys: `KEY:PLAN` each; default: one key of the plan standard.
        page_size: rows of a page.
        faults: `KIND:TIMES:AFTER@/path` each.
    """
    from alpha_assets.sources.sim_jquants import Faults, make_server
    from alpha_assets.sources.sim_jquants.options import fault_of, instant_of, keys_of

    loaded = load_market(market)
    if not loaded.is_simulated:
        raise BadInput(f"market {market!r} is not simulated; only simulated rows are served")
    calendar, spec = loaded.calendar, loaded.spec.sim
    if spec.rig is not None:
        raise BadInput(
            f"market {market!r} has the section [sim.rig]: the API has no feed of its series; "
            "choose one without"
        )
    try:
        return make_server(
            spec,
            calendar,
            keys=keys_of(keys),
            now=instant_of(now or f"{spec.last}T23:59:59", calendar),
            faults=Faults(fault_of(word) for word in faults),
            page_size=page_size,
            port=port,
            host=host,
            clock=lambda: datetime.now(UTC),
        )
    except OSError as error:
        raise BadInput(f"cannot listen on {host}:{port}: {error}; choose another --port") from None


def import_check(
    folder: Path | str, *, market: str = "us", progress: Progress = silent
) -> dict[str, Any]:
    """Return every problem of a folder of feeds, read with a market's calendar."""
    from alpha_assets.sources.files.check import import_check as check_folder
    from alpha_assets.sources.files.spec import FilesSourceSpec

    loaded = load_market(market)
    found = check_folder(
        Path(folder),
        loaded.calendar,
        FilesSourceSpec(**loaded.spec.source.folder_settings),
        loaded.own_feeds,
        lambda what: progress("import-check", what),
        loaded.declared,
    )
    return {"folder": str(folder), "text": found.text(), **found.as_json()}


def copy(
    source: str,
    target: str,
    *,
    market: str | None = None,
    replace: bool = False,
    verify: bool = False,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Copy a storage to another place; what is there already stays, so a stopped copy goes on.

    Args:
        source: storage to copy from: a folder, or a URL such as `s3://bucket/prefix`.
        target: storage to copy to.
        market: only this one; default: all.
        replace: also what the target holds with other content, which is refused by default.
        verify: also hash every byte of what the target holds already.
        progress: called with a stage and what it is doing.

    Returns:
        `from`, `to`, and how many `outputs`, `files`, `bytes` and `records` were copied, and
        outputs were `there` already.
    """
    from alpha_assets.store.copies import copy_storage

    ours, theirs = Store(source).checked(), Store(target, verify).checked()
    copied = copy_storage(
        ours,
        theirs,
        market=market or "",
        records=(RECORD,),
        replace=replace,
        report=progress,
    )
    return {"from": ours.address, "to": theirs.address, **asdict(copied)}


def sql(query: str, *, market: str = "sim", storage: str | None = None) -> list[dict[str, Any]]:
    """Return the rows of one SELECT over a market's stored tables; it can reach nothing else.

    Every folder of months is a view: `panel`, `features`, `cross_section_all`,
    `raw_daily_bars`, `<recipe>_predictions`; a backtest's are `<recipe>_positions` ….
    """
    # Loaded here: duckdb costs every other verb its import, and reports leaks of its own at exit.
    from alpha_assets.store.sql import ask

    return ask(store_at(storage), market, query)


def figures(context: RecipeContext) -> dict[str, Any]:
    """Return the short table of a stored backtest and where its tear sheet lies."""
    from alpha_assets.pipeline.report import PAGE, stored_metrics
    from alpha_assets.pipeline.results import headline_figures, title

    metrics = stored_metrics(context)
    return {
        "title": title(context, metrics),
        "figures": headline_figures(metrics),
        "metrics": metrics,
        "report": f"{context.report.address}/{PAGE}",
    }


class _Package(ModuleType):
    """The package: importing a room that is called like a verb does not take the verb's place."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in VERBS and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


# Not in the package's own file, which every stage's code imports: an edit of a verb is no edit of
# what a stage computes.
_PACKAGE = sys.modules["alpha_assets"]
_PACKAGE.__class__ = _Package
for _verb in VERBS:
    setattr(_PACKAGE, _verb, globals()[_verb])
