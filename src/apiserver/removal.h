/* SPDX-License-Identifier: Apache-2.0 */
/* What kinds differ in when they are deleted. */
#pragma once

#include "type/resource.h"

enum removal_flags {
    RETURNS_DELETED = 1 << 0, /* DELETE answers with the object, not with a Status */
    ORPHANS = 1 << 1,         /* by default its dependents are orphaned */
    NO_GARBAGE = 1 << 2,      /* propagation policies mean nothing */
    GRACEFUL = 1 << 3,        /* pods: deletion waits for the kubelet */
    SPEC_FINALIZERS = 1 << 4, /* namespaces */
};
unsigned removal_flags(const struct resource *r);
