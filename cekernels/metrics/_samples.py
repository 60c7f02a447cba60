"""The arguments of the metrics of logits, checked."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _kernels, _validation
from cekernels._classes import NO_OUTPUTS
from cekernels._layout import as_rows, as_vector
from cekernels._validation import Array


@dataclass(frozen=True)
class Samples:
    """Logits of shape (n,), of two classes, or (n, n_classes), with their labels and weights."""

    logits: Array
    labels: Array
    weight: Array | None
    ignored: int | None  # ignore_index, where labels can be equal to it

    def __len__(self) -> int:
        return len(self.logits)

    @property
    def is_binary(self) -> bool:
        """Whether the logits are log-odds of class 1."""
        return self.logits.ndim == 1

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return 2 if self.is_binary else int(self.logits.shape[1])

    def rows(self, start: int, stop: int) -> "Samples":
        """Return the samples in [start, stop)."""
        weight = None if self.weight is None else self.weight[start:stop]
        return Samples(self.logits[start:stop], self.labels[start:stop], weight, self.ignored)

    def counted(self, *results: Array) -> tuple[Array | None, list[Array]]:
        """Return the weights, None for 1, and the results of the samples that count."""
        kept = None if self.ignored is None else self.labels != self.ignored
        if self.weight is not None:
            kept = self.weight != 0.0 if kept is None else kept & (self.weight != 0.0)
        if kept is None or kept.all():
            return self.weight, list(results)
        weight = None if self.weight is None else self.weight[kept]
        return weight, [result[kept] for result in results]


def as_samples(
    logits: ArrayLike,
    targets: ArrayLike,
    sample_weight: ArrayLike | None,
    ignore_index: int | None,
) -> Samples:
    """Check the arguments."""
    x = _validation.as_floats(logits, "logits")
    if x.ndim == 2 and x.shape[1] == 1:
        x = x[:, 0]
    if x.ndim not in (1, 2) or (x.ndim == 2 and not x.shape[1]):
        raise ValueError(
            f"logits must have shape (n_samples,) or (n_samples, n_classes), got {x.shape}"
        )
    labels = _validation.as_array(targets, "targets")
    if labels.dtype.kind not in "biu":
        raise TypeError(f"targets must be integers, got dtype {labels.dtype}")
    if labels.shape != x.shape[:1]:
        raise ValueError(
            f"targets must have a label for each of the {len(x)} samples, shape {x.shape[:1]}, "
            f"got {labels.shape}"
        )
    ignored = _validation.as_ignored_label(ignore_index, labels)
    samples = Samples(x, labels, _as_weight(sample_weight, len(x)), ignored)
    _validation.check_label(
        _first_invalid(samples), labels, "targets", samples.n_classes, ignore_index
    )
    return samples


def _as_weight(value: ArrayLike | None, n_samples: int) -> Array | None:
    """Return a finite weight, 0 or more, for each sample."""
    weight = _validation.as_broadcast(value, "sample_weight", (n_samples,))
    if weight is None:
        return None
    weight = np.broadcast_to(weight, (n_samples,))
    if not (weight.min(initial=0.0) >= 0.0 and weight.max(initial=0.0) < np.inf):
        invalid = ~((weight >= 0) & np.isfinite(weight))
        first = int(np.argmax(invalid))
        raise ValueError(
            f"sample_weight must be finite and not negative, got {weight[first]!s} at [{first}]"
        )
    return weight


def _first_invalid(samples: Samples) -> int:
    """Return the position of the first label that is no class, -1 if there is none.

    Of log-odds too it reads labels as the integers that they are: as floats, some are alike.
    """
    x, labels = samples.logits, as_vector(samples.labels)
    if samples.is_binary:
        x = np.broadcast_to(x.dtype.type(0), (len(x), 2))
    return class_job(as_rows(x, 1), labels, samples.ignored, None, None).scan(1)[2]


def class_job(
    logits: Array, labels: Array, ignored: int | None, loss: Array | None, grad: Array | None
) -> _kernels.CrossEntropy:
    """Return the job that makes losses and gradients of unit weight."""
    no_weights = (None,) * 4
    return _kernels.CrossEntropy(
        logits, labels, *no_weights, 0.0, ignored, 0.0, 0.0, 1.0, loss, grad, *NO_OUTPUTS[:5]
    )


def computable(logits: Array) -> Array:
    """Return a few logits in a dtype in which gradients lose nothing: half precision as float32."""
    return logits.astype(_validation.computed_dtype(logits.dtype), copy=False)


def are_right(logits: Array, labels: Array) -> Array:
    """Return whether the predicted class, the first of the largest logit, is the label.

    With a NaN it is not.
    """
    if logits.ndim == 1:
        return np.asarray(((logits > 0.0) == (labels != 0)) & ~np.isnan(logits))
    predicted = logits.argmax(axis=1)
    largest = logits[np.arange(len(logits)), predicted]
    return np.asarray((predicted == labels) & ~np.isnan(largest))
