/* SPDX-License-Identifier: Apache-2.0 */
/* Shorthand for what every object has. All read functions accept NULL. v is an object's root value. */
#pragma once

#include "base/time.h"
#include "names.h"
#include "wire/value.h"

static inline const struct val *obj_meta(const struct val *v)
{
    return val_get(v, N_metadata);
}
static inline struct str obj_name(const struct val *v)
{
    return val_getstr(obj_meta(v), N_name);
}
static inline struct str obj_namespace(const struct val *v)
{
    return val_getstr(obj_meta(v), N_namespace);
}
static inline struct str obj_uid(const struct val *v)
{
    return val_getstr(obj_meta(v), N_uid);
}
int64_t obj_revision(const struct val *v); /* metadata.resourceVersion as a number, 0 when absent */
static inline const struct val *obj_labels(const struct val *v)
{
    return val_get(obj_meta(v), N_labels);
}
static inline struct str obj_label(const struct val *v, struct str key)
{
    return val_str(val_key(obj_labels(v), key));
}
static inline struct str obj_annotation(const struct val *v, struct str key)
{
    return val_str(val_key(val_get(obj_meta(v), N_annotations), key));
}
static inline bool obj_deleting(const struct val *v)
{
    return val_get(obj_meta(v), N_deletionTimestamp) != NULL;
}
/* The owner reference with controller: true, NULL when there is none. */
const struct val *obj_controller(const struct val *v);
bool obj_controlled_by(const struct val *v, struct str uid);
bool obj_has_finalizer(const struct val *v, struct str finalizer);
/* A time member (VAL_STR) as a time; {0} when absent. */
struct wall val_time(const struct val *v);
struct val *val_set_time(struct arena *a, struct val *obj, name_id name, struct wall t);

/* A controller owner reference to an object of that kind. */
struct val obj_owner_ref(struct arena *a, const char *api_version, const char *kind, const struct val *owner);

/* Conditions: a list of OBJs with type, status, reason, message, times. */
const struct val *condition_find(const struct val *conditions, struct str type);
bool condition_is(const struct val *conditions, struct str type, const char *status);
/* Sets or adds a condition in a LIST that is yours; lastTransitionTime moves only when status changes.
 * Returns whether anything changed. */
bool condition_set(struct arena *a, struct val *conditions, struct str type, const char *status,
                   const char *reason, struct str message, struct wall now);

/* "ns/name", or "name" for cluster-wide objects. */
struct str obj_key(struct arena *a, struct str ns, struct str name);

/* DNS-1123 etc. checks: NULL when right, else upstream's sentence. */
const char *check_dns_label(struct str s);
const char *check_dns_subdomain(struct str s);
const char *check_dns1035_label(struct str s);
const char *check_qualified_name(struct str s);
const char *check_label_value(struct str s);
/* The item of a list that has that name; NULL when none has. */
const struct val *val_named(const struct val *list, struct str name);
