"""Class labels of any kind as numbers of columns, by the rules of scikit-learn."""

import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cekernels._metric_inputs import check_finite, length, refuse_complex, refuse_matrix
from cekernels._validation import Array

_NOT_ARRAY_LIKE = "Expected array-like (array or non-string sequence), got {!r}"
_MASKED = "Masked labels are not supported. Drop the masked samples, or fill the mask."
_RAGGED = "Sequences of label sequences are not supported. Please use a binary indicator array."
_BYTES = (
    "Support for labels represented as bytes is not supported. "
    "Convert the labels to a string or integer format."
)
_UNKNOWN = "Unknown label type: ({!r},)"
_MIXED = "Mix of label input types (string and number); Got {}."
_MULTIOUTPUT = "Multioutput target data is not supported with label binarization"
_NO_LABELS = "y has 0 samples: {!r}"
_ONE_CLASS = (
    "y_true contains only one label ({}). Please provide the list of all expected "
    "class labels explicitly through the labels argument."
)
_ONE_LABEL = "The labels array needs to contain at least two labels, got {}."
_REPEATED = "The labels array must not contain a label twice, got {}."
_UNDECLARED = "y_true contains values {} not belonging to the passed labels {}."
_INDICATOR_WITH_LABELS = "A multilabel-indicator y_true does not go with one-dimensional labels."
_UNSORTED = (
    "Labels passed were {}. But this function assumes labels are ordered lexicographically. "
    "Pass the ordered labels={} and ensure that the columns of y_prob correspond to this ordering."
)

# A prefix of this length shows nearly always that no class is missing.
_PREFIX = 4096


class _Integer(NamedTuple):
    """How an integer dtype is read: as unsigned, as an index, and up to how many classes so."""

    unsigned: str
    as_index: str
    n_max: int


_INTEGERS: dict[np.dtype[Any], _Integer] = {
    np.dtype(name): _Integer(
        f"u{name[1]}", "i8" if name == "u8" else name, min(_PREFIX, int(np.iinfo(name).max) + 1)
    )
    for name in ("i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
}
_INTEGERS[np.dtype(bool)] = _Integer("u1", "i1", 2)


def encode(y_true: ArrayLike, labels: ArrayLike | None) -> tuple[Array, Array]:
    """Return the sorted classes, and the labels as indices into them.

    The classes are those of the argument `labels`, without it the values of `y_true`. The index of
    a multilabel indicator is the indicator itself, of shape (n_samples, n_classes).
    """
    if labels is not None:
        return _encode_by(y_true, _sorted_classes(labels), labels)
    classes, index = _encode_alone(y_true)
    if len(classes) == 1:
        raise ValueError(_ONE_CLASS.format(classes[0]))
    return classes, index


def as_integer_vector(y_true: ArrayLike) -> Array | None:
    """Return a plain array of integers or Booleans in one dimension, None for anything else."""
    is_plain = type(y_true) is np.ndarray and y_true.ndim == 1 and y_true.dtype in _INTEGERS
    return np.asarray(y_true) if is_plain else None


def has_classes(y: Array, n_classes: int) -> bool:
    """Whether each of 0, ..., n_classes - 1 occurs in an integer vector that holds nothing else."""
    index = y.view(_INTEGERS[y.dtype].as_index)
    if np.count_nonzero(np.bincount(index[:_PREFIX])) == n_classes:
        return True
    return bool(np.count_nonzero(np.bincount(index)) == n_classes)


def distinct(y: Array) -> tuple[Array, Array]:
    """Return the sorted distinct values of a vector and, for each element, the index of its value."""
    values, index = _factorize(y)
    if y.dtype.kind not in "OU":
        return values, index
    order = np.argsort(values)
    return values[order], np.argsort(order)[index]


def _encode_by(y_true: ArrayLike, classes: Array, labels: ArrayLike) -> tuple[Array, Array]:
    """Encode labels that have to be among the classes."""
    y = _as_labels(y_true)
    if _is_wide(y):
        raise ValueError(_INDICATOR_WITH_LABELS)
    found, index = _factorize(y.ravel())
    undeclared = found[~np.isin(found, classes)]
    if undeclared.size:
        # Those of an array are shown with their type, as iterating over it does.
        is_array = isinstance(y_true, np.ndarray)
        shown = set(undeclared.astype(y.dtype) if is_array else undeclared.tolist())
        raise ValueError(_UNDECLARED.format(shown, labels))
    if len(classes) == 1:
        raise ValueError(_ONE_LABEL.format(classes))
    if np.array_equal(found, classes):
        return classes, index
    return classes, np.searchsorted(classes, found)[index]


def _sorted_classes(labels: ArrayLike) -> Array:
    """Return the classes of the argument `labels`, with a warning if they came in disorder."""
    given = _as_labels(labels)
    if not given.size:
        raise ValueError(_NO_LABELS.format(labels))
    if _is_wide(given):
        raise ValueError(_MULTIOUTPUT)
    classes, _ = _encode_alone(labels)
    if len(classes) != given.size:
        raise ValueError(_REPEATED.format(labels))
    if np.any(classes != given.ravel()):
        warnings.warn(_UNSORTED.format(labels, classes.tolist()), UserWarning, stacklevel=5)
    return classes


def _encode_alone(labels: ArrayLike) -> tuple[Array, Array]:
    """Encode labels that have to tell their classes themselves."""
    y = _as_labels(labels)
    if y.dtype not in _INTEGERS:
        _check_kind(y, labels)
    if _is_wide(y):
        return _check_indicator(y)
    classes, index = distinct(y.ravel())
    if y.dtype.kind == "f" and _as_integers(classes) is None:
        check_finite(classes, "y ")
        raise ValueError(_UNKNOWN.format(labels))
    return classes, index


def _as_labels(values: ArrayLike) -> Array:
    """Return `values` as an array of the dtype that NumPy finds, or refuse them."""
    array = values if type(values) is np.ndarray else _converted(values)
    if not 1 <= array.ndim <= 2:
        length(array)
        raise ValueError(_UNKNOWN.format(values))
    return array


def _converted(values: ArrayLike) -> Array:
    """Convert what is not a plain array."""
    refuse_matrix(values)
    if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
        raise TypeError(_MASKED)
    if not (isinstance(values, Sequence) or hasattr(values, "__array__")):
        raise ValueError(_NOT_ARRAY_LIKE.format(values))
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise ValueError(_RAGGED) from error
    if array.dtype.kind == "U" and isinstance(values, Sequence) and array.ndim == 1:
        _refuse_mixture(values, array)
    return array


def _check_kind(y: Array, original: ArrayLike) -> None:
    """Raise for values that cannot be class labels."""
    kind = y.dtype.kind
    first = y.flat[0] if y.size else None
    refuse_complex(y)
    if kind == "S" or isinstance(first, bytes):
        raise TypeError(_BYTES)
    if kind == "O" and not isinstance(first, str):
        raise ValueError(_UNKNOWN.format(original))


def _is_wide(y: Array) -> bool:
    return y.ndim == 2 and y.shape[1] > 1


@np.errstate(invalid="ignore")
def _as_integers(y: Array) -> Array | None:
    """Return numbers as int64, or None if one of them is no integer."""
    integers = y.astype(np.int64)
    return integers if np.array_equal(integers, y) else None


def _check_indicator(y: Array) -> tuple[Array, Array]:
    """Return the classes and the index of a multilabel indicator: integers of at most two values."""
    if y.dtype.kind == "f":
        check_finite(y, "y ")
    if y.dtype.kind not in "biuf" or len(np.unique(y)) > 2 or _as_integers(y) is None:
        raise ValueError(_MULTIOUTPUT)
    return np.arange(y.shape[1]), y


def _factorize(y: Array) -> tuple[Array, Array]:
    """Return the distinct values of a vector and, for each element, the index of its value.

    The values are sorted, but for strings and objects they are in order of appearance.
    """
    if y.dtype in _INTEGERS:
        return _factorize_integers(y)
    if y.dtype.kind in "OU":
        return _factorize_hashed(y)
    integers = _as_integers(y) if y.dtype.kind in "iuf" else None
    if integers is None:
        return np.unique(y, return_inverse=True)
    values, index = _factorize_integers(integers)
    return values.astype(y.dtype), index


def _factorize_hashed(y: Array) -> tuple[Array, Array]:
    codes: dict[Any, int] = {}
    index = np.array([codes.setdefault(label, len(codes)) for label in y.tolist()], np.intp)
    values = np.empty(len(codes), object)
    values[:] = list(codes)
    return values, index


def _factorize_integers(y: Array) -> tuple[Array, Array]:
    """Factorize without sorting where the integers are 0, 1, ..., or lie close together."""
    form = _INTEGERS[y.dtype]
    # As unsigned, a negative integer is a huge one: a single maximum bounds both ends.
    n_values = int(np.maximum.reduce(y.view(form.unsigned))) + 1
    if n_values <= form.n_max and has_classes(y, n_values):
        return np.arange(n_values, dtype=y.dtype), y.view(form.as_index)
    numbers = y.view(form.unsigned) if y.dtype == np.bool_ else y
    low = numbers.min()
    offsets = (numbers - low).view(form.unsigned)  # modulo the word size, therefore always right
    if offsets.max() > 4 * (len(y) + _PREFIX):
        return np.unique(y, return_inverse=True)
    offsets = offsets.astype(np.intp)
    present = np.bincount(offsets) > 0
    values = (np.flatnonzero(present).astype(numbers.dtype) + low).astype(y.dtype)
    return values, (np.cumsum(present) - 1)[offsets]


def _refuse_mixture(values: Iterable[object], array: Array) -> None:
    """Raise where NumPy would turn numbers among strings into strings."""
    if not all(isinstance(value, str) for value in values):
        raise ValueError(_MIXED.format(np.unique(array)))
