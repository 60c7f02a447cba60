"""Softmax cross-entropy of linear models."""

from typing import Any, Unpack, overload

from numpy.typing import ArrayLike

from cekernels import _validation
from cekernels._options import (
    Each,
    LinearClasses,
    LinearClassesGrad,
    LinearClassesMore,
    Stats,
    Sum,
)
from cekernels._stats import LossStats
from cekernels._validation import Array, ClassWeight, Denominator, Reduction
from cekernels.linear._problem import LinearGrad, class_linear_problem
from cekernels.linear._rows import Rows, as_rows, check_X_grad


@overload
def linear_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Sum = ...,
    **options: Unpack[LinearClasses],
) -> float: ...
@overload
def linear_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Each,
    **options: Unpack[LinearClasses],
) -> Array: ...
@overload
def linear_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Stats,
    **options: Unpack[LinearClasses],
) -> LossStats: ...
@overload
def linear_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Sum = ...,
    **options: Unpack[LinearClassesGrad],
) -> tuple[float, LinearGrad]: ...
@overload
def linear_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Each,
    **options: Unpack[LinearClassesGrad],
) -> tuple[Array, LinearGrad]: ...
@overload
def linear_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Stats,
    **options: Unpack[LinearClassesGrad],
) -> tuple[LossStats, LinearGrad]: ...
@overload
def linear_cross_entropy(
    X: ArrayLike, coef: ArrayLike, targets: ArrayLike, **options: Unpack[LinearClassesMore]
) -> Any: ...
def linear_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    where: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    return_grad: bool = False,
    return_X_grad: bool = False,
    n_threads: int | None = None,
) -> Any:
    r"""Softmax cross-entropy of the logits ``X @ coef.T + intercept``, which never exist at once.

    .. math:: x_i = W f_i + b, \qquad
        \frac{\partial L}{\partial W} = \sum_i g_i f_i^T, \quad
        \frac{\partial L}{\partial b} = \sum_i g_i, \quad
        \frac{\partial L}{\partial f_i} = W^T g_i

    for the features f of each sample and the gradient g of `cross_entropy` by its logits x.  A block
    of rows at a time, logits are computed and replaced by their gradient while they are in cache.

    Parameters
    ----------
    X : array_like or sparse array of shape (n_samples, n_features)
        Features.  An array of any layout, or a CSR array or matrix of SciPy, which stays sparse.
        float32 or float64; float16 and bfloat16 are converted to float32, integers to float64, a
        block at a time.
    coef : array_like of shape (n_classes, n_features)
        Coefficients; converted to the dtype of X where they have another.
    targets : array_like of shape (n_samples,) or (n_samples, n_classes)
        Labels or probabilities, as in `cross_entropy`.
    intercept : array_like of shape (n_classes,), optional
        Added to the logits of each sample.
    class_weight : array_like, dict or "balanced", optional
        As in `cross_entropy`.
    sample_weight : array_like of shape (n_samples,), optional
        Weights.  A sample of weight 0 counts for nothing, whatever its features are.
    ignore_index : int, optional
        Samples with this label count for nothing.
    where : array_like of bool, optional
        Classes that are allowed; broadcast to the shape of the logits.
    label_smoothing : float
        In [0, 1]: moves the targets towards the uniform distribution over the allowed classes.
    z_loss, softcap, logit_scale : float
        As in `cross_entropy`.
    reduction : {"mean", "sum", "none", "stats"}
        Return the weighted mean, the weighted sum, every loss, or a `LossStats`.
    denominator : {"weight", "count"} or float
        As in `cross_entropy`.
    return_grad : bool
        Also return the gradient by coef and intercept: of the returned value, or of the sum of what
        ``"none"`` and ``"stats"`` return.
    return_X_grad : bool
        Also return the gradient by X, which must be dense; implies `return_grad`.
    n_threads : int, optional
        As in `set_num_threads`, for this call.  The products are those of NumPy's BLAS, which has
        threads of its own.

    Returns
    -------
    loss : float, ndarray or LossStats
        As `reduction` says.
    grad : LinearGrad
        If it was asked for; in the dtype of X.

    Raises
    ------
    LabelError
        A label that is no class; names it and its place.
    TypeError
        An argument of the wrong type; a sparse X of a format other than CSR.
    ValueError
        An argument of the wrong shape or value.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    cross_entropy : The same of logits.
    linear_cross_entropy_hvp : Product of the Hessian with a direction.
    linear_cross_entropy_hessian : Loss, gradient and Hessian for Newton's method.
    linear_binary_cross_entropy : Binary cross-entropy of a linear model.

    Notes
    -----
    X is read from memory once.  Beside the results there are the logits of one block: about 1 MiB,
    or 64 MiB where coef is too large for a cache and more rows at a time pay off.  A sparse X takes
    another array or two in the shape of coef.

    Sums over blocks are made in float64, those of float32 gradients by more than a million
    coefficients in float32.  Blocks depend on shapes alone, so that `n_threads` changes no bit;
    another BLAS, or another number of its threads, may.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import linear_cross_entropy
    >>> X, labels = np.array([[1.0, 0.0], [0.0, 2.0]]), [0, 1]
    >>> loss, grad = linear_cross_entropy(X, np.zeros((2, 2)), labels, return_grad=True)
    >>> round(loss, 4)
    0.6931
    >>> grad.coef
    array([[-0.25,  0.5 ],
           [ 0.25, -0.5 ]])
    """
    rows = as_rows(X)
    check_X_grad(rows, return_X_grad)
    problem = class_linear_problem(
        rows,
        _n_classes(coef, rows),
        targets,
        class_weight=class_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        where=where,
        label_smoothing=label_smoothing,
        z_loss=z_loss,
        softcap=softcap,
        logit_scale=logit_scale,
        reduction=reduction,
        denominator=denominator,
        n_threads=n_threads,
    )
    if return_grad or return_X_grad:
        return problem.loss_grad(coef, intercept, return_X_grad=return_X_grad)
    return problem.loss(coef, intercept)


def linear_cross_entropy_hvp(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    v: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    v_intercept: ArrayLike | None = None,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    n_threads: int | None = None,
) -> tuple[Array, Array | None]:
    r"""Product of the Hessian of `linear_cross_entropy` with a direction.

    .. math:: H v = \left(\sum_i d_i f_i^T, \sum_i d_i\right), \qquad d_i = H_i (V f_i + v_b)

    for the features f of each sample, the Hessian :math:`H_i` of its loss by its logits, and a
    direction of coefficients V and intercept :math:`v_b`.  X is read once.

    Parameters
    ----------
    X : array_like or sparse array of shape (n_samples, n_features)
        As in `linear_cross_entropy`.
    coef : array_like of shape (n_classes, n_features)
        Coefficients.
    targets : array_like of shape (n_samples,) or (n_samples, n_classes)
        Labels or probabilities, as in `cross_entropy`.
    v : array_like of shape (n_classes, n_features)
        Direction of the coefficients.
    intercept : array_like of shape (n_classes,), optional
        Added to the logits of each sample.
    v_intercept : array_like of shape (n_classes,), optional
        Direction of the intercept, by default 0.
    class_weight : array_like, dict or "balanced", optional
        As in `cross_entropy_hvp`.
    sample_weight : array_like of shape (n_samples,), optional
        As in `cross_entropy_hvp`.
    ignore_index : int, optional
        Samples with this label count for nothing.
    label_smoothing : float
        In [0, 1]: moves the targets towards the uniform distribution over the classes.
    reduction : {"mean", "sum"}
        Whose Hessian: that of the weighted mean or of the weighted sum.
    denominator : {"weight", "count"} or float
        As in `cross_entropy`.
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
    LabelError, TypeError, ValueError
        As `linear_cross_entropy`; also for a direction of another shape.

    See Also
    --------
    linear_cross_entropy_hessian : The whole matrix.
    cross_entropy_hvp : The same by the logits.

    Notes
    -----
    Memory, accuracy and threads are those of `linear_cross_entropy`, with two more arrays of the size
    of a block's logits.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import linear_cross_entropy_hvp
    >>> X, coef = np.array([[1.0, 0.0], [0.0, 2.0]]), np.zeros((2, 2))
    >>> v = np.array([[1.0, 0.0], [0.0, 0.0]])
    >>> linear_cross_entropy_hvp(X, coef, [0, 1], v)
    (array([[ 0.125,  0.   ],
           [-0.125,  0.   ]]), None)
    """
    rows = as_rows(X)
    _validation.check_reduced(reduction)
    return class_linear_problem(
        rows,
        _n_classes(coef, rows),
        targets,
        class_weight=class_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        denominator=denominator,
        n_threads=n_threads,
    ).hvp(coef, intercept, v, v_intercept)


def linear_cross_entropy_hessian(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    n_threads: int | None = None,
) -> tuple[float, LinearGrad, Array]:
    r"""Loss, gradient and Hessian of `linear_cross_entropy`, of one pass over X.

    .. math:: H = \sum_i H_i \otimes f_i f_i^T

    for the features f of each sample, with a 1 for the intercept, and the Hessian :math:`H_i` of its
    loss by its logits.

    Parameters
    ----------
    X : array_like or sparse array of shape (n_samples, n_features)
        As in `linear_cross_entropy`.
    coef : array_like of shape (n_classes, n_features)
        Coefficients.
    targets : array_like of shape (n_samples,) or (n_samples, n_classes)
        Labels or probabilities, as in `cross_entropy`.
    intercept : array_like of shape (n_classes,), optional
        Added to the logits of each sample.
    class_weight : array_like, dict or "balanced", optional
        As in `cross_entropy_hessian`.
    sample_weight : array_like of shape (n_samples,), optional
        As in `cross_entropy_hessian`.
    ignore_index : int, optional
        Samples with this label count for nothing.
    label_smoothing : float
        In [0, 1]: moves the targets towards the uniform distribution over the classes.
    reduction : {"mean", "sum"}
        Of the weighted mean or of the weighted sum.
    denominator : {"weight", "count"} or float
        As in `cross_entropy`.
    n_threads : int, optional
        As in `linear_cross_entropy`.

    Returns
    -------
    loss : float
        As `linear_cross_entropy`.
    grad : LinearGrad
        By coef and intercept.
    hessian : ndarray of float64
        Symmetric; rows and columns are those of ``coef.ravel()``, then those of the intercept.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `linear_cross_entropy`.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with derivatives 0.

    See Also
    --------
    linear_cross_entropy_hvp : Product with a direction, without the matrix.
    cross_entropy_hessian : The same by the logits.

    Notes
    -----
    The work grows with the square of the coefficients: a matter for some hundreds of them.  The
    matrix is summed in float64, of products in the dtype of X.  A common shift of all classes changes
    no loss, so the matrix of unpenalised coefficients is singular.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import linear_cross_entropy_hessian
    >>> loss, grad, hessian = linear_cross_entropy_hessian(
    ...     np.array([[2.0]]), np.zeros((2, 1)), [0], intercept=np.zeros(2))
    >>> hessian
    array([[ 1.  , -1.  ,  0.5 , -0.5 ],
           [-1.  ,  1.  , -0.5 ,  0.5 ],
           [ 0.5 , -0.5 ,  0.25, -0.25],
           [-0.5 ,  0.5 , -0.25,  0.25]])
    """
    rows = as_rows(X)
    _validation.check_reduced(reduction)
    problem = class_linear_problem(
        rows,
        _n_classes(coef, rows),
        targets,
        class_weight=class_weight,
        sample_weight=sample_weight,
        ignore_index=ignore_index,
        label_smoothing=label_smoothing,
        reduction=reduction,
        denominator=denominator,
        n_threads=n_threads,
    )
    return problem.hessian(coef, intercept)


def _n_classes(coef: ArrayLike, rows: Rows) -> int:
    shape, n_columns = _validation.as_array(coef, "coef").shape, rows.shape[1]
    if len(shape) != 2 or shape[1] != n_columns:
        raise ValueError(f"coef must have shape (n_classes, {n_columns}), got {shape}")
    if shape[0] == 0:
        raise ValueError(f"coef must have at least one class, got shape {shape}")
    return int(shape[0])
