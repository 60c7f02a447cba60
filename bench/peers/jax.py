"""jax with optax: compiled for the shape by jit, waited for in each call."""

from typing import Any

import jax
import optax
from jax import numpy as jnp

from bench.cases import Problem
from bench.peers import Call, Peer

_wait: Any = jax.block_until_ready


def _compiled(function: Any, problem: Problem) -> Call:
    logits, targets = jnp.asarray(problem.inputs), jnp.asarray(problem.targets)
    compiled = jax.jit(function)
    return lambda: _wait(compiled(logits, targets))


def _mean_bce(logits: Any, targets: Any) -> Any:
    return optax.sigmoid_binary_cross_entropy(logits, targets).mean()


def _mean_ce(logits: Any, targets: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()


class Jax(Peer):
    """optax's losses under value_and_grad."""

    name = "jax"
    distributions = ("jax", "optax")

    def bce_grad(self, problem: Problem) -> Call:
        return _compiled(jax.value_and_grad(_mean_bce), problem)

    def bce_loss(self, problem: Problem) -> Call:
        return _compiled(_mean_bce, problem)

    def ce_grad(self, problem: Problem) -> Call:
        return _compiled(jax.value_and_grad(_mean_ce), problem)


PEERS = [Jax()]
