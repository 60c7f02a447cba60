/* Plain binary calls on matrices in Fortran order.
 *
 * The losses of a chunk are summed in C order, whatever the order of memory, so that the bits are the
 * same.  To gather the elements one by one takes 2 to 7 times as long as a call on adjacent rows.  Chunks
 * are transposed: 0.07 to 0.13 ns an element and array (0.15 to 0.2 in double), a copy takes 0.04 to 0.07,
 * where the call takes 0.43 (1.05).  That makes 1.6 to 2.0 times for three arrays, 1.2 to 1.3 for the
 * targets alone (AMD Zen 4, 2026-11). */
#ifndef CEK_BINARY_COLUMNS_H
#define CEK_BINARY_COLUMNS_H

#include "binary.h"
#include "transpose.h"

/* Is this a matrix whose rows are columns of memory? */
static INLINE int is_fortran(const struct cek_array *array)
{
    return array->ndim == 2 && is_columns(array) && array->shape[1] >= 4;
}

/* Moves n elements from `begin` on in C order between a matrix in Fortran order and `values`.  Columns
 * begin and end a row later or earlier where the first row and the last are in part. */
static void matrix_move(const struct cek_array *array, size_t begin, size_t n, real *values,
                        int writes)
{
    const size_t n_columns = (size_t)array->shape[1];
    const size_t first = begin % n_columns, last = (begin + n) % n_columns;
    const ptrdiff_t step = run_stride(array) / (ptrdiff_t)sizeof(real);
    for (size_t c = 0, end; c < n_columns; c = end) {
        end = c < first ? first : n_columns;
        end = c < last ? min_size(end, last) : end;
        const size_t row = begin / n_columns + (c < first);
        const size_t stop = (begin + n) / n_columns + (c < last);
        if (row >= stop)
            continue;
        real *column = (real *)array->data + (ptrdiff_t)c * step + (ptrdiff_t)row;
        real *place = values + (row * n_columns + c - begin);
        if (writes)
            transpose(place, (ptrdiff_t)n_columns, stop - row, end - c, column, step);
        else
            transpose(column, step, end - c, stop - row, place, (ptrdiff_t)n_columns);
    }
}

/* block_load of a whole chunk, transposed where the array is a matrix in Fortran order. */
static const real *chunk_load(const struct cek_array *array, size_t begin, size_t n, real pad,
                              real *scratch)
{
    if (!is_fortran(array))
        return block_load(array, begin, n, pad, scratch);
    matrix_move(array, begin, n, scratch, 0);
    for (size_t i = n; i < whole_vectors(n); i++)
        scratch[i] = pad;
    return scratch;
}

/* binary_chunks where is_transposed.  Smaller pieces, which stay in L1, take 1.0 to 1.15 times as long:
 * more of their squares overlap (AMD Zen 4, 2026-11).  The gradient takes the memory of x by blocks. */
static void binary_transposed(const struct cek_binary_args *args, binary_total *total, size_t begin,
                              size_t end, double *sums)
{
    ALIGN real x[CEK_CHUNK], y[CEK_CHUNK], grad[BLOCK];
    for (size_t chunk = begin; chunk < end; chunk++) {
        const size_t first = chunk * CEK_CHUNK, n = min_size(CEK_CHUNK, args->n - first);
        const real *input = chunk_load(&args->input, first, n, -(real)INFINITY, x);
        const real *targets = chunk_load(&args->targets, first, n, 0, y);
        real *to = block_target(&args->grad, first, n, input, x);
        struct lane_sums lanes;
        sums_start(&lanes);
        for (size_t i = 0; i < n; i += BLOCK) {
            const size_t size = min_size(BLOCK, whole_vectors(n - i));
            real *out = to == x ? grad : to + i;
            total(input + i, targets + i, (real)args->grad_scale, size, binary_wanted(args), out,
                  NULL, NULL, &lanes);
            if (args->grad.data && out == grad)
                memcpy(x + i, grad, size * sizeof(real));
            if ((i / BLOCK + 1) % SETTLE == 0)
                settle(&lanes);
        }
        if (args->grad.data && to == x && is_fortran(&args->grad))
            matrix_move(&args->grad, first, n, x, 1);
        else
            block_store(&args->grad, first, n, to, x);
        sums[chunk] = total_of(&lanes);
    }
}

/* Is this a plain call with arrays that are worth a transposition, and no others? */
static int is_transposed(const struct cek_binary_args *args)
{
    return binary_is_plain(args) && !args->complement.data && !args->loss.data &&
           !args->hess.data && !args->proba.data &&
           (is_fortran(&args->input) || is_fortran(&args->targets));
}

/* scan_probs; the whole of a matrix in the order of its memory, unless that finds something to tell. */
static struct cek_scan scan_matrix(const struct cek_array *in, size_t begin, size_t end)
{
    if (is_fortran(in) && begin == 0 && end == (size_t)(in->shape[0] * in->shape[1])) {
        const ptrdiff_t shape[] = {in->shape[1], in->shape[0]};
        const ptrdiff_t strides[] = {in->strides[1], in->strides[0]};
        const struct cek_array turned = {in->data, shape, strides, 2, in->type};
        const struct cek_scan scan = scan_probs(&turned, begin, end);
        if (scan.invalid < 0)
            return scan;
    }
    return scan_probs(in, begin, end);
}

#endif
