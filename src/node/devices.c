/* SPDX-License-Identifier: Apache-2.0 */
#include "node/devices.h"

#include "grpc.h"
#include "net/grpc.h"
#include "node/kubelet-internal.h"
#include "types.h"
#include "wire/json.h"

#include <unistd.h>

#define CALL_TIMEOUT SECONDS(30)
#define KEEP_GONE SECONDS(300) /* a plug-in that is gone may come back: its resource is shown, with nothing to have */

/* ---- what there is ------------------------------------------------------------------------------------------- */

size_t devices_healthy(const struct device_resource *r)
{
    size_t n = 0;
    for (size_t i = 0; r && r->client && i < r->n; i++)
        n += r->devices[i].healthy;
    return n;
}

static bool has_id(char *const *ids, size_t n, struct str id)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(id, ids[i]))
            return true;
    return false;
}

static bool is_free(const struct devices *d, const char *resource, struct str id)
{
    for (size_t i = 0; i < d->n; i++)
        if (!strcmp(d->grants[i].resource, resource) && has_id(d->grants[i].ids, d->grants[i].n, id))
            return false;
    return true;
}

static bool picked(const struct str *ids, size_t n, struct str id)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(ids[i], id))
            return true;
    return false;
}

static bool is_healthy(const struct device_resource *r, struct str id)
{
    for (size_t i = 0; i < r->n; i++)
        if (str_is(id, r->devices[i].id))
            return r->devices[i].healthy;
    return false;
}

size_t devices_pick(struct arena *a, const struct device_resource *r, const struct devices *d, struct str uid, size_t wanted,
                    const struct val *preferred, struct str *ret)
{
    size_t n = 0;
    for (size_t g = 0; g < d->n; g++) /* of init containers that have ended */
        if (d->grants[g].reusable && str_is(uid, d->grants[g].uid) && !strcmp(d->grants[g].resource, r->name))
            for (size_t i = 0; i < d->grants[g].n && n < wanted; i++)
                if (!picked(ret, n, str_of(d->grants[g].ids[i])))
                    ret[n++] = arena_str(a, str_of(d->grants[g].ids[i]));
    VAL_EACH (preferred, id)
        if (n < wanted && is_healthy(r, val_str(id)) && is_free(d, r->name, val_str(id)) && !picked(ret, n, val_str(id)))
            ret[n++] = arena_str(a, val_str(id));
    for (size_t i = 0; i < r->n && n < wanted; i++) {
        struct str id = str_of(r->devices[i].id);
        if (r->devices[i].healthy && is_free(d, r->name, id) && !picked(ret, n, id))
            ret[n++] = arena_str(a, id);
    }
    return n;
}

static int64_t wanted_by(const struct val *container, const char *resource)
{
    return quantity_units(resource_amount(val_get(container, N_resources), N_limits, resource));
}

/* ---- resources ------------------------------------------------------------------------------------------------- */

static void clear_devices(struct device_resource *r)
{
    for (size_t i = 0; i < r->n; i++)
        free(r->devices[i].id);
    free(r->devices);
    r->devices = NULL;
    r->n = 0;
}

static void disconnect(struct device_resource *r)
{
    group_stop(&r->watching);
    grpc_client_free(r->client);
    r->client = NULL;
    free(r->endpoint);
    r->endpoint = NULL;
}

static void resource_free(void *p)
{
    struct device_resource *r = p;
    disconnect(r);
    clear_devices(r);
    free(r->name);
    free(r);
}

static void take_devices(struct device_resource *r, const struct val *list)
{
    clear_devices(r);
    r->devices = xcalloc(val_len(list) + 1, sizeof(*r->devices));
    VAL_EACH (list, d)
        r->devices[r->n++] = (struct device){str_dup(val_getstr(d, N_ID)), str_is(val_getstr(d, N_health), "Healthy"),
                                             val_int(val_get(val_item(val_at(d, N_topology, N_nodes), 0), N_ID), -1)};
    node_touch(r->k);
}

/* Listens to one plug-in until it goes. */
static void watch_fiber(void *arg)
{
    struct device_resource *r = arg;
    struct arena a = ARENA_INIT;
    struct grpc_stream *s = NULL;
    struct err e = {{0}};
    const struct val *m;
    int rc = grpc_stream_open(r->client, &grpc_methods[G_deviceplugin_v1beta1_DevicePlugin_ListAndWatch], val_new(&a, VAL_OBJ), MONO_NEVER, &s, &e);
    while (rc == 0 && (rc = grpc_stream_recv(s, MONO_NEVER, &a, &m, &e)) == 0 && m) {
        take_devices(r, val_get(m, N_devices));
        log_info(LOG, "%s: %zu devices, %zu healthy", r->name, r->n, devices_healthy(r));
        arena_done(&a);
    }
    grpc_stream_free(s);
    arena_done(&a);
    if (rc == -ECANCELED || fiber_cancelled())
        return;
    log_warn(LOG, "the device plug-in of %s is gone: %s", r->name, err_text(&e, rc));
    for (size_t i = 0; i < r->n; i++)
        r->devices[i].healthy = false;
    r->gone_at = os_mono();
    node_touch(r->k);
}

static bool is_extended(struct str name)
{
    ssize_t slash = str_find(name, '/');
    struct str domain = slash > 0 ? str_slice(name, 0, (size_t)slash) : STR_NULL;
    return domain.n && !check_dns_subdomain(domain) && !check_qualified_name(name) && !str_is(domain, "kubernetes.io") &&
           !str_ends(domain, STR(".kubernetes.io")) && !str_starts(name, STR("requests."));
}

/* A plug-in is there (again). What it can do: its own word, or the options of its registration. */
static int connect_plugin(struct kubelet *k, struct str name, const char *socket, const struct val *options, struct err *e)
{
    if (!is_extended(name))
        return err_set(e, -EINVAL, "the ResourceName \"" STR_FMT "\" is invalid", STR_ARG(name));
    struct device_resource *r = map_get(&k->devices.resources, name);
    if (!r) {
        r = NEW(struct device_resource);
        r->k = k;
        r->name = str_dup(name);
        map_put(&k->devices.resources, name, r);
    }
    int locked = fmutex_lock(&r->changing);
    if (locked < 0)
        return locked;
    disconnect(r);
    clear_devices(r);
    r->endpoint = xstrdup(socket);
    r->client = grpc_client_new(&(const struct grpc_client_config){.address = socket});
    r->gone_at.ns = 0;
    r->pre_start = val_bool(val_get(options, N_pre_start_required), false);
    r->preferred = val_bool(val_get(options, N_get_preferred_allocation_available), false);
    group_spawn(&r->watching, "device-plugin", watch_fiber, r);
    fmutex_unlock(&r->changing);
    log_info(LOG, "device plug-in of " STR_FMT " at %s", STR_ARG(name), socket);
    return 0;
}

/* ---- registration ------------------------------------------------------------------------------------------------- */

static int on_register(void *ctx, struct grpc_exchange *g, struct err *e)
{
    struct kubelet *k = ctx;
    const struct val *q;
    int rc = grpc_recv_request(g, &q);
    struct arena *a = grpc_arena(g);
    if (rc != 0)
        return rc;
    if (!str_is(val_getstr(q, N_version), "v1beta1")) {
        err_set(e, -EINVAL, "requested API version \"" STR_FMT "\" is not supported by kubelet. Supported version is [\"v1beta1\"]",
                STR_ARG(val_getstr(q, N_version)));
        return GRPC_UNKNOWN;
    }
    struct str endpoint = val_getstr(q, N_endpoint);
    if (!endpoint.n || str_find(endpoint, '/') >= 0) {
        err_set(e, -EINVAL, "the endpoint \"" STR_FMT "\" is no file name", STR_ARG(endpoint));
        return GRPC_INVALID_ARGUMENT;
    }
    const char *socket = arena_printf(a, "unix:%s/device-plugins/" STR_FMT, k->cfg.root_dir, STR_ARG(endpoint)).p;
    if (connect_plugin(k, val_getstr(q, N_resource_name), socket, val_get(q, N_options), e) < 0)
        return GRPC_UNKNOWN;
    return grpc_send(g, val_new(a, VAL_OBJ));
}

static int plugin_registered(struct kubelet *k, struct str name, struct str endpoint, const struct val *versions, struct err *e)
{
    struct arena a = ARENA_INIT;
    const struct val *options = NULL;
    bool known = false;
    VAL_EACH (versions, v)
        known = known || str_is(val_str(v), "v1beta1");
    const char *socket = arena_printf(&a, "unix:" STR_FMT, STR_ARG(endpoint)).p;
    int r = known ? 0 : err_set(e, -EINVAL, "device plug-ins speak v1beta1 here");
    if (r == 0) {
        struct grpc_client *c = grpc_client_new(&(const struct grpc_client_config){.address = socket});
        r = grpc_call(c, &grpc_methods[G_deviceplugin_v1beta1_DevicePlugin_GetDevicePluginOptions], val_new(&a, VAL_OBJ), mono_add(os_mono(), CALL_TIMEOUT),
                      &a, &options, e);
        grpc_client_free(c);
        if (r > 0) /* taken for "no options", containers would start without what it has to do before */
            r = err_wrap(e, -EIO, "failed to get device plugin options");
        if (r == 0)
            r = connect_plugin(k, name, socket, options, e);
    }
    arena_done(&a);
    return r;
}

static void plugin_gone(struct kubelet *k, struct str name, struct str endpoint)
{
    struct device_resource *r = map_get(&k->devices.resources, name);
    if (!r || fmutex_lock(&r->changing) < 0)
        return;
    if (r->endpoint && str_eq(endpoint, str_from(str_of(r->endpoint), strlen("unix:")))) { /* else another took its place */
        disconnect(r);
        for (size_t i = 0; i < r->n; i++)
            r->devices[i].healthy = false;
        r->gone_at = os_mono();
        node_touch(k);
    }
    fmutex_unlock(&r->changing);
}

const struct plugin_handler device_plugin_handler = {"DevicePlugin", plugin_registered, plugin_gone};

/* Sockets of an earlier life mean nothing: plug-ins that see ours made anew register again. */
static void clear_sockets(struct kubelet *k, const char *dir)
{
    struct arena a = ARENA_INIT;
    char **names;
    if (k->host->ops->list_dir(k->host, &a, dir, &names) == 0)
        for (; *names; names++)
            if (str_ends(str_of(*names), STR(".sock")))
                unlink(arena_printf(&a, "%s/%s", dir, *names).p);
    arena_done(&a);
}

int devices_start(struct kubelet *k, struct err *e)
{
    static const struct grpc_service services[] = {{&grpc_methods[G_deviceplugin_v1beta1_Registration_Register], on_register}, {NULL, NULL}};
    const char *dir = arena_printf(&k->arena, "%s/device-plugins", k->cfg.root_dir).p;
    struct grpc_server *s = ARENA_ARRAY(&k->arena, struct grpc_server, 1);
    *s = (struct grpc_server){services, k, 0};
    int r = k->host->ops->make_dir(k->host, dir, 0750, e);
    if (r < 0)
        return r;
    clear_sockets(k, dir);
    k->devices.server = http_server_new(&(const struct http_server_config){.handler = grpc_serve, .ctx = s});
    return http_server_listen(k->devices.server, arena_printf(&k->arena, "unix:%s/kubelet.sock", dir).p, e);
}

static void grant_free(struct device_grant *g)
{
    for (size_t i = 0; i < g->n; i++)
        free(g->ids[i]);
    free(g->ids);
    free(g->uid);
    free(g->container);
    free(g->resource);
    arena_done(&g->arena);
}

void devices_stop(struct kubelet *k)
{
    if (k->devices.server) {
        http_server_stop(k->devices.server, os_mono());
        http_server_free(k->devices.server);
        k->devices.server = NULL;
    }
    map_done_with(&k->devices.resources, resource_free);
    for (size_t i = 0; i < k->devices.n; i++)
        grant_free(&k->devices.grants[i]);
    free(k->devices.grants);
    k->devices.grants = NULL;
    k->devices.n = k->devices.cap = 0;
}

/* ---- admission ------------------------------------------------------------------------------------------------------ */

/* Others may not have got theirs yet, but were told that they may. */
static int64_t promised(struct kubelet *k, const struct worker *but, const char *resource)
{
    int64_t sum = 0;
    MAP_EACH (&k->workers, m) {
        const struct worker *w = m->value;
        if (w != but && w->started && w->pod && w->stage < WORKER_TERMINATED && !w->fail_reason && !pod_terminal(w->pod->val))
            sum += quantity_units(pod_amount(w->pod->val, N_limits, resource));
    }
    return sum;
}

const char *devices_admit(struct kubelet *k, const struct worker *w, const struct val *pod, struct arena *a, struct str *ret_message)
{
    MAP_EACH (&k->devices.resources, m) {
        const struct device_resource *r = m->value;
        int64_t wanted = quantity_units(pod_amount(pod, N_limits, r->name)), healthy = (int64_t)devices_healthy(r);
        if (wanted <= 0)
            continue;
        int64_t left = MAX(healthy - promised(k, w, r->name), (int64_t)0);
        if (healthy == 0)
            *ret_message = arena_printf(a, "Allocate failed due to no healthy devices present; cannot allocate unhealthy devices %s, which is unexpected", r->name);
        else if (wanted > left)
            *ret_message = arena_printf(a, "Allocate failed due to requested number of devices unavailable for %s. Requested: %lld, Available: %lld, "
                                           "which is unexpected", r->name, (long long)wanted, (long long)left);
        else
            continue;
        return "UnexpectedAdmissionError";
    }
    return NULL;
}

/* ---- by NUMA nodes ------------------------------------------------------------------------------------------------------- */

static numa_mask node_mask(const struct numa_machine *m, const struct device *d)
{
    for (size_t i = 0; d->numa >= 0 && i < m->n; i++)
        if (m->nodes[i].id == d->numa)
            return (numa_mask)1 << i;
    return 0;
}

static bool has_topology(const struct device_resource *r)
{
    for (size_t i = 0; i < r->n; i++)
        if (r->devices[i].numa >= 0)
            return true;
    return false;
}

static bool was_init_s(const struct devices *d, const char *resource, const char *uid, const char *id)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->grants[i].reusable && !strcmp(d->grants[i].uid, uid) && !strcmp(d->grants[i].resource, resource) &&
            has_id(d->grants[i].ids, d->grants[i].n, str_of(id)))
            return true;
    return false;
}

static struct numa_hints hints_of(const struct devices *d, const struct device_resource *r, const struct numa_machine *m, const char *uid, int64_t wanted,
                                  struct arena *a)
{
    struct numa_hints h = numa_hints_new(a, m);
    int least = (int)m->n;
    for (numa_mask set = 1; set <= numa_all(m); set++) {
        int64_t all = 0, here = 0;
        bool leaves_one = false;
        for (size_t i = 0; i < r->n; i++) {
            const struct device *one = &r->devices[i];
            bool inside = node_mask(m, one) & set, again = was_init_s(d, r->name, uid, one->id);
            all += inside;
            here += inside && (again || (one->healthy && is_free(d, r->name, str_of(one->id))));
            leaves_one = leaves_one || (again && !inside && one->numa >= 0);
        }
        if (all >= wanted)
            least = MIN(least, numa_count(set));
        if (here >= wanted && !leaves_one)
            numa_hints_add(&h, set);
    }
    numa_hints_prefer(&h, least);
    return h;
}

size_t devices_hints(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct numa_hints *ret, size_t most)
{
    struct devices *d = &w->k->devices;
    size_t n = 0;
    MAP_EACH (&d->resources, e) {
        const struct device_resource *r = e->value;
        int64_t wanted = container ? wanted_by(container, r->name) : quantity_units(pod_amount(pod, N_limits, r->name));
        if (wanted > 0 && n < most && has_topology(r))
            ret[n++] = hints_of(d, r, w->k->machine, w->uid, wanted, a);
    }
    return n;
}

/* ---- granting --------------------------------------------------------------------------------------------------------- */

static struct device_grant *find_grant(struct devices *d, const char *uid, struct str container, const char *resource)
{
    for (size_t i = 0; i < d->n; i++)
        if (!strcmp(d->grants[i].uid, uid) && str_is(container, d->grants[i].container) && !strcmp(d->grants[i].resource, resource))
            return &d->grants[i];
    return NULL;
}

static struct device_grant *add_grant(struct devices *d, const char *uid, struct str container, const char *resource, const struct str *ids, size_t n)
{
    if (d->n == d->cap) {
        d->cap = d->cap ? 2 * d->cap : 16;
        d->grants = xrealloc(d->grants, d->cap * sizeof(*d->grants));
    }
    struct device_grant *g = &d->grants[d->n++];
    *g = (struct device_grant){.uid = xstrdup(uid), .container = str_dup(container), .resource = xstrdup(resource), .n = n};
    g->ids = xcalloc(n + 1, sizeof(*g->ids));
    for (size_t i = 0; i < n; i++)
        g->ids[i] = str_dup(ids[i]);
    return g;
}

static struct val *id_list(struct arena *a, const struct device_grant *g)
{
    struct val *list = val_new(a, VAL_LIST);
    for (size_t i = 0; i < g->n; i++)
        val_add_str(a, list, str_of(g->ids[i]));
    return list;
}

/* The plug-in may go while it is asked: the call has a connection of its own. */
static int call_plugin(const struct device_resource *r, unsigned method, const struct val *q, struct arena *a, const struct val **ret, struct err *e)
{
    if (!r->endpoint) {
        err_set(e, -ENODEV, "the device plug-in of %s is gone", r->name);
        return GRPC_UNAVAILABLE;
    }
    struct grpc_client *c = grpc_client_new(&(const struct grpc_client_config){.address = r->endpoint});
    int rc = grpc_call(c, &grpc_methods[method], q, mono_add(os_mono(), CALL_TIMEOUT), a, ret, e);
    grpc_client_free(c);
    return rc;
}

static const struct val *ask_preferred(struct device_resource *r, const struct devices *d, size_t wanted, struct arena *a)
{
    struct val *q = val_new(a, VAL_OBJ), *one = val_add_obj(a, val_sub_list(a, q, N_container_requests));
    const struct val *answer;
    struct val *free_ = val_sub_list(a, one, N_available_deviceIDs);
    for (size_t i = 0; i < r->n; i++)
        if (r->devices[i].healthy && is_free(d, r->name, str_of(r->devices[i].id)))
            val_add_str(a, free_, str_of(r->devices[i].id));
    val_set_int(a, one, N_allocation_size, (int64_t)wanted);
    if (!r->preferred || call_plugin(r, G_deviceplugin_v1beta1_DevicePlugin_GetPreferredAllocation, q, a, &answer, NULL) != 0)
        return NULL;
    return val_get(val_item(val_get(answer, N_container_responses), 0), N_deviceIDs);
}

/* What the plug-in says about these devices. The grant may move while we wait: it is looked for again. */
static int ask_allocate(struct kubelet *k, struct device_resource *r, const char *uid, struct str container, struct arena *a, struct err *e)
{
    struct device_grant *g = find_grant(&k->devices, uid, container, r->name);
    struct val *q = val_new(a, VAL_OBJ), *one = val_add_obj(a, val_sub_list(a, q, N_container_requests));
    const struct val *answer;
    struct err why = {{0}};
    val_set_ref(a, one, N_devices_ids, id_list(a, g));
    int rc = call_plugin(r, G_deviceplugin_v1beta1_DevicePlugin_Allocate, q, a, &answer, &why);
    if (rc != 0)
        return rc < 0 ? rc : err_set(e, -EIO, "rpc error: code = %s desc = %s", grpc_code_name(rc), err_text(&why, -EIO));
    const struct val *response = val_item(val_get(answer, N_container_responses), 0);
    if (!response)
        return err_set(e, -EIO, "no containers return in allocation response");
    g = find_grant(&k->devices, uid, container, r->name);
    if (g) {
        arena_done(&g->arena);
        g->response = val_copy(&g->arena, response);
    }
    return 0;
}

static int pre_start(struct device_resource *r, const struct device_grant *g, struct arena *a, struct err *e)
{
    struct val *q = val_new(a, VAL_OBJ);
    const struct val *answer;
    struct err why = {{0}};
    val_set_ref(a, q, N_devices_ids, id_list(a, g));
    if (!r->pre_start)
        return 0;
    int rc = call_plugin(r, G_deviceplugin_v1beta1_DevicePlugin_PreStartContainer, q, a, &answer, &why);
    return rc <= 0 ? rc : err_set(e, -EIO, "device plugin PreStartContainer rpc failed with err: rpc error: code = %s desc = %s", grpc_code_name(rc),
                                  err_text(&why, -EIO));
}

static bool runs_once(const struct val *pod, struct str container)
{
    enum container_kind kind;
    const struct val *spec = pod_find_container(pod, container, &kind);
    return spec && kind == CK_INIT && !container_is_sidecar(spec);
}

/* One resource of one container: devices, and the plug-in's word on them. */
static int prepare_one(struct worker *w, const struct val *pod, struct str container, struct device_resource *r, size_t wanted, struct arena *a,
                       struct err *e)
{
    struct devices *d = &w->k->devices;
    struct device_grant *g = find_grant(d, w->uid, container, r->name);
    if (!r->client)
        return err_set(e, -ENODEV, "cannot allocate unregistered device %s", r->name);
    if (!g) {
        const struct val *preferred = wanted <= r->n ? ask_preferred(r, d, wanted, a) : NULL;
        struct str *ids = ARENA_ARRAY(a, struct str, MIN(wanted, r->n) + 1);
        size_t n = devices_pick(a, r, d, str_of(w->uid), MIN(wanted, r->n), preferred, ids);
        if (n < wanted)
            return err_set(e, -ENODEV, "requested number of devices unavailable for %s. Requested: %zu, Available: %zu", r->name, wanted, n);
        g = add_grant(d, w->uid, container, r->name, ids, n);
        g->reusable = runs_once(pod, container);
    }
    int rc = g->response ? 0 : ask_allocate(w->k, r, w->uid, container, a, e);
    g = find_grant(d, w->uid, container, r->name);
    if (rc != 0 || !g)
        return rc != 0 ? rc : err_set(e, -ECANCELED, "the pod is gone");
    return pre_start(r, g, a, e);
}

/* Devices of these nodes first. The plug-in's preference is not asked for: who admits Pods does not wait. */
int devices_allocate(struct worker *w, const struct val *pod, const struct val *container, numa_mask nodes, struct err *e)
{
    struct devices *d = &w->k->devices;
    struct arena a = ARENA_INIT;
    struct str name = val_getstr(container, N_name);
    int rc = 0;
    MAP_EACH (&d->resources, m) {
        const struct device_resource *r = m->value;
        int64_t wanted = wanted_by(container, r->name);
        if (rc != 0 || wanted <= 0 || find_grant(d, w->uid, name, r->name))
            continue;
        struct val *near = val_new(&a, VAL_LIST);
        for (size_t i = 0; i < r->n; i++)
            if (node_mask(w->k->machine, &r->devices[i]) & nodes)
                val_add_str(&a, near, str_of(r->devices[i].id));
        size_t most = MIN((size_t)wanted, r->n); /* there is room for no more, whatever somebody writes */
        struct str *ids = ARENA_ARRAY(&a, struct str, most + 1);
        size_t n = devices_pick(&a, r, d, str_of(w->uid), most, near, ids);
        if (n < (size_t)wanted)
            rc = err_set(e, -ENODEV, "requested number of devices unavailable for %s. Requested: %lld, Available: %zu", r->name, (long long)wanted, n);
        else
            add_grant(d, w->uid, name, r->name, ids, n)->reusable = runs_once(pod, name);
    }
    arena_done(&a);
    return rc;
}

/* ---- what a container is given -------------------------------------------------------------------------------------------- */

static void add_env(struct arena *a, struct env_list *env, const struct val *envs)
{
    VAL_EACH_ENTRY (envs, k, v) {
        if (env_find(env, val_str(k)))
            continue;
        struct env_var *items = ARENA_ARRAY(a, struct env_var, env->n + 1);
        if (env->n)
            memcpy(items, env->items, env->n * sizeof(*items));
        items[env->n] = (struct env_var){arena_str(a, val_str(k)), arena_str(a, val_str(v))};
        *env = (struct env_list){items, env->n + 1, env->n + 1};
    }
}

static void add_mounts(struct arena *a, struct cri_container *c, const struct val *list)
{
    struct cri_mount *all = ARENA_ARRAY(a, struct cri_mount, c->n_mounts + val_len(list) + 1);
    if (c->n_mounts)
        memcpy(all, c->mounts, c->n_mounts * sizeof(*all));
    VAL_EACH (list, m)
        all[c->n_mounts++] = (struct cri_mount){.container_path = arena_str(a, val_getstr(m, N_container_path)),
                                                .host_path = arena_str(a, val_getstr(m, N_host_path)),
                                                .read_only = val_bool(val_get(m, N_read_only), false)};
    c->mounts = all;
}

static void add_devices(struct arena *a, struct cri_container *c, const struct val *list)
{
    struct cri_device *all = ARENA_ARRAY(a, struct cri_device, c->n_devices + val_len(list) + 1);
    if (c->n_devices)
        memcpy(all, c->devices, c->n_devices * sizeof(*all));
    VAL_EACH (list, d)
        all[c->n_devices++] = (struct cri_device){arena_str(a, val_getstr(d, N_container_path)), arena_str(a, val_getstr(d, N_host_path)),
                                                  arena_str(a, val_getstr(d, N_permissions))};
    c->devices = all;
}

static void give(struct arena *a, const struct device_grant *g, struct cri_container *c, struct env_list *env)
{
    add_env(a, env, val_get(g->response, N_envs));
    add_mounts(a, c, val_get(g->response, N_mounts));
    add_devices(a, c, val_get(g->response, N_devices));
    VAL_EACH_ENTRY (val_get(g->response, N_annotations), k, v)
        val_put_str(a, c->annotations, val_str(k), val_str(v));
    VAL_EACH (val_get(g->response, N_cdi_devices), d)
        val_set_str(a, val_add_obj(a, c->cdi_devices), N_name, val_getstr(d, N_name));
}

static void note(struct arena *a, struct cri_container *c, const struct val *held)
{
    struct buf b = BUF_INIT;
    if (!val_len(held))
        return;
    json_encode(&b, NULL, held, 0);
    val_put_str(a, c->annotations, STR(CRI_NOTE_DEVICES), buf_str(&b));
    buf_done(&b);
}

int devices_prepare(struct worker *w, const struct val *pod, const struct val *container, struct arena *a, struct cri_container *c,
                    struct env_list *env, struct err *e)
{
    struct kubelet *k = w->k;
    struct str name = val_getstr(container, N_name);
    struct val *held = val_new(a, VAL_MAP);
    c->annotations = val_new(a, VAL_MAP);
    c->cdi_devices = val_new(a, VAL_LIST);
    const struct val *limits = val_at(container, N_resources, N_limits);
    for (size_t i = 0; i < val_len(limits); i++) {
        struct device_resource *r = map_get(&k->devices.resources, val_str(&limits->items[2 * i]));
        int64_t wanted = r ? wanted_by(container, r->name) : 0;
        if (wanted <= 0)
            continue;
        int rc = prepare_one(w, pod, name, r, (size_t)wanted, a, e);
        if (rc != 0)
            return rc;
        const struct device_grant *g = find_grant(&k->devices, w->uid, name, arena_cstr(a, val_str(&limits->items[2 * i])));
        if (!g)
            return err_set(e, -ECANCELED, "the pod is gone");
        give(a, g, c, env);
        val_put(a, held, str_of(g->resource), *id_list(a, g));
    }
    note(a, c, held);
    return 0;
}

/* ---- remembering, and giving back -------------------------------------------------------------------------------------------- */

void devices_recall(struct worker *w)
{
    struct arena a = ARENA_INIT;
    for (size_t i = 0; w->state && i < w->state->n_containers; i++) {
        const struct rt_container *c = &w->state->containers[i];
        struct val *held = NULL;
        if (!c->devices.n || json_decode(&a, NULL, c->devices, 0, NULL, &held, NULL) < 0)
            continue;
        VAL_EACH_ENTRY (held, k, list) {
            const char *resource = arena_cstr(&a, val_str(k));
            struct str *ids = ARENA_ARRAY(&a, struct str, val_len(list) + 1);
            size_t n = 0;
            VAL_EACH (list, id)
                ids[n++] = val_str(id);
            if (!find_grant(&w->k->devices, w->uid, c->name, resource))
                add_grant(&w->k->devices, w->uid, c->name, resource, ids, n)->reusable = w->pod && runs_once(w->pod->val, c->name);
        }
    }
    arena_done(&a);
}

void devices_release(struct worker *w)
{
    struct devices *d = &w->k->devices;
    size_t kept = 0;
    for (size_t i = 0; i < d->n; i++) {
        if (strcmp(d->grants[i].uid, w->uid) != 0)
            d->grants[kept++] = d->grants[i];
        else
            grant_free(&d->grants[i]);
    }
    d->n = kept;
}

/* ---- telling -------------------------------------------------------------------------------------------------------------------- */

void devices_report(struct kubelet *k, struct arena *a, struct val *capacity, struct val *allocatable)
{
    char text[QUANTITY_TEXT_MAX];
    MAP_EACH (&k->devices.resources, m) {
        const struct device_resource *r = m->value;
        bool forgotten = r->gone_at.ns && os_mono().ns - r->gone_at.ns > KEEP_GONE;
        size_t healthy = forgotten ? 0 : devices_healthy(r), all = forgotten ? 0 : r->n;
        val_put_str(a, capacity, str_of(r->name), str_of(quantity_text(quantity_of((int64_t)all, QUANTITY_DECIMAL_SI), text)));
        val_put_str(a, allocatable, str_of(r->name), str_of(quantity_text(quantity_of((int64_t)healthy, QUANTITY_DECIMAL_SI), text)));
    }
}
