/* float16 and bfloat16 by integer arithmetic, which every instruction set has, and vectorises. */
#ifndef CEK_HALF_H
#define CEK_HALF_H

#include <stdint.h>
#include <string.h>

static inline uint32_t float_bits(float x)
{
    uint32_t b;
    memcpy(&b, &x, sizeof b);
    return b;
}

static inline float bits_float(uint32_t b)
{
    float x;
    memcpy(&x, &b, sizeof x);
    return x;
}

/* The exponents of float16 are those of float less 112; a product with 2^112 moves them, also of
 * subnormals, and infinity and NaN get all their exponent bits. */
static inline float from_float16(uint16_t h)
{
    uint32_t magnitude = (uint32_t)(h & 0x7fff) << 13, sign = (uint32_t)(h & 0x8000) << 16;
    uint32_t moved = float_bits(bits_float(magnitude) * 0x1p112f);
    uint32_t special = magnitude >= 0x0f800000 ? 0x7f800000 : 0;
    return bits_float(moved | special | sign);
}

/* Rounded to nearest, ties to even.  Below 2^-14 a sum with 1/2 rounds to multiples of 2^-24; above,
 * the dropped bits carry by themselves when 0xfff and the lowest kept bit are added to them. */
static inline uint16_t to_float16(float x)
{
    uint32_t b = float_bits(x), sign = b & 0x80000000, magnitude = b ^ sign;
    uint32_t small = float_bits(bits_float(magnitude) + 0.5f) - 0x3f000000;
    uint32_t normal = (magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13;
    uint32_t large = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
    uint32_t h = magnitude < 0x38800000 ? small : magnitude < 0x47800000 ? normal : large;
    return (uint16_t)(h | sign >> 16);
}

static inline float from_bfloat16(uint16_t h)
{
    return bits_float((uint32_t)h << 16);
}

/* Rounded to nearest, ties to even; NaN stays NaN. */
static inline uint16_t to_bfloat16(float x)
{
    uint32_t b = float_bits(x), rounded = (b + 0x7fff + (b >> 16 & 1)) >> 16;
    return (uint16_t)((b & 0x7fffffff) > 0x7f800000 ? b >> 16 | 0x40 : rounded);
}

#endif
