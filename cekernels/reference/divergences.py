"""Divergences between the softmax of logits and target probabilities."""

import math

import numpy as np
from numpy.typing import ArrayLike

from cekernels.reference._results import Array, Result, divide, reduce, select
from cekernels.reference._weights import class_coefficients, kept_weight, times
from cekernels.reference.classes import gap_to_peak, last_axis, softmax_gradient
from cekernels.reference.special import softmax_parts


@np.errstate(all="ignore")
def kl_divergence(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
    denominator: str | float = "weight",
    return_grad: bool = False,
    return_hess: bool = False,
    return_proba: bool = False,
) -> Result:
    """Loss sum_c t_c * (log(t_c) - log(p_c)); the derivatives are those of `cross_entropy`."""
    x, t = last_axis(logits, axis), last_axis(targets, axis)
    q, weight, kept = class_coefficients(x.shape[-1], t, None, sample_weight, 0.0, None)
    row_weight = kept_weight(kept, sample_weight)
    total_q = np.sum(q, axis=-1, keepdims=True)
    p, one_minus_p, nll = softmax_parts(x, -1)
    loss = times(row_weight, np.sum(_excess(t, p, nll), axis=-1) + _sum_minus_1(t))
    grad = softmax_gradient(total_q, q, p, one_minus_p)
    hess = times(total_q, p * one_minus_p)
    value, divisor = reduce(loss, weight, kept, reduction, denominator)
    return select(
        value,
        (return_grad, np.moveaxis(divide(grad, divisor), -1, axis)),
        (return_hess, np.moveaxis(divide(hess, divisor), -1, axis)),
        (return_proba, np.moveaxis(p, -1, axis)),
    )


@np.errstate(all="ignore")
def js_divergence(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    reduction: str = "mean",
    denominator: str | float = "weight",
    return_grad: bool = False,
) -> Result:
    """Loss (KL(t || m) + KL(p || m)) / 2 with m = (p + t) / 2."""
    x, t = last_axis(logits, axis), last_axis(targets, axis)
    _, weight, kept = class_coefficients(x.shape[-1], t, None, sample_weight, 0.0, None)
    row_weight = kept_weight(kept, sample_weight)
    p = softmax_parts(x, -1)[0]
    loss = times(row_weight, np.sum(_js_terms(t, p), axis=-1))
    # By p_c the loss has the derivative log(p_c / m_c) / 2.
    gap, _ = gap_to_peak(_half_log_ratio(t, p), p)
    centred = gap - np.sum(times(p, gap), axis=-1, keepdims=True)
    grad = times(row_weight[..., np.newaxis], times(p, centred))
    value, divisor = reduce(loss, weight, kept, reduction, denominator)
    return select(value, (return_grad, np.moveaxis(divide(grad, divisor), -1, axis)))


def _excess(t: Array, p: Array, nll: Array) -> Array:
    """Return t * log(t / p) - t + p, which is never negative, so that no sum of it cancels."""
    ratio = (t - p) / p
    near = p * ((1.0 + ratio) * np.log1p(ratio) - ratio)
    return np.where(np.abs(ratio) < 0.5, near, times(t, np.log(t) + nll) - (t - p))


def _sum_minus_1(t: Array) -> Array:
    """Return the sum of each row minus 1, rounded once: it may be all that is left of a loss."""
    rows = t.reshape(-1, t.shape[-1])
    return np.array([math.fsum([*row, -1.0]) for row in rows]).reshape(t.shape[:-1])


def _js_terms(t: Array, p: Array) -> Array:
    """Return (t * log(t / m) + p * log(p / m)) / 2, through d = (t - p) / (t + p)."""
    d = (t - p) / (t + p)
    return times(t + p, times(1.0 + d, np.log1p(d)) + times(1.0 - d, np.log1p(-d))) / 4.0


def _half_log_ratio(t: Array, p: Array) -> Array:
    """Return log(p / m) / 2; m = (p + t) / 2."""
    d = (t - p) / (t + p)
    return np.where(np.abs(d) < 0.5, np.log1p(-d), np.log(2.0 * p / (t + p))) / 2.0
