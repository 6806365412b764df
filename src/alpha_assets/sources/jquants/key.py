"""The API key: read from the environment, never shown."""

import os
from collections.abc import Mapping

from alpha_assets.errors import FeedError

VARIABLE = "JQUANTS_API_KEY"


class ApiKey:
    """A secret that can be sent, and neither printed nor pickled."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        # What a header cannot carry would be quoted back in the error that refuses it.
        if not text or not text.isascii() or not text.isprintable() or " " in text:
            raise FeedError(
                f"{VARIABLE} must hold the key as the J-Quants dashboard shows it: printable "
                "characters without spaces; copy it again"
            )
        self._text = text

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "ApiKey":
        """Return the key that the environment holds.

        Raises:
            FeedError: there is none, or it cannot be one.
        """
        text = environment.get(VARIABLE, "").strip()
        if not text:
            raise FeedError(
                f"{VARIABLE} is not set; make a key in the J-Quants dashboard and export it, or "
                "choose another source"
            )
        return cls(text)

    def header(self) -> dict[str, str]:
        """Return the header that proves who asks; to be sent to the API's own host only."""
        return {"x-api-key": self._text}

    def hidden_in(self, text: str) -> str:
        """Return a text without the key, should it hold it."""
        return text.replace(self._text, "***")

    def __repr__(self) -> str:
        return "ApiKey(***)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("an API key is not pickled; read it from the environment again")
