/* SPDX-License-Identifier: Apache-2.0 */
/* CRC-32C (Castagnoli, as in RFC 3720), by the processor's instruction where there is one. */
#pragma once

#include "base/base.h"

/* The checksum of p[0..n) continued from seed (0 to begin). */
uint32_t crc32c(uint32_t seed, const void *p, size_t n);
/* The same without special instructions: for machines that lack them, and to compare in tests. */
uint32_t crc32c_plain(uint32_t seed, const void *p, size_t n);
