#include "core/pack.h"

#define FRACTION 52 /* bits of a double's fraction */
#define INFINITE 0x7FF
#define BIAS     1023

const struct lintelp_binary lintelp_half = {5, 10};
const struct lintelp_binary lintelp_single = {8, 23};

uint64_t lintelp_double_bits(const struct lintel_value *value)
{
    double f;
    uint64_t bits;

    if (value->kind == LINTEL_FLOAT)
        return value->as.u;
    f = value->kind == LINTEL_INT ? (double)value->as.i : (double)value->as.u;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* x / 2^shift to nearest, ties to even; shift is 1 to 63. */
static uint64_t divide(uint64_t x, unsigned shift)
{
    uint64_t half = (uint64_t)1 << (shift - 1);
    uint64_t rest = x & ((half << 1) - 1);
    uint64_t quotient = x >> shift;

    if (rest > half || (rest == half && (quotient & 1) != 0))
        quotient++;
    return quotient;
}

/* The upper bits of its fraction; where none is set there, it is quiet and still no infinity. */
static uint64_t narrow_nan(const struct lintelp_binary *binary, uint64_t fraction)
{
    uint64_t kept = fraction >> (FRACTION - binary->fraction);

    return kept != 0 ? kept : (uint64_t)1 << (binary->fraction - 1);
}

uint64_t lintelp_narrow(const struct lintelp_binary *binary, uint64_t bits, int *overflow)
{
    const uint64_t infinity = (((uint64_t)1 << binary->exponent) - 1) << binary->fraction;
    const int bias = (1 << (binary->exponent - 1)) - 1;
    const unsigned drop = FRACTION - binary->fraction;
    uint64_t sign = bits >> 63 << (binary->exponent + binary->fraction);
    uint64_t fraction = bits & (((uint64_t)1 << FRACTION) - 1);
    int exponent = (int)(bits >> FRACTION & INFINITE);
    uint64_t magnitude;

    if (exponent == INFINITE && fraction == 0)
        return sign | infinity;
    if (exponent == INFINITE)
        return sign | infinity | narrow_nan(binary, fraction);
    if (exponent == 0)
        return sign; /* the least double is far below half of the least single */

    fraction |= (uint64_t)1 << FRACTION;
    exponent += bias - BIAS;
    if (exponent < -(int)binary->fraction)
        return sign;
    if (exponent < 1) /* subnormal; rounding up to a normal number carries by itself */
        return sign | divide(fraction, drop + 1 + (unsigned)-exponent);
    magnitude = divide(fraction, drop) + ((uint64_t)(exponent - 1) << binary->fraction);
    if (magnitude < infinity)
        return sign | magnitude;
    *overflow = 1;
    return sign | infinity;
}

uint64_t lintelp_widen(const struct lintelp_binary *binary, uint64_t bits)
{
    const uint64_t implicit = (uint64_t)1 << binary->fraction;
    const int last = (1 << binary->exponent) - 1;
    const int bias = (1 << (binary->exponent - 1)) - 1;
    const unsigned add = FRACTION - binary->fraction;
    uint64_t sign = bits >> (binary->exponent + binary->fraction) << 63;
    uint64_t fraction = bits & (implicit - 1);
    int exponent = (int)(bits >> binary->fraction) & last;

    if (exponent == last)
        return sign | (uint64_t)INFINITE << FRACTION | fraction << add;
    if (exponent == 0 && fraction == 0)
        return sign;
    if (exponent == 0) {
        exponent = 1;
        while ((fraction & implicit) == 0) {
            fraction <<= 1;
            exponent--;
        }
        fraction &= implicit - 1;
    }
    return sign | (uint64_t)(exponent - bias + BIAS) << FRACTION | fraction << add;
}
