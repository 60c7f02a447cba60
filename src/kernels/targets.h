/* Targets of cross-entropy: what a row's labels, probabilities and weights make of each class.
 *
 *     q_c = weight class_weight_c (t_c (1 - label_smoothing) + label_smoothing / n_allowed)
 *
 * t is one-hot for a label; the last term is for allowed classes only.  Every option is in q; the softmax knows none.
 */
#ifndef CEK_TARGETS_H
#define CEK_TARGETS_H

#include "tile_rows.h"

enum { IGNORED = -1, INVALID = -2 }; /* labels that are no class */

/* A group of at most BLOCK rows: where their arrays are, and their targets. */
struct group {
    struct rows logits, target_proba, allowed, grad, hess, proba, log_proba;
    ALIGN uint64_t value[BLOCK];  /* labels as they are in memory                       */
    ALIGN ptrdiff_t label[BLOCK]; /* a class, IGNORED or INVALID; with target_proba: 0  */
    ALIGN real weight[BLOCK];     /* sample weight; 0 where the label is no class       */
    ALIGN real loss[BLOCK], lse[BLOCK], scale_grad[BLOCK], scale_hess[BLOCK]; /* results */
};

DEFINE_READ(label_int8, int8_t, UNCHANGED, uint64_t)
DEFINE_READ(label_int16, int16_t, UNCHANGED, uint64_t)
DEFINE_READ(label_int32, int32_t, UNCHANGED, uint64_t)
DEFINE_READ(label_int64, int64_t, UNCHANGED, uint64_t)
DEFINE_READ(label_uint8, uint8_t, UNCHANGED, uint64_t)
DEFINE_READ(label_uint16, uint16_t, UNCHANGED, uint64_t)
DEFINE_READ(label_uint32, uint32_t, UNCHANGED, uint64_t)
DEFINE_READ(label_uint64, uint64_t, UNCHANGED, uint64_t)

typedef void label_reader(const char *from, ptrdiff_t stride, size_t n, uint64_t *restrict out);

/* By integer type; a negative label becomes a number beyond any class. */
static label_reader *const label_readers[] = {
    [CEK_BOOL] = read_label_uint8,    [CEK_INT8] = read_label_int8,
    [CEK_INT16] = read_label_int16,   [CEK_INT32] = read_label_int32,
    [CEK_INT64] = read_label_int64,   [CEK_UINT8] = read_label_uint8,
    [CEK_UINT16] = read_label_uint16, [CEK_UINT32] = read_label_uint32,
    [CEK_UINT64] = read_label_uint64,
};

static NOINLINE void labels_check(const uint64_t *restrict value, uint64_t n_classes,
                                  uint64_t ignored, ptrdiff_t no_match, size_t n,
                                  ptrdiff_t *restrict label)
{
    for (size_t i = 0; i < n; i++) {
        ptrdiff_t in_range = value[i] < n_classes ? (ptrdiff_t)value[i] : INVALID;
        label[i] = value[i] == ignored ? no_match : in_range;
    }
}

/* Labels [begin, begin + n) as they are in memory. */
static void labels_read(const struct cek_array *labels, size_t begin, size_t n,
                        uint64_t *restrict value)
{
    struct runs runs = runs_from(labels, begin);
    for (size_t i = 0, size; i < n; i += size) {
        char *from;
        size = runs_take(&runs, n - i, &from);
        label_readers[labels->type](from, run_stride(labels), size, value + i);
    }
}

static NOINLINE void weights_keep(const ptrdiff_t *restrict label, size_t n, real *restrict weight)
{
    for (size_t i = 0; i < n; i++) {
        real w = weight[i];
        weight[i] = label[i] < 0 ? 0 : w;
    }
}

/* The targets of rows [begin, begin + n). */
static void targets_load(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                         struct group *t)
{
    rows_locate(&args->target_proba, begin, n, &t->target_proba);
    rows_locate(&args->allowed, begin, n, &t->allowed);
    if (args->sample_weight.data)
        array_read(&args->sample_weight, begin, n, t->weight);
    else
        for (size_t i = 0; i < n; i++)
            t->weight[i] = 1;
    if (args->target_proba.data) {
        memset(t->label, 0, sizeof t->label);
        return;
    }
    labels_read(&args->labels, begin, n, t->value);
    labels_check(t->value, args->n_classes, args->ignore ? args->ignore_index : UINT64_MAX,
                 args->ignore ? IGNORED : INVALID, n, t->label);
    weights_keep(t->label, n, t->weight);
}

static INLINE real class_weight(const struct cek_cross_entropy_args *args, size_t c)
{
    return args->class_weight ? ((const real *)args->class_weight)[c] : 1;
}

/* Is q one-hot: nothing but the label's own class? */
static INLINE int is_one_hot(const struct cek_cross_entropy_args *args)
{
    return !args->target_proba.data && args->label_smoothing == 0;
}

/* Do all classes but the label's have the same q? */
static INLINE int is_smoothed(const struct cek_cross_entropy_args *args)
{
    return !args->target_proba.data && args->label_smoothing != 0 && !args->class_weight &&
           !args->allowed.data;
}

/* q of the label and of every other class of row i where is_smoothed, as mix_plain */
static void smoothed_pair(const struct cek_cross_entropy_args *args, const struct group *g,
                          size_t i, real share, real *at_label, real *other)
{
    const real keep = 1 - (real)args->label_smoothing, weight = g->weight[i];
    *at_label = keep + share == 0 ? 0 : weight * (keep + share);
    *other = share == 0 ? 0 : weight * share;
}

static NOINLINE void mix(const real *restrict t, const real *restrict class_weight,
                         const real *restrict allowed, real weight, real keep, real spread,
                         size_t n, real *restrict q)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real mixed = fma_(t[i], keep, spread * allowed[i]), q_i = weight * class_weight[i] * mixed;
        q[i] = mixed == 0 ? 0 : q_i;
    }
}

/* The same without class weights, for classes that are all allowed */
static NOINLINE void mix_plain(const real *restrict t, real weight, real keep, real share, size_t n,
                               real *restrict q)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real mixed = fma_(t[i], keep, share), q_i = weight * mixed;
        q[i] = mixed == 0 ? 0 : q_i;
    }
}

/* What the classes that are allowed to row i share of the smoothing: each this much. */
static real smoothing_share(const struct cek_cross_entropy_args *args, const struct group *g,
                            size_t i)
{
    ALIGN real allowed[BLOCK];
    size_t n_allowed = 0;
    if (args->label_smoothing == 0)
        return 0;
    if (!g->allowed.wanted)
        return (real)args->label_smoothing / (real)args->n_classes;
    for (size_t begin = 0; begin < args->n_classes; begin += BLOCK) {
        size_t n = min_size(BLOCK, args->n_classes - begin);
        row_read(&g->allowed, i, begin, n, allowed);
        for (size_t j = 0; j < n; j++)
            n_allowed += allowed[j] != 0;
    }
    return (real)args->label_smoothing / (real)(n_allowed ? n_allowed : 1);
}

/* q of classes [begin, begin + n) of row i as whole vectors, padded with 0. */
static void row_coefficients(const struct cek_cross_entropy_args *args, const struct group *g,
                             size_t i, size_t label, real share, size_t begin, size_t n, real *q)
{
    ALIGN real t[BLOCK], w[BLOCK], allowed[BLOCK];
    const real keep = 1 - (real)args->label_smoothing;
    const size_t whole = whole_vectors(n);
    if (is_smoothed(args)) {
        real at_label, other;
        smoothed_pair(args, g, i, share, &at_label, &other);
        for (size_t j = 0; j < whole; j++)
            q[j] = j < n ? other : 0;
        if (label - begin < n)
            q[label - begin] = at_label;
        return;
    }
    memset(t, 0, whole * sizeof(real));
    if (g->target_proba.wanted)
        row_read(&g->target_proba, i, begin, n, t);
    else if (label - begin < n)
        t[label - begin] = 1;
    if (!args->class_weight && !g->allowed.wanted) {
        mix_plain(t, g->weight[i], keep, share, whole, q);
        for (size_t j = n; j < whole; j++)
            q[j] = 0;
        return;
    }
    for (size_t j = 0; j < whole; j++)
        w[j] = j < n ? class_weight(args, begin + j) : 0;
    for (size_t j = 0; j < BLOCK; j++)
        allowed[j] = 1;
    if (g->allowed.wanted)
        row_read(&g->allowed, i, begin, n, allowed);
    mix(t, w, allowed, g->weight[i], keep, share, whole, q);
}

/* Weight of row i in the mean: weight sum_c t_c class_weight_c, before smoothing. */
static double row_weight(const struct cek_cross_entropy_args *args, const struct group *g, size_t i)
{
    ALIGN real t[BLOCK];
    const double weight = (double)g->weight[i];
    if (weight == 0)
        return 0;
    if (!g->target_proba.wanted)
        return weight * (double)class_weight(args, (size_t)g->label[i]);
    struct sum sum = {0, 0};
    for (size_t begin = 0; begin < args->n_classes; begin += BLOCK) {
        size_t n = min_size(BLOCK, args->n_classes - begin), whole = whole_vectors(n);
        row_read(&g->target_proba, i, begin, n, t);
        for (size_t j = 0; args->class_weight && j < n; j++)
            t[j] *= class_weight(args, begin + j);
        for (size_t j = n; j < whole; j++)
            t[j] = 0;
        sum_add(&sum, block_sum(t, whole));
    }
    return weight * sum_value(sum);
}

/* Adds a class of a tile of targets to the totals of their rows. */
static NOINLINE void class_add(const real *restrict t, real class_weight, double *restrict total)
{
    for (size_t r = 0; r < TILE; r++)
        total[r] += (double)(class_weight * t[r]);
}

static NOINLINE void weights_add(const double *restrict total, const double *restrict weight,
                                 double *restrict sum)
{
    for (size_t r = 0; r < TILE; r++) {
        double product = weight[r] * total[r];
        sum[r] += weight[r] == 0 ? 0 : product;
    }
}

/* Sum of the weights of n rows of few target probabilities: one at a time takes three times as long as the
 * loss and its gradient. */
static double tiles_weight(const struct cek_cross_entropy_args *args, const struct group *g,
                           size_t n)
{
    ALIGN real t[TILE_CLASSES][TILE];
    ALIGN double sum[TILE] = {0};
    struct sum all = {0, 0};
    for (size_t first = 0; first < n; first += TILE) {
        const size_t n_rows = min_size(TILE, n - first);
        ALIGN double total[TILE] = {0}, weight[TILE] = {0};
        tile_load(&g->target_proba, first, n_rows, args->n_classes, t);
        for (size_t c = 0; c < args->n_classes; c++)
            class_add(t[c], class_weight(args, c), total);
        for (size_t r = 0; r < n_rows; r++)
            weight[r] = (double)g->weight[first + r];
        weights_add(total, weight, sum);
    }
    for (size_t r = 0; r < TILE; r++)
        sum_add(&all, sum[r]);
    return sum_value(all);
}

static NOINLINE double sum_doubles(const double *restrict v, size_t n)
{
    double acc[LANES] = {0};
    for (size_t i = 0; i < n / LANES * LANES; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            acc[j] += v[i + j];
    return lane_sum(acc);
}

/* Sum of the weights of n rows. */
static double rows_weight(const struct cek_cross_entropy_args *args, const struct group *g,
                          size_t n)
{
    ALIGN double weight[BLOCK];
    if (g->target_proba.wanted && args->n_classes <= NARROW)
        return tiles_weight(args, g, n);
    for (size_t i = 0; i < n; i++)
        weight[i] = row_weight(args, g, i);
    for (size_t i = n; i < whole_vectors(n); i++)
        weight[i] = 0;
    return sum_doubles(weight, whole_vectors(n));
}

/* How many of n labels are a class. */
static NOINLINE size_t labels_kept(const uint64_t *restrict value, uint64_t n_classes,
                                   uint64_t ignored, size_t n)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        kept += (value[i] < n_classes) & (value[i] != ignored);
    return kept;
}

static NOINLINE size_t labels_equal(const uint64_t *restrict value, uint64_t other, size_t n)
{
    size_t equal = 0;
    for (size_t i = 0; i < n; i++)
        equal += value[i] == other;
    return equal;
}

/* Index of the first label that is neither a class nor ignored; n: there is none. */
static size_t first_invalid(const struct cek_cross_entropy_args *args, const uint64_t *value,
                            size_t n)
{
    size_t i = 0;
    while (i < n &&
           (value[i] < args->n_classes || (args->ignore && value[i] == args->ignore_index)))
        i++;
    return i;
}

/* Counts n labels, of rows from `begin` on, and notes the first that is invalid. */
static void labels_scan(const struct cek_cross_entropy_args *args, const uint64_t *value,
                        size_t begin, size_t n, struct cek_scan *scan)
{
    const uint64_t ignored = args->ignore ? args->ignore_index : UINT64_MAX;
    const size_t kept = labels_kept(value, args->n_classes, ignored, n);
    scan->count += (int64_t)kept;
    if (kept == n || scan->invalid >= 0)
        return;
    if (!args->ignore || kept + labels_equal(value, ignored, n) < n)
        scan->invalid = (ptrdiff_t)(begin + first_invalid(args, value, n));
}

/* Weight, count and first invalid label of rows [begin, end). */
static struct cek_scan scan_classes(const struct cek_cross_entropy_args *args, size_t begin,
                                    size_t end)
{
    struct group t;
    struct cek_scan scan = {0, 0, -1};
    struct sum weight = {0, 0};
    const int weighted = args->sample_weight.data || args->class_weight || args->target_proba.data;
    for (size_t n; begin < end; begin += n) {
        n = min_size(BLOCK, end - begin);
        if (weighted) {
            targets_load(args, begin, n, &t);
            sum_add(&weight, rows_weight(args, &t, n));
        } else {
            labels_read(&args->labels, begin, n, t.value);
        }
        if (args->target_proba.data)
            scan.count += (int64_t)n;
        else
            labels_scan(args, t.value, begin, n, &scan);
    }
    scan.weight = weighted ? sum_value(weight) : (double)scan.count;
    return scan;
}

#endif
