"""`[source]` of a market that reads a folder."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, field_validator

from alpha_assets.errors import SpecError
from alpha_assets.feeds.base import Feed, PriceLevel, SourceMarket, SourceSpec
from alpha_assets.feeds.listings import EXITS
from alpha_assets.sources.files.tables import READABLE, Form, table_of

if TYPE_CHECKING:
    from alpha_assets.sources.files.source import FilesSource


class FilesSourceSpec(SourceSpec):
    """`[source]` of a market that reads a folder."""

    kind: Literal["files"] = "files"
    """Name of the kind."""
    path: str | None = None
    """The folder; none: `--data`, else the environment's ALPHA_DATA."""
    price_level: PriceLevel | None = None
    """none: `split_adjusted` where `adj_close` is given, else `raw`."""
    exit_words: dict[str, str] = Field(default_factory=dict)
    """The vendor's words for exits and ours: delisted, acquired, source_end, active."""
    columns: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Per feed, the vendor's column names and ours."""
    separators: dict[str, str] = Field(default_factory=dict)
    """Per feed, the separator of its CSV; else a comma."""
    trailers: tuple[str, ...] = ()
    """Feeds whose CSV ends with a line that holds the number of rows."""

    @field_validator("exit_words")
    @classmethod
    def _are_ours(cls, words: dict[str, str]) -> dict[str, str]:
        for theirs, ours in words.items():
            if ours not in EXITS:
                raise ValueError(
                    f"{theirs!r} is mapped to {ours!r}; want one of {', '.join(EXITS)}"
                )
        return words

    @field_validator("columns")
    @classmethod
    def _are_columns(cls, columns: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
        for feed, words in columns.items():
            if feed in READABLE:
                _check_words(feed, words, table_of(feed).fields)
            if len(set(words.values())) < len(words):
                raise ValueError(f"two columns of {feed} are mapped to one; map one of them")
        return columns

    @field_validator("separators")
    @classmethod
    def _are_separators(cls, separators: dict[str, str]) -> dict[str, str]:
        for feed, separator in separators.items():
            if len(separator.encode()) != 1 or separator.isalnum() or separator in '"\n\r':
                raise ValueError(
                    f"the separator of {feed} is {separator!r}; want one character, such as | or ;"
                )
        return separators

    @property
    def names_folder(self) -> bool:
        """Whether the market's file itself names the folder."""
        return self.path is not None

    @property
    def folder_settings(self) -> Mapping[str, Any]:
        """Everything but the folder."""
        return self.model_dump(exclude={"path"})

    def form(self, feed: str) -> Form:
        """Return how the files of a feed are written."""
        return Form(
            self.columns.get(feed, {}), self.separators.get(feed, ","), feed in self.trailers
        )

    def build(self, market: SourceMarket) -> "FilesSource":
        """Return the source of a market.

        Raises:
            SpecError: a setting of a feed that no folder has.
        """
        from alpha_assets.sources.files.source import FilesSource  # with it comes what reads files

        return FilesSource(self, market.calendar, market.own_feeds, market.declared)

    def check(self, own: Mapping[str, Feed]) -> None:
        """Refuse settings of feeds that no folder has.

        Args:
            own: the feeds that the market declares for itself.

        Raises:
            SpecError: naming the setting.
        """
        for setting in ("columns", "separators", "trailers"):
            for feed in getattr(self, setting):
                if feed not in READABLE and feed not in own:
                    raise SpecError(
                        f"[source] {setting}: {feed!r} is no feed of a folder; want one of "
                        f"{', '.join((*READABLE, *own))}"
                    )
        for name, feed in own.items():
            try:
                _check_words(name, self.columns.get(name, {}), table_of(name, feed).fields)
            except ValueError as error:
                raise SpecError(f"[source] columns: {error}") from None


def _check_words(feed: str, words: Mapping[str, str], known: Mapping[str, object]) -> None:
    for theirs, ours in words.items():
        if ours not in known:
            raise ValueError(
                f"column {theirs!r} of {feed} is mapped to {ours!r}; want one of {', '.join(known)}"
            )
