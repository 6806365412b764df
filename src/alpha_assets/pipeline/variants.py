"""Variants of a recipe: its settings with overrides, in a folder of their own beside it.

`<market>/<recipe>@<digest>/` holds the same stages as `<market>/<recipe>/`.  Its `variant.json`
records the overrides and the settings, so that the variant has a name for every verb, also after
the recipe's file has changed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from alpha_assets.config.market import Market
from alpha_assets.config.recipe import (
    VARIANT,
    Recipe,
    RecipeSpec,
    checked,
    load_recipe,
    markets_of,
    settings_digest,
)
from alpha_assets.errors import SpecError, StorageError, did_you_mean
from alpha_assets.pipeline.context import RecipeContext
from alpha_assets.pipeline.seen import Place
from alpha_assets.spec import parse_spec
from alpha_assets.store.folder import Folder
from alpha_assets.store.store import Store

RECORD = "variant.json"
LISTED = 10  # variants that a refusal names


def recipe_named(name: str, market: Market, store: Store, overrides: Sequence[str] = ()) -> Recipe:
    """Return a recipe, or a variant of it, by name.

    Args:
        name: of a file, `rolling_transformer`, or of a stored variant,
            `rolling_transformer@0123456789ab`.
        market: on which.
        store: that holds the variant.
        overrides: `section.key=value`; of a variant, beside its own.

    Raises:
        SpecError: an unknown name, of a variant with the stored ones; a variant without record.
        StorageError: the record of the variant is not what was written.
    """
    base, is_variant, variant = name.partition(VARIANT)
    if not is_variant:
        return load_recipe(name, market, overrides=overrides)
    text = store.record(market.name, name, RECORD) if variant.isalnum() else None
    if text is None:
        raise SpecError(_no_variant(name, market, store))
    own, spec = _parsed(text, name, f"{store.address}/{market.name}/{name}/{RECORD}")
    try:
        of_file = load_recipe(base, market, overrides=own)
    except SpecError:
        of_file = None
    if of_file is not None and of_file.variant == variant:
        return load_recipe(base, market, overrides=[*own, *overrides]) if overrides else of_file
    if overrides:
        raise SpecError(
            f"{name} has settings that {base}.toml with {', '.join(own)} no longer gives: the file "
            f"has changed since; give --set to {base}"
        )
    return checked(Recipe(base, spec, market, tuple(own), variant, is_pinned=True))


def _no_variant(name: str, market: Market, store: Store) -> str:
    """Return why there is no variant of a name, and which there are."""
    base = name.partition(VARIANT)[0]
    known = stored_variants(store, market, base)
    if name in known:
        return (
            f"{store.address}/{market.name}/{name} lacks its {RECORD}, which holds its settings: "
            f"run {base} with the same --set again writes it"
        )
    if not known:
        markets_of(base)  # refuses what is no recipe
    nothing = f"there is no variant {name!r} on market {market.name!r} in {store.address}; "
    if not known:
        return f"{nothing}{base} has none: --set makes one"
    near = did_you_mean(name.lower(), known)
    some = known if len(known) <= LISTED else [*known[:LISTED], f"{len(known) - LISTED} more"]
    return f"{nothing}{near}want one of {', '.join(some)}"


def _parsed(text: bytes, name: str, origin: str) -> tuple[list[str], RecipeSpec]:
    """Return the overrides and settings of a record."""
    way_out = f"it is not the record of {name}: delete it and run with --set again"
    try:
        record = json.loads(text)
        spec = parse_spec(record["settings"], RecipeSpec, origin=origin)
        overrides = [str(word) for word in record["overrides"]]
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(f"{origin}: {error!r}; {way_out}") from None
    found = settings_digest(spec)
    if found != name.partition(VARIANT)[2]:
        raise StorageError(f"{origin}: its settings have digest {found}; {way_out}")
    return overrides, spec


def stored_variants(store: Store, market: Market, recipe: str) -> list[str]:
    """Return the names of a recipe's stored variants on a market, sorted."""
    begins = f"{recipe}{VARIANT}"
    return sorted(name for name in store.folders(market.name) if name.startswith(begins))


def record(context: RecipeContext) -> None:
    """Record what a variant is, before anything of it is written; nothing for a recipe itself."""
    recipe = context.recipe
    if not recipe.variant:
        return
    place = (context.market.name, recipe.folder, RECORD)
    if context.store.record(*place) is not None:
        return
    content = {
        "recipe": recipe.name,
        "digest": recipe.variant,
        "overrides": list(recipe.overrides),
        "settings": recipe.spec.model_dump(mode="json"),
    }
    context.store.put_record(json.dumps(content, indent=1).encode(), *place)


@dataclass
class Lenders:
    """The folders that a variant may refer to where one holds what it would make itself.

    The recipe's own comes first, then those of its other stored variants by name.  Variants are
    listed when the recipe's own folder does not do, once.

    Attributes:
        context: of the variant.
        place: where the outputs of a stage lie.
        digest: of what decides them; the outputs of a variant have one, so that a variant of
            another is not looked at for each month.
    """

    context: RecipeContext
    place: Callable[[Any], Place]
    digest: str
    _others: list[str] | None = field(default=None, init=False)
    _of_another_digest: set[str] = field(default_factory=set, init=False)

    def folder_of(self, context: RecipeContext, month: str) -> Folder:
        """Return the folder of a month, or of a stage's only output, in a context."""
        place = self.place(context)
        return place if isinstance(place, Folder) else place.folder(month)

    def folders(self, month: str) -> Iterator[Folder]:
        """Yield the folders that may hold what a month of the variant would be."""
        yield self.folder_of(self.context.at_home(), month)
        if self._others is None:
            recipe = self.context.recipe
            stored = stored_variants(self.context.store, self.context.market, recipe.name)
            self._others = [name for name in stored if name != recipe.folder]
        for name in self._others:
            if name in self._of_another_digest:
                continue
            variant = name.partition(VARIANT)[2]
            there = replace(self.context, recipe=replace(self.context.recipe, variant=variant))
            folder = self.folder_of(there, month)
            try:
                found = folder.manifest()
            except StorageError:
                continue  # damaged: it is named where it is read
            if found is None or found.shares:
                continue  # what holds no files lends none: who holds them is asked itself
            if found.digest != self.digest:
                self._of_another_digest.add(name)
                continue
            yield folder

    def look_anew(self) -> None:
        """List the variants again: others may have been stored while this one waited."""
        self._others = None
