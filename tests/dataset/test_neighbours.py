"""Neighbours in a dataset: of the week's own graph, between names of the session's universe."""

from dataclasses import replace
from datetime import time

import numpy as np
import polars as pl
import torch
from tests.dataset.test_tensor import SESSIONS, SYMBOLS, build, frames

from alpha_assets.calendar import Calendar, CalendarSpec
from alpha_assets.dataset import Axes
from alpha_assets.dataset.axes import graph_sessions
from alpha_assets.dataset.neighbours import Neighbours
from alpha_assets.dataset.tensor import Dataset

# Two weeks' graphs; the axis of the dataset is 2020-01-06 (a Monday) to 2020-01-11.
FIRST, SECOND = np.datetime64("2020-01-06"), np.datetime64("2020-01-09")
MADE = np.array([FIRST] * 3 + [SECOND] * 3)
EDGES = pl.DataFrame(
    [
        (FIRST.item(), "A", "B", 0.5),
        (FIRST.item(), "A", "C", 0.9),
        (FIRST.item(), "A", "D", 0.7),  # on no axis here
        (FIRST.item(), "B", "A", 0.5),
        (FIRST.item(), "C", "A", 0.9),
        (SECOND.item(), "A", "B", 0.4),
        (SECOND.item(), "B", "A", 0.4),
    ],
    schema={"session": pl.Date, "symbol": pl.String, "neighbour": pl.String, "weight": pl.Float32},
    orient="row",
)


def graph(n_neighbours: int = 2, symbols: tuple[str, ...] = SYMBOLS) -> Neighbours:
    return Neighbours.of(EDGES, MADE, symbols, n_neighbours)


def seen(data: Dataset, place: int) -> list[list[tuple[str, float]]]:
    """The neighbours of each symbol at a session, by name, with the weight as two digits."""
    batch = data.windows(torch.tensor([place]), 1)
    assert batch.edges_BNK is not None
    assert batch.edge_weight_BNK is not None
    return [
        [(SYMBOLS[e], round(w, 2)) for e, w in zip(edges, weights, strict=True) if w]
        for edges, weights in zip(
            batch.edges_BNK[0].tolist(), batch.edge_weight_BNK[0].tolist(), strict=True
        )
    ]


def test_a_session_sees_the_nearest_neighbours_of_its_own_week() -> None:
    data = replace(build(), graph=graph())

    # D is the second nearest of A and leaves its place empty; B, the third, does not move up.
    assert seen(data, 0) == [[("C", 0.9)], [("A", 0.5)], [("A", 0.9)]]
    assert seen(data, 3) == seen(data, 5) == [[("B", 0.4)], [("A", 0.4)], []]
    assert seen(replace(data, graph=graph(3)), 0)[0] == [("C", 0.9), ("B", 0.5)]


def test_an_edge_counts_only_to_a_name_with_a_universe_row_on_the_day() -> None:
    data = replace(build(), graph=graph(3))  # B has no row on the third session

    assert seen(data, 1) == [[("C", 0.9), ("B", 0.5)], [("A", 0.5)], [("A", 0.9)]]
    assert seen(data, 2) == [[("C", 0.9)], [], [("A", 0.9)]]


def test_a_week_whose_graph_has_no_edge_has_no_neighbours() -> None:
    of_first = Neighbours.of(EDGES.filter(pl.col("session") == FIRST.item()), MADE, SYMBOLS, 2)
    none = Neighbours.of(EDGES.clear(), MADE, SYMBOLS, 2)

    assert seen(replace(build(), graph=of_first), 4) == [[], [], []]
    assert seen(replace(build(), graph=none), 0) == [[], [], []]
    assert build().windows(torch.tensor([0]), 1).edges_BNK is None


def test_a_session_alone_has_the_edges_that_it_has_among_others() -> None:
    data = replace(build(), graph=graph(3))
    for place, session in enumerate(SESSIONS):
        batch, symbols = data.cross_section(session, 1)
        kept = torch.tensor([SYMBOLS.index(symbol) for symbol in symbols])
        expected = data.windows(torch.tensor([place]), 1).select(kept)
        assert batch.edge_weight_BNK is not None
        assert torch.equal(batch.edge_weight_BNK, expected.edge_weight_BNK)
        assert torch.equal(batch.edges_BNK * (batch.edge_weight_BNK > 0), expected.edges_BNK)


def test_edges_of_a_session_do_not_depend_on_which_others_a_dataset_holds() -> None:
    rows, tradable, _ = frames()
    data = replace(build(), graph=graph(3))
    narrow = rows.filter(pl.col("session") == SESSIONS[2].item())  # B is not on its axis
    axes = Axes(SESSIONS[2:3], ("A", "C"), ("f_cs_z",), (), (1, 5), ("A", "C"), ("bank", "mine"))
    alone = replace(
        Dataset.build(narrow, axes, tradable=tradable),
        graph=Neighbours.of(EDGES, MADE[2:3], ("A", "C"), 3),
    )

    (one, names), (two, _) = (d.cross_section(SESSIONS[2], 1) for d in (data, alone))

    assert names == ("A", "C")
    assert torch.equal(one.edges_BNK, two.edges_BNK)
    assert torch.equal(one.edge_weight_BNK, two.edge_weight_BNK)


def test_sizes_name_the_neighbours() -> None:
    assert build().sizes(1).n_neighbours == 0
    assert replace(build(), graph=graph(3)).sizes(1).n_neighbours == 3


def test_the_graph_in_force_is_that_of_the_first_session_of_the_week() -> None:
    # Monday 2021-01-11 was no session: Tuesday's graph holds to Friday, and no week's is older.
    spec = CalendarSpec(
        exchange="XTKS", zone="Asia/Tokyo", decision_time=time(8, 30), sessions_per_year=245
    )
    calendar = Calendar.load(spec)
    sessions = calendar.between("2021-01-07", "2021-01-18")

    made = graph_sessions(calendar, sessions)

    assert [str(day) for day in made] == ["2021-01-04"] * 2 + ["2021-01-12"] * 4 + ["2021-01-18"]
