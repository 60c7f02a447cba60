"""Divergences of the softmax of logits from probabilities."""

from typing import Any, Unpack, overload

from numpy.typing import ArrayLike

from cekernels import _kernels
from cekernels._classes import class_loss, class_problem
from cekernels._options import (
    Divergence,
    DivergenceGrad,
    Each,
    JsMore,
    KlMore,
    Stats,
    Sum,
)
from cekernels._stats import LossStats
from cekernels._validation import Array, Denominator, Reduction

__all__ = ["js_divergence", "kl_divergence"]


@overload
def kl_divergence(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[Divergence]
) -> float: ...
@overload
def kl_divergence(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[Divergence]
) -> Array: ...
@overload
def kl_divergence(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[Divergence]
) -> LossStats: ...
@overload
def kl_divergence(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Sum = ...,
    **options: Unpack[DivergenceGrad],
) -> tuple[float, Array]: ...
@overload
def kl_divergence(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[DivergenceGrad]
) -> tuple[Array, Array]: ...
@overload
def kl_divergence(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[DivergenceGrad]
) -> tuple[LossStats, Array]: ...
@overload
def kl_divergence(logits: ArrayLike, targets: ArrayLike, **options: Unpack[KlMore]) -> Any: ...
def kl_divergence(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
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
    r"""Kullback-Leibler divergence of the softmax of logits from probabilities.

    .. math:: \ell = w \sum_c t_c\,(\log t_c - \log p_c)

    for targets t, the softmax p of the logits and sample weight w, with :math:`0 \log 0 = 0`.  It
    is `cross_entropy` less the entropy of the targets.  The gradient is
    :math:`w\,[(\sum_j t_j)\,p_c - t_c]`, the Hessian's diagonal
    :math:`w\,(\sum_j t_j)\,p_c (1 - p_c)`.

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        `axis` runs over the classes, all others over the samples; any layout, read where it is.
    targets : array_like of floats
        Probabilities, in the shape of logits; they need not sum to 1.
    axis : int
        The axis of the classes.
    sample_weight : array_like, optional
        As in `cross_entropy`.
    reduction : {"mean", "sum", "none", "stats"}
        Return the weighted mean, the weighted sum, every loss, or a `LossStats`.
    denominator : {"weight", "count"} or float
        As in `cross_entropy`.
    return_grad, return_hess, return_proba, return_lse : bool
        Also return the gradient of the returned value, the diagonal of its Hessian, the softmax
        of the logits, their logsumexp.
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
    TypeError, ValueError
        As `cross_entropy`; also for integers as targets.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    js_divergence : Jensen-Shannon divergence of the softmax and probabilities.
    cross_entropy : Softmax cross-entropy of logits.
    nll_loss : Negative log likelihood of log-probabilities.

    Notes
    -----
    The divergence is added up from :math:`t \log(t / p) - t + p \ge 0`, which is of second order
    where p is next to t: no digits are lost but those that p itself does not have.  Where p and t
    differ by a share :math:`\delta`, the relative error is some units in the last place over
    :math:`\delta`, not over :math:`\delta^2`.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import kl_divergence
    >>> loss, grad = kl_divergence(np.zeros((1, 2)), [[0.75, 0.25]], return_grad=True)
    >>> round(loss, 4), grad
    (0.1308, array([[-0.25,  0.25]]))
    """
    return class_loss(
        _kernels.KlDivergence,
        class_problem(
            logits,
            targets,
            only="proba",
            axis=axis,
            sample_weight=sample_weight,
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
def js_divergence(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[Divergence]
) -> float: ...
@overload
def js_divergence(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[Divergence]
) -> Array: ...
@overload
def js_divergence(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[Divergence]
) -> LossStats: ...
@overload
def js_divergence(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    reduction: Sum = ...,
    **options: Unpack[DivergenceGrad],
) -> tuple[float, Array]: ...
@overload
def js_divergence(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[DivergenceGrad]
) -> tuple[Array, Array]: ...
@overload
def js_divergence(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[DivergenceGrad]
) -> tuple[LossStats, Array]: ...
@overload
def js_divergence(logits: ArrayLike, targets: ArrayLike, **options: Unpack[JsMore]) -> Any: ...
def js_divergence(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    return_grad: bool = False,
    out: Array | None = None,
    grad_out: Array | None = None,
    n_threads: int | None = None,
) -> Any:
    r"""Jensen-Shannon divergence of the softmax of logits and probabilities.

    .. math::

        \ell = \frac{w}{2} \sum_c \left[t_c \log \frac{t_c}{m_c} + p_c \log \frac{p_c}{m_c}\right],
        \qquad m_c = \frac{t_c + p_c}{2}

    for targets t, the softmax p of the logits and sample weight w.  It is symmetric and at most
    :math:`w \log 2`.  With :math:`\lambda_c = \log (p_c / m_c)` the gradient is
    :math:`\frac{w}{2}\,p_c\,(\lambda_c - \sum_j p_j \lambda_j)`.

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        `axis` runs over the classes, all others over the samples; any layout, read where it is.
    targets : array_like of floats
        Probabilities, in the shape of logits, that sum to 1.
    axis : int
        The axis of the classes.
    sample_weight : array_like, optional
        As in `cross_entropy`.
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
        As `reduction` says; arrays have the dtype of logits, but losses of half precision are
        float32.
    grad : ndarray
        Where it was asked for.

    Raises
    ------
    TypeError, ValueError
        As `cross_entropy`; also for integers as targets.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    kl_divergence : Kullback-Leibler divergence of the softmax from probabilities.
    cross_entropy : Softmax cross-entropy of logits.

    Notes
    -----
    Every term is of second order where p is next to t, as in `kl_divergence`.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import js_divergence
    >>> loss, grad = js_divergence(np.zeros((1, 2)), [[1.0, 0.0]], return_grad=True)
    >>> round(loss, 4), grad.round(4)
    (0.2158, array([[-0.1373,  0.1373]]))
    """
    return class_loss(
        _kernels.JsDivergence,
        class_problem(
            logits,
            targets,
            only="proba",
            axis=axis,
            sample_weight=sample_weight,
        ),
        {"loss": (reduction == "none", out), "grad": (return_grad, grad_out)},
        reduction=reduction,
        denominator=denominator,
        n_threads=n_threads,
    )
