"""The tear sheet of a run and its charts as pictures."""

from alpha_assets.report.inputs import ReportInputs
from alpha_assets.report.tearsheet import chart_images, tear_sheet
from alpha_assets.report.words import warnings

__all__ = ["ReportInputs", "chart_images", "tear_sheet", "warnings"]
