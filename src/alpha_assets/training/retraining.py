"""Which month's model decides a month, and from which month's weights it starts."""

from alpha_assets.calendar import month_range, next_month
from alpha_assets.training.settings import TrainingSpec


def model_month(month: str, first_month: str, every: int) -> str:
    """Return the month whose model decides `month`, when one is trained every so many months.

    Args:
        month: to be decided.
        first_month: the market's first month with enough history: trained, and counted from.
        every: `retrain_every`.

    Raises:
        RangeError: `month` is before the first.
    """
    elapsed = len(month_range(first_month, month)) - 1
    return next_month(month, -(elapsed % every))


def parent_month(month: str, first_month: str, spec: TrainingSpec) -> str | None:
    """Return the month whose weights a retrained `month` starts from; None for a cold start.

    The chain starts cold at the first month and again at the first retraining of each year.
    """
    if not spec.warm_start or month == first_month:
        return None
    earlier = model_month(next_month(month, -1), first_month, spec.retrain_every)
    return earlier if earlier[:4] == month[:4] else None
