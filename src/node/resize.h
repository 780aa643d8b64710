/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changing the resources of a Pod while it runs (KEP-1287, KEP-2837): what differs, what is in force, what is said of it.
 * Pure.
 *
 * Three things are told apart: what the spec wants, what the node has granted (allocated: the Pod that everything here
 * works with has those resources in its spec), and what is in force (actuated). Granted and in force are remembered in
 * memory alone: after a restart they are read from what the API has as status (allocatedResources, resources) and from
 * what the runtime says of its containers. A checkpoint file like upstream's would only repeat these.
 */
#pragma once

#include "node/pod.h"
#include "node/podstate.h"
#include "node/qos.h"

/* What of a container or Pod can be resized, in the kernel's units; 0: not set. */
struct resize_amounts {
    int64_t cpu_request, cpu_limit; /* milli */
    int64_t memory_request, memory_limit;
};

/* own: of the container; without limits of its own it is held by those of the Pod as a whole. Both may be NULL. */
struct resize_amounts resize_amounts_of(const struct val *whole, const struct val *own);
bool resize_same(const struct resize_amounts *a, const struct resize_amounts *b);

/* Do the two ask for different resources, in a container or as a whole? */
bool resize_differs(const struct val *pod, const struct val *other);
/* The Pod with the resources that the other has, by name of container. Shares all else; pod itself when nothing differs. */
const struct val *resize_with(struct arena *a, const struct val *pod, const struct val *other);
/* After a restart: the Pod with the resources that it was granted before, by its status. */
const struct val *resize_recall(struct arena *a, const struct val *pod);
/* Does a resize not increase what is requested? Such are always granted. */
bool resize_shrinks(const struct val *granted, const struct val *wanted);

/* What is in force for a container, as its status tells it: granted, except for what the runtime and `actuated` (may be
 * NULL) say. */
struct val *resize_in_force(struct arena *a, const struct val *granted, const struct rt_container *c,
                            const struct val *actuated);
/* The same for the Pod as a whole, from the limits of its cgroup. */
struct val *resize_pod_in_force(struct arena *a, const struct val *pod, const struct cgroup_limits *l);
/* What is granted to the Pod as a whole: requests and limits summed up. list: N_requests or N_limits; a MAP. */
struct val *resize_sum(struct arena *a, const struct val *pod, name_id list);

/* Does the change of one resource ("cpu", "memory") need a restart of the container? */
bool resize_restarts(const struct val *container, const char *resource);

/* "<prefix>: {...}": upstream's summary of the resources wanted, for events. */
struct str resize_message(struct arena *a, const struct val *pod, const char *prefix, int64_t generation, struct str error);
