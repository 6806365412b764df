"""The tables of the attainable, on simulated markets: shares of it, and the rules that reach it."""

from collections.abc import Mapping

from alpha_assets.report.inputs import at, number, records
from alpha_assets.report.table import Cell, Table
from alpha_assets.report.words import MISSING, money, percent, plain

COLUMNS = (
    *("capital", "costs", "attainable, net Sharpe", "reached", "share of the attainable"),
    *("planted drift under this rule", "share of the attainable"),
)
TITLE = "Share of the attainable"
CHOSEN = ("capital", "costs", "chosen on even sessions", "chosen on odd sessions")
CHOSEN_TITLE = "Rules with which the planted drift attains it"


def attainable_table(metrics: Mapping[str, object]) -> Table:
    """Return by capital and costs what the planted drift earns, and how much of it was reached."""
    rows = [
        (
            *_whose(metrics, row),
            _cell(row, "attainable", ""),
            _cell(row, "reached", ""),
            _share(row, "reached"),
            _cell(row, "own_rule", str(at(row, "own_rule_reason") or "")),
            _share(row, "own_rule"),
        )
        for row in records(metrics, "attainable", "sharpe")
    ]
    return Table(TITLE, COLUMNS, tuple(rows), (0, 1))


def chosen_rules_table(metrics: Mapping[str, object]) -> Table:
    """Return by capital and costs the rules under which the planted drift earns the most.

    Each has a sentence of settings, for which the shares beside it would leave no room.
    """
    rows = [
        (
            *_whose(metrics, row),
            Cell(str(at(row, "chosen_on_even") or MISSING)),
            Cell(str(at(row, "chosen_on_odd") or MISSING)),
        )
        for row in records(metrics, "attainable", "sharpe")
    ]
    return Table(CHOSEN_TITLE, CHOSEN, tuple(rows), (0, 1, 2, 3))


def _whose(metrics: Mapping[str, object], row: Mapping[str, object]) -> tuple[Cell, Cell]:
    currency = str(at(metrics, "data", "currency") or "")
    return (
        Cell(money(number(row, "capital"), currency)),
        Cell(f"× {plain(number(row, 'cost_scale'), 1)}"),
    )


def _cell(row: Mapping[str, object], name: str, why: str) -> Cell:
    value, error = number(row, name), number(row, f"{name}_error")
    if value is None:
        return Cell("not known", why or str(at(row, "reason") or ""))
    return Cell(f"{plain(value)} ± {plain(error)}")


def _share(row: Mapping[str, object], name: str) -> Cell:
    share, error = number(row, f"{name}_share"), number(row, f"{name}_share_error")
    if share is None:
        return Cell("not known", str(at(row, "reason") or at(row, f"{name}_reason") or ""))
    return Cell(f"{percent(share, 0)} ± {percent(error, 0)}")
