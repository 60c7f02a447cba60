# cython: language_level=3, boundscheck=False, wraparound=False, auto_pickle=False
"""The door to the C kernels: arrays become structs, one call runs without the GIL.

No arithmetic and no checks: `cekernels._validation` has made every array what its name says.
Arrays have any strides.  What has one value an entry or a row may have any number of axes, or none
to stand for one repeated value; arrays of classes have these as their last axis.
"""

cimport cython
cimport numpy as cnp
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from libc.stdlib cimport free, malloc
from libc.string cimport memset

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


cdef inline void *data_of(object array) noexcept:
    return NULL if array is None else cnp.PyArray_DATA(<cnp.ndarray> array)


cdef cek_type type_of(cnp.ndarray array) noexcept:
    cdef int type_number = cnp.PyArray_TYPE(array)
    cdef cnp.npy_intp size = cnp.PyArray_ITEMSIZE(array)
    if cnp.PyTypeNum_ISUSERDEF(type_number):
        return CEK_BFLOAT16
    if cnp.PyTypeNum_ISFLOAT(type_number):
        return CEK_FLOAT16 if size == 2 else CEK_FLOAT32 if size == 4 else CEK_FLOAT64
    if cnp.PyTypeNum_ISBOOL(type_number):
        return CEK_BOOL
    if cnp.PyTypeNum_ISSIGNED(type_number):
        if size == 1:
            return CEK_INT8
        return CEK_INT16 if size == 2 else CEK_INT32 if size == 4 else CEK_INT64
    if size == 1:
        return CEK_UINT8
    return CEK_UINT16 if size == 2 else CEK_UINT32 if size == 4 else CEK_UINT64


cdef cek_array operand(object array) noexcept:
    """An array as C sees it, for as long as the array object lives."""
    cdef cek_array result
    result.data = data_of(array)
    result.shape = NULL
    result.strides = NULL
    result.ndim = 0
    result.type = CEK_FLOAT64
    if array is not None:
        result.type = type_of(<cnp.ndarray> array)
        result.ndim = cnp.PyArray_NDIM(<cnp.ndarray> array)
        result.shape = <const ptrdiff_t *> cnp.PyArray_DIMS(<cnp.ndarray> array)
        result.strides = <const ptrdiff_t *> cnp.PyArray_STRIDES(<cnp.ndarray> array)
    return result


cdef ptrdiff_t[9] item_strides
cdef int item_size
for item_size in range(9):
    item_strides[item_size] = item_size


cdef inline cek_array flat(cnp.ndarray array) noexcept:
    """A C-contiguous array of any shape as a vector."""
    cdef cek_array result
    result.data = cnp.PyArray_DATA(array)
    result.shape = NULL  # a single axis is as long as it has to be
    result.strides = &item_strides[cnp.PyArray_ITEMSIZE(array)]
    result.ndim = 1
    result.type = type_of(array)
    return result


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


cdef class Binary(Job):
    """Binary cross-entropy of logits."""

    cdef cek_binary_args args

    def __init__(
        self, input, targets, sample_weight, pos_weight, double label_smoothing, ignore_value,
        loss, grad, hess, proba,
    ):
        self.arrays = (input, targets, sample_weight, pos_weight, loss, grad, hess, proba)
        self.table = table_of(input)
        self.args.n = cnp.PyArray_SIZE(input)
        self.args.input = operand(input)
        self.args.complement = operand(None)
        self.args.targets = operand(targets)
        self.args.sample_weight = operand(sample_weight)
        self.args.pos_weight = operand(pos_weight)
        self.args.neg_weight = 1.0
        self.args.label_smoothing = label_smoothing
        self.args.ignore = ignore_value is not None
        self.args.ignore_value = ignore_value or 0.0
        self.args.grad_scale = 1.0
        self.args.hess_factor = 1.0
        self.args.gauss_newton = False
        self.args.loss = operand(loss)
        self.args.grad = operand(grad)
        self.args.hess = operand(hess)
        self.args.proba = operand(proba)
        self.n_targets = self.args.n
        self.part_size = CEK_CHUNK
        self.n_chunks = (self.args.n + CEK_CHUNK - 1) // CEK_CHUNK
        self.sums = empty_sums(self.n_chunks)

    cdef cek_scan scan_targets(self, size_t begin, size_t end) noexcept nogil:
        return self.table.scan_binary(&self.args, begin, end)

    def scale_grad(self, double factor):
        """Multiply the gradient and the Hessian by factor."""
        self.args.grad_scale = factor

    def set_hess(self, double factor, bint gauss_newton):
        """Multiply the Hessian by another factor; leave out what may be negative of focal loss."""
        self.args.hess_factor = factor
        self.args.gauss_newton = gauss_newton

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        self.table.bce_logits(&self.args, begin, end, <double *> cnp.PyArray_DATA(self.sums))


cdef class Probs(Binary):
    """Binary cross-entropy of probabilities: the arguments of `Binary` after its own."""

    cdef object complement

    def __init__(self, complement, double eps, double log_min, *args):
        Binary.__init__(self, *args)
        self.complement = complement
        self.args.complement = operand(complement)
        self.args.eps = eps
        self.args.log_min = log_min

    def scan_probs(self, size_t n_threads):
        """Index of the first probability outside [0, 1], or -1."""
        return self.first_outside(self.arrays[0], n_threads)

    def scan_complement(self, size_t n_threads):
        """The same for the complements."""
        return self.first_outside(self.complement, n_threads)

    cdef first_outside(self, array, size_t n_threads):
        """As targets without weights they are allowed the same values."""
        job = Binary(self.arrays[0], array, None, None, 0.0, None, None, None, None, None)
        return job.scan(n_threads)[2]

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        self.table.bce_probs(&self.args, begin, end, <double *> cnp.PyArray_DATA(self.sums))


cdef class Focal(Binary):
    """Focal loss of logits: the arguments of `Binary` after its own."""

    def __init__(self, double gamma, double neg_weight, *args):
        Binary.__init__(self, *args)
        self.args.gamma = gamma
        self.args.neg_weight = neg_weight

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        self.table.focal(&self.args, begin, end, <double *> cnp.PyArray_DATA(self.sums))


cdef class BinaryHvp(Binary):
    """Product of a vector with the Hessian of binary cross-entropy from logits."""

    cdef object product  # keeps the memory alive
    cdef cek_array vector
    cdef cek_array out

    def __init__(self, vector, out, *args):
        Binary.__init__(self, *args)
        self.product = (vector, out)
        self.vector = operand(vector)
        self.out = operand(out)

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        cdef cek_binary_hvp_args call
        call.problem = self.args
        call.vector = self.vector
        call.out = self.out
        self.table.binary_hvp(&call, begin, end)


cdef class CrossEntropy(Job):
    """Softmax cross-entropy of logits with labels, or with probabilities as targets."""

    cdef cek_cross_entropy_args args

    def __init__(
        self, logits, labels, target_proba, allowed, sample_weight, class_weight,
        double label_smoothing, ignore_index, double z_loss, double softcap, double logit_scale,
        loss, grad, hess, proba, lse, scale_grad, scale_hess,
    ):
        self.arrays = (
            logits, labels, target_proba, allowed, sample_weight, class_weight,
            loss, grad, hess, proba, lse, scale_grad, scale_hess,
        )
        self.table = table_of(logits)
        self.args.n_classes = cnp.PyArray_DIM(logits, cnp.PyArray_NDIM(logits) - 1)
        self.args.n_rows = cnp.PyArray_SIZE(logits) // self.args.n_classes
        self.args.logits = operand(logits)
        self.args.labels = operand(labels)
        self.args.target_proba = operand(target_proba)
        self.args.allowed = operand(allowed)
        self.args.sample_weight = operand(sample_weight)
        self.args.class_weight = data_of(class_weight)
        self.args.label_smoothing = label_smoothing
        self.args.z_loss = z_loss
        self.args.softcap = softcap
        self.args.logit_scale = logit_scale
        self.args.ignore = ignore_index is not None
        self.args.ignore_index = (ignore_index or 0) & 0xFFFFFFFFFFFFFFFF  # as uint64_t wraps
        self.args.outer = CEK_OUTER_NONE
        self.args.outer_parameter = 0.0
        self.args.grad_scale = 1.0
        self.args.hess_factor = 1.0
        self.args.gauss_newton = False
        self.args.loss = operand(loss)
        self.args.grad = operand(grad)
        self.args.hess = operand(hess)
        self.args.proba = operand(proba)
        self.args.log_proba = operand(None)
        self.args.lse = operand(lse)
        self.args.scale_grad = operand(scale_grad)
        self.args.scale_hess = operand(scale_hess)
        self.scratch_size = self.table.scratch_size(&self.args)
        cdef size_t rows = self.table.chunk_rows(self.args.n_classes)
        self.n_targets = self.args.n_rows
        self.part_size = CEK_CHUNK if target_proba is None else rows
        self.together = self.table.chunks_together(&self.args)
        self.n_chunks = (self.args.n_rows + rows - 1) // rows
        self.sums = empty_sums(self.n_chunks)

    cdef cek_scan scan_targets(self, size_t begin, size_t end) noexcept nogil:
        return self.table.scan_classes(&self.args, begin, end)

    def scale_grad(self, double factor):
        """Multiply the gradients and Hessians by factor."""
        self.args.grad_scale = factor

    def set_hess(self, double factor, bint gauss_newton):
        """As for `Binary`; of any outer function."""
        self.args.hess_factor = factor
        self.args.gauss_newton = gauss_newton

    cdef size_t row_size(self) noexcept:
        """Bytes of a row of logits as they are computed."""
        return self.args.n_classes * (4 if self.table == active.f32 else 8)

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        cdef double *sums = <double *> cnp.PyArray_DATA(self.sums)
        self.table.cross_entropy(&self.args, begin, end, sums, scratch)


cdef class OuterCrossEntropy(CrossEntropy):
    """An outer function of the cross-entropy of labels: its arguments before those of its own."""

    def __init__(self, int outer, double parameter, *args):
        CrossEntropy.__init__(self, *args)
        self.args.outer = <cek_outer> outer
        self.args.outer_parameter = parameter


cdef class Nll(CrossEntropy):
    """Negative log likelihood: log-probabilities in place of the logits."""

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        cdef double *sums = <double *> cnp.PyArray_DATA(self.sums)
        self.table.nll(&self.args, begin, end, sums, scratch)


cdef class KlDivergence(CrossEntropy):
    """Kullback-Leibler divergence of the softmax of logits from probabilities."""

    def __init__(self, *args):
        CrossEntropy.__init__(self, *args)
        self.scratch_size = self.row_size()

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        cdef double *sums = <double *> cnp.PyArray_DATA(self.sums)
        self.table.kl_divergence(&self.args, begin, end, sums, scratch)


cdef class JsDivergence(CrossEntropy):
    """Jensen-Shannon divergence of the softmax of logits from probabilities."""

    def __init__(self, *args):
        CrossEntropy.__init__(self, *args)
        self.scratch_size = self.row_size()

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        cdef double *sums = <double *> cnp.PyArray_DATA(self.sums)
        self.table.js_divergence(&self.args, begin, end, sums, scratch)


cdef class CrossEntropyHvp(CrossEntropy):
    """Product of an array with the Hessian of cross-entropy; without the array, its blocks."""

    cdef object product  # keeps the memory alive
    cdef cek_array vector
    cdef cek_array out

    def __init__(self, vector, out, *args):
        CrossEntropy.__init__(self, *args)
        self.product = (vector, out)
        self.vector = operand(vector)
        self.out = operand(out)
        self.scratch_size = self.row_size()

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        cdef cek_cross_entropy_hvp_args call
        call.problem = self.args
        call.vector = self.vector
        call.out = self.out
        self.table.cross_entropy_hvp(&call, begin, end, scratch)


cdef class Softmax(Job):
    """softmax, log_softmax and logsumexp of the last axis of logits."""

    cdef cek_cross_entropy_args args

    def __init__(self, logits, proba, log_proba, lse):
        self.arrays = (logits, proba, log_proba, lse)
        self.table = table_of(logits)
        self.args.n_classes = cnp.PyArray_DIM(logits, cnp.PyArray_NDIM(logits) - 1)
        self.args.n_rows = cnp.PyArray_SIZE(logits) // self.args.n_classes
        self.args.logit_scale = 1.0
        self.args.logits = operand(logits)
        self.args.proba = operand(proba)
        self.args.log_proba = operand(log_proba)
        self.args.lse = operand(lse)
        self.scratch_size = self.table.scratch_size(&self.args)
        self.together = self.table.chunks_together(&self.args)
        cdef size_t rows = self.table.chunk_rows(self.args.n_classes)
        self.n_chunks = (self.args.n_rows + rows - 1) // rows

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        self.table.softmax(&self.args, begin, end, scratch)


cdef class LogLoss(Job):
    """Log loss of labels, in float64, by float32 or float64 probabilities of any strides."""

    cdef cek_log_loss_args args

    def __init__(self, proba, labels, sample_weight, double eps, double tolerance):
        self.arrays = (proba, labels, sample_weight)
        self.table = active.f64
        self.args.n_rows = cnp.PyArray_DIM(proba, 0)
        self.args.n_columns = 1
        self.args.proba = operand(proba)
        self.args.proba.ndim = 1  # a column
        self.args.class_stride = 0
        if cnp.PyArray_NDIM(proba) == 2:
            self.args.n_columns = cnp.PyArray_DIM(proba, 1)
            self.args.class_stride = cnp.PyArray_STRIDE(proba, 1)
        self.args.labels = operand(labels)
        self.args.sample_weight = operand(sample_weight)
        self.args.eps = eps
        self.args.tolerance = tolerance
        self.n_chunks = (self.args.n_rows + CEK_CHUNK - 1) // CEK_CHUNK
        self.sums = empty_sums(self.n_chunks)

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        cdef double *sums = <double *> cnp.PyArray_DATA(self.sums)
        self.table.log_loss(&self.args, begin, end, sums)


cdef class Unary(Job):
    """A function of every element of an array."""

    cdef cek_unary_args args

    def __init__(self, int function, input, out):
        self.arrays = (input, out)
        self.table = table_of(input)
        self.args.function = <cek_unary> function
        self.args.n = cnp.PyArray_SIZE(input)
        self.args.input = operand(input)
        self.args.out = operand(out)
        self.n_chunks = (self.args.n + CEK_CHUNK - 1) // CEK_CHUNK

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        self.table.unary(&self.args, begin, end)


# What the checks and views of arrays ask first, and often.

cdef enum:
    MAX_AXES = 64  # of NumPy


cdef inline bint is_plain(object array) noexcept:
    """Exactly an ndarray, aligned and native."""
    return type(array) is cnp.ndarray and cnp.PyArray_ISBEHAVED_RO(<cnp.ndarray> array)


cdef inline bint is_plain_float(object array) noexcept:
    """The same of float32 or float64."""
    return is_plain(array) and cnp.PyArray_TYPE(<cnp.ndarray> array) in (
        cnp.NPY_FLOAT32, cnp.NPY_FLOAT64
    )


cdef inline bint is_plain_integer(object array) noexcept:
    """The same of integers or bool."""
    if not is_plain(array):
        return False
    cdef int type_number = cnp.PyArray_TYPE(<cnp.ndarray> array)
    return cnp.PyTypeNum_ISBOOL(type_number) or cnp.PyTypeNum_ISINTEGER(type_number)


def is_plain_number(array):
    """Exactly an ndarray of numbers that the kernels read, aligned and native."""
    return is_plain_float(array) or is_plain_integer(array)


cdef inline char *extent(cnp.ndarray array, char **high) noexcept:
    """First byte of an array that is not empty; high: the byte behind its last."""
    cdef char *low = cnp.PyArray_BYTES(array)
    cdef cnp.npy_intp reach
    cdef int axis
    high[0] = low + cnp.PyArray_ITEMSIZE(array)
    for axis in range(cnp.PyArray_NDIM(array)):
        reach = (cnp.PyArray_DIM(array, axis) - 1) * cnp.PyArray_STRIDE(array, axis)
        if reach < 0:
            low += reach
        else:
            high[0] += reach
    return low


cpdef bint are_apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """One array ends before the other begins."""
    cdef char *a_end
    cdef char *b_end
    cdef char *a_begin = extent(a, &a_end)
    cdef char *b_begin = extent(b, &b_end)
    return a_end <= b_begin or b_end <= a_begin


def merged(cnp.ndarray array not None, int n_axes):
    """A view whose first n_axes axes are merged where one continues the other."""
    cdef cnp.npy_intp[MAX_AXES] shape, strides
    cdef cnp.npy_intp length, stride
    cdef int axis, n = 0, ndim = cnp.PyArray_NDIM(array)
    for axis in range(ndim):
        length, stride = cnp.PyArray_DIM(array, axis), cnp.PyArray_STRIDE(array, axis)
        if axis < n_axes and length == 1:
            continue
        if 0 < n and axis < n_axes and strides[n - 1] == stride * length:
            shape[n - 1] *= length
            strides[n - 1] = stride
        else:
            shape[n], strides[n] = length, stride
            n += 1
    if n == 0:
        shape[0], strides[0], n = 1, cnp.PyArray_ITEMSIZE(array), 1
    view = cnp.PyArray_New(
        cnp.ndarray, n, shape, cnp.PyArray_TYPE(array), strides, cnp.PyArray_DATA(array), 0,
        cnp.PyArray_FLAGS(array) & cnp.NPY_ARRAY_WRITEABLE, None,
    )
    cnp.set_array_base(view, array)
    return view


# The plain call: ordinary arrays, no option but weights, smoothing and a reduction, one thread's
# worth of work.  The functions below answer it without a Python object but the result, and give
# None wherever the long way has to decide.

cdef enum:
    PLAIN_CHUNKS = 16
    PLAIN_NOGIL = 8192  # logits; releasing and taking the GIL costs as much as 100 of them


cdef inline void set_vector(cek_array *field, object array) noexcept:
    """Fill a field, which is absent so far, unless the array is None."""
    if array is None:
        return
    field[0] = flat(array) if cnp.PyArray_IS_C_CONTIGUOUS(<cnp.ndarray> array) else operand(array)


cdef bint is_shared(size_t n_chunks) except -1:
    """Do several threads run so many chunks?"""
    if n_chunks < 2 * CEK_MIN_CHUNKS:
        return False
    from cekernels import _parallel, _runtime
    return _parallel.share(n_chunks, _runtime.get_num_threads()) > 1


cdef enum Reduction:
    MEAN
    SUM
    NONE
    NOT_PLAIN


cdef inline Reduction reduction_of(object name):
    if type(name) is not str:
        return NOT_PLAIN
    if <str> name == "mean":
        return MEAN
    if <str> name == "none":
        return NONE
    return SUM if <str> name == "sum" else NOT_PLAIN


cdef inline bint are_plain_options(
    cnp.ndarray targets, object sample_weight, object label_smoothing
) noexcept:
    """A weight for each target, in one part of the scan, and a fraction."""
    if type(label_smoothing) is not float or not 0.0 <= <double> label_smoothing <= 1.0:
        return False
    return sample_weight is None or (
        (is_plain_float(sample_weight) or is_plain_integer(sample_weight))
        and cnp.PyArray_SAMESHAPE(<cnp.ndarray> sample_weight, targets)
        and cnp.PyArray_SIZE(targets) <= CEK_CHUNK
    )


cdef object plain_losses(cnp.ndarray logits, cnp.ndarray targets, bint wanted):
    """A new array for a value of each target, or None."""
    if not wanted:
        return None
    return cnp.PyArray_EMPTY(
        cnp.PyArray_NDIM(targets), cnp.PyArray_DIMS(targets), cnp.PyArray_TYPE(logits), 0
    )


cdef object plain_output(
    cnp.ndarray logits, cnp.ndarray targets, object sample_weight, bint wanted, object out
):
    """The array that takes an output, None where it is not wanted, or False: not plain."""
    if out is None and not wanted:
        return None
    cdef int ndim = cnp.PyArray_NDIM(logits)
    cdef bint fortran = cnp.PyArray_IS_F_CONTIGUOUS(logits)
    if out is None:
        if ndim > 1 and not fortran and not cnp.PyArray_IS_C_CONTIGUOUS(logits):
            return False
        return cnp.PyArray_EMPTY(
            ndim, cnp.PyArray_DIMS(logits), cnp.PyArray_TYPE(logits), fortran
        )
    if (
        type(out) is cnp.ndarray
        and cnp.PyArray_TYPE(<cnp.ndarray> out) == cnp.PyArray_TYPE(logits)
        and cnp.PyArray_ISBEHAVED(<cnp.ndarray> out)
        and cnp.PyArray_ISONESEGMENT(<cnp.ndarray> out)
        and cnp.PyArray_SAMESHAPE(<cnp.ndarray> out, logits)
        and (out is logits or are_apart(<cnp.ndarray> out, logits))
        and are_apart(<cnp.ndarray> out, targets)
        and (sample_weight is None or are_apart(<cnp.ndarray> out, <cnp.ndarray> sample_weight))
    ):
        return out
    return False


cdef object results_of(value, grad, hess, proba, lse):
    """The value, alone or in front of the arrays that there are."""
    if hess is proba is lse is None:
        return value if grad is None else (value, grad)
    return (value, *[array for array in (grad, hess, proba, lse) if array is not None])


def plain_binary(
    logits, targets, sample_weight, label_smoothing, reduction,
    bint return_grad, bint return_hess, bint return_proba, grad_out,
):
    """Results of a plain call from logits; else None."""
    if not is_plain_float(logits):
        return None
    if not is_plain_float(targets) and not is_plain_integer(targets):
        return None
    if not cnp.PyArray_SAMESHAPE(logits, targets) or cnp.PyArray_NDIM(logits) == 0:
        return None
    cdef Reduction to = reduction_of(reduction)
    if to == NOT_PLAIN or not are_plain_options(targets, sample_weight, label_smoothing):
        return None
    cdef cek_binary_args args
    memset(&args, 0, sizeof(args))
    args.n = cnp.PyArray_SIZE(logits)
    cdef size_t n_chunks = (args.n + CEK_CHUNK - 1) // CEK_CHUNK
    if args.n == 0 or n_chunks > PLAIN_CHUNKS or is_shared(n_chunks):
        return None
    grad = plain_output(logits, targets, sample_weight, return_grad, grad_out)
    hess = plain_output(logits, targets, sample_weight, return_hess, None)
    proba = plain_output(logits, targets, sample_weight, return_proba, None)
    if grad is False or hess is False or proba is False:
        return None
    losses = plain_losses(logits, targets, to == NONE)
    cdef const cek_table *table = table_of(logits)
    cdef double[PLAIN_CHUNKS] sums
    cdef double divisor = 0.0 if to == MEAN else 1.0
    set_vector(&args.input, logits)
    set_vector(&args.targets, targets)
    set_vector(&args.sample_weight, sample_weight)
    args.label_smoothing = label_smoothing
    set_vector(&args.loss, losses)
    set_vector(&args.grad, grad)
    set_vector(&args.hess, hess)
    set_vector(&args.proba, proba)
    args.neg_weight = args.hess_factor = 1.0
    cdef bint valid
    if args.n < PLAIN_NOGIL:
        valid = run_plain_binary(table, &args, &divisor, n_chunks, sums)
    else:
        with nogil:
            valid = run_plain_binary(table, &args, &divisor, n_chunks, sums)
    if not valid:
        return None
    value = cek_tree_sum(sums, n_chunks) / divisor if losses is None else losses
    return results_of(value, grad, hess, proba, None)


cdef bint run_plain_binary(
    const cek_table *table, cek_binary_args *args, double *divisor, size_t n_chunks, double *sums
) noexcept nogil:
    """Write the outputs; a divisor of 0 becomes the weight.  False: nothing is written."""
    cdef unsigned flags = cek_flags_save()
    cdef cek_scan scan
    if args.sample_weight.data is NULL:
        scan = table.scan_probs(&args.targets, 0, args.n)
        scan.weight = args.n
    else:
        scan = table.scan_binary(args, 0, args.n)
    cdef bint valid = is_plain_scan(&scan, divisor)
    if valid:
        args.grad_scale = inverse(divisor[0])
        table.bce_logits(args, 0, n_chunks, sums)
    cek_flags_restore(flags)
    return valid


cdef inline bint is_plain_scan(const cek_scan *scan, double *divisor) noexcept nogil:
    """No invalid target, and no mean of nothing; a divisor of 0 becomes the weight."""
    if divisor[0] == 0.0:
        divisor[0] = scan.weight
    return scan.invalid < 0 and divisor[0] != 0.0


@cython.cdivision(True)
cdef inline double inverse(double divisor) noexcept nogil:
    return 1.0 / divisor


cdef cek_array rows_of(
    cnp.ndarray array, int axis, ptrdiff_t *shape, ptrdiff_t *strides
) noexcept:
    """A C-contiguous array with the axis of classes last; shape and strides have room for three."""
    cdef cek_array result = operand(array)
    cdef int i
    cdef ptrdiff_t before = 1, after = 1, n_classes = cnp.PyArray_DIM(array, axis)
    for i in range(result.ndim):
        if i < axis:
            before *= cnp.PyArray_DIM(array, i)
        elif i > axis:
            after *= cnp.PyArray_DIM(array, i)
    cdef ptrdiff_t size = cnp.PyArray_ITEMSIZE(array)
    cdef int n = 0
    if before > 1:
        shape[n], strides[n] = before, n_classes * after * size
        n += 1
    if after > 1 or n == 0:
        shape[n], strides[n] = after, size
        n += 1
    shape[n], strides[n] = n_classes, after * size
    result.shape, result.strides, result.ndim = shape, strides, n + 1
    return result


cdef inline cek_array like_rows(cek_array rows, object array) noexcept:
    """Another array with the shape and strides of rows, or none."""
    if array is None:
        return operand(None)
    rows.data = data_of(array)
    return rows


cdef bint are_samples(cnp.ndarray labels, cnp.ndarray logits, int axis) noexcept:
    """Is this the shape of logits without the axis?"""
    cdef int i, n = cnp.PyArray_NDIM(labels)
    if n + 1 != cnp.PyArray_NDIM(logits):
        return False
    for i in range(n):
        if cnp.PyArray_DIM(labels, i) != cnp.PyArray_DIM(logits, i + (i >= axis)):
            return False
    return True


def plain_cross_entropy(
    logits, labels, axis, sample_weight, label_smoothing, reduction,
    bint return_grad, bint return_hess, bint return_proba, bint return_lse, grad_out,
):
    """Results of a plain call with labels; else None."""
    if not is_plain_float(logits) or not is_plain_integer(labels):
        return None
    cdef int ndim = cnp.PyArray_NDIM(logits)
    if ndim < 2:
        return None
    cdef int of_classes = ndim - 1
    if axis != -1:
        if not -ndim <= axis < ndim:
            return None
        of_classes = axis % ndim
    cdef bint is_matrix = ndim == 2 and of_classes == 1
    if not is_matrix and not cnp.PyArray_IS_C_CONTIGUOUS(logits):
        return None
    cdef cek_cross_entropy_args args
    memset(&args, 0, sizeof(args))
    args.n_classes = cnp.PyArray_DIM(logits, of_classes)
    if not are_samples(labels, logits, of_classes) or cnp.PyArray_SIZE(logits) == 0:
        return None
    cdef Reduction to = reduction_of(reduction)
    if to == NOT_PLAIN or not are_plain_options(labels, sample_weight, label_smoothing):
        return None
    args.n_rows = cnp.PyArray_SIZE(labels)
    cdef const cek_table *table = table_of(logits)
    cdef size_t rows = table.chunk_rows(args.n_classes)
    cdef size_t n_chunks = (args.n_rows + rows - 1) // rows
    if n_chunks > PLAIN_CHUNKS or is_shared(n_chunks):
        return None
    grad = plain_output(logits, labels, sample_weight, return_grad, grad_out)
    hess = plain_output(logits, labels, sample_weight, return_hess, None)
    proba = plain_output(logits, labels, sample_weight, return_proba, None)
    if grad is False or hess is False or proba is False:
        return None
    if not is_matrix and grad is not None and not cnp.PyArray_IS_C_CONTIGUOUS(grad):
        return None
    losses = plain_losses(logits, labels, to == NONE)
    lse = plain_losses(logits, labels, return_lse)
    cdef double[PLAIN_CHUNKS] sums
    cdef double divisor = 0.0 if to == MEAN else 1.0
    cdef ptrdiff_t[3] shape, strides
    args.logits = operand(logits) if is_matrix else rows_of(logits, of_classes, shape, strides)
    set_vector(&args.labels, labels)
    set_vector(&args.sample_weight, sample_weight)
    args.label_smoothing = label_smoothing
    args.logit_scale = args.hess_factor = 1.0
    set_vector(&args.loss, losses)
    args.grad = operand(grad) if is_matrix else like_rows(args.logits, grad)
    args.hess = operand(hess) if is_matrix else like_rows(args.logits, hess)
    args.proba = operand(proba) if is_matrix else like_rows(args.logits, proba)
    set_vector(&args.lse, lse)
    cdef bint valid
    if args.n_rows * args.n_classes < PLAIN_NOGIL:
        valid = run_plain_cross_entropy(table, &args, &divisor, n_chunks, sums)
    else:
        with nogil:
            valid = run_plain_cross_entropy(table, &args, &divisor, n_chunks, sums)
    if not valid:
        return None
    value = cek_tree_sum(sums, n_chunks) / divisor if losses is None else losses
    return results_of(value, grad, hess, proba, lse)


cdef bint run_plain_cross_entropy(
    const cek_table *table, cek_cross_entropy_args *args, double *divisor, size_t n_chunks,
    double *sums,
) noexcept nogil:
    """As `run_plain_binary`."""
    cdef size_t size = table.scratch_size(args)
    cdef void *scratch = malloc(size) if size else NULL
    if size and scratch is NULL:
        return False
    cdef unsigned flags = cek_flags_save()
    cdef cek_scan scan = table.scan_classes(args, 0, args.n_rows)
    cdef bint valid = is_plain_scan(&scan, divisor)
    if valid:
        args.grad_scale = inverse(divisor[0])
        table.cross_entropy(args, 0, n_chunks, sums, scratch)
    cek_flags_restore(flags)
    free(scratch)
    return valid
