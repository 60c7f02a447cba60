"""Losses of linear models, from features to gradients, without an array of all logits."""

from cekernels.linear._binary import (
    linear_binary_cross_entropy,
    linear_binary_cross_entropy_hessian,
    linear_binary_cross_entropy_hvp,
)
from cekernels.linear._classes import (
    linear_cross_entropy,
    linear_cross_entropy_hessian,
    linear_cross_entropy_hvp,
)
from cekernels.linear._problem import LinearGrad

__all__ = [
    "LinearGrad",
    "linear_binary_cross_entropy",
    "linear_binary_cross_entropy_hessian",
    "linear_binary_cross_entropy_hvp",
    "linear_cross_entropy",
    "linear_cross_entropy_hessian",
    "linear_cross_entropy_hvp",
]
