"""The newest vector of a symbol as of a session: by hand, and against a plain loop."""

from datetime import UTC, datetime, time, timedelta

import numpy as np
import polars as pl
import pytest
from tests.panel.market import INSTANT, SESSIONS, TOKYO, day, evening

from alpha_assets.arrays.types import Array32
from alpha_assets.errors import BadInput
from alpha_assets.feeds.base import Column, Feed, Publication
from alpha_assets.panel.lives import Birth, lived
from alpha_assets.panel.vectors import VectorStates, vector_columns, vector_states

NOTES = Feed(
    name="notes",
    key=("event_date", "symbol", "note"),
    scope="symbol",
    columns=(
        Column("note", pl.String, "code", "distinguishes notes of a day", required=True),
        Column("topics", pl.Array(pl.Float32, 2), "numbers", "of the text"),
    ),
    publication=Publication(at=time(18)),
    max_stale=60,
    about="Notes.",
)
Row = tuple[int, str, str, list[float] | None, datetime, int]


def notes(*rows: Row) -> pl.LazyFrame:
    """Session number of the event, symbol, note, vector, available_at, revision."""
    schema = {
        "event_date": pl.Date,
        "symbol": pl.String,
        "note": pl.String,
        "topics": pl.Array(pl.Float32, 2),
        "available_at": INSTANT,
        "revision": pl.Int16,
    }
    made = [(day(n), s, note, v, at.astimezone(UTC), r) for n, s, note, v, at, r in rows]
    return pl.LazyFrame(made, schema=schema, orient="row")


def keys(*cells: tuple[int, str]) -> pl.DataFrame:
    return pl.DataFrame({"session": [day(n) for n, _ in cells], "symbol": [s for _, s in cells]})


def states(at: pl.DataFrame, rows: pl.LazyFrame, max_age: int = 20, **how: object) -> VectorStates:
    return vector_states(at, rows, NOTES, "topics", TOKYO, max_age, **how)  # type: ignore[arg-type]


def seen(found: VectorStates) -> list[list[float] | None]:
    return [found.vector_RV[row].tolist() if row >= 0 else None for row in found.row_L]


def test_a_vector_is_known_from_its_effective_session_until_it_is_too_old() -> None:
    rows = notes((1, "A", "x", [1.0, 2.0], evening(1), 0))
    at = keys((1, "A"), (2, "A"), (4, "A"), (5, "A"), (4, "B"))

    found = states(at, rows, max_age=2)

    assert seen(found) == [None, [1.0, 2.0], [1.0, 2.0], None, None]
    assert len(found.vector_RV) == 1, "a vector of many sessions is held once"
    assert vector_columns(NOTES) == {"topics": 2}


def test_a_correction_counts_from_its_own_session_on_and_may_take_a_vector_back() -> None:
    rows = notes(
        (1, "A", "x", [1.0, 0.0], evening(1), 0),
        (1, "A", "x", [2.0, 0.0], evening(3), 1),
        (1, "A", "x", None, evening(5), 2),
        (2, "A", "y", None, evening(2), 0),  # a note without a vector hides nothing
    )

    found = states(keys((2, "A"), (3, "A"), (4, "A"), (5, "A"), (6, "A")), rows)

    assert seen(found) == [[1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [2.0, 0.0], None]


def test_a_late_vector_about_an_old_day_does_not_hide_a_newer_one() -> None:
    rows = notes((4, "A", "x", [4.0, 0.0], evening(4), 0), (2, "A", "x", [2.0, 0.0], evening(7), 0))

    # Not even once the newer one is too old: the late one is no news of the symbol.
    assert seen(states(keys((8, "A"), (9, "A")), rows, max_age=3)) == [[4.0, 0.0], None]


def test_a_vector_published_by_the_end_of_a_life_is_not_of_the_next_one() -> None:
    again = (Birth("A", 1, day(3), day(6), 6),)
    rows = notes((2, "A", "x", [1.0, 0.0], evening(2), 0), (6, "A", "x", [2.0, 0.0], evening(6), 0))

    found = states(keys((3, "A"), (6, lived("A", 1)), (7, lived("A", 1))), rows, again=again)

    assert seen(found) == [[1.0, 0.0], None, [2.0, 0.0]]


def test_it_agrees_with_a_plain_loop_whatever_came_later() -> None:
    generator = np.random.default_rng(5)
    made: list[Row] = []
    for number in range(150):
        event = int(generator.integers(1, 20))
        at = evening(event) + timedelta(hours=int(generator.integers(0, 120)))
        vector = [float(number), float(generator.normal())]
        symbol = str(generator.choice(["A", "B", "C"]))
        made.append((event, symbol, f"n{number}", vector, at, int(generator.integers(0, 2))))
    wanted = keys(*[(n, s) for n in range(1, 28) for s in ("C", "A", "D", "B")])

    found = states(wanted, notes(*made), max_age=4)

    expected: list[list[float] | None] = []
    for session, symbol in wanted.iter_rows():
        number = int(TOKYO.index_of(session))
        instant = TOKYO.decisions[number].astype("datetime64[us]").item().replace(tzinfo=UTC)
        known = [row for row in made if row[1] == symbol and row[4].astimezone(UTC) <= instant]
        best = max(known, key=lambda row: (day(row[0]), row[4], row[5]), default=None)
        if best is not None:
            effective = int(
                TOKYO.effective(np.array([best[4].astimezone(UTC).replace(tzinfo=None)], "M8[us]"))[
                    0
                ]
            )
            best = best if number - effective <= 4 else None
        expected.append(None if best is None else np.float32(best[3]).tolist())
    assert seen(found) == expected
    assert any(expected)
    assert None in expected

    at_12 = keys((12, "A"), (12, "B"), (12, "C"))
    until = TOKYO.decisions[int(TOKYO.index_of(SESSIONS[12]))].astype("datetime64[us]").item()
    earlier = [row for row in made if row[4].astimezone(UTC) <= until.replace(tzinfo=UTC)]
    assert len(earlier) < len(made)
    assert seen(states(at_12, notes(*earlier), 4)) == seen(states(at_12, notes(*made), 4))


def test_a_number_that_is_not_finite_is_refused_by_its_row() -> None:
    rows = notes((1, "A", "x", [float("nan"), 0.0], evening(1), 0))

    with pytest.raises(BadInput, match=r"notes\.topics hold a number that is not finite.*'A'"):
        states(keys((2, "A")), rows)


def test_without_rows_there_is_no_vector() -> None:
    found = states(keys((2, "A")), notes())

    nothing: Array32 = np.zeros((0, 2), dtype=np.float32)
    assert np.array_equal(found.vector_RV, nothing)
    assert seen(found) == [None]
