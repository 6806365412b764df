"""The resident tensors: every cell where it belongs, and windows that see only their own past."""

from datetime import time
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest
import torch

from alpha_assets.calendar import Calendar
from alpha_assets.dataset import Axes, Split, sector_list, symbol_axis, training_axes
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import BadInput, MissingOutput, RangeError

SESSIONS = np.arange("2020-01-06", "2020-01-12", dtype="datetime64[D]")
SYMBOLS = ("A", "B", "C")
AXES = Axes(
    sessions=SESSIONS,
    symbols=SYMBOLS,
    features=("f_cs_z", "g_cs_z"),
    market_features=("m_ts_z",),
    horizons=(1, 5),
    known_symbols=("A", "C"),
    known_sectors=("bank", "mine"),
)


def frames(drop: tuple[int, str] = (2, "B")) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Cross-section, tradable rows and labels whose values say where they belong."""
    keys = [(d, n) for d in range(6) for n in range(3)]
    rows = pl.DataFrame(
        {
            "session": [SESSIONS[d].item() for d, _ in keys],
            "symbol": [SYMBOLS[n] for _, n in keys],
            "g_cs_z": [100.0 * d + n for d, n in keys],
            "f_cs_z": [10.0 * d + n for d, n in keys],
            "m_ts_z": [float(d) for d, _ in keys],
            "sector": ["mine" if n == 2 else "bank" if n == 0 else "new" for _, n in keys],
        }
    )
    labels = pl.concat(
        rows.select(
            "session",
            "symbol",
            pl.lit(h, pl.Int16).alias("horizon"),
            (pl.col("f_cs_z") * h / 1000).alias("label"),
        )
        for h in (1, 5)
    )
    is_dropped = (pl.col("session") == SESSIONS[drop[0]].item()) & (pl.col("symbol") == drop[1])
    rows = rows.filter(~is_dropped)
    tradable = rows.select("session", "symbol").filter(pl.col("symbol") != "C")
    return rows, tradable, labels


def build(**changes: object) -> Dataset:
    rows, tradable, labels = frames()
    given = {"cross_section": rows, "axes": AXES, "tradable": tradable, "labels": labels, **changes}
    return Dataset.build(**given)  # type: ignore[arg-type]


def test_every_cell_is_where_it_belongs() -> None:
    data = build()

    assert data.x_DNF[3, 1].tolist() == [31.0, 301.0]
    assert data.x_DNF[2, 1].tolist() == [0.0, 0.0]  # no universe row
    assert not data.valid_DN[2, 1]
    assert int(data.valid_DN.sum()) == 17
    assert data.return_DNH[4, 2].tolist() == [0.042, 0.21]
    assert data.market_DM[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert data.symbol_id_N.tolist() == [1, 0, 2]  # B is not on the month's list
    assert data.sector_id_DN[0].tolist() == [1, 0, 2]


def test_the_mask_wants_a_universe_row_and_a_bar() -> None:
    data = build()

    assert not data.mask_DN[:, 2].any()  # C has no bar at D-1
    assert data.valid_DN[:, 2].all()
    assert not data.mask_DN[2, 1]


def test_rows_in_any_order_give_the_same_bits() -> None:
    rows, tradable, labels = frames()

    shuffled = build(
        cross_section=rows.sample(fraction=1, shuffle=True, seed=1),
        tradable=tradable.reverse(),
        labels=labels.reverse(),
    )

    plain = build()
    for name in ("x_DNF", "valid_DN", "mask_DN", "sector_id_DN", "market_DM"):
        assert torch.equal(getattr(plain, name), getattr(shuffled, name)), name
    assert np.array_equal(plain.return_DNH, shuffled.return_DNH, equal_nan=True)


def test_targets_are_made_from_the_tradable_names_of_each_session_alone() -> None:
    seen = []

    def demean(return_DN: np.ndarray, sector_DN: np.ndarray) -> np.ndarray:
        seen.append((return_DN.copy(), sector_DN))
        return return_DN - np.nanmean(return_DN, axis=1, keepdims=True)

    data = build(transform=demean)

    assert len(seen) == 2
    assert np.isnan(seen[0][0][:, 2]).all()
    assert np.isnan(seen[0][0][2, 1])
    assert data.target_DNH[4, :2, 0].tolist() == pytest.approx([-0.0005, 0.0005])
    assert torch.isnan(data.target_DNH[:, 2]).all()
    assert not np.isnan(data.return_DNH[:, 2]).any()  # evaluation keeps the plain returns


def test_a_window_holds_the_sessions_up_to_its_own() -> None:
    data = build()

    batch = data.windows(torch.tensor([2, 5]), 3)

    assert batch.x_BNTF.shape == (2, 3, 3, 2)
    assert batch.x_BNTF[0, 0, :, 0].tolist() == [0.0, 10.0, 20.0]
    assert batch.x_BNTF[1, 2, :, 1].tolist() == [302.0, 402.0, 502.0]
    assert batch.valid_BNT[0, 1].tolist() == [True, True, False]
    assert batch.mask_BN.tolist() == [[True, False, False], [True, True, False]]
    assert batch.market_BTM[1, :, 0].tolist() == [3.0, 4.0, 5.0]


def test_a_window_never_reaches_past_its_session() -> None:
    rows, _, _ = frames()
    future = pl.col("session") > SESSIONS[3].item()
    noise = rows.with_columns(pl.when(future).then(9e9).otherwise(pl.col("f_cs_z")).alias("f_cs_z"))

    plain = build().windows(torch.tensor([3]), 3)
    noisy = build(cross_section=noise).windows(torch.tensor([3]), 3)

    assert torch.equal(plain.x_BNTF, noisy.x_BNTF)


def test_a_session_read_alone_has_the_same_values_on_any_axis() -> None:
    narrow = AXES.__class__(**{**AXES.__dict__, "sessions": SESSIONS[1:4], "symbols": ("A", "C")})
    wide = AXES.__class__(**{**AXES.__dict__, "symbols": ("0", "A", "AA", "B", "C", "Z")})
    rows, tradable, _ = frames()
    rows = rows.filter((pl.col("symbol") != "B") | (pl.col("session") != SESSIONS[3].item()))

    one, one_symbols = Dataset.build(rows, narrow, tradable=tradable).cross_section(SESSIONS[3], 3)
    two, two_symbols = Dataset.build(rows, wide, tradable=tradable).cross_section(SESSIONS[3], 3)

    assert one_symbols == two_symbols == ("A", "C")
    assert torch.equal(one.x_BNTF, two.x_BNTF)
    assert one.x_BNTF.stride() == two.x_BNTF.stride()
    assert torch.equal(one.valid_BNT, two.valid_BNT)
    assert torch.equal(one.mask_BN, two.mask_BN)
    assert torch.equal(one.symbol_id_N, two.symbol_id_N)
    assert torch.equal(one.market_BTM, two.market_BTM)


def test_the_symbol_axis_is_who_had_a_row_in_the_given_sessions() -> None:
    rows, _, _ = frames()
    late = rows.filter((pl.col("symbol") != "A") | (pl.col("session") == SESSIONS[5].item()))

    assert symbol_axis(late, SESSIONS[:5]) == ("B", "C")
    assert symbol_axis(late, SESSIONS) == ("A", "B", "C")


def test_the_axes_of_training_are_decided_by_training_and_validation_alone() -> None:
    rows, _, _ = frames()
    at_last = pl.col("session") == SESSIONS[5].item()
    rows = pl.concat(
        [
            rows.filter((pl.col("symbol") != "A") | at_last),
            rows.filter(at_last & (pl.col("symbol") == "A")).with_columns(
                symbol=pl.lit("Z"), sector=pl.lit("later")
            ),
        ]
    )
    calendar = Calendar(
        exchange="TEST",
        zone=ZoneInfo("UTC"),
        decision_time=time(8),
        sessions=SESSIONS,
        decisions=SESSIONS.astype("datetime64[us]"),
        sessions_per_year=365.0,
    )
    split = Split(
        month="2020-02",
        first_session=SESSIONS[5],
        last_known=SESSIONS[4],
        train=SESSIONS[2:3],
        valid=SESSIONS[4:5],
        status="ready",
        first_month="2020-02",
    )

    axes = training_axes(
        symbol_axis(rows, split.decisions),
        sector_list(rows, split.decisions),
        calendar,
        split,
        steps=2,
        features=["f_cs_z"],
        horizons=[1],
    )

    assert axes.sessions.tolist() == SESSIONS[1:5].tolist()
    assert axes.symbols == axes.known_symbols == ("B", "C")
    assert axes.known_sectors == ("mine", "new")


def test_a_window_that_starts_before_the_axis_is_refused() -> None:
    with pytest.raises(RangeError, match="window of 3 sessions that ends at 2020-01-07"):
        build().places(SESSIONS[1:2], 3)
    with pytest.raises(RangeError, match="2021-01-01"):
        build().places(np.array(["2021-01-01"], dtype="datetime64[D]"), 1)


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_feature_that_is_no_number_is_refused(value: float | None) -> None:
    rows, _, _ = frames()
    at = (pl.col("session") == SESSIONS[1].item()) & (pl.col("symbol") == "B")
    rows = rows.with_columns(pl.when(at).then(value).otherwise(pl.col("f_cs_z")).alias("f_cs_z"))

    with pytest.raises(BadInput, match=r"f_cs_z is null or not finite in 1 rows, first .*'B'"):
        build(cross_section=rows)


def test_a_duplicate_row_is_refused() -> None:
    rows, _, _ = frames()

    with pytest.raises(BadInput, match="1 rows of cross_section share"):
        build(cross_section=pl.concat([rows, rows[4:5]]))


def test_a_missing_column_or_horizon_is_named() -> None:
    rows, _, labels = frames()

    with pytest.raises(MissingOutput, match="g_cs_z"):
        build(cross_section=rows.drop("g_cs_z"))
    with pytest.raises(MissingOutput, match="horizon 5"):
        build(labels=labels.filter(pl.col("horizon") == 1))


def test_half_precision_is_refused_on_the_cpu() -> None:
    with pytest.raises(BadInput, match="CUDA only"):
        build(dtype=torch.float16)
