"""numba: one fused loop, compiled with fastmath, nothing checked."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from bench.cases import Problem
from bench.peers import Call, Peer


def _bce_grad(x: NDArray[Any], y: NDArray[Any], grad: NDArray[Any]) -> Any:
    # Constants of the arrays' own type: a plain 1.0 would make everything float64.
    zero, one = x.dtype.type(0), x.dtype.type(1)
    scale = one / x.dtype.type(x.size)
    total = 0.0
    for i in range(x.size):
        e = np.exp(-abs(x[i]))
        total += max(x[i], zero) - x[i] * y[i] + np.log1p(e)
        sigma = (one if x[i] > zero else e) / (one + e)
        grad[i] = (sigma - y[i]) * scale
    return total / x.size


def _bce_loss(x: NDArray[Any], y: NDArray[Any]) -> Any:
    zero = x.dtype.type(0)
    total = 0.0
    for i in range(x.size):
        total += max(x[i], zero) - x[i] * y[i] + np.log1p(np.exp(-abs(x[i])))
    return total / x.size


def _ce_grad(x: NDArray[Any], labels: NDArray[Any], grad: NDArray[Any]) -> Any:
    n, n_classes = x.shape
    total = 0.0
    for i in range(n):
        peak = x[i, 0]
        for c in range(1, n_classes):
            peak = max(peak, x[i, c])
        e_sum = x.dtype.type(0)
        for c in range(n_classes):
            grad[i, c] = np.exp(x[i, c] - peak)
            e_sum += grad[i, c]
        total += np.log(e_sum) + peak - x[i, labels[i]]
        scale = x.dtype.type(1) / (x.dtype.type(n) * e_sum)
        for c in range(n_classes):
            grad[i, c] *= scale
        grad[i, labels[i]] -= x.dtype.type(1) / x.dtype.type(n)
    return total / n


_compile = numba.njit(fastmath=True)
bce_grad, bce_loss, ce_grad = _compile(_bce_grad), _compile(_bce_loss), _compile(_ce_grad)


class Numba(Peer):
    """What a few minutes with a compiler for Python give."""

    name = "numba"
    distributions = ("numba",)

    def bce_grad(self, problem: Problem) -> Call:
        x, y, grad = problem.inputs, problem.targets, np.empty_like(problem.inputs)
        return lambda: (bce_grad(x, y, grad), grad)

    def bce_loss(self, problem: Problem) -> Call:
        x, y = problem.inputs, problem.targets
        return lambda: bce_loss(x, y)

    def ce_grad(self, problem: Problem) -> Call:
        x, labels, grad = problem.inputs, problem.targets, np.empty_like(problem.inputs)
        return lambda: (ce_grad(x, labels, grad), grad)


PEERS = [Numba()]
