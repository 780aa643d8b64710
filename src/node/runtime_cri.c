/* SPDX-License-Identifier: Apache-2.0 */
/* The runtime behind a socket. */
#include "grpc.h"
#include "names.h"
#include "net/grpc.h"
#include "node/runtime.h"

#include <signal.h>

struct cri {
    struct runtime base;
    struct grpc_client *runtime, *images; /* the same unless images have an endpoint of their own */
    char *endpoint;
    struct grpc_client *tasks;            /* containerd's own API beside CRI; made when it is needed */
    struct grpc_stream *events;
    bool no_events; /* the runtime said that it has no event stream */
};

static struct cri *cri_of(struct runtime *r)
{
    return CONTAINER_OF(r, struct cri, base);
}

static struct grpc_client *client_for(const char *endpoint, const struct http_header *metadata, size_t n_metadata)
{
    struct arena a = ARENA_INIT;
    struct str s = str_of(endpoint);
    if (str_starts(s, STR("unix://")))
        s = arena_printf(&a, "unix:%s", endpoint + 7);
    else if (s.n && s.p[0] == '/')
        s = arena_printf(&a, "unix:%s", endpoint);
    struct grpc_client *c = grpc_client_new(&(const struct grpc_client_config){.address = arena_cstr(&a, s), .metadata = metadata, .n_metadata = n_metadata});
    arena_done(&a);
    return c;
}

static int cri_call(struct runtime *r, unsigned method, const struct val *request, struct mono deadline,
                    struct arena *a, const struct val **ret, struct err *e)
{
    struct cri *c = cri_of(r);
    bool image = !strncmp(grpc_methods[method].path, "/runtime.v1.ImageService/", 25);
    return grpc_call(image ? c->images : c->runtime, &grpc_methods[method], request, deadline, a, ret, e);
}

static void close_events(struct cri *c)
{
    grpc_stream_free(c->events);
    c->events = NULL;
}

static int cri_wait_event(struct runtime *r, struct mono deadline, struct arena *a, struct str *ret_uid,
                          struct err *e)
{
    struct cri *c = cri_of(r);
    const struct val *v = NULL;
    int rc = 0;
    if (c->no_events)
        return GRPC_UNIMPLEMENTED;
    if (!c->events)
        rc = grpc_stream_open(c->runtime, &grpc_methods[G_runtime_v1_RuntimeService_GetContainerEvents],
                              val_new(a, VAL_OBJ), MONO_NEVER, &c->events, e);
    if (rc == 0)
        rc = grpc_stream_recv(c->events, deadline, a, &v, e);
    if (rc == -ETIMEDOUT || (rc == GRPC_DEADLINE_EXCEEDED && os_mono().ns >= deadline.ns))
        return -ETIMEDOUT;
    if (rc == 0 && v) {
        *ret_uid = val_str(val_at(v, N_pod_sandbox_status, N_metadata, N_uid));
        return 0;
    }
    close_events(c);
    c->no_events = rc == GRPC_UNIMPLEMENTED;
    return rc == 0 ? GRPC_UNAVAILABLE : rc;
}

/* ---- below CRI ------------------------------------------------------------------------------------------------ */

#define TASK_NAMESPACE "k8s.io" /* where containerd keeps what CRI made */
#define TASK_TRIES 25
#define TASK_PAUSE MILLISECONDS(200)

static int task_call(struct cri *c, unsigned method, const struct val *q, struct arena *a, struct err *e)
{
    const struct val *v;
    return grpc_call(c->tasks, &grpc_methods[method], q, mono_add(os_mono(), RUNTIME_TIMEOUT), a, &v, e);
}

/* By containerd's task service, that names exactly one container: killed, then forgotten with its shim. */
static int containerd_end_task(struct runtime *r, struct str id, struct err *e)
{
    struct cri *c = cri_of(r);
    static const struct http_header metadata[] = {{STR("containerd-namespace"), STR(TASK_NAMESPACE)}};
    struct arena a = ARENA_INIT;
    struct val *kill = val_new(&a, VAL_OBJ), *forget = val_new(&a, VAL_OBJ);
    int rc = 0;
    if (strcmp(r->name, "containerd") != 0)
        return GRPC_UNIMPLEMENTED;
    if (!c->tasks)
        c->tasks = client_for(c->endpoint, metadata, ARRAY_SIZE(metadata));
    val_set_str(&a, kill, N_container_id, id);
    val_set_int(&a, kill, N_signal, SIGKILL);
    val_set(&a, kill, N_all, val_of_bool(true));
    val_set_str(&a, forget, N_container_id, id);
    task_call(c, G_containerd_services_tasks_v1_Tasks_Kill, kill, &a, NULL); /* what has ended by now cannot be killed */
    for (int i = 0; i < TASK_TRIES; i++) {
        rc = task_call(c, G_containerd_services_tasks_v1_Tasks_Delete, forget, &a, e);
        if (rc != GRPC_FAILED_PRECONDITION) /* it has not ended yet */
            break;
        if (fiber_sleep(TASK_PAUSE) < 0)
            rc = -ECANCELED;
    }
    arena_done(&a);
    return rc == GRPC_NOT_FOUND ? 0 : rc;
}

static void cri_free(struct runtime *r)
{
    struct cri *c = cri_of(r);
    close_events(c);
    if (c->images != c->runtime)
        grpc_client_free(c->images);
    grpc_client_free(c->runtime);
    grpc_client_free(c->tasks);
    free(c->endpoint);
    free(c);
}

static const struct runtime_ops cri_ops = {cri_call, cri_wait_event, containerd_end_task, cri_free};

struct runtime *runtime_cri_new(const char *endpoint, const char *image_endpoint)
{
    struct cri *c = NEW(struct cri);
    c->base.ops = &cri_ops;
    c->base.name = "containerd";
    c->base.version = "";
    c->endpoint = xstrdup(endpoint);
    c->runtime = client_for(endpoint, NULL, 0);
    c->images = image_endpoint && *image_endpoint && strcmp(image_endpoint, endpoint) != 0 ? client_for(image_endpoint, NULL, 0)
                                                                                            : c->runtime;
    return &c->base;
}
