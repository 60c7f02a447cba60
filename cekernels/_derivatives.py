"""Gradients and Hessians where another library wants them: its dtype, order, sign and factor."""

import math
import sys
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, Literal, NamedTuple

import numpy as np

from cekernels import _kernels, _parallel, _validation
from cekernels._classes import NO_OUTPUTS, outer_loss
from cekernels._runtime import effective_threads
from cekernels._validation import Array, ClassWeight, LabelError
from cekernels.focal import class_factors

# Bytes of the margins of a block: what is computed in one dtype is still in the cache when it is
# written in another (100,000 x 10: half of it takes 9 to 19 % more time, twice as much the same).
BLOCK = 1 << 20
# Rows in excess: columns a multiple of 4 KiB apart would displace each other in a cache (LightGBM,
# 10,000 x 100: 11.9 instead of 8.3 ms).
APART = 16

OUTPUTS = ("loss", "grad", "hess", "proba")


class Derivable(NamedTuple):
    """A loss of margins and targets, checked: its derivatives are written for some rows at a time.

    A job takes what has a value for each row, then what all rows share, then `OUTPUTS`.
    """

    margins: Array
    targets: Array
    make_job: Callable[..., Any]
    by_row: tuple[Array | None, ...]
    shared: tuple[Any, ...]
    is_focal: bool

    def run(self, rows: slice, outputs: dict[str, Array], scale: float, n_threads: int) -> float:
        """Write outputs of some rows; return the sum of their losses, 0 where each is written."""
        of_rows = [x if x is None or x.ndim == 0 else x[rows] for x in self.by_row]
        job = self.make_job(*of_rows, *self.shared, *map(outputs.get, OUTPUTS))
        job.scale_grad(scale)
        _parallel.run(job, n_threads)
        return 0.0 if "loss" in outputs else job.total()


def binary_derivable(
    margins: Array,
    targets: Array,
    sample_weight: Array | None,
    *,
    pos_weight: float | None = None,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
    alpha: float | None = None,
) -> Derivable:
    """Return binary cross-entropy, or focal loss, of margins with one axis; all is checked."""
    positive, negative = class_factors(alpha, pos_weight)
    is_plain = gamma == 0.0 and alpha is None
    return Derivable(
        margins,
        targets,
        _kernels.Binary if is_plain else partial(_kernels.Focal, gamma, negative),
        (margins, targets, sample_weight, None if positive is None else np.asarray(positive)),
        (label_smoothing, None),
        gamma > 0.0,
    )


def class_derivable(
    margins: Array,
    targets: Array,
    sample_weight: Array | None,
    *,
    class_weight: ClassWeight = None,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
) -> Derivable:
    """Return softmax cross-entropy, or focal loss, of rows of margins; but for weights, all is checked.

    Targets are codes, or probabilities of two axes.
    """
    labels, proba = (targets, None) if targets.ndim == 1 else (None, targets)
    weights = _validation.as_class_weight(
        class_weight, margins.shape[1], margins.dtype, labels, None
    )
    make_job = outer_loss(_kernels.OUTER_FOCAL, gamma) if gamma > 0.0 else _kernels.CrossEntropy
    return Derivable(
        margins,
        targets,
        lambda *arguments: make_job(*arguments, *NO_OUTPUTS[len(OUTPUTS) :]),
        (margins, labels, proba, None, sample_weight),
        (weights, label_smoothing, None, 0.0, 0.0, 1.0),
        gamma > 0.0,
    )


class Finish(NamedTuple):
    """What becomes of an output: it is made at least `floor`, then multiplied by `factor`."""

    factor: float = 1.0
    floor: float | None = None

    @property
    def is_nothing(self) -> bool:
        """Whether an output stays what it is."""
        return self.factor == 1.0 and self.floor is None

    def __call__(self, values: Array, out: Array) -> None:
        """Write to out, which may be values; these are lost."""
        # Few values are so small, and to find that there are none takes a seventh of np.maximum.
        if self.floor is not None and _least(values) < self.floor:
            np.maximum(values, self.floor, out=values)
        if self.factor != 1.0:
            np.multiply(values, self.factor, out=values)
        if values is not out:
            np.copyto(out, values, casting="same_kind")


UNCHANGED = Finish()


def _least(values: Array) -> float:
    return np.minimum.reduce(values, axis=None, initial=np.inf)  # type: ignore[no-any-return]


def write(
    loss: Derivable,
    outputs: dict[str, Array],
    *,
    finish: dict[str, Finish] | None = None,
    scale: float = 1.0,
    n_threads: int | None = None,
) -> float:
    """Write outputs of a loss to arrays of any float dtype; return the sum of losses.

    Gradient and Hessian are multiplied by `scale`, and then become what `finish` says.

    What the kernels can write as it is wanted takes one call.  All else goes through blocks of rows.
    With the losses among the outputs no sum is made, and 0 is returned.  The Hessian of a focal loss
    is replaced by its part that is never negative.
    """
    margins, n_rows = loss.margins, len(loss.margins)
    threads = effective_threads(n_threads)
    converted = [name for name, out in outputs.items() if out.dtype != margins.dtype]
    finishes = dict.fromkeys(converted, UNCHANGED)
    finishes |= {name: each for name, each in (finish or {}).items() if not each.is_nothing}
    curved = loss.is_focal and "hess" in outputs
    if not finishes and not curved:
        return loss.run(slice(0, n_rows), outputs, scale, threads)
    step = _block_rows(margins, threads)
    order: Literal["C", "F"] = "F" if margins.flags.f_contiguous else "C"
    scratch = {
        name: np.empty((min(step, n_rows) + APART, *outputs[name].shape[1:]), margins.dtype, order)
        for name in converted
    }
    total = 0.0
    with np.errstate(all="ignore"):
        for begin in range(0, n_rows, step):
            rows = slice(begin, min(begin + step, n_rows))
            outs = {name: out[rows] for name, out in outputs.items()}
            values = outs | {name: array[: rows.stop - begin] for name, array in scratch.items()}
            total += loss.run(rows, _with_proba(values) if curved else values, scale, threads)
            if curved:
                _curve(values["hess"], values["grad"], loss.targets[rows])
                if scale < 0.0:
                    np.negative(values["hess"], out=values["hess"])
            for name, each in finishes.items():
                each(values[name], outs[name])
    return total


def _with_proba(values: dict[str, Array]) -> dict[str, Array]:
    """Return the same memory, with the probabilities in place of the Hessian."""
    return {"proba" if name == "hess" else name: value for name, value in values.items()}


def _curve(proba: Array, grad: Array, labels: Array) -> None:
    """Turn probabilities into phi' p (1 - p), the part of a focal Hessian that is never negative.

    The loss is phi(l) of the cross-entropy l.  Its gradient is phi' (p - y), its Hessian's diagonal
    phi'' (p - y)^2 + phi' p (1 - p); of the label's own class 1 - |p - y| is p, of another 1 - p.
    """
    if proba.ndim == 1:
        np.subtract(1.0, proba, out=proba, where=labels == 0)
    else:
        places = np.arange(len(labels)), labels
        own = proba[places]
        np.subtract(1.0, proba, out=proba)
        proba[places] = own
    np.multiply(proba, grad, out=proba)
    np.absolute(proba, out=proba)


def _block_rows(margins: Array, n_threads: int) -> int:
    """Return how many rows a block has; more where several threads are to have enough of it."""
    size = BLOCK if n_threads == 1 else 4 * BLOCK * n_threads
    logits = size // margins.itemsize
    rows = max(1, logits // (margins.shape[1] if margins.ndim == 2 else 1))
    return rows - rows % 512 if rows > 512 else rows  # whole tiles of the kernels


def as_codes(labels: Array, n_classes: int, name: str) -> Array:
    """Return labels, of any real dtype, as integers in [0, n_classes)."""
    codes = labels.view(np.uint8) if labels.dtype.kind == "b" else labels
    if _validation.is_floating(labels.dtype):
        with np.errstate(invalid="ignore"):
            codes = labels.astype(np.uint8 if n_classes <= 256 else np.int32)
    # As unsigned, a negative integer is a huge one: a single maximum bounds both ends.
    unsigned = codes.view(f"u{codes.itemsize}")
    is_integer = codes.dtype == labels.dtype or np.array_equal(codes, labels)
    if not is_integer or unsigned.max(initial=0) >= n_classes:
        wrong = (codes != labels) | (codes < 0) | (codes >= n_classes)
        first = int(np.argmax(wrong))
        raise LabelError(
            f"{name}[{first}] is {labels[first]}, but labels must be integers in [0, {n_classes}), "
            f"the classes of the margins"
        )
    return codes


def check_fractions(targets: Array, name: str) -> None:
    """Raise for the first target outside [0, 1]."""
    no_options = None, None, 0.0, None
    first = _kernels.Binary(targets, targets, *no_options, *NO_OUTPUTS[:4]).scan(1)[2]
    if first >= 0:
        raise ValueError(f"{name} must be in [0, 1], got {targets[first]} at [{first}]")


def check_total(total: float, margins: Array, name: str) -> None:
    """Raise where the sum of the losses is nan, for the first row that holds a NaN."""
    if not math.isnan(total):
        return
    nan = np.argwhere(np.isnan(margins))
    if len(nan):
        raise ValueError(f"{name} must not be NaN, as they are at {nan[0].tolist()}")
    raise ValueError(
        f"the loss is nan: a label or a weight is NaN, or {name} have two infinities in a row"
    )


class Buffers:
    """Arrays of a dtype that are handed out again as soon as nobody else holds them, or a view of them.

    Pickled and copied without its arrays.
    """

    def __init__(self, dtype: Any) -> None:
        self._dtype = dtype
        self._lock = Lock()
        self._arrays: list[Array] = []

    def __reduce__(self) -> Any:
        return Buffers, (self._dtype,)

    def take(self, shape: tuple[int, ...]) -> Array:
        """Return an array with undefined values; free arrays of another shape are let go."""
        with self._lock:
            held = []
            for array, holders in zip(self._arrays, _holders(self._arrays), strict=True):
                if holders > ALONE:
                    held.append(array)
                elif array.shape == shape:
                    return array
            fresh = np.empty(shape, self._dtype)
            self._arrays = [*held, fresh][-MAX_BUFFERS:]
            return fresh


def _holders(arrays: list[Array]) -> list[int]:
    """Return the number of references to each array, this function's own included."""
    return [sys.getrefcount(array) for array in arrays]


MAX_BUFFERS = 8
(ALONE,) = _holders([np.empty(0)])  # an array that its list alone holds
