"""A simulated Tokyo-like exchange with a planted signal of known size.

`signal.py` declares what is planted; `oracle` measures how much of it can be had.
"""

from alpha_assets.sources.sim.market import SimMarket, component_names, generate
from alpha_assets.sources.sim.oracle import Oracle, oracle, standard_error
from alpha_assets.sources.sim.source import SimSource, SimSourceSpec
from alpha_assets.sources.sim.spec import RigSpec, SimSpec
from alpha_assets.sources.sim.tokyo import SEMICONDUCTORS, semis

__all__ = [
    "SEMICONDUCTORS",
    "Oracle",
    "RigSpec",
    "SimMarket",
    "SimSource",
    "SimSourceSpec",
    "SimSpec",
    "component_names",
    "generate",
    "oracle",
    "semis",
    "standard_error",
]
