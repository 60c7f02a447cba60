"""Count the instructions of the main kernels: a witness of speed that no noise reaches.

Run as ``python -m bench.instructions``, with ``--record`` to write the counts down, or with
``--check`` to compare them with what is written.  valgrind's callgrind counts what one call executes
on n and on 2 n logits; the difference is the cost of n logits, without start or interpreter.  It knows
no AVX-512, so that AVX2 and the baseline stand for it: the source is the same.
"""

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import cekernels as ck
from bench.tables import aligned_table, number

RECORD = Path(__file__).with_suffix(".json")
ISAS = ("baseline", "avx2", "neon")
DTYPES = ("float32", "float64")
N_LOGITS = 1 << 15
CALLS = 32
WARM_UP = 64  # calls, after which the interpreter has specialised its code
# The same compiler gives the same kernels; what is left is a page fault's or an allocation's worth
# of code, below 1 %.  A real instruction more in the shortest loop is above 2 %.
TOLERANCE = 1.03
# A function of libc that nobody else calls: callgrind closes its books where it is entered.
MARKER, mark = "getppid", os.getppid

Call = Callable[[], Any]
Counts = dict[str, dict[str, dict[str, float]]]  # of an instruction set, a dtype, a piece of work


def _normal(dtype: str, *shape: int) -> NDArray[Any]:
    return np.random.default_rng(0).normal(scale=3.0, size=shape).astype(dtype)


def _binary(function: Any, dtype: str, n: int, **options: Any) -> Call:
    logits, targets = _normal(dtype, n), np.arange(n) % 2
    inputs = ck.special.expit(logits) if function is ck.binary_cross_entropy else logits
    return partial(function, inputs, targets.astype(dtype), **options)


def _unary(function: Any, dtype: str, n: int) -> Call:
    logits = _normal(dtype, n)
    return partial(function, logits, out=np.empty_like(logits))


def _classes(dtype: str, n: int, *, n_classes: int, **options: Any) -> Call:
    n_rows = _whole_tiles(n, n_classes)
    labels = np.arange(n_rows) % n_classes
    return partial(ck.cross_entropy, _normal(dtype, n_rows, n_classes), labels, **options)


def _softmax(function: Any, dtype: str, n: int, *, n_classes: int) -> Call:
    return partial(function, _normal(dtype, _whole_tiles(n, n_classes), n_classes), axis=1)


def _whole_tiles(n: int, n_classes: int) -> int:
    """Return how many rows n logits make, in whole tiles: a part of one costs as much."""
    return max(1, N_LOGITS // n_classes // 64) * 64 * (n // N_LOGITS)


_logits = partial(_binary, ck.binary_cross_entropy_with_logits)
# Per logit: what makes the call for a dtype and a number of logits.
KERNELS: dict[str, Callable[[str, int], Call]] = {
    "binary, loss": _logits,
    "binary, loss+grad": partial(_logits, return_grad=True),
    "binary, loss+grad+hess": partial(_logits, return_grad=True, return_hess=True),
    "binary of probabilities, loss+grad": partial(
        _binary, ck.binary_cross_entropy, return_grad=True
    ),
    "focal, loss+grad": partial(_binary, ck.sigmoid_focal_loss, return_grad=True),
    "expit": partial(_unary, ck.special.expit),
    "3 classes, loss+grad": partial(_classes, n_classes=3, return_grad=True),
    "10 classes, loss+grad": partial(_classes, n_classes=10, return_grad=True),
    "100 classes, loss+grad": partial(_classes, n_classes=100, return_grad=True),
    "1000 classes, loss+grad": partial(_classes, n_classes=1000, return_grad=True),
    "softmax of 1000": partial(_softmax, ck.special.softmax, n_classes=1000),
    "logsumexp of 1000": partial(_softmax, ck.special.logsumexp, n_classes=1000),
}
# Per call: with a given gradient array, checked as always.
SMALL_CALLS: dict[str, Callable[[str], Call]] = {
    "a call, 100 binary logits": lambda dtype: _logits(dtype, 100, grad_out=np.empty(100, dtype)),
    "a call, 32 x 10 classes": lambda dtype: partial(
        ck.cross_entropy,
        _normal(dtype, 32, 10),
        np.arange(32) % 10,
        grad_out=np.empty((32, 10), dtype),
    ),
}


def _repeat(call: Call, times: int) -> None:
    for _ in range(times):
        call()


def _pairs(dtype: str) -> Iterator[tuple[str, int, Call, Call]]:
    """Yield name, units, a call, and one that does so many units more."""
    for name, make in KERNELS.items():
        small, large = make(dtype, N_LOGITS), make(dtype, 2 * N_LOGITS)
        yield name, _size(large) - _size(small), small, large
    for name, make_small in SMALL_CALLS.items():
        call = make_small(dtype)
        yield name, CALLS, partial(_repeat, call, CALLS), partial(_repeat, call, 2 * CALLS)


def _size(call: Any) -> int:
    return int(call.args[0].size)


def drive() -> int:
    """Under callgrind: make every call between two marks, and print what they were."""
    import gc

    gc.disable()
    work = []
    for dtype in DTYPES:
        _repeat(SMALL_CALLS["a call, 100 binary logits"](dtype), WARM_UP)
        for name, units, small, large in _pairs(dtype):
            for call in (small, large):
                call()
            mark()
            small()
            mark()
            large()
            mark()
            work.append((dtype, name, units))
    json.dump(work, sys.stdout)
    return 0


def count(isa: str) -> dict[str, dict[str, float]]:
    """Return the instructions per logit, or per call, of one instruction set."""
    environment = os.environ | {"CEKERNELS_ISA": isa, "PYTHONHASHSEED": "0"}
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "out"
        command = [
            *("valgrind", "--tool=callgrind", f"--dump-before={MARKER}", "--quiet"),
            *(f"--callgrind-out-file={out}", sys.executable, "-m", "bench.instructions", "--drive"),
        ]
        done = subprocess.run(
            command, env=environment, cwd=RECORD.parents[1], stdout=subprocess.PIPE, check=True
        )
        work = json.loads(done.stdout)
        totals = [_total(out.with_name(f"out.{i + 1}")) for i in range(3 * len(work))]
    counts: dict[str, dict[str, float]] = {dtype: {} for dtype in DTYPES}
    for i, (dtype, name, units) in enumerate(work):
        # Three marks a piece of work: what lies before the first is preparation.
        small, large = totals[3 * i + 1], totals[3 * i + 2]
        counts[dtype][name] = round((large - small) / units, 2)
    return counts


def _total(path: Path) -> int:
    """Return the instructions of one of callgrind's files."""
    for line in path.read_text().splitlines():
        if line.startswith("summary:"):
            return int(line.split()[1])
    raise ValueError(f"{path.name} has no summary: not a file of callgrind")


def surroundings() -> dict[str, str]:
    """Return what the counts depend on beside the source."""
    return {
        "compiler": ck.show_config(mode="dict")["compiler"],
        "python": ".".join(platform.python_version_tuple()[:2]),
        "numpy": version("numpy"),
    }


def check(recorded: dict[str, Any], counts: Counts, now: dict[str, str]) -> tuple[list[str], str]:
    """Return a line for each count that has risen, and what was not compared."""
    if now["compiler"] != recorded["compiler"]:
        return [], f"all: recorded with {recorded['compiler']}, built with {now['compiler']}"
    # Python and NumPy take part in a small call alone.
    same_calls = all(now[name] == recorded[name] for name in ("python", "numpy"))
    skipped = "" if same_calls else f"small calls: recorded with {_versions(recorded)}"
    risen = []
    for isa, dtype, name, value in _flat(counts):
        before = recorded["instructions"].get(isa, {}).get(dtype, {}).get(name)
        if before is None or (name in SMALL_CALLS and not same_calls):
            continue
        if value > TOLERANCE * before:
            more = f"{value / before - 1:.1%}"
            risen.append(f"{isa}, {dtype}, {name}: {value} instead of {before}, {more} more")
    return risen, skipped


def _versions(record: dict[str, str]) -> str:
    return f"Python {record['python']} and NumPy {record['numpy']}"


def _flat(counts: Counts) -> Iterator[tuple[str, str, str, float]]:
    for isa, dtypes in counts.items():
        for dtype, values in dtypes.items():
            for name, value in values.items():
                yield isa, dtype, name, value


def head_and_body(counts: Counts) -> tuple[list[str], list[list[str]]]:
    """Return a table: a row for each piece of work, a column for each instruction set and dtype."""
    columns = [(isa, dtype) for isa in counts for dtype in counts[isa]]
    names = dict.fromkeys(name for _, _, name, _ in _flat(counts))
    body = [[name, *(number(counts[isa][dtype][name]) for isa, dtype in columns)] for name in names]
    return ["instructions a logit", *(f"{isa}, {dtype}" for isa, dtype in columns)], body


def main(argv: list[str] | None = None) -> int:
    """Count, show, and record or check."""
    parser = argparse.ArgumentParser(prog="python -m bench.instructions", description=__doc__)
    action = parser.add_mutually_exclusive_group()
    action.add_argument("--record", action="store_true", help=f"write {RECORD.name}")
    action.add_argument("--check", action="store_true", help="fail where a count has risen")
    action.add_argument("--drive", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.drive:
        return drive()
    if shutil.which("valgrind") is None:
        print("skipped: valgrind is not installed")
        return 0
    found = ck.show_config(mode="dict")["isa"]["found"]
    counts = {isa: count(isa) for isa in ISAS if isa in found}
    print(aligned_table(*head_and_body(counts)))
    now = surroundings()
    if options.record:
        RECORD.write_text(json.dumps(now | {"instructions": counts}, indent=1) + "\n")
    if not options.check:
        return 0
    risen, skipped = check(json.loads(RECORD.read_text()), counts, now)
    print(*risen, sep="\n")
    print(f"{len(risen)} counts have risen by more than {TOLERANCE - 1:.0%}")
    if skipped:
        print(f"skipped {skipped}")
    return bool(risen)


if __name__ == "__main__":
    sys.exit(main())
