"""Features: fixed formulas of the panel up to the session, on bit-stable window kernels.

`CATALOG` is all that exists, in the order of the table's columns.
"""

from collections.abc import Iterable
from functools import cache

from alpha_assets.features import liquidity, price, regime, risk, trading, trend, volatility
from alpha_assets.features.base import SESSIONS_PER_YEAR, Feature
from alpha_assets.features.compute import compute_features, market_series, max_lookback, pools
from alpha_assets.features.compute_cross_symbol import ACROSS
from alpha_assets.features.cross_section import TRAILING, CrossSection, cross_section, trailing_z
from alpha_assets.features.cross_symbol import feature_at
from alpha_assets.features.custom_feeds import own_features
from alpha_assets.features.interactions import interaction, is_interaction
from alpha_assets.features.selection import FeaturesSpec, missing_features, select
from alpha_assets.features.side import SIDE_CATALOG

CATALOG: tuple[Feature, ...] = (
    *price.ret,
    price.rev_5,
    price.mom_12_1,
    price.mom_6_1,
    price.gap_on,
    price.intraday,
    price.gap_on_20,
    price.intraday_20,
    *trend.sma_ratio,
    trend.sma_cross_5_20,
    *trend.dist_high,
    *trend.dist_low,
    trend.close_in_range,
    trend.rsi_14,
    *volatility.vol_c2c,
    *volatility.vol_park,
    *volatility.vol_gk,
    *volatility.vol_rs,
    volatility.vol_yz_20,
    volatility.vol_yz_60,
    volatility.vov_60,
    volatility.vol_z_252,
    volatility.range_1,
    volatility.range_20,
    volatility.range_z_252,
    *risk.beta,
    risk.beta_shrunk,
    *risk.ivol,
    risk.max_ret_20,
    risk.min_ret_20,
    *liquidity.amihud,
    liquidity.cs_spread_20,
    *liquidity.adv,
    liquidity.ln_adv20,
    liquidity.adv_sh_20,
    liquidity.turn_z,
    liquidity.dollar_volume_z_20,
    *liquidity.volume_z,
    liquidity.volume_ratio_5_60,
    trading.stale,
    trading.n_stale_20,
    trading.limit_up_20,
    trading.limit_dn_20,
    trading.tick_rel,
    regime.regime_low_vol,
    regime.regime_high_vol,
    regime.regime_momentum,
    regime.regime_reversal,
    regime.regime_crash,
    *ACROSS,
    *SIDE_CATALOG,
)

_STARTER = (
    ("mom_12_1", "sector_short_z_60", "Momentum where the sector is sold short."),
    ("rev_5", "turn_z", "Reversal where much is traded."),
    ("ivol_60", "margin_long_adv", "Own volatility where customers are long on margin."),
    ("ssp_chg_20", "ret_20", "Growing short positions against the month's return."),
    ("dist_high_252", "flow_frgn_z", "Distance from the high while foreigners buy."),
    ("beta_60", "opt_iv_z", "Beta while options are dear."),
    ("margin_imbalance", "margin_is_borrowable", "Margin imbalance where shares can be lent."),
)


def _interactions(catalog: Iterable[Feature]) -> tuple[Feature, ...]:
    by_name = {feature.name: feature for feature in catalog}
    return tuple(
        interaction(by_name[a], by_name[b], about)
        for a, b, about in _STARTER
        if a in by_name and b in by_name
    )


INTERACTIONS: tuple[Feature, ...] = _interactions(CATALOG)


@cache
def catalog_at(max_stale: int) -> tuple[Feature, ...]:
    """Return `CATALOG` on a market with this `max_stale`."""
    return tuple(feature_at(feature, max_stale) for feature in CATALOG)


@cache
def interactions_at(max_stale: int) -> tuple[Feature, ...]:
    """Return `INTERACTIONS` on a market with this `max_stale`."""
    return _interactions(catalog_at(max_stale))


__all__ = [
    "CATALOG",
    "INTERACTIONS",
    "SESSIONS_PER_YEAR",
    "TRAILING",
    "CrossSection",
    "Feature",
    "FeaturesSpec",
    "catalog_at",
    "compute_features",
    "cross_section",
    "interactions_at",
    "is_interaction",
    "market_series",
    "max_lookback",
    "missing_features",
    "own_features",
    "pools",
    "select",
    "trailing_z",
]
