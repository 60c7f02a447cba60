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
    logits : array_like of float16, bfloat16, float32 or float64
        `axis` runs over the classes, all others over the samples; any layout, read where it is.
    targets : array_like
        As in `cross_entropy`.
    v : array_like
        What the Hessian is multiplied by, in the shape of logits.
    axis : int
        The axis of the classes.
    class_weight : array_like, dict or "balanced", optional
        As in `cross_entropy`.
    sample_weight : array_like, optional
        As in `cross_entropy`.
    ignore_index : int, optional
        Samples with this label count for nothing.
    label_smoothing : float
        In [0, 1]: moves the targets towards the uniform distribution over the classes.
    reduction : {"mean", "sum"}
        Whose Hessian: that of the weighted mean or of the weighted sum.
    denominator : {"weight", "count"} or float
        As in `cross_entropy`.
    out : ndarray, optional
        Takes the product; of the shape and dtype of logits.
    n_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        In the shape and dtype of logits.  Where there is nothing to average, it is 0.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `cross_entropy`; also for v of another shape.

    See Also
    --------
    cross_entropy : Softmax cross-entropy of logits.
    cross_entropy_hessian : Hessian, a block of C x C for every sample.
    binary_cross_entropy_hvp : Product of the Hessian with an array.

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
    product = _result(out, x.shape, x.dtype, x, {**problem.inputs, "v": vector})
    job = _kernels.CrossEntropyHvp(
        as_rows(vector, axis), as_rows(product, axis), *problem.arguments(), *NO_OUTPUTS
    )
    call.run_scaled(job, problem.scan(job, call.needs_weight, call.n_threads))
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
    logits : array_like of float16, bfloat16, float32 or float64
        `axis` runs over the classes, all others over the samples; any layout, read where it is.
    targets : array_like
        As in `cross_entropy`.
    axis : int
        The axis of the classes.
    class_weight : array_like, dict or "balanced", optional
        As in `cross_entropy`.
    sample_weight : array_like, optional
        As in `cross_entropy`.
    ignore_index : int, optional
        Samples with this label count for nothing.
    label_smoothing : float
        In [0, 1]: moves the targets towards the uniform distribution over the classes.
    reduction : {"mean", "sum"}
        Whose Hessian: that of the weighted mean or of the weighted sum.
    denominator : {"weight", "count"} or float
        As in `cross_entropy`.
    out : ndarray, optional
        Takes the blocks.
    n_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        Of shape (..., C, C), the samples in the order of logits without its axis of classes; of the
        dtype of logits.  Where there is nothing to average, it is 0.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `cross_entropy`.

    See Also
    --------
    cross_entropy : Softmax cross-entropy of logits.
    cross_entropy_hvp : Product of the Hessian with an array.

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
    call.run_scaled(job, problem.scan(job, call.needs_weight, call.n_threads))
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
    logits : array_like of float16, bfloat16, float32 or float64
        Log-odds, of any shape and layout; each entry stands for itself.
    targets : array_like
        Probabilities of the positive class, or labels 0 and 1, in the shape of logits.
    v : array_like
        What the Hessian is multiplied by, in the shape of logits.
    sample_weight : array_like, optional
        As in `binary_cross_entropy_with_logits`.
    pos_weight : array_like, optional
        As in `binary_cross_entropy_with_logits`.
    label_smoothing : float
        In [0, 1]: moves the targets towards 1/2.
    ignore_value : float, optional
        Entries with this target (nan: any NaN) count for nothing.
    reduction : {"mean", "sum"}
        Whose Hessian: that of the weighted mean or of the weighted sum.
    denominator : {"weight", "count"} or float
        As in `binary_cross_entropy_with_logits`.
    out : ndarray, optional
        Takes the product; of the shape and dtype of logits.
    check : bool
        Raise for targets outside [0, 1].
    n_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    ndarray
        In the shape and dtype of logits.  Where there is nothing to average, it is 0.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`; also for v of another shape.

    See Also
    --------
    binary_cross_entropy_with_logits : Binary cross-entropy of logits.
    cross_entropy_hvp : Product of the Hessian with an array.

    Notes
    -----
    The Hessian is diagonal: the product is that of v and the `return_hess` array of
    `binary_cross_entropy_with_logits`, within 2 ulp, in one pass and without the array.

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
    product = _result(out, x.shape, x.dtype, x, {**problem.inputs, "v": vector})
    job = _kernels.BinaryHvp(
        as_vector(vector), as_vector(product), *problem.arguments(), *NO_OUTPUTS[:4]
    )
    call.run_scaled(job, problem.scan(job, check, call.n_threads))
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
