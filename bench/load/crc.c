#include "crc.h"

#include <string.h>

#define POLYNOMIAL 0xedb88320u

static uint32_t by_table(uint32_t state, const uint8_t *data, size_t length) {
    static uint32_t table[256];
    if (!table[1])
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t value = i;
            for (int bit = 0; bit < 8; bit++) value = value & 1 ? value >> 1 ^ POLYNOMIAL : value >> 1;
            table[i] = value;
        }
    while (length--) state = table[(state ^ *data++) & 255] ^ state >> 8;
    return state;
}

#ifdef __x86_64__
#include <immintrin.h>

#define LOAD(p) _mm_loadu_si128((const __m128i *)(p))
#define FOLD(x, k, next)                                                                                               \
    _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(x, k, 0x00), _mm_clmulepi64_si128(x, k, 0x11)), next)

/*
 * Folding with carry-less multiplication. V. Gopal et al., "Fast CRC Computation for Generic Polynomials Using
 * PCLMULQDQ Instruction", Intel 2009; the constants are the paper's for this polynomial. `length`: 64 at least, of 16.
 */
__attribute__((target("pclmul,sse4.1"))) static uint32_t by_folding(uint32_t state, const uint8_t *data,
                                                                    size_t length) {
    const __m128i by_512 = _mm_set_epi64x(0x01c6e41596, 0x0154442bd4),
                  by_128 = _mm_set_epi64x(0x00ccaa009e, 0x01751997d0);
    const __m128i by_64 = _mm_set_epi64x(0, 0x0163cd6124), barrett = _mm_set_epi64x(0x01f7011641, 0x01db710641);
    const __m128i low_halves = _mm_setr_epi32(~0, 0, ~0, 0);
    __m128i a = _mm_xor_si128(LOAD(data), _mm_cvtsi32_si128((int)state));
    __m128i b = LOAD(data + 16), c = LOAD(data + 32), d = LOAD(data + 48);
    for (data += 64, length -= 64; length >= 64; data += 64, length -= 64) {
        a = FOLD(a, by_512, LOAD(data));
        b = FOLD(b, by_512, LOAD(data + 16));
        c = FOLD(c, by_512, LOAD(data + 32));
        d = FOLD(d, by_512, LOAD(data + 48));
    }
    a = FOLD(a, by_128, b);
    a = FOLD(a, by_128, c);
    a = FOLD(a, by_128, d);
    for (; length >= 16; data += 16, length -= 16) a = FOLD(a, by_128, LOAD(data));
    a = _mm_xor_si128(_mm_srli_si128(a, 8), _mm_clmulepi64_si128(a, by_128, 0x10));
    a = _mm_xor_si128(_mm_srli_si128(a, 4), _mm_clmulepi64_si128(_mm_and_si128(a, low_halves), by_64, 0x00));
    b = _mm_and_si128(_mm_clmulepi64_si128(_mm_and_si128(a, low_halves), barrett, 0x10), low_halves);
    return (uint32_t)_mm_extract_epi32(_mm_xor_si128(a, _mm_clmulepi64_si128(b, barrett, 0x00)), 1);
}

uint32_t crc32_more(uint32_t crc, const void *data, size_t length) {
    const uint8_t *at = data;
    uint32_t state = ~crc;
    if (length >= 64 && __builtin_cpu_supports("pclmul")) {
        size_t folded = length & ~(size_t)15;
        state = by_folding(state, at, folded);
        at += folded;
        length -= folded;
    }
    return ~by_table(state, at, length);
}
#else
uint32_t crc32_more(uint32_t crc, const void *data, size_t length) { return ~by_table(~crc, data, length); }
#endif

/* a * b modulo the polynomial, bits reflected; `a` is not 0. */
static uint32_t multiply(uint32_t a, uint32_t b) {
    uint32_t product = 0;
    for (uint32_t bit = 1u << 31;; bit >>= 1) {
        if (a & bit) {
            product ^= b;
            if (!(a & (bit - 1))) return product;
        }
        b = b & 1 ? b >> 1 ^ POLYNOMIAL : b >> 1;
    }
}

uint32_t crc32_join(uint32_t first, uint32_t second, uint64_t second_length) {
    uint32_t shift = 1u << 31, square = 1u << 23; /* x^0 and x^8 */
    for (; second_length; second_length >>= 1, square = multiply(square, square))
        if (second_length & 1) shift = multiply(square, shift);
    return multiply(shift, first) ^ second;
}

void crc32_base64(uint32_t crc, char out[9]) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint64_t bits = (uint64_t)crc << 4; /* 32 bits are six digits with four bits to spare */
    for (int i = 5; i >= 0; i--, bits >>= 6) out[i] = digits[bits & 63];
    memcpy(out + 6, "==", 3);
}
