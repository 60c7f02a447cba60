"""Losses by class and by group."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _labels
from cekernels._validation import Array
from cekernels.losses import binary_cross_entropy_with_logits, cross_entropy
from cekernels.metrics._samples import as_samples


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
    >>> import numpy as np
    >>> from cekernels.metrics import LossTable
    >>> one = LossTable(np.array([0, 1]), np.array([3.0, 1.0]), np.array([4.0, 1.0]), np.array([4, 1]))
    >>> two = LossTable(np.array([1, 7]), np.array([2.0, 5.0]), np.array([2.0, 2.0]), np.array([2, 2]))
    >>> (one + two).groups, (one + two).mean
    (array([0, 1, 7]), array([0.75, 1.  , 2.5 ]))
    """

    groups: Array
    total: Array
    weight: Array
    count: Array  # type: ignore[assignment]  # hides tuple.count, which nobody needs here

    @property
    def mean(self) -> Array:
        """Weighted mean of the losses of each group, nan where there is no weight."""
        return mean(self.total, self.weight)

    @classmethod
    def of(cls, groups: Array, index: Array, loss: Array, weight: Array | None) -> "LossTable":
        """Add up weighted losses; `index` has the position of each one's group."""
        n = len(groups)
        count = np.bincount(index, minlength=n)
        total_weight = count if weight is None else np.bincount(index, weight, n)
        total = np.bincount(index, loss, n)
        return cls(groups, total, total_weight.astype(np.float64), count)

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


def cross_entropy_by_group(
    logits: ArrayLike,
    targets: ArrayLike,
    groups: ArrayLike | None = None,
    *,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
) -> LossTable:
    """Cross-entropy of logits by group of samples, by default by class.

    Parameters
    ----------
    logits : array_like of shape (n_samples, n_classes) or (n_samples,)
        Class scores, or the log-odds of class 1 as a vector or a single column.
    targets : array_like of int, of shape (n_samples,)
        Labels in [0, n_classes).
    groups : array_like of shape (n_samples,), optional
        The group of each sample: numbers or strings. By default its label, and a row for every
        class.
    sample_weight : array_like of shape (n_samples,), optional
        Weights, finite and not negative. A sample of weight 0 counts for nothing.
    ignore_index : int, optional
        Samples with this label count for nothing.

    Returns
    -------
    LossTable
        Sums of losses, of weights and numbers of samples; its ``mean`` has the loss of each group.

    Raises
    ------
    LabelError
        A label that is no class; names it and its place.
    TypeError, ValueError
        An argument of the wrong type, shape or value.

    See Also
    --------
    cekernels.cross_entropy : The loss of the whole.
    evaluate : Losses by class with other metrics, in one pass.

    Notes
    -----
    The losses of the samples are within 2 ulp; their sums are in float64.

    Examples
    --------
    >>> from cekernels.metrics import cross_entropy_by_group
    >>> logits, labels = [[2.0, 0.0], [0.0, 0.0], [1.0, 3.0]], [0, 1, 1]
    >>> cross_entropy_by_group(logits, labels).mean.round(4)
    array([0.1269, 0.41  ])
    >>> table = cross_entropy_by_group(logits, labels, ["day", "night", "day"])
    >>> dict(zip(table.groups.tolist(), table.mean.round(4).tolist()))
    {'day': 0.1269, 'night': 0.6931}
    """
    samples = as_samples(logits, targets, sample_weight, ignore_index)
    if groups is None:
        values, index = np.arange(samples.n_classes), samples.labels
    else:
        values, index = _as_groups(groups, len(samples))
    losses = _losses(samples.logits, samples.labels, samples.ignored)
    weight, (index, loss) = samples.counted(index, losses.astype(np.float64, copy=False))
    if weight is not None:
        loss = weight * loss
    return LossTable.of(values, index.astype(np.intp), loss, weight)


def _as_groups(value: ArrayLike, n_samples: int) -> tuple[Array, Array]:
    """Return the sorted groups, and the position of each sample's group among them."""
    groups = np.asarray(value)
    if groups.shape != (n_samples,):
        raise ValueError(f"groups must have shape {(n_samples,)}, got {groups.shape}")
    if not n_samples:
        return groups, np.zeros(0, np.intp)
    return _labels.distinct(groups)


def _losses(logits: Array, labels: Array, ignored: int | None) -> Array:
    """Return the loss of each sample, of unit weight."""
    if logits.ndim == 1:
        return binary_cross_entropy_with_logits(
            logits, labels, ignore_value=ignored, reduction="none"
        )
    return cross_entropy(logits, labels, ignore_index=ignored, reduction="none")
