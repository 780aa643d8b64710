/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting one object: preconditions, grace, finalizers and propagation (rest.BeforeDelete and its
 * surroundings). */
#include "apiserver/admit.h"
#include "apiserver/state.h"
#include "apiserver/removal.h"
#include "apiserver/service.h"
#include "apiserver/write.h"
#include "net/url.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"
#include "types.h"

enum { TRIES = 12 };

#define ORPHAN "orphan"
#define FOREGROUND "foregroundDeletion"

/* ---- options ----------------------------------------------------------------------------------------- */

static void check_propagation(struct request *r, const struct delete_options *o)
{
    static const char *const known[] = {"Foreground", "Background", "Orphan", NULL};
    struct val bad = val_of_str(arena_str(r->arena, o->propagation));
    if (o->propagation.n && o->orphan >= 0) {
        cause_invalid(&r->status, STR("propagationPolicy"), &bad,
                      "orphanDependents and deletionPropagation cannot be both set");
        return;
    }
    for (size_t i = 0; o->propagation.n && known[i]; i++)
        if (str_is(o->propagation, known[i]))
            return;
    if (o->propagation.n)
        cause_not_supported(&r->status, STR("propagationPolicy"), &bad, known);
}

static void from_body(struct request *r, const struct val *v, struct delete_options *o)
{
    const struct val *p = val_get(v, N_preconditions);
    const struct val *grace = val_get(v, N_gracePeriodSeconds), *orphan = val_get(v, N_orphanDependents);
    if (grace)
        o->grace = val_int(grace, 0) < 0 ? 1 : val_int(grace, 0);
    if (orphan)
        o->orphan = val_bool(orphan, false);
    if (val_getstr(v, N_propagationPolicy).n)
        o->propagation = val_getstr(v, N_propagationPolicy);
    if (val_get(v, N_ignoreStoreReadErrorWithClusterBreakingPotential))
        o->unreadable = val_bool(val_get(v, N_ignoreStoreReadErrorWithClusterBreakingPotential), false);
    o->uid = val_getstr(p, N_uid);
    o->resource_version = val_getstr(p, N_resourceVersion);
    VAL_EACH(val_get(v, N_dryRun), d) {
        if (str_is(val_str(d), "All"))
            o->dry_run = true;
        else
            cause_not_supported(&r->status, STR("dryRun"), d, (const char *const[]){"All", NULL});
    }
}

int delete_options_parse(struct request *r, struct delete_options *ret)
{
    struct delete_options o = {.grace = r->opt.grace,
                               .propagation = r->opt.propagation,
                               .orphan = r->opt.orphan,
                               .dry_run = r->opt.dry_run,
                               .unreadable = query_bool(r->arena, r->query, "ignoreStoreReadErrorWithClusterBreakingPotential", false),
                               .uid = r->opt.uid,
                               .resource_version = r->opt.delete_revision};
    int e = request_read_body(r);
    if (e)
        return e;
    if (r->body.n) {
        struct val *v = NULL;
        e = decode_options(r, &types[T_meta_v1_DeleteOptions], "DeleteOptions", &v);
        if (e)
            return e;
        from_body(r, v, &o);
    }
    check_propagation(r, &o);
    e = status_invalid(&r->status, STR("meta.k8s.io"), STR("DeleteOptions"), STR(""));
    o.grace = MIN(o.grace, (int64_t)UINT32_MAX); /* more does not fit into a time */
    if (!e) {
        r->opt.dry_run = o.dry_run;
        *ret = o;
    }
    return e;
}

/* ---- finalizers of the garbage collector ------------------------------------------------------------- */

static bool has_finalizer(const struct val *v, const char *name)
{
    return obj_has_finalizer(v, str_of(name));
}

static bool wants_orphan(const struct delete_options *o, unsigned flags, const struct val *v)
{
    if (flags & NO_GARBAGE)
        return false;
    if (o->orphan >= 0)
        return o->orphan;
    if (o->propagation.n)
        return str_is(o->propagation, "Orphan");
    if (has_finalizer(v, ORPHAN))
        return true;
    return !has_finalizer(v, FOREGROUND) && (flags & ORPHANS);
}

static bool wants_foreground(const struct delete_options *o, unsigned flags, const struct val *v)
{
    if ((flags & NO_GARBAGE) || o->orphan >= 0)
        return false;
    if (o->propagation.n)
        return str_is(o->propagation, "Foreground");
    return has_finalizer(v, FOREGROUND);
}

static void set_finalizers(struct arena *a, struct val *v, const struct delete_options *o, unsigned flags)
{
    bool orphan = wants_orphan(o, flags, v), foreground = wants_foreground(o, flags, v);
    struct val *meta = val_sub_obj(a, v, N_metadata);
    struct val *list = val_new(a, VAL_LIST);
    VAL_EACH(val_get(meta, N_finalizers), f)
        if (!str_is(val_str(f), ORPHAN) && !str_is(val_str(f), FOREGROUND))
            val_add_str(a, list, val_str(f));
    if (orphan)
        val_add_str(a, list, STR(ORPHAN));
    if (foreground)
        val_add_str(a, list, STR(FOREGROUND));
    val_set_ref(a, meta, N_finalizers, list->n ? list : NULL);
}

/* ---- marking ----------------------------------------------------------------------------------------- */

static void bump_generation(struct arena *a, struct val *meta)
{
    int64_t g = val_int(val_get(meta, N_generation), 0);
    if (g > 0)
        val_set_int(a, meta, N_generation, g + 1);
}

static void mark(struct request *r, struct val *v, int64_t grace)
{
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    if (!val_get(meta, N_deletionTimestamp))
        bump_generation(r->arena, meta);
    val_set_time(r->arena, meta, N_deletionTimestamp, (struct wall){r->now.ns + SECONDS(grace)});
    val_set_int(r->arena, meta, N_deletionGracePeriodSeconds, grace);
}

enum grace { GRACE_NONE, GRACE_MARKED, GRACE_PENDING };

/* A pod that nobody runs needs no grace (podStrategy.CheckGracefulDelete). */
static int64_t pod_grace(const struct val *v, const struct delete_options *o)
{
    int64_t grace =
        o->grace >= 0 ? o->grace : val_int(val_at(v, N_spec, N_terminationGracePeriodSeconds), 30);
    struct str phase = val_str(val_at(v, N_status, N_phase));
    if (!val_str(val_at(v, N_spec, N_nodeName)).n || str_is(phase, "Failed") || str_is(phase, "Succeeded"))
        grace = 0;
    return grace < 0 ? 1 : MIN(grace, (int64_t)UINT32_MAX);
}

/* An earlier deletion may only be made shorter. */
static enum grace shorten(struct request *r, struct val *v, const struct delete_options *o)
{
    struct val *meta = val_sub_obj(r->arena, v, N_metadata);
    int64_t had = val_int(val_get(meta, N_deletionGracePeriodSeconds), 0);
    if (!had)
        return GRACE_NONE;
    if (o->grace < 0 || o->grace >= had)
        return GRACE_PENDING;
    struct wall at = val_time(val_get(meta, N_deletionTimestamp));
    int64_t grace = o->grace;
    at.ns += SECONDS(grace - had);
    if (at.ns < r->now.ns) {
        at = r->now;
        grace = grace ? 1 : 0;
    }
    val_set_time(r->arena, meta, N_deletionTimestamp, at);
    val_set_int(r->arena, meta, N_deletionGracePeriodSeconds, grace);
    return GRACE_MARKED;
}

static enum grace be_graceful(struct request *r, struct val *v, const struct delete_options *o,
                              unsigned flags)
{
    if (!(flags & GRACEFUL))
        return GRACE_NONE;
    if (obj_deleting(v))
        return shorten(r, v, o);
    mark(r, v, pod_grace(v, o));
    return GRACE_MARKED;
}

static void terminate_namespace(struct request *r, struct val *v)
{
    val_set_str(r->arena, val_sub_obj(r->arena, v, N_status), N_phase, STR("Terminating"));
}

/* Its objects have to go first; the server sees to that (custom.h). */
static void terminate_definition(struct request *r, struct val *v)
{
    struct val *list = val_sub_list(r->arena, val_sub_obj(r->arena, v, N_metadata), N_finalizers);
    if (obj_deleting(v))
        return;
    if (!obj_has_finalizer(v, STR(CRD_FINALIZER)))
        val_add_str(r->arena, list, STR(CRD_FINALIZER));
    condition_set(r->arena, val_sub_list(r->arena, val_sub_obj(r->arena, v, N_status), N_conditions), STR("Terminating"), "True",
                  "InstanceDeletionPending",
                  STR("CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"), r->now);
}

/* ---- the deletion ------------------------------------------------------------------------------------ */

struct str delete_precondition_fault(struct arena *a, const struct object *now, const struct delete_options *o)
{
    struct str version = val_getstr(now->meta, N_resourceVersion);
    if (o->uid.n && !str_eq(o->uid, now->uid))
        return arena_printf(a,
                            "the UID in the precondition (" STR_FMT ") does not match the UID in record (" STR_FMT
                            "). The object might have been deleted and then recreated",
                            STR_ARG(o->uid), STR_ARG(now->uid));
    if (o->resource_version.n && !str_eq(o->resource_version, version))
        return arena_printf(a,
                            "the ResourceVersion in the precondition (" STR_FMT
                            ") does not match the ResourceVersion in record (" STR_FMT
                            "). The object might have been modified",
                            STR_ARG(o->resource_version), STR_ARG(version));
    return STR_NULL;
}

static int check_preconditions(struct request *r, const struct object *now, const struct delete_options *o)
{
    struct str why = delete_precondition_fault(r->arena, now, o);
    if (!why.n)
        return 0;
    status_conflict(&r->status, now->res, now->name, why.p);
    r->status.kind = str_of(now->res->kind); /* upstream names the kind here, not the resource */
    return r->status.code;
}

static int unmade(struct request *r, struct cache_kind *k, struct val *v, const struct object **ret)
{
    struct object *o = object_new(k->res, v);
    request_hold_taken(r, o);
    *ret = o;
    return 0;
}

/* Marks or removes; *ret_deleted tells which. */
static int delete_once(struct request *r, struct cache_kind *k, const struct object *now,
                       const struct delete_options *o, const struct object **ret, bool *ret_deleted)
{
    unsigned flags = removal_flags(k->res);
    struct val *v = val_copy(r->arena, now->val);
    enum grace grace = be_graceful(r, v, o, flags);
    *ret_deleted = false;
    if (grace == GRACE_PENDING) {
        *ret = now;
        return 0;
    }
    set_finalizers(r->arena, v, o, flags);
    if (k->res->index == RES_CUSTOMRESOURCEDEFINITIONS)
        terminate_definition(r, v);
    bool held = val_len(val_get(obj_meta(v), N_finalizers)) ||
                ((flags & SPEC_FINALIZERS) && val_len(val_at(v, N_spec, N_finalizers)));
    int64_t left = val_int(val_get(obj_meta(v), N_deletionGracePeriodSeconds), 0);
    if (grace == GRACE_NONE && held && !obj_deleting(v))
        mark(r, v, 0);
    if (held && (flags & SPEC_FINALIZERS))
        terminate_namespace(r, v);
    if (held || (grace == GRACE_MARKED && left > 0)) {
        if (val_same(v, now->val)) {
            *ret = now;
            return 0;
        }
        return o->dry_run ? unmade(r, k, v, ret) : store_object(r, k, now, v, ret);
    }
    *ret_deleted = true;
    return o->dry_run ? unmade(r, k, v, ret) : remove_object(r, k, now, v, ret);
}

int write_delete(struct request *r, struct str ns, struct str name, const struct delete_options *o,
                 const struct object **ret, bool *ret_deleted)
{
    struct cache_kind *k = r->kind;
    for (int i = 0; i < TRIES; i++) {
        int e = cache_fresh(r->server->cache);
        if (e < 0)
            return e;
        const struct object *now = request_hold(r, cache_get(k, ns, name));
        if (!now)
            return status_not_found(&r->status, k->res, name);
        struct admission a = {.r = r,
                              .op = ADMIT_DELETE,
                              .res = k->res,
                              .ns = ns,
                              .name = name,
                              .old = now->val,
                              .dry_run = o->dry_run,
                              .deletion = o};
        if ((e = check_preconditions(r, now, o)) || (e = admit_mutate(&a)) || (e = admit_validate(&a)))
            return e;
        e = delete_once(r, k, now, o, ret, ret_deleted);
        if (e != STORE_CONFLICT)
            return e;
    }
    return status_conflict(&r->status, k->res, name, NULL);
}
