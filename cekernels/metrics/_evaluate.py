"""Metrics of logits: all of them from one pass, or one by its name."""

import math
import warnings
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cekernels._validation import is_integer
from cekernels.metrics._results import ClassificationMetrics, metrics_of
from cekernels.metrics._samples import as_samples
from cekernels.metrics._sums import Sums, share_right, sums_of

_NO_WEIGHT = "the mean of no weight is nan"

N_BINS = 15


def check_n_bins(n_bins: int) -> int:
    """Return a number of bins."""
    if not is_integer(n_bins):
        raise TypeError(f"n_bins must be an integer, got {n_bins!r}")
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, got {n_bins!r}")
    return int(n_bins)


def evaluate(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    n_bins: int = N_BINS,
) -> ClassificationMetrics:
    r"""Loss, accuracy, Brier score and calibration of logits, in one pass.

    With p the softmax of a sample's logits, y its label, w its weight, and :math:`W = \sum_i w_i`,

    .. math::

        \mathrm{loss} = \frac{1}{W} \sum_i -w_i \log p_{i, y_i}, \qquad
        \mathrm{Brier} = \frac{1}{W} \sum_i w_i \sum_c (p_{i, c} - [c = y_i])^2, \qquad
        \mathrm{ECE} = \frac{1}{W} \sum_b \Bigl|\sum_{i \in b} w_i (q_i - [\hat y_i = y_i])\Bigr|

    for the predicted class :math:`\hat y`, the confidence q, which is its probability, and bins b
    that each cover :math:`(k / n, (k + 1) / n]` of the confidence. For two classes the Brier score
    is half of this sum, the squared error of the probability of class 1.

    Parameters
    ----------
    logits : array_like of shape (n_samples, n_classes) or (n_samples,)
        Class scores, or the log-odds of class 1 as a vector or a single column; of any layout.
    targets : array_like of int, of shape (n_samples,)
        Labels in [0, n_classes).
    sample_weight : array_like of shape (n_samples,), optional
        Weights, finite and not negative. A sample of weight 0 counts for nothing, whatever its
        logits are.
    ignore_index : int, optional
        Samples with this label count for nothing.
    n_bins : int
        Number of bins of the confidence.

    Returns
    -------
    ClassificationMetrics
        The metrics, with the losses by class and the table of a reliability diagram.

    Raises
    ------
    LabelError
        A label that is no class; names it and its place.
    TypeError, ValueError
        An argument of the wrong type, shape or value.

    Warns
    -----
    RuntimeWarning
        There is no weight, and every metric is nan.

    See Also
    --------
    MetricAccumulator : The same for batches.
    cross_entropy_by_group : Losses by other groups than classes.
    cekernels.cross_entropy : The loss, with targets of any shape and all options.

    Notes
    -----
    The predicted class is that of the largest logit, of several the first; of log-odds it is 1 if
    they are positive. Infinite logits have their limits as probabilities. Where there is no limit
    (one is NaN, two are inf, or all are -inf), loss, Brier score and calibration error are nan; a
    sample with a NaN is predicted wrong.

    Predictions are decided on the logits, so rounding does not change them. Squared distances are
    sums of squares of the gradient of the loss, which is exact in the tails: the Brier score of a
    classifier that is nearly always right keeps its relative accuracy. Sums are in float64; up to a
    billion samples they add a relative error of at most 1e-11, and nearly always less than 1e-14.

    The pass works on blocks of 65,536 logits and needs some two megabytes, whatever the number of
    samples.

    References
    ----------
    .. [1] G. W. Brier, "Verification of forecasts expressed in terms of probability", Monthly
       Weather Review 78 (1950).
    .. [2] C. Guo, G. Pleiss, Y. Sun, K. Q. Weinberger, "On calibration of modern neural networks",
       ICML 2017.

    Examples
    --------
    >>> from cekernels.metrics import evaluate
    >>> metrics = evaluate([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [1.0, 0.0, 3.0]], [0, 1, 0])
    >>> round(metrics.loss, 4), round(metrics.accuracy, 4), round(metrics.brier_score, 4)
    (0.9869, 0.6667, 0.612)
    >>> round(metrics.expected_calibration_error, 4)
    0.4936
    """
    n_bins = check_n_bins(n_bins)
    return _warned(sums_of(as_samples(logits, targets, sample_weight, ignore_index), n_bins))


def _warned(sums: Sums) -> ClassificationMetrics:
    metrics = metrics_of(sums)
    if not metrics.stats.weight:
        warnings.warn(_NO_WEIGHT, RuntimeWarning, stacklevel=3)
    return metrics


def accuracy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> float:
    """Share of the weight whose largest logit is that of the label.

    Parameters
    ----------
    logits : array_like of shape (n_samples, n_classes) or (n_samples,)
        Class scores, or log-odds.
    targets : array_like of int, of shape (n_samples,)
        Labels.
    sample_weight : array_like of shape (n_samples,), optional
        Weights.
    ignore_index : int, optional
        Label of the samples that count for nothing.

    Returns
    -------
    float
        In [0, 1]; nan where there is no weight.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `evaluate`.

    Warns
    -----
    RuntimeWarning
        There is no weight.

    See Also
    --------
    evaluate : All metrics in one pass; says more of the arguments.

    Notes
    -----
    Of several largest logits the first decides; log-odds of 0 predict class 0. A row with NaN is
    wrong.

    Examples
    --------
    >>> from cekernels.metrics import accuracy
    >>> accuracy([[2.0, 0.0], [0.0, 1.0], [0.5, 0.5], [3.0, 1.0]], [0, 1, 0, 1])
    0.75
    """
    share = share_right(as_samples(logits, targets, sample_weight, ignore_index))
    if math.isnan(share):
        warnings.warn(_NO_WEIGHT, RuntimeWarning, stacklevel=2)
    return share


def brier_score(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    scale_by_half: bool | Literal["auto"] = "auto",
) -> float:
    """Mean squared distance between the probabilities and the label.

    Parameters
    ----------
    logits : array_like of shape (n_samples, n_classes) or (n_samples,)
        Class scores, or log-odds.
    targets : array_like of int, of shape (n_samples,)
        Labels.
    sample_weight : array_like of shape (n_samples,), optional
        Weights.
    ignore_index : int, optional
        Label of the samples that count for nothing.
    scale_by_half : bool or "auto"
        Halve the sum over the classes, so that the score is in [0, 1] and not in [0, 2]. "auto"
        halves it for two classes: the score is then the squared error of the probability of class 1.

    Returns
    -------
    float
        0 for certainty that is right; nan where there is no weight.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `evaluate`.

    Warns
    -----
    RuntimeWarning
        There is no weight.

    See Also
    --------
    evaluate : All metrics at the price of this one; has the formula, and more of the arguments.

    Notes
    -----
    The score of logits keeps what probabilities have lost: the distance of a probability of 1 - 1e-20
    from 1 is 1e-20.

    Examples
    --------
    >>> from cekernels.metrics import brier_score
    >>> round(brier_score([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0, 1]), 4)
    0.1688
    >>> round(brier_score([2.0, -1.0], [1, 0]), 4)
    0.0433
    >>> brier_score([50.0], [1])
    3.72...e-44
    """
    halved = _is_halved(scale_by_half)
    samples = as_samples(logits, targets, sample_weight, ignore_index)
    automatic = samples.n_classes == 2
    score = _warned(sums_of(samples, 1)).brier_score
    if halved is None or halved == automatic:
        return score
    return 2.0 * score if automatic else 0.5 * score


def _is_halved(value: object) -> bool | None:
    """Return what `scale_by_half` says, None for "auto"."""
    if isinstance(value, (bool, np.bool_)):
        return bool(value)
    if isinstance(value, str) and value == "auto":
        return None
    raise TypeError(f"scale_by_half must be True, False or 'auto', got {value!r}")


def expected_calibration_error(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    n_bins: int = N_BINS,
) -> float:
    """Mean distance between confidence and accuracy, over bins of the confidence.

    Parameters
    ----------
    logits : array_like of shape (n_samples, n_classes) or (n_samples,)
        Class scores, or log-odds.
    targets : array_like of int, of shape (n_samples,)
        Labels.
    sample_weight : array_like of shape (n_samples,), optional
        Weights.
    ignore_index : int, optional
        Label of the samples that count for nothing.
    n_bins : int
        Number of bins.

    Returns
    -------
    float
        In [0, 1]; nan where there is no weight.

    Raises
    ------
    LabelError, TypeError, ValueError
        As `evaluate`.

    Warns
    -----
    RuntimeWarning
        There is no weight.

    See Also
    --------
    evaluate : All metrics at the price of this one; has the formula, and the table of the bins.

    Notes
    -----
    The confidence is the probability of the predicted class, for two classes too, so that it is at
    least one over the number of classes. A confidence on the edge of two bins is in the lower one.

    Examples
    --------
    >>> from cekernels.metrics import expected_calibration_error
    >>> round(expected_calibration_error([2.0, 1.0, -1.0, -2.0], [1, 0, 0, 0]), 4)
    0.1751
    """
    n_bins = check_n_bins(n_bins)
    samples = as_samples(logits, targets, sample_weight, ignore_index)
    return _warned(sums_of(samples, n_bins)).expected_calibration_error
