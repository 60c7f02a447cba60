"""numexpr: the formulas as compiled expressions, in blocks that stay in the cache.

The means are NumPy's: a float32 sum of numexpr loses percents over millions of values.
"""

from typing import Any

import numexpr
import numpy as np

from bench.cases import Problem
from bench.peers import Call, Peer

BCE_LOSS = "where(x > 0, x, 0) - x * y + log1p(exp(-abs(x)))"
BCE_GRAD = "(where(x > 0, 1, exp(-abs(x))) / (1 + exp(-abs(x))) - y) * scale"


class NumExpr(Peer):
    """One expression for the loss and one for the gradient."""

    name = "numexpr"
    distributions = ("numexpr",)

    def bce_grad(self, problem: Problem) -> Call:
        x, y, loss_call = problem.inputs, problem.targets, self.bce_loss(problem)
        grad = np.empty_like(x)
        arrays = {"x": x, "y": y, "scale": x.dtype.type(1 / x.size)}

        def call() -> Any:
            numexpr.evaluate(BCE_GRAD, arrays, out=grad)
            return loss_call(), grad

        return call

    def bce_loss(self, problem: Problem) -> Call:
        arrays = {"x": problem.inputs, "y": problem.targets}
        loss = np.empty_like(problem.inputs)
        return lambda: numexpr.evaluate(BCE_LOSS, arrays, out=loss).mean()

    def ce_grad(self, problem: Problem) -> Call:
        x, labels = problem.inputs, problem.targets
        grad, rows, n = np.empty_like(x), np.arange(len(x)), len(x)

        def call() -> Any:
            peak = x.max(axis=1, keepdims=True)
            numexpr.evaluate("exp(x - peak)", {"x": x, "peak": peak}, out=grad)
            total = grad.sum(axis=1, keepdims=True)
            loss = (np.log(total) + peak)[:, 0] - x[rows, labels]
            numexpr.evaluate("grad * scale", {"grad": grad, "scale": 1 / (n * total)}, out=grad)
            grad[rows, labels] -= 1 / n
            return loss.mean(), grad

        return call


PEERS = [NumExpr()]
