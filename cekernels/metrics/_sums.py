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

# Cells, of classes times bins, up to which one pass adds up by both.
MAX_CELLS = 2048

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


@np.errstate(all="ignore")  # squares of small numbers underflow
def sums_of(samples: Samples, n_bins: int) -> Sums:
    """Return the sums of checked samples."""
    adder, scratch = _Adder(samples, n_bins), _Scratch(samples)
    measure = _binary_results if samples.is_binary else _class_results
    for start in range(0, len(samples), SPAN):
        span = samples.rows(start, start + SPAN)
        adder.add(span, measure(span, scratch))
    return adder.sums()


def share_right(samples: Samples) -> float:
    """Return the share of the weight that is predicted right, nan of no weight."""
    right = total = 0.0
    n_rows = max(1, BLOCK_SIZE // samples.n_classes)
    for start in range(0, len(samples), n_rows):
        block = samples.rows(start, start + n_rows)
        weight, (is_right,) = block.counted(are_right(computable(block.logits), block.labels))
        if weight is None:
            right, total = right + np.count_nonzero(is_right), total + len(is_right)
        else:
            right += weight.sum(where=is_right, dtype=np.float64)
            total += weight.sum(dtype=np.float64)
    return float(right / total) if total else math.nan


class _Adder:
    """Adds up weighted results by cell: whether a prediction is right, and the bin of its confidence.

    Few classes have cells of their own.  These tell the losses of a class, and without weights how many
    samples it has; weights of classes are added up by themselves, in an order that bins do not change.
    """

    def __init__(self, samples: Samples, n_bins: int) -> None:
        n_classes = samples.n_classes
        self._n_bins = n_bins
        self._has_cells = n_classes * n_bins <= MAX_CELLS
        self._has_counts = self._has_cells and samples.weight is None
        self._shape = n_classes if self._has_cells else 1, 2, n_bins
        self._cells = np.zeros((3, math.prod(self._shape) + 1))  # weight, confidence, loss
        self._classes = np.zeros((3, n_classes))  # loss, weight, number
        self._brier = 0.0

    def add(self, samples: Samples, results: _Results) -> None:
        """Add those of the samples that count."""
        weight, counted = samples.counted(samples.labels, *results)
        labels, loss, brier, confidence, correct = counted
        squares = float(brier.sum() if weight is None else (weight * brier).sum())
        cells = _bins(confidence, self._n_bins, math.isnan(squares))
        cells += np.multiply(correct, self._n_bins, dtype=cells.dtype)
        if self._has_cells:
            step = 2 * self._n_bins
            cells += np.multiply(labels, step, dtype=cells.dtype, casting="unsafe")
        if weight is not None:
            loss, confidence = weight * loss, weight * confidence
        n_rows = 3 if self._has_cells else 2
        _add_by(cells, [weight, confidence, loss][:n_rows], self._cells)
        if not self._has_counts:
            row = 1 if self._has_cells else 0
            _add_by(labels, [loss, weight, None][row:], self._classes[row:])
        self._brier += squares

    def sums(self) -> Sums:
        """Return the sums of all that was added."""
        cells = self._cells[:, 1:].reshape(3, *self._shape)
        bins = np.empty((3, self._n_bins))
        np.add.reduce(cells[:2], axis=(1, 2), out=bins[:2])
        np.add.reduce(cells[0, :, 1], axis=0, out=bins[2])
        if self._has_cells:
            np.add.reduce(cells[2], axis=(1, 2), out=self._classes[0])
        if self._has_counts:
            self._classes[1:] = np.add.reduce(cells[0], axis=(1, 2))
        counts = self._classes[2].astype(np.int64)
        return Sums(self._classes[:2], counts, bins, np.array([self._brier]))


def _add_by(index: Array, values: list[Array | None], sums: Array) -> None:
    """Add values, None for 1, to sums by index."""
    places = index.astype(np.intp, copy=False)
    for row, each in zip(sums, values, strict=False):
        row += np.bincount(places, each, len(row))


def _bins(confidence: Array, n_bins: int, has_nan: bool) -> Array:
    """Return the bin of each confidence, from 1 on; of a NaN the first."""
    edges = confidence * n_bins
    np.ceil(edges, out=edges)
    if has_nan:
        np.fmax(edges, 1.0, out=edges)
    return edges.astype(np.int32)  # four times as fast as to np.intp


class _Scratch:
    """Memory for the results of a span, and for what the kernels write of a block.

    The longer axis is contiguous, so that a reduction over the classes is fast for few of them too.
    """

    def __init__(self, samples: Samples) -> None:
        n, row = min(len(samples), SPAN), samples.logits.shape[1:]
        n_rows = min(n, max(1, BLOCK_SIZE // samples.n_classes)) if row else n
        order: Literal["C", "F"] = "F" if n_rows > samples.n_classes else "C"
        dtype = computable(samples.logits[:0]).dtype
        self.results = _Results(np.empty(n), np.empty(n), np.empty(n), np.empty(n, bool))
        self.loss = np.empty(n_rows, dtype)
        self.grad = np.empty((n_rows, *row), dtype, order)
        self.wide = np.empty((n_rows, *row), np.float64, order)


def _binary_results(samples: Samples, scratch: _Scratch) -> _Results:
    """Return the results of log-odds, until the next call."""
    n, x = len(samples), computable(samples.logits)
    results = _Results(*(result[:n] for result in scratch.results))
    loss, grad, miss = scratch.loss[:n], scratch.grad[:n], scratch.wide[:n]
    ignored = None if samples.ignored is None else float(samples.ignored)
    job = _kernels.Binary(x, samples.labels, None, None, 0.0, ignored, loss, grad, None, None)
    job.run(1)
    results.loss[...] = loss
    miss[...] = grad
    np.abs(miss, out=miss)  # the probability of the class that the label is not
    np.multiply(miss, miss, out=results.brier)
    np.subtract(1.0, miss, out=results.confidence)
    np.maximum(results.confidence, miss, out=results.confidence)
    results.correct[...] = are_right(x, samples.labels)
    return results


def _class_results(samples: Samples, scratch: _Scratch) -> _Results:
    """Return the results of class scores, block by block, until the next call."""
    n, n_rows = len(samples), len(scratch.loss)
    results = _Results(*(result[:n] for result in scratch.results))
    for start in range(0, n, n_rows):
        stop = min(start + n_rows, n)
        part = _Results(*(result[start:stop] for result in results))
        _class_block(samples.rows(start, stop), part, scratch)
    return results


def _class_block(samples: Samples, results: _Results, scratch: _Scratch) -> None:
    """Write the results of a block of class scores."""
    n, x = len(samples), computable(samples.logits)
    loss, grad, squares = scratch.loss[:n], scratch.grad[:n], scratch.wide[:n]
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
