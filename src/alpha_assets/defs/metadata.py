"""What a materialisation shows in the web UI."""

import base64
from collections.abc import Sequence

import dagster as dg

from alpha_assets.road.road import Made


def made_metadata(made: Made) -> dict[str, dg.MetadataValue]:
    """Return what is worth looking at of one output; numbers are plotted by partition."""
    shown: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(made.rows),
        "content_hash": dg.MetadataValue.text(made.content_hash),
        "digest": dg.MetadataValue.text(made.digest),
        "status": dg.MetadataValue.text(made.status),
        "path": dg.MetadataValue.path(made.path),
    }
    for name, fact in made.facts.items():
        match fact:
            case bool():
                shown[name] = dg.MetadataValue.bool(fact)
            case int():
                shown[name] = dg.MetadataValue.int(fact)
            case float():
                shown[name] = dg.MetadataValue.float(fact)
            case str():
                shown[name] = dg.MetadataValue.text(fact)
            case _:
                shown[name] = dg.MetadataValue.json(fact)
    return shown


def add_months(context: dg.AssetExecutionContext, made: Sequence[Made]) -> None:
    """Attach the metadata of every month to its own partition."""
    for one in made:
        if one.month is not None:
            context.add_asset_metadata(made_metadata(one), partition_key=f"{one.month}-01")


def picture(png: bytes) -> dg.MetadataValue:
    """Return a chart as the UI shows it, behind [Show Markdown]."""
    return dg.MetadataValue.md(f"![chart](data:image/png;base64,{base64.b64encode(png).decode()})")
