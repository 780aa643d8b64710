/* SPDX-License-Identifier: Apache-2.0 */
#include "store/crc32c.h"

#include <endian.h>
#include <pthread.h>

enum { SLICES = 8 };

static uint32_t table[SLICES][256];
static pthread_once_t table_once = PTHREAD_ONCE_INIT;

static void table_fill(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? c >> 1 ^ 0x82f63b78u : c >> 1;
        table[0][i] = c;
    }
    for (int t = 1; t < SLICES; t++)
        for (int i = 0; i < 256; i++)
            table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 255];
}

uint32_t crc32c_plain(uint32_t seed, const void *data, size_t n)
{
    pthread_once(&table_once, table_fill);
    const unsigned char *p = data;
    uint64_t c = ~seed;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        v = le64toh(v) ^ c;
        c = 0;
        for (int i = 0; i < 8; i++)
            c ^= table[7 - i][v >> 8 * i & 255];
    }
    for (; n; n--, p++)
        c = c >> 8 ^ table[0][(c ^ *p) & 255];
    return ~(uint32_t)c;
}

#ifdef __x86_64__
__attribute__((target("sse4.2"))) static uint32_t crc32c_sse(uint32_t seed, const void *data, size_t n)
{
    const unsigned char *p = data;
    uint64_t c = ~seed;
    for (; n >= 8; n -= 8, p += 8) {
        uint64_t v;
        memcpy(&v, p, 8);
        c = __builtin_ia32_crc32di(c, v);
    }
    for (; n; n--, p++)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p);
    return ~(uint32_t)c;
}

uint32_t crc32c(uint32_t seed, const void *p, size_t n)
{
    return __builtin_cpu_supports("sse4.2") ? crc32c_sse(seed, p, n) : crc32c_plain(seed, p, n);
}
#else
uint32_t crc32c(uint32_t seed, const void *p, size_t n)
{
    return crc32c_plain(seed, p, n);
}
#endif
