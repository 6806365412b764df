"""What every function of states promises, checked on rows of any kind."""

from collections.abc import Callable

import numpy as np
import polars as pl
from tests.panel.market import TOKYO

from alpha_assets.calendar import Calendar

States = Callable[[pl.DataFrame, Calendar, int], pl.DataFrame]


def in_contract_order(rows: pl.DataFrame, key: str | None) -> pl.DataFrame:
    """Return rows as the panel hands them over: what else tells them apart is in any order."""
    order = [name for name in ("event_date", key) if name is not None]
    return rows.sort(*order, "available_at", "revision", maintain_order=True)


def known_by(rows: pl.DataFrame, number: int) -> pl.DataFrame:
    """Return the rows that are effective at a session."""
    effective = TOKYO.effective(rows["available_at"].to_numpy())
    return rows.filter(pl.Series(effective <= number, dtype=pl.Boolean))


def sorted_states(states: pl.DataFrame, key: str | None) -> pl.DataFrame:
    order = [name for name in (key, "event_date", "available_at", "revision") if name is not None]
    return states.sort(*order).select(sorted(states.columns))


def assert_only_the_past_counts(
    states: States, rows: pl.DataFrame, key: str | None, until: int, every: int = 1
) -> None:
    """Check that states of an instant and before are those of the rows of then and before."""
    rows = in_contract_order(rows, key)
    whole = sorted_states(states(rows, TOKYO, until), key)
    assert whole.height > 0
    instants = pl.concat([rows["available_at"], whole["available_at"]]).unique().sort()[::every]
    for instant in instants:
        past = pl.col("available_at") <= instant
        then = sorted_states(states(rows.filter(past), TOKYO, until), key)
        assert whole.filter(past).equals(then.filter(past)), instant


def assert_the_last_session_changes_nothing(
    states: States, rows: pl.DataFrame, key: str | None, until: int
) -> None:
    """Check that a shorter span has the same states as far as it goes."""
    rows = in_contract_order(rows, key)
    whole = sorted_states(states(rows, TOKYO, until), key)
    for number in range(until - 40, until, 7):
        decision = pl.lit(TOKYO.decisions[number]).dt.replace_time_zone("UTC")
        shorter = sorted_states(states(known_by(rows, number), TOKYO, number), key)
        assert whole.filter(pl.col("available_at") <= decision).equals(shorter), number


def assert_the_order_of_rows_changes_nothing(
    states: States, rows: pl.DataFrame, key: str | None, until: int
) -> None:
    """Check that rows in another order give the same bits."""
    whole = sorted_states(states(in_contract_order(rows, key), TOKYO, until), key)
    for seed in range(3):
        shuffled = rows[np.random.default_rng(seed).permutation(rows.height)]
        again = sorted_states(states(in_contract_order(shuffled, key), TOKYO, until), key)
        assert whole.equals(again)


def latest(states: pl.DataFrame, number: int) -> dict[str, object] | None:
    """Return the state of one key that counts at a session, as the panel takes it."""
    known = known_by(states, number).sort("event_date", "available_at", "revision")
    return known.row(-1, named=True) if known.height else None
