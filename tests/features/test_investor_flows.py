"""Investors' weeks as features: which column each reads, and their differences."""

import numpy as np

from alpha_assets.arrays.types import Array
from alpha_assets.features import investor_flows

PARTS = {
    "frgn": "foreigners", "ind": "individuals", "invtr": "investment_trusts",
    "trstbnk": "trust_banks", "prop": "proprietary", "busco": "businesses",
}  # fmt: skip


def column(*values: float) -> Array:
    return np.array(values, dtype=np.float64)[:, None]


def test_every_figure_reads_its_own_column() -> None:
    for feature in investor_flows.of_section:
        who, figure = feature.name.removeprefix("flow_").split("_")
        assert feature.inputs == (f"investor_types_{PARTS[who]}_{figure}",)
        assert feature.scope == "section"
    for feature in investor_flows.of_exchange:
        who, figure = feature.name.removeprefix("flow_all_").split("_")
        assert feature.inputs == (f"market_flows_{PARTS[who]}_{figure}",)
        assert feature.scope == "market"
    assert len(investor_flows.of_section) == 6 * 5
    assert len(investor_flows.of_exchange) == 6 * 2


def test_a_figure_is_handed_on_and_not_shared() -> None:
    x = column(0.1, np.nan)
    found = investor_flows.of_section[0](x)

    np.testing.assert_array_equal(found, x)
    found[0] = 9.0
    assert x[0, 0] == 0.1


def test_foreigners_and_individuals_disagree_by_the_difference_of_their_z() -> None:
    found = investor_flows.flow_div_frgn_ind(column(1.5, np.nan), column(-0.5, 1.0))

    np.testing.assert_array_equal(found, column(2.0, np.nan))


def test_age_and_splice_are_handed_on() -> None:
    np.testing.assert_array_equal(investor_flows.flow_days_since(column(3)), column(3))
    np.testing.assert_array_equal(investor_flows.flow_is_spliced(column(1)), column(1))
