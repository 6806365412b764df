"""What a run was worth: signal and portfolio statistics, each with its error bar.

Declarations alone are imported here; a statistic is imported from its own file.
"""

from alpha_assets.evaluation.gates import GatesSpec

__all__ = ["GatesSpec"]
