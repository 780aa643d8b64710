/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One priority level (KEP-1040): how many requests, in seats, are worked on at once, and who comes next. Flows are spread over
 * queues by shuffle sharding; queues take turns by start-time fair queueing, so a flow that asks much waits behind its own.
 */
#pragma once

#include "base/fiber.h"
#include "base/str.h"

enum { FLOW_FULL = 1, FLOW_TIMED_OUT = 2 };

struct flow_level_config {
    bool exempt, queues_requests;
    unsigned nominal, lendable, borrowing; /* seats; borrowing: at most so many more, UINT32_MAX: no bound */
    unsigned queues, hand, length;
};

struct flow_queue {
    struct list waiting; /* struct flow_waiter.link */
    unsigned n, in_use;  /* requests that wait; seats of those that run */
    double start;        /* virtual time of the next one's begin */
};

struct flow_level {
    char *name;
    struct str uid; /* malloc'd */
    struct flow_level_config config;
    unsigned limit; /* seats now, what is lent and borrowed counted */
    unsigned in_use, running, waiting; /* seats, requests, requests */
    unsigned asked;                    /* seats of both */
    struct flow_queue *queues;
    unsigned n_queues, hand;
    double now; /* virtual time */
    bool wanted; /* of a configuration that stands */

    /* How many seats were asked for since the last adjustment. */
    struct mono since, sampled;
    double sum, square, high, smoothed;
};

/* A request on a level. Zero before flow_enter. */
struct flow_seat {
    struct flow_level *level;
    struct flow_queue *queue;
    unsigned seats;
};

struct flow_level *flow_level_new(struct str name);
void flow_level_free(struct flow_level *l); /* nobody may be on it */
void flow_level_configure(struct flow_level *l, const struct flow_level_config *c);
void flow_level_set_limit(struct flow_level *l, unsigned seats);
bool flow_level_idle(const struct flow_level *l);

/* Waits for seats: 0, FLOW_FULL, FLOW_TIMED_OUT, or -ECANCELED. hash: of the flow. */
int flow_enter(struct flow_level *l, uint64_t hash, unsigned seats, struct mono deadline, struct flow_seat *ret);
void flow_leave(struct flow_seat *s);

/* The hand of a flow: `hand` different numbers below `queues` (hand <= 64). */
void flow_deal(uint64_t hash, unsigned queues, unsigned hand, unsigned *ret);
/* Seats asked for in the period that ends now (KEP-1040, "borrowing"), smoothed; begins a new period. */
double flow_level_demand(struct flow_level *l, struct mono now);

/* Shares `total` seats so that each gets between low and high, and else in proportion to want. */
struct flow_share {
    double low, high, want, got;
};
void flow_share_out(struct flow_share *s, size_t n, double total);
