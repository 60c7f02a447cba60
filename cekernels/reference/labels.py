"""Losses phi(l) of the cross-entropy l = -log(p_y) of a label y."""

from collections.abc import Callable
from typing import TypeAlias, TypedDict, Unpack

import numpy as np
from numpy.typing import ArrayLike

from cekernels.reference._results import Array, Result, divide, reduce, select
from cekernels.reference._weights import ClassWeight, class_coefficients, times
from cekernels.reference.classes import last_axis
from cekernels.reference.special import logsumexp, softmax_parts

# Of l: phi, phi' and, since phi'' alone may be inf at 0, phi'' * (1 - exp(-l))^2.
Parts: TypeAlias = tuple[Array, Array, Array]


class Options(TypedDict, total=False):
    """The options that these losses share; they mean what they mean in `cross_entropy`."""

    axis: int
    class_weight: ClassWeight
    sample_weight: ArrayLike | None
    ignore_index: int | None
    reduction: str
    denominator: str | float
    return_grad: bool
    return_hess: bool
    return_proba: bool
    return_lse: bool


def softmax_focal_loss(
    logits: ArrayLike, labels: ArrayLike, *, gamma: float = 2.0, **options: Unpack[Options]
) -> Result:
    """Loss phi(l) = (1 - exp(-l))^gamma * l."""

    def phi(nll: Array) -> Parts:
        p, rest = np.exp(-nll), -np.expm1(-nll)
        ratio = np.where(nll == 0.0, 1.0, times(p, nll) / rest)
        bend = times(gamma * rest ** (gamma + 1.0) * p, 2.0 - nll + (gamma - 1.0) * ratio)
        return rest**gamma * nll, rest**gamma * (1.0 + gamma * ratio), bend

    return _label_loss(logits, labels, phi, **options)


def poly1_loss(
    logits: ArrayLike, labels: ArrayLike, *, epsilon: float = 1.0, **options: Unpack[Options]
) -> Result:
    """Loss phi(l) = l + epsilon * (1 - exp(-l))."""

    def phi(nll: Array) -> Parts:
        p, rest = np.exp(-nll), -np.expm1(-nll)
        return nll + epsilon * rest, 1.0 + epsilon * p, -epsilon * p * rest**2

    return _label_loss(logits, labels, phi, **options)


def generalized_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, q: float = 0.7, **options: Unpack[Options]
) -> Result:
    """Loss phi(l) = (1 - exp(-q * l)) / q."""

    def phi(nll: Array) -> Parts:
        power, rest = np.exp(-q * nll), -np.expm1(-nll)
        return -np.expm1(-q * nll) / q, power, -q * power * rest**2

    return _label_loss(logits, labels, phi, **options)


@np.errstate(all="ignore")
def _label_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    phi: Callable[[Array], Parts],
    *,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: str = "mean",
    denominator: str | float = "weight",
    return_grad: bool = False,
    return_hess: bool = False,
    return_proba: bool = False,
    return_lse: bool = False,
) -> Result:
    """Loss phi(l); of its derivatives by the logits, those of l are p - 1_y and p * (1 - p)."""
    x = last_axis(logits, axis)
    _, weight, kept = class_coefficients(
        x.shape[-1], labels, class_weight, sample_weight, 0.0, ignore_index
    )
    is_label = np.asarray(labels)[..., np.newaxis] == np.arange(x.shape[-1])
    p, one_minus_p, nll = softmax_parts(x, -1)
    label_nll = np.sum(nll, axis=-1, keepdims=True, where=is_label)
    loss, first, second = (times(weight[..., np.newaxis], part) for part in phi(label_nll))
    slope = np.where(is_label, -one_minus_p, p)
    grad = times(first, slope)
    hess = times(second, (slope / np.expm1(-label_nll)) ** 2) + times(first, p * one_minus_p)
    value, divisor = reduce(loss[..., 0], weight, kept, reduction, denominator)
    return select(
        value,
        (return_grad, np.moveaxis(divide(grad, divisor), -1, axis)),
        (return_hess, np.moveaxis(divide(hess, divisor), -1, axis)),
        (return_proba, np.moveaxis(p, -1, axis)),
        (return_lse, logsumexp(x, axis=-1)),
    )
