# What a call is, and how the threads of the pool share it.

cimport numpy as cnp
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdlib cimport free, malloc

from cek cimport *


cdef cnp.ndarray empty_sums(cnp.npy_intp n_chunks):
    return cnp.PyArray_EMPTY(1, &n_chunks, cnp.NPY_FLOAT64, 0)


cdef struct Shared:
    void *job  # a Job, which the call keeps alive
    cek_scan *scans  # one a part of the targets
    size_t together  # chunks that a thread takes at a time
    unsigned flags  # with the rounding and flushing of the calling thread


cdef void run_share(void *context, cek_share *share) noexcept nogil:
    """What one thread runs of a job; nothing if it has no memory for its scratch."""
    cdef const Shared *shared = <const Shared *> context
    cdef size_t size = (<Job> shared.job).scratch_size
    cdef void *scratch = malloc(size)
    if size and scratch is NULL:
        return
    cdef size_t n_chunks = (<Job> shared.job).n_chunks
    cdef size_t group, begin
    cdef unsigned flags = cek_flags_save()
    cek_flags_restore(shared.flags)
    while cek_take(share, &group):
        begin = group * shared.together
        (<Job> shared.job).chunks(begin, min(begin + shared.together, n_chunks), scratch)
    cek_flags_restore(flags)
    free(scratch)


cdef void scan_share(void *context, cek_share *share) noexcept nogil:
    """What one thread scans of the targets."""
    cdef const Shared *shared = <const Shared *> context
    cdef size_t part
    cdef unsigned flags = cek_flags_save()
    cek_flags_restore(shared.flags)
    while cek_take(share, &part):
        shared.scans[part] = (<Job> shared.job).scan_part(part)
    cek_flags_restore(flags)


cdef class Job:
    """One call's arrays and options; its chunks may be run in any thread and order."""

    cdef const cek_table *table
    cdef object arrays  # keeps the memory alive that args points to
    cdef cnp.ndarray sums
    cdef size_t scratch_size  # bytes that `chunks` needs
    cdef size_t n_targets  # entries or rows
    cdef size_t part_size  # of a part of the targets
    cdef size_t together  # chunks that had better be run in one call
    cdef readonly Py_ssize_t n_chunks

    def __cinit__(self):
        self.together = 1

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        pass

    cdef cek_scan scan_targets(self, size_t begin, size_t end) noexcept nogil:
        pass

    cdef cek_scan scan_part(self, size_t part) noexcept nogil:
        cdef size_t begin = part * self.part_size
        cdef size_t rest = self.n_targets - begin
        return self.scan_targets(begin, begin + min(rest, self.part_size))

    def run(self, size_t n_threads):
        """Write the outputs, on at most so many threads."""
        cdef Shared shared
        cdef bint complete
        shared.job = <void *> self
        shared.flags = cek_flags_save()
        # No thread waits for the chunks that another has taken together.
        shared.together = max(1, min(self.together, <size_t> self.n_chunks // n_threads))
        cdef size_t n_groups = (self.n_chunks + shared.together - 1) // shared.together
        with nogil:
            complete = cek_pool_run(run_share, &shared, n_groups, n_threads)
        if not complete:
            raise MemoryError

    def scan(self, size_t n_threads):
        """Weight and count of the kept targets, and the first that is invalid or -1."""
        cdef Shared shared
        cdef cek_scan scan
        cdef size_t n_parts = (self.n_targets + self.part_size - 1) // self.part_size
        shared.job = <void *> self
        shared.flags = cek_flags_save()
        shared.scans = <cek_scan *> PyMem_RawMalloc(n_parts * sizeof(cek_scan))
        if shared.scans is NULL:
            raise MemoryError
        with nogil:
            cek_pool_run(scan_share, &shared, n_parts, n_threads)
            scan = cek_tree_scan(shared.scans, n_parts)
        PyMem_RawFree(shared.scans)
        return scan.weight, scan.count, scan.invalid

    def total(self):
        """Sum of the losses, after every chunk was run."""
        return cek_tree_sum(<double *> cnp.PyArray_DATA(self.sums), self.n_chunks)
