"""Focal losses: cross-entropy that fades out where the prediction is right."""

from typing import Any, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _kernels, _validation
from cekernels._binary import binary_loss, binary_problem
from cekernels._classes import class_loss, class_problem, outer_loss
from cekernels._options import (
    Each,
    SigmoidFocal,
    SigmoidFocalGrad,
    SigmoidFocalMore,
    SoftmaxFocal,
    SoftmaxFocalGrad,
    SoftmaxFocalMore,
    Stats,
    Sum,
)
from cekernels._stats import LossStats
from cekernels._validation import Array, ClassWeight, Denominator, Reduction

__all__ = ["sigmoid_focal_loss", "softmax_focal_loss"]


@overload
def sigmoid_focal_loss(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[SigmoidFocal]
) -> float: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[SigmoidFocal]
) -> Array: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[SigmoidFocal]
) -> LossStats: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Sum = ...,
    **options: Unpack[SigmoidFocalGrad],
) -> tuple[float, Array]: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[SigmoidFocalGrad]
) -> tuple[Array, Array]: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[SigmoidFocalGrad]
) -> tuple[LossStats, Array]: ...
@overload
def sigmoid_focal_loss(
    logits: ArrayLike, targets: ArrayLike, **options: Unpack[SigmoidFocalMore]
) -> Any: ...
def sigmoid_focal_loss(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    gamma: float = 2.0,
    alpha: float | None = None,
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_value: float | None = None,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    return_grad: bool = False,
    return_hess: bool = False,
    return_proba: bool = False,
    out: Array | None = None,
    grad_out: Array | None = None,
    hess_out: Array | None = None,
    proba_out: Array | None = None,
    check: bool = True,
    n_threads: int | None = None,
) -> Any:
    r"""Binary focal loss of logits.

    .. math::

        \ell = w\,[\alpha\,q\,y'\,f(x) + (1 - \alpha)\,(1 - y')\,f(-x)],
        \qquad f(x) = \sigma(-x)^\gamma\,\log(1 + e^{-x})

    for logit x, smoothed target y', sample weight w and positive weight q.  It is linear in the
    target; for labels 0 and 1 it is the loss of Lin et al. (2017).  Without `alpha` both of its
    factors are 1, and with ``gamma=0`` the loss is `binary_cross_entropy_with_logits`.

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Log-odds, of any shape and layout; each entry stands for itself.
    targets : array_like
        Probabilities of the positive class, or labels 0 and 1, in the shape of logits.
    gamma : float
        In [0, 1000]: how fast the loss fades out where the prediction is right.
    alpha : float, optional
        In [0, 1]: weight of the positive class, 1 - alpha that of the negative one.  Not part of
        the mean's denominator.
    sample_weight : array_like, optional
        As in `binary_cross_entropy_with_logits`.
    pos_weight : array_like, optional
        As in `binary_cross_entropy_with_logits`.
    label_smoothing : float
        In [0, 1]: moves the targets towards 1/2.
    ignore_value : float, optional
        Entries with this target (nan: any NaN) count for nothing.
    reduction : {"mean", "sum", "none", "stats"}
        Return the weighted mean, the weighted sum, every loss, or a `LossStats`.
    denominator : {"weight", "count"} or float
        As in `binary_cross_entropy_with_logits`.
    return_grad, return_hess, return_proba : bool
        Also return the gradient of the returned value, the diagonal of its Hessian (negative where
        the loss is not convex), :math:`\sigma(x)`.
    out : ndarray, optional
        Takes the losses of ``reduction="none"``.
    grad_out, hess_out, proba_out : ndarray, optional
        As in `binary_cross_entropy_with_logits`.
    check : bool
        Raise for targets outside [0, 1].
    n_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float, ndarray or LossStats
        As `reduction` says; arrays have the dtype of logits, but losses of half precision are
        float32.
    grad, hess, proba : ndarray
        Those that were asked for, in this order.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`; also for gamma or alpha out of range.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    softmax_focal_loss : Focal loss of logits with labels.
    binary_cross_entropy_with_logits : Binary cross-entropy of logits.

    Notes
    -----
    Losses and gradients of labels 0 and 1 are within 3 + gamma ulp of the exact value, however
    small they are.  Infinite logits have the limit: 0 on the right side, inf on the wrong one.

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar, Focal loss for dense object detection, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import sigmoid_focal_loss
    >>> loss, grad = sigmoid_focal_loss(
    ...     np.array([2.0, -1.0]), np.array([1, 1]), alpha=0.25, return_grad=True)
    >>> round(loss, 4), grad.round(4)
    (0.088, array([-0.0006, -0.096 ]))
    """
    exponent = _validation.as_gamma(gamma)
    if pos_weight is not None:
        pos_weight = _validation.as_array(pos_weight, "pos_weight")
    weight_of_positive, neg_weight = class_factors(alpha, pos_weight)
    problem = binary_problem(
        logits,
        targets,
        sample_weight=sample_weight,
        pos_weight=weight_of_positive,
        label_smoothing=label_smoothing,
        ignore_value=ignore_value,
    )
    problem.inputs["pos_weight"] = pos_weight
    return binary_loss(
        lambda *arguments: _kernels.Focal(exponent, neg_weight, *arguments),
        problem,
        {
            "loss": (reduction == "none", out),
            "grad": (return_grad, grad_out),
            "hess": (return_hess, hess_out),
            "proba": (return_proba, proba_out),
        },
        reduction=reduction,
        denominator=denominator,
        check=check,
        n_threads=n_threads,
    )


@overload
def softmax_focal_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Sum = ..., **options: Unpack[SoftmaxFocal]
) -> float: ...
@overload
def softmax_focal_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Each, **options: Unpack[SoftmaxFocal]
) -> Array: ...
@overload
def softmax_focal_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Stats, **options: Unpack[SoftmaxFocal]
) -> LossStats: ...
@overload
def softmax_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    reduction: Sum = ...,
    **options: Unpack[SoftmaxFocalGrad],
) -> tuple[float, Array]: ...
@overload
def softmax_focal_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Each, **options: Unpack[SoftmaxFocalGrad]
) -> tuple[Array, Array]: ...
@overload
def softmax_focal_loss(
    logits: ArrayLike, labels: ArrayLike, *, reduction: Stats, **options: Unpack[SoftmaxFocalGrad]
) -> tuple[LossStats, Array]: ...
@overload
def softmax_focal_loss(
    logits: ArrayLike, labels: ArrayLike, **options: Unpack[SoftmaxFocalMore]
) -> Any: ...
def softmax_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    gamma: float = 2.0,
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
    r"""Focal loss of logits with labels.

    .. math:: \ell = \omega\,\varphi(-\log p_y), \qquad \varphi(l) = (1 - e^{-l})^\gamma\,l

    for label y, the softmax p of the logits and :math:`\omega`, sample weight times class weight of
    the label.  It fades out where the prediction is right; with ``gamma=0`` it is
    `cross_entropy`.  With :math:`l = -\log p_y`, the gradient is
    :math:`\omega\,\varphi'(l)\,(p_c - 1_{c=y})`, the Hessian's diagonal
    :math:`\omega\,[\varphi''(l)\,(p_c - 1_{c=y})^2 + \varphi'(l)\,p_c (1 - p_c)]`.

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        `axis` runs over the classes, all others over the samples; any layout, read where it is.
    labels : array_like of integers
        Classes, in [0, C); in the shape of logits without `axis`.
    gamma : float
        In [0, 1000]: how fast the loss fades out where the prediction is right.
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
        As `cross_entropy`; also for gamma out of range.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    sigmoid_focal_loss : Binary focal loss of logits.
    cross_entropy : Softmax cross-entropy of logits.
    poly1_loss : Cross-entropy with another slope at its end.

    Notes
    -----
    Losses and gradients are within 4 + 3 gamma ulp of the exact value, however small they are.  A
    label whose probability is 0 costs inf, with a finite gradient.

    References
    ----------
    T.-Y. Lin, P. Goyal, R. Girshick, K. He, P. Dollar, Focal loss for dense object detection, 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import softmax_focal_loss
    >>> loss, grad = softmax_focal_loss(np.array([[1.0, 0.0, 0.0]]), [0], return_grad=True)
    >>> round(loss, 4), grad.round(4)
    (0.0991, array([[-0.1903,  0.0952,  0.0952]]))
    """
    return class_loss(
        outer_loss(_kernels.OUTER_FOCAL, _validation.as_gamma(gamma)),
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


def class_factors(alpha: float | None, pos_weight: ArrayLike | None) -> tuple[Any, float]:
    """Return what the losses of the positive and of the negative class are multiplied by."""
    if alpha is None:
        return pos_weight, 1.0
    share = _validation.as_fraction(alpha, "alpha")
    if pos_weight is None:
        return share, 1.0 - share
    with np.errstate(all="ignore"):
        return share * _validation.as_array(pos_weight, "pos_weight"), 1.0 - share
