/* SPDX-License-Identifier: Apache-2.0 */
/* What the rules of types cannot know about devices (resource.k8s.io): whether the namespace allows admin access, who
 * may write which part of a claim's status (KEP-4817), and whether CEL selectors can be compiled. */
#pragma once

#include "apiserver/request.h"

/* Adds causes to the request's status. old: NULL for a create. */
void check_devices(struct request *r, const struct resource *res, const char *sub, const struct val *v,
                   const struct val *old);
