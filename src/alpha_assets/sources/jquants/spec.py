"""`[source]` of a market that reads the J-Quants API."""

import ipaddress
from datetime import date
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator

from alpha_assets.feeds.base import SourceSpec
from alpha_assets.sources.jquants.plans import Plan

if TYPE_CHECKING:
    from alpha_assets.feeds.base import SourceMarket
    from alpha_assets.sources.jquants.source import JQuantsSource

API_HOST = "api.jquants.com"
BASE_URL = f"https://{API_HOST}/v2"


class JQuantsSpec(SourceSpec):
    """`[source]` of a market that reads the J-Quants API V2; the key is in the environment."""

    kind: Literal["jquants"] = "jquants"
    """Name of the kind."""
    plan: Plan = "standard"
    """What the subscription includes; docs/JQUANTS.md lists what each feed needs."""
    first: date
    """Oldest day wanted; the plan's window may begin later."""
    last: date | None = None
    """Newest day wanted; none: today."""
    base_url: str = BASE_URL
    """Address of the API, or of a local server in its shape."""
    bulk: bool = True
    """Whether long back-fills come from the files of history, where the plan has them."""
    only_common_stock: bool = True
    """Whether funds, trusts and preferred shares are left out."""
    timeout_seconds: float = Field(default=60.0, gt=0, le=600)
    """Longest silence of the server within a request; a whole request may take five."""

    def build(self, market: "SourceMarket") -> "JQuantsSource":
        """Return the source of a market; rows of another server land in a folder of their own."""
        # Loaded here: the source's parts read this spec.
        from alpha_assets.sources.jquants.source import JQuantsSource

        name = market.name if self.host == API_HOST else f"{market.name}-{self.host}"
        return JQuantsSource(self, market.calendar, market.landing / name)

    @property
    def host(self) -> str:
        """The server that is asked."""
        return urlsplit(self.base_url).hostname or ""

    @field_validator("base_url")
    @classmethod
    def _keeps_the_key_safe(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.username or parts.password or parts.query or parts.fragment:
            raise ValueError("want a plain address, such as " + BASE_URL)
        host = parts.hostname or ""
        if parts.scheme == "https" and host:
            return url.rstrip("/")
        if parts.scheme == "http" and _is_loopback(host):
            return url.rstrip("/")
        raise ValueError(
            "the API key is sent over https, or to this machine itself; want an address such as "
            + BASE_URL
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
