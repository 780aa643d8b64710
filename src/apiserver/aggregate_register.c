/* SPDX-License-Identifier: Apache-2.0 */
/* APIServices that the server makes by itself: those of custom kinds come and go with their definitions (kube-aggregator's
 * autoregister and crd-registration controllers); those of our own group versions are made at the start (bootstrap.c). */
#include <stdio.h>

#include "apiserver/aggregate.h"
#include "apiserver/state.h"
#include "base/log.h"
#include "base/os.h"
#include "client/client.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#define MANAGED "kube-aggregator.kubernetes.io/automanaged"
enum { GROUP_PRIORITY = 1000, VERSION_PRIORITY = 100, AGAIN_SECONDS = 5 };

/* The names of the APIServices that custom kinds need. */
static void gather_wanted(const struct apiserver *s, struct map *ret)
{
    char name[512];
    TREE_EACH (state_kind(s, RES_CUSTOMRESOURCEDEFINITIONS)->root, STR(""), it)
        VAL_EACH (val_at(it.object->val, N_spec, N_versions), v) {
            int n = snprintf(name, sizeof(name), STR_FMT "." STR_FMT, STR_ARG(val_getstr(v, N_name)),
                             STR_ARG(val_str(val_at(it.object->val, N_spec, N_group))));
            if (val_bool(val_get(v, N_served), false) && n > 0 && (size_t)n < sizeof(name))
                map_put(ret, str_n(name, (size_t)n), ret);
        }
}

static void set_spec(struct arena *a, struct val *v, struct str name)
{
    struct val *spec = val_new(a, VAL_OBJ);
    struct str version, group;
    str_cut(name, '.', &version, &group);
    val_set_str(a, spec, N_group, group);
    val_set_str(a, spec, N_version, version);
    val_set_int(a, spec, N_groupPriorityMinimum, GROUP_PRIORITY);
    val_set_int(a, spec, N_versionPriority, VERSION_PRIORITY);
    val_set_ref(a, v, N_spec, spec);
}

static int make(struct apiserver *s, struct arena *a, const struct call *call, struct status *st)
{
    struct val *v = val_new(a, VAL_OBJ), *meta = val_sub_obj(a, v, N_metadata);
    val_set_str(a, meta, N_name, call->name);
    val_put_str(a, val_sub_map(a, meta, N_labels), STR(MANAGED), STR("true"));
    set_spec(a, v, call->name);
    return client_create(s->self, call, v, a, NULL, st);
}

/* What it says of us must hold, if it is ours to keep. */
static int mend(struct apiserver *s, struct arena *a, const struct call *call, const struct object *o, struct status *st)
{
    struct val *v = val_copy(a, o->val);
    set_spec(a, v, o->name);
    return val_same(val_get(v, N_spec), val_get(o->val, N_spec)) ? 0 : client_update(s->self, call, v, a, NULL, st);
}

static int say_available(struct apiserver *s, struct arena *a, const struct object *o, struct status *st)
{
    struct val *v = val_copy(a, o->val);
    if (val_at(v, N_spec, N_service) ||
        !condition_set(a, val_sub_list(a, val_sub_obj(a, v, N_status), N_conditions), STR("Available"), "True", "Local",
                       STR("Local APIServices are always available"), os_wall()))
        return 0;
    return client_update(s->self, CALL(.res = o->res, .name = o->name, .subresource = "status"), v, a, NULL, st);
}

/* 0, or why it is to be looked at again. */
static int look_at(struct apiserver *s, struct str name, bool wanted)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct object *o = object_ref(cache_get(state_kind(s, RES_APISERVICES), STR(""), name));
    bool ours = o && str_is(obj_label(o->val, STR(MANAGED)), "true");
    struct call call = *CALL(.res = &resources[RES_APISERVICES], .name = name);
    struct status st;
    int r = 0;
    status_init(&st, &a);
    if (!o && wanted) {
        r = make(s, &a, &call, &st);
    } else if (ours && !wanted) {
        call.uid = obj_uid(o->val);
        r = client_delete(s->self, &call, &a, NULL, &st);
    } else if (ours && (r = mend(s, &a, &call, o, &st)) == 0) {
        r = say_available(s, &a, o, &st);
    } else if (o && !ours) {
        r = say_available(s, &a, o, &st);
    }
    object_unref(o);
    return r == 404 || r == 409 ? 0 : r; /* somebody was quicker: its change brings us here again */
}

/* True when something could not be done. */
static bool look_at_dirty(struct apiserver *s)
{
    struct map names = s->aggregate->dirty, wanted = MAP_INIT;
    bool failed = false;
    s->aggregate->dirty = MAP_INIT;
    if (cache_fresh(s->cache) == 0)
        gather_wanted(s, &wanted);
    MAP_EACH (&names, e) {
        if (fiber_cancelled())
            break;
        int r = look_at(s, e->key, map_has(&wanted, e->key));
        if (r && !fiber_cancelled()) {
            log_warn("apiserver", "APIService " STR_FMT ": %d", STR_ARG(e->key), r);
            map_put(&s->aggregate->dirty, e->key, s);
            failed = true;
        }
    }
    map_done(&names);
    map_done(&wanted);
    return failed;
}

void aggregate_register(void *arg)
{
    struct apiserver *s = arg;
    while (!fiber_cancelled()) {
        bool failed = s->aggregate->dirty.n && look_at_dirty(s);
        if (failed)
            fiber_sleep(SECONDS(AGAIN_SECONDS));
        else if (!s->aggregate->dirty.n && waitq_wait(&s->aggregate->changed, MONO_NEVER) < 0)
            return;
    }
}
