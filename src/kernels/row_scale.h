/* Derivatives of a row's loss in the logit scale. */
#ifndef CEK_ROW_SCALE_H
#define CEK_ROW_SCALE_H

#include "row_results.h"

/* Terms of the derivatives in the logit scale: with u = dv/da = x slope / a and w = d2v/da2 = x^2 bend /
 * a^2, grad u, grad w and e u; 0 where a factor is, also for an infinite logit. */
static NOINLINE void block_scale_terms(const real *restrict x, const real *restrict slope,
                                       const real *restrict bend, const real *restrict grad,
                                       const real *restrict e, real inverse_a, size_t n,
                                       real *restrict u, real *restrict grad_u,
                                       real *restrict grad_w, real *restrict e_u)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real used = (abs_(grad[i]) + e[i]) * slope[i], all = x[i] * inverse_a;
        real y = used == 0 ? 0 : all;
        u[i] = y * slope[i];
        real moved = grad[i] * u[i];
        grad_u[i] = grad[i] == 0 ? 0 : moved;
        real bent = grad[i] * (y * y * bend[i]);
        grad_w[i] = bend[i] == 0 ? 0 : bent;
        real product = e[i] * u[i];
        e_u[i] = e[i] == 0 ? 0 : product;
    }
}

static NOINLINE void block_spread(const real *restrict e, const real *restrict u, real mean,
                                  size_t n, real *restrict out)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real product = e[i] * ((u[i] - mean) * (u[i] - mean));
        out[i] = e[i] == 0 ? 0 : product;
    }
}

/* One block of a row for its scale derivatives. */
struct scale_block {
    ALIGN real x[BLOCK];
    ALIGN real slope[BLOCK];
    ALIGN real bend[BLOCK];
    ALIGN real grad[BLOCK];
    ALIGN real e[BLOCK];
    ALIGN real u[BLOCK];
    ALIGN real grad_u[BLOCK];
    ALIGN real grad_w[BLOCK];
    ALIGN real e_u[BLOCK];
};

static void scale_block_load(const struct row_job *job, size_t begin, size_t n,
                             struct scale_block *s)
{
    const struct cek_cross_entropy_args *args = job->args;
    const real a = (real)args->logit_scale;
    const size_t k = job->row->argmax - begin;
    memset(s, 0, sizeof *s);
    row_read_allowed(job->group, job->i, begin, n, s->x);
    row_grad(job, begin, n, s->grad);
    memcpy(s->e, job->e + begin, n * sizeof(real));
    if (k < n)
        s->e[k] = (real)job->row->top;
    for (size_t j = 0; j < n; j++)
        s->slope[j] = a;
    if (args->softcap != 0)
        block_slopes(s->x, a, (real)args->softcap, whole_vectors(n), s->slope, s->bend);
    block_scale_terms(s->x, s->slope, s->bend, s->grad, s->e, 1 / a, whole_vectors(n), s->u,
                      s->grad_u, s->grad_w, s->e_u);
}

/* Derivatives of a row's loss in the logit scale, times grad_scale:
 *
 *     sum_j g_j u_j,      sum_j g_j w_j + (A + pull) Var_p(u) + square (sum_j p_j u_j)^2
 *
 * The probabilities of a row with one infinite logit do not depend on the scale.
 */
static void row_scale_grad(const struct row_job *job, real *first, real *second)
{
    struct scale_block s;
    const struct cek_cross_entropy_args *args = job->args;
    const struct row_targets *t = job->targets;
    const double grad_factor = args->softcap != 0 ? 1 : 1 / args->logit_scale;
    struct sum grad_u = {0, 0}, grad_w = {0, 0}, mean = {0, 0}, spread = {0, 0};
    for (size_t begin = 0; begin < args->n_classes; begin += BLOCK) {
        size_t n = min_size(BLOCK, args->n_classes - begin);
        scale_block_load(job, begin, n, &s);
        sum_add(&grad_u, block_sum(s.grad_u, whole_vectors(n)));
        sum_add(&grad_w, block_sum(s.grad_w, whole_vectors(n)));
        sum_add(&mean, block_sum(s.e_u, whole_vectors(n)));
    }
    const double centre = sum_value(mean) / job->row->total;
    for (size_t begin = 0; begin < args->n_classes; begin += BLOCK) {
        size_t n = min_size(BLOCK, args->n_classes - begin);
        scale_block_load(job, begin, n, &s);
        block_spread(s.e, s.u, (real)centre, whole_vectors(n), s.e_u);
        sum_add(&spread, block_sum(s.e_u, whole_vectors(n)));
    }
    const double variance = sum_value(spread) / job->row->total;
    *first = (real)(grad_factor * sum_value(grad_u));
    *second =
        (real)(grad_factor * sum_value(grad_w) +
               args->grad_scale * ((t->all + t->pull) * variance + t->square * centre * centre));
    if (job->row->max == (real)INFINITY && job->row->total == job->row->total) {
        *first = t->distance != 0 || t->square != 0 ? (real)INFINITY : 0;
        *second = t->square != 0 ? (real)INFINITY : 0;
    }
    if (!t->live)
        *first = *second = 0;
}

#endif
