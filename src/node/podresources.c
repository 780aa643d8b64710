/* SPDX-License-Identifier: Apache-2.0 */
/* The socket at which monitoring agents ask which Pod has which devices (KEP-606, KEP-2043, KEP-3695). */
#include "node/devices.h"

#include "grpc.h"
#include "net/grpc.h"
#include "node/kubelet-internal.h"
#include "node/memory.h"

static void add_devices(struct arena *a, const struct kubelet *k, struct val *container, const char *uid, const char *name)
{
    const struct devices *d = &k->devices;
    for (size_t i = 0; i < d->n; i++) {
        const struct device_grant *g = &d->grants[i];
        const struct device_resource *r = map_get(&k->devices.resources, str_of(g->resource));
        if (strcmp(g->uid, uid) != 0 || strcmp(g->container, name) != 0)
            continue;
        for (size_t j = 0; j < g->n; j++) { /* as upstream: one entry a device */
            struct val *o = val_add_obj(a, val_sub_list(a, container, N_devices));
            val_set_str(a, o, N_resource_name, str_of(g->resource));
            val_add_str(a, val_sub_list(a, o, N_device_ids), str_of(g->ids[j]));
            for (size_t n = 0; r && n < r->n; n++)
                if (!strcmp(r->devices[n].id, g->ids[j]) && r->devices[n].numa >= 0)
                    val_set_int(a, val_add_obj(a, val_sub_list(a, val_sub_obj(a, o, N_topology), N_nodes)), N_ID, r->devices[n].numa);
        }
    }
}

static void add_cpus(struct arena *a, struct val *o, const struct cpuset *s)
{
    for (int i = 0; i < CPUS_MAX; i++)
        if (cpuset_has(s, i))
            val_add(a, val_sub_list(a, o, N_cpu_ids), val_of_int(i));
}

static void add_pod(struct arena *a, const struct kubelet *k, const struct worker *w, struct val *o)
{
    val_set_str(a, o, N_name, str_of(w->name));
    val_set_str(a, o, N_namespace, str_of(w->ns));
    struct val *list = val_sub_list(a, o, N_containers);
    for (enum container_kind kind = CK_INIT; kind <= CK_MAIN; kind++)
        VAL_EACH (pod_containers(worker_pod(w), kind), c) {
            if (kind == CK_INIT && !container_is_sidecar(c))
                continue; /* what init containers had is free when somebody looks */
            struct val *one = val_add_obj(a, list);
            val_set_str(a, one, N_name, val_getstr(c, N_name));
            add_devices(a, k, one, w->uid, arena_cstr(a, val_getstr(c, N_name)));
            dra_report((struct kubelet *)(uintptr_t)k, worker_pod(w), c, a, one);
            struct cpuset own;
            if (cpus_of(k, w->uid, val_getstr(c, N_name), &own))
                add_cpus(a, one, &own);
            memory_report(k, a, w->uid, val_getstr(c, N_name), val_sub_list(a, one, N_memory));
        }
}

static bool shown(const struct worker *w)
{
    return w->pod && w->started && w->stage < WORKER_TERMINATED && !w->fail_reason;
}

static int on_list(void *ctx, struct grpc_exchange *g, struct err *e UNUSED)
{
    struct kubelet *k = ctx;
    struct arena *a = grpc_arena(g);
    const struct val *q;
    int rc = grpc_recv_request(g, &q);
    struct val *answer = val_new(a, VAL_OBJ), *list = val_sub_list(a, answer, N_pod_resources);
    if (rc != 0)
        return rc;
    MAP_EACH (&k->workers, m)
        if (shown(m->value))
            add_pod(a, k, m->value, val_add_obj(a, list));
    return grpc_send(g, answer);
}

static int on_get(void *ctx, struct grpc_exchange *g, struct err *e)
{
    struct kubelet *k = ctx;
    struct arena *a = grpc_arena(g);
    const struct val *q;
    int rc = grpc_recv_request(g, &q);
    if (rc != 0)
        return rc;
    struct str ns = val_getstr(q, N_pod_namespace), name = val_getstr(q, N_pod_name);
    const struct worker *w = server_find(k, ns, name, STR_NULL);
    if (!w || !shown(w)) {
        err_set(e, -ENOENT, "pod " STR_FMT " in namespace " STR_FMT " not found", STR_ARG(name), STR_ARG(ns));
        return GRPC_UNKNOWN;
    }
    struct val *answer = val_new(a, VAL_OBJ);
    add_pod(a, k, w, val_sub_obj(a, answer, N_pod_resources));
    return grpc_send(g, answer);
}

static int on_allocatable(void *ctx, struct grpc_exchange *g, struct err *e UNUSED)
{
    struct kubelet *k = ctx;
    struct arena *a = grpc_arena(g);
    const struct val *q;
    int rc = grpc_recv_request(g, &q);
    struct val *answer = val_new(a, VAL_OBJ), *list = val_sub_list(a, answer, N_devices);
    if (rc != 0)
        return rc;
    struct cpuset cpus = cpus_allocatable(k);
    add_cpus(a, answer, &cpus);
    memory_report(k, a, NULL, STR_NULL, val_sub_list(a, answer, N_memory));
    MAP_EACH (&k->devices.resources, m) {
        const struct device_resource *r = m->value;
        for (size_t i = 0; r->client && i < r->n; i++) {
            if (!r->devices[i].healthy)
                continue;
            struct val *o = val_add_obj(a, list);
            val_set_str(a, o, N_resource_name, str_of(r->name));
            val_add_str(a, val_sub_list(a, o, N_device_ids), str_of(r->devices[i].id));
            if (r->devices[i].numa >= 0)
                val_set_int(a, val_add_obj(a, val_sub_list(a, val_sub_obj(a, o, N_topology), N_nodes)), N_ID, r->devices[i].numa);
        }
    }
    return grpc_send(g, answer);
}

int podresources_start(struct kubelet *k, struct err *e)
{
    static const struct grpc_service services[] = {
        {&grpc_methods[G_podresources_v1_PodResourcesLister_List], on_list},
        {&grpc_methods[G_podresources_v1_PodResourcesLister_Get], on_get},
        {&grpc_methods[G_podresources_v1_PodResourcesLister_GetAllocatableResources], on_allocatable},
        {NULL, NULL},
    };
    const char *dir = arena_printf(&k->arena, "%s/pod-resources", k->cfg.root_dir).p;
    struct grpc_server *s = ARENA_ARRAY(&k->arena, struct grpc_server, 1);
    *s = (struct grpc_server){services, k, 0};
    int r = k->host->ops->make_dir(k->host, dir, 0750, e);
    if (r < 0)
        return r;
    os_unlink(arena_printf(&k->arena, "%s/kubelet.sock", dir).p);
    k->pod_resources = http_server_new(&(const struct http_server_config){.handler = grpc_serve, .ctx = s});
    return http_server_listen(k->pod_resources, arena_printf(&k->arena, "unix:%s/kubelet.sock", dir).p, e);
}

void podresources_stop(struct kubelet *k)
{
    if (k->pod_resources) {
        http_server_stop(k->pod_resources, os_mono());
        http_server_free(k->pod_resources);
        k->pod_resources = NULL;
    }
}
