"""One call of a loss: its outputs, its reduction, its result."""

import warnings
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from cekernels import _parallel, _validation
from cekernels._layout import as_rows, as_vector
from cekernels._stats import LossStats
from cekernels._validation import Array, Denominator, Reduction

# Whether an output is wanted, and the array that takes it.
Wanted: TypeAlias = tuple[bool, Array | None]

# The outputs without an axis of classes; their dtype is that of the arithmetic.
SAMPLE_OUTPUTS = ("loss", "lse")


@dataclass
class Call:
    """What a call returns: its outputs, its reduction, and how many threads make them."""

    reduction: Reduction
    denominator: Denominator
    n_threads: int
    outputs: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _validation.check_reduction(self.reduction)
        _validation.check_denominator(self.denominator)

    @property
    def needs_weight(self) -> bool:
        """Whether the result depends on the sum of the weights."""
        return self.reduction == "stats" or (
            self.reduction == "mean" and self.denominator == "weight"
        )

    def add(
        self,
        outputs: dict[str, Wanted],
        like: Array,
        samples: tuple[int, ...],
        inputs: dict[str, Any],
    ) -> None:
        """Make room for each output that is wanted or given, and check what is given.

        A new array has the order of axes in memory that `like` has.  No array that is given
        overlaps another or an input, but for a gradient that replaces the first input.
        """
        given: dict[str, Array | None] = {}
        for name, (wanted, out) in outputs.items():
            if out is None and not wanted:
                continue
            of_samples = name in SAMPLE_OUTPUTS
            shape = samples if of_samples else like.shape
            dtype = _validation.computed_dtype(like.dtype) if of_samples else like.dtype
            if out is not None:
                argument = "out" if name == "loss" else f"{name}_out"
                if name == "loss" and self.reduction != "none":
                    raise ValueError(
                        f"out takes the losses of reduction='none', not of {self.reduction!r}"
                    )
                _validation.check_output(out, argument, shape, dtype)
                given[argument] = out
            else:
                out = np.empty(shape, dtype) if of_samples else np.empty_like(like, subok=False)
            self.outputs[name] = out
        if given:
            _validation.check_overlap(given, inputs, ("grad_out", next(iter(inputs))))

    def vector(self, name: str) -> Array | None:
        """Return an output as the kernel writes it, or None where it is not wanted."""
        return as_vector(self.outputs[name]) if name in self.outputs else None

    def rows(self, name: str, axis: int) -> Array | None:
        """Return an output with an axis of classes as the kernel writes it, or None."""
        return as_rows(self.outputs[name], axis) if name in self.outputs else None

    def divisor(self, stats: LossStats) -> float:
        """Return what the value is divided by: 1 but for a mean."""
        if self.reduction != "mean":
            return 1.0
        if self.denominator == "weight":
            return stats.weight
        if self.denominator == "count":
            return float(stats.count)
        return float(self.denominator)

    def run(self, job: Any, stats: LossStats) -> Any:
        """Run the job and return the value, alone or in front of the other outputs."""
        divisor = self.run_scaled(job, stats)
        loss = self.outputs.get("loss")
        value = self.value(job, stats, divisor) if loss is None else unwrap(loss)
        others = [self.result(name) for name in self.outputs if name != "loss"]
        return (value, *others) if others else value

    def result(self, name: str) -> Any:
        """Return an output as the caller gets it."""
        output = self.outputs[name]
        if name == "scale_grad" and self.reduction != "none":
            output = output.reshape(2, -1).sum(axis=1, dtype=np.float64)
        return unwrap(output)

    def run_scaled(self, job: Any, stats: LossStats) -> float:
        """Run the job with derivatives of what is returned, and return the divisor."""
        divisor = self.divisor(stats)
        job.scale_grad(1.0 / divisor if divisor else 0.0)
        _parallel.run(job, self.n_threads)
        return divisor

    def value(self, job: Any, stats: LossStats, divisor: float) -> float | LossStats:
        """Return the reduced loss."""
        total = job.total()
        if self.reduction == "stats":
            return stats._replace(total=total)
        if divisor == 0.0:
            warnings.warn("the mean of no weight is nan", RuntimeWarning, stacklevel=5)
            return float("nan")
        return float(total / divisor)


def unwrap(array: Array) -> Any:
    """Return a scalar for a 0-d array, as NumPy's functions do."""
    return array if array.ndim else array[()]
