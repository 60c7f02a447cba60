/* Cross-entropy of rows of more than NARROW classes that are columns of memory: next to each other, so
 * that each class is a run.
 *
 * Calls with labels alone take LANES rows side by side (column_tile.h).  All others, and what rows are
 * left over, are turned (turned.h).
 */
#ifndef CEK_COLUMNS_H
#define CEK_COLUMNS_H

#include "column_tile.h"
#include "cross_entropy.h"
#include "turned.h"

/* Are n rows with labels alone a tile?  It takes 0.7 to 1.2 times as long as adjacent rows, a
 * transposition 1.4 to 2, whatever the number of rows, and a tile with free rows no less (AMD Zen 4,
 * 2026-11). */
static INLINE int fills_tile(const struct cek_cross_entropy_args *args, size_t n)
{
    return n == LANES && has_labels_alone(args);
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
    const int held =
        !is_transformed(args) && holds_rows(&args->logits) && (!last || holds_rows(last));
    size_t size = reads_twice(args) || !held ? args->n_classes : 0;
    size += turned_size(args);
    if (is_columns(&args->logits) && fills_tile(args, columns_step(args)))
        size = max_size(size, LANES * (whole_steps(args->n_classes) + 1));
    return args->n_classes > NARROW ? size * sizeof(real) : 0;
}

/* What the results of rows in a tile are made of. */
struct column_labels {
    struct batch_labels batch;
    size_t label[LANES];
    int has_nan[LANES];
};

/* First class from `begin` on in which row r has this logit; n_classes if there is none. */
static size_t column_find(const real *tile, real value, size_t begin, size_t n_classes, size_t r)
{
    size_t c = begin;
    while (c < n_classes && tile[c * LANES + r] != value)
        c++;
    return c;
}

/* Is a logit of row r NaN? */
static int column_has_nan(const real *tile, size_t n_classes, size_t r)
{
    int any = 0;
    for (size_t c = 0; c < n_classes; c++)
        any |= tile[c * LANES + r] != tile[c * LANES + r];
    return any;
}

/* What is wanted of the logits: e takes their place, 0 for the largest, which is among four classes. */
static void columns_targets(const struct cek_cross_entropy_args *args, const struct group *g,
                            size_t first, const bits *four, struct softmax_batch *b, real *tile,
                            struct column_labels *l)
{
    for (size_t r = 0; r < LANES; r++) {
        const size_t i = first + r, label = g->label[i] < 0 ? 0 : (size_t)g->label[i];
        b->argmax[r] = column_find(tile, b->max[r], (size_t)four[r], args->n_classes, r);
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

/* The classes of labels and of the largest logits, [begin, begin + size), `step` apart. */
static void columns_mend(const struct column_factors *f, const size_t *label, const size_t *argmax,
                         size_t begin, size_t size, real *out, ptrdiff_t step)
{
    for (size_t r = 0; r < LANES; r++) {
        const size_t at = label[r] - begin, k = argmax[r] - begin;
        if (at < size && f->at_label && f->keep[r])
            out[(ptrdiff_t)at * step + (ptrdiff_t)r] = f->at_label[r];
        if (k < size && f->keep[r])
            out[(ptrdiff_t)k * step + (ptrdiff_t)r] = f->at_top[r];
    }
}

/* Writes n_classes of [class][row] as float, the classes `stride` bytes apart. */
static NOINLINE void columns_to_float(const real *restrict values, size_t n_classes,
                                      char *restrict to, ptrdiff_t stride)
{
    for (size_t c = 0; c < n_classes; c++, to += stride) {
        float row[LANES];
        for (size_t r = 0; r < LANES; r++)
            row[r] = (float)values[c * LANES + r];
        memcpy(to, row, sizeof row);
    }
}

/* Writes classes [begin, begin + size), at most a step, from [class][row]. */
static void columns_store(const struct rows *rows, size_t first, size_t begin, size_t size,
                          const real *values)
{
    ALIGN real buffer[4 * STEP];
    const int adjacent = rows_adjacent(rows, first, LANES);
    char *to = row_at(rows, first) + (ptrdiff_t)begin * rows->stride;
    if (adjacent && rows->type == CEK_FLOAT32)
        columns_to_float(values, size, to, rows->stride);
    else if (adjacent)
        for (size_t c = 0; c < size; c++, to += rows->stride)
            run_write(rows->type, values + c * LANES, LANES, type_sizes[rows->type], to);
    for (size_t r = 0; !adjacent && r < LANES; r += 4) {
        transpose(values + r, LANES, STEP, 4, buffer, STEP);
        for (size_t i = 0; i < 4; i++)
            row_write(rows, first + r + i, begin, size, buffer + i * STEP);
    }
}

/* One of the results: where it lies, or by steps. */
static void columns_result(const struct rows *rows, size_t first, size_t n_classes,
                           const struct softmax_batch *b, const struct column_labels *l,
                           const struct column_factors *f, column_result *compute, const real *tile)
{
    ALIGN real buffer[STEP * LANES];
    if (!rows->wanted)
        return;
    if (rows->columns && rows_adjacent(rows, first, LANES)) {
        real *out = (real *)(void *)row_at(rows, first);
        compute(tile, f, n_classes, out, class_step(rows));
        columns_mend(f, l->label, b->argmax, 0, n_classes, out, class_step(rows));
        return;
    }
    for (size_t c = 0; c < n_classes; c += STEP) {
        const size_t size = min_size(STEP, n_classes - c);
        compute(tile + c * LANES, f, STEP, buffer, LANES);
        columns_mend(f, l->label, b->argmax, c, size, buffer, LANES);
        columns_store(rows, first, c, size, buffer);
    }
}

/* The results with an axis of classes. */
static void columns_results(const struct cek_cross_entropy_args *args, const struct group *g,
                            size_t first, const struct softmax_batch *b,
                            const struct column_labels *l, const real *tile)
{
    struct column_factors hess = {.at_label = NULL}, proba = hess;
    struct column_factors grad = {.at_label = l->batch.at_label};
    const size_t n_classes = args->n_classes;
    memcpy(grad.factor, l->batch.factor, sizeof grad.factor);
    memcpy(grad.at_top, l->batch.at_top, sizeof grad.at_top);
    if (g->hess.wanted || g->proba.wanted)
        columns_factors(b, l->batch.q, hess_scale_of(args), &hess, &proba);
    for (size_t r = 0; r < LANES; r++) {
        proba.keep[r] = ~(bits)0;
        grad.keep[r] = hess.keep[r] = l->batch.q[r] == 0 ? 0 : ~(bits)0;
    }
    columns_result(&g->hess, first, n_classes, b, l, &hess, columns_hess, tile);
    columns_result(&g->proba, first, n_classes, b, l, &proba, columns_scale, tile);
    columns_result(&g->grad, first, n_classes, b, l, &grad, columns_scale, tile);
}

/* LANES rows of a group with labels alone, from `first` on. */
static void columns_tile(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                         real *tile)
{
    struct softmax_batch b;
    struct column_labels l;
    ALIGN bits four[LANES];
    columns_copy_max((const real *)(const void *)row_at(&g->logits, first), class_step(&g->logits),
                     args->n_classes, tile, b.max, four);
    columns_targets(args, g, first, four, &b, tile, &l);
    columns_softmax(args->n_classes, tile, &b);
    for (size_t r = 0; r < LANES; r++)
        l.batch.e[r] = tile[l.label[r] * LANES + r];
    batch_results(&b, args->grad_scale, &l.batch);
    for (size_t r = 0; r < LANES; r++) {
        const struct softmax_row row = {
            .max = b.max[r], .has_nan = l.has_nan[r], .total = b.total[r], .log1p = b.log1p[r]};
        g->loss[first + r] = l.batch.q[r] == 0 ? 0 : l.batch.loss[r];
        g->lse[first + r] = row_lse(&row);
    }
    columns_results(args, g, first, &b, &l, tile);
}

static real *aligned(void *memory)
{
    return (real *)(((uintptr_t)memory + 63) / 64 * 64);
}

/* n rows of a group, which are columns of memory. */
static void cross_entropy_columns(const struct cek_cross_entropy_args *args, size_t n,
                                  struct group *g, real *scratch)
{
    for (size_t first = 0, size; first < n; first += size) {
        size = columns_take(args, g, first, n);
        if (fills_tile(args, size))
            columns_tile(args, g, first, aligned(scratch));
        else
            columns_by_row(args, g, first, size, cross_entropy_rows, scratch);
    }
}

#endif
