"""Metrics of batches."""

import copy

from numpy.typing import ArrayLike

from cekernels.metrics._evaluate import N_BINS, check_n_bins
from cekernels.metrics._results import ClassificationMetrics, metrics_of
from cekernels.metrics._samples import as_samples
from cekernels.metrics._sums import Sums, no_sums, sums_of


class MetricAccumulator:
    """Metrics of samples that come in batches, from several files or several processes.

    An accumulator holds sums, a few numbers for each class and each bin. It can be pickled, and two
    of them add up to the accumulator of all their samples.

    Parameters
    ----------
    n_bins : int
        Number of bins of the confidence.

    See Also
    --------
    evaluate : The same for all samples at once; says what the metrics are.
    cekernels.LossStats : What adds up for a loss alone.

    Notes
    -----
    The sums are in float64. Counts are exact, as are sums of integer weights, and with them the
    accuracy; they do not depend on how the samples are cut into batches. Losses, squared distances
    and confidences are rounded as they are added. As none is negative, another cut, or another order
    of merging, changes their sums by no more than the rounding that `evaluate` states, and by a
    relative 2e-16 for each batch: nearly always by less than 1e-14, but not by nothing.

    Examples
    --------
    >>> from cekernels.metrics import MetricAccumulator
    >>> first, second = MetricAccumulator(), MetricAccumulator()
    >>> first.update([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [0, 1])
    >>> second.update([[1.0, 0.0, 3.0]], [0])
    >>> metrics = (first + second).result()
    >>> round(metrics.loss, 4), round(metrics.accuracy, 4), metrics.by_class.count
    (0.9869, 0.6667, array([2, 1, 0]))
    """

    def __init__(self, n_bins: int = N_BINS) -> None:
        self.n_bins = check_n_bins(n_bins)
        self._sums: Sums | None = None

    def __repr__(self) -> str:
        if self._sums is None:
            return f"MetricAccumulator(n_bins={self.n_bins})"
        counts = self._sums.counts
        return (
            f"<MetricAccumulator of {counts.sum()} samples of {len(counts)} classes, "
            f"n_bins={self.n_bins}>"
        )

    def update(
        self,
        logits: ArrayLike,
        targets: ArrayLike,
        *,
        sample_weight: ArrayLike | None = None,
        ignore_index: int | None = None,
    ) -> None:
        """Add a batch.

        Parameters
        ----------
        logits : array_like of shape (n_samples, n_classes) or (n_samples,)
            Class scores, or log-odds; of the same number of classes in all batches.
        targets : array_like of int, of shape (n_samples,)
            Labels.
        sample_weight : array_like of shape (n_samples,), optional
            Weights.
        ignore_index : int, optional
            Label of the samples that count for nothing.

        Raises
        ------
        LabelError, TypeError, ValueError
            As `evaluate`, or for another number of classes. The accumulator stays as it was.
        """
        samples = as_samples(logits, targets, sample_weight, ignore_index)
        self._check_classes(samples.n_classes)
        self._add(sums_of(samples, self.n_bins))

    def merge(self, other: "MetricAccumulator") -> None:
        """Add all samples of another accumulator.

        Parameters
        ----------
        other : MetricAccumulator
            Stays as it is.

        Raises
        ------
        TypeError
            `other` is no accumulator.
        ValueError
            It has other bins, or another number of classes.
        """
        if not isinstance(other, MetricAccumulator):
            raise TypeError(
                f"a MetricAccumulator adds to a MetricAccumulator, got {type(other).__name__}"
            )
        if other.n_bins != self.n_bins:
            raise ValueError(f"n_bins must be {self.n_bins} to be merged, got {other.n_bins}")
        if other._sums is not None:
            self._check_classes(len(other._sums.counts))
            self._add(other._sums)

    def result(self) -> ClassificationMetrics:
        """Return the metrics of all samples so far.

        Returns
        -------
        ClassificationMetrics
            As of `evaluate`; of no weight all metrics are nan, without a warning.
        """
        # Copies: what a caller does to the arrays is no matter of the sums.
        sums = no_sums(0, self.n_bins) if self._sums is None else copy.deepcopy(self._sums)
        return metrics_of(sums)

    def __add__(self, other: object) -> "MetricAccumulator":
        if not isinstance(other, MetricAccumulator):
            return NotImplemented
        result = copy.copy(self)
        result.merge(other)
        return result

    def __radd__(self, other: object) -> "MetricAccumulator":
        """Accept the 0 that `sum` starts from."""
        if isinstance(other, int) and other == 0:
            return copy.copy(self)
        return NotImplemented

    def _check_classes(self, n_classes: int) -> None:
        """Raise a ValueError for another number of classes than so far."""
        if self._sums is not None and n_classes != len(self._sums.counts):
            raise ValueError(
                f"the number of classes must be {len(self._sums.counts)}, as it was before, "
                f"got {n_classes}"
            )

    def _add(self, sums: Sums) -> None:
        self._sums = sums if self._sums is None else self._sums + sums
