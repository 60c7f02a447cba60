"""Cross-entropy over classes, of logits and of logarithms of probabilities."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cekernels.reference._results import Array, Mask, Result, divide, reduce, select
from cekernels.reference._weights import ClassWeight, class_coefficients, is_labels, times
from cekernels.reference.special import logsumexp, softmax_parts


@np.errstate(all="ignore")
def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    where: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    reduction: str = "mean",
    denominator: str | float = "weight",
    return_grad: bool = False,
    return_hess: bool = False,
    return_proba: bool = False,
    return_lse: bool = False,
    return_scale_grad: bool = False,
) -> Result:
    """Softmax loss sum_c q_c * (lse(v) - v_c) + omega * z_loss * lse(v)^2 of v, see `_scores`.

    For q and the weight omega of a row see `class_coefficients`.
    """
    x = last_axis(logits, axis)
    allowed = np.ones(x.shape, bool)
    if where is not None:
        allowed = np.moveaxis(np.broadcast_to(np.asarray(where, bool), np.shape(logits)), axis, -1)
    q, weight, kept = class_coefficients(
        x.shape[-1],
        class_targets(targets, axis),
        class_weight,
        sample_weight,
        label_smoothing,
        ignore_index,
        allowed,
    )
    v = _scores(x, allowed, logit_scale, softcap)
    p, one_minus_p, nll = softmax_parts(v.value, -1)
    lse = logsumexp(v.value, axis=-1, keepdims=True)
    z = 2.0 * z_loss * weight[..., np.newaxis]
    loss = np.sum(times(q, nll), axis=-1) + times(z / 2.0, lse**2)[..., 0]
    # A masked class has no derivative, its coefficient only counts in the sum of all.
    total_q = np.sum(q, axis=-1, keepdims=True)
    grad = softmax_gradient(total_q, np.where(allowed, q, 0.0), p, one_minus_p)
    grad = grad + times(z, times(p, lse))
    hess = times(total_q, p * one_minus_p) + times(z, p * p + times(p * one_minus_p, lse))
    scale_grad = _scale_derivatives(v, q, z, p, lse, grad, allowed)
    if reduction != "none":
        scale_grad = np.sum(scale_grad.reshape(2, -1), axis=-1)
    hess = times(hess, v.by_x**2) + _product(grad, v.by_x_twice)
    grad = times(grad, v.by_x)
    value, divisor = reduce(loss, weight, kept, reduction, denominator)
    return select(
        value,
        (return_grad, np.moveaxis(divide(grad, divisor), -1, axis)),
        (return_hess, np.moveaxis(divide(hess, divisor), -1, axis)),
        (return_proba, np.moveaxis(p, -1, axis)),
        (return_lse, lse[..., 0]),
        (return_scale_grad, divide(scale_grad, divisor)),
    )


@np.errstate(all="ignore")
def nll_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    denominator: str | float = "weight",
    return_grad: bool = False,
) -> Result:
    """Loss -sum_c q_c * log_probs_c, for q see `class_coefficients`."""
    log_p = last_axis(log_probs, axis)
    q, weight, kept = class_coefficients(
        log_p.shape[-1],
        class_targets(targets, axis),
        class_weight,
        sample_weight,
        label_smoothing,
        ignore_index,
    )
    loss = np.sum(times(q, 0.0 - log_p), axis=-1)
    value, divisor = reduce(loss, weight, kept, reduction, denominator)
    return select(value, (return_grad, np.moveaxis(divide(0.0 - q, divisor), -1, axis)))


def last_axis(array: ArrayLike, axis: int) -> Array:
    """Return the array in float64 with the classes on the last axis."""
    return np.moveaxis(np.asarray(array, np.float64), axis, -1)


def class_targets(targets: ArrayLike, axis: int) -> ArrayLike:
    """Return labels as they are, probabilities with the classes on the last axis."""
    return targets if is_labels(np.asarray(targets)) else last_axis(targets, axis)


def softmax_gradient(total_q: Array, q: Array, p: Array, one_minus_p: Array) -> Array:
    """Return total_q * p - q, arranged so that nothing cancels for a one-hot target."""
    return times(total_q - q, p) - times(q, one_minus_p)


def gap_to_peak(values: Array, p: Array) -> tuple[Array, Array]:
    """Return values minus that of the likeliest class, and that one.

    What a mean of gaps over p then rounds is as small as the other probabilities are.
    """
    peak = np.argmax(p, axis=-1)[..., np.newaxis]
    at_peak = np.take_along_axis(values, peak, axis=-1)
    return np.where(np.arange(p.shape[-1]) == peak, 0.0, values - at_peak), at_peak


class _Scores(NamedTuple):
    """What the softmax is taken of, with its derivatives by the logit and by the scale."""

    value: Array
    by_x: Array
    by_x_twice: Array
    by_scale: Array
    by_scale_twice: Array


def _scores(x: Array, allowed: Mask, scale: float, softcap: float | None) -> _Scores:
    """Return v = a * x, with a softcap c * tanh(a * x / c), -inf for a class not allowed."""
    x = np.where(allowed, x, 0.0)
    v, slope, bend = scale * x, np.ones(x.shape), np.zeros(x.shape)
    if softcap is not None:
        u = v / softcap
        e = np.exp(-2.0 * np.abs(u))
        v, slope = softcap * np.tanh(u), 4.0 * e / (1.0 + e) ** 2
        bend = -2.0 * np.tanh(u) * slope / softcap
    v = np.where(allowed, v, -np.inf)
    return _Scores(v, scale * slope, scale**2 * bend, times(slope, x), times(bend, x**2))


def _scale_derivatives(
    v: _Scores, q: Array, z: Array, p: Array, lse: Array, grad: Array, allowed: Mask
) -> Array:
    """Return the first and the second derivative of each loss by the scale."""
    gap, at_peak = gap_to_peak(v.by_scale, p)
    grad_sum = times(z, lse) + np.sum(np.where(allowed, 0.0, q), axis=-1, keepdims=True)
    mean = np.sum(times(p, gap), axis=-1, keepdims=True)
    variance = np.sum(times(p, (gap - mean) ** 2), axis=-1, keepdims=True)
    first = np.sum(_product(grad, gap), axis=-1, keepdims=True) + times(grad_sum, at_peak)
    second = times(np.sum(q, axis=-1, keepdims=True), variance)
    second = second + times(z, times(variance, lse) + (mean + at_peak) ** 2)
    second = second + np.sum(_product(grad, v.by_scale_twice), axis=-1, keepdims=True)
    return np.stack([first[..., 0], second[..., 0]])


def _product(grad: Array, value: Array) -> Array:
    """Multiply; a gradient of 0 leaves the value out, and a value of 0 a gradient of inf."""
    return np.where(np.isinf(grad) & (value == 0.0), 0.0, times(grad, value))
