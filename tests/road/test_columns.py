"""A model reads only columns that a cross-section has."""

from alpha_assets.features import CATALOG, INTERACTIONS
from alpha_assets.road.learning import market_columns, section_columns

BY_NAME = {item.name: item for item in (*CATALOG, *INTERACTIONS)}


def test_products_and_market_wide_features_have_no_share_that_is_missing() -> None:
    own, wide, product = BY_NAME["ret_1"], BY_NAME["ss_ratio"], BY_NAME["x_rev_5__turn_z"]
    assert wide.scope == "market"

    columns = section_columns([own, wide, product])

    assert columns == ("ret_1_cs_z", "x_rev_5__turn_z_cs_z", f"{own.family}_missing")
    assert market_columns([own, wide, product]) == ("ss_ratio_ts_z",)
