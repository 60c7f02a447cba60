"""Sums over blocks of rows: the gradient of a linear model, and its Hessian.

A row whose values are all 0 adds nothing.  In a product it does, where its features are inf or nan:
so a sum that is not finite is made once more, with `selects`, which takes such rows out.
"""

from typing import Any

import numpy as np

from cekernels._call import unwrap
from cekernels._validation import Array
from cekernels.linear._rows import DenseRows, Rows

# Elements of coef up to which float32 products are summed in float64, and of a product's memory.
TILE = 1 << 20


class GradSum:
    """Sum of ``values.T @ block``, and of the values if there is an intercept.

    Blocks have `step` rows, but for the last one.
    """

    def __init__(
        self, rows: Rows, n_outputs: int, step: int, has_intercept: bool, selects: bool
    ) -> None:
        shape = (n_outputs, rows.shape[1])
        self._rows = rows
        self._selects = selects
        self._coef = (
            _DenseSum(shape, rows.dtype, single=step >= rows.shape[0])
            if isinstance(rows, DenseRows)
            else _SparseSum(shape, rows.dtype)
        )
        self._ones = np.ones(step, rows.dtype)
        self._intercept = np.zeros(n_outputs) if has_intercept else None

    def add(self, values: Array, block: Any) -> None:
        """Add a block."""
        if self._selects:
            block = self._rows.selected(block, values)
        self._coef.add(values, block)
        if self._intercept is not None:
            self._intercept += np.matmul(self._ones[: len(values)], values)

    def is_finite(self) -> bool:
        """Tell whether no element is inf or nan."""
        return _is_finite(self._coef.sum)

    def value(self, outputs: tuple[int, ...]) -> tuple[Array, Array | None]:
        """Return the sums, in the shapes of coef and intercept."""
        dtype, n_columns = self._rows.dtype, self._rows.shape[1]
        coef = self._coef.sum.astype(dtype, copy=False).reshape(*outputs, n_columns)
        if self._intercept is None:
            return coef, None
        return coef, unwrap(self._intercept.astype(dtype).reshape(outputs))


class _DenseSum:
    """Sum of ``values.T @ block``, in float64 unless that is large."""

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any], single: bool) -> None:
        self._single = single
        self._step = max(1, TILE // max(1, shape[1]))
        in_double = not single and shape[0] <= self._step
        self.sum = np.zeros(shape, np.float64 if in_double else dtype)
        self._part = np.empty((0 if single else min(self._step, shape[0]), shape[1]), dtype)

    def add(self, values: Array, block: Array) -> None:
        if self._single:
            np.matmul(values.T, block, out=self.sum)
            return
        for begin in range(0, len(self.sum), self._step):
            target = self.sum[begin : begin + self._step]
            of_outputs = values[:, begin : begin + self._step].T
            target += np.matmul(of_outputs, block, out=self._part[: len(target)])


class _SparseSum:
    """The same of sparse blocks, kept as its transpose, which is what SciPy makes."""

    def __init__(self, shape: tuple[int, int], dtype: np.dtype[Any]) -> None:
        self._shape = shape
        self._dtype = dtype
        self._transposed: Array | None = None

    @property
    def sum(self) -> Array:
        if self._transposed is None:
            return np.zeros(self._shape, self._dtype)
        return self._transposed.T

    def add(self, values: Array, block: Any) -> None:
        part = block.T @ values
        if self._transposed is None:
            self._transposed = part.astype(np.float64) if part.size <= TILE else part
        else:
            self._transposed += part


class HessianSum:
    """Sum of the products of features with rows of Hessians, as one symmetric matrix.

    `pairs` are the outputs (a, b), a <= b, whose second derivative is not always 0, each with its
    column in the blocks' Hessians.
    """

    def __init__(
        self,
        rows: Rows,
        n_outputs: int,
        pairs: list[tuple[int, int, int]],
        has_intercept: bool,
        selects: bool,
    ) -> None:
        self._rows = rows
        self._n_columns = rows.shape[1]
        self._n_coef = n_outputs * self._n_columns
        self._pairs = pairs
        self._has_intercept = has_intercept
        self._selects = selects
        size = self._n_coef + n_outputs * has_intercept
        self._matrix = np.zeros((size, size))

    def add(self, hessians: Array, block: Any) -> None:
        """Add a block; its Hessians have a row for each row."""
        if self._selects:
            block = self._rows.selected(block, hessians)
        p, n_coef, matrix = self._n_columns, self._n_coef, self._matrix
        for a, b, column in self._pairs:
            weighted = self._rows.weighted(block, hessians[:, column])
            matrix[a * p : a * p + p, b * p : b * p + p] += self._rows.gram(block, weighted)
        if not self._has_intercept:
            return
        by_intercept = (block.T @ hessians).T
        by_both = np.ones(len(hessians), hessians.dtype) @ hessians
        for a, b, column in self._pairs:
            matrix[a * p : a * p + p, n_coef + b] += by_intercept[column]
            if a != b:
                matrix[b * p : b * p + p, n_coef + a] += by_intercept[column]
            matrix[n_coef + a, n_coef + b] += by_both[column]

    def is_finite(self) -> bool:
        """Tell whether no element is inf or nan."""
        return _is_finite(self._matrix)

    def value(self) -> Array:
        """Return the matrix."""
        upper = np.triu(self._matrix)
        return upper + np.triu(upper, 1).T


@np.errstate(all="ignore")
def _is_finite(array: Array) -> bool:
    """Tell whether no element is inf or nan, and their sum neither."""
    return bool(np.isfinite(np.sum(array)))
