/* Targets of cross-entropy: what a row's labels, probabilities and weights make of each class.
 *
 *     q_c = weight class_weight_c (t_c (1 - label_smoothing) + label_smoothing / n_classes)
 *
 * t is one-hot for a label.  Every option is in q; the softmax knows none.
 */
#ifndef CEK_TARGETS_H
#define CEK_TARGETS_H

#include "block.h"

enum { IGNORED = -1, INVALID = -2 }; /* labels that are no class */

/* The targets of a group of at most BLOCK rows. */
struct targets {
    ALIGN ptrdiff_t label[BLOCK]; /* a class, IGNORED or INVALID; with target_proba: 0 */
    ALIGN real weight[BLOCK];     /* sample weight; 0 where the label is no class     */
};

static NOINLINE void labels_load(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                                 ptrdiff_t *restrict label)
{
    const char *from = (const char *)args->labels.data + (ptrdiff_t)begin * args->labels.stride;
    const ptrdiff_t stride = args->labels.stride;
    const uint64_t n_classes = args->n_classes;
    const uint64_t ignored = args->ignore ? args->ignore_index : UINT64_MAX;
    const ptrdiff_t no_match = args->ignore ? IGNORED : INVALID;
#define READ(ctype)                                                                                \
    for (size_t i = 0; i < n; i++) {                                                               \
        ctype v;                                                                                   \
        memcpy(&v, from + (ptrdiff_t)i * stride, sizeof v);                                        \
        uint64_t u = (uint64_t)v;                                                                  \
        label[i] = u == ignored ? no_match : u < n_classes ? (ptrdiff_t)u : INVALID;               \
    }                                                                                              \
    break
    switch (args->labels.type) {
    case CEK_BOOL:
    case CEK_UINT8:
        READ(uint8_t);
    case CEK_INT8:
        READ(int8_t);
    case CEK_INT16:
        READ(int16_t);
    case CEK_INT32:
        READ(int32_t);
    case CEK_INT64:
        READ(int64_t);
    case CEK_UINT16:
        READ(uint16_t);
    case CEK_UINT32:
        READ(uint32_t);
    case CEK_UINT64:
        READ(uint64_t);
    case CEK_FLOAT32:
    case CEK_FLOAT64:
        for (size_t i = 0; i < n; i++)
            label[i] = INVALID;
    }
#undef READ
}

static void targets_load(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                         struct targets *t)
{
    if (args->sample_weight.data)
        block_read(&args->sample_weight, begin, n, t->weight);
    else
        for (size_t i = 0; i < n; i++)
            t->weight[i] = 1;
    if (args->target_proba) {
        memset(t->label, 0, sizeof t->label);
        return;
    }
    labels_load(args, begin, n, t->label);
    for (size_t i = 0; i < n; i++)
        t->weight[i] = t->label[i] < 0 ? 0 : t->weight[i];
}

static INLINE real class_weight(const struct cek_cross_entropy_args *args, size_t c)
{
    return args->class_weight ? ((const real *)args->class_weight)[c] : 1;
}

/* Is q one-hot: nothing but the label's own class? */
static INLINE int is_one_hot(const struct cek_cross_entropy_args *args)
{
    return !args->target_proba && args->label_smoothing == 0;
}

static NOINLINE void mix(const real *restrict t, const real *restrict class_weight, real weight,
                         real keep, real spread, size_t n, real *restrict q)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        q[i] = weight * class_weight[i] * fma_(t[i], keep, spread);
}

/* q of classes [begin, begin + n) of one row as whole vectors, padded with 0. */
static void row_coefficients(const struct cek_cross_entropy_args *args, size_t row, real weight,
                             size_t label, size_t begin, size_t n, real *q)
{
    ALIGN real t[BLOCK] = {0}, w[BLOCK] = {0};
    const real smoothing = (real)args->label_smoothing;
    for (size_t i = 0; i < n; i++)
        w[i] = class_weight(args, begin + i);
    if (args->target_proba)
        memcpy(t, (const real *)args->target_proba + row * args->n_classes + begin,
               n * sizeof(real));
    else if (label - begin < n)
        t[label - begin] = 1;
    mix(t, w, weight, 1 - smoothing, smoothing / (real)args->n_classes, whole_vectors(n), q);
}

/* Weight of a row in the mean: weight sum_c t_c class_weight_c, before smoothing. */
static double row_weight(const struct cek_cross_entropy_args *args, size_t row, real weight,
                         size_t label)
{
    ALIGN real t[BLOCK];
    if (weight == 0)
        return 0;
    if (!args->target_proba)
        return (double)weight * (double)class_weight(args, label);
    struct sum sum = {0, 0};
    const real *proba = (const real *)args->target_proba + row * args->n_classes;
    for (size_t i = 0; i < args->n_classes; i += BLOCK) {
        size_t n = min_size(BLOCK, args->n_classes - i), whole = whole_vectors(n);
        for (size_t j = 0; j < n; j++)
            t[j] = proba[i + j] * class_weight(args, i + j);
        for (size_t j = n; j < whole; j++)
            t[j] = 0;
        sum_add(&sum, block_sum(t, whole));
    }
    return (double)weight * sum_value(sum);
}

static NOINLINE size_t count_below(const ptrdiff_t *restrict label, ptrdiff_t bound, size_t n)
{
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        count += label[i] < bound;
    return count;
}

/* Sum of the weights of n rows. */
static double rows_weight(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                          const struct targets *t)
{
    struct sum sum = {0, 0};
    for (size_t i = 0; i < n; i++)
        sum_add(&sum, row_weight(args, begin + i, t->weight[i], (size_t)t->label[i]));
    return sum_value(sum);
}

/* Weight, count and first invalid label of all rows. */
static struct cek_scan scan_classes(const struct cek_cross_entropy_args *args)
{
    struct targets t;
    struct cek_scan scan = {0, 0, -1};
    struct sum weight = {0, 0};
    const int weighted = args->sample_weight.data || args->class_weight || args->target_proba;
    for (size_t begin = 0; begin < args->n_rows; begin += BLOCK) {
        size_t n = min_size(BLOCK, args->n_rows - begin);
        targets_load(args, begin, n, &t);
        size_t kept = n - count_below(t.label, 0, n);
        scan.count += (int64_t)kept;
        sum_add(&weight, weighted ? rows_weight(args, begin, n, &t) : (double)kept);
        if (scan.invalid < 0 && count_below(t.label, IGNORED, n))
            for (size_t i = n; i-- > 0;)
                if (t.label[i] == INVALID)
                    scan.invalid = (ptrdiff_t)(begin + i);
    }
    scan.weight = sum_value(weight);
    return scan;
}

#endif
