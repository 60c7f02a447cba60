/* Divergences of the softmax p of logits from target probabilities t.
 *
 *     KL = sum_c t_c log(t_c / p_c) = sum_c [t_c log(t_c / p_c) - t_c + p_c] + (sum_c t_c - 1)
 *     JS = 1/2 sum_c [t_c log(t_c / m_c) + p_c log(p_c / m_c)],   m_c = (t_c + p_c) / 2
 *
 * with terms in brackets that are never negative, so that a small divergence is not what is left of
 * large numbers.  Where p is next to t they are of second order in p - t:
 *
 *     f = (p - t) / t                  t log(t / p) - t + p = t [f - log1p(f)]
 *     a = |p - t| / (p + t)            the term of JS is m [a log((1 + a) / (1 - a)) + log(1 - a^2)]
 *
 * Gradient and Hessian of KL are those of cross-entropy.  With l_c = log(p_c / m_c),
 *
 *     grad_c of JS = 1/2 p_c (l_c - sum_j p_j l_j)
 */
#ifndef CEK_DIVERGENCE_H
#define CEK_DIVERGENCE_H

#include "classes.h"
#include "each_row.h"

/* t log(t / p) - t + p, where p is e^-nll; NaN for a negative t */
static INLINE real kl_term(real t, real p, real nll)
{
    const real tiny = from_bits((bits)1 << MANTISSA_BITS), huge = from_bits(2 * EXP_ONE);
    real gap = p - t, k, inverse;
    int is_near = (gap > REAL(-0.25) * t) & (gap < REAL(0.4) * t);
    real ratio = (is_near ? gap : p) / t; /* f, or p / t */
    int usable = (ratio >= tiny) & (ratio < huge);
    real argument = usable ? ratio : t; /* p may have underflowed: its logarithm has not */
    real f_far = log_split(argument, &k, &inverse) - 1, f = is_near ? ratio : f_far;
    real s = f / (2 + f), z = s * s, half = REAL(0.5) * f * f, rest = fma_(z, log_series(z), half);
    real low = fma_(s, rest, fma_(k, LN2_LO, argument - argument));
    real log_argument = fma_(k, LN2_HI, f - (half - low));
    real log_ratio = usable ? -log_argument : log_argument + nll;
    real near_term = t * (half - s * rest), far_term = gap + t * log_ratio;
    real term = is_near ? near_term : far_term;
    term = t == 0 ? p : term;
    return t >= 0 ? term : (real)NAN;
}

/* t log(t / m) + p log(p / m) and log(p / m); 0 and a finite number for p = 0 */
static INLINE real js_term(real t, real p, real *log_p)
{
    real sum = t + p, gap = abs_(p - t), larger = p > t ? p : t, smaller = p > t ? t : p;
    real share = gap / sum, a = sum == 0 ? 0 : share;
    int is_far = a > REAL(0.5);
    real part = 2 * smaller / sum, rest = 1 - a, rest_low = (1 - rest) - a;
    real up = log1p_unit(a), down = log_sum(is_far ? part : rest, is_far ? 0 : rest_low);
    real far_term = fma_(larger, up, smaller * down);
    real near_term = REAL(0.5) * sum * fma_(a, up - down, log1m_unit(is_far ? 0 : a * a));
    *log_p = p > t ? up : down;
    return t >= 0 ? (is_far ? far_term : near_term) : (real)NAN;
}

/* Wide: row by row, in blocks of probabilities. */

static NOINLINE void block_kl(const real *restrict x, const real *restrict p,
                              const real *restrict t, real max, real log1p, size_t n,
                              real *restrict term)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        term[i] = kl_term(t[i], p[i], (max - x[i]) + log1p);
}

static NOINLINE void block_js(const real *restrict p, const real *restrict t, size_t n,
                              real *restrict term, real *restrict slope, real *restrict log_p)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real log_of_p;
        term[i] = js_term(t[i], p[i], &log_of_p);
        slope[i] = p[i] * log_of_p;
        log_p[i] = log_of_p;
    }
}

static NOINLINE void block_js_grad(const real *restrict p, const real *restrict log_p, real mean,
                                   real factor, size_t n, real *restrict grad)
{
    for (size_t i = 0; i < n; i++)
        grad[i] = factor * p[i] * (log_p[i] - mean);
}

/* The sums of n values in whole vectors, without an error. */
static NOINLINE void block_add(const real *restrict v, size_t n, struct lane_totals *restrict sums)
{
    struct lane_totals s = *sums;
    for (size_t i = 0; i < n / LANES * LANES; i += LANES) {
        LANES_IN_PLACE
        for (size_t j = 0; j < LANES; j++) {
            real error;
            s.high[j] = two_sum(s.high[j], v[i + j], &error);
            s.low[j] += error;
        }
    }
    *sums = s;
}

static double lanes_exact(const struct lane_totals *sums)
{
    struct sum sum = {0, 0};
    for (size_t j = 0; j < LANES; j++)
        sum_add(&sum, sums->high[j]);
    for (size_t j = 0; j < LANES; j++)
        sum_add(&sum, sums->low[j]);
    return sum_value(sum);
}

/* A block of a row: targets and probabilities, padded with 0. */
struct divergence_block {
    ALIGN real t[BLOCK];
    ALIGN real p[BLOCK];
    ALIGN real term[BLOCK];
    ALIGN real slope[BLOCK];
};

static void block_proba(const struct softmax_row *row, const real *e, size_t begin, size_t n,
                        real *p)
{
    block_scale(e + begin, (real)(1 / row->total), n, p);
    if (row->argmax - begin < n)
        p[row->argmax - begin] = (real)(row->top / row->total);
}

/* Classes [begin, begin + n) of row i. */
static void divergence_load(const struct group *g, size_t i, const struct softmax_row *row,
                            const real *e, size_t begin, size_t n, struct divergence_block *b)
{
    row_read(&g->target_proba, i, begin, n, b->t);
    block_proba(row, e, begin, n, b->p);
    for (size_t j = n; j < whole_vectors(n); j++)
        b->t[j] = b->p[j] = 0;
}

static double kl_of_row(const struct group *g, size_t i, const real *x,
                        const struct softmax_row *row, const real *e, size_t n_classes)
{
    ALIGN real buffer[BLOCK];
    struct divergence_block b;
    struct lane_totals targets = {{-1}, {0}};
    struct sum terms = {0, 0};
    for (size_t begin = 0; begin < n_classes; begin += BLOCK) {
        const size_t n = min_size(BLOCK, n_classes - begin), whole = whole_vectors(n);
        divergence_load(g, i, row, e, begin, n, &b);
        block_kl(padded(x + begin, n, 0, buffer), b.p, b.t, row->max, row->log1p, whole, b.term);
        block_add(b.t, whole, &targets);
        sum_add(&terms, block_sum(b.term, whole));
    }
    sum_add(&terms, lanes_exact(&targets)); /* less 1, with which it began */
    return sum_value(terms);
}

static void kl_row(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                   const real *x, const struct softmax_row *row, real *e, real *spare,
                   void *context)
{
    (void)spare, (void)context;
    const real weight = g->weight[i];
    const real loss =
        weight == 0 ? 0 : (real)(weight * kl_of_row(g, i, x, row, e, args->n_classes));
    if (last_result(args) || args->lse.data) {
        struct row_targets t;
        targets_sum(args, g, x, row, i, &t);
        row_store(args, g, i, row, &t, last_result(args) ? e : NULL);
    }
    g->loss[i] = loss;
}

/* `spare` takes log(p_c / m_c). */
static void js_row(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                   const real *x, const struct softmax_row *row, real *e, real *spare,
                   void *context)
{
    (void)x, (void)context;
    ALIGN real buffer[BLOCK];
    const size_t n_classes = args->n_classes;
    const real weight = g->weight[i];
    struct divergence_block b;
    struct sum terms = {0, 0}, slopes = {0, 0};
    g->loss[i] = 0;
    if (weight == 0) {
        row_clear(&g->grad, i, n_classes);
        return;
    }
    for (size_t begin = 0; begin < n_classes; begin += BLOCK) {
        const size_t n = min_size(BLOCK, n_classes - begin), whole = whole_vectors(n);
        divergence_load(g, i, row, e, begin, n, &b);
        block_js(b.p, b.t, whole, b.term, b.slope, buffer);
        memcpy(e + begin, b.p, n * sizeof(real));
        memcpy(spare + begin, buffer, n * sizeof(real));
        sum_add(&terms, block_sum(b.term, whole));
        sum_add(&slopes, block_sum(b.slope, whole));
    }
    const real factor = (real)(0.5 * args->grad_scale * weight);
    const real mean = (real)(sum_value(slopes) + 0 * sum_value(terms)); /* NaN as the loss is */
    for (size_t begin = 0; g->grad.wanted && begin < n_classes; begin += BLOCK) {
        const size_t n = min_size(BLOCK, n_classes - begin);
        block_js_grad(e + begin, spare + begin, mean, factor, n, buffer);
        row_write(&g->grad, i, begin, n, buffer);
    }
    g->loss[i] = (real)(0.5 * weight * sum_value(terms));
}

static void kl_rows(const struct cek_cross_entropy_args *args, size_t begin, size_t first,
                    size_t end, struct group *g, real *scratch)
{
    each_row(args, begin, first, end, g, kl_row, NULL, scratch);
}

static void js_rows(const struct cek_cross_entropy_args *args, size_t begin, size_t first,
                    size_t end, struct group *g, real *scratch)
{
    each_row(args, begin, first, end, g, js_row, NULL, scratch);
}

/* Narrow: across the rows of a tile whose q are the targets, of weight 1. */

static NOINLINE void narrow_kl(struct narrow *s, const real *restrict weight, size_t n_classes)
{
    const struct softmax_tile *t = &s->softmax;
    ALIGN real terms[TILE], low[TILE], total[TILE], total_low[TILE];
    for (size_t r = 0; r < TILE; r++)
        terms[r] = low[r] = total_low[r] = 0, total[r] = -1;
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real p_other = t->e[c][r] * t->inverse[r], p_top = t->p_top[r], error;
            real p = t->argmax[r] == (real)c ? p_top : p_other;
            real nll = (t->max[r] - t->x[c][r]) + t->log1p[r];
            terms[r] = two_sum(terms[r], kl_term(s->q[c][r], p, nll), &error);
            low[r] += error - error == 0 ? error : 0; /* an infinite term has no error */
            total[r] = two_sum(total[r], s->q[c][r], &error);
            total_low[r] += error;
        }
    for (size_t r = 0; r < TILE; r++) {
        real loss = weight[r] * (terms[r] + (total[r] + (total_low[r] + low[r])));
        s->loss[r] = ((s->live[r] == 0) | (weight[r] == 0)) ? 0 : loss;
    }
}

/* Multiplies the targets by the weights. */
static NOINLINE void narrow_weigh(struct narrow *s, const real *restrict weight, size_t n_classes)
{
    for (size_t r = 0; r < TILE; r++) {
        s->all[r] *= weight[r];
        s->rest[r] *= weight[r];
        s->live[r] = weight[r] == 0 ? 0 : s->live[r];
    }
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++)
            s->q[c][r] *= weight[r];
}

/* x is spent: it takes log(p_c / m_c), then the gradient. */
static NOINLINE void narrow_js(struct narrow *s, const real *restrict weight, real scale,
                               size_t n_classes)
{
    struct softmax_tile *t = &s->softmax;
    ALIGN real terms[TILE], low[TILE], mean[TILE], mean_low[TILE];
    for (size_t r = 0; r < TILE; r++)
        terms[r] = low[r] = mean[r] = mean_low[r] = 0;
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real p_other = t->e[c][r] * t->inverse[r], p_top = t->p_top[r], error, log_p;
            real p = t->argmax[r] == (real)c ? p_top : p_other;
            terms[r] = two_sum(terms[r], js_term(s->q[c][r], p, &log_p), &error);
            low[r] += error;
            mean[r] = two_sum(mean[r], p * log_p, &error);
            mean_low[r] += error;
            t->e[c][r] = p;
            t->x[c][r] = log_p;
        }
    for (size_t r = 0; r < TILE; r++) {
        real loss = REAL(0.5) * weight[r] * (terms[r] + low[r]);
        s->loss[r] = weight[r] == 0 ? 0 : loss;
        mean[r] += mean_low[r];
    }
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real factor = REAL(0.5) * scale * weight[r] + 0 * terms[r]; /* NaN as the loss is */
            real grad = factor * t->e[c][r] * (t->x[c][r] - mean[r]);
            t->x[c][r] = weight[r] == 0 ? 0 : grad;
        }
}

static void divergence_tile(const struct cek_cross_entropy_args *args, int symmetric,
                            struct group *g, size_t first, size_t n_rows, struct narrow *s)
{
    const size_t n_classes = args->n_classes;
    ALIGN real weight[TILE] = {0};
    memcpy(weight, g->weight + first, n_rows * sizeof(real));
    for (size_t r = 0; r < n_rows; r++)
        g->weight[first + r] = 1;
    narrow_load(args, g, first, n_rows, s);
    if (symmetric) {
        narrow_js(s, weight, (real)args->grad_scale, n_classes);
        memcpy(g->loss + first, s->loss, n_rows * sizeof(real));
        if (g->grad.wanted)
            tile_store(s->softmax.x, n_rows, n_classes, &g->grad, first);
        return;
    }
    narrow_kl(s, weight, n_classes);
    narrow_weigh(s, weight, n_classes);
    narrow_store(args, g, first, n_rows, s);
}

static void divergence_group(const struct cek_cross_entropy_args *args, int symmetric, size_t begin,
                             size_t n, struct group *g, real *scratch)
{
    struct narrow tile;
    if (args->n_classes <= NARROW) {
        for (size_t i = 0; i < n; i += TILE)
            divergence_tile(args, symmetric, g, i, min_size(TILE, n - i), &tile);
        return;
    }
    group_by_row(args, begin, n, g, symmetric ? js_rows : kl_rows, scratch);
}

static size_t divergence_scratch_size(const struct cek_cross_entropy_args *args)
{
    return (each_row_size(args) + turned_size(args)) * sizeof(real);
}

static void kl_group(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                     struct group *g, real *scratch)
{
    divergence_group(args, 0, begin, n, g, scratch);
}

static void js_group(const struct cek_cross_entropy_args *args, size_t begin, size_t n,
                     struct group *g, real *scratch)
{
    divergence_group(args, 1, begin, n, g, scratch);
}

static void kl_divergence(const struct cek_cross_entropy_args *args, size_t begin, size_t end,
                          double *sums, void *scratch)
{
    class_chunks(args, kl_group, begin, end, sums, scratch);
}

static void js_divergence(const struct cek_cross_entropy_args *args, size_t begin, size_t end,
                          double *sums, void *scratch)
{
    class_chunks(args, js_group, begin, end, sums, scratch);
}

#endif
