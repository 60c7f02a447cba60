"""What this process uses: the instruction set, the number of threads, and how to ask for both."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Literal, overload

from cekernels import _kernels
from cekernels._validation import is_integer
from cekernels._version import __version__

_threads = 1
_threads_here: ContextVar[int | None] = ContextVar("cekernels_threads", default=None)


def available_isas() -> tuple[str, ...]:
    """Names of the instruction sets that this machine runs, best last."""
    return _kernels.supported_isas()


def set_isa(name: str) -> None:
    """Use the kernels of this instruction set from now on, in the whole process."""
    if name not in available_isas():
        built = ", ".join(_kernels.built_isas())
        raise ValueError(
            f"CEKERNELS_ISA={name!r} is not available: this build has {built}; "
            f"this machine runs {', '.join(available_isas())}"
        )
    _kernels.set_isa(name)


@contextmanager
def use_isa(name: str) -> Iterator[None]:
    """Run a block of code, and with it every other thread, on another instruction set."""
    before = _kernels.active_isa()
    set_isa(name)
    try:
        yield
    finally:
        set_isa(before)


def _cgroup_quota() -> float | None:
    """CPUs that the control group allows, or None: no limit."""
    for path, period_path in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            words = Path(path).read_text().split()
            if period_path is not None:
                words += Path(period_path).read_text().split()
            quota, period = int(words[0]), int(words[1])
        except (OSError, ValueError, IndexError):
            continue  # no such file, or "max": no limit here
        if quota > 0:
            return quota / period
    return None


def cpu_count() -> tuple[int, str]:
    """CPUs that this process may use, and what limits them."""
    if hasattr(os, "sched_getaffinity"):
        cpus, reason = len(os.sched_getaffinity(0)), "CPU affinity"
    else:
        cpus, reason = os.cpu_count() or 1, "CPUs of the machine"
    quota = _cgroup_quota()
    if quota is not None and quota < cpus:
        return max(1, int(quota)), "control group quota"
    return cpus, reason


def effective_threads(n_threads: int | None = None) -> int:
    """Turn `n_threads` as users give it into a positive number."""
    if n_threads is None:
        here = _threads_here.get()
        return _threads if here is None else here
    return _as_threads(n_threads, "n_threads", "an integer or None")


def _as_threads(value: Any, name: str, wanted: str) -> int:
    if not is_integer(value):
        raise TypeError(f"{name} must be {wanted}, got {value!r}")
    n = int(value.__index__())
    if n == 0:
        raise ValueError(f"{name} must not be 0: give a positive number, or -1 for all CPUs")
    return n if n > 0 else max(1, cpu_count()[0] + 1 + n)


def set_num_threads(n: int) -> None:
    """Set the number of threads of every call that is given none.

    Parameters
    ----------
    n : int
        A positive number; -1 is all CPUs that affinity and control group allow, -2 all but one.
        The default is 1, or what ``CEKERNELS_NUM_THREADS`` said when cekernels was imported.

    Raises
    ------
    TypeError, ValueError
        What is not an integer; 0.

    See Also
    --------
    threads : Set the number of threads within a ``with`` block.
    get_num_threads : Return the number of threads in effect.

    Examples
    --------
    >>> import cekernels
    >>> cekernels.set_num_threads(1)
    >>> cekernels.get_num_threads()
    1
    """
    global _threads
    _threads = _as_threads(n, "n", "an integer")


def get_num_threads() -> int:
    """Return the number of threads of a call that is given none.

    Returns
    -------
    int
        A positive number; within a block of `threads`, the number of that block.

    See Also
    --------
    set_num_threads : Set the number of threads for the whole process.
    threads : Set the number of threads within a ``with`` block.

    Examples
    --------
    >>> import cekernels
    >>> with cekernels.threads(2):
    ...     cekernels.get_num_threads()
    2
    """
    return effective_threads()


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Set the number of threads within a ``with`` block, for the current thread or task alone.

    Parameters
    ----------
    n : int
        As in `set_num_threads`.

    Yields
    ------
    None
        Nothing; the number from before is back in effect after the block.

    Raises
    ------
    TypeError, ValueError
        What is not an integer; 0.

    See Also
    --------
    set_num_threads : Set the number of threads for the whole process.
    get_num_threads : Return the number of threads in effect.

    Examples
    --------
    >>> import cekernels
    >>> with cekernels.threads(-1):
    ...     loss = cekernels.cross_entropy([[2.0, 0.0]], [0])
    """
    token = _threads_here.set(_as_threads(n, "n", "an integer"))
    try:
        yield
    finally:
        _threads_here.reset(token)


@overload
def show_config(mode: Literal["stdout"] = "stdout") -> None: ...
@overload
def show_config(mode: Literal["dict"]) -> dict[str, Any]: ...
def show_config(mode: Literal["stdout", "dict"] = "stdout") -> dict[str, Any] | None:
    """Show how cekernels was built and what it uses on this machine.

    Parameters
    ----------
    mode : {"stdout", "dict"}
        Print it, or return it.

    Returns
    -------
    dict or None
        Version, compiler and flags; instruction sets that were built, that this machine runs, and
        that is active; number of threads, CPUs, and what limits them.

    Raises
    ------
    ValueError
        Another mode.

    See Also
    --------
    get_num_threads : Return the number of threads in effect.
    set_num_threads : Set the number of threads for the whole process.

    Examples
    --------
    >>> import cekernels
    >>> config = cekernels.show_config(mode="dict")
    >>> config["isa"]["active"] in config["isa"]["found"]
    True
    """
    if mode not in ("stdout", "dict"):
        raise ValueError(f"mode must be 'stdout' or 'dict', got {mode!r}")
    cpus, reason = cpu_count()
    config = {
        "version": __version__,
        "compiler": _kernels.COMPILER,
        "flags": _kernels.FLAGS,
        "isa": {
            "built": list(_kernels.built_isas()),
            "found": list(available_isas()),
            "active": _kernels.active_isa(),
            "forced": os.environ.get("CEKERNELS_ISA"),
        },
        "threads": {
            "default": get_num_threads(),
            "cpus": cpus,
            "limited_by": reason,
            "forced": os.environ.get("CEKERNELS_NUM_THREADS"),
        },
    }
    if mode == "dict":
        return config
    for name, value in config.items():
        if isinstance(value, dict):
            value = ", ".join(
                f"{key}: {' '.join(item) if isinstance(item, list) else item}"
                for key, item in value.items()
                if item is not None
            )
        print(f"{name:10}{value}")
    return None


def _threads_from_environment() -> int:
    text = os.environ.get("CEKERNELS_NUM_THREADS") or "1"
    try:
        return effective_threads(int(text))
    except ValueError:
        raise ValueError(
            f"CEKERNELS_NUM_THREADS must be a non-zero integer, got {text!r}"
        ) from None


set_isa(os.environ.get("CEKERNELS_ISA") or available_isas()[-1])
_threads = _threads_from_environment()
