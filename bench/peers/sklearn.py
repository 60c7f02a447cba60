"""scikit-learn: the compiled losses behind its estimators, and its metric."""

from functools import partial
from typing import Any

import numpy as np
from sklearn._loss import HalfBinomialLoss, HalfMultinomialLoss
from sklearn.metrics import log_loss

from bench.cases import Problem
from bench.peers import Call, Peer


def _loss_gradient(system: Any, problem: Problem) -> Call:
    """Per-sample values come into the given arrays; their mean is left to the caller."""
    x, y, n = problem.inputs, problem.targets.astype(problem.inputs.dtype), problem.case.n
    loss, grad = np.empty(n, x.dtype), np.empty_like(x)

    def call() -> Any:
        system.loss_gradient(
            y, x, loss_out=loss, gradient_out=grad, n_threads=problem.case.n_threads
        )
        np.divide(grad, n, out=grad)
        return loss.mean(), grad

    return call


class ScikitLearn(Peer):
    """HalfBinomialLoss, HalfMultinomialLoss and metrics.log_loss."""

    name = "scikit-learn"
    distributions = ("scikit-learn",)
    threads = True

    def bce_grad(self, problem: Problem) -> Call:
        return _loss_gradient(HalfBinomialLoss(), problem)

    def bce_loss(self, problem: Problem) -> Call:
        x, y, system = problem.inputs, problem.targets, HalfBinomialLoss()
        loss = np.empty_like(x)
        return lambda: system.loss(y, x, loss_out=loss).mean()

    def ce_grad(self, problem: Problem) -> Call:
        return _loss_gradient(HalfMultinomialLoss(n_classes=problem.case.n_classes), problem)

    def log_loss(self, problem: Problem) -> Call:
        return partial(log_loss, problem.targets, problem.inputs)


PEERS = [ScikitLearn()]
