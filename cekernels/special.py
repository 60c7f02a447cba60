"""The functions that cross-entropy is made of, named and called as in `scipy.special`."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _kernels, _parallel, _validation
from cekernels._call import unwrap
from cekernels._layout import as_rows, as_vector
from cekernels._runtime import effective_threads
from cekernels._validation import Array

__all__ = ["expit", "log_expit", "log_softmax", "logsumexp", "softmax", "softplus"]


def expit(x: ArrayLike, *, out: Array | None = None, n_threads: int | None = None) -> Any:
    r"""Logistic function :math:`\sigma(x) = 1 / (1 + e^{-x})`.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
        Any shape; integers become float64.
    out : ndarray, optional
        Takes the result; may be x itself.
    n_threads : int, optional
        As in `cekernels.set_num_threads`, for this call.

    Returns
    -------
    ndarray or scalar
        In the shape and dtype of x, within 3 ulp.

    Raises
    ------
    TypeError
        For elements that are no real numbers (complex, object, byte-swapped), and for an out of
        another dtype.
    ValueError
        For an out of another shape, read-only, or sharing memory with x in part.

    See Also
    --------
    log_expit : Logarithm of the logistic function.
    softplus : Logarithm of 1 + exp(x).
    softmax : Exponentials, divided by their sum.

    Examples
    --------
    >>> from cekernels.special import expit
    >>> expit([-1000.0, 0.0, 1000.0])
    array([0. , 0.5, 1. ])
    """
    return _elementwise(_kernels.EXPIT, x, out, n_threads)


def log_expit(x: ArrayLike, *, out: Array | None = None, n_threads: int | None = None) -> Any:
    r"""Logarithm of the logistic function, :math:`-\log(1 + e^{-x})`.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
        Any shape; integers become float64.
    out : ndarray, optional
        Takes the result; may be x itself.
    n_threads : int, optional
        As in `cekernels.set_num_threads`, for this call.

    Returns
    -------
    ndarray or scalar
        In the shape and dtype of x, within 2 ulp.

    Raises
    ------
    TypeError
        For elements that are no real numbers (complex, object, byte-swapped), and for an out of
        another dtype.
    ValueError
        For an out of another shape, read-only, or sharing memory with x in part.

    See Also
    --------
    expit : Logistic function.
    softplus : Logarithm of 1 + exp(x).
    log_softmax : Logarithm of the softmax.

    Examples
    --------
    >>> from cekernels.special import log_expit
    >>> log_expit([-1000.0, 0.0, 50.0])
    array([-1.00000000e+03, -6.93147181e-01, -1.92874985e-22])
    """
    return _elementwise(_kernels.LOG_EXPIT, x, out, n_threads)


def softplus(x: ArrayLike, *, out: Array | None = None, n_threads: int | None = None) -> Any:
    r"""Softplus, :math:`\log(1 + e^{x})`.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
        Any shape; integers become float64.
    out : ndarray, optional
        Takes the result; may be x itself.
    n_threads : int, optional
        As in `cekernels.set_num_threads`, for this call.

    Returns
    -------
    ndarray or scalar
        In the shape and dtype of x, within 2 ulp.

    Raises
    ------
    TypeError
        For elements that are no real numbers (complex, object, byte-swapped), and for an out of
        another dtype.
    ValueError
        For an out of another shape, read-only, or sharing memory with x in part.

    See Also
    --------
    log_expit : Logarithm of the logistic function.
    logsumexp : Logarithm of a sum of exponentials.

    Examples
    --------
    >>> from cekernels.special import softplus
    >>> softplus([-50.0, 0.0, 1000.0])
    array([1.92874985e-22, 6.93147181e-01, 1.00000000e+03])
    """
    return _elementwise(_kernels.SOFTPLUS, x, out, n_threads)


def logsumexp(
    a: ArrayLike,
    axis: int | Iterable[int] | None = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    *,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any:
    r"""Logarithm of a sum of exponentials, :math:`\log \sum_j b_j e^{a_j}`.

    Parameters
    ----------
    a : array_like of float16, bfloat16, float32 or float64
        Exponents; integers become float64.
    axis : int or tuple of int, optional
        Axes to sum over; by default all.
    b : array_like, optional
        Factors, broadcast with a; an element with factor 0 counts for nothing.
    keepdims : bool
        Keep the summed axes, with length 1.
    out : ndarray, optional
        Takes the result.
    n_threads : int, optional
        As in `cekernels.set_num_threads`, for this call.

    Returns
    -------
    ndarray or scalar
        In the dtype of a.  -inf for an empty or all -inf sum, inf where any term is, nan for a
        negative sum.

    Raises
    ------
    TypeError
        For elements that are no real numbers (complex, object, byte-swapped), and for an out of
        another dtype.
    ValueError
        For an out of another shape, read-only, or sharing memory with a or b; for an axis out
        of range, and for a b that does not broadcast with a.

    See Also
    --------
    softmax : Exponentials, divided by their sum.
    log_softmax : Logarithm of the softmax.
    softplus : Logarithm of 1 + exp(x).

    Examples
    --------
    >>> from cekernels.special import logsumexp
    >>> float(logsumexp([0.0, -40.0]))
    4.248354255291589e-18
    """
    x = _validation.as_floats(a, "a")
    if b is None:
        return _logsumexp(x, axis, keepdims, out, n_threads)
    factor = _validation.as_array(b, "b")
    try:
        x, given = np.broadcast_arrays(x, factor)
    except ValueError:
        raise ValueError(
            f"b must broadcast with a of shape {x.shape}, got {factor.shape}"
        ) from None
    # In float64, which holds the logarithms of factors that the dtype of a does not hold.
    with np.errstate(all="ignore"):
        wide, factor = x.astype(np.float64), given.astype(np.float64)
        terms = np.where(factor == 0, -np.inf, wide + np.log(np.abs(factor)))
        plus = _logsumexp(np.where(factor < 0, -np.inf, terms), axis, keepdims, None, n_threads)
        minus = _logsumexp(np.where(factor < 0, terms, -np.inf), axis, keepdims, None, n_threads)
        ratio = np.where(np.isneginf(minus), 0, -np.exp(minus - plus))
        result = np.where(minus > plus, np.nan, plus + np.log1p(ratio)).astype(x.dtype)
    if out is None:
        return result[()]
    _validation.check_output(out, "out", result.shape, result.dtype)
    _validation.check_overlap({"out": out}, {"a": x, "b": given}, None)
    out[...] = result
    return out


def softmax(
    x: ArrayLike,
    axis: int | Iterable[int] | None = None,
    *,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any:
    r"""Softmax, :math:`e^{x_j} / \sum_k e^{x_k}`.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
        Logits; integers become float64.
    axis : int or tuple of int, optional
        Axes over which the result sums to 1; by default all.
    out : ndarray, optional
        Takes the result.
    n_threads : int, optional
        As in `cekernels.set_num_threads`, for this call.

    Returns
    -------
    ndarray
        In the shape and dtype of x.  One inf among finite logits has probability 1; two, or nothing
        but -inf, or a NaN, make their group nan.

    Raises
    ------
    TypeError
        For elements that are no real numbers (complex, object, byte-swapped), and for an out of
        another dtype.
    ValueError
        For an out of another shape, read-only, or sharing memory with x, and for an axis
        out of range.

    See Also
    --------
    log_softmax : Logarithm of the softmax.
    logsumexp : Logarithm of a sum of exponentials.
    expit : Logistic function.

    Examples
    --------
    >>> from cekernels.special import softmax
    >>> softmax([[1.0, 0.0], [3.0, 3.0]], axis=1).round(4)
    array([[0.7311, 0.2689],
           [0.5   , 0.5   ]])
    """
    return _normalised(x, axis, out, n_threads, log=False)


def log_softmax(
    x: ArrayLike,
    axis: int | Iterable[int] | None = None,
    *,
    out: Array | None = None,
    n_threads: int | None = None,
) -> Any:
    r"""Logarithm of the softmax, :math:`x_j - \log \sum_k e^{x_k}`.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32 or float64
        Logits; integers become float64.
    axis : int or tuple of int, optional
        Axes over which the exponentials sum to 1; by default all.
    out : ndarray, optional
        Takes the result.
    n_threads : int, optional
        As in `cekernels.set_num_threads`, for this call.

    Returns
    -------
    ndarray
        In the shape and dtype of x, with full relative accuracy for the largest logit too.

    Raises
    ------
    TypeError
        For elements that are no real numbers (complex, object, byte-swapped), and for an out of
        another dtype.
    ValueError
        For an out of another shape, read-only, or sharing memory with x, and for an axis
        out of range.

    See Also
    --------
    softmax : Exponentials, divided by their sum.
    logsumexp : Logarithm of a sum of exponentials.
    cekernels.cross_entropy : Softmax cross-entropy of logits.

    Examples
    --------
    >>> from cekernels.special import log_softmax
    >>> log_softmax([1.0, 0.0, 0.0, 0.0]).round(4)
    array([-0.7437, -1.7437, -1.7437, -1.7437])
    """
    return _normalised(x, axis, out, n_threads, log=True)


def _elementwise(function: int, x: ArrayLike, out: Array | None, n_threads: int | None) -> Any:
    array = _validation.as_floats(x, "x")
    result = _result(out, array.shape, array.dtype, {"x": array}, in_place=("out", "x"))
    job = _kernels.Unary(function, as_vector(array), as_vector(result))
    _parallel.run(job, effective_threads(n_threads))
    return unwrap(result)


def _normalised(
    x: ArrayLike,
    axis: int | Iterable[int] | None,
    out: Array | None,
    n_threads: int | None,
    *,
    log: bool,
) -> Any:
    array = _validation.as_floats(x, "x")
    axes, threads = _validation.as_axes(axis, array.ndim), effective_threads(n_threads)
    result = _result(out, array.shape, array.dtype, {"x": array}, in_place=None)
    if array.size == 0:
        return result
    rows = _rows(array, axes)
    in_place = len(axes) == 1
    target = as_rows(result, axes[0]) if in_place else np.empty(rows.shape, rows.dtype)
    job = _kernels.Softmax(rows, None if log else target, target if log else None, None)
    _parallel.run(job, threads)
    if not in_place:
        moved = np.moveaxis(result, axes, range(-len(axes), 0))
        moved[...] = target.reshape(moved.shape)
    return unwrap(result)


def _logsumexp(
    array: Array,
    axis: int | Iterable[int] | None,
    keepdims: bool,
    out: Array | None,
    n_threads: int | None,
) -> Any:
    axes, threads = _validation.as_axes(axis, array.ndim), effective_threads(n_threads)
    kept = tuple(n for i, n in enumerate(array.shape) if i not in axes)
    shape = tuple(1 if i in axes else n for i, n in enumerate(array.shape)) if keepdims else kept
    result = _result(out, shape, array.dtype, {"a": array}, in_place=None)
    if array.size == 0:
        result[...] = -np.inf
        return unwrap(result)
    kept_result = result.squeeze(axes) if keepdims else result
    job = _kernels.Softmax(_rows(array, axes), None, None, as_vector(kept_result))
    _parallel.run(job, threads)
    return unwrap(result)


def _rows(array: Array, axes: tuple[int, ...]) -> Array:
    """Return rows over these axes; several are one in memory only by a copy, where they are not."""
    if len(axes) == 1:
        return as_rows(array, axes[0])
    moved = np.moveaxis(array, axes, range(-len(axes), 0))
    return moved.reshape(-1, int(np.prod([array.shape[i] for i in axes])))


def _result(
    out: Array | None,
    shape: tuple[int, ...],
    dtype: Any,
    inputs: dict[str, Any],
    in_place: tuple[str, str] | None,
) -> Array:
    if out is None:
        return np.empty(shape, dtype)
    _validation.check_output(out, "out", shape, dtype)
    _validation.check_overlap({"out": out}, inputs, in_place)
    return out
