/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The cluster's zone: what the Kubernetes DNS specification 1.1.0 says about Services, endpoints and pods, answered
 * from an index that follows the replica. Answering is a pure function of the index and the query.
 */
#pragma once

#include "dns/message.h"
#include "type/object.h"

struct zone;

struct zone *zone_new(const char *domain, uint32_t ttl); /* "cluster.local" */
void zone_free(struct zone *z);
/* Follows one change (client/replica.h's replica_changed). Services, EndpointSlices and Namespaces matter. */
void zone_changed(void *zone, const struct resource *res, const struct object *old, const struct object *new_);

enum zone_outcome {
    ZONE_ANSWERED = 0,
    ZONE_NOT_OURS = 1, /* ask the world */
    ZONE_ALIAS = 2,    /* an ExternalName: the CNAME is in the reply; *ret_alias must be asked of the world */
};
/* Puts the answer into the reply and its code into *ret_code. shuffle: a random number that orders the addresses. */
int zone_answer(const struct zone *z, const struct dns_query *q, uint64_t shuffle, struct dns_reply *reply,
                enum dns_code *ret_code, char ret_alias[static DNS_NAME_MAX]);
