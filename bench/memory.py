"""Measure the memory that a call needs beside its arguments and its gradient.

Run as ``python -m bench.memory``.  Each system does its work in a process of its own, twice: the
first time compiles and starts threads.  Two figures of the second time: by how much the resident
memory peaked, which the kernel of Linux counts in pages, and the peak of what tracemalloc sees, which
is exact but knows the allocations of Python and NumPy alone.  What a system keeps from call to call
counts, and so does a copy of the arguments where it needs its own.
"""

import argparse
import ctypes
import gc
import json
import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench import machine
from bench.cases import Case, Problem, build
from bench.peers import MODULES, OURS
from bench.tables import aligned_table, number

Record = dict[str, Any]

RESULTS = Path(__file__).parent / "results" / "memory.json"
CASES = [
    Case("bce_grad", "float32", 20_000_000),
    Case("bce_grad", "float64", 20_000_000),
    Case("ce_grad", "float32", 128, 128_256),
    Case("ce_grad", "float64", 128, 128_256),
]
QUICK = [Case("bce_grad", "float32", 1_000_000), Case("ce_grad", "float32", 8, 128_256)]
THREADS = (1, 2)
HEAD = ["work", "system", "peak, MB", "× logits", "Python's, MB"]
# Large arrays come from the system and go back to it, lest an old one serve a second time unseen.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "65536"}
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def resident_peak(work: Callable[[], Any]) -> int | None:
    """Return the bytes by which resident memory peaked above where it was; None if nobody tells."""
    if not CLEAR.exists():
        return None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0) if hasattr(ctypes.CDLL(None), "malloc_trim") else None
    CLEAR.write_text("5")  # the peak begins anew
    before = _status("VmRSS")
    keep = work()
    peak = _status("VmHWM") - before
    del keep
    return peak


def _status(key: str) -> int:
    for line in STATUS.read_text().splitlines():
        if line.startswith(f"{key}:"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def traced_peak(work: Callable[[], Any]) -> int:
    """Return the peak of what Python and NumPy allocate."""
    tracemalloc.start()
    keep = work()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del keep
    return peak


def measure(case: Case, system: str) -> list[Record]:
    """Return a record for each peer of a system that does the work, in this process."""
    from bench.peers import load

    problem = build(case)
    peers, _missing = load([system])
    peers = [peer for peer in peers if peer.name == system]
    return [_measure(peer, problem) for peer in peers if peer.prepare(problem) is not None]


def _measure(peer: Any, problem: Problem) -> Record:
    def work() -> Any:
        call = peer.prepare(problem)
        return call, call()

    work()
    case, logits = problem.case, problem.inputs.nbytes
    resident = resident_peak(work)
    return {
        "title": case.title,
        "case": case.name,
        "system": peer.name,
        "n_threads": case.n_threads,
        "logits_bytes": logits,
        # Every system makes one gradient, of the size of the logits.
        "peak_bytes": None if resident is None else max(0, resident - logits),
        "traced_bytes": max(0, traced_peak(work) - logits),
    }


def child(text: str) -> int:
    """Measure what a parent asked for, and print it."""
    question = json.loads(text)
    allowed = machine.isolate(None)
    case = Case(**question["case"])
    with machine.processors(case.n_threads, allowed):
        json.dump(measure(case, question["system"]), sys.stdout)
    return 0


def ask(case: Case, system: str) -> list[Record]:
    """Measure in a process of its own."""
    question = json.dumps({"case": asdict(case), "system": system})
    done = subprocess.run(
        [sys.executable, "-m", "bench.memory", "--child", question],
        cwd=RESULTS.parents[2],
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.PIPE,
        check=True,
    )
    return list(json.loads(done.stdout))


def rows(records: list[Record]) -> list[list[str]]:
    """Return the rows of the table."""
    return [
        [
            record["title"],
            record["system"],
            megabytes(record["peak_bytes"]),
            ""
            if record["peak_bytes"] is None
            else f"{record['peak_bytes'] / record['logits_bytes']:.2f}",
            megabytes(record["traced_bytes"]),
        ]
        for record in records
    ]


def megabytes(size: int | None) -> str:
    """Return a size with one digit after the point where it is small."""
    return "" if size is None else number(round(size / 1e6, 1))


def main(argv: list[str] | None = None) -> int:
    """Ask a process for each system, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.memory", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small cases")
    parser.add_argument(
        "--peer", action="append", choices=MODULES, help="only this one, repeatable"
    )
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FILE", help="where to write")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.child:
        return child(options.child)
    systems = dict.fromkeys([OURS, *(options.peer or MODULES)])
    records: list[Record] = []
    for case in QUICK if options.quick else CASES:
        for n_threads in THREADS:
            for system in systems:
                records += ask(replace(case, n_threads=n_threads), system)
                print(".", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(aligned_table(HEAD, rows(records)))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps({"memory": records}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
