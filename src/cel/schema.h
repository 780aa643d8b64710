/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What expressions see of a custom resource: its structural schema as a declared type, with the sizes that its limits
 * (maxLength, maxItems, maxProperties, or what fits into a request at all) allow, so that a rule's worst case is known when
 * it is written. Sizes and limits are upstream's: which rules a definition may have follows from them.
 */
#pragma once

#include "cel/cel.h"
#include "type/structural.h"

#define CEL_SCHEMA_RULE_COST 10000000   /* StaticEstimatedCostLimit: one rule or message expression */
#define CEL_SCHEMA_TOTAL_COST 100000000 /* StaticEstimatedCRDCostLimit: all of a version's schema */

/* root: a resource (or embedded one): apiVersion, kind and metadata's name and generateName are always there. NULL: a schema
 * without a type, which expressions cannot see. */
const struct cel_type *cel_schema_type(struct arena *a, const struct structural *s, bool root);
/* How many values of the schema fit into a request at most: how often its rule may run where no limit above says. */
uint64_t cel_schema_cardinality(const struct structural *s, bool root);
/* How often a rule below s runs for each time that one of s does: items or properties at most; 1 for an object with fields;
 * UINT64_MAX when nothing limits it. */
uint64_t cel_schema_children(const struct structural *s);
/* "estimated rule cost exceeds budget by factor of ..." */
struct str cel_schema_cost_text(struct arena *a, const char *what, uint64_t cost, uint64_t limit);
