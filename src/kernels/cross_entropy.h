/* Softmax cross-entropy of a row.  With the softmax of row.h, A = sum_c q_c and R = sum_{c != k} q_c,
 *
 *     loss   = sum_{c != k} q_c (m - v_c) + A log1p(others / top) + z omega lse^2
 *     grad_c = B p_c - q_c,      grad_k = R p_k - q_k (1 - p_k) + (B - A) p_k,   1 - p_k = others / total
 *     hess_c = B p_c (1 - p_c) + 2 z omega p_c^2,      B = A + 2 z omega lse
 *
 * with respect to v.  Every term of the loss is non-negative, and no gradient subtracts numbers near
 * 1, so both keep their relative accuracy where the prediction is confident and right.  An outer
 * function of the loss (outer.h) multiplies A, R and q by its slope, and gives the Hessian a term more.
 */
#ifndef CEK_CROSS_ENTROPY_H
#define CEK_CROSS_ENTROPY_H

#include "batch.h"
#include "logits.h"
#include "outer.h"
#include "row.h"
#include "targets.h"
#include "tile.h"

/* q (max - v), 0 where q = 0 even if v = -inf */
static INLINE real distance_of(real q, real max, real v)
{
    real product = q * (max - v);
    return q == 0 ? 0 : product;
}

/* Adds q and distances of n <= BLOCK classes in whole vectors to two sums, as block_sum.  Returns whether
 * any q differs from 0. */
static NOINLINE int block_targets(const real *restrict v, const real *restrict q, real max,
                                  size_t n, struct sum *rest, struct sum *distance)
{
    double q_sum[LANES] = {0}, d_sum[LANES] = {0};
    bits any[LANES] = {0}, all = 0;
    size_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        for (size_t j = 0; j < LANES; j++) {
            const size_t second = i + LANES + j, third = second + LANES, fourth = third + LANES;
            real q1 = q[i + j], q2 = q[second], q3 = q[third], q4 = q[fourth];
            real d1 = distance_of(q1, max, v[i + j]), d2 = distance_of(q2, max, v[second]);
            real d3 = distance_of(q3, max, v[third]), d4 = distance_of(q4, max, v[fourth]);
            q_sum[j] += (q1 + q2) + (q3 + q4);
            d_sum[j] += (d1 + d2) + (d3 + d4);
            any[j] |= to_bits(q1) | to_bits(q2) | to_bits(q3) | to_bits(q4);
        }
    for (; i < n; i += LANES)
        for (size_t j = 0; j < LANES; j++) {
            q_sum[j] += q[i + j];
            d_sum[j] += distance_of(q[i + j], max, v[i + j]);
            any[j] |= to_bits(q[i + j]);
        }
    for (size_t j = 0; j < LANES; j++)
        all |= any[j];
    sum_add(rest, lane_sum(q_sum));
    sum_add(distance, lane_sum(d_sum));
    return all << 1 != 0;
}

static NOINLINE void block_shift(const real *e, real factor, real shift, size_t n, real *out)
{
    IN_PLACE
    for (size_t i = 0; i < n; i++)
        out[i] = fma_(factor, e[i], -shift);
}

static NOINLINE void block_grad(const real *e, const real *restrict q, real factor, real scale,
                                size_t n, real *out)
{
    IN_PLACE
    for (size_t i = 0; i < n; i++)
        out[i] = fma_(factor, e[i], -(scale * q[i]));
}

/* factor p (1 - p) + square p^2 */
static NOINLINE void block_hess(const real *e, real inverse, real factor, real square, size_t n,
                                real *out)
{
    IN_PLACE
    for (size_t i = 0; i < n; i++) {
        real p = inverse * e[i];
        out[i] = fma_(factor, fma_(-p, p, p), square * p * p);
    }
}

/* From derivatives in v to derivatives in x; hess may be NULL.  Where slope is 0, all are. */
static NOINLINE void block_chain(const real *restrict slope, size_t n, real *restrict grad)
{
    for (size_t i = 0; i < n; i++)
        grad[i] = slope[i] * grad[i];
}

static NOINLINE void block_chain_hess(const real *restrict slope, const real *restrict bend,
                                      const real *restrict grad, real factor, size_t n,
                                      real *restrict hess)
{
    for (size_t i = 0; i < n; i++)
        hess[i] = fma_(slope[i] * slope[i], hess[i], factor * (grad[i] * bend[i]));
}

/* A class that is not allowed has no gradient, not even as a label. */
static NOINLINE void block_allow(const real *restrict allowed, size_t n, real *restrict grad)
{
    for (size_t i = 0; i < n; i++)
        grad[i] *= allowed[i];
}

/* What a row's q adds up to: A, R, q_k, sum_{c != k} q_c (m - v_c); pull = 2 z omega lse and
 * square = 2 z omega; bend = A phi'' of an outer function; live: does the row count? */
struct row_targets {
    double all, rest, at_argmax, distance, pull, square, bend;
    real share, v_label;
    size_t label;
    int live;
};

static void one_hot_targets(const struct cek_cross_entropy_args *args, const real *v,
                            const struct softmax_row *row, real weight, struct row_targets *t)
{
    const real q = weight * class_weight(args, t->label);
    t->live = q != 0;
    t->all = q;
    if (t->label == row->argmax)
        t->at_argmax = q;
    else {
        t->rest = q;
        t->distance = q == 0 ? 0 : (double)q * ((double)row->max - (double)v[t->label]);
    }
}

static void mixed_targets(const struct cek_cross_entropy_args *args, const struct group *g,
                          const real *v, const struct softmax_row *row, size_t i,
                          struct row_targets *t)
{
    ALIGN real in[BLOCK], q[BLOCK];
    struct sum rest = {0, 0}, distance = {0, 0};
    t->share = smoothing_share(args, g, i);
    for (size_t begin = 0; begin < args->n_classes; begin += BLOCK) {
        size_t n = min_size(BLOCK, args->n_classes - begin), whole = whole_vectors(n);
        row_coefficients(args, g, i, t->label, t->share, begin, n, q);
        if (row->argmax - begin < n) {
            t->at_argmax = q[row->argmax - begin];
            q[row->argmax - begin] = 0;
        }
        t->live |= block_targets(padded(v + begin, n, -(real)INFINITY, in), q, row->max, whole,
                                 &rest, &distance);
    }
    t->live |= t->at_argmax != 0;
    t->rest = sum_value(rest);
    t->distance = sum_value(distance);
    t->all = t->rest + t->at_argmax;
}

/* An infinite logit has all probability, so that only its own derivatives are infinite. */
static INLINE double finite_pull(double pull)
{
    return isfinite(pull) ? pull : 0;
}

/* The outer function of a row's loss: returns A phi, multiplies the rest by phi', sets the bend. */
static double outer_targets(const struct cek_cross_entropy_args *args, real v_label,
                            const struct softmax_row *row, struct row_targets *t)
{
    ALIGN real l[LANES], low[LANES], value[LANES], slope[LANES], curvature[LANES];
    l[0] = nll_of(row->max, v_label, t->label == row->argmax, row->log1p, low);
    for (size_t j = 1; j < LANES; j++)
        l[j] = l[0], low[j] = low[0];
    outer_apply(args->outer, l, low, args->outer_parameter, LANES, value, slope, curvature);
    const double loss = t->all * value[0];
    t->bend = args->gauss_newton ? 0 : t->all * curvature[0];
    t->all *= slope[0], t->rest *= slope[0], t->at_argmax *= slope[0];
    return loss;
}

/* What the results of a row are made of. */
struct row_job {
    const struct cek_cross_entropy_args *args;
    const struct group *group;
    size_t i;
    const struct softmax_row *row;
    const struct row_targets *targets;
    const real *e; /* e_j, 0 in place of e_k */
    double p_label;
};

/* grad_scale times the gradient in v of classes [begin, begin + n); out may be e itself. */
static void row_grad(const struct row_job *job, size_t begin, size_t n, real *out)
{
    ALIGN real q[BLOCK], allowed[BLOCK];
    const struct cek_cross_entropy_args *args = job->args;
    const struct softmax_row *row = job->row;
    const struct row_targets *t = job->targets;
    const double scale = grad_scale_of(args);
    const real factor = (real)(scale * (t->all + finite_pull(t->pull)) / row->total);
    const size_t label = t->label - begin, k = row->argmax - begin;
    if (is_smoothed(args)) {
        real at_label, other, e_label = job->e[t->label];
        smoothed_pair(args, job->group, job->i, t->share, &at_label, &other);
        block_shift(job->e + begin, factor, (real)scale * other, n, out);
        if (label < n)
            out[label] = fma_(factor, e_label, -((real)scale * at_label));
    } else if (is_one_hot(args)) {
        block_scale(job->e + begin, factor, n, out);
        if (label < n)
            out[label] =
                (real)(scale * (t->all * (job->p_label - 1) + finite_pull(t->pull) * job->p_label));
    } else {
        row_coefficients(args, job->group, job->i, t->label, t->share, begin, n, q);
        block_grad(job->e + begin, q, factor, (real)scale, n, out);
    }
    if (k < n) {
        double p = row->top / row->total, rest = row->others / row->total;
        out[k] = (real)(scale * (t->rest * p - t->at_argmax * rest + t->pull * p));
    }
    for (size_t i = 0, size; job->group->allowed.wanted && i < n; i += size) {
        size = min_size(BLOCK, n - i);
        row_read(&job->group->allowed, job->i, begin + i, size, allowed);
        block_allow(allowed, size, out + i);
    }
}

/* The same for the Hessian's diagonal. */
static void row_hess(const struct row_job *job, size_t begin, size_t n, real *out)
{
    const struct cek_cross_entropy_args *args = job->args;
    const struct softmax_row *row = job->row;
    const double scale = hess_scale_of(args);
    const double all = scale * (job->targets->all + finite_pull(job->targets->pull));
    const double bend = scale * job->targets->bend, square = scale * job->targets->square + bend;
    const size_t label = job->targets->label - begin, k = row->argmax - begin;
    block_hess(job->e + begin, (real)(1 / row->total), (real)all, (real)square, n, out);
    if (args->outer && label < n) {
        double p = job->p_label, rest = 1 - p;
        out[label] = (real)(all * p * rest + bend * rest * rest);
    }
    if (k < n) {
        double p = row->top / row->total, rest = row->others / row->total;
        double distance = args->outer && k == label ? rest : p;
        out[k] = (real)(all * p * rest + square * distance * distance);
    }
}

static void row_proba(const struct row_job *job, size_t begin, size_t n, real *out)
{
    const size_t k = job->row->argmax - begin;
    block_scale(job->e + begin, (real)(1 / job->row->total), n, out);
    if (k < n)
        out[k] = (real)(job->row->top / job->row->total);
}

/* Logits as they are in memory, but 0 where they are not allowed. */
static void row_read_allowed(const struct group *g, size_t i, size_t begin, size_t n, real *x)
{
    ALIGN real allowed[BLOCK];
    row_read(&g->logits, i, begin, n, x);
    if (!g->allowed.wanted)
        return;
    row_read(&g->allowed, i, begin, n, allowed);
    block_masked(allowed, 0, n, x);
}

/* hess, proba and grad of all classes, in this order: e may be the memory of the last. */
static void row_results(const struct row_job *job)
{
    ALIGN real x[BLOCK], slope[BLOCK], bend[BLOCK], grad_v[BLOCK], hess_buffer[SPAN], buffer[SPAN];
    const struct cek_cross_entropy_args *args = job->args;
    const struct group *g = job->group;
    const size_t n_classes = args->n_classes, i = job->i;
    const size_t step = (is_one_hot(args) || is_smoothed(args)) && !args->softcap ? SPAN : BLOCK;
    for (size_t begin = 0; begin < n_classes; begin += step) {
        size_t n = min_size(step, n_classes - begin);
        if (args->softcap) {
            row_read_allowed(g, i, begin, n, x);
            block_slopes(x, (real)args->logit_scale, (real)args->softcap, whole_vectors(n), slope,
                         bend);
        }
        if (g->hess.wanted) {
            real *hess = row_target(&g->hess, i, begin, hess_buffer);
            row_hess(job, begin, n, hess);
            if (args->softcap) {
                row_grad(job, begin, n, grad_v);
                block_chain_hess(slope, bend, grad_v, (real)args->hess_factor, n, hess);
            }
            row_finish(&g->hess, i, begin, n, hess, hess_buffer);
        }
        if (g->proba.wanted) {
            real *proba = row_target(&g->proba, i, begin, buffer);
            row_proba(job, begin, n, proba);
            row_finish(&g->proba, i, begin, n, proba, buffer);
        }
        if (g->grad.wanted) {
            real *grad = row_target(&g->grad, i, begin, buffer);
            row_grad(job, begin, n, grad);
            if (args->softcap)
                block_chain(slope, n, grad);
            row_finish(&g->grad, i, begin, n, grad, buffer);
        }
    }
}

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

/* v of classes [begin, begin + n) of row i. */
static void logits_load(const struct cek_cross_entropy_args *args, const struct group *g, size_t i,
                        size_t begin, size_t n, real *to)
{
    ALIGN real allowed[SPAN];
    row_read(&g->logits, i, begin, n, to);
    if (g->allowed.wanted)
        row_read(&g->allowed, i, begin, n, allowed);
    logits_transform(args, g->allowed.wanted ? allowed : NULL, n, to);
}

/* Row i of v where it lies in memory; else NULL. */
static const real *logits_direct(const struct cek_cross_entropy_args *args, const struct group *g,
                                 size_t i)
{
    return is_transformed(args) ? NULL : row_direct(&g->logits, i);
}

/* v of row i: where it lies in memory, or computed in `to`. */
static const real *row_logits(const struct cek_cross_entropy_args *args, const struct group *g,
                              size_t i, real *to)
{
    const real *direct = logits_direct(args, g, i);
    for (size_t begin = 0; !direct && begin < args->n_classes; begin += SPAN)
        logits_load(args, g, i, begin, min_size(SPAN, args->n_classes - begin), to + begin);
    return direct ? direct : to;
}

/* The same, with the largest taken of each span while it is in L1, for rows of a step or more.  Every
 * second of 1500 to 16,000 logits takes 1.15 to 1.3 times as long as adjacent ones (AMD Zen 4, 2026-11). */
static const real *row_logits_max(const struct cek_cross_entropy_args *args, const struct group *g,
                                  size_t i, real *to, struct softmax_row *row)
{
    const size_t n_classes = args->n_classes, whole = n_classes / STEP * STEP;
    struct row_peak peak = {-(real)INFINITY, 0};
    const real *direct = logits_direct(args, g, i);
    if (direct) {
        row_max(direct, n_classes, row);
        return direct;
    }
    for (size_t begin = 0; begin < n_classes; begin += SPAN) {
        logits_load(args, g, i, begin, min_size(SPAN, n_classes - begin), to + begin);
        if (begin < whole)
            peak_add(to, begin, min_size(SPAN, whole - begin), &peak);
    }
    peak_locate(to, n_classes, peak, row);
    return to;
}

/* The array that is made last, whose memory may hold e until then; NULL: none is wanted. */
static const struct cek_array *last_result(const struct cek_cross_entropy_args *args)
{
    return args->grad.data    ? &args->grad
           : args->proba.data ? &args->proba
           : args->hess.data  ? &args->hess
                              : NULL;
}

/* Bytes from a row of logits to the n-th after it, where that is real too; 0: there is none. */
static ptrdiff_t next_row(const struct cek_cross_entropy_args *args, size_t row, size_t n)
{
    const struct cek_array *logits = &args->logits;
    const int has_next = row + n < args->n_rows && logits->ndim > 1 && logits->type == REAL_TYPE;
    return has_next ? (ptrdiff_t)n * logits->strides[logits->ndim - 2] : 0;
}

/* Logits so many bytes after those of row i; NULL: none. */
static const real *logits_ahead(const struct group *g, size_t i, ptrdiff_t next)
{
    return next ? (const real *)(const void *)(row_at(&g->logits, i) + next) : NULL;
}

/* Where row i of that array lies, if it can hold e; else NULL. */
static real *row_result(const struct cek_cross_entropy_args *args, const struct group *g, size_t i)
{
    const struct cek_array *last = last_result(args);
    return row_direct(last == &args->grad    ? &g->grad
                      : last == &args->proba ? &g->proba
                                             : &g->hess,
                      i);
}

/* Memory for e of row i, which is not wanted where NULL. */
static real *row_memory(const struct cek_cross_entropy_args *args, const struct group *g, size_t i,
                        real *scratch)
{
    if (reads_twice(args))
        return scratch;
    if (!last_result(args))
        return NULL;
    real *direct = row_result(args, g, i);
    return direct ? direct : scratch;
}

/* What a row's targets add up to, from v before e takes its memory. */
static void targets_sum(const struct cek_cross_entropy_args *args, const struct group *g,
                        const real *v, const struct softmax_row *row, size_t i,
                        struct row_targets *t)
{
    *t = (struct row_targets){.label = g->label[i] < 0 ? 0 : (size_t)g->label[i]};
    t->v_label = v[t->label];
    if (is_one_hot(args))
        one_hot_targets(args, v, row, g->weight[i], t);
    else
        mixed_targets(args, g, v, row, i, t);
}

/* Writes the results of row i, from its softmax; e NULL: it has none but the loss and lse. */
static void row_store(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                      const struct softmax_row *row, struct row_targets *t, const real *e)
{
    const double lse = row_lse(row);
    double loss =
        args->outer ? outer_targets(args, t->v_label, row, t) : t->distance + t->all * row->log1p;
    if (args->z_loss != 0) {
        t->square = 2 * args->z_loss * row_weight(args, g, i);
        t->pull = t->square == 0 ? 0 : t->square * lse;
        t->live |= t->square != 0;
        loss += t->square == 0 ? 0 : t->pull * lse / 2;
    }
    const struct row_job job = {args, g, i, row, t, e, e ? e[t->label] / row->total : 0};
    if (args->scale_grad.data)
        row_scale_grad(&job, g->scale_grad + i, g->scale_hess + i);
    if (e)
        row_results(&job);
    g->lse[i] = (real)lse;
    g->loss[i] = t->live ? (real)loss : 0;
    if (!t->live) {
        row_clear(&g->hess, i, args->n_classes);
        row_clear(&g->grad, i, args->n_classes);
    }
}

/* A row of more than BATCH_CLASSES; `next`: bytes to the row after it. */
static void long_row(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                     ptrdiff_t next, real *scratch)
{
    struct softmax_row row;
    real *e = row_memory(args, g, i, scratch);
    const real *v = row_logits_max(args, g, i, scratch, &row);
    struct row_targets t;
    targets_sum(args, g, v, &row, i, &t);
    row_exp(v, logits_ahead(g, i, next), args->n_classes, &row, e);
    row_store(args, g, i, &row, &t, e);
}

/* Labels and weights alone? */
static INLINE int has_labels_alone(const struct cek_cross_entropy_args *args)
{
    return is_one_hot(args) && args->outer == CEK_OUTER_NONE && args->z_loss == 0 &&
           !is_transformed(args) && !args->scale_grad.data;
}

/* Without results but the loss, lse and gradient: all that most calls want. */
static INLINE int is_simple(const struct cek_cross_entropy_args *args)
{
    return has_labels_alone(args) && !args->hess.data && !args->proba.data;
}

/* One number a row each: what it takes to make the results of simple rows of what they get from it. */
struct batch_labels {
    ALIGN real q[LANES];
    ALIGN real v[LANES];
    ALIGN real e[LANES];
    ALIGN real is_top[LANES];
    ALIGN real loss[LANES];
    ALIGN real factor[LANES]; /* of e in the gradient      */
    ALIGN real at_label[LANES];
    ALIGN real at_top[LANES];
};

/* As one_hot_targets, row_store and row_grad, for all rows at once */
static NOINLINE void batch_results(const struct softmax_batch *b, double scale,
                                   struct batch_labels *l)
{
    for (size_t r = 0; r < LANES; r++) {
        const double q = l->q[r], inverse = b->total[r], p_label = l->e[r] / inverse;
        const double gap = (double)b->max[r] - (double)l->v[r];
        const double p = b->top[r] / inverse, others = b->others[r] / inverse;
        const double rest = l->is_top[r] != 0 ? 0 : q, at_argmax = l->is_top[r] != 0 ? q : 0;
        const double distance = rest == 0 ? 0 : rest * gap;
        l->loss[r] = (real)(distance + q * (double)b->log1p[r]);
        l->factor[r] = (real)(scale * q / inverse);
        l->at_label[r] = (real)(scale * (q * (p_label - 1) + 0 * p_label));
        l->at_top[r] = (real)(scale * (rest * p - at_argmax * others + 0 * p));
    }
}

/* The results of simple rows, [first, first + n) of the group. */
static void batch_store(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                        size_t n, const real *const *v, const struct softmax_batch *b)
{
    ALIGN real buffer[BATCH_CLASSES];
    struct batch_labels l = {.q = {0}};
    const size_t n_classes = args->n_classes, size = whole_steps(n_classes);
    size_t label[LANES];
    for (size_t r = 0; r < n; r++) {
        const size_t i = first + r;
        label[r] = g->label[i] < 0 ? 0 : (size_t)g->label[i];
        l.q[r] = g->weight[i] * class_weight(args, label[r]);
        l.v[r] = v[r][label[r]];
        l.e[r] = b->e[r * size + label[r]];
        l.is_top[r] = label[r] == b->argmax[r];
    }
    batch_results(b, args->grad_scale, &l);
    for (size_t r = 0; r < n; r++) {
        const size_t i = first + r;
        g->loss[i] = l.q[r] == 0 ? 0 : l.loss[r];
        if (args->lse.data) {
            const struct softmax_row row = batch_row(b, r, v[r], n_classes);
            g->lse[i] = row_lse(&row);
        }
        if (!g->grad.wanted)
            continue;
        if (l.q[r] == 0) {
            row_clear(&g->grad, i, n_classes);
            continue;
        }
        real *grad = row_target(&g->grad, i, 0, buffer);
        block_scale(b->e + r * size, l.factor[r], n_classes, grad);
        grad[label[r]] = l.at_label[r];
        if (b->argmax[r] < n_classes)
            grad[b->argmax[r]] = l.at_top[r];
        row_finish(&g->grad, i, 0, n_classes, grad, buffer);
    }
}

/* v and the softmax of rows [first, first + n) of the group, a batch of at most BATCH_CLASSES; `next`:
 * bytes to the batch after it. */
static void batch_load_rows(const struct cek_cross_entropy_args *args, const struct group *g,
                            size_t first, size_t n, ptrdiff_t next, real *memory, const real **v,
                            struct softmax_batch *b)
{
    const real *ahead[LANES], *results[LANES];
    for (size_t r = 0; r < n; r++) {
        const real *result = last_result(args) ? row_result(args, g, first + r) : NULL;
        v[r] = row_logits(args, g, first + r, memory + r * args->n_classes);
        ahead[r] = next ? logits_ahead(g, first + r, next) : v[r];
        results[r] = result ? result : v[r];
    }
    batch_softmax(v, ahead, results, n, args->n_classes, b);
}

/* The results of a batch of rows. */
static void row_batch(const struct cek_cross_entropy_args *args, struct group *g, size_t first,
                      size_t n, ptrdiff_t next, struct softmax_batch *b)
{
    ALIGN real memory[BATCH_LOGITS];
    const real *v[LANES];
    const size_t n_classes = args->n_classes;
    const int has_results = last_result(args) || args->scale_grad.data;
    batch_load_rows(args, g, first, n, next, memory, v, b);
    if (is_simple(args)) {
        batch_store(args, g, first, n, v, b);
        return;
    }
    for (size_t r = 0; r < n; r++) {
        const struct softmax_row row = batch_row(b, r, v[r], n_classes);
        struct row_targets t;
        targets_sum(args, g, v[r], &row, first + r, &t);
        row_store(args, g, first + r, &row, &t,
                  has_results ? b->e + r * whole_steps(n_classes) : NULL);
    }
}

/* Rows [first, end) of a group that begins at row `begin`. */
static void cross_entropy_rows(const struct cek_cross_entropy_args *args, size_t begin,
                               size_t first, size_t end, struct group *g, real *scratch)
{
    struct softmax_batch batch;
    if (args->n_classes > BATCH_CLASSES)
        for (size_t i = first; i < end; i++)
            long_row(args, g, i, next_row(args, begin + i, 1), scratch);
    else
        for (size_t i = first, n; i < end; i += n) {
            n = min_size(batch_rows(args->n_classes), end - i);
            row_batch(args, g, i, n, next_row(args, begin + i, n), &batch);
        }
}

#endif
