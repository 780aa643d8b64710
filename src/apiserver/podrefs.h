/* SPDX-License-Identifier: Apache-2.0 */
/* What a pod refers to by name in its namespace: for the Node authorizer and NodeRestriction. Pure. */
#pragma once

#include "wire/value.h"

/* res: RES_SECRETS, RES_CONFIGMAPS, RES_PERSISTENTVOLUMECLAIMS, RES_SERVICEACCOUNTS, RES_RESOURCECLAIMS */
bool pod_refers(const struct val *pod, uint16_t res, struct str name);
/* The first kind of API object that the pod's spec refers to in any way, "secrets"; NULL: none. */
const char *pod_refers_any(const struct val *pod);
