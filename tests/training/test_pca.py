"""Principal components: by hand, against a singular value decomposition, and what is refused."""

import numpy as np
import pytest

from alpha_assets.arrays.types import Array32
from alpha_assets.errors import BadInput
from alpha_assets.training.pca import Pca, fit_pca


def vectors(n_rows: int = 30, width: int = 8) -> Array32:
    generator = np.random.default_rng(3)
    made = generator.normal(size=(n_rows, width)) * np.linspace(3, 1, width) + 5
    return made.astype(np.float32)


def test_two_directions_by_hand() -> None:
    # Mean (2, 1).  Along (3, 4)/5 the values lie at -5, 5; along (-4, 3)/5 at -1, 1.
    along, across = np.array([3.0, 4.0]) / 5, np.array([-4.0, 3.0]) / 5
    rows = np.array([2.0, 1.0]) + np.stack([-5 * along, 5 * along, -across, across])

    found = fit_pca(rows.astype(np.float32), np.ones(4, dtype=np.int64), 2, "news")

    np.testing.assert_allclose(found.mean_V, [2.0, 1.0], atol=1e-6)
    # The largest loading of each is positive: of the second one that is 4/5, so it is turned.
    np.testing.assert_allclose(found.component_KV, [along, -across], atol=1e-6)
    np.testing.assert_allclose(found.explained_K, [50 / 52, 2 / 52], rtol=1e-6)
    scores = found.scores(rows.astype(np.float32))
    np.testing.assert_allclose(scores, [[-5, 0], [5, 0], [0, 1], [0, -1]], atol=1e-5)


def test_a_vector_that_counts_three_times_is_three_rows() -> None:
    rows, count_R = vectors(), np.arange(30) % 4 + 1
    stacked = np.repeat(rows, count_R, axis=0).astype(np.float64)
    centred = stacked - stacked.mean(axis=0)
    _, singular, direction = np.linalg.svd(centred, full_matrices=False)

    found = fit_pca(rows, count_R, 3, "news")

    np.testing.assert_allclose(found.mean_V, stacked.mean(axis=0), rtol=1e-12)
    share = singular**2 / (singular**2).sum()
    np.testing.assert_allclose(found.explained_K, share[:3], rtol=1e-10)
    for k in range(3):
        one = direction[k] * np.sign(direction[k][np.abs(direction[k]).argmax()])
        np.testing.assert_allclose(found.component_KV[k], one, atol=1e-9)
    plain = fit_pca(rows, np.ones(30, dtype=np.int64), 3, "news")
    assert np.abs(plain.component_KV - found.component_KV).max() > 1e-3, "weights matter"


def test_a_score_has_the_same_bits_alone_and_among_others() -> None:
    rows = vectors(200, 768)
    found = Pca.of(fit_pca(rows, np.ones(200, dtype=np.int64), 5, "news").stored())
    whole = found.scores(rows)

    for n in (0, 7, 199):
        assert found.scores(rows[n : n + 1]).tobytes() == whole[n : n + 1].tobytes()
    assert found.scores(rows[3:90]).tobytes() == whole[3:90].tobytes()


def test_more_components_than_directions_are_refused() -> None:
    rows = vectors(4)
    with pytest.raises(BadInput, match=r"\[inputs\.news\] components = 4.* 4 distinct .* in 3 dir"):
        fit_pca(rows, np.ones(4, dtype=np.int64), 4, "news")
    same = np.repeat(rows[:1], 5, axis=0)
    with pytest.raises(BadInput, match="vary in 0 directions"):
        fit_pca(same, np.ones(5, dtype=np.int64), 1, "news")
