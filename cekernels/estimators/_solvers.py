"""Minimisers of the objective: SciPy's in well-scaled variables, and Newton's method.

A model of many rows starts from that of some of them, which is close already; and the curvature of
some rows is close to that of all.
"""

# mypy: disable-error-code="import-untyped"

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

from cekernels._validation import Array
from cekernels.estimators._data import COPIED, Data
from cekernels.estimators._metric import Blocks, Diagonal, Metric, has_blocks, has_own_blocks
from cekernels.estimators._objective import Objective, Prior, flat, rows_of

# Iterations of L-BFGS or conjugate gradients after which curvatures are taken anew.
ROUND = 50
# What an iteration takes for an entry of X, and more for each output, in the time of a multiplication
# in matrices (10,000 x 1000: these take 240 ms, iterations 7 ms with 2 classes, 25 ms with 10).
READ, OUTPUT = 20, 8
# Iterations that tell how many will follow.
TRIAL = 6
# Multiplications of a whole Hessian and its factor up to which calls cost more than they do (1000 x 20,
# 2 classes: 1.9 ms instead of 2.5; with nine times as many, 10,000 x 60: 18 ms instead of 7).
NEWTON_WORK = 4_000_000
# The model of some rows is fitted until its gradient is so much shorter.
COARSE = 1e-2
# Rows of each column that matrices are made of: with 4 instead of 32, a model of them learns them by
# heart, and their curvatures are 0 (20,000 x 300, 10 classes: 147 iterations instead of 16).
OWN_ROWS, COMMON_ROWS = 32, 24
# Parameters beyond which L-BFGS keeps fewer of them, for the sake of memory.
LARGE = 1 << 18
# Relative change of the objective that is rounding.
NOISE = 64.0 * float(np.finfo(np.float64).eps)


@dataclass
class Solution:
    """Parameters, and how they came about."""

    w: Array
    n_iter: int
    value: float
    gradient: float  # largest element of the gradient
    is_exact: bool  # no float64 is clearly better


class _Ended(Exception):
    """The round ends at the point that was evaluated last."""


Report = Callable[[int, float, float], None]


def solve(
    data: Data,
    prior: Prior,
    w: Array | None,
    *,
    solver: str,
    tol: float,
    max_iter: int,
    report: Report,
) -> Solution:
    """Minimise the objective from w, or from a start of the solver's choice."""
    objective = Objective(data, prior)
    start = None if w is None else _centred(objective, w)
    is_small = objective.size**2 * (data.X.shape[0] + objective.size) <= NEWTON_WORK
    if solver == "newton-cholesky" or (solver == "auto" and is_small):
        start = np.zeros(objective.size) if start is None else start
        solution = _newton(objective, start, tol, max_iter, report)
    else:
        method = "Newton-CG" if solver == "newton-cg" else "L-BFGS-B"
        some = data.every(_step(data)) if has_blocks(data.shape) else data
        patience = _patience(data, some) if method == "L-BFGS-B" else 0.0
        if start is None:
            start = np.zeros(objective.size)
            if some is not data and not patience and max_iter > 0:
                own = replace(prior, ridge=prior.ridge * data.weight / some.weight)
                start = _coarse(some, own, start, tol)
        solution = _rounds(objective, some, start, method, tol, max_iter, report, patience)
    return replace(solution, w=_centred(objective, solution.w))


def _centred(objective: Objective, w: Array) -> Array:
    """Return parameters that add up to 0 over the classes, where that cannot be worse."""
    data = objective.data
    if data.n_outputs == 1 or not objective.prior.is_symmetric:
        return w
    rows = rows_of(w, data.shape, data.fit_intercept)
    return flat(rows - rows.mean(axis=0), data.fit_intercept)


def _step(data: Data) -> int:
    """Return the step between rows that tell the curvature of all."""
    n_rows, n_columns = map(int, data.X.shape)
    of_column = OWN_ROWS if has_own_blocks(data.shape) else COMMON_ROWS
    in_cache = COPIED // max(1, n_columns * int(data.X.dtype.itemsize))
    wanted = max(1000, of_column * n_columns, min(n_rows // max(1, n_columns), in_cache))
    return max(1, n_rows // wanted)


def _coarse(some: Data, prior: Prior, w: Array, tol: float) -> Array:
    """Return the parameters of a model of some rows, with the penalty of so many."""
    objective = Objective(some, prior)
    _, grad = objective(w)
    tol = max(tol, COARSE * float(np.abs(grad).max()))
    return _rounds(objective, some, w, "L-BFGS-B", tol, ROUND, lambda *_: None).w


def _rounds(
    objective: Objective,
    some: Data,
    w: Array,
    method: str,
    tol: float,
    max_iter: int,
    report: Report,
    patience: float = 0.0,
) -> Solution:
    """Minimise by a method of SciPy, in variables that are chosen anew now and then.

    With patience, they are only scaled until more iterations than this are expected.
    """
    value, grad = objective(w)
    done = 0
    while True:
        size = float(np.abs(grad).max())
        if size <= tol or done >= max_iter:
            return Solution(w, done, value, size, False)
        metric = _metric(some, objective.prior, w, patience)
        run = _Round(objective, metric, w, value, grad, tol, patience)
        limit = max_iter if patience else ROUND
        n_iter = run.minimize(method, min(limit, max_iter - done))
        done += max(1, n_iter)
        progress, patience = value - run.value, 0.0
        w, value, grad = run.w, run.value, run.grad
        report(done, value, float(np.abs(grad).max()))
        if np.abs(grad).max() > tol and progress <= NOISE * abs(value):
            w, value, grad = _polish(objective, metric, w, value, grad, tol)
            return Solution(w, done, value, float(np.abs(grad).max()), True)


def _patience(data: Data, some: Data) -> float:
    """Return how many iterations cost as much as the matrices, 0 where these are worth it anyway."""
    if not has_blocks(data.shape):
        return 0.0
    n_outputs, n = data.shape
    n_matrices = n_outputs if has_own_blocks(data.shape) else 1
    work = n_matrices * n * n * (some.X.shape[0] + n)
    patience = work / max(1, data.X.size * (READ + OUTPUT * n_outputs))
    return patience if patience > TRIAL else 0.0


def _metric(some: Data, prior: Prior, w: Array, patience: float) -> Metric:
    is_matrix = has_blocks(some.shape) and not patience
    return Blocks(some, prior, w) if is_matrix else Diagonal(some, prior, w)


class _Round:
    """The objective in the variables of a metric, scaled so that the first step has length 1."""

    def __init__(
        self,
        objective: Objective,
        metric: Metric,
        w: Array,
        value: float,
        grad: Array,
        tol: float,
        patience: float,
    ) -> None:
        self._objective, self._metric, self._origin = objective, metric, w
        self._tol, self._patience = tol, patience
        self.w, self.value, self.grad = w, value, grad
        by_u = metric.backward(grad)
        self._scale = float(np.sqrt(by_u @ by_u)) or 1.0
        self._last = (np.zeros_like(by_u), w, value, grad)

    def minimize(self, method: str, max_iter: int) -> int:
        """Run a method of SciPy, and return the number of its iterations."""
        options: dict[str, Any] = {"maxiter": max_iter}
        if method == "L-BFGS-B":
            pairs = 10 if self.w.size <= LARGE else 5
            options |= {"ftol": NOISE, "gtol": 0.0, "maxls": 50, "maxcor": pairs}
        else:
            options |= {"xtol": 0.0}
        steps = 0

        def count(_: Array) -> None:
            nonlocal steps
            if self._is_slow(steps + 1):
                raise _Ended
            steps += 1

        try:
            result = minimize(
                self._value,
                np.zeros_like(self._last[0]),
                jac=True,
                hessp=None if method == "L-BFGS-B" else self._hessp,
                method=method,
                callback=count,
                options=options,
            )
        except _Ended:
            self._take()
            return steps + 1
        self._at(result.x)
        self._take()
        return steps

    def _is_slow(self, steps: int) -> bool:
        """Tell whether more steps will follow than the matrices cost, at the rate until now."""
        if not self._patience or steps < TRIAL:
            return False
        first, size = (float(np.abs(grad).max()) for grad in (self.grad, self._last[3]))
        least = max(self._tol, NOISE * first)
        return math.log(size / least) * steps > math.log(first / size) * self._patience

    def _value(self, u: Array) -> tuple[float, Array]:
        _, _, value, grad = self._at(u)
        if np.abs(grad).max() <= self._tol:
            raise _Ended
        return value / self._scale**2, self._metric.backward(grad) / self._scale

    def _hessp(self, u: Array, v: Array) -> Array:
        w = self._at(u)[1]
        return self._metric.backward(self._objective.hvp(w, self._metric.forward(v)))

    def _at(self, u: Array) -> tuple[Array, Array, float, Array]:
        if not np.array_equal(u, self._last[0]):
            w = self._origin + self._metric.forward(self._scale * u)
            self._last = (u.copy(), w, *self._objective(w))
        return self._last

    def _take(self) -> None:
        _, self.w, self.value, self.grad = self._last


def _polish(
    objective: Objective, metric: Metric, w: Array, value: float, grad: Array, tol: float
) -> tuple[Array, float, Array]:
    """Take steps along the gradient while they shorten it: it is known better than the value."""
    size = float(np.abs(grad).max())
    while size > tol:
        trial = w - metric.forward(metric.backward(grad))
        trial_value, trial_grad = objective(trial)
        trial_size = float(np.abs(trial_grad).max())
        if not trial_size < 0.7 * size:
            break
        w, value, grad, size = trial, trial_value, trial_grad, trial_size
    return w, value, grad


def _newton(objective: Objective, w: Array, tol: float, max_iter: int, report: Report) -> Solution:
    """Minimise by Newton's method, halving steps that do not lead down."""
    value, grad, hessian = objective.hessian(w)
    n_iter = 0
    while True:
        size = float(np.abs(grad).max())
        if size <= tol or n_iter == max_iter:
            return Solution(w, n_iter, value, size, False)
        step = _newton_step(objective, hessian, grad)
        decrease, length = float(grad @ step), 1.0
        while True:
            trial = objective.hessian(w - length * step)
            is_noise = decrease <= NOISE * abs(value)
            shorter = float(np.abs(trial[1]).max()) < size
            if trial[0] <= value - 1e-4 * length * decrease or (is_noise and shorter):
                break
            if is_noise or length < 1e-10:
                return Solution(w, n_iter, value, size, True)
            length *= 0.5
        w = w - length * step
        value, grad, hessian = trial
        n_iter += 1
        report(n_iter, value, float(np.abs(grad).max()))


def _newton_step(objective: Objective, hessian: Array, grad: Array) -> Array:
    """Return the product of the Hessian's inverse with the gradient.

    Nothing but a prior keeps parameters common to all classes in place, and the gradient has no
    part there: what is added to these directions changes nothing.
    """
    n_outputs, n = len(hessian), objective.data.n_outputs
    mean = float(hessian.trace()) / n_outputs or 1.0
    if n > 1:
        places = np.arange(objective.n_coef).reshape(n, -1)
        for a in places:
            for b in places:
                hessian[a, b] += mean
        hessian[objective.n_coef :, objective.n_coef :] += mean
    ridge = 0.0
    while True:
        try:
            step: Array = cho_solve(cho_factor(hessian, check_finite=False), grad)
            return step
        except LinAlgError:
            more = 100.0 * ridge or 1e-14 * mean
            hessian.flat[:: n_outputs + 1] += more - ridge
            ridge = more
