"""Evaluation metrics."""

from cekernels.metrics._accumulator import MetricAccumulator
from cekernels.metrics._evaluate import (
    ClassificationMetrics,
    Reliability,
    accuracy,
    brier_score,
    evaluate,
    expected_calibration_error,
)
from cekernels.metrics._log_loss import log_loss
from cekernels.metrics._scorer import neg_log_loss_scorer
from cekernels.metrics._table import LossTable, cross_entropy_by_group

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
