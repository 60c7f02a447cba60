"""Functions of logits that the losses are made of."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from cekernels.reference._results import Array

Axis: TypeAlias = int | tuple[int, ...] | None


@np.errstate(all="ignore")
def expit(x: ArrayLike) -> Array:
    """Logistic function, 1 / (1 + exp(-x))."""
    x = np.asarray(x, np.float64)
    return np.asarray(np.exp(np.minimum(x, 0.0)) / (1.0 + np.exp(-np.abs(x))))


def log_expit(x: ArrayLike) -> Array:
    """Logarithm of `expit`."""
    return -softplus(-np.asarray(x, np.float64))


@np.errstate(all="ignore")
def softplus(x: ArrayLike) -> Array:
    """Softplus, log(1 + exp(x))."""
    x = np.asarray(x, np.float64)
    return np.asarray(np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))


@np.errstate(all="ignore")
def logsumexp(
    a: ArrayLike, axis: Axis = None, b: ArrayLike | None = None, keepdims: bool = False
) -> Array:
    """Compute log(sum(b * exp(a))) over `axis`; an element with b = 0 does not count."""
    a = np.asarray(a, np.float64)
    factor = np.ones_like(a) if b is None else np.asarray(b, np.float64)
    a, factor = np.broadcast_arrays(np.where(factor == 0.0, -np.inf, a), factor)
    a = np.where(factor == 0.0, a, a + np.log(np.abs(factor)))
    sign = np.where(a == -np.inf, 1.0, np.sign(factor))
    peak = np.max(a, axis, keepdims=True, initial=-np.inf)
    is_peak = a == peak
    at_peak = np.sum(sign, axis, keepdims=True, where=is_peak)
    rest = np.sum(sign * np.exp(a - peak), axis, keepdims=True, where=~is_peak)
    log_sum = np.where(
        at_peak > 0.0, np.log(at_peak) + np.log1p(rest / at_peak), np.log(at_peak + rest)
    )
    log_sum = np.where(np.isneginf(peak), peak, peak + log_sum)
    return np.asarray(log_sum if keepdims else np.squeeze(log_sum, axis))


def softmax(x: ArrayLike, axis: Axis = None) -> Array:
    """Softmax, exp(x) / sum(exp(x)) over `axis`."""
    return softmax_parts(x, axis)[0]


def log_softmax(x: ArrayLike, axis: Axis = None) -> Array:
    """Logarithm of `softmax` over `axis`."""
    return -softmax_parts(x, axis)[2]


@np.errstate(all="ignore")
def softmax_parts(x: ArrayLike, axis: Axis) -> tuple[Array, Array, Array]:
    """Return p, 1 - p and -log(p), with the largest logit kept apart from the sum of the others."""
    x = np.asarray(x, np.float64)
    peak = np.max(x, axis, keepdims=True, initial=-np.inf)
    n_peaks = np.sum(x == peak, axis, keepdims=True)
    # Two +inf, and nothing but -inf, have no limit.
    peak = np.where(np.isneginf(peak) | (np.isposinf(peak) & (n_peaks > 1)), np.nan, peak)
    is_peak = x == peak
    gap = np.where(is_peak, 0.0, peak - x)
    back = gap - peak  # exp turns the rounding error of the gap (TwoSum) into a relative error
    error = (peak - (gap - back)) - (x + back)
    e = np.exp(-gap) * np.where(np.isfinite(error), 1.0 - error, 1.0)
    others = np.sum(e, axis, keepdims=True, where=~is_peak) + (n_peaks - 1)
    one_minus_p = np.where(is_peak, others, 1.0 + others - e) / (1.0 + others)
    return e / (1.0 + others), one_minus_p, gap + np.log1p(others)
