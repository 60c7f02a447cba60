"""Losses of linear models: of logits that are made in one product."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cekernels.reference._results import Array
from cekernels.reference.binary import binary_cross_entropy_with_logits
from cekernels.reference.classes import cross_entropy
from cekernels.reference.second_order import (
    binary_cross_entropy_hvp,
    cross_entropy_hessian,
    cross_entropy_hvp,
)


def linear_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    return_grad: bool = False,
    return_X_grad: bool = False,
    **options: Any,
) -> Any:
    """Loss of `cross_entropy`; options are its own."""
    logits = _logits(X, coef, intercept)
    loss, grad = cross_entropy(logits, targets, return_grad=True, **options)  # type: ignore[misc]
    return _select(loss, grad, X, coef, intercept, return_grad, return_X_grad)


def linear_binary_cross_entropy(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    return_grad: bool = False,
    return_X_grad: bool = False,
    **options: Any,
) -> Any:
    """Loss of `binary_cross_entropy_with_logits`; options are its own."""
    logits = _logits(X, coef, intercept)
    loss, grad = binary_cross_entropy_with_logits(  # type: ignore[misc]
        logits, targets, return_grad=True, **options
    )
    return _select(loss, grad, X, coef, intercept, return_grad, return_X_grad)


def linear_cross_entropy_hvp(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    v: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    v_intercept: ArrayLike | None = None,
    **options: Any,
) -> tuple[Array, Array | None]:
    """Product by `cross_entropy_hvp` with the direction of the logits."""
    logits, direction = _logits(X, coef, intercept), _logits(X, v, v_intercept)
    product = cross_entropy_hvp(logits, targets, direction, **options)
    return _by_coef(product, X), None if intercept is None else np.sum(product, axis=0)


def linear_binary_cross_entropy_hvp(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    v: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    v_intercept: ArrayLike | None = None,
    **options: Any,
) -> tuple[Array, Array | None]:
    """Product by `binary_cross_entropy_hvp` with the direction of the logits."""
    logits, direction = _logits(X, coef, intercept), _logits(X, v, v_intercept)
    product = binary_cross_entropy_hvp(logits, targets, direction, **options)
    return _by_coef(product, X), None if intercept is None else np.sum(product, axis=0)


def linear_cross_entropy_hessian(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    **options: Any,
) -> tuple[Any, Any, Array]:
    """Loss, gradient, and the sum of the rows' Hessians times the products of their features."""
    loss, grad = linear_cross_entropy(
        X, coef, targets, intercept=intercept, return_grad=True, **options
    )
    blocks = cross_entropy_hessian(_logits(X, coef, intercept), targets, **options)
    return loss, grad, _matrix(blocks, X, intercept)


def linear_binary_cross_entropy_hessian(
    X: ArrayLike,
    coef: ArrayLike,
    targets: ArrayLike,
    *,
    intercept: ArrayLike | None = None,
    **options: Any,
) -> tuple[Any, Any, Array]:
    """Loss, gradient, and the matrix; different outputs have no second derivative together."""
    loss, grad = linear_binary_cross_entropy(
        X, coef, targets, intercept=intercept, return_grad=True, **options
    )
    logits = _logits(X, coef, intercept)
    each = binary_cross_entropy_hvp(logits, targets, np.ones_like(logits), **options)
    blocks = each[..., np.newaxis, np.newaxis] if each.ndim == 1 else each[:, np.newaxis]
    return loss, grad, _matrix(blocks * np.eye(blocks.shape[-1]), X, intercept)


def _dense(X: Any) -> Array:
    return np.asarray(X.toarray() if hasattr(X, "toarray") else X, np.float64)


@np.errstate(all="ignore")
def _logits(X: ArrayLike, coef: ArrayLike, intercept: ArrayLike | None) -> Array:
    shift = np.asarray(0.0 if intercept is None else intercept, np.float64)
    return np.asarray(_dense(X) @ np.asarray(coef, np.float64).T + shift)


@np.errstate(all="ignore")
def _by_coef(of_rows: Array, X: ArrayLike) -> Array:
    """Return the sum of the products of rows with their features; rows of 0 add nothing."""
    is_live = np.any(of_rows, axis=tuple(range(1, of_rows.ndim)))
    return np.asarray(of_rows.T @ np.where(is_live[:, np.newaxis], _dense(X), 0.0))


@np.errstate(all="ignore")
def _select(
    loss: Any,
    grad: Any,
    X: ArrayLike,
    coef: ArrayLike,
    intercept: ArrayLike | None,
    return_grad: bool,
    return_X_grad: bool,
) -> Any:
    """Return the loss alone, or in front of (coef, intercept, X) gradients."""
    if not (return_grad or return_X_grad):
        return loss
    w = np.asarray(coef, np.float64)
    by_X = np.multiply.outer(grad, w) if w.ndim == 1 else grad @ w
    return loss, (
        _by_coef(grad, X),
        None if intercept is None else np.sum(grad, axis=0),
        by_X if return_X_grad else None,
    )


@np.errstate(all="ignore")
def _matrix(blocks: Array, X: ArrayLike, intercept: ArrayLike | None) -> Array:
    """Return the sum over rows of blocks (outputs, outputs) times products of features."""
    x, n_outputs = _dense(X), blocks.shape[1]
    x = np.where(np.any(blocks, axis=(1, 2))[:, np.newaxis], x, 0.0)
    x = np.column_stack([x, np.ones(len(x))])
    products = x[:, :, np.newaxis] * x[:, np.newaxis]
    matrix = np.einsum("iab,ijk->ajbk", blocks, products, optimize=True)
    size = n_outputs * x.shape[1]
    is_intercept = np.tile(np.arange(x.shape[1]) == x.shape[1] - 1, n_outputs)
    order = np.concatenate([np.flatnonzero(~is_intercept), np.flatnonzero(is_intercept)])
    if intercept is None:
        order = order[:-n_outputs]
    return np.asarray(matrix.reshape(size, size)[np.ix_(order, order)])
