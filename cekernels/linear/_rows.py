"""Blocks of rows of X, dense or sparse, and their products with the arrays of a linear model.

A block is small enough to be in cache still when the second product reads it, and large enough that
reading coef, and adding to its gradient, once a block costs little.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from cekernels import _validation
from cekernels._validation import Array

# Of a block of X with its logits: what stays in a core's caches.
CACHE_BYTES = 1 << 21
# Rows that make up for a pass over coef, while they take no more new memory than SCRATCH_BYTES.
MANY_ROWS, FEW_ROWS = 512, 128
SCRATCH_BYTES = 1 << 26
# OpenBLAS multiplies narrow matrices up to twice as fast where it need not pack them: up to this
# product of the three lengths. Below so many rows, the calls cost more than that saves.
UNPACKED, WORTHWHILE_ROWS = 10**6, 64
# Elements of coef up to which a transposed copy of it costs nothing.
SMALL = 1 << 20


class DenseRows:
    """X as an array; a block is a view wherever BLAS takes it as it is."""

    def __init__(self, X: Array) -> None:
        self.shape: tuple[int, int] = X.shape
        self.dtype = _validation.computed_dtype(X.dtype)
        self._array = X
        self._is_copied = X.dtype != self.dtype or not _suits_blas(X)

    def step(self, n_outputs: int) -> int:
        """Return the number of rows of a block."""
        n_columns, size = self.shape[1], self.dtype.itemsize
        unpacked = UNPACKED // max(1, n_columns * n_outputs)
        in_cache = CACHE_BYTES // (size * max(1, n_columns + n_outputs))
        if n_outputs > 1 and unpacked >= WORTHWHILE_ROWS:
            return min(unpacked, max(in_cache, WORTHWHILE_ROWS))
        new = n_outputs + (n_columns if self._is_copied else 0)
        return max(in_cache, min(max(SCRATCH_BYTES // (size * max(1, new)), FEW_ROWS), MANY_ROWS))

    def blocks(self, step: int) -> Iterator[tuple[slice, Array]]:
        """Yield blocks with their places; a block that is copied lasts until the next one."""
        copy = np.empty((step if self._is_copied else 0, self.shape[1]), self.dtype)
        for rows in _spans(self.shape[0], step):
            block = self._array[rows]
            if self._is_copied:
                np.copyto(copy[: len(block)], block, casting="unsafe")
                block = copy[: len(block)]
            yield rows, block

    def multiplier(self, coef: Array, step: int) -> Callable[[Array], Array]:
        """Return a function that writes ``block @ coef.T`` where it wrote the product before."""
        factor = np.ascontiguousarray(coef.T) if coef.size <= SMALL else coef.T
        products = np.empty((step, len(coef)), self.dtype)
        return lambda block: np.matmul(block, factor, out=products[: len(block)])

    def weighted(self, block: Array, weight: Array) -> Array:
        """Return the block with its rows multiplied."""
        return np.asarray(block * weight[:, np.newaxis])

    def selected(self, block: Array, values: Array) -> Array:
        """Return the block with 0 in the rows whose values are all 0."""
        is_kept = np.count_nonzero(values, axis=1, keepdims=True) > 0
        return np.where(is_kept, block, block.dtype.type(0))

    def gram(self, block: Array, other: Array) -> Array:
        """Return ``block.T @ other``."""
        product: Array = np.matmul(block.T, other)
        return product


class SparseRows:
    """X as a CSR array or matrix of SciPy; a block shares its memory."""

    def __init__(self, X: Any, dtype: np.dtype[Any]) -> None:
        self.shape: tuple[int, int] = X.shape
        self.dtype = dtype
        self._array = X if X.dtype == dtype else X.astype(dtype)

    def step(self, n_outputs: int) -> int:
        """Return the number of rows of a block."""
        n_rows, n_columns = self.shape
        entries = int(self._array.nnz) // max(1, n_rows)
        in_cache = CACHE_BYTES // (self.dtype.itemsize * max(1, n_outputs + 2 * entries))
        # Products have the size of coef: logits of that size make up for them.
        return max(in_cache, n_columns, FEW_ROWS)

    def blocks(self, step: int) -> Iterator[tuple[slice, Any]]:
        """Yield blocks with their places."""
        for rows in _spans(self.shape[0], step):
            yield rows, self._array if step >= self.shape[0] else self._array[rows]

    def multiplier(self, coef: Array, step: int) -> Callable[[Any], Array]:  # noqa: ARG002
        """Return a function that makes ``block @ coef.T``."""
        return lambda block: block @ coef.T

    def weighted(self, block: Any, weight: Array) -> Any:
        """Return the block with its rows multiplied."""
        return self._with_data(block, block.data * _each_entry(block, weight))

    def selected(self, block: Any, values: Array) -> Any:
        """Return the block with 0 in the rows whose values are all 0."""
        is_kept = _each_entry(block, np.count_nonzero(values, axis=1) > 0)
        return self._with_data(block, np.where(is_kept, block.data, block.dtype.type(0)))

    def gram(self, block: Any, other: Any) -> Array:
        """Return ``block.T @ other``."""
        product: Array = (block.T @ other).toarray()
        return product

    def _with_data(self, block: Any, data: Array) -> Any:
        return type(block)((data, block.indices, block.indptr), shape=block.shape)


Rows: TypeAlias = DenseRows | SparseRows


def as_rows(X: ArrayLike) -> Rows:
    """Check X, and return its rows."""
    sparse = sys.modules.get("scipy.sparse")
    if sparse is not None and sparse.issparse(X):
        return _sparse_rows(X)
    array = _validation.as_floats(X, "X")
    _check_axes(array.shape)
    return DenseRows(array)


def check_X_grad(rows: Rows, return_X_grad: bool) -> None:
    """Check that rows of X have a gradient, if it is asked for."""
    if return_X_grad and not isinstance(rows, DenseRows):
        raise ValueError("return_X_grad needs a dense X, got a sparse one")


def _sparse_rows(X: Any) -> SparseRows:
    if X.format != "csr":
        raise TypeError(
            f"X must be an array or sparse in CSR format, got format {X.format!r}; "
            "X.tocsr() converts it"
        )
    _check_axes(X.shape)
    data = _validation.as_array(X.data, "X")
    is_real = _validation.is_floating(data.dtype)
    return SparseRows(X, _validation.computed_dtype(data.dtype) if is_real else np.dtype(float))


def _check_axes(shape: tuple[int, ...]) -> None:
    if len(shape) != 2:
        raise ValueError(f"X must have two axes, samples and features, got shape {shape}")


def _spans(n_rows: int, step: int) -> Iterator[slice]:
    """Yield the places of blocks."""
    for begin in range(0, n_rows, step):
        yield slice(begin, min(begin + step, n_rows))


def _suits_blas(array: Array) -> bool:
    """Tell whether one axis has no gaps and the other none that overlap."""
    size = array.itemsize
    pairs = list(zip(array.strides, array.shape, strict=True))
    return array.flags.aligned and any(
        inner == size and outer % size == 0 and outer >= length * size
        for (outer, _), (inner, length) in (pairs, pairs[::-1])
    )


def _each_entry(block: Any, of_row: Array) -> Array:
    """Return what belongs to the row of each entry."""
    return np.repeat(of_row, np.diff(block.indptr))
