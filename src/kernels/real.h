/* The dtype of this compilation, chosen by -DCEK_REAL_BITS=32 or 64, and the shape of its loops. */
#ifndef CEK_REAL_H
#define CEK_REAL_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if CEK_REAL_BITS == 32
typedef float real;
typedef uint32_t bits;
#define REAL_TYPE CEK_FLOAT32
#define REAL(constant) constant##f
enum { MANTISSA_BITS = 23, EXPONENT_BIAS = 127 };
#else
typedef double real;
typedef uint64_t bits;
#define REAL_TYPE CEK_FLOAT64
#define REAL(constant) constant
enum { MANTISSA_BITS = 52, EXPONENT_BIAS = 1023 };
#endif

/* A vector is 64 bytes on every machine (one zmm, two ymm, four NEON registers): sums run over the
 * same lanes everywhere, which is what makes their bits the same everywhere. */
enum { LANES = 64 / sizeof(real) };

/* Elements a step of the hot loops: four vectors hide the latency of an operation. */
enum { STEP = 4 * LANES };

/* Elements a hot loop works on at most.  Its scratch arrays (2 KiB each in double) stay in L1. */
enum { BLOCK = 256 };

#if defined(_MSC_VER) && !defined(__clang__)
#define NOINLINE __declspec(noinline)
#define INLINE __forceinline
#define ALIGN __declspec(align(64))
#define restrict __restrict
#define PREFETCH(address) ((void)(address))
#else
#define NOINLINE __attribute__((noinline))
#define INLINE inline __attribute__((always_inline))
#define ALIGN __attribute__((aligned(64)))
#define PREFETCH(address) __builtin_prefetch(address, 0, 2)
#endif

/* Before a loop whose output is one of its inputs, element by element, or disjoint from them; and before
 * one of LANES turns inside another loop, which compilers unroll before they make vectors. */
#if defined(__clang__)
#define IN_PLACE _Pragma("clang loop vectorize(assume_safety)")
#define LANES_IN_PLACE _Pragma("clang loop vectorize(assume_safety) unroll(disable)")
#elif defined(__GNUC__)
#define IN_PLACE _Pragma("GCC ivdep")
#define LANES_IN_PLACE _Pragma("GCC ivdep") _Pragma("GCC unroll 1")
#else
#define IN_PLACE __pragma(loop(ivdep))
#define LANES_IN_PLACE IN_PLACE
#endif

/* a b + c, rounded once where the hardware can; a libm call in its place would stop the vectoriser. */
static INLINE real fma_(real a, real b, real c)
{
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(_M_ARM64)
#if CEK_REAL_BITS == 32
    return __builtin_fmaf(a, b, c);
#else
    return __builtin_fma(a, b, c);
#endif
#else
    return a * b + c;
#endif
}

/* a + b and its rounding error, exactly (Knuth) */
static INLINE real two_sum(real a, real b, real *error)
{
    real sum = a + b, back = sum - a;
    *error = (a - (sum - back)) + (b - back);
    return sum;
}

static INLINE real abs_(real x)
{
#if CEK_REAL_BITS == 32
    return fabsf(x);
#else
    return fabs(x);
#endif
}

static INLINE bits to_bits(real x)
{
    bits b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static INLINE real from_bits(bits b)
{
    real x;
    memcpy(&x, &b, sizeof x);
    return x;
}

/* 0 or value.  Of a plain selection compilers make two when 1 + value follows, which costs a tenth of
 * the binary loss; the bits of double cannot be masked as vectors before SSE4.1. */
static INLINE real zero_if(int gone, real value)
{
#if CEK_REAL_BITS == 64 && defined(__SSE2__) && !defined(__SSE4_1__)
    return gone ? 0 : value;
#else
    return from_bits(to_bits(value) & (gone ? 0 : ~(bits)0));
#endif
}

#define SIGN ((bits)1 << (8 * sizeof(bits) - 1))

/* -value where x is negative, or -0.0 */
static INLINE real with_sign(real value, real x)
{
    return from_bits(to_bits(value) ^ (to_bits(x) & SIGN));
}

static INLINE size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static INLINE size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

static INLINE size_t round_up(size_t n, size_t step)
{
    return (n + step - 1) / step * step;
}

/* n rounded up to whole vectors */
static INLINE size_t whole_vectors(size_t n)
{
    return round_up(n, LANES);
}

#endif
