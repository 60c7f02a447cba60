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
    CEK_FLOAT32,
    CEK_FLOAT64
};

/* A read-only vector of any element type.  data NULL: absent; stride in bytes, 0 repeats one value. */
struct cek_in {
    const void *data;
    ptrdiff_t stride;
    enum cek_type type;
};

/* Elements a chunk: 64 KiB of float logits, so that a chunk and its targets stay in the L2 cache. */
enum { CEK_CHUNK = 16384 };

/* Binary cross-entropy of n independent entries, from logits or from probabilities.
 * y' = y (1 - label_smoothing) + label_smoothing / 2; a = weight pos_weight y'; b = weight (1 - y').
 */
struct cek_binary_args {
    size_t n;
    struct cek_in input;          /* logits, or probabilities in [0, 1]                     */
    struct cek_in targets;        /* y, in [0, 1]                                           */
    struct cek_in sample_weight;  /* absent: 1                                              */
    struct cek_in pos_weight;     /* absent: 1                                              */
    double label_smoothing;       /* in [0, 1]                                              */
    double ignore_value;          /* entries with this target count for nothing; may be NaN */
    int ignore;                   /* whether ignore_value is set                            */
    double eps;                   /* probabilities: p and 1 - p are clipped to [eps, 1 - eps] */
    double log_min;               /* probabilities: lower bound of both logarithms          */
    double grad_scale;            /* factor of grad and hess                                */
    void *loss;                   /* real[n] or NULL: not wanted; so for the next three     */
    void *grad;                   /* may be the logits themselves                           */
    void *hess;
    void *proba; /* sigma(logits); from logits only                        */
};

/* Softmax cross-entropy of n_rows rows of n_classes logits, C-contiguous.
 * q_c = weight class_weight_c (t_c (1 - label_smoothing) + label_smoothing / n_classes),
 * loss = sum_c q_c (logsumexp(x) - x_c).  The targets are labels (t is one-hot) or target_proba.
 */
struct cek_cross_entropy_args {
    size_t n_rows;
    size_t n_classes;
    const void *logits;           /* real[n_rows, n_classes]                                  */
    struct cek_in labels;         /* integers [n_rows]; absent with target_proba              */
    const void *target_proba;     /* real[n_rows, n_classes], or NULL with labels             */
    struct cek_in sample_weight;  /* [n_rows]; absent: 1                                      */
    const void *class_weight;     /* real[n_classes] or NULL: 1                               */
    double label_smoothing;       /* in [0, 1]                                                */
    uint64_t ignore_index;        /* rows with this label count for nothing                   */
    int ignore;                   /* whether ignore_index is set                              */
    double grad_scale;            /* factor of grad and hess                                  */
    void *loss;                   /* real[n_rows] or NULL: not wanted; so for all that follow */
    void *grad;                   /* real[n_rows, n_classes]; may be the logits themselves    */
    void *hess;                   /* real[n_rows, n_classes]                                  */
    void *proba;                  /* real[n_rows, n_classes]                                  */
    void *log_proba;              /* real[n_rows, n_classes]; without targets only            */
    void *lse;                    /* real[n_rows]                                             */
};

/* Log loss of n_rows labels by the probabilities that their rows give to them.
 * loss = -weight log(p), p clipped to [eps, 1 - eps].  A single column holds the probabilities of
 * label 1; those of label 0 are its complements.  The sum is NaN where a value is not in [0, 1], a
 * label is no class, or a row does not sum to 1 within the tolerance.
 */
struct cek_log_loss_args {
    size_t n_rows;
    size_t n_columns;
    struct cek_in proba;         /* float or double: the first column              */
    ptrdiff_t class_stride;      /* bytes from one column to the next              */
    struct cek_in labels;        /* integers: columns, or 0 and 1 for a single one */
    struct cek_in sample_weight; /* absent: 1                                      */
    double eps;                  /* in (0, 0.5)                                    */
    double tolerance;            /* of the sums of rows; INFINITY: any             */
};

/* What a pass over the targets alone tells: the denominator, and the first forbidden value. */
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
    struct cek_in input;
    void *out; /* real[n]; may be the input itself */
};

/* One compilation's functions.  `sums` has one double a chunk: the sum of the chunk's losses. */
struct cek_table {
    void (*bce_logits)(const struct cek_binary_args *, size_t begin, size_t end, double *sums);
    void (*bce_probs)(const struct cek_binary_args *, size_t begin, size_t end, double *sums);
    struct cek_scan (*scan_binary)(const struct cek_binary_args *);
    struct cek_scan (*scan_probs)(const struct cek_in *, size_t n);
    void (*cross_entropy)(const struct cek_cross_entropy_args *, size_t begin, size_t end,
                          double *sums);
    struct cek_scan (*scan_classes)(const struct cek_cross_entropy_args *);
    void (*softmax)(const struct cek_cross_entropy_args *, size_t begin, size_t end);
    void (*log_loss)(const struct cek_log_loss_args *, size_t begin, size_t end, double *sums);
    void (*unary)(const struct cek_unary_args *, size_t begin, size_t end);
    size_t (*chunk_rows)(size_t n_classes);
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

#endif
