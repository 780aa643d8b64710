/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Extended resources that stand for devices of a class (KEP-5004): a pod that asks for "example.com/gpu: 1" gets a device
 * of the class with that extendedResourceName where no device plug-in offers the resource. Pure.
 */
#pragma once

#include "scheduler/decide.h"

#define DEVICE_CLASS_PREFIX "deviceclass.resource.kubernetes.io/" /* and the class's name: every class has this one */
#define ANN_EXTENDED_CLAIM "resource.kubernetes.io/extended-resource-claim"

/* The resources of one pod that a class stands behind, by name; at most 32. */
struct extended {
    struct extended_resource {
        struct str name;
        const struct val *class;
    } * items;
    size_t n;
};

/* NULL: there are none. */
struct extended *extended_new(const struct world *w, const struct needs *pod, struct arena *a);
bool extended_has(const struct extended *x, struct str name); /* x may be NULL */
/* Does a pod ask for anything that could be such a resource? */
bool extended_possible(const struct val *pod_spec);
/* Those that the node does not offer itself, as bits: they are to be had as devices. */
uint32_t extended_on(const struct extended *x, const struct node *node);
/* The claim for those, without a name, and which request is for which container (requestMappings). */
struct val *extended_claim(const struct extended *x, uint32_t which, const struct needs *pod, struct arena *a,
                           const struct val **ret_mappings);
