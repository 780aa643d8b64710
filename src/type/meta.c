/* SPDX-License-Identifier: Apache-2.0 */
#include "type/meta.h"

int64_t obj_revision(const struct val *v)
{
    int64_t n = 0;
    return str_to_i64(val_getstr(obj_meta(v), N_resourceVersion), &n) == 0 ? n : 0;
}

const struct val *obj_controller(const struct val *v)
{
    VAL_EACH (val_get(obj_meta(v), N_ownerReferences), ref)
        if (val_bool(val_get(ref, N_controller), false))
            return ref;
    return NULL;
}

bool obj_controlled_by(const struct val *v, struct str uid)
{
    const struct val *ref = obj_controller(v);
    return ref && str_eq(val_getstr(ref, N_uid), uid);
}

bool obj_has_finalizer(const struct val *v, struct str finalizer)
{
    VAL_EACH (val_get(obj_meta(v), N_finalizers), f)
        if (str_eq(val_str(f), finalizer))
            return true;
    return false;
}

struct wall val_time(const struct val *v)
{
    struct wall t = {0};
    if (val_is(v, VAL_STR))
        (void)time_parse(val_str(v), &t);
    return t;
}

struct val *val_set_time(struct arena *a, struct val *obj, name_id name, struct wall t)
{
    char buf[TIME_TEXT_MAX];
    return val_set_str(a, obj, name, str_of(time_format(t, buf)));
}

struct val obj_owner_ref(struct arena *a, const char *api_version, const char *kind, const struct val *owner)
{
    struct val *ref = val_new(a, VAL_OBJ);
    val_set_str(a, ref, N_apiVersion, str_of(api_version));
    val_set_str(a, ref, N_kind, str_of(kind));
    val_set_str(a, ref, N_name, obj_name(owner));
    val_set_str(a, ref, N_uid, obj_uid(owner));
    val_set_bool(a, ref, N_controller, true);
    val_set_bool(a, ref, N_blockOwnerDeletion, true);
    return *ref;
}

/* ---- conditions ---------------------------------------------------------------------------------------- */

const struct val *condition_find(const struct val *conditions, struct str type)
{
    VAL_EACH (conditions, c)
        if (str_eq(val_getstr(c, N_type), type))
            return c;
    return NULL;
}

bool condition_is(const struct val *conditions, struct str type, const char *status)
{
    const struct val *c = condition_find(conditions, type);
    return c && str_is(val_getstr(c, N_status), status);
}

static void set_or_del(struct arena *a, struct val *obj, name_id name, struct str s)
{
    if (s.n)
        val_set_str(a, obj, name, s);
    else
        val_del(obj, name);
}

bool condition_set(struct arena *a, struct val *conditions, struct str type, const char *status,
                   const char *reason, struct str message, struct wall now)
{
    struct val *c = (struct val *)(uintptr_t)condition_find(conditions, type);
    struct str why = str_of(reason);
    if (!c) {
        c = val_add_obj(a, conditions);
        val_set_str(a, c, N_type, type);
    } else if (str_is(val_getstr(c, N_status), status) && str_eq(val_getstr(c, N_reason), why) &&
               str_eq(val_getstr(c, N_message), message)) {
        return false;
    }
    if (!str_is(val_getstr(c, N_status), status))
        val_set_time(a, c, N_lastTransitionTime, now);
    val_set_str(a, c, N_status, str_of(status));
    set_or_del(a, c, N_reason, why);
    set_or_del(a, c, N_message, message);
    return true;
}

struct str obj_key(struct arena *a, struct str ns, struct str name)
{
    return ns.n ? arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(name)) : arena_str(a, name);
}

const struct val *val_named(const struct val *list, struct str name)
{
    VAL_EACH (list, item)
        if (str_eq(val_getstr(item, N_name), name))
            return item;
    return NULL;
}
