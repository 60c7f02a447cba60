# The declarations of cek.h that _kernels.pyx uses; cek.h documents every field.
from libc.stdint cimport int64_t, uint64_t


cdef extern from "cek.h" nogil:
    enum cek_type:
        CEK_BOOL
        CEK_INT8
        CEK_INT16
        CEK_INT32
        CEK_INT64
        CEK_UINT8
        CEK_UINT16
        CEK_UINT32
        CEK_UINT64
        CEK_FLOAT32
        CEK_FLOAT64

    struct cek_in:
        const void *data
        ptrdiff_t stride
        cek_type type

    enum:
        CEK_CHUNK

    struct cek_binary_args:
        size_t n
        cek_in input
        cek_in targets
        cek_in sample_weight
        cek_in pos_weight
        double label_smoothing
        double ignore_value
        int ignore
        double eps
        double log_min
        double grad_scale
        void *loss
        void *grad
        void *hess
        void *proba

    struct cek_cross_entropy_args:
        size_t n_rows
        size_t n_classes
        const void *logits
        cek_in labels
        const void *target_proba
        cek_in sample_weight
        const void *class_weight
        double label_smoothing
        uint64_t ignore_index
        int ignore
        double grad_scale
        void *loss
        void *grad
        void *hess
        void *proba
        void *log_proba
        void *lse

    struct cek_log_loss_args:
        size_t n_rows
        size_t n_columns
        cek_in proba
        ptrdiff_t class_stride
        cek_in labels
        cek_in sample_weight
        double eps
        double tolerance

    struct cek_scan:
        double weight
        int64_t count
        ptrdiff_t invalid

    enum cek_unary:
        CEK_EXPIT
        CEK_LOG_EXPIT
        CEK_SOFTPLUS
        CEK_EXP_NONPOS
        CEK_LOG1P_UNIT
        CEK_LOG1P_NONNEG
        CEK_LOG_UNIT

    struct cek_unary_args:
        cek_unary function
        size_t n
        cek_in input
        void *out

    struct cek_table:
        void (*bce_logits)(const cek_binary_args *, size_t, size_t, double *) noexcept nogil
        void (*bce_probs)(const cek_binary_args *, size_t, size_t, double *) noexcept nogil
        cek_scan (*scan_binary)(const cek_binary_args *) noexcept nogil
        cek_scan (*scan_probs)(const cek_in *, size_t) noexcept nogil
        void (*cross_entropy)(
            const cek_cross_entropy_args *, size_t, size_t, double *
        ) noexcept nogil
        cek_scan (*scan_classes)(const cek_cross_entropy_args *) noexcept nogil
        void (*softmax)(const cek_cross_entropy_args *, size_t, size_t) noexcept nogil
        void (*log_loss)(const cek_log_loss_args *, size_t, size_t, double *) noexcept nogil
        void (*unary)(const cek_unary_args *, size_t, size_t) noexcept nogil
        size_t (*chunk_rows)(size_t) noexcept nogil

    struct cek_isa:
        const char *name
        int (*supported)() noexcept nogil
        const cek_table *f32
        const cek_table *f64

    const cek_isa *cek_isas(size_t *count) noexcept
    double cek_tree_sum(const double *values, size_t n) noexcept


cdef extern from "cpu.h" nogil:
    unsigned cek_flags_save() noexcept
    void cek_flags_restore(unsigned flags) noexcept
