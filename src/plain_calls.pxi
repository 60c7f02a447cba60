# The plain call: ordinary arrays, no option but weights, smoothing and a reduction, one thread's
# worth of work.  The functions below answer it without a Python object but the result, and give
# None wherever the long way has to decide.

cimport cython
cimport numpy as cnp
from libc.stdlib cimport free, malloc
from libc.string cimport memset

from cek cimport *

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


cdef inline bint is_plain_scan(const cek_scan *scan, double *divisor) noexcept nogil:
    """No invalid target, and no mean of nothing; a divisor of 0 becomes the weight."""
    if divisor[0] == 0.0:
        divisor[0] = scan.weight
    return scan.invalid < 0 and divisor[0] != 0.0


@cython.cdivision(True)
cdef inline double inverse(double divisor) noexcept nogil:
    return 1.0 / divisor


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
