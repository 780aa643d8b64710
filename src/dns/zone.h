/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster's zones: what the Kubernetes DNS specification 1.1.0 says about Services, endpoints and pods, answered
 * from an index that follows the replica. Answering is a pure function of the index, the options and the query.
 */
#pragma once

#include "dns/message.h"
#include "type/object.h"
#include "type/selector.h"

struct zone;

struct zone *zone_new(void);
void zone_free(struct zone *z);
/* Follows one change (client/replica.h's replica_changed). Services, EndpointSlices, Namespaces and Pods matter. */
void zone_changed(void *zone, const struct resource *res, const struct object *old, const struct object *new_);

enum zone_pods { ZONE_PODS_DISABLED, ZONE_PODS_INSECURE, ZONE_PODS_VERIFIED };

/* The `kubernetes` plug-in of a server block. */
struct zone_options {
    const char *const *zones; /* lower case, without the last dot; reverse zones among them */
    size_t n_zones;
    const char *primary; /* the one that names are made with */
    uint32_t ttl;
    enum zone_pods pods;
    bool endpoint_pod_names; /* endpoints without a hostname are named after their pods */
    bool no_endpoints;
    bool ignore_empty; /* a Service without a ready endpoint does not exist */
    const struct str *namespaces; /* only these; none: all */
    size_t n_namespaces;
    const struct selector *labels, *namespace_labels; /* of Services and Namespaces; NULL: all */
    const char *const *fall; /* what does not exist below these zones is for others to answer; "" for all */
    size_t n_fall;
    const struct str *addresses; /* our own: what NS says */
    size_t n_addresses;
};

enum zone_outcome {
    ZONE_ANSWERED = 0,
    ZONE_NOT_OURS = 1, /* ask the world */
    ZONE_ALIAS = 2,    /* an ExternalName: the CNAME is in the reply; *ret_alias must be asked of the world */
};
/* Puts the answer into the reply and its code into *ret_code. shuffle: turns the order of the addresses. */
int zone_answer(const struct zone *z, const struct zone_options *o, const struct dns_query *q, uint64_t shuffle,
                struct dns_reply *reply, enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX]);

/* The namespace of the pod whose address that is; empty: no pod has it by itself. */
struct str zone_namespace_of(const struct zone *z, struct str ip);

/* Is name (lower case) the zone or below it? */
bool dns_within(struct str name, struct str zone);
bool dns_is_reverse(const char *zone);
/* The zone of the list that name is in, the longest; NULL: none. */
const char *dns_zone_of(const char *const *zones, size_t n, struct str name);
