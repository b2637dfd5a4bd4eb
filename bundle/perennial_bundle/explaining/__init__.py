"""Explanations: how much each feature moved an answer, exactly where the model allows it, else by sampling."""

from perennial_bundle.explaining.explainer import build_explainer
from perennial_bundle.explaining.report import FeatureReport, Report, build_report, render_report
from perennial_bundle.explaining.result import Explainer, Explanation, TooManyRows

__all__ = [
    "Explainer",
    "Explanation",
    "FeatureReport",
    "Report",
    "TooManyRows",
    "build_explainer",
    "build_report",
    "render_report",
]
