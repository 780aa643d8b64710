/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/write.h"

#include "apiserver/admit.h"
#include "apiserver/auth.h"
#include "apiserver/certificates.h"
#include "apiserver/conversion.h"
#include "apiserver/custom.h"
#include "apiserver/device_checks.h"
#include "apiserver/dynamic.h"
#include "apiserver/quota_lock.h"
#include "apiserver/service.h"
#include "apiserver/state.h"
#include "apiserver/removal.h"
#include "apiserver/track.h"
#include "apiserver/uuid.h"
#include "auth/crypto.h"
#include "base/os.h"
#include "names.h"
#include "resources.h"
#include "type/defaults.h"
#include "type/meta.h"
#include "type/strategy.h"

enum { TRIES = 12, NAME_TRIES = 8, NAME_BASE_MAX = 58, NAME_SUFFIX = 5 };

static void warn(void *arg, struct str text)
{
    request_warn(arg, text);
}

static const char *sub_of(const struct request *r)
{
    return r->sub ? r->sub->name : NULL;
}

/* A scale is a change of the spec as far as rules are concerned. */
static const char *rules_sub(const struct request *r)
{
    return r->sub && strcmp(r->sub->name, "scale") == 0 ? NULL : sub_of(r);
}

/* ---- metadata ---------------------------------------------------------------------------------------- */

/* The namespace of the body must be that of the path (API conventions); absent it is taken from there. */
static int match_namespace(struct request *r, struct val *v)
{
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    struct str ns = val_getstr(meta, N_namespace), want = r->ns;
    if (str_eq(ns, want))
        return 0;
    if (ns.n && want.n)
        return status_bad_request(&r->status,
                                  "the namespace of the provided object does not match the namespace sent on "
                                  "the request");
    if (want.n)
        val_set_str(r->arena, meta, N_namespace, want);
    else
        val_del(meta, N_namespace);
    return 0;
}

static struct str new_uid(struct arena *a)
{
    char text[UUID_TEXT];
    uuid_new(text);
    return arena_str(a, str_of(text));
}

static void fill_system_fields(struct request *r, struct val *v)
{
    static const name_id ours[] = {N_deletionTimestamp, N_deletionGracePeriodSeconds, N_selfLink};
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    for (size_t i = 0; i < ARRAY_SIZE(ours); i++)
        val_del(meta, ours[i]);
    val_set_str(r->arena, meta, N_uid, new_uid(r->arena));
    val_set_time(r->arena, meta, N_creationTimestamp, r->now);
}

static bool needs_name(const struct val *v)
{
    const struct val *meta = obj_meta(v);
    return !val_getstr(meta, N_name).n && val_getstr(meta, N_generateName).n;
}

static void generate_name(struct request *r, struct val *v)
{
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    struct str base = val_getstr(meta, N_generateName);
    val_set_str(r->arena, meta, N_name,
                arena_printf(r->arena, "%.*s%s", (int)MIN(base.n, (size_t)NAME_BASE_MAX), base.p,
                             random_name(r->arena, NAME_SUFFIX)));
}

/* ---- create ------------------------------------------------------------------------------------------ */

static struct admission admission_of(struct request *r, enum admit_op op, struct val *v,
                                     const struct val *old)
{
    return (struct admission){.r = r, .op = op, .res = r->kind->res, .sub = sub_of(r), .ns = r->ns,
        .name = v ? obj_name(v) : r->info.name, .v = v, .old = old, .dry_run = r->opt.dry_run};
}

static int invalid(struct request *r, const struct val *v)
{
    const struct resource *res = r->kind->res;
    return status_invalid(&r->status, str_of(res->group), str_of(res->kind), obj_name(v));
}

/* Rules and warnings are about the version that the client speaks; paths in causes are those it knows. */
static const struct val *as_asked(struct request *r, const struct val *v)
{
    const struct val *sent = v && r->res->stored && !r->sub ? conversion_as_sent(r, v) : NULL;
    return sent ? sent : v && r->res->stored && !r->sub ? convert_from_stored(r->arena, r->res, v) : v;
}

/* Before as_asked, here or by who tracks managers. */
static int ahead(struct request *r, const struct val *v, const struct val *old)
{
    const struct val *both[] = {r->sent && conversion_as_sent(r, v) ? NULL : v, old};
    return r->res->stored && !r->sub ? conversion_ahead(r, r->res, both, 2) : 0;
}

static const struct resource *rules_of(const struct request *r)
{
    return stored_resource(r->res) == r->kind->res && !r->sub ? r->res : r->kind->res;
}

/* A signing request says who made it, whatever its author wrote there. */
static void stamp_requester(struct request *r, struct val *v)
{
    static const name_id names[] = {N_username, N_uid, N_groups, N_extra};
    struct val *spec = val_sub_obj(r->arena, v, N_spec);
    const struct val *user = user_to_val(r->arena, &r->user);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        val_set_ref(r->arena, spec, names[i], val_get(user, names[i]));
}

/* Everything between decoding and storing of a new object. */
static int create_checks(struct request *r, struct val *v, unsigned flags)
{
    const struct resource *res = r->kind->res;
    struct admission a = admission_of(r, ADMIT_CREATE, v, NULL);
    if (custom_terminating(res))
        return status_set(&r->status, 405, "MethodNotAllowed", "create not allowed while custom resource definition is terminating");
    int e = flags & WRITE_NO_ADMIT ? 0 : admit_mutate(&a);
    if (e)
        return e;
    if (res->index == RES_SERVICES)
        service_prepare(r, v, NULL);
    if (res->index == RES_CERTIFICATESIGNINGREQUESTS)
        stamp_requester(r, v);
    prepare_create(r->arena, res, v);
    if ((e = ahead(r, v, NULL)))
        return e;
    validate_create(rules_of(r), as_asked(r, v), &r->status);
    custom_rules(r, rules_of(r), as_asked(r, v), NULL);
    custom_check_definition(r, res, v);
    dynamic_check(r, res, v, NULL);
    check_certificates(r, res, v);
    check_devices(r, res, NULL, v, NULL);
    if ((e = invalid(r, v)))
        return e;
    if ((e = rbac_check_escalation(r, v, NULL)))
        return e;
    object_warnings(rules_of(r), as_asked(r, v), NULL, warn, r);
    return flags & WRITE_NO_ADMIT ? 0 : admit_validate(&a);
}

static const struct object *unstored(struct request *r, struct cache_kind *k, struct val *v)
{
    struct object *o = object_new(k->res, v);
    request_hold_taken(r, o);
    return o;
}

/* What it charged the quotas is void when one of them changed meanwhile (another server's doing): once more. */
static int charge_again(struct request *r, struct val *v)
{
    struct admission a = admission_of(r, ADMIT_CREATE, v, NULL);
    int e = cache_fresh(r->server->cache);
    return e < 0 ? e : admit_resource_quota(&a);
}

static int put_new(struct request *r, struct val *v, const struct object **ret)
{
    struct service_claim claim = {0};
    int e = r->kind->res->index == RES_SERVICES ? service_claim(r, v, NULL, &claim) : 0;
    if (e)
        return e;
    if (r->opt.dry_run) {
        *ret = unstored(r, r->kind, v);
        e = cache_get(r->kind, obj_namespace(v), obj_name(v)) ? STORE_CONFLICT : 0;
    } else {
        e = store_object(r, r->kind, NULL, v, ret);
    }
    service_settle(r, &claim, e == 0 && !r->opt.dry_run);
    return e;
}

static int create_once(struct request *r, struct val *v, unsigned flags, const struct object **ret)
{
    int e = create_checks(r, v, flags);
    r->quota_lost = false;
    if (!e)
        e = put_new(r, v, ret);
    for (int i = 0; e == STORE_CONFLICT && r->quota_lost && i < TRIES; i++)
        if ((e = charge_again(r, v)) == 0)
            e = put_new(r, v, ret);
    quota_lock_release(r);
    if (e == STORE_CONFLICT)
        return status_already_exists(&r->status, r->kind->res, obj_name(v));
    return e;
}

static int create_value(struct request *r, struct val *v, unsigned flags, const struct object **ret)
{
    int e = match_namespace(r, v);
    if (e)
        return e;
    int64_t rev = 0;
    struct str text = val_getstr(obj_meta(v), N_resourceVersion);
    if (text.n && !r->opt.dry_run && !str_to_i64(text, &rev) && rev)
        return status_bad_request(&r->status, "resourceVersion should not be set on objects to be created");
    if (!rev && !r->opt.dry_run)
        val_del(val_sub_obj(r->arena, v, N_metadata), N_resourceVersion);
    if ((e = ahead(r, v, NULL)))
        return e;
    track_write(r, NULL, v);
    fill_system_fields(r, v);
    track_stamp(r, v);
    return create_once(r, v, flags, ret);
}

int write_create(struct request *r, struct val *v, const struct object **ret)
{
    int e = cache_fresh(r->server->cache);
    if (e < 0)
        return e;
    if (!needs_name(v))
        return create_value(r, v, 0, ret);
    for (int i = 0; i < NAME_TRIES; i++) { /* KEP-4420 */
        struct val *copy = val_copy(r->arena, v);
        generate_name(r, copy);
        r->name_made = true;
        status_init(&r->status, r->arena);
        e = create_value(r, copy, 0, ret);
        if (e != 409 || strcmp(r->status.reason, "AlreadyExists") != 0)
            break;
    }
    return e;
}

/* ---- update ------------------------------------------------------------------------------------------ */

static void keep(struct request *r, struct val *meta, const struct val *old, name_id name)
{
    val_set_ref(r->arena, meta, name, val_get(old, name));
}

/* What an update cannot change, whatever was sent (rest.BeforeUpdate). */
static void keep_system_fields(struct request *r, struct val *v, const struct object *now)
{
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    keep(r, meta, now->meta, N_generation);
    if (val_get(now->meta, N_creationTimestamp))
        keep(r, meta, now->meta, N_creationTimestamp);
    if (obj_deleting(now->val))
        keep(r, meta, now->meta, N_deletionTimestamp);
    if (!val_getstr(meta, N_uid).n)
        val_set_str(r->arena, meta, N_uid, now->uid);
    if (!val_get(meta, N_deletionGracePeriodSeconds))
        keep(r, meta, now->meta, N_deletionGracePeriodSeconds);
    val_del(meta, N_selfLink);
    track_stamp(r, v);
}

static int check_identity(struct request *r, const struct val *v, const struct object *now)
{
    const struct resource *res = r->kind->res;
    struct str name = obj_name(v), uid = obj_uid(v), text = val_getstr(obj_meta(v), N_resourceVersion);
    int64_t rev = 0;
    if (!str_eq(name, now->name))
        return status_bad_request(&r->status,
                                  "the name of the object (%.*s) does not match the name on the URL (%.*s)",
                                  STR_ARG(name), STR_ARG(now->name));
    if (uid.n && !str_eq(uid, now->uid) && str_is(r->info.verb, "update")) {
        struct str why =
            arena_printf(r->arena, "Precondition failed: UID in precondition: %.*s, UID in object meta: %.*s",
                         STR_ARG(uid), STR_ARG(now->uid));
        return status_conflict(&r->status, res, now->name, why.p);
    }
    if (text.n && str_to_i64(text, &rev)) {
        cause_invalid(&r->status, STR("metadata.resourceVersion"), val_get(obj_meta(v), N_resourceVersion),
                      "the resource version must be a number");
        return invalid(r, v);
    }
    if (!rev && (resource_strategy(res)->flags & STRATEGY_VERSIONED) && !r->sub) {
        struct val none = val_of_str(STR(""));
        cause_invalid(&r->status, STR("metadata.resourceVersion"), &none, "must be specified for an update");
        return status_invalid(&r->status, str_of(res->group), str_of(res->name), name); /* the resource, not the kind */
    }
    return rev && rev != now->revision ? status_conflict(&r->status, res, now->name, NULL) : 0;
}

static int update_checks(struct request *r, struct val *v, const struct object *now, unsigned flags)
{
    const struct resource *res = r->kind->res;
    struct admission a = admission_of(r, ADMIT_UPDATE, v, now->val);
    int e = flags & WRITE_NO_ADMIT ? 0 : admit_mutate(&a);
    if (e)
        return e;
    keep_system_fields(r, v, now);
    if (!(flags & WRITE_NO_CHECKS)) {
        if (res->index == RES_SERVICES && !r->sub)
            service_prepare(r, v, now->val);
        prepare_update(r->arena, res, rules_sub(r), v, now->val);
        keep(r, val_sub_obj(r->arena, v, N_metadata), now->meta, N_creationTimestamp);
        if ((e = ahead(r, v, now->val)))
            return e;
        validate_update(rules_of(r), rules_sub(r), as_asked(r, v), as_asked(r, now->val), &r->status);
        check_certificates_change(r, res, rules_sub(r), v, now->val);
        check_devices(r, res, rules_sub(r), v, now->val);
        custom_rules(r, rules_of(r), as_asked(r, v), as_asked(r, now->val));
        if (!r->sub && !val_equal(val_get(v, N_spec), val_get(now->val, N_spec)))
            custom_check_definition(r, res, v);
        if (!r->sub)
            dynamic_check(r, res, v, now->val);
        if ((e = invalid(r, v)))
            return e;
        if ((e = rbac_check_escalation(r, v, now->val)))
            return e;
        object_warnings(rules_of(r), as_asked(r, v), as_asked(r, now->val), warn, r);
    }
    return flags & WRITE_NO_ADMIT ? 0 : admit_validate(&a);
}

/* The last finalizer went while a deletion was waiting for it. */
static bool deletes(const struct request *r, const struct val *v, const struct object *now)
{
    if (!obj_deleting(now->val) || val_len(val_get(obj_meta(v), N_finalizers)))
        return false;
    if ((removal_flags(r->kind->res) & SPEC_FINALIZERS) && val_len(val_at(v, N_spec, N_finalizers)))
        return false;
    return val_int(val_get(now->meta, N_deletionGracePeriodSeconds), 0) == 0;
}

static int commit_update(struct request *r, struct val *v, const struct object *now,
                         const struct object **ret)
{
    struct service_claim claim = {0};
    int e = r->kind->res->index == RES_SERVICES ? service_claim(r, v, now->val, &claim) : 0;
    if (e)
        return e;
    val_set_ref(r->arena, val_sub_obj(r->arena, v, N_metadata), N_resourceVersion,
                val_get(now->meta, N_resourceVersion));
    if (val_same(v, now->val) && !deletes(r, v, now)) {
        *ret = now;
    } else if (r->opt.dry_run) {
        *ret = unstored(r, r->kind, v);
    } else if (deletes(r, v, now)) {
        e = remove_object(r, r->kind, now, v, ret);
    } else {
        e = store_object(r, r->kind, now, v, ret);
    }
    service_settle(r, &claim, e == 0 && !r->opt.dry_run);
    return e;
}

static int create_by_update(struct request *r, change_fn *fn, void *arg, unsigned flags,
                            const struct object **ret)
{
    struct val *v = NULL;
    int e = require_verb(r, STR("create"));
    if (!e)
        e = fn(r, NULL, arg, &v);
    if (e)
        return e;
    if (!str_eq(obj_name(v), r->info.name))
        return status_bad_request(&r->status,
                                  "the name of the object (%.*s) does not match the name on the URL (%.*s)",
                                  STR_ARG(obj_name(v)), STR_ARG(r->info.name));
    if (obj_uid(v).n) {
        struct str why = arena_printf(
            r->arena,
            "Precondition failed: UID in precondition: %.*s, UID in object meta: ", STR_ARG(obj_uid(v)));
        return status_conflict(&r->status, r->kind->res, r->info.name, why.p);
    }
    val_del(val_sub_obj(r->arena, v, N_metadata), N_resourceVersion); /* of what is not there it says nothing */
    return create_value(r, v, flags, ret);
}

static int update_once(struct request *r, const struct object *now, change_fn *fn, void *arg, unsigned flags,
                       const struct object **ret)
{
    struct val *v = NULL;
    int e = fn(r, now, arg, &v);
    if (!e)
        e = match_namespace(r, v);
    if (!e)
        e = check_identity(r, v, now);
    if (!e)
        e = ahead(r, v, now->val);
    if (!e)
        track_write(r, now, v);
    if (!e)
        e = update_checks(r, v, now, flags);
    if (!e)
        e = commit_update(r, v, now, ret);
    storage_drop_ops(r);
    quota_lock_release(r);
    return e;
}

/* A conflict in the store means that somebody else was quicker: fn is asked again, and a revision that the
 * client named is then found to be an old one. */
int write_update(struct request *r, change_fn *fn, void *arg, unsigned flags, const struct object **ret,
                 bool *ret_created)
{
    int e = 0;
    for (int i = 0; i < TRIES; i++) {
        if ((e = cache_fresh(r->server->cache)) < 0)
            return e;
        const struct object *now = request_hold(r, cache_get(r->kind, r->ns, r->info.name));
        if (!now && !(flags & WRITE_CREATES))
            return status_not_found(&r->status, r->kind->res, r->info.name);
        if (ret_created)
            *ret_created = !now;
        e = now ? update_once(r, now, fn, arg, flags, ret) : create_by_update(r, fn, arg, flags, ret);
        bool made_meanwhile = !now && e == 409 && strcmp(r->status.reason, "AlreadyExists") == 0;
        if (e != STORE_CONFLICT && !made_meanwhile)
            return e;
        status_init(&r->status, r->arena);
    }
    return status_conflict(&r->status, r->kind->res, r->info.name, NULL);
}
