"""Threads: the same bits, nothing left behind, and as many as were asked for."""

import ctypes
import functools
import multiprocessing
import os
import platform
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cekernels as ck
from cekernels import _kernels, _parallel, _runtime, reference, special

CHUNK = 16384
THREADS = (2, 3, 8, 64, -1)
# Enough chunks for 64 threads, or for 16, and a rest.
LONG = 64 * CHUNK + 123
MEDIUM = 16 * CHUNK + 123


@pytest.fixture(autouse=True)
def many_cpus(monkeypatch):
    """Let threads work on any machine, also where some have to share a CPU."""
    monkeypatch.setattr(_parallel, "cpus_allowed", lambda: 64)


@pytest.fixture
def shares(monkeypatch):
    """Share even short work, and collect how many threads are asked to."""
    share, found = _parallel.share, []

    def collect(n_chunks, n_threads):
        found.append(share(n_chunks, n_threads))
        return found[-1]

    monkeypatch.setattr(_parallel, "MIN_CHUNKS", 1)
    monkeypatch.setattr(_parallel, "share", collect)
    monkeypatch.setattr(_runtime, "cpu_count", lambda: (2, "a test"))
    return found


# The same bits


def binary(rng, dtype):
    x, y = rng.normal(0, 6, LONG).astype(dtype), rng.integers(0, 2, LONG).astype(dtype)
    return functools.partial(ck.binary_cross_entropy_with_logits, x, y)


def weighted(rng, dtype):
    x, y = rng.normal(0, 6, MEDIUM).astype(dtype), rng.uniform(size=MEDIUM).astype(dtype)
    weight = rng.uniform(0, 2, MEDIUM)
    loss = functools.partial(ck.binary_cross_entropy_with_logits, return_grad=True)
    return functools.partial(loss, x, y, sample_weight=weight, return_hess=True)


def probabilities(rng, dtype):
    p, y = rng.uniform(size=MEDIUM).astype(dtype), rng.integers(0, 2, MEDIUM)
    return functools.partial(ck.binary_cross_entropy, p, y, return_grad=True)


def classes(rng, dtype, n_classes):
    n = MEDIUM // n_classes + 1
    x, y = rng.normal(0, 6, (n, n_classes)).astype(dtype), rng.integers(0, n_classes, n)
    return functools.partial(ck.cross_entropy, x, y, return_grad=True, return_lse=True)


def soft(rng, dtype):
    x = rng.normal(0, 6, (MEDIUM // 10 + 1, 10)).astype(dtype)
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
    x = rng.normal(0, 6, (MEDIUM // 10 + 1, 10)).astype(dtype)
    return functools.partial(getattr(special, name), x, **SPECIAL[name])


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", [*LOSSES, *SPECIAL])
def test_same_bits(shares, dtype, assert_same_bits, name):
    call = problem(name, dtype)
    shares.clear()
    want = call(n_threads=1)
    assert set(shares) == {1}
    for n_threads in (64 if name == "binary" else 16, -1):
        shares.clear()
        assert_same_bits(call(n_threads=n_threads), want)
        assert set(shares) == {2 if n_threads == -1 else n_threads}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("name", LOSSES)
def test_same_bits_of_every_loss(shares, dtype, assert_same_bits, name):
    call = problem(name, dtype)
    want = call(n_threads=1, reduction="none")
    shares.clear()
    assert_same_bits(call(n_threads=3, reduction="none"), want)
    assert set(shares) == {3}


def test_every_chunk_is_run_once():
    """In place, a chunk that is run twice is the function of the function."""
    for chunks in (2, 3, 17, 64, 300):
        x = np.linspace(-5, 5, (chunks - 1) * CHUNK + 1, dtype=np.float32)
        want = special.expit(x)
        for n_threads in THREADS:
            y = x.copy()
            special.expit(y, out=y, n_threads=n_threads)
            assert y.tobytes() == want.tobytes()


def test_short_work_is_not_shared():
    size = _parallel.MIN_CHUNKS
    assert [_parallel.share(n, 8) for n in (0, 1, size, 2 * size - 1)] == [1, 1, 1, 1]
    assert _parallel.share(2 * size, 8) == 2
    assert _parallel.share(2 * size, 1) == 1
    assert _parallel.share(1000 * size, 8) == 8


def test_each_thread_has_a_cpu(monkeypatch):
    for cpus in (1, 2, 3):
        monkeypatch.setattr(_parallel, "cpus_allowed", lambda cpus=cpus: cpus)
        for n_threads in (1, 2, 3, 8):
            assert _parallel.share(1000, n_threads) == min(cpus, n_threads)


def test_short_plain_calls_are_shared_as_well(shares):
    """Without options the call does not pass through Python, unless threads are to help."""
    for loss in (ck.binary_cross_entropy_with_logits, ck.cross_entropy):
        for chunks, expected in ((3, []), (4, [2, 2, 2])):
            shares.clear()
            x, y = np.zeros((chunks * CHUNK, 1), np.float32), np.zeros(chunks * CHUNK, int)
            with ck.threads(2):
                loss(x[:, 0] if loss is not ck.cross_entropy else x, y)
            assert shares == expected


def test_setting_and_context_decide_where_no_number_is_given(shares):
    x = np.zeros(LONG, np.float32)
    with ck.threads(1):
        with ck.threads(3):
            special.expit(x)
            assert shares == [3]
            special.expit(x, n_threads=1)
            assert shares == [3, 1]
            ck.binary_cross_entropy_with_logits(x, x)
            assert shares == [3, 1, 3, 3]  # the check of the targets, and the loss
        special.expit(x)
        assert shares == [3, 1, 3, 3, 1]


@pytest.mark.parametrize("weighted", [False, True])
def test_first_invalid_target_whoever_finds_it(weighted, shares):
    """Every thread finds some; the error names the first, and nothing is written."""
    x, y, grad = np.zeros(LONG), np.zeros(LONG), np.full(LONG, 7.0)
    y[70_000 :: 2 * CHUNK] = 1.5
    options = {"sample_weight": np.ones(LONG)} if weighted else {}
    for n_threads in (1, 2, 8):
        with pytest.raises(ValueError, match=r"targets.*1\.5.*70000"):
            ck.binary_cross_entropy_with_logits(x, y, grad_out=grad, n_threads=n_threads, **options)
        with pytest.raises(ValueError, match=r"probs.*1\.5.*70000"):
            ck.binary_cross_entropy(y, x, grad_out=grad, n_threads=n_threads, **options)
    assert set(shares) == {1, 2, 8}
    assert (grad == 7.0).all()


def test_first_invalid_label_whoever_finds_it(shares):
    x, y, grad = np.zeros((LONG, 1), np.float32), np.zeros(LONG, int), np.full((LONG, 1), 7.0, "f")
    y[70_000 :: 2 * CHUNK] = -1
    for n_threads in (1, 2, 8):
        with pytest.raises(ck.LabelError, match="70000"):
            ck.cross_entropy(x, y, grad_out=grad, n_threads=n_threads)
    assert set(shares) == {1, 2, 8}
    assert (grad == 7.0).all()


# At the same time


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


def test_an_error_leaves_the_pool_usable():
    x, y = np.zeros((LONG // 3, 3), np.float32), np.zeros(LONG // 3, int)
    y[-1] = 3
    with pytest.raises(ck.LabelError):
        ck.cross_entropy(x, y, n_threads=8)
    y[-1] = 0
    assert ck.cross_entropy(x, y, n_threads=8) == pytest.approx(1.0986122886681098, rel=1e-7)


def system_threads():
    tasks = Path("/proc/self/task")
    return len(list(tasks.iterdir())) if tasks.exists() else None


def test_workers_start_when_needed_and_end_when_told():
    x = np.linspace(-5, 5, LONG, dtype=np.float32)
    want = special.expit(x).tobytes()
    _kernels.stop_pool()
    before = system_threads()
    for _ in range(20):
        _kernels.stop_pool()
        assert _kernels.pool_size() == 0
        end = time.time() + 10
        while system_threads() != before and time.time() < end:
            time.sleep(0.001)  # a thread that was joined is listed for a moment
        assert system_threads() == before
        special.expit(x, n_threads=1)
        assert _kernels.pool_size() == 0
        for n_threads in (2, 5, 2):
            assert special.expit(x, n_threads=n_threads).tobytes() == want
        assert _kernels.pool_size() == 4


def test_the_pool_ends_while_it_works():
    x = np.linspace(-5, 5, LONG, dtype=np.float32)
    want = special.expit(x).tobytes()
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(special.expit, x, n_threads=3) for _ in range(30)]
        while not all(job.done() for job in jobs):
            _kernels.stop_pool()
        assert all(job.result().tobytes() == want for job in jobs)


def use_threads(queue):
    _parallel.cpus_allowed = lambda: 3
    x = np.linspace(-5, 5, LONG, dtype=np.float32)
    before = _kernels.pool_size()
    same = special.expit(x, n_threads=3).tobytes() == special.expit(x).tobytes()
    queue.put((before, same, _kernels.pool_size()))


# Python warns of any fork beside threads; that it works for ours is the test.
@pytest.mark.filterwarnings("ignore:.*use of fork.. may lead to deadlocks:DeprecationWarning")
@pytest.mark.parametrize("busy", [False, True], ids=["idle", "busy"])
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_child_processes(method, busy, monkeypatch):
    """The parent's workers do not exist in a forked child, and hold its lock when they like."""
    monkeypatch.syspath_prepend(Path(__file__).parents[1])  # where a spawned child finds this file
    if busy and method != "fork":
        pytest.skip("nothing is inherited")
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    x, stop = np.zeros(LONG, np.float32), threading.Event()

    def work():
        while not stop.is_set():
            special.expit(x[: 4 * CHUNK], n_threads=4)

    special.expit(x, n_threads=3)
    with ThreadPoolExecutor(1) as pool:
        if busy:
            pool.submit(work)
        try:
            for _ in range(5 if busy else 1):
                child = context.Process(target=use_threads, args=(queue,))
                child.start()
                child.join(timeout=60)
                if child.exitcode is None:
                    child.kill()
                    pytest.fail("the child hangs")
                assert child.exitcode == 0
                assert queue.get() == (0, True, 2)
        finally:
            stop.set()
    assert _kernels.pool_size() >= 2
    assert special.expit(x, n_threads=3)[0] == 0.5


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_joblib(backend, tmp_path, monkeypatch):
    joblib = pytest.importorskip("joblib")
    monkeypatch.setenv("JOBLIB_TEMP_FOLDER", str(tmp_path))
    x = np.linspace(-5, 5, LONG, dtype=np.float32)
    want = ck.binary_cross_entropy_with_logits(x, x > 0)
    call = joblib.delayed(ck.binary_cross_entropy_with_logits)
    with joblib.parallel_config(backend, n_jobs=2):
        losses = joblib.Parallel()(call(x, x > 0, n_threads=3) for _ in range(6))
    assert losses == [want] * 6


class FloatingPointEnvironment(ctypes.Structure):
    """fenv_t of glibc on x86-64."""

    _fields_ = [("x87", ctypes.c_uint16 * 14), ("mxcsr", ctypes.c_uint32)]


@pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64", reason="the layout of fenv_t"
)
def test_workers_round_as_the_caller_does(assert_same_bits):
    """A thread inherits how numbers are rounded when it starts, and its caller moves on."""
    libm, environment = ctypes.CDLL("libm.so.6"), FloatingPointEnvironment()
    x = np.linspace(-5, 5, LONG, dtype=np.float32)
    special.expit(x, n_threads=3)
    libm.fegetenv(ctypes.byref(environment))
    to_nearest = environment.mxcsr
    try:
        environment.mxcsr = to_nearest | 2 << 13  # up
        libm.fesetenv(ctypes.byref(environment))
        rounded_up = special.expit(x)
        for _ in range(50):  # a worker may come too late for one call
            assert_same_bits(special.expit(x, n_threads=3), rounded_up)
    finally:
        environment.mxcsr = to_nearest
        libm.fesetenv(ctypes.byref(environment))
    assert (rounded_up != special.expit(x)).any()
    assert_same_bits(special.expit(x, n_threads=3), special.expit(x))


# Other processes


@pytest.mark.parametrize("moment", ["idle", "at once", "in a thread", "before"])
def test_nothing_is_left_at_exit(python, moment):
    program = """
import atexit, sys, threading, time, numpy as np
moment = sys.argv[1]
if moment == "before":  # the handler runs after that of cekernels
    def last():
        assert _kernels.pool_size() == 0
        special.expit(x, n_threads=3)
    atexit.register(last)
from cekernels import _kernels, _parallel, special
_parallel.cpus_allowed = lambda: 3
x = np.zeros(3_000_000, np.float32)
special.expit(x)
assert _kernels.pool_size() == 0
special.expit(x, n_threads=3)
assert _kernels.pool_size() == 2
assert threading.active_count() == 1
if moment == "idle":
    time.sleep(0.05)
if moment == "in a thread":
    def work():
        while True:
            special.expit(x, n_threads=3)
    threading.Thread(target=work, daemon=True).start()
    time.sleep(0.02)
print(time.time())
"""
    process = python(program, moment)
    ended = time.time()
    assert process.stderr == ""
    assert process.returncode == 0
    assert ended - float(process.stdout) < 5.0


# What the system allows


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_workers_follow_the_affinity_of_the_caller(python):
    """They leave a CPU that was taken from the process, and do not sit on that of the caller."""
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one CPU")
    program = """
import os, time, numpy as np
from cekernels import _parallel, special
_parallel.cpus_allowed = lambda: 2

def tasks():
    return set(map(int, os.listdir("/proc/self/task")))

x, others = np.zeros(1_000_000, np.float32), tasks()
special.expit(x, n_threads=2)
(worker,) = tasks() - others
a, b = sorted(os.sched_getaffinity(0))[:2]
for allowed, expected in (({a}, [{a}]), ({b}, [{b}]), ({a, b}, [{a}, {b}])):
    os.sched_setaffinity(0, allowed)
    end = time.time() + 10
    while os.sched_getaffinity(worker) not in expected and time.time() < end:
        special.expit(x, n_threads=2)
    assert os.sched_getaffinity(worker) in expected
"""
    process = python(program)
    assert process.stderr == ""
    assert process.returncode == 0
