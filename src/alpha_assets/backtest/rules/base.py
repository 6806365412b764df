"""What every portfolio rule declares, what it sees of a session, and what it wants to hold.

Shape letters: N names of a session, T sessions up to the one before it, S sectors.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import nan
from typing import Annotated, Literal, Self, get_args

import numpy as np
from pydantic import Field, model_validator

from alpha_assets.arrays.types import Array, Index, Mask
from alpha_assets.backtest.rules.calibration import UNKNOWN, Worth
from alpha_assets.backtest.rules.charges import Charges
from alpha_assets.calendar import RebalanceRule
from alpha_assets.spec import OFF, Spec

Regime = Literal["low_vol", "high_vol", "momentum", "reversal", "crash"]

VOLATILITY = (
    "vol_c2c_20"  # the feature by which weights and exposure go: a year's standard deviation
)
BETA = "beta_shrunk"
RETURN = "ret_1"
COVARIANCE_SESSIONS = 252
SESSIONS_A_YEAR = 252


class RegimeExposure(Spec):
    """Declared under `[portfolio.regimes]`: the share of the exposure that is held in a regime.

    A regime is a flag of the market as of the session (`regime_<name>`). Where several are on, the
    smallest share counts; a flag that is unknown counts as off.
    """

    low_vol: float = Field(default=1.0, ge=0, le=1)
    """Among the lowest fifth of a year's volatilities."""
    high_vol: float = Field(default=1.0, ge=0, le=1)
    """Among the highest fifth."""
    momentum: float = Field(default=1.0, ge=0, le=1)
    """Up over a year and over a month."""
    reversal: float = Field(default=1.0, ge=0, le=1)
    """A year and a month that differ in sign."""
    crash: float = Field(default=1.0, ge=0, le=1)
    """A rebound from a bear market that is volatile."""

    @property
    def used(self) -> dict[str, float]:
        """The shares that differ from 1, by the feature that says whether they count."""
        return {f"regime_{name}": share for name, share in self if share != 1.0}

    def share(self, flags: Mapping[str, float | None]) -> float:
        """Return the smallest share of the regimes that are on, at most 1."""
        return min([share for name, share in self.used.items() if flags.get(name)], default=1.0)


class RuleSpec(Spec):
    """What all rules of `[portfolio]` have in common."""

    horizon: int = Field(gt=0)
    """Whose scores are traded, sessions; one of `label.horizons`."""
    min_side: int = Field(default=2, gt=0)
    """Names that a side must have, else nothing is held."""
    max_weight: float | None = Field(default=None, ge=1e-5, le=10)
    """Largest absolute weight of a name; what is cut off goes to the others of its side, and
    stays in cash where all of them are at the limit.
    """
    gross_exposure: float = Field(default=1.0, ge=1e-3, le=10)
    """Sum of absolute weights, a fraction of equity."""
    max_net: float | None = Field(default=None, ge=0, le=10)
    """Largest absolute sum of weights: the larger side is held smaller; none: no limit."""
    max_sector: float | None = Field(default=None, ge=1e-5, le=10)
    """Largest sum of absolute weights of a sector; what is cut off stays in cash."""
    inverse_volatility: bool = False
    """Divide each name's share of its side by its volatility of 20 sessions."""
    neutral: tuple[Literal["sector", "beta"], ...] = ()
    """Weights sum to 0 in each sector; or times beta over all names. Of long/short rules; beta
    beside `max_sector` or `max_net` of `cost_aware` alone.
    """
    volatility_target: float | None = Field(default=None, ge=1e-3, le=2)
    """Yearly standard deviation that the weights are scaled down to, by the Ledoit-Wolf covariance
    of 252 sessions; the exposure never exceeds `gross_exposure`.
    """
    regimes: RegimeExposure = RegimeExposure()
    """Shares of the exposure by regime of the market."""
    smoothing: float | None = Field(default=None, gt=0, le=250)
    """Half-life, in sessions, of the mean of standardised scores that is traded; none: the scores
    of the session alone.
    """
    smoothing_sessions: int = Field(default=20, gt=1, le=250)
    """Sessions whose scores that mean reaches back over; of `smoothing`."""
    step: float = Field(default=1.0, ge=1e-3, le=1)
    """Share of the way from what is held to the aim that each rebalance goes."""
    max_turnover: float | None = Field(default=None, ge=1e-5, le=20)
    """Largest sum of absolute changes of weights at a rebalance; none: no limit."""
    close_below: float = Field(default=1e-4, ge=0, le=0.1)
    """Weight below which a position on its way out is closed."""
    rebalance: RebalanceRule = "weekly"
    """Every session, or on the first session of each ISO week or month that can be decided."""
    fill: Literal["open", "close"] = "open"
    """The auction of the decision session at which orders fill."""
    capital: float = Field(default=100e6, ge=1, le=1e15)
    """Equity before the first session, in the market's currency."""
    lot: int | None = Field(default=None, gt=0)
    """Shares that orders are rounded to, towards zero; none: fractions."""
    max_participation: Annotated[float | None, OFF] = Field(default=0.1, gt=0, le=1)
    """Largest fill of a session, a share of ADV; "none": no limit."""

    @model_validator(mode="after")
    def _modifiers_fit(self) -> Self:
        if self.neutral and self.is_long_only:
            raise ValueError(
                f"neutral = {list(self.neutral)} needs a short side, and rule holds none; leave "
                "neutral out or choose a long/short rule"
            )
        cuts = [name for name in ("max_sector", "max_net") if getattr(self, name) is not None]
        if "beta" in self.neutral and cuts and not self.keeps_all_limits:
            raise ValueError(
                f"neutral = {list(self.neutral)} and {cuts[0]} = {getattr(self, cuts[0])}: nothing "
                f"makes up for what {cuts[0]} cuts off, and the weights would not be neutral to "
                "beta; leave one of them out, or use rule = 'cost_aware', which keeps both"
            )
        if self.is_long_only and self.max_net is not None and self.max_net < self.gross_exposure:
            raise ValueError(
                f"max_net = {self.max_net} is below gross_exposure = {self.gross_exposure}, and a "
                "long-only rule has a net exposure of its gross one; lower gross_exposure"
            )
        return self

    @model_validator(mode="after")
    def _no_key_is_idle(self) -> Self:
        self.refuse_idle(
            "smoothing_sessions", self.smoothing is None, "smoothing is none: set smoothing"
        )
        twice = sorted({kind for kind in self.neutral if self.neutral.count(kind) > 1})
        if twice:
            raise ValueError(f"neutral = {list(self.neutral)} has {twice[0]!r} twice")
        return self

    def refuse_idle(self, name: str, is_idle: bool, why: str) -> None:
        """Refuse a key that is set and that another one makes meaningless.

        Raises:
            ValueError: naming both.
        """
        value, default = getattr(self, name), type(self).model_fields[name].default
        if is_idle and value != default:
            raise ValueError(f"{name} = {value} plays no part, as {why}, or leave {name} out")

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return what `rule` may be in a declaration of this kind."""
        return get_args(cls.model_fields["rule"].annotation)

    @property
    def is_long_only(self) -> bool:
        """Whether there is no short side."""
        return False

    @property
    def keeps_all_limits(self) -> bool:
        """Whether limits and neutrality are kept together, and not one after the other."""
        return False

    @property
    def remembers(self) -> bool:
        """Whether what is decided depends on what the targets so far hold."""
        return self.step < 1 or self.max_turnover is not None or self.has_band

    @property
    def has_band(self) -> bool:
        """Whether a name enters at one rank and leaves at a wider one."""
        return False

    @property
    def limits(self) -> dict[str, float]:
        """The limits that are set and that may leave less held than `gross_exposure`."""
        asked = {name: getattr(self, name) for name in ("max_weight", "max_sector", "max_net")}
        return {name: value for name, value in asked.items() if value is not None}

    @property
    def fills_its_exposure(self) -> bool:
        """Whether it aims at all of `gross_exposure`, but for limits, regimes and volatility."""
        return False

    @property
    def sessions_back(self) -> int:
        """Sessions before the one decided whose features are read: returns for a covariance."""
        return COVARIANCE_SESSIONS - 1 if self.needs_returns else 0

    @property
    def scores_back(self) -> int:
        """Sessions before the one decided whose scores are read."""
        return self.smoothing_sessions - 1 if self.smoothing is not None else 0

    @property
    def needs_costs(self) -> bool:
        """Whether it reads the recipe's costs."""
        return False

    @property
    def needs_returns(self) -> bool:
        """Whether it reads a covariance."""
        return self.volatility_target is not None

    @property
    def features(self) -> tuple[str, ...]:
        """The features as of the session that it reads beside scores."""
        return (
            *([VOLATILITY] if self.inverse_volatility else []),
            *([BETA] if "beta" in self.neutral else []),
            *([RETURN] if self.needs_returns else []),
            *self.regimes.used,
        )

    def most_names(self, n: int) -> int:
        """Return the most names that a side can have of n scored ones."""
        return n // 2

    def last_rank(self, n: int) -> int | None:
        """Return the rank, of n scored names, outside which a held name leaves; None: no band."""
        return None

    @abstractmethod
    def aim(self, seen: "Seen") -> "Aim":
        """Return what to hold of names of which all that the rule needs is known."""

    def check_installed(self) -> None:
        """Refuse a rule whose library is not installed.

        Raises:
            BadInput: naming the extra that brings it.
        """
        return


@dataclass(frozen=True)
class Aim:
    """What a rule wants to hold.

    Attributes:
        weight_N: signed shares of equity.
        reason_N: why, of every scored name.
        for_all: a reason that holds for the session as a whole, and so for names that were left
            out before the rule was asked as well; empty where there is none.
        filled: share of `gross_exposure` that the rule aims at, before regimes and a volatility
            target scale it; NaN where nothing was decided.
    """

    weight_N: Array
    reason_N: Array
    for_all: str = ""
    filled: float = nan

    @staticmethod
    def nothing(n: int, why: str) -> "Aim":
        """Return that nothing of n names is to be held."""
        return Aim(np.zeros(n), np.full(n, why, dtype=object), why)


@dataclass(frozen=True)
class Seen:
    """What a rule sees of the scored names of one session, sorted by symbol.

    Attributes:
        session: in words, for refusals.
        score_N: finite.
        held_N: weights that the targets so far hold.
        is_barred_N: known not to be shortable: no short position is entered.
        sector_N: place of the sector; -1 unknown, a sector of its own.
        volatility_N: a year's standard deviation, NaN unknown.
        beta_N: NaN unknown.
        regime: flags of the market by feature; None unknown.
        return_TN: daily returns up to the session before, NaN unknown; of rules with a covariance.
        charges: what trading is expected to cost; of rules that read costs.
        worth: what the score was worth; of the same rules.
    """

    session: str
    score_N: Array
    held_N: Array
    is_barred_N: Mask
    sector_N: Index
    volatility_N: Array
    beta_N: Array
    regime: Mapping[str, float | None]
    return_TN: Array
    charges: Charges | None = None
    worth: Worth = UNKNOWN

    def only(self, some: Index) -> "Seen":
        """Return what is seen of some names, by their places."""
        return replace(
            self,
            score_N=self.score_N[some],
            held_N=self.held_N[some],
            is_barred_N=self.is_barred_N[some],
            sector_N=self.sector_N[some],
            volatility_N=self.volatility_N[some],
            beta_N=self.beta_N[some],
            return_TN=self.return_TN[:, some],
            charges=None if self.charges is None else self.charges.only(some),
        )

    @property
    def best_first(self) -> Index:
        """Places from the best score on; names of equal score stay in the order of symbols."""
        return np.argsort(-self.score_N, kind="stable")
