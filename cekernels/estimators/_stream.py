"""Fits of one batch after another: what is known from the batches before is the prior of the next."""

from dataclasses import dataclass, replace

import numpy as np

from cekernels._validation import Array
from cekernels.estimators._data import Data
from cekernels.estimators._metric import curvature_diagonal
from cekernels.estimators._objective import Objective, Prior, rows_of
from cekernels.estimators._solvers import Report, solve

# Parameters up to which the precision is a matrix.
MAX_PARAMETERS = 4096
# Of an intercept, before the first batch.
INTERCEPT_PRECISION = 0.01
# A batch is fitted better than the whole needs to be, since errors add up.
TIGHTER = 1e-3


@dataclass(frozen=True)
class Stream:
    """A normal distribution of the parameters, and the weight of the samples behind it."""

    w: Array
    precision: Array
    weight: float
    n_iter: int


def start(data: Data, C: float) -> Stream:
    """Return what is known before the first batch."""
    n_outputs, n = data.shape
    size, n_coef = n_outputs * n, n_outputs * data.X.shape[1]
    diagonal = np.full(size, 1.0 / C)
    diagonal[n_coef:] = INTERCEPT_PRECISION
    precision = np.diag(diagonal) if size <= MAX_PARAMETERS else diagonal
    return Stream(np.zeros(size), precision, 0.0, 0)


def update(
    stream: Stream,
    data: Data,
    C: float,
    pass_weight: float | None,
    tol: float,
    max_iter: int,
    report: Report,
) -> Stream:
    """Return what is known after one more batch."""
    weight = stream.weight + data.weight
    ridge = 0.0
    if pass_weight is not None:
        ridge = (max(1.0, weight / pass_weight) - max(1.0, stream.weight / pass_weight)) / C
    prior = Prior(ridge / data.weight, stream.w, stream.precision / data.weight)
    is_matrix = stream.precision.ndim == 2
    solution = solve(
        data,
        prior,
        stream.w,
        solver="newton-cholesky" if is_matrix else "lbfgs",
        tol=TIGHTER * tol,
        max_iter=max_iter,
        report=report,
    )
    objective = Objective(data, prior)
    if is_matrix:
        precision = data.weight * objective.hessian(solution.w)[2]
    else:
        rows = rows_of(solution.w, data.shape, data.fit_intercept)
        squares = curvature_diagonal(data, data.curvatures(rows))
        precision = stream.precision + data.weight * squares
        precision[: objective.n_coef] += ridge
    return replace(stream, w=solution.w, precision=precision, weight=weight, n_iter=solution.n_iter)
