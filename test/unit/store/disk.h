/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A faulty disk in memory, as a door to the world: it records every change, so that a test can ask what a
 * power cut after any of them might have left behind (unsynced writes lost, torn into sectors, out of order;
 * names that came or went or did not), and it can fail a sync, run out of space or flip bits. Time is
 * virtual. One folder; one process (locks always succeed).
 */
#pragma once

#include "base/os.h"

struct disk;

struct disk *disk_new(uint64_t seed);
void disk_free(struct disk *d);
void disk_use(struct disk *d); /* as this thread's door */

/* Changes so far, and a note of the test's own in the record of them. */
size_t disk_changes(const struct disk *d);
/* What the disk holds after a power cut behind the first n changes. kindness 0..100: how much of what was not
 * synced survives. A new disk without record. */
struct disk *disk_cut(const struct disk *d, size_t n, uint64_t seed, unsigned kindness);
/* The same after the process, not the power, went: the kernel still has what was not synced, and a later
 * power cut may take it. The new disk's record begins with the first n changes. */
struct disk *disk_kill(const struct disk *d, size_t n, uint64_t seed);

/* The sync after that many fails, once; what it should have made durable never will be, though reads still
 * show it. */
void disk_fail_sync(struct disk *d, unsigned after, int error);
/* The write after that many fails, once, yet its bytes are there. */
void disk_fail_write(struct disk *d, unsigned after, int error);
void disk_set_space(struct disk *d, uint64_t bytes);   /* for all files; UINT64_MAX: plenty */
void disk_set_sync_yields(struct disk *d, unsigned n); /* how long a sync takes, in turns of the loop */
uint64_t disk_used(const struct disk *d);
/* A file's bytes, to damage them. NULL when there is none. */
char *disk_bytes(struct disk *d, const char *name, size_t *ret_n);
void disk_put_file(struct disk *d, const char *name, const void *p, size_t n);
void disk_advance(struct disk *d, int64_t ns); /* the clock */
