"""Command-line options of a local server: keys with their plans, faults, an instant."""

from collections.abc import Sequence
from datetime import datetime
from typing import get_args

from alpha_assets.calendar import Calendar
from alpha_assets.errors import SpecError
from alpha_assets.sources.jquants.endpoints import ENDPOINTS
from alpha_assets.sources.jquants.plans import PLANS, Plan
from alpha_assets.sources.sim_jquants.faults import Fault, Kind

LOCAL_KEY = "local-key"
KINDS: tuple[Kind, ...] = get_args(Kind)


def keys_of(words: Sequence[str]) -> dict[str, Plan]:
    """Return accepted keys and their plans, each written `KEY:PLAN`; without any, one of our own.

    Raises:
        SpecError: another form, or no such plan.
    """
    found: dict[str, Plan] = {}
    for word in words:
        key, colon, plan = word.rpartition(":")
        known = next((p for p in PLANS if p == plan), None)
        if not colon or not key or known is None:
            raise SpecError(f"--key {word!r}: want KEY:PLAN, plan one of {', '.join(PLANS)}")
        found[key] = known
    return found or {LOCAL_KEY: "standard"}


def fault_of(word: str) -> Fault:
    """Return a fault written `KIND`, `KIND:TIMES` or `KIND:TIMES:AFTER`, perhaps with `@/path`.

    Raises:
        SpecError: no such kind or path, or a count that is none.
    """
    script, at, path = word.partition("@")
    name, *counts = script.split(":")
    kind = next((k for k in KINDS if k == name), None)
    if kind is None:
        raise SpecError(f"--fault {word!r}: {name!r} is none of {', '.join(KINDS)}")
    if len(counts) > 2 or not all(count.isdecimal() for count in counts):
        raise SpecError(f"--fault {word!r}: want KIND:TIMES:AFTER, whole numbers")
    if at and path not in ENDPOINTS:
        raise SpecError(f"--fault {word!r}: {path!r} is none of {', '.join(ENDPOINTS)}")
    numbers = [int(count) for count in counts]
    times = numbers[0] if numbers else 1
    after = numbers[1] if len(numbers) > 1 else 0
    return Fault(kind, times, after, path if at else None)


def instant_of(word: str, calendar: Calendar) -> datetime:
    """Return an instant written as ISO 8601; without a zone it is the exchange's.

    Raises:
        SpecError: it is none.
    """
    try:
        found = datetime.fromisoformat(word)
    except ValueError:
        raise SpecError(f"--now {word!r}: want an instant, such as 2023-12-29T23:30") from None
    return found if found.tzinfo else found.replace(tzinfo=calendar.zone)
