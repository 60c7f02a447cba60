"""The public functions in plain float64 NumPy: the executable definition of the package.

Every function returns what its namesake in `cekernels` returns, up to rounding, and is written to
be read: whole arrays, as many temporaries as it takes. Arguments are taken to be valid.
"""

import warnings
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cekernels._stats import LossStats

Array: TypeAlias = NDArray[np.float64]
Axis: TypeAlias = int | tuple[int, ...] | None
Loss: TypeAlias = float | LossStats | Array
Result: TypeAlias = Loss | tuple[Loss, ...]


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
    return _softmax_parts(x, axis)[0]


def log_softmax(x: ArrayLike, axis: Axis = None) -> Array:
    """Logarithm of `softmax` over `axis`."""
    return -_softmax_parts(x, axis)[2]


@np.errstate(all="ignore")
def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_value: float | None = None,
    reduction: str = "mean",
    denominator: str | float = "weight",
    return_grad: bool = False,
    return_hess: bool = False,
    return_proba: bool = False,
) -> Result:
    """Binary loss a * softplus(-x) + b * softplus(x), for a, b see `_binary_coefficients`."""
    x = np.asarray(logits, np.float64)
    a, b, weight, kept = _binary_coefficients(
        x.shape, targets, sample_weight, pos_weight, label_smoothing, ignore_value
    )
    p, q = expit(x), expit(-x)
    loss = _times(a, softplus(-x)) + _times(b, softplus(x))
    grad = _times(b, p) - _times(a, q)
    hess = _times(a + b, p * q)
    value, grad, hess = _reduce(loss, grad, hess, weight, kept, reduction, denominator)
    return _select(value, (return_grad, grad), (return_hess, hess), (return_proba, p))


@np.errstate(all="ignore")
def binary_cross_entropy(
    probs: ArrayLike,
    targets: ArrayLike,
    *,
    eps: float | None = None,
    log_min: float | None = None,
    sample_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_value: float | None = None,
    reduction: str = "mean",
    denominator: str | float = "weight",
    return_grad: bool = False,
    return_hess: bool = False,
) -> Result:
    """Binary loss -a * log(p) - b * log(1 - p), of gradient 0 where clipped or bounded."""
    p = np.asarray(probs, np.float64)
    a, b, weight, kept = _binary_coefficients(
        p.shape, targets, sample_weight, None, label_smoothing, ignore_value
    )
    log_p, log_q = np.log(p), np.log1p(-p)
    free_p = free_q = np.ones(p.shape, bool)
    if eps is not None:
        low, high = p < eps, 1.0 - p < eps
        log_p = np.where(low, np.log(eps), np.where(high, np.log1p(-eps), log_p))
        log_q = np.where(high, np.log(eps), np.where(low, np.log1p(-eps), log_q))
        free_p = free_q = ~(low | high)
    if log_min is not None:
        free_p, free_q = free_p & ~(log_p < log_min), free_q & ~(log_q < log_min)
        log_p, log_q = np.maximum(log_p, log_min), np.maximum(log_q, log_min)
    loss = -_times(a, log_p) - _times(b, log_q)
    a, b = np.where(free_p, a, 0.0), np.where(free_q, b, 0.0)
    grad = _times(b, 1.0 / (1.0 - p)) - _times(a, 1.0 / p)
    hess = _times(b, 1.0 / (1.0 - p) ** 2) + _times(a, 1.0 / p**2)
    value, grad, hess = _reduce(loss, grad, hess, weight, kept, reduction, denominator)
    return _select(value, (return_grad, grad), (return_hess, hess))


@np.errstate(all="ignore")
def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    class_weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    denominator: str | float = "weight",
    return_grad: bool = False,
    return_hess: bool = False,
    return_proba: bool = False,
    return_lse: bool = False,
) -> Result:
    """Softmax loss sum_c q_c * (lse - x_c), for q see `_class_coefficients`."""
    x = np.asarray(logits, np.float64)
    q, weight, kept = _class_coefficients(
        x.shape[-1], targets, class_weight, sample_weight, label_smoothing, ignore_index
    )
    total_q = np.sum(q, axis=-1, keepdims=True)
    p, one_minus_p, nll = _softmax_parts(x, -1)
    loss = np.sum(_times(q, nll), axis=-1)
    # total_q * p - q, arranged so that nothing cancels for a one-hot target.
    grad = _times(total_q - q, p) - _times(q, one_minus_p)
    hess = _times(total_q, p * one_minus_p)
    value, grad, hess = _reduce(loss, grad, hess, weight, kept, reduction, denominator)
    return _select(
        value,
        (return_grad, grad),
        (return_hess, hess),
        (return_proba, p),
        (return_lse, logsumexp(x, axis=-1)),
    )


@np.errstate(all="ignore")
def _softmax_parts(x: ArrayLike, axis: Axis) -> tuple[Array, Array, Array]:
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


def _binary_coefficients(
    shape: tuple[int, ...],
    targets: ArrayLike,
    sample_weight: ArrayLike | None,
    pos_weight: ArrayLike | None,
    label_smoothing: float,
    ignore_value: float | None,
) -> tuple[Array, Array, Array, NDArray[np.bool_]]:
    """Return a = w * pos_weight * y', b = w * (1 - y'), the weight w, and what is kept."""
    y = np.asarray(targets, np.float64)
    kept = np.ones(shape, bool)
    if ignore_value is not None:
        kept = np.asarray(~np.isnan(y) if np.isnan(ignore_value) else y != ignore_value)
    weight = _kept_weight(kept, sample_weight)
    positive = y * (1.0 - label_smoothing) + label_smoothing / 2.0
    negative = (1.0 - y) * (1.0 - label_smoothing) + label_smoothing / 2.0
    if pos_weight is not None:
        positive = _times(np.asarray(pos_weight, np.float64), positive)
    return _times(weight, positive), _times(weight, negative), weight, kept


def _class_coefficients(
    n_classes: int,
    targets: ArrayLike,
    class_weight: ArrayLike | None,
    sample_weight: ArrayLike | None,
    label_smoothing: float,
    ignore_index: int | None,
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return q = w * class_weight * smoothed target, the weight of a row, and what is kept."""
    y = np.asarray(targets)
    if y.dtype.kind == "f":
        target, kept = y.astype(np.float64), np.ones(y.shape[:-1], bool)
    else:
        target = np.where(y[..., np.newaxis] == np.arange(n_classes), 1.0, 0.0)
        kept = np.ones(y.shape, bool) if ignore_index is None else np.asarray(y != ignore_index)
    row_weight = _kept_weight(kept, sample_weight)
    class_weight = np.asarray(np.ones(n_classes) if class_weight is None else class_weight, float)
    smoothed = target * (1.0 - label_smoothing) + label_smoothing / n_classes
    weight = _times(row_weight, np.sum(target * class_weight, axis=-1))
    return _times(row_weight[..., np.newaxis], class_weight * smoothed), weight, kept


def _kept_weight(kept: NDArray[np.bool_], sample_weight: ArrayLike | None) -> Array:
    """Return the sample weights, by default 1, with 0 where nothing is kept."""
    weight = np.asarray(1.0 if sample_weight is None else sample_weight, np.float64)
    return np.where(kept, weight, 0.0)


def _times(coefficient: Array, value: Array) -> Array:
    """Multiply so that a coefficient of 0 leaves the value out, be it inf or nan."""
    return np.where(coefficient == 0.0, 0.0, coefficient * value)


def _reduce(
    loss: Array,
    grad: Array,
    hess: Array,
    weight: Array,
    kept: NDArray[np.bool_],
    reduction: str,
    denominator: str | float,
) -> tuple[Loss, Array, Array]:
    """Return the value that `reduction` asks for, and its derivatives."""
    stats = LossStats(float(np.sum(loss)), float(np.sum(weight)), int(np.count_nonzero(kept)))
    if reduction != "mean":
        values: dict[str, Loss] = {"none": loss, "sum": stats.total, "stats": stats}
        return values[reduction], grad, hess
    if isinstance(denominator, str):
        denominator = {"weight": stats.weight, "count": stats.count}[denominator]
    if denominator == 0.0:
        warnings.warn("no weight is left to average", RuntimeWarning, stacklevel=3)
        return np.nan, np.zeros_like(grad), np.zeros_like(hess)
    return stats.total / denominator, grad / denominator, hess / denominator


def _select(value: Loss, *outputs: tuple[bool, Array]) -> Result:
    """Return the value alone, or in front of the outputs that were asked for."""
    chosen = [output for wanted, output in outputs if wanted]
    return (value, *chosen) if chosen else value
