/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Claims of devices (resource.k8s.io): what controller, scheduler and kubelet must agree on about the claims of a pod.
 * Pure, over root values of objects.
 */
#pragma once

#include "type/meta.h"

#define CLAIM_FINALIZER "resource.kubernetes.io/delete-protection" /* while devices are allocated */
#define ANN_POD_CLAIM "resource.kubernetes.io/pod-claim-name" /* of a generated claim: which of the pod's claims it is */
#define ADMIN_ACCESS_LABEL "resource.kubernetes.io/admin-access" /* of a namespace: "true" lets its claims ask for it */

enum pod_claim {
    POD_CLAIM_NAMED,   /* it has this name */
    POD_CLAIM_PENDING, /* it is not made yet */
    POD_CLAIM_NONE,    /* none is needed */
};
/* The ResourceClaim that an entry of spec.resourceClaims stands for. *ret_generated: it was made for the pod, which
 * must be its owner. */
enum pod_claim pod_resource_claim(const struct val *pod, const struct val *entry, struct str *ret_name,
                                  bool *ret_generated);
bool claim_reserved_for(const struct val *claim, struct str uid);
/* Does a setting or constraint for these requests (a LIST; empty: all) concern the result for a request ("r", or "r/sub")? */
bool requests_include(const struct val *requests, struct str request);
/* The part before "/" of a reference to a request. */
struct str base_request(struct str request);
/* Are both (results of an allocation, entries of status.devices) of the same device, or share of one? */
bool same_allocated_device(const struct val *a, const struct val *b);
/* What the driver said about a device of the claim (status.devices); NULL: nothing. */
const struct val *claim_device_status(const struct val *claim, const struct val *result);

/* Are the devices of an allocated claim ready for their pod (KEP-5007)? */
enum claim_binding { CLAIM_READY, CLAIM_WAITS, CLAIM_FAILED };
enum claim_binding claim_binding(const struct val *claim, const struct val **ret_failed);
/* Does any of its devices have conditions to wait for? */
bool claim_has_conditions(const struct val *claim);
