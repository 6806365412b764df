"""A stage: what it reads, what decides its content, and how it is made; the rest follows.

Freshness, refusal by name, progress, writing, the rows of `status`, the dependencies of Dagster
and which feeds are read at all are derived here from one declaration per stage.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import Any, Generic, TypeVar

import polars as pl

from alpha_assets.calendar import month_of, next_month
from alpha_assets.errors import MissingOutput, StaleOutput, StorageError
from alpha_assets.pipeline import freshness
from alpha_assets.pipeline.command import command, run_again
from alpha_assets.pipeline.context import MarketContext, RecipeContext
from alpha_assets.pipeline.identity import Identity
from alpha_assets.pipeline.seen import Place, Seen
from alpha_assets.pipeline.transforms import sessions_back
from alpha_assets.pipeline.variants import Lenders, record
from alpha_assets.progress import Pace
from alpha_assets.spec import digest
from alpha_assets.store.folder import ROWS, Folder
from alpha_assets.store.hashing import combined_hash
from alpha_assets.store.manifest import COMPLETE, SHARED, Manifest
from alpha_assets.store.table import FamilyMonths, FamilyTable, MonthFolders, MonthTable

C = TypeVar("C", bound=MarketContext)
Inputs = Mapping[str, Mapping[str, str]]  # month, or "" of a stage without months -> input -> hash
Span = tuple[str | None, str | None]  # first and last month that is read; None: the ends
Spanned = Callable[[C, Sequence[str], Seen], Span | None]
Hashed = Callable[[C, Sequence[str], Seen], str]
Alone = Callable[[C, Sequence[str]], AbstractContextManager[object]]

MONTHS_AT_ONCE = 12
RAW = "raw"


@dataclass(frozen=True)
class Made:
    """One output that a stage wrote, or found fresh."""

    stage: str
    month: str | None
    path: str
    status: str
    rows: int
    content_hash: str
    digest: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, stage: str, month: str | None, folder: Folder, manifest: Manifest) -> "Made":
        """Return what a manifest holds about an output."""
        return cls(
            stage=stage,
            month=month,
            path=folder.address,
            status=SHARED if manifest.shares else manifest.status,
            rows=manifest.rows,
            content_hash=manifest.content_hash,
            digest=manifest.digest,
            facts={k: v for k, v in manifest.extra.items() if k not in freshness.NOT_FACTS},
        )


@dataclass(frozen=True, kw_only=True)
class Outputs(Generic[C]):
    """Something stored, that stages read.

    Attributes:
        name: in progress, messages and `Made`.
        key: path of its outputs below the market's folder, and end of its asset key.
        place: where its outputs lie.
        monthly: whether there is an output per month, or one in all.
    """

    name: str
    key: tuple[str, ...]
    place: Callable[[C], Place]
    monthly: bool = True

    @property
    def each(self) -> "tuple[Outputs[C], ...]":
        """What of it is fresh or stale by itself: the whole, or its families."""
        return (self,)


@dataclass(frozen=True)
class Output:
    """What a stage made of one month, or of all: written as it is.

    Attributes:
        month: whose; empty of a stage without months.
        frames: tables by name; of a month's table, `ROWS`; of one in families, each by its name.
        files: other files by name.
        status: `complete`, or why there is nothing.
        facts: what is worth looking at, as plain values.
        more: what the manifest keeps beside the facts; of a table in families, of each by its name.
    """

    month: str = ""
    frames: Mapping[str, pl.DataFrame] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    status: str = COMPLETE
    facts: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)

    def kept(self, family: str = "") -> dict[str, Any]:
        """Return what the manifest keeps of it, or of one family of it, as its `extra`."""
        return dict(self.more.get(family, {})) if family else {**self.facts, **self.more}


@dataclass(frozen=True)
class Read(Generic[C]):
    """What a stage reads of another one.

    How far it reads is declared in sessions and months, so that Dagster can map partitions; where
    that is more than what is read, `span` returns the exact months.

    Attributes:
        of: what is read; None: the reading stage itself, of earlier months.
        name: of the input in a manifest; default: that of what is read.  `{last}` is the last
            month read.
        sessions_back: sessions before the first one of the months made that are read.
        months_back: months before that.
        all_before: every earlier month is read as well.
        until: months after the last one made; -1 leaves out the month itself, None: all stored.
        span: which months exactly; its None: nothing of this stage.
        hashed: the hash of the input; default: of all the months of the span together.
        optional: no input where nothing is stored.
        fresh: refuse what is read where its own inputs have changed; else where it was made by
            other settings or other code.
        what_for: why it is read, for the refusal; `{month}` is the first one made.
        where: the context in which it lies; default: that of the reading stage.
    """

    of: Outputs[Any] | None
    name: str = ""
    sessions_back: int = 0
    months_back: int = 0
    all_before: bool = False
    until: int | None = 0
    span: Spanned[C] | None = None
    hashed: Hashed[C] | None = None
    optional: bool = False
    fresh: bool = False
    what_for: str = ""
    where: Callable[[C], C] | None = None

    def context_of(self, context: C) -> C:
        """Return the context in which what is read lies."""
        return context if self.where is None else self.where(context)

    def span_of(self, context: C, months: Sequence[str], seen: Seen) -> Span | None:
        """Return the months that are read when `months` are made; None: nothing."""
        if self.span is not None:
            return self.span(context, months, seen)
        last = None if self.until is None else next_month(months[-1], self.until)
        if self.all_before:
            return None, last
        reach = f"{context.market.name} {months[0]} reaches back {self.sessions_back} sessions"
        start = seen.once(reach, partial(self._month_back, context, months[0]))
        return next_month(start, -self.months_back), last

    def _month_back(self, context: C, month: str) -> str:
        """Return the month of the first session that is read when `month` is made."""
        calendar = context.market.calendar
        first = calendar.month_sessions(month)[0]
        return month_of(sessions_back(calendar, first, self.sessions_back))


@dataclass(frozen=True, kw_only=True)
class Stage(Outputs[C]):
    """A stage of a market or of a recipe, or a family of one.

    Attributes:
        made_by: what decides an output beside its inputs.
        reads: what it is made from.
        make: given the context, months that are not fresh and the inputs of each, makes them.
        at_once: how many neighbouring months are made together.
        alone: returns the locks that are held while months are made and written, and waited for
            before.  What another process stored meanwhile is taken over, or referred to.
        check: refuses, before anything is made, months that cannot be.
        records: keys of its JSON files and facts that record by which settings, version or machine
            it was made, beyond what its digest covers.
        family: that it makes, of a table in families.
        families: of a table in families: a stage for each, in an order in which one may read those
            before it.  Each is fresh or stale by itself; those that are stale are made together.
        only: returns the stage of some of its families.
    """

    made_by: Callable[[], Identity]
    reads: tuple[Read[C], ...]
    make: Callable[[C, Sequence[str], Inputs], Iterator[Output]]
    at_once: int = 1
    alone: Alone[C] | None = None
    check: Callable[[C, str, str], None] | None = None
    records: tuple[str, ...] = ()
    family: str = ""
    families: "tuple[Stage[C], ...]" = ()
    only: "Callable[[Sequence[Stage[C]]], Stage[C]] | None" = None

    @property
    def each(self) -> "tuple[Stage[C], ...]":
        """What of it is fresh or stale by itself: the whole, or its families."""
        return self.families or (self,)

    @property
    def feeds(self) -> tuple[str, ...]:
        """The feeds whose raw rows it reads."""
        return tuple(
            read.of.key[-1] for read in self.reads if read.of is not None and read.of.key[0] == RAW
        )

    @property
    def identity(self) -> Identity:
        """What decides an output beside its inputs."""
        return self.made_by()

    def folder(self, context: C, month: str = "") -> Folder:
        """Return the folder of a month, or of the stage's only output."""
        place = self.place(context)
        return place if isinstance(place, Folder) else place.folder(month)

    def months(self, context: C) -> tuple[str, ...]:
        """Return the months that are stored."""
        place = self.place(context)
        return place.months() if isinstance(place, MonthFolders) else ()

    def units(self, months: Sequence[str]) -> list[tuple[str, Sequence[str]]]:
        """Return the outputs of months: for each its month, and the months that it is made of."""
        return [(month, [month]) for month in sorted(months)] if self.monthly else [("", months)]

    def inputs(self, context: C, months: Sequence[str], seen: Seen) -> dict[str, str]:
        """Return the hashes of what an output of `months` is made from."""
        found = {}
        for read in self.reads:
            span = read.span_of(context, months, seen)
            if span is None:
                continue
            of = read.of or self
            for one in of.each:
                place = one.place(read.context_of(context))
                name = (read.name or of.name).format(last=span[1])
                name += one.name.removeprefix(of.name)  # of a family: what follows the table's name
                stored = isinstance(place, Folder) or not seen.hashes(place).is_empty
                if read.optional and not stored:
                    continue
                if read.hashed is not None:
                    found[name] = read.hashed(context, months, seen)
                elif isinstance(place, Folder):
                    found[name] = seen.hash_of(place)
                else:
                    found[name] = seen.hashes(place).combined(*span)
        return found

    def staleness(
        self,
        context: C,
        months: Sequence[str],
        seen: Seen,
        made_by: Identity | None = None,
    ) -> str | None:
        """Return why the output of `months` is not fresh; None if it is.

        Args:
            context: of the market or recipe.
            months: whose output.
            seen: a look that is still true.
            made_by: the stage's identity, where it is known already.
        """
        (month, unit), *_ = self.units(months)
        if self.families:
            return _in_words(
                {one.name: one.staleness(context, unit, seen) for one in self.families}
            )
        inputs = self.inputs(context, unit, seen)
        folder = self.folder(context, month)
        return freshness.staleness(folder, made_by or self.identity, inputs)

    def stale(self, context: C, months: Sequence[str], seen: Seen) -> dict[str, str]:
        """Return the outputs that would be made again, and why; they are planned in `seen`."""
        if self.families:
            of_each = {one.name: one.stale(context, months, seen) for one in self.families}
            lacking = {month for found in of_each.values() for month in found}
            return {
                month: _in_words({name: why.get(month) for name, why in of_each.items()}) or ""
                for month in sorted(lacking)
            }
        found, made_by = {}, self.identity if months else None
        for month, unit in self.units(months):
            try:
                reason = self.staleness(context, unit, seen, made_by)
            except (MissingOutput, StaleOutput, StorageError) as error:
                reason = str(error)
            if reason:
                found[month] = reason
                seen.plan(self.place(context), [month])
        return found

    def ensure(
        self, context: C, months: Sequence[str], *, again: bool = False, given: bool = False
    ) -> list[Made]:
        """Make the outputs of `months` that are not fresh; return all of them.

        Args:
            context: of the market or recipe.
            months: whose outputs; of a stage without months, those that it covers.
            again: make them in any case.
            given: take what is read as it is; of a world whose earlier months were copied.

        Raises:
            MissingOutput: what they are made from has not been made.
            StaleOutput: it was made by other settings, other code or other inputs.
            StorageError: it is damaged.
        """
        if not months:
            return []
        if self.check is not None:
            self.check(context, min(months), max(months))
        wanted = sorted(months)
        lenders = self.lenders(context)
        turns = [wanted] if self.at_once > 1 or not self.monthly else [[m] for m in wanted]
        for turn in turns:
            for families in self._in_order():
                self._make_stale(context, turn, families, lenders, again=again, given=given)
        return [self.made(context, month) for month, _ in self.units(months)]

    def made(self, context: C, month: str = "") -> Made:
        """Return what a stored output is.

        Raises:
            MissingOutput: there is none.
        """
        folder = self.folder(context, month)
        manifest = folder.manifest()
        if manifest is None:
            raise MissingOutput(f"{folder.address} has not been made; {run_again(context)}")
        whole = Made.of(self.name, month or None, folder, manifest)
        if not self.families:
            return whole
        of_each = {one.family: one.made(context, month) for one in self.families}
        return replace(
            whole,
            content_hash=combined_hash({name: one.content_hash for name, one in of_each.items()}),
            digest=digest({name: one.digest for name, one in of_each.items()}),
            facts={"families": ", ".join(of_each)},
        )

    def require(
        self,
        context: C,
        months: Sequence[str],
        *,
        fresh: bool = True,
        seen: Seen | None = None,
        way_out: str | None = None,
        what_for: str = "",
    ) -> Manifest:
        """Return the manifest of an output that is about to be read.

        Args:
            context: of the market or recipe.
            months: whose output.
            fresh: refuse it also where its inputs have changed, and where an output of an
                earlier month from which it was made is not fresh.
            seen: a look that is still true; default: a new one.
            way_out: of the refusal; default: the command that makes it.
            what_for: why it is read, for the refusal.

        Raises:
            MissingOutput: it has not been made.
            StaleOutput: other settings, other code or, if `fresh`, other inputs made it.
            StorageError: it is damaged.
        """
        (month, unit), *_ = self.units(months)
        if self.families:
            seen = seen or Seen()
            found = [
                one.require(
                    context, unit, fresh=fresh, seen=seen, way_out=way_out, what_for=what_for
                )
                for one in self.families
            ]
            return found[0]
        way_out = (way_out or self.way_out(context, month)) + what_for
        folder = self.folder(context, month)
        if not fresh:
            return freshness.require(folder, self.identity, way_out)
        seen = seen or Seen()
        for earlier in self.leans_on(context, month, seen):
            # A chain of months is looked at once, not once for each month that leans on it.
            seen.once(
                f"{self.folder(context, earlier).name} leaned on",
                partial(self._require_earlier, context, earlier, month, seen, what_for),
            )
        inputs = self.inputs(context, unit, seen) if unit else {}
        return freshness.require_fresh(folder, self.identity, inputs, way_out)

    def _require_earlier(
        self, context: C, earlier: str, month: str, seen: Seen, what_for: str
    ) -> Manifest:
        """Refuse an output of an earlier month that `month` leans on and that is not fresh."""
        return freshness.require_fresh(
            self.folder(context, earlier),
            self.identity,
            self.inputs(context, [earlier], seen),
            self.way_out(context, earlier, month) + what_for,
        )

    def leans_on(self, context: C, month: str, seen: Seen) -> list[str]:
        """Return the earlier months of its own that a month is made from, in order."""
        found: list[str] = []
        for read in self.reads:
            if read.of is not None:
                continue
            span = read.span_of(context, [found[0] if found else month], seen)
            while span is not None and span[1] is not None:
                found.insert(0, span[1])
                span = read.span_of(context, [found[0]], seen)
        return found

    def way_out(self, context: C, month: str, last: str = "") -> str:
        """Return the command that makes an output, as the end of a refusal."""
        if not month or not isinstance(context, RecipeContext):
            return run_again(context)
        span = ("--first-month", month, "--last-month", last or month)
        return f"{command(context, 'run', *span)} makes it"

    def _in_order(self) -> "list[list[Stage[C]]]":
        """Return what is made together, after that which it reads: families may read others."""
        turns: list[list[Stage[C]]] = [[]]
        for one in self.each:
            below = {read.of.name for read in one.reads if read.of is not None}
            if any(earlier.name in below for earlier in turns[-1]):
                turns.append([])
            turns[-1].append(one)
        return turns

    def _make_stale(
        self,
        context: C,
        months: Sequence[str],
        each: "Sequence[Stage[C]]",
        lenders: Lenders | None,
        *,
        again: bool,
        given: bool,
    ) -> None:
        """Make those outputs of `months` that are not fresh, neighbours in one go.

        Args:
            context: of the market or recipe.
            months: whose.
            each: the stage itself, or those of its families that are looked at.
            lenders: of a variant, what it may refer to.
            again: make them in any case.
            given: take what is read as it is.
        """
        seen = Seen()
        units = dict(self.units(months))
        inputs = {
            one.name: {month: one.inputs(context, unit, seen) for month, unit in units.items()}
            for one in each
        }
        stale: dict[str, list[Stage[C]]] = {}
        for month in units:
            found = [
                one
                for one in each
                if again
                or freshness.staleness(
                    one.folder(context, month), one.identity, inputs[one.name][month]
                )
            ]
            if found:
                stale[month] = found
        # Members of a cross-section are made first, and would look like its families made twice.
        name = each[0].name if len(each) == 1 else self.name
        pace, done = Pace(context.progress, name), 0
        for run in _alike(stale, self.at_once) if self.monthly else [list(stale)] * bool(stale):
            pace("months", done, len(stale))
            covered = run if self.monthly else months
            context.progress(
                name, covered[0] if len(covered) == 1 else f"{covered[0]} to {covered[-1]}"
            )
            made_of = stale[run[0]]
            for one in () if given else made_of:
                one._require_inputs(context, covered, seen)
            if lenders is not None:
                record(lenders.context)
            if not again and self._shares(lenders, run, inputs):
                done += len(run)
                continue
            stage = self.only(made_of) if self.only is not None and self.families else self
            with stage.locks(context, covered):
                waited = stage.alone is not None and not again
                if not (waited and self._made_meanwhile(context, covered, lenders, run, inputs)):
                    for output in stage.make(context, covered, inputs[made_of[0].name]):
                        of_output = {name: found[output.month] for name, found in inputs.items()}
                        stage._write(context, output, of_output)
            done += len(run)

    def locks(self, context: C, months: Sequence[str]) -> AbstractContextManager[object]:
        """Return what is held while months are made, and waited for before; see `alone`."""
        return nullcontext() if self.alone is None else self.alone(context, months)

    def _made_meanwhile(
        self,
        context: C,
        covered: Sequence[str],
        lenders: Lenders | None,
        run: Sequence[str],
        inputs: Mapping[str, Inputs],
    ) -> bool:
        """Return whether another process stored, while this one waited, what it was to make."""
        units, seen = ([month] for month in run) if self.monthly else [covered], Seen()
        if all(self.staleness(context, unit, seen) is None for unit in units):
            return True
        if lenders is not None:
            lenders.look_anew()
        return self._shares(lenders, run, inputs)

    def _shares(
        self, lenders: Lenders | None, run: Sequence[str], inputs: Mapping[str, Inputs]
    ) -> bool:
        """Refer a variant to stored outputs; return whether it has all that it needs."""
        return lenders is not None and all(
            self.share(lenders, month, inputs[self.name][month]) for month in run
        )

    def lenders(self, context: C) -> Lenders | None:
        """Return what a variant may refer to; None where outputs lie in the recipe's own folder."""
        if not isinstance(context, RecipeContext) or not context.recipe.variant:
            return None
        place: Callable[[Any], Place] = self.place
        if place(context).name == place(context.at_home()).name:
            return None
        return Lenders(context, place, self.identity.digest)

    def share(
        self,
        lenders: Lenders,
        month: str,
        inputs: Mapping[str, str],
        content_hash: str | None = None,
    ) -> bool:
        """Refer to a stored output of the recipe or a variant that is what this one would make.

        Args:
            lenders: of the variant.
            month: whose output.
            inputs: of the variant's output.
            content_hash: refer only to this content; None: to any.

        Returns:
            Whether there was one.
        """
        context = lenders.context
        for origin in lenders.folders(month):
            if freshness.staleness(origin, self.identity, inputs) is not None:
                continue
            if content_hash not in (None, Seen().hash_of(origin)):
                continue
            made = freshness.manifest_of(self.identity, inputs)
            lenders.folder_of(context, month).share(origin, made)
            context.progress(self.name, f"{month or 'all'} shared with {origin.name}")
            return True
        return False

    def _require_inputs(self, context: C, months: Sequence[str], seen: Seen) -> None:
        """Refuse to read what is missing, or was not made by today's settings and code."""
        for read in self.reads:
            span = read.span_of(context, months, seen)
            of = read.of or self
            if span is None or not isinstance(of, Stage):
                continue  # raw rows cannot always be made again: they are compared with nothing
            there, what_for = read.context_of(context), read.what_for.format(month=months[0])
            first, last = span[0] or "", span[1] or "9999-12"
            own = [month for month in months if first <= month <= last]
            ends = (last,) if read.of is None else ()
            for one in of.each:
                place = one.place(there)
                if isinstance(place, Folder):
                    one.require(there, months, fresh=read.fresh, seen=seen, what_for=what_for)
                    continue
                for month in sorted({*seen.hashes(place).within(first, last), *own, *ends}):
                    # Families share what they read: one look is enough for all of them.
                    seen.once(
                        f"{place.name} {month} required, {'fresh' if read.fresh else 'made'}",
                        partial(
                            one.require,
                            there,
                            [month],
                            fresh=read.fresh,
                            seen=seen,
                            what_for=what_for,
                        ),
                    )

    def _write(self, context: C, output: Output, inputs: Mapping[str, Mapping[str, str]]) -> None:
        """Write an output; `inputs` are those of the stage or of each of its families, by name."""
        place = self.place(context)
        if isinstance(place, FamilyTable | FamilyMonths):
            table = FamilyTable(place.store, place.parts, place.key)
            table.write(
                output.month,
                output.frames,
                {
                    one.family: freshness.manifest_of(
                        one.identity, inputs[one.name], facts=output.kept(one.family)
                    )
                    for one in self.each
                },
            )
            return
        manifest = freshness.manifest_of(
            self.identity,
            inputs[self.name],
            status=output.status,
            facts=output.kept(),
        )
        if isinstance(place, MonthTable):
            place.write(output.month, output.frames[ROWS], manifest)
        else:
            folder = self.folder(context, output.month)
            folder.write(output.frames, manifest, files=output.files)


def _in_words(of_each: Mapping[str, str | None]) -> str | None:
    """Return why the families of a table are not fresh, the first of them by name."""
    stale = {name: why for name, why in of_each.items() if why}
    if not stale:
        return None
    name, why = next(iter(stale.items()))
    return f"{len(stale)} of {len(of_each)} families, first {name.rpartition('/')[2]}: {why}"


def _alike(stale: "Mapping[str, Sequence[Stage[C]]]", at_once: int) -> list[list[str]]:
    """Return the stale months in runs of consecutive ones of which the same is stale."""
    return [
        list(run)
        for near in neighbours(list(stale), at_once)
        for _, run in groupby(near, key=lambda month: [one.name for one in stale[month]])
    ]


def neighbours(months: Sequence[str], at_once: int = MONTHS_AT_ONCE) -> list[list[str]]:
    """Return the months in runs of consecutive ones, none so long that memory would matter."""
    runs: list[list[str]] = []
    for month in sorted(months):
        if runs and next_month(runs[-1][-1]) == month and len(runs[-1]) < at_once:
            runs[-1].append(month)
        else:
            runs.append([month])
    return runs
