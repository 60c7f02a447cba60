"""Cross-entropy losses with their gradients and Hessians, in one pass through memory."""

from typing import Any, Unpack, overload

from numpy.typing import ArrayLike

from cekernels import _kernels, _parallel, _validation
from cekernels._binary import binary_loss, binary_problem
from cekernels._classes import class_loss, class_problem
from cekernels._layout import as_operand
from cekernels._options import (
    Binary,
    BinaryGrad,
    BinaryMore,
    Classes,
    ClassesGrad,
    ClassesMore,
    Each,
    Probs,
    ProbsGrad,
    ProbsMore,
    Stats,
    Sum,
)
from cekernels._runtime import effective_threads
from cekernels._stats import LossStats
from cekernels._validation import Array, ClassWeight, Denominator, Reduction

__all__ = ["binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy"]


@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[Binary]
) -> float: ...
@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[Binary]
) -> Array: ...
@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[Binary]
) -> LossStats: ...
@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[BinaryGrad]
) -> tuple[float, Array]: ...
@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[BinaryGrad]
) -> tuple[Array, Array]: ...
@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[BinaryGrad]
) -> tuple[LossStats, Array]: ...
@overload
def binary_cross_entropy_with_logits(
    logits: ArrayLike, targets: ArrayLike, **options: Unpack[BinaryMore]
) -> Any: ...
def binary_cross_entropy_with_logits(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
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
    r"""Binary cross-entropy of logits.

    .. math::

        \ell = w\,[q\,y'\,\log(1 + e^{-x}) + (1 - y')\,\log(1 + e^{x})],
        \qquad y' = y (1 - \varepsilon) + \varepsilon / 2

    for logit x, target y, sample weight w, positive weight q and smoothing :math:`\varepsilon`.
    The gradient is :math:`w\,[(1 - y')\,\sigma(x) - q\,y'\,\sigma(-x)]`, the Hessian's diagonal
    :math:`w\,[q\,y' + 1 - y']\,\sigma(x)\,\sigma(-x)`.

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        Log-odds, of any shape and layout; each entry stands for itself.
    targets : array_like
        Probabilities of the positive class, or labels 0 and 1, in the shape of logits.
    sample_weight : array_like, optional
        Weights; broadcast to the shape of logits.  An entry of weight 0 counts for nothing,
        whatever its logit is.
    pos_weight : array_like, optional
        Weight of the positive class; broadcast to the shape of logits.  Not part of the mean's
        denominator.
    label_smoothing : float
        In [0, 1]: moves the targets towards 1/2.
    ignore_value : float, optional
        Entries with this target (nan: any NaN) count for nothing.
    reduction : {"mean", "sum", "none", "stats"}
        Return the weighted mean, the weighted sum, every loss, or a `LossStats`.
    denominator : {"weight", "count"} or float
        What "mean" divides by: the sum of the weights of the entries that are not ignored, their
        number, or this number.
    return_grad, return_hess, return_proba : bool
        Also return the gradient of the returned value, the diagonal of its Hessian,
        :math:`\sigma(x)`.
    out : ndarray, optional
        Takes the losses of ``reduction="none"``.
    grad_out, hess_out, proba_out : ndarray, optional
        Take these results, and ask for them; of the shape and dtype of logits.  ``grad_out`` may be
        logits itself.
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
    TypeError
        An argument of the wrong type; arrays of complex numbers, objects or foreign byte order.
    ValueError
        An argument of the wrong shape or value; a target outside [0, 1].

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    binary_cross_entropy : Binary cross-entropy of probabilities.
    binary_cross_entropy_hvp : Product of the Hessian with an array.
    sigmoid_focal_loss : Binary focal loss of logits.

    Notes
    -----
    For labels 0 and 1, losses are within 2 ulp and derivatives within 3 ulp of the exact value,
    however small they are.  Weights, smoothing and targets in between cost one ulp more; where they
    make the two terms of the gradient cancel, it is one of the larger term.  Infinite logits have
    the limit: 0 on the right side, inf on the wrong one.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import binary_cross_entropy_with_logits
    >>> loss, grad = binary_cross_entropy_with_logits(
    ...     np.array([-1.7723, -1.5965, 0.8863]), np.array([0, 1, 0]), return_grad=True)
    >>> round(loss, 4), grad.round(4)
    (1.0565, array([ 0.0484, -0.2772,  0.236 ]))
    """
    if (
        pos_weight is None
        and ignore_value is None
        and out is None
        and hess_out is None
        and proba_out is None
        and n_threads is None
        and isinstance(denominator, str)
        and denominator == "weight"
        and check
    ):
        result = _kernels.plain_binary(
            logits,
            targets,
            sample_weight,
            label_smoothing,
            reduction,
            return_grad,
            return_hess,
            return_proba,
            grad_out,
        )
        if result is not None:
            return result
    return binary_loss(
        _kernels.Binary,
        binary_problem(
            logits,
            targets,
            sample_weight=sample_weight,
            pos_weight=pos_weight,
            label_smoothing=label_smoothing,
            ignore_value=ignore_value,
        ),
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
def binary_cross_entropy(
    probs: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[Probs]
) -> float: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[Probs]
) -> Array: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[Probs]
) -> LossStats: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[ProbsGrad]
) -> tuple[float, Array]: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[ProbsGrad]
) -> tuple[Array, Array]: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[ProbsGrad]
) -> tuple[LossStats, Array]: ...
@overload
def binary_cross_entropy(
    probs: ArrayLike, targets: ArrayLike, **options: Unpack[ProbsMore]
) -> Any: ...
def binary_cross_entropy(
    probs: ArrayLike,
    targets: ArrayLike,
    *,
    complement: ArrayLike | None = None,
    eps: float | None = None,
    log_min: float | None = None,
    sample_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_value: float | None = None,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    return_grad: bool = False,
    return_hess: bool = False,
    out: Array | None = None,
    grad_out: Array | None = None,
    hess_out: Array | None = None,
    check: bool = True,
    n_threads: int | None = None,
) -> Any:
    r"""Binary cross-entropy of probabilities.

    .. math:: \ell = -w\,[y'\,\log p + (1 - y')\,\log(1 - p)]

    exactly: inf where p is 0 for a positive, with :math:`0 \log 0 = 0`.  The gradient, with respect
    to p, is :math:`w\,[(1 - y') / (1 - p) - y' / p]`, the Hessian's diagonal
    :math:`w\,[(1 - y') / (1 - p)^2 + y' / p^2]`.  Where logits are at hand,
    `binary_cross_entropy_with_logits` is exact in the tails too, which p no longer holds.

    Parameters
    ----------
    probs : array_like of float16, bfloat16, float32 or float64
        Probabilities of the positive class, of any shape and layout.
    targets : array_like
        Probabilities or labels 0 and 1, in the shape of probs.
    complement : array_like, optional
        1 - p, in the shape of probs, where it is known better than p tells: next to p = 1 the
        logarithms of both are then as exact as they are next to 0.
    eps : float, optional
        Clip p and 1 - p to [eps, 1 - eps]; the gradient is 0 where that changes them.
    log_min : float, optional
        Lower bound of both logarithms, -100 for that of torch's ``BCELoss``; the derivative of a
        bounded logarithm is 0.
    sample_weight : array_like, optional
        As in `binary_cross_entropy_with_logits`.
    label_smoothing : float
        In [0, 1]: moves the targets towards 1/2.
    ignore_value : float, optional
        Entries with this target (nan: any NaN) count for nothing.
    reduction : {"mean", "sum", "none", "stats"}
        Return the weighted mean, the weighted sum, every loss, or a `LossStats`.
    denominator : {"weight", "count"} or float
        As in `binary_cross_entropy_with_logits`.
    return_grad, return_hess : bool
        Also return the gradient of the returned value, the diagonal of its Hessian.
    out : ndarray, optional
        Takes the losses of ``reduction="none"``.
    grad_out, hess_out : ndarray, optional
        As in `binary_cross_entropy_with_logits`.
    check : bool
        Raise for probabilities or targets outside [0, 1].
    n_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float, ndarray or LossStats
        As `reduction` says; arrays have the dtype of probs, but losses of half precision are
        float32.
    grad, hess : ndarray
        Those that were asked for, in this order.

    Raises
    ------
    TypeError, ValueError
        As `binary_cross_entropy_with_logits`; also for a probability outside [0, 1].

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    binary_cross_entropy_with_logits : Binary cross-entropy of logits.
    nll_loss : Negative log likelihood of log-probabilities.
    log_loss : Logistic loss, as in scikit-learn.

    Notes
    -----
    Losses are within 2 ulp and derivatives within 3 ulp of the exact value for labels 0 and 1.

    Examples
    --------
    >>> from cekernels import binary_cross_entropy
    >>> round(binary_cross_entropy([0.9, 0.2], [1, 0]), 4)
    0.1643
    >>> binary_cross_entropy([0.0], [1]), round(binary_cross_entropy([0.0], [1], eps=1e-7), 4)
    (inf, 16.1181)
    """
    problem = binary_problem(
        probs,
        targets,
        name="probs",
        sample_weight=sample_weight,
        label_smoothing=label_smoothing,
        ignore_value=ignore_value,
    )
    p, q = problem.values, None
    if complement is not None:
        q = _validation.as_shaped(complement, "complement", p.shape)
        problem.inputs["complement"] = q
    clip, bound = _validation.as_clip(eps), _validation.as_log_bound(log_min)

    def make_job(*arguments: Any) -> _kernels.Probs:
        job = _kernels.Probs(as_operand(q), clip, bound, *arguments)
        threads = _parallel.share(job.n_chunks, effective_threads(n_threads))
        if check:
            _validation.check_proba(job.scan_probs(threads), p, "probs")
        if check and q is not None:
            _validation.check_proba(job.scan_complement(threads), q, "complement")
        return job

    return binary_loss(
        make_job,
        problem,
        {
            "loss": (reduction == "none", out),
            "grad": (return_grad, grad_out),
            "hess": (return_hess, hess_out),
        },
        reduction=reduction,
        denominator=denominator,
        check=check,
        n_threads=n_threads,
    )


@overload
def cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[Classes]
) -> float: ...
@overload
def cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[Classes]
) -> Array: ...
@overload
def cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[Classes]
) -> LossStats: ...
@overload
def cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Sum = ..., **options: Unpack[ClassesGrad]
) -> tuple[float, Array]: ...
@overload
def cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Each, **options: Unpack[ClassesGrad]
) -> tuple[Array, Array]: ...
@overload
def cross_entropy(
    logits: ArrayLike, targets: ArrayLike, *, reduction: Stats, **options: Unpack[ClassesGrad]
) -> tuple[LossStats, Array]: ...
@overload
def cross_entropy(logits: ArrayLike, targets: ArrayLike, **options: Unpack[ClassesMore]) -> Any: ...
def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
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
    return_hess: bool = False,
    return_proba: bool = False,
    return_lse: bool = False,
    return_scale_grad: bool = False,
    out: Array | None = None,
    grad_out: Array | None = None,
    hess_out: Array | None = None,
    proba_out: Array | None = None,
    n_threads: int | None = None,
) -> Any:
    r"""Softmax cross-entropy of logits, with labels or probabilities as targets.

    .. math::

        \ell = \sum_c q_c\,(\mathrm{lse}(v) - v_c) + \lambda\,\omega\,\mathrm{lse}(v)^2, \qquad
        q_c = w\,u_c\,[t_c (1 - \varepsilon) + \varepsilon / C], \qquad
        \omega = w \sum_c t_c u_c

    for targets t (one-hot for a label), sample weight w, class weights u, smoothing
    :math:`\varepsilon` and z-loss :math:`\lambda`, where :math:`\mathrm{lse}(v) = \log \sum_c
    e^{v_c}`, and v are the C logits x themselves, or what `logit_scale` a and `softcap` c make of
    them, :math:`v = a x` or :math:`v = c \tanh(a x / c)`.  With :math:`A = \sum_c q_c` and p the
    softmax of v, the gradient in v is :math:`A\,p_c - q_c + 2\lambda\omega\,\mathrm{lse}(v)\,p_c`;
    all derivatives that are returned are those in the logits x.

    Parameters
    ----------
    logits : array_like of float16, bfloat16, float32 or float64
        `axis` runs over the classes, all others over the samples; any layout, read where it is.
    targets : array_like
        Integers: labels in [0, C), in the shape of logits without `axis`.  Floats: probabilities in
        the shape of logits; they need not sum to 1.
    axis : int
        The axis of the classes.
    class_weight : array_like, dict or "balanced", optional
        Weights of the classes: an array of shape (C,); a dict from labels to weights, 1 for the
        others; "balanced" gives every class that occurs the same share of all weight.
    sample_weight : array_like, optional
        Weights of the samples; broadcast to the shape of logits without `axis`.  A sample of weight
        0 counts for nothing, whatever its logits are.
    ignore_index : int, optional
        Samples with this label count for nothing.
    where : array_like of bool, optional
        Classes that are allowed; broadcast to the shape of logits.  The others are as if their
        logits were -inf, and have no part in the smoothing.
    label_smoothing : float
        In [0, 1]: moves the targets towards the uniform distribution over the allowed classes.
    z_loss : float
        Factor of the squared logsumexp.
    softcap : float, optional
        Positive bound that tanh puts on the scaled logits.
    logit_scale : float
        Positive factor of the logits: the inverse temperature.
    reduction : {"mean", "sum", "none", "stats"}
        Return the weighted mean, the weighted sum, every loss, or a `LossStats`.
    denominator : {"weight", "count"} or float
        What "mean" divides by: the sum of :math:`\omega` over the samples that are not ignored;
        their number; or this number.
    return_grad, return_hess, return_proba, return_lse : bool
        Also return the gradient of the returned value, the diagonal of its Hessian, the softmax
        of v, its logsumexp.
    return_scale_grad : bool
        Also return the first and second derivative in `logit_scale`: of the returned value, or of
        every loss.
    out : ndarray, optional
        Takes the losses of ``reduction="none"``.
    grad_out, hess_out, proba_out : ndarray, optional
        Take these results, and ask for them; of the shape and dtype of logits, in any layout.
        ``grad_out`` may be logits itself.
    n_threads : int, optional
        As in `set_num_threads`, for this call.

    Returns
    -------
    loss : float, ndarray or LossStats
        As `reduction` says.
    grad, hess, proba, lse, scale_grad : ndarray
        Those that were asked for, in this order.  Arrays have the dtype of logits; but losses, lse
        and scale_grad of half precision are float32, and a reduced scale_grad is float64, of
        shape (2,).

    Raises
    ------
    LabelError
        A label that is no class; names it and its place.  Outputs are untouched.
    TypeError
        An argument of the wrong type; arrays of complex numbers, objects or foreign byte order.
    ValueError
        An argument of the wrong shape or value.

    Warns
    -----
    RuntimeWarning
        The mean of nothing, which is nan with gradient 0.

    See Also
    --------
    cross_entropy_hvp : Product of the Hessian with an array.
    nll_loss : Negative log likelihood of log-probabilities.
    kl_divergence : Kullback-Leibler divergence of the softmax from probabilities.

    Notes
    -----
    Losses, and gradients of labels without smoothing, keep their relative accuracy however small
    they are, and a common offset of the logits changes nothing.  Where smoothing or probabilities
    as targets make :math:`A\,p_c - q_c` cancel, the gradient has the accuracy of these two.  A
    logit of -inf masks its class: probability 0, gradient 0.  Half precision is computed in
    float32, and rounded once, to nearest, on the way out.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import cross_entropy
    >>> loss, grad = cross_entropy(np.array([[1.0, 0.0, 0.0, 0.0]]), [0], return_grad=True)
    >>> round(loss, 4), grad.round(4)
    (0.7437, array([[-0.5246,  0.1749,  0.1749,  0.1749]]))
    >>> cross_entropy(np.array([100.0, 1.0, 1.0, 1.0]), 0)
    3.0336...e-43
    """
    if (
        type(axis) is int
        and class_weight is None
        and ignore_index is None
        and where is None
        and softcap is None
        and out is None
        and hess_out is None
        and proba_out is None
        and n_threads is None
        and isinstance(denominator, str)
        and denominator == "weight"
        and type(z_loss) is type(logit_scale) is float
        and z_loss == 0.0
        and logit_scale == 1.0
        and not return_scale_grad
    ):
        result = _kernels.plain_cross_entropy(
            logits,
            targets,
            axis,
            sample_weight,
            label_smoothing,
            reduction,
            return_grad,
            return_hess,
            return_proba,
            return_lse,
            grad_out,
        )
        if result is not None:
            return result
    return class_loss(
        _kernels.CrossEntropy,
        class_problem(
            logits,
            targets,
            axis=axis,
            class_weight=class_weight,
            sample_weight=sample_weight,
            ignore_index=ignore_index,
            where=where,
            label_smoothing=label_smoothing,
            z_loss=z_loss,
            softcap=softcap,
            logit_scale=logit_scale,
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
        scale_grad=return_scale_grad,
    )
