"""Metrics of logits: class scores of shape (n, n_classes), or log-odds of shape (n,)."""

import numpy as np
from numpy.typing import ArrayLike

from cekernels.metrics import LossTable, Reliability
from cekernels.reference._results import Array, Mask
from cekernels.reference._weights import kept_weight
from cekernels.reference.special import softmax_parts


def accuracy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> float:
    """Share of the weight whose first largest logit is that of the label."""
    x, y, weight = _samples(logits, targets, sample_weight, ignore_index)
    return _mean(weight, _are_right(x, y))


@np.errstate(all="ignore")
def brier_score(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    scale_by_half: bool | str = "auto",
) -> float:
    """Mean over the samples of sum_c (p_c - [c = y])^2, for two classes half of it."""
    x, y, weight = _samples(logits, targets, sample_weight, ignore_index)
    p, one_minus_p, _ = softmax_parts(x, -1)
    distance = np.where(_is_label(x, y), one_minus_p, p)
    halved = x.shape[1] == 2 if scale_by_half == "auto" else scale_by_half
    return (0.5 if halved else 1.0) * _mean(weight, np.sum(distance**2, axis=1))


def expected_calibration_error(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    n_bins: int = 15,
) -> float:
    """Mean distance of confidence and accuracy over the bins."""
    table = reliability(
        logits, targets, sample_weight=sample_weight, ignore_index=ignore_index, n_bins=n_bins
    )
    filled = table.weight > 0.0
    gaps = np.abs(table.confidence - table.accuracy)
    return float(np.average(gaps[filled], weights=table.weight[filled]))


@np.errstate(all="ignore")
def reliability(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    n_bins: int = 15,
) -> Reliability:
    """Mean confidence and accuracy in each bin (k / n, (k + 1) / n] of the largest probability."""
    x, y, weight = _samples(logits, targets, sample_weight, ignore_index)
    confidence = np.max(softmax_parts(x, -1)[0], axis=1)
    bins = [(np.ceil(confidence * n_bins) == k + 1) & (weight > 0.0) for k in range(n_bins)]
    return Reliability(
        np.arange(n_bins + 1) / n_bins,
        np.array([_mean(weight[inside], confidence[inside]) for inside in bins]),
        np.array([_mean(weight[inside], _are_right(x, y)[inside]) for inside in bins]),
        np.array([np.sum(weight[inside]) for inside in bins]),
    )


@np.errstate(all="ignore")
def cross_entropy_by_group(
    logits: ArrayLike,
    targets: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> LossTable:
    """Add up the losses, the weights and ones in each group, by default in each class."""
    x, y, weight = _samples(logits, targets, sample_weight, ignore_index)
    loss = np.sum(softmax_parts(x, -1)[2], axis=1, where=_is_label(x, y))
    group = y if groups is None else np.asarray(groups)
    values = np.arange(x.shape[1]) if groups is None else np.unique(group)
    inside = [(group == value) & (weight > 0.0) for value in values]
    return LossTable(
        values,
        np.array([np.sum(weight[rows] * loss[rows]) for rows in inside]),
        np.array([np.sum(weight[rows]) for rows in inside]),
        np.array([np.count_nonzero(rows) for rows in inside]),
    )


def _samples(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None,
    ignore_index: int | None,
) -> tuple[Array, Array, Array]:
    """Return class scores, labels and weights; log-odds are the score of class 1 over class 0."""
    x, y = np.asarray(logits, np.float64), np.asarray(targets)
    if x.ndim == 1:
        x = np.stack([np.zeros(len(x)), x], axis=1)
    return x, y, kept_weight(np.asarray(y != ignore_index), sample_weight)


def _is_label(x: Array, y: Array) -> Mask:
    return np.asarray(y[:, np.newaxis] == np.arange(x.shape[1]))


def _are_right(x: Array, y: Array) -> Mask:
    return np.asarray((np.argmax(x, axis=1) == y) & ~np.isnan(x).any(axis=1))


def _mean(weight: Array, values: Array | Mask) -> float:
    """Return the weighted mean of the values that have a weight, nan if none has."""
    kept = weight > 0.0
    return float(np.average(values[kept], weights=weight[kept])) if kept.any() else np.nan
