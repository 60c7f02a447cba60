/* Softmax cross-entropy of few classes: the formulas of cross_entropy.h across the rows of a tile. */
#ifndef CEK_CROSS_ENTROPY_NARROW_H
#define CEK_CROSS_ENTROPY_NARROW_H

#include "targets.h"
#include "tile.h"

struct narrow {
    struct softmax_tile softmax;
    ALIGN real q[NARROW][TILE];
    ALIGN real label[TILE];
    ALIGN real weight[TILE];
    ALIGN real all[TILE];
    ALIGN real rest[TILE];
    ALIGN real rest_low[TILE];
    ALIGN real at_argmax[TILE];
    ALIGN real distance[TILE];
    ALIGN real distance_low[TILE];
    ALIGN real live[TILE];
    ALIGN real loss[TILE];
};

/* t_c of a label */
static NOINLINE void narrow_one_hot(struct narrow *s, size_t n_classes)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++)
            s->q[c][r] = s->label[r] == (real)c ? 1 : 0;
}

/* q_c from t_c, in place */
static NOINLINE void narrow_mix(struct narrow *s, real class_weight, real keep, real spread,
                                size_t c)
{
    for (size_t r = 0; r < TILE; r++)
        s->q[c][r] = s->weight[r] * class_weight * fma_(s->q[c][r], keep, spread);
}

static void narrow_coefficients(const struct cek_cross_entropy_args *args, size_t begin,
                                size_t n_rows, struct narrow *s)
{
    const size_t n_classes = args->n_classes;
    const real smoothing = (real)args->label_smoothing;
    if (args->target_proba)
        tile_load((const real *)args->target_proba + begin * n_classes, n_rows, n_classes, s->q);
    else
        narrow_one_hot(s, n_classes);
    for (size_t c = 0; c < n_classes; c++)
        narrow_mix(s, class_weight(args, c), 1 - smoothing, smoothing / (real)n_classes, c);
    tile_pad(s->q, n_classes);
}

/* A, R, q_k, sum_{c != k} q_c (m - x_c), and whether any q_c is not 0 */
static NOINLINE void narrow_sums(struct narrow *s, size_t n_classes)
{
    const struct softmax_tile *t = &s->softmax;
    for (size_t r = 0; r < TILE; r++)
        s->rest[r] = s->rest_low[r] = s->distance[r] = s->distance_low[r] = s->at_argmax[r] =
            s->live[r] = 0;
    for (size_t c = 0; c < n_classes; c += GROUP)
        for (size_t r = 0; r < TILE; r++) {
            real other[GROUP], distance[GROUP];
            for (size_t i = 0; i < GROUP; i++) {
                real q = s->q[c + i][r], d = q * (t->max[r] - t->x[c + i][r]);
                other[i] = t->argmax[r] == (real)(c + i) ? 0 : q;
                distance[i] = other[i] == 0 ? 0 : d;
                s->at_argmax[r] += q - other[i];
                s->live[r] = q == 0 ? s->live[r] : 1;
            }
            real low, low_distance;
            s->rest[r] = two_sum(s->rest[r], (other[0] + other[1]) + (other[2] + other[3]), &low);
            s->rest_low[r] += low;
            s->distance[r] =
                two_sum(s->distance[r], (distance[0] + distance[1]) + (distance[2] + distance[3]),
                        &low_distance);
            s->distance_low[r] += low_distance;
        }
    for (size_t r = 0; r < TILE; r++) {
        real low = s->distance_low[r];
        s->rest[r] += s->rest_low[r];
        s->distance[r] += low - low == 0 ? low : 0; /* an infinite distance has no error */
        s->all[r] = s->rest[r] + s->at_argmax[r];
        real loss = fma_(s->all[r], t->log1p[r], s->distance[r]);
        s->loss[r] = s->live[r] == 0 ? 0 : loss;
    }
}

/* From here on x is spent: it takes the output that is being made. */
static NOINLINE void narrow_grad(struct narrow *s, real scale, size_t n_classes)
{
    struct softmax_tile *t = &s->softmax;
    ALIGN real factor[TILE];
    for (size_t r = 0; r < TILE; r++)
        factor[r] = scale * s->all[r] * t->inverse[r];
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real q = scale * s->q[c][r];
            real other = fma_(factor[r], t->e[c][r], -q);
            real largest = fma_(scale * s->rest[r], t->p_top[r], -(q * t->p_others[r]));
            real grad = t->argmax[r] == (real)c ? largest : other;
            t->x[c][r] = s->live[r] == 0 ? 0 : grad;
        }
}

static NOINLINE void narrow_hess(struct narrow *s, real scale, size_t n_classes)
{
    struct softmax_tile *t = &s->softmax;
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real p = t->e[c][r] * t->inverse[r];
            real largest = t->p_top[r] * t->p_others[r], other = fma_(-p, p, p);
            real variance = t->argmax[r] == (real)c ? largest : other;
            real hess = scale * (s->all[r] * variance);
            t->x[c][r] = s->live[r] == 0 ? 0 : hess;
        }
}

/* Rows [begin, begin + n_rows) with their targets; writes what is wanted, and the losses to s->loss. */
static void cross_entropy_tile(const struct cek_cross_entropy_args *args, size_t begin,
                               size_t n_rows, const ptrdiff_t *label, const real *weight,
                               struct narrow *s)
{
    const size_t n_classes = args->n_classes, at = begin * n_classes;
    const real scale = (real)args->grad_scale;
    struct softmax_tile *t = &s->softmax;
    for (size_t r = 0; r < TILE; r++) {
        s->label[r] = r < n_rows ? (real)label[r] : 0;
        s->weight[r] = r < n_rows ? weight[r] : 0;
    }
    tile_load((const real *)args->logits + at, n_rows, n_classes, t->x);
    tile_softmax(t, n_classes);
    narrow_coefficients(args, begin, n_rows, s);
    narrow_sums(s, n_classes);
    if (args->lse)
        tile_lse(t, n_rows, n_classes, (real *)args->lse + begin);
    if (args->hess) {
        narrow_hess(s, scale, n_classes);
        tile_store(t->x, n_rows, n_classes, (real *)args->hess + at);
    }
    if (args->grad) {
        narrow_grad(s, scale, n_classes);
        tile_store(t->x, n_rows, n_classes, (real *)args->grad + at);
    }
    if (args->proba) {
        tile_proba(t, n_classes);
        tile_store(t->e, n_rows, n_classes, (real *)args->proba + at);
    }
}

#endif
