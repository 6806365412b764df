"""By what validation selects among epochs, penalties or trees; higher is better.

Shape letters: D validation sessions, N symbols, H horizons.
"""

import numpy as np

from alpha_assets.arrays.ranks import average_rank
from alpha_assets.arrays.types import Array
from alpha_assets.errors import BadInput, TooFewNames
from alpha_assets.training.settings import Selection

BPS = 1e-4
LEAST_SPREAD = 1e-9  # of the mean: below, what is earned is the same in every period


def selected_value(
    selection: Selection,
    ic_DH: Array,
    score_DNH: Array,
    return_DNH: Array,
    horizons: tuple[int, ...],
    *,
    loss: float | None,
    cost_bps: float,
) -> float:
    """Return the value of one candidate, a mean over horizons.

    Args:
        selection: by what.
        ic_DH: rank IC per session, NaN where it has none.
        score_DNH: scores, NaN where masked.
        return_DNH: forward returns, NaN where masked or unknown.
        horizons: H, in sessions.
        loss: on the validation sessions, for `loss`.
        cost_bps: of traded notional, for `net_sharpe`.
    """
    if selection == "loss":
        assert loss is not None, "the learner refuses models without a loss"
        return -loss
    if selection == "net_sharpe":
        values = [
            net_sharpe(score_DNH[..., h], return_DNH[..., h], horizon, cost_bps)
            for h, horizon in enumerate(horizons)
        ]
        return float(np.mean(values))
    mean_H = np.nanmean(ic_DH, axis=0)
    if selection == "rank_ic":
        return float(np.mean([float(mean) for mean in mean_H]))
    return float(np.mean(mean_H / np.maximum(np.nanstd(ic_DH, axis=0), 1e-12)))


def net_sharpe(score_DN: Array, return_DN: Array, horizon: int, cost_bps: float) -> float:
    """Return mean / standard deviation per holding period of rank-proportional weights.

        w = centred rank / Σ abs(centred rank);  net(D) = Σ w(D) r(D) - cost · Σ abs(w(D) - w(D-h))

    One period is one horizon: what is bought at D is sold at D + h, and only what differs from the
    weights of D - h is traded.  The first h sessions buy from nothing and are left out, and so is a
    session of whose scored names none has a known return; a single name without one earns 0, as
    one that leaves at the price at which it was entered.

    Args:
        score_DN: scores of consecutive sessions, NaN where masked.
        return_DN: forward returns over `horizon` sessions, NaN where masked or unknown.
        horizon: sessions.
        cost_bps: commission and half-spread, of traded notional.

    Raises:
        BadInput: so few sessions that no two of them follow the first h: every candidate would
            have the same value.
        TooFewNames: fewer than two of those have a known return.
    """
    if len(score_DN) < horizon + 2:
        raise BadInput(
            f'training.selection = "net_sharpe" on {len(score_DN)} validation sessions at a '
            f"horizon of {horizon}: want {horizon + 2} at least; give split (or study) more "
            "valid_sessions, or fewer folds"
        )
    held_DN = np.zeros_like(score_DN)
    for d, score_N in enumerate(score_DN):
        known_N = np.isfinite(score_N)
        if known_N.sum() < 2:
            continue
        rank_N = average_rank(score_N[known_N])
        centred_N = rank_N - rank_N.mean()
        gross = np.abs(centred_N).sum()
        if gross > 0:
            held_DN[d, known_N] = centred_N / gross
    earned_D = (held_DN * np.nan_to_num(return_DN, nan=0.0)).sum(axis=1)
    traded_D = np.abs(held_DN[horizon:] - held_DN[:-horizon]).sum(axis=1)
    net_D = earned_D[horizon:] - cost_bps * BPS * traded_D
    has_pair_D = np.count_nonzero(np.isfinite(score_DN) & np.isfinite(return_DN), axis=1) > 0
    net_D = net_D[has_pair_D[horizon:]]
    if len(net_D) < 2:
        raise TooFewNames(
            f"{len(net_D)} validation sessions have a name with a score and a return over "
            f'{horizon} sessions, and training.selection = "net_sharpe" needs 2; want a longer '
            "split.valid_sessions, or other months"
        )
    mean, spread = float(net_D.mean()), float(net_D.std())
    return mean / spread if spread > LEAST_SPREAD * abs(mean) else 0.0
