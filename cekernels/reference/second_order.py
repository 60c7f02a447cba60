"""Hessians of the reduced losses: as matrices, one a row, and times a vector."""

import numpy as np
from numpy.typing import ArrayLike

from cekernels.reference._results import Array, divide, mean_divisor
from cekernels.reference._weights import (
    ClassWeight,
    binary_coefficients,
    class_coefficients,
    times,
)
from cekernels.reference.classes import class_targets, gap_to_peak, last_axis
from cekernels.reference.special import expit, softmax_parts


@np.errstate(all="ignore")
def cross_entropy_hvp(
    logits: ArrayLike,
    targets: ArrayLike,
    v: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    denominator: str | float = "weight",
) -> Array:
    """Return total_q * p * (v - sum_c p_c v_c), for q see `class_coefficients`."""
    p, _, _ = softmax_parts(last_axis(logits, axis), -1)
    q, weight, kept = class_coefficients(
        p.shape[-1],
        class_targets(targets, axis),
        class_weight,
        sample_weight,
        label_smoothing,
        ignore_index,
    )
    gap, _ = gap_to_peak(last_axis(v, axis), p)
    centred = gap - np.sum(times(p, gap), axis=-1, keepdims=True)
    product = times(np.sum(q, axis=-1, keepdims=True), times(p, centred))
    divisor = mean_divisor(weight, kept, reduction, denominator)
    return np.moveaxis(divide(product, divisor), -1, axis)


@np.errstate(all="ignore")
def cross_entropy_hessian(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    denominator: str | float = "weight",
) -> Array:
    """Return total_q * (diag(p) - p p^T) of each row, for q see `class_coefficients`."""
    p, one_minus_p, _ = softmax_parts(last_axis(logits, axis), -1)
    q, weight, kept = class_coefficients(
        p.shape[-1],
        class_targets(targets, axis),
        class_weight,
        sample_weight,
        label_smoothing,
        ignore_index,
    )
    row, column = p[..., np.newaxis], p[..., np.newaxis, :]
    of_row = np.where(
        np.eye(p.shape[-1], dtype=bool), row * one_minus_p[..., np.newaxis], 0.0 - row * column
    )
    hessian = times(np.sum(q, axis=-1)[..., np.newaxis, np.newaxis], of_row)
    return divide(hessian, mean_divisor(weight, kept, reduction, denominator))


@np.errstate(all="ignore")
def binary_cross_entropy_hvp(
    logits: ArrayLike,
    targets: ArrayLike,
    v: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_value: float | None = None,
    reduction: str = "mean",
    denominator: str | float = "weight",
) -> Array:
    """Return (a + b) * p * (1 - p) * v, for a and b see `binary_coefficients`."""
    x = np.asarray(logits, np.float64)
    a, b, weight, kept = binary_coefficients(
        x.shape, targets, sample_weight, pos_weight, label_smoothing, ignore_value
    )
    product = times(times(a + b, expit(x) * expit(-x)), np.asarray(v, np.float64))
    return divide(product, mean_divisor(weight, kept, reduction, denominator))
