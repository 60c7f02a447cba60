/* What the targets of a row add up to. */
#ifndef CEK_ROW_TARGETS_H
#define CEK_ROW_TARGETS_H

#include "outer.h"
#include "row.h"
#include "targets.h"

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

#endif
