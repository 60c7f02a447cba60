"""Losses of labels that treat confident predictions otherwise than cross-entropy does."""

from typing import Any, Unpack, overload

from numpy.typing import ArrayLike

from cekernels import _kernels, _validation
from cekernels._classes import class_loss, class_problem, outer_loss
from cekernels._options import (
    Each,
    Generalized,
    GeneralizedGrad,
    GeneralizedMore,
    Poly1,
    Poly1Grad,
    Poly1More,
    Stats,
    Sum,
)
from cekernels._stats import LossStats
from cekernels._validation import Array, ClassWeight, Denominator, Reduction

__all__ = ["generalized_cross_entropy", "poly1_loss"]


@overload
def generalized_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Sum = ..., **options: Unpack[Generalized]
) -> float: ...
@overload
def generalized_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Each, **options: Unpack[Generalized]
) -> Array: ...
@overload
def generalized_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Stats, **options: Unpack[Generalized]
) -> LossStats: ...
@overload
def generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    reduction: Sum = ...,
    **options: Unpack[GeneralizedGrad],
) -> tuple[float, Array]: ...
@overload
def generalized_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Each, **options: Unpack[GeneralizedGrad]
) -> tuple[Array, Array]: ...
@overload
def generalized_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Stats, **options: Unpack[GeneralizedGrad]
) -> tuple[LossStats, Array]: ...
@overload
def generalized_cross_entropy(
    logits: ArrayLike, labels: ArrayLike, **options: Unpack[GeneralizedMore]
) -> Any: ...
def generalized_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    q: float = 0.7,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    return_grad: bool = False,
    return_hess: bool = False,
    return_proba: bool = False,
    return_lse: bool = False,
    out: Array | None = None,
    grad_out: Array | None = None,
    hess_out: Array | None = None,
    proba_out: Array | None = None,
    n_threads: int | None = None,
) -> Any:
    r"""Generalised cross-entropy of logits with labels, a bounded loss for noisy labels.

    .. math:: \ell = \omega\,\varphi(-\log p_y), \qquad \varphi(l) = (1 - e^{-q l}) / q

    for label y, the softmax p of the logits and :math:`\omega`, sample weight times class weight of
    the label.  That is :math:`(1 - p_y^q) / q`: between cross-entropy, its limit for q to 0,
    and the mean absolute error, q = 1.  With :math:`l = -\log p_y`, the gradient is
    :math:`\omega\,\varphi'(l)\,(p_c - 1_{c=y})`, the Hessian's diagonal
    :math:`\omega\,[\varphi''(l)\,(p_c - 1_{c=y})^2 + \varphi'(l)\,p_c (1 - p_c)]`.

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        `axis` runs over the classes, all others over the samples; any layout, read where it is.
    labels : array_like of integers
        Classes, in [0, C); in the shape of logits without `axis`.
    q : float
        In [1e-6, 1]: the larger, the less a label counts that the prediction contradicts.
    axis : int
        The axis of the classes.
    class_weight : array_like, dict or "balanced", optional
        As in `cross_entropy`.
    sample_weight : array_like, optional
        As in `cross_entropy`.
    ignore_index : int, optional
        Samples with this label count for nothing.
    reduction : {"mean", "sum", "none", "stats"}
        Return the weighted mean, the weighted sum, every loss, or a `LossStats`.
    denominator : {"weight", "count"} or float
        As in `cross_entropy`.
    return_grad, return_hess, return_proba, return_lse : bool
        Also return the gradient of the returned value, the diagonal of its Hessian (negative where
        the loss is not convex), the softmax of the logits, their logsumexp.
    out : ndarray, optional
        Takes the losses of ``reduction="none"``.
    grad_out, hess_out, proba_out : ndarray, optional
        As in `cross_entropy`.
    n_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float, ndarray or LossStats
        As `reduction` says; arrays have the dtype of logits, but losses and lse of half precision
        are float32.
    grad, hess, proba, lse : ndarray
        Those that were asked for, in this order.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `cross_entropy`; also for q out of range.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    poly1_loss : Cross-entropy with another slope at its end.
    softmax_focal_loss : Focal loss of logits with labels.
    cross_entropy : Softmax cross-entropy of logits.

    Notes
    -----
    Losses and gradients keep their relative accuracy however small they are.  A label whose
    probability is 0 costs 1 / q, with gradient 0.

    References
    ----------
    Z. Zhang, M. R. Sabuncu, Generalized cross entropy loss for training deep neural networks with
    noisy labels, 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import generalized_cross_entropy
    >>> loss, grad = generalized_cross_entropy(np.array([[1.0, 0.0, 0.0]]), [0], return_grad=True)
    >>> round(loss, 4), grad.round(4)
    (0.4575, array([[-0.2881,  0.1441,  0.1441]]))
    """
    return class_loss(
        outer_loss(_kernels.OUTER_POWER, _validation.as_power(q)),
        class_problem(
            logits,
            labels,
            names=("logits", "labels"),
            only="labels",
            axis=axis,
            class_weight=class_weight,
            sample_weight=sample_weight,
            ignore_index=ignore_index,
        ),
        {
            "loss": (reduction == "none", out),
            "grad": (return_grad, grad_out),
            "hess": (return_hess, hess_out),
            "proba": (return_proba, proba_out),
            "lse": (return_lse, None),
        },
        reduction=reduction,
        denominator=denominator,
        n_threads=n_threads,
    )


@overload
def poly1_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Sum = ..., **options: Unpack[Poly1]
) -> float: ...
@overload
def poly1_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Each, **options: Unpack[Poly1]
) -> Array: ...
@overload
def poly1_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Stats, **options: Unpack[Poly1]
) -> LossStats: ...
@overload
def poly1_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Sum = ..., **options: Unpack[Poly1Grad]
) -> tuple[float, Array]: ...
@overload
def poly1_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Each, **options: Unpack[Poly1Grad]
) -> tuple[Array, Array]: ...
@overload
def poly1_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Stats, **options: Unpack[Poly1Grad]
) -> tuple[LossStats, Array]: ...
@overload
def poly1_loss(logits: ArrayLike, labels: ArrayLike, **options: Unpack[Poly1More]) -> Any: ...
def poly1_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: float = 1.0,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    return_grad: bool = False,
    return_hess: bool = False,
    return_proba: bool = False,
    return_lse: bool = False,
    out: Array | None = None,
    grad_out: Array | None = None,
    hess_out: Array | None = None,
    proba_out: Array | None = None,
    n_threads: int | None = None,
) -> Any:
    r"""Poly-1 loss of logits with labels: cross-entropy with another slope at its end.

    .. math:: \ell = \omega\,\varphi(-\log p_y), \qquad \varphi(l) = l + \epsilon\,(1 - e^{-l})

    for label y, the softmax p of the logits and :math:`\omega`, sample weight times class weight of
    the label.  The first term of its expansion in 1 - p is 1 + epsilon instead of 1.  With
    :math:`l = -\log p_y`, the gradient is :math:`\omega\,\varphi'(l)\,(p_c - 1_{c=y})`, the
    Hessian's diagonal
    :math:`\omega\,[\varphi''(l)\,(p_c - 1_{c=y})^2 + \varphi'(l)\,p_c (1 - p_c)]`.

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        `axis` runs over the classes, all others over the samples; any layout, read where it is.
    labels : array_like of integers
        Classes, in [0, C); in the shape of logits without `axis`.
    epsilon : float
        Finite; above 0 for more weight on confident predictions, from -1 on for less.
    axis : int
        The axis of the classes.
    class_weight : array_like, dict or "balanced", optional
        As in `cross_entropy`.
    sample_weight : array_like, optional
        As in `cross_entropy`.
    ignore_index : int, optional
        Samples with this label count for nothing.
    reduction : {"mean", "sum", "none", "stats"}
        Return the weighted mean, the weighted sum, every loss, or a `LossStats`.
    denominator : {"weight", "count"} or float
        As in `cross_entropy`.
    return_grad, return_hess, return_proba, return_lse : bool
        Also return the gradient of the returned value, the diagonal of its Hessian (negative where
        the loss is not convex), the softmax of the logits, their logsumexp.
    out : ndarray, optional
        Takes the losses of ``reduction="none"``.
    grad_out, hess_out, proba_out : ndarray, optional
        As in `cross_entropy`.
    n_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float, ndarray or LossStats
        As `reduction` says; arrays have the dtype of logits, but losses and lse of half precision
        are float32.
    grad, hess, proba, lse : ndarray
        Those that were asked for, in this order.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `cross_entropy`; also for epsilon out of range.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    generalized_cross_entropy : Bounded loss for noisy labels.
    softmax_focal_loss : Focal loss of logits with labels.
    cross_entropy : Softmax cross-entropy of logits.

    Notes
    -----
    Losses and gradients keep their relative accuracy however small they are, for epsilon >= 0.  A
    label whose probability is 0 costs inf, with a finite gradient.

    References
    ----------
    Z. Leng, M. Tan, C. Liu, E. D. Cubuk, X. Shi, S. Cheng, D. Anguelov, PolyLoss: a polynomial
    expansion perspective of classification loss functions, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import poly1_loss
    >>> loss, grad = poly1_loss(np.array([[1.0, 0.0, 0.0]]), [0], return_grad=True)
    >>> round(loss, 4), grad.round(4)
    (0.9753, array([[-0.6681,  0.334 ,  0.334 ]]))
    """
    return class_loss(
        outer_loss(_kernels.OUTER_POLY1, _validation.as_finite(epsilon, "epsilon")),
        class_problem(
            logits,
            labels,
            names=("logits", "labels"),
            only="labels",
            axis=axis,
            class_weight=class_weight,
            sample_weight=sample_weight,
            ignore_index=ignore_index,
        ),
        {
            "loss": (reduction == "none", out),
            "grad": (return_grad, grad_out),
            "hess": (return_hess, hess_out),
            "proba": (return_proba, proba_out),
            "lse": (return_lse, None),
        },
        reduction=reduction,
        denominator=denominator,
        n_threads=n_threads,
    )
