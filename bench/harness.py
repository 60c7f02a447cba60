"""Timing: every system is asked for the right answer first, then for its time."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from itertools import repeat
from types import MappingProxyType

import numpy as np

from bench.cases import Case, Problem, build
from bench.checking import Answer, check, reference_answer
from bench.peers import Call, Peer

FLOOR = "floor"
MIN_SAMPLE_NS = 2_000_000
MIN_ROUNDS = 3
# A thread pool spins for some milliseconds before it sleeps, on the next system's processor.
SETTLE_SECONDS = 0.02

Clock = Callable[[], int]
Context = Callable[[], AbstractContextManager[None]]
Progress = Callable[[str], None]


@dataclass
class Row:
    """One system's times for one case, or why there are none."""

    peer: str
    samples_ns: list[float] = field(default_factory=list)  # time of one call, a value per round
    repetitions: int = 0  # calls in a sample
    error: str | None = None


@dataclass
class Result:
    """All systems' times for one case."""

    case: Case
    nbytes: int
    rows: list[Row]
    cpu_share: float | None = None  # of the time; None where several threads would share it


def silent(_step: str) -> None:
    """Tell nobody."""


def run_case(
    case: Case,
    peers: Sequence[Peer],
    *,
    rounds: int,
    budget: float,
    clock: Clock = time.perf_counter_ns,
    progress: Progress = silent,
) -> Result:
    """Check and time every system that does the work of `case`.

    Parameters
    ----------
    case : Case
        What to measure.
    peers : sequence of Peer
        The systems; those that do not do this work are left out.
    rounds : int
        Largest number of samples of each system.
    budget : float
        Seconds after which no round is begun, once there are three.
    clock : callable
        Returns nanoseconds.
    progress : callable
        Is told what happens next.
    """
    problem = build(case)
    rows, calls = [], {}
    contexts = {peer.name: peer.context for peer in peers}
    progress("reference")
    expected = reference_answer(problem)
    for peer in peers:
        progress(f"checks {peer.name}")
        call, error = _prepare(peer, problem, expected)
        if call is not None:
            calls[peer.name] = call
        if error is not None:
            rows.append(Row(peer.name, error=error))
    del expected
    calls[FLOOR] = floor(problem)
    settle = SETTLE_SECONDS if case.n_threads > 1 else 0.0
    started, started_cpu = time.perf_counter(), time.process_time()
    with _no_garbage_collection():
        timed = interleave(
            calls,
            contexts,
            rounds=rounds,
            budget=budget,
            settle=settle,
            clock=clock,
            progress=progress,
        )
    cpu_share = (time.process_time() - started_cpu) / (time.perf_counter() - started)
    return Result(
        case, problem.nbytes, timed + rows, cpu_share=cpu_share if case.n_threads == 1 else None
    )


def interleave(
    calls: Mapping[str, Call],
    contexts: Mapping[str, Context] = MappingProxyType({}),
    *,
    rounds: int,
    budget: float,
    settle: float = 0.0,
    clock: Clock = time.perf_counter_ns,
    progress: Progress = silent,
) -> list[Row]:
    """Time the calls in turn, so that whatever disturbs the machine disturbs all of them."""
    deadline = clock() + budget * 1e9
    rows = []
    for name, call in calls.items():
        progress(f"calibrates {name}")
        with contexts.get(name, nullcontext)():
            rows.append(Row(name, repetitions=calibrate(call, clock)))
    for done in range(rounds):
        if done >= MIN_ROUNDS and clock() > deadline:
            break
        progress(f"round {done + 1}/{rounds}")
        for row in rows:
            with contexts.get(row.peer, nullcontext)():
                row.samples_ns.append(sample(calls[row.peer], row.repetitions, settle, clock))
    return rows


def calibrate(call: Call, clock: Clock = time.perf_counter_ns) -> int:
    """Return how many calls make a sample long enough for the clock: a power of two."""
    repetitions = 1
    # Long twice running: once may be another process that had its turn.
    while any(_elapsed(call, repetitions, clock) < MIN_SAMPLE_NS for _ in range(2)):
        repetitions *= 2
    return repetitions


def sample(call: Call, repetitions: int, settle: float, clock: Clock) -> float:
    """Return the nanoseconds of one call, over `repetitions` of them."""
    time.sleep(settle)
    # Fetch back what the system before has pushed out of the caches, or of its sleep.
    if repetitions > 1 or settle:
        call()
    return _elapsed(call, repetitions, clock) / repetitions


def _elapsed(call: Call, repetitions: int, clock: Clock) -> int:
    start = clock()
    for _ in repeat(None, repetitions):
        call()
    return clock() - start


def floor(problem: Problem) -> Call:
    """Return a copy that moves the bytes of `problem`: half of them read, half written."""
    source = np.ones(problem.nbytes // 2, np.uint8)
    return partial(np.copyto, np.empty_like(source), source)


def call_overhead_ns(clock: Clock = time.perf_counter_ns) -> float:
    """Return what the harness itself adds to each call."""
    call = partial(bool)
    repetitions = calibrate(call, clock)
    return min(sample(call, repetitions, 0.0, clock) for _ in range(5))


def _prepare(peer: Peer, problem: Problem, expected: Answer) -> tuple[Call | None, str | None]:
    """Return the system's call when it gives the right answer, or why it does not."""
    # A system that fails is a finding, whatever it raises.
    try:
        call = peer.prepare(problem)
        with peer.context():
            error = None if call is None else check(call(), expected, problem.case)
    except Exception as failure:  # noqa: BLE001
        return None, f"{type(failure).__name__}: {failure}".partition("\n")[0]
    return (call, None) if error is None else (None, error)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
