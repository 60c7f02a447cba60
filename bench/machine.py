"""The machine: what it is, and how a process is tied down on it.

Standard library alone: thread counts are read when the systems are imported.
"""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ENVIRONMENT = {
    "CEKERNELS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",  # XLA's remarks on slow compilations
}


def isolate(isa: str | None) -> list[int]:
    """Tie this process to one processor and every system to one thread.

    Parameters
    ----------
    isa : str or None
        Instruction set that cekernels is to use; None leaves the choice to it.

    Returns
    -------
    list of int
        The processors that were allowed before; empty where the system cannot tell.
    """
    os.environ.update(ENVIRONMENT)
    if isa is not None:
        os.environ["CEKERNELS_ISA"] = isa
    if not hasattr(os, "sched_setaffinity"):
        return []
    allowed = sorted(os.sched_getaffinity(0))
    # The first processor serves most interrupts.
    os.sched_setaffinity(0, allowed[-1:])
    return allowed


@contextmanager
def processors(count: int, allowed: list[int]) -> Iterator[None]:
    """Lift the tie to one processor, to `count` of those allowed, for a while."""
    if count == 1 or not allowed:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, allowed[-count:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def describe(allowed: list[int]) -> dict[str, Any]:
    """Return what a reader needs to know about the machine."""
    return {
        "cpu": _cpu_model(),
        "cores": len(allowed) or os.cpu_count(),
        "memory_gb": _memory_gb(),
        "caches": _caches(),
        "os": platform.platform(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "pinned_to_cpu": allowed[-1] if allowed else None,
    }


def _cpu_model() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    if platform.system() == "Darwin":
        command = ["sysctl", "-n", "machdep.cpu.brand_string"]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return platform.processor() or platform.machine()


def _caches() -> dict[str, int]:
    """Return bytes of the data caches that one processor sees, by name; {} where nobody tells."""
    caches = {}
    for path in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        kind, level, size = (
            (path / name).read_text().strip() for name in ("type", "level", "size")
        )
        if kind != "Instruction":
            caches[f"L{level}"] = int(size.removesuffix("K")) * 1024
    return caches


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (AttributeError, ValueError):
        return None
