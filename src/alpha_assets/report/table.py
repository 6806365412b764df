"""A table of the page and its cells."""

from dataclasses import dataclass

from alpha_assets.report.inputs import at


@dataclass(frozen=True)
class Cell:
    """One cell; `hint` says why it is empty, or what it means."""

    text: str
    hint: str = ""


@dataclass(frozen=True)
class Table:
    """A table with words in the first column and numbers in the others."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    text_columns: tuple[int, ...] = (0,)


def cell_of(text: str, group: object = None, figure: str = "") -> Cell:
    """Return a cell that says why it is empty, where the figures say so."""
    reason = at(group, "reasons", figure)
    return Cell(text, str(reason) if isinstance(reason, str) else "")
