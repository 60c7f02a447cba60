"""Losses of rows of classes: one call, from arrays to results."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _kernels, _parallel, _validation
from cekernels._call import Call, Wanted
from cekernels._layout import as_operand, as_rows, as_vector
from cekernels._runtime import effective_threads
from cekernels._stats import LossStats
from cekernels._validation import Array, ClassWeight, Denominator, Reduction

NO_OUTPUTS = (None,) * 7


@dataclass(slots=True)
class ClassProblem:
    """Logits, targets and weights, checked."""

    logits: Array
    axis: int
    labels: Array | None
    target_proba: Array | None
    allowed: Array | None
    sample_weight: Array | None
    class_weight: Array | None
    smoothing: float
    ignored: int | None  # ignore_index, where labels can be equal to it
    ignore_index: int | None
    z_loss: float
    softcap: float
    logit_scale: float
    inputs: dict[str, Any]

    @property
    def samples(self) -> tuple[int, ...]:
        """Shape of logits without the axis of classes."""
        return self.logits.shape[: self.axis] + self.logits.shape[self.axis + 1 :]

    @property
    def n_classes(self) -> int:
        """Length of the axis of classes."""
        return int(self.logits.shape[self.axis])

    def arguments(self) -> tuple[Any, ...]:
        """Return the arguments of `_kernels.CrossEntropy` that are no outputs."""
        return (
            as_rows(self.logits, self.axis),
            None if self.labels is None else as_vector(self.labels),
            None if self.target_proba is None else as_rows(self.target_proba, self.axis),
            None if self.allowed is None else as_rows(self.allowed, self.axis),
            as_operand(self.sample_weight),
            self.class_weight,
            self.smoothing,
            self.ignored,
            self.z_loss,
            self.softcap,
            self.logit_scale,
        )

    def scan(self, job: Any, needs_weight: bool, n_threads: int) -> LossStats:
        """Return weight and count; raise for a label that is no class."""
        if self.labels is None and not needs_weight:
            n_samples = self.logits.size // self.n_classes
            return LossStats(0.0, float(n_samples), n_samples)
        weight, count, invalid = _parallel.scan(job, n_threads)
        if invalid >= 0 and self.labels is not None:
            name = list(self.inputs)[1]
            _validation.check_label(invalid, self.labels, name, self.n_classes, self.ignore_index)
        return LossStats(0.0, weight, count)


def class_problem(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: int = -1,
    class_weight: ClassWeight = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: int | None = None,
    where: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    softcap: float | None = None,
    logit_scale: float = 1.0,
    names: tuple[str, str] = ("logits", "targets"),
    only: Literal["labels", "proba"] | None = None,
) -> ClassProblem:
    """Check the arguments; `only` restricts the targets to labels or probabilities."""
    x, axis = _validation.as_logits(logits, names[0], axis)
    labels, proba = _validation.as_class_targets(targets, names[1], x.shape, axis, only)
    ignored = _validation.as_ignored_label(ignore_index, labels)
    samples = x.shape[:axis] + x.shape[axis + 1 :]
    allowed = _validation.as_mask(where, "where", x.shape)
    weight = _validation.as_broadcast(sample_weight, "sample_weight", samples)
    weights = _validation.as_class_weight(class_weight, x.shape[axis], x.dtype, labels, ignored)
    return ClassProblem(
        x,
        axis,
        labels,
        proba,
        allowed,
        weight,
        weights,
        _validation.as_fraction(label_smoothing, "label_smoothing"),
        ignored,
        ignore_index,
        _validation.as_size(z_loss, "z_loss"),
        0.0 if softcap is None else _validation.as_positive(softcap, "softcap"),
        _validation.as_positive(logit_scale, "logit_scale"),
        {
            names[0]: x,
            names[1]: proba if labels is None else labels,
            "sample_weight": weight,
            "class_weight": weights,
            "where": allowed,
        },
    )


def class_loss(
    make_job: Callable[..., Any],
    problem: ClassProblem,
    outputs: dict[str, Wanted],
    *,
    reduction: Reduction,
    denominator: Denominator,
    n_threads: int | None,
    scale_grad: bool = False,
) -> Any:
    """Return a loss with the outputs that are wanted, in their order."""
    x, axis, samples = problem.logits, problem.axis, problem.samples
    call = Call(reduction, denominator, effective_threads(n_threads))
    call.add(outputs, x, samples, problem.inputs)
    derivatives = None
    if scale_grad:
        derivatives = np.empty((2, *samples), _validation.computed_dtype(x.dtype))
        call.outputs["scale_grad"] = derivatives
    job = make_job(
        *problem.arguments(),
        call.vector("loss"),
        call.rows("grad", axis),
        call.rows("hess", axis),
        call.rows("proba", axis),
        call.vector("lse"),
        None if derivatives is None else as_vector(derivatives[0, ...]),
        None if derivatives is None else as_vector(derivatives[1, ...]),
    )
    return call.run(job, problem.scan(job, call.needs_weight, call.n_threads))


def outer_loss(outer: int, parameter: float) -> Callable[..., _kernels.CrossEntropy]:
    """Return what makes the job of an outer function of the loss of labels."""
    return lambda *arguments: _kernels.OuterCrossEntropy(outer, parameter, *arguments)
