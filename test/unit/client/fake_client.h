/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An API server of the mind behind struct client: objects in memory, one revision for all kinds, watches,
 * enough of the server's rules (generateName, generation, conflicts, finalizers, graceful pod deletion,
 * status subresources, binding, eviction) that controllers, scheduler and kubelet can be tested against it in
 * microseconds. It admits, defaults and validates nothing.
 */
#pragma once

#include "client/client.h"
#include "resources.h"

struct fake_client;

/* The client's name is "fake". Free it with fake_client_free (or client_free on its client). */
struct fake_client *fake_client_new(void);
void fake_client_free(struct fake_client *f);
struct client *fake_client_as(struct fake_client *f);

/* ---- the world's other hands: no client asked for these ---------------------------------------------- */

/* Creates or replaces, as it stands but for uid, creationTimestamp and revision, which are kept or made when
 * missing. Borrowed. */
const struct object *fake_put(struct fake_client *f, const struct resource *res, const struct val *v);
/* The same from relaxed text (see val_relaxed). */
const struct object *fake_put_text(struct fake_client *f, uint16_t res_index, const char *text);
bool fake_remove(struct fake_client *f, uint16_t res_index, const char *ns, const char *name); /* at once */
/* NULL when there is none. Borrowed until the next change. */
const struct object *fake_get(struct fake_client *f, uint16_t res_index, const char *ns, const char *name);
size_t fake_count(struct fake_client *f, uint16_t res_index);
/* The i-th object in key order, NULL beyond the end. */
const struct object *fake_at(struct fake_client *f, uint16_t res_index, size_t i);
int64_t fake_revision(struct fake_client *f);

/* ---- trouble and observation ------------------------------------------------------------------------- */

/* Asked before every call (not watches): a code other than 0 is the answer, with what it put into s. */
typedef int fake_hook(void *arg, uint16_t verb, const struct call *call, const struct val *body,
                      struct status *s);
void fake_client_hook(struct fake_client *f, fake_hook *hook, void *arg);
/* Ends every watch as a server does that goes away (-EPIPE), or with 410 to make clients list again. */
void fake_break_watches(struct fake_client *f, bool expired);
/* While true, watches deliver nothing: to see what happens when a replica lags. */
void fake_hold_watches(struct fake_client *f, bool hold);
/* Every write so far as "create pods ns/name", "patch nodes name status", one a line; then forgotten. */
struct str fake_log(struct fake_client *f, struct arena *a);

/* ---- texts ------------------------------------------------------------------------------------------- */

/* JSON with less noise: words without blanks and {}[],:'" need no quotes, ' is as good as ", a comma may be
 * one too many. Fails the test when
 * it does not parse. type NULL: untyped. */
struct val *val_relaxed(struct arena *a, const struct type *type, const char *text);
/* An object of a kind that nobody stores. */
struct object *object_relaxed(uint16_t res_index, const char *text);
