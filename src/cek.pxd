# The declarations of cek.h that the Cython files use; cek.h documents every field.
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
        CEK_FLOAT16
        CEK_BFLOAT16
        CEK_FLOAT32
        CEK_FLOAT64

    struct cek_array:
        void *data
        const ptrdiff_t *shape
        const ptrdiff_t *strides
        int ndim
        cek_type type

    enum:
        CEK_CHUNK

    struct cek_binary_args:
        size_t n
        cek_array input
        cek_array complement
        cek_array targets
        cek_array sample_weight
        cek_array pos_weight
        double neg_weight
        double gamma
        double label_smoothing
        double ignore_value
        int ignore
        double eps
        double log_min
        double grad_scale
        double hess_factor
        int gauss_newton
        cek_array loss
        cek_array grad
        cek_array hess
        cek_array proba

    enum cek_outer:
        CEK_OUTER_NONE
        CEK_OUTER_FOCAL
        CEK_OUTER_POLY1
        CEK_OUTER_POWER

    struct cek_cross_entropy_args:
        size_t n_rows
        size_t n_classes
        cek_array logits
        cek_array labels
        cek_array target_proba
        cek_array allowed
        cek_array sample_weight
        const void *class_weight
        double label_smoothing
        double z_loss
        double softcap
        double logit_scale
        uint64_t ignore_index
        int ignore
        cek_outer outer
        double outer_parameter
        double grad_scale
        double hess_factor
        int gauss_newton
        cek_array loss
        cek_array grad
        cek_array hess
        cek_array proba
        cek_array log_proba
        cek_array lse
        cek_array scale_grad
        cek_array scale_hess

    struct cek_binary_hvp_args:
        cek_binary_args problem
        cek_array vector
        cek_array out

    struct cek_cross_entropy_hvp_args:
        cek_cross_entropy_args problem
        cek_array vector
        cek_array out

    struct cek_log_loss_args:
        size_t n_rows
        size_t n_columns
        cek_array proba
        ptrdiff_t class_stride
        cek_array labels
        cek_array sample_weight
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
        cek_array input
        cek_array out

    struct cek_table:
        void (*bce_logits)(const cek_binary_args *, size_t, size_t, double *) noexcept nogil
        void (*bce_probs)(const cek_binary_args *, size_t, size_t, double *) noexcept nogil
        void (*focal)(const cek_binary_args *, size_t, size_t, double *) noexcept nogil
        void (*binary_hvp)(const cek_binary_hvp_args *, size_t, size_t) noexcept nogil
        cek_scan (*scan_binary)(const cek_binary_args *, size_t, size_t) noexcept nogil
        cek_scan (*scan_probs)(const cek_array *, size_t, size_t) noexcept nogil
        void (*cross_entropy)(
            const cek_cross_entropy_args *, size_t, size_t, double *, void *
        ) noexcept nogil
        void (*nll)(
            const cek_cross_entropy_args *, size_t, size_t, double *, void *
        ) noexcept nogil
        void (*kl_divergence)(
            const cek_cross_entropy_args *, size_t, size_t, double *, void *
        ) noexcept nogil
        void (*js_divergence)(
            const cek_cross_entropy_args *, size_t, size_t, double *, void *
        ) noexcept nogil
        void (*cross_entropy_hvp)(
            const cek_cross_entropy_hvp_args *, size_t, size_t, void *
        ) noexcept nogil
        cek_scan (*scan_classes)(
            const cek_cross_entropy_args *, size_t, size_t
        ) noexcept nogil
        void (*softmax)(const cek_cross_entropy_args *, size_t, size_t, void *) noexcept nogil
        size_t (*scratch_size)(const cek_cross_entropy_args *) noexcept nogil
        size_t (*nll_scratch_size)(const cek_cross_entropy_args *) noexcept nogil
        size_t (*divergence_scratch_size)(const cek_cross_entropy_args *) noexcept nogil
        size_t (*hvp_scratch_size)(const cek_cross_entropy_hvp_args *) noexcept nogil
        void (*log_loss)(const cek_log_loss_args *, size_t, size_t, double *) noexcept nogil
        void (*unary)(const cek_unary_args *, size_t, size_t) noexcept nogil
        size_t (*chunk_rows)(size_t) noexcept nogil
        size_t (*chunks_together)(const cek_cross_entropy_args *) noexcept nogil

    struct cek_isa:
        const char *name
        int (*supported)() noexcept nogil
        const cek_table *f32
        const cek_table *f64

    const cek_isa *cek_isas(size_t *count) noexcept
    double cek_tree_sum(const double *values, size_t n) noexcept
    cek_scan cek_tree_scan(const cek_scan *scans, size_t n) noexcept


cdef extern from "cpu.h" nogil:
    unsigned cek_flags_save() noexcept
    void cek_flags_restore(unsigned flags) noexcept


cdef extern from "pool.h" nogil:
    enum:
        CEK_MIN_CHUNKS

    struct cek_share:
        pass

    ctypedef void cek_task(void *context, cek_share *share) noexcept

    bint cek_take(cek_share *share, size_t *chunk) noexcept
    bint cek_pool_run(
        cek_task *task, void *context, size_t n_chunks, size_t n_threads
    ) noexcept
    size_t cek_pool_cpus() noexcept
    size_t cek_pool_size() noexcept
    void cek_pool_stop() noexcept
