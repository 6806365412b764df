"""Features: fixed formulas of the panel up to the session, on bit-stable window kernels.

`CATALOG` is all that exists, in the order of the table's columns.
"""

from alpha_assets.features import liquidity, price, risk, trading, trend, volatility
from alpha_assets.features.base import SESSIONS_PER_YEAR, Feature
from alpha_assets.features.compute import compute_features, max_lookback
from alpha_assets.features.cross_section import CrossSection, cross_section, trailing_z
from alpha_assets.features.own import own_features
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
    trend.rsi_14,
    *volatility.vol_c2c,
    *volatility.vol_park,
    *volatility.vol_gk,
    *volatility.vol_rs,
    volatility.vol_yz_20,
    volatility.vol_yz_60,
    volatility.vov_60,
    volatility.range_1,
    volatility.range_20,
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
    *SIDE_CATALOG,
)

__all__ = [
    "CATALOG",
    "SESSIONS_PER_YEAR",
    "CrossSection",
    "Feature",
    "FeaturesSpec",
    "compute_features",
    "cross_section",
    "max_lookback",
    "missing_features",
    "own_features",
    "select",
    "trailing_z",
]
