"""cekernels: into an array of the caller, into a fresh one, by one thread beside several, by AVX2."""

from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import numpy as np

import cekernels as ck
from bench.cases import Problem
from bench.peers import AVX2, FRESH, ONE_THREAD, OURS, Call, Peer
from cekernels import _kernels, _runtime

MIN_AVX2_LOGITS = 10_000


class Cekernels(Peer):
    """The plain call, with `grad_out` where there is a gradient."""

    name = OURS
    distributions = ("cekernels",)
    threads = True
    fresh = False
    one_thread = False

    def bce_grad(self, problem: Problem) -> Call:
        return self._call(ck.binary_cross_entropy_with_logits, problem)

    def bce_loss(self, problem: Problem) -> Call:
        return self._call(ck.binary_cross_entropy_with_logits, problem)

    def ce_grad(self, problem: Problem) -> Call:
        return self._call(ck.cross_entropy, problem)

    def log_loss(self, problem: Problem) -> Call:
        return partial(ck.log_loss, problem.targets, problem.inputs)

    def _call(self, function: Any, problem: Problem) -> Call:
        options: dict[str, Any] = {}
        if problem.case.return_grad:
            options["return_grad"] = True
            if not self.fresh:
                options["grad_out"] = np.empty_like(problem.inputs)
        # One thread is the default: the plain call stays plain.
        if problem.case.n_threads > 1:
            options["n_threads"] = 1 if self.one_thread else problem.case.n_threads
        return partial(function, problem.inputs, problem.targets, **options)


class CekernelsFresh(Cekernels):
    """A new gradient array in each call."""

    name = FRESH
    fresh = True

    def prepare(self, problem: Problem) -> Call | None:
        return super().prepare(problem) if problem.case.return_grad else None


class CekernelsOneThread(Cekernels):
    """What several threads are compared with."""

    name = ONE_THREAD
    one_thread = True

    def prepare(self, problem: Problem) -> Call | None:
        return super().prepare(problem) if problem.case.n_threads > 1 else None


class CekernelsAVX2(Cekernels):
    """The kernels of AVX2 on a processor that has better."""

    name = AVX2

    def prepare(self, problem: Problem) -> Call | None:
        isas, case = _runtime.available_isas(), problem.case
        has_better = "avx2" in isas and _kernels.active_isa() in isas[isas.index("avx2") + 1 :]
        # In a short call the kernels count for little.
        if not has_better or case.n_logits < MIN_AVX2_LOGITS or case.n_threads > 1:
            return None
        return super().prepare(problem)

    def context(self) -> AbstractContextManager[None]:
        return _runtime.use_isa("avx2")


PEERS = [Cekernels(), CekernelsFresh(), CekernelsOneThread(), CekernelsAVX2()]
