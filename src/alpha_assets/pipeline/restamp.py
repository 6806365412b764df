"""Outputs taken over by other code that is shown, on a sample, to make the same bits.

An edit of code makes stale whatever the edited code reaches, also where it changes no number: a
renamed function, a faster loop.  `restamp` makes a sample of the stale outputs again, compares it
with what is stored bit by bit, and only where all of it is equal writes the new code into the
manifests of the others.  Files and content hashes stay, so that what follows stays fresh.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import polars as pl
from safetensors.torch import load

from alpha_assets.config.market import ALL
from alpha_assets.errors import BadInput, MissingOutput, StorageError, did_you_mean
from alpha_assets.pipeline import freshness
from alpha_assets.pipeline.backtest import judged_months
from alpha_assets.pipeline.command import run_again
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.market_stages import graph_stage
from alpha_assets.pipeline.seen import Seen
from alpha_assets.pipeline.stage import Output, Stage, neighbours
from alpha_assets.pipeline.stages import recipe_stages, stages_below
from alpha_assets.pipeline.study import STUDY, studied_months
from alpha_assets.progress import Pace
from alpha_assets.store.compare import compare_facts, compare_tables, compare_weights
from alpha_assets.store.folder import Folder
from alpha_assets.store.hashing import bytes_hash, content_hash, in_key_order
from alpha_assets.store.manifest import Manifest, ManifestInput
from alpha_assets.store.table import MonthTable

RANDOM_MONTHS = 3  # of a sample, beside the first and the last
SHOWN = 80  # characters of a line that differs, from shortly before the first that does
OTHER_BYTES = "equal values in other bytes"
IDENTIFYING = ("session", "symbol", "horizon")  # columns of tables that are stored without a key


@dataclass(frozen=True)
class Restamped:
    """What became of the outputs of one stage.

    Attributes:
        stage: by name.
        of_other_code: outputs whose code alone differed from today's.
        sample: of those, the ones that were made again and compared.
        taken_over: how many now record today's code.
        left: how many are not fresh for another reason.
        refused: the first cell that today's code makes otherwise; empty where there is none.
        why: why outputs were left as they are.
    """

    stage: str
    of_other_code: int = 0
    sample: tuple[str, ...] = ()
    taken_over: int = 0
    left: int = 0
    refused: str = ""
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return a row of plain values."""
        return {
            "stage": self.stage,
            "of other code": self.of_other_code,
            "sample": ", ".join(self.sample),
            "taken over": self.taken_over,
            "left": self.left,
            "why": f"refused: {self.refused}" if self.refused else self.why,
        }


@dataclass
class _Look:
    """The outputs of a stage that are not fresh: those of other code, and why the others are."""

    of_other_code: dict[str, Manifest] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)


def restamp(context: RecipeContext, names: Sequence[str] = (), *, seed: int = 0) -> list[Restamped]:
    """Take over outputs whose code alone is not today's, stage by stage, in order.

    A stage of which one sampled output comes out otherwise is refused whole: no manifest of it
    changes, and the stages after it are left.  Outputs that are stale for another reason, or made
    from such ones, are left too.

    Args:
        context: with a recipe.
        names: of stages; default: all that have something stored.  Stages before them that are
            not named and not fresh keep what is made from them from being taken over.
        seed: of the random months of a sample.

    Raises:
        BadInput: there is no stage of that name.
        StorageError: what a sample is made from is damaged.
    """
    stages = _stages(context)
    wanted = _wanted(context, stages, names)
    seen, found, refused = Seen(), list[Restamped](), ""
    for stage in stages:
        if refused and stage.name in wanted:
            found.append(Restamped(stage.name, why=f"left, because {refused} was refused"))
            continue
        months = _stored(context, stage)
        if names and stage.name in wanted and not months and not refused:
            found.append(Restamped(stage.name, why="nothing of it is stored"))
        if refused or not months:
            continue
        anew = _refer_anew(context, stage, months, seen) if stage.name in wanted else 0
        look = _look(context, stage, months, seen)
        planned = {*look.others, *(look.of_other_code if stage.name not in wanted else ())}
        seen.plan(stage.place(context), planned)
        if stage.name in wanted:
            found.append(_restamped(context, stage, months, look, seed, anew))
            refused = stage.name if found[-1].refused else ""
    return found


def _stages(context: RecipeContext) -> list[Stage[Any]]:
    """Return the stages of a recipe and of its market, in the order in which they are made.

    Of a table in families, each family.
    """
    below = [*stages_below(context.recipe), graph_stage(context.market, ALL)]
    once = {stage.name: stage for stage in below}
    stages: list[Stage[Any]] = [*once.values(), *recipe_stages(context.recipe)]
    return [one for stage in stages for one in stage.each]


def _wanted(context: RecipeContext, stages: Sequence[Stage[Any]], names: Sequence[str]) -> set[str]:
    """Return the stages that are asked for, also as `status` names them: `<recipe>/<stage>`.

    The name of a table in families is that of all of them.
    """
    known = {stage.name: [stage.name] for stage in stages}
    tables: dict[str, list[str]] = {}
    for stage in stages:
        table = stage.name.removesuffix(f"/{stage.family}")
        tables.setdefault(table, []).append(stage.name)
    found: set[str] = set()
    for given in names:
        name = given.removeprefix(f"{context.recipe.folder}/")
        if name not in {**tables, **known}:
            raise BadInput(
                f"there is no stage {given!r}; {did_you_mean(name, tables, n=1)}want some of "
                f"{', '.join(tables)}"
            )
        found.update(tables.get(name) or known[name])
    return found or set(known)


def _stored(context: RecipeContext, stage: Stage[Any]) -> Sequence[str]:
    """Return the months of a stage that are stored; of one without months, those it covers."""
    if stage.monthly:
        return stage.months(context)
    if stage.name == STUDY:
        return studied_months(context)
    return judged_months(context) if stage.folder(context).is_finished() else ()


def _refer_anew(
    context: RecipeContext, stage: Stage[Any], months: Sequence[str], seen: Seen
) -> int:
    """Refer a variant to outputs that were taken over where they lie; return how many.

    They hold the content that the variant referred to, and record today's code: nothing is left
    to be compared.
    """
    lenders, done = stage.lenders(context), 0
    if lenders is None:
        return done
    for month, unit in stage.units(months):
        try:
            reference = stage.folder(context, month).reference()
            if reference is None or reference.code == stage.identity.code:
                continue
            inputs = stage.inputs(context, unit, seen)
            shared = stage.share(lenders, month, inputs, reference.content_hash)
        except (MissingOutput, StorageError):
            continue  # named by `_look`
        if shared:
            done += 1
            seen.forget(stage.place(context))
    return done


def _look(context: RecipeContext, stage: Stage[Any], months: Sequence[str], seen: Seen) -> _Look:
    """Return which outputs are not fresh, and which of them for their code alone."""
    found, pace = _Look(), Pace(context.progress, "restamp")
    units = stage.units(months)
    for number, (month, unit) in enumerate(units):
        pace(f"manifests of {stage.name} compared", number, len(units))
        folder = stage.folder(context, month)
        try:
            inputs = stage.inputs(context, unit, seen)
            reason = freshness.staleness_but_for_code(folder, stage.identity, inputs)
            manifest = folder.manifest()
        except (MissingOutput, StorageError) as error:
            reason, manifest = str(error), None
        if reason:
            found.others[month] = reason
        elif manifest is not None and manifest.code != stage.identity.code and manifest.shares:
            found.others[month] = (
                f"it is shared with {manifest.shares}, which other code made: restamp "
                f"{manifest.shares.split('/')[1]} first"
            )
        elif manifest is not None and manifest.code != stage.identity.code:
            found.of_other_code[month] = manifest
    return found


def _restamped(
    context: RecipeContext,
    stage: Stage[Any],
    months: Sequence[str],
    look: _Look,
    seed: int,
    anew: int,
) -> Restamped:
    """Compare a sample of a stage and, where it is equal, take the rest over.

    Args:
        context: with a recipe.
        stage: whose outputs.
        months: that are stored.
        look: what is not fresh of them.
        seed: of the random months.
        anew: outputs that a variant has been referred to anew.
    """
    why = ""
    if look.others:
        month, reason = next(iter(look.others.items()))
        place = f"{month}: " if month else ""
        why = f"left: {place}{reason}; {run_again(context)}"
    groups = _groups(look.of_other_code)
    samples = [_sample(group, f"{seed} {stage.name} {stage.identity.code}") for group in groups]
    row = Restamped(
        stage.name,
        of_other_code=anew + len(look.of_other_code),
        taken_over=anew,
        sample=tuple(sorted(month or stage.name for sample in samples for month in sample)),
        left=len(look.others),
        why=why,
    )
    sampled = sorted(month for sample in samples for month in sample)
    refused = next(_differences(context, stage, months, look.of_other_code, sampled), "")
    if refused:
        return replace(row, refused=f"{refused}; {run_again(context)}")
    taken_over = anew
    pace = Pace(context.progress, "restamp")
    for group, sample in zip(groups, samples, strict=True):
        for month in group:
            pace(f"{stage.name} taken over", taken_over, row.of_other_code)
            names = [name or stage.name for name in sample]
            taken_over += _take_over(context, stage, month, look.of_other_code[month], names)
    return replace(row, taken_over=taken_over)


def _groups(manifests: Mapping[str, Manifest]) -> list[list[str]]:
    """Return the outputs of one status that one version of the code made, group by group.

    A month without a model vouches for no model, and months of one version for none of another.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    for month, manifest in sorted(manifests.items()):
        groups.setdefault((manifest.code, manifest.status), []).append(month)
    return list(groups.values())


def _sample(months: Sequence[str], seed: str) -> list[str]:
    """Return the first month, the last, and three random ones of those between."""
    between = months[1:-1]
    random = Random(seed).sample(between, min(RANDOM_MONTHS, len(between)))
    return sorted({months[0], months[-1], *random})


def _differences(
    context: RecipeContext,
    stage: Stage[Any],
    months: Sequence[str],
    manifests: Mapping[str, Manifest],
    sampled: Sequence[str],
) -> Iterator[str]:
    """Make outputs again, in memory, and yield how each one that differs does."""
    pace, done = Pace(context.progress, "restamp"), 0
    inputs = {month: manifests[month].inputs for month in sampled}
    for run in neighbours(sampled, stage.at_once) if stage.monthly else [[""]] * bool(sampled):
        pace(f"{stage.name} made again", done, len(sampled))
        context.progress("restamp", f"{stage.name} {', '.join(run)}".strip() + " is made again")
        covered = run if stage.monthly else months
        with stage.locks(context, covered):
            made = {out.month: out for out in stage.make(context, covered, inputs)}
        for month in run:
            found = _difference(context, stage, manifests[month], made[month])
            if found:
                yield found
        done += len(run)


def _difference(
    context: RecipeContext, stage: Stage[Any], stored: Manifest, made: Output
) -> str | None:
    """Return the first cell of what was made again that is not as stored; None where all are."""
    folder, name = stage.folder(context, made.month), stage.name
    if made.status != stored.status:
        return f"{name} {made.month}: status {stored.status!r} became {made.status!r}"
    files = {*made.files, *(f"{frame}.parquet" for frame in made.frames)}
    for file in sorted({*files, *stored.files}):
        if file not in files or file not in stored.files:
            words = "is made no more" if file not in files else "is new"
            return f"{name} {made.month}: {file} {words}"
    place = stage.place(context)
    key = place.key if isinstance(place, MonthTable) else ()
    for frame, rows in made.frames.items():
        ordered = in_key_order(rows, key, f"{folder.name}/{frame}") if key else rows
        if content_hash(ordered) != stored.files[f"{frame}.parquet"].content_hash:
            shown = name if stage.monthly else f"{name}/{frame}"
            return _table_difference(shown, folder.read(frame), ordered, key)
    for file, content in made.files.items():
        if bytes_hash(content) != stored.files[file].content_hash:
            was = folder.contents(file)[file]
            found = _file_difference(f"{name}/{file}", made.month, was, content, stage.records)
            if found:
                return found
    return _fact_difference(stage, made, stored)


def _table_difference(
    name: str, stored: pl.DataFrame, made: pl.DataFrame, key: Sequence[str]
) -> str:
    """Return the first cell that differs between two tables that are not the same."""
    was, now = ({n: str(t) for n, t in side.schema.items()} for side in (stored, made))
    odd = [column for column in (*was, *now) if was.get(column) != now.get(column)]
    if odd:
        types = (side.get(odd[0], "(none)") for side in (was, now))
        return f"{name} column {odd[0]}: {' became '.join(types)}"
    if list(was) != list(now):
        return f"{name}: the columns stand in another order"
    if not key:
        key = [column for column in IDENTIFYING if column in was]
        if not key or any(side.select(key).is_duplicated().any() for side in (stored, made)):
            number = pl.int_range(pl.len()).over(key) if key else pl.int_range(pl.len())
            stored, made = (side.with_columns(number.alias("row")) for side in (stored, made))
            key = (*key, "row")
    first = compare_tables(name, stored, made, key).first
    return str(first) if first else f"{name}: the rows stand in another order"


def _file_difference(
    name: str, month: str, stored: bytes, made: bytes, records: Sequence[str]
) -> str | None:
    """Return the first part that differs between two files of other bytes.

    None where that is nothing but records of the settings, version or machine.
    """
    if name.endswith(".safetensors"):
        sides = [{n: t.numpy() for n, t in load(side).items()} for side in (stored, made)]
        first = compare_weights(month, *sides).first
        return str(replace(first, stage=name)) if first else f"{name} {month}: {OTHER_BYTES}"
    if name.endswith(".json"):
        trees = [json.loads(side) for side in (stored, made)]
        if repr(trees[0]) == repr(trees[1]):
            return f"{name} {month}: {OTHER_BYTES}"
        for tree in trees:
            for record in records:
                _remove(tree, record.split("."))
        return _first(compare_facts(name, month, *trees).first)
    lines = [side.decode(errors="replace").splitlines() for side in (stored, made)]
    alike = next(
        (n for n, (was, now) in enumerate(zip(*lines, strict=False)) if was != now),
        min(map(len, lines)),
    )
    was, now = (side[alike] if alike < len(side) else "(none)" for side in lines)
    same = next((n for n, (a, b) in enumerate(zip(was, now, strict=False)) if a != b), 0)
    begin = max(0, same - SHOWN // 4)
    was, now = (side[begin : begin + SHOWN] for side in (was, now))
    return f"{name} {month} line {alike + 1}: {was!r} became {now!r}"


def _fact_difference(stage: Stage[Any], made: Output, stored: Manifest) -> str | None:
    """Return the first fact of a manifest that differs, records apart: readers show them."""
    facts = ManifestInput(digest="", extra=made.kept(stage.family))
    now = json.loads(facts.model_dump_json())["extra"]
    was = json.loads(stored.model_dump_json())["extra"]
    for added in (freshness.CODE_PARTS, freshness.RESTAMPED):
        was.pop(added, None)
    counts = [side.get(freshness.COUNTS, {}) for side in (was, now)]
    if counts[0].get("code") != counts[1].get("code"):  # counts of other code are not read
        for side in (was, now):
            side.pop(freshness.COUNTS, None)
    for side in (was, now):
        for record in stage.records:
            _remove(side, record.split("."))
    return _first(compare_facts(f"{stage.name}/manifest.json", made.month, was, now).first)


def _first(difference: object) -> str | None:
    return None if difference is None else str(difference)


def _remove(tree: Any, path: Sequence[str]) -> None:  # noqa: ANN401 -- parsed JSON
    """Remove a key of nested mappings, where it is."""
    *above, last = path
    for key in above:
        tree = tree.get(key, {})
    tree.pop(last, None)


def _take_over(
    context: RecipeContext, stage: Stage[Any], month: str, found: Manifest, sample: Sequence[str]
) -> bool:
    """Write today's code into the manifest of an output; see `Folder.restamp`."""
    folder: Folder = stage.folder(context, month)
    kept = {name: value for name, value in found.extra.items() if name != freshness.CODE_PARTS}
    parts = stage.identity.parts
    return folder.restamp(
        found,
        stage.identity.code,
        {
            **kept,
            **({freshness.CODE_PARTS: dict(parts)} if parts else {}),
            freshness.RESTAMPED: {"from": found.code, "sample": list(sample)},
        },
    )
