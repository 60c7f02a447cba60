"""From y, as a user has it, to classes and the targets of losses."""

# mypy: disable-error-code="import-untyped"

from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from cekernels import _labels
from cekernels._validation import Array


def encode_labels(y: Array, classes: Array | None) -> tuple[Array, Array]:
    """Return the classes, and the labels as indices into them."""
    if _labels.as_integer_vector(y) is None:
        check_classification_targets(y)
    if classes is not None:
        index = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        unknown = classes[index] != y
        if np.any(unknown):
            raise ValueError(
                f"y has the label {y[unknown][:1].tolist()[0]!r}, which is not in classes"
            )
        return classes, index
    if _labels.as_integer_vector(y) is not None and y.min() != y.max():
        return _labels.encode(y, None)
    classes, index = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            "This solver needs samples of at least 2 classes in the data, "
            f"but the data contains only one class: {classes[0]!r}"
        )
    return classes, index


def check_probabilities(y: Array) -> None:
    """Raise for rows that are no distributions over two classes or more."""
    check_fractions(y, 'targets="proba"')
    if y.shape[1] < 2:
        raise ValueError(f'y must have a column for each class with targets="proba", got {y.shape}')
    sums = y.sum(axis=1, dtype=np.float64)
    worst = int(np.argmax(np.abs(sums - 1.0)))
    if abs(sums[worst] - 1.0) > np.sqrt(np.finfo(y.dtype).eps):
        raise ValueError(f"rows of y must sum to 1, got {sums[worst]} in row {worst}")


def check_fractions(y: Array, mode: str) -> None:
    """Raise unless y is a matrix of numbers in [0, 1]."""
    if y.ndim != 2:
        raise ValueError(f"y must have two axes with {mode}, got shape {y.shape}")
    outside = ~((y >= 0.0) & (y <= 1.0))
    if outside.any():
        place = np.unravel_index(int(np.argmax(outside)), y.shape)
        raise ValueError(
            f"y must be in [0, 1] with {mode}, got {y[place]!s} in row {int(place[0])}"
        )


def class_weights(
    class_weight: Any, classes: Array, y: ArrayLike, targets: Array, sample_weight: Array | None
) -> Array | None:
    """Return a weight for each class, or None where they have none.

    Balanced weights make the classes that occur equally heavy; `targets` are labels as indices, or
    probabilities.
    """
    if class_weight is None:
        return None
    if not isinstance(class_weight, str):
        labels = classes if targets.ndim == 2 else y
        return np.asarray(compute_class_weight(class_weight, classes=classes, y=labels), float)
    if targets.ndim == 1:
        mass = np.bincount(targets, sample_weight, minlength=len(classes)).astype(float)
    else:
        weight = np.ones(len(targets)) if sample_weight is None else sample_weight
        mass = np.asarray(weight @ targets, dtype=np.float64)
    present = mass > 0.0
    balanced = mass.sum() / (np.count_nonzero(present) * np.where(present, mass, 1.0))
    return np.where(present, balanced, 0.0)
