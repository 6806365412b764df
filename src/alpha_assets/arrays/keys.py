"""The key of every table with a row per decision and symbol, and how long a silent symbol stays."""

KEYS = ("session", "symbol")

# Sessions without a bar after which a symbol's rows end, its price is not carried any further and
# what is held of it leaves, where a market's `max_stale` does not set another number.
MAX_STALE = 20
