/* The softmax of a tile of rows with few classes, vectorised across the rows.
 *
 * The same mathematics as row.h: arrays [class][row], every step a loop over the rows of one class.
 */
#ifndef CEK_TILE_H
#define CEK_TILE_H

#include "row.h"
#include "tile_rows.h"

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
    struct ahead ahead[5];            /* what is needed next            */
    size_t n_ahead;
};

/* Bytes of logits from which on the next tile is asked for: with the gradient they fill L2. */
enum { PREFETCH_TILES = 1 << 19 };

static INLINE int is_large(const struct cek_cross_entropy_args *args)
{
    return args->n_rows * args->n_classes >= PREFETCH_TILES / sizeof(real);
}

/* Has tile_exp ask for the tile after that at `first`, of n arrays.  Loss and gradient take this part of
 * the time of calls that do not ask (AMD Zen 4, 2026-11):
 *
 *                100,000 x 10   30,000 x 32   20,000 x 64
 *     float              1.00          1.00          0.82
 *     double             0.66          0.61          0.60
 */
static void tile_ahead(struct softmax_tile *t, const struct rows *const arrays[], size_t n,
                       size_t first, size_t n_classes)
{
    t->n_ahead = 0;
    for (size_t i = 0; i < n; i++)
        if (arrays[i]->wanted && rows_ahead(arrays[i], first, n_classes, t->ahead + t->n_ahead))
            t->n_ahead++;
}

/* Classes of 0 up to a whole group. */
static void tile_pad(real (*restrict tile)[TILE], size_t n_classes)
{
    for (size_t c = n_classes; c % GROUP != 0; c++)
        memset(tile[c], 0, sizeof tile[c]);
}

/* What a loop over the classes carries is in a local array, for compilers to keep in registers: what the
 * struct holds they read and write in every turn. */
static INLINE void tile_max(struct softmax_tile *t, size_t n_classes)
{
    real max[TILE];
    for (size_t r = 0; r < TILE; r++)
        max[r] = -(real)INFINITY;
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++)
            max[r] = t->x[c][r] > max[r] ? t->x[c][r] : max[r];
    memcpy(t->max, max, sizeof max);
}

static INLINE void tile_argmax(struct softmax_tile *t, size_t n_classes)
{
    real max[TILE], argmax[TILE];
    memcpy(max, t->max, sizeof max);
    for (size_t r = 0; r < TILE; r++)
        argmax[r] = -1;
    for (size_t c = n_classes; c-- > 0;)
        for (size_t r = 0; r < TILE; r++)
            argmax[r] = t->x[c][r] == max[r] ? (real)c : argmax[r];
    memcpy(t->argmax, argmax, sizeof argmax);
}

static INLINE void tile_scale(struct softmax_tile *t)
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

static INLINE void tile_exp(struct softmax_tile *t, size_t n_classes)
{
    for (size_t c = 0; c < n_classes; c++) {
        for (size_t i = 0; i < t->n_ahead; i++)
            ahead_class(t->ahead + i, c);
        for (size_t r = 0; r < TILE; r++) {
            real e = exp_scaled(t->x[c][r] - t->offset[r], t->cut[r], t->one[r]);
            e = t->argmax[r] == (real)c ? 0 : e;
            t->e[c][r] = e;
        }
    }
}

static INLINE void tile_sum(struct softmax_tile *t, size_t n_classes)
{
    real others[TILE] = {0}, others_low[TILE] = {0};
    for (size_t c = 0; c < n_classes; c += GROUP)
        for (size_t r = 0; r < TILE; r++) {
            real low, group = (t->e[c][r] + t->e[c + 1][r]) + (t->e[c + 2][r] + t->e[c + 3][r]);
            others[r] = two_sum(others[r], group, &low);
            others_low[r] += low;
        }
    memcpy(t->others, others, sizeof others);
    memcpy(t->others_low, others_low, sizeof others_low);
}

static INLINE void tile_total(struct softmax_tile *t)
{
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

static INLINE void tile_softmax_of(struct softmax_tile *t, size_t n_classes)
{
    tile_max(t, n_classes);
    tile_argmax(t, n_classes);
    tile_scale(t);
    tile_exp(t, n_classes);
    tile_pad(t->x, n_classes);
    tile_pad(t->e, n_classes);
    tile_sum(t, n_classes);
    tile_total(t);
}

static NOINLINE void tile_softmax_pairs(struct softmax_tile *t)
{
    tile_softmax_of(t, 2);
}

static NOINLINE void tile_softmax_triples(struct softmax_tile *t)
{
    tile_softmax_of(t, 3);
}

static NOINLINE void tile_softmax_any(struct softmax_tile *t, size_t n_classes)
{
    tile_softmax_of(t, n_classes);
}

/* From t->x to everything else.  Two and three classes take 0.9 of the time without loops over them
 * (AMD Zen 4, 2026-11). */
static void tile_softmax(struct softmax_tile *t, size_t n_classes)
{
    if (n_classes == 2)
        tile_softmax_pairs(t);
    else if (n_classes == 3)
        tile_softmax_triples(t);
    else
        tile_softmax_any(t, n_classes);
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
