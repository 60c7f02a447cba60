"""Which instruction set is used, what is reported, and what an import leaves alone."""

import json
import platform
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

import cekernels
from cekernels import _kernels, _runtime, special

AVAILABLE = _runtime.available_isas()
BUILT = _kernels.built_isas()
NUMBERS = np.linspace(-20.0, 20.0, 1000)


def last_line(process):
    assert process.returncode == 1
    return process.stderr.splitlines()[-1]


REPORT = """
import json, numpy as np, cekernels
x = np.linspace(-20.0, 20.0, 1000)
print(json.dumps([cekernels.show_config("dict"), cekernels.special.expit(x).tobytes().hex()]))
"""


# Imports one after the other, all but that of the extension module, which a process has once.
FORCED = """
import json, os, sys, numpy as np
x, reports = np.linspace(-20.0, 20.0, 1000), []
for name in NAMES:
    os.environ["CEKERNELS_ISA"] = name
    for module in [module for module in sys.modules if module.partition(".")[0] == "cekernels"]:
        if module != "cekernels._kernels":
            del sys.modules[module]
    import cekernels
    reports.append([cekernels.show_config("dict"), cekernels.special.expit(x).tobytes().hex()])
print(json.dumps(reports))
"""


# Imports that fail, one after the other.
IMPORTS = """
import json, os
messages = []
for name in NAMES:
    os.environ["CEKERNELS_ISA"] = name
    try:
        import cekernels
    except ValueError as error:
        messages.append(str(error))
print(json.dumps(messages))
"""


# The choice


def test_forced_isa_is_used(python):
    names = list(AVAILABLE)
    process = python(f"NAMES = {names}{FORCED}")
    assert process.stderr == ""
    for name, (config, result) in zip(names, json.loads(process.stdout), strict=True):
        assert config["isa"] == {
            "built": list(BUILT),
            "found": list(AVAILABLE),
            "active": name,
            "forced": name,
        }
        with _runtime.use_isa(name):
            assert result == special.expit(NUMBERS).tobytes().hex()


def test_the_best_isa_is_used(python):
    config, _ = json.loads(python(REPORT).stdout)
    assert config["isa"]["active"] == config["isa"]["found"][-1] == AVAILABLE[-1]
    assert config["isa"]["forced"] is None


def test_unknown_isa(python):
    def message(name):
        return (
            f"CEKERNELS_ISA={name!r} is not available: this build has {', '.join(BUILT)}; "
            f"this machine runs {', '.join(AVAILABLE)}"
        )

    assert last_line(python("import cekernels", CEKERNELS_ISA="sse9")) == (
        f"ValueError: {message('sse9')}"
    )
    names = ["AVX2", " baseline", "avx", "native"]
    process = python(f"NAMES = {names}{IMPORTS}")
    assert process.stderr == ""
    assert json.loads(process.stdout) == [message(name) for name in names]


def test_isa_of_another_machine(monkeypatch):
    monkeypatch.setattr(_kernels, "built_isas", lambda: ("baseline", "avx2", "avx512"))
    monkeypatch.setattr(_kernels, "supported_isas", lambda: ("baseline",))
    before = _kernels.active_isa()
    message = (
        "CEKERNELS_ISA='avx512' is not available: this build has baseline, avx2, avx512; "
        "this machine runs baseline"
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        _runtime.set_isa("avx512")
    assert _kernels.active_isa() == before


def test_kernels_refuse_what_they_do_not_have():
    before = _kernels.active_isa()
    with pytest.raises(ValueError, match=r"^sse9$"):
        _kernels.set_isa("sse9")
    assert _kernels.active_isa() == before


def test_use_isa_ends_with_its_block():
    def fail():
        with _runtime.use_isa(AVAILABLE[0]):
            raise KeyError(_kernels.active_isa())

    before = _kernels.active_isa()
    with pytest.raises(KeyError, match=AVAILABLE[0]):
        fail()
    assert _kernels.active_isa() == before


def test_isas_are_ordered():
    order = ["baseline", "neon", "avx2", "avx512"]
    assert list(BUILT) == [name for name in order if name in BUILT]
    assert list(AVAILABLE) == [name for name in BUILT if name in AVAILABLE]
    assert AVAILABLE[0] == BUILT[0]


CPUINFO = Path("/proc/cpuinfo")


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not CPUINFO.exists(), reason="no Linux on x86-64"
)
def test_cpu_is_seen_as_the_system_sees_it():
    flags = set(re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(), re.MULTILINE)[1].split())
    avx2 = {"avx", "avx2", "fma"}
    avx512 = avx2 | {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512_vbmi2"}
    needs = {"baseline": set(), "avx2": avx2, "avx512": avx512}
    assert list(AVAILABLE) == [name for name in BUILT if needs[name] <= flags]


# The report


def test_config_as_dict():
    config = cekernels.show_config(mode="dict")
    assert list(config) == ["version", "compiler", "flags", "isa", "threads"]
    assert config["version"] == cekernels.__version__
    assert config["compiler"] == _kernels.COMPILER != "unknown"
    assert config["flags"] == _kernels.FLAGS != ""
    assert list(config["isa"]) == ["built", "found", "active", "forced"]
    assert list(config["threads"]) == ["default", "cpus", "limited_by", "forced"]
    assert json.loads(json.dumps(config)) == config


def test_config_is_printed(capsys):
    assert cekernels.show_config() is None
    lines = capsys.readouterr().out.splitlines()
    cpus, reason = _runtime.cpu_count()
    assert lines[0] == f"version   {cekernels.__version__}"
    assert lines[1] == f"compiler  {_kernels.COMPILER}"
    assert lines[2] == f"flags     {_kernels.FLAGS}"
    assert lines[3].startswith(
        f"isa       built: {' '.join(BUILT)}, found: {' '.join(AVAILABLE)}, "
        f"active: {_kernels.active_isa()}"
    )
    assert lines[4].startswith(f"threads   default: {cekernels.get_num_threads()}, cpus: {cpus}, ")
    assert f"limited_by: {reason}" in lines[4]
    assert len(lines) == 5


@pytest.mark.parametrize("mode", ["json", "", None, 1])
def test_config_of_another_mode(mode):
    message = f"mode must be 'stdout' or 'dict', got {mode!r}"
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        cekernels.show_config(mode=mode)


# The import

STATE = """
import ctypes, ctypes.util, json, os, signal, sys, threading, warnings
import numpy as np

def state():
    tasks = "/proc/self/task"
    library = ctypes.util.find_library("m")
    return {
        "threads": [thread.name for thread in threading.enumerate()],
        "tasks": len(os.listdir(tasks)) if os.path.isdir(tasks) else 0,
        "filters": [str(item) for item in warnings.filters],
        "errors": np.geterr(),
        "rounding": ctypes.CDLL(library).fegetround() if library else 0,
        "subnormal": [float("5e-324") * float("1"), float(np.float32(1e-45) * np.float32(1))],
        "array": (np.full(40, 5e-324) * np.full(40, 1.0)).tolist(),
        "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "recursion": sys.getrecursionlimit(),
        "switch": sys.getswitchinterval(),
    }

before = state()
import cekernels
after = state()
cekernels.binary_cross_entropy_with_logits(np.full(40, -1e4), np.zeros(40), return_grad=True)
cekernels.cross_entropy(np.full((40, 3), [1e4, 0, -1e4]), np.zeros(40, int), return_grad=True)
print(json.dumps([before, after, state(), sorted(sys.modules)]))
"""


@pytest.fixture
def states(python):
    process = python(STATE, flags=["-W", "error"])
    assert process.stderr == ""
    return json.loads(process.stdout)


def test_import_and_calls_leave_the_process_alone(states):
    before, after_import, after_calls, modules = states
    assert after_import == before
    assert after_calls == before
    assert before["array"] == [5e-324] * 40
    assert before["subnormal"][0] == 5e-324
    assert not {"scipy", "sklearn", "matplotlib", "tqdm", "torch"} & set(modules)


def test_source_folder_without_a_build(python, tmp_path):
    """With -S there is no site-packages, and so nothing that is installed."""
    package = tmp_path / "cekernels"
    package.mkdir()
    for path in Path(cekernels.__file__).parent.glob("*.py"):
        shutil.copy(path, package)
    assert last_line(python("import cekernels", flags=["-S"])) == (
        "ImportError: the compiled part of cekernels is missing: this is its source folder without "
        "a build. Leave the folder, or install from it with `pip install -e .`"
    )
