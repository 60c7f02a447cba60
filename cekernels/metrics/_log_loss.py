"""The logistic loss of scikit-learn."""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _kernels, _labels, _metric_inputs, _parallel
from cekernels._runtime import effective_threads
from cekernels._validation import Array
from cekernels.losses import (
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
)

__all__ = ["log_loss"]

_N_CLASSES = (
    "y_true and y_prob contain different number of classes: {} vs {}. Please provide the true "
    "labels explicitly through the labels argument. Classes found in y_true: {}"
)
_N_LABELS = (
    "The number of classes in labels is different from that in y_prob. Classes found in labels: {}"
)
_WEIGHTS_SUM_TO_ZERO = "Weights sum to zero, can't be normalized"
_NAN_LOGITS = "Input contains NaN."


def log_loss(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    normalize: bool = True,
    sample_weight: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    eps: float | Literal["auto"] | None = "auto",
    from_logits: bool = False,
) -> float:
    r"""Logistic loss, the negative log-likelihood of the true labels.

    A drop-in replacement for ``sklearn.metrics.log_loss`` of scikit-learn 1.9 that can also score
    logits. With the classes in sorted order, :math:`w_i` the weight of sample :math:`i` and
    :math:`p_{i, y_i}` the probability that it gives to its true label, the loss is

    .. math::
        L = -\frac{\sum_i w_i \log p_{i, y_i}}{\sum_i w_i}

    where probabilities outside [eps, 1 - eps] are moved to the nearer end of this interval.

    Parameters
    ----------
    y_true : array-like of shape (n_samples,) or (n_samples, 1), or (n_samples, n_classes)
        True labels: integers, booleans, strings or floats of integral value. Two and more columns
        are a multilabel indicator; a sample's loss is then the sum over its columns of
        ``-y_true * log(y_proba)``.
    y_proba : array-like of shape (n_samples, n_classes), (n_samples,) or (n_samples, 1)
        Predicted probabilities, or logits with ``from_logits=True``. The columns belong to the
        sorted classes; a single column or a vector belongs to the greater of two classes. Other
        dtypes than float16, float32 and float64 become float64.
    normalize : bool, default=True
        Return the weighted mean of the losses, else their weighted sum.
    sample_weight : array-like of shape (n_samples,), optional
        Weights of the samples, 1 by default. They may be negative.
    labels : array-like of shape (n_classes,), optional
        All classes, to be given where `y_true` may lack one of them. By default the classes are
        the distinct values of `y_true`.
    eps : "auto", float or None, default="auto"
        Bound of the clipping, in [0, 0.5). "auto" is the machine epsilon of the dtype of
        `y_proba`; None does not clip, so that the loss is infinite where a true label has
        probability 0.
    from_logits : bool, default=False
        Whether `y_proba` holds logits: class scores before the softmax, or, as a single column or
        a vector, margins before the logistic function. Logits are neither clipped nor limited in
        range, and infinite ones have their limits as the loss.

    Returns
    -------
    float
        The mean of the losses, or their sum.

    Raises
    ------
    TypeError
        If an argument has a type that cannot be right, or labels are bytes.
    ValueError
        If `y_proba` contains NaN, or, as probabilities, infinity or a value outside [0, 1]; if
        lengths or numbers of classes differ; if there are fewer than two classes; if `y_true` is
        continuous or contains a value that is not in `labels`; if `sample_weight` is not finite,
        not one-dimensional or zero everywhere; if `eps` is outside [0, 0.5).
    ZeroDivisionError
        If a mean is asked for and the weights sum to 0.

    Warns
    -----
    UserWarning
        If the rows of `y_proba` do not sum to 1 within the square root of the machine epsilon
        (they are not rescaled), or if `labels` is not sorted (its order is not used).

    See Also
    --------
    cekernels.cross_entropy : Softmax cross-entropy of logits.
    cekernels.binary_cross_entropy : Binary cross-entropy of probabilities.

    Notes
    -----
    For float64 the result is that of scikit-learn to a relative 1e-12. For float32 and float16,
    where scikit-learn computes the losses in these dtypes, logarithms and sums are in float64 and
    differ from its result by a relative 1e-6 and 1e-3. With ``eps=None`` a single column loses
    nothing where it is small: its other class is log1p(-p), not the logarithm of a rounded 1 - p.

    Exceptions are those of scikit-learn with the same wording, except that a TypeError takes the
    place of its InvalidParameterError, which is both a TypeError and a ValueError.

    Examples
    --------
    >>> from cekernels import log_loss
    >>> round(log_loss(["ham", "spam", "spam"], [0.1, 0.8, 0.7]), 6)
    0.228393
    >>> round(log_loss([0, 2], [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8]], labels=[0, 1, 2]), 6)
    0.458145

    Probabilities lose what logits keep:

    >>> log_loss([1, 0], [-800.0, 0.0], from_logits=True, normalize=False)
    800.6931471805599
    """
    _metric_inputs.check_array_like("y_true", y_true)
    _metric_inputs.check_array_like("y_proba", y_proba)
    _metric_inputs.check_bool("normalize", normalize)
    if sample_weight is not None:
        _metric_inputs.check_array_like("sample_weight", sample_weight, "an array-like or None")
    if labels is not None:
        _metric_inputs.check_array_like("labels", labels, "an array-like or None")
    _metric_inputs.check_bool("from_logits", from_logits)
    scores = _metric_inputs.as_scores(y_proba)
    clip = _metric_inputs.clip_bound(eps, scores, from_logits)
    total, total_weight = None, float(len(scores))
    if sample_weight is None and labels is None and clip is not None and not from_logits:
        total = _plain_total(y_true, scores, clip)
    if total is None:
        total, total_weight = _checked_sums(
            y_true, scores, sample_weight, labels, clip, from_logits
        )
    if not normalize:
        return total
    if not total_weight:
        raise ZeroDivisionError(_WEIGHTS_SUM_TO_ZERO)
    return total / total_weight


def _plain_total(y_true: ArrayLike, proba: Array, eps: float) -> float | None:
    """Return the sum of the losses where the labels are the columns and all is well.

    None means that this is not so, and that `_checked_sums` has to find out what there is to say.
    """
    y = _labels.as_integer_vector(y_true)
    if y is None or len(y) != len(proba):
        return None
    total = _clipped_total(proba, y, None, eps, _metric_inputs.safe_deviation(proba))
    return None if math.isnan(total) or not _labels.has_classes(y, _n_columns(proba)) else total


def _checked_sums(
    y_true: ArrayLike,
    scores: Array,
    sample_weight: ArrayLike | None,
    labels: ArrayLike | None,
    eps: float | None,
    from_logits: bool,
) -> tuple[float, float]:
    """Return the sums of losses and weights, after all checks in the order of scikit-learn."""
    if not from_logits:
        _metric_inputs.check_probabilities(scores)
    _metric_inputs.check_lengths(scores, y_true, sample_weight)
    weight = None if sample_weight is None else _metric_inputs.as_weight(sample_weight, len(scores))
    total_weight = float(len(scores) if weight is None else weight.sum())
    classes, index = _labels.encode(y_true, labels)
    if not from_logits and scores.ndim == 2:
        _metric_inputs.check_row_sums(scores)
    _check_n_classes(classes, scores, labels)
    if index.ndim == 2:
        scores, index, weight = _one_label_a_row(scores, index, weight)
    if from_logits:
        return _logits_total(scores, index, weight), total_weight
    if eps is None:
        return _exact_total(scores, index, weight), total_weight
    return _clipped_total(scores, index, weight, eps, math.inf), total_weight


def _n_columns(scores: Array) -> int:
    return 2 if scores.ndim == 1 else scores.shape[1]


def _check_n_classes(classes: Array, scores: Array, labels: ArrayLike | None) -> None:
    """Raise a ValueError unless there is a column for each class."""
    n_columns = _n_columns(scores)
    if len(classes) == n_columns:
        return
    if labels is None:
        raise ValueError(_N_CLASSES.format(len(classes), n_columns, classes))
    raise ValueError(_N_LABELS.format(classes))


def _one_label_a_row(
    scores: Array, indicator: Array, weight: Array | None
) -> tuple[Array, Array, Array]:
    """Repeat each sample for each of its labels, with the indicator's value in the weight."""
    rows, index = np.nonzero(indicator)
    factor = indicator[rows, index].astype(np.float64)
    return scores[rows], index, factor if weight is None else factor * weight[rows]


def _logits_total(logits: Array, index: Array, weight: Array | None) -> float:
    """Return the weighted sum of the losses of margins (a vector) or class scores (a matrix)."""
    if logits.dtype == np.float16:
        logits = logits.astype(np.float64)
    loss = binary_cross_entropy_with_logits if logits.ndim == 1 else cross_entropy
    total = float(loss(logits, index, sample_weight=weight, reduction="sum"))
    if math.isnan(total) and np.isnan(logits).any():
        raise ValueError(_NAN_LOGITS)
    return total


def _exact_total(proba: Array, index: Array, weight: Array | None) -> float:
    """Return the weighted sum of the losses of probabilities, infinite ones included."""
    if proba.ndim == 2:
        proba, index = proba[np.arange(len(index)), index], np.ones(len(index), bool)
    proba = proba.astype(np.float64, copy=False)
    return float(
        binary_cross_entropy(proba, index, sample_weight=weight, reduction="sum", check=False)
    )


def _clipped_total(
    proba: Array, index: Array, weight: Array | None, eps: float, tolerance: float
) -> float:
    """Return the weighted sum of the losses of clipped probabilities.

    It is NaN where one is not in [0, 1], an index is no class, or a row's sum is further from 1
    than the tolerance.
    """
    values = proba.astype(np.float64) if proba.dtype == np.float16 else proba
    job = _kernels.LogLoss(values, index, weight, eps, tolerance)
    _parallel.run(job, effective_threads(None))
    return job.total()
