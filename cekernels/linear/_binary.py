"""Binary cross-entropy of linear models."""

from typing import Any, Unpack, overload

from numpy.typing import ArrayLike

from cekernels import _validation
from cekernels._options import (
    Each,
    LinearBinary,
    LinearBinaryGrad,
    LinearBinaryMore,
    Stats,
    Sum,
)
from cekernels._stats import LossStats
from cekernels._validation import Array, Denominator, Reduction
from cekernels.linear._problem import LinearGrad, binary_linear_problem
from cekernels.linear._rows import Rows, as_rows, check_X_grad


@overload
def linear_binary_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Sum = ...,
    **options: Unpack[LinearBinary],
) -> float: ...
@overload
def linear_binary_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Each,
    **options: Unpack[LinearBinary],
) -> Array: ...
@overload
def linear_binary_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Stats,
    **options: Unpack[LinearBinary],
) -> LossStats: ...
@overload
def linear_binary_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Sum = ...,
    **options: Unpack[LinearBinaryGrad],
) -> tuple[float, LinearGrad]: ...
@overload
def linear_binary_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Each,
    **options: Unpack[LinearBinaryGrad],
) -> tuple[Array, LinearGrad]: ...
@overload
def linear_binary_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Stats,
    **options: Unpack[LinearBinaryGrad],
) -> tuple[LossStats, LinearGrad]: ...
@overload
def linear_binary_cross_entropy(
    X: ArrayLike, coef: ArrayLike, targets: ArrayLike, **options: Unpack[LinearBinaryMore]
) -> Any: ...
def linear_binary_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_value: float | None = None,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    check: bool = True,
    return_grad: bool = False,
    return_X_grad: bool = False,
    n_threads: int | None = None,
) -> Any:
    r"""Binary cross-entropy of the logits ``X @ coef.T + intercept``, which never exist at once.

    .. math:: x_i = w^T f_i + b, \qquad
        \frac{\partial L}{\partial w} = \sum_i g_i f_i, \quad
        \frac{\partial L}{\partial b} = \sum_i g_i, \quad
        \frac{\partial L}{\partial f_i} = g_i w

    for the features f of each sample and the gradient g of `binary_cross_entropy_with_logits` by its
    logit x.  With several rows of coef, every sample has as many targets, each for itself.

    Parameters
    ----------
    X : array_like or sparse array of shape (n_samples, n_features)
        Features, as in `linear_cross_entropy`.
    coef : array_like of shape (n_features,) or (n_outputs, n_features)
        Coefficients; converted to the dtype of X where they have another.
    targets : array_like of shape (n_samples,) or (n_samples, n_outputs)
        Probabilities of the positive class, or labels 0 and 1.
    intercept : float or array_like of shape (n_outputs,), optional
        Added to the logits of each sample.
    sample_weight : array_like, optional
        Weights; broadcast to the shape of targets.  An entry of weight 0 counts for nothing,
        whatever its features are.
    pos_weight : array_like, optional
        Weight of the positive class; broadcast to the shape of targets.  Not part of the mean's
        denominator.
    label_smoothing : float
        In [0, 1]: moves the targets towards 1/2.
    ignore_value : float, optional
        Entries with this target (nan: any NaN) count for nothing.
    reduction : {"mean", "sum", "none", "stats"}
        Return the weighted mean, the weighted sum, every loss, or a `LossStats`.
    denominator : {"weight", "count"} or float
        As in `binary_cross_entropy_with_logits`.
    check : bool
        Raise for targets outside [0, 1].
    return_grad, return_X_grad : bool
        As in `linear_cross_entropy`.
    n_threads : int, optional
        As in `linear_cross_entropy`.

    Returns
    -------
    loss : float, ndarray or LossStats
        As `reduction` says.
    grad : LinearGrad
        If it was asked for; in the dtype of X.

    Raises
    ------
    TypeError
        An argument of the wrong type; a sparse X of a format other than CSR.
    ValueError
        An argument of the wrong shape or value; a target outside [0, 1].

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    binary_cross_entropy_with_logits : The same of logits.
    linear_binary_cross_entropy_hvp : Product of the Hessian with a direction.
    linear_binary_cross_entropy_hessian : Loss, gradient and Hessian for Newton's method.

    Notes
    -----
    Memory, accuracy and threads are those of `linear_cross_entropy`.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import linear_binary_cross_entropy
    >>> X, labels = np.array([[1.0, 0.0], [0.0, 2.0]]), [0, 1]
    >>> loss, grad = linear_binary_cross_entropy(
    ...     X, np.zeros(2), labels, intercept=0.0, return_grad=True)
    >>> round(loss, 4), grad.coef, float(grad.intercept)
    (0.6931, array([ 0.25, -0.5 ]), 0.0)
    """
    rows = as_rows(X)
    check_X_grad(rows, return_X_grad)
    problem = binary_linear_problem(
        rows,
        _outputs(coef, rows),
        targets,
        sample_weight=sample_weight,
        pos_weight=pos_weight,
        label_smoothing=label_smoothing,
        ignore_value=ignore_value,
        reduction=reduction,
        denominator=denominator,
        check=check,
        n_threads=n_threads,
    )
    if return_grad or return_X_grad:
        return problem.loss_grad(coef, intercept, return_X_grad=return_X_grad)
    return problem.loss(coef, intercept)


def linear_binary_cross_entropy_hvp(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    v: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    v_intercept: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_value: float | None = None,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    check: bool = True,
    n_threads: int | None = None,
) -> tuple[Array, Array | None]:
    r"""Product of the Hessian of `linear_binary_cross_entropy` with a direction.

    .. math:: H v = \left(\sum_i d_i f_i, \sum_i d_i\right), \qquad d_i = h_i (v^T f_i + v_b)

    for the features f of each sample, the second derivative h of its loss by its logit, and a
    direction of coefficients v and intercept :math:`v_b`.  X is read once.

    Parameters
    ----------
    X : array_like or sparse array of shape (n_samples, n_features)
        Features, as in `linear_cross_entropy`.
    coef : array_like of shape (n_features,) or (n_outputs, n_features)
        Coefficients.
    targets : array_like of shape (n_samples,) or (n_samples, n_outputs)
        Probabilities of the positive class, or labels 0 and 1.
    v : array_like in the shape of coef
        Direction of the coefficients.
    intercept : float or array_like of shape (n_outputs,), optional
        Added to the logits of each sample.
    v_intercept : float or array_like of shape (n_outputs,), optional
        Direction of the intercept, by default 0.
    sample_weight : array_like, optional
        As in `linear_binary_cross_entropy`.
    pos_weight : array_like, optional
        As in `linear_binary_cross_entropy`.
    label_smoothing : float
        In [0, 1]: moves the targets towards 1/2.
    ignore_value : float, optional
        Entries with this target (nan: any NaN) count for nothing.
    reduction : {"mean", "sum"}
        Whose Hessian: that of the weighted mean or of the weighted sum.
    denominator : {"weight", "count"} or float
        As in `binary_cross_entropy_with_logits`.
    check : bool
        Raise for targets outside [0, 1].
    n_threads : int, optional
        As in `linear_cross_entropy`.

    Returns
    -------
    coef : ndarray
        The product's part of the coefficients, in their shape.
    intercept : ndarray or None
        Its part of the intercept; None where there is none.

    Raises
    ------
    TypeError, ValueError
        As `linear_binary_cross_entropy`; also for a direction of another shape.

    See Also
    --------
    linear_binary_cross_entropy_hessian : The whole matrix.
    binary_cross_entropy_hvp : The same by the logits.

    Notes
    -----
    Memory, accuracy and threads are those of `linear_cross_entropy`, with two more arrays of the size
    of a block's logits.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import linear_binary_cross_entropy_hvp
    >>> X = np.array([[1.0, 0.0], [0.0, 2.0]])
    >>> linear_binary_cross_entropy_hvp(X, np.zeros(2), [0, 1], np.array([1.0, 1.0]))
    (array([0.125, 0.5  ]), None)
    """
    rows = as_rows(X)
    _validation.check_reduced(reduction)
    return binary_linear_problem(
        rows,
        _outputs(coef, rows),
        targets,
        sample_weight=sample_weight,
        pos_weight=pos_weight,
        label_smoothing=label_smoothing,
        ignore_value=ignore_value,
        reduction=reduction,
        denominator=denominator,
        check=check,
        n_threads=n_threads,
    ).hvp(coef, intercept, v, v_intercept)


def linear_binary_cross_entropy_hessian(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_value: float | None = None,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    check: bool = True,
    n_threads: int | None = None,
) -> tuple[float, LinearGrad, Array]:
    r"""Loss, gradient and Hessian of `linear_binary_cross_entropy`, of one pass over X.

    .. math:: H = \sum_i h_i\,f_i f_i^T

    for the features f of each sample, with a 1 for the intercept, and the second derivative h of its
    loss by its logit.

    Parameters
    ----------
    X : array_like or sparse array of shape (n_samples, n_features)
        Features, as in `linear_cross_entropy`.
    coef : array_like of shape (n_features,) or (n_outputs, n_features)
        Coefficients.
    targets : array_like of shape (n_samples,) or (n_samples, n_outputs)
        Probabilities of the positive class, or labels 0 and 1.
    intercept : float or array_like of shape (n_outputs,), optional
        Added to the logits of each sample.
    sample_weight : array_like, optional
        As in `linear_binary_cross_entropy`.
    pos_weight : array_like, optional
        As in `linear_binary_cross_entropy`.
    label_smoothing : float
        In [0, 1]: moves the targets towards 1/2.
    ignore_value : float, optional
        Entries with this target (nan: any NaN) count for nothing.
    reduction : {"mean", "sum"}
        Of the weighted mean or of the weighted sum.
    denominator : {"weight", "count"} or float
        As in `binary_cross_entropy_with_logits`.
    check : bool
        Raise for targets outside [0, 1].
    n_threads : int, optional
        As in `linear_cross_entropy`.

    Returns
    -------
    loss : float
        As `linear_binary_cross_entropy`.
    grad : LinearGrad
        By coef and intercept.
    hessian : ndarray of float64
        Symmetric; rows and columns are those of ``coef.ravel()``, then those of the intercept.

    Raises
    ------
    TypeError, ValueError
        As `linear_binary_cross_entropy`.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with derivatives 0.

    See Also
    --------
    linear_binary_cross_entropy_hvp : Product with a direction, without the matrix.

    Notes
    -----
    The work grows with the square of the features.  The matrix is summed in float64, of products in
    the dtype of X; beside it there is one block of X times second derivatives.

    Examples
    --------
    A step of Newton's method:

    >>> import numpy as np
    >>> from cekernels import linear_binary_cross_entropy_hessian
    >>> X, labels = np.array([[0.0], [1.0], [2.0], [3.0]]), [0, 1, 0, 1]
    >>> loss, grad, hessian = linear_binary_cross_entropy_hessian(
    ...     X, np.zeros(1), labels, intercept=0.0)
    >>> np.linalg.solve(hessian, -np.append(grad.coef, grad.intercept))
    array([ 0.8, -1.2])
    """
    rows = as_rows(X)
    _validation.check_reduced(reduction)
    problem = binary_linear_problem(
        rows,
        _outputs(coef, rows),
        targets,
        sample_weight=sample_weight,
        pos_weight=pos_weight,
        label_smoothing=label_smoothing,
        ignore_value=ignore_value,
        reduction=reduction,
        denominator=denominator,
        check=check,
        n_threads=n_threads,
    )
    return problem.hessian(coef, intercept)


def _outputs(coef: ArrayLike, rows: Rows) -> tuple[int, ...]:
    shape, n_columns = _validation.as_array(coef, "coef").shape, rows.shape[1]
    if len(shape) not in (1, 2) or shape[-1] != n_columns:
        raise ValueError(
            f"coef must have shape ({n_columns},) or (n_outputs, {n_columns}), got {shape}"
        )
    return shape[:-1]
