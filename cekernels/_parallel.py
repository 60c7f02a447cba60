"""Runs a job's chunks on one thread or several; the bits are the same.

A job's chunks depend on its shape alone, and each has its own place for its sum, so nothing here
can change a result.  The pool is made by the first call that needs one and forgotten in a forked
child, where its threads do not exist.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Lock

from cekernels._kernels import Job

# Waking a worker takes 50 to 150 microseconds (2-core server VM, 2026-11); eight chunks of
# 16,384 float logits take about 80.
MIN_CHUNKS = 8

# The pool starts a thread only when none is idle, so this is a limit, not a number of threads.
MAX_WORKERS = 1024

_lock = Lock()
_pool: ThreadPoolExecutor | None = None


def _shared_pool() -> ThreadPoolExecutor:
    global _pool
    with _lock:
        if _pool is None:
            _pool = ThreadPoolExecutor(MAX_WORKERS, thread_name_prefix="cekernels")
        return _pool


def _forget_pool() -> None:
    global _lock, _pool
    _lock, _pool = Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_pool)


def run(job: Job, n_threads: int) -> None:
    """Run all chunks of a job; the calling thread takes its share."""
    n_chunks = job.n_chunks
    n_threads = min(n_threads, max(1, n_chunks // MIN_CHUNKS))
    if n_threads == 1:
        job.run(0, n_chunks)
        return
    bounds = [n_chunks * i // n_threads for i in range(n_threads + 1)]
    pool = _shared_pool()
    futures = [pool.submit(job.run, *span) for span in pairwise(bounds[1:])]
    job.run(0, bounds[1])
    for future in futures:
        future.result()
