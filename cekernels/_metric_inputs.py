"""The numeric arguments of the metrics, checked by the rules of scikit-learn."""

import math
import sys
import warnings
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cekernels._validation import Array

_PARAMETER = "The {!r} parameter of log_loss must be {}. Got {!r} instead."
_MATRIX = "np.matrix is not supported. Please convert to a numpy array with np.asarray."
_COMPLEX = "Complex data not supported\n{}\n"
_SCALAR = "Input should have at least 1 dimension, got scalar {!r} instead."
_DIMENSIONS = "Found array with dim {}, while dim <= 2 is required."
_TOO_SMALL = "Found array with 0 {}(s) (shape={}) while a minimum of 1 is required."
_NAN = "Input {}contains NaN."
_INFINITE = "Input {}contains infinity or a value too large for {!r}."
_ABOVE_ONE = "y_prob contains values greater than 1: {}"
_BELOW_ZERO = "y_prob contains values lower than 0: {}"
_ROW_SUMS = "The y_prob values do not sum to one. Make sure to pass probabilities."
_LENGTHS = "Found input variables with inconsistent numbers of samples: {}"
_WEIGHT_DIMENSIONS = (
    "Sample weights must be 1D array or scalar, got {}D array. "
    "Expected either a scalar value or a 1D array of length {}."
)
_WEIGHT_DTYPE = "Sample weights must be numeric, got dtype {}."
_WEIGHTS_ALL_ZERO = "Sample weights must contain at least one non-zero number."
_EPS_RANGE = "eps must be in [0, 0.5), got {!r}."
_EPS_WITH_LOGITS = "eps does not apply to logits, which are never clipped; got {!r}."

# Elements that are summed at once: they stay in the cache, and BLAS starts no threads for them.
_BLOCK_SIZE = 8192


class _Format(NamedTuple):
    """A floating dtype's machine epsilon, and its 1.0 read as an unsigned integer."""

    eps: float
    unsigned: str
    one: int


_FORMATS = {
    np.dtype("f8"): _Format(2.0**-52, "u8", 0x3FF0_0000_0000_0000),
    np.dtype("f4"): _Format(2.0**-23, "u4", 0x3F80_0000),
    np.dtype("f2"): _Format(2.0**-10, "u2", 0x3C00),
}


def check_array_like(name: str, value: object, wanted: str = "an array-like") -> None:
    """Raise a TypeError for a scalar, a sparse array, or what has no elements."""
    if type(value) is np.ndarray:
        return
    has_elements = any(hasattr(value, trait) for trait in ("__len__", "shape", "__array__"))
    if not has_elements or np.isscalar(value) or _is_sparse(value):
        raise TypeError(_PARAMETER.format(name, wanted, value))


def _is_sparse(value: object) -> bool:
    sparse = sys.modules.get("scipy.sparse")  # without it nobody holds a sparse array
    return sparse is not None and bool(sparse.issparse(value))


def check_bool(name: str, value: object) -> None:
    """Raise a TypeError for what is not a Boolean."""
    if not isinstance(value, (bool, np.bool_)):
        wanted = "an instance of 'bool' or an instance of 'numpy.bool'"
        raise TypeError(_PARAMETER.format(name, wanted, value))


def refuse_matrix(values: object) -> None:
    """Raise a TypeError for the deprecated class whose vectors have two dimensions."""
    if isinstance(values, np.matrix):
        raise TypeError(_MATRIX)


def refuse_complex(values: Array) -> None:
    """Raise a ValueError for complex numbers."""
    if values.dtype.kind == "c":
        raise ValueError(_COMPLEX.format(values))


def check_finite(values: Array, name: str = "") -> None:
    """Raise a ValueError for NaN or infinity; `name` is empty or ends with a space."""
    if np.isfinite(values).all():
        return
    if np.isnan(values).any():
        raise ValueError(_NAN.format(name))
    raise ValueError(_INFINITE.format(name, values.dtype))


def length(values: Any) -> int:
    """Return the length of the first axis."""
    shape = getattr(values, "shape", None)
    if shape is None:
        shape = (len(values),) if hasattr(values, "__len__") else np.shape(values)
    if not shape:
        raise TypeError(_SCALAR.format(values))
    return int(shape[0])


def check_lengths(scores: Array, y_true: ArrayLike, sample_weight: ArrayLike | None) -> None:
    """Raise a ValueError unless the arrays have one length."""
    lengths = [len(scores), length(y_true)]
    if sample_weight is not None:
        lengths.append(length(sample_weight))
    if min(lengths) != max(lengths):
        raise ValueError(_LENGTHS.format(lengths))


def as_scores(values: ArrayLike) -> Array:
    """Return a vector, or a matrix of at least two columns, of a dtype in _FORMATS."""
    if isinstance(values, np.ndarray) and type(values) is np.ndarray and values.dtype in _FORMATS:
        scores = values
    else:
        scores = _to_floats(values)
    if not 1 <= scores.ndim <= 2:
        length(scores)
        raise ValueError(_DIMENSIONS.format(scores.ndim))
    if not scores.size:
        raise ValueError(_TOO_SMALL.format("feature" if len(scores) else "sample", scores.shape))
    return scores[:, 0] if scores.ndim == 2 and scores.shape[1] == 1 else scores


def _to_floats(values: ArrayLike) -> Array:
    """Convert to the dtype that the values declare if it is in _FORMATS, else to float64."""
    refuse_matrix(values)
    # A data frame declares a dtype for each column; lists and foreign arrays declare none of ours.
    declared: Any = getattr(values, "dtypes", getattr(values, "dtype", None))
    dtypes = np.ravel(declared)
    if dtypes.size and all(isinstance(dtype, np.dtype) for dtype in dtypes):
        dtype = np.result_type(*dtypes)
        if dtype in _FORMATS:
            return np.asarray(values, dtype)
        refuse_complex(np.asarray(values))
    return np.asarray(values, np.float64)


def clip_bound(eps: object, scores: Array, from_logits: bool) -> float | None:
    """Return the bound below which, and above 1 minus which, probabilities are clipped."""
    if isinstance(eps, str) and eps == "auto":
        return _FORMATS[scores.dtype].eps
    if eps is None:
        return None
    if isinstance(eps, bool) or not isinstance(eps, (int, float, np.floating)):
        raise TypeError(_PARAMETER.format("eps", "'auto', a float or None", eps))
    if from_logits:
        raise ValueError(_EPS_WITH_LOGITS.format(eps))
    if not 0.0 <= eps < 0.5:
        raise ValueError(_EPS_RANGE.format(eps))
    return float(eps)


def check_probabilities(proba: Array) -> None:
    """Raise a ValueError unless all values are in [0, 1]."""
    # Read as integers, the floats of [0, 1] do not exceed 1; negative ones, infinity and NaN do.
    form = _FORMATS[proba.dtype]
    if np.maximum.reduce(proba.view(form.unsigned), axis=None) <= form.one:
        return
    check_finite(proba)
    if proba.max() > 1.0:
        raise ValueError(_ABOVE_ONE.format(proba.max()))
    if proba.min() < 0.0:
        raise ValueError(_BELOW_ZERO.format(proba.min()))


def check_row_sums(proba: Array) -> None:
    """Warn if a row does not sum to 1 within the square root of the machine epsilon."""
    # The quick sums may differ in the last bits: they acquit, but they do not convict.
    if _largest_deviation(proba) < safe_deviation(proba):
        return
    tolerance = math.sqrt(_FORMATS[proba.dtype].eps)
    if not np.isclose(proba.sum(axis=1), 1.0, rtol=tolerance).all():
        warnings.warn(_ROW_SUMS, UserWarning, stacklevel=4)


def safe_deviation(proba: Array) -> float:
    """Return a distance of row sums from 1 that no order of summation makes one to warn of."""
    return 0.9 * math.sqrt(_FORMATS[proba.dtype].eps)


def _largest_deviation(proba: Array) -> float:
    """Return the largest distance of a row's sum from 1, about."""
    n_rows, n_columns = proba.shape
    ones = np.ones(n_columns, proba.dtype)
    block = max(1, _BLOCK_SIZE // n_columns)
    deviation = 0.0
    for start in range(0, n_rows, block):
        sums = proba[start : start + block] @ ones
        deviation = max(deviation, float(sums.max()) - 1.0, 1.0 - float(sums.min()))
    return deviation


def as_weight(sample_weight: ArrayLike, n_samples: int) -> Array:
    """Return the weights as a float64 vector."""
    refuse_matrix(sample_weight)
    weight = np.asarray(sample_weight)
    refuse_complex(weight)
    if weight.dtype.kind not in "biufO":
        raise TypeError(_WEIGHT_DTYPE.format(weight.dtype))
    if weight.dtype.kind != "f":
        weight = weight.astype(np.float64)
    if weight.ndim > 2:
        raise ValueError(_DIMENSIONS.format(weight.ndim))
    check_finite(weight, "sample_weight ")
    if weight.ndim != 1:
        raise ValueError(_WEIGHT_DIMENSIONS.format(weight.ndim, n_samples))
    if not weight.any():
        raise ValueError(_WEIGHTS_ALL_ZERO)
    return weight.astype(np.float64, copy=False)
