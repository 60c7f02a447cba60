"""Every check of an argument, and every message.

What leaves this module is ready for the kernels: arrays of a known dtype, C-contiguous where they
must be, of the right shape.  Nothing is written before every check has passed.
"""

import math
from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]
Reduction: TypeAlias = Literal["none", "sum", "mean", "stats"]
Denominator: TypeAlias = Literal["weight", "count"] | float

REDUCTIONS = ("none", "sum", "mean", "stats")


class LabelError(IndexError, ValueError):
    """A class label outside the range of the classes.

    Examples
    --------
    >>> import cekernels
    >>> cekernels.cross_entropy([[2.0, 0.0]], [2])
    Traceback (most recent call last):
    cekernels.LabelError: targets[0] is 2, but labels must be in [0, 2), the classes of logits
    """

    __module__ = "cekernels"


def as_array(value: ArrayLike, name: str) -> Array:
    """Return any array-like of numbers in native byte order, without a copy where it is one."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}") from None
    if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
        raise TypeError(f"{name} must hold real numbers, got dtype {array.dtype}")
    if array.dtype == np.float16:
        raise TypeError(f"{name} must be float32 or float64, got float16")
    if not array.dtype.isnative:
        raise TypeError(f"{name} must be in native byte order, got dtype {array.dtype.str!r}")
    return array


def as_floats(value: ArrayLike, name: str) -> Array:
    """Return C-contiguous float32 or float64; integers become float64."""
    array = as_array(value, name)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    return np.require(array, requirements=["C", "A"])


def as_logit_rows(value: ArrayLike, name: str) -> Array:
    """Return floats with a class axis, the last."""
    array = as_floats(value, name)
    if array.ndim == 0:
        raise ValueError(f"{name} must have an axis of classes, got a scalar")
    if array.shape[-1] == 0:
        raise ValueError(f"{name} must have at least one class, got shape {array.shape}")
    return array


def as_operand(value: ArrayLike, name: str, shape: tuple[int, ...]) -> Array:
    """Return an array of exactly this shape as a vector of any number type."""
    array = as_array(value, name)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return np.ascontiguousarray(array).reshape(-1)


def as_broadcast(value: ArrayLike | None, name: str, shape: tuple[int, ...]) -> Array | None:
    """Return what broadcasts to this shape as a vector, or one value for all as 0-d."""
    if value is None:
        return None
    array = as_array(value, name)
    if array.ndim == 0:
        return array
    try:
        array = np.broadcast_to(array, shape)
    except ValueError:
        raise ValueError(f"{name} must broadcast to shape {shape}, got {array.shape}") from None
    return np.ascontiguousarray(array).reshape(-1)


def as_class_targets(value: ArrayLike, logits: Array) -> tuple[Array, None] | tuple[None, Array]:
    """Return targets as labels (integers) or as probabilities (floats): one of the two is None."""
    array = as_array(value, "targets")
    if array.dtype.kind == "f":
        if array.shape != logits.shape:
            raise ValueError(
                "floating targets are probabilities and must have the shape of logits, "
                f"{logits.shape}, got {array.shape}; labels must be integers"
            )
        return None, np.require(array, logits.dtype, ["C", "A"])
    if array.shape != logits.shape[:-1]:
        raise ValueError(
            "integer targets are labels and must have the shape of logits without the last axis, "
            f"{logits.shape[:-1]}, got {array.shape}; probabilities must be floats"
        )
    return np.ascontiguousarray(array).reshape(-1), None


def as_class_weight(value: ArrayLike | None, logits: Array) -> Array | None:
    """Return one weight a class, in the dtype of logits."""
    if value is None:
        return None
    array = as_array(value, "class_weight")
    if array.shape != logits.shape[-1:]:
        raise ValueError(f"class_weight must have shape {logits.shape[-1:]}, got {array.shape}")
    return np.require(array, logits.dtype, ["C", "A"])


def as_ignored_label(value: int | None, labels: Array | None) -> int | None:
    """Return a label to ignore, or None where no label can be equal to it."""
    if value is None:
        return None
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"ignore_index must be an integer or None, got {value!r}")
    if labels is None:
        raise ValueError("ignore_index needs labels, but the targets are probabilities")
    if labels.dtype.kind == "b":
        return None
    info = np.iinfo(labels.dtype)
    return int(value) if info.min <= value <= info.max else None


def as_number(value: Any, name: str) -> float:
    """Return a real number."""
    if not hasattr(value, "__float__") or np.ndim(value):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return float(value)


def as_fraction(value: float, name: str) -> float:
    """Return a number in [0, 1]."""
    number = as_number(value, name)
    if not 0.0 <= number <= 1.0:
        raise ValueError(f"{name} must be in [0, 1], got {value!r}")
    return number


def as_clip(value: float | None) -> float:
    """Return the bound of `eps`, 0 for none."""
    if value is None:
        return 0.0
    number = as_number(value, "eps")
    if not 0.0 <= number < 0.5:
        raise ValueError(f"eps must be in [0, 0.5) or None, got {value!r}")
    return number


def as_log_bound(value: float | None) -> float | None:
    """Return the bound of `log_min`."""
    if value is None:
        return None
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
            f"targets must be in [0, 1], got {targets.reshape(-1)[scan_index]!s} at "
            f"{_position(scan_index, targets.shape)}; check=False turns this check off"
        )


def check_label(
    scan_index: int, labels: Array, shape: tuple[int, ...], n_classes: int, ignore_index: int | None
) -> None:
    """Raise for the first label that is no class, if there is one."""
    if scan_index >= 0:
        where = _position(scan_index, shape) if shape else ""
        ignored = "" if ignore_index is None else f" or ignore_index={ignore_index}"
        raise LabelError(
            f"targets{where} is {labels[scan_index]}, but labels must be in [0, {n_classes}), "
            f"the classes of logits{ignored}"
        )


def check_proba(scan_index: int, probs: Array) -> None:
    """Raise for the first probability outside [0, 1], if there is one."""
    if scan_index >= 0:
        raise ValueError(
            f"probs must be in [0, 1], got {probs.reshape(-1)[scan_index]!s} at "
            f"{_position(scan_index, probs.shape)}; check=False turns this check off"
        )


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
    if not out.flags.writeable:
        raise ValueError(f"{name} is read-only")


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
            if not np.shares_memory(out, other):
                continue
            if (name, other_name) == in_place and _is_same_memory(out, other):
                continue
            raise ValueError(f"{name} shares memory with {other_name}")
        seen.append((name, out))


def _is_same_memory(a: Array, b: Array) -> bool:
    return (a.ctypes.data, a.shape, a.strides) == (b.ctypes.data, b.shape, b.strides)


def as_axes(axis: int | Iterable[int] | None, ndim: int) -> tuple[int, ...]:
    """Return non-negative, sorted axes; None is all of them."""
    if axis is None:
        return tuple(range(ndim))
    wanted = tuple(axis) if isinstance(axis, Iterable) else (axis,)
    axes = []
    for value in wanted:
        if not hasattr(value, "__index__"):
            raise TypeError(f"axis must be an integer, a tuple of integers or None, got {axis!r}")
        if not -ndim <= value < ndim:
            raise ValueError(f"axis must be in [{-ndim}, {ndim}), got {value}")
        axes.append(int(value) % ndim)
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis must not repeat, got {axis!r}")
    return tuple(sorted(axes))
