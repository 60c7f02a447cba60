"""Runs a job on one thread or several; the bits are the same.

A job's chunks depend on its shape alone, and each has its own place for its sum, so it does not matter
which thread of the pool in src/pool.c takes which.
"""

import atexit

from cekernels import _kernels

MIN_CHUNKS = _kernels.MIN_CHUNKS
cpus_allowed = _kernels.cpus_allowed

atexit.register(_kernels.stop_pool)


def share(n_chunks: int, n_threads: int) -> int:
    """Return how many threads so many chunks are worth, where each has a CPU."""
    if n_threads == 1:
        return 1
    n_threads = min(n_threads, n_chunks // MIN_CHUNKS)
    return min(n_threads, cpus_allowed()) if n_threads > 1 else 1


def run(job: _kernels.Job, n_threads: int) -> None:
    """Run all chunks of a job; the calling thread takes its share."""
    job.run(share(job.n_chunks, n_threads))


def scan(job: _kernels.Job, n_threads: int) -> tuple[float, int, int]:
    """Return weight and count of a job's targets, and the first that is invalid or -1."""
    return job.scan(share(job.n_chunks, n_threads))
