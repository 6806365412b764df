"""How much of a family is filled where all is well; less than that is worth a look.

The share counts cells of symbols with enough history.  Families of feeds that most symbols
have nothing in are sparse by their nature; a market's file sets limits of its own under
`[coverage]`.
"""

LEAST_FILLED = 0.5
SPARSE = {
    "dmi": 0.3,  # some numbers are only those of issues under watch
    "fund": 0.2,  # growth needs two years of statements
    "iv": 0.2,  # not every symbol has options
    "news": 0.1,  # most symbols have no article for weeks
    "short_interest": 0.3,
    "short_volume": 0.3,
    "ssp": 0.1,  # most companies are never sold short by half a percent
}


def least_filled(family: str) -> float:
    """Return the share of cells below which a family counts as thin, as a fraction."""
    return SPARSE.get(family, LEAST_FILLED)
