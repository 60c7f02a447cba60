"""torch: eager functions, with the gradient by backward()."""

from typing import Any

import torch
from torch.nn import functional

from bench.cases import Problem
from bench.peers import Call, Peer


def _backward(loss_function: Any, problem: Problem) -> Call:
    logits = torch.from_numpy(problem.inputs).requires_grad_()
    targets = torch.from_numpy(problem.targets)

    def call() -> Any:
        logits.grad = None
        loss = loss_function(logits, targets)
        loss.backward()
        return loss.detach(), logits.grad

    return call


class Torch(Peer):
    """binary_cross_entropy_with_logits and cross_entropy of torch.nn.functional."""

    name = "torch"
    distributions = ("torch",)
    threads = True

    def prepare(self, problem: Problem) -> Call | None:
        torch.set_num_threads(problem.case.n_threads)
        return super().prepare(problem)

    def bce_grad(self, problem: Problem) -> Call:
        return _backward(functional.binary_cross_entropy_with_logits, problem)

    def bce_loss(self, problem: Problem) -> Call:
        logits, targets = torch.from_numpy(problem.inputs), torch.from_numpy(problem.targets)
        return lambda: functional.binary_cross_entropy_with_logits(logits, targets)

    def ce_grad(self, problem: Problem) -> Call:
        return _backward(functional.cross_entropy, problem)


PEERS = [Torch()]
