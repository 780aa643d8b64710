/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulated world (D5): the other side of the door base/os.h. Time is virtual and moves only when every fiber
 * waits; chance comes from a seed; the disk forgets what was not synced and can tear, refuse and fill up; sockets are
 * pipes in memory with latency. One seed, one history: a run is repeated exactly.
 */
#pragma once

#include "base/fiber.h"
#include "base/os.h"

struct sim_config {
    uint64_t seed;
    struct wall start;        /* time of day at the start; 0: 2026-01-01 */
    int64_t latency_min_ns, latency_max_ns; /* of sockets; 0: 50 us, 2 ms */
    int64_t sync_min_ns, sync_max_ns;       /* of fdatasync; 0: 100 us, 2 ms */
    uint64_t disk_bytes;      /* capacity; 0: unlimited */
    int64_t end_ns;           /* virtual time at which a run that has not ended panics; 0: 30 days */
};

/* Runs main_fn in a world of its own on this thread and returns when it has ended. */
void sim_run(const struct sim_config *config, fiber_fn *main_fn, void *arg);

/* ---- within a run --------------------------------------------------------------------------------------- */

/* A deterministic random number of the world's own, apart from os_random's stream: for faults and decisions of tests. */
uint64_t sim_below(uint64_t n);
/* Adds a line to the history. Its hash is the run's fingerprint; sim_trace_to also prints the lines. */
void sim_trace(const char *fmt, ...) PRINTF(1, 2);
/* Something that belongs to the history and is too much for a line: only its fingerprint counts. */
void sim_trace_mix(uint64_t hash);
uint64_t sim_trace_hash(void);
void sim_trace_to(int fd); /* -1: nowhere */
/* Lets the time of day jump; monotonic time goes on. */
void sim_clock_jump(int64_t ns);

/* ---- faults of the disk ----------------------------------------------------------------------------------- */

/* The power goes: what was not synced is lost, kept or torn at random, sector by sector; open files of the folder are
 * dead (every use answers -EIO) and locks are gone. */
void sim_disk_power_cut(const char *dir);
/* A process is killed: its files stay as it wrote them (the page cache lives), fds and locks are gone. */
void sim_disk_kill(const char *dir);
/* The n-th sync from now on, and `times` in a row (-1: all), fail with -EIO. */
void sim_disk_fail_syncs(unsigned after, int times);
void sim_disk_capacity(uint64_t bytes); /* 0: unlimited */
/* Removes a file, or a folder with all that is below it. */
void sim_disk_remove(const char *path);
/* Flips one bit of a file, for tests of checksums. 0 or -ENOENT, -ERANGE. */
int sim_disk_flip(const char *path, uint64_t at);

extern const struct os_ops os_sim;
