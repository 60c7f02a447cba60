# cython: language_level=3, boundscheck=False, wraparound=False, auto_pickle=False
"""The door to the C kernels: arrays become structs, one call runs without the GIL.

No arithmetic and no checks: `cekernels._validation` has made every array what its name says.
Arrays have any strides.  What has one value an entry or a row may have any number of axes, or none
to stand for one repeated value; arrays of classes have these as their last axis.

This is one module in several files: those included at the end, each of which uses the ones before.
"""

cimport numpy as cnp

from cek cimport *

cnp.import_array()

cdef extern from *:
    """
    #ifndef CEK_COMPILER
    #define CEK_COMPILER "unknown"
    #define CEK_FLAGS ""
    #endif
    """
    const char *CEK_COMPILER
    const char *CEK_FLAGS

COMPILER = CEK_COMPILER.decode()
FLAGS = CEK_FLAGS.decode()

EXPIT = CEK_EXPIT
LOG_EXPIT = CEK_LOG_EXPIT
SOFTPLUS = CEK_SOFTPLUS
EXP_NONPOS = CEK_EXP_NONPOS
LOG1P_UNIT = CEK_LOG1P_UNIT
LOG1P_NONNEG = CEK_LOG1P_NONNEG
LOG_UNIT = CEK_LOG_UNIT

MIN_CHUNKS = CEK_MIN_CHUNKS

OUTER_FOCAL = CEK_OUTER_FOCAL
OUTER_POLY1 = CEK_OUTER_POLY1
OUTER_POWER = CEK_OUTER_POWER

cdef size_t n_isas
cdef const cek_isa *isas = cek_isas(&n_isas)
cdef const cek_isa *active = &isas[0]


def built_isas():
    """Names of the instruction sets that were compiled in, best last."""
    return tuple(isas[i].name.decode() for i in range(n_isas))


def supported_isas():
    """Names of those that this processor and operating system run, best last."""
    return tuple(isas[i].name.decode() for i in range(n_isas) if isas[i].supported())


def active_isa():
    """Name of the instruction set in use."""
    return active.name.decode()


def cpus_allowed():
    """Number of CPUs that the calling thread may use."""
    return cek_pool_cpus()


def pool_size():
    """Number of threads that the pool has started."""
    return cek_pool_size()


def stop_pool():
    """End these threads; the next call that needs some starts them again."""
    with nogil:
        cek_pool_stop()


def set_isa(str name not None):
    """Use the instruction set of this name, which must be supported."""
    global active
    for i in range(n_isas):
        if isas[i].name.decode() == name and isas[i].supported():
            active = &isas[i]
            return
    raise ValueError(name)


cdef inline const cek_table *table_of(cnp.ndarray array) noexcept:
    return active.f64 if cnp.PyArray_TYPE(array) == cnp.NPY_FLOAT64 else active.f32


include "arrays.pxi"
include "job.pxi"
include "operations.pxi"
include "plain_calls.pxi"
