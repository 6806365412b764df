"""Raw vectors beside a view: by hand, where they are held, and what is refused."""

import mmap

import numpy as np
import pytest
import torch

from alpha_assets.dataset.vectors import Vectors
from alpha_assets.errors import BadInput

CPU = torch.device("cpu")
TWO = np.array([[1.0, 0.1, -2.0], [4.0, 5.0, 6.0]], dtype=np.float32)
ROWS = np.array([[0, -1], [1, 0]], dtype=np.int32)  # two sessions, two symbols


class Counted:
    """Anonymous memory that notes what it is asked for."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def mapped(self, n_bytes: int) -> mmap.mmap:
        self.asked.append(n_bytes)
        return mmap.mmap(-1, n_bytes)


def test_a_session_gets_each_symbol_s_vector_and_zeros_where_there_is_none() -> None:
    found, has = Vectors.of(TWO, ROWS, "news").at(torch.tensor([1, 0]), CPU)

    tenth = float(np.float16(0.1))  # 0.0999755859375
    wanted = [[[4.0, 5.0, 6.0], [1.0, tenth, -2.0]], [[1.0, tenth, -2.0], [0.0, 0.0, 0.0]]]
    assert found.tolist() == wanted
    assert found.dtype == torch.float32
    assert has.tolist() == [[True, True], [True, False]]


def test_vectors_lie_in_the_space_that_is_given_two_bytes_a_number() -> None:
    space = Counted()
    held = Vectors.of(TWO, ROWS, "news", space)
    plain = Vectors.of(TWO, ROWS, "news")

    assert space.asked == [2 * 3 * 2]
    assert torch.equal(held.table_RV, plain.table_RV)
    places = torch.tensor([0, 1])
    for one, other in zip(held.at(places, CPU), plain.at(places, CPU), strict=True):
        assert torch.equal(one, other)


def test_no_vector_at_all_takes_no_space() -> None:
    space = Counted()
    nothing = np.zeros((0, 3), dtype=np.float32)
    found, has = Vectors.of(nothing, np.full_like(ROWS, -1), "news", space).at(
        torch.tensor([0]), CPU
    )
    assert space.asked == []
    assert found.tolist() == [[[0.0] * 3] * 2]
    assert not has.any()


@pytest.mark.parametrize("odd", [70_000.0, -70_000.0, np.inf, np.nan])
def test_a_number_that_float16_cannot_hold_is_refused(odd: float) -> None:
    with pytest.raises(BadInput, match=r"\[inputs\.news\]: a vector holds .* ends at 65504"):
        Vectors.of(np.array([[1.0, odd]], dtype=np.float32), ROWS, "news")
