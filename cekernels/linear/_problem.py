"""Losses of X @ coef.T + intercept, a block of rows at a time: the logits of one block exist at once."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _kernels, _parallel, _validation
from cekernels._binary import binary_problem
from cekernels._call import Call
from cekernels._classes import NO_OUTPUTS, class_problem
from cekernels._runtime import effective_threads
from cekernels._stats import LossStats
from cekernels._validation import Array, Denominator, Reduction
from cekernels.linear._rows import FEW_ROWS, Rows
from cekernels.linear._sums import GradSum, HessianSum
from cekernels.linear._targets import BinaryTargets, ClassTargets, Targets

# Elements of the Hessians of a block's rows.
HESSIAN_ELEMENTS = 1 << 19


class LinearGrad(NamedTuple):
    """Gradient of a loss of a linear model.

    Parameters
    ----------
    coef : ndarray
        By the coefficients, in their shape.
    intercept : ndarray or None
        By the intercept, in its shape; None where there is none.
    X : ndarray or None
        By the features, in their shape; None unless it was asked for.

    See Also
    --------
    linear_cross_entropy : Returns one with ``return_grad=True``.

    Examples
    --------
    >>> import numpy as np
    >>> from cekernels import linear_binary_cross_entropy
    >>> X, y = np.array([[1.0, 2.0], [0.0, -1.0]]), [1, 0]
    >>> loss, grad = linear_binary_cross_entropy(
    ...     X, np.zeros(2), y, intercept=0.0, return_grad=True)
    >>> grad.coef, float(grad.intercept)
    (array([-0.25, -0.75]), 0.0)
    """

    coef: Array
    intercept: Array | None
    X: Array | None


LinearGrad.__module__ = "cekernels.linear"  # where pickles look for it


@dataclass
class LinearProblem:
    """X, targets and options, checked once, for any number of models.

    The methods take `coef` and `intercept` as `linear_cross_entropy` does, and check nothing else;
    those of second derivatives raise for the options of logits.  They may run in several threads at
    once.
    """

    rows: Rows
    targets: Targets
    stats: LossStats
    call: Call

    def loss(self, coef: ArrayLike, intercept: ArrayLike | None = None) -> Any:
        """Return the loss."""
        return self._value(*self._pass(self._model(coef, intercept), self._step()))

    def loss_grad(
        self, coef: ArrayLike, intercept: ArrayLike | None = None, *, return_X_grad: bool = False
    ) -> tuple[Any, LinearGrad]:
        """Return the loss and its gradient, also by X if that is asked for."""
        model, step = self._model(coef, intercept), self._step()
        X_grad = np.empty(self.rows.shape, self.rows.dtype) if return_X_grad else None
        for selects in (False, True):
            sums = self._grad_sum(model, step, selects)
            losses, total = self._pass(model, step, sums, X_grad=X_grad)
            if sums.is_finite():
                break
        return self._value(losses, total), LinearGrad(*sums.value(self.targets.outputs), X_grad)

    def hessian(
        self, coef: ArrayLike, intercept: ArrayLike | None = None
    ) -> tuple[Any, LinearGrad, Array]:
        """Return the loss, its gradient and the matrix of its second derivatives."""
        self.targets.check_second_order()
        model, step = self._model(coef, intercept), self._step(self.targets.hessian_size)
        pairs, has_intercept = self.targets.pairs, model.intercept is not None
        for selects in (False, True):
            sums = self._grad_sum(model, step, selects)
            matrix = HessianSum(self.rows, self.n_outputs, pairs, has_intercept, selects)
            losses, total = self._pass(model, step, sums, matrix)
            if sums.is_finite() and matrix.is_finite():
                break
        grad = LinearGrad(*sums.value(self.targets.outputs), None)
        return self._value(losses, total), grad, matrix.value()

    def hvp(
        self,
        coef: ArrayLike,
        intercept: ArrayLike | None,
        v: ArrayLike,
        v_intercept: ArrayLike | None = None,
    ) -> tuple[Array, Array | None]:
        """Return the product of the Hessian with a direction."""
        self.targets.check_second_order()
        model, step = self._model(coef, intercept), self._step()
        direction = self._model(v, v_intercept, ("v", "v_intercept"))
        if model.intercept is None and direction.intercept is not None:
            raise ValueError("v_intercept must be None where there is no intercept")
        for selects in (False, True):
            sums = self._grad_sum(model, step, selects)
            self._hvp_pass(model, direction, step, sums)
            if sums.is_finite():
                break
        return sums.value(self.targets.outputs)

    @property
    def n_outputs(self) -> int:
        """Logits of a row."""
        return prod(self.targets.outputs)

    def _model(
        self,
        coef: ArrayLike,
        intercept: ArrayLike | None,
        names: tuple[str, str] = ("coef", "intercept"),
    ) -> "_Model":
        """Check the shapes; return both in the dtype of the logits, with one axis of outputs."""
        outputs, n_columns, dtype = self.targets.outputs, self.rows.shape[1], self.rows.dtype
        w = _validation.as_shaped(coef, names[0], (*outputs, n_columns))
        w = w.astype(dtype, copy=False).reshape(self.n_outputs, n_columns)
        if intercept is None:
            return _Model(w, None)
        b = _validation.as_shaped(intercept, names[1], outputs)
        return _Model(w, b.astype(dtype, copy=False).reshape(-1))

    def _step(self, hessian_size: int = 0) -> int:
        """Return the number of rows of a block; it depends on shapes alone."""
        step = self.rows.step(self.n_outputs)
        if hessian_size:
            step = min(step, max(FEW_ROWS, HESSIAN_ELEMENTS // hessian_size))
        return max(1, min(step, self.rows.shape[0]))

    def _grad_sum(self, model: "_Model", step: int, selects: bool) -> GradSum:
        has_intercept = model.intercept is not None
        return GradSum(self.rows, self.n_outputs, step, has_intercept, selects)

    @np.errstate(all="ignore")
    def _pass(
        self,
        model: "_Model",
        step: int,
        sums: GradSum | None = None,
        matrix: HessianSum | None = None,
        X_grad: Array | None = None,
    ) -> tuple[Array | None, "_Totals"]:
        """Read X once, add to the sums, and return the losses, or None, and their totals."""
        targets, totals = self.targets, _Totals()
        is_listed = self.call.reduction == "none"
        losses = np.empty(targets.samples, self.rows.dtype) if is_listed else None
        for rows, block, logits in self._blocks(model, step):
            if matrix is not None:
                hessians = np.empty((len(logits), targets.hessian_size), self.rows.dtype)
                self._run(targets.hessians(rows, logits, hessians))
                matrix.add(hessians, block)
            job = targets.loss(rows, logits, losses, None if sums is None else logits)
            self._run(job)
            totals.append(job.total())
            if sums is not None:
                sums.add(logits, block)
            if X_grad is not None:
                np.matmul(logits, model.coef, out=X_grad[rows])
        return losses, totals

    @np.errstate(all="ignore")
    def _hvp_pass(self, model: "_Model", direction: "_Model", step: int, sums: GradSum) -> None:
        """Read X once, and add the products of the blocks."""
        along = self.rows.multiplier(direction.coef, step)
        products = np.empty((step, self.n_outputs), self.rows.dtype)
        for rows, block, logits in self._blocks(model, step):
            vector, out = along(block), products[: len(logits)]
            if direction.intercept is not None:
                vector += direction.intercept
            self._run(self.targets.hvp(rows, logits, vector, out))
            sums.add(out, block)

    def _blocks(self, model: "_Model", step: int) -> Iterator[tuple[slice, Any, Array]]:
        """Yield the place of each block of rows, the block and its logits."""
        multiply = self.rows.multiplier(model.coef, step)
        for rows, block in self.rows.blocks(step):
            logits = multiply(block)
            if model.intercept is not None:
                logits += model.intercept
            yield rows, block, logits

    def _run(self, job: Any) -> None:
        """Run a job, with derivatives of what is returned."""
        divisor = self.call.divisor(self.stats)
        job.scale_grad(1.0 / divisor if divisor else 0.0)
        _parallel.run(job, self.call.n_threads)

    def _value(self, losses: Array | None, totals: "_Totals") -> Any:
        if losses is not None:
            return losses
        return self.call.value(totals, self.stats, self.call.divisor(self.stats))


class _Model(NamedTuple):
    coef: Array
    intercept: Array | None


class _Totals(list[float]):
    """Sums of the losses of blocks."""

    def total(self) -> float:
        return float(np.sum(self))


def class_linear_problem(
    rows: Rows,
    n_classes: int,
    targets: ArrayLike,
    *,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    n_threads: int | None = None,
    **options: Any,
) -> LinearProblem:
    """Check targets and the options of `class_problem`, of n_classes logits a row."""
    call = Call(reduction, denominator, effective_threads(n_threads))
    problem = class_problem(_no_logits(rows, (n_classes,)), targets, **options)
    arguments = (*problem.arguments(), *NO_OUTPUTS)
    stats = problem.scan(_kernels.CrossEntropy(*arguments), call.needs_weight, call.n_threads)
    return LinearProblem(rows, ClassTargets(problem), stats, call)


def binary_linear_problem(
    rows: Rows,
    outputs: tuple[int, ...],
    targets: ArrayLike,
    *,
    reduction: Reduction = "mean",
    denominator: Denominator = "weight",
    check: bool = True,
    n_threads: int | None = None,
    **options: Any,
) -> LinearProblem:
    """Check targets and the options of `binary_problem`; a row has logits of shape `outputs`."""
    call = Call(reduction, denominator, effective_threads(n_threads))
    problem = binary_problem(_no_logits(rows, outputs), targets, **options)
    arguments = (*problem.arguments(), *NO_OUTPUTS[:4])
    stats = problem.scan(_kernels.Binary(*arguments), check, call.n_threads)
    return LinearProblem(rows, BinaryTargets(problem), stats, call)


def _no_logits(rows: Rows, outputs: tuple[int, ...]) -> Array:
    """Return the shape and dtype of the logits, for checks that do not read them."""
    return np.broadcast_to(rows.dtype.type(0), (rows.shape[0], *outputs))
