"""Threads: the same bits, nothing left behind, and as many as were asked for."""

import contextlib
import functools
import gc
import multiprocessing
import os
import subprocess
import sys
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cekernels as ck
from cekernels import _parallel, _runtime, reference, special

CHUNK = 16384
THREADS = (2, 3, 8, -1)
# Enough chunks for eight threads, and a rest; and for as many where two chunks are enough for one.
LONG = 8 * _parallel.MIN_CHUNKS * CHUNK + 123
SHORT = 8 * 2 * CHUNK + 123


@pytest.fixture
def spans(monkeypatch):
    """Collect the spans of chunks that are given to the pool."""
    shared, found = _parallel._shared_pool, []

    class Pool:
        def submit(self, run, *span):
            found.append(span)
            return shared().submit(run, *span)

    monkeypatch.setattr(_parallel, "_shared_pool", Pool)
    monkeypatch.setattr(_runtime, "cpu_count", lambda: (4, "a test"))
    return found


@pytest.fixture
def eager_threads(monkeypatch):
    """Share work of a few chunks."""
    monkeypatch.setattr(_parallel, "MIN_CHUNKS", 2)


# The same bits


def binary(rng, dtype):
    x, y = rng.normal(0, 6, SHORT).astype(dtype), rng.integers(0, 2, SHORT).astype(dtype)
    return functools.partial(ck.binary_cross_entropy_with_logits, x, y)


def weighted(rng, dtype):
    x, y = rng.normal(0, 6, SHORT).astype(dtype), rng.uniform(size=SHORT).astype(dtype)
    weight = rng.uniform(0, 2, SHORT)
    loss = functools.partial(ck.binary_cross_entropy_with_logits, return_grad=True)
    return functools.partial(loss, x, y, sample_weight=weight, return_hess=True)


def probabilities(rng, dtype):
    p, y = rng.uniform(size=SHORT).astype(dtype), rng.integers(0, 2, SHORT)
    return functools.partial(ck.binary_cross_entropy, p, y, return_grad=True)


def classes(rng, dtype, n_classes):
    n = SHORT // n_classes + 1
    x, y = rng.normal(0, 6, (n, n_classes)).astype(dtype), rng.integers(0, n_classes, n)
    return functools.partial(ck.cross_entropy, x, y, return_grad=True, return_lse=True)


def soft(rng, dtype):
    x = rng.normal(0, 6, (SHORT // 10 + 1, 10)).astype(dtype)
    t = reference.softmax(rng.normal(0, 2, x.shape), axis=1).astype(dtype)
    return functools.partial(ck.cross_entropy, x, t, return_proba=True)


LOSSES = {
    "binary": binary,
    "weighted": weighted,
    "probabilities": probabilities,
    "soft": soft,
    "3 classes": functools.partial(classes, n_classes=3),
    "10 classes": functools.partial(classes, n_classes=10),
    "1000 classes": functools.partial(classes, n_classes=1000),
    "10000 classes": functools.partial(classes, n_classes=10_000),
}
SPECIAL = {
    "expit": {},
    "log_expit": {},
    "softplus": {},
    "softmax": {"axis": 1},
    "log_softmax": {"axis": 1},
    "logsumexp": {"axis": 1},
}


@functools.cache
def problem(name, dtype):
    """Return a loss with its arrays, or a special function with its own."""
    rng = np.random.default_rng(3)
    if name in LOSSES:
        return LOSSES[name](rng, dtype)
    x = rng.normal(0, 6, (SHORT // 10 + 1, 10)).astype(dtype)
    return functools.partial(getattr(special, name), x, **SPECIAL[name])


@pytest.mark.usefixtures("isa", "eager_threads")
@pytest.mark.parametrize("name", [*LOSSES, *SPECIAL])
def test_same_bits(spans, dtype, assert_same_bits, name):
    call = problem(name, dtype)
    want = call(n_threads=1)
    assert spans == []
    for n_threads in THREADS:
        assert_same_bits(call(n_threads=n_threads), want)
        assert len(spans) == (4 if n_threads == -1 else n_threads) - 1
        spans.clear()


@pytest.mark.usefixtures("isa", "eager_threads")
@pytest.mark.parametrize("name", LOSSES)
def test_same_bits_of_every_loss(spans, dtype, assert_same_bits, name):
    call = problem(name, dtype)
    want = call(n_threads=1, reduction="none")
    assert_same_bits(call(n_threads=3, reduction="none"), want)
    assert len(spans) == 2


def test_every_chunk_is_run_once(spans):
    for chunks in (16, 17, 23, 64, 65, 1000):
        n = (chunks - 1) * CHUNK + 1
        for n_threads in THREADS:
            spans.clear()
            special.expit(np.zeros(n, np.float32), n_threads=n_threads)
            begin, end = [b for b, _ in spans], [e for _, e in spans]
            assert end == [*begin[1:], chunks]
            assert min(e - b for b, e in spans) >= _parallel.MIN_CHUNKS


def test_short_work_is_not_shared(spans):
    x = np.zeros((2 * _parallel.MIN_CHUNKS - 1) * CHUNK, np.float32)
    special.expit(x, n_threads=8)
    ck.binary_cross_entropy_with_logits(x, x, n_threads=8, return_grad=True)
    assert spans == []
    special.expit(np.zeros(x.size + 1, np.float32), n_threads=8)
    assert len(spans) == 1


def test_setting_and_context_decide_where_no_number_is_given(spans):
    x = np.zeros(LONG, np.float32)
    with ck.threads(1):
        with ck.threads(3):
            special.expit(x)
            assert len(spans) == 2
            special.expit(x, n_threads=1)
            assert len(spans) == 2
            ck.binary_cross_entropy_with_logits(x, x)
            assert len(spans) == 4
        special.expit(x)
        assert len(spans) == 4


# At the same time


@pytest.mark.usefixtures("eager_threads")
def test_calls_from_many_threads(assert_same_bits):
    calls = [problem(name, np.float32) for name in ("binary", "weighted", "3 classes", "soft")]
    want = [call(reduction="none", n_threads=1) for call in calls]
    with ThreadPoolExecutor(8) as pool:
        jobs = [
            (i, pool.submit(call, reduction="none", n_threads=n_threads))
            for n_threads in (1, 2, 3)
            for i, call in enumerate(calls)
        ]
        for i, job in jobs:
            assert_same_bits(job.result(timeout=60), want[i])


def test_calls_from_the_threads_of_the_pool(assert_same_bits):
    """A pool whose workers wait for the pool would never end."""
    x = np.linspace(-5, 5, LONG, dtype=np.float32)
    want = special.expit(x)
    pool = _parallel._shared_pool()
    jobs = [pool.submit(special.expit, x, n_threads=2) for _ in range(8)]
    for job in jobs:
        assert_same_bits(job.result(timeout=60), want)


def test_an_error_leaves_the_pool_usable():
    x, y = np.zeros((LONG // 3, 3), np.float32), np.zeros(LONG // 3, int)
    y[-1] = 3
    with pytest.raises(ck.LabelError):
        ck.cross_entropy(x, y, n_threads=8)
    y[-1] = 0
    assert ck.cross_entropy(x, y, n_threads=8) == pytest.approx(1.0986122886681098, rel=1e-7)


def use_threads(queue):
    x = np.linspace(-5, 5, LONG, dtype=np.float32)
    queue.put(special.expit(x, n_threads=2).tobytes() == special.expit(x).tobytes())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
# Python warns of any fork beside threads; that it works for ours is the test.
@pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks:DeprecationWarning")
@pytest.mark.parametrize("lock", [contextlib.nullcontext(), _parallel._lock], ids=["idle", "busy"])
def test_fork_after_use(lock):
    """The parent's pool has no threads in the child, and its lock may be held when it forks."""
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    special.expit(np.zeros(LONG, np.float32), n_threads=2)
    assert _parallel._pool is not None
    with lock:
        child = context.Process(target=use_threads, args=(queue,))
        child.start()
        child.join(timeout=60)
    if child.exitcode is None:
        child.kill()
        pytest.fail("the forked child hangs")
    assert child.exitcode == 0
    assert queue.get()


# Other processes


@pytest.fixture
def python(tmp_path):
    """Run a program in another process with these variables set."""

    def run(program, *arguments, **variables):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("CEKERNELS_")}
        return subprocess.run(
            [sys.executable, "-c", program, *arguments],
            cwd=tmp_path,
            env=inherited | variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.mark.parametrize(
    ("value", "expected"), [("3", 3), (" 2 ", 2), ("-1", None), ("1000", 1000)]
)
def test_environment_variable(python, value, expected):
    program = (
        "import cekernels as ck; print(ck.get_num_threads(), ck.show_config('dict')['threads'])"
    )
    process = python(program, CEKERNELS_NUM_THREADS=value)
    assert process.stderr == ""
    cpus, reason = _runtime.cpu_count()
    config = {"default": expected or cpus, "cpus": cpus, "limited_by": reason, "forced": value}
    assert process.stdout == f"{expected or cpus} {config}\n"


def test_environment_variable_that_is_no_number(python):
    program = """
import os, sys
for value in sys.argv[1:]:
    os.environ["CEKERNELS_NUM_THREADS"] = value
    try:
        import cekernels
    except ValueError as error:
        print(error)
"""
    values = ["0", "two", "1.5"]
    process = python(program, *values)
    assert process.stderr == ""
    assert process.stdout.splitlines() == [
        f"CEKERNELS_NUM_THREADS must be a non-zero integer, got {value!r}" for value in values
    ]


def test_nothing_is_left_at_exit(python):
    program = """
import time, numpy as np, threading
from cekernels import special
x = np.zeros(3_000_000, np.float32)
special.expit(x)
assert threading.active_count() == 1
special.expit(x, n_threads=3)
assert threading.active_count() > 1
assert all(t.name.startswith("cekernels") for t in threading.enumerate()[1:])
print(time.time())
"""
    process = python(program)
    ended = time.time()
    assert process.stderr == ""
    assert process.returncode == 0
    assert ended - float(process.stdout) < 5.0


# How many


@pytest.fixture
def setting():
    """Restore the number of threads."""
    before = ck.get_num_threads()
    yield before
    ck.set_num_threads(before)


@pytest.mark.usefixtures("setting")
def test_set_num_threads(monkeypatch):
    monkeypatch.setattr(_runtime, "cpu_count", lambda: (4, "a test"))
    for given, expected in ((1, 1), (7, 7), (-1, 4), (-2, 3), (-4, 1), (-9, 1), (np.int8(2), 2)):
        assert ck.set_num_threads(given) is None
        assert ck.get_num_threads() == expected
        assert type(ck.get_num_threads()) is int


BAD = [
    (0, ValueError, "n_threads must not be 0: give a positive number, or -1 for all CPUs"),
    (True, TypeError, "n_threads must be an integer or None, got True"),
    (False, TypeError, "n_threads must be an integer or None, got False"),
    ("x", TypeError, "n_threads must be an integer or None, got 'x'"),
    (2.0, TypeError, "n_threads must be an integer or None, got 2.0"),
    ([2], TypeError, "n_threads must be an integer or None, got [2]"),
]


@pytest.mark.parametrize(("value", "error", "message"), BAD)
def test_numbers_of_threads_that_are_none(setting, value, error, message):
    with pytest.raises(error) as caught:
        ck.set_num_threads(value)
    assert str(caught.value) == message
    with pytest.raises(error) as caught, ck.threads(value):
        pytest.fail("not reached")
    assert str(caught.value) == message
    assert ck.get_num_threads() == setting


def test_threads_nest(setting):
    with ck.threads(2) as nothing:
        assert nothing is None
        assert ck.get_num_threads() == 2
        with ck.threads(5):
            assert ck.get_num_threads() == 5
            with ck.threads(1):
                assert ck.get_num_threads() == 1
            assert ck.get_num_threads() == 5
        assert ck.get_num_threads() == 2
        ck.set_num_threads(6)
        assert ck.get_num_threads() == 2
    assert ck.get_num_threads() == 6
    ck.set_num_threads(setting)


def test_threads_end_with_an_error(setting):
    def fail():
        with ck.threads(setting + 1):
            raise KeyError(ck.get_num_threads())

    with pytest.raises(KeyError, match=str(setting + 1)):
        fail()
    assert ck.get_num_threads() == setting


def test_each_thread_has_its_own(setting):
    inside, outside = threading.Barrier(2), threading.Barrier(2)
    seen = {}

    def other():
        with ck.threads(setting + 2):
            inside.wait(10)
            seen["other"] = ck.get_num_threads()
            outside.wait(10)

    thread = threading.Thread(target=other)
    with ck.threads(setting + 1):
        thread.start()
        inside.wait(10)
        seen["main"] = ck.get_num_threads()
        outside.wait(10)
        thread.join(10)
        with ThreadPoolExecutor(1) as pool:
            seen["new"] = pool.submit(ck.get_num_threads).result(10)
    assert seen == {"main": setting + 1, "other": setting + 2, "new": setting}


# What the system allows


@pytest.fixture
def system(monkeypatch):
    """Pretend to be on a machine with these files and CPUs."""

    def pretend(cpus, **files):
        def read_text(path):
            name = path.name.replace(".", "_")
            if name not in files:
                raise FileNotFoundError(path)
            if isinstance(files[name], Exception):
                raise files[name]
            return files[name]

        monkeypatch.setattr(Path, "read_text", read_text)
        if cpus is None:
            monkeypatch.delattr(os, "sched_getaffinity", raising=False)
            monkeypatch.setattr(os, "cpu_count", lambda: None)
        else:
            allowed = set(range(3, 3 + cpus))
            monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed, raising=False)
        return _runtime.cpu_count()

    return pretend


AFFINITY, QUOTA = "CPU affinity", "control group quota"


@pytest.mark.parametrize(
    ("cpus", "files", "expected"),
    [
        (8, {}, (8, AFFINITY)),
        (8, {"cpu_max": "max 100000\n"}, (8, AFFINITY)),
        (8, {"cpu_max": "200000 100000\n"}, (2, QUOTA)),
        (8, {"cpu_max": "250000 100000\n"}, (2, QUOTA)),
        (8, {"cpu_max": "50000 100000\n"}, (1, QUOTA)),
        (8, {"cpu_max": "800000 100000\n"}, (8, AFFINITY)),
        (2, {"cpu_max": "400000 100000\n"}, (2, AFFINITY)),
        (8, {"cpu_max": ""}, (8, AFFINITY)),
        (8, {"cpu_max": "garbage\n"}, (8, AFFINITY)),
        (8, {"cpu_max": PermissionError()}, (8, AFFINITY)),
        (8, {"cpu_cfs_quota_us": "300000\n", "cpu_cfs_period_us": "100000\n"}, (3, QUOTA)),
        (8, {"cpu_cfs_quota_us": "-1\n", "cpu_cfs_period_us": "100000\n"}, (8, AFFINITY)),
        (8, {"cpu_cfs_quota_us": "300000\n"}, (8, AFFINITY)),
        (None, {}, (1, "CPUs of the machine")),
    ],
)
def test_cpu_count(system, cpus, files, expected):
    assert system(cpus, **files) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_affinity_of_this_process(python):
    program = """
import os, cekernels as ck
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
ck.set_num_threads(-1)
print(ck.get_num_threads(), ck.show_config("dict")["threads"]["cpus"])
"""
    assert python(program).stdout == "1 1\n"


# Memory


def large_binary():
    n = 2_000_000
    x, y = np.ones(n, np.float32), np.ones(n, np.int8)
    outs = {f"{name}_out": np.ones_like(x) for name in ("grad", "hess", "proba")}
    return functools.partial(ck.binary_cross_entropy_with_logits, x, y, **outs)


def large_weighted_binary():
    n = 2_000_000
    x, y, weight = np.ones(n, np.float32), np.ones(n, np.float32), np.ones(n)
    outs = {"out": np.ones_like(x), "grad_out": np.ones_like(x)}
    options = {"sample_weight": weight, "pos_weight": 2.0, "label_smoothing": 0.1}
    loss = functools.partial(ck.binary_cross_entropy_with_logits, reduction="none")
    return functools.partial(loss, x, y, **outs, **options)


def large_probabilities():
    n = 2_000_000
    p, y, grad = np.full(n, 0.5), np.ones(n, bool), np.ones(n)
    return functools.partial(ck.binary_cross_entropy, p, y, grad_out=grad, eps=1e-7)


def large_classes():
    x, y = np.ones((2000, 1000), np.float32), np.ones(2000, np.int16)
    outs = {f"{name}_out": np.ones_like(x) for name in ("grad", "hess", "proba")}
    return functools.partial(ck.cross_entropy, x, y, class_weight=np.ones(1000), **outs)


def large_soft_classes():
    x, t = np.ones((2000, 1000), np.float32), np.full((2000, 1000), 1e-3, np.float32)
    return functools.partial(ck.cross_entropy, x, t, label_smoothing=0.1, grad_out=x)


def large_expit():
    x = np.ones(2_000_000, np.float32)
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
    """One number a chunk and a few objects; two million logits take 8 MB."""
    call = make()
    gc.collect()
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
from test_parallel import LARGE

def peak():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\\s*(\\d+) kB", status)[1])

calls = [make() for make in LARGE]
before = peak()
for call in calls:
    call(n_threads=1)
    call(n_threads=2)
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc on this system")
def test_memory_of_the_process(python):
    """The C code allocates nothing: its scratch memory is a few stacks."""
    process = python(PEAK, str(Path(__file__).parent))
    assert process.stderr == ""
    assert int(process.stdout) < 2000
