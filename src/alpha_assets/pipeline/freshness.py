"""Whether an output is what today's settings, code and inputs make: one rule for every stage.

A manifest names the digest of what may change its folder, the digest of the code that made it and
the hashes of its inputs.  An output of which one of them differs from today's is stale, one whose
files are not what its manifest names is damaged: both are rebuilt by `run`, listed by `status`
with all that follows, and refused by name by whatever would read them.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from alpha_assets import __version__
from alpha_assets.errors import MissingOutput, StaleOutput, StorageError
from alpha_assets.pipeline.identity import Identity
from alpha_assets.pipeline.seen import MISSING
from alpha_assets.store.folder import Folder
from alpha_assets.store.manifest import COMPLETE, Manifest, ManifestInput
from alpha_assets.store.raw import DATED
from alpha_assets.store.table import AGAIN, DAMAGED, OF_ONE_FILE

# Of a manifest's extra: what is no fact to be shown.
CODE_PARTS = "code"  # digests of code by name
COUNTS = "counts"  # of cells, for the coverage
BELOW = "below_exposure"  # of targets: rebalances that aim at less, and at how much
RESTAMPED = "restamped"  # from which code, and which months were made again to compare
NOT_FACTS = (CODE_PARTS, COUNTS, BELOW, RESTAMPED, DATED)


def staleness(folder: Folder, made_by: Identity, inputs: Mapping[str, str]) -> str | None:
    """Return why an output is not fresh, or None if it is.

    The one rule of every stage: its files are what its manifest names, and the digest of its
    settings, its code and the hashes of its inputs are today's.
    """
    manifest, damage = folder.look()
    if damage is not None:
        return f"{DAMAGED}: {damage}"
    if manifest is None:
        return _why_missing(folder) or MISSING
    reason = _made_by_another(manifest, made_by)
    if reason is not None:
        return reason
    changed = sorted(
        name
        for name in {*manifest.inputs, *inputs}
        if manifest.inputs.get(name) != inputs.get(name)
    )
    if not changed:
        return None
    again = [name for name in changed if inputs.get(name) == AGAIN]
    if again == changed:
        return f"its input {again[0]} is {AGAIN}"
    return f"its input {next(n for n in changed if n not in again)} has changed since"


def staleness_but_for_code(
    folder: Folder, made_by: Identity, inputs: Mapping[str, str]
) -> str | None:
    """Return why an output would not be fresh if its code were today's; None if it would be.

    One that does not record its code is not fresh: what made it is not known.
    """
    manifest = folder.manifest()
    code = manifest.code if manifest else ""
    return staleness(folder, replace(made_by, code=code) if code else made_by, inputs)


def require_fresh(
    folder: Folder, made_by: Identity, inputs: Mapping[str, str], way_out: str
) -> Manifest:
    """Return the manifest of an output that is about to be read, and is as today's inputs make it.

    Raises:
        MissingOutput: it has not been made.
        StaleOutput: other settings, other code or other inputs made it.
        StorageError: it is damaged.
    """
    reason = staleness(folder, made_by, inputs)
    manifest = require(folder, made_by, way_out)
    if reason is not None:
        kind = StorageError if reason.startswith(DAMAGED) else StaleOutput
        raise kind(f"{folder.address} is not fresh: {reason}; {way_out}")
    return manifest


def require(folder: Folder, made_by: Identity, way_out: str) -> Manifest:
    """Return the manifest of an output that is about to be read.

    Raises:
        MissingOutput: it has not been made.
        StaleOutput: other settings or other code made it.
    """
    manifest = folder.manifest()
    if manifest is None:
        why = _why_missing(folder)
        if why:
            raise StaleOutput(f"{folder.address} is stale: {why}; {way_out}")
        raise MissingOutput(f"{folder.address} has not been made; {way_out}")
    reason = _made_by_another(manifest, made_by)
    if reason is not None:
        raise StaleOutput(f"{folder.address} was {reason}; {way_out}")
    return manifest


def _why_missing(folder: Folder) -> str | None:
    """Return why a family is not there although its month was made; None where it was not."""
    return f"its month {OF_ONE_FILE}" if folder.family and folder.is_of_one_file() else None


def _made_by_another(manifest: Manifest, made_by: Identity) -> str | None:
    """Return how an output's settings or code differ from today's, or None if they do not."""
    if manifest.digest != made_by.digest:
        return f"made by digest {manifest.digest}, this is {made_by.digest}"
    if manifest.code == made_by.code:
        return None
    if not manifest.code:
        return "made by a version that did not record its code"
    before = manifest.extra.get(CODE_PARTS) or {}
    now = made_by.parts or {}
    changed = sorted(name for name in now if before.get(name) not in (None, now[name]))
    named = f" (first: {changed[0]})" if changed else ""
    return f"made by code that has changed since{named}"


def manifest_of(
    made_by: Identity,
    inputs: Mapping[str, str],
    *,
    status: str = COMPLETE,
    facts: Mapping[str, Any] | None = None,
) -> ManifestInput:
    """Return what a stage knows about the folder that it is about to write."""
    return ManifestInput(
        digest=made_by.digest,
        code=made_by.code,
        code_version=__version__,
        inputs=dict(inputs),
        status=status,
        extra={**(facts or {}), **({CODE_PARTS: dict(made_by.parts)} if made_by.parts else {})},
    )
