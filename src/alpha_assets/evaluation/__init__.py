"""What a run was worth: signal and portfolio statistics, each with its error bar."""

from alpha_assets.evaluation.compare import TrackRecord, common_sessions, comparison
from alpha_assets.evaluation.gates import GatesSpec
from alpha_assets.evaluation.inference import overlapping_mean
from alpha_assets.evaluation.metrics import (
    DataFacts,
    Evaluation,
    EvaluationInputs,
    evaluate,
    metrics,
    metrics_json,
    plain,
)
from alpha_assets.evaluation.performance import performance
from alpha_assets.evaluation.planted import Learning
from alpha_assets.evaluation.portfolio import cash_return, costs, portfolio
from alpha_assets.evaluation.regimes import volatility_regimes
from alpha_assets.evaluation.signal import Breakdowns, Signal, signal
from alpha_assets.evaluation.spans import Undecided, is_undecided, judged, stretches

__all__ = [
    "Breakdowns",
    "DataFacts",
    "Evaluation",
    "EvaluationInputs",
    "GatesSpec",
    "Learning",
    "Signal",
    "TrackRecord",
    "Undecided",
    "cash_return",
    "common_sessions",
    "comparison",
    "costs",
    "evaluate",
    "is_undecided",
    "judged",
    "metrics",
    "metrics_json",
    "overlapping_mean",
    "performance",
    "plain",
    "portfolio",
    "signal",
    "stretches",
    "volatility_regimes",
]
