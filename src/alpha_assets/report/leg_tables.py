"""Tables of the legs, of concentration, of exposures, and of what size costs."""

from collections.abc import Callable, Mapping
from typing import Any

from alpha_assets.report.inputs import at, main_horizon, number, records
from alpha_assets.report.table import Cell, Table, cell_of
from alpha_assets.report.words import MISSING, bps, money, percent, plain, whole

Metrics = Mapping[str, object]

LEGS = {"long": "long leg", "short": "short leg", "long_short": "long/short"}


def leg_table(metrics: Metrics) -> Table:
    """Return the book, its legs, and both legs without interest on cash, net and gross."""
    groups = {"book": at(metrics, "portfolio")}
    groups |= {words: at(metrics, "portfolio", "legs", leg) for leg, words in LEGS.items()}
    columns = tuple(f"{words}, {side}" for words in groups for side in ("net", "gross"))
    title = "Legs"
    if not number(groups["long leg"], "net", "n_sessions"):
        return Table(title, ("", *columns), ())
    shown: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
        ("return a year", "annual_return", percent),
        ("volatility a year", "volatility", percent),
        ("Sharpe", "sharpe", plain),
        ("± standard error", "sharpe_se", plain),
        ("deepest drawdown", "max_drawdown", percent),
        ("share of sessions won", "win_rate", percent),
    )
    rows = [
        (
            Cell(words),
            *(
                cell_of(show(at(group, side, name)), at(group, side), name)
                for group in groups.values()
                for side in ("net", "gross")
            ),
        )
        for words, name, show in shown
    ]
    turnover = [number(groups["book"], "turnover", "annual")]
    turnover += [number(group, "turnover_annual") for group in list(groups.values())[1:]]
    held = [number(groups["book"], "exposure", "net_mean")]
    held += [number(group, "exposure_mean") for group in list(groups.values())[1:]]
    for words, values in (("turnover a year, one way", turnover), ("net exposure, mean", held)):
        row = [cell for value in values for cell in (Cell(percent(value, 0)), Cell(""))]
        rows.append((Cell(words), *row))
    return Table(title, ("", *columns), tuple(rows))


def gate_table(metrics: Metrics) -> Table:
    """Return what the recipe's gates asked, what was found, and the verdict."""
    rows = [
        (
            Cell(str(gate["gate"])),
            Cell(plain(number(gate, "wanted"), 4)),
            Cell(plain(number(gate, "found"), 4), str(gate.get("reason") or "")),
            Cell(str(gate["verdict"]), str(gate.get("reason") or "")),
        )
        for gate in records(metrics, "gates")
    ]
    return Table("Gates", ("", "asked, above", "reached", "verdict"), tuple(rows), (0, 3))


def concentration_table(metrics: Metrics) -> Table:
    """Return the names and sessions that earned most, with their shares of the profit."""
    found = at(metrics, "portfolio", "concentration")
    currency = str(at(metrics, "data", "currency") or "")
    rows: list[tuple[Cell, ...]] = []
    for words, key, of_one, share in (
        ("best names together", "top_names", "symbol", "top_names_share"),
        ("best sessions together", "best_sessions", "session", "best_sessions_share"),
    ):
        best = records(found, key)
        if not best:
            continue
        total = sum(number(row, "pnl_net") or 0.0 for row in best)
        together = cell_of(percent(number(found, share)), found, share)
        rows.append((Cell(f"{len(best)} {words}"), Cell(money(total, currency)), together))
        rows += [
            (
                Cell(str(row[of_one])),
                Cell(money(number(row, "pnl_net"), currency)),
                Cell(percent(number(row, "share"))),
            )
            for row in best
        ]
    return Table("Where the profit came from", ("", "earned, net", "of the profit"), tuple(rows))


def worst_month_table(metrics: Metrics) -> Table:
    """Return the months that lost most, and the names that lost most in them."""
    currency = str(at(metrics, "data", "currency") or "")
    rows = tuple(
        (
            Cell(str(row["month"])),
            Cell(money(number(row, "pnl_net"), currency)),
            Cell(
                ", ".join(
                    f"{name['symbol']} ({name['leg']}, {money(number(name, 'pnl_net'), currency)})"
                    for name in records(row, "names")
                )
            ),
        )
        for row in records(metrics, "portfolio", "concentration", "worst_months")
    )
    return Table("Worst months", ("month", "lost, net", "most of it by"), rows, (0, 2))


def exposure_table(metrics: Metrics) -> Table:
    """Return what scores and book lean on."""
    found = at(metrics, "portfolio", "exposures")
    rows = [
        (
            Cell(str(row["factor"])),
            Cell(plain(number(row, "scores"), 3, signed=True)),
            cell_of(plain(number(row, "book"), 3, signed=True), row, "book"),
            cell_of(plain(number(row, "book_low")), row, "book_low"),
            cell_of(plain(number(row, "book_high")), row, "book_high"),
            Cell(percent(number(row, "unknown"))),
            Cell(percent(number(row, "book_unknown"))),
        )
        for row in records(found, "factors")
    ]
    rows += [
        (
            Cell(str(row["sector"])),
            Cell(plain(number(row, "scores"), 3, signed=True)),
            Cell(plain(number(row, "book"), 3, signed=True)),
            *(Cell(""),) * 4,
        )
        for row in records(found, "sectors")
    ]
    if records(found, "sectors"):
        rows.append(
            (
                Cell("without a sector"),
                *(Cell(""),) * 4,
                Cell(percent(number(found, "sectors_unknown"))),
                Cell(percent(number(found, "book_sectors_unknown"))),
            )
        )
    ic = at(found, "neutral_rank_ic")
    if rows and ic is not None:
        plain_ic = number(metrics, "signal", f"h{main_horizon(metrics)}", "rank_ic", "mean")
        rows.append(
            (
                Cell("rank IC without all of these"),
                cell_of(plain(number(ic, "mean"), 4), ic, "mean"),
                Cell(f"t {plain(number(ic, 't'))}", str(at(ic, "reasons", "t") or "")),
                Cell(f"with them {plain(plain_ic, 4)}"),
                *(Cell(""),) * 3,
            )
        )
    columns = ("", "scores", "book, mean", "least", "most", "unknown", "unknown, of the book")
    return Table("What scores and book lean on", columns, tuple(rows))


def order_table(metrics: Metrics) -> Table:
    """Return how many orders there were, how large they were, and what became of them."""
    found = at(metrics, "costs", "orders")
    n = number(found, "n")
    if not n:
        return Table("Orders", ("", "orders", "of all"), ())

    def row(words: str, name: str) -> tuple[Cell, ...]:
        count = number(found, name)
        share = None if count is None else count / n
        return Cell(words), Cell(whole(count)), Cell(percent(share))

    def large(words: str, name: str) -> tuple[Cell, ...]:
        return Cell(words), Cell(""), cell_of(percent(number(found, name)), found, name)

    rows = (
        row("orders", "n"),
        row("filled in part at some session", "n_partial"),
        row("carried to a later session", "n_carried"),
        row("never filled whole", "n_unfinished"),
        large("above 1 % of ADV", "above_1pct"),
        large("above 5 % of ADV", "above_5pct"),
        large("above 10 % of ADV", "above_10pct"),
        row("ADV not known", "n_unknown_adv"),
    )
    return Table("Orders", ("", "orders", "of all"), rows)


def capacity_table(metrics: Metrics) -> Table:
    """Return the figures of the same targets with other capitals."""
    currency = str(at(metrics, "data", "currency") or "")
    found = at(metrics, "costs", "capacity")
    rows = [_capacity_row(row, currency) for row in records(found, "curve")]
    if rows:
        reason = at(found, "reason")
        words = Cell("breaks even at", str(reason or ""))
        ends = money(number(found, "break_even_capital"), currency)
        blank = (Cell(""),) * (len(CAPACITY) - 2)
        rows.append((words, Cell(ends, str(reason or "")), *blank))
    return Table("Capacity", CAPACITY, tuple(rows))


CAPACITY = (
    *("capital", "Sharpe, net", "±", "Sharpe, gross", "return a year, net", "costs a year"),
    *("trading", "breaks even at", "above 5 % of ADV", "never filled whole"),
)


def _capacity_row(row: Mapping[str, object], currency: str) -> tuple[Cell, ...]:
    capital, why = Cell(money(number(row, "capital"), currency)), at(row, "reason")
    if why is not None:
        return capital, Cell(MISSING, str(why)), *[Cell("")] * (len(CAPACITY) - 2)
    net, gross, orders = (at(row, name) for name in ("net", "gross", "orders"))
    n, unfinished = number(orders, "n"), number(orders, "n_unfinished")
    return (
        capital,
        cell_of(plain(number(net, "sharpe")), net, "sharpe"),
        Cell(plain(number(net, "sharpe_se"))),
        Cell(plain(number(gross, "sharpe"))),
        Cell(percent(number(net, "annual_return"))),
        Cell(percent(number(row, "cost_annual_return"))),
        Cell(bps(number(row, "trading_bps"))),
        Cell(bps(number(row, "break_even_bps"))),
        Cell(percent(number(orders, "above_5pct"))),
        Cell(percent(unfinished / n if n and unfinished is not None else None)),
    )
