/* The softmax of a tile of rows with few classes, vectorised across the rows.
 *
 * The same mathematics as row.h: arrays [class][row], every step a loop over the rows of one class.
 */
#ifndef CEK_TILE_H
#define CEK_TILE_H

#include "row.h"
#include "transpose.h"

/* A batch (batch.h) of 64 classes takes 0.9 of the time of tiles, 0.5 where the rows come from L3 (double);
 * of fewer it has to fill up its steps (AMD Zen 4, 2026-11). */
enum {
    TILE = 32,                      /* rows                                                */
    GROUP = 4,                      /* classes that are summed as a tree                   */
    TILE_CLASSES = 64,              /* whole groups: tiles of x, e and q take 24 or 48 KiB */
    NARROW = LANES == 16 ? 63 : 48, /* classes at most                                     */
};

_Static_assert(NARROW + 1 >= STEP, "what is not narrow is read by whole steps (row.h, batch.h)");

struct softmax_tile {
    ALIGN real x[TILE_CLASSES][TILE];
    ALIGN real e[TILE_CLASSES][TILE]; /* 0 in place of the largest term */
    ALIGN real max[TILE];
    ALIGN real argmax[TILE];          /* first class of the maximum     */
    ALIGN real offset[TILE];
    ALIGN real cut[TILE];
    ALIGN bits one[TILE];
    ALIGN real top[TILE];
    ALIGN real top_low[TILE];
    ALIGN real others[TILE];
    ALIGN real others_low[TILE];      /* its rounding error             */
    ALIGN real inverse[TILE];         /* 1 / (top + others)             */
    ALIGN real p_top[TILE];           /* the largest probability        */
    ALIGN real p_others[TILE];        /* 1 - p_top, even where tiny     */
    ALIGN real log1p[TILE];           /* logsumexp - max                */
};

/* Four rows of adjacent values to rows r to r + 3 of the tile.  The last four classes may be moved twice. */
static INLINE void tile_load_four(const char *const row[4], size_t n_classes, size_t r,
                                  real (*restrict tile)[TILE])
{
    for (size_t i = 0; n_classes >= 4 && i < n_classes; i += 4) {
        const size_t c = min_size(i, n_classes - 4), begin = c * sizeof(real);
        const void *from[] = {row[0] + begin, row[1] + begin, row[2] + begin, row[3] + begin};
        void *to[] = {tile[c] + r, tile[c + 1] + r, tile[c + 2] + r, tile[c + 3] + r};
        transpose_quads(from, to);
    }
    for (size_t c = 0; n_classes < 4 && c < n_classes; c++)
        for (size_t i = 0; i < 4; i++)
            memcpy(tile[c] + r + i, row[i] + c * sizeof(real), sizeof(real));
}

static INLINE void tile_store_four(real (*restrict tile)[TILE], size_t r, size_t n_classes,
                                   char *const row[4])
{
    for (size_t i = 0; n_classes >= 4 && i < n_classes; i += 4) {
        const size_t c = min_size(i, n_classes - 4), begin = c * sizeof(real);
        const void *from[] = {tile[c] + r, tile[c + 1] + r, tile[c + 2] + r, tile[c + 3] + r};
        void *to[] = {row[0] + begin, row[1] + begin, row[2] + begin, row[3] + begin};
        transpose_quads(from, to);
    }
    for (size_t c = 0; n_classes < 4 && c < n_classes; c++)
        for (size_t i = 0; i < 4; i++)
            memcpy(row[i] + c * sizeof(real), tile[c] + r + i, sizeof(real));
}

/* Do n rows, from `first` on, follow each other `step` bytes apart? */
static int rows_follow(const struct rows *rows, size_t first, size_t n, ptrdiff_t step)
{
    if (n < 2 || rows->at[first + 1] - rows->at[first] != step)
        return 0;
    int differ = 0;
    for (size_t i = first + 2; i < first + n; i++)
        differ |= rows->at[i] - rows->at[i - 1] != step;
    return !differ;
}

/* Are n rows, from `first` on, next to each other in memory, so that each class is a run? */
static int rows_adjacent(const struct rows *rows, size_t first, size_t n)
{
    return rows_follow(rows, first, n, type_sizes[rows->type]);
}

/* A whole tile of rows of real that follow each other with nothing between them; else NULL. */
static real *tile_direct(const struct rows *rows, size_t first, size_t n, size_t n_classes)
{
    const ptrdiff_t step = (ptrdiff_t)(n_classes * sizeof(real));
    return n == TILE && rows_follow(rows, first, n, step) ? row_direct(rows, first) : NULL;
}

/* Rows of two or three classes: of loops with these constants compilers make shuffles.  They take 0.1
 * ns an element, four rows at a time 0.5 (float, AMD Zen 4, 2026-11). */
static INLINE void split_rows(const real *restrict v, size_t n_classes, real (*restrict tile)[TILE])
{
    for (size_t r = 0; r < TILE; r++)
        for (size_t c = 0; c < n_classes; c++)
            tile[c][r] = v[n_classes * r + c];
}

static INLINE void join_rows(real (*restrict tile)[TILE], size_t n_classes, real *restrict v)
{
    for (size_t r = 0; r < TILE; r++)
        for (size_t c = 0; c < n_classes; c++)
            v[n_classes * r + c] = tile[c][r];
}

static NOINLINE void split_pairs(const real *restrict v, real (*restrict tile)[TILE])
{
    split_rows(v, 2, tile);
}

static NOINLINE void split_triples(const real *restrict v, real (*restrict tile)[TILE])
{
    split_rows(v, 3, tile);
}

static NOINLINE void join_pairs(real (*restrict tile)[TILE], real *restrict v)
{
    join_rows(tile, 2, v);
}

static NOINLINE void join_triples(real (*restrict tile)[TILE], real *restrict v)
{
    join_rows(tile, 3, v);
}

/* n_rows rows, from `first` on, as [class][row]; rows that are missing are 0. */
static void tile_load(const struct rows *rows, size_t first, size_t n_rows, size_t n_classes,
                      real (*restrict tile)[TILE])
{
    const int direct = rows->type == REAL_TYPE && rows->stride == sizeof(real);
    const real *whole =
        n_classes == 2 || n_classes == 3 ? tile_direct(rows, first, n_rows, n_classes) : NULL;
    size_t r = 0;
    if (whole) {
        (n_classes == 2 ? split_pairs : split_triples)(whole, tile);
        r = n_rows;
    } else if (rows_adjacent(rows, first, n_rows)) {
        for (size_t c = 0; c < n_classes; c++)
            run_read(rows->type, rows->at[first] + (ptrdiff_t)c * rows->stride,
                     type_sizes[rows->type], n_rows, tile[c]);
        r = n_rows;
    }
    for (; r < n_rows; r += 4) {
        real buffer[4][TILE_CLASSES];
        const char *row[4];
        for (size_t i = 0; i < 4; i++) {
            const size_t from = first + min_size(r + i, n_rows - 1);
            row[i] = direct ? rows->at[from] : (const char *)buffer[i];
            if (!direct)
                row_read(rows, from, 0, n_classes, buffer[i]);
        }
        tile_load_four(row, n_classes, r, tile);
    }
    for (size_t c = 0; n_rows < TILE && c < n_classes; c++)
        memset(tile[c] + n_rows, 0, (TILE - n_rows) * sizeof(real));
}

static void tile_store(real (*restrict tile)[TILE], size_t n_rows, size_t n_classes,
                       const struct rows *rows, size_t first)
{
    const int direct = rows->type == REAL_TYPE && rows->stride == sizeof(real);
    real *whole =
        n_classes == 2 || n_classes == 3 ? tile_direct(rows, first, n_rows, n_classes) : NULL;
    size_t r = 0;
    if (whole) {
        (n_classes == 2 ? join_pairs : join_triples)(tile, whole);
        r = n_rows;
    } else if (rows_adjacent(rows, first, n_rows)) {
        for (size_t c = 0; c < n_classes; c++)
            run_write(rows->type, tile[c], n_rows, type_sizes[rows->type],
                      rows->at[first] + (ptrdiff_t)c * rows->stride);
        r = n_rows;
    }
    for (; r < n_rows; r += 4) {
        real buffer[4][TILE_CLASSES];
        char *row[4];
        for (size_t i = 0; i < 4; i++)
            row[i] = direct && r + i < n_rows ? rows->at[first + r + i] : (char *)buffer[i];
        tile_store_four(tile, r, n_classes, row);
        for (size_t i = 0; !direct && i < 4 && r + i < n_rows; i++)
            row_write(rows, first + r + i, 0, n_classes, buffer[i]);
    }
}

/* Bytes of logits from which on the next tile is asked for: with the gradient they fill L2.  A call takes
 * 0.85 of the time in float and 0.75 in double (100,000 x 10, AMD Zen 4, 2026-11). */
enum { PREFETCH_TILES = 1 << 19 };

/* Asks for the memory of the tile after the one at `first`, if its rows leave no gap. */
static INLINE void tile_ahead(const struct rows *rows, size_t first, size_t n_rows,
                              size_t n_classes)
{
    const ptrdiff_t size = (ptrdiff_t)n_classes * type_sizes[rows->type];
    if (!rows->wanted || n_rows < TILE || rows->at[first + 1] - rows->at[first] != size)
        return;
    const uintptr_t bytes = TILE * (uintptr_t)size, next = (uintptr_t)rows->at[first] + bytes;
    for (uintptr_t i = 0; i < bytes; i += 64) /* beyond the last row, where nothing is read */
        PREFETCH((const char *)(next + i));
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
