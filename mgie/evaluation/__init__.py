"""How good a model is: distances to exact targets, edit success, and how it behaves, as tables."""

from mgie.evaluation.behaviour import check_behaviour
from mgie.evaluation.editing import check_editing
from mgie.evaluation.imagination import check_imagination
from mgie.evaluation.metrics import Metrics, l1, load_metrics, sharpness, ssim
from mgie.evaluation.sheets import ContactSheets
from mgie.evaluation.suites import evaluate
from mgie.evaluation.tables import (
    Case,
    Evaluation,
    Finding,
    success_rates,
    to_json,
    to_markdown,
    write_tables,
)

__all__ = [
    "Case",
    "ContactSheets",
    "Evaluation",
    "Finding",
    "Metrics",
    "check_behaviour",
    "check_editing",
    "check_imagination",
    "evaluate",
    "l1",
    "load_metrics",
    "sharpness",
    "ssim",
    "success_rates",
    "to_json",
    "to_markdown",
    "write_tables",
]
