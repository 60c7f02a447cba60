"""Score logits against targets in .npy files, which may be larger than memory, chunk by chunk."""

import math
import mmap
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from cekernels import LossStats, binary_cross_entropy_with_logits, cross_entropy

Array: TypeAlias = NDArray[Any]

# Logits of a chunk: enough to hide what it costs to start one, and 16 MB at most.
CHUNK_SIZE = 2**21

# Columns of a Fortran-ordered file to read at a time: each may bring 2 MB into memory, a huge page.
COLUMNS = 16

# The function of each loss, and its name for the target to leave out.
LOSSES: dict[str, tuple[Callable[..., Any], str]] = {
    "bce": (binary_cross_entropy_with_logits, "ignore_value"),
    "ce": (cross_entropy, "ignore_index"),
}


class ScoreError(Exception):
    """What is wrong with the files or the options, in one line."""


@dataclass(frozen=True)
class Options:
    """What to compute, and how."""

    loss: str
    ignore: float | None = None
    per_class: bool = False
    chunk_rows: int | None = None
    n_threads: int | None = None


@dataclass(frozen=True)
class Score:
    """Loss and accuracy of some rows; the sum of two is the score of both.

    `classes` has a row for each class, or none if they were not asked for: number of entries,
    weight, weight of those that the logits have right, total loss.
    """

    stats: LossStats
    n_ignored: int
    weight: float
    correct: float
    classes: Array

    def __add__(self, other: "Score") -> "Score":
        return Score(
            self.stats + other.stats,
            self.n_ignored + other.n_ignored,
            self.weight + other.weight,
            self.correct + other.correct,
            self.classes + other.classes,
        )

    @property
    def perplexity(self) -> float:
        """Exponential of the mean loss."""
        try:
            return math.exp(self.stats.mean)
        except OverflowError:
            return math.inf


@dataclass(frozen=True)
class _Rows:
    """A mapped array as rows: its first `n_lead` axes run together in `order`, a row is the rest."""

    array: Array
    n_lead: int
    order: Literal["C", "F"]

    def __len__(self) -> int:
        return math.prod(self.array.shape[: self.n_lead])

    @property
    def row_size(self) -> int:
        return math.prod(self.array.shape[self.n_lead :])

    def read(self, start: int, stop: int) -> Array:
        """Return rows in C order; without a copy where the file has them so."""
        rows = self._view(start, stop)
        if rows.flags.c_contiguous:
            return np.asarray(rows)
        copy = np.empty(rows.shape, rows.dtype)
        for column in range(0, self.row_size, COLUMNS):
            columns = np.s_[:, column : column + COLUMNS]
            copy[columns] = rows[columns]
            self.release()
        return copy

    def _view(self, start: int, stop: int) -> Array:
        lead, row = self.array.shape[: self.n_lead], self.array.shape[self.n_lead :]
        flags = self.array.flags
        if flags.c_contiguous if self.order == "C" else flags.f_contiguous:
            return self.array.reshape((len(self), *row), order=self.order)[start:stop]
        return self.array[np.unravel_index(np.arange(start, stop), lead, order=self.order)]

    def place(self, row: int, column: int) -> list[int]:
        """Return the index in the array of a column of a row."""
        lead, shape = self.array.shape[: self.n_lead], self.array.shape[self.n_lead :]
        index = (*np.unravel_index(row, lead, order=self.order), *np.unravel_index(column, shape))
        return [int(i) for i in index]

    def release(self) -> None:
        """Let go of the pages that were read, which otherwise stay as long as there is room."""
        mapping: object = self.array.base
        if isinstance(mapping, mmap.mmap) and hasattr(mapping, "madvise"):
            mapping.madvise(mmap.MADV_DONTNEED)


def open_array(path: str) -> Array:
    """Map the array in an .npy file into memory, read-only."""
    try:
        return open_memmap(path, mode="r")
    except OSError as error:
        raise ScoreError(f"{path}: {error.strerror or error}") from error
    except Exception as error:  # the header of a damaged file can fail in any way
        raise ScoreError(
            f"{path}: not an .npy array of numbers, or a damaged one ({error})"
        ) from error


def pick_loss(logits: Array, targets: Array) -> str:
    """Return "ce" or "bce" by shape and dtype, where these leave no doubt."""
    integers = targets.dtype.kind in "biu"
    if targets.shape == logits.shape:
        if integers or logits.ndim < 2:
            return "bce"
        raise ScoreError(
            f"{targets.dtype} targets of the shape of the logits, {logits.shape}, may be class "
            "probabilities or binary targets: choose --loss ce or --loss bce"
        )
    if integers and targets.shape == logits.shape[:-1] and logits.shape[-1] == 1:
        raise ScoreError(
            f"logits of shape {logits.shape} have a single class: give binary targets the same "
            "shape, or choose --loss ce"
        )
    return "ce"


def score(
    logits: Array,
    targets: Array,
    weights: Array | None,
    options: Options,
    progress: Callable[[int], AbstractContextManager[Callable[[int], object]]],
) -> Score:
    """Score all rows; `progress` takes their number, and gives what to call with those done."""
    _check_shapes(options.loss, logits, targets, weights)
    # A row is the last axis of the logits, or one number of a vector of binary ones.
    n_lead = logits.ndim if options.loss == "bce" and logits.ndim < 2 else logits.ndim - 1
    order: Literal["C", "F"] = "C" if logits.flags.c_contiguous else "F"
    arrays = [array for array in (logits, targets, weights) if array is not None]
    files = [_Rows(array, n_lead, order) for array in arrays]
    n_rows = len(files[0])
    step = options.chunk_rows or _chunk_rows(files[0].row_size)
    try:
        # No row at all: what is wrong with a dtype or an option shows before any row is read.
        result = _score_rows([file.read(0, 0) for file in files], options)
    except (TypeError, ValueError) as error:
        raise ScoreError(str(error)) from error
    with progress(n_rows) as advance:
        for start in range(0, n_rows, step):
            stop = min(start + step, n_rows)
            rows = [file.read(start, stop) for file in files]
            try:
                result += _score_rows(rows, options)
            except ValueError as error:
                raise ScoreError(_locate(rows, files[1], start, options) or str(error)) from error
            for file in files:
                file.release()
            advance(stop - start)
    return result


def _chunk_rows(row_size: int) -> int:
    """Return a power of two, so that chunks end where blocks of the sums in float32 do."""
    return 1 << (max(1, CHUNK_SIZE // max(1, row_size)).bit_length() - 1)


def _check_shapes(loss: str, logits: Array, targets: Array, weights: Array | None) -> None:
    """Raise unless there is a target, and a weight, for each loss."""
    if loss == "ce" and logits.ndim == 0:
        raise ScoreError("logits must have an axis of classes, got a scalar")
    losses = logits.shape[:-1] if loss == "ce" else logits.shape
    if targets.shape != (losses if targets.dtype.kind in "biu" else logits.shape):
        wanted = f"numbers of shape {losses}"
        if loss == "ce":
            wanted = f"integers of shape {losses} or floats of shape {logits.shape}"
        raise ScoreError(
            f"targets for logits of shape {logits.shape} must be {wanted}, "
            f"got {targets.dtype} of shape {targets.shape}"
        )
    allowed = {losses, logits.shape[:-1]} if logits.ndim > 1 else {losses}
    if weights is not None and weights.shape not in allowed:
        wanted = " or ".join(map(str, sorted(allowed)))
        raise ScoreError(f"weights must have shape {wanted}, got {weights.shape}")


def _score_rows(rows: list[Array], options: Options) -> Score:
    """Score logits of shape (n, n_classes) or (n,), their targets and, if given, weights."""
    logits, targets = rows[:2]
    weights = rows[2] if len(rows) > 2 else None
    if weights is not None and options.loss == "bce":
        weights = weights.reshape(weights.shape + (1,) * (logits.ndim - weights.ndim))
    function, ignored = LOSSES[options.loss]
    evaluate = partial(
        function,
        logits,
        targets,
        sample_weight=weights,
        n_threads=options.n_threads,
        **{ignored: options.ignore},
    )
    stats = evaluate(reduction="stats")
    labels, correct = _decide(options.loss, logits, targets)
    kept = _kept(targets, labels.shape, options.ignore)
    classes = np.zeros((0, 4))
    if options.per_class:
        n_classes = logits.shape[-1] if logits.ndim > 1 else 2
        if labels.ndim > 1:  # binary targets in columns
            labels = np.broadcast_to(np.arange(n_classes), labels.shape)
        losses = evaluate(reduction="none")
        classes = _by_class(labels, n_classes, weights, kept, correct, losses)
    return Score(
        stats, kept.size - stats.count, _sum(weights, kept), _sum(weights, kept & correct), classes
    )


def _decide(loss: str, logits: Array, targets: Array) -> tuple[Array, Array]:
    """Return the class of each target, and whether the logits have it right (with NaN: not)."""
    if loss == "bce":
        labels = targets > 0.5
        return labels, ((logits > 0.0) == labels) & ~np.isnan(logits) & ~np.isnan(targets)
    best, top = _largest(logits)
    if targets.ndim < logits.ndim:
        return targets, (best == targets) & ~np.isnan(top)
    labels, most = _largest(targets)
    return labels, (best == labels) & ~np.isnan(top) & ~np.isnan(most)


def _largest(rows: Array) -> tuple[Array, Array]:
    """Return the place of the largest element of each row, or of a NaN, and what is there."""
    place = np.argmax(rows, axis=-1)
    return place, np.take_along_axis(rows, place[:, np.newaxis], axis=-1)[:, 0]


def _kept(targets: Array, shape: tuple[int, ...], ignore: float | None) -> Array:
    """Return which entries are not ignored."""
    if ignore is None:
        return np.ones(shape, bool)
    return np.asarray(~np.isnan(targets) if math.isnan(ignore) else targets != ignore)


def _sum(weights: Array | None, chosen: Array) -> float:
    """Return the weight of the chosen entries."""
    if weights is None:
        return float(np.count_nonzero(chosen))
    return float(np.sum(np.broadcast_to(weights, chosen.shape), where=chosen, dtype=np.float64))


def _by_class(
    labels: Array, n_classes: int, weights: Array | None, kept: Array, correct: Array, losses: Array
) -> Array:
    """Return the columns of `Score.classes`."""
    weight = np.broadcast_to(1.0 if weights is None else weights, kept.shape)
    labels = labels[kept].astype(np.intp)
    columns = (None, weight[kept], (weight * correct)[kept], losses[kept])
    sums = [np.bincount(labels, column, n_classes) for column in columns]
    return np.stack(sums, axis=1, dtype=np.float64)


def _locate(rows: list[Array], file: _Rows, start: int, options: Options) -> str | None:
    """Return the message of the first target out of range, with its place in the whole file."""
    logits, targets = rows[:2]
    high = logits.shape[-1] - 1 if options.loss == "ce" else 1
    invalid = (targets < 0) | (targets > high)
    invalid &= _kept(targets, targets.shape, options.ignore)
    if not invalid.any():
        return None
    offset = int(np.argmax(invalid))
    value = targets.flat[offset]
    row, column = divmod(offset, file.row_size)
    kind = "labels are integers" if options.loss == "ce" else "binary targets are"
    return (
        f"targets{file.place(start + row, column)} is {value}, but {kind} from 0 to {high} "
        f"(--ignore-index {value} leaves it out)"
    )
