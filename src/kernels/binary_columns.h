/* Plain binary calls on matrices in Fortran order.
 *
 * The losses of a chunk are summed in C order, whatever the order of memory, so that the bits are the
 * same.  To gather the elements one by one takes 2 to 7 times as long as a call on adjacent rows; to
 * transpose the chunks, 1.7 to 2.7 times, or 1.2 to 2.0 if one of the two arrays has adjacent rows
 * (AMD Zen 4, 2026-11). */
#ifndef CEK_BINARY_COLUMNS_H
#define CEK_BINARY_COLUMNS_H

#include "binary.h"
#include "transpose.h"

/* Is this a matrix whose rows are columns of memory? */
static INLINE int is_fortran(const struct cek_array *array)
{
    return array->ndim == 2 && is_columns(array) && array->shape[1] >= 4;
}

/* Of n elements from `begin` on in C order, those before the first whole row and those in whole rows. */
static INLINE size_t whole_rows(size_t n_columns, size_t begin, size_t n, size_t *whole)
{
    const size_t head = min_size(n, (n_columns - begin % n_columns) % n_columns);
    *whole = (n - head) / n_columns * n_columns;
    return head;
}

/* array_read, with the whole rows of a matrix in Fortran order transposed. */
static void matrix_read(const struct cek_array *array, size_t begin, size_t n, real *out)
{
    if (!is_fortran(array)) {
        array_read(array, begin, n, out);
        return;
    }
    const size_t n_columns = (size_t)array->shape[1];
    size_t whole, head = whole_rows(n_columns, begin, n, &whole);
    const real *first = (const real *)array->data + (begin + head) / n_columns;
    array_read(array, begin, head, out);
    columns_to_rows(first, run_stride(array) / (ptrdiff_t)sizeof(real), whole / n_columns,
                    n_columns, out + head, n_columns);
    array_read(array, begin + head + whole, n - head - whole, out + head + whole);
}

static void matrix_write(const struct cek_array *array, size_t begin, size_t n, const real *values)
{
    if (!is_fortran(array)) {
        array_write(array, begin, n, values);
        return;
    }
    const size_t n_columns = (size_t)array->shape[1];
    size_t whole, head = whole_rows(n_columns, begin, n, &whole);
    real *first = (real *)array->data + (begin + head) / n_columns;
    array_write(array, begin, head, values);
    rows_to_columns(values + head, whole / n_columns, n_columns, first,
                    run_stride(array) / (ptrdiff_t)sizeof(real));
    array_write(array, begin + head + whole, n - head - whole, values + head + whole);
}

static struct cek_array adjacent(real *memory)
{
    static const ptrdiff_t stride = sizeof(real);
    return (struct cek_array){memory, NULL, &stride, 1, REAL_TYPE};
}

/* Elements [begin, begin + n), where they are or in the buffer. */
static struct cek_array matrix_part(const struct cek_array *array, size_t begin, size_t n,
                                    real *buffer)
{
    real *direct = array_direct(array, begin, n);
    if (!direct)
        matrix_read(array, begin, n, buffer);
    return adjacent(direct ? direct : buffer);
}

/* binary_chunks where is_transposed. */
static void binary_transposed(const struct cek_binary_args *args, binary_core *core,
                              binary_total *total, size_t begin, size_t end, double *sums)
{
    ALIGN real x[CEK_CHUNK], y[CEK_CHUNK];
    for (size_t chunk = begin; chunk < end; chunk++) {
        const size_t first = chunk * CEK_CHUNK, n = min_size(CEK_CHUNK, args->n - first);
        real *grad = args->grad.data ? array_direct(&args->grad, first, n) : NULL;
        struct cek_binary_args part = *args;
        part.n = n;
        part.input = matrix_part(&args->input, first, n, x);
        part.targets = matrix_part(&args->targets, first, n, y);
        if (args->grad.data)
            part.grad = adjacent(grad ? grad : x);
        binary_chunks(&part, core, total, 0, 1, sums + chunk);
        if (args->grad.data && !grad)
            matrix_write(&args->grad, first, n, x);
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
