/* Softmax cross-entropy of few classes: the formulas of cross_entropy.h across the rows of a tile. */
#ifndef CEK_CROSS_ENTROPY_NARROW_H
#define CEK_CROSS_ENTROPY_NARROW_H

#include "logits.h"
#include "outer.h"
#include "targets.h"
#include "tile.h"

/* What only some options need. */
struct narrow_extras {
    ALIGN real allowed[TILE_CLASSES][TILE];
    ALIGN real x[TILE_CLASSES][TILE]; /* logits as they are in memory              */
    ALIGN real slope[TILE_CLASSES][TILE]; /* dv/dx                                     */
    ALIGN real bend[TILE_CLASSES][TILE]; /* d2v/dx2                                   */
    ALIGN real grad[TILE_CLASSES][TILE]; /* grad_scale times the gradient in v        */
};

struct narrow {
    struct softmax_tile softmax;
    ALIGN real q[TILE_CLASSES][TILE];
    ALIGN real label[TILE];
    ALIGN real v_label[TILE];
    ALIGN real q_label[TILE]; /* of a label alone: its q */
    ALIGN real weight[TILE];
    ALIGN real share[TILE]; /* of the smoothing, for each allowed class */
    ALIGN real all[TILE];
    ALIGN real rest[TILE];
    ALIGN real rest_low[TILE];
    ALIGN real at_argmax[TILE];
    ALIGN real distance[TILE];
    ALIGN real distance_low[TILE];
    ALIGN real pull[TILE];
    ALIGN real square[TILE];
    ALIGN real live[TILE];
    ALIGN real loss[TILE];
    ALIGN real lse[TILE];
    ALIGN real nll[TILE]; /* of an outer function: its argument, and the rounding error of that */
    ALIGN real nll_low[TILE];
    ALIGN real slope[TILE];
    ALIGN real curvature[TILE]; /* times A */
    struct narrow_extras extras;
};

/* t_c of a label */
static NOINLINE void narrow_one_hot(struct narrow *s, size_t n_classes)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++)
            s->q[c][r] = s->label[r] == (real)c ? 1 : 0;
}

/* q_c from t_c, in place */
static NOINLINE void narrow_mix(struct narrow *s, real class_weight, real keep, size_t c)
{
    for (size_t r = 0; r < TILE; r++) {
        real mixed = fma_(s->q[c][r], keep, s->share[r]), q = s->weight[r] * class_weight * mixed;
        s->q[c][r] = mixed == 0 ? 0 : q;
    }
}

static NOINLINE void narrow_mix_allowed(struct narrow *s, real class_weight, real keep, size_t c)
{
    for (size_t r = 0; r < TILE; r++) {
        real share = s->share[r] * s->extras.allowed[c][r];
        real mixed = fma_(s->q[c][r], keep, share), q = s->weight[r] * class_weight * mixed;
        s->q[c][r] = mixed == 0 ? 0 : q;
    }
}

/* The smoothing over the number of allowed classes */
static NOINLINE void narrow_share(struct narrow *s, real smoothing, size_t n_classes)
{
    for (size_t r = 0; r < TILE; r++)
        s->share[r] = 0;
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++)
            s->share[r] += s->extras.allowed[c][r];
    for (size_t r = 0; r < TILE; r++)
        s->share[r] = smoothing / (s->share[r] > 1 ? s->share[r] : 1);
}

static void narrow_coefficients(const struct cek_cross_entropy_args *args, const struct group *g,
                                size_t first, size_t n_rows, struct narrow *s)
{
    const size_t n_classes = args->n_classes;
    const real smoothing = (real)args->label_smoothing;
    if (g->target_proba.wanted)
        tile_load(&g->target_proba, first, n_rows, n_classes, s->q);
    else
        narrow_one_hot(s, n_classes);
    const int masked = g->allowed.wanted && smoothing != 0;
    if (masked)
        narrow_share(s, smoothing, n_classes);
    else
        for (size_t r = 0; r < TILE; r++)
            s->share[r] = smoothing / (real)n_classes;
    for (size_t c = 0; c < n_classes; c++)
        (masked ? narrow_mix_allowed : narrow_mix)(s, class_weight(args, c), 1 - smoothing, c);
    tile_pad(s->q, n_classes);
}

/* A, R, q_k, sum_{c != k} q_c (m - v_c), and whether any q_c is not 0 */
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
        s->loss[r] = fma_(s->all[r], t->log1p[r], s->distance[r]);
        s->pull[r] = s->square[r] = 0;
    }
}

/* The same of labels alone, from q_label; q is not needed */
static NOINLINE void narrow_label_sums(struct narrow *s, size_t n_classes)
{
    const struct softmax_tile *t = &s->softmax;
    real label[TILE], v_label[TILE] = {0};
    memcpy(label, s->label, sizeof label);
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real v = t->x[c][r], other = v_label[r];
            v_label[r] = label[r] == (real)c ? v : other;
        }
    memcpy(s->v_label, v_label, sizeof v_label);
    for (size_t r = 0; r < TILE; r++) {
        real q = s->q_label[r];
        s->rest[r] = s->label[r] == t->argmax[r] ? 0 : q;
        s->live[r] = q == 0 ? 0 : 1;
        s->all[r] = q;
        s->pull[r] = s->square[r] = 0;
    }
    for (size_t r = 0; r < TILE; r++) {
        real distance = s->rest[r] * (t->max[r] - s->v_label[r]);
        s->distance[r] = s->rest[r] == 0 ? 0 : distance;
        s->loss[r] = fma_(s->all[r], t->log1p[r], s->distance[r]);
    }
}

/* -log p_y of labels */
static NOINLINE void narrow_nll(struct narrow *s)
{
    const struct softmax_tile *t = &s->softmax;
    for (size_t r = 0; r < TILE; r++) {
        int is_largest = s->label[r] == t->argmax[r];
        s->nll[r] = nll_of(t->max[r], s->v_label[r], is_largest, t->log1p[r], &s->nll_low[r]);
    }
}

/* The value of an outer function becomes the loss, its slope a factor of A, R and q. */
static NOINLINE void narrow_slope(struct narrow *s, const real *restrict value)
{
    for (size_t r = 0; r < TILE; r++) {
        s->loss[r] = s->all[r] * value[r];
        s->curvature[r] *= s->all[r];
        s->all[r] *= s->slope[r];
        s->rest[r] *= s->slope[r];
        s->q_label[r] *= s->slope[r];
    }
}

static void narrow_outer(const struct cek_cross_entropy_args *args, struct narrow *s)
{
    ALIGN real value[TILE];
    narrow_nll(s);
    outer_apply(args->outer, s->nll, s->nll_low, args->outer_parameter, TILE, value, s->slope,
                s->curvature);
    narrow_slope(s, value);
}

/* Adds the term of the curvature to the Hessian in x. */
static NOINLINE void narrow_bend(struct narrow *s, real scale, size_t n_classes)
{
    struct softmax_tile *t = &s->softmax;
    ALIGN real at_largest[TILE], bend[TILE];
    for (size_t r = 0; r < TILE; r++) {
        real p = t->p_top[r], rest = t->p_others[r];
        at_largest[r] = s->label[r] == t->argmax[r] ? rest : p;
        bend[r] = scale * s->curvature[r];
    }
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real p = t->e[c][r] * t->inverse[r], rest = 1 - p, largest = at_largest[r];
            real other = s->label[r] == (real)c ? rest : p, old = t->x[c][r];
            real distance = t->argmax[r] == (real)c ? largest : other;
            real hess = fma_(bend[r] * distance, distance, old);
            t->x[c][r] = s->live[r] == 0 ? 0 : hess;
        }
}

/* square = 2 z omega and pull = square lse, with omega in s->square */
static NOINLINE void narrow_z_loss(struct narrow *s, real twice_z)
{
    for (size_t r = 0; r < TILE; r++) {
        real square = twice_z * s->square[r], pull = square * s->lse[r];
        s->square[r] = square;
        s->pull[r] = square == 0 ? 0 : pull; /* also where lse is inf */
    }
    for (size_t r = 0; r < TILE; r++) {
        real loss = fma_(REAL(0.5) * s->pull[r], s->lse[r], s->loss[r]);
        s->loss[r] = s->pull[r] == 0 ? s->loss[r] : loss;
    }
    for (size_t r = 0; r < TILE; r++)
        s->live[r] = s->square[r] == 0 ? s->live[r] : 1;
}

/* Factors of e_c and, for the largest class, of the rest in the gradient in v. */
static INLINE void narrow_factors(const struct narrow *s, real scale, real *restrict factor,
                                  real *restrict at_largest)
{
    const struct softmax_tile *t = &s->softmax;
    for (size_t r = 0; r < TILE; r++) {
        real pull = t->max[r] == (real)INFINITY ? 0 : s->pull[r];
        factor[r] = scale * (s->all[r] + pull) * t->inverse[r];
        at_largest[r] = scale * (s->rest[r] + s->pull[r]) * t->p_top[r];
    }
}

/* From here on x is spent: it takes the output that is being made.  The gradient in v. */
static NOINLINE void narrow_grad(struct narrow *s, real scale, size_t n_classes)
{
    struct softmax_tile *t = &s->softmax;
    ALIGN real factor[TILE], at_largest[TILE];
    narrow_factors(s, scale, factor, at_largest);
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real q = scale * s->q[c][r];
            real other = fma_(factor[r], t->e[c][r], -q);
            real largest = at_largest[r] - q * t->p_others[r];
            real grad = t->argmax[r] == (real)c ? largest : other;
            t->x[c][r] = s->live[r] == 0 ? 0 : grad;
        }
}

/* The same of labels alone */
static NOINLINE void narrow_label_grad(struct narrow *s, real scale, size_t n_classes)
{
    struct softmax_tile *t = &s->softmax;
    ALIGN real factor[TILE], at_largest[TILE], q_label[TILE];
    narrow_factors(s, scale, factor, at_largest);
    for (size_t r = 0; r < TILE; r++) {
        q_label[r] = scale * s->q_label[r];
        real q = s->label[r] == t->argmax[r] ? q_label[r] : 0;
        at_largest[r] -= q * t->p_others[r];
    }
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real q = s->label[r] == (real)c ? q_label[r] : 0, largest = at_largest[r];
            real other = fma_(factor[r], t->e[c][r], -q);
            real grad = t->argmax[r] == (real)c ? largest : other;
            t->x[c][r] = s->live[r] == 0 ? 0 : grad;
        }
}

/* A class that is not allowed has no gradient, not even as a label. */
static NOINLINE void narrow_allow(struct narrow *s, size_t n_classes)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++)
            s->softmax.x[c][r] *= s->extras.allowed[c][r];
}

static void narrow_grad_allowed(const struct cek_cross_entropy_args *args, const struct group *g,
                                struct narrow *s, real scale)
{
    (is_one_hot(args) ? narrow_label_grad : narrow_grad)(s, scale, args->n_classes);
    if (g->allowed.wanted)
        narrow_allow(s, args->n_classes);
}

static NOINLINE void narrow_hess(struct narrow *s, real scale, size_t n_classes)
{
    struct softmax_tile *t = &s->softmax;
    ALIGN real all[TILE], largest[TILE];
    for (size_t r = 0; r < TILE; r++) {
        real pull = s->pull[r], p = t->p_top[r], variance = p * t->p_others[r];
        all[r] = s->all[r] + (t->max[r] == (real)INFINITY ? 0 : pull);
        largest[r] = scale * fma_(all[r], variance, s->square[r] * p * p);
    }
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real p = t->e[c][r] * t->inverse[r], p_square = s->square[r] * p * p;
            real other = scale * fma_(all[r], fma_(-p, p, p), p_square);
            real hess = t->argmax[r] == (real)c ? largest[r] : other;
            t->x[c][r] = s->live[r] == 0 ? 0 : hess;
        }
}

static NOINLINE void narrow_slopes(struct narrow_extras *extras, real scale, real cap,
                                   size_t n_classes)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++)
            capped(extras->x[c][r], scale, cap, &extras->slope[c][r], &extras->bend[c][r]);
}

/* The gradient in v, which is in x, is kept; x becomes that in the logits. */
static NOINLINE void narrow_chain(struct narrow *s, size_t n_classes)
{
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real grad = s->extras.slope[c][r] * s->extras.grad[c][r];
            s->softmax.x[c][r] = s->live[r] == 0 ? 0 : grad;
        }
}

static NOINLINE void narrow_chain_hess(struct narrow *s, real factor, size_t n_classes)
{
    const struct narrow_extras *extras = &s->extras;
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real slope = extras->slope[c][r];
            real bent = factor * (extras->grad[c][r] * extras->bend[c][r]);
            real hess = fma_(slope * slope, s->softmax.x[c][r], bent);
            s->softmax.x[c][r] = s->live[r] == 0 ? 0 : hess;
        }
}

/* Loads v into x, and what else the options need. */
static void narrow_logits(const struct cek_cross_entropy_args *args, const struct group *g,
                          size_t first, size_t n_rows, struct narrow *s)
{
    const size_t n_classes = args->n_classes;
    tile_load(&g->logits, first, n_rows, n_classes, s->softmax.x);
    if (g->allowed.wanted)
        tile_load(&g->allowed, first, n_rows, n_classes, s->extras.allowed);
    if (reads_twice(args)) {
        memcpy(s->extras.x, s->softmax.x, n_classes * sizeof s->extras.x[0]);
        for (size_t c = 0; g->allowed.wanted && c < n_classes; c++)
            block_masked(s->extras.allowed[c], 0, TILE, s->extras.x[c]);
        if (args->softcap != 0)
            narrow_slopes(&s->extras, (real)args->logit_scale, (real)args->softcap, n_classes);
    }
    if (is_transformed(args))
        for (size_t c = 0; c < n_classes; c++)
            logits_transform(args, g->allowed.wanted ? s->extras.allowed[c] : NULL, TILE,
                             s->softmax.x[c]);
}

/* Derivatives of row r's loss in the logit scale, times grad_scale: as row_scale_grad. */
static void narrow_scale_grad(const struct cek_cross_entropy_args *args, const struct narrow *s,
                              size_t r, real *first, real *second)
{
    const struct softmax_tile *t = &s->softmax;
    const struct narrow_extras *extras = &s->extras;
    const double a = args->logit_scale;
    double p[TILE_CLASSES], u[TILE_CLASSES], grad_u = 0, grad_w = 0, mean = 0, spread = 0;
    for (size_t c = 0; c < args->n_classes; c++) {
        const double x = extras->x[c][r], grad = extras->grad[c][r];
        const double slope = args->softcap != 0 ? extras->slope[c][r] : a;
        const double bend = args->softcap != 0 ? extras->bend[c][r] : 0;
        p[c] = t->argmax[r] == (real)c ? t->p_top[r] : t->e[c][r] * t->inverse[r];
        const int none = (p[c] == 0 && grad == 0) || slope == 0; /* also for an infinite logit */
        u[c] = none ? 0 : x * slope / a;
        grad_u += grad == 0 ? 0 : grad * u[c];
        grad_w += none || bend == 0 ? 0 : grad * (x * x * bend / (a * a));
        mean += p[c] == 0 ? 0 : p[c] * u[c];
    }
    for (size_t c = 0; c < args->n_classes; c++)
        spread += p[c] == 0 ? 0 : p[c] * (u[c] - mean) * (u[c] - mean);
    const double factor = args->softcap != 0 ? 1 : 1 / a, pull = (double)s->all[r] + s->pull[r];
    const double curvature = pull * spread + s->square[r] * mean * mean;
    *first = (real)(factor * grad_u);
    *second = (real)(factor * grad_w + args->grad_scale * curvature);
    if (t->max[r] == (real)INFINITY && t->inverse[r] == t->inverse[r]) {
        *first = s->distance[r] != 0 || s->square[r] != 0 ? (real)INFINITY : 0;
        *second = s->square[r] != 0 ? (real)INFINITY : 0;
    }
    if (s->live[r] == 0)
        *first = *second = 0;
}

/* Rows from n_rows on are missing from a tile: they have no weight. */
static void narrow_pad(ptrdiff_t *label, real *weight, size_t n_rows)
{
    for (size_t r = n_rows; r < TILE; r++) {
        label[r] = IGNORED;
        weight[r] = 0;
    }
}

static NOINLINE void narrow_rows(const ptrdiff_t *restrict label, const real *restrict weight,
                                 struct narrow *restrict s)
{
    for (size_t r = 0; r < TILE; r++) {
        s->label[r] = (real)(int)label[r]; /* of 64 bits, AVX2 converts one at a time */
        s->weight[r] = weight[r];
    }
}

/* q of labels alone */
static void narrow_label_weights(const struct cek_cross_entropy_args *args, const struct group *g,
                                 size_t first, size_t n_rows, struct narrow *s)
{
    memcpy(s->q_label, s->weight, sizeof s->q_label);
    for (size_t r = 0; args->class_weight && r < n_rows; r++)
        if (g->label[first + r] >= 0)
            s->q_label[r] *= class_weight(args, (size_t)g->label[first + r]);
}

/* Softmax, targets and losses of n_rows rows of a group, from `first` on. */
static void narrow_load(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                        size_t n_rows, struct narrow *s)
{
    const size_t n_classes = args->n_classes;
    struct softmax_tile *t = &s->softmax;
    const struct rows *const arrays[] = {&g->logits, &g->target_proba, &g->grad, &g->hess,
                                         &g->proba};
    narrow_pad(g->label + first, g->weight + first, n_rows);
    narrow_rows(g->label + first, g->weight + first, s);
    narrow_logits(args, g, first, n_rows, s);
    tile_ahead(t, arrays, is_large(args) ? 5 : 0, first, n_classes);
    tile_softmax(t, n_classes);
    if (is_one_hot(args)) {
        narrow_label_weights(args, g, first, n_rows, s);
        narrow_label_sums(s, n_classes);
    } else {
        narrow_coefficients(args, g, first, n_rows, s);
        narrow_sums(s, n_classes);
    }
    if (args->outer)
        narrow_outer(args, s);
    if (args->z_loss != 0 || args->lse.data) {
        tile_lse(t, n_rows, n_classes, s->lse);
        memcpy(g->lse + first, s->lse, n_rows * sizeof(real));
    }
    if (args->z_loss != 0) {
        for (size_t r = 0; r < TILE; r++)
            s->square[r] = r < n_rows ? (real)row_weight(args, g, first + r) : 0;
        narrow_z_loss(s, (real)(2 * args->z_loss));
    }
}

/* grad and hess in the logits, one after the other, in x. */
static void narrow_derivatives(const struct cek_cross_entropy_args *args, const struct group *g,
                               size_t first, size_t n_rows, struct narrow *s)
{
    const size_t n_classes = args->n_classes;
    const real grad_scale = (real)grad_scale_of(args), hess_scale = (real)hess_scale_of(args);
    if (reads_twice(args)) {
        narrow_grad_allowed(args, g, s, grad_scale);
        memcpy(s->extras.grad, s->softmax.x, n_classes * sizeof s->extras.grad[0]);
    }
    if (g->hess.wanted) {
        narrow_hess(s, hess_scale, n_classes);
        if (args->outer && !args->gauss_newton)
            narrow_bend(s, hess_scale, n_classes);
        if (args->softcap != 0)
            narrow_chain_hess(s, (real)args->hess_factor, n_classes);
        tile_store(s->softmax.x, n_rows, n_classes, &g->hess, first);
    }
    if (g->grad.wanted) {
        if (args->softcap != 0)
            narrow_chain(s, n_classes);
        else
            narrow_grad_allowed(args, g, s, grad_scale);
        tile_store(s->softmax.x, n_rows, n_classes, &g->grad, first);
    }
}

static NOINLINE void narrow_losses(const struct narrow *s, real *restrict out)
{
    for (size_t r = 0; r < TILE; r++) {
        real loss = s->loss[r];
        out[r] = s->live[r] == 0 ? 0 : loss;
    }
}

/* Writes what is wanted of the rows, and with that spends s. */
static void narrow_store(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                         size_t n_rows, struct narrow *s)
{
    narrow_losses(s, g->loss + first);
    narrow_derivatives(args, g, first, n_rows, s);
    if (args->scale_grad.data)
        for (size_t r = 0; r < n_rows; r++)
            narrow_scale_grad(args, s, r, g->scale_grad + first + r, g->scale_hess + first + r);
    if (g->proba.wanted) {
        tile_proba(&s->softmax, args->n_classes);
        tile_store(s->softmax.e, n_rows, args->n_classes, &g->proba, first);
    }
}

#endif
