/* SPDX-License-Identifier: Apache-2.0 */
/* The other stores that bench/store runs beside ours. Rates are puts per second; negative: not to be had
 * here. */
#pragma once

#include <stddef.h>

double bench_now(void);
void bench_key(char *ret, unsigned number); /* 64 bytes */

int etcd_start(const char *dir, int port); /* its process, or -1 */
void etcd_stop(int pid);
double etcd_puts(int port, int total, int flight, size_t value);

double lmdb_puts(const char *dir, int total, int group, size_t value);
double lmdb_open_and_count(const char *dir, size_t keys); /* rows per second of a whole range */
double raw_puts(const char *dir, int total, int group, size_t value);
