/* The list of compiled tables, and the sums that every dtype shares. */
#include "cek.h"
#include "cpu.h"

#if defined(__aarch64__) || defined(_M_ARM64)
#define CEK_BASELINE "neon"
#else
#define CEK_BASELINE "baseline"
#endif

extern const struct cek_table cek_table_f32_baseline, cek_table_f64_baseline;
#if defined(CEK_HAVE_AVX2)
extern const struct cek_table cek_table_f32_avx2, cek_table_f64_avx2;
#endif
#if defined(CEK_HAVE_AVX512)
extern const struct cek_table cek_table_f32_avx512, cek_table_f64_avx512;
#endif

static const struct cek_isa isas[] = {
    {CEK_BASELINE, cek_cpu_has_baseline, &cek_table_f32_baseline, &cek_table_f64_baseline},
#if defined(CEK_HAVE_AVX2)
    {"avx2", cek_cpu_has_avx2, &cek_table_f32_avx2, &cek_table_f64_avx2},
#endif
#if defined(CEK_HAVE_AVX512)
    {"avx512", cek_cpu_has_avx512, &cek_table_f32_avx512, &cek_table_f64_avx512},
#endif
};

const struct cek_isa *cek_isas(size_t *count)
{
    *count = sizeof isas / sizeof isas[0];
    return isas;
}

/* The largest power of two below n. */
static size_t first_half(size_t n)
{
    size_t half = 1;
    while (2 * half < n)
        half *= 2;
    return half;
}

double cek_tree_sum(const double *values, size_t n)
{
    if (n < 2)
        return n ? values[0] : 0.0;
    const size_t half = first_half(n);
    return cek_tree_sum(values, half) + cek_tree_sum(values + half, n - half);
}

struct cek_scan cek_tree_scan(const struct cek_scan *scans, size_t n)
{
    if (n < 2)
        return n ? scans[0] : (struct cek_scan){0, 0, -1};
    const size_t half = first_half(n);
    const struct cek_scan a = cek_tree_scan(scans, half);
    const struct cek_scan b = cek_tree_scan(scans + half, n - half);
    return (struct cek_scan){a.weight + b.weight, a.count + b.count,
                             a.invalid < 0 ? b.invalid : a.invalid};
}
