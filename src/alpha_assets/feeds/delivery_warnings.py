"""What was odd about a feed's last delivery, kept beside it: a delivery is read once."""

from alpha_assets.feeds.base import Source
from alpha_assets.feeds.delivery_note import note_folder
from alpha_assets.store.manifest import ManifestInput
from alpha_assets.store.raw import RawTable

WARNINGS = "_warnings"  # one note a feed


def delivery_warnings(table: RawTable, source: Source) -> tuple[str, ...]:
    """Return one line per kind of warning of what a source delivers of a feed now.

    They are those of the rows that were just read, which are noted, or where the same delivery
    was read before, those that were noted then.

    Args:
        table: the feed's stored rows.
        source: who delivers, asked after `ingest`.
    """
    name = table.feed.name
    fresh = source.warnings(name)
    folder = table.store.folder(table.market, WARNINGS, name)
    known = folder.manifest()
    if fresh is None and known is None:
        return ()
    note = note_folder(table.store, table.market, name).manifest()
    noted_content = note.extra.get("content") if note is not None else None
    digest = noted_content or source.content(name)
    is_known = known is not None and known.digest == digest
    noted = tuple(known.extra["lines"]) if known is not None and is_known else ()
    if fresh is None:
        return noted
    if fresh != noted:
        folder.write({}, ManifestInput(digest=digest, extra={"lines": list(fresh)}))
    return fresh
