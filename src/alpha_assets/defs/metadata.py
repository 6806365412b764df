"""What a materialisation shows in the web UI."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from alpha_assets.features import Feature
from alpha_assets.feeds import Feed
from alpha_assets.feeds.ingest import Ingested
from alpha_assets.pipeline.context import Made
from alpha_assets.quality.coverage import FamilyCoverage, reasons_off

LINES_SHOWN = 20  # of notes and warnings of a delivery

# What every table has, beside the columns that its owner describes.
OF_ROWS = {
    "session": "the session that is decided; the row holds what was known before its opening",
    "symbol": "permanent id of the stock; tickers are for display",
    "sector": "sector that the row is about",
    "section": "section of the exchange that the row is about",
    "name": "which one, by name",
    "seller": "who reports the position",
    "client": "for whom it is held, if for another",
    "fund": "the fund that holds it, if one does",
    "event_date": "the day or period end that the row describes",
    "available_at": "instant at which a subscriber could first read the row (UTC)",
    "ingested_at": "instant at which the row was stored (UTC)",
    "revision": "0 as first published; 1 and up: its corrections",
}


def made_metadata(made: Made) -> dict[str, dg.MetadataValue]:
    """Return what is worth looking at of one output; numbers are plotted by partition."""
    shown: dict[str, dg.MetadataValue] = {
        "dagster/partition_row_count": dg.MetadataValue.int(made.rows),
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


def table(schema: Mapping[str, object]) -> dict[str, Any]:
    """Return a table's columns and types."""
    return _schema([dg.TableColumn(name, str(dtype)) for name, dtype in schema.items()])


def columns_of_feed(feed: Feed) -> dict[str, Any]:
    """Return the columns of a feed's raw rows, with unit and meaning."""
    said = OF_ROWS | {column.name: f"{column.meaning} ({column.unit})" for column in feed.columns}
    return _schema(
        [
            dg.TableColumn(name, str(dtype), description=said.get(name))
            for name, dtype in feed.schema.items()
        ]
    )


def columns_of_features(features: Sequence[Feature]) -> dict[str, Any]:
    """Return the columns of the features' table, with unit and meaning."""
    keys = [
        dg.TableColumn(name, dtype, description=OF_ROWS[name])
        for name, dtype in (("session", "Date"), ("symbol", "String"))
    ]
    return _schema(
        [
            *keys,
            *[
                dg.TableColumn(
                    f.name,
                    "Float32",
                    description=" ".join(filter(None, (f.about, f.formula, f"({f.unit})"))),
                )
                for f in features
            ],
        ]
    )


def _schema(columns: Sequence[dg.TableColumn]) -> dict[str, Any]:
    return {"dagster/column_schema": dg.TableSchema(columns=list(columns))}


def add_months(context: dg.AssetExecutionContext, made: Sequence[Made]) -> None:
    """Attach the metadata of every month to its own partition."""
    for one in made:
        if one.month is not None:
            context.add_asset_metadata(made_metadata(one), partition_key=f"{one.month}-01")


def picture(png: bytes) -> dg.MetadataValue:
    """Return a chart as the UI shows it, behind [Show Markdown]."""
    return dg.MetadataValue.md(f"![chart](data:image/png;base64,{base64.b64encode(png).decode()})")
