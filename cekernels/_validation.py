"""Every check of an argument, and every message.

What leaves this module is ready for the kernels: arrays of a known dtype and the right shape, in
whatever layout they came.  Nothing is written before every check has passed.
"""

import math
import operator
from collections.abc import Iterable, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from cekernels import _kernels

Array: TypeAlias = NDArray[Any]
Reduction: TypeAlias = Literal["none", "sum", "mean", "stats"]
Denominator: TypeAlias = Literal["weight", "count"] | float
ClassWeight: TypeAlias = ArrayLike | Mapping[int, float] | None

REDUCTIONS = ("none", "sum", "mean", "stats")
FLOATS = frozenset((np.float16, np.float32, np.float64))


class LabelError(IndexError, ValueError):
    """A class label outside the range of the classes.

    See Also
    --------
    cross_entropy : Raises it before anything is written, as every loss of labels does.

    Examples
    --------
    >>> import cekernels
    >>> cekernels.cross_entropy([[2.0, 0.0]], [2])
    Traceback (most recent call last):
    cekernels.LabelError: targets[0] is 2, but labels must be in [0, 2), the classes of logits
    """

    __module__ = "cekernels"


def as_array(value: Any, name: str) -> Array:
    """Return an array of real numbers in native byte order: the caller's memory where it is one.

    NumPy's own arrays, the array interface, the buffer protocol, DLPack on the CPU and sequences.
    """
    if _kernels.is_plain_number(value):
        return value
    try:
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            array: Array = np.from_dlpack(value)
        else:
            array = np.asarray(value)
    except TypeError as error:
        raise TypeError(f"{name} is no array: {error}") from None
    except (BufferError, RuntimeError, ValueError) as error:
        raise ValueError(f"{name} is no array: {error}") from None
    if not is_number(array.dtype):
        raise TypeError(
            f"{name} must hold integers, bools or floats of up to 64 bits, got dtype {array.dtype}"
        )
    if not array.dtype.isnative:
        raise TypeError(f"{name} must be in native byte order, got dtype {array.dtype.str!r}")
    return array


def is_bfloat16(dtype: np.dtype[Any]) -> bool:
    """Tell whether this is the dtype of ml_dtypes, which NumPy itself does not have."""
    return dtype.kind == "V" and dtype.name == "bfloat16"


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Tell whether this is one of the floating dtypes that the kernels read."""
    return dtype.type in FLOATS or is_bfloat16(dtype)


def is_number(dtype: np.dtype[Any]) -> bool:
    """Tell whether the kernels read this dtype."""
    return dtype.kind in "biu" or is_floating(dtype)


def computed_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return what results of this dtype are computed in."""
    return np.dtype(np.float32) if dtype.itemsize == 2 else dtype


def as_floats(value: ArrayLike, name: str) -> Array:
    """Return a floating array; integers become float64."""
    array = as_array(value, name)
    return array if is_floating(array.dtype) else array.astype(np.float64)


def as_logits(value: ArrayLike, name: str, axis: int) -> tuple[Array, int]:
    """Return floats with an axis of at least one class, and that axis."""
    array = as_floats(value, name)
    if array.ndim == 0:
        raise ValueError(f"{name} must have an axis of classes, got a scalar")
    if not is_integer(axis):
        raise TypeError(f"axis must be an integer, got {axis!r}")
    (axis,) = as_axes(axis, array.ndim)
    if array.shape[axis] == 0:
        raise ValueError(f"{name} must have at least one class, got shape {array.shape}")
    return array, axis


def as_shaped(value: ArrayLike, name: str, shape: tuple[int, ...]) -> Array:
    """Return an array of exactly this shape."""
    array = as_array(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


def as_broadcast(value: ArrayLike | None, name: str, shape: tuple[int, ...]) -> Array | None:
    """Return what broadcasts to this shape in it, or one value for all as 0-d."""
    if value is None:
        return None
    array = as_array(value, name)
    return array if array.ndim == 0 else _broadcast(array, name, shape)


def _broadcast(array: Array, name: str, shape: tuple[int, ...]) -> Array:
    if array.shape == shape:
        return array
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"{name} must broadcast to shape {shape}, got {array.shape}") from None


def as_mask(value: ArrayLike | None, name: str, shape: tuple[int, ...]) -> Array | None:
    """Return a bool array of this shape."""
    if value is None:
        return None
    array = as_array(value, name)
    if array.dtype.kind != "b":
        raise TypeError(f"{name} must be bool, got dtype {array.dtype}")
    return _broadcast(array, name, shape)


def as_class_targets(
    value: ArrayLike,
    name: str,
    shape: tuple[int, ...],
    axis: int,
    only: Literal["labels", "proba"] | None,
) -> tuple[Array, None] | tuple[None, Array]:
    """Return targets as labels (integers) or as probabilities (floats): one of the two is None."""
    array = as_array(value, name)
    if is_floating(array.dtype):
        if only == "labels":
            raise TypeError(f"{name} must be integers, got dtype {array.dtype}")
        if array.shape != shape:
            raise ValueError(
                f"{name if only else f'floating {name} are probabilities and'} must have the shape "
                f"of logits, {shape}, got {array.shape}"
                + ("" if only else "; labels must be integers")
            )
        return None, array
    if only == "proba":
        raise TypeError(f"{name} must be probabilities, of a float dtype, got {array.dtype}")
    samples = shape[:axis] + shape[axis + 1 :]
    if array.shape != samples:
        what = name if only else f"integer {name} are labels and"
        which = "the last axis" if axis == len(shape) - 1 else f"axis {axis}"
        raise ValueError(
            f"{what} must have the shape of logits without {which}, "
            f"{samples}, got {array.shape}" + ("" if only else "; probabilities must be floats")
        )
    return array, None


def as_class_weight(
    value: ClassWeight,
    n_classes: int,
    dtype: np.dtype[Any],
    labels: Array | None,
    ignore_index: int | None,
) -> Array | None:
    """Return one weight a class, in what results of this dtype are computed in."""
    if value is None:
        return None
    if isinstance(value, str):
        weights = _balanced_weights(value, n_classes, labels, ignore_index)
    elif isinstance(value, Mapping):
        weights = _listed_weights(value, n_classes)
    else:
        weights = as_array(value, "class_weight")
        if weights.shape != (n_classes,):
            raise ValueError(f"class_weight must have shape {(n_classes,)}, got {weights.shape}")
    return np.require(weights, computed_dtype(dtype), ["C", "A"])


def _listed_weights(value: Mapping[int, float], n_classes: int) -> Array:
    weights = np.ones(n_classes)
    for label, weight in value.items():
        if not is_integer(label):
            raise TypeError(f"class_weight must have integer keys, got {label!r}")
        if not 0 <= label < n_classes:
            raise ValueError(f"class_weight must have keys in [0, {n_classes}), got {label}")
        weights[label] = as_number(weight, f"class_weight[{label}]")
    return weights


def _balanced_weights(
    value: str, n_classes: int, labels: Array | None, ignore_index: int | None
) -> Array:
    """Return the weights that give every class that occurs the same share."""
    if value != "balanced":
        raise ValueError(f"class_weight must be an array, a dict or 'balanced', got {value!r}")
    if labels is None:
        raise ValueError("class_weight='balanced' needs labels, but the targets are probabilities")
    kept = (labels >= 0) & (labels < n_classes)
    if ignore_index is not None:
        kept &= labels != ignore_index
    counts = np.bincount(labels[kept].astype(np.intp), minlength=n_classes)
    shares = counts.sum() / max(1, np.count_nonzero(counts))
    return np.where(counts, shares / np.maximum(counts, 1), 1.0)


def as_ignored_label(value: int | None, labels: Array | None) -> int | None:
    """Return a label to ignore, or None where no label can be equal to it."""
    if value is None:
        return None
    if not is_integer(value):
        raise TypeError(f"ignore_index must be an integer or None, got {value!r}")
    if labels is None:
        raise ValueError("ignore_index needs labels, but the targets are probabilities")
    info = np.iinfo(np.uint8 if labels.dtype.kind == "b" else labels.dtype)
    return int(value) if info.min <= value <= info.max else None


def is_integer(value: Any) -> bool:
    """Tell whether this is one integer, and no bool."""
    if isinstance(value, (bool, np.bool_)):
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def as_number(value: Any, name: str) -> float:
    """Return a real number."""
    if type(value) is float:
        return value
    is_text = isinstance(value, str)  # that of NumPy has a __float__
    if is_text or not hasattr(value, "__float__") or np.ndim(value):
        raise TypeError(f"{name} must be a number, got {value!r}")
    try:
        return float(value)
    except TypeError:
        raise TypeError(f"{name} must be a number, got {value!r}") from None
    except OverflowError:
        raise ValueError(f"{name} must be a number that float64 holds, got {value!r}") from None


def as_fraction(value: float, name: str) -> float:
    """Return a number in [0, 1]."""
    number = as_number(value, name)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} must be in [0, 1], got {value!r}")
    return number


def as_size(value: float, name: str) -> float:
    """Return a finite number that is not negative."""
    number = as_number(value, name)
    if not 0.0 <= number < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")
    return number


def as_positive(value: float, name: str) -> float:
    """Return a finite number above 0."""
    number = as_number(value, name)
    if not 0.0 < number < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {value!r}")
    return number


def as_clip(value: float | None) -> float:
    """Return the bound of `eps`, 0 for none."""
    if value is None:
        return 0.0
    number = as_number(value, "eps")
    if not 0.0 <= number < 0.5:
        raise ValueError(f"eps must be in [0, 0.5) or None, got {value!r}")
    return number


def as_log_bound(value: float | None) -> float:
    """Return the bound of `log_min`, -inf for none."""
    if value is None:
        return -math.inf
    number = as_number(value, "log_min")
    if not number <= 0.0:
        raise ValueError(f"log_min must be at most 0 or None, got {value!r}")
    return number


def check_reduction(reduction: str) -> None:
    """Raise where this is no reduction."""
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}, got {reduction!r}"
        )


def check_denominator(denominator: Denominator) -> None:
    """Raise where a mean cannot be divided by this."""
    if isinstance(denominator, str):
        if denominator not in ("weight", "count"):
            raise ValueError(
                f"denominator must be 'weight', 'count' or a positive number, got {denominator!r}"
            )
    elif not 0.0 < as_number(denominator, "denominator") < math.inf:
        raise ValueError(f"denominator must be positive and finite, got {denominator!r}")


def check_target(scan_index: int, targets: Array) -> None:
    """Raise for the first target outside [0, 1], if there is one."""
    if scan_index >= 0:
        raise ValueError(
            f"targets must be in [0, 1], got {_element(targets, scan_index)!s} at "
            f"{_position(scan_index, targets.shape)}; check=False turns this check off"
        )


def check_label(
    scan_index: int, labels: Array, name: str, n_classes: int, ignore_index: int | None
) -> None:
    """Raise for the first label that is no class, if there is one."""
    if scan_index >= 0:
        where = _position(scan_index, labels.shape) if labels.ndim else ""
        ignored = "" if ignore_index is None else f" or ignore_index={ignore_index}"
        raise LabelError(
            f"{name}{where} is {_element(labels, scan_index)}, but labels must be in "
            f"[0, {n_classes}), the classes of logits{ignored}"
        )


def check_proba(scan_index: int, probs: Array, name: str) -> None:
    """Raise for the first probability outside [0, 1], if there is one."""
    if scan_index >= 0:
        raise ValueError(
            f"{name} must be in [0, 1], got {_element(probs, scan_index)!s} at "
            f"{_position(scan_index, probs.shape)}; check=False turns this check off"
        )


def _element(array: Array, flat: int) -> Any:
    return array[np.unravel_index(flat, array.shape)]


def _position(flat: int, shape: tuple[int, ...]) -> str:
    index = np.unravel_index(flat, shape)
    return "[" + ", ".join(str(int(i)) for i in index) + "]"


def check_output(out: Array, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Raise where results of this shape and dtype cannot be written to out."""
    if not isinstance(out, np.ndarray):
        raise TypeError(f"{name} must be a NumPy array, got {type(out).__name__}")
    if out.dtype != dtype:
        raise TypeError(f"{name} must have dtype {dtype}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {out.shape}")
    flags = out.flags
    if not flags.writeable:
        raise ValueError(f"{name} is read-only")
    if not flags.forc and _overlaps_itself(out):
        raise ValueError(f"{name} has elements that share memory")


def _overlaps_itself(array: Array) -> bool:
    """Tell whether a stride is too short for the elements that the shorter ones reach."""
    if array.size == 0:
        return False
    reach = array.itemsize
    for stride, length in sorted(zip(map(abs, array.strides), array.shape, strict=True)):
        if length > 1 and stride < reach:
            return True
        reach += (length - 1) * stride
    return False


def check_overlap(
    outputs: dict[str, Array | None], inputs: dict[str, Any], in_place: tuple[str, str] | None
) -> None:
    """Raise where an output shares memory with an input or another output.

    `in_place` names the output and the input that may be the very same memory.
    """
    seen: list[tuple[str, Array]] = [
        (name, array) for name, array in inputs.items() if isinstance(array, np.ndarray)
    ]
    for name, out in outputs.items():
        if out is None:
            continue
        for other_name, other in seen:
            if _kernels.are_apart(out, other) or not np.shares_memory(out, other):
                continue
            if (name, other_name) == in_place and _is_same_memory(out, other):
                continue
            raise ValueError(f"{name} shares memory with {other_name}")
        seen.append((name, out))


def _is_same_memory(a: Array, b: Array) -> bool:
    return a is b or (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)


def as_axes(axis: int | Iterable[int] | None, ndim: int) -> tuple[int, ...]:
    """Return non-negative, sorted axes; None is all of them."""
    if type(axis) is int and -ndim <= axis < ndim:
        return (axis % ndim,)
    if axis is None:
        return tuple(range(ndim))
    wanted: tuple[Any, ...] = (axis,)
    if isinstance(axis, Iterable) and getattr(axis, "ndim", 1) > 0:
        wanted = tuple(axis)
    axes = []
    for value in wanted:
        if not is_integer(value):
            raise TypeError(f"axis must be an integer, a tuple of integers or None, got {axis!r}")
        if not -ndim <= value < ndim:
            raise ValueError(f"axis must be in [{-ndim}, {ndim}), got {value}")
        axes.append(int(value) % ndim)
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis must not repeat, got {axis!r}")
    return tuple(sorted(axes))


def as_gamma(value: float) -> float:
    """Return the exponent of a focal loss: with 1000, factors below 1/2 are 0 or subnormal."""
    number = as_number(value, "gamma")
    if not 0.0 <= number <= 1000.0:
        raise ValueError(f"gamma must be in [0, 1000], got {value!r}")
    return number


def as_finite(value: float, name: str) -> float:
    """Return a finite number."""
    number = as_number(value, name)
    if not math.isfinite(number):
        raise ValueError(f"{name} must be finite, got {value!r}")
    return number


def as_power(value: float) -> float:
    """Return the exponent of the generalised cross-entropy."""
    number = as_number(value, "q")
    if not 1e-6 <= number <= 1.0:
        raise ValueError(f"q must be in [1e-6, 1], got {value!r}; its limit 0 is cross_entropy")
    return number


def check_reduced(reduction: str) -> None:
    """Raise where a Hessian is asked for of what is not one number."""
    if reduction not in ("mean", "sum"):
        raise ValueError(f"reduction must be 'mean' or 'sum', got {reduction!r}")
