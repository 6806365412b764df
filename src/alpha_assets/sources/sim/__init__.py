"""A simulated Tokyo-like exchange with a planted signal of known size.

`signal.py` declares what is planted; `oracle` measures how much of it can be had.  Declarations
alone are imported here.
"""

from alpha_assets.sources.sim.spec import RigSpec, SimSourceSpec, SimSpec

__all__ = ["RigSpec", "SimSourceSpec", "SimSpec"]
