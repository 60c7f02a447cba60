"""What a loss returns: the reduced value, and derivatives that are scaled like it."""

import warnings
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from cekernels._stats import LossStats

Array: TypeAlias = NDArray[np.float64]
Mask: TypeAlias = NDArray[np.bool_]
Loss: TypeAlias = float | LossStats | Array
Result: TypeAlias = Loss | tuple[Loss, ...]


def reduce(
    loss: Array, weight: Array, kept: Mask, reduction: str, denominator: str | float
) -> tuple[Loss, float]:
    """Return the value that `reduction` asks for, and what its derivatives are divided by."""
    stats = LossStats(float(np.sum(loss)), float(np.sum(weight)), int(np.count_nonzero(kept)))
    divisor = mean_divisor(weight, kept, reduction, denominator)
    mean = stats.total / divisor if divisor else np.nan
    values: dict[str, Loss] = {"mean": mean, "none": loss, "sum": stats.total, "stats": stats}
    return values[reduction], divisor


def mean_divisor(weight: Array, kept: Mask, reduction: str, denominator: str | float) -> float:
    """Return the denominator of a mean, 1 for every other reduction."""
    if reduction != "mean":
        return 1.0
    if isinstance(denominator, str):
        sums = {"weight": np.sum(weight), "count": np.count_nonzero(kept)}
        denominator = float(sums[denominator])
    if denominator == 0.0:
        warnings.warn("no weight is left to average", RuntimeWarning, stacklevel=4)
    return denominator


def divide(derivative: Array, divisor: float) -> Array:
    """Divide; the derivatives of the mean of nothing are 0."""
    return derivative / divisor if divisor else np.zeros_like(derivative)


def select(value: Loss, *outputs: tuple[bool, Array]) -> Result:
    """Return the value alone, or in front of the outputs that were asked for."""
    chosen = [output for wanted, output in outputs if wanted]
    return (value, *chosen) if chosen else value
