/* SPDX-License-Identifier: Apache-2.0 */
#include "node/runtime.h"

#include "base/log.h"
#include "grpc.h"
#include "names.h"
#include "net/grpc.h"
#include "wire/json.h"

void runtime_free(struct runtime *r)
{
    if (!r)
        return;
    arena_done(&r->arena);
    r->ops->free(r);
}

int runtime_call(struct runtime *r, unsigned method, const struct val *request, struct mono deadline, struct arena *a,
                 const struct val **ret, struct err *e)
{
    struct mono began = os_mono();
    int rc = r->ops->call(r, method, request, deadline, a, ret, e);
    if (r->observe)
        r->observe(r->observe_ctx, method, rc, os_mono().ns - began.ns);
    log_debug("kubelet", "%s: %d after %lld us", grpc_methods[method].path, rc,
              (long long)((os_mono().ns - began.ns) / NSEC_PER_USEC));
    return rc;
}

static struct mono soon(void)
{
    return mono_add(os_mono(), RUNTIME_TIMEOUT);
}

/* A call whose request is one string and whose answer does not matter. */
static int call_id(struct runtime *r, unsigned method, name_id name, struct str id, struct mono deadline,
                   struct err *e)
{
    struct arena a = ARENA_INIT;
    struct val *q = val_new(&a, VAL_OBJ);
    const struct val *answer;
    val_set_str(&a, q, name, id);
    int rc = runtime_call(r, method, q, deadline, &a, &answer, e);
    arena_done(&a);
    return rc;
}

int runtime_connect(struct runtime *r, struct mono deadline, struct err *e)
{
    struct arena a = ARENA_INIT;
    const struct val *v;
    int rc = runtime_call(r, G_runtime_v1_RuntimeService_Version, val_new(&a, VAL_OBJ), deadline, &a, &v, e);
    if (rc == 0) {
        r->name = arena_cstr(&r->arena, val_getstr(v, N_runtime_name));
        r->version = arena_cstr(&r->arena, val_getstr(v, N_runtime_version));
    }
    arena_done(&a);
    return rc;
}

int runtime_status(struct runtime *r, struct arena *a, bool *ret_runtime_ready, bool *ret_network_ready,
                   struct str *ret_problem, const struct val **ret_answer, struct err *e)
{
    const struct val *v;
    int rc = runtime_call(r, G_runtime_v1_RuntimeService_Status, val_new(a, VAL_OBJ),
                          mono_add(os_mono(), SECONDS(10)), a, &v, e);
    if (rc != 0)
        return rc;
    *ret_runtime_ready = *ret_network_ready = false;
    *ret_problem = STR("");
    if (ret_answer)
        *ret_answer = v;
    VAL_EACH (val_at(v, N_status, N_conditions), c) {
        struct str type = val_getstr(c, N_type);
        bool on = val_bool(val_get(c, N_status), false);
        if (str_is(type, "RuntimeReady"))
            *ret_runtime_ready = on;
        else if (str_is(type, "NetworkReady"))
            *ret_network_ready = on;
        else
            continue;
        if (!on)
            *ret_problem = arena_printf(a, STR_FMT "%s" STR_FMT "=false reason:" STR_FMT " message:" STR_FMT,
                                        STR_ARG(*ret_problem), ret_problem->n ? ", " : "", STR_ARG(type),
                                        STR_ARG(val_getstr(c, N_reason)), STR_ARG(val_getstr(c, N_message)));
    }
    return 0;
}

struct str runtime_sandbox_image(struct runtime *r, struct arena *a)
{
    struct val *q = val_new(a, VAL_OBJ), *config = NULL;
    const struct val *v;
    val_set_bool(a, q, N_verbose, true);
    if (runtime_call(r, G_runtime_v1_RuntimeService_Status, q, mono_add(os_mono(), SECONDS(10)), a, &v, NULL) != 0 ||
        json_decode(a, NULL, val_str(val_key(val_get(v, N_info), STR("config"))), 0, NULL, &config, NULL) < 0)
        return STR_NULL;
    return val_str(val_key(config, STR("sandboxImage")));
}

/* ---- what runs ------------------------------------------------------------------------------------------- */

static int list_of(struct runtime *r, unsigned method, struct str uid, name_id member, struct arena *a,
                   const struct val **ret, struct err *e)
{
    struct val *q = val_new(a, VAL_OBJ);
    const struct val *v;
    if (uid.n)
        val_put_str(a, val_sub_map(a, val_sub_obj(a, q, N_filter), N_label_selector), STR(CRI_LABEL_POD_UID), uid);
    int rc = runtime_call(r, method, q, soon(), a, &v, e);
    if (rc == 0)
        *ret = val_get(v, member);
    return rc;
}

int runtime_list(struct runtime *r, struct str uid, struct arena *a, const struct val **ret_sandboxes,
                 const struct val **ret_containers, struct err *e)
{
    int rc = list_of(r, G_runtime_v1_RuntimeService_ListPodSandbox, uid, N_items, a, ret_sandboxes, e);
    if (rc == 0)
        rc = list_of(r, G_runtime_v1_RuntimeService_ListContainers, uid, N_containers, a, ret_containers, e);
    return rc;
}

static struct str uid_of(const struct val *item)
{
    return val_str(val_key(val_get(item, N_labels), STR(CRI_LABEL_POD_UID)));
}

/* A sandbox that the runtime lists but cannot tell about (its network namespace is half gone, say) is one that is not
 * ready: it gets a successor and is taken away. It must not keep the other Pods from being seen. */
static int add_sandbox(struct runtime *r, struct podstate *s, const struct val *listed, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct val *q = val_new(&a, VAL_OBJ);
    const struct val *v;
    val_set_str(&a, q, N_pod_sandbox_id, val_getstr(listed, N_id));
    int rc = runtime_call(r, G_runtime_v1_RuntimeService_PodSandboxStatus, q, soon(), &a, &v, e);
    bool broken = rc == GRPC_UNKNOWN || rc == GRPC_INTERNAL;
    if (rc == 0 || broken)
        rt_sandbox_from_val(&s->arena, broken ? listed : val_get(v, N_status), &s->sandboxes[s->n_sandboxes++]);
    if (broken)
        s->sandboxes[s->n_sandboxes - 1].ready = false;
    arena_done(&a);
    return rc == GRPC_NOT_FOUND || broken ? 0 : rc; /* not found: gone since it was listed */
}

/* The first process, from the verbose part: containerd and CRI-O both have it there as JSON. */
static int pid_of(const struct val *response)
{
    struct str info = val_str(val_key(val_get(response, N_info), STR("info")));
    static const char key[] = "\"pid\":";
    const char *at = info.n ? memmem(info.p, info.n, key, sizeof(key) - 1) : NULL;
    return at ? atoi(at + sizeof(key) - 1) : 0;
}

static int add_container(struct runtime *r, struct podstate *s, const struct val *listed, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct val *q = val_new(&a, VAL_OBJ);
    const struct val *v;
    bool running = val_int(val_get(listed, N_state), 0) == E_runtime_v1_CONTAINER_RUNNING;
    val_set_str(&a, q, N_container_id, val_getstr(listed, N_id));
    if (running)
        val_set_bool(&a, q, N_verbose, true);
    int rc = runtime_call(r, G_runtime_v1_RuntimeService_ContainerStatus, q, soon(), &a, &v, e);
    if (rc == 0) {
        struct rt_container *c = &s->containers[s->n_containers++];
        rt_container_from_val(&s->arena, val_get(v, N_status), c);
        c->sandbox_id = arena_str(&s->arena, val_getstr(listed, N_pod_sandbox_id));
        c->pid = c->state == RT_RUNNING ? pid_of(v) : 0;
    }
    arena_done(&a);
    return rc == GRPC_NOT_FOUND ? 0 : rc;
}

static struct podstate *state_for(struct str uid, const struct val *sandboxes, const struct val *containers)
{
    const struct val *any = NULL;
    size_t boxes = 0, n = 0;
    VAL_EACH (sandboxes, b)
        if (str_eq(uid_of(b), uid)) {
            any = b;
            boxes++;
        }
    VAL_EACH (containers, c)
        if (str_eq(uid_of(c), uid)) {
            any = any ? any : c;
            n++;
        }
    if (!any)
        return NULL;
    const struct val *labels = val_get(any, N_labels);
    struct podstate *s = podstate_new(uid, val_str(val_key(labels, STR(CRI_LABEL_POD_NAME))),
                                      val_str(val_key(labels, STR(CRI_LABEL_POD_NAMESPACE))));
    s->sandboxes = ARENA_ARRAY(&s->arena, struct rt_sandbox, boxes);
    s->containers = ARENA_ARRAY(&s->arena, struct rt_container, n);
    return s;
}

int runtime_pod_state(struct runtime *r, struct str uid, const struct val *sandboxes, const struct val *containers,
                      struct podstate **ret, struct err *e)
{
    struct podstate *s = state_for(uid, sandboxes, containers);
    int rc = 0;
    VAL_EACH (sandboxes, b)
        if (rc == 0 && str_eq(uid_of(b), uid))
            rc = add_sandbox(r, s, b, e);
    VAL_EACH (containers, c)
        if (rc == 0 && str_eq(uid_of(c), uid))
            rc = add_container(r, s, c, e);
    if (rc != 0 || (s && s->n_sandboxes + s->n_containers == 0))
        s = podstate_unref(s);
    if (rc != 0)
        return rc;
    if (s)
        podstate_sort(s);
    *ret = s;
    return 0;
}

/* ---- sandboxes and containers ---------------------------------------------------------------------------- */

int runtime_run_sandbox(struct runtime *r, const struct val *config, struct str handler, struct arena *a,
                        struct str *ret_id, struct err *e)
{
    struct val *q = val_new(a, VAL_OBJ);
    const struct val *v;
    val_set_ref(a, q, N_config, config);
    if (handler.n)
        val_set_str(a, q, N_runtime_handler, handler);
    /* The network plugin works inside of it: twice the usual patience, as upstream. */
    int rc = runtime_call(r, G_runtime_v1_RuntimeService_RunPodSandbox, q, mono_add(os_mono(), 2 * RUNTIME_TIMEOUT), a,
                          &v, e);
    if (rc == 0)
        *ret_id = val_getstr(v, N_pod_sandbox_id);
    return rc;
}

int runtime_stop_sandbox(struct runtime *r, struct str id, struct err *e)
{
    int rc = call_id(r, G_runtime_v1_RuntimeService_StopPodSandbox, N_pod_sandbox_id, id, soon(), e);
    return rc == GRPC_NOT_FOUND ? 0 : rc;
}

/* A start whose asker went away can leave containerd with a process that CRI's part of it knows nothing of: it says of the
 * container that it does not run, stops nothing, and will never remove it. */
static bool has_lost_task(int rc, const struct err *e)
{
    return rc > 0 && strstr(e->text, "cannot delete running task");
}

/* The same call again once nothing runs of the container or sandbox any more. */
static int remove_by_force(struct runtime *r, unsigned method, name_id field, struct str id, struct err *e)
{
    struct err why = {{0}};
    int rc = call_id(r, method, field, id, soon(), &why);
    if (has_lost_task(rc, &why) && r->ops->end_task) {
        rc = r->ops->end_task(r, id, &why);
        if (rc == 0)
            rc = call_id(r, method, field, id, soon(), &why);
    }
    if (rc != 0 && e)
        *e = why;
    return rc == GRPC_NOT_FOUND ? 0 : rc;
}

int runtime_remove_sandbox(struct runtime *r, struct str id, struct err *e)
{
    return remove_by_force(r, G_runtime_v1_RuntimeService_RemovePodSandbox, N_pod_sandbox_id, id, e);
}

int runtime_create_container(struct runtime *r, struct str sandbox_id, const struct val *config,
                             const struct val *sandbox_config, struct arena *a, struct str *ret_id, struct err *e)
{
    struct val *q = val_new(a, VAL_OBJ);
    const struct val *v;
    val_set_str(a, q, N_pod_sandbox_id, sandbox_id);
    val_set_ref(a, q, N_config, config);
    val_set_ref(a, q, N_sandbox_config, sandbox_config);
    int rc = runtime_call(r, G_runtime_v1_RuntimeService_CreateContainer, q, soon(), a, &v, e);
    if (rc == 0)
        *ret_id = val_getstr(v, N_container_id);
    return rc;
}

int runtime_start_container(struct runtime *r, struct str id, struct err *e)
{
    return call_id(r, G_runtime_v1_RuntimeService_StartContainer, N_container_id, id, soon(), e);
}

int runtime_stop_container(struct runtime *r, struct str id, int64_t grace, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct val *q = val_new(&a, VAL_OBJ);
    const struct val *v;
    val_set_str(&a, q, N_container_id, id);
    val_set_int(&a, q, N_timeout, grace);
    int rc = runtime_call(r, G_runtime_v1_RuntimeService_StopContainer, q,
                          mono_add(soon(), SECONDS(MIN(grace, (int64_t)86400 * 365))), &a, &v, e);
    arena_done(&a);
    return rc == GRPC_NOT_FOUND ? 0 : rc;
}

int runtime_remove_container(struct runtime *r, struct str id, struct err *e)
{
    return remove_by_force(r, G_runtime_v1_RuntimeService_RemoveContainer, N_container_id, id, e);
}

int runtime_update_container(struct runtime *r, struct str id, const struct val *resources, struct err *e)
{
    struct arena a = ARENA_INIT;
    struct val *q = val_new(&a, VAL_OBJ);
    const struct val *v;
    val_set_str(&a, q, N_container_id, id);
    val_set_ref(&a, q, N_linux, resources);
    int rc = runtime_call(r, G_runtime_v1_RuntimeService_UpdateContainerResources, q, soon(), &a, &v, e);
    arena_done(&a);
    return rc;
}

int runtime_reopen_log(struct runtime *r, struct str id, struct err *e)
{
    return call_id(r, G_runtime_v1_RuntimeService_ReopenContainerLog, N_container_id, id, soon(), e);
}

/* ---- inside of containers -------------------------------------------------------------------------------- */

int runtime_exec_sync(struct runtime *r, struct str id, const struct val *command, int64_t timeout_seconds,
                      struct arena *a, struct runtime_exec *ret, struct err *e)
{
    struct val *q = val_new(a, VAL_OBJ);
    const struct val *v;
    val_set_str(a, q, N_container_id, id);
    val_set_ref(a, q, N_cmd, command);
    val_set_int(a, q, N_timeout, timeout_seconds);
    /* The runtime ends it at the timeout; a little more for its answer. No timeout: none here either. */
    struct mono deadline = timeout_seconds > 0 ? mono_add(os_mono(), SECONDS(timeout_seconds + 10)) : MONO_NEVER;
    int rc = runtime_call(r, G_runtime_v1_RuntimeService_ExecSync, q, deadline, a, &v, e);
    if (rc == 0)
        *ret = (struct runtime_exec){(int)val_int(val_get(v, N_exit_code), 0), val_getstr(v, N_stdout),
                                     val_getstr(v, N_stderr)};
    return rc;
}

static int call_url(struct runtime *r, unsigned method, const struct val *q, struct arena *a, struct str *ret,
                    struct err *e)
{
    const struct val *v;
    int rc = runtime_call(r, method, q, soon(), a, &v, e);
    if (rc == 0)
        *ret = val_getstr(v, N_url);
    return rc;
}

static void set_streams(struct arena *a, struct val *q, const struct runtime_streams *s)
{
    val_set_bool(a, q, N_stdin, s->stdin_);
    val_set_bool(a, q, N_stdout, s->stdout_);
    val_set_bool(a, q, N_stderr, s->stderr_ && !s->tty); /* a terminal has one output */
    val_set_bool(a, q, N_tty, s->tty);
}

int runtime_exec_url(struct runtime *r, struct str id, const struct str *command, size_t n,
                     const struct runtime_streams *s, struct arena *a, struct str *ret, struct err *e)
{
    struct val *q = val_new(a, VAL_OBJ), *cmd;
    val_set_str(a, q, N_container_id, id);
    set_streams(a, q, s);
    cmd = val_sub_list(a, q, N_cmd);
    for (size_t i = 0; i < n; i++)
        val_add_str(a, cmd, command[i]);
    return call_url(r, G_runtime_v1_RuntimeService_Exec, q, a, ret, e);
}

int runtime_attach_url(struct runtime *r, struct str id, const struct runtime_streams *s, struct arena *a,
                       struct str *ret, struct err *e)
{
    struct val *q = val_new(a, VAL_OBJ);
    val_set_str(a, q, N_container_id, id);
    set_streams(a, q, s);
    return call_url(r, G_runtime_v1_RuntimeService_Attach, q, a, ret, e);
}

int runtime_port_forward_url(struct runtime *r, struct str sandbox_id, struct arena *a, struct str *ret,
                             struct err *e)
{
    struct val *q = val_new(a, VAL_OBJ);
    val_set_str(a, q, N_pod_sandbox_id, sandbox_id);
    return call_url(r, G_runtime_v1_RuntimeService_PortForward, q, a, ret, e);
}

/* ---- images ---------------------------------------------------------------------------------------------- */

static struct val *image_request(struct arena *a, struct str image)
{
    struct val *q = val_new(a, VAL_OBJ);
    val_set_str(a, val_sub_obj(a, q, N_image), N_image, image);
    return q;
}

int runtime_image(struct runtime *r, struct str image, struct arena *a, const struct val **ret, struct err *e)
{
    const struct val *v;
    int rc = runtime_call(r, G_runtime_v1_ImageService_ImageStatus, image_request(a, image), soon(), a, &v, e);
    if (rc == 0)
        *ret = val_get(v, N_image);
    return rc;
}

int runtime_pull(struct runtime *r, struct str image, const struct val *auth, const struct val *sandbox_config,
                 struct arena *a, struct str *ret_ref, struct err *e)
{
    struct val *q = image_request(a, image);
    const struct val *v;
    val_set_ref(a, q, N_auth, auth);
    val_set_ref(a, q, N_sandbox_config, sandbox_config);
    int rc = runtime_call(r, G_runtime_v1_ImageService_PullImage, q, MONO_NEVER, a, &v, e);
    if (rc == 0)
        *ret_ref = val_getstr(v, N_image_ref);
    return rc;
}

int runtime_images(struct runtime *r, struct arena *a, const struct val **ret, struct err *e)
{
    const struct val *v;
    int rc = runtime_call(r, G_runtime_v1_ImageService_ListImages, val_new(a, VAL_OBJ), soon(), a, &v, e);
    if (rc == 0)
        *ret = val_get(v, N_images);
    return rc;
}

int runtime_remove_image(struct runtime *r, struct str image, struct err *e)
{
    struct arena a = ARENA_INIT;
    const struct val *v;
    int rc = runtime_call(r, G_runtime_v1_ImageService_RemoveImage, image_request(&a, image), soon(), &a, &v, e);
    arena_done(&a);
    return rc;
}
