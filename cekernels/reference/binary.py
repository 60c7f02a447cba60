"""The binary losses: each entry of the inputs stands for itself."""

import numpy as np
from numpy.typing import ArrayLike

from cekernels.reference._results import Array, Result, divide, reduce, select
from cekernels.reference._weights import binary_coefficients, times
from cekernels.reference.special import expit, softplus


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
    """Binary loss a * softplus(-x) + b * softplus(x), for a, b see `binary_coefficients`."""
    x = np.asarray(logits, np.float64)
    a, b, weight, kept = binary_coefficients(
        x.shape, targets, sample_weight, pos_weight, label_smoothing, ignore_value
    )
    p, q = expit(x), expit(-x)
    loss = times(a, softplus(-x)) + times(b, softplus(x))
    grad = times(b, p) - times(a, q)
    hess = times(a + b, p * q)
    value, divisor = reduce(loss, weight, kept, reduction, denominator)
    return select(
        value,
        (return_grad, divide(grad, divisor)),
        (return_hess, divide(hess, divisor)),
        (return_proba, p),
    )


@np.errstate(all="ignore")
def binary_cross_entropy(
    probs: ArrayLike,
    targets: ArrayLike,
    *,
    complement: ArrayLike | None = None,
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
    q = 1.0 - p if complement is None else np.asarray(complement, np.float64)
    a, b, weight, kept = binary_coefficients(
        p.shape, targets, sample_weight, None, label_smoothing, ignore_value
    )
    log_p, log_q = _logarithms(p, None if complement is None else q)
    free_p = free_q = np.ones(p.shape, bool)
    if eps is not None:
        low, high = p < eps, q < eps
        log_p = np.where(low, np.log(eps), np.where(high, np.log1p(-eps), log_p))
        log_q = np.where(high, np.log(eps), np.where(low, np.log1p(-eps), log_q))
        free_p = free_q = ~(low | high)
    if log_min is not None:
        free_p, free_q = free_p & ~(log_p < log_min), free_q & ~(log_q < log_min)
        log_p, log_q = np.maximum(log_p, log_min), np.maximum(log_q, log_min)
    loss = -times(a, log_p) - times(b, log_q)
    a, b = np.where(free_p, a, 0.0), np.where(free_q, b, 0.0)
    grad = times(b, 1.0 / q) - times(a, 1.0 / p)
    hess = times(b, 1.0 / q**2) + times(a, 1.0 / p**2)
    value, divisor = reduce(loss, weight, kept, reduction, denominator)
    return select(value, (return_grad, divide(grad, divisor)), (return_hess, divide(hess, divisor)))


@np.errstate(all="ignore")
def sigmoid_focal_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
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
    """Binary loss a * alpha * f(x) + b * (1 - alpha) * f(-x), for f see `_focal_parts`."""
    x = np.asarray(logits, np.float64)
    a, b, weight, kept = binary_coefficients(
        x.shape, targets, sample_weight, pos_weight, label_smoothing, ignore_value
    )
    if alpha is not None:
        a, b = alpha * a, (1.0 - alpha) * b
    up, down = _focal_parts(x, gamma), _focal_parts(-x, gamma)
    loss = times(a, up[0]) + times(b, down[0])
    grad = times(a, up[1]) - times(b, down[1])
    hess = times(a, up[2]) + times(b, down[2])
    value, divisor = reduce(loss, weight, kept, reduction, denominator)
    return select(
        value,
        (return_grad, divide(grad, divisor)),
        (return_hess, divide(hess, divisor)),
        (return_proba, expit(x)),
    )


def _logarithms(p: Array, complement: Array | None) -> tuple[Array, Array]:
    """Return log(p) and log(1 - p); of p and its complement the smaller one has the digits."""
    log_p, log_q = np.log(p), np.log1p(-p)
    if complement is None:
        return log_p, log_q
    near_one = complement < p
    return (
        np.where(near_one, np.log1p(-complement), log_p),
        np.where(near_one, np.log(complement), log_q),
    )


def _focal_parts(x: Array, gamma: float) -> tuple[Array, Array, Array]:
    """Return f(x) = expit(-x)^gamma * softplus(-x) with its first and second derivative."""
    p, q, s = expit(x), expit(-x), softplus(-x)
    power = q**gamma
    first = -power * (q + gamma * times(p, s))
    second = times(p * power, (2.0 * gamma + 1.0) * q + gamma * s * (gamma * p - q))
    return times(power, s), first, second
