"""Targets and options of a linear model's loss: the jobs of blocks of rows."""

from dataclasses import dataclass
from math import prod
from typing import Any, TypeAlias

from cekernels import _kernels
from cekernels._binary import BinaryProblem
from cekernels._classes import NO_OUTPUTS, ClassProblem
from cekernels._layout import as_operand, as_vector
from cekernels._validation import Array

# Options of which the jobs of second derivatives know nothing, with what turns each off: as it is
# stored, and as it is given.
FIRST_ORDER = {"z_loss": (0.0, "0"), "softcap": (0.0, "None"), "logit_scale": (1.0, "1")}


@dataclass
class ClassTargets:
    """Of `cross_entropy`."""

    problem: ClassProblem

    @property
    def outputs(self) -> tuple[int, ...]:
        """Shape of a row of logits."""
        return (self.problem.n_classes,)

    @property
    def samples(self) -> tuple[int, ...]:
        """Shape of the losses."""
        return self.problem.samples

    @property
    def hessian_size(self) -> int:
        """Elements of the Hessian of a row."""
        return self.problem.n_classes**2

    @property
    def pairs(self) -> list[tuple[int, int, int]]:
        """Outputs (a, b), a <= b, each pair with its column in the Hessians of rows."""
        n = self.problem.n_classes
        return [(a, b, a * n + b) for a in range(n) for b in range(a, n)]

    def check_second_order(self) -> None:
        """Raise for options that have a gradient only."""
        for name, (neutral, given) in FIRST_ORDER.items():
            value = getattr(self.problem, name)
            if value != neutral:
                raise ValueError(f"{name} must be {given} for second derivatives, got {value}")

    def loss(self, rows: slice, logits: Array, losses: Array | None, grad: Array | None) -> Any:
        """Return the job that writes losses and gradient, in place of the logits or nowhere."""
        loss = None if losses is None else losses[rows]
        arguments = (*self._arguments(rows, logits), loss, grad, *NO_OUTPUTS[2:])
        return _kernels.CrossEntropy(*arguments)

    def hvp(self, rows: slice, logits: Array, vector: Array, out: Array) -> Any:
        """Return the job that writes the product of the Hessians with a vector."""
        return _kernels.CrossEntropyHvp(vector, out, *self._arguments(rows, logits), *NO_OUTPUTS)

    def hessians(self, rows: slice, logits: Array, out: Array) -> Any:
        """Return the job that writes the Hessian of each row."""
        n = self.problem.n_classes
        blocks = out.reshape(-1, n, n)
        return _kernels.CrossEntropyHvp(None, blocks, *self._arguments(rows, logits), *NO_OUTPUTS)

    def _arguments(self, rows: slice, logits: Array) -> tuple[Any, ...]:
        problem = self.problem
        return (
            logits,
            _part(problem.labels, rows),
            _part(problem.target_proba, rows),
            _part(problem.allowed, rows),
            _part(problem.sample_weight, rows),
            problem.class_weight,
            problem.smoothing,
            problem.ignored,
            problem.z_loss,
            problem.softcap,
            problem.logit_scale,
        )


@dataclass
class BinaryTargets:
    """Of `binary_cross_entropy_with_logits`."""

    problem: BinaryProblem

    @property
    def outputs(self) -> tuple[int, ...]:
        """Shape of a row of logits: none for a single output."""
        return self.problem.values.shape[1:]

    @property
    def samples(self) -> tuple[int, ...]:
        """Shape of the losses."""
        return self.problem.values.shape

    @property
    def hessian_size(self) -> int:
        """Elements of the Hessian of a row that are not always 0."""
        return prod(self.outputs)

    @property
    def pairs(self) -> list[tuple[int, int, int]]:
        """Outputs (a, b), which are equal here, each with its column in the Hessians of rows."""
        return [(a, a, a) for a in range(self.hessian_size)]

    def check_second_order(self) -> None:
        """Raise for nothing: all options have second derivatives."""

    def loss(self, rows: slice, logits: Array, losses: Array | None, grad: Array | None) -> Any:
        """Return the job that writes losses and gradient, in place of the logits or nowhere."""
        loss = None if losses is None else as_vector(losses[rows])
        arguments = (*self._arguments(rows, logits), loss, as_operand(grad), None, None)
        return _kernels.Binary(*arguments)

    def hvp(self, rows: slice, logits: Array, vector: Array, out: Array) -> Any:
        """Return the job that writes the product of the Hessians with a vector."""
        arguments = self._arguments(rows, logits)
        return _kernels.BinaryHvp(as_vector(vector), as_vector(out), *arguments, *NO_OUTPUTS[:4])

    def hessians(self, rows: slice, logits: Array, out: Array) -> Any:
        """Return the job that writes the Hessian of each entry."""
        arguments = (*self._arguments(rows, logits), None, None, as_vector(out), None)
        return _kernels.Binary(*arguments)

    def _arguments(self, rows: slice, logits: Array) -> tuple[Any, ...]:
        problem = self.problem
        return (
            as_vector(logits),
            as_vector(problem.targets[rows]),
            as_operand(_part(problem.sample_weight, rows)),
            as_operand(_part(problem.pos_weight, rows)),
            problem.smoothing,
            problem.ignored,
        )


Targets: TypeAlias = ClassTargets | BinaryTargets


def _part(array: Array | None, rows: slice) -> Array | None:
    """Return rows of an array, but None and a value that stands for all as they are."""
    return array if array is None or array.ndim == 0 else array[rows]
