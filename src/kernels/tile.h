/* The softmax of a tile of rows with few classes, vectorised across the rows.
 *
 * The same mathematics as row.h: arrays [class][row], every step a loop over the rows of one class.
 */
#ifndef CEK_TILE_H
#define CEK_TILE_H

#include "row.h"

enum {
    TILE = 4 * LANES, /* rows                                                                */
    NARROW = 64,       /* classes at most: tiles of x, e and q take 48 KiB             */
    GROUP = 4         /* classes that are summed as a tree                                   */
};

struct softmax_tile {
    ALIGN real x[NARROW][TILE];
    ALIGN real e[NARROW][TILE]; /* 0 in place of the largest term */
    ALIGN real max[TILE];
    ALIGN real argmax[TILE]; /* first class of the maximum */
    ALIGN real offset[TILE];
    ALIGN real cut[TILE];
    ALIGN bits one[TILE];
    ALIGN real top[TILE];
    ALIGN real top_low[TILE];
    ALIGN real others[TILE];
    ALIGN real others_low[TILE]; /* its rounding error */
    ALIGN real inverse[TILE];  /* 1 / (top + others)              */
    ALIGN real p_top[TILE];    /* the largest probability         */
    ALIGN real p_others[TILE]; /* 1 - p_top, also where it is tiny */
    ALIGN real log1p[TILE];    /* logsumexp - max                 */
};

/* Transposing four rows at a time takes 0.21 ns an element, one at a time 0.37, and back 0.17 instead
 * of 0.50 (float, 10 classes, AVX-512 server, 2026-11). */

/* Four rows of n_classes values to rows r to r + 3 of the tile: `spacing` from row to row, `step` from
 * class to class. */
static INLINE void tile_load_four(const real *row, ptrdiff_t spacing, ptrdiff_t step,
                                  size_t n_classes, size_t r, real (*restrict tile)[TILE])
{
    for (size_t c = 0; c < n_classes; c++, row += step) {
        real first = row[0], second = row[spacing];
        real third = row[2 * spacing], fourth = row[3 * spacing];
        tile[c][r] = first, tile[c][r + 1] = second;
        tile[c][r + 2] = third, tile[c][r + 3] = fourth;
    }
}

static INLINE void tile_store_four(real (*restrict tile)[TILE], size_t r, size_t n_classes,
                                   ptrdiff_t spacing, ptrdiff_t step, real *row)
{
    for (size_t c = 0; c < n_classes; c++, row += step) {
        row[0] = tile[c][r], row[spacing] = tile[c][r + 1];
        row[2 * spacing] = tile[c][r + 2], row[3 * spacing] = tile[c][r + 3];
    }
}

/* Row i where its elements are aligned real, at any distance; else NULL. */
static INLINE real *row_aligned(const struct rows *rows, size_t i)
{
    const uintptr_t places = (uintptr_t)rows->at[i] | (uintptr_t)rows->stride;
    const int aligned = rows->type == REAL_TYPE && places % sizeof(real) == 0;
    return aligned ? (real *)(void *)rows->at[i] : NULL;
}

/* Bytes from each of n rows, from `first` on, to the next; 0 where they differ, or there is one row. */
static ptrdiff_t rows_spacing(const struct rows *rows, size_t first, size_t n)
{
    const ptrdiff_t spacing = n > 1 ? rows->at[first + 1] - rows->at[first] : 0;
    for (size_t i = first + 1; i < first + n; i++)
        if (rows->at[i] - rows->at[i - 1] != spacing)
            return 0;
    return spacing;
}

/* Rows that are missing are 0. */
static void tile_fill(real (*restrict tile)[TILE], size_t n_rows, size_t n_classes)
{
    for (size_t c = 0; n_rows < TILE && c < n_classes; c++)
        memset(tile[c] + n_rows, 0, (TILE - n_rows) * sizeof(real));
}

/* n_rows rows, from `first` on, as [class][row].  Rows next to each other, as where the classes are
 * not the last axis, are runs; rows at equal distance are transposed where they are; others, and
 * what is left over, by way of a buffer. */
static void tile_load(const struct rows *rows, size_t first, size_t n_rows, size_t n_classes,
                      real (*restrict tile)[TILE])
{
    const ptrdiff_t spacing = rows_spacing(rows, first, n_rows), size = type_sizes[rows->type];
    const ptrdiff_t step = rows->stride / size;
    const real *direct = row_aligned(rows, first);
    size_t r = 0;
    if (spacing == size) {
        for (size_t c = 0; c < n_classes; c++)
            run_read(rows->type, rows->at[first] + (ptrdiff_t)c * rows->stride, size, n_rows,
                     tile[c]);
        r = n_rows;
    } else if (direct && spacing != 0 && spacing % size == 0) {
        for (; r + 4 <= n_rows; r += 4) {
            const real *row = direct + (ptrdiff_t)r * (spacing / size);
            tile_load_four(row, spacing / size, step, n_classes, r, tile);
        }
    }
    for (; r < n_rows; r += 4) {
        real buffer[4][NARROW];
        for (size_t i = 0; i < 4; i++)
            row_read(rows, first + min_size(r + i, n_rows - 1), 0, n_classes, buffer[i]);
        tile_load_four(buffer[0], NARROW, 1, n_classes, r, tile);
    }
    tile_fill(tile, n_rows, n_classes);
}

static void tile_store(real (*restrict tile)[TILE], size_t n_rows, size_t n_classes,
                       const struct rows *rows, size_t first)
{
    const ptrdiff_t spacing = rows_spacing(rows, first, n_rows), size = type_sizes[rows->type];
    const ptrdiff_t step = rows->stride / size;
    real *direct = row_aligned(rows, first);
    size_t r = 0;
    if (spacing == size) {
        for (size_t c = 0; c < n_classes; c++)
            run_write(rows->type, tile[c], n_rows, size,
                      rows->at[first] + (ptrdiff_t)c * rows->stride);
        r = n_rows;
    } else if (direct && spacing != 0 && spacing % size == 0) {
        for (; r + 4 <= n_rows; r += 4) {
            real *row = direct + (ptrdiff_t)r * (spacing / size);
            tile_store_four(tile, r, n_classes, spacing / size, step, row);
        }
    }
    for (; r < n_rows; r += 4) {
        real buffer[4][NARROW];
        tile_store_four(tile, r, n_classes, NARROW, 1, buffer[0]);
        for (size_t i = 0; i < 4 && r + i < n_rows; i++)
            row_write(rows, first + r + i, 0, n_classes, buffer[i]);
    }
}

/* Classes of 0 up to a whole group. */
static void tile_pad(real (*restrict tile)[TILE], size_t n_classes)
{
    for (size_t c = n_classes; c % GROUP != 0; c++)
        memset(tile[c], 0, sizeof tile[c]);
}

static NOINLINE void tile_max(struct softmax_tile *t, size_t n_classes)
{
    for (size_t r = 0; r < TILE; r++)
        t->max[r] = -(real)INFINITY;
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++)
            t->max[r] = t->x[c][r] > t->max[r] ? t->x[c][r] : t->max[r];
}

static NOINLINE void tile_argmax(struct softmax_tile *t, size_t n_classes)
{
    for (size_t r = 0; r < TILE; r++)
        t->argmax[r] = -1;
    for (size_t c = n_classes; c-- > 0;)
        for (size_t r = 0; r < TILE; r++)
            t->argmax[r] = t->x[c][r] == t->max[r] ? (real)c : t->argmax[r];
}

static NOINLINE void tile_scale(struct softmax_tile *t)
{
    for (size_t r = 0; r < TILE; r++) {
        struct scaling to = scale_to(t->max[r]);
        t->offset[r] = to.offset;
        t->cut[r] = to.cut;
        t->one[r] = to.one;
        t->top[r] = to.top;
        t->top_low[r] = to.top_low;
    }
}

static NOINLINE void tile_exp(struct softmax_tile *t, size_t n_classes)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real e = exp_scaled(t->x[c][r] - t->offset[r], t->cut[r], t->one[r]);
            e = t->argmax[r] == (real)c ? 0 : e;
            t->e[c][r] = e;
        }
}

static NOINLINE void tile_total(struct softmax_tile *t, size_t n_classes)
{
    for (size_t r = 0; r < TILE; r++)
        t->others[r] = t->others_low[r] = 0;
    for (size_t c = 0; c < n_classes; c += GROUP)
        for (size_t r = 0; r < TILE; r++) {
            real low, group = (t->e[c][r] + t->e[c + 1][r]) + (t->e[c + 2][r] + t->e[c + 3][r]);
            t->others[r] = two_sum(t->others[r], group, &low);
            t->others_low[r] += low;
        }
    for (size_t r = 0; r < TILE; r++) {
        real top = t->top[r], top_low = t->top_low[r];
        real others = t->others[r], others_low = t->others_low[r];
        real total_low, total = two_sum(top, others, &total_low);
        total_low += top_low + others_low;
        real inverse = 1 / total, ratio = others / top;
        real residual = fma_(-total, inverse, 1) - total_low * inverse;
        t->inverse[r] = fma_(inverse, residual, inverse);
        t->p_top[r] = fma_(top, t->inverse[r], top_low * t->inverse[r]);
        t->p_others[r] = (others + others_low) * t->inverse[r];
        t->log1p[r] = log1p_nonneg(ratio + (others_low - ratio * top_low) / top);
    }
}

/* From t->x to everything else. */
static void tile_softmax(struct softmax_tile *t, size_t n_classes)
{
    tile_max(t, n_classes);
    tile_argmax(t, n_classes);
    tile_scale(t);
    tile_exp(t, n_classes);
    tile_pad(t->x, n_classes);
    tile_pad(t->e, n_classes);
    tile_total(t, n_classes);
}

/* e becomes the probabilities. */
static NOINLINE void tile_proba(struct softmax_tile *t, size_t n_classes)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real p = t->e[c][r] * t->inverse[r], p_top = t->p_top[r];
            t->e[c][r] = t->argmax[r] == (real)c ? p_top : p;
        }
}

/* logsumexp of n_rows rows, with the infinities of row_lse */
static void tile_lse(const struct softmax_tile *t, size_t n_rows, size_t n_classes, real *lse)
{
    for (size_t r = 0; r < n_rows; r++) {
        struct softmax_row row = {.max = t->max[r], .log1p = t->log1p[r]};
        row.total = t->top[r] + t->others[r];
        if (row.max == (real)INFINITY)
            for (size_t c = 0; c < n_classes; c++)
                row.has_nan |= t->x[c][r] != t->x[c][r];
        lse[r] = row_lse(&row);
    }
}

#endif
