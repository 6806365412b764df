"""A storage copied to another place: a folder to an object store, back, or any other pair.

Output by output, each file hashed on its way and each output in one step, its manifest last: the
copy shows an output whole or not at all.  What is there already is left as it is, so that a copy
that was stopped goes on where it was.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from alpha_assets.errors import BadInput, MissingOutput, StorageError
from alpha_assets.progress import Pace, Progress
from alpha_assets.store.backend import Backend, FileStat, NotFinished
from alpha_assets.store.folder import Folder, with_stats
from alpha_assets.store.manifest import MANIFEST, Manifest, sealed_text
from alpha_assets.store.os_errors import disk_errors
from alpha_assets.store.snapshot import Snapshot, read_snapshot
from alpha_assets.store.store import Store

_OUTSIDE = "_."  # begins names at the root that are no markets: locks, Dagster's own, side storages


@dataclass
class Copied:
    """What a copy did.

    Attributes:
        outputs: that were copied.
        there: outputs that the target held already.
        files: of the outputs that were copied.
        bytes: of these files.
        records: single files outside of outputs that were copied.
    """

    outputs: int = 0
    there: int = 0
    files: int = 0
    bytes: int = 0
    records: int = 0


def copy_storage(
    source: Store,
    target: Store,
    *,
    market: str = "",
    records: Collection[str] = (),
    replace: bool = False,
    report: Progress,
) -> Copied:
    """Copy all finished outputs of a storage, and the records beside them.

    Args:
        source: storage to copy from; it may be written meanwhile: of each output one version is
            copied.
        target: storage to copy to; of what it holds already every file is looked at, and with its
            `verify` hashed, and a damaged one copied again.
        market: only this one; default: all.
        records: names of single files outside of outputs that are copied; others are no part of
            the storage.
        replace: also outputs and records that the target holds with other content; default: none
            is copied then.
        report: where lines of progress go.

    Raises:
        BadInput: one storage lies in the other, or the target holds other content.
        MissingOutput: the source holds nothing to copy.
        LockHeld: another process writes an output of the target.
        StorageError: a file of the source is damaged, or a storage refuses; what was copied before
            is whole.
    """
    _check_apart(source, target)
    outputs, singles = _found(source, market, records)
    manifests = {folder.name: _manifest_of(folder) for folder in outputs}
    alike = {
        folder.name: _is_alike(target.folder(*folder.parts), manifests[folder.name], replace)
        for folder in outputs
    }
    if not replace:
        others = [name for name in singles if not _is_record_alike(source, target, name)]
        _refuse(target.backend, [*(name for name, same in alike.items() if same is False), *others])
    n_bytes = sum(file.size for one in manifests.values() if one for file in one.files.values())
    n_alike = list(alike.values()).count(True)
    report("copy", f"{len(outputs):,} outputs, {n_bytes / 1e6:,.1f} MB; TO has {n_alike:,} of them")
    done, pace = Copied(), Pace(report, "copy")
    # A reference is copied after what it refers to.
    ordered = sorted(outputs, key=lambda one: bool(_shares(manifests[one.name])))
    for number, folder in enumerate(ordered):
        pace("outputs", number, len(ordered))
        place = target.folder(*folder.parts)
        if alike[folder.name] and _is_whole(place):
            done.there += 1
        else:
            _copy_output(folder, place, done, replace)
    pace("outputs", len(ordered), len(ordered))
    for name in singles:
        content = source.backend.get(name)
        if content is not None and content != target.backend.get(name):
            target.backend.put(name, content)
            done.records += 1
    return done


def _check_apart(source: Store, target: Store) -> None:
    ours, theirs = _place(source), _place(target)
    shorter = min(len(ours), len(theirs))
    if ours[:shorter] != theirs[:shorter]:
        return
    if ours == theirs:
        raise BadInput(f"FROM and TO are one storage, {source.address}; name another one")
    inner, outer = (source, target) if len(ours) > len(theirs) else (target, source)
    raise BadInput(
        f"{inner.address} lies in {outer.address}: a storage is not copied into itself; name two "
        "that lie apart"
    )


def _place(store: Store) -> tuple[str, ...]:
    """Return the root as names from the outside to the inside."""
    root = store.backend.path("")
    if root is None:
        return tuple(store.address.split("/"))
    with disk_errors(root, "read"):
        return root.resolve().parts


def _found(source: Store, market: str, records: Collection[str]) -> tuple[list[Folder], list[str]]:
    """Return the finished outputs of a storage, or of a market, and the names of its records."""
    listed = source.backend.list().folders
    markets = sorted(name for name in listed if not name.startswith(tuple(_OUTSIDE)))
    if market and market not in markets:
        there = f"it has {', '.join(markets)}" if markets else "nothing is stored there"
        raise MissingOutput(f"{source.address} holds no market {market!r}: {there}")
    outputs: list[Folder] = []
    singles: list[str] = []
    for name in [market] if market else markets:
        _walk(source, name, records, outputs, singles)
    if not outputs:
        raise MissingOutput(
            f"{source.address} holds no finished output; name the storage that a run wrote"
        )
    return outputs, singles


def _walk(
    source: Store, name: str, records: Collection[str], outputs: list[Folder], singles: list[str]
) -> None:
    listed = source.backend.list(name)
    folder = source.folder(*name.split("/"))
    if MANIFEST in listed.files:
        outputs.append(folder)
        return
    lost = folder.lost()
    if lost:
        raise StorageError(lost)
    singles += [f"{name}/{file}" for file in sorted(listed.files & set(records))]
    for inner in sorted(listed.folders):
        _walk(source, f"{name}/{inner}", records, outputs, singles)


def _manifest_of(folder: Folder) -> Manifest | None:
    """Return a folder's own manifest, a reference as it is; None where there is none."""
    try:
        return read_snapshot(
            folder.backend, folder.name, lambda snapshot: snapshot.manifest, folder.way_out
        )
    except NotFinished:
        return None


def _shares(manifest: Manifest | None) -> str:
    return manifest.shares if manifest else ""


def _holds(target: Store, name: str, ours: Manifest) -> bool | None:
    """Return whether a target holds an output of the source; None where it holds none."""


def _is_alike(place: Folder, ours: Manifest | None, replace: bool) -> bool | None:
    """Return whether an output of the target is the source's; None where there is none.

    Raises:
        StorageError: its manifest cannot be read, and it is not to be replaced.
    """
    try:
        theirs = _manifest_of(place)
    except StorageError:
        if replace:
            return False
        raise
    return None if theirs is None else ours is not None and _made(ours) == _made(theirs)


def _is_record_alike(source: Store, target: Store, name: str) -> bool:
    found = target.backend.get(name)
    return found is None or found == source.backend.get(name)


def _refuse(target: Backend, names: Sequence[str]) -> None:
    """Refuse a target that holds other content under a name."""
    if not names:
        return
    more = f" ({len(names)} such names)" if len(names) > 1 else ""
    raise BadInput(
        f"{target.address(names[0])} holds other content than FROM{more}; nothing of it was "
        "replaced: --replace takes what FROM has, or name another TO"
    )


def _made(manifest: Manifest) -> tuple[object, ...]:
    """Return what an output is but for where, when and by which version it was written."""
    families = {
        name: (held.content_hash, held.digest, held.code, held.inputs)
        for name, held in manifest.families.items()
    }
    return (
        (manifest.table, manifest.month, manifest.content_hash, manifest.status, manifest.shares),
        (manifest.digest, manifest.code, manifest.inputs, sorted(manifest.files), families),
    )


def _is_whole(place: Folder) -> bool:
    """Whether the files of an output of the target are what its manifest names."""
    manifest = _manifest_of(place)
    return manifest is not None and (bool(manifest.shares) or place.damage() is None)


def _copy_output(source: Folder, place: Folder, done: Copied, replace: bool) -> None:
    """Copy one output, unless another process did meanwhile."""

    def copy(snapshot: Snapshot) -> Manifest | None:
        ours = snapshot.manifest
        is_alike = _is_alike(place, ours, replace)
        if is_alike and _is_whole(place):
            return None
        if is_alike is False and not replace:
            _refuse(place.backend, [place.name])

        files = {name: snapshot.content(name) for name in ours.files}

        def sealed(stats: Mapping[str, FileStat]) -> bytes:
            return sealed_text(with_stats(ours, stats))

        place.backend.replace(place.name, files, sealed)
        return ours

    try:
        with place.lock():
            copied = read_snapshot(source.backend, source.name, copy, source.way_out)
    except NotFinished:
        return  # it was deleted since it was listed
    if copied is None:
        done.there += 1
        return
    done.outputs += 1
    done.files += len(copied.files)
    done.bytes += sum(file.size for file in copied.files.values())
