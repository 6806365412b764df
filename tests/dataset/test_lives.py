"""A window and a static id hold one life of a symbol."""

from datetime import date

import numpy as np
import polars as pl

from alpha_assets.dataset import Axes, symbol_axis
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.panel.lives import by_life, lived, plain_symbol, rows_by_life

DAYS = [date(2024, 1, n) for n in (4, 5, 9, 10)]


def test_no_window_and_no_static_id_reaches_from_one_life_into_the_other() -> None:
    # A's first life ends with the second session, its second one begins with the third.
    panel = pl.DataFrame(
        {
            "session": [*DAYS, *DAYS],
            "symbol": ["A"] * 4 + ["B"] * 4,
            "stale": [0] * 8,
            "life": pl.Series([0, 0, 1, 1, 0, 0, 0, 0], dtype=pl.Int16),
        }
    )
    section = panel.select("session", "symbol").with_columns(
        x_cs_z=pl.Series([1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], dtype=pl.Float32),
        sector=pl.lit("1050"),
    )
    keyed = rows_by_life(section, panel)
    sessions = np.array(DAYS, dtype="datetime64[D]")
    symbols = symbol_axis(keyed, sessions)
    axes = Axes(sessions, symbols, ("x_cs_z",), (), (1,), symbols, ("1050",))
    data = Dataset.build(keyed, axes, tradable=by_life(panel).select("session", "symbol"))
    batch, names = data.cross_section(sessions[2], steps=3)

    assert symbols == ("A", lived("A", 1), "B")
    assert names == (lived("A", 1), "B")
    assert batch.valid_BNT[0].tolist() == [[False, False, True], [True, True, True]]
    assert batch.x_BNTF[0, :, :, 0].tolist() == [[0.0, 0.0, 3.0], [5.0, 6.0, 7.0]]
    assert batch.symbol_id_N.tolist() == [2, 3]
    plain = pl.DataFrame({"symbol": names}).select(plain_symbol(pl.col("symbol")))
    assert plain.to_series().to_list() == ["A", "B"]


def test_without_a_second_life_the_rows_are_the_rows() -> None:
    panel = pl.DataFrame(
        {"session": DAYS, "symbol": ["A"] * 4, "life": pl.Series([0] * 4, dtype=pl.Int16)}
    )
    assert rows_by_life(panel, panel) is panel
    assert by_life(panel) is panel
