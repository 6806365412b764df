"""When the rows of a feed can be known, in words, from its publication rule."""

from datetime import time

from alpha_assets.feeds.base import Feed, Publication, Stamped

DECISION = time(8, 30)  # of Tokyo; the words are the same for any hour of the morning
SUFFIX = {1: "st", 2: "nd", 3: "rd"}


def publication_words(feed: Feed) -> str:
    """Return when a row without a stamp of its own is public, and the session that knows it."""
    rule = feed.publication
    if isinstance(rule, Stamped):
        return "the row's own `available_at`: the session after"
    stated = f", or of the day in `{rule.stated}`" if rule.stated is not None else ""
    if rule.described:
        return f"{rule.described}, {rule.at:%H:%M}{stated}: the session after"
    day = "the day" if rule.anchor == "event_date" else f"the day in `{rule.anchor}`"
    if rule.sessions:
        day = f"the {_ordinal(rule.sessions)} session after {day}"
    if rule.days:
        plain = day == "the day"
        day = "the next day" if plain and rule.days == 1 else f"{rule.days} days after {day}"
    return f"{rule.at:%H:%M} of {day}{stated}: {_session(rule)}"


def _session(rule: Publication) -> str:
    """Return the first session that is decided after the instant."""
    if rule.days:
        return "next session" if rule.days == 1 and rule.at <= DECISION else "the session after"
    late = rule.sessions + (rule.at > DECISION)
    if late > 1:
        return f"the {_ordinal(late)} session after"
    return "next session" if late else "that session"


def _ordinal(n: int) -> str:
    return f"{n}{SUFFIX.get(n if n < 20 else n % 10, 'th')}"
