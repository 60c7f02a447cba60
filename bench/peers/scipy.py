"""SciPy: its special functions, with NumPy around them."""

from typing import Any

import numpy as np
from scipy import special

from bench.cases import Problem
from bench.peers import Call, Peer


class SciPy(Peer):
    """expit, log_expit and log_softmax."""

    name = "scipy"
    distributions = ("scipy",)

    def bce_grad(self, problem: Problem) -> Call:
        x, y, loss_call = problem.inputs, problem.targets, self.bce_loss(problem)
        grad = np.empty_like(x)

        def call() -> Any:
            special.expit(x, out=grad)
            np.subtract(grad, y, out=grad)
            np.divide(grad, x.size, out=grad)
            return loss_call(), grad

        return call

    def bce_loss(self, problem: Problem) -> Call:
        x, y = problem.inputs, problem.targets
        loss, log_p = np.empty_like(x), np.empty_like(x)

        def call() -> Any:
            special.log_expit(x, out=log_p)
            np.subtract(1, y, out=loss)
            np.multiply(loss, x, out=loss)
            np.subtract(loss, log_p, out=loss)
            return loss.mean()

        return call

    def ce_grad(self, problem: Problem) -> Call:
        x, labels = problem.inputs, problem.targets
        grad, rows, n = np.empty_like(x), np.arange(len(x)), len(x)

        def call() -> Any:
            log_p = special.log_softmax(x, axis=1)
            np.exp(log_p, out=grad)
            grad[rows, labels] -= 1
            np.divide(grad, n, out=grad)
            return -log_p[rows, labels].mean(), grad

        return call


PEERS = [SciPy()]
