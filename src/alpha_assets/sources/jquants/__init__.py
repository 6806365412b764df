"""The J-Quants API V2: asking it, keeping what comes, and putting it into our words.

`endpoints` declares the tables, and which of the API are left out.
"""

from alpha_assets.sources.jquants.clock import Clock, SystemClock
from alpha_assets.sources.jquants.key import ApiKey
from alpha_assets.sources.jquants.source import JQuantsSource
from alpha_assets.sources.jquants.spec import API_HOST, JQuantsSpec
from alpha_assets.sources.jquants.transport import Reply, RequestsTransport, Transport

__all__ = [
    "API_HOST",
    "ApiKey",
    "Clock",
    "JQuantsSource",
    "JQuantsSpec",
    "Reply",
    "RequestsTransport",
    "SystemClock",
    "Transport",
]
