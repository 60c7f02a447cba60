"""NumPy: the stable formulas, in place and into preallocated arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cases import Problem
from bench.peers import Call, Peer


def _exp_minus_abs(x: NDArray[Any], out: NDArray[Any]) -> None:
    np.abs(x, out=out)
    np.negative(out, out=out)
    np.exp(out, out=out)


def _bce(
    x: NDArray[Any], y: NDArray[Any], e: NDArray[Any], loss: NDArray[Any], spare: NDArray[Any]
) -> Any:
    """Return the mean of max(x, 0) - x y + log1p(e), e = exp(-|x|)."""
    np.maximum(x, 0, out=loss)
    np.multiply(x, y, out=spare)
    np.subtract(loss, spare, out=loss)
    np.log1p(e, out=spare)
    np.add(loss, spare, out=loss)
    return loss.mean()


class NumPy(Peer):
    """As one would write it by hand, with care."""

    name = "numpy"
    distributions = ("numpy",)

    def bce_grad(self, problem: Problem) -> Call:
        x, y = problem.inputs, problem.targets
        e, loss, grad = np.empty_like(x), np.empty_like(x), np.empty_like(x)
        positive = np.empty(x.shape, bool)

        def call() -> Any:
            _exp_minus_abs(x, e)
            mean = _bce(x, y, e, loss, grad)
            np.add(e, 1, out=grad)
            np.greater(x, 0, out=positive)
            np.copyto(e, 1, where=positive)
            np.divide(e, grad, out=grad)
            np.subtract(grad, y, out=grad)
            np.divide(grad, x.size, out=grad)
            return mean, grad

        return call

    def bce_loss(self, problem: Problem) -> Call:
        x, y = problem.inputs, problem.targets
        e, loss, spare = np.empty_like(x), np.empty_like(x), np.empty_like(x)

        def call() -> Any:
            _exp_minus_abs(x, e)
            return _bce(x, y, e, loss, spare)

        return call

    def ce_grad(self, problem: Problem) -> Call:
        x, labels = problem.inputs, problem.targets
        grad, rows, n = np.empty_like(x), np.arange(len(x)), len(x)
        peak = np.empty((n, 1), x.dtype)

        def call() -> Any:
            np.max(x, axis=1, keepdims=True, out=peak)
            np.subtract(x, peak, out=grad)
            at_label = grad[rows, labels]
            np.exp(grad, out=grad)
            total = grad.sum(axis=1)
            loss = (np.log(total) - at_label).mean()
            np.multiply(grad, (1 / (n * total))[:, np.newaxis], out=grad)
            grad[rows, labels] -= 1 / n
            return loss, grad

        return call

    def log_loss(self, problem: Problem) -> Call:
        labels, probs = problem.targets, problem.inputs
        eps = np.finfo(probs.dtype).eps
        picked = np.empty_like(probs)

        def call() -> Any:
            np.subtract(1, probs, out=picked)
            np.copyto(picked, probs, where=labels == 1)
            np.clip(picked, eps, 1 - eps, out=picked)
            np.log(picked, out=picked)
            return -picked.mean()

        return call


PEERS = [NumPy()]
