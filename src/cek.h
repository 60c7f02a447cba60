/* The C interface of cekernels: plain structs in, plain arrays out, no Python.
 *
 * Each (instruction set, dtype) pair is one compilation of kernels/table.c and exports one
 * struct cek_table.  In this file `real` stands for the dtype of the table that is called: float or
 * double.  Every function works on a half-open range of chunks, never allocates and never starts a
 * thread.  Chunks are fixed by the shape alone, so the same chunk gives the same bits wherever, and
 * beside whatever else, it is run.
 */
#ifndef CEK_H
#define CEK_H

#include <stddef.h>
#include <stdint.h>

enum cek_type {
    CEK_BOOL,
    CEK_INT8,
    CEK_INT16,
    CEK_INT32,
    CEK_INT64,
    CEK_UINT8,
    CEK_UINT16,
    CEK_UINT32,
    CEK_UINT64,
    CEK_FLOAT16,
    CEK_BFLOAT16,
    CEK_FLOAT32,
    CEK_FLOAT64
};

/* An array of any element type, alignment and strides; its elements are counted in C order.
 * data NULL: absent, or not wanted.  ndim 0: one value that stands for all. */
struct cek_array {
    void *data;
    const ptrdiff_t *shape;   /* [ndim], all positive */
    const ptrdiff_t *strides; /* [ndim], in bytes     */
    int ndim;
    enum cek_type type;
};

/* Elements a chunk: 64 KiB of float logits, so that a chunk and its targets stay in the L2 cache. */
enum { CEK_CHUNK = 16384 };

/* Binary cross-entropy of n independent entries, from logits or from probabilities.
 * y' = y (1 - label_smoothing) + label_smoothing / 2; a = weight pos_weight y'; b = weight neg_weight
 * (1 - y').
 */
struct cek_binary_args {
    size_t n;
    struct cek_array input;          /* logits, or probabilities in [0, 1]                     */
    struct cek_array complement;     /* of probabilities: 1 - p; absent: computed              */
    struct cek_array targets;        /* y, in [0, 1]                                           */
    struct cek_array sample_weight;  /* absent: 1                                              */
    struct cek_array pos_weight;     /* absent: 1                                              */
    double neg_weight;              /* 1 but for focal                                        */
    double gamma;                   /* focal alone: in [0, 1000]                              */
    double label_smoothing;       /* in [0, 1]                                              */
    double ignore_value;          /* entries with this target count for nothing; may be NaN */
    int ignore;                   /* whether ignore_value is set                            */
    double eps;                   /* probabilities: p and 1 - p are clipped to [eps, 1 - eps] */
    double log_min;               /* probabilities: lower bound of both logarithms          */
    double grad_scale;            /* factor of grad and hess                                */
    double hess_factor;           /* another of hess                                        */
    int gauss_newton;             /* focal alone: hess without the term of phi''            */
    struct cek_array loss;          /* real                                                   */
    struct cek_array grad;          /* of the type of input; may be input itself              */
    struct cek_array hess;          /* of the type of input                                   */
    struct cek_array proba;         /* of the type of input: sigma(logits); from logits only  */
};

/* What the loss makes of l = -log p_y: an outer function phi. */
enum cek_outer {
    CEK_OUTER_NONE,  /* l                                              */
    CEK_OUTER_FOCAL, /* (1 - e^-l)^parameter l, parameter in [0, 1000] */
    CEK_OUTER_POLY1, /* l + parameter (1 - e^-l)                       */
    CEK_OUTER_POWER  /* (1 - e^(-parameter l)) / parameter, in (0, 1]  */
};

/* Softmax cross-entropy of n_rows rows of n_classes logits.  The last axis of `logits`, and of every
 * array [n_rows, n_classes], runs over the classes, the axes before it over the rows in C order.
 *
 *     v = logit_scale x, or softcap tanh(logit_scale x / softcap); -inf for classes not allowed
 *     q_c = weight class_weight_c (t_c (1 - label_smoothing) + label_smoothing / n_allowed)
 *     loss = sum_c q_c (lse(v) - v_c) + z_loss omega lse(v)^2,  omega = weight sum_c class_weight_c t_c
 *
 * The targets are labels (t is one-hot) or target_proba.  nll takes log-probabilities in place of the
 * logits, and writes loss and grad; the divergences take target_proba without class_weight and
 * label_smoothing, that of Jensen and Shannon writes loss and grad.
 */
struct cek_cross_entropy_args {
    size_t n_rows;
    size_t n_classes;
    struct cek_array logits;        /* [n_rows, n_classes]                                      */
    struct cek_array labels;        /* integers [n_rows]; absent with target_proba              */
    struct cek_array target_proba;  /* [n_rows, n_classes]; absent with labels                  */
    struct cek_array allowed;       /* bool [n_rows, n_classes]; absent: all                    */
    struct cek_array sample_weight; /* [n_rows]; absent: 1                                      */
    const void *class_weight;       /* real[n_classes] or NULL: 1                               */
    double label_smoothing;         /* in [0, 1]                                                */
    double z_loss;                  /* at least 0                                               */
    double softcap;                 /* positive, or 0: none                                     */
    double logit_scale;             /* positive                                                 */
    uint64_t ignore_index;          /* rows with this label count for nothing                   */
    int ignore;                     /* whether ignore_index is set                              */
    enum cek_outer outer;           /* of labels, without any option of the logits or smoothing */
    double outer_parameter;
    double grad_scale;              /* factor of grad, hess, scale_grad and scale_hess          */
    double hess_factor;             /* another of hess                                          */
    int gauss_newton;               /* hess without the term of phi'', which may be negative    */
    struct cek_array loss;          /* real[n_rows]                                             */
    struct cek_array grad;          /* [n_rows, n_classes]; may be the logits themselves        */
    struct cek_array hess;          /* [n_rows, n_classes]                                      */
    struct cek_array proba;         /* [n_rows, n_classes]: softmax(v)                          */
    struct cek_array log_proba;     /* [n_rows, n_classes]; without targets only                */
    struct cek_array lse;           /* real[n_rows]: logsumexp(v)                               */
    struct cek_array scale_grad;    /* real[n_rows]: derivative of the loss in logit_scale      */
    struct cek_array scale_hess;    /* real[n_rows]: second derivative                          */
};

/* Products with the Hessians of the two losses, and the blocks of the second. */
struct cek_binary_hvp_args {
    struct cek_binary_args problem; /* without outputs        */
    struct cek_array vector;        /* n                      */
    struct cek_array out;           /* n; not the logits      */
};

struct cek_cross_entropy_hvp_args {
    struct cek_cross_entropy_args problem; /* without outputs and outer              */
    struct cek_array vector;               /* [n_rows, n_classes]; absent: the blocks */
    struct cek_array out; /* [n_rows, n_classes], or [n_rows, n_classes, n_classes]  */
};

/* Log loss of n_rows labels by the probabilities that their rows give to them.
 * loss = -weight log(p), p clipped to [eps, 1 - eps].  A single column holds the probabilities of
 * label 1; those of label 0 are its complements.  The sum is NaN where a value is not in [0, 1], a
 * label is no class, or a row does not sum to 1 within the tolerance.
 */
struct cek_log_loss_args {
    size_t n_rows;
    size_t n_columns;
    struct cek_array proba;         /* float or double: the first column              */
    ptrdiff_t class_stride;      /* bytes from one column to the next              */
    struct cek_array labels;        /* integers: columns, or 0 and 1 for a single one */
    struct cek_array sample_weight; /* absent: 1                                      */
    double eps;                  /* in (0, 0.5)                                    */
    double tolerance;            /* of the sums of rows; INFINITY: any             */
};

/* What a pass over some targets alone tells: their part of the denominator, and the first forbidden
 * value. */
struct cek_scan {
    double weight;     /* sum of the weights of the kept entries   */
    int64_t count;     /* kept entries                             */
    ptrdiff_t invalid; /* first entry with a forbidden value, or -1 */
};

enum cek_unary {
    CEK_EXPIT,
    CEK_LOG_EXPIT,
    CEK_SOFTPLUS,
    CEK_EXP_NONPOS, /* the pieces of vmath.h, for the accuracy tests */
    CEK_LOG1P_UNIT,
    CEK_LOG1P_NONNEG,
    CEK_LOG_UNIT,
    CEK_N_UNARY
};

struct cek_unary_args {
    enum cek_unary function;
    size_t n;
    struct cek_array input;
    struct cek_array out; /* of the type of input; may be input itself */
};

/* One compilation's functions.  `sums` has one double a chunk: the sum of the chunk's losses.  The
 * scans take entries or rows in place of chunks. */
struct cek_table {
    void (*bce_logits)(const struct cek_binary_args *, size_t begin, size_t end, double *sums);
    void (*bce_probs)(const struct cek_binary_args *, size_t begin, size_t end, double *sums);
    void (*focal)(const struct cek_binary_args *, size_t begin, size_t end, double *sums);
    void (*binary_hvp)(const struct cek_binary_hvp_args *, size_t begin, size_t end);
    struct cek_scan (*scan_binary)(const struct cek_binary_args *, size_t begin, size_t end);
    struct cek_scan (*scan_probs)(const struct cek_array *, size_t begin, size_t end);
    void (*cross_entropy)(const struct cek_cross_entropy_args *, size_t begin, size_t end,
                          double *sums, void *scratch);
    void (*nll)(const struct cek_cross_entropy_args *, size_t begin, size_t end, double *sums,
                void *scratch);
    void (*kl_divergence)(const struct cek_cross_entropy_args *, size_t begin, size_t end,
                          double *sums, void *scratch);
    void (*js_divergence)(const struct cek_cross_entropy_args *, size_t begin, size_t end,
                          double *sums, void *scratch);
    void (*cross_entropy_hvp)(const struct cek_cross_entropy_hvp_args *, size_t begin, size_t end,
                              void *scratch);
    struct cek_scan (*scan_classes)(const struct cek_cross_entropy_args *, size_t begin,
                                    size_t end);
    void (*softmax)(const struct cek_cross_entropy_args *, size_t begin, size_t end, void *scratch);
    /* Bytes of scratch: of cross_entropy and softmax, and of the others; 0: it may be NULL. */
    size_t (*scratch_size)(const struct cek_cross_entropy_args *);
    size_t (*nll_scratch_size)(const struct cek_cross_entropy_args *);
    size_t (*divergence_scratch_size)(const struct cek_cross_entropy_args *);
    size_t (*hvp_scratch_size)(const struct cek_cross_entropy_hvp_args *);
    void (*log_loss)(const struct cek_log_loss_args *, size_t begin, size_t end, double *sums);
    void (*unary)(const struct cek_unary_args *, size_t begin, size_t end);
    size_t (*chunk_rows)(size_t n_classes);
    /* Chunks of cross_entropy that one call had better run, for speed alone. */
    size_t (*chunks_together)(const struct cek_cross_entropy_args *);
};

/* An instruction set that was compiled in. */
struct cek_isa {
    const char *name;
    int (*supported)(void); /* do this processor and operating system run it? */
    const struct cek_table *f32;
    const struct cek_table *f64;
};

/* All instruction sets of this build, best last; *count is set to their number. */
const struct cek_isa *cek_isas(size_t *count);

/* Sum of n doubles over a fixed binary tree: the same bits however the values were computed. */
double cek_tree_sum(const double *values, size_t n);

/* What n passes, over targets that follow each other, tell together; summed over the same tree. */
struct cek_scan cek_tree_scan(const struct cek_scan *scans, size_t n);

#endif
