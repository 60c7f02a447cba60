"""Changes of variables that make the objective round: w = T u with T T' close to its Hessian's inverse.

The softmax's Hessian is bounded by, and between classes nearly, that of its diagonal: a matrix
X' diag(p_c (1 - p_c)) X for each class c.  With one logit this is the Hessian itself.  Where these
matrices are large, their mean stands for them all.
"""

# mypy: disable-error-code="import-untyped"

from typing import Protocol

import numpy as np
from scipy.linalg import get_blas_funcs, get_lapack_funcs, solve_triangular

from cekernels._validation import Array
from cekernels.estimators._data import Data
from cekernels.estimators._objective import Prior, flat, rows_of

# Columns up to which there are matrices, and elements of them up to which each class has its own:
# it halves the iterations (200,000 x 50, 10 classes), but not where it takes 25 MB instead of 2.5
# and more time than it saves (60,000 x 784, 10 classes).
MAX_COLUMNS, MAX_ELEMENTS = 1024, 1 << 19
# Bytes of rows that are in memory twice, or squared.
CHUNK_BYTES = 1 << 20
# The least curvature of a class, beside the mean, that a common matrix is scaled to.
RAREST = 0.01


class Metric(Protocol):
    """A linear change of variables."""

    def forward(self, u: Array) -> Array:
        """Return T u."""

    def backward(self, gradient: Array) -> Array:
        """Return T' times the gradient by w: the gradient by u."""


class Blocks:
    """A triangular matrix for each output, or one for all with a factor for each.

    Under a prior that treats the classes alike, their parameters add up to 0 in the minimum; steps
    are kept in this subspace, for the blocks know nothing of the flat direction across it.
    """

    def __init__(self, data: Data, prior: Prior, w: Array) -> None:
        self._shape, self._has_intercept = data.shape, data.fit_intercept
        self._centred = data.n_outputs > 1 and prior.is_symmetric
        curvatures = data.curvatures(rows_of(w, data.shape, data.fit_intercept))
        places = rows_of(np.arange(w.size), data.shape, data.fit_intercept)
        self._scale = np.ones((data.n_outputs, 1))
        if not has_own_blocks(data.shape):
            of_classes = curvatures.mean(axis=0, dtype=np.float64)
            if mean := of_classes.mean():
                self._scale[:, 0] = np.maximum(of_classes / mean, RAREST) ** -0.5
            curvatures, places = curvatures.mean(axis=1, keepdims=True), places[:1]
        self._factors: list[Array] = []
        first = curvatures[:, 0]
        for curvature, index in zip(curvatures.T, places, strict=True):
            if self._factors and prior.precision is None and np.array_equal(curvature, first):
                self._factors.append(self._factors[0])  # as it is where all parameters are 0
                continue
            block = _gram(data, np.sqrt(curvature))
            prior.add_to_block(block, index, data.fit_intercept)
            self._factors.append(_factor(block))

    def forward(self, u: Array) -> Array:
        """Return T u."""
        rows = self._scale * self._solve(u.reshape(self._shape), 1)
        return flat(self._centre(rows), self._has_intercept)

    def backward(self, gradient: Array) -> Array:
        """Return T' times the gradient."""
        rows = self._centre(rows_of(gradient, self._shape, self._has_intercept))
        return self._solve(self._scale * rows, 0).ravel()

    def _solve(self, rows: Array, transposed: int) -> Array:
        """Return rows times the inverses of the factors."""
        parts = np.split(rows.astype(self._factors[0].dtype, copy=False), len(self._factors))
        solved = [
            solve_triangular(factor, part.T, trans=transposed, lower=True, check_finite=False).T
            for factor, part in zip(self._factors, parts, strict=True)
        ]
        return np.concatenate(solved)

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
    of_coef = _of_squares(X, curvatures) if is_dense else (X.power(2).T @ curvatures).T
    parts = [np.asarray(of_coef).ravel()]
    if data.fit_intercept:
        parts.append(curvatures.sum(axis=0))
    return np.concatenate(parts).astype(np.float64)


def _of_squares(X: Array, curvatures: Array) -> Array:
    """Return the transposed curvatures times the squares of X."""
    step = max(1, CHUNK_BYTES // (X.shape[1] * X.dtype.itemsize))
    total = np.zeros((curvatures.shape[1], X.shape[1]))
    for begin in range(0, X.shape[0], step):
        total += curvatures[begin : begin + step].T @ np.square(X[begin : begin + step])
    return total


def has_blocks(shape: tuple[int, int]) -> bool:
    """Tell whether matrices of a model of this shape are worth their memory and time."""
    return shape[1] <= MAX_COLUMNS


def has_own_blocks(shape: tuple[int, int]) -> bool:
    """Tell whether each class has a matrix of its own."""
    n_outputs, n = shape
    return n_outputs == 1 or n_outputs * n * n <= MAX_ELEMENTS


def _gram(data: Data, factor: Array) -> Array:
    """Return the Gram matrix of X, and of the intercept's ones, with rows times the factor.

    Its lower triangle, for that is what is read of it.
    """
    X, p, n = data.X, data.X.shape[1], data.shape[1]
    step = max(1, CHUNK_BYTES // (n * X.dtype.itemsize))
    scaled = np.empty((min(step, X.shape[0]), n), X.dtype)
    gram = np.zeros((n, n), X.dtype, order="F")
    add_product = get_blas_funcs("syrk", dtype=X.dtype)
    for begin in range(0, X.shape[0], step):
        weight = factor[begin : begin + step, np.newaxis]
        block = X[begin : begin + step]
        part = scaled[: len(weight)]
        dense = block if isinstance(X, np.ndarray) else block.toarray()
        np.multiply(dense, weight, out=part[:, :p])
        part[:, p:] = weight
        gram = add_product(1.0, part.T, beta=1.0, c=gram, lower=1, overwrite_c=1)
    return np.asarray(gram)


def _factor(block: Array) -> Array:
    """Return the lower Cholesky factor, of a slightly larger matrix where it must be.

    It takes the place of the block.  The upper triangle, which nothing reads, keeps the lower one.
    """
    n = len(block)
    if not (np.isfinite(block.min()) and np.isfinite(block.max())):
        return np.eye(n, dtype=block.dtype)
    diagonal = block.diagonal().copy()
    ridge = 4.0 * float(np.finfo(block.dtype).eps) * float(block.trace()) / n or 1.0
    for i in range(n):
        block[i, i:] = block[i:, i]
    factorize = get_lapack_funcs("potrf", dtype=block.dtype)
    while True:
        diagonal += ridge
        block.flat[:: n + 1] = diagonal
        factor, failed = factorize(block, lower=1, clean=0, overwrite_a=1)
        if not failed:
            return np.asarray(factor)
        for i in range(n):
            block[i:, i] = block[i, i:]
        ridge *= 100.0
