"""The J-Quants API V2: asking it, keeping what comes, and putting it into our words.

`endpoints` declares the tables, and which of the API are left out.  Declarations alone are
imported here.
"""

from alpha_assets.sources.jquants.key import ApiKey
from alpha_assets.sources.jquants.spec import API_HOST, JQuantsSpec

__all__ = ["API_HOST", "ApiKey", "JQuantsSpec"]
