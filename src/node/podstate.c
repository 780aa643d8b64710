/* SPDX-License-Identifier: Apache-2.0 */
#include "node/podstate.h"

#include "grpc.h"
#include "names.h"
#include "pod.h"

struct podstate *podstate_new(struct str uid, struct str name, struct str namespace_)
{
    struct podstate *s = NEW(struct podstate);
    s->refs = 1;
    s->uid = arena_str(&s->arena, uid);
    s->name = arena_str(&s->arena, name);
    s->namespace_ = arena_str(&s->arena, namespace_);
    return s;
}

struct podstate *podstate_ref(const struct podstate *s)
{
    struct podstate *mine = (struct podstate *)s; /* the count is the one part that changes */
    if (mine)
        mine->refs++;
    return mine;
}

struct podstate *podstate_unref(struct podstate *s)
{
    if (s && --s->refs == 0) {
        arena_done(&s->arena);
        free(s);
    }
    return NULL;
}

static int sandbox_order(const void *pa, const void *pb)
{
    const struct rt_sandbox *a = pa, *b = pb;
    if (a->attempt != b->attempt)
        return a->attempt > b->attempt ? -1 : 1;
    return a->created.ns > b->created.ns ? -1 : a->created.ns < b->created.ns;
}

static int container_order(const void *pa, const void *pb)
{
    /* Attempts only grow; the clock by which `created` was told may have been set back meanwhile. */
    const struct rt_container *a = pa, *b = pb;
    if (a->attempt != b->attempt)
        return a->attempt > b->attempt ? -1 : 1;
    return a->created.ns > b->created.ns ? -1 : a->created.ns < b->created.ns;
}

void podstate_sort(struct podstate *s)
{
    if (s->n_sandboxes)
        qsort(s->sandboxes, s->n_sandboxes, sizeof(*s->sandboxes), sandbox_order);
    if (s->n_containers)
        qsort(s->containers, s->n_containers, sizeof(*s->containers), container_order);
}

void rt_sandbox_from_val(struct arena *a, const struct val *v, struct rt_sandbox *ret)
{
    const struct val *net = val_get(v, N_network), *more = val_get(net, N_additional_ips);
    struct rt_sandbox s = {
        .id = arena_str(a, val_getstr(v, N_id)),
        .ready = val_int(val_get(v, N_state), 0) == E_runtime_v1_SANDBOX_READY,
        .host_network = val_int(val_at(v, N_linux, N_namespaces, N_options, N_network), 0) == E_runtime_v1_NODE,
        .attempt = (uint32_t)val_int(val_at(v, N_metadata, N_attempt), 0),
        .created = {val_int(val_get(v, N_created_at), 0)},
    };
    struct str ip = val_getstr(net, N_ip);
    if (ip.n) {
        s.ips = ARENA_ARRAY(a, struct str, 1 + val_len(more));
        s.ips[s.n_ips++] = arena_str(a, ip);
        VAL_EACH (more, m)
            s.ips[s.n_ips++] = arena_str(a, val_getstr(m, N_ip));
    }
    *ret = s;
}

static struct str note(const struct val *status, const char *key)
{
    return val_str(val_key(val_get(status, N_annotations), str_of(key)));
}

static int64_t note_int(const struct val *status, const char *key, int64_t absent)
{
    int64_t n;
    return str_to_i64(note(status, key), &n) == 0 ? n : absent;
}

/* The file that the container sees at its terminationMessagePath. */
static struct str message_host_path(const struct val *status)
{
    struct str path = note(status, CRI_NOTE_MESSAGE_PATH);
    if (path.n)
        VAL_EACH (val_get(status, N_mounts), m)
            if (str_eq(val_getstr(m, N_container_path), path))
                return val_getstr(m, N_host_path);
    return STR_NULL;
}

void rt_container_from_val(struct arena *a, const struct val *v, struct rt_container *ret)
{
    const struct val *user = val_at(v, N_user, N_linux), *held = val_at(v, N_resources, N_linux);
    struct rt_container c = {
        .id = arena_str(a, val_getstr(v, N_id)),
        .name = arena_str(a, val_str(val_key(val_get(v, N_labels), STR(CRI_LABEL_CONTAINER)))),
        .image = arena_str(a, val_str(val_at(v, N_image, N_image))),
        .image_ref = arena_str(a, val_getstr(v, N_image_ref)),
        .state = (enum rt_state)MIN(val_int(val_get(v, N_state), 0), (int64_t)RT_UNKNOWN),
        .attempt = (uint32_t)val_int(val_at(v, N_metadata, N_attempt), 0),
        .restarts = (uint32_t)note_int(v, CRI_NOTE_RESTARTS, 0),
        .created = {val_int(val_get(v, N_created_at), 0)},
        .started = {val_int(val_get(v, N_started_at), 0)},
        .finished = {val_int(val_get(v, N_finished_at), 0)},
        .exit_code = (int32_t)val_int(val_get(v, N_exit_code), 0),
        .reason = arena_str(a, val_getstr(v, N_reason)),
        .message = arena_str(a, val_getstr(v, N_message)),
        .hash = arena_str(a, note(v, CRI_NOTE_HASH)),
        .devices = arena_str(a, note(v, CRI_NOTE_DEVICES)),
        .log_path = arena_str(a, val_getstr(v, N_log_path)),
        .message_host_path = arena_str(a, message_host_path(v)),
        .message_policy = arena_str(a, note(v, CRI_NOTE_MESSAGE_POLICY)),
        .grace = note_int(v, CRI_NOTE_GRACE, -1),
        .has_user = user != NULL,
        .uid = val_int(val_get(user, N_uid), 0),
        .gid = val_int(val_get(user, N_gid), 0),
        .groups = val_copy(a, val_get(user, N_supplemental_groups)),
        .cpuset = arena_str(a, val_getstr(held, N_cpuset_cpus)),
        .cpu_shares = val_int(val_get(held, N_cpu_shares), 0),
        .cpu_quota = val_int(val_get(held, N_cpu_quota), 0),
        .cpu_period = val_int(val_get(held, N_cpu_period), 0),
        .memory_limit = val_int(val_get(held, N_memory_limit_in_bytes), 0),
    };
    if (!c.name.n)
        c.name = arena_str(a, val_str(val_at(v, N_metadata, N_name)));
    /* Runtimes without user_specified_image report the name they resolved. */
    struct str asked = val_str(val_at(v, N_image, N_user_specified_image));
    if (asked.n)
        c.image = arena_str(a, asked);
    *ret = c;
}

const struct rt_container *podstate_find(const struct podstate *s, struct str name)
{
    for (size_t i = 0; s && i < s->n_containers; i++)
        if (str_eq(s->containers[i].name, name))
            return &s->containers[i];
    return NULL;
}

const struct rt_sandbox *podstate_active_sandbox(const struct podstate *s)
{
    return s && s->n_sandboxes && s->sandboxes[0].ready ? &s->sandboxes[0] : NULL;
}

static bool tells_of_end(const struct val *pod_status, struct str id)
{
    static const enum container_kind kinds[] = {CK_MAIN, CK_INIT, CK_EPHEMERAL};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        VAL_EACH (pod_statuses(pod_status, kinds[i]), c)
            if (str_ends(val_getstr(val_at(c, N_state, N_terminated), N_containerID), id) ||
                str_ends(val_getstr(val_at(c, N_lastState, N_terminated), N_containerID), id))
                return true;
    return false;
}

void podstate_forgive_cut_starts(struct podstate *s, const struct val *pod_status, struct wall began)
{
    for (size_t i = 0; s && i < s->n_containers; i++) {
        struct rt_container *c = &s->containers[i];
        if (c->state != RT_EXITED || c->started.ns > 0 || c->created.ns >= began.ns || tells_of_end(pod_status, c->id))
            continue;
        c->state = RT_CREATED;
        c->exit_code = 0;
        c->finished.ns = 0;
        c->reason = c->message = STR_NULL;
    }
}

bool podstate_next_number(const struct podstate *s, struct str name, unsigned *ret)
{
    const struct rt_container *last = podstate_find(s, name);
    if (!last)
        return false;
    *ret = last->state == RT_CREATED ? last->restarts : last->restarts + 1;
    return true;
}

const struct rt_container *podstate_find_active(const struct podstate *s, struct str name)
{
    const struct rt_sandbox *box = podstate_active_sandbox(s);
    for (size_t i = 0; box && i < s->n_containers; i++)
        if (str_eq(s->containers[i].name, name) && str_eq(s->containers[i].sandbox_id, box->id))
            return &s->containers[i];
    return NULL;
}

const struct rt_container *podstate_find_id(const struct podstate *s, struct str id)
{
    for (size_t i = 0; s && i < s->n_containers; i++)
        if (str_eq(s->containers[i].id, id))
            return &s->containers[i];
    return NULL;
}

bool podstate_any_running(const struct podstate *s)
{
    for (size_t i = 0; s && i < s->n_containers; i++)
        if (s->containers[i].state == RT_RUNNING || s->containers[i].state == RT_UNKNOWN)
            return true;
    return false;
}

bool podstate_any_ready_sandbox(const struct podstate *s)
{
    for (size_t i = 0; s && i < s->n_sandboxes; i++)
        if (s->sandboxes[i].ready)
            return true;
    return false;
}

bool podstate_is_spent(const struct podstate *s, size_t container)
{
    const struct rt_container *c = &s->containers[container];
    for (size_t i = 0; i < container; i++)
        if (str_eq(s->containers[i].name, c->name) &&
            (c->state == RT_CREATED || (c->state == RT_EXITED && s->containers[i].state == RT_EXITED)))
            return true;
    return false;
}

bool podstate_is_spent_sandbox(const struct podstate *s, size_t sandbox)
{
    if (sandbox == 0 || s->sandboxes[sandbox].ready)
        return false;
    for (size_t i = 0; i < s->n_containers; i++)
        if (str_eq(s->containers[i].sandbox_id, s->sandboxes[sandbox].id) && !podstate_is_spent(s, i))
            return false;
    return true;
}

size_t podstate_ips(const struct podstate *s, const struct str **ret)
{
    if (!s || !s->n_sandboxes)
        return 0;
    *ret = s->sandboxes[0].ips;
    return s->sandboxes[0].n_ips;
}
