/* Products of a vector with the Hessian of a reduced loss, and the blocks of that Hessian.
 *
 * Binary: (H v)_i = (a + b) sigma(x) sigma(-x) v_i.  Softmax, with A = sum_c q_c and the largest
 * logit's class k, for a row
 *
 *     H = A (diag(p) - p p^T)      (H v)_c = A p_c sum_j p_j (v_c - v_j)
 *
 * Only differences of v matter, so with w_j = v_j - v_k and dot = sum_{j != k} p_j w_j
 *
 *     (H v)_c = A p_c (w_c - dot)      (H v)_k = -A p_k dot
 *
 * which keeps entry k accurate where p_k is next to 1; so does H_kk = A p_k (1 - p_k) with 1 - p_k =
 * others / total.
 */
#ifndef CEK_SECOND_ORDER_H
#define CEK_SECOND_ORDER_H

#include "binary.h"
#include "classes.h"
#include "each_row.h"

static NOINLINE void binary_hvp_core(const real *restrict x, const real *restrict v,
                                     const real *restrict a, const real *restrict b, real scale,
                                     size_t n, real *restrict out)
{
    for (size_t i = 0; i < n / LANES * LANES; i++) {
        real e = exp_nonpos(-abs_(x[i])), near = e * (1 / (1 + e)), weight = a[i] + b[i];
        real product = scale * (weight * fma_(-near, near, near)) * v[i];
        out[i] = weight == 0 ? 0 : product;
    }
}

static void binary_hvp(const struct cek_binary_hvp_args *args, size_t begin, size_t end)
{
    const struct cek_binary_args *problem = &args->problem;
    const size_t stop = min_size(end * CEK_CHUNK, problem->n);
    struct binary_scratch s;
    for (size_t i = begin * CEK_CHUNK; i < stop; i += BLOCK) {
        size_t n = min_size(BLOCK, stop - i), whole = whole_vectors(n);
        const real *x = block_load(&problem->input, i, n, 0, s.x);
        const real *y = block_load(&problem->targets, i, n, 0, s.y);
        const real *v = block_load(&args->vector, i, n, 0, s.proba);
        real *out = block_target(&args->out, i, n, x, s.hess);
        binary_coefficients(problem, y, i, n, &s);
        binary_hvp_core(x, v, s.a, s.b, (real)problem->grad_scale, whole, out);
        block_store(&args->out, i, n, out, s.hess);
    }
}

/* w = v - v_k, and the sum of e w as in block_exp; n in whole vectors. */
static NOINLINE void block_dot(const real *restrict e, const real *restrict v, real v_k, size_t n,
                               struct lane_totals *restrict sums)
{
    struct lane_totals s = *sums;
    for (size_t i = 0; i < n / LANES * LANES; i += LANES) {
        IN_PLACE
        for (size_t j = 0; j < LANES; j++) {
            real error;
            s.high[j] = two_sum(s.high[j], e[i + j] * (v[i + j] - v_k), &error);
            s.low[j] += error;
        }
    }
    *sums = s;
}

/* factor e (v - v_k - dot) in place of e */
static NOINLINE void block_product(const real *restrict v, real v_k, real dot, real factor,
                                   size_t n, real *restrict e)
{
    for (size_t i = 0; i < n; i++)
        e[i] = factor * e[i] * ((v[i] - v_k) - dot);
}

/* A of row i, whose softmax is in `row` */
static double row_curvature(const struct cek_cross_entropy_args *args, const struct group *g,
                            const real *v, const struct softmax_row *row, size_t i)
{
    struct row_targets t = {.label = g->label[i] < 0 ? 0 : (size_t)g->label[i]};
    if (is_one_hot(args))
        one_hot_targets(args, v, row, g->weight[i], &t);
    else
        mixed_targets(args, g, v, row, i, &t);
    return t.live ? args->grad_scale * t.all : 0;
}

/* v_c of classes [begin, begin + n) as whole vectors, padded with 0 */
static void vector_load(const struct rows *vector, size_t i, size_t begin, size_t n, real *v)
{
    row_read(vector, i, begin, n, v);
    for (size_t j = n; j < whole_vectors(n); j++)
        v[j] = 0;
}

/* Where a product's arrays lie. */
struct product {
    struct rows vector, out;
};

static void hvp_row(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                    const real *x, const struct softmax_row *row, real *e, real *spare,
                    void *context)
{
    (void)spare;
    ALIGN real v[BLOCK], buffer[BLOCK];
    const struct product *product = context;
    const size_t n_classes = args->n_classes, k = row->argmax;
    const double factor = row_curvature(args, g, x, row, i);
    struct lane_totals sums = {{0}, {0}};
    real v_k = 0;
    if (factor == 0) {
        row_clear(&product->out, i, n_classes);
        return;
    }
    if (k < n_classes)
        row_read(&product->vector, i, k, 1, &v_k);
    for (size_t begin = 0; begin < n_classes; begin += BLOCK) {
        const size_t n = min_size(BLOCK, n_classes - begin);
        vector_load(&product->vector, i, begin, n, v);
        block_dot(padded(e + begin, n, 0, buffer), v, v_k, whole_vectors(n), &sums);
    }
    const double dot = lanes_value(&sums) / row->total;
    for (size_t begin = 0; begin < n_classes; begin += BLOCK) {
        const size_t n = min_size(BLOCK, n_classes - begin);
        vector_load(&product->vector, i, begin, n, v);
        block_product(v, v_k, (real)dot, (real)(factor / row->total), n, e + begin);
        if (k - begin < n)
            e[k] = (real)(-factor * (row->top / row->total) * dot);
        row_write(&product->out, i, begin, n, e + begin);
    }
}

static NOINLINE void narrow_hvp(struct narrow *s, real (*restrict v)[TILE], real scale,
                                size_t n_classes)
{
    struct softmax_tile *t = &s->softmax;
    ALIGN real at_top[TILE], dot[TILE], low[TILE];
    for (size_t r = 0; r < TILE; r++)
        at_top[r] = dot[r] = low[r] = 0;
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++)
            at_top[r] = t->argmax[r] == (real)c ? v[c][r] : at_top[r];
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real error, product = t->e[c][r] * (v[c][r] - at_top[r]);
            dot[r] = two_sum(dot[r], product, &error);
            low[r] += error;
        }
    for (size_t r = 0; r < TILE; r++)
        dot[r] = (dot[r] + low[r]) * t->inverse[r];
    for (size_t c = 0; c < n_classes; c++)
        for (size_t r = 0; r < TILE; r++) {
            real factor = scale * s->all[r], p = t->e[c][r] * t->inverse[r];
            real other = factor * p * ((v[c][r] - at_top[r]) - dot[r]);
            real largest = -(factor * t->p_top[r] * dot[r]);
            real product = t->argmax[r] == (real)c ? largest : other;
            v[c][r] = s->live[r] == 0 ? 0 : product;
        }
}

/* A (diag(p) - p p^T) of a row's probabilities: `block` is the row's block of the result. */
static void hessian_block(const struct cek_array *block, const real *p, double factor, size_t k,
                          double rest_k, size_t n_classes)
{
    ALIGN real buffer[BLOCK];
    for (size_t c = 0; c < n_classes; c++) {
        const real p_c = p[c], rest = c == k ? (real)rest_k : 1 - p_c;
        for (size_t begin = 0; begin < n_classes; begin += BLOCK) {
            size_t n = min_size(BLOCK, n_classes - begin);
            block_scale(p + begin, -((real)factor * p_c), n, buffer);
            if (c - begin < n)
                buffer[c - begin] = (real)factor * p_c * rest;
            for (size_t j = 0; factor == 0 && j < n; j++)
                buffer[j] = 0;
            array_write(block, c * n_classes + begin, n, buffer);
        }
    }
}

/* Where the blocks of the result lie: the axes of the rows, and the two of a block. */
struct blocks {
    struct rows rows; /* the first element of each block */
    struct cek_array block;
};

static void blocks_locate(const struct cek_array *out, size_t begin, size_t n,
                          struct blocks *blocks)
{
    struct cek_array first = *out; /* the first row of every block */
    first.ndim--;
    rows_locate(&first, begin, n, &blocks->rows);
    blocks->block = *out;
    blocks->block.shape = out->shape + out->ndim - 2;
    blocks->block.strides = out->strides + out->ndim - 2;
    blocks->block.ndim = 2;
}

static void hessian_row(const struct cek_cross_entropy_args *args, struct group *g, size_t i,
                        const real *x, const struct softmax_row *row, real *e, real *spare,
                        void *context)
{
    (void)spare;
    struct blocks *blocks = context;
    const size_t n_classes = args->n_classes;
    const double factor = row_curvature(args, g, x, row, i);
    block_scale(e, (real)(1 / row->total), n_classes, e);
    if (row->argmax < n_classes)
        e[row->argmax] = (real)(row->top / row->total);
    blocks->block.data = row_at(&blocks->rows, i);
    hessian_block(&blocks->block, e, factor, row->argmax, row->others / row->total, n_classes);
}

/* Rows [first, end) of a group that begins at row `begin`. */
static void second_order_rows(const struct cek_cross_entropy_args *args, size_t begin, size_t first,
                              size_t end, struct group *g, struct product *product,
                              struct blocks *blocks, real *scratch)
{
    if (product->vector.wanted)
        each_row(args, begin, first, end, g, hvp_row, product, scratch);
    else
        each_row(args, begin, first, end, g, hessian_row, blocks, scratch);
}

/* Rows [first, first + n) of a group, which are columns. */
static void second_order_columns(const struct cek_cross_entropy_args *args, size_t first, size_t n,
                                 struct group *g, struct product *product, struct blocks *blocks,
                                 real *scratch)
{
    const size_t n_classes = args->n_classes;
    struct turned old[N_TURNED], vector, out;
    real *left = group_turn(args, g, first, n, scratch, old);
    left = rows_turn(&product->vector, 1, first, n, n_classes, left, &vector);
    left = rows_turn(&product->out, 0, first, n, n_classes, left, &out);
    second_order_rows(args, args->n_rows, first, first + n, g, product, blocks, left);
    rows_turn_back(&out, 1, first, n, n_classes);
    rows_turn_back(&vector, 0, first, n, n_classes);
    group_turn_back(args, first, n, old);
}

static void hvp_tile(const struct cek_cross_entropy_args *args, struct group *g,
                     const struct rows *vector, const struct rows *out, size_t first, size_t n_rows,
                     struct narrow *s)
{
    narrow_load(args, g, first, n_rows, s);
    tile_load(vector, first, n_rows, args->n_classes, s->softmax.x);
    narrow_hvp(s, s->softmax.x, (real)args->grad_scale, args->n_classes);
    tile_store(s->softmax.x, n_rows, args->n_classes, out, first);
}

static void hessian_tile(const struct cek_cross_entropy_args *args, struct group *g,
                         struct blocks *blocks, size_t first, size_t n_rows, struct narrow *s)
{
    const struct softmax_tile *t = &s->softmax;
    const size_t n_classes = args->n_classes;
    real p[TILE_CLASSES];
    narrow_load(args, g, first, n_rows, s);
    tile_proba(&s->softmax, n_classes);
    for (size_t r = 0; r < n_rows; r++) {
        for (size_t c = 0; c < n_classes; c++)
            p[c] = t->e[c][r];
        double factor = s->live[r] == 0 ? 0 : args->grad_scale * s->all[r];
        size_t k = t->argmax[r] < 0 ? n_classes : (size_t)t->argmax[r]; /* of NaN alone: none */
        blocks->block.data = row_at(&blocks->rows, first + r);
        hessian_block(&blocks->block, p, factor, k, t->p_others[r], n_classes);
    }
}

/* Rows [begin, begin + n) of either product. */
static void second_order_group(const struct cek_cross_entropy_hvp_args *args, size_t begin,
                               size_t n, struct group *g, struct narrow *tile, real *scratch)
{
    const struct cek_cross_entropy_args *problem = &args->problem;
    struct product product;
    struct blocks blocks;
    rows_locate(&args->vector, begin, n, &product.vector);
    product.out.wanted = 0;
    if (product.vector.wanted)
        rows_locate(&args->out, begin, n, &product.out);
    else
        blocks_locate(&args->out, begin, n, &blocks);
    if (problem->n_classes > NARROW && !is_columns(&problem->logits)) {
        second_order_rows(problem, begin, 0, n, g, &product, &blocks, scratch);
        return;
    }
    for (size_t i = 0, size; i < n; i += size) {
        size = problem->n_classes > NARROW ? columns_take(problem, g, i, n) : min_size(TILE, n - i);
        if (problem->n_classes > NARROW)
            second_order_columns(problem, i, size, g, &product, &blocks, scratch);
        else if (product.vector.wanted)
            hvp_tile(problem, g, &product.vector, &product.out, i, size, tile);
        else
            hessian_tile(problem, g, &blocks, i, size, tile);
    }
}

static size_t hvp_scratch_size(const struct cek_cross_entropy_hvp_args *args)
{
    const struct cek_cross_entropy_args *problem = &args->problem;
    const size_t row = columns_step(problem) * problem->n_classes, turned = turned_size(problem);
    const int n_more = is_columns(&args->vector) + (args->vector.data && is_columns(&args->out));
    const size_t more = turned ? (size_t)n_more * row : 0;
    return (each_row_size(problem) + turned + more) * sizeof(real);
}

static void cross_entropy_hvp(const struct cek_cross_entropy_hvp_args *args, size_t begin,
                              size_t end, void *scratch)
{
    const struct cek_cross_entropy_args *problem = &args->problem;
    const size_t rows = chunk_rows(problem->n_classes);
    const size_t stop = min_size(end * rows, problem->n_rows);
    struct group g;
    struct narrow tile;
    for (size_t i = begin * rows, n; i < stop; i += n) {
        n = min_size(BLOCK, stop - i);
        group_locate(problem, i, n, &g);
        targets_load(problem, i, n, &g);
        second_order_group(args, i, n, &g, &tile, scratch);
    }
}

#endif
