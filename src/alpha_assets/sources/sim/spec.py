"""What a simulated exchange is asked to be."""

from datetime import date
from typing import TYPE_CHECKING, Literal, Protocol, Self

from pydantic import Field, model_validator

from alpha_assets.feeds.base import SourceMarket, SourceSpec
from alpha_assets.spec import Spec

if TYPE_CHECKING:
    from alpha_assets.sources.sim.source import SimSource

MIN_SYMBOLS = 20
# What a rig sets to 0, so that every symbol has a bar and a value on every session.
DENSE = ("late_share", "delistings_annual", "halts_annual", "missing_share", "corrected_share")
MAX_SYMBOLS = 4_300  # what the code numbers 1301, 1303, ... hold


class RigSpec(Spec):
    """Declared under `[sim.rig]`: which of nine components are planted; see `sim/rig.py`."""

    linear: bool = True
    """A series as it is."""
    interaction: bool = True
    """The product of two series."""
    absolute: bool = True
    """The size of a series, without its sign."""
    lag_7: bool = True
    """A series of seven sessions before."""
    sum_10: bool = True
    """The sum of a series over ten sessions."""
    sector_rel: bool = True
    """A series less its sector's mean."""
    sector_mean: bool = True
    """The mean of that series over the sector."""
    graph: bool = True
    """The mean of a series over five neighbours, one session before."""
    regime: bool = True
    """A series times the state of the market, 1 or −1."""


class SimSpec(Spec):
    """Declared under `[sim]` in a market.

    Everything but `last` decides the rows; a later `last` only adds rows that became public
    later, so it is not part of the source's identity.
    """

    kind: Literal["sim"] = "sim"
    """Name of the kind."""
    seed: int = Field(default=7, ge=0, lt=2**63)
    """Of everything that is drawn."""
    n_symbols: int = Field(default=300, ge=MIN_SYMBOLS, le=MAX_SYMBOLS)
    """Symbols that are ever listed."""
    first: date = date(2020, 1, 6)
    """First session."""
    last: date = date(2023, 12, 29)
    """Last session; a later one only adds rows."""

    signal: float = Field(default=1.0, ge=0, le=5)
    """Scale of the planted signal; 0: a null market."""
    signal_variation: float = Field(default=0.6, ge=0, le=3)
    """Standard deviation of its strength in time, of its mean."""
    price_share: float = Field(default=0.8, ge=0, le=1)
    """Share of the signal's variance that prices reveal; side feeds reveal the rest."""

    market_vol: float = Field(default=0.18, gt=0, le=1)
    """Volatility of the market factor, a year."""
    sector_vol: float = Field(default=0.09, ge=0, le=1)
    """Volatility of a sector factor, a year."""
    idio_vol: float = Field(default=0.31, gt=0, le=2)
    """Idiosyncratic volatility of the median symbol, a year."""

    ticks: bool = True
    """Whether prices are rounded to the exchange's tick table."""
    late_share: float = Field(default=0.25, ge=0, le=1)
    """Share of symbols that are listed after `first`."""
    late_within_sessions: int = Field(default=900, ge=1)
    """Sessions after `first` within which they are."""
    delistings_annual: float = Field(default=0.0135, ge=0, le=1)
    """Delistings a year, per symbol."""
    halts_annual: float = Field(default=0.15, ge=0, le=20)
    """Halts of 1 to 20 sessions a year, per symbol."""
    missing_share: float = Field(default=2e-4, ge=0, le=0.2)
    """Share of bars that are missing, one at a time."""
    corrected_share: float = Field(default=2e-4, ge=0, le=0.2)
    """Share of bars that are first delivered wrong."""
    splits_annual: float = Field(default=0.05, ge=0, le=5)
    """Splits a year, per symbol."""
    payer_share: float = Field(default=0.7, ge=0, le=1)
    """Share of symbols that pay dividends."""
    jumps_annual: float = Field(default=0.25, ge=0, le=20)
    """Overnight jumps a year, per symbol."""

    # Absent where there is none, so that digests of other markets are what they were.
    rig: RigSpec | None = Field(default=None, exclude_if=lambda rig: rig is None)
    """Plants nine known components of raw series instead of the signal; needs a dense market."""

    @model_validator(mode="after")
    def _ends_after_it_starts(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"last = {self.last} is before first = {self.first}; swap them")
        return self

    @model_validator(mode="after")
    def _rig_is_dense(self) -> Self:
        if self.rig is not None:
            for key in DENSE:
                if getattr(self, key):
                    raise ValueError(
                        f"[sim.rig] needs every symbol on every session: {key} = "
                        f"{getattr(self, key)}; want 0"
                    )
        return self


class SimulatedMarket(SourceMarket, Protocol):
    """A market with the section `[sim]`."""

    @property
    def sim(self) -> SimSpec:
        """The section."""
        ...


class SimSourceSpec(SourceSpec):
    """`[source]` of a market that is generated; `[sim]` declares how."""

    kind: Literal["sim"] = "sim"
    """Name of the kind."""

    def build(self, market: SimulatedMarket) -> "SimSource":
        """Return the source of a market."""
        from alpha_assets.sources.sim.source import SimSource  # with it comes what makes rows

        return SimSource(market.sim, market.calendar)
