"""The coefficients of a loss: weights times smoothed targets, 0 for what does not count."""

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cekernels.reference._results import Array, Mask

ClassWeight: TypeAlias = ArrayLike | Mapping[int, float] | str | None


def times(coefficient: Array, value: Array) -> Array:
    """Multiply so that a coefficient of 0 leaves the value out, be it inf or nan."""
    return np.where(coefficient == 0.0, 0.0, coefficient * value)


def binary_coefficients(
    shape: tuple[int, ...],
    targets: ArrayLike,
    sample_weight: ArrayLike | None,
    pos_weight: ArrayLike | None,
    label_smoothing: float,
    ignore_value: float | None,
) -> tuple[Array, Array, Array, Mask]:
    """Return a = w * pos_weight * y', b = w * (1 - y'), the weight w, and what is kept."""
    y = np.asarray(targets, np.float64)
    kept = np.ones(shape, bool)
    if ignore_value is not None:
        kept = np.asarray(~np.isnan(y) if np.isnan(ignore_value) else y != ignore_value)
    weight = kept_weight(kept, sample_weight)
    positive = y * (1.0 - label_smoothing) + label_smoothing / 2.0
    negative = (1.0 - y) * (1.0 - label_smoothing) + label_smoothing / 2.0
    if pos_weight is not None:
        positive = times(np.asarray(pos_weight, np.float64), positive)
    return times(weight, positive), times(weight, negative), weight, kept


def class_coefficients(
    n_classes: int,
    targets: ArrayLike,
    class_weight: ClassWeight,
    sample_weight: ArrayLike | None,
    label_smoothing: float,
    ignore_index: int | None,
    allowed: Mask | None = None,
) -> tuple[Array, Array, Mask]:
    """Return q = w * class_weight * smoothed target, the weight of a row, and what is kept.

    The smoothing is spread over the allowed classes; the weight is that of the target itself.
    """
    y = np.asarray(targets)
    if is_labels(y):
        target = np.where(y[..., np.newaxis] == np.arange(n_classes), 1.0, 0.0)
        kept = np.ones(y.shape, bool) if ignore_index is None else np.asarray(y != ignore_index)
    else:
        target, kept = y.astype(np.float64), np.ones(y.shape[:-1], bool)
    row_weight = kept_weight(kept, sample_weight)
    of_class = _weight_of_class(class_weight, n_classes, y, kept)
    smoothed = target * (1.0 - label_smoothing) + _shares(label_smoothing, n_classes, allowed)
    weight = times(row_weight, np.sum(target * of_class, axis=-1))
    return times(row_weight[..., np.newaxis], of_class * smoothed), weight, kept


def is_labels(targets: NDArray[np.generic]) -> bool:
    """Tell labels, which are integers or bool, from probabilities."""
    return targets.dtype.kind in "biu"


def kept_weight(kept: Mask, sample_weight: ArrayLike | None) -> Array:
    """Return the sample weights, by default 1, with 0 where nothing is kept."""
    weight = np.asarray(1.0 if sample_weight is None else sample_weight, np.float64)
    return np.where(kept, weight, 0.0)


def _shares(label_smoothing: float, n_classes: int, allowed: Mask | None) -> Array:
    """Return what the smoothing gives to each class."""
    if allowed is None:
        allowed = np.ones(n_classes, bool)
    n_allowed = np.count_nonzero(allowed, axis=-1, keepdims=True)
    return np.where(allowed, label_smoothing / n_allowed, 0.0)


def _weight_of_class(
    class_weight: ClassWeight, n_classes: int, labels: NDArray[np.generic], kept: Mask
) -> Array:
    """Return the weights of the classes as an array."""
    weights = np.ones(n_classes)
    if isinstance(class_weight, str):  # "balanced"
        counts = np.bincount(labels[kept].astype(np.intp), minlength=n_classes)
        present = counts > 0
        weights[present] = np.sum(counts) / (np.count_nonzero(present) * counts[present])
    elif isinstance(class_weight, Mapping):
        weights[list(class_weight)] = list(class_weight.values())
    elif class_weight is not None:
        weights = np.asarray(class_weight, np.float64)
    return weights
