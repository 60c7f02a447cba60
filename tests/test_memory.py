"""Memory: what a call takes of Python's heap, of C's, and of the process."""

import functools
import json
import os
import platform
import subprocess
import sys
import sysconfig
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import cekernels as ck
from cekernels import _parallel, special


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch):
    """Let threads work on any machine, also where some have to share a CPU."""
    monkeypatch.setattr(_parallel, "cpus_allowed", lambda: 64)


# Of Python, and of the process


def large_binary(n):
    x, y = np.ones(n, np.float32), np.ones(n, np.int8)
    outs = {f"{name}_out": np.ones_like(x) for name in ("grad", "hess", "proba")}
    return functools.partial(ck.binary_cross_entropy_with_logits, x, y, **outs)


def large_weighted_binary(n):
    x, y, weight = np.ones(n, np.float32), np.ones(n, np.float32), np.ones(n)
    outs = {"out": np.ones_like(x), "grad_out": np.ones_like(x)}
    options = {"sample_weight": weight, "pos_weight": 2.0, "label_smoothing": 0.1}
    loss = functools.partial(ck.binary_cross_entropy_with_logits, reduction="none")
    return functools.partial(loss, x, y, **outs, **options)


def large_probabilities(n):
    p, y, grad = np.full(n, 0.5), np.ones(n, bool), np.ones(n)
    return functools.partial(ck.binary_cross_entropy, p, y, grad_out=grad, eps=1e-7)


def large_classes(n):
    x, y = np.ones((n // 1000, 1000), np.float32), np.ones(n // 1000, np.int16)
    outs = {f"{name}_out": np.ones_like(x) for name in ("grad", "hess", "proba")}
    return functools.partial(ck.cross_entropy, x, y, class_weight=np.ones(1000), **outs)


def large_soft_classes(n):
    x, t = np.ones((n // 1000, 1000), np.float32), np.full((n // 1000, 1000), 1e-3, np.float32)
    return functools.partial(ck.cross_entropy, x, t, label_smoothing=0.1, grad_out=x)


def large_expit(n):
    x = np.ones(n, np.float32)
    return functools.partial(special.expit, x, out=x)


LARGE = [
    large_binary,
    large_weighted_binary,
    large_probabilities,
    large_classes,
    large_soft_classes,
    large_expit,
]


@pytest.mark.parametrize("make", LARGE)
@pytest.mark.parametrize("n_threads", [2])
def test_memory_of_python(make, n_threads):
    """One number a chunk and a few objects; a bit for each of a million logits takes 125 kB."""
    call = make(1_000_000)
    tracemalloc.start()
    try:
        call(n_threads=n_threads)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000


PEAK = """
import re, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_memory import LARGE

def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1])

calls = [make(2_000_000) for make in LARGE]
before = peak()
for call in calls:
    call(n_threads=1)
    call(n_threads=2)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc on this system")
def test_memory_of_the_process(python):
    """The C code allocates a row at most: its scratch memory is a few stacks."""
    process = python(PEAK, str(Path(__file__).parent))
    assert process.stderr == ""
    assert int(process.stdout) < 2000


# All that malloc gives

COUNTER = r"""
#include <stddef.h>
void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
static size_t total;
size_t counted(void) { size_t n = total; total = 0; return n; }
static size_t add(size_t n)
{
    if (n > 4096) /* an array, not an object */
        __atomic_fetch_add(&total, n, __ATOMIC_RELAXED);
    return n;
}
void *malloc(size_t n) { return __libc_malloc(add(n)); }
void *calloc(size_t n, size_t m) { add(n * m); return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { return __libc_realloc(p, add(n)); }
void *memalign(size_t a, size_t n) { return __libc_memalign(a, add(n)); }
void *aligned_alloc(size_t a, size_t n) { return __libc_memalign(a, add(n)); }
int posix_memalign(void **p, size_t a, size_t n) { *p = __libc_memalign(a, add(n)); return !*p; }
"""
PROGRAM = """
import ctypes, json, sys
import numpy as np
import cekernels as ck
from cekernels import special
counted = ctypes.CDLL(None).counted
counted.restype = ctypes.c_size_t
sizes = {}
def measure(name, function, *args, **kwargs):
    function(*args, **kwargs)
    counted()
    function(*args, **kwargs)
    sizes[name] = counted()
measure("a copy", np.copy, np.zeros((1000, 100)))
for dtype in (np.float32, np.float64):
    x = np.zeros((100, 1000), dtype).T
    labels, soft = np.zeros(2000, np.int8)[::2], np.zeros((1000, 200), np.float32)[:, ::2]
    outs = {f"{name}_out": np.zeros_like(x) for name in ("grad", "hess", "proba")}
    for kind, targets in (("labels", labels), ("soft", soft)):
        measure(f"{kind} {dtype.__name__}", ck.cross_entropy, x, targets, **outs)
        measure(f"{kind} softcap {dtype.__name__}", ck.cross_entropy, x, targets, softcap=5, **outs)
        measure(f"{kind} loss {dtype.__name__}", ck.cross_entropy, x, targets)
    measure(f"binary {dtype.__name__}", ck.binary_cross_entropy_with_logits, x, soft, **outs)
    measure(f"softmax {dtype.__name__}", special.softmax, x, axis=1, out=outs["grad_out"])
    measure(f"expit {dtype.__name__}", special.expit, x, out=x)
print(json.dumps(sizes))
"""


def preloaded_counter(folder):
    """Return a library whose malloc counts bytes, for LD_PRELOAD."""
    if platform.libc_ver()[0] != "glibc":
        pytest.skip("the counter replaces the allocator of glibc")
    source, library = folder / "counter.c", folder / "counter.so"
    source.write_text(COUNTER)
    compiler = (os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()
    command = [*compiler, "-O1", "-fno-builtin", "-shared", "-fPIC", "-o", library, source]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip(f"no compiler {compiler[0]}")
    if done.returncode:
        pytest.skip(f"{compiler[0]} cannot make the counter: {done.stderr.decode()}")
    return library


def test_bytes_from_malloc(tmp_path):
    """All that a call allocates, also without Python's knowledge, is less than a tenth of a copy."""
    environment = os.environ | {
        "LD_PRELOAD": str(preloaded_counter(tmp_path)),
        "PYTHONMALLOC": "malloc",
        "CEKERNELS_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(PROGRAM)],
        env=environment,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    sizes = json.loads(done.stdout)
    assert sizes.pop("a copy") >= 800_000
    assert len(sizes) == 18
    assert max(sizes.values()) < 40_000, sizes
