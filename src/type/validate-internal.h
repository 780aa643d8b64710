/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Validation: a walk over an object along its type. Simple rules (nonempty, enum, min, max, format, immutable
 * ...) are in the tables; a type that needs more has a rule here, called for every value of the type wherever
 * it stands, parents before children. Paths are built on the stack and printed only when something is wrong.
 */
#pragma once

#include "names.h"
#include "type/check.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "type/strategy.h"
#include "types.h"

struct vpath {
    const struct vpath *up;
    name_id name;     /* ".name"; or */
    const char *text; /* ".text", where upstream's path has a word that is no field; or */
    bool keyed;       /* "[key]"; or */
    int32_t index;    /* "[index]" when name is 0 */
    struct str key;
};

#define AT(p, id) (&(const struct vpath){.up = (p), .name = (id)})
#define AT_TEXT(p, t) (&(const struct vpath){.up = (p), .text = (t)})
#define ITEM(p, i) (&(const struct vpath){.up = (p), .index = (int32_t)(i)})
#define KEY(p, k) (&(const struct vpath){.up = (p), .keyed = true, .key = (k)})

void vpath_print(struct buf *b, const struct vpath *p);

/* The keys of a MAP. */
#define EACH_KEY(map, k)                                                                                     \
    VAL_EACH_ENTRY (map, k, k##_value)                                                                       \
        if ((void)k##_value, true)

struct validation {
    struct status *s;
    const struct resource *res;
    const char *subresource;     /* NULL for none */
    const struct val *obj, *old; /* roots; old NULL on create */
    const struct val *pod;       /* the PodSpec being walked, and where it stands */
    const struct vpath *pod_at;
    const struct val *pod_meta;        /* metadata of the Pod or template */
    const struct val *old_pod;         /* the PodSpec there was, if any */
    const struct val *claim_templates; /* of a StatefulSet: their names are volumes, too */
    bool in_template;                  /* the PodSpec is a template's */
};

/* v: the value, never NULL; old: what stood there before the update, NULL when nothing did or on create. */
typedef void rule_fn(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old);

enum rule_flags {
    RULE_OWN = 1, /* the tables' rules for the type's own fields are off: the function says all */
};
struct rule {
    uint16_t type; /* T_xxx; 0 ends a table */
    uint16_t flags;
    rule_fn *fn;
};

extern const struct rule rules_admin[], rules_admission[], rules_apps[], rules_batch[], rules_container[], rules_core[],
    rules_crd[], rules_flow[], rules_meta[], rules_net[], rules_node[], rules_other[], rules_pod[], rules_rbac[],
    rules_resource[], rules_service[], rules_storage[], rules_volume[];

/* Walks v, of type t, that stands at p. For values that the walk from the root does not reach by itself. */
void validate_value(struct validation *x, const struct type *t, const struct vpath *p, const struct val *v,
                    const struct val *old);

/* Has anything at p or below it been complained about? */
bool has_faults(struct validation *x, const struct vpath *p);

/* Complaints. `detail` may be NULL. */
void say_required(struct validation *x, const struct vpath *p, const char *detail);
void say_invalid(struct validation *x, const struct vpath *p, const struct val *v, const char *detail);
void say_invalid_str(struct validation *x, const struct vpath *p, struct str s, const char *detail);
void say_forbidden(struct validation *x, const struct vpath *p, const char *detail);
void say_duplicate(struct validation *x, const struct vpath *p, const struct val *v);
void say_unsupported(struct validation *x, const struct vpath *p, const struct val *v,
                     const char *const *supported);
void say_not_found(struct validation *x, const struct vpath *p, const struct val *v);
void say_too_long(struct validation *x, const struct vpath *p, size_t max);
void say_too_many(struct validation *x, const struct vpath *p, size_t n, size_t max);

/* Rules of common shapes. */
void check_text(struct validation *x, const struct vpath *p, struct str s,
                check_fn *fn); /* Invalid for each fault */
void check_labels(struct validation *x, const struct vpath *p, const struct val *map);
void check_template_meta(struct validation *x, const struct vpath *p, const struct val *meta);
void check_range(struct validation *x, const struct vpath *p, const struct val *v, int64_t min, int64_t max);
void check_same(struct validation *x, const struct vpath *p, const struct val *v,
                const struct val *old); /* immutable */
void check_relative_path(struct validation *x, const struct vpath *p,
                         struct str path); /* no "..", not absolute */
/* No two items have the same string there: Duplicate at item.name; name 0: the items are strings themselves.
 */
void check_unique(struct validation *x, const struct vpath *p, const struct val *list, name_id name);
/* The same, but what is said is said of the item. */
void check_unique_items(struct validation *x, const struct vpath *p, const struct val *list, name_id name);
void check_object_meta(struct validation *x, const struct vpath *p, const struct val *meta, bool namespaced,
                       check_fn *name);
void check_quantity(struct validation *x, const struct vpath *p, const struct val *q); /* not negative */
/* An amount of a resource: not negative, whole for resources that cannot be divided. */
void check_resource_amount(struct validation *x, const struct vpath *p, struct str resource,
                           const struct val *q);
void check_container_resource_name(struct validation *x, const struct vpath *p, struct str s);
void check_resource_name(struct validation *x, const struct vpath *p,
                         struct str s); /* qualified, standard or prefixed */
bool is_hugepages(struct str resource);
bool is_standard_resource(struct str resource); /* a name without a domain that resources, quotas and limits know */
bool is_extended_resource(struct str resource);
bool str_in(struct str s, const char *const *words); /* words end with NULL */
/* "25%" and numbers as an int-or-percent field wants them. */
void check_int_or_percent(struct validation *x, const struct vpath *p, const struct val *v);
bool int_or_percent_is_zero(const struct val *v);
void check_at_most_100_percent(struct validation *x, const struct vpath *p, const struct val *v);
/* A selector of labels that has to match the labels of a template. */
void check_selector_matches(struct validation *x, const struct vpath *selector_at, const struct val *selector,
                            const struct vpath *labels_at, const struct val *labels);

/* Shared between the files of Pods. */
void check_node_selector(struct validation *x, const struct vpath *p, const struct val *v);
void check_node_selector_term(struct validation *x, const struct vpath *p, const struct val *term,
                              bool check_values);
void check_field_ref(struct validation *x, const struct vpath *p, const struct val *ref,
                     const char *const *paths);
void check_resource_ref(struct validation *x, const struct vpath *p, const struct val *ref, bool in_volume);
void check_resources(struct validation *x, const struct vpath *p, const struct val *v,
                     const struct val *claims, bool of_pod);
void check_local_path(struct validation *x, const struct vpath *p,
                      struct str path); /* relative and not starting with ".." */
void check_pod_update(struct validation *x, const struct vpath *p, const struct val *pod,
                      const struct val *old);
void check_pod_resize(struct validation *x, const struct vpath *p, const struct val *pod,
                      const struct val *old);
/* A Pod's own resources cover those of its containers. */
void check_resource_sums(struct validation *x, const struct vpath *p, const struct val *spec);
void check_driver_name(struct validation *x, const struct vpath *p, struct str name);
void check_claim_spec(struct validation *x, const struct vpath *p, const struct val *spec);
/* What was written to the status subresource. */
void check_status(struct validation *x, const struct vpath *p, const struct val *v, const struct val *old);
void check_resource_claim_status(struct validation *x, const struct vpath *p, const struct val *claim,
                                 const struct val *old);
void check_csr_status(struct validation *x, const struct vpath *p, const struct val *csr,
                      const struct val *old);
/* What is wrong with a bundle of certificates in PEM, NULL for nothing. */
const char *certificate_fault(struct arena *a, struct str pem);
void check_crd_schema(struct validation *x, const struct vpath *p, const struct val *schema, bool has_status);
void check_webhook_path(struct validation *x, const struct vpath *p, const struct val *path);
bool is_signer_name(struct str s);
void check_job_status(struct validation *x, const struct vpath *p, const struct val *job,
                      const struct val *old);
void check_node_amounts(struct validation *x, const struct vpath *p, const struct val *status);
void check_quota_name(struct validation *x, const struct vpath *p, struct str s);
/* "0,2-4" names indexes below `completions` in order: how many, or -1 with a sentence in the arena. */
int64_t indexes_count(struct arena *a, struct str s, int64_t completions, const char **ret_fault);
void check_taint_effect(struct validation *x, const struct vpath *p, const struct val *effect);
