/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ConfigMaps and Secrets, one by one: a node may read only those that its Pods name, so each is followed by a watch
 * of its own, as long as some Pod holds it.
 */
#pragma once

#include "client/replica.h"

struct objects;

typedef void objects_changed(void *arg, const struct resource *res, struct str ns, struct str name);

struct objects *objects_new(struct client *c, objects_changed *changed, void *arg);
void objects_free(struct objects *o);
/* Counted: each hold needs its release. */
void objects_hold(struct objects *o, const struct resource *res, struct str ns, struct str name);
void objects_release(struct objects *o, const struct resource *res, struct str ns, struct str name);
/* Waits until it is known whether the object exists. *ret is borrowed until the next wait, NULL when it does not
 * exist. -ENOENT when nobody holds it; -ETIMEDOUT, -ECANCELED. */
int objects_get(struct objects *o, const struct resource *res, struct str ns, struct str name, struct mono deadline,
                const struct object **ret);
