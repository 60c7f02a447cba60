"""Losses by group."""

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _labels
from cekernels._validation import Array
from cekernels.losses import binary_cross_entropy_with_logits, cross_entropy
from cekernels.metrics._results import LossTable
from cekernels.metrics._samples import as_samples


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
    weight, (index, loss) = samples.counted(index.astype(np.intp, copy=False), losses)
    n = len(values)
    count = np.bincount(index, minlength=n)
    if weight is None:
        return LossTable(values, _sums(index, loss, n), count.astype(np.float64), count)
    with np.errstate(all="ignore"):
        total = _sums(index, weight * loss.astype(np.float64), n)
    return LossTable(values, total, _sums(index, weight, n), count)


def _sums(index: Array, values: Array, n: int) -> Array:
    """Return the sum of the values of each index; of none NumPy makes integers."""
    return np.bincount(index, values, n).astype(np.float64, copy=False)


def _as_groups(value: ArrayLike, n_samples: int) -> tuple[Array, Array]:
    """Return the sorted groups, and the position of each sample's group among them."""
    groups = np.asarray(value)
    if groups.shape != (n_samples,):
        raise ValueError(f"groups must have shape {(n_samples,)}, got {groups.shape}")
    if not n_samples:
        return groups, np.zeros(0, np.intp)
    try:
        values, index = _labels.distinct(groups)
    except TypeError as error:
        raise TypeError(f"groups must be of one kind, to be sorted: {error}") from None
    return values.astype(groups.dtype, copy=False), index


def _losses(logits: Array, labels: Array, ignored: int | None) -> Array:
    """Return the loss of each sample, of unit weight."""
    if logits.ndim == 1:
        return binary_cross_entropy_with_logits(
            logits, labels, ignore_value=ignored, reduction="none"
        )
    return cross_entropy(logits, labels, ignore_index=ignored, reduction="none")
