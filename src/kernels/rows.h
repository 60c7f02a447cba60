/* Rows of arrays [n_rows, n_classes]: where each row of a group lies, whatever the strides. */
#ifndef CEK_ROWS_H
#define CEK_ROWS_H

#include "block.h"

/* Up to BLOCK rows of one array; `wanted` 0: the array is absent. */
struct rows {
    char *begin;      /* the first row                                              */
    ptrdiff_t step;   /* bytes from each row to the next                            */
    ptrdiff_t stride; /* bytes from one class to the next                           */
    enum cek_type type;
    int wanted;
    int columns;      /* each class is a run: see is_columns                        */
    int varied;       /* the rows are not evenly spaced: where each of them lies is */
    char *at[BLOCK];
};

static INLINE char *row_at(const struct rows *rows, size_t i)
{
    return rows->varied ? rows->at[i] : rows->begin + (ptrdiff_t)i * rows->step;
}

static void rows_locate(const struct cek_array *array, size_t begin, size_t n, struct rows *rows)
{
    rows->wanted = array->data != NULL;
    if (!rows->wanted)
        return;
    struct cek_array first = *array; /* the first class of every row */
    first.ndim--;
    rows->columns = is_columns(array);
    rows->stride = run_stride(array);
    rows->type = array->type;
    rows->step = run_stride(&first);
    struct runs runs = runs_from(&first, begin);
    rows->varied = runs_take(&runs, n, &rows->begin) < n;
    if (!rows->varied)
        return;
    runs = runs_from(&first, begin);
    for (size_t i = 0, size; i < n; i += size) {
        char *at;
        size = runs_take(&runs, n - i, &at);
        for (size_t j = 0; j < size; j++)
            rows->at[i + j] = at + (ptrdiff_t)j * rows->step;
    }
}

/* Row i where it is adjacent, aligned real in memory; else NULL. */
static INLINE real *row_direct(const struct rows *rows, size_t i)
{
    if (!rows->wanted || rows->type != REAL_TYPE || rows->stride != sizeof(real))
        return NULL;
    char *at = row_at(rows, i);
    return (uintptr_t)at % sizeof(real) == 0 ? (real *)(void *)at : NULL;
}

/* Classes [begin, begin + n) of row i. */
static INLINE void row_read(const struct rows *rows, size_t i, size_t begin, size_t n, real *out)
{
    run_read(rows->type, row_at(rows, i) + (ptrdiff_t)begin * rows->stride, rows->stride, n, out);
}

static INLINE void row_write(const struct rows *rows, size_t i, size_t begin, size_t n,
                             const real *values)
{
    run_write(rows->type, values, n, rows->stride,
              row_at(rows, i) + (ptrdiff_t)begin * rows->stride);
}

/* Where to compute classes [begin, ...) of row i: in place, or in scratch for row_finish to write. */
static INLINE real *row_target(const struct rows *rows, size_t i, size_t begin, real *scratch)
{
    real *direct = row_direct(rows, i);
    return direct ? direct + begin : scratch;
}

static INLINE void row_finish(const struct rows *rows, size_t i, size_t begin, size_t n,
                              const real *values, const real *scratch)
{
    if (values == scratch)
        row_write(rows, i, begin, n, values);
}

static void row_clear(const struct rows *rows, size_t i, size_t n)
{
    static const real zeros[BLOCK];
    if (rows->wanted)
        for (size_t begin = 0; begin < n; begin += BLOCK)
            row_write(rows, i, begin, min_size(BLOCK, n - begin), zeros);
}

#endif
