/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who manages which fields (metadata.managedFields): kept by every write, and what server-side apply merges by (KEP-555).
 * Pure; `now` is what entries that change are stamped with.
 */
#pragma once

#include "base/time.h"
#include "type/status.h"
#include "type/typed.h"

struct managed_request {
    const struct type *type;  /* of the objects: the version that was asked for */
    struct str api_version;
    struct str manager;       /* empty: "unknown" */
    const char *subresource;  /* NULL: the object itself */
    const struct fieldset *not_ours; /* what a write to this subresource leaves alone; NULL: nothing */
    struct wall now;
    /* The object in another version of its kind, with its type; NULL when none of that name is served, and who manages
     * it then manages nothing. Without it all versions are alike. */
    const struct val *(*in_version)(const struct managed_request *r, struct arena *a, struct str version, const struct val *v,
                                    const struct type **ret);
    void *arg; /* for in_version */
};

/* managedFields of `v`, which takes the place of `live` (NULL: it is new). Sent ones count when they can be read; an empty
 * entry resets them. NULL: none. */
const struct val *managed_update(struct arena *a, const struct managed_request *r, const struct val *live,
                                 const struct val *v);

/* Of the managers of an object (r: its own version) those that have spec.replicas, as managers of its Scale; and back, when
 * `scale` has become of them: who is no longer there has lost the field. NULL: none. */
const struct val *managed_to_scale(struct arena *a, const struct managed_request *r, const struct val *live);
const struct val *managed_from_scale(struct arena *a, const struct managed_request *r, const struct val *live,
                                     const struct val *scale);

/* Applies a configuration (plain) onto live (typed; NULL: there is none). *ret is plain, without managedFields, which
 * are in *ret_managed. 0, 409 with the conflicts, 400, 500. */
int managed_apply(struct arena *a, const struct managed_request *r, const struct val *live, const struct val *config,
                  bool force, const struct val **ret, const struct val **ret_managed, struct status *s);
