/* SPDX-License-Identifier: Apache-2.0 */
/* Services with their EndpointSlices, kept together by name: what service proxy and DNS both look up. */
#pragma once

#include "base/map.h"
#include "type/object.h"

/* One "ns/name". It exists while the Service or one slice that names it does. */
struct service_entry {
    const struct object *service; /* NULL: only slices so far */
    const struct object **slices; /* in no order */
    size_t n_slices;
};

struct service_index {
    struct map entries; /* "ns/name" -> struct service_entry */
};

void service_index_done(struct service_index *s);
/* Follows one change of a Service or an EndpointSlice (replica_changed's arguments). Calls touched (may be
 * NULL) with the name of each entry that is different now; usually one. */
typedef void service_touched(void *arg, struct str ns, struct str name);
void service_index_changed(struct service_index *s, const struct resource *res, const struct object *old,
                           const struct object *new_, service_touched *touched, void *arg);
const struct service_entry *service_index_get(const struct service_index *s, struct str ns, struct str name);
