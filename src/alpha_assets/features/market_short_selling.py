"""Short sales of the whole market, as a share of the day's sales; the same for every symbol."""

from alpha_assets.features.base import as_known, build_feature
from alpha_assets.features.ratio_statistics import ratio_statistics

FAMILY = "ss"

ss_ratio = build_feature(
    "ss_ratio",
    FAMILY,
    as_known,
    ("short_selling_ratio",),
    rows=1,
    unit="fraction",
    about="Short sales over all sales of the market, sums before ratios.",
    formula="(restricted + exempt) / (selling + restricted + exempt), all sectors",
    source="Boehmer, Jones & Zhang (2008), J. Finance 63.",
)
statistics = ratio_statistics("ss_ratio", FAMILY, "short_selling_ratio", "market")
