"""How many threads: what is set, what the environment says, and what the system allows."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import cekernels as ck
from cekernels import _runtime

# The environment

# Imports one after the other, all but that of the extension module, which a process has once.
IMPORTS = """
import os, sys
for value in sys.argv[1:]:
    os.environ["CEKERNELS_NUM_THREADS"] = value
    for name in [name for name in sys.modules if name.partition(".")[0] == "cekernels"]:
        if name != "cekernels._kernels":
            del sys.modules[name]
    try:
        import cekernels as ck
        print(ck.get_num_threads(), ck.show_config("dict")["threads"])
    except ValueError as error:
        print(error)
"""


def test_environment_variable(python):
    numbers = {"3": 3, " 2 ": 2, "-1": None, "1000": 1000}
    others = ["0", "two", "1.5"]
    cpus, reason = _runtime.cpu_count()
    expected = []
    for value, number in numbers.items():
        config = {"default": number or cpus, "cpus": cpus, "limited_by": reason, "forced": value}
        expected.append(f"{number or cpus} {config}")
    for value in others:
        expected.append(f"CEKERNELS_NUM_THREADS must be a non-zero integer, got {value!r}")
    process = python(IMPORTS, *numbers, *others)
    assert process.stderr == ""
    assert process.stdout.splitlines() == expected


def test_environment_variable_that_is_no_number(python):
    process = python("import cekernels", CEKERNELS_NUM_THREADS="two")
    assert process.returncode == 1
    assert process.stderr.splitlines()[-1] == (
        "ValueError: CEKERNELS_NUM_THREADS must be a non-zero integer, got 'two'"
    )


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
    (0, ValueError, "n must not be 0: give a positive number, or -1 for all CPUs"),
    (True, TypeError, "n must be an integer, got True"),
    (False, TypeError, "n must be an integer, got False"),
    ("x", TypeError, "n must be an integer, got 'x'"),
    (2.0, TypeError, "n must be an integer, got 2.0"),
    ([2], TypeError, "n must be an integer, got [2]"),
    (None, TypeError, "n must be an integer, got None"),
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
