"""Losses of independent entries with binary targets: one call, from arrays to results."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import ArrayLike

from cekernels import _parallel, _validation
from cekernels._call import Call, Wanted
from cekernels._layout import as_operand, as_vector
from cekernels._runtime import effective_threads
from cekernels._stats import LossStats
from cekernels._validation import Array, Denominator, Reduction


@dataclass(slots=True)
class BinaryProblem:
    """Logits or probabilities, targets and weights, checked."""

    values: Array
    targets: Array
    sample_weight: Array | None
    pos_weight: Array | None
    smoothing: float
    ignored: float | None
    inputs: dict[str, Any]

    def arguments(self) -> tuple[Any, ...]:
        """Return the arguments of `_kernels.Binary` that are no outputs."""
        return (
            as_vector(self.values),
            as_vector(self.targets),
            as_operand(self.sample_weight),
            as_operand(self.pos_weight),
            self.smoothing,
            self.ignored,
        )

    def scan(self, job: Any, check: bool, n_threads: int) -> LossStats:
        """Return weight and count; raise for a target outside [0, 1] if these are checked."""
        check = check and self.targets.dtype.kind != "b"
        if not check and self.sample_weight is None and self.ignored is None:
            return LossStats(0.0, float(self.values.size), self.values.size)
        weight, count, invalid = _parallel.scan(job, n_threads)
        if check:
            _validation.check_target(invalid, self.targets)
        return LossStats(0.0, weight, count)


def binary_problem(
    values: ArrayLike,
    targets: ArrayLike,
    *,
    name: str = "logits",
    sample_weight: ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_value: float | None = None,
) -> BinaryProblem:
    """Check the arguments."""
    x = _validation.as_floats(values, name)
    y = _validation.as_shaped(targets, "targets", x.shape)
    weight = _validation.as_broadcast(sample_weight, "sample_weight", x.shape)
    positive = _validation.as_broadcast(pos_weight, "pos_weight", x.shape)
    return BinaryProblem(
        x,
        y,
        weight,
        positive,
        _validation.as_fraction(label_smoothing, "label_smoothing"),
        None if ignore_value is None else _validation.as_number(ignore_value, "ignore_value"),
        {name: x, "targets": y, "sample_weight": weight, "pos_weight": positive},
    )


def binary_loss(
    make_job: Callable[..., Any],
    problem: BinaryProblem,
    outputs: dict[str, Wanted],
    *,
    reduction: Reduction,
    denominator: Denominator,
    check: bool,
    n_threads: int | None,
) -> Any:
    """Return a loss with the outputs that are wanted, in their order."""
    x = problem.values
    call = Call(reduction, denominator, effective_threads(n_threads))
    call.add(outputs, x, x.shape, problem.inputs)
    job = make_job(
        *problem.arguments(),
        call.vector("loss"),
        call.vector("grad"),
        call.vector("hess"),
        call.vector("proba"),
    )
    return call.run(job, problem.scan(job, check, call.n_threads))
