"""A local server that shows the simulated exchange as the J-Quants API V2 would."""

from alpha_assets.sources.sim_jquants.app import Server, make_server, serve
from alpha_assets.sources.sim_jquants.faults import Fault, Faults

__all__ = ["Fault", "Faults", "Server", "make_server", "serve"]
