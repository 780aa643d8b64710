/* SPDX-License-Identifier: Apache-2.0 */
/* A cluster made of texts, for table tests of reconcile functions: what is, and what it makes a controller
 * write. */
#pragma once

#include "client/fake_client.h"
#include "controllers/engine.h"
#include "type/structural.h"

struct world;

struct world *world_new(void);
void world_free(struct world *w);
/* Puts an object (relaxed JSON, see fake_client.h); the same name replaces it. uid and resourceVersion are
 * made up when missing. */
const struct object *world_add(struct world *w, uint16_t res_index, const char *text);
const struct object *world_addf(struct world *w, uint16_t res_index, const char *fmt, ...) PRINTF(3, 4);
/* A kind beyond those compiled in; its slot, for saying that it was not listed yet or has gone. */
struct snapshot_slot *world_custom(struct world *w, const struct resource *res);
const struct resource *world_things(struct custom_type *type); /* one for that: things.example.com of type; the last call's holds */
const struct object *world_put(struct world *w, const struct resource *res, const char *text);
void world_remove(struct world *w, uint16_t res_index, const char *ns, const char *name);
const struct object *world_get(struct world *w, uint16_t res_index, const char *ns, const char *name);
const struct snapshot *world_snapshot(struct world *w);
extern struct wall world_now; /* 2026-01-01T00:00:00Z */
struct wall world_time(const char *text);

/* From now on the controller's `changed` is told of every change. */
void world_follow(struct world *w, const struct controller *c);

/* What the controller's gather hands over from now on; borrowed. */
void world_gather(struct world *w, const void *gathered);

/* Reconciles a key and says what it returned, one write a line, valid until the next call:
 *     create pods default/[name]      status replicasets default/web {"replicas":1}
 *     patch pods default/a {"x":1}    delete pods default/a
 *     event Normal Reason text        again 5s
 *     error -22 */
const char *world_reconcile(struct world *w, const struct controller *c, const char *key);
/* The same when a write was refused: the index-th write of the last reconcile. */
const char *world_refuse(struct world *w, const struct controller *c, const char *key, size_t index, int code,
                         const char *message);
/* The writes of the last call. */
const struct write *world_write(struct world *w, size_t index);
const struct write *world_find(struct world *w, enum write_verb verb); /* the first of that verb, or NULL */
/* Of the status that the last call writes; -1 when it writes none. */
int64_t world_status(struct world *w, name_id name);
/* The ControllerRevision that the last call makes first of all, which the world has from now on; NULL when it
 * makes something else. */
const struct val *world_keep_revision(struct world *w);
/* Carries out the writes of the last call on the world, as a server would (no watches, no finalizers). */
void world_apply(struct world *w);
struct controllers_config *world_config(struct world *w);
/* The keys that a change concerns, in order of their finding, each once: "default/a default/b". */
const char *world_keys(struct world *w, const struct controller *c, const struct object *old,
                       const struct object *new_);
