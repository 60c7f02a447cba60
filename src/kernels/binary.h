/* Binary losses: targets and options become two coefficients an entry, a core turns blocks of
 * (x, a, b) into results, chunks are summed.  A new binary loss is a new core.
 */
#ifndef CEK_BINARY_H
#define CEK_BINARY_H

#include "block.h"
#include "vmath.h"

/* loss, grad, hess and proba of n entries in whole vectors; none may overlap x, q, a or b.  For
 * probabilities x, q is their complement, or NULL for that of x itself. */
typedef void binary_core(const struct cek_binary_args *args, const real *restrict x,
                         const real *restrict q, const real *restrict a, const real *restrict b,
                         size_t n, real *restrict loss, real *restrict grad, real *restrict hess,
                         real *restrict proba);

/* A sum of losses by lane, log1p(product) + linear + linear_low, on top of what is settled. */
struct lane_sums {
    real product[LANES], linear[LANES], linear_low[LANES];
    double settled[LANES], settled_low[LANES];
};

/* Blocks whose products may grow before their logarithm is taken: below 2^96 in float, with SETTLE
 * BLOCK = 1536 factors of at most 2 in LANES lanes.  It is 4 % of the call; after every block, a fifth
 * (float, AMD Zen 4, 2026-11). */
enum { SETTLE = 6 };

/* What is wanted beside the loss. */
enum { GRAD = 1, HESS = 2, PROBA = 4 };

/* The same for a = y and b = 1 - y, but the losses are added to `sums`; what is not wanted is scratch,
 * or NULL where nothing that comes after it in the list is wanted either. */
typedef void binary_total(const real *restrict x, const real *restrict y, real scale, size_t n,
                          int wanted, real *restrict grad, real *restrict hess,
                          real *restrict proba, struct lane_sums *restrict sums);

struct binary_scratch {
    ALIGN real x[BLOCK];
    ALIGN real q[BLOCK];
    ALIGN real y[BLOCK];
    ALIGN real weight[BLOCK];
    ALIGN real pos_weight[BLOCK];
    ALIGN real a[BLOCK];
    ALIGN real b[BLOCK];
    ALIGN real loss[BLOCK];
    ALIGN real grad[BLOCK];
    ALIGN real hess[BLOCK];
    ALIGN real proba[BLOCK];
};

static INLINE int binary_is_plain(const struct cek_binary_args *args)
{
    return !args->sample_weight.data && !args->pos_weight.data && !args->ignore &&
           args->neg_weight == 1 && args->label_smoothing == 0;
}

static const real *block_load_or_one(const struct cek_array *in, size_t begin, size_t n,
                                     real *scratch)
{
    if (in->data)
        return block_load(in, begin, n, 0, scratch);
    for (size_t i = 0; i < BLOCK; i++)
        scratch[i] = 1;
    return scratch;
}

/* weight[i] = 0 where the target is the value to ignore; NaN stands for any NaN. */
static NOINLINE void mask_ignored(const real *restrict y, real ignored, size_t n,
                                  real *restrict weight)
{
    for (size_t i = 0; i < n; i++) {
        int is_ignored = (y[i] == ignored) | ((y[i] != y[i]) & (ignored != ignored));
        weight[i] = is_ignored ? 0 : weight[i];
    }
}

/* The weights of n entries, 0 where ignored. */
static const real *binary_weights(const struct cek_binary_args *args, const real *y, size_t begin,
                                  size_t n, real *scratch)
{
    const real *weight = block_load_or_one(&args->sample_weight, begin, n, scratch);
    if (!args->ignore)
        return weight;
    if (weight != scratch)
        memcpy(scratch, weight, n * sizeof(real));
    mask_ignored(y, (real)args->ignore_value, n, scratch);
    return scratch;
}

static NOINLINE void complement(const real *restrict a, size_t n, real *restrict b)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        b[i] = 1 - a[i];
}

static NOINLINE void coefficients(const real *restrict y, const real *restrict weight,
                                  const real *restrict pos_weight, real neg_weight, real smoothing,
                                  size_t n, real *restrict a, real *restrict b)
{
    const real keep = 1 - smoothing, half = REAL(0.5) * smoothing;
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real y_pos = fma_(y[i], keep, half), y_neg = fma_(1 - y[i], keep, half);
        real w_pos = weight[i] * pos_weight[i], w_neg = weight[i] * neg_weight;
        a[i] = w_pos == 0 ? 0 : w_pos * y_pos;
        b[i] = w_neg == 0 ? 0 : w_neg * y_neg;
    }
}

/* a and b of n entries with targets y, in s. */
static void binary_coefficients(const struct cek_binary_args *args, const real *y, size_t begin,
                                size_t n, struct binary_scratch *s)
{
    const real *weight = binary_weights(args, y, begin, n, s->weight);
    const real *pos_weight = block_load_or_one(&args->pos_weight, begin, n, s->pos_weight);
    coefficients(y, weight, pos_weight, (real)args->neg_weight, (real)args->label_smoothing,
                 whole_vectors(n), s->a, s->b);
}

/* Entries without weight (a = b = 0) count for nothing, whatever x holds there. */
static NOINLINE void clear_weightless(const real *restrict a, const real *restrict b, size_t n,
                                      real *restrict loss, real *restrict grad, real *restrict hess)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        int none = (a[i] == 0) & (b[i] == 0);
        real l = loss[i], g = grad[i], h = hess[i];
        loss[i] = none ? 0 : l;
        grad[i] = none ? 0 : g;
        hess[i] = none ? 0 : h;
    }
}

static INLINE int binary_wanted(const struct cek_binary_args *args)
{
    return (args->grad.data ? GRAD : 0) | (args->hess.data ? HESS : 0) |
           (args->proba.data ? PROBA : 0);
}

/* One block: returns the sum of its losses, or 0 where they were added to `sums`. */
static double binary_block(const struct cek_binary_args *args, binary_core *core,
                           binary_total *total, size_t begin, size_t n, struct binary_scratch *s,
                           struct lane_sums *sums)
{
    const size_t whole = whole_vectors(n);
    const real *x = block_load(&args->input, begin, n, -(real)INFINITY, s->x);
    const real *q = args->complement.data ? block_load(&args->complement, begin, n, 1, s->q) : NULL;
    const real *y = block_load(&args->targets, begin, n, 0, s->y);
    real *loss = block_target(&args->loss, begin, n, x, s->loss);
    real *grad = block_target(&args->grad, begin, n, x, s->grad);
    real *hess = block_target(&args->hess, begin, n, x, s->hess);
    real *proba = block_target(&args->proba, begin, n, x, s->proba);
    const int plain = binary_is_plain(args), summed = plain && total && !args->loss.data;
    if (summed) {
        total(x, y, (real)args->grad_scale, whole, binary_wanted(args), grad, hess, proba, sums);
    } else if (plain) {
        complement(y, whole, s->b);
        core(args, x, q, y, s->b, whole, loss, grad, hess, proba);
    } else {
        binary_coefficients(args, y, begin, n, s);
        core(args, x, q, s->a, s->b, whole, loss, grad, hess, proba);
        clear_weightless(s->a, s->b, whole, loss, grad, hess);
    }
    if (args->hess.data && args->hess_factor != 1)
        block_scale(hess, (real)args->hess_factor, whole, hess);
    block_store(&args->loss, begin, n, loss, s->loss);
    block_store(&args->grad, begin, n, grad, s->grad);
    block_store(&args->hess, begin, n, hess, s->hess);
    block_store(&args->proba, begin, n, proba, s->proba);
    if (summed)
        return 0;
    for (size_t i = n; i < whole; i++)
        loss[i] = 0;
    return block_sum(loss, whole);
}

static INLINE void sums_start(struct lane_sums *restrict sums)
{
    for (size_t j = 0; j < LANES; j++) {
        sums->product[j] = sums->linear[j] = sums->linear_low[j] = 0;
        sums->settled[j] = sums->settled_low[j] = 0;
    }
}

/* Takes the logarithm of the products, and adds all to what is settled (TwoSum). */
static NOINLINE void settle(struct lane_sums *restrict sums)
{
    for (size_t j = 0; j < LANES; j++) {
        double loss = (double)sums->linear[j] + (double)log1p_nonneg(sums->product[j]);
        double old = sums->settled[j], sum = old + loss, back = sum - old;
        double low = (old - (sum - back)) + (loss - back);
        sums->settled[j] = sum;
        sums->settled_low[j] += low + (double)sums->linear_low[j];
        sums->product[j] = sums->linear[j] = sums->linear_low[j] = 0;
    }
}

/* The value of each lane, as sum_value. */
static NOINLINE void lane_values(const struct lane_sums *restrict sums, double *restrict value)
{
    for (size_t j = 0; j < LANES; j++) {
        double high = sums->settled[j], low = sums->settled_low[j], sum = high + low;
        value[j] = low - low == 0 ? sum : high;
    }
}

static double total_of(struct lane_sums *sums)
{
    ALIGN double lanes[LANES];
    settle(sums);
    lane_values(sums, lanes);
    return lane_sum(lanes);
}

/* Sums as many blocks from `begin` on as need neither scratch nor coefficients, and returns where they
 * end.  It saves a twentieth of the call to look at the arrays once (float, AMD Zen 4, 2026-11). */
static size_t direct_blocks(const struct cek_binary_args *args, binary_total *total, size_t begin,
                            size_t stop, struct lane_sums *sums)
{
    const size_t n = (stop - begin) / BLOCK * BLOCK;
    const int wanted = binary_wanted(args);
    /* The Hessian alone, or probabilities, take scratch for what is computed beside. */
    if (n == 0 || !total || !binary_is_plain(args) || args->loss.data || wanted == HESS ||
        wanted & PROBA || args->hess_factor != 1)
        return begin;
    const real *x = array_direct(&args->input, begin, n);
    const real *y = array_direct(&args->targets, begin, n);
    real *grad = wanted & GRAD ? array_direct(&args->grad, begin, n) : NULL;
    real *hess = wanted & HESS ? array_direct(&args->hess, begin, n) : NULL;
    if (!x || !y || grad == x || (wanted & GRAD && !grad) || (wanted & HESS && !hess))
        return begin;
    for (size_t i = 0; i < n; i += BLOCK) {
        total(x + i, y + i, (real)args->grad_scale, BLOCK, wanted, grad ? grad + i : NULL,
              hess ? hess + i : NULL, NULL, sums);
        if ((i / BLOCK + 1) % SETTLE == 0)
            settle(sums);
    }
    return begin + n;
}

static void binary_chunks(const struct cek_binary_args *args, binary_core *core,
                          binary_total *total, size_t begin, size_t end, double *sums)
{
    struct binary_scratch scratch;
    for (size_t chunk = begin; chunk < end; chunk++) {
        double block_sums[CEK_CHUNK / BLOCK] = {0};
        struct lane_sums lanes;
        sums_start(&lanes);
        const size_t start = chunk * CEK_CHUNK, stop = min_size(start + CEK_CHUNK, args->n);
        size_t i = direct_blocks(args, total, start, stop, &lanes), n_blocks = (i - start) / BLOCK;
        for (; i < stop; i += BLOCK) {
            block_sums[n_blocks++] =
                binary_block(args, core, total, i, min_size(BLOCK, stop - i), &scratch, &lanes);
            if (n_blocks % SETTLE == 0)
                settle(&lanes);
        }
        sums[chunk] = cek_tree_sum(block_sums, n_blocks) + total_of(&lanes);
    }
}

/* Are all of n values surely in [0, 1]?  As integers they are those up to 1.0, so that no value sets
 * the sign of its bits, or of 1.0 less its bits; -0.0 and NaN do. */
static NOINLINE int all_in_unit(const real *restrict v, size_t n)
{
    bits any = 0;
    for (size_t i = 0; i < n / LANES * LANES; i++)
        any |= to_bits(v[i]) | (EXP_ONE - to_bits(v[i]));
    return any >> (8 * sizeof any - 1) == 0;
}

/* First of n values that is outside [0, 1] and whose `kept` is not 0, or -1; kept NULL: all are. */
static ptrdiff_t first_outside_unit(const real *v, const real *kept, size_t n)
{
    if (all_in_unit(v, whole_vectors(n)))
        return -1;
    for (size_t i = 0; i < n; i++)
        if ((v[i] < 0 || v[i] > 1) && (!kept || kept[i] != 0))
            return (ptrdiff_t)i;
    return -1;
}

/* First probability outside [0, 1] of [begin, end). */
static struct cek_scan scan_probs(const struct cek_array *in, size_t begin, size_t end)
{
    ALIGN real scratch[BLOCK];
    const size_t whole = (end - begin) / LANES * LANES;
    const real *direct = array_direct(in, begin, whole);
    size_t i = direct && all_in_unit(direct, whole) ? begin + whole : begin;
    for (; i < end; i += BLOCK) {
        size_t size = min_size(BLOCK, end - i);
        ptrdiff_t bad = first_outside_unit(block_load(in, i, size, 0, scratch), NULL, size);
        if (bad >= 0)
            return (struct cek_scan){0, 0, (ptrdiff_t)i + bad};
    }
    return (struct cek_scan){(double)(end - begin), (int64_t)(end - begin), -1};
}

/* block_sum of the first n values. */
static double padded_sum(const real *v, size_t n, real *scratch)
{
    memcpy(scratch, v, n * sizeof(real));
    for (size_t i = n; i < whole_vectors(n); i++)
        scratch[i] = 0;
    return block_sum(scratch, whole_vectors(n));
}

/* Weight, count and first invalid target of entries [begin, end); ignored ones have none of the
 * three. */
static struct cek_scan scan_binary(const struct cek_binary_args *args, size_t begin, size_t end)
{
    if (!args->sample_weight.data && !args->ignore)
        return scan_probs(&args->targets, begin, end);
    struct binary_scratch s;
    struct cek_scan scan = {0, 0, -1};
    struct sum total = {0, 0};
    struct cek_binary_args unweighted = *args;
    unweighted.sample_weight.data = NULL;
    for (size_t i = begin; i < end; i += BLOCK) {
        size_t n = min_size(BLOCK, end - i);
        const real *y = block_load(&args->targets, i, n, 0, s.y);
        const real *kept = binary_weights(&unweighted, y, i, n, s.pos_weight);
        const real *weight = binary_weights(args, y, i, n, s.weight);
        ptrdiff_t bad = first_outside_unit(y, kept, n);
        if (bad >= 0 && scan.invalid < 0)
            scan.invalid = (ptrdiff_t)i + bad;
        scan.count += (int64_t)padded_sum(kept, n, s.a);
        sum_add(&total, padded_sum(weight, n, s.b));
    }
    scan.weight = sum_value(total);
    return scan;
}

#endif
