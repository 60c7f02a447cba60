"""The function that a fit minimises: the mean loss of the rows and a quadratic prior."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cekernels._validation import Array
from cekernels.estimators._data import Data


@dataclass(frozen=True)
class Prior:
    """One half of (w - mean)' precision (w - mean) + ridge |coef|^2, a summand of the mean loss.

    Parameters are flat: coefficients, output by output, then intercepts.  The precision is a
    matrix, or a vector for a diagonal one.  `ridge` spares the intercepts.
    """

    ridge: float
    mean: Array | None = None
    precision: Array | None = None

    @property
    def is_symmetric(self) -> bool:
        """Whether parameters of all classes count alike, so that their sum is 0 in a minimum."""
        return self.precision is None or self.precision.ndim == 2

    def value_grad(self, w: Array, n_coef: int) -> tuple[float, Array]:
        """Return the value and its gradient."""
        grad = np.zeros_like(w)
        grad[:n_coef] = self.ridge * w[:n_coef]
        value = 0.5 * float(grad @ w)
        if self.precision is None:
            return value, grad
        offset = w - self.mean
        pull = self._times(offset)
        return value + 0.5 * float(pull @ offset), grad + pull

    def hvp(self, v: Array, n_coef: int) -> Array:
        """Return the product of the Hessian with a direction."""
        product = np.zeros_like(v) if self.precision is None else self._times(v)
        product[:n_coef] += self.ridge * v[:n_coef]
        return product

    def add_to(self, matrix: Array, n_coef: int) -> None:
        """Add the Hessian to a matrix."""
        n = len(matrix)
        matrix.flat[: n_coef * n : n + 1] += self.ridge
        if self.precision is None:
            return
        if self.precision.ndim == 1:
            matrix.flat[:: n + 1] += self.precision
        else:
            matrix += self.precision

    def add_to_block(self, block: Array, index: Array, has_intercept: bool) -> None:
        """Add the Hessian for some parameters, coefficients and at most one intercept."""
        ridge = np.full(len(index), self.ridge)
        if has_intercept:
            ridge[-1] = 0.0
        if self.precision is not None and self.precision.ndim == 1:
            ridge += self.precision[index]
        elif self.precision is not None:
            block += self.precision[np.ix_(index, index)]
        block.flat[:: len(block) + 1] += ridge

    def diagonal(self, n: int, n_coef: int) -> Array:
        """Return the diagonal of the Hessian."""
        diagonal = np.zeros(n)
        diagonal[:n_coef] = self.ridge
        if self.precision is None:
            return diagonal
        return diagonal + (
            self.precision if self.precision.ndim == 1 else self.precision.diagonal()
        )

    def _times(self, v: Array) -> Array:
        assert self.precision is not None
        return np.asarray(self.precision * v if self.precision.ndim == 1 else self.precision @ v)


class Objective:
    """Mean loss and prior, a function of one flat vector of float64."""

    def __init__(self, data: Data, prior: Prior) -> None:
        self.data = data
        self.prior = prior
        self._problem = data.problem()
        self._outputs = data.n_outputs
        self.n_coef = self._outputs * data.X.shape[1]
        self.size = data.shape[0] * data.shape[1]

    def __call__(self, w: Array) -> tuple[float, Array]:
        """Return the value and its gradient; X is read once."""
        loss, grad = self._problem.loss_grad(*self.split(w))
        return self._with_prior(w, loss, self._join(grad.coef, grad.intercept))

    def hessian(self, w: Array) -> tuple[float, Array, Array]:
        """Return the value, its gradient and Hessian; X is read once."""
        loss, grad, hessian = self._problem.hessian(*self.split(w))
        value, gradient = self._with_prior(w, loss, self._join(grad.coef, grad.intercept))
        self.prior.add_to(hessian, self.n_coef)
        return value, gradient, hessian

    def hvp(self, w: Array, v: Array) -> Array:
        """Return the product of the Hessian with a direction; X is read once."""
        (coef, intercept), (v_coef, v_intercept) = self.split(w), self.split(v)
        product = self._problem.hvp(coef, intercept, v_coef, v_intercept)
        return self._join(*product) + self.prior.hvp(v, self.n_coef)

    def split(self, w: Array) -> tuple[Array, Array | None]:
        """Return coefficients and intercept in the shapes that the losses take."""
        coef, intercept = w[: self.n_coef], w[self.n_coef :]
        if self._outputs == 1:
            return coef, intercept[0] if self.data.fit_intercept else None
        coef = coef.reshape(self._outputs, -1)
        return coef, intercept if self.data.fit_intercept else None

    def _with_prior(self, w: Array, loss: float, grad: Array) -> tuple[float, Array]:
        value, pull = self.prior.value_grad(w, self.n_coef)
        return loss + value, grad + pull

    def _join(self, coef: Array, intercept: Any) -> Array:
        w = np.empty(self.size)
        w[: self.n_coef] = coef.ravel()
        if intercept is not None:
            w[self.n_coef :] = intercept
        return w


def rows_of(w: Array, shape: tuple[int, int], has_intercept: bool) -> Array:
    """Return flat parameters with a row for each output, its intercept last."""
    n_outputs, n = shape
    if not has_intercept:
        return w.reshape(shape)
    return np.column_stack([w[: n_outputs * (n - 1)].reshape(n_outputs, n - 1), w[-n_outputs:]])


def flat(rows: Array, has_intercept: bool) -> Array:
    """Return the parameters of `rows_of` flat again."""
    if not has_intercept:
        return rows.ravel()
    return np.concatenate([rows[:, :-1].ravel(), rows[:, -1]])
