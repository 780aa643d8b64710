/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CEL selectors of dynamic resource allocation (DeviceClass.spec.selectors, ResourceClaim requests' selectors):
 * an expression over `device`, compiled once and matched against many devices.
 *
 *     device.driver                      string
 *     device.allowMultipleAllocations    bool
 *     device.attributes[domain].name     int, bool, string, semver or a list of them
 *     device.capacity[domain].name       quantity
 *
 * A name without a domain is in the driver's; a domain that the device lacks is an empty map, a name that it lacks is
 * an error ("no such key"), as KEP-4381 has it.
 */
#pragma once

#include "base/err.h"
#include "wire/value.h"

/* resource.k8s.io/v1: CELSelectorExpressionMaxCost (run time and worst case) and ...MaxLength (bytes). */
#define DRA_SELECTOR_MAX_COST 1000000
#define DRA_SELECTOR_MAX_LENGTH 10240

struct dra_selector; /* immutable; may be used by several threads at once */

/* 0, or -EINVAL with what validation says of such an expression ("compilation failed: ERROR: <input>:1:5: ...",
 * "must evaluate to bool or the unknown type, not int"). */
int dra_selector_compile(struct str expr, struct dra_selector **ret, struct err *e);
/* What it may cost at worst: validation refuses more than DRA_SELECTOR_MAX_COST ("too complex, exceeds cost limit"). */
uint64_t dra_selector_max_cost(const struct dra_selector *s);
/* Matches a resource.k8s.io/v1 Device of that driver. 0, or -EINVAL with why the evaluation failed: then upstream's
 * scheduler gives up on the claim (it does not skip the device). */
int dra_selector_match(const struct dra_selector *s, struct str driver, const struct val *device, bool *ret_match,
                       struct err *e);
struct dra_selector *dra_selector_ref(struct dra_selector *s);
struct dra_selector *dra_selector_unref(struct dra_selector *s); /* returns NULL */
