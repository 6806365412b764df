"""A model reads the z-scores of its features and the missing share of each of their families."""

from alpha_assets.features import CATALOG, INTERACTIONS
from alpha_assets.pipeline.train import market_columns, section_columns

BY_NAME = {item.name: item for item in (*CATALOG, *INTERACTIONS)}


def test_each_family_brings_one_share_and_a_market_wide_series_its_own_column() -> None:
    own, wide, product = BY_NAME["ret_1"], BY_NAME["ss_ratio"], BY_NAME["x_rev_5__turn_z"]
    assert wide.scope == "market"

    columns = section_columns([own, wide, product, BY_NAME["ret_5"]])

    assert columns == (
        "ret_1_cs_z",
        "x_rev_5__turn_z_cs_z",
        "ret_5_cs_z",
        "price_missing",
        "ss_missing",
        "x_missing",
    )
    assert market_columns([own, wide, product]) == ("ss_ratio_ts_z",)
