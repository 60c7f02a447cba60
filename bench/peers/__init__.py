"""The systems that are measured, one module each, imported when it is their turn."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from bench.cases import Problem

# Returns the loss, or the loss and its gradient, in whatever form the system has them.
Call = Callable[[], Any]

OURS = "cekernels"
FRESH = f"{OURS} (fresh)"
ONE_THREAD = f"{OURS} (1 thread)"
AVX2 = f"{OURS} (AVX2)"
MODULES = {
    OURS: "cekernels",
    "numpy": "numpy",
    "scipy": "scipy",
    "scikit-learn": "sklearn",
    "torch": "torch",
    "jax": "jax",
    "numba": "numba",
    "numexpr": "numexpr",
}


class Peer:
    """One way to do the work: it has a method for each kind that it can do.

    A method is named as in `bench.cases.Work`, takes the problem, does everything that need not be
    done again in each call, and returns the call.
    """

    name: ClassVar[str]
    distributions: ClassVar[tuple[str, ...]]
    threads: ClassVar[bool] = False  # whether it can be told how many threads to use

    def prepare(self, problem: Problem) -> Call | None:
        """Return the call that is to be timed; None when this system does not do the work."""
        if problem.case.n_threads > 1 and not self.threads:
            return None
        method = getattr(self, problem.case.work, None)
        return None if method is None else method(problem)

    def context(self) -> AbstractContextManager[None]:
        """Return what has to be in effect while the call is timed."""
        return nullcontext()

    def versions(self) -> dict[str, str]:
        """Return the versions of what does the work."""
        return {name: version(name) for name in self.distributions}


def load(names: Iterable[str]) -> tuple[list[Peer], dict[str, str]]:
    """Import the named systems; return them, and why each of the others is missing."""
    peers: list[Peer] = []
    missing = {}
    for name in names:
        try:
            peers += import_module(f"bench.peers.{MODULES[name]}").PEERS
        except ImportError as error:
            missing[name] = str(error)
    return peers, missing
