"""The right answer, and whether a system gives it."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cases import Case, Problem
from cekernels import LossStats, reference

# Largest relative error of the loss, and absolute error of one sample's gradient.
TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
BLOCK_LOGITS = 1 << 18

Answer = tuple[float, NDArray[np.float64] | None]


def reference_answer(problem: Problem) -> Answer:
    """Return the mean loss, and where asked for its gradient, by the definition in float64."""
    case, inputs, targets = problem.case, problem.inputs, problem.targets
    if case.work == "log_loss":
        eps = float(np.finfo(inputs.dtype).eps)
        loss: Any = reference.binary_cross_entropy(inputs, targets, eps=eps)
        return loss, None
    define = getattr(reference, case.function)
    grad = np.empty(inputs.shape) if case.return_grad else None
    stats = LossStats(0.0, 0.0, 0)
    # In blocks: the definition makes dozens of temporaries.
    step = max(1, BLOCK_LOGITS // (case.n_classes or 1))
    for begin in range(0, case.n, step):
        block = slice(begin, begin + step)
        part, part_grad = define(inputs[block], targets[block], reduction="stats", return_grad=True)
        stats += part
        if grad is not None:
            np.divide(part_grad, case.n, out=grad[block])
    return stats.mean, grad


def check(answer: Any, expected: Answer, case: Case) -> str | None:
    """Return what is wrong with a system's answer, None when it is right."""
    loss, grad = answer if case.return_grad else (answer, None)
    expected_loss, expected_grad = expected
    tolerance = TOLERANCE[case.dtype]
    if not abs(float(loss) - expected_loss) <= tolerance * abs(expected_loss):
        return f"loss {float(loss):.9g} instead of {expected_loss:.9g}"
    if expected_grad is None:
        return None
    grad = np.asarray(grad)
    if grad.dtype != case.dtype or grad.shape != expected_grad.shape:
        return f"gradient of dtype {grad.dtype} and shape {grad.shape}"
    error = float(np.max(np.abs(grad - expected_grad))) * case.n
    if not error <= tolerance:
        return f"gradient of one sample off by {error:.1e}"
    return None
