"""A model reads the z-scores of its features and the missing share of each of their families."""

from alpha_assets.dataset.axes import family_places
from alpha_assets.features import CATALOG, INTERACTIONS
from alpha_assets.pipeline.columns import column_families, market_columns, section_columns

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


def test_each_column_is_of_the_family_of_its_feature_the_missing_share_included() -> None:
    own, wide, product = BY_NAME["ret_1"], BY_NAME["ss_ratio"], BY_NAME["x_rev_5__turn_z"]

    families = column_families([own, wide, product])

    assert families == {
        "ret_1_cs_z": "price",
        "price_missing": "price",
        "ss_missing": "ss",
        "x_rev_5__turn_z_cs_z": "x",
        "x_missing": "x",
    }
    # What is left out in a month has no place, and no place of another column changes with it.
    kept = ("x_rev_5__turn_z_cs_z", "price_missing", "ss_missing", "x_missing")
    places = family_places(kept, families)
    assert places == {"price": (1,), "ss": (2,), "x": (0, 3)}
    assert list(places) == ["price", "ss", "x"]
