/* Rows of more than NARROW classes that are columns of memory, turned: transposed, computed by row, and
 * transposed back. */
#ifndef CEK_TURNED_H
#define CEK_TURNED_H

#include "logits.h"
#include "targets.h"

/* Classes of which LANES rows are taken together, at most; of more, four, whose rows take less memory: a
 * tile of this many fills 4 MiB.  It takes 0.5 to 0.8 of the time of fours with 10,000 classes or more
 * (AMD Zen 4, 1 MiB of L2, 2026-11). */
enum { COLUMN_CLASSES = 65536 };

/* Rows that are taken together: a cache line of each class. */
static size_t columns_step(const struct cek_cross_entropy_args *args)
{
    return args->n_classes > COLUMN_CLASSES ? 4 : LANES;
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

static INLINE ptrdiff_t class_step(const struct rows *rows)
{
    return rows->stride / (ptrdiff_t)sizeof(real);
}

/* Where rows were that are turned; `rows` NULL: they are not. */
struct turned {
    struct rows *rows;
    char *at[LANES];
    ptrdiff_t stride;
    int varied;
};

/* Makes rows [first, first + n) that are columns those of `memory`, [n, n_classes].  Returns what is left
 * of it. */
static real *rows_turn(struct rows *rows, int is_read, size_t first, size_t n, size_t n_classes,
                       real *memory, struct turned *old)
{
    old->rows = NULL;
    if (!rows->wanted || !rows->columns || !rows_adjacent(rows, first, n))
        return memory;
    if (is_read)
        transpose((const real *)(const void *)row_at(rows, first), class_step(rows), n_classes, n,
                  memory, (ptrdiff_t)n_classes);
    old->rows = rows, old->stride = rows->stride, old->varied = rows->varied;
    if (rows->varied)
        memcpy(old->at, rows->at + first, n * sizeof *old->at);
    rows->stride = sizeof(real);
    rows->varied = 1;
    for (size_t r = 0; r < n; r++)
        rows->at[first + r] = (char *)(memory + r * n_classes);
    return memory + n * n_classes;
}

static void rows_turn_back(const struct turned *old, int is_written, size_t first, size_t n,
                           size_t n_classes)
{
    struct rows *rows = old->rows;
    if (!rows)
        return;
    const real *from = (const real *)(const void *)row_at(rows, first);
    rows->stride = old->stride;
    rows->varied = old->varied;
    if (old->varied)
        memcpy(rows->at + first, old->at, n * sizeof *old->at);
    if (is_written)
        transpose(from, (ptrdiff_t)n_classes, n, n_classes, (real *)(void *)row_at(rows, first),
                  class_step(rows));
}

/* Elements that the arrays of rows taken together fill when they are turned. */
static size_t turned_size(const struct cek_cross_entropy_args *args)
{
    if (args->n_classes <= NARROW || !is_columns(&args->logits))
        return 0;
    const int n_arrays = 1 + is_columns(&args->target_proba) + is_columns(&args->hess) +
                         is_columns(&args->proba) + is_columns(&args->log_proba) +
                         (is_columns(&args->grad) && reads_twice(args));
    return (size_t)n_arrays * columns_step(args) * args->n_classes;
}

/* The arrays of a group whose logits are columns, in an order of their own: two that are read, then those
 * that are written. */
enum { N_READ = 2, N_TURNED = 6 };

/* Turns rows [first, first + n).  The gradient takes the memory of the logits. */
static real *group_turn(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                        size_t n, real *memory, struct turned *old)
{
    struct rows *const rows[] = {&g->logits, &g->target_proba, &g->hess, &g->proba, &g->log_proba};
    real *const logits = memory;
    for (size_t i = 0; i < N_TURNED - 1; i++)
        memory = rows_turn(rows[i], i < N_READ, first, n, args->n_classes, memory, &old[i]);
    if (reads_twice(args))
        return rows_turn(&g->grad, 0, first, n, args->n_classes, memory, &old[N_TURNED - 1]);
    rows_turn(&g->grad, 0, first, n, args->n_classes, logits, &old[N_TURNED - 1]);
    return memory;
}

static void group_turn_back(const struct cek_cross_entropy_args *args, size_t first, size_t n,
                            const struct turned *old)
{
    for (size_t i = 0; i < N_TURNED; i++)
        rows_turn_back(&old[i], i >= N_READ, first, n, args->n_classes);
}

/* Computes rows [first, end) of a group that begins at row `begin`. */
typedef void rows_function(const struct cek_cross_entropy_args *args, size_t begin, size_t first,
                           size_t end, struct group *g, real *scratch);

/* Rows [first, first + n) of a group, which are columns. */
static void columns_by_row(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                           size_t n, rows_function *compute, real *scratch)
{
    struct turned old[N_TURNED];
    real *left = group_turn(args, g, first, n, scratch, old);
    compute(args, args->n_rows, first, first + n, g, left);
    group_turn_back(args, first, n, old);
}

/* n rows of a group by row, however they lie. */
static void group_by_row(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                         struct group *g, rows_function *compute, real *scratch)
{
    if (!is_columns(&args->logits)) {
        compute(args, begin, 0, n, g, scratch);
        return;
    }
    for (size_t i = 0, size; i < n; i += size) {
        size = columns_take(args, g, i, n);
        columns_by_row(args, g, i, size, compute, scratch);
    }
}

#endif
