/* Cross-entropy of rows of more than NARROW classes that are columns of memory: next to each other, so
 * that each class is a run.
 *
 * Calls with labels alone take LANES rows side by side (column_tile.h).  All others are transposed,
 * computed by row, and transposed back.
 */
#ifndef CEK_COLUMNS_H
#define CEK_COLUMNS_H

#include "column_tile.h"
#include "cross_entropy.h"

/* Classes of which LANES rows are taken together, at most; of more, four, whose rows take less memory.
 * In float a tile takes 0.6 to 0.9 of the time of fours from 16,000 classes to 128,256, but 4 MiB at this
 * bound; in double 0.8 with 4000, as much with 8000, 1.1 to 1.3 from 16,000 on (AMD Zen 4, 1 MiB of L2,
 * 2026-11). */
enum { COLUMN_CLASSES = LANES == 16 ? 65536 : 8192 };

/* Rows that are taken together: a cache line of each class. */
static size_t columns_step(const struct cek_cross_entropy_args *args)
{
    return args->n_classes > COLUMN_CLASSES ? 4 : LANES;
}

/* Do rows with labels alone fill enough of a tile?  Full, it takes 0.7 to 1.1 times as long as adjacent
 * rows, a transposition 1.7 to 2, whatever the number of rows (AMD Zen 4, 2026-11). */
static INLINE int fills_tile(const struct cek_cross_entropy_args *args, size_t n)
{
    return has_labels_alone(args) && n >= LANES * 3 / 4;
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
        const int n_arrays = 1 + is_columns(&args->target_proba) + is_columns(&args->hess) +
                             is_columns(&args->proba) + is_columns(&args->log_proba) +
                             (is_columns(&args->grad) && reads_twice(args));
        size += (size_t)n_arrays * columns_step(args) * args->n_classes;
        if (fills_tile(args, columns_step(args)))
            size = max_size(size, LANES * (whole_steps(args->n_classes) + 1));
    }
    return args->n_classes > NARROW ? size * sizeof(real) : 0;
}

/* Arrays that may be columns: logits, target_proba, hess, proba, log_proba and grad. */
enum { N_COLUMNS = 6 };

/* What the results of rows in a tile are made of. */
struct column_labels {
    struct batch_labels batch;
    size_t label[LANES];
    int has_nan[LANES];
};

static INLINE ptrdiff_t class_step(const struct rows *rows)
{
    return rows->stride / (ptrdiff_t)sizeof(real);
}

/* Rows that were moved, and where they were. */
struct moved_rows {
    struct rows *rows;
    char *at[LANES];
    ptrdiff_t stride;
    int varied;
};

/* Makes n rows those of `memory`, [n, n_classes]. */
static void rows_move(struct rows *rows, size_t first, size_t n, size_t n_classes, real *memory,
                      struct moved_rows *old)
{
    *old = (struct moved_rows){.rows = rows, .stride = rows->stride, .varied = rows->varied};
    if (rows->varied)
        memcpy(old->at, rows->at + first, n * sizeof *old->at);
    rows->stride = sizeof(real);
    rows->varied = 1;
    for (size_t r = 0; r < n; r++)
        rows->at[first + r] = (char *)(memory + r * n_classes);
}

static void rows_move_back(const struct moved_rows *old, size_t first, size_t n)
{
    old->rows->stride = old->stride;
    old->rows->varied = old->varied;
    if (old->varied)
        memcpy(old->rows->at + first, old->at, n * sizeof *old->at);
}

/* Computes rows [first, end) of a group that begins at row `begin`. */
typedef void rows_function(const struct cek_cross_entropy_args *args, size_t begin, size_t first,
                           size_t end, struct group *g, real *scratch);

/* Rows [first, first + n) of a group by row: they are transposed, and so are the targets and results that
 * are columns too.  The gradient takes the memory of the logits. */
static void columns_by_row(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                           size_t n, rows_function *compute, real *scratch)
{
    const struct cek_array *const arrays[] = {&args->logits, &args->target_proba, &args->hess,
                                              &args->proba,  &args->log_proba,    &args->grad};
    struct rows *const rows[] = {&g->logits, &g->target_proba, &g->hess,
                                 &g->proba,  &g->log_proba,    &g->grad};
    struct moved_rows moved[N_COLUMNS];
    real *memory = scratch;
    for (size_t i = 0; i < N_COLUMNS; i++) {
        moved[i].rows = NULL;
        if (i > 0 && !(is_columns(arrays[i]) && rows_adjacent(rows[i], first, n)))
            continue;
        const int in_place = arrays[i] == &args->grad && !reads_twice(args);
        real *to = in_place ? scratch : memory;
        memory += in_place ? 0 : n * args->n_classes;
        if (i < 2)
            transpose((const real *)(const void *)row_at(rows[i], first), class_step(rows[i]),
                      args->n_classes, n, to, (ptrdiff_t)args->n_classes);
        rows_move(rows[i], first, n, args->n_classes, to, &moved[i]);
    }
    compute(args, args->n_rows, first, first + n, g, memory);
    for (size_t i = 0; i < N_COLUMNS; i++) {
        if (!moved[i].rows)
            continue;
        const real *from = (const real *)(const void *)row_at(rows[i], first);
        rows_move_back(&moved[i], first, n);
        if (i >= 2)
            transpose(from, (ptrdiff_t)args->n_classes, n, args->n_classes,
                      (real *)(void *)row_at(rows[i], first), class_step(rows[i]));
    }
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

/* n rows as [class][row], and the largest logit of each, as columns_copy_max; rows that are missing
 * are 0. */
static void columns_load(const struct rows *rows, size_t first, size_t n, size_t n_classes,
                         real *tile, real *max, bits *at)
{
    ptrdiff_t step = class_step(rows);
    const real *x = (const real *)(const void *)row_at(rows, first);
    if (n < LANES) {
        memset(tile, 0, n_classes * LANES * sizeof(real));
        for (size_t c = 0; c < n_classes; c++)
            copy_few(x + (ptrdiff_t)c * step, n, tile + c * LANES);
        x = tile, step = LANES;
    }
    columns_copy_max(x, step, n_classes, tile, max, at);
}

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

/* What is wanted of the logits of n rows: e takes their place, 0 for the largest, which is among four
 * classes. */
static void columns_targets(const struct cek_cross_entropy_args *args, const struct group *g,
                            size_t first, size_t n, const bits *four, struct softmax_batch *b,
                            real *tile, struct column_labels *l)
{
    for (size_t r = 0; r < n; r++) {
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

/* The classes of labels and of the largest logits, [begin, begin + size) of n rows, `step` apart. */
static void columns_mend(const struct column_factors *f, const size_t *label, const size_t *argmax,
                         size_t n, size_t begin, size_t size, real *out, ptrdiff_t step)
{
    for (size_t r = 0; r < n; r++) {
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

/* Writes classes [begin, begin + size) of n rows, at most a step, from [class][row]. */
static void columns_store(const struct rows *rows, int adjacent, size_t first, size_t n,
                          size_t begin, size_t size, const real *values)
{
    ALIGN real buffer[4 * STEP];
    char *to = row_at(rows, first) + (ptrdiff_t)begin * rows->stride;
    const int is_whole = n == LANES && rows->type == CEK_FLOAT32;
    if (adjacent && is_whole)
        columns_to_float(values, size, to, rows->stride);
    for (size_t c = 0; adjacent && !is_whole && c < size; c++, to += rows->stride)
        run_write(rows->type, values + c * LANES, n, type_sizes[rows->type], to);
    for (size_t r = 0; !adjacent && r < n; r += 4) {
        transpose(values + r, LANES, STEP, 4, buffer, STEP);
        for (size_t i = 0; i < 4 && r + i < n; i++)
            row_write(rows, first + r + i, begin, size, buffer + i * STEP);
    }
}

/* One of the results of n rows: where it lies, or by steps. */
static void columns_result(const struct cek_array *array, const struct rows *rows, size_t first,
                           size_t n, size_t n_classes, const struct softmax_batch *b,
                           const struct column_labels *l, const struct column_factors *f,
                           column_result *compute, const real *tile)
{
    ALIGN real buffer[STEP * LANES];
    const int adjacent = rows_adjacent(rows, first, n);
    if (adjacent && n == LANES && is_columns(array)) {
        real *out = (real *)(void *)row_at(rows, first);
        compute(tile, f, n_classes, out, class_step(rows));
        columns_mend(f, l->label, b->argmax, n, 0, n_classes, out, class_step(rows));
        return;
    }
    for (size_t c = 0; c < n_classes; c += STEP) {
        const size_t size = min_size(STEP, n_classes - c);
        compute(tile + c * LANES, f, STEP, buffer, LANES);
        columns_mend(f, l->label, b->argmax, n, c, size, buffer, LANES);
        columns_store(rows, adjacent, first, n, c, size, buffer);
    }
}

/* The results of n rows with an axis of classes. */
static void columns_results(const struct cek_cross_entropy_args *args, const struct group *g,
                            size_t first, size_t n, const struct softmax_batch *b,
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
    if (g->hess.wanted)
        columns_result(&args->hess, &g->hess, first, n, n_classes, b, l, &hess, columns_hess, tile);
    if (g->proba.wanted)
        columns_result(&args->proba, &g->proba, first, n, n_classes, b, l, &proba, columns_scale,
                       tile);
    if (g->grad.wanted)
        columns_result(&args->grad, &g->grad, first, n, n_classes, b, l, &grad, columns_scale,
                       tile);
}

/* Rows [first, first + n) of a group with labels alone, at most LANES. */
static void columns_tile(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                         size_t n, real *tile)
{
    struct softmax_batch b;
    struct column_labels l = {.batch = {.q = {0}}};
    ALIGN bits four[LANES];
    columns_load(&g->logits, first, n, args->n_classes, tile, b.max, four);
    columns_targets(args, g, first, n, four, &b, tile, &l);
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
    columns_results(args, g, first, n, &b, &l, tile);
}

static real *aligned(void *memory)
{
    return (real *)(((uintptr_t)memory + 63) / 64 * 64);
}

/* How many of n rows of a group, from `first` on, are next to each other; as many as are taken together. */
static size_t columns_take(const struct cek_cross_entropy_args *args, const struct group *g,
                           size_t first, size_t n)
{
    const size_t most = min_size(columns_step(args), n - first);
    size_t size = 1;
    while (size < most && rows_adjacent(&g->logits, first + size - 1, 2))
        size++;
    return size;
}

/* n rows of a group, which are columns of memory. */
static void cross_entropy_columns(const struct cek_cross_entropy_args *args, size_t n,
                                  struct group *g, real *scratch)
{
    for (size_t first = 0, size; first < n; first += size) {
        size = columns_take(args, g, first, n);
        if (fills_tile(args, size))
            columns_tile(args, g, first, size, aligned(scratch));
        else
            columns_by_row(args, g, first, size, cross_entropy_rows, scratch);
    }
}

#endif
