"""Changes of variables that make the objective round: w = T u with T T' close to its Hessian's inverse.

The softmax's Hessian is bounded by, and between classes nearly, that of its diagonal: a matrix
X' diag(p_c (1 - p_c)) X for each class c.  With one logit this is the Hessian itself.
"""

# mypy: disable-error-code="import-untyped"

from typing import Protocol

import numpy as np
from scipy.linalg import LinAlgError, cholesky, solve_triangular

from cekernels._validation import Array
from cekernels.estimators._data import Data
from cekernels.estimators._objective import Prior, flat, rows_of

# Elements of the matrices of all classes, and columns, up to which they are made.
MAX_ELEMENTS, MAX_COLUMNS = 1 << 24, 1024
# Rows that are in memory twice.
CHUNK = 2048


class Metric(Protocol):
    """A linear change of variables."""

    def forward(self, u: Array) -> Array:
        """Return T u."""

    def backward(self, gradient: Array) -> Array:
        """Return T' times the gradient by w: the gradient by u."""


class Blocks:
    """A triangular matrix for each output.

    Under a prior that treats the classes alike, their parameters add up to 0 in the minimum; steps
    are kept in this subspace, for the blocks know nothing of the flat direction across it.
    """

    def __init__(self, data: Data, prior: Prior, w: Array) -> None:
        self._shape, self._has_intercept = data.shape, data.fit_intercept
        self._centred = data.n_outputs > 1 and (prior.is_symmetric)
        curvatures = data.curvatures(rows_of(w, data.shape, data.fit_intercept))
        places = rows_of(np.arange(w.size), data.shape, data.fit_intercept)
        self._factors: list[Array] = []
        first = curvatures[:, 0]
        for curvature, index in zip(curvatures.T, places, strict=True):
            if self._factors and prior.precision is None and np.array_equal(curvature, first):
                self._factors.append(self._factors[0])  # as it is where all parameters are 0
                continue
            block = _gram(data, np.sqrt(curvature))
            block += prior.block(index, data.fit_intercept)
            self._factors.append(_factor(block))

    def forward(self, u: Array) -> Array:
        """Return T u."""
        rows = u.reshape(self._shape)
        rows = np.stack([_solve(f, row, 1) for f, row in zip(self._factors, rows, strict=True)])
        return flat(self._centre(rows), self._has_intercept)

    def backward(self, gradient: Array) -> Array:
        """Return T' times the gradient."""
        rows = self._centre(rows_of(gradient, self._shape, self._has_intercept))
        rows = np.stack([_solve(f, row, 0) for f, row in zip(self._factors, rows, strict=True)])
        return rows.ravel()

    def _centre(self, rows: Array) -> Array:
        return rows - rows.mean(axis=0) if self._centred else rows


class Diagonal:
    """A factor for each parameter."""

    def __init__(self, data: Data, prior: Prior, w: Array) -> None:
        shape, has_intercept = data.shape, data.fit_intercept
        curvatures = data.curvatures(rows_of(w, shape, has_intercept))
        squares = curvature_diagonal(data, curvatures)
        n_coef = data.n_outputs * data.X.shape[1]
        diagonal = squares + prior.diagonal(w.size, n_coef)
        # A column of zeros has no curvature; its parameter does not move.
        diagonal[diagonal <= 0.0] = 1.0
        self._factor: Array = 1.0 / np.sqrt(diagonal)

    def forward(self, u: Array) -> Array:
        """Return T u."""
        return np.asarray(self._factor * u)

    def backward(self, gradient: Array) -> Array:
        """Return T' times the gradient."""
        return np.asarray(self._factor * gradient)


def curvature_diagonal(data: Data, curvatures: Array) -> Array:
    """Return the diagonal of the loss's Hessian, without the terms between classes."""
    X = data.X
    is_dense = isinstance(X, np.ndarray)
    by_coef = np.einsum("ic,ij,ij->cj", curvatures, X, X) if is_dense else X.power(2).T @ curvatures
    parts = [np.asarray(by_coef if is_dense else by_coef.T).ravel()]
    if data.fit_intercept:
        parts.append(curvatures.sum(axis=0))
    return np.concatenate(parts).astype(np.float64)


def has_blocks(shape: tuple[int, int]) -> bool:
    """Tell whether matrices of a model of this shape are worth their memory and time."""
    n_outputs, n = shape
    return n <= MAX_COLUMNS and n_outputs * n * n <= MAX_ELEMENTS


def _gram(data: Data, factor: Array) -> Array:
    """Return the Gram matrix of X, and of the intercept's ones, with rows times the factor."""
    X, p = data.X, data.X.shape[1]
    gram = np.zeros((data.shape[1], data.shape[1]), X.dtype)
    for begin in range(0, X.shape[0], CHUNK):
        rows = slice(begin, begin + CHUNK)
        block = X[rows] if isinstance(X, np.ndarray) else X[rows].toarray()
        scaled = block * factor[rows, np.newaxis]
        gram[:p, :p] += scaled.T @ scaled
        if data.fit_intercept:
            gram[p, :p] += factor[rows] @ scaled
            gram[p, p] += factor[rows] @ factor[rows]
    gram[:p, p:] = gram[p:, :p].T
    return gram


def _factor(block: Array) -> Array:
    """Return the lower Cholesky factor, of a slightly larger matrix where it must be."""
    mean = float(block.trace()) / len(block)
    if not np.isfinite(block).all():
        return np.eye(len(block), dtype=block.dtype)
    ridge = 4.0 * float(np.finfo(block.dtype).eps) * mean or 1.0
    while True:
        block.flat[:: len(block) + 1] += ridge
        try:
            factor: Array = cholesky(block, lower=True, check_finite=False)
            return factor
        except LinAlgError:
            ridge *= 100.0


def _solve(factor: Array, row: Array, transposed: int) -> Array:
    return np.asarray(
        solve_triangular(factor, row, trans=transposed, lower=True, check_finite=False)
    )
