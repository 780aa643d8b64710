/* SPDX-License-Identifier: Apache-2.0 */
#include "node/dra.h"

#include "grpc.h"
#include "net/grpc.h"
#include "node/kubelet-internal.h"
#include "node/metrics.h"

#define CALL_TIMEOUT SECONDS(45)  /* upstream's */
#define WIPE_DELAY SECONDS(30)    /* a driver gets to come back before its ResourceSlices are deleted */
#define WIPE_RETRY SECONDS(5)
#define RECONCILE SECONDS(60)     /* between looks at claims of Pods that are gone */
#define HEALTH_RETRY SECONDS(5)
#define HEALTH_STALE SECONDS(30)  /* what a driver said of a device is worth nothing after that, unless it says how long */

static const struct resource *slices_res(void)
{
    return &resources[RES_RESOURCESLICES];
}

/* ---- drivers ------------------------------------------------------------------------------------------------- */

static void health_free(void *v)
{
    struct dra_health *h = v;
    free(h->message);
    free(h);
}

static void plugin_drop(struct dra_plugin *p)
{
    list_remove(&p->link);
    group_stop(&p->watching);
    grpc_client_free(p->client);
    free(p->endpoint);
    free(p);
}

static void driver_free(void *v)
{
    struct dra_driver *d = v;
    LIST_EACH_SAFE (&d->plugins, l)
        plugin_drop(LIST_ENTRY(l, struct dra_plugin, link));
    map_done_with(&d->health, health_free);
    free(d->name);
    free(d);
}

static struct dra_driver *driver_of(struct kubelet *k, struct str name)
{
    struct dra_driver *d = map_get(&k->dra.drivers, name);
    if (d)
        return d;
    d = NEW(struct dra_driver);
    d->k = k;
    d->name = str_dup(name);
    list_init(&d->plugins);
    map_put(&k->dra.drivers, name, d);
    return d;
}

static struct dra_plugin *newest(const struct dra_driver *d)
{
    return d && !list_empty(&d->plugins) ? LIST_ENTRY(d->plugins.prev, struct dra_plugin, link) : NULL;
}

int dra_check_driver(const struct kubelet *k, struct str driver, struct err *e)
{
    if (newest(map_get(&k->dra.drivers, driver)))
        return 0;
    return err_set(e, -ENOENT, "DRA driver " STR_FMT " is not registered", STR_ARG(driver));
}

int dra_call(struct kubelet *k, struct str driver, bool prepare, const struct val *claims, struct arena *a,
             const struct val **ret, struct err *e)
{
    static const int methods[2][2] = {
        {G_dra_v1_DRAPlugin_NodeUnprepareResources, G_dra_v1beta1_DRAPlugin_NodeUnprepareResources},
        {G_dra_v1_DRAPlugin_NodePrepareResources, G_dra_v1beta1_DRAPlugin_NodePrepareResources},
    };
    const struct dra_plugin *p = newest(map_get(&k->dra.drivers, driver));
    struct val *q = val_new(a, VAL_OBJ);
    const struct val *answer;
    if (!p)
        return dra_check_driver(k, driver, e);
    /* The plug-in may go while it is asked: the call has a connection of its own. */
    struct grpc_client *c = grpc_client_new(
        &(const struct grpc_client_config){.address = arena_printf(a, "unix:%s", p->endpoint).p});
    val_set_ref(a, q, N_claims, claims);
    struct mono began = os_mono();
    unsigned method = (unsigned)methods[prepare][p->beta];
    int r = grpc_call(c, &grpc_methods[method], q, mono_add(began, CALL_TIMEOUT), a, &answer, e);
    grpc_client_free(c);
    if (r == -ECANCELED)
        return r;
    metrics_dra_call(k, driver, method, r, os_mono().ns - began.ns);
    if (r != 0)
        return err_wrap(e, -EIO, "%s: rpc error: code = %s desc =", prepare ? "NodePrepareResources" : "NodeUnprepareResources",
                        r > 0 ? grpc_code_name(r) : "Unknown");
    *ret = val_get(answer, N_claims);
    return 0;
}

/* ---- health of devices (KEP-4680) ------------------------------------------------------------------------------ */

/* What nobody speaks of any more reads as unknown anyhow. */
static void forget_stale(struct dra_driver *d)
{
    struct mono now = os_mono();
    MAP_EACH (&d->health, m) {
        struct dra_health *h = m->value;
        if (h->stale_at.ns <= now.ns)
            health_free(map_del(&d->health, m->key));
    }
}

static void take_health(struct dra_driver *d, const struct val *device)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *id = val_get(device, N_device);
    struct str key = arena_printf(&a, STR_FMT "/" STR_FMT, STR_ARG(val_getstr(id, N_pool_name)),
                                  STR_ARG(val_getstr(id, N_device_name)));
    int64_t timeout = val_int(val_get(device, N_health_check_timeout_seconds), 0);
    if (d->health.n >= DRA_HEALTH_MAX && !map_has(&d->health, key))
        return;
    struct dra_health *h = NEW(struct dra_health);
    h->status = (int)val_int(val_get(device, N_health), 0);
    h->stale_at = mono_add(os_mono(), timeout > 0 ? SECONDS(MIN(timeout, (int64_t)86400)) : HEALTH_STALE);
    h->message = str_dup(val_getstr(device, N_message));
    struct dra_health *was = map_put(&d->health, key, h);
    if (was)
        health_free(was);
}

static void touch_pods(struct kubelet *k)
{
    MAP_EACH (&k->workers, m) {
        struct worker *w = m->value;
        if (w->pod && dra_wanted(w->pod->val))
            worker_wake(w);
    }
}

static void watch_health(struct dra_driver *d, struct dra_plugin *p)
{
    struct arena a = ARENA_INIT;
    struct grpc_stream *s = NULL;
    const struct val *m;
    int r = grpc_stream_open(p->client, &grpc_methods[p->health], val_new(&a, VAL_OBJ), MONO_NEVER, &s, NULL);
    while (r == 0 && (r = grpc_stream_recv(s, MONO_NEVER, &a, &m, NULL)) == 0 && m) {
        forget_stale(d);
        VAL_EACH (val_get(m, N_devices), device)
            take_health(d, device);
        arena_done(&a);
        touch_pods(d->k);
    }
    grpc_stream_free(s);
    arena_done(&a);
    if (r == GRPC_UNIMPLEMENTED)
        p->health = 0;
}

struct watch_args {
    struct dra_driver *d;
    struct dra_plugin *p;
};

static void health_fiber(void *arg)
{
    struct watch_args w = *(struct watch_args *)arg;
    free(arg);
    while (w.p->health && !fiber_cancelled()) {
        watch_health(w.d, w.p);
        if (fiber_sleep(HEALTH_RETRY) < 0)
            return;
    }
}

/* ---- registration ------------------------------------------------------------------------------------------------ */

static bool speaks(const struct val *versions, const char *service)
{
    VAL_EACH (versions, v)
        if (str_is(val_str(v), service))
            return true;
    return false;
}

/* The first of the plug-in's list that we know, too. Drivers of old say "1.0.0" or nothing: v1beta1. */
static int choose_service(const struct val *versions, bool *ret_beta, struct err *e)
{
    VAL_EACH (versions, v) {
        *ret_beta = str_is(val_str(v), "v1beta1.DRAPlugin");
        if (*ret_beta || str_is(val_str(v), "v1.DRAPlugin"))
            return 0;
    }
    if (!val_len(versions))
        return err_set(e, -EINVAL, "empty list of supported gRPC services (aka supported versions)");
    return err_set(e, -EINVAL,
                   "none of services supported by the plugin are supported by the kubelet ([\"v1.DRAPlugin\" "
                   "\"v1beta1.DRAPlugin\"])");
}

static const char *path_of(struct str endpoint)
{
    return str_starts(endpoint, STR("unix:")) ? endpoint.p + 5 : endpoint.p;
}

static int registered(struct kubelet *k, struct str name, struct str endpoint, const struct val *versions, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    bool beta;
    const char *path = path_of(str_of(arena_cstr(&a, endpoint)));
    if (check_dns_subdomain(name))
        return err_set(e, -EINVAL, "\"" STR_FMT "\" is no name of a DRA driver", STR_ARG(name));
    int r = choose_service(versions, &beta, e);
    if (r < 0)
        return err_wrap(e, r, "invalid supported gRPC versions of DRA driver plugin " STR_FMT " at endpoint %s", STR_ARG(name),
                        path);
    struct dra_driver *d = driver_of(k, name);
    LIST_EACH (&d->plugins, l)
        if (!strcmp(LIST_ENTRY(l, struct dra_plugin, link)->endpoint, path))
            return err_set(e, -EEXIST, "endpoint %s already registered for DRA driver plugin %s", path, d->name);
    struct dra_plugin *p = NEW(struct dra_plugin);
    p->endpoint = xstrdup(path);
    p->beta = beta;
    p->client = grpc_client_new(&(const struct grpc_client_config){.address = arena_printf(&a, "unix:%s", path).p});
    p->health = speaks(versions, "v1.DRAResourceHealth")         ? G_drahealth_v1_DRAResourceHealth_NodeWatchResources
                : speaks(versions, "v1alpha1.DRAResourceHealth") ? G_drahealth_v1alpha1_DRAResourceHealth_NodeWatchResources
                                                                 : 0;
    list_push_back(&d->plugins, &p->link);
    d->wipe_at.ns = 0;
    if (p->health) {
        struct watch_args *w = NEW(struct watch_args);
        *w = (struct watch_args){d, p};
        group_spawn(&p->watching, "dra-health", health_fiber, w);
    }
    log_info(LOG, "DRA driver %s at %s", d->name, path);
    MAP_EACH (&k->workers, m) {
        struct worker *w = m->value;
        if (w->pod && dra_wanted(w->pod->val)) {
            w->retry_at.ns = 0; /* it may be what they wait for */
            worker_wake(w);
        }
    }
    waitq_wake_all(&k->dra.wake);
    return 0;
}

static void gone(struct kubelet *k, struct str name, struct str endpoint)
{
    struct dra_driver *d = map_get(&k->dra.drivers, name);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *path = path_of(str_of(arena_cstr(&a, endpoint)));
    if (!d)
        return;
    LIST_EACH_SAFE (&d->plugins, l) {
        struct dra_plugin *p = LIST_ENTRY(l, struct dra_plugin, link);
        if (!strcmp(p->endpoint, path))
            plugin_drop(p);
    }
    if (list_empty(&d->plugins))
        d->wipe_at = mono_add(os_mono(), WIPE_DELAY);
    waitq_wake_all(&k->dra.wake);
}

const struct plugin_handler dra_plugin_handler = {"DRAPlugin", registered, gone};

/* ---- slices of drivers that are not there ---------------------------------------------------------------------------- */

/* Pods that are sent here for devices of a driver that is gone would only wait. */
static int wipe(struct kubelet *k, const char *driver)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    if (!k->client)
        return 0;
    status_init(&s, &a);
    struct str selector = driver ? arena_printf(&a, "spec.nodeName=%s,spec.driver=%s", k->cfg.node_name, driver)
                                 : arena_printf(&a, "spec.nodeName=%s", k->cfg.node_name);
    int r = client_delete_collection(k->client, CALL(.res = slices_res(), .field_selector = selector), &a, NULL, &s);
    if (r > 0 && r != 404)
        log_debug(LOG, "ResourceSlices (" STR_FMT "): " STR_FMT, STR_ARG(selector), STR_ARG(s.message));
    return r == 404 ? 0 : r;
}

static struct dra_driver *due_driver(struct kubelet *k, struct mono now)
{
    MAP_EACH (&k->dra.drivers, m) {
        struct dra_driver *d = m->value;
        if (d->wipe_at.ns && d->wipe_at.ns <= now.ns)
            return d;
    }
    return NULL;
}

static struct mono wipe_due(struct kubelet *k)
{
    struct mono next = MONO_NEVER, now = os_mono();
    if (!k->dra.wiped && k->node_registered)
        k->dra.wiped = wipe(k, NULL) == 0;
    if (!k->dra.wiped)
        next = mono_add(now, k->node_registered ? WIPE_RETRY : SECONDS(1));
    for (struct dra_driver *d; (d = due_driver(k, now));) { /* deleting waits: others may register meanwhile */
        struct mono due = d->wipe_at;
        int r = wipe(k, d->name);
        if (r == -ECANCELED)
            return next;
        if (d->wipe_at.ns == due.ns) /* else it came back, and may be gone again */
            d->wipe_at = r == 0 ? (struct mono){0} : mono_add(os_mono(), WIPE_RETRY);
    }
    MAP_EACH (&k->dra.drivers, m) {
        const struct dra_driver *d = m->value;
        if (d->wipe_at.ns)
            next.ns = MIN(next.ns, d->wipe_at.ns);
    }
    return next;
}

void dra_run(void *arg)
{
    struct kubelet *k = arg;
    struct mono look = {0};
    while (!fiber_cancelled()) {
        struct mono next = wipe_due(k);
        if (look.ns <= os_mono().ns) {
            dra_unprepare_stale(k);
            look = mono_add(os_mono(), RECONCILE);
        }
        next.ns = MIN(next.ns, look.ns);
        if (waitq_wait(&k->dra.wake, next) == -ECANCELED)
            return;
    }
}

/* ---- the whole ---------------------------------------------------------------------------------------------------------- */

void dra_start(struct kubelet *k)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {{0}};
    struct str text;
    const char *path = arena_printf(&a, "%s/dra_manager_state", k->cfg.root_dir).p;
    if (k->host->ops->read_file(k->host, &a, path, 64 << 20, &text, &e) < 0)
        return; /* none yet */
    if (dra_state_read(&k->dra.state, text, &e) < 0) {
        const char *aside = arena_printf(&a, "%s.damaged", path).p; /* the next claim would write over it */
        int r = os_rename(path, aside);
        log_warn(LOG, "%s is damaged%s%s; claims that were prepared before are not known: %s", path, r == 0 ? " and is now " : "", r == 0 ? aside : "",
                 e.text);
    }
}

void dra_stop(struct kubelet *k)
{
    map_done_with(&k->dra.drivers, driver_free);
    dra_state_done(&k->dra.state);
}
