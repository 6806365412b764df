"""Views on the resident market agree bit for bit with cells that are built of the window alone."""

import mmap
from dataclasses import dataclass, field, fields
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from alpha_assets.arrays.types import Dates
from alpha_assets.dataset import Axes, informative, sector_list, symbol_axis
from alpha_assets.dataset.cells import Cells
from alpha_assets.dataset.resident import Part, Resident
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.errors import BadInput, RangeError

FEATURES = ("a_cs_z", "b_cs_z", "c_cs_z")
WIDE = ("w_ts_z", "v_ts_z")
MONTHS = ("2020-01", "2020-02", "2020-03", "2020-04", "2020-05", "2020-06")
PLENTY = 10**9


@dataclass
class Memory:
    """Anonymous memory that grows; what was mapped before is not seen in what follows."""

    held: list[mmap.mmap] = field(default_factory=list)

    def mapped(self, n_bytes: int) -> mmap.mmap:
        grown = mmap.mmap(-1, n_bytes)
        if self.held:
            before = self.held[-1]
            grown[: len(before)] = before[:]
        self.held.append(grown)
        return grown


def days_of(month: str) -> Dates:
    """Seven sessions a month."""
    return np.datetime64(month, "D") + np.arange(7)


def part(month: str, rows: pl.DataFrame, content: str = "stored") -> Part:
    """A month's rows, of which those of even days have a bar on the session before."""
    tradable = rows.filter(pl.col("session").dt.day() % 2 == 0).select("session", "symbol")
    lives = pl.DataFrame(schema={"session": pl.Date, "symbol": pl.String, "life": pl.Int16})
    return Part(month, content, days_of(month), rows, tradable, lives)


def rows_of(rng: np.random.Generator, month: str, symbols: list[str]) -> pl.DataFrame:
    """Some of the symbols on some of the days, with a column that begins in March."""
    days = days_of(month)
    wide = rng.normal(size=(len(days), len(WIDE))).astype(np.float32)
    found = [
        {
            "session": day.item(),
            "symbol": symbol,
            "sector": [None, "bank", "mine", f"of {symbol}"][rng.integers(4)],
            "a_cs_z": np.float32(rng.normal()),
            "b_cs_z": np.float32(rng.normal() if month >= "2020-03" else 0.0),
            "c_cs_z": np.float32(-0.0 if rng.random() < 0.2 else rng.normal()),
            **{name: wide[d, m] for m, name in enumerate(WIDE)},
        }
        for d, day in enumerate(days)
        for symbol in sorted(symbols)
        if d != 3 and rng.random() < 0.7  # nothing on the fourth day
    ]
    schema = {"session": pl.Date, "symbol": pl.String, "sector": pl.String}
    return pl.DataFrame(found, schema=schema | dict.fromkeys((*FEATURES, *WIDE), pl.Float32))


def random_market(seed: int) -> dict[str, pl.DataFrame]:
    """Months in which symbols come, go, and live a second time."""
    rng = np.random.default_rng(seed)
    pool = ["A", "A\x1f001", "B", "BA", "C", "Ä", "Z", "a", "b", "0"]
    return {
        month: rows_of(rng, month, [s for s in pool if rng.random() < 0.6] + ["M"])
        for month in MONTHS
    }


def add(resident: Resident, market: dict[str, pl.DataFrame], months: tuple[str, ...]) -> str | None:
    lacking = resident.lacking(dict.fromkeys(months, "stored"))
    if not lacking:
        return None
    return resident.add([part(m, market[m]) for m in lacking], keep_from=months[0])


def axes_of(
    symbols: tuple[str, ...], sectors: tuple[str, ...], sessions: Dates, features: tuple[str, ...]
) -> Axes:
    return Axes(sessions, symbols, features, WIDE, (1,), symbols, sectors)


def same(one: Cells, two: Cells) -> None:
    """Every array has the same bits, types and layout; tradable counts on universe rows alone."""
    for item in fields(Cells):
        left, right = getattr(one, item.name), getattr(two, item.name)
        if item.name == "tradable_DN":
            left, right = left & one.valid_DN, right & two.valid_DN
        assert (left.dtype, left.shape) == (right.dtype, right.shape), item.name
        assert left.flags.c_contiguous == right.flags.c_contiguous is True, item.name
        assert left.tobytes() == right.tobytes(), item.name


@pytest.mark.parametrize("seed", range(12))
def test_every_window_has_the_bits_of_one_that_is_built_alone(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    market = random_market(seed)
    memory = PLENTY if seed % 2 else 7 * 4 * 12 * len(FEATURES) * 4
    resident = Resident(FEATURES, WIDE, Memory, memory)
    n_dropped = 0
    for end in range(3, len(MONTHS) + 1):
        months = MONTHS[max(end - 3, 0) : end]
        n_dropped += add(resident, market, months) is not None
        rows = pl.concat([market[m] for m in months])
        start, decided = int(rng.integers(1, 7)), int(rng.integers(7, 14))
        sessions = np.concatenate([days_of(m) for m in months])[start:]
        decisions = sessions[-decided:]
        features = FEATURES if rng.random() < 0.5 else ("c_cs_z", "a_cs_z")

        symbols, sectors = resident.symbols_on(decisions), resident.sectors_on(decisions)
        assert symbols == symbol_axis(rows, decisions)
        assert sectors == sector_list(rows, decisions)
        axes = axes_of(symbols, sectors, sessions, features)
        tradable = pl.concat([part(m, market[m]).tradable for m in months])
        same(resident.view(axes), Cells.of(rows, axes, tradable))

        within = pl.col("session").is_in(sessions.tolist())
        informs = resident.informs().filter(within)
        assert informs.equals(informative(rows.filter(within), FEATURES, WIDE))
        names = rows.filter(within).join(tradable, on=["session", "symbol"], how="semi")
        counted = names.group_by("session").agg(names=pl.len()).sort("session")
        assert resident.names_on(sessions)["names"].to_list() == counted["names"].to_list()
        assert resident.n_bytes <= memory
    assert bool(n_dropped) == (memory != PLENTY)


def test_the_array_itself_is_the_view_where_nothing_else_is_on_it() -> None:
    rng = np.random.default_rng(0)
    market = {month: rows_of(rng, month, ["B", "A"]) for month in MONTHS}
    resident = Resident(FEATURES, WIDE, Memory, PLENTY)
    add(resident, market, MONTHS[:3])
    sessions = np.concatenate([days_of(m) for m in MONTHS[:3]])
    axes = axes_of(("A", "B"), (), sessions, FEATURES)
    whole, again = resident.view(axes).x_DNF, resident.view(axes).x_DNF
    assert np.shares_memory(whole, again)
    other = axes_of(("B",), (), sessions, FEATURES)
    assert not np.shares_memory(resident.view(other).x_DNF, whole)


def test_a_month_is_placed_once_and_again_where_its_content_changed() -> None:
    market = random_market(1)
    resident = Resident(FEATURES, WIDE, Memory, PLENTY)
    add(resident, market, MONTHS[:3])
    stored = dict.fromkeys(MONTHS, "stored")
    assert resident.lacking({m: stored[m] for m in MONTHS[1:4]}) == ["2020-04"]
    assert resident.lacking({m: stored[m] for m in MONTHS[1:3]}) == []
    changed = stored | {"2020-03": "again"}
    assert resident.lacking({m: changed[m] for m in MONTHS[1:4]}) == list(MONTHS[1:4])
    assert resident.months == {}


@pytest.mark.parametrize(
    ("held", "asked"),
    [((1, 4), (0, 3)), ((0, 2), (3, 5)), ((2, 4), (0, 2))],
    ids=["one before", "a gap", "earlier"],
)
def test_months_that_do_not_follow_begin_a_new_span(
    held: tuple[int, int], asked: tuple[int, int]
) -> None:
    market = random_market(2)
    resident = Resident(FEATURES, WIDE, Memory, PLENTY)
    add(resident, market, MONTHS[slice(*held)])
    add(resident, market, MONTHS[slice(*asked)])
    assert tuple(resident.months) == MONTHS[slice(*asked)]
    assert all(one < two for one, two in pairwise(resident.sessions))


def test_a_window_over_the_memory_is_refused_with_the_sum() -> None:
    # 7 sessions x 2 symbols x 3 columns x 4 bytes = 168 bytes.
    rows = rows_of(np.random.default_rng(3), "2020-01", ["A", "B"])
    resident = Resident(FEATURES, WIDE, Memory, 167)
    with pytest.raises(BadInput) as refused:
        resident.add([part("2020-01", rows)], keep_from="2020-01")
    assert str(refused.value) == (
        "the cross-sections of a training window take 168 bytes (7 sessions, 2 symbols, 3 columns "
        "of 4 bytes), more than memory = 167: raise ALPHA_MEMORY, or choose fewer features, a "
        "smaller universe or a shorter split.lookback_sessions"
    )
    enough = Resident(FEATURES, WIDE, Memory, 168)
    enough.add([part("2020-01", rows)], keep_from="2020-01")
    assert enough.n_bytes == 168


def test_a_value_that_is_no_number_is_refused_only_by_windows_that_read_it() -> None:
    rows = rows_of(np.random.default_rng(4), "2020-01", ["A", "B"])
    assert rows.row(0)[:2] == (days_of("2020-01")[0].item(), "B")
    at = (pl.col("session") == rows["session"][0]) & (pl.col("symbol") == "B")
    odd = pl.when(at).then(None).otherwise(pl.col("b_cs_z"))
    resident = Resident(FEATURES, WIDE, Memory, PLENTY)
    resident.add([part("2020-01", rows.with_columns(odd.alias("b_cs_z")))], keep_from="2020-01")
    days = days_of("2020-01")
    symbols = resident.symbols_on(days)
    with pytest.raises(BadInput, match=r"b_cs_z is null or not finite in 1 rows, first .*'B'"):
        resident.view(axes_of(symbols, (), days, FEATURES))
    resident.view(axes_of(symbols, (), days, ("a_cs_z", "c_cs_z")))
    resident.view(axes_of(symbols, (), days[1:], FEATURES))
    with pytest.raises(RangeError, match="no month that is held has session 2020-02-01"):
        resident.view(axes_of(symbols, (), days_of("2020-02"), FEATURES))


def test_two_rows_of_one_session_and_symbol_are_refused() -> None:
    rows = rows_of(np.random.default_rng(5), "2020-01", ["A", "B"])
    resident = Resident(FEATURES, WIDE, Memory, PLENTY)
    with pytest.raises(BadInput, match=r"1 rows of cross_section share \(session, symbol\)"):
        resident.add([part("2020-01", pl.concat([rows, rows[:1]]))], keep_from="2020-01")


def test_fitted_columns_are_appended_to_a_view_and_not_to_the_market() -> None:
    rows = rows_of(np.random.default_rng(6), "2020-01", ["A", "B"])
    resident = Resident(FEATURES, WIDE, Memory, PLENTY)
    resident.add([part("2020-01", rows)], keep_from="2020-01")
    days = days_of("2020-01")
    data = Dataset.of_cells(
        resident.view(axes_of(resident.symbols_on(days), (), days, FEATURES)),
        axes_of(resident.symbols_on(days), (), days, FEATURES),
    )
    ones_DN1 = data.x_DNF.new_ones(*data.x_DNF.shape[:2], 1)
    more = data.with_columns(["pca_0"], ones_DN1, "pca")
    assert more.axes.features == (*FEATURES, "pca_0")
    assert more.axes.families == {"pca": (3,)}
    assert bool((more.x_DNF[..., 3] == more.valid_DN).all())  # 0 where there is no row
    assert data.x_DNF.shape[-1] == 3
