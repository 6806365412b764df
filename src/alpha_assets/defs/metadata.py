"""What a materialisation shows in the web UI."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from uuid import uuid4

import dagster as dg
from dagster._core.definitions.data_version import (
    DATA_VERSION_IS_USER_PROVIDED_TAG,
    DATA_VERSION_TAG,
)
from dagster._core.events import DagsterEvent, DagsterEventBatchMetadata

from alpha_assets.feeds.ingest import Ingested
from alpha_assets.pipeline.stage import Made
from alpha_assets.quality.coverage import FamilyCoverage, reasons_off

LINES_SHOWN = 20  # of notes and warnings of a delivery
WITHOUT_ROWS = "no rows"  # data version of a month in which a feed delivered none
NO_ROWS = {"dagster/partition_row_count": dg.MetadataValue.int(0)}


def made_metadata(made: Made) -> dict[str, dg.MetadataValue]:
    """Return what is worth looking at of one output; numbers are plotted by partition."""
    counted = "dagster/partition_row_count" if made.month else "dagster/row_count"
    shown: dict[str, dg.MetadataValue] = {
        counted: dg.MetadataValue.int(made.rows),
        "content_hash": dg.MetadataValue.text(made.content_hash),
        "digest": dg.MetadataValue.text(made.digest),
        "status": dg.MetadataValue.text(made.status),
        "path": dg.MetadataValue.path(made.path),
    }
    return {**shown, **facts_metadata(made.facts)}


def delivery_metadata(found: Ingested) -> dict[str, dg.MetadataValue]:
    """Return what a delivery changed, what it left out, and what is odd about its rows."""
    shown: dict[str, dg.MetadataValue] = {
        "rows_new": dg.MetadataValue.int(found.new),
        "rows_corrected": dg.MetadataValue.int(found.revised),
        "rows_left_out": dg.MetadataValue.int(found.omitted),
        "warnings": dg.MetadataValue.int(len(found.warnings)),
    }
    lines = [*found.notes, *found.warnings]
    if lines:
        listed = "\n".join(f"- {line}" for line in lines[:LINES_SHOWN])
        more = len(lines) - LINES_SHOWN
        shown["delivery"] = dg.MetadataValue.md(listed + (f"\n- and {more} more" * (more > 0)))
    return shown


def facts_metadata(facts: Mapping[str, Any]) -> dict[str, dg.MetadataValue]:
    """Return facts as the UI shows them; what is not known is left out."""
    shown: dict[str, dg.MetadataValue] = {}
    for name, fact in facts.items():
        match fact:
            case None:
                continue
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


def coverage_metadata(family: FamilyCoverage) -> dict[str, dg.MetadataValue]:
    """Return a family's coverage: figures that are plotted from run to run, and a table."""
    figures = {
        "columns": len(family.present),
        "columns_missing": len(family.missing),
        "columns_off": len(family.off),
        "filled": family.now,
        "limit": family.limit,
        "sessions_since_last_row": family.silent,
    }
    return {**facts_metadata(figures), "coverage": dg.MetadataValue.md(coverage_table(family))}


def coverage_table(family: FamilyCoverage, months: int = 12) -> str:
    """Return a family's coverage as Markdown: its figures, its feeds, its latest months."""
    lowest = family.lowest
    lines = [
        "| what | |",
        "|---|---|",
        f"| columns | {len(family.present)} of {len(family.expected)} |",
        *[f"| missing | `{name}` in {month} |" for name, month in family.missing.items()],
        *[
            f"| off | {_names(names)}: {_cell(why)} |"
            for why, names in reasons_off(family.off).items()
        ],
        *([f"| never filled | {_names(family.never)} |"] if family.never else []),
        f"| first value | {family.first or 'none'} |",
        f"| last value | {family.last or 'none'} |",
        f"| lowest month | {f'{lowest[0]}: {lowest[1]:.1%}' if lowest else 'none'} |",
        "",
        "| feed | rows | keys | first | last | public | corrections | sessions silent | usual |",
        "|---|--:|--:|---|---|---|--:|--:|--:|",
    ]
    for feed in family.feeds:
        cells = (
            f"{feed.name}{' (off)' if feed.why_off else ''}",
            feed.rows,
            feed.keys,
            feed.first,
            feed.last,
            feed.last_available,
            feed.corrections,
            feed.silent,
            feed.limit,
        )
        lines.append("| " + " | ".join("" if c is None else str(c) for c in cells) + " |")
    latest = list(family.shares.items())[-months:]
    lines += ["", "| month | filled |", "|---|--:|"]
    lines += [f"| {m} | {'' if share is None else f'{share:.1%}'} |" for m, share in latest]
    return "\n".join(lines)


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def headline(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """Return the figures of a backtest that are plotted from one run to the next."""
    figures: dict[str, float | None] = {}
    for name, horizon in metrics["signal"].items():
        rank_ic = horizon["rank_ic"]
        figures[f"rank_ic_{name}"] = rank_ic["mean"]
        figures[f"rank_ic_{name}_t"] = rank_ic["t"]
        if planted := horizon.get("planted"):
            figures[f"share_of_planted_ic_{name}"] = planted["share"]
    portfolio = metrics["portfolio"]
    for side in ("net", "gross"):
        figures[f"sharpe_{side}"] = portfolio[side]["sharpe"]
        figures[f"max_drawdown_{side}"] = portfolio[side]["max_drawdown"]
    figures["sharpe_net_standard_error"] = portfolio["net"]["sharpe_se"]
    figures["turnover_annual"] = portfolio["turnover"]["annual"]
    return figures


def months_made(
    context: dg.AssetExecutionContext,
    made: Sequence[Made],
    *,
    last: Mapping[str, dg.MetadataValue] | None = None,
) -> Iterator[dg.MaterializeResult[None]]:
    """Give every month of a run its own metadata and, as data version, its content hash.

    Dagster gives all partitions of a run one data version.  A run of several months records each
    month once more, with its own; of two events of a month the later one counts.

    Args:
        context: of the asset.
        made: the months; one that was asked for and is not among them has no rows.
        last: further metadata of the last month.
    """
    by_key = {f"{one.month}-01": one for one in made}
    shown = {
        key: made_metadata(by_key[key]) if key in by_key else NO_ROWS
        for key in context.partition_keys
    }
    final = context.partition_keys[-1]
    shown[final] = {**shown[final], **(last or {})}
    versions = {key: by_key[key].content_hash if key in by_key else WITHOUT_ROWS for key in shown}
    if len(shown) == 1:
        (key,) = shown
        context.add_asset_metadata(shown[key], partition_key=key)
        yield dg.MaterializeResult(data_version=dg.DataVersion(versions[key]))
        return
    yield dg.MaterializeResult()
    recorded = context.instance.get_latest_materialization_event(context.asset_key)
    event = recorded.asset_materialization if recorded else None
    tags = dict(event.tags or {}) if event else {}
    step, together = context.op_execution_context.get_step_execution_context(), str(uuid4())
    for key, metadata in shown.items():
        given = {DATA_VERSION_TAG: versions[key], DATA_VERSION_IS_USER_PROVIDED_TAG: "true"}
        month = dg.AssetMaterialization(
            context.asset_key, partition=key, metadata=metadata, tags={**tags, **given}
        )
        # As `context.log_event` does; all months are stored with the last one.
        DagsterEvent.asset_materialization(
            step, month, DagsterEventBatchMetadata(together, key == final)
        )


def whole_made(made: Made, more: Mapping[str, dg.MetadataValue]) -> dg.MaterializeResult[None]:
    """Return the result of an asset without months; its data version is its content hash."""
    return dg.MaterializeResult(
        metadata={**made_metadata(made), **more}, data_version=dg.DataVersion(made.content_hash)
    )


def picture(png: bytes) -> dg.MetadataValue:
    """Return a chart as the UI shows it, behind [Show Markdown]."""
    return dg.MetadataValue.md(f"![chart](data:image/png;base64,{base64.b64encode(png).decode()})")
