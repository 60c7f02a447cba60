"""Measure losses of linear models: time and memory of a loss with its gradient.

Run as ``python -m bench.linear``; ``--case REGEX`` chooses cases, ``--quick`` leaves out those that
take more than a second a call.  Times are processor time of one thread, of calls in turn; memory is
what the process has at most during its first call, less what it had before.  Prints Markdown.
"""

import argparse
import multiprocessing
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench import machine

Array = NDArray[Any]
Call = Callable[[], Any]

ROUNDS, BUDGET = 15, 30.0
TOLERANCE = {np.float32: 1e-4, np.float64: 1e-10}


@dataclass(frozen=True)
class Case:
    """Shapes of one case; 0 classes are binary targets."""

    n_rows: int
    n_columns: int
    n_classes: int
    dtype: Any
    density: float = 1.0

    @property
    def name(self) -> str:
        shape = f"{self.n_rows:,} x {self.n_columns:,}"
        kind = f"{self.n_classes:,} classes" if self.n_classes else "binary"
        stored = "" if self.density == 1.0 else ", sparse"
        return f"{shape}, {kind}, {np.dtype(self.dtype).name}{stored}"

    @property
    def is_slow(self) -> bool:
        return self.n_rows * self.n_columns * max(1, self.n_classes) * self.density > 1e10


CASES = [
    *(Case(1_000_000, 20, 0, dtype) for dtype in (np.float32, np.float64)),
    *(Case(200_000, 50, 10, dtype) for dtype in (np.float32, np.float64)),
    *(Case(60_000, 784, 10, dtype) for dtype in (np.float32, np.float64)),
    Case(4096, 1024, 32_000, np.float32),
    Case(11_000, 130_000, 20, np.float64, density=1e-3),
]


@dataclass
class Problem:
    """Arrays of a case."""

    case: Case
    X: Any
    coef: Array
    intercept: Any
    targets: Array


def build(case: Case) -> Problem:
    """Make the arrays."""
    rng = np.random.default_rng(0)
    shape = (case.n_rows, case.n_columns)
    if case.density == 1.0:
        X = rng.standard_normal(shape, dtype=case.dtype)
    else:
        from scipy import sparse

        X = sparse.random_array(shape, density=case.density, format="csr", rng=rng)
        X = X.astype(case.dtype)
    outputs = (case.n_classes,) if case.n_classes else ()
    coef = rng.standard_normal((*outputs, case.n_columns), dtype=case.dtype)
    coef /= np.sqrt(case.n_columns * case.density, dtype=case.dtype)
    intercept = rng.standard_normal(outputs, dtype=case.dtype)
    if case.n_classes:
        return Problem(case, X, coef, intercept, rng.integers(0, case.n_classes, case.n_rows))
    targets = (rng.random(case.n_rows) < 0.5).astype(case.dtype)
    return Problem(case, X, coef, intercept, targets)


def blocked(problem: Problem) -> Call:
    """Return a call of this package's function."""
    import cekernels as ck

    name = "linear_cross_entropy" if problem.case.n_classes else "linear_binary_cross_entropy"
    function = getattr(ck, name)

    def call() -> Any:
        loss, grad = function(
            problem.X, problem.coef, problem.targets, intercept=problem.intercept, return_grad=True
        )
        return loss, grad.coef

    return call


def unblocked(problem: Problem) -> Call:
    """Return the plain version: all logits, replaced by their gradient."""
    import cekernels as ck

    is_binary = problem.case.n_classes == 0
    function = ck.binary_cross_entropy_with_logits if is_binary else ck.cross_entropy

    def call() -> Any:
        logits = problem.X @ problem.coef.T
        logits += problem.intercept
        loss, grad = function(logits, problem.targets, grad_out=logits)
        grad.sum(axis=0)
        return loss, (problem.X.T @ grad).T

    return call


def torch(problem: Problem) -> Call | None:
    """Return F.linear, F.cross_entropy and backward."""
    if problem.case.density < 1.0:
        return None
    import torch
    from torch.nn import functional as F

    X, targets = torch.from_numpy(problem.X), torch.from_numpy(problem.targets)
    torch.set_num_threads(1)
    coef = torch.from_numpy(problem.coef.copy()).requires_grad_()
    intercept = torch.from_numpy(np.array(problem.intercept)).requires_grad_()
    is_binary = problem.case.n_classes == 0
    loss_of = F.binary_cross_entropy_with_logits if is_binary else F.cross_entropy

    def call() -> Any:
        coef.grad = intercept.grad = None
        logits = X @ coef + intercept if is_binary else F.linear(X, coef, intercept)
        loss = loss_of(logits, targets)
        loss.backward()
        return loss.item(), coef.grad.numpy()

    return call


SYSTEMS: dict[str, Callable[[Problem], Call | None]] = {
    "cekernels": blocked,
    "all logits": unblocked,
    "torch": torch,
}


def prepare(problem: Problem) -> dict[str, Call]:
    """Return the calls of the systems that are there, which give the same gradient."""
    calls: dict[str, Call] = {}
    expected: Any = None
    for name, make in SYSTEMS.items():
        try:
            call = make(problem)
        except ImportError:
            continue
        if call is None:
            continue
        loss, grad = call()
        expected = expected or (loss, grad.copy())
        tolerance = TOLERANCE[problem.case.dtype]
        assert abs(loss / expected[0] - 1.0) < tolerance, name
        assert np.max(np.abs(grad - expected[1])) < tolerance * np.max(np.abs(grad)), name
        calls[name] = call
    return calls


def peak(index: int, name: str) -> float | None:
    """Return the MB that a first call takes at most; None where Linux does not tell."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    call = SYSTEMS[name](build(CASES[index]))
    if call is None or not reset.exists():
        return None

    def kilobytes(key: str) -> int:
        found = re.search(rf"{key}:\s+(\d+) kB", status.read_text())
        return int(found.group(1)) if found else 0

    reset.write_text("5")  # forget the peak of the past
    before = kilobytes("VmRSS")
    call()
    return (kilobytes("VmHWM") - before) / 1000.0


def measure(index: int) -> list[str]:
    """Return a row of the table for each system."""
    from bench.harness import interleave

    problem = build(CASES[index])
    calls = prepare(problem)
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        peaks = {name: pool.apply(peak, (index, name)) for name in calls}
    timed = interleave(calls, rounds=ROUNDS, budget=BUDGET, clock=time.process_time_ns)
    times = {row.peer: median(row.samples_ns) / 1e6 for row in timed}
    return [
        f"| {CASES[index].name} | {name} | {ms:.1f} | {ms / times['cekernels']:.2f} | "
        + (f"{peaks[name]:.0f} |" if peaks[name] is not None else "— |")
        for name, ms in times.items()
    ]


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m bench.linear", description=__doc__)
    parser.add_argument("--case", default="", metavar="REGEX")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    machine.isolate(None)
    print("| work | system | ms | time, cekernels = 1 | peak MB |\n|---|---|--:|--:|--:|")
    for index, case in enumerate(CASES):
        if re.search(options.case, case.name) and not (options.quick and case.is_slow):
            print("\n".join(measure(index)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
