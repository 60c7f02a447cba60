"""Evaluation metrics."""

from cekernels.metrics._accumulator import MetricAccumulator
from cekernels.metrics._by_group import cross_entropy_by_group
from cekernels.metrics._evaluate import (
    accuracy,
    brier_score,
    evaluate,
    expected_calibration_error,
)
from cekernels.metrics._log_loss import log_loss
from cekernels.metrics._results import ClassificationMetrics, LossTable, Reliability
from cekernels.metrics._scorer import neg_log_loss_scorer

__all__ = [
    "ClassificationMetrics",
    "LossTable",
    "MetricAccumulator",
    "Reliability",
    "accuracy",
    "brier_score",
    "cross_entropy_by_group",
    "evaluate",
    "expected_calibration_error",
    "log_loss",
    "neg_log_loss_scorer",
]
