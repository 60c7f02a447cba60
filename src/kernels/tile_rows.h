/* How rows get into tiles, arrays [class][row], and back. */
#ifndef CEK_TILE_ROWS_H
#define CEK_TILE_ROWS_H

#include "rows.h"
#include "transpose.h"

/* Of more classes than NARROW a batch (batch.h), which fills up its steps, takes no longer than tiles (AMD
 * Zen 4, 2026-11). */
enum {
    TILE = 32,                      /* rows                                                */
    GROUP = 4,                      /* classes that are summed as a tree                   */
    TILE_CLASSES = LANES == 16 ? 96 : 64, /* whole groups: tiles of x, e and q take 36 or 48 KiB */
    NARROW = TILE_CLASSES, /* classes at most                                     */
};

_Static_assert(NARROW + 1 >= STEP, "what is not narrow is read by whole steps (row.h, batch.h)");

/* Are n rows, from `first` on, next to each other in memory, so that each class is a run? */
static int rows_adjacent(const struct rows *rows, size_t first, size_t n)
{
    const ptrdiff_t size = type_sizes[rows->type];
    int differ = 0;
    if (!rows->varied)
        return rows->step == size;
    for (size_t i = first + 1; i < first + n; i++)
        differ |= rows->at[i] - rows->at[i - 1] != size;
    return !differ;
}

/* Writes zeros, which are no bits in every type: at once where there are no gaps, or class by class. */
static void rows_clear(const struct rows *rows, size_t n, size_t n_classes)
{
    const ptrdiff_t size = type_sizes[rows->type], row = (ptrdiff_t)n_classes * size;
    const size_t bytes = n * (size_t)size, lines = bytes / 64 * 64;
    const int adjacent = rows_adjacent(rows, 0, n);
    if (!rows->varied && rows->stride == size && rows->step == row) {
        memset(rows->begin, 0, n * (size_t)row);
        return;
    }
    for (size_t c = 0; adjacent && c < n_classes; c++) {
        char *to = row_at(rows, 0) + (ptrdiff_t)c * rows->stride;
        for (size_t i = 0; i < lines; i += 64)
            memset(to + i, 0, 64); /* a constant size needs no call */
        if (lines < bytes)
            memset(to + lines, 0, bytes - lines);
    }
    for (size_t i = 0; !adjacent && i < n; i++)
        row_clear(rows, i, n_classes);
}

/* Two or three classes without gaps: of loops with these constants compilers make shuffles.  They take 0.1
 * ns an element, four rows at a time 0.5 (float, AMD Zen 4, 2026-11). */
static INLINE void split_rows(const real *restrict v, size_t n_classes, real (*restrict tile)[TILE])
{
    for (size_t r = 0; r < TILE; r++)
        for (size_t c = 0; c < n_classes; c++)
            tile[c][r] = v[n_classes * r + c];
}

static INLINE void join_rows(real (*restrict tile)[TILE], size_t n_classes, real *restrict v)
{
    for (size_t r = 0; r < TILE; r++)
        for (size_t c = 0; c < n_classes; c++)
            v[n_classes * r + c] = tile[c][r];
}

static NOINLINE void split_pairs(const real *restrict v, real (*restrict tile)[TILE])
{
    split_rows(v, 2, tile);
}

static NOINLINE void split_triples(const real *restrict v, real (*restrict tile)[TILE])
{
    split_rows(v, 3, tile);
}

static NOINLINE void join_pairs(real (*restrict tile)[TILE], real *restrict v)
{
    join_rows(tile, 2, v);
}

static NOINLINE void join_triples(real (*restrict tile)[TILE], real *restrict v)
{
    join_rows(tile, 3, v);
}

/* Four classes or more, `step` bytes from row to row and `stride` from class to class: adjacent values, in
 * order or reversed, or every second.  The last four classes may be moved twice. */
static INLINE void split_fours(const char *from, ptrdiff_t step, ptrdiff_t stride, size_t n_classes,
                               real (*restrict tile)[TILE])
{
    const int reversed = stride < 0;
    for (size_t i = 0; i < n_classes; i += 4) {
        const size_t c = min_size(i, n_classes - 4);
        const char *at = from + (ptrdiff_t)(reversed ? c + 3 : c) * stride;
        for (size_t r = 0; r < TILE; r += 4, at += 4 * step) {
            const void *rows[] = {at, at + step, at + 2 * step, at + 3 * step};
            void *classes[] = {tile[reversed ? c + 3 : c] + r, tile[reversed ? c + 2 : c + 1] + r,
                               tile[reversed ? c + 1 : c + 2] + r, tile[reversed ? c : c + 3] + r};
            (stride == 2 * sizeof(real) ? transpose_seconds : transpose_quads)(rows, classes);
        }
    }
}

static INLINE void join_fours(real (*restrict tile)[TILE], size_t n_classes, char *to,
                              ptrdiff_t step, ptrdiff_t stride)
{
    const int reversed = stride < 0;
    for (size_t i = 0; i < n_classes; i += 4) {
        const size_t c = min_size(i, n_classes - 4);
        char *at = to + (ptrdiff_t)(reversed ? c + 3 : c) * stride;
        for (size_t r = 0; r < TILE; r += 4, at += 4 * step) {
            const void *classes[] = {
                tile[reversed ? c + 3 : c] + r, tile[reversed ? c + 2 : c + 1] + r,
                tile[reversed ? c + 1 : c + 2] + r, tile[reversed ? c : c + 3] + r};
            void *rows[] = {at, at + step, at + 2 * step, at + 3 * step};
            transpose_quads(classes, rows);
        }
    }
}

static NOINLINE void split_quads(const char *from, ptrdiff_t step, size_t n_classes,
                                 real (*restrict tile)[TILE])
{
    split_fours(from, step, sizeof(real), n_classes, tile);
}

static NOINLINE void split_reversed(const char *from, ptrdiff_t step, size_t n_classes,
                                    real (*restrict tile)[TILE])
{
    split_fours(from, step, -(ptrdiff_t)sizeof(real), n_classes, tile);
}

static NOINLINE void split_seconds(const char *from, ptrdiff_t step, size_t n_classes,
                                   real (*restrict tile)[TILE])
{
    split_fours(from, step, 2 * sizeof(real), n_classes, tile);
}

static NOINLINE void join_quads(real (*restrict tile)[TILE], size_t n_classes, char *to,
                                ptrdiff_t step)
{
    join_fours(tile, n_classes, to, step, sizeof(real));
}

static NOINLINE void join_reversed(real (*restrict tile)[TILE], size_t n_classes, char *to,
                                   ptrdiff_t step)
{
    join_fours(tile, n_classes, to, step, -(ptrdiff_t)sizeof(real));
}

/* The functions above for whole tiles of these rows; NULL where there is none. */
typedef void tile_splitter(const char *from, ptrdiff_t step, size_t n_classes,
                           real (*restrict tile)[TILE]);
typedef void tile_joiner(real (*restrict tile)[TILE], size_t n_classes, char *to, ptrdiff_t step);

static int has_fours(const struct rows *rows, size_t n_rows, size_t n_classes)
{
    return rows->type == REAL_TYPE && !rows->varied && n_rows == TILE && n_classes >= 4;
}

static tile_splitter *splitter_of(const struct rows *rows, size_t n_rows, size_t n_classes)
{
    if (!has_fours(rows, n_rows, n_classes))
        return NULL;
    return rows->stride == sizeof(real)               ? split_quads
           : rows->stride == -(ptrdiff_t)sizeof(real) ? split_reversed
           : rows->stride == 2 * sizeof(real)         ? split_seconds
                                                      : NULL;
}

static tile_joiner *joiner_of(const struct rows *rows, size_t n_rows, size_t n_classes)
{
    if (!has_fours(rows, n_rows, n_classes))
        return NULL;
    return rows->stride == sizeof(real)               ? join_quads
           : rows->stride == -(ptrdiff_t)sizeof(real) ? join_reversed
                                                      : NULL;
}

/* The first of two or three classes of a whole tile without gaps; NULL where it is not such. */
static real *few_classes(const struct rows *rows, size_t first, size_t n_rows, size_t n_classes)
{
    if (rows->varied || rows->step != (ptrdiff_t)(n_classes * sizeof(real)) || n_rows < TILE)
        return NULL;
    return n_classes == 2 || n_classes == 3 ? row_direct(rows, first) : NULL;
}

/* Bytes from row to row where one class at a time is moved: of rows that are columns, or evenly spaced
 * ones whose values are not adjacent, or too few for quads.  It takes 0.6 to 0.9 of the time of four rows
 * at a time (AMD Zen 4, 2026-11).  0: the rows are not such. */
static ptrdiff_t run_step(const struct rows *rows, size_t first, size_t n_rows, size_t n_classes)
{
    const ptrdiff_t size = type_sizes[rows->type];
    if (rows_adjacent(rows, first, n_rows))
        return size;
    return !rows->varied && (rows->stride != size || n_classes < 4) ? rows->step : 0;
}

/* Rows r to r + 3 of a tile from four rows of adjacent values. */
static void four_load(const char *const row[4], size_t n_classes, size_t r,
                      real (*restrict tile)[TILE])
{
    for (size_t i = 0; n_classes >= 4 && i < n_classes; i += 4) {
        const size_t c = min_size(i, n_classes - 4), begin = c * sizeof(real);
        const void *from[] = {row[0] + begin, row[1] + begin, row[2] + begin, row[3] + begin};
        void *to[] = {tile[c] + r, tile[c + 1] + r, tile[c + 2] + r, tile[c + 3] + r};
        transpose_quads(from, to);
    }
    for (size_t c = 0; n_classes < 4 && c < n_classes; c++)
        for (size_t i = 0; i < 4; i++)
            memcpy(tile[c] + r + i, row[i] + c * sizeof(real), sizeof(real));
}

static void four_store(real (*restrict tile)[TILE], size_t r, size_t n_classes, char *const row[4])
{
    for (size_t i = 0; n_classes >= 4 && i < n_classes; i += 4) {
        const size_t c = min_size(i, n_classes - 4), begin = c * sizeof(real);
        const void *from[] = {tile[c] + r, tile[c + 1] + r, tile[c + 2] + r, tile[c + 3] + r};
        void *to[] = {row[0] + begin, row[1] + begin, row[2] + begin, row[3] + begin};
        transpose_quads(from, to);
    }
    for (size_t c = 0; n_classes < 4 && c < n_classes; c++)
        for (size_t i = 0; i < 4; i++)
            memcpy(row[i] + c * sizeof(real), tile[c] + r + i, sizeof(real));
}

/* Rows of any kind, four at a time, where they lie or through a buffer. */
static void fours_load(const struct rows *rows, size_t first, size_t n_rows, size_t n_classes,
                       real (*restrict tile)[TILE])
{
    const int direct = rows->type == REAL_TYPE && rows->stride == sizeof(real);
    for (size_t r = 0; r < n_rows; r += 4) {
        real buffer[4][TILE_CLASSES];
        const char *row[4];
        for (size_t i = 0; i < 4; i++) {
            const size_t from = first + min_size(r + i, n_rows - 1);
            row[i] = direct ? row_at(rows, from) : (const char *)buffer[i];
            if (!direct)
                row_read(rows, from, 0, n_classes, buffer[i]);
        }
        four_load(row, n_classes, r, tile);
    }
}

static void fours_store(real (*restrict tile)[TILE], size_t n_rows, size_t n_classes,
                        const struct rows *rows, size_t first)
{
    const int direct = rows->type == REAL_TYPE && rows->stride == sizeof(real);
    for (size_t r = 0; r < n_rows; r += 4) {
        real buffer[4][TILE_CLASSES];
        char *row[4];
        for (size_t i = 0; i < 4; i++)
            row[i] = direct && r + i < n_rows ? row_at(rows, first + r + i) : (char *)buffer[i];
        four_store(tile, r, n_classes, row);
        for (size_t i = 0; !direct && i < 4 && r + i < n_rows; i++)
            row_write(rows, first + r + i, 0, n_classes, buffer[i]);
    }
}

/* n_rows rows, from `first` on, as [class][row]; rows that are missing are 0. */
static void tile_load(const struct rows *rows, size_t first, size_t n_rows, size_t n_classes,
                      real (*restrict tile)[TILE])
{
    const char *from = row_at(rows, first);
    const real *few = few_classes(rows, first, n_rows, n_classes);
    tile_splitter *split = splitter_of(rows, n_rows, n_classes);
    const ptrdiff_t step = run_step(rows, first, n_rows, n_classes);
    if (few)
        (n_classes == 2 ? split_pairs : split_triples)(few, tile);
    else if (split)
        split(from, rows->step, n_classes, tile);
    else if (step)
        for (size_t c = 0; c < n_classes; c++)
            run_read(rows->type, from + (ptrdiff_t)c * rows->stride, step, n_rows, tile[c]);
    else
        fours_load(rows, first, n_rows, n_classes, tile);
    for (size_t c = 0; n_rows < TILE && c < n_classes; c++)
        memset(tile[c] + n_rows, 0, (TILE - n_rows) * sizeof(real));
}

static void tile_store(real (*restrict tile)[TILE], size_t n_rows, size_t n_classes,
                       const struct rows *rows, size_t first)
{
    char *to = row_at(rows, first);
    real *few = few_classes(rows, first, n_rows, n_classes);
    tile_joiner *join = joiner_of(rows, n_rows, n_classes);
    const ptrdiff_t step = run_step(rows, first, n_rows, n_classes);
    if (few)
        (n_classes == 2 ? join_pairs : join_triples)(tile, few);
    else if (join)
        join(tile, n_classes, to, rows->step);
    else if (step)
        for (size_t c = 0; c < n_classes; c++)
            run_write(rows->type, tile[c], n_rows, step, to + (ptrdiff_t)c * rows->stride);
    else
        fours_store(tile, n_rows, n_classes, rows, first);
}

/* Memory to be asked for: of each class a run, `step` bytes apart. */
struct ahead {
    uintptr_t at;
    ptrdiff_t step;
};

/* The tile after that at `first`.  Returns whether its place is known: rows without gaps, or columns. */
static int rows_ahead(const struct rows *rows, size_t first, size_t n_classes, struct ahead *ahead)
{
    const ptrdiff_t size = type_sizes[rows->type], row = (ptrdiff_t)n_classes * size;
    if (rows->varied || (rows->step != row && rows->step != size))
        return 0;
    ahead->at = (uintptr_t)row_at(rows, first) + TILE * (uintptr_t)rows->step;
    ahead->step = rows->step == row ? TILE * size : rows->stride;
    return 1;
}

/* Asks for class c of it; beyond the last row nothing is read. */
static INLINE void ahead_class(const struct ahead *ahead, size_t c)
{
    for (uintptr_t i = 0; i < TILE * sizeof(real); i += 64)
        PREFETCH((const char *)(ahead->at + c * (uintptr_t)ahead->step + i));
}

#endif
