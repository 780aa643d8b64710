/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/outline.h"

#include <stdio.h>

#include "base/os.h"
#include "client/replica.h"
#include "resources.h"
#include "sim/world.h"
#include "type/meta.h"
#include "wire/json.h"

enum { LEASE_SECONDS = 40, LEASE_RENEWAL_SECONDS = 10, STATUS_SECONDS = 300, MAX_PODS = 110 };

/* ---- a pod's body ------------------------------------------------------------------------------------------------- */

const char *const body_phase_names[] = {"starting", "running", "ready", "stopping", "stopped"};

static struct mono end_of(const struct body *b, enum body_phase phase, struct mono now)
{
    switch (phase) {
    case BODY_STARTING:
        return mono_add(now, b->start_ns);
    case BODY_RUNNING:
        return mono_add(now, b->become_ready_ns);
    case BODY_STOPPING:
        return mono_add(now, b->stop_ns);
    case BODY_READY:
    case BODY_STOPPED:
        break;
    }
    return MONO_NEVER;
}

static void enter(struct body *b, enum body_phase phase, struct mono now)
{
    b->phase = phase;
    b->until = end_of(b, phase, now);
}

bool body_step(struct body *b, bool wanted, struct mono now)
{
    enum body_phase before = b->phase;
    if (!b->until.ns)
        enter(b, b->phase, now);
    if (!wanted && b->phase < BODY_STOPPING)
        enter(b, BODY_STOPPING, now);
    while (b->until.ns <= now.ns)
        enter(b, b->phase + 1, b->until);
    return b->phase != before;
}

/* ---- the machine -------------------------------------------------------------------------------------------------- */

struct outline_pod {
    struct body body;
    char *uid, *ns, *name;
    char ip[16];
    struct living *living;
    struct wall started, ready_since;
    struct mono told; /* when the API server last was */
};

static void pod_free(void *p)
{
    struct outline_pod *o = p;
    free(o->uid);
    free(o->ns);
    free(o->name);
    free(o);
}

static void pod_end_living(struct outline_machine *m, struct outline_pod *o)
{
    truth_end(m->truth, o->living);
    o->living = NULL;
}

void outline_machine_wipe(struct outline_machine *m)
{
    MAP_EACH(&m->bodies, e)
        pod_end_living(m, e->value);
    map_done_with(&m->bodies, pod_free);
}

void outline_machine_done(struct outline_machine *m)
{
    outline_machine_wipe(m);
}

size_t outline_machine_pods(const struct outline_machine *m)
{
    size_t n = 0;
    MAP_EACH(&m->bodies, e)
        n += ((struct outline_pod *)e->value)->living != NULL;
    return n;
}

static bool address_taken(const struct outline_machine *m, const char *ip)
{
    MAP_EACH(&m->bodies, e)
    {
        const struct outline_pod *o = e->value;
        if (o->living && strcmp(o->ip, ip) == 0)
            return true;
    }
    return false;
}

static void take_address(struct outline_machine *m, char ret[static 16])
{
    do {
        m->last_host = m->last_host % 253 + 1; /* .2 to .254; .1 is the bridge */
        uint32_t ip = m->net + m->last_host + 1;
        snprintf(ret, 16, "%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
    } while (address_taken(m, ret));
}

static int64_t between(int64_t min, int64_t max)
{
    return min + (int64_t)os_random_below((uint64_t)(max - min));
}

static struct outline_pod *pod_begin(struct outline_machine *m, const struct object *o)
{
    struct outline_pod *p = NEW(struct outline_pod);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    p->uid = str_dup(o->uid);
    p->ns = str_dup(o->namespace_);
    p->name = str_dup(o->name);
    p->started = os_wall();
    p->body = (struct body){.start_ns = between(MILLISECONDS(200), SECONDS(2)),
                            .become_ready_ns = between(MILLISECONDS(100), SECONDS(5)),
                            .stop_ns = between(MILLISECONDS(10), SECONDS(3))};
    take_address(m, p->ip);
    p->living = truth_begin(m->truth, m->name, o->uid, obj_key(&a, o->namespace_, o->name), str_of(p->ip));
    map_put(&m->bodies, o->uid, p);
    return p;
}

/* ---- the kubelet ------------------------------------------------------------------------------------------------------ */

struct outline {
    struct outline_machine *machine;
    struct client *client;
    struct replica *replica;
    struct group fibers;
    struct waitq changed;
    struct map reported; /* uid -> phase + 1 that the API server knows */
};

static const struct resource *pods(void)
{
    return &resources[RES_PODS];
}

static void put_condition(struct buf *b, const char *type, bool on, const char *reason, struct wall since)
{
    char t[TIME_TEXT_MAX];
    buf_printf(b, "%s{\"type\":\"%s\",\"status\":\"%s\",\"lastTransitionTime\":\"%s\"", b->p[b->n - 1] == '[' ? "" : ",", type,
               on ? "True" : "False", time_format(since, t));
    if (reason)
        buf_printf(b, ",\"reason\":\"%s\",\"message\":\"%s\"", reason, reason);
    buf_putc(b, '}');
}

static void put_containers(struct buf *b, const struct outline_pod *p, const struct val *pod)
{
    char t[TIME_TEXT_MAX];
    const char *sep = "";
    bool ready = p->body.phase == BODY_READY;
    VAL_EACH(val_at(pod, N_spec, N_containers), c)
    {
        buf_printf(b, "%s{\"name\":\"" STR_FMT "\",\"image\":\"" STR_FMT "\",\"imageID\":\"sim\",\"ready\":%s,\"started\":%s,"
                   "\"restartCount\":0,\"state\":", sep, STR_ARG(val_getstr(c, N_name)), STR_ARG(val_getstr(c, N_image)),
                   ready ? "true" : "false", ready ? "true" : "false");
        if (p->body.phase == BODY_STARTING)
            buf_puts(b, "{\"waiting\":{\"reason\":\"ContainerCreating\"}}}");
        else if (p->body.phase == BODY_STOPPED)
            buf_printf(b, "{\"terminated\":{\"exitCode\":0,\"reason\":\"Completed\",\"startedAt\":\"%s\",\"finishedAt\":\"%s\"}}}",
                       time_format(p->started, t), time_format(p->started, t));
        else
            buf_printf(b, "{\"running\":{\"startedAt\":\"%s\"}}}", time_format(p->started, t));
        sep = ",";
    }
}

static const char *phase_name(const struct outline_pod *p)
{
    return p->body.phase == BODY_STARTING ? "Pending" : p->body.phase == BODY_STOPPED ? "Succeeded" : "Running";
}

/* What the API server is told about a pod: a merge patch. */
static void put_status(struct buf *b, const struct outline_machine *m, const struct outline_pod *p, const struct val *pod)
{
    char t[TIME_TEXT_MAX];
    bool ready = p->body.phase == BODY_READY;
    const char *why = ready ? NULL : p->body.phase == BODY_STOPPED ? "PodCompleted" : "ContainersNotReady";
    struct wall since = ready ? p->ready_since : p->started;
    buf_printf(b, "{\"metadata\":{\"uid\":\"%s\"},\"status\":{\"phase\":\"%s\",\"startTime\":\"%s\",\"hostIP\":\"%s\","
               "\"hostIPs\":[{\"ip\":\"%s\"}],", p->uid, phase_name(p), time_format(p->started, t), m->ip, m->ip);
    if (p->body.phase != BODY_STARTING && p->ip[0])
        buf_printf(b, "\"podIP\":\"%s\",\"podIPs\":[{\"ip\":\"%s\"}],", p->ip, p->ip);
    buf_puts(b, "\"conditions\":[");
    put_condition(b, "PodReadyToStartContainers", p->body.phase != BODY_STARTING && p->body.phase != BODY_STOPPED, NULL,
                  p->started);
    put_condition(b, "Initialized", true, NULL, p->started);
    put_condition(b, "Ready", ready, why, since);
    put_condition(b, "ContainersReady", ready, why, since);
    put_condition(b, "PodScheduled", true, NULL, p->started);
    buf_puts(b, "],\"containerStatuses\":[");
    put_containers(b, p, pod);
    buf_puts(b, "]}}");
}

static int report(struct outline *k, struct outline_pod *p, const struct object *o)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct status s;
    enum body_phase phase = p->body.phase;
    status_init(&s, &a);
    if (phase == BODY_READY && !p->ready_since.ns)
        p->ready_since = os_wall();
    put_status(&b, k->machine, p, o->val);
    int r = client_patch(k->client, CALL(.res = pods(), .ns = str_of(p->ns), .name = str_of(p->name), .subresource = "status"),
                         PATCH_MERGE, buf_str(&b), &a, NULL, &s);
    p->told = os_mono();
    if (r == 0)
        map_put(&k->reported, str_of(p->uid), (void *)(uintptr_t)(phase + 1));
    else if (r > 0 && r != 404 && r != 409 && r < 500)
        truth_violated(k->machine->truth, "the status of pod %s/%s is refused: %d " STR_FMT, p->ns, p->name, r,
                       STR_ARG(s.message));
    return r;
}

static int delete_from_api(struct outline *k, const struct outline_pod *p)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    struct call call = {.res = pods(), .ns = str_of(p->ns), .name = str_of(p->name), .uid = str_of(p->uid)};
    status_init(&s, &a);
    return client_delete(k->client, &call, &a, NULL, &s);
}

static enum body_phase reported(const struct outline *k, const struct outline_pod *p)
{
    return (enum body_phase)((uintptr_t)map_get(&k->reported, str_of(p->uid)) - 1);
}

/* The pod of that body as the API server has it, with a reference; NULL: it has none or another one. */
static struct object *wanted_pod(struct outline *k, const struct outline_pod *p)
{
    const struct object *o = replica_get(k->replica, pods(), str_of(p->ns), str_of(p->name));
    return o && str_is(o->uid, p->uid) ? object_ref(o) : NULL;
}

static void forget(struct outline *k, struct outline_pod *p)
{
    map_del(&k->reported, str_of(p->uid));
    map_del(&k->machine->bodies, str_of(p->uid));
    pod_end_living(k->machine, p);
    pod_free(p);
}

/* Others write there, too: a node that was not heard of has its pods marked as not ready. What was told just now may
 * not have come back yet. */
static bool contradicted(const struct outline_pod *p, const struct object *o)
{
    bool ready = condition_is(val_at(o->val, N_status, N_conditions), STR("Ready"), "True");
    return ready != (p->body.phase == BODY_READY) && os_mono().ns - p->told.ns > SECONDS(5);
}

/* One pod: moves its body, tells what has changed. May wait. *until: when to look again. */
static void look_after(struct outline *k, struct outline_pod *p, struct mono *until)
{
    struct object *o CLEANUP_OBJECT = wanted_pod(k, p);
    int r = 0;
    body_step(&p->body, o && !obj_deleting(o->val), os_mono());
    if (p->body.phase == BODY_STOPPED)
        pod_end_living(k->machine, p);
    if (o && (reported(k, p) != p->body.phase || contradicted(p, o)))
        r = report(k, p, o);
    if (r == 0 && p->body.phase == BODY_STOPPED && o)
        r = delete_from_api(k, p);
    if (r && r != 404)
        *until = (struct mono){MIN(until->ns, mono_add(os_mono(), SECONDS(1)).ns)};
    if (p->body.phase == BODY_STOPPED && (!o || r == 404))
        forget(k, p);
    else if (p->body.phase != BODY_STOPPED)
        *until = (struct mono){MIN(until->ns, p->body.until.ns)};
}

static bool has_ended(const struct val *pod)
{
    struct str phase = val_str(val_at(pod, N_status, N_phase));
    return str_is(phase, "Succeeded") || str_is(phase, "Failed");
}

/* A pod that is to go and of which nothing is here any more needs somebody to say so. */
static void bury(struct outline *k, const struct object *o)
{
    struct outline_pod *p = NEW(struct outline_pod);
    *p = (struct outline_pod){.uid = str_dup(o->uid), .ns = str_dup(o->namespace_), .name = str_dup(o->name),
                              .started = os_wall(), .body = {.phase = BODY_STOPPED, .until = MONO_NEVER}};
    map_put(&k->machine->bodies, o->uid, p);
}

static void take_in(struct outline *k)
{
    TREE_EACH(replica_tree(k->replica, pods()), STR_NULL, it)
    {
        if (map_has(&k->machine->bodies, it.object->uid))
            continue;
        if (obj_deleting(it.object->val))
            bury(k, it.object);
        else if (!has_ended(it.object->val) && k->machine->net)
            pod_begin(k->machine, it.object);
    }
}

static char **uids_of(struct arena *a, const struct map *m)
{
    char **list = ARENA_ARRAY(a, char *, m->n + 1), **next = list;
    MAP_EACH(m, e)
        *next++ = arena_cstr(a, e->key);
    return list;
}

static void keep_pods(void *arg)
{
    struct outline *k = arg;
    if (replica_wait_synced(k->replica, MONO_NEVER) < 0)
        return;
    while (!fiber_cancelled()) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct mono until = mono_add(os_mono(), SECONDS(60));
        struct mono begun = os_mono();
        take_in(k);
        for (char **uid = uids_of(&a, &k->machine->bodies); *uid && !fiber_cancelled(); uid++) {
            struct outline_pod *p = map_get(&k->machine->bodies, str_of(*uid));
            if (p)
                look_after(k, p, &until);
        }
        /* What changed while calls waited is not known to anybody here: look again at once. */
        if (os_mono().ns == begun.ns)
            waitq_wait(&k->changed, until);
    }
}

/* ---- the node ----------------------------------------------------------------------------------------------------------- */

static const struct object *own_node(const struct outline *k)
{
    return replica_get(k->replica, &resources[RES_NODES], STR_NULL, str_of(k->machine->name));
}

static void learn_cidr(struct outline *k)
{
    const struct object *o = own_node(k);
    unsigned a, b, c, d;
    struct str cidr = o ? val_str(val_at(o->val, N_spec, N_podCIDR)) : STR_NULL;
    if (cidr.n && sscanf(cidr.p, "%u.%u.%u.%u/", &a, &b, &c, &d) == 4)
        k->machine->net = a << 24 | b << 16 | c << 8 | d;
}

static void on_change(void *arg, const struct resource *res, const struct object *old UNUSED,
                      const struct object *new_ UNUSED)
{
    struct outline *k = arg;
    if (res->index == RES_NODES)
        learn_cidr(k);
    waitq_wake_all(&k->changed);
}

static void put_node_status(struct buf *b, const struct outline_machine *m)
{
    char t[TIME_TEXT_MAX];
    time_format(os_wall(), t);
    bool ready = m->net != 0;
    const char *amounts = "{\"cpu\":\"8\",\"memory\":\"32Gi\",\"pods\":\"110\",\"ephemeral-storage\":\"100Gi\"}";
    buf_printf(b, "{\"status\":{\"capacity\":%s,\"allocatable\":%s,\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"%s\"},"
               "{\"type\":\"Hostname\",\"address\":\"%s\"}],\"nodeInfo\":{\"kubeletVersion\":\"v1.37.2\",\"architecture\":\"amd64\","
               "\"operatingSystem\":\"linux\"},\"conditions\":[", amounts, amounts, m->ip, m->name);
    buf_printf(b, "{\"type\":\"Ready\",\"status\":\"%s\",\"reason\":\"%s\",\"message\":\"as it is\",\"lastHeartbeatTime\":\"%s\"",
               ready ? "True" : "False", ready ? "KubeletReady" : "KubeletNotReady", t);
    buf_printf(b, ",\"lastTransitionTime\":\"%s\"}]}}", t);
}

static int send_node_status(struct outline *k)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct status s;
    status_init(&s, &a);
    put_node_status(&b, k->machine);
    return client_patch(k->client,
                        CALL(.res = &resources[RES_NODES], .name = str_of(k->machine->name), .subresource = "status"),
                        PATCH_MERGE, buf_str(&b), &a, NULL, &s);
}

static int register_node(struct outline *k)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    struct val *v = val_new(&a, VAL_OBJ), *meta = val_sub_obj(&a, v, N_metadata);
    status_init(&s, &a);
    val_set_str(&a, meta, N_name, str_of(k->machine->name));
    val_put_str(&a, val_sub_map(&a, meta, N_labels), STR("kubernetes.io/hostname"), str_of(k->machine->name));
    int r = client_create(k->client, CALL(.res = &resources[RES_NODES]), v, &a, NULL, &s);
    if (r > 0 && r != 409)
        truth_violated(k->machine->truth, "node %s cannot be made: %d " STR_FMT, k->machine->name, r, STR_ARG(s.message));
    return r == 409 ? 0 : r;
}

static void keep_node(void *arg)
{
    struct outline *k = arg;
    while (register_node(k) != 0 && !fiber_cancelled())
        fiber_sleep(SECONDS(1));
    while (!fiber_cancelled()) {
        uint32_t net = k->machine->net;
        int r = send_node_status(k);
        if (r == 404)
            register_node(k);
        struct mono next = mono_add(os_mono(), r ? SECONDS(1) : SECONDS(STATUS_SECONDS));
        while (k->machine->net == net && os_mono().ns < next.ns)
            if (waitq_wait(&k->changed, next) == -ECANCELED)
                return;
    }
}

static struct val *lease_of(struct arena *a, const struct outline_machine *m, const struct val *last)
{
    char t[TIME_TEXT_MAX];
    struct val *v = last ? val_copy(a, last) : val_new(a, VAL_OBJ);
    struct val *meta = val_sub_obj(a, v, N_metadata), *spec = val_sub_obj(a, v, N_spec);
    val_set_str(a, meta, N_name, str_of(m->name));
    val_set_str(a, meta, N_namespace, STR("kube-node-lease"));
    val_set_str(a, spec, N_holderIdentity, str_of(m->name));
    val_set_int(a, spec, N_leaseDurationSeconds, LEASE_SECONDS);
    val_set_str(a, spec, N_renewTime, str_of(time_format_micro(os_wall(), t)));
    return v;
}

static int renew(struct outline *k, struct call *call)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *last = NULL;
    struct status s;
    status_init(&s, &a);
    int r = client_get(k->client, call, &a, &last, &s);
    if (r == 0)
        return client_update(k->client, call, lease_of(&a, k->machine, last), &a, NULL, &s);
    return r == 404 ? client_create(k->client, call, lease_of(&a, k->machine, NULL), &a, NULL, &s) : r;
}

static void keep_lease(void *arg)
{
    struct outline *k = arg;
    struct call call = {.res = &resources[RES_LEASES], .ns = STR("kube-node-lease"), .name = str_of(k->machine->name)};
    while (!fiber_cancelled())
        fiber_sleep(renew(k, &call) ? MILLISECONDS(200) : SECONDS(LEASE_RENEWAL_SECONDS));
}

int outline_run(struct outline_machine *m, struct client *c, struct err *e UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct outline k = {.machine = m, .client = c};
    const struct replica_kind kinds[] = {
        {.res = pods(), .field_selector = arena_printf(&a, "spec.nodeName=%s", m->name)},
        {.res = &resources[RES_NODES], .field_selector = arena_printf(&a, "metadata.name=%s", m->name)},
    };
    k.replica = replica_new(c, kinds, ARRAY_SIZE(kinds));
    replica_on_change(k.replica, on_change, &k);
    replica_start(k.replica);
    group_spawn(&k.fibers, "node", keep_node, &k);
    group_spawn(&k.fibers, "lease", keep_lease, &k);
    group_spawn(&k.fibers, "pods", keep_pods, &k);
    int r = group_wait(&k.fibers, MONO_NEVER);
    group_stop(&k.fibers);
    replica_free(k.replica);
    map_done(&k.reported);
    return r;
}
