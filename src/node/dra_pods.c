/* SPDX-License-Identifier: Apache-2.0 */
/* Claims of Pods: prepared before the sandbox is made, unprepared when nothing of their last Pod runs. */
#include "grpc.h"
#include "node/dra.h"
#include "node/kubelet-internal.h"
#include "node/metrics.h"
#include "type/resourceclaim.h"

#include <stdio.h>

enum { HEALTH_MESSAGE_MAX = 1024 };

/* ---- which claims ------------------------------------------------------------------------------------------- */

static struct str extended_claim(const struct val *pod)
{
    return val_str(val_at(pod, N_status, N_extendedResourceClaimStatus, N_resourceClaimName));
}

bool dra_wanted(const struct val *pod)
{
    return val_len(val_at(pod, N_spec, N_resourceClaims)) > 0 || extended_claim(pod).n > 0;
}

/* ---- the file ------------------------------------------------------------------------------------------------- */

static int write_state(struct kubelet *k, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int r = fmutex_lock(&k->dra.writing);
    if (r < 0)
        return r;
    struct str text = dra_state_text(&k->dra.state, &a); /* what is true now, however long we waited */
    r = os_write_file(arena_printf(&a, "%s/dra_manager_state", k->cfg.root_dir).p, text, 0600); /* whole or not at all */
    fmutex_unlock(&k->dra.writing);
    return r < 0 ? err_set(e, r, "checkpoint ResourceClaim state: %s", strerror(-r)) : 0;
}

/* ---- preparing -------------------------------------------------------------------------------------------------- */

struct preparing {
    struct kubelet *k;
    const struct val *pod;
    struct arena *a;
    struct err *e;
    const struct val **claims; /* of the API; each once */
    size_t n;
};

/* What the API has now: what was decided about it must be seen here before anything is done for it. */
static int fetch(struct preparing *p, struct str name, bool generated)
{
    const struct val *claim;
    struct status s;
    status_init(&s, p->a);
    if (!p->k->client)
        return err_set(p->e, -ENOENT, "fetch ResourceClaim " STR_FMT ": this kubelet has no API server", STR_ARG(name));
    int r = client_get(p->k->client, CALL(.res = &resources[RES_RESOURCECLAIMS], .ns = obj_namespace(p->pod), .name = name),
                       p->a, &claim, &s);
    if (r == -ECANCELED)
        return r;
    if (r)
        return err_set(p->e, -EAGAIN, "fetch ResourceClaim " STR_FMT ": " STR_FMT, STR_ARG(name),
                       STR_ARG(r > 0 ? s.message : str_of(strerror(-r))));
    if (generated && !obj_controlled_by(claim, obj_uid(p->pod)))
        return err_set(p->e, -EPERM, "ResourceClaim " STR_FMT "/" STR_FMT " was not created for Pod " STR_FMT "/" STR_FMT
                                     " (Pod is not owner)",
                       STR_ARG(obj_namespace(claim)), STR_ARG(name), STR_ARG(obj_namespace(p->pod)), STR_ARG(obj_name(p->pod)));
    if (!claim_reserved_for(claim, obj_uid(p->pod)))
        return err_set(p->e, -EPERM, "pod " STR_FMT " (" STR_FMT ") is not allowed to use ResourceClaim " STR_FMT " (" STR_FMT ")",
                       STR_ARG(obj_name(p->pod)), STR_ARG(obj_uid(p->pod)), STR_ARG(name), STR_ARG(obj_uid(claim)));
    if (!val_at(claim, N_status, N_allocation))
        return err_set(p->e, -EAGAIN, "ResourceClaim " STR_FMT ": unprepared claim is not allocated", STR_ARG(name));
    VAL_EACH (val_at(claim, N_status, N_allocation, N_devices, N_results), x) {
        r = dra_check_driver(p->k, val_getstr(x, N_driver), p->e);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < p->n; i++)
        if (str_eq(obj_uid(p->claims[i]), obj_uid(claim)))
            return 0;
    p->claims[p->n++] = claim;
    return 0;
}

static int fetch_all(struct preparing *p)
{
    const struct val *entries = val_at(p->pod, N_spec, N_resourceClaims);
    struct str extended = extended_claim(p->pod);
    int r = 0;
    p->claims = ARENA_ARRAY(p->a, const struct val *, val_len(entries) + 1);
    VAL_EACH (entries, entry) {
        struct str name;
        bool generated;
        enum pod_claim kind = pod_resource_claim(p->pod, entry, &name, &generated);
        if (r == 0 && kind == POD_CLAIM_PENDING)
            r = err_set(p->e, -EAGAIN, "pod \"" STR_FMT "/" STR_FMT "\": ResourceClaim not created yet",
                        STR_ARG(obj_namespace(p->pod)), STR_ARG(obj_name(p->pod)));
        if (r == 0 && kind == POD_CLAIM_NAMED)
            r = fetch(p, name, generated);
    }
    return r == 0 && extended.n ? fetch(p, extended, false) : r;
}

/* They are the Pod's from now on, whatever becomes of preparing them. */
static int refer(struct preparing *p)
{
    for (size_t i = 0; i < p->n; i++) {
        const struct val *v = p->claims[i];
        struct dra_claim *c = dra_state_find(&p->k->dra.state, obj_namespace(v), obj_name(v));
        if (c && !str_eq(c->uid, obj_uid(v)))
            return err_set(p->e, -EAGAIN, "old ResourceClaim with same name " STR_FMT " and different UID " STR_FMT
                                          " still exists (previous pod force-deleted?!)",
                           STR_ARG(c->name), STR_ARG(c->uid));
        if (c && c->unpreparing)
            return err_set(p->e, -EAGAIN, "ResourceClaim " STR_FMT " is being unprepared", STR_ARG(c->name));
        c = c ? c : dra_state_add(&p->k->dra.state, v);
        map_put(&c->pods, obj_uid(p->pod), c);
    }
    return write_state(p->k, p->e);
}

static struct dra_claim *known(struct preparing *p, const struct val *claim)
{
    struct dra_claim *c = dra_state_find(&p->k->dra.state, obj_namespace(claim), obj_name(claim));
    return c && str_eq(c->uid, obj_uid(claim)) ? c : NULL;
}

static void add_request(struct arena *a, struct val *list, struct str ns, struct str uid, struct str name)
{
    struct val *q = val_add_obj(a, list);
    val_set_str(a, q, N_namespace, ns);
    val_set_str(a, q, N_uid, uid);
    val_set_str(a, q, N_name, name);
}

static int take_answer(struct preparing *p, struct str driver, const struct val *asked, const struct val *answer)
{
    VAL_EACH (asked, q) {
        const struct val *one = val_key(answer, val_getstr(q, N_uid));
        struct str problem = val_getstr(one, N_error);
        struct dra_claim *c = dra_state_find(&p->k->dra.state, val_getstr(q, N_namespace), val_getstr(q, N_name));
        if (!one)
            return err_set(p->e, -EIO, "NodePrepareResources skipped ResourceClaim " STR_FMT, STR_ARG(val_getstr(q, N_name)));
        if (problem.n)
            return err_set(p->e, -EIO, "NodePrepareResources failed for ResourceClaim " STR_FMT ": " STR_FMT,
                           STR_ARG(val_getstr(q, N_name)), STR_ARG(problem));
        if (!c || !str_eq(c->uid, val_getstr(q, N_uid)))
            return err_set(p->e, -EAGAIN, "ResourceClaim " STR_FMT " went while it was prepared", STR_ARG(val_getstr(q, N_name)));
        dra_claim_set_devices(c, driver, val_get(one, N_devices));
    }
    return 0;
}

/* All claims that the driver has devices for, in one call. */
static int prepare_with(struct preparing *p, struct str driver)
{
    struct val *asked = val_new(p->a, VAL_LIST);
    const struct val *answer;
    for (size_t i = 0; i < p->n; i++) {
        const struct dra_claim *c = known(p, p->claims[i]);
        if (c && !c->prepared && val_key(c->drivers, driver))
            add_request(p->a, asked, c->ns, c->uid, c->name);
    }
    if (!asked->n)
        return 0;
    int r = dra_call(p->k, driver, true, asked, p->a, &answer, p->e);
    return r ? r : take_answer(p, driver, asked, answer);
}

static int prepare_all(struct preparing *p)
{
    struct map drivers = MAP_INIT;
    int r = 0;
    for (size_t i = 0; i < p->n; i++)
        VAL_EACH (val_at(p->claims[i], N_status, N_allocation, N_devices, N_results), x)
            map_put(&drivers, val_getstr(x, N_driver), p);
    MAP_EACH (&drivers, e)
        if (r == 0)
            r = prepare_with(p, e->key);
    map_done(&drivers);
    for (size_t i = 0; r == 0 && i < p->n; i++) {
        struct dra_claim *c = known(p, p->claims[i]);
        if (c)
            c->prepared = true;
    }
    return r ? r : write_state(p->k, p->e);
}

int dra_prepare(struct worker *w, const struct val *pod, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err why = {{0}};
    struct preparing p = {.k = w->k, .pod = pod, .a = &a, .e = &why};
    struct mono began = os_mono();
    if (!dra_wanted(pod))
        return 0;
    int r = fetch_all(&p);
    if (r == 0)
        r = refer(&p);
    if (r == 0)
        r = prepare_all(&p);
    if (r != -ECANCELED)
        metrics_dra_pod(w->k, true, r != 0, os_mono().ns - began.ns);
    if (r == 0 || r == -ECANCELED)
        return r;
    pod_event(w->k, pod, true, "FailedPrepareDynamicResources",
              "Failed to prepare dynamic resources: prepare dynamic resources: %s", err_text(&why, r));
    return err_set(e, r, "failed to prepare dynamic resources: %s", err_text(&why, r));
}

/* ---- giving ----------------------------------------------------------------------------------------------------------- */

/* Calls fn for each claim of the container with the request it is for (empty: all). */
typedef int claim_fn(void *ctx, struct dra_claim *c, struct str request, struct str entry);

static int each_claim(struct kubelet *k, const struct val *pod, const struct val *container, claim_fn *fn, void *ctx,
                      struct err *e)
{
    VAL_EACH (val_at(container, N_resources, N_claims), ask) {
        const struct val *entry = val_named(val_at(pod, N_spec, N_resourceClaims), val_getstr(ask, N_name));
        struct str name;
        bool generated;
        if (!entry || pod_resource_claim(pod, entry, &name, &generated) != POD_CLAIM_NAMED)
            continue;
        struct dra_claim *c = dra_state_find(&k->dra.state, obj_namespace(pod), name);
        if (!c || !map_has(&c->pods, obj_uid(pod)))
            return err_set(e, -EAGAIN, "unable to get information for ResourceClaim " STR_FMT, STR_ARG(name));
        int r = fn(ctx, c, val_getstr(ask, N_request), val_getstr(ask, N_name));
        if (r)
            return r;
    }
    VAL_EACH (val_at(pod, N_status, N_extendedResourceClaimStatus, N_requestMappings), m) {
        struct dra_claim *c = dra_state_find(&k->dra.state, obj_namespace(pod), extended_claim(pod));
        if (!str_eq(val_getstr(m, N_containerName), val_getstr(container, N_name)))
            continue;
        if (!c || !map_has(&c->pods, obj_uid(pod)))
            return err_set(e, -EAGAIN, "unable to get information for ResourceClaim " STR_FMT, STR_ARG(extended_claim(pod)));
        int r = fn(ctx, c, val_getstr(m, N_requestName), val_getstr(m, N_resourceName));
        if (r)
            return r;
    }
    return 0;
}

struct giving {
    struct arena *a;
    struct val *list;
};

static int give_claim(void *ctx, struct dra_claim *c, struct str request, struct str entry)
{
    struct giving *g = ctx;
    (void)entry;
    dra_claim_devices(c, request, g->a, g->list);
    return 0;
}

/* containerd knows the field since 1.7 and would ignore it before: the container would run without its devices. */
static bool knows_cdi(const struct runtime *rt)
{
    unsigned major = 0, minor = 0;
    const char *version = *rt->version == 'v' ? rt->version + 1 : rt->version;
    if (strcmp(rt->name, "containerd") != 0 || sscanf(version, "%u.%u", &major, &minor) != 2)
        return true;
    return major > 1 || minor >= 7;
}

int dra_give(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct cri_container *c,
             struct err *e)
{
    struct giving g = {a, val_new(a, VAL_LIST)};
    int r = each_claim(w->k, pod, container, give_claim, &g, e);
    if (r || !g.list->n)
        return r;
    if (!knows_cdi(w->k->rt))
        return err_set(e, -ENOTSUP, "container runtime %s %s does not know CDI devices, containerd 1.7 or later does",
                       w->k->rt->name, w->k->rt->version);
    VAL_EACH (c->cdi_devices, d)
        val_add(a, g.list, *d);
    c->cdi_devices = g.list;
    return 0;
}

/* ---- unpreparing --------------------------------------------------------------------------------------------------------- */

/* What each driver (MAP) is to unprepare: claims that the Pod is the last user of. Of the others it is a user no more. */
static struct val *last_user_of(struct kubelet *k, struct str pod, struct arena *a)
{
    struct val *ret = val_new(a, VAL_MAP);
    MAP_EACH (&k->dra.state.claims, m) {
        struct dra_claim *c = m->value;
        if (!map_has(&c->pods, pod))
            continue;
        if (c->pods.n > 1) {
            map_del(&c->pods, pod);
        } else {
            c->unpreparing = true; /* nobody may join it any more */
            VAL_EACH_ENTRY (c->drivers, driver, devices) {
                (void)devices;
                struct val *list = (struct val *)(uintptr_t)val_key(ret, val_str(driver));
                list = list ? list : val_put(a, ret, val_str(driver), (struct val){.kind = VAL_LIST});
                add_request(a, list, c->ns, c->uid, c->name);
            }
        }
    }
    return ret;
}

/* Those without a device, which no driver was asked about, too. Somebody else may have done it meanwhile. */
static void drop_all(struct kubelet *k, struct str pod)
{
    MAP_EACH (&k->dra.state.claims, m) {
        struct dra_claim *c = m->value;
        if (c->unpreparing && map_has(&c->pods, pod))
            dra_state_drop(&k->dra.state, c);
    }
}

static int unprepare_with(struct kubelet *k, struct str driver, const struct val *asked, struct arena *a, struct err *e)
{
    const struct val *answer;
    int r = dra_call(k, driver, false, asked, a, &answer, e);
    VAL_EACH (r == 0 ? asked : NULL, q) {
        const struct val *one = val_key(answer, val_getstr(q, N_uid));
        struct str problem = val_getstr(one, N_error);
        if (!one)
            return err_set(e, -EIO, "NodeUnprepareResources skipped ResourceClaim " STR_FMT, STR_ARG(val_getstr(q, N_name)));
        if (problem.n)
            return err_set(e, -EIO, "NodeUnprepareResources failed for ResourceClaim " STR_FMT ": " STR_FMT,
                           STR_ARG(val_getstr(q, N_name)), STR_ARG(problem));
    }
    return r;
}

static int unprepare_all(struct kubelet *k, struct str pod_uid, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int r = 0;
    const struct val *by_driver = last_user_of(k, pod_uid, &a);
    VAL_EACH_ENTRY (by_driver, driver, asked) {
        if (r == 0)
            r = unprepare_with(k, val_str(driver), asked, &a, e);
    }
    if (r)
        return r;
    drop_all(k, pod_uid);
    return write_state(k, e);
}

int dra_unprepare(struct kubelet *k, struct str pod_uid, struct err *e)
{
    struct mono began = os_mono();
    size_t users = 0;
    MAP_EACH (&k->dra.state.claims, m)
        users += map_has(&((struct dra_claim *)m->value)->pods, pod_uid);
    if (!users)
        return 0;
    int r = unprepare_all(k, pod_uid, e);
    if (r != -ECANCELED)
        metrics_dra_pod(k, false, r != 0, os_mono().ns - began.ns);
    return r;
}

/* Is it known to run, or to be about to? */
static bool is_active(struct kubelet *k, struct str uid)
{
    const struct worker *w = worker_find(k, uid);
    return w && !w->stopped && w->stage < WORKER_TERMINATED;
}

/* Pods that went while we were not there, or were taken away from us by force. */
void dra_unprepare_stale(struct kubelet *k)
{
    struct map stale = MAP_INIT;
    if (!k->relisted || (k->pods && !replica_synced(k->pods)) || !k->statics_seen)
        return;
    MAP_EACH (&k->dra.state.claims, m) {
        struct dra_claim *c = m->value;
        MAP_EACH (&c->pods, p)
            if (!is_active(k, p->key))
                map_put(&stale, p->key, k);
    }
    MAP_EACH (&stale, m) {
        struct err e = {{0}};
        int r = dra_unprepare(k, m->key, &e);
        if (r == -ECANCELED)
            break;
        if (r)
            log_warn(LOG, "claims of pod " STR_FMT ", which is gone: %s", STR_ARG(m->key), err_text(&e, r));
    }
    map_done(&stale);
}

/* ---- telling ------------------------------------------------------------------------------------------------------------- */

struct reporting {
    struct arena *a;
    struct val *list;
};

static int report_claim(void *ctx, struct dra_claim *c, struct str request, struct str entry)
{
    struct reporting *r = ctx;
    (void)request, (void)entry;
    VAL_EACH (r->list, there)
        if (str_eq(val_getstr(there, N_claim_name), c->name))
            return 0;
    struct val *o = val_add_obj(r->a, r->list);
    val_set_str(r->a, o, N_claim_name, c->name);
    val_set_str(r->a, o, N_claim_namespace, c->ns);
    struct val *devices = val_sub_list(r->a, o, N_claim_resources);
    VAL_EACH_ENTRY (c->drivers, driver, list)
        VAL_EACH (list, d) {
            struct val *one = val_add_obj(r->a, devices);
            val_set_str(r->a, one, N_driver_name, val_str(driver));
            val_set_str(r->a, one, N_pool_name, val_getstr(d, N_pool_name));
            val_set_str(r->a, one, N_device_name, val_getstr(d, N_device_name));
            if (val_getstr(d, N_share_id).n)
                val_set_str(r->a, one, N_share_id, val_getstr(d, N_share_id));
            VAL_EACH (val_get(d, N_cdi_device_ids), id)
                val_set_str(r->a, val_add_obj(r->a, val_sub_list(r->a, one, N_cdi_devices)), N_name, val_str(id));
        }
    return 0;
}

void dra_report(struct kubelet *k, const struct val *pod, const struct val *container, struct arena *a, struct val *ret)
{
    struct reporting r = {a, val_new(a, VAL_LIST)};
    each_claim(k, pod, container, report_claim, &r, NULL);
    if (r.list->n)
        val_set_ref(a, ret, N_dynamic_resources, r.list);
}

struct telling {
    struct kubelet *k;
    struct arena *a;
    struct val *list;
};

static const char *health_word(const struct dra_health *h)
{
    static const char *const words[] = {"Unknown", "Healthy", "Unhealthy"};
    bool fresh = h && h->stale_at.ns > os_mono().ns;
    return fresh && h->status > 0 && h->status < 3 ? words[h->status] : words[0];
}

static void tell_device(struct telling *t, struct val *resources_, const struct dra_driver *d, struct str driver,
                        const struct val *device)
{
    struct str key = arena_printf(t->a, STR_FMT "/" STR_FMT, STR_ARG(val_getstr(device, N_pool_name)),
                                  STR_ARG(val_getstr(device, N_device_name)));
    const struct dra_health *h = d ? map_get(&d->health, key) : NULL;
    const struct val *first = val_item(val_get(device, N_cdi_device_ids), 0);
    struct str id = first ? val_str(first) : arena_printf(t->a, STR_FMT "/" STR_FMT, STR_ARG(driver), STR_ARG(key));
    VAL_EACH (resources_, there)
        if (str_eq(val_getstr(there, N_resourceID), id))
            return;
    struct val *o = val_add_obj(t->a, resources_);
    val_set_str(t->a, o, N_resourceID, id);
    val_set_str(t->a, o, N_health, str_of(health_word(h)));
    if (h && *h->message && h->stale_at.ns > os_mono().ns) {
        struct str text = str_of(h->message);
        val_set_str(t->a, o, N_message,
                    text.n <= HEALTH_MESSAGE_MAX ? text
                                                 : arena_printf(t->a, "%.*s...", HEALTH_MESSAGE_MAX - 3, h->message));
    }
}

static int tell_claim(void *ctx, struct dra_claim *c, struct str request, struct str entry)
{
    struct telling *t = ctx;
    struct val *o = val_add_obj(t->a, t->list);
    val_set_str(t->a, o, N_name, arena_printf(t->a, request.n ? "claim:%.*s/%.*s" : "claim:%.*s%.*s", STR_ARG(entry), STR_ARG(request)));
    struct val *list = val_sub_list(t->a, o, N_resources);
    VAL_EACH_ENTRY (c->drivers, driver, devices) {
        const struct dra_driver *d = map_get(&t->k->dra.drivers, val_str(driver));
        VAL_EACH (devices, x)
            if (dra_device_is_for(x, request))
                tell_device(t, list, d, val_str(driver), x);
    }
    return 0;
}

const struct val *dra_health_of(struct kubelet *k, const struct val *pod, const struct val *container, struct arena *a)
{
    struct telling t = {k, a, val_new(a, VAL_LIST)};
    each_claim(k, pod, container, tell_claim, &t, NULL);
    return t.list->n ? t.list : NULL;
}
