"""The stage of a study: models of folds that are no months, judged on sessions held out.

A fold may train on sessions after those that it is judged on.  Its scores are for evaluation: they
are stored below `<recipe>/study/`, and no other stage reads them.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from io import BytesIO
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile, ZipFile

import numpy as np
import polars as pl

from alpha_assets.arrays.types import Dates
from alpha_assets.calendar import as_date, month_of, month_range, next_month
from alpha_assets.config.recipe import Recipe
from alpha_assets.dataset import Fold, Split, folds_of
from alpha_assets.errors import BadInput, MissingOutput, RangeError, StorageError, TooFewNames
from alpha_assets.evaluation.inference import overlapping_mean
from alpha_assets.evaluation.metrics import metrics_json, plain
from alpha_assets.evaluation.signal import signal
from alpha_assets.labels import longest_horizon
from alpha_assets.panel.lives import births
from alpha_assets.pipeline import identity
from alpha_assets.pipeline.checkpoint import BARS, by_date, dated_within
from alpha_assets.pipeline.columns import market_columns, section_columns
from alpha_assets.pipeline.command import command, run_again
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.epochs import EpochLines
from alpha_assets.pipeline.families import VOLATILITY, section_families, tables_of
from alpha_assets.pipeline.frontier import frontier, last_bar
from alpha_assets.pipeline.market_stages import (
    cross_section_stage,
    features_stage,
    graph_stage,
    members_stage,
    panel_stage,
    raw_rows,
)
from alpha_assets.pipeline.neighbours import WEEK, stored_edges
from alpha_assets.pipeline.predictions import scores, stored_held
from alpha_assets.pipeline.raw import LIVES
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Inputs, Output, Read, Stage
from alpha_assets.pipeline.train import (
    labels_between,
    training_data,
)
from alpha_assets.pipeline.transforms import sessions_back
from alpha_assets.pipeline.windows import first_usable, last_exit
from alpha_assets.spec import digest
from alpha_assets.store.folder import Folder
from alpha_assets.store.hashing import combined_hash, content_hash
from alpha_assets.store.scratch import Scratch
from alpha_assets.store.table import AGAIN
from alpha_assets.training.card import RECORDS
from alpha_assets.training.device import device_alone, model_alone
from alpha_assets.training.score_columns import predictions_schema, quantile_columns

if TYPE_CHECKING:
    from alpha_assets.training.checkpoint import Checkpoint

STUDY = "study"
METRICS = "metrics.json"
MADE = "made.zip"  # what a fold gives, until the study is made
SCORES, FILES = "scores.parquet", "files"  # in it
ALL_FOLDS = "all"  # the row of the sessions of all folds together
SPANS = ("train", "valid", "test", "purged")


def study_stage(recipe: Recipe) -> Stage[RecipeContext]:
    """Return the stage of a recipe's study, of all stored months together.

    Raises:
        BadInput: the recipe asks for none.
    """
    market, universe = recipe.market, recipe.spec.universe.name
    if recipe.spec.study is None:
        raise BadInput(
            f"recipe {recipe.folder!r} has no [study]; give it one, or "
            f"--set study.kind=purged_kfold --set study.embargo_sessions="
            f"{longest_horizon(recipe.spec.label)}"
        )
    reads: list[Read[RecipeContext]] = [
        Read(cross_section_stage(market, universe, section_families(recipe))),
        *([Read(members_stage(market, recipe.held_universe))] if recipe.spec.universe.held else []),
        Read(panel_stage(market)),
    ]
    if recipe.spec.inputs.graph is not None:
        reads.append(Read(graph_stage(market, universe), sessions_back=WEEK))
    if recipe.spec.label.kind == "vol_scaled":
        reads.append(Read(features_stage(market, tables_of(market, [VOLATILITY]))))
    reads += [
        Read(raw_rows(feed), all_before=True, until=None, optional=True, hashed=hashed)
        for feed, hashed in ((BARS, bars_read), (LIVES, lives_read))
        if feed in market.feeds
    ]
    return Stage(
        name=STUDY,
        key=(recipe.folder, STUDY),
        place=lambda context: context.study,
        made_by=lambda: identity.study(recipe),
        reads=tuple(reads),
        make=make_study,
        monthly=False,
        alone=training_alone,
        records=RECORDS,
    )


def bars_read(context: RecipeContext, months: Sequence[str], seen: Seen) -> str:
    """Return one hash of the bars that labels of a study are read from.

    Those of the months from the first usable session to the exit of the last label; and which of
    them come out after the last session that can be decided: training does not know those yet.
    """
    table = context.raw[BARS]
    all_of_them = seen.hashes(table.table).combined()
    try:
        usable = usable_sessions(context, months)
    except RangeError:
        return all_of_them  # there is no study to be made of them
    if all_of_them == AGAIN:
        return AGAIN
    edge = frontier(context)
    instant = context.market.calendar.decided_at(edge)
    dated = month_of(usable[0]), month_of(last_exit(context, as_date(usable[-1])))
    later = table.read(first=next_month(month_of(edge), -1)).filter(
        dated_within(dated), pl.col("available_at") > instant
    )
    return combined_hash(
        {
            "sessions": f"{usable[0]} {usable[-1]}",
            "bars": by_date(table, seen).combined(("", "9999-12"), dated),
            "later": content_hash(later.collect(), table.table.key),
        }
    )


def lives_read(context: RecipeContext, months: Sequence[str], seen: Seen) -> str:
    """Return one digest of the lives of symbols that labels of a study are read by.

    Of a life that begins, labels read when the one before ended and when it starts: where that
    ended after the last label, nothing.
    """
    table, calendar = context.raw[LIVES], context.market.calendar
    all_of_them = seen.hashes(table.table).combined()
    try:
        usable = usable_sessions(context, months)
    except RangeError:
        return all_of_them  # there is no study to be made of them
    if all_of_them == AGAIN:
        return AGAIN
    end, listings = last_exit(context, as_date(usable[-1])), table.read().collect()
    in_training = births(listings, calendar, int(calendar.index_of(frontier(context))))
    return digest(
        [
            [(one.symbol, one.life, one.ended, one.start) for one in of if one.ended < end]
            for of in (in_training, births(listings, calendar))
        ]
    )


def months_to_study(context: RecipeContext) -> tuple[str, ...]:
    """Return the months from the first to the last for which members of the universe are stored.

    Raises:
        MissingOutput: there are none.
    """
    made = context.members.months()
    if not made:
        raise MissingOutput(f"{context.members.name} has no rows; {run_again(context)}")
    return month_range(made[0], made[-1])


def studied_months(context: RecipeContext) -> tuple[str, ...]:
    """Return the months of the stored study, none where there is none."""
    try:
        manifest = context.study.manifest()
    except StorageError:
        return ()
    if manifest is None:
        return ()
    return month_range(str(manifest.extra["first_month"]), str(manifest.extra["last_month"]))


def usable_sessions(context: RecipeContext, months: Sequence[str]) -> Dates:
    """Return the sessions of months that have members, and whose longest label has ended.

    Raises:
        RangeError: there are none.
    """
    calendar, horizon = context.market.calendar, longest_horizon(context.recipe.spec.label)
    first, last = first_usable(context), calendar.before(last_bar(context), horizon)
    found = calendar.between(first, min(last, calendar.month_sessions(months[-1])[-1]))
    if not len(found):
        raise RangeError(
            f"no session of {months[0]} to {months[-1]} can be studied: members are stored from "
            f"{first} on, and labels of {horizon} sessions have ended up to {last}; bring more "
            "history"
        )
    return found


def usable_folds(context: RecipeContext, months: Sequence[str]) -> tuple[Dates, tuple[Fold, ...]]:
    """Return the usable sessions of months, and the folds that they are cut into.

    Raises:
        RangeError: there are none, or too few.
    """
    recipe, spec = context.recipe, context.recipe.spec.study
    assert spec is not None, "the stage is of a recipe with a study"
    usable = usable_sessions(context, months)
    ends = (usable[0], usable[-1])
    try:
        horizon = longest_horizon(recipe.spec.label)
        return usable, folds_of(context.market.calendar, horizon, spec, ends)
    except RangeError as error:
        raise RangeError(f"the study of {recipe.folder}: {error}") from None


def make_study(context: RecipeContext, months: Sequence[str], inputs: Inputs) -> Iterator[Output]:
    """Train a model for every fold that has none, score its test sessions, and judge them."""
    spec = context.recipe.spec.study
    assert spec is not None, "the stage is of a recipe with a study"
    usable, folds = usable_folds(context, months)
    files: dict[str, bytes] = {}
    frames: list[pl.DataFrame] = []
    for fold in folds:
        made = stored_fold(context, fold, inputs[""]) or _fold(context, fold, inputs[""], folds)
        files |= {f"{fold.key}/{name}": content for name, content in made.files.items()}
        frames.append(made.scores)
    found = pl.concat(frames)
    rows, metrics = judged(context, folds, usable, found)
    yield Output(
        frames={
            "study_folds": rows,
            "study_sessions": session_rows(folds, usable),
            "study_scores": found,
        },
        files={**files, METRICS: metrics_json(metrics)},
        facts={
            "first_month": months[0],
            "last_month": months[-1],
            "kind": spec.kind,
            "folds": len(folds),
            **{f"rank_ic_{name}": one["rank_ic"] for name, one in metrics["all"].items()},
        },
    )
    with suppress(StorageError):  # the study is stored; states that stay are never used again
        for fold in folds:
            _state(context, fold).remove()


@dataclass(frozen=True)
class FoldMade:
    """What a fold gives to a study.

    Attributes:
        files: of its models, as of a month's checkpoint.
        scores: of its test sessions.
    """

    files: Mapping[str, bytes]
    scores: pl.DataFrame

    def packed(self, identity: str) -> bytes:
        """Return it as one file that names what it was made by and from."""
        table, archive = BytesIO(), BytesIO()
        self.scores.write_parquet(table)
        with ZipFile(archive, "w") as packed:
            packed.comment = identity.encode()
            packed.writestr(SCORES, table.getvalue())
            for name, content in self.files.items():
                packed.writestr(f"{FILES}/{name}", content)
        return archive.getvalue()

    @classmethod
    def unpacked(cls, content: bytes, identity: str) -> "FoldMade | None":
        """Return what was packed; None where it was made by or from something else.

        Raises:
            BadZipFile: it is not what was packed.
        """
        with ZipFile(BytesIO(content)) as packed:
            if packed.comment.decode() != identity:
                return None
            files = {
                name.removeprefix(f"{FILES}/"): packed.read(name)
                for name in packed.namelist()
                if name != SCORES
            }
            return cls(files, pl.read_parquet(BytesIO(packed.read(SCORES))))


def _fold(
    context: RecipeContext, fold: Fold, inputs: Mapping[str, str], folds: Sequence[Fold]
) -> FoldMade:
    """Train the models of a fold and score its test sessions."""
    from alpha_assets.training.checkpoint import checkpoint_of

    number = [one.key for one in folds].index(fold.key) + 1
    context.progress(
        STUDY,
        f"fold {fold.key}, {number} of {len(folds)}: {len(fold.train)} + "
        f"{len(fold.valid)} sessions, judged on {len(fold.test)}",
    )
    try:
        files = _trained(context, fold, inputs)
    except TooFewNames as error:
        raise TooFewNames(f"fold {fold.key} of the study: {error}") from None
    checkpoint = checkpoint_of(files, f"{context.study.name}/{fold.key}", context.on_device)
    return FoldMade(files, _scores_of_fold(context, checkpoint, fold))


def stored_fold(context: RecipeContext, fold: Fold, inputs: Mapping[str, str]) -> FoldMade | None:
    """Return what a worker made of a fold; None where there is nothing, or of something else.

    Raises:
        StorageError: it is damaged.
    """
    document = _state(context, fold).document(MADE)
    content = document.read()
    if content is None:
        return None
    try:
        return FoldMade.unpacked(content, _identity(context, inputs))
    except (BadZipFile, KeyError, ValueError, pl.exceptions.PolarsError) as error:
        raise StorageError(
            f"{document.address}: the models of fold {fold.key} cannot be read ({error}); delete "
            "it to train the fold again"
        ) from error


def folds_due(context: RecipeContext) -> list[str]:
    """Return the folds of a study that is missing or stale of which nothing is made yet, by key."""
    months, seen = months_to_study(context), Seen()
    stage = study_stage(context.recipe)
    if not stage.stale(context, months, seen):
        return []
    inputs = stage.inputs(context, months, Seen())
    _, folds = usable_folds(context, months)
    return [fold.key for fold in folds if stored_fold(context, fold, inputs) is None]


def make_fold(context: RecipeContext, key: str) -> None:
    """Train and score one fold, and keep it until the study is made of all of them."""
    months = months_to_study(context)
    _, folds = usable_folds(context, months)
    (fold,) = (one for one in folds if one.key == key)
    inputs = study_stage(context.recipe).inputs(context, months, Seen())
    with _alone(context, context.store.folder(*context.study.parts, key)):
        if stored_fold(context, fold, inputs) is None:  # another process may have made it meanwhile
            content = _fold(context, fold, inputs, folds).packed(_identity(context, inputs))
            _state(context, fold).document(MADE).write(content)


def _identity(context: RecipeContext, inputs: Mapping[str, str]) -> str:
    """Return the name of all that decides what a fold comes out as."""
    made_by = identity.study(context.recipe)
    return digest(made_by.digest, made_by.code, inputs)


@contextmanager
def training_alone(context: RecipeContext, months: Sequence[str]) -> Iterator[None]:
    """Hold the locks of the study and of the device; what cannot be trained waits for neither."""
    context.recipe.spec.model.check_installed()  # refuses a library that is not there
    usable_folds(context, months)
    with _alone(context, context.study):
        yield


@contextmanager
def _alone(context: RecipeContext, folder: Folder) -> Iterator[None]:
    """Hold the locks of a folder and of the device."""
    threads = context.recipe.spec.training.threads
    with (
        model_alone(folder, context.progress),
        device_alone(context.store, context.on_device, context.progress, threads=threads),
    ):
        yield


def _state(context: RecipeContext, fold: Fold) -> Scratch:
    """Return where a killed training of a fold is taken up from."""
    return context.store.scratch(
        "resume", context.market.name, context.recipe.folder, f"{STUDY}-{fold.key}"
    )


def split_of_fold(context: RecipeContext, fold: Fold) -> Split:
    """Return a fold as the split of a month: its models know all bars that are stored."""
    sessions = np.union1d(fold.train, fold.valid)
    month = next_month(month_of(sessions[-1]), 1)
    return Split(
        month=month,
        first_session=np.datetime64(frontier(context)),
        last_known=None,
        train=sessions,
        valid=sessions[:0],
        status="ready",
        first_month=month,
        blocks=(Fold(fold.key, fold.train, fold.valid),),
    )


def _trained(context: RecipeContext, fold: Fold, inputs: Mapping[str, str]) -> dict[str, bytes]:
    """Return the files of the models of a fold: those of a month's checkpoint."""
    from alpha_assets.training.checkpoint import checkpoint_files, make_card
    from alpha_assets.training.month import train_month

    recipe, spec = context.recipe, context.recipe.spec.study
    assert spec is not None, "the stage is of a recipe with a study"
    split, made_by = split_of_fold(context, fold), identity.study(recipe)
    data = training_data(context, split)
    trained = train_month(
        data,
        split,
        recipe.learner,
        state=_state(context, fold),
        identity=_identity(context, inputs),
        on_epoch=EpochLines(context.progress, STUDY, "", recipe.learner),
    )
    offered = (*section_columns(recipe.features), *market_columns(recipe.features))
    read = {*data.axes.features, *data.axes.market_features}
    trained = replace(
        trained, month=fold.key, seeds=tuple(replace(seed, fold="") for seed in trained.seeds)
    )
    card = make_card(
        trained,
        data.axes,
        replace(split, train=fold.train, valid=fold.valid, blocks=()),
        market=context.market.name,
        recipe=recipe.folder,
        digest=made_by.digest,
        data_hash=digest(inputs),
        resolved_recipe={**recipe.resolved, STUDY: spec.model_dump(mode="json")},
        embargo_sessions=spec.embargo_sessions,
        left_out=[name for name in offered if name not in read],
    )
    return checkpoint_files(trained, card)


def _scores_of_fold(context: RecipeContext, checkpoint: "Checkpoint", fold: Fold) -> pl.DataFrame:
    """Return the scores of a fold's test sessions, month by month."""
    calendar, window = context.market.calendar, context.recipe.spec.window
    month_D = np.array([month_of(session) for session in fold.test])
    frames = [pl.DataFrame(schema=predictions_schema(context.recipe.spec.model))]
    for month in np.unique(month_D):
        decided = fold.test[month_D == month]
        first = month_of(sessions_back(calendar, decided[0], window.sessions_before))
        section = context.section.read(first, str(month)).collect()
        known = section["session"].unique().to_numpy().astype("datetime64[D]")
        decided = decided[np.isin(decided, known)]
        if not len(decided):
            continue
        columns = ["session", "symbol", "stale", "life"]
        panel = context.panel.read(first, str(month)).select(columns).collect()
        edges = stored_edges(context, decided)
        held = stored_held(context, str(month), str(month))
        frames.append(scores(context, checkpoint, section, panel, decided, edges, held))
    columns = ["session", "symbol", "horizon", "score"]
    columns += quantile_columns(context.recipe.spec.model)
    found = pl.concat(frames).select(pl.lit(fold.key).alias("fold"), *columns)
    return found.sort("fold", "session", "symbol", "horizon")


def session_rows(folds: Sequence[Fold], usable: Dates) -> pl.DataFrame:
    """Return what each usable session is to each fold: `train`, `valid`, `test` or `purged`."""
    frames = []
    for fold in folds:
        span_D = np.full(len(usable), "purged", dtype="U6")
        for span in SPANS[:3]:
            span_D[np.isin(usable, getattr(fold, span))] = span
        frames.append(
            pl.DataFrame({"session": usable, "span": span_D}).select(
                pl.lit(fold.key).alias("fold"), "session", "span"
            )
        )
    return pl.concat(frames)


def judged(
    context: RecipeContext, folds: Sequence[Fold], usable: Dates, found: pl.DataFrame
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return a row per fold and horizon, and the same as figures.

    Labels are raw forward returns of the last revision of all stored bars, as of a backtest.  The
    figures of all folds are of each session's mean over the folds that judge it.

    Args:
        context: with a recipe.
        folds: their sessions.
        usable: the sessions that the folds were made of.
        found: scores, with the column `fold`.
    """
    tested = np.unique(np.concatenate([fold.test for fold in folds]))
    labels = labels_between(context, as_date(tested[0]), as_date(tested[-1]), known_by=None)
    rows: list[dict[str, Any]] = []
    coefficients: list[pl.DataFrame] = []
    persistence: dict[int, list[float]] = {h: [] for h in context.recipe.spec.label.horizons}
    for fold in folds:
        of_fold = signal(found.filter(pl.col("fold") == fold.key).drop("fold"), labels)
        coefficients.append(of_fold.ic)
        counts = {
            "train_sessions": len(fold.train),
            "valid_sessions": len(fold.valid),
            "test_sessions": len(fold.test),
            "purged_sessions": len(usable) - len(fold.train) - len(fold.valid) - len(fold.test),
            "first_test": as_date(fold.test[0]),
            "last_test": as_date(fold.test[-1]),
        }
        for h, phis in persistence.items():
            figures: Any = of_fold.statistics.get(f"h{h}")
            if figures is None:
                raise TooFewNames(
                    f"fold {fold.key} of the study has no score of its {len(fold.test)} test "
                    f"sessions, {fold.test[0]} to {fold.test[-1]}: no name of universe "
                    f"{context.recipe.held_universe} has a bar on the session before"
                )
            phis.append(figures["score_persistence"])
            rows.append(_row(fold.key, h, figures["rank_ic"], counts))
    together = pl.concat(coefficients)
    counts = {
        "test_sessions": len(tested),
        "first_test": as_date(tested[0]),
        "last_test": as_date(tested[-1]),
    }
    for h, phis in persistence.items():
        mean = (
            together.filter(pl.col("horizon") == h)
            .group_by("session")
            .agg(pl.col("rank_ic").fill_nan(None).mean())
            .sort("session")["rank_ic"]
        )
        known = [phi for phi in phis if np.isfinite(phi)]
        phi = float(np.mean(known)) if known else float("nan")
        ic_D = mean.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        rows.append(_row(ALL_FOLDS, h, overlapping_mean(ic_D, h, phi, 0), counts))
    spec = context.recipe.spec.study
    assert spec is not None, "the stage is of a recipe with a study"
    own = [plain(row) for row in rows]
    metrics = {
        "study": spec.model_dump(mode="json"),
        "purge_sessions": longest_horizon(context.recipe.spec.label),
        "usable_sessions": len(usable),
        "first_session": as_date(usable[0]),
        "last_session": as_date(usable[-1]),
        "folds": [row for row in own if row["fold"] != ALL_FOLDS],
        "all": {f"h{row['horizon']}": row for row in own if row["fold"] == ALL_FOLDS},
    }
    return pl.DataFrame(own, schema=_FOLDS_SCHEMA), metrics


_FOLDS_SCHEMA = {
    "fold": pl.String,
    "horizon": pl.Int16,
    "rank_ic": pl.Float64,
    "rank_ic_low": pl.Float64,
    "rank_ic_high": pl.Float64,
    "rank_ic_t": pl.Float64,
    "judged_sessions": pl.Int64,
    "train_sessions": pl.Int64,
    "valid_sessions": pl.Int64,
    "test_sessions": pl.Int64,
    "purged_sessions": pl.Int64,
    "first_test": pl.String,
    "last_test": pl.String,
}


def _row(
    fold: str, horizon: int, rank_ic: Mapping[str, Any], counts: Mapping[str, object]
) -> dict[str, Any]:
    """Return a row of the table of folds; what it does not have is null."""
    row = {
        "fold": fold,
        "horizon": horizon,
        "rank_ic": rank_ic["mean"],
        "rank_ic_low": rank_ic["low"],
        "rank_ic_high": rank_ic["high"],
        "rank_ic_t": rank_ic["t"],
        "judged_sessions": rank_ic["n_sessions"],
        **counts,
    }
    return {name: row.get(name) for name in _FOLDS_SCHEMA}


def stored_study(context: RecipeContext) -> dict[str, Any]:
    """Return the table of folds of the stored study, found fresh, and what it is of.

    Raises:
        BadInput: the recipe asks for no study.
        MissingOutput: it has not been made.
        StaleOutput: other settings, other code or other inputs made it.
        StorageError: it is damaged.
    """
    spec, recipe = context.recipe.spec.study, context.recipe
    stage, months = study_stage(recipe), studied_months(context)
    way_out = f"{command(context, STUDY)} makes it"
    if not months:
        context.study.contents()  # refused where it is damaged
        raise MissingOutput(f"{context.study.address} has not been made; {way_out}")
    stage.require(context, months, way_out=way_out)
    assert spec is not None, "the stage is of a recipe with a study"
    simulated = ", SIMULATED DATA" if context.market.is_simulated else ""
    return {
        "title": (
            f"study of {recipe.folder} on {context.market.name}{simulated}: {spec.kind}, embargo "
            f"{spec.embargo_sessions}, {months[0]} to {months[-1]}; for evaluation alone: folds "
            "may train on later sessions than they are judged on"
        ),
        "rows": context.study.read("study_folds").to_dicts(),
        "kind": spec.kind,
        "address": context.study.address,
    }
