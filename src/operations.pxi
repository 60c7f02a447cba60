# The jobs: a class for each operation, which fills the operation's struct and calls its kernel.

cimport numpy as cnp

from cek cimport *


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

    def __init__(self, *args):
        CrossEntropy.__init__(self, *args)
        self.scratch_size = self.table.nll_scratch_size(&self.args)

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        cdef double *sums = <double *> cnp.PyArray_DATA(self.sums)
        self.table.nll(&self.args, begin, end, sums, scratch)


cdef class KlDivergence(CrossEntropy):
    """Kullback-Leibler divergence of the softmax of logits from probabilities."""

    def __init__(self, *args):
        CrossEntropy.__init__(self, *args)
        self.scratch_size = self.table.divergence_scratch_size(&self.args)

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        cdef double *sums = <double *> cnp.PyArray_DATA(self.sums)
        self.table.kl_divergence(&self.args, begin, end, sums, scratch)


cdef class JsDivergence(CrossEntropy):
    """Jensen-Shannon divergence of the softmax of logits from probabilities."""

    def __init__(self, *args):
        CrossEntropy.__init__(self, *args)
        self.scratch_size = self.table.divergence_scratch_size(&self.args)

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
        cdef cek_cross_entropy_hvp_args call = self.call()
        self.scratch_size = self.table.hvp_scratch_size(&call)

    cdef cek_cross_entropy_hvp_args call(self) noexcept nogil:
        cdef cek_cross_entropy_hvp_args call
        call.problem = self.args
        call.vector = self.vector
        call.out = self.out
        return call

    cdef void chunks(self, size_t begin, size_t end, void *scratch) noexcept nogil:
        cdef cek_cross_entropy_hvp_args call = self.call()
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
