/* SPDX-License-Identifier: Apache-2.0 */
/* Which pod, and which of its containers, a person means. */
#pragma once

#include "cli/kinds.h"

/* What the pod is wanted for decides which of several is the best. */
enum pod_use { POD_LOGS, POD_ATTACH };

/* "web", "deploy/web", or with two operands "deploy web": the object itself, untyped. 0 or 1. */
int pod_owner(struct cli *c, const char *type_or_name, const char *name, const struct kind **ret_kind, struct val **ret);
/* The pod, or the best of the workload's pods; waits until there is one. *ret_n (may be NULL): how many it was chosen
 * from. what: "attach to", "get the logs from". 0 or 1. */
int pod_of(struct cli *c, const struct kind *k, struct val *v, enum pod_use use, int64_t timeout, const char *what,
           struct val **ret, size_t *ret_n);
/* All pods of a workload, best first. 0 or 1. */
int pods_of(struct cli *c, const struct kind *k, const struct val *v, enum pod_use use, int64_t timeout, const char *what,
            const struct val *const **ret, size_t *ret_n);
/* The label selector of a workload or service, as a query's text. 0 or 1. */
int pod_selector(struct cli *c, const struct kind *k, const struct val *v, const char *what, struct str *ret);

/* The container of that name among all kinds of containers; NULL when there is none. */
const struct val *pod_container(const struct val *pod, struct str name);
bool pod_container_is_ephemeral(const struct val *pod, struct str name);
/* The one that is meant: by name, by annotation, or the first (said unless quiet). 0 or 1. */
int pod_default_container(struct cli *c, const struct val *pod, const char *name, bool quiet, const struct val **ret);
struct str pod_container_names(struct cli *c, const struct val *pod); /* "a, b, c (init)" */

bool pods_is_ready(const struct val *pod);
