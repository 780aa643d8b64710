/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ServiceCIDRs (KEP-1880): ready from the first look on, and held by a finalizer while an address of theirs is in use that no
 * other ServiceCIDR holds.
 */
#include "controllers/cidr.h"
#include "controllers/cluster.h"
#include "controllers/util.h"
#include "resources.h"
#include "type/meta.h"

#define FINALIZER "networking.k8s.io/service-cidr-finalizer"

enum { SETTLE_SECONDS = 10 }; /* allocators that have not seen yet that it goes may still give out an address of it */

static const char still_used[] = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
static const char is_ready[] = "Kubernetes Service CIDR is ready";

static bool holds(const struct val *service_cidr, struct cidr address)
{
    VAL_EACH (val_at(service_cidr, N_spec, N_cidrs), text) {
        struct cidr c;
        if (cidr_parse(val_str(text), &c) == 0 && cidr_overlap(c, address))
            return true;
    }
    return false;
}

static bool held_by_others(const struct snapshot *world, const struct object *o, struct cidr address)
{
    TREE_EACH (snapshot_tree(world, &resources[RES_SERVICECIDRS]), STR(""), it)
        if (!str_eq(it.object->name, o->name) && !obj_deleting(it.object->val) && holds(it.object->val, address))
            return true;
    return false;
}

/* An IPAddress is named after the address that it stands for. */
static bool in_use(const struct snapshot *world, const struct object *o)
{
    TREE_EACH (snapshot_tree(world, &resources[RES_IPADDRESSES]), STR(""), it) {
        struct cidr address;
        if (cidr_parse_ip(it.object->name, &address) == 0 && holds(o->val, address) && !held_by_others(world, o, address))
            return true;
    }
    return false;
}

static void set_ready(struct writes *w, const struct object *o, bool ready, struct wall now)
{
    char time[TIME_TEXT_MAX];
    VAL_EACH (val_at(o->val, N_status, N_conditions), c)
        if (str_is(val_getstr(c, N_type), "Ready") && str_is(val_getstr(c, N_status), ready ? "True" : "False"))
            return;
    struct write *x = writes_add(w, WRITE_PATCH_STATUS, o->res, STR_NULL, o->name);
    x->may_fail = 404;
    x->patch = arena_printf(w->arena,
                            "{\"status\":{\"conditions\":[{\"type\":\"Ready\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":\"%s\","
                            "\"lastTransitionTime\":\"%s\"}]}}",
                            ready ? "True" : "False", ready ? "" : "Terminating", ready ? is_ready : still_used,
                            time_format(now, time));
}

static void set_finalizer(struct writes *w, const struct object *o, bool wanted)
{
    struct val *meta, *v = with_meta(w->arena, o, &meta);
    put_finalizer(w->arena, meta, STR(FINALIZER), wanted);
    writes_update(w, o->res, v)->may_fail = 404;
}

static void let_go(struct writes *w, const struct object *o, struct wall now)
{
    int64_t left = val_time(val_get(o->meta, N_deletionTimestamp)).ns + SECONDS(SETTLE_SECONDS) - now.ns;
    if (left > 0)
        writes_again(w, MIN(left, SECONDS(SETTLE_SECONDS)));
    else
        set_finalizer(w, o, false);
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *w)
{
    const struct object *o = snapshot_get(world, &resources[RES_SERVICECIDRS], STR_NULL, key.name);
    bool held = o && obj_has_finalizer(o->val, STR(FINALIZER));
    if (!o || (obj_deleting(o->val) && !held))
        return 0;
    if (obj_deleting(o->val) && in_use(world, o)) {
        set_ready(w, o, false, now);
    } else if (obj_deleting(o->val)) {
        let_go(w, o, now);
    } else {
        if (!held)
            set_finalizer(w, o, true);
        set_ready(w, o, true, now);
    }
    return 0;
}

/* One that comes or goes, or an address that goes, may set another free. */
static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    if (res->index == RES_IPADDRESSES && new_)
        return;
    if (res->index == RES_SERVICECIDRS && new_)
        sink(arg, (struct key){STR_NULL, new_->name});
    (void)old;
    TREE_EACH (snapshot_tree(world, &resources[RES_SERVICECIDRS]), STR(""), it)
        if (obj_deleting(it.object->val))
            sink(arg, (struct key){STR_NULL, it.object->name});
}

const struct controller service_cidr_controller = {
    .name = "service-cidr-controller",
    .account = "service-cidrs-controller",
    .reads = (const uint16_t[]){RES_SERVICECIDRS, RES_IPADDRESSES, 0},
    .keys_of = keys_of,
    .reconcile = reconcile,
};
