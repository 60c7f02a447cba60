"""Gradients and Hessians where another library wants them: its dtype, order, sign and factor."""

import math
import sys
from collections.abc import Callable
from functools import partial
from threading import Lock
from typing import Any, TypeAlias

import numpy as np

from cekernels import _kernels, _parallel, _validation
from cekernels._classes import NO_OUTPUTS, outer_loss
from cekernels._runtime import effective_threads
from cekernels._validation import Array, ClassWeight, LabelError
from cekernels.focal import class_factors

OUTPUTS = ("loss", "grad", "hess", "proba")

# Makes the job that writes `OUTPUTS`, arrays of float32 or float64 or None.
MakeJob: TypeAlias = Callable[..., Any]


def binary_job(
    margins: Array,
    targets: Array,
    sample_weight: Array | None,
    *,
    pos_weight: float | None = None,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
    alpha: float | None = None,
) -> MakeJob:
    """Return binary cross-entropy, or focal loss, of margins with one axis; all is checked."""
    positive, negative = class_factors(alpha, pos_weight)
    is_plain = gamma == 0.0 and alpha is None
    return partial(
        _kernels.Binary if is_plain else partial(_kernels.Focal, gamma, negative),
        margins,
        targets,
        sample_weight,
        None if positive is None else np.asarray(positive),
        label_smoothing,
        None,
    )


def class_job(
    margins: Array,
    targets: Array,
    sample_weight: Array | None,
    *,
    class_weight: ClassWeight = None,
    label_smoothing: float = 0.0,
    gamma: float = 0.0,
) -> MakeJob:
    """Return softmax cross-entropy, or focal loss, of rows of margins; but for weights, all is checked.

    Targets are codes, or probabilities of two axes.
    """
    labels, proba = (targets, None) if targets.ndim == 1 else (None, targets)
    weights = _validation.as_class_weight(
        class_weight, margins.shape[1], margins.dtype, labels, None
    )
    make = outer_loss(_kernels.OUTER_FOCAL, gamma) if gamma > 0.0 else _kernels.CrossEntropy
    inputs = margins, labels, proba, None, sample_weight, weights
    options = label_smoothing, None, 0.0, 0.0, 1.0
    return lambda *outputs: make(*inputs, *options, *outputs, *NO_OUTPUTS[len(OUTPUTS) :])


def write(
    make_job: MakeJob,
    outputs: dict[str, Array],
    *,
    scale: float = 1.0,
    hess_factor: float = 1.0,
    hess_min: float | None = None,
    n_threads: int | None = None,
) -> float:
    """Write outputs of a loss to arrays of float32 or float64; return the sum of losses.

    Gradient and Hessian are multiplied by `scale`, the Hessian by `hess_factor` too; then it is made at
    least `hess_min`.  Of a focal loss it is the part that is never negative.  With the losses among the
    outputs no sum is made, and 0 is returned.
    """
    job = make_job(*map(outputs.get, OUTPUTS))
    job.scale_grad(scale)
    job.set_hess(hess_factor, gauss_newton=True)
    _parallel.run(job, effective_threads(n_threads))
    if hess_min is not None and _least(outputs["hess"]) < hess_min:
        # Few values are so small, and to find that there are none takes a seventh of np.maximum.
        np.maximum(outputs["hess"], hess_min, out=outputs["hess"])
    return 0.0 if "loss" in outputs else job.total()


def _least(values: Array) -> float:
    return np.minimum.reduce(values, axis=None, initial=np.inf)  # type: ignore[no-any-return]


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
        raise ValueError(f"{name} must not be NaN, got nan at {nan[0].tolist()}")
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
