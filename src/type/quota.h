/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ResourceQuota: what objects use and which quotas that concerns. Admission charges by it
 * (apiserver/admit_quota.c), the quota controller counts everything anew by it (controllers/quota.c), so the
 * two cannot come to different answers. Pure.
 */
#pragma once

#include "base/time.h"
#include "type/amounts.h"
#include "type/resource.h"

/* Kinds that no quota ever counts: events, what is not stored, what belongs to no namespace. */
bool quota_ignores(const struct resource *res);
/* Is that name of a quota's resources ("pods", "count/deployments.apps",
 * "gold.storageclass.storage.k8s.io/...") one that objects of the kind use? */
bool quota_counts(const struct resource *res, struct str name);
/* Does the object lie in all scopes of the quota? */
bool quota_takes(const struct val *quota, const struct resource *res, const struct val *v);
/* What the object uses. now: pods whose time to end is long over use nothing any more. */
void quota_usage(struct arena *a, const struct resource *res, const struct val *v, struct wall now,
                 struct amounts *ret);
/* When such a pod will stop to count; 0: not for being overdue. */
struct wall quota_overdue(const struct resource *res, const struct val *v);
/* Is it something that a quota may count when an object of that kind is changed? (Creation always is.) */
bool quota_watches_update(const struct resource *res, const char *sub, const struct val *old,
                          const struct val *v);
