"""An explanation as a person reads it."""

from collections.abc import Mapping, Sequence
from typing import Any

from alpha_assets.features import TRAILING
from alpha_assets.features.cross_section import HISTORY

FEW = 6  # rows of a feed that are shown whole; of more, the first and the last ones
LARGEST = 10  # contributions that are shown by themselves
WIDE = 9  # columns of a raw row that are shown
SHORT = 22  # characters of a cell


def as_text(explanation: Mapping[str, Any]) -> str:
    """Return the explanation as text; JSON holds all of it."""
    model = explanation["checkpoint"]["model_month"]
    zone = explanation["market"]["zone"]
    lines = [
        f"why {explanation['symbol']} at {explanation['session']}: "
        f"{explanation['recipe']['name']} on {explanation['market']['name']}, model of {model}",
        f"decided {_minute(explanation['decided']['local'])} {zone} "
        f"({_minute(explanation['decided']['utc'])} UTC)",
        "",
        "raw rows used (available_at in the market's zone; effective: first session that knew it)",
    ]
    for feed, rows in explanation["raw"].items():
        lines += _feed(feed, rows, explanation["look_back"])
    lines += ["", "panel row", *_panel(explanation["panel"])]
    lines += ["", "features", *_features(explanation["features"])]
    lines += ["", "scores", *_scores(explanation)]
    lines += ["", *_attribution(explanation["attribution"]), *_target(explanation["target"])]
    return "\n".join(lines)


def _feed(feed: str, facts: Mapping[str, Any], look_back: Mapping[str, Any]) -> list[str]:
    if not facts["n_rows"]:
        return [f"  {feed}: nothing was known"]
    count, shown = _count(facts["n_rows"], "row"), facts["rows"]
    if feed == "daily_bars":
        count = (
            f"{_count(facts['n_in_look_back'], 'bar')} in the look-back of {look_back['sessions']} "
            f"sessions since {look_back['first']}, {facts['n_rows']:,} since the first"
        )
        start = facts["n_rows"] - facts["n_in_look_back"]
        shown = {name: values[start:] for name, values in shown.items()}
    joins = [name for name, places in facts["joins"].items() if places]
    made = f"; they make {', '.join(joins)}" if joins else ""
    later = facts["n_later"]
    kept = f"; {_count(later, 'later row')} kept and not used" if later else ""
    few = FEW if facts["n_rows"] <= FEW else 2
    lines = [f"  {feed}: {count}{made}{kept}", *_rows(shown, few, "    ")]
    if later:
        lines += ["    not used:", *_rows(facts["later"], FEW // 2, "    ")]
    return lines


def _rows(table: Mapping[str, Sequence[Any]], few: int, indent: str) -> list[str]:
    """Return the first and last rows of a printed table, the clock's columns last."""
    clock = ("available_at", "effective", "revision")
    shown = [name for name in table if name not in (*clock, "ingested_at")]
    values = [name for name in shown if any(value is not None for value in table[name])]
    hidden = len(values) - WIDE
    names = [*values[:WIDE], *clock]
    n = len(table["revision"])
    places = range(n) if n <= 2 * few else [*range(few), -1, *range(n - few, n)]
    cells = [names]
    for row in places:
        cells.append(
            ["…"] * len(names) if row < 0 else [_cell(name, table[name][row]) for name in names]
        )
    lines = _aligned(cells, indent)
    return [*lines, f"{indent}and {hidden} more columns, in JSON"] if hidden > 0 else lines


def _panel(row: Mapping[str, Any]) -> list[str]:
    """Return what the panel knew, three columns beside one another; what is missing is counted."""
    known = [(name, value) for name, value in row.items() if value is not None]
    cells = [f"{name} = {_cell(name, value)}" for name, value in known]
    lines = _aligned([[*cells[at : at + 3], "", ""][:3] for at in range(0, len(cells), 3)], "  ")
    lacking = len(row) - len(known)
    return [*lines, f"  {lacking} columns without a value"] if lacking else lines


def _features(features: Sequence[Mapping[str, Any]]) -> list[str]:
    cells = [["feature", "value", "unit", "z", "enters as"]]
    for item in features:
        cells.append(
            [
                item["name"],
                "missing" if item["value"] is None else f"{item['value']:.6g}",
                _short(item["unit"]),
                f"{item['z']:+.4f}",
                _entering(item),
            ]
        )
        if item["enters"] == "product":
            cells[-1][1] = "-"
    return _aligned(cells, "  ")


def _entering(item: Mapping[str, Any]) -> str:
    if item["left_out"]:
        return f"left out (spans too little of the training window); {_made(item)}"
    return _made(item)


def _made(item: Mapping[str, Any]) -> str:
    if item["enters"] == "in_time":
        known = sum(value is not None for value in item["series"])
        return f"z in time over {TRAILING} sessions, of which {known} have a value"
    across = f"across {item['n_names']} names"
    if item["left_at_0"] is not None:
        return f"0 {across}: {item['left_at_0']}"
    by_history = item["scale"] == HISTORY
    if item["enters"] == "product" and by_history:
        return f"{' x '.join(item['parts'])}, clipped alone at {item['clip']:g}"
    moments = (
        f"mean {item['mean']:.6g}, sd {item['sd']:.6g}, winsorised to "
        f"[{item['low']:.6g}, {item['high']:.6g}]"
    )
    if item["enters"] == "product":
        return f"{' x '.join(item['parts'])} {across}: {moments}"
    over = f" over {TRAILING} sessions" if by_history else ""
    return f"z {across}{over}: {moments}"


def _quantiles(item: Mapping[str, Any]) -> str:
    """Return the quantiles of a score, where its model has them."""
    named = [f"{k} {v:+.4f}" for k, v in item.items() if k not in ("horizon", "score")]
    return f" ({', '.join(named)})" if named else ""


def _scores(explanation: Mapping[str, Any]) -> list[str]:
    checkpoint, window = explanation["checkpoint"], explanation["window"]["session"]
    first, last = checkpoint["train_sessions"]
    lines = [
        f"  horizon {item['horizon']:>3}: {item['score']:+.6f}{_quantiles(item)}"
        for item in explanation["scores"]
    ]
    n = len(explanation["section"]["symbols"])
    return [
        *lines,
        f"  model of {checkpoint['model_month']}, trained on {first} to {last}, saw {n} symbols "
        f"over {len(window)} sessions from {window[0]}: {checkpoint['path']}",
    ]


def _attribution(attribution: Mapping[str, Any]) -> list[str]:
    """Return what each score is made of: the largest contributions, and the sum of the rest."""
    n_models = attribution["n_models"]
    mean = "" if n_models == 1 else f", mean over {n_models} models"
    lines = [f"attribution of the scores by {attribution['method']}{mean}"]
    for item in attribution["horizons"]:
        entries = item["contributions"]
        rest = entries[LARGEST:]
        cells = [["feature", "z", "contribution"]]
        cells += [
            [
                entry["feature"],
                "-" if entry["z"] is None else f"{entry['z']:+.4f}",
                f"{entry['contribution']:+.6f}",
            ]
            for entry in entries[:LARGEST]
        ]
        if rest:
            total = sum(entry["contribution"] for entry in rest)
            cells.append([f"the other {_count(len(rest), 'column')}", "", f"{total:+.6f}"])
        cells.append(["other names", "", _of_others(item["other_names"])])
        cells.append(["gap", "", _gap(item)])
        families = ", ".join(
            f"{one['family']} {one['contribution']:+.6f} ({_count(one['n_columns'], 'column')})"
            for one in item["families"]
        )
        lines += [
            f"  horizon {item['horizon']:>3}: {item['score']:+.6f}, of which base "
            f"{item['base']:+.6f}",
            *_aligned(cells, "    "),
            f"    by family: {families}",
        ]
    return lines


def _of_others(contribution: float) -> str:
    return f"{contribution:+.6f}" if contribution else "0: none of them enters the score"


def _gap(item: Mapping[str, Any]) -> str:
    if item["adds_up"]:
        return f"{item['gap']:+.1e} (up to {item['allowed_gap']:.1e} is allowed)"
    return (
        f"{item['gap']:+.6f}: more than {item['allowed_gap']:.1e}, so that this part of the score "
        "belongs to no single input"
    )


def _target(target: Mapping[str, Any] | None) -> list[str]:
    if target is None:
        return ["", "target: none; no rebalance is stored at or before this session"]
    when = "at this session" if target["at_this_session"] else f"since {target['rebalanced']}"
    weight = target["target_weight"]
    held = "none" if weight is None else f"{weight:+.4%} of equity"
    return ["", f"target {when}: {held} ({target['reason']})"]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"


def _cell(name: str, value: Any) -> str:  # noqa: ANN401 -- any printed cell
    if value is None:
        return "-"
    if name == "available_at":
        return _minute(value)
    if isinstance(value, float):
        return f"{value:.8g}"
    return _short(str(value))


def _short(text: str) -> str:
    return text if len(text) <= SHORT else text[: SHORT - 1] + "…"


def _minute(instant: str) -> str:
    """Return an instant to the minute, or finer where it lies between two."""
    day, _, clock = instant.partition("T")
    clock = clock.split("+")[0].split("-")[0]
    return f"{day} {clock[:5] if clock[5:] in ('', ':00') else clock}"


def _aligned(cells: Sequence[Sequence[str]], indent: str) -> list[str]:
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return [
        (indent + "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True))).rstrip()
        for line in cells
    ]
