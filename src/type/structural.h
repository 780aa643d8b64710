/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Structural schemas (KEP-1693) of custom resources, compiled from a CustomResourceDefinition: what fields there are, which
 * are kept, which have defaults, and what apply sees in them. A custom object is a VAL_MAP as its JSON has it (of a type with
 * TYPE_OPEN, see custom_type); metadata alone is typed. Pure.
 */
#pragma once

#include "wire/json.h"
#include "wire/schema.h"

enum structural_type {
    STRUCTURAL_ANY, /* no type is said */
    STRUCTURAL_OBJECT,
    STRUCTURAL_ARRAY,
    STRUCTURAL_STRING,
    STRUCTURAL_INTEGER,
    STRUCTURAL_NUMBER,
    STRUCTURAL_BOOLEAN,
};

enum structural_list { STRUCTURAL_ATOMIC, STRUCTURAL_SET, STRUCTURAL_MAP };

struct structural_member {
    struct str name;
    const struct structural *schema;
    struct arena *arena; /* see custom_type_init_later; NULL: the schema is there */
    const struct val *props;
};

struct structural {
    uint8_t type; /* enum structural_type */
    uint8_t list; /* enum structural_list, of an array */
    bool nullable, keep_unknown, embedded, int_or_string;
    bool any_additional; /* additionalProperties: true */
    bool embeds;         /* it is embedded, or something below it is */
    bool atomic_map;
    const struct structural_member *members; /* by name */
    size_t n_members;
    const struct structural *additional, *items; /* NULL: none */
    const struct val *list_keys;                 /* LIST of names; NULL: none */
    const struct val *default_value;             /* plain; NULL: none */
    struct structural_rules *rules;              /* what values may be; NULL: anything */
};

/* Value validations; which is said is in `has`. */
enum {
    RULE_MINIMUM = 1 << 0,
    RULE_MAXIMUM = 1 << 1,
    RULE_ABOVE = 1 << 2, /* the minimum itself is too small */
    RULE_BELOW = 1 << 3,
    RULE_MULTIPLE = 1 << 4,
    RULE_MIN_LENGTH = 1 << 5,
    RULE_MAX_LENGTH = 1 << 6,
    RULE_MIN_ITEMS = 1 << 7,
    RULE_MAX_ITEMS = 1 << 8,
    RULE_MIN_MEMBERS = 1 << 9,
    RULE_MAX_MEMBERS = 1 << 10,
    RULE_UNIQUE = 1 << 11,
};
struct structural_rules {
    unsigned has;
    double minimum, maximum, multiple_of;
    int64_t min_length, max_length, min_items, max_items, min_members, max_members;
    struct str pattern, format;       /* empty: none */
    const struct val *required;       /* LIST of names */
    const struct val *enums;          /* LIST of plain values */
    const struct structural **all, **any, **one; /* NULL-terminated; NULL: none */
    const struct structural *not_;
    const struct val *expressions;    /* x-kubernetes-validations as they stand in the definition */
    void *compiled;                   /* of whoever evaluates expressions and patterns (apiserver/custom_cel.h) */
};

/* From a JSONSchemaProps of the API tables, which must outlive it; in the arena. NULL props: a schema that keeps anything. */
const struct structural *structural_compile(struct arena *a, const struct val *props);

/* The schema of a property; NULL when there is none of that name. */
const struct structural *structural_property(const struct structural *s, struct str name);
/* The same, or that of additional ones. */
const struct structural *structural_member(const struct structural *s, struct str name);

/* Drops what the schema does not know, in place; problems (may be NULL) hears of each: `unknown field "spec.x"`. root: kind,
 * apiVersion and metadata are known. */
void structural_prune(struct arena *a, const struct structural *s, struct val *v, bool root, struct json_report *problems);
/* Reads the metadata of resources within as ObjectMeta and drops what that does not have, in place. -EINVAL for what cannot be read. */
int structural_embed(struct arena *a, const struct structural *s, struct val *v, struct json_report *problems, struct err *e);
/* Sets defaults, in place; nulls that may not be there give way to them. */
void structural_default(struct arena *a, const struct structural *s, struct val *v);

/* ---- the type of a kind -------------------------------------------------------------------------------- */

struct custom_type {
    struct type type; /* what struct resource points to; flags TYPE_OPEN */
    const struct structural *schema;
    struct arena *arena; /* see custom_type_init_later; NULL: the schema is there */
    const struct val *props;
};
void custom_type_init(struct custom_type *t, const char *kind, const struct structural *schema);
/* The schema is compiled into the arena when it is first asked for: many kinds have no objects. props (JSONSchemaProps) lives as long.
 * One thread asks. */
void custom_type_init_later(struct custom_type *t, const char *kind, struct arena *a, const struct val *props);
/* The schema of an open type; NULL for any other. */
const struct structural *type_schema(const struct type *t);
