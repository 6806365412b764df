"""A market of noise with a planted signal, small enough to be trained on in a second."""

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from alpha_assets.dataset import Axes, Split
from alpha_assets.dataset.tensor import Dataset
from alpha_assets.models import TransformerSpec
from alpha_assets.models.losses import ICSpec
from alpha_assets.training import GuardSpec, Learner, OptimiserSpec, TrainingSpec, WindowSpec

N_SYMBOLS, N_FEATURES, STEPS, HORIZON = 30, 5, 3, 2
N_TRAIN, N_VALID = 48, 16
N_SESSIONS = STEPS - 1 + N_TRAIN + HORIZON + N_VALID
SESSIONS = np.datetime64("2020-01-01") + np.arange(N_SESSIONS)
SYMBOLS = tuple(f"S{n:02d}" for n in range(N_SYMBOLS))
FEATURES = tuple(f"f{f}_cs_z" for f in range(N_FEATURES))

Build = Callable[..., Dataset]


def planted(strength: float = 0.7, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Return features [D, N, F] and returns [D, N] that follow the first feature."""
    draw = np.random.default_rng(seed)
    x_DNF = draw.standard_normal((N_SESSIONS, N_SYMBOLS, N_FEATURES)).astype(np.float32)
    noise_DN = draw.standard_normal((N_SESSIONS, N_SYMBOLS))
    y_DN = strength * x_DNF[..., 0] + np.sqrt(1 - strength**2) * noise_DN
    return x_DNF, 0.02 * y_DN


def build_dataset(x_DNF: np.ndarray, y_DN: np.ndarray) -> Dataset:
    """Return the dataset of plain arrays, through the frames that the pipeline would give."""
    keys = {
        "session": np.repeat(SESSIONS, N_SYMBOLS),
        "symbol": np.tile(np.array(SYMBOLS), N_SESSIONS),
    }
    columns = {name: x_DNF[..., f].ravel() for f, name in enumerate(FEATURES)}
    cross_section = pl.DataFrame({**keys, **columns}).with_columns(sector=pl.lit("bank"))
    labels = pl.DataFrame({**keys, "label": y_DN.ravel()}).with_columns(
        horizon=pl.lit(HORIZON, pl.Int16)
    )
    axes = Axes(SESSIONS, SYMBOLS, FEATURES, (), (HORIZON,), SYMBOLS, ("bank",))
    return Dataset.build(
        cross_section, axes, tradable=cross_section.select("session", "symbol"), labels=labels
    )


@pytest.fixture(scope="session")
def data() -> Dataset:
    """A market in which the first feature tells the return."""
    return build_dataset(*planted())


@pytest.fixture(scope="session")
def build() -> Build:
    """Build a dataset from features and returns."""
    return build_dataset


@pytest.fixture(scope="session")
def split() -> Split:
    """Training and validation of the small market, with the purge between them."""
    first = STEPS - 1
    return Split(
        month="2020-04",
        first_session=SESSIONS[-1] + 1,
        last_known=SESSIONS[-1],
        train=SESSIONS[first : first + N_TRAIN],
        valid=SESSIONS[first + N_TRAIN + HORIZON :],
        status="ready",
        first_month="2020-04",
    )


@pytest.fixture(scope="session")
def learner() -> Learner:
    """A small Transformer; the guard on the rank IC is open, for the signal is planted."""
    return Learner(
        model=TransformerSpec(d_model=8, heads=2),
        loss=(ICSpec(),),
        window=WindowSpec(sequence=STEPS),
        optimiser=OptimiserSpec(learning_rate=3e-3),
        training=TrainingSpec(batch_sessions=4, max_epochs=4, seeds=(0, 1)),
        guard=GuardSpec(rank_ic_max=1.0),
    )
