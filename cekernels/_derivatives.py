"""Gradients and Hessians where another library wants them: its dtype, order, sign and factor."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Literal

import numpy as np

from cekernels import _kernels, _validation
from cekernels._layout import as_vector
from cekernels._runtime import effective_threads
from cekernels._validation import Array, LabelError

# Logits a block: what is computed in one dtype is still in the cache when it is written in another.
BLOCK = 131_072
# Rows in excess: columns a multiple of 4 KiB apart would displace each other in a cache (LightGBM,
# 10,000 x 100: 11.9 instead of 8.3 ms).
APART = 16

ARGUMENTS = {"loss": "out", "grad": "grad_out", "hess": "hess_out", "proba": "proba_out"}


@dataclass(frozen=True)
class Finish:
    """What becomes of an output: it is made at least `floor`, then multiplied by `factor`."""

    factor: float = 1.0
    floor: float | None = None

    def __call__(self, values: Array, out: Array) -> None:
        """Write to out, which may be values; these are lost."""
        # Few values are so small, and to find that there are none takes a seventh of np.maximum.
        if self.floor is not None and values.min(initial=np.inf) < self.floor:
            np.maximum(values, self.floor, out=values)
        if self.factor != 1.0:
            np.multiply(values, self.factor, out=values)
        if values is not out:
            np.copyto(out, values, casting="same_kind")


UNCHANGED = Finish()


def write(
    function: Callable[..., Any],
    margins: Array,
    targets: Array,
    outputs: dict[str, Array],
    *,
    sample_weight: Array | None = None,
    finish: dict[str, Finish] | None = None,
    convex: bool = False,
    n_threads: int | None = None,
    **options: Any,
) -> float:
    """Write outputs of a loss of this package to arrays of any float dtype; return the sum of losses.

    What the kernels can write as it is wanted takes one call.  All else goes through blocks of rows.
    With the losses among the outputs no sum is made, and 0 is returned.  `convex` replaces the Hessian
    of a focal loss by its part that is never negative.
    """
    finishes = {name: (finish or {}).get(name, UNCHANGED) for name in outputs}
    converted = [name for name, out in outputs.items() if out.dtype != margins.dtype]
    convex = convex and "hess" in outputs
    arguments = ARGUMENTS | ({"hess": ARGUMENTS["proba"]} if convex else {})
    options |= {"reduction": "none" if "loss" in outputs else "sum", "n_threads": n_threads}

    def call(rows: slice, values: dict[str, Array]) -> float:
        weight = None if sample_weight is None else sample_weight[rows]
        arrays = {arguments[name]: value for name, value in values.items()}
        result = function(margins[rows], targets[rows], sample_weight=weight, **arrays, **options)
        return 0.0 if "loss" in outputs else float(result[0])

    n_rows = len(margins)
    if not converted and not convex and all(each == UNCHANGED for each in finishes.values()):
        return call(slice(0, n_rows), outputs)
    step = _block_rows(margins, effective_threads(n_threads))
    order: Literal["C", "F"] = "F" if margins.flags.f_contiguous else "C"
    scratch = {
        name: np.empty((min(step, n_rows) + APART, *outputs[name].shape[1:]), margins.dtype, order)
        for name in converted
    }
    total = 0.0
    for begin in range(0, n_rows, step):
        rows = slice(begin, min(begin + step, n_rows))
        outs = {name: out[rows] for name, out in outputs.items()}
        values = outs | {name: array[: rows.stop - begin] for name, array in scratch.items()}
        total += call(rows, values)
        with np.errstate(all="ignore"):
            if convex:
                _curve(values["hess"], values["grad"], targets[rows])
            for name, out in outs.items():
                finishes[name](values[name], out)
    return total


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
    logits = BLOCK if n_threads == 1 else 4 * BLOCK * n_threads
    rows = max(1, logits // (margins.shape[1] if margins.ndim == 2 else 1))
    return rows - rows % 512 if rows > 512 else rows  # whole tiles of the kernels


def as_codes(labels: Array, n_classes: int, name: str) -> Array:
    """Return labels, of any real dtype, as integers in [0, n_classes)."""
    codes = labels.astype(np.uint8) if labels.dtype.kind == "b" else labels
    if _validation.is_floating(labels.dtype):
        with np.errstate(invalid="ignore"):
            codes = labels.astype(np.int32)
    wrong = (codes != labels) | (codes < 0) | (codes >= n_classes)
    if np.any(wrong):
        first = int(np.argmax(wrong))
        raise LabelError(
            f"{name}[{first}] is {labels[first]}, but labels must be integers in [0, {n_classes}), "
            f"the classes of the margins"
        )
    return codes


def check_fractions(targets: Array, name: str) -> None:
    """Raise for the first target outside [0, 1]."""
    flat = as_vector(targets)
    first = _kernels.Binary(flat, flat, None, None, 0.0, None, None, None, None, None).scan(1)[2]
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
    """Arrays that are handed out again as soon as nobody else holds them, or a view of them.

    Pickled and copied without its arrays.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._arrays: list[Array] = []

    def __reduce__(self) -> Any:
        return Buffers, ()

    def take(self, shape: tuple[int, ...], dtype: Any, order: Literal["C", "F"] = "C") -> Array:
        """Return an array with undefined values; free arrays of another kind are let go."""
        with self._lock:
            held = []
            for array, holders in zip(self._arrays, _holders(self._arrays), strict=True):
                if holders > ALONE:
                    held.append(array)
                elif (array.shape, array.dtype) == (shape, dtype) and _has_order(array, order):
                    return array
            fresh: Array = np.empty(shape, dtype, order)
            self._arrays = [*held, fresh][-MAX_BUFFERS:]
            return fresh


def _has_order(array: Array, order: Literal["C", "F"]) -> bool:
    return array.flags.c_contiguous if order == "C" else array.flags.f_contiguous


def _holders(arrays: list[Array]) -> list[int]:
    """Return the number of references to each array, this function's own included."""
    return [sys.getrefcount(array) for array in arrays]


MAX_BUFFERS = 8
(ALONE,) = _holders([np.empty(0)])  # an array that its list alone holds
