/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a request's host and path to who serves it, as the Ingress API has it. Pure: rules in, decision out.
 *
 * The host decides first: an exact one, else a wildcard for one more label, else the rules without a host. Within it the
 * longest path decides; of equal ones Exact goes before Prefix. Of two rules alike the one that was added first counts.
 * ImplementationSpecific is Prefix. A host's own default comes next, then the default of all.
 *
 * Paths are compared in one canonical form (RFC 3986 section 6.2.2), in which both the rule's and the request's are put:
 * escapes of what needs none are undone, others are upper case. What may mean different paths to different readers is no
 * path at all: dot segments, also escaped ones, backslashes, NUL, bad escapes.
 */
#pragma once

#include "base/arena.h"
#include "base/map.h"

enum path_type { PATH_PREFIX, PATH_EXACT };

struct router;
struct router *router_new(void);
void router_free(struct router *r);

/* host: "", "example.org" or "*.example.org". target: the caller's, not NULL. 0; -EINVAL: host or path is none; -EEXIST: a rule
 * alike was there. */
int router_add(struct router *r, struct str host, enum path_type type, struct str path, void *target);
/* For what no path of that host matches; host NULL: for everything else. -EEXIST when there is one. */
int router_add_default(struct router *r, const struct str *host, void *target);
/* Both in canonical form. NULL: nobody. */
void *router_find(const struct router *r, struct str host, struct str path);

/* Lower case, without port and last dot; the room is for a name of DNS or an address. -EINVAL when it is neither. */
enum { PATH_RULE_MAX = 1024 };
#define HOST_MAX 256
int host_canonical(struct str host, char ret[static HOST_MAX]);
/* Of a request target without its query; begins with '/'. In the arena; -EINVAL. */
int path_canonical(struct arena *a, struct str path, struct str *ret);
