"""Who bought and who sold: the last known week of the symbol's section, and of the exchange.

The figures of a section are equal for its symbols; those of the exchange (`flow_all_*`) for all.
"""

from typing import NamedTuple

from alpha_assets.arrays.types import Array
from alpha_assets.features.base import Feature, as_known, build_feature, feature

FAMILY = "flow"

# Part of a feature's name -> part of its input's, and who that is.
INVESTORS = {
    "frgn": ("foreigners", "foreigners"),
    "ind": ("individuals", "individuals"),
    "invtr": ("investment_trusts", "investment trusts"),
    "trstbnk": ("trust_banks", "trust banks"),
    "prop": ("proprietary", "members for their own account"),
    "busco": ("businesses", "business corporations"),
}


class Figure(NamedTuple):
    """One figure of every investor."""

    unit: str
    about: str
    source: str


KNK = "Kamesaka, Nofsinger & Kawakita (2003), Pac.-Basin Finance J. 11."
FIGURES = {
    "net": Figure("fraction", "Bought less sold by {who} in the last known week, over both", KNK),
    "share": Figure(
        "fraction", "Part of {who} in the last known week's trades", "common practice."
    ),
    "imp": Figure("fraction", "Bought less sold by {who} in the week, over all trades", KNK),
    "z": Figure(
        "standard deviations",
        "How unusual the net purchases of {who} are against their last 52 weeks",
        "Choe, Kho & Stulz (2005), Rev. Financ. Stud. 18.",
    ),
    "chg": Figure(
        "fraction", "Net purchases of {who} less their mean of four weeks", "common practice."
    ),
}


def _figure(name: str, join: str, who: str, figure: str, where: str) -> Feature:
    part, words = INVESTORS[who]
    unit, about, source = FIGURES[figure]
    return build_feature(
        name,
        "flow",
        as_known,
        (f"{join}_{part}_{figure}",),
        rows=1,
        unit=unit,
        about=f"{about.format(who=words)}; {where}.",
        source=source,
    )


of_section = tuple(
    _figure(f"flow_{who}_{figure}", "investor_types", who, figure, "of the symbol's section")
    for who in INVESTORS
    for figure in FIGURES
)
of_exchange = tuple(
    _figure(f"flow_all_{who}_{figure}", "market_flows", who, figure, "of the whole exchange")
    for who in INVESTORS
    for figure in ("imp", "z")
)


@feature(
    rows=1,
    unit="standard deviations",
    formula="flow_frgn_z - flow_ind_z",
    source="Kamesaka, Nofsinger & Kawakita (2003), Pac.-Basin Finance J. 11.",
)
def flow_div_frgn_ind(
    investor_types_foreigners_z: Array, investor_types_individuals_z: Array
) -> Array:
    """How far foreigners and individuals disagree in the symbol's section."""
    return investor_types_foreigners_z - investor_types_individuals_z


@feature(rows=1, unit="sessions", source="common practice.")
def flow_days_since(investor_types_age: Array) -> Array:
    """Sessions since the last week of the symbol's section became known."""
    return investor_types_age.copy()


@feature(rows=1, unit="flag", source="common practice.")
def flow_is_spliced(investor_types_is_spliced: Array) -> Array:
    """1 where the last 52 weeks join an old section of the exchange to a new one."""
    return investor_types_is_spliced.copy()
