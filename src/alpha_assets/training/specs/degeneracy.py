"""Declaration of `alpha_assets.training.degeneracy`."""

from pydantic import Field

from alpha_assets.spec import Spec


class GuardSpec(Spec):
    """Declared under `[guard]` in a recipe: when a month's training is stopped."""

    rank_ic_max: float = Field(default=0.15, gt=0, le=1)
    """Validation rank IC that is suspected of a leak; a month stops two standard errors above."""
    spread_min: float = Field(default=1e-6, ge=0)
    """Least spread of a session's scores, of max(1, mean score)."""
    relative_spread_min: float = Field(default=1e-3, ge=0)
    """Least spread of a session's scores, of their mean absolute value."""
    within_share_min: float = Field(default=0.1, ge=0, le=1)
    """Least share of the scores' variance that lies within sessions."""
    distinct_min: float = Field(default=0.5, ge=0, le=1)
    """Least share of distinct scores in a session."""
    modal_max: float = Field(default=0.2, gt=0, le=1)
    """Largest share of a session's names with the same score."""
    rank_autocorrelation_warn: float = Field(default=0.995, gt=0, le=1)
    """Session-to-session rank correlation of scores above which a warning is given."""
    stage_spread_min: float = Field(default=1e-3, ge=0)
    """Least spread over symbols of what each layer gives."""
    dead_gradient: float = Field(default=1e-7, ge=0)
    """Gradient norm below which a block counts as dead, of the block's weight norm."""
    exploding_gradient: float = Field(default=100.0, gt=1)
    """Gradient norm above which a step counts as exploding, of the running median."""
    feature_label_correlation_max: float = Field(default=0.95, gt=0, le=1)
    """Largest absolute correlation of a feature with the label; above it a leak is assumed."""
