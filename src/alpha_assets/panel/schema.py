"""The columns of the panel: what was known of each symbol when a session was decided."""

import polars as pl

from alpha_assets.feeds.base import DataType

# Values of the bar of the session before, null without one; as in the feed `daily_bars`.
BAR_VALUES: dict[str, DataType] = {
    "open": pl.Float64,
    "high": pl.Float64,
    "low": pl.Float64,
    "close": pl.Float64,
    "volume": pl.Float64,
    "turnover_value": pl.Float64,
    "upper_limit": pl.Boolean,
    "lower_limit": pl.Boolean,
}
# A factor that the session learned late: the ex-session it stands on, and by what it moved the
# products of price and of volume factors (0.5 for a 1-to-2 split that had been forgotten).
LATE_FACTOR = pl.Struct({"session": pl.Date, "ratio": pl.Float64, "volume_ratio": pl.Float64})

# Of the latest known row of `listings`.
LISTING_VALUES: dict[str, DataType] = {
    "ticker": pl.String,
    "sector": pl.String,
    "market_segment": pl.String,
    "shortable": pl.Boolean,
}

PANEL_SCHEMA: dict[str, DataType] = {
    "session": pl.Date,
    "symbol": pl.String,
    **BAR_VALUES,
    # Product of the factors that became known at this very session, those of earlier ex-sessions
    # (`late_factors`) included: cum_factor = cum_factor of the row before · adjustment_factor.
    "adjustment_factor": pl.Float64,
    # The same of shares; null where no such bar states it (then 1 / adjustment_factor).
    "share_factor": pl.Float64,
    # Product of all factors known so far, in this life; price / cum_factor is adjusted forwards.
    "cum_factor": pl.Float64,
    # The same of what changes the number of shares; volume · cum_volume_factor is adjusted.
    "cum_volume_factor": pl.Float64,
    # What this session learned of factors of earlier ex-sessions: the rows from the ex-session's
    # bar to this one stand as they were, and windows that end here or later restate them.
    "late_factors": pl.List(LATE_FACTOR),
    "life": pl.Int16,  # of the symbol, as `listings` has it; 0 first
    "n_bars": pl.Int32,  # bars effective so far, in this life
    "stale": pl.Int16,  # sessions without a bar before this one; 0 = the session before has one
    **LISTING_VALUES,
    "in_membership": pl.Boolean,  # null where the market has no such feed
    # A session was announced for the day before this one and never held: the bar before is older
    # than it seems, and nothing of that day has a value, which is not the same as zero.
    "is_halt": pl.Boolean,
}
