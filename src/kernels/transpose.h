/* Rows of values become columns: squares of four or eight, transposed in registers. */
#ifndef CEK_TRANSPOSE_H
#define CEK_TRANSPOSE_H

#include "real.h"

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define CEK_SHUFFLES
#endif
#endif

/* Rows of four adjacent reals, anywhere in memory, or of every second.  No compiler makes shuffles of the
 * plain loop: they take 0.08 ns an element, the loop 0.2 to 0.3 (float, AMD Zen 4, 2026-11). */
#ifdef CEK_SHUFFLES
typedef real quad __attribute__((vector_size(4 * sizeof(real))));

static INLINE void quads_turn(quad v[4], void *const to[4])
{
    const quad ab_low = __builtin_shufflevector(v[0], v[1], 0, 4, 1, 5);
    const quad ab_high = __builtin_shufflevector(v[0], v[1], 2, 6, 3, 7);
    const quad cd_low = __builtin_shufflevector(v[2], v[3], 0, 4, 1, 5);
    const quad cd_high = __builtin_shufflevector(v[2], v[3], 2, 6, 3, 7);
    v[0] = __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5);
    v[1] = __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7);
    v[2] = __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5);
    v[3] = __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7);
    for (size_t i = 0; i < 4; i++)
        memcpy(to[i], &v[i], sizeof v[i]);
}

static INLINE void transpose_quads(const void *const from[4], void *const to[4])
{
    quad v[4];
    for (size_t i = 0; i < 4; i++)
        memcpy(&v[i], from[i], sizeof v[i]);
    quads_turn(v, to);
}

/* Reads nothing behind the last. */
static INLINE void transpose_seconds(const void *const from[4], void *const to[4])
{
    quad v[4];
    for (size_t i = 0; i < 4; i++) {
        quad low, high;
        memcpy(&low, from[i], sizeof low);
        memcpy(&high, (const char *)from[i] + 3 * sizeof(real), sizeof high);
        v[i] = __builtin_shufflevector(low, high, 0, 2, 5, 7);
    }
    quads_turn(v, to);
}
#else
static INLINE void quads_turn(const void *const from[4], size_t stride, void *const to[4])
{
    real in[4][4], out[4][4];
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++)
            memcpy(&in[i][j], (const char *)from[i] + j * stride, sizeof(real));
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < 4; j++)
            out[j][i] = in[i][j];
    for (size_t i = 0; i < 4; i++)
        memcpy(to[i], out[i], sizeof out[i]);
}

static INLINE void transpose_quads(const void *const from[4], void *const to[4])
{
    quads_turn(from, sizeof(real), to);
}

static INLINE void transpose_seconds(const void *const from[4], void *const to[4])
{
    quads_turn(from, 2 * sizeof(real), to);
}
#endif

static INLINE void transpose_fours(const real *from, ptrdiff_t from_step, real *to,
                                   ptrdiff_t to_step)
{
    const void *const in[] = {from, from + from_step, from + 2 * from_step, from + 3 * from_step};
    void *const out[] = {to, to + to_step, to + 2 * to_step, to + 3 * to_step};
    transpose_quads(in, out);
}

/* Eights of eight floats, where registers hold them: 0.06 to 0.1 ns an element.  Of memcpy in a loop GCC
 * makes moves of half a vector through the stack: 0.3 with AVX2 (AMD Zen 4, 2026-11). */
#if defined(CEK_SHUFFLES) && defined(__AVX__) && CEK_REAL_BITS == 32
enum { SIDE = 8 };
typedef real eight __attribute__((vector_size(8 * sizeof(real))));
typedef real eight_anywhere
    __attribute__((vector_size(8 * sizeof(real)), aligned(sizeof(real)), may_alias));

static INLINE void transpose_eights(const real *from, ptrdiff_t from_step, real *to,
                                    ptrdiff_t to_step)
{
    eight v[8], w[8];
#define LOAD(i) v[i] = *(const eight_anywhere *)(from + (i) * from_step)
#define PAIRS(i, a, b)                                                                             \
    w[i] = __builtin_shufflevector(v[a], v[b], 0, 8, 1, 9, 4, 12, 5, 13),                          \
    w[i + 1] = __builtin_shufflevector(v[a], v[b], 2, 10, 3, 11, 6, 14, 7, 15)
#define FOURS(i, a, b)                                                                             \
    v[i] = __builtin_shufflevector(w[a], w[b], 0, 1, 8, 9, 4, 5, 12, 13),                          \
    v[i + 1] = __builtin_shufflevector(w[a], w[b], 2, 3, 10, 11, 6, 7, 14, 15)
#define EIGHTS(i)                                                                                  \
    w[i] = __builtin_shufflevector(v[i], v[i + 4], 0, 1, 2, 3, 8, 9, 10, 11),                      \
    w[i + 4] = __builtin_shufflevector(v[i], v[i + 4], 4, 5, 6, 7, 12, 13, 14, 15)

    LOAD(0), LOAD(1), LOAD(2), LOAD(3), LOAD(4), LOAD(5), LOAD(6), LOAD(7);
    PAIRS(0, 0, 1), PAIRS(2, 2, 3), PAIRS(4, 4, 5), PAIRS(6, 6, 7);
    FOURS(0, 0, 2), FOURS(2, 1, 3), FOURS(4, 4, 6), FOURS(6, 5, 7);
    EIGHTS(0), EIGHTS(1), EIGHTS(2), EIGHTS(3);
    for (int i = 0; i < 8; i++)
        *(eight_anywhere *)(to + i * to_step) = w[i];
}
#else
enum { SIDE = 4 };
#define transpose_eights transpose_fours
#endif

/* Squares of `side` values, of which the last overlap; a cache line of each row before the next. */
static INLINE void transpose_by(size_t side, const real *from, ptrdiff_t from_step, size_t height,
                                size_t width, real *to, ptrdiff_t to_step)
{
    for (size_t begin = 0; begin < width; begin += LANES)
        for (size_t i = 0; i < height; i += side)
            for (size_t j = begin; j < min_size(begin + LANES, width); j += side) {
                const ptrdiff_t r = (ptrdiff_t)min_size(i, height - side);
                const ptrdiff_t c = (ptrdiff_t)min_size(j, width - side);
                const real *in = from + r * from_step + c;
                real *out = to + c * to_step + r;
                if (side == 4)
                    transpose_fours(in, from_step, out, to_step);
                else
                    transpose_eights(in, from_step, out, to_step);
            }
}

/* `height` rows of `width` adjacent values to as many columns, rows and columns each `step` elements
 * apart. */
static void transpose(const real *from, ptrdiff_t from_step, size_t height, size_t width, real *to,
                      ptrdiff_t to_step)
{
    if (min_size(height, width) >= SIDE)
        transpose_by(SIDE, from, from_step, height, width, to, to_step);
    else if (min_size(height, width) >= 4)
        transpose_by(4, from, from_step, height, width, to, to_step);
    else
        for (ptrdiff_t r = 0; r < (ptrdiff_t)height; r++)
            for (ptrdiff_t c = 0; c < (ptrdiff_t)width; c++)
                to[c * to_step + r] = from[r * from_step + c];
}

#endif
