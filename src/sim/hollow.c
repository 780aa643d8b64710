/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/hollow.h"

#include <stdio.h>

#include "base/os.h"
#include "grpc.h"
#include "names.h"
#include "net/grpc.h"
#include "sim/hollow-internal.h"
#include "sim/world.h"

/* ---- finding ------------------------------------------------------------------------------------------------------- */

static struct sandbox *sandbox_find(struct hollow *h, struct str id)
{
    LIST_EACH(&h->sandboxes, l)
        if (str_is(id, LIST_ENTRY(l, struct sandbox, link)->id))
            return LIST_ENTRY(l, struct sandbox, link);
    return NULL;
}

static struct container *container_find(struct hollow *h, struct str id)
{
    LIST_EACH(&h->containers, l)
        if (str_is(id, LIST_ENTRY(l, struct container, link)->id))
            return LIST_ENTRY(l, struct container, link);
    return NULL;
}

static struct str uid_in(const struct val *config)
{
    return val_str(val_key(val_get(config, N_labels), STR(CRI_LABEL_POD_UID)));
}

static void new_id(char ret[static ID_TEXT])
{
    snprintf(ret, ID_TEXT, "%016llx%016llx", (unsigned long long)os_random_u64(), (unsigned long long)os_random_u64());
}

/* ---- events --------------------------------------------------------------------------------------------------------- */

static void tell(struct hollow *h, struct str uid)
{
    static char seen;
    map_put(&h->events, uid, &seen);
    waitq_wake_all(&h->event);
}

static int wait_event(struct runtime *r, struct mono deadline, struct arena *a, struct str *ret_uid, struct err *e UNUSED)
{
    struct hollow *h = CONTAINER_OF(r, struct hollow, runtime);
    while (!h->events.n) {
        int w = waitq_wait(&h->event, deadline);
        if (w < 0)
            return w;
    }
    MAP_EACH(&h->events, x)
    {
        *ret_uid = arena_str(a, x->key);
        break;
    }
    map_del(&h->events, *ret_uid);
    return 0;
}

/* ---- ending --------------------------------------------------------------------------------------------------------- */

static void container_end(struct hollow *h, struct container *c, int code, const char *reason)
{
    if (c->state == E_runtime_v1_CONTAINER_RUNNING || c->state == E_runtime_v1_CONTAINER_CREATED) {
        c->state = E_runtime_v1_CONTAINER_EXITED;
        c->finished = os_wall();
        c->exit_code = code;
        c->reason = reason;
    }
    waitq_wake_all(&c->ended);
    tell(h, uid_in(c->config));
}

static void sandbox_end(struct hollow *h, struct sandbox *s)
{
    LIST_EACH(&h->containers, l)
    {
        struct container *c = LIST_ENTRY(l, struct container, link);
        if (c->sandbox == s && c->state != E_runtime_v1_CONTAINER_EXITED)
            container_end(h, c, 137, "Error");
    }
    if (s->ready)
        tell(h, uid_in(s->config));
    s->ready = false;
    truth_end(h->truth, s->living);
    s->living = NULL;
}

static void container_free(struct container *c)
{
    waitq_wake_all(&c->ended);
    list_remove(&c->link);
    arena_done(&c->arena);
    free(c);
}

static void sandbox_free(struct hollow *h, struct sandbox *s)
{
    sandbox_end(h, s);
    LIST_EACH_SAFE(&h->containers, l)
        if (LIST_ENTRY(l, struct container, link)->sandbox == s)
            container_free(LIST_ENTRY(l, struct container, link));
    list_remove(&s->link);
    arena_done(&s->arena);
    free(s);
}

/* ---- addresses --------------------------------------------------------------------------------------------------------- */

static bool address_taken(struct hollow *h, const char *ip)
{
    LIST_EACH(&h->sandboxes, l)
    {
        const struct sandbox *s = LIST_ENTRY(l, struct sandbox, link);
        if (s->ready && strcmp(s->ip, ip) == 0)
            return true;
    }
    return false;
}

static void take_address(struct hollow *h, char ret[static IP_TEXT])
{
    do {
        h->last_host = h->last_host % 253 + 1; /* .2 to .254; .1 is the bridge */
        uint32_t ip = h->net + h->last_host + 1;
        snprintf(ret, IP_TEXT, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
    } while (address_taken(h, ret));
}

/* ---- the service: sandboxes ---------------------------------------------------------------------------------------- */

struct question {
    struct hollow *hollow;
    const struct val *request;
    struct arena *arena;
    struct val *answer;
    struct err *e;
};

static int missing(struct question *q, const char *what, struct str id)
{
    err_set(q->e, 0, "%s \"" STR_FMT "\" not found", what, STR_ARG(id));
    return GRPC_NOT_FOUND;
}

static int version(struct question *q)
{
    val_set_str(q->arena, q->answer, N_version, STR("0.1.0"));
    val_set_str(q->arena, q->answer, N_runtime_name, STR("hollow"));
    val_set_str(q->arena, q->answer, N_runtime_version, STR("1.0"));
    val_set_str(q->arena, q->answer, N_runtime_api_version, STR("v1"));
    return 0;
}

static int status(struct question *q)
{
    static const char *const kinds[] = {"RuntimeReady", "NetworkReady"};
    struct val *list = val_sub_list(q->arena, val_sub_obj(q->arena, q->answer, N_status), N_conditions);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        struct val *c = val_add_obj(q->arena, list);
        bool on = i == 0 || q->hollow->net;
        val_set_str(q->arena, c, N_type, str_of(kinds[i]));
        val_set_bool(q->arena, c, N_status, on);
        if (!on)
            val_set_str(q->arena, c, N_reason, STR("NetworkPluginNotReady"));
    }
    return 0;
}

static int run_sandbox(struct question *q)
{
    struct hollow *h = q->hollow;
    struct arena *a = q->arena;
    const struct val *config = val_get(q->request, N_config), *meta = val_get(config, N_metadata);
    if (!h->net)
        return err_set(q->e, GRPC_UNKNOWN, "network is not ready");
    struct sandbox *s = NEW(struct sandbox);
    new_id(s->id);
    s->config = val_copy(&s->arena, config);
    s->created = os_wall();
    s->ready = true;
    take_address(h, s->ip);
    struct str pod = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(val_getstr(meta, N_namespace)),
                                  STR_ARG(val_getstr(meta, N_name)));
    s->living = truth_begin(h->truth, h->name, uid_in(config), pod, str_of(s->ip));
    list_push_back(&h->sandboxes, &s->link);
    tell(h, uid_in(config));
    val_set_str(a, q->answer, N_pod_sandbox_id, str_of(s->id));
    return 0;
}

static int stop_sandbox(struct question *q)
{
    struct sandbox *s = sandbox_find(q->hollow, val_getstr(q->request, N_pod_sandbox_id));
    if (s)
        sandbox_end(q->hollow, s);
    return 0;
}

static int remove_sandbox(struct question *q)
{
    struct sandbox *s = sandbox_find(q->hollow, val_getstr(q->request, N_pod_sandbox_id));
    if (s)
        sandbox_free(q->hollow, s);
    return 0;
}

/* What lists and statuses say alike. */
static void put_sandbox(struct arena *a, struct val *v, const struct sandbox *s)
{
    val_set_str(a, v, N_id, str_of(s->id));
    val_set_int(a, v, N_state, s->ready ? E_runtime_v1_SANDBOX_READY : E_runtime_v1_SANDBOX_NOTREADY);
    val_set_int(a, v, N_created_at, s->created.ns);
    val_set_ref(a, v, N_metadata, val_get(s->config, N_metadata));
    val_set_ref(a, v, N_labels, val_get(s->config, N_labels));
    val_set_ref(a, v, N_annotations, val_get(s->config, N_annotations));
}

static bool wanted(const struct question *q, const struct val *config)
{
    struct str uid = val_str(val_key(val_at(q->request, N_filter, N_label_selector), STR(CRI_LABEL_POD_UID)));
    return !uid.n || str_eq(uid, uid_in(config));
}

static int list_sandboxes(struct question *q)
{
    struct val *items = val_sub_list(q->arena, q->answer, N_items);
    LIST_EACH(&q->hollow->sandboxes, l)
    {
        const struct sandbox *s = LIST_ENTRY(l, struct sandbox, link);
        if (wanted(q, s->config))
            put_sandbox(q->arena, val_add_obj(q->arena, items), s);
    }
    return 0;
}

static int sandbox_status(struct question *q)
{
    struct str id = val_getstr(q->request, N_pod_sandbox_id);
    const struct sandbox *s = sandbox_find(q->hollow, id);
    if (!s)
        return missing(q, "sandbox", id);
    struct val *v = val_sub_obj(q->arena, q->answer, N_status);
    put_sandbox(q->arena, v, s);
    val_set_str(q->arena, val_sub_obj(q->arena, v, N_network), N_ip, str_of(s->ip));
    return 0;
}

/* ---- the service: containers --------------------------------------------------------------------------------------- */

static int create_container(struct question *q)
{
    struct hollow *h = q->hollow;
    struct str id = val_getstr(q->request, N_pod_sandbox_id);
    struct sandbox *s = sandbox_find(h, id);
    if (!s || !s->ready)
        return missing(q, "sandbox", id);
    struct container *c = NEW(struct container);
    new_id(c->id);
    c->sandbox = s;
    c->config = val_copy(&c->arena, val_get(q->request, N_config));
    c->state = E_runtime_v1_CONTAINER_CREATED;
    c->created = os_wall();
    c->pid = ++h->last_pid;
    list_push_back(&h->containers, &c->link);
    val_set_str(q->arena, q->answer, N_container_id, str_of(c->id));
    return 0;
}

static int start_container(struct question *q)
{
    struct str id = val_getstr(q->request, N_container_id);
    struct container *c = container_find(q->hollow, id);
    if (!c)
        return missing(q, "container", id);
    if (c->state != E_runtime_v1_CONTAINER_CREATED || !c->sandbox->ready)
        return err_set(q->e, GRPC_FAILED_PRECONDITION, "container is not created");
    c->state = E_runtime_v1_CONTAINER_RUNNING;
    c->started = os_wall();
    tell(q->hollow, uid_in(c->config));
    return 0;
}

/* Containers end by themselves some time after they were asked to, or are made to at the end of their grace. */
static int stop_container(struct question *q)
{
    struct hollow *h = q->hollow;
    struct str id = arena_str(q->arena, val_getstr(q->request, N_container_id));
    struct container *c = container_find(h, id);
    int64_t grace = SECONDS(val_int(val_get(q->request, N_timeout), 0));
    int64_t takes = MILLISECONDS(10) + (int64_t)os_random_below((uint64_t)SECONDS(3));
    if (!c || c->state == E_runtime_v1_CONTAINER_EXITED)
        return 0;
    if (fiber_sleep(MIN(takes, grace)) < 0)
        return -ECANCELED;
    c = container_find(h, id); /* the machine may have been switched off meanwhile */
    if (c)
        container_end(h, c, takes <= grace ? 0 : 137, takes <= grace ? "Completed" : "Error");
    return 0;
}

static int remove_container(struct question *q)
{
    struct container *c = container_find(q->hollow, val_getstr(q->request, N_container_id));
    if (c && c->state == E_runtime_v1_CONTAINER_RUNNING)
        container_end(q->hollow, c, 137, "Error");
    if (c) {
        tell(q->hollow, uid_in(c->config));
        container_free(c);
    }
    return 0;
}

static void put_container(struct arena *a, struct val *v, const struct container *c)
{
    const struct val *image = val_get(c->config, N_image);
    val_set_str(a, v, N_id, str_of(c->id));
    val_set_int(a, v, N_state, c->state);
    val_set_int(a, v, N_created_at, c->created.ns);
    val_set_ref(a, v, N_metadata, val_get(c->config, N_metadata));
    val_set_ref(a, v, N_labels, val_get(c->config, N_labels));
    val_set_ref(a, v, N_annotations, val_get(c->config, N_annotations));
    val_set_ref(a, v, N_image, image);
    val_set_str(a, v, N_image_ref, val_getstr(image, N_image));
}

static int list_containers(struct question *q)
{
    struct val *items = val_sub_list(q->arena, q->answer, N_containers);
    LIST_EACH(&q->hollow->containers, l)
    {
        const struct container *c = LIST_ENTRY(l, struct container, link);
        if (!wanted(q, c->config))
            continue;
        struct val *v = val_add_obj(q->arena, items);
        put_container(q->arena, v, c);
        val_set_str(q->arena, v, N_pod_sandbox_id, str_of(c->sandbox->id));
    }
    return 0;
}

static int container_status(struct question *q)
{
    struct arena *a = q->arena;
    struct str id = val_getstr(q->request, N_container_id);
    const struct container *c = container_find(q->hollow, id);
    if (!c)
        return missing(q, "container", id);
    struct val *v = val_sub_obj(a, q->answer, N_status);
    put_container(a, v, c);
    val_set_int(a, v, N_started_at, c->started.ns);
    val_set_int(a, v, N_finished_at, c->finished.ns);
    val_set_int(a, v, N_exit_code, c->exit_code);
    if (c->reason)
        val_set_str(a, v, N_reason, str_of(c->reason));
    val_set_ref(a, v, N_mounts, val_get(c->config, N_mounts));
    val_set_ref(a, v, N_log_path, val_get(c->config, N_log_path));
    if (val_bool(val_get(q->request, N_verbose), false))
        val_put_str(a, val_sub_map(a, q->answer, N_info), STR("info"), arena_printf(a, "{\"pid\":%d}", c->pid));
    return 0;
}

static int nothing(struct question *q UNUSED)
{
    return 0;
}

/* ---- the service: images ------------------------------------------------------------------------------------------- */

static void put_image(struct arena *a, struct val *v, struct str name)
{
    val_set_str(a, v, N_id, arena_printf(a, "sha256:%016llx", (unsigned long long)str_hash(name)));
    val_add_str(a, val_sub_list(a, v, N_repo_tags), name);
}

static int image_status(struct question *q)
{
    struct str name = val_str(val_at(q->request, N_image, N_image));
    MAP_EACH(&q->hollow->images, e)
    {
        struct str id = arena_printf(q->arena, "sha256:%016llx", (unsigned long long)e->hash);
        if (str_eq(name, e->key) || str_eq(name, id)) {
            put_image(q->arena, val_sub_obj(q->arena, q->answer, N_image), e->key);
            break;
        }
    }
    return 0;
}

static int pull_image(struct question *q)
{
    struct str name = val_str(val_at(q->request, N_image, N_image));
    map_put(&q->hollow->images, name, q->hollow);
    val_set_str(q->arena, q->answer, N_image_ref,
                arena_printf(q->arena, "sha256:%016llx", (unsigned long long)str_hash(name)));
    return 0;
}

static int list_images(struct question *q)
{
    struct val *list = val_sub_list(q->arena, q->answer, N_images);
    MAP_EACH(&q->hollow->images, e)
        put_image(q->arena, val_add_obj(q->arena, list), e->key);
    return 0;
}

static int remove_image(struct question *q)
{
    map_del(&q->hollow->images, val_str(val_at(q->request, N_image, N_image)));
    return 0;
}

/* ---- the service ---------------------------------------------------------------------------------------------------- */

static const struct method {
    unsigned number;
    unsigned min_ms, max_ms; /* how long it takes; 0, 0: no time */
    int (*answer)(struct question *q);
} methods[] = {
    {G_runtime_v1_RuntimeService_Version, 0, 0, version},
    {G_runtime_v1_RuntimeService_Status, 0, 0, status},
    {G_runtime_v1_RuntimeService_RunPodSandbox, 50, 900, run_sandbox},
    {G_runtime_v1_RuntimeService_StopPodSandbox, 10, 200, stop_sandbox},
    {G_runtime_v1_RuntimeService_RemovePodSandbox, 5, 50, remove_sandbox},
    {G_runtime_v1_RuntimeService_ListPodSandbox, 0, 0, list_sandboxes},
    {G_runtime_v1_RuntimeService_PodSandboxStatus, 0, 0, sandbox_status},
    {G_runtime_v1_RuntimeService_CreateContainer, 20, 300, create_container},
    {G_runtime_v1_RuntimeService_StartContainer, 20, 300, start_container},
    {G_runtime_v1_RuntimeService_StopContainer, 0, 0, stop_container},
    {G_runtime_v1_RuntimeService_RemoveContainer, 5, 50, remove_container},
    {G_runtime_v1_RuntimeService_ListContainers, 0, 0, list_containers},
    {G_runtime_v1_RuntimeService_ContainerStatus, 0, 0, container_status},
    {G_runtime_v1_RuntimeService_UpdateContainerResources, 0, 0, nothing},
    {G_runtime_v1_RuntimeService_ReopenContainerLog, 0, 0, nothing},
    {G_runtime_v1_RuntimeService_ListContainerStats, 0, 0, nothing},
    {G_runtime_v1_RuntimeService_ListPodSandboxStats, 0, 0, nothing},
    {G_runtime_v1_RuntimeService_ExecSync, 1, 20, nothing},
    {G_runtime_v1_ImageService_ImageStatus, 0, 0, image_status},
    {G_runtime_v1_ImageService_PullImage, 100, 3000, pull_image},
    {G_runtime_v1_ImageService_ListImages, 0, 0, list_images},
    {G_runtime_v1_ImageService_RemoveImage, 10, 100, remove_image},
};

static int call(struct runtime *r, unsigned number, const struct val *request, struct mono deadline UNUSED,
                struct arena *a, const struct val **ret, struct err *e)
{
    struct question q = {.hollow = CONTAINER_OF(r, struct hollow, runtime), .request = request, .arena = a,
                         .answer = val_new(a, VAL_OBJ), .e = e};
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
        const struct method *m = &methods[i];
        if (m->number != number)
            continue;
        uint64_t span = (uint64_t)MILLISECONDS(m->max_ms - m->min_ms);
        bool gone = m->max_ms && fiber_sleep(MILLISECONDS(m->min_ms) + (int64_t)os_random_below(span)) < 0;
        if (gone && os_random_below(2)) /* the caller is no more: it was done all the same, or not yet */
            return -ECANCELED;
        int rc = m->answer(&q);
        if (gone)
            return -ECANCELED;
        *ret = val_copy(a, q.answer); /* it may not share what the machine forgets */
        return rc;
    }
    return err_set(e, GRPC_UNIMPLEMENTED, "%s is not for hollow machines", grpc_methods[number].path);
}

static void keep(struct runtime *r UNUSED)
{
}

static const struct runtime_ops ops = {.call = call, .wait_event = wait_event, .free = keep};

/* ---- the machine ---------------------------------------------------------------------------------------------------------- */

struct hollow *hollow_new(const char *name, const char *root, struct truth *truth)
{
    struct hollow *h = NEW(struct hollow);
    h->runtime.ops = &ops;
    h->host.ops = &hollow_host_ops;
    h->name = name;
    h->root = xstrdup(root);
    h->truth = truth;
    h->boot = 1;
    list_init(&h->sandboxes);
    list_init(&h->containers);
    return h;
}

struct runtime *hollow_runtime(struct hollow *h)
{
    return &h->runtime;
}

struct host *hollow_host(struct hollow *h)
{
    return &h->host;
}

size_t hollow_pods(const struct hollow *h)
{
    size_t n = 0;
    LIST_EACH(&h->sandboxes, l)
        n += LIST_ENTRY(l, struct sandbox, link)->ready;
    return n;
}

size_t hollow_containers(const struct hollow *h)
{
    size_t n = 0;
    LIST_EACH(&h->containers, l)
        n += LIST_ENTRY(l, struct container, link)->state == E_runtime_v1_CONTAINER_RUNNING;
    return n;
}

void hollow_power_off(struct hollow *h)
{
    LIST_EACH(&h->sandboxes, l)
        sandbox_end(h, LIST_ENTRY(l, struct sandbox, link));
    LIST_EACH(&h->containers, l)
        container_end(h, LIST_ENTRY(l, struct container, link), 255, "Unknown");
    map_done(&h->events);
    h->boot++;
}

static void forget_all(struct hollow *h)
{
    LIST_EACH_SAFE(&h->sandboxes, l)
        sandbox_free(h, LIST_ENTRY(l, struct sandbox, link));
    map_done(&h->events);
    map_done(&h->images);
}

void hollow_wipe(struct hollow *h)
{
    forget_all(h);
    sim_disk_remove(h->root);
    h->net = 0;
    h->boot++;
}

bool hollow_end_container(struct hollow *h, int exit_code)
{
    size_t n = hollow_containers(h);
    if (!n)
        return false;
    n = sim_below(n);
    LIST_EACH(&h->containers, l)
    {
        struct container *c = LIST_ENTRY(l, struct container, link);
        if (c->state != E_runtime_v1_CONTAINER_RUNNING || n-- > 0)
            continue;
        container_end(h, c, exit_code, exit_code ? "Error" : "Completed");
        return true;
    }
    return false;
}

void hollow_free(struct hollow *h)
{
    if (!h)
        return;
    forget_all(h);
    arena_done(&h->runtime.arena);
    free(h->root);
    free(h);
}
