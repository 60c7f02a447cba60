"""Second derivatives of the losses: products with the Hessian, and its blocks."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _kernels, _validation
from cekernels._binary import binary_problem
from cekernels._call import Call, unwrap
from cekernels._classes import NO_OUTPUTS, class_problem
from cekernels._layout import as_blocks, as_rows, as_vector
from cekernels._runtime import effective_threads
from cekernels._validation import Array, ClassWeight, Denominator, Reduction

__all__ = ["binary_cross_entropy_hvp", "cross_entropy_hessian", "cross_entropy_hvp"]


def cross_entropy_hvp(
    logits: ArrayLike,
    targets: ArrayLike,
    v: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array:
    r"""Product of the Hessian of `cross_entropy` with an array.

    .. math:: (H v)_c = A\,p_c \sum_j p_j (v_c - v_j), \qquad A = \sum_c q_c

    for every sample, with the softmax p of its logits and the q of `cross_entropy`; under
    ``reduction="mean"`` divided as the gradient is.  A Newton-CG solver needs nothing else.

    Parameters
    ----------
    logits, targets, axis, class_weight, sample_weight, ignore_index, label_smoothing
        As in `cross_entropy`.
    v : array_like
        What the Hessian is multiplied by, in the shape of logits.
    reduction : {"mean", "sum"}
        Whose Hessian: that of the weighted mean or of the weighted sum.
    denominator, n_threads
        As in `cross_entropy`.
    out : ndarray, optional
        Takes the product; of the shape and dtype of logits.

    Returns
    -------
    product : ndarray
        In the shape and dtype of logits.  Where there is nothing to average, it is 0.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `cross_entropy`; also for v of another shape.

    Notes
    -----
    Only differences of v are formed, so a constant added to v changes nothing, and the entry of a
    class of probability next to 1 keeps its relative accuracy.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import cross_entropy_hvp
    >>> cross_entropy_hvp(np.zeros((1, 2)), [0], [[1.0, 0.0]])
    array([[ 0.25, -0.25]])
    """
    problem = class_problem(
        logits,
        targets,
        axis=axis,
        class_weight=class_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
    x, axis = problem.logits, problem.axis
    vector = _validation.as_shaped(v, "v", x.shape)
    call = _reduced_call(reduction, denominator, n_threads)
    product = _result(out, x.shape, x.dtype, x, {**problem.inputs, "v": v})
    job = _kernels.CrossEntropyHvp(
        as_rows(vector, axis), as_rows(product, axis), *problem.arguments(), *NO_OUTPUTS
    )
    call.run_scaled(job, problem.scan(job, call.needs_weight))
    return product


def cross_entropy_hessian(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    out: Array | None = None,
    n_threads: int | None = None,
) -> Array:
    r"""Hessian of `cross_entropy`, a block of C x C for every sample.

    .. math:: H = A\,(\mathrm{diag}(p) - p\,p^T), \qquad A = \sum_c q_c

    with the softmax p of a sample's logits and the q of `cross_entropy`; under
    ``reduction="mean"`` divided as the gradient is.  Between samples all derivatives are 0.

    Parameters
    ----------
    logits, targets, axis, class_weight, sample_weight, ignore_index, label_smoothing
        As in `cross_entropy`.
    reduction : {"mean", "sum"}
        Whose Hessian: that of the weighted mean or of the weighted sum.
    denominator, n_threads
        As in `cross_entropy`.
    out : ndarray, optional
        Takes the blocks.

    Returns
    -------
    hessian : ndarray
        Of shape (..., C, C), the samples in the order of logits without its axis of classes; of the
        dtype of logits.  Where there is nothing to average, it is 0.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `cross_entropy`.

    Notes
    -----
    Entries are within 8 ulp of the exact value, those of the diagonal however close to 0 or 1 their
    probability is.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import cross_entropy_hessian
    >>> cross_entropy_hessian(np.zeros((1, 2)), [0])
    array([[[ 0.25, -0.25],
            [-0.25,  0.25]]])
    """
    problem = class_problem(
        logits,
        targets,
        axis=axis,
        class_weight=class_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
    )
    n_classes = problem.n_classes
    call = _reduced_call(reduction, denominator, n_threads)
    shape = (*problem.samples, n_classes, n_classes)
    blocks = _result(out, shape, problem.logits.dtype, None, problem.inputs)
    job = _kernels.CrossEntropyHvp(None, as_blocks(blocks), *problem.arguments(), *NO_OUTPUTS)
    call.run_scaled(job, problem.scan(job, call.needs_weight))
    return blocks


def binary_cross_entropy_hvp(
    logits: ArrayLike,
    targets: ArrayLike,
    v: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_value: float | None = None,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    out: Array | None = None,
    check: bool = True,
    n_threads: int | None = None,
) -> Array:
    r"""Product of the Hessian of `binary_cross_entropy_with_logits` with an array.

    .. math:: (H v)_i = w\,[q\,y' + 1 - y']\,\sigma(x_i)\,\sigma(-x_i)\,v_i

    for weight w, positive weight q and smoothed target y'; under ``reduction="mean"`` divided as
    the gradient is.

    Parameters
    ----------
    logits, targets, sample_weight, pos_weight, label_smoothing, ignore_value
        As in `binary_cross_entropy_with_logits`.
    v : array_like
        What the Hessian is multiplied by, in the shape of logits.
    reduction : {"mean", "sum"}
        Whose Hessian: that of the weighted mean or of the weighted sum.
    denominator, check, n_threads
        As in `binary_cross_entropy_with_logits`.
    out : ndarray, optional
        Takes the product; of the shape and dtype of logits.

    Returns
    -------
    product : ndarray
        In the shape and dtype of logits.  Where there is nothing to average, it is 0.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`; also for v of another shape.

    Examples
    --------
    >>> from cekernels import binary_cross_entropy_hvp
    >>> binary_cross_entropy_hvp([0.0, 0.0], [0, 1], [1.0, 2.0], reduction="sum")
    array([0.25, 0.5 ])
    """
    problem = binary_problem(
        logits,
        targets,
        sample_weight=sample_weight,
        pos_weight=pos_weight,
        label_smoothing=label_smoothing,
        ignore_value=ignore_value,
    )
    x = problem.values
    vector = _validation.as_shaped(v, "v", x.shape)
    call = _reduced_call(reduction, denominator, n_threads)
    product = _result(out, x.shape, x.dtype, x, {**problem.inputs, "v": v})
    job = _kernels.BinaryHvp(
        as_vector(vector), as_vector(product), *problem.arguments(), *NO_OUTPUTS[:4]
    )
    call.run_scaled(job, problem.scan(job, check))
    result: Array = unwrap(product)
    return result


def _reduced_call(reduction: Reduction, denominator: Denominator, n_threads: int | None) -> Call:
    _validation.check_reduced(reduction)
    return Call(reduction, denominator, effective_threads(n_threads))


def _result(
    out: Array | None,
    shape: tuple[int, ...],
    dtype: Any,
    like: Array | None,
    inputs: dict[str, Any],
) -> Array:
    """Make room for the result; nothing that is read may be written to."""
    if out is None:
        return np.empty(shape, dtype) if like is None else np.empty_like(like, subok=False)
    _validation.check_output(out, "out", shape, dtype)
    _validation.check_overlap({"out": out}, inputs, None)
    return out
