/* Rows of values become columns: fours of four values, transposed in registers. */
#ifndef CEK_TRANSPOSE_H
#define CEK_TRANSPOSE_H

#include "real.h"

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define CEK_SHUFFLES
#endif
#endif

/* Rows of four adjacent reals, anywhere in memory.  No compiler makes shuffles of the plain loop: they
 * take 0.08 ns an element, the loop 0.2 to 0.3 (float, AMD Zen 4, 2026-11). */
#ifdef CEK_SHUFFLES
typedef real quad __attribute__((vector_size(4 * sizeof(real))));

static INLINE void transpose_quads(const void *const from[4], void *const to[4])
{
    quad a, b, c, d;
    memcpy(&a, from[0], sizeof a);
    memcpy(&b, from[1], sizeof b);
    memcpy(&c, from[2], sizeof c);
    memcpy(&d, from[3], sizeof d);
    const quad ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5);
    const quad ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    const quad cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5);
    const quad cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    a = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    b = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    c = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    d = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
    memcpy(to[0], &a, sizeof a);
    memcpy(to[1], &b, sizeof b);
    memcpy(to[2], &c, sizeof c);
    memcpy(to[3], &d, sizeof d);
}
#else
static INLINE void transpose_quads(const void *const from[4], void *const to[4])
{
    real in[4][4], out[4][4];
    for (size_t i = 0; i < 4; i++)
        memcpy(in[i], from[i], sizeof in[i]);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++)
            out[j][i] = in[i][j];
    for (size_t i = 0; i < 4; i++)
        memcpy(to[i], out[i], sizeof out[i]);
}
#endif

/* n rows of n_columns, at least 4, from columns `step` elements apart, to rows `to_step` apart. */
static void columns_to_rows(const real *from, ptrdiff_t step, size_t n, size_t n_columns,
                            real *restrict to, size_t to_step)
{
    for (size_t i = 0; i < n_columns; i += 4) {
        const size_t c = min_size(i, n_columns - 4);
        const real *in = from + (ptrdiff_t)c * step;
        for (size_t j = 0; n >= 4 && j < n; j += 4) {
            const size_t r = min_size(j, n - 4);
            const void *const four[] = {in + r, in + step + r, in + 2 * step + r,
                                        in + 3 * step + r};
            real *out = to + r * to_step + c;
            void *const rows[] = {out, out + to_step, out + 2 * to_step, out + 3 * to_step};
            transpose_quads(four, rows);
        }
        for (size_t r = 0; n < 4 && r < n; r++)
            for (size_t k = 0; k < 4; k++)
                to[r * to_step + c + k] = in[(ptrdiff_t)k * step + (ptrdiff_t)r];
    }
}

/* Adjacent rows to columns. */
static void rows_to_columns(const real *restrict from, size_t n, size_t n_columns, real *to,
                            ptrdiff_t step)
{
    for (size_t i = 0; i < n_columns; i += 4) {
        const size_t c = min_size(i, n_columns - 4);
        real *out = to + (ptrdiff_t)c * step;
        for (size_t j = 0; n >= 4 && j < n; j += 4) {
            const size_t r = min_size(j, n - 4);
            const real *in = from + r * n_columns + c;
            const void *const rows[] = {in, in + n_columns, in + 2 * n_columns, in + 3 * n_columns};
            void *const four[] = {out + r, out + step + r, out + 2 * step + r, out + 3 * step + r};
            transpose_quads(rows, four);
        }
        for (size_t r = 0; n < 4 && r < n; r++)
            for (size_t k = 0; k < 4; k++)
                out[(ptrdiff_t)k * step + (ptrdiff_t)r] = from[r * n_columns + c + k];
    }
}

#endif
