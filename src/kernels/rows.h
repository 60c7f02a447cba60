/* Rows of arrays [n_rows, n_classes]: where each row of a group lies, whatever the strides. */
#ifndef CEK_ROWS_H
#define CEK_ROWS_H

#include "block.h"

/* Up to BLOCK rows of one array; `wanted` 0: the array is absent. */
struct rows {
    char *at[BLOCK];
    ptrdiff_t stride; /* bytes from one class to the next              */
    ptrdiff_t step;   /* bytes from each row to the next; 0: they vary */
    enum cek_type type;
    int wanted;
};

static void rows_locate(const struct cek_array *array, size_t begin, size_t n, struct rows *rows)
{
    rows->wanted = array->data != NULL;
    if (!rows->wanted)
        return;
    struct cek_array first = *array; /* the first class of every row */
    first.ndim--;
    rows->stride = run_stride(array);
    rows->type = array->type;
    struct runs runs = runs_from(&first, begin);
    for (size_t i = 0; i < n;) {
        char *at;
        const size_t size = runs_take(&runs, n - i, &at);
        rows->step = size == n ? run_stride(&first) : 0;
        for (size_t j = 0; j < size; j++)
            rows->at[i + j] = at + (ptrdiff_t)j * run_stride(&first);
        i += size;
    }
}

/* Row i where it is adjacent, aligned real in memory; else NULL. */
static INLINE real *row_direct(const struct rows *rows, size_t i)
{
    const int direct = rows->wanted && rows->type == REAL_TYPE && rows->stride == sizeof(real) &&
                       (uintptr_t)rows->at[i] % sizeof(real) == 0;
    return direct ? (real *)(void *)rows->at[i] : NULL;
}

/* Classes [begin, begin + n) of row i. */
static INLINE void row_read(const struct rows *rows, size_t i, size_t begin, size_t n, real *out)
{
    run_read(rows->type, rows->at[i] + (ptrdiff_t)begin * rows->stride, rows->stride, n, out);
}

static INLINE void row_write(const struct rows *rows, size_t i, size_t begin, size_t n,
                             const real *values)
{
    run_write(rows->type, values, n, rows->stride, rows->at[i] + (ptrdiff_t)begin * rows->stride);
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
