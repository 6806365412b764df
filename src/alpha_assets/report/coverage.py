"""Coverage on the page: what was there of each family and feed, and what was not."""

from collections.abc import Mapping
from dataclasses import dataclass

from alpha_assets.report.inputs import at, number, records, words
from alpha_assets.report.table import Cell, Table
from alpha_assets.report.words import MISSING, percent, whole

Row = Mapping[str, object]


@dataclass(frozen=True)
class Remark:
    """Something about a family that a reader must know."""

    family: str
    text: str


def coverage_tables(coverage: Row | None) -> dict[str, Table]:
    """Return a table of the families and one of the feeds; none where nothing is known."""
    if coverage is None:
        return {}
    return {
        "coverage": family_table(records(coverage, "families")),
        "feeds": feed_table(records(coverage, "feeds")),
    }


def family_table(families: list[Row]) -> Table:
    """Return a row per family of features."""
    columns = (
        "family",
        "columns",
        "off",
        "filled now",
        "lowest month",
        "first value",
        "last value",
        "sessions since a row",
    )
    return Table("Features", columns, tuple(_family_row(row) for row in families))


def _family_row(row: Row) -> tuple[Cell, ...]:
    off = records(row, "off")
    n_off = sum(len(words(reason, "features")) for reason in off)
    whole_family = (number(row, "expected") or 0) + n_off
    lowest = percent(number(row, "lowest"))
    return (
        Cell(_word(row, "family")),
        Cell(
            f"{whole(number(row, 'present'))} of {whole(whole_family)}",
            "missing: " + ", ".join(words(row, "missing")) if words(row, "missing") else "",
        ),
        Cell(whole(n_off) if n_off else "", "; ".join(str(at(why, "why")) for why in off)),
        Cell(percent(number(row, "now"))),
        Cell(lowest if lowest == MISSING else f"{lowest} in {_word(row, 'lowest_month')}"),
        Cell(_word(row, "first")),
        Cell(_word(row, "last")),
        Cell(
            whole(number(row, "silent")),
            "feeds: " + ", ".join(words(row, "feeds")) if number(row, "silent") else "",
        ),
    )


def feed_table(feeds: list[Row]) -> Table:
    """Return a row per feed that is on or has stored rows."""
    rows = tuple(
        (
            Cell(_word(row, "feed"), str(at(row, "off") or "")),
            Cell(whole(number(row, "rows"))),
            Cell(whole(number(row, "keys"))),
            Cell(_word(row, "first")),
            Cell(_word(row, "last")),
            Cell(_word(row, "last_available")[:10]),
            Cell(whole(number(row, "corrections"))),
            Cell(whole(number(row, "silent")), _usual(row)),
        )
        for row in feeds
        if at(row, "off") is None or number(row, "rows")
    )
    columns = (
        "feed",
        "rows",
        "keys",
        "first day",
        "last day",
        "public",
        "corrections",
        "sessions since a row",
    )
    return Table("Feeds", columns, rows)


def remarks(coverage: Row | None) -> list[Remark]:
    """Return what is wrong with families, what is empty, and what is off with what it costs."""
    families = records(coverage, "families")
    wrong = [
        Remark(_word(row, "family"), f"{finding}.")
        for row in families
        for finding in words(row, "findings")
    ]
    never = [
        Remark(_word(row, "family"), f"never filled: {', '.join(names)}.")
        for row in families
        if (names := words(row, "never"))
    ]
    off = [
        Remark(
            f"{_word(row, 'family')} is {'' if not number(row, 'expected') else 'partly '}off",
            f"{at(why, 'why')}; costs {', '.join(words(why, 'features'))}.",
        )
        for row in families
        for why in records(row, "off")
    ]
    return [*wrong, *never, *off]


def _usual(row: Row) -> str:
    return f"up to {whole(number(row, 'limit'))} are usual" if at(row, "is_late") else ""


def _word(row: Row, name: str) -> str:
    value = at(row, name)
    return MISSING if value is None else str(value)
