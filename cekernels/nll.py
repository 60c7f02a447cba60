"""Negative log likelihood: cross-entropy of log-probabilities."""

from typing import Any, Unpack, overload

from numpy.typing import ArrayLike

from cekernels import _kernels
from cekernels._classes import class_loss, class_problem
from cekernels._options import (
    Each,
    Nll,
    NllGrad,
    NllMore,
    Stats,
    Sum,
)
from cekernels._stats import LossStats
from cekernels._validation import Array, ClassWeight, Denominator, Reduction

__all__ = ["nll_loss"]


@overload
def nll_loss(
    log_probs: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[Nll]
) -> float: ...
@overload
def nll_loss(
    log_probs: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[Nll]
) -> Array: ...
@overload
def nll_loss(
    log_probs: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[Nll]
) -> LossStats: ...
@overload
def nll_loss(
    log_probs: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[NllGrad]
) -> tuple[float, Array]: ...
@overload
def nll_loss(
    log_probs: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[NllGrad]
) -> tuple[Array, Array]: ...
@overload
def nll_loss(
    log_probs: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[NllGrad]
) -> tuple[LossStats, Array]: ...
@overload
def nll_loss(log_probs: ArrayLike, targets: ArrayLike, **options: Unpack[NllMore]) -> Any: ...
def nll_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    label_smoothing: float = 0.0,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    return_grad: bool = False,
    out: Array | None = None,
    grad_out: Array | None = None,
    n_threads: int | None = None,
) -> Any:
    r"""Negative log likelihood of log-probabilities, with labels or probabilities as targets.

    .. math:: \ell = -\sum_c q_c\,x_c

    for log-probabilities x and the q of `cross_entropy`; a class with :math:`q_c = 0` counts for
    nothing.  The gradient, with respect to x, is :math:`-q_c`.  Where logits are at hand,
    `cross_entropy` does both steps in one.

    Parameters
    ----------
    log_probs : array_like of float16, bfloat16, float32 or float64
        Logarithms of probabilities; `axis` runs over the classes.
    targets : array_like
        Integers: labels in [0, C), in the shape of log_probs without `axis`.  Floats:
        probabilities in the shape of log_probs; they need not sum to 1.
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
    reduction : {"mean", "sum", "none", "stats"}
        Return the weighted mean, the weighted sum, every loss, or a `LossStats`.
    denominator : {"weight", "count"} or float
        As in `cross_entropy`.
    return_grad : bool
        Also return the gradient of the returned value.
    out : ndarray, optional
        Takes the losses of ``reduction="none"``.
    grad_out : ndarray, optional
        As in `cross_entropy`.
    n_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float, ndarray or LossStats
        As `reduction` says; arrays have the dtype of log_probs, but losses of half precision are
        float32.
    grad : ndarray
        Where it was asked for.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `cross_entropy`.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    cross_entropy : Softmax cross-entropy of logits.
    kl_divergence : Kullback-Leibler divergence of the softmax from probabilities.
    log_loss : Logistic loss, as in scikit-learn.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import nll_loss
    >>> loss, grad = nll_loss(np.log([[0.5, 0.25, 0.25]]), [0], return_grad=True)
    >>> round(loss, 4), grad
    (0.6931, array([[-1.,  0.,  0.]]))
    """
    return class_loss(
        _kernels.Nll,
        class_problem(
            log_probs,
            targets,
            names=("log_probs", "targets"),
            axis=axis,
            class_weight=class_weight,
            sample_weight=sample_weight,
            ignore_index=ignore_index,
            label_smoothing=label_smoothing,
        ),
        {"loss": (reduction == "none", out), "grad": (return_grad, grad_out)},
        reduction=reduction,
        denominator=denominator,
        n_threads=n_threads,
    )
