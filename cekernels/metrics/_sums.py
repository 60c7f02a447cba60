"""The sums that metrics are made of, in one pass over the logits.

Losses and gradients of a block of rows come from the kernels and are used while they are in the
cache. The gradient of a sample is p - y for the one-hot y of its label, exact where p is tiny or next
to 1, and it has all that the metrics need: its only negative entry is minus the sum of the other
probabilities, so that 1 plus its minimum is the probability of the label and its maximum the largest
of the others; the Brier score is its sum of squares.
"""

import math
from typing import Literal, NamedTuple

import numpy as np

from cekernels import _kernels
from cekernels._validation import Array
from cekernels.metrics._samples import Samples, are_right, class_job, computable

# Logits of a block: enough to hide what a call costs, few enough for a gradient in the cache.
BLOCK_SIZE = 65_536

# Samples whose results are added up at once.
SPAN = 16_384

# Two probabilities that are no further apart, in units of the machine epsilon, may be of logits in
# the other order: the error of each is up to 3, without fused multiply-add 6.
AMBIGUOUS = 16


class Sums(NamedTuple):
    """What the metrics of some samples are made of; the sum of two is that of all samples.

    `classes` has the rows total loss and weight, and a column for each class; `counts` the number
    of samples of each. `bins` has the rows weight, confidence and weight of the right predictions,
    and a column for each bin of the confidence. `brier`, of shape (1,), is the total squared
    distance.
    """

    classes: Array
    counts: Array
    bins: Array
    brier: Array

    def __add__(self, other: object) -> "Sums":
        if not isinstance(other, Sums):
            raise TypeError(f"Sums add to Sums, got {type(other).__name__}")
        return Sums(*(a + b for a, b in zip(self, other, strict=True)))


class _Results(NamedTuple):
    """What the metrics need of each sample, in float64."""

    loss: Array
    brier: Array
    confidence: Array
    correct: Array


def no_sums(n_classes: int, n_bins: int) -> Sums:
    """Return the sums of no samples."""
    counts = np.zeros(n_classes, np.int64)
    return Sums(np.zeros((2, n_classes)), counts, np.zeros((3, n_bins)), np.zeros(1))


def sums_of(samples: Samples, n_bins: int) -> Sums:
    """Return the sums of checked samples."""
    measure = _binary_results if samples.is_binary else _class_results
    sums = no_sums(samples.n_classes, n_bins)
    for start in range(0, len(samples), SPAN):
        span = samples.rows(start, start + SPAN)
        _add(sums, span, measure(span))
    return sums


def share_right(samples: Samples) -> float:
    """Return the share of the weight that is predicted right, nan of no weight."""
    right = total = 0.0
    n_rows = max(1, BLOCK_SIZE // samples.n_classes)
    for start in range(0, len(samples), n_rows):
        block = samples.rows(start, start + n_rows)
        weight, (is_right,) = block.counted(are_right(computable(block.logits), block.labels))
        right += np.count_nonzero(is_right) if weight is None else weight.sum(where=is_right)
        total += len(is_right) if weight is None else weight.sum()
    return float(right / total) if total else math.nan


def _add(sums: Sums, samples: Samples, results: _Results) -> None:
    """Add the weighted results of the samples that count."""
    weight, counted = samples.counted(samples.labels, *results)
    classes, loss, brier, confidence, correct = counted
    n_classes, n_bins = sums.classes.shape[1], sums.bins.shape[1]
    classes = classes.astype(np.intp, copy=False)
    # A NaN is in the first bin: fmax prefers a number.
    bins = np.fmax(np.ceil(confidence * n_bins), 1.0).astype(np.intp) - 1
    if weight is not None:
        loss, brier = weight * loss, weight * brier
        confidence, correct = weight * confidence, weight * correct
    counts = np.bincount(classes, minlength=n_classes)
    sums.counts[...] += counts
    sums.classes[0] += np.bincount(classes, loss, n_classes)
    sums.classes[1] += counts if weight is None else np.bincount(classes, weight, n_classes)
    for row, values in zip(sums.bins, (weight, confidence, correct), strict=True):
        row += np.bincount(bins, values, n_bins)
    sums.brier[...] += brier.sum()


def _binary_results(samples: Samples) -> _Results:
    """Return the results of log-odds."""
    x = computable(samples.logits)
    loss, grad = np.empty(x.shape, x.dtype), np.empty(x.shape, x.dtype)
    ignored = None if samples.ignored is None else float(samples.ignored)
    job = _kernels.Binary(x, samples.labels, None, None, 0.0, ignored, loss, grad, None, None)
    job.run(1)
    miss = np.abs(grad, dtype=np.float64)  # the probability of the class that the label is not
    confidence, correct = np.maximum(miss, 1.0 - miss), are_right(x, samples.labels)
    return _Results(loss.astype(np.float64), np.square(miss), confidence, correct)


def _class_results(samples: Samples) -> _Results:
    """Return the results of class scores, block by block."""
    n, n_classes = samples.logits.shape
    n_rows = min(n, max(1, BLOCK_SIZE // n_classes))
    scratch = _Scratch(n_rows, n_classes, computable(samples.logits[:0]).dtype)
    results = _Results(np.empty(n), np.empty(n), np.empty(n), np.empty(n, bool))
    for start in range(0, n, n_rows):
        stop = min(start + n_rows, n)
        part = _Results(*(result[start:stop] for result in results))
        _class_block(samples.rows(start, stop), part, scratch)
    return results


class _Scratch:
    """Memory for the losses and gradients of a block, and for the squares of the latter.

    The longer axis is contiguous, so that a reduction over the classes is fast for few of them too.
    """

    def __init__(self, n_rows: int, n_classes: int, dtype: np.dtype[np.floating]) -> None:
        order: Literal["C", "F"] = "F" if n_rows > n_classes else "C"
        self.loss = np.empty(n_rows, dtype)
        self.grad = np.empty((n_rows, n_classes), dtype, order)
        self.squares = np.empty((n_rows, n_classes), np.float64, order)


def _class_block(samples: Samples, results: _Results, scratch: _Scratch) -> None:
    """Write the results of a block of class scores."""
    n, x = len(samples), computable(samples.logits)
    loss, grad, squares = scratch.loss[:n], scratch.grad[:n], scratch.squares[:n]
    job = class_job(x, samples.labels, samples.ignored, loss, grad)
    job.run(1)
    results.loss[...] = loss
    np.square(grad, out=squares, dtype=np.float64)
    np.sum(squares, axis=1, out=results.brier)
    if samples.n_classes == 2:
        results.brier[...] *= 0.5
    other = grad.max(axis=1).astype(np.float64)
    label = 1.0 + grad.min(axis=1).astype(np.float64)
    np.maximum(label, other, out=results.confidence)
    np.greater(label, other, out=results.correct)
    clear = np.abs(label - other) > AMBIGUOUS * np.finfo(x.dtype).eps
    if not clear.all():  # or NaN
        rows = np.flatnonzero(~clear)
        results.correct[rows] = are_right(x[rows], samples.labels[rows])
