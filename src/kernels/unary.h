/* Functions of one logit, and the pieces of vmath.h by themselves. */
#ifndef CEK_UNARY_H
#define CEK_UNARY_H

#include "block.h"
#include "vmath.h"

typedef void unary_core(const real *restrict x, size_t n, real *restrict out);

static NOINLINE void expit_core(const real *restrict x, size_t n, real *restrict out)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real e = exp_nonpos(-abs_(x[i])), far = 1 / (1 + e), near = e * far;
        out[i] = x[i] > 0 ? far : near;
    }
}

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)) */
static INLINE real softplus_of(real x)
{
    real tail = log1p_unit(exp_nonpos(-abs_(x)));
    return (x < 0 ? 0 : x) + tail;
}

static NOINLINE void softplus_core(const real *restrict x, size_t n, real *restrict out)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        out[i] = softplus_of(x[i]);
}

static NOINLINE void log_expit_core(const real *restrict x, size_t n, real *restrict out)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        out[i] = -softplus_of(-x[i]);
}

static NOINLINE void exp_nonpos_core(const real *restrict x, size_t n, real *restrict out)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        out[i] = exp_nonpos(x[i]);
}

static NOINLINE void log1p_unit_core(const real *restrict x, size_t n, real *restrict out)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        out[i] = log1p_unit(x[i]);
}

static NOINLINE void log1p_nonneg_core(const real *restrict x, size_t n, real *restrict out)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        out[i] = log1p_nonneg(x[i]);
}

static NOINLINE void log_unit_core(const real *restrict x, size_t n, real *restrict out)
{
    for (size_t i = 0; i < n / LANES * LANES; i++)
        out[i] = log_unit(x[i]);
}

static void unary_chunks(const struct cek_unary_args *args, unary_core *core, size_t begin,
                         size_t end)
{
    ALIGN real in[BLOCK], out[BLOCK];
    const size_t stop = min_size(end * CEK_CHUNK, args->n);
    for (size_t i = begin * CEK_CHUNK; i < stop; i += BLOCK) {
        size_t n = min_size(BLOCK, stop - i);
        const real *x = block_load(&args->input, i, n, 0, in);
        real *to = block_target(&args->out, i, n, x, out);
        core(x, whole_vectors(n), to);
        block_store(&args->out, i, n, to, out);
    }
}

static void unary(const struct cek_unary_args *args, size_t begin, size_t end)
{
    static unary_core *const cores[CEK_N_UNARY] = {
        [CEK_EXPIT] = expit_core,           [CEK_LOG_EXPIT] = log_expit_core,
        [CEK_SOFTPLUS] = softplus_core,     [CEK_EXP_NONPOS] = exp_nonpos_core,
        [CEK_LOG1P_UNIT] = log1p_unit_core, [CEK_LOG1P_NONNEG] = log1p_nonneg_core,
        [CEK_LOG_UNIT] = log_unit_core,
    };
    unary_chunks(args, cores[args->function], begin, end);
}

#endif
