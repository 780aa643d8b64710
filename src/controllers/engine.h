/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine of all controllers (D4, D6): a controller declares the kinds it reads and how an object maps to keys;
 * the engine hands it a snapshot and a key and carries out the writes it returns. reconcile is pure: no clock, no
 * socket, no log; everything it knows is in its arguments, so a table of cases tests it.
 *
 * The engine waits until the replica has seen its own last writes for a key before it reconciles that key again; that
 * takes the place of upstream's expectations. Failures are retried with back-off (5 ms doubling to 1000 s, as upstream).
 */
#pragma once

#include "client/replica.h"

struct key {
    struct str ns, name;
};

enum write_verb { WRITE_CREATE, WRITE_UPDATE, WRITE_UPDATE_STATUS, WRITE_PATCH, WRITE_PATCH_STATUS, WRITE_DELETE, WRITE_EVENT };

/* One thing to do. Carried out in order; a failure stops the rest of the list unless `may_fail` names its code. */
struct write {
    struct list link;
    enum write_verb verb;
    const struct resource *res;
    struct str ns, name;
    const char *subresource;  /* NULL, or "status", "scale", "eviction" ... beyond what the verb says */
    const struct val *body;   /* create, update; about whom for an event */
    struct str patch;         /* merge patch, JSON text */
    struct str uid;           /* delete and patch precondition */
    int64_t grace_seconds;    /* delete: -1 default */
    const char *propagation;  /* delete */
    int may_fail;             /* an HTTP code that is as good as success (404 of a delete, 409 of a create) */
    bool warning;             /* event */
    const char *reason;       /* event */
    struct str message;       /* event */
};

struct writes {
    struct arena *arena;
    struct list list;
    int64_t again_ns; /* reconcile the key again after so long even if nothing changes; 0: no */
};
struct write *writes_add(struct writes *w, enum write_verb verb, const struct resource *res, struct str ns,
                         struct str name);
void writes_event(struct writes *w, const struct resource *res, const struct val *about, bool warning,
                  const char *reason, const char *fmt, ...) PRINTF(6, 7);
void writes_again(struct writes *w, int64_t ns); /* the soonest wins */

typedef void key_sink(void *arg, struct key key);
struct controller {
    const char *name;             /* "deployment-controller": user agent, event source, log */
    const uint16_t *reads;        /* RES_xxx, ends with 0 */
    unsigned workers;             /* 0: 1 (keys in flight at once) */
    /* Which keys a changed object concerns. old or new may be NULL. */
    void (*keys_of)(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg);
    /* 0, or negative when the world makes no sense (retried). now: wall for what is written, mono for waiting. */
    int (*reconcile)(const struct snapshot *world, struct key key, struct wall now, struct writes *ret);
    int64_t resync_ns;            /* run once with an empty key every so long (garbage collector sweeps); 0: no */
};

extern const struct controller *const controllers[]; /* ends with NULL: everything the controller manager runs */

/* Runs controllers until the fiber is cancelled. names: comma list as --controllers ("*", "-name"), NULL: all. */
int controllers_run(struct client *c, const char *names, struct err *e);
