"""Issues whose margin balances are published daily because they are under watch.

Most issues never are; for them everything is 0, and `dmi_listed` says so.  What a publication
does not say of an issue under watch is unknown.  Everything is unknown where no publication has
been seen for five sessions.
"""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.features.base import build_feature, feature
from alpha_assets.feeds.margin import REASONS
from alpha_assets.panel.states.margin import STAGES

FAMILY = "dmi"

LEAST_RATIO = 0.1  # percent
RECENT = 20  # sessions
SUPERVISION = STAGES["102"]


def _watched(x: Array, listed: Array, board: Array) -> Array:
    """Return x of an issue under watch, 0 for every other, unknown without a publication."""
    return np.where(np.isnan(board), np.nan, np.where(listed == 1, x, 0.0))


@feature(rows=1, unit="flag", source="common practice.")
def dmi_listed(margin_alerts_listed: Array, alert_board_listed: Array) -> Array:
    """1 while the issue is under watch."""
    return _watched(margin_alerts_listed, margin_alerts_listed, alert_board_listed)


@feature(rows=1, unit="flag", source="common practice.")
def dmi_entry_20(
    margin_alerts_spell: Array, margin_alerts_age: Array, alert_board_listed: Array
) -> Array:
    """1 where the issue came under watch in the last 20 sessions, whether it still is or not."""
    recent = margin_alerts_spell + margin_alerts_age < RECENT
    return np.where(np.isnan(alert_board_listed), np.nan, recent.astype(np.float64))


@feature(rows=1, unit="sessions", source="common practice.")
def dmi_days_in(
    margin_alerts_spell: Array,
    margin_alerts_age: Array,
    margin_alerts_listed: Array,
    alert_board_listed: Array,
) -> Array:
    """Sessions since the issue came under watch; 0 when it is not."""
    since = margin_alerts_spell + margin_alerts_age
    return _watched(since, margin_alerts_listed, alert_board_listed)


@feature(
    rows=1,
    unit="log of a fraction",
    formula="ln(max(ratio in percent, 0.1) / 100)",
    source="common practice.",
)
def dmi_sl(
    margin_alerts_short_to_long: Array, margin_alerts_listed: Array, alert_board_listed: Array
) -> Array:
    """Short balance over long balance of an issue under watch."""
    ratio = np.log(np.maximum(margin_alerts_short_to_long, LEAST_RATIO) / 100)
    return _watched(ratio, margin_alerts_listed, alert_board_listed)


@feature(rows=1, unit="fraction of listed shares", source="common practice.")
def dmi_short_ratio(
    margin_alerts_short_ratio: Array, margin_alerts_listed: Array, alert_board_listed: Array
) -> Array:
    """Short balance of an issue under watch."""
    return _watched(margin_alerts_short_ratio / 100, margin_alerts_listed, alert_board_listed)


@feature(rows=1, unit="fraction of listed shares", source="common practice.")
def dmi_long_ratio(
    margin_alerts_long_ratio: Array, margin_alerts_listed: Array, alert_board_listed: Array
) -> Array:
    """Long balance of an issue under watch."""
    return _watched(margin_alerts_long_ratio / 100, margin_alerts_listed, alert_board_listed)


@feature(rows=1, unit="fraction", source="common practice.")
def dmi_long_chg(
    margin_alerts_long_change: Array,
    margin_alerts_long: Array,
    margin_alerts_listed: Array,
    alert_board_listed: Array,
) -> Array:
    """Change of the long balance since the session before, over the balance."""
    balance = np.where(margin_alerts_long > 0, margin_alerts_long, np.nan)
    change = margin_alerts_long_change / balance
    return _watched(change, margin_alerts_listed, alert_board_listed)


@feature(rows=1, unit="sessions of volume", source="common practice.")
def dmi_long_chg_adv(
    margin_alerts_long_change: Array,
    margin_alerts_listed: Array,
    alert_board_listed: Array,
    traded_shares_20: Array,
) -> Array:
    """Change of the long balance since the session before, over the volume of a session."""
    sessions = margin_alerts_long_change / traded_shares_20
    return _watched(sessions, margin_alerts_listed, alert_board_listed)


@feature(
    rows=1,
    unit="order",
    formula="0 none, 1 caution, 2 daily publication, 3 to 6 restrictions, -1 lifted, 7 supervision",
    source="the exchange's classes of margin regulation.",
)
def dmi_reg_stage(
    margin_alerts_stage: Array, margin_alerts_listed: Array, alert_board_listed: Array
) -> Array:
    """How strict the rules on the issue are."""
    return _watched(margin_alerts_stage, margin_alerts_listed, alert_board_listed)


@feature(rows=1, unit="flag", source="the exchange's classes of margin regulation.")
def dmi_is_supervised(
    margin_alerts_stage: Array, margin_alerts_listed: Array, alert_board_listed: Array
) -> Array:
    """1 where the issue is under supervision, which is no step of the order of restrictions."""
    supervised = np.where(np.isnan(margin_alerts_stage), np.nan, margin_alerts_stage == SUPERVISION)
    return _watched(supervised, margin_alerts_listed, alert_board_listed)


_WORDS = {
    "restricted": "the exchange restricts margin trading in it",
    "daily_publication": "the exchange has its balances published daily",
    "monitoring": "it is under special caution",
    "restricted_by_lender": "the lender takes no new requests for its shares",
    "caution_by_lender": "the lender has cautioned about its shares",
    "unclear_or_alert": "there is unclear information about it, or an alert",
}
dmi_reason = tuple(
    build_feature(
        f"dmi_reason_{name}",
        "dmi",
        _watched,
        (f"margin_alerts_is_{name}", "margin_alerts_listed", "alert_board_listed"),
        rows=1,
        unit="flag",
        about=f"1 where the issue is under watch because {_WORDS[name]}.",
        source="the exchange's reasons for daily publication.",
    )
    for name in REASONS
)
