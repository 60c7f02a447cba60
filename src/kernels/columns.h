/* Cross-entropy of rows of more than NARROW classes that are columns of memory: next to each other, so
 * that each class is a run.
 *
 * Simple calls take LANES rows side by side: arrays [class][row], every step a loop over the rows.
 * What lane l of a row adds up in row.h, row l of an array [lane][row] adds up here, in the same
 * order: the bits are the same.  All other calls are transposed, computed by row, and transposed back.
 */
#ifndef CEK_COLUMNS_H
#define CEK_COLUMNS_H

#include "cross_entropy.h"

/* Rows that are taken together: a cache line of each class, but about a chunk of logits. */
static size_t columns_step(const struct cek_cross_entropy_args *args)
{
    const size_t rows = CEK_CHUNK / args->n_classes;
    return rows < 4 ? 4 : min_size(rows, LANES);
}

/* Do simple rows fill enough of a tile?  Full, it takes 1.0 to 1.1 times as long as adjacent rows (1.1 to
 * 1.4 in double), a transposition 1.8 times, whatever the number of rows (AMD Zen 4, 2026-11). */
static INLINE int fills_tile(const struct cek_cross_entropy_args *args, size_t n)
{
    return is_simple(args) && n >= LANES * 3 / 4;
}

/* Is every row adjacent, aligned real? */
static int holds_rows(const struct cek_array *array)
{
    size_t places = (uintptr_t)array->data;
    for (int axis = 0; axis < array->ndim; axis++)
        places |= (size_t)array->strides[axis];
    return array->type == REAL_TYPE && run_stride(array) == sizeof(real) &&
           places % sizeof(real) == 0;
}

/* Scratch memory of a thread, in bytes: a row, where the caller's arrays cannot hold it, and the rows
 * that are columns. */
static size_t scratch_size(const struct cek_cross_entropy_args *args)
{
    const struct cek_array *last = last_result(args);
    const int held = last ? holds_rows(last) : !is_transformed(args) && holds_rows(&args->logits);
    size_t size = reads_twice(args) || !held ? args->n_classes : 0;
    if (is_columns(&args->logits)) {
        size += columns_step(args) * args->n_classes;
        if (fills_tile(args, CEK_CHUNK / args->n_classes))
            size = LANES * (whole_steps(args->n_classes) + 1);
    }
    return args->n_classes > NARROW ? size * sizeof(real) : 0;
}

/* What the results of simple rows are made of. */
struct column_labels {
    struct batch_labels batch;
    size_t label[LANES];
    int has_nan[LANES];
};

static INLINE ptrdiff_t class_step(const struct rows *rows)
{
    return rows->stride / (ptrdiff_t)sizeof(real);
}

/* Makes `rows` those of `memory`, [n, n_classes]; returns what they were. */
static struct rows rows_move(struct rows *rows, size_t first, size_t n, size_t n_classes,
                             real *memory)
{
    const struct rows old = *rows;
    rows->type = REAL_TYPE;
    rows->stride = sizeof(real);
    rows->step = (ptrdiff_t)(n_classes * sizeof(real));
    for (size_t r = 0; r < n; r++)
        rows->at[first + r] = (char *)(memory + r * n_classes);
    return old;
}

/* Rows [first, first + n) of a group, transposed and computed in place. */
static void columns_by_row(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                           size_t n, real *scratch)
{
    const size_t n_classes = args->n_classes;
    const int in_place =
        is_columns(&args->grad) && !reads_twice(args) && rows_adjacent(&g->grad, first, n);
    const struct rows grad = g->grad;
    columns_to_rows((const real *)(const void *)g->logits.at[first], class_step(&g->logits), n,
                    n_classes, scratch, n_classes);
    const struct rows logits = rows_move(&g->logits, first, n, n_classes, scratch);
    if (in_place)
        rows_move(&g->grad, first, n, n_classes, scratch);
    cross_entropy_rows(args, args->n_rows, first, first + n, g, scratch + n * n_classes);
    g->logits = logits;
    g->grad = grad;
    if (in_place)
        rows_to_columns(scratch, n, n_classes, (real *)(void *)grad.at[first], class_step(&grad));
}

/* Arrays of STEP values hold one of each row four times: loops over the rows of one class are so short
 * that a compiler unrolls them before it makes vectors, loops over four classes are not.  n_classes is
 * in whole fours.
 *
 * The largest logit of each row among every fourth class, NaN left out. */
static NOINLINE void columns_max(const real *restrict tile, size_t n_classes, real *restrict max)
{
    for (size_t c = 0; c < n_classes; c += 4)
        for (size_t i = 0; i < STEP; i++)
            max[i] = larger(tile[c * LANES + i], max[i]);
}

/* The four in which each row and place among four has its first logit equal to max; n_classes if none. */
static NOINLINE void columns_find(const real *restrict tile, const real *restrict max,
                                  size_t n_classes, bits *restrict at)
{
    bits first[STEP];
    for (size_t i = 0; i < STEP; i++)
        first[i] = (bits)n_classes;
    for (size_t c = n_classes; c > 0; c -= 4)
        for (size_t i = 0; i < STEP; i++)
            first[i] = tile[(c - 4) * LANES + i] == max[i] ? (bits)(c - 4) : first[i];
    for (size_t i = 0; i < STEP; i++)
        at[i] = first[i];
}

static NOINLINE void columns_exp(const real *restrict offset, const real *restrict cut,
                                 const bits *restrict one, size_t n_classes, real *restrict e)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < LANES; r++)
            e[c * LANES + r] = exp_scaled(e[c * LANES + r] - offset[r], cut[r], one[r]);
}

/* Adds the classes of a step to the sums of [lane][row], as block_exp. */
static NOINLINE void columns_add(const real *restrict e, real *restrict high, real *restrict low)
{
    const size_t size = LANES * LANES;
    for (size_t i = 0; i < size; i++) {
        real error, sum = (e[i] + e[i + size]) + (e[i + 2 * size] + e[i + 3 * size]);
        high[i] = two_sum(high[i], sum, &error);
        low[i] += error;
    }
}

/* The sums of two neighbouring lanes, as in lanes_value. */
static NOINLINE void columns_fold(const real *high, const real *low, real *sum, real *sum_low)
{
    IN_PLACE
    for (size_t r = 0; r < LANES; r++) {
        real error, lows = low[r] + low[LANES + r];
        sum[r] = two_sum(high[r], high[LANES + r], &error);
        sum_low[r] = lows + error;
    }
}

/* factor e of a step, or 0 where q is. */
static NOINLINE void columns_scale(const real *restrict e, const real *restrict factor,
                                   const real *restrict q, real *restrict out)
{
    for (size_t c = 0; c < STEP; c += 4)
        for (size_t i = 0; i < STEP; i++) {
            real product = factor[i] * e[c * LANES + i];
            out[c * LANES + i] = q[i] == 0 ? 0 : product;
        }
}

/* Four copies of LANES values. */
static INLINE void repeat(const real *v, real *four)
{
    for (size_t i = 0; i < STEP; i += LANES)
        memcpy(four + i, v, LANES * sizeof(real));
}

/* Copies n < 16 values. */
static INLINE void copy_few(const real *from, size_t n, real *to)
{
    if (n & 8)
        memcpy(to, from, 8 * sizeof(real)), from += 8, to += 8;
    if (n & 4)
        memcpy(to, from, 4 * sizeof(real)), from += 4, to += 4;
    if (n & 2)
        memcpy(to, from, 2 * sizeof(real)), from += 2, to += 2;
    if (n & 1)
        memcpy(to, from, sizeof(real));
}

/* n_classes of n rows as [class][row], and whole fours with -inf; rows that are missing are 0. */
static INLINE void columns_copy(const real *x, ptrdiff_t step, size_t n, size_t n_classes,
                                real *restrict tile)
{
    if (n < LANES)
        memset(tile, 0, n_classes * LANES * sizeof(real));
    for (size_t c = 0; c < n_classes; c++)
        if (n == LANES)
            memcpy(tile + c * LANES, x + (ptrdiff_t)c * step, LANES * sizeof(real));
        else
            copy_few(x + (ptrdiff_t)c * step, n, tile + c * LANES);
    for (size_t i = n_classes * LANES; i < round_up(n_classes, 4) * LANES; i++)
        tile[i] = -(real)INFINITY;
}

/* n rows as [class][row], and the largest logit of each. */
static void columns_load(const struct rows *rows, size_t first, size_t n, size_t n_classes,
                         real *tile, real *max)
{
    ALIGN real largest[STEP];
    const ptrdiff_t step = class_step(rows);
    const real *x = (const real *)(const void *)rows->at[first];
    for (size_t i = 0; i < STEP; i++)
        largest[i] = -(real)INFINITY;
    for (size_t c = 0; c < n_classes; c += STEP) {
        const size_t size = min_size(STEP, n_classes - c);
        columns_copy(x + (ptrdiff_t)c * step, step, n, size, tile + c * LANES);
        columns_max(tile + c * LANES, round_up(size, 4), largest);
    }
    for (size_t r = 0; r < LANES; r++)
        max[r] = larger(larger(largest[r], largest[LANES + r]),
                        larger(largest[2 * LANES + r], largest[3 * LANES + r]));
}

/* Is a logit of row r NaN? */
static int column_has_nan(const real *tile, size_t n_classes, size_t r)
{
    int any = 0;
    for (size_t c = 0; c < n_classes; c++)
        any |= tile[c * LANES + r] != tile[c * LANES + r];
    return any;
}

/* What is wanted of the logits of n rows: e takes their place, 0 for the largest. */
static void columns_targets(const struct cek_cross_entropy_args *args, const struct group *g,
                            size_t first, size_t n, struct softmax_batch *b, real *tile,
                            struct column_labels *l)
{
    ALIGN real max[STEP];
    ALIGN bits at[STEP];
    repeat(b->max, max);
    columns_find(tile, max, round_up(args->n_classes, 4), at);
    for (size_t r = 0; r < n; r++) {
        const size_t i = first + r, label = g->label[i] < 0 ? 0 : (size_t)g->label[i];
        b->argmax[r] = (size_t)at[r];
        for (size_t k = 1; k < 4; k++)
            b->argmax[r] = min_size(b->argmax[r], (size_t)at[k * LANES + r] + k);
        l->label[r] = label;
        l->batch.q[r] = g->weight[i] * class_weight(args, label);
        l->batch.v[r] = tile[label * LANES + r];
        l->batch.is_top[r] = label == b->argmax[r];
        l->has_nan[r] = b->max[r] == (real)INFINITY && column_has_nan(tile, args->n_classes, r);
        if (b->argmax[r] < args->n_classes)
            tile[b->argmax[r] * LANES + r] = -(real)INFINITY;
    }
}

/* From logits without their largest to e, and to the totals of b. */
static void columns_softmax(size_t n_classes, real *tile, struct softmax_batch *b)
{
    batch_scale(b);
    memset(b->high, 0, sizeof b->high), memset(b->low, 0, sizeof b->low);
    for (size_t c = 0; c < n_classes; c += STEP) {
        const size_t n = min_size(STEP, n_classes - c);
        real *e = tile + c * LANES;
        columns_exp(b->offset, b->cut, b->one, n, e);
        memset(e + n * LANES, 0, (STEP - n) * LANES * sizeof(real));
        columns_add(e, b->high, b->low);
    }
    for (size_t n = LANES / 2; n > 0; n /= 2)
        for (size_t j = 0; j < n; j++) {
            const size_t to = j * LANES, from = 2 * to;
            columns_fold(b->high + from, b->low + from, b->high + to, b->low + to);
        }
    batch_total(b);
}

/* Writes classes [begin, begin + size) of n rows, at most a step, from [class][row]. */
static void columns_store(const struct rows *rows, int adjacent, size_t first, size_t n,
                          size_t begin, size_t size, const real *values)
{
    ALIGN real buffer[4 * STEP];
    if (adjacent) {
        const ptrdiff_t step = class_step(rows);
        real *to = (real *)(void *)rows->at[first] + (ptrdiff_t)begin * step;
        for (size_t c = 0; c < size; c++)
            if (n == LANES)
                memcpy(to + (ptrdiff_t)c * step, values + c * LANES, LANES * sizeof(real));
            else
                copy_few(values + c * LANES, n, to + (ptrdiff_t)c * step);
        return;
    }
    for (size_t r = 0; r < n; r += 4) {
        columns_to_rows(values + r, LANES, 4, STEP, buffer, STEP);
        for (size_t i = 0; i < 4 && r + i < n; i++)
            row_write(rows, first + r + i, begin, size, buffer + i * STEP);
    }
}

/* The gradient of n rows, by steps. */
static void columns_grad(const struct cek_cross_entropy_args *args, const struct rows *grad,
                         size_t first, size_t n, const struct softmax_batch *b,
                         const struct column_labels *l, const real *tile)
{
    ALIGN real factor[STEP], q[STEP], out[STEP * LANES];
    const int adjacent = is_columns(&args->grad) && rows_adjacent(grad, first, n);
    repeat(l->batch.factor, factor);
    repeat(l->batch.q, q);
    for (size_t c = 0; c < args->n_classes; c += STEP) {
        columns_scale(tile + c * LANES, factor, q, out);
        for (size_t r = 0; r < n; r++) {
            const size_t label = l->label[r] - c, k = b->argmax[r] - c;
            if (label < STEP && q[r] != 0)
                out[label * LANES + r] = l->batch.at_label[r];
            if (k < STEP && q[r] != 0)
                out[k * LANES + r] = l->batch.at_top[r];
        }
        columns_store(grad, adjacent, first, n, c, min_size(STEP, args->n_classes - c), out);
    }
}

/* Simple rows [first, first + n) of a group, at most LANES. */
static void columns_tile(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                         size_t n, real *tile)
{
    struct softmax_batch b;
    struct column_labels l = {.batch = {.q = {0}}};
    columns_load(&g->logits, first, n, args->n_classes, tile, b.max);
    columns_targets(args, g, first, n, &b, tile, &l);
    columns_softmax(args->n_classes, tile, &b);
    for (size_t r = 0; r < n; r++)
        l.batch.e[r] = tile[l.label[r] * LANES + r];
    batch_results(&b, args->grad_scale, &l.batch);
    for (size_t r = 0; r < n; r++) {
        const struct softmax_row row = {
            .max = b.max[r], .has_nan = l.has_nan[r], .total = b.total[r], .log1p = b.log1p[r]};
        g->loss[first + r] = l.batch.q[r] == 0 ? 0 : l.batch.loss[r];
        g->lse[first + r] = row_lse(&row);
    }
    if (g->grad.wanted)
        columns_grad(args, &g->grad, first, n, &b, &l, tile);
}

static real *aligned(void *memory)
{
    return (real *)(((uintptr_t)memory + 63) / 64 * 64);
}

/* n rows of a group, which are columns of memory. */
static void cross_entropy_columns(const struct cek_cross_entropy_args *args, size_t n,
                                  struct group *g, real *scratch)
{
    const size_t step = columns_step(args);
    for (size_t first = 0, size; first < n; first += size) {
        size = 1;
        while (size < min_size(step, n - first) && rows_adjacent(&g->logits, first + size - 1, 2))
            size++;
        if (fills_tile(args, size))
            columns_tile(args, g, first, size, aligned(scratch));
        else
            columns_by_row(args, g, first, size, scratch);
    }
}

#endif
