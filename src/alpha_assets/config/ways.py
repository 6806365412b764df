"""How to switch a feed on: each source has a way of its own, and some feeds have none."""

from alpha_assets.sources.files.source import FilesSourceSpec
from alpha_assets.sources.jquants import JQuantsSpec
from alpha_assets.sources.jquants.plans import includes
from alpha_assets.sources.jquants.source import TABLES


def way_on(feed: str, source: object, *, is_switched_off: bool) -> str:
    """Return what to do to have a feed; nothing where the reason says it already.

    Args:
        feed: that is off.
        source: the `[source]` of the market.
        is_switched_off: whether the market's file says so.
    """
    if is_switched_off:
        return ""
    if isinstance(source, FilesSourceSpec):
        return (
            f"put the table {feed}.parquet (or .csv, or a folder {feed}/) into the folder; "
            "docs/FILES.md says which columns"
        )
    if isinstance(source, JQuantsSpec) and feed in TABLES:
        least = TABLES[feed].endpoint.least_plan
        if not includes(source.plan, least):
            return (
                f'subscribe to the plan {least} or a higher one, and set [source] plan = "{least}"'
            )
        return (
            f"the plan {source.plan} should include it, and the API refused: see to the "
            "subscription, and set [source] plan to what it is"
        )
    return f"no setting of this source brings {feed!r}: choose a market whose source has it"
