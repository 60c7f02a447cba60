/* Gradient, Hessian and probabilities of a row, from its exponentials and the sums of its targets. */
#ifndef CEK_ROW_RESULTS_H
#define CEK_ROW_RESULTS_H

#include "logits.h"
#include "row_targets.h"

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

/* An infinite logit has all probability, so that only its own derivatives are infinite. */
static INLINE double finite_pull(double pull)
{
    return isfinite(pull) ? pull : 0;
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

#endif
