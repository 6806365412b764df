"""What a subscription includes: how many requests a minute, how far back, which feeds.

Source: the API's documentation of plans and rate limits.
"""

from datetime import date, timedelta
from typing import Literal, NamedTuple

Plan = Literal["free", "light", "standard", "premium"]
PLANS: tuple[Plan, ...] = ("free", "light", "standard", "premium")


class Terms(NamedTuple):
    """What one plan allows."""

    per_minute: int  # requests the vendor accepts
    ask_per_minute: int  # requests that we make at most: the rest is margin
    years: int  # of history
    embargo_weeks: int = 0  # of the newest history, withheld


TERMS: dict[Plan, Terms] = {
    "free": Terms(5, 4, 2, embargo_weeks=12),
    "light": Terms(60, 55, 5),
    "standard": Terms(120, 110, 10),
    "premium": Terms(500, 460, 20),
}
# The same for every plan, counted apart and within the plan's own.
FINS_PER_MINUTE = 60
FINS_ASK_PER_MINUTE = 55


def includes(plan: Plan, least: Plan) -> bool:
    """Return whether a plan is `least` or a higher one."""
    return PLANS.index(plan) >= PLANS.index(least)


def window(plan: Plan, today: date) -> tuple[date, date]:
    """Return the first and the last day of history that a plan shows."""
    terms = TERMS[plan]
    last = today - timedelta(weeks=terms.embargo_weeks)
    try:
        first = last.replace(year=last.year - terms.years)
    except ValueError:  # 29 February
        first = last.replace(year=last.year - terms.years, day=28)
    return first, last
