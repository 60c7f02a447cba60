"""What the metrics return."""

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from cekernels._stats import LossStats
from cekernels._validation import Array
from cekernels.metrics._sums import Sums


class LossTable(NamedTuple):
    """Sums of weighted losses by group, with the weights and the numbers of samples behind them.

    Tables of several batches add up to the table of the whole; a group need not be in all of them.

    Parameters
    ----------
    groups : ndarray of shape (n_groups,)
        The groups, sorted.
    total : ndarray of shape (n_groups,)
        Sum of the weighted losses of each group.
    weight : ndarray of shape (n_groups,)
        Sum of the weights of each group.
    count : ndarray of shape (n_groups,)
        Number of samples of each group that are not ignored and have a weight.

    See Also
    --------
    cross_entropy_by_group : Returns one.
    cekernels.LossStats : The same for a whole.

    Examples
    --------
    >>> from cekernels.metrics import cross_entropy_by_group
    >>> monday = cross_entropy_by_group([0.5, 2.0], [1, 1], ["shop", "web"])
    >>> tuesday = cross_entropy_by_group([2.0], [0], ["web"])
    >>> week = monday + tuesday
    >>> week.groups, week.count, week.mean.round(4)
    (array(['shop', 'web'], dtype='<U4'), array([1, 2]), array([0.4741, 1.1269]))
    """

    groups: Array
    total: Array
    weight: Array
    count: Array  # type: ignore[assignment]  # hides tuple.count, which nobody needs here

    @property
    def mean(self) -> Array:
        """Weighted mean of the losses of each group, nan where there is no weight."""
        return mean(self.total, self.weight)

    def __add__(self, other: object) -> "LossTable":
        # A NotImplemented would fall back to the concatenation of tuples.
        if not isinstance(other, LossTable):
            raise TypeError(f"a LossTable adds to a LossTable, got {type(other).__name__}")
        if np.array_equal(self.groups, other.groups):
            columns = (a + b for a, b in zip(self[1:], other[1:], strict=True))
            return LossTable(self.groups, *columns)
        groups = np.union1d(self.groups, other.groups)
        return self._spread(groups) + other._spread(groups)

    def __radd__(self, other: object) -> "LossTable":
        """Accept the 0 that `sum` starts from."""
        if isinstance(other, int) and other == 0:
            return self
        raise TypeError(f"a LossTable adds to a LossTable, got {type(other).__name__}")

    def _spread(self, groups: Array) -> "LossTable":
        """Return the table with a row for each of these groups, which include its own."""
        columns = [np.zeros(len(groups), column.dtype) for column in self[1:]]
        place = np.searchsorted(groups, self.groups)
        for wide, column in zip(columns, self[1:], strict=True):
            wide[place] = column
        return LossTable(groups, *columns)


def mean(total: Array, weight: Array) -> Array:
    """Divide, with nan where there is no weight."""
    result = np.full(total.shape, np.nan)
    np.divide(total, weight, out=result, where=weight != 0.0)
    return result


class Reliability(NamedTuple):
    """How often predictions of some confidence are right: the numbers of a reliability diagram.

    Parameters
    ----------
    edges : ndarray of shape (n_bins + 1,)
        Where the bins of the confidence begin and end.
    confidence : ndarray of shape (n_bins,)
        Weighted mean of the confidence in each bin, nan in an empty one.
    accuracy : ndarray of shape (n_bins,)
        Share of the weight in each bin that is predicted right, nan in an empty one.
    weight : ndarray of shape (n_bins,)
        Sum of the weights in each bin.

    See Also
    --------
    evaluate : Returns one among the metrics.

    Examples
    --------
    >>> from cekernels.metrics import evaluate
    >>> evaluate([0.5, -0.5, 2.0], [1, 1, 1], n_bins=4).reliability
    Reliability(edges=array([0.  , 0.25, 0.5 , 0.75, 1.  ]),
                confidence=array([       nan,        nan, 0.62245933, 0.88079708]),
                accuracy=array([nan, nan, 0.5, 1. ]), weight=array([0., 0., 2., 1.]))
    """

    edges: Array
    confidence: Array
    accuracy: Array
    weight: Array


class ClassificationMetrics(NamedTuple):
    """Metrics of a classifier's logits.

    Parameters
    ----------
    loss : float
        Weighted mean of the cross-entropy.
    perplexity : float
        Its exponential.
    accuracy : float
        Share of the weight whose largest logit is that of the label.
    brier_score : float
        Weighted mean of the squared distance between probabilities and label.
    expected_calibration_error : float
        Weighted mean distance between confidence and accuracy over the bins of the confidence.
    stats : LossStats
        The loss with weight and number of the samples.
    by_class : LossTable
        The same for each class.
    reliability : Reliability
        Confidence, accuracy and weight in each bin.

    See Also
    --------
    evaluate : Returns them; has the formulas.
    MetricAccumulator : Returns them for batches.

    Examples
    --------
    >>> from cekernels.metrics import evaluate
    >>> metrics = evaluate([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0]], [0, 1])
    >>> metrics.accuracy, metrics.stats.count, metrics.by_class.count
    (0.5, 2, array([1, 1, 0]))
    """

    loss: float
    perplexity: float
    accuracy: float
    brier_score: float
    expected_calibration_error: float
    stats: LossStats
    by_class: LossTable
    reliability: Reliability


def metrics_of(sums: Sums) -> ClassificationMetrics:
    """Return the metrics that these sums make."""
    total, weight = sums.classes
    in_bins, confidence, correct = sums.bins
    stats = LossStats(float(total.sum()), float(weight.sum()), int(sums.counts.sum()))
    totals = correct.sum(), sums.brier.sum(), np.abs(confidence - correct).sum()
    accuracy, brier, calibration_error = (
        float(value) / stats.weight if stats.weight else math.nan for value in totals
    )
    return ClassificationMetrics(
        stats.mean,
        _exp(stats.mean),
        accuracy,
        brier,
        calibration_error,
        stats,
        LossTable(np.arange(len(total)), total, weight, sums.counts),
        Reliability(
            _edges(len(in_bins)).copy(), mean(confidence, in_bins), mean(correct, in_bins), in_bins
        ),
    )


@lru_cache(maxsize=4)
def _edges(n_bins: int) -> Array:
    return np.linspace(0.0, 1.0, n_bins + 1)


def _exp(value: float) -> float:
    try:
        return math.exp(value)
    except OverflowError:
        return math.inf
