/* SPDX-License-Identifier: Apache-2.0 */
/* Telling the API: makes a Pod's status, writes it when it is new, and deletes the Pod when it has ended. */
#include "node/crilog.h"
#include "node/kubelet-internal.h"
#include "type/patch.h"
#include "types.h"
#include "wire/json.h"

enum { MESSAGE_MAX = 4096, LOG_TAIL_BYTES = 2048, LOG_TAIL_LINES = 80 };

/* ---- termination messages ------------------------------------------------------------------------------------ */

static struct str last_of_log(struct arena *a, struct kubelet *k, struct str path)
{
    struct str text;
    struct buf b = BUF_INIT;
    if (k->host->ops->read_tail(k->host, a, path.p, 16 << 10, &text) < 0)
        return STR("");
    crilog_last(text, LOG_TAIL_BYTES, LOG_TAIL_LINES, &b);
    struct str s = arena_str(a, buf_str(&b));
    buf_done(&b);
    return s;
}

static void read_message(struct kubelet *k, struct podstate *s, struct rt_container *c)
{
    struct str text = STR("");
    if (c->message_host_path.n)
        k->host->ops->read_tail(k->host, &s->arena, c->message_host_path.p, MESSAGE_MAX, &text);
    if (!text.n && str_is(c->message_policy, "FallbackToLogsOnError") && c->exit_code != 0 &&
        !str_is(c->reason, "ContainerCannotRun"))
        text = last_of_log(&s->arena, k, c->log_path);
    if (text.n)
        c->message = arena_printf(&s->arena, STR_FMT "%s" STR_FMT, STR_ARG(c->message), c->message.n ? ": " : "",
                                  STR_ARG(text));
}

void state_read_messages(struct kubelet *k, struct podstate *s)
{
    for (size_t i = 0; i < s->n_containers; i++)
        if (s->containers[i].state == RT_EXITED)
            read_message(k, s, &s->containers[i]);
}

/* ---- making ---------------------------------------------------------------------------------------------------- */

static const struct wait_reason *wait_reason_of(void *worker, struct str container)
{
    const struct worker *w = worker;
    const struct container_book *b = map_get(&w->books, container);
    return b && b->reason.reason.n ? &b->reason : NULL;
}

/* The object whose status we write: for a static pod its image in the API, which may not be there. */
static const struct object *api_object(const struct worker *w)
{
    if (!w->pod || w->removed)
        return NULL;
    return pod_is_static(w->pod->val) ? mirror_of(w->k, w->pod->val) : w->api;
}

/* Health of the devices that drivers prepared (KEP-4680). */
static void tell_devices(struct kubelet *k, const struct val *pod, struct arena *a, struct val *status)
{
    const struct val *told = val_get(status, N_containerStatuses);
    if (!dra_wanted(pod) || !told)
        return;
    struct val *list = val_set(a, status, N_containerStatuses, *val_copy(a, told));
    for (uint32_t i = 0; i < list->n; i++) {
        const struct val *container = pod_find_container(pod, val_getstr(&list->items[i], N_name), NULL);
        val_set_ref(a, &list->items[i], N_allocatedResourcesStatus, dra_health_of(k, pod, container, a));
    }
}

void worker_make_status(struct worker *w)
{
    const struct val *pod = worker_pod(w);
    struct arena a = ARENA_INIT;
    if (!pod)
        return;
    struct status_input in = {
        .pod = pod,
        .old = w->status,
        .state = w->state,
        .probe = worker_probe_result,
        .waiting = wait_reason_of,
        .restarting = worker_restarting(w) || (w->stage == WORKER_SYNCING && pod_restarts_all(pod, w->state)),
        .in_force = worker_in_force,
        .pending = &w->resize_pending,
        .progress = &w->resize_progress,
        .cgroup = w->cgroup_known ? &w->cgroup : NULL,
        .ctx = w,
        .runtime = w->k->rt->name,
        .ended = w->stopped,
        .fail_reason = w->fail_reason,
        .fail_message = w->fail_message,
        .disruption = w->disruption,
        .host_ips = w->k->ips,
        .n_host_ips = w->k->n_ips,
        .now = os_wall(),
    };
    struct val *status = pod_status_make(&a, &in);
    tell_devices(w->k, pod, &a, status);
    w->phase_terminal = pod_phase_is_terminal(val_getstr(status, N_phase));
    if (w->stopped)
        pod_status_finish(&a, pod, status, in.now);
    else
        pod_status_hold_phase(&a, status, pod_status(pod));
    uint64_t hash = val_hash(status);
    if (hash != w->status_hash || !w->status) {
        struct arena keep = ARENA_INIT;
        w->status = val_copy(&keep, status);
        arena_done(&w->status_arena);
        w->status_arena = keep;
        w->status_hash = hash;
    }
    arena_done(&a);
}

const struct val *as_api_has_it(struct arena *a, const struct type *type, const struct val *v)
{
    struct buf b = BUF_INIT;
    struct val *out = NULL;
    json_encode(&b, type, v, 0);
    int r = json_decode(a, type, arena_str(a, buf_str(&b)), 0, NULL, &out, NULL);
    buf_done(&b);
    return r == 0 ? out : v;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static int patch_status(struct worker *w, const struct object *target, const struct val *status, struct arena *a,
                        struct status *s)
{
    const struct val *before = pod_status(target->val);
    struct val *old = val_new(a, VAL_OBJ), *new_ = val_new(a, VAL_OBJ);
    struct str patch;
    struct err e = {{0}};
    status = as_api_has_it(a, type_at(T_core_v1_PodStatus), status);
    if (val_equal(before, status))
        return 0;
    val_set_ref(a, old, N_status, before);
    val_set_ref(a, new_, N_status, status);
    val_set_str(a, val_sub_obj(a, new_, N_metadata), N_uid, target->uid);
    int r = patch_three_way(a, type_at(T_core_v1_Pod), old, new_, old, &patch, &e);
    if (r < 0)
        return status_set(s, 500, NULL, "cannot make a patch: %s", err_text(&e, r));
    return client_patch(w->k->client,
                        CALL(.res = target->res, .ns = target->namespace_, .name = target->name, .subresource = "status"),
                        PATCH_STRATEGIC, patch, a, NULL, s);
}

static int delete_for_good(struct worker *w, const struct object *target, struct arena *a, struct status *s)
{
    struct call call = *CALL(.res = target->res, .ns = target->namespace_, .name = target->name, .uid = target->uid);
    call.grace_seconds = 0;
    return client_delete(w->k->client, &call, a, NULL, s);
}

static bool wants_delete(const struct worker *w, const struct object *target)
{
    return w->stage == WORKER_FINISHED && !w->api_deleted && obj_deleting(target->val) && !pod_is_mirror(target->val);
}

/* One write. 0 when there is nothing more to write, 1 to go on, negative: later. */
static int post_once(struct worker *w)
{
    struct arena a = ARENA_INIT;
    struct status s;
    struct object *target CLEANUP_OBJECT = NULL;
    const struct object *now = api_object(w);
    int r = 0;
    if (!now) {
        w->posted_hash = w->status_hash;
        return 0;
    }
    target = object_ref(now);
    status_init(&s, &a);
    if (!w->posted || w->posted_hash != w->status_hash) {
        uint64_t hash = w->status_hash;
        r = patch_status(w, target, val_copy(&a, w->status), &a, &s);
        if (r == 0 || r == 404 || r == 409) { /* gone, or another Pod of the same name: nothing to tell */
            w->posted = true;
            w->posted_hash = hash;
            r = 1;
        }
    } else if (wants_delete(w, target)) {
        r = delete_for_good(w, target, &a, &s);
        if (r == 0 || r == 404 || r == 409) {
            w->api_deleted = true;
            worker_wake(w);
            r = 0;
        }
    }
    if (r > 1) {
        log_warn(LOG, "cannot write the status of %s/%s: " STR_FMT, w->ns, w->name, STR_ARG(s.message));
        r = -EIO;
    }
    arena_done(&a);
    return r;
}

static void post_fiber(void *arg)
{
    struct worker *w = arg;
    unsigned failures = 0;
    for (;;) {
        int r = post_once(w);
        if (r == 0 || r == -ECANCELED)
            return;
        failures = r < 0 ? failures + 1 : 0;
        if (failures && fiber_sleep(MILLISECONDS(200) << MIN(failures - 1, 6u)) < 0)
            return;
        if (fiber_cancelled())
            return;
    }
}

void worker_post(struct worker *w)
{
    const struct object *target = w->k->client ? api_object(w) : NULL;
    if (!target || !w->status || w->posting.n)
        return;
    if (!w->posted || w->posted_hash != w->status_hash || wants_delete(w, target))
        group_spawn(&w->posting, "pod-status", post_fiber, w);
}
