"""A feed that a market declares for itself: numbers of its own, under the same clock."""

import re
from collections.abc import Iterable
from datetime import time
from typing import Self

import polars as pl
from pydantic import Field, field_validator, model_validator

from alpha_assets.errors import SpecError
from alpha_assets.feeds import FEEDS
from alpha_assets.feeds.base import Column, DataType, Feed, Publication, Scope, Stamped
from alpha_assets.spec import Spec

# Folders of a market, and what the panel calls its own columns.
RESERVED_FEEDS = (
    "raw",
    "panel",
    "features",
    "cross_section",
    "graph",
    "members",
    "listing",
    "label",
)
RESERVED_COLUMNS = (
    "date",
    "event_date",
    "symbol",
    "sector",
    "section",
    "available_at",
    "ingested_at",
    "revision",
    "age",
)
WORDS = ("number", "flag", "vector(N)")
MAX_WIDTH = 4096
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_VECTOR = re.compile(r"vector\((\d+)\)")


class OwnPublicationSpec(Spec):
    """When a row without `available_at` is public: the date, moved, at a local wall time."""

    sessions: int = Field(default=0, ge=0)
    """Sessions strictly after the date."""
    days: int = Field(default=0, ge=0)
    """Calendar days on top."""
    at: time
    """Wall time of the market's zone."""


class OwnFeedSpec(Spec):
    """Declared under `[feeds.<name>]`, for a feed of this market only."""

    scope: Scope
    """Whom a row is about: a symbol, a sector, a market segment, or the market."""
    columns: dict[str, str] = Field(min_length=1)
    """Name of each column and its type: number, flag or vector(N)."""
    max_stale: int | None = Field(default=20, ge=1)
    """Sessions after which a value is no longer joined; none: never."""
    publication: OwnPublicationSpec | None = None
    """When a row is public; none: every row has `available_at`."""
    about: str = "declared by the market"
    """What the feed is."""

    @field_validator("columns")
    @classmethod
    def _are_columns(cls, columns: dict[str, str]) -> dict[str, str]:
        for name, word in columns.items():
            if not _NAME.fullmatch(name) or name in RESERVED_COLUMNS:
                raise ValueError(
                    f"column {name!r} has no name for one; want small letters, digits and _, "
                    f"and none of {', '.join(RESERVED_COLUMNS)}"
                )
            _dtype(name, word)
        return columns

    @model_validator(mode="after")
    def _has_no_twin(self) -> Self:
        spread = [f"{n}_{k}" for n, w in self.columns.items() for k in range(_width(w))]
        twins = sorted(set(spread) & set(self.columns))
        if twins:
            raise ValueError(
                f"column {twins[0]!r} has the name of a vector's number; rename one of them"
            )
        return self

    def feed(self, name: str) -> Feed:
        """Return the feed that is declared, under its name.

        Raises:
            SpecError: the name is taken, or is none.
        """
        check_name(name)
        key = () if self.scope == "market" else (self.scope,)
        stated = self.publication
        rule: Publication = Stamped()
        if stated is not None:
            rule = Publication("event_date", stated.sessions, stated.days, stated.at)
        return Feed(
            name=name,
            key=("event_date", *key),
            scope=self.scope,
            columns=tuple(
                Column(column, _dtype(column, word), word, column.replace("_", " "), required=True)
                for column, word in self.columns.items()
            ),
            publication=rule,
            max_stale=self.max_stale,
            about=self.about,
        )


def check_name(name: str, taken: Iterable[str] = ()) -> None:
    """Refuse a name that an own feed cannot have.

    Args:
        name: of the feed.
        taken: more names that are in use.

    Raises:
        SpecError: naming the rule that it breaks.
    """
    if not _NAME.fullmatch(name):
        raise SpecError(
            f"[feeds.{name}]: {name!r} is no name of a feed; want small letters, digits and _, "
            "a letter first"
        )
    if name in FEEDS:
        raise SpecError(
            f"[feeds.{name}]: there is a feed of that name, with columns of its own; leave scope "
            "and columns out, or choose another name"
        )
    if name in (*RESERVED_FEEDS, *taken):
        raise SpecError(
            f"[feeds.{name}]: {name!r} is in use here; choose a name other than "
            f"{', '.join(RESERVED_FEEDS)}"
        )


def _dtype(name: str, word: str) -> DataType:
    if word == "number":
        return pl.Float64()
    if word == "flag":
        return pl.Boolean()
    if 1 <= _width(word) <= MAX_WIDTH:
        return pl.Array(pl.Float32, _width(word))
    raise ValueError(
        f"column {name!r} is {word!r}; want one of {', '.join(WORDS)}, N from 1 to {MAX_WIDTH}"
    )


def _width(word: str) -> int:
    found = _VECTOR.fullmatch(word)
    return int(found[1]) if found else 0
