/* SPDX-License-Identifier: Apache-2.0 */
/* One pass over a Pod: machine, volumes, sandbox, containers, in the order in which they need each other. */
#include "node/kubelet-internal.h"

/* ---- the machine's part ---------------------------------------------------------------------------------- */

static int make_cgroup(struct worker *w, const struct val *pod, struct err *e)
{
    struct kubelet *k = w->k;
    struct arena a = ARENA_INIT;
    struct err why = {{0}};
    struct cgroup_limits l = pod_cgroup_limits(pod, k->cri.cfs_quota, k->cri.cfs_period, k->cfg.pod_pids);
    const char *path = pod_cgroup_path(&a, k->cfg.cgroup_root, pod).p;
    struct cgroup_state now;
    int r = qos_update(k, &why);
    /* What runs in it already is resized, where it must be: in the order that the kernel allows. */
    if (r == 0 && podstate_any_running(w->state) && k->host->ops->cgroup_get && k->host->ops->cgroup_get(k->host, path, &now) == 0)
        l = now.limits;
    else if (r == 0)
        r = k->host->ops->cgroup_set(k->host, path, &l, &why);
    if (r == 0) {
        w->cgroup = l;
        w->cgroup_known = true;
    }
    if (r < 0) {
        pod_event(k, pod, true, "FailedCreatePodContainer", "unable to ensure pod container exists: %s",
                  err_text(&why, r));
        err_set(e, r, "%s", err_text(&why, r));
    }
    arena_done(&a);
    return r;
}

static int set_up_volumes(struct worker *w, const struct val *pod, struct world *world, struct err *e)
{
    struct err why = {{0}};
    w->volumes_dirty = false;
    int r = volumes_set_up(w, pod, world, &why);
    if (r == -ECANCELED)
        return r;
    if (r < 0) {
        w->volumes_dirty = true;
        return err_set(e, r, "%s", why.text);
    }
    w->volumes_ready = true;
    return 0;
}

static int prepare(struct worker *w, const struct val *pod, struct world *world, struct err *e)
{
    struct kubelet *k = w->k;
    if (!k->network_ready && !pod_host_network(pod)) {
        pod_event(k, pod, true, "NetworkNotReady", "network is not ready: %s", k->runtime_problem);
        return err_set(e, -ENETDOWN, "network is not ready: %s", k->runtime_problem);
    }
    if (pod_is_static(pod))
        mirror_ensure(w);
    if (!w->cgroup_ready && !k->cfg.no_cgroups) {
        int r = make_cgroup(w, pod, e);
        if (r < 0)
            return r;
        w->cgroup_ready = true;
    }
    return w->volumes_dirty || !w->volumes_ready ? set_up_volumes(w, pod, world, e) : 0;
}

/* ---- the sandbox ----------------------------------------------------------------------------------------- */

/* The runtime's handler for the Pod's RuntimeClass; empty: its default. */
static int runtime_handler(struct kubelet *k, const struct val *pod, struct arena *a, struct str *ret, struct err *e)
{
    struct str name = val_str(val_at(pod, N_spec, N_runtimeClassName));
    const struct resource *res = resource_find(STR("node.k8s.io"), STR("v1"), STR("runtimeclasses"));
    *ret = STR_NULL;
    if (!name.n)
        return 0;
    const struct object *o = k->world && res ? replica_get(k->world, res, STR_NULL, name) : NULL;
    if (!o)
        return err_set(e, -ENOENT, "failed to get RuntimeClass \"" STR_FMT "\": not found", STR_ARG(name));
    *ret = arena_str(a, val_getstr(o->val, N_handler));
    return 0;
}

static int create_sandbox(struct worker *w, const struct val *pod, uint32_t attempt, struct err *e)
{
    struct kubelet *k = w->k;
    struct arena a = ARENA_INIT;
    struct str handler, id;
    struct err why = {{0}};
    int r = runtime_handler(k, pod, &a, &handler, &why);
    if (r == 0)
        r = userns_ensure(w, pod, handler, &why);
    struct cri_node node = userns_node(w, pod);
    struct val *config = cri_sandbox_config(&a, pod, &node, attempt);
    if (r == 0)
        r = k->host->ops->make_dir(k->host, val_cstr(val_get(config, N_log_directory)), 0755, &why);
    if (r == 0)
        r = runtime_run_sandbox(k->rt, config, handler, &a, &id, &why);
    if (r != 0 && r != -ECANCELED) {
        pod_event(k, pod, true, "FailedCreatePodSandBox", "Failed to create pod sandbox: %s", err_text(&why, r));
        err_set(e, r, "cannot create the sandbox: %s", err_text(&why, r));
    }
    arena_done(&a);
    return r;
}

/* Who looks after traffic learns of the addresses before a container can use them. */
static void tell_placed(struct worker *w, const struct val *pod, const struct podstate *s)
{
    const struct kubelet_config *c = &w->k->cfg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct str *ips;
    size_t n = podstate_ips(s, &ips);
    if (c->placed && n && !pod_host_network(pod))
        c->placed(c->placed_ctx, obj_namespace(pod), obj_name(pod), pod_is_static(pod) ? STR_NULL : obj_uid(pod),
                  arena_join(&a, ips, n, STR(",")));
}

/* ---- carrying out ---------------------------------------------------------------------------------------- */

/* All but the newest instance of every init container: their ends were seen. */
static void prune_init_containers(struct worker *w, const struct val *pod, const struct podstate *s)
{
    VAL_EACH (pod_containers(pod, CK_INIT), c) {
        bool first = true;
        for (size_t i = 0; s && i < s->n_containers; i++) {
            const struct rt_container *rt = &s->containers[i];
            if (!str_eq(rt->name, val_getstr(c, N_name)))
                continue;
            if (!first && rt->state == RT_EXITED)
                runtime_remove_container(w->k->rt, rt->id, NULL);
            first = false;
        }
    }
}

static void remove_spent_containers(struct worker *w, const struct podstate *s)
{
    for (size_t i = 0; s && i < s->n_containers; i++)
        if (podstate_is_spent(s, i))
            runtime_remove_container(w->k->rt, s->containers[i].id, NULL);
}

/* Sandboxes that were replaced, once nothing of them is needed. */
static void remove_dead_sandboxes(struct worker *w, const struct podstate *s)
{
    for (size_t i = 1; s && i < s->n_sandboxes; i++)
        if (podstate_is_spent_sandbox(s, i))
            runtime_remove_sandbox(w->k->rt, s->sandboxes[i].id, NULL);
}

/* All of it ends at once and is forgotten; the logs stay. */
static int carry_out_resets(struct worker *w, const struct val *pod, const struct actions *act, struct err *e)
{
    for (size_t i = 0; i < act->n_resets; i++) {
        const struct rt_container *c = act->resets[i];
        struct kill_request r = {.w = w, .spec = pod_find_container(pod, c->name, NULL), .container = c, .grace = 0};
        int rc = c->state == RT_EXITED ? 0 : kill_container(&r, e);
        if (rc == 0)
            rc = runtime_remove_container(w->k->rt, c->id, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int carry_out_kills(struct worker *w, const struct val *pod, const struct actions *act, struct err *e)
{
    if (act->kill_pod) {
        if (act->create_sandbox && act->sandbox_id.n)
            pod_event(w->k, pod, false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");
        return kill_pod(w, -1, e);
    }
    for (size_t i = 0; i < act->n_kills; i++) {
        const struct kill_action *kill = &act->kills[i];
        struct kill_request r = {.w = w, .spec = kill->spec, .container = kill->container, .grace = -1,
                                 .reason = kill->reason, .message = kill->message};
        int rc = kill_container(&r, e);
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int carry_out_starts(struct starting *s, const struct actions *act)
{
    int worst = 0;
    for (size_t i = 0; i < act->n_starts; i++) {
        const struct start_action *start = &act->starts[i];
        int rc = start_container(s, start);
        if (rc < 0)
            return rc;
        worst = MAX(worst, rc);
        /* The next init container waits for this one; a sidecar that fails holds nobody up yet. */
        if (rc > 0 && start->kind == CK_INIT && !container_is_sidecar(start->spec))
            return worst;
    }
    return worst;
}

static bool anything(const struct actions *act)
{
    return act->n_resets || act->kill_pod || act->create_sandbox || act->n_kills || act->n_starts || act->resize;
}

/* After what was done: what is now, without waiting for anybody to notice. */
static int look_again(struct worker *w, struct podstate **state, struct err *e)
{
    int rc = pleg_refresh(w->k, str_of(w->uid), e);
    podstate_unref(*state);
    *state = podstate_ref(w->state);
    return rc;
}

static int carry_out(struct worker *w, const struct val *pod, struct podstate **state, struct world *world,
                     struct arena *a, struct err *e)
{
    struct actions act;
    actions_compute(a, &(struct actions_input){.pod = pod, .state = *state, .probe = worker_probe_result,
                                               .in_force = worker_in_force, .cgroup_differs = worker_cgroup_differs(w), .ctx = w,
                                               .restarting = worker_restarting(w)},
                    &act);
    if (!anything(&act))
        return 0;
    /* The decision points into the state: what it names must outlive looking again. */
    struct podstate *decided UNUSED CLEANUP_PODSTATE = podstate_ref(*state);
    int rc = carry_out_resets(w, pod, &act, e);
    if (act.n_resets) {
        int after = look_again(w, state, e);
        return rc != 0 ? rc : after;
    }
    rc = carry_out_kills(w, pod, &act, e);
    if (rc != 0 || (act.kill_pod && !act.create_sandbox))
        return rc;
    prune_init_containers(w, pod, *state);
    struct gate_pass pass UNUSED CLEANUP_GATE_PASS = {.gate = NULL};
    if (act.create_sandbox) {
        rc = dra_prepare(w, pod, e);
        if (rc != 0)
            return rc;
        rc = gate_enter(&w->k->starts, &pass);
        if (rc < 0)
            return rc;
        rc = create_sandbox(w, pod, act.attempt, e);
        if (rc == -ECANCELED)
            return rc;
        /* Also after a failure: what is left of it has used up this attempt's number. */
        int again = look_again(w, state, e);
        if (rc != 0 || again != 0)
            return rc != 0 ? rc : again;
        tell_placed(w, pod, *state);
    }
    const struct rt_sandbox *box = podstate_active_sandbox(*state);
    if (!box)
        return err_set(e, -EAGAIN, "the sandbox is not there yet");
    world->v.env.n_pod_ips = podstate_ips(*state, &world->v.env.pod_ips);
    if (pod_host_network(pod)) {
        world->v.env.pod_ips = w->k->ips;
        world->v.env.n_pod_ips = w->k->n_ips;
    }
    struct cri_node node = userns_node(w, pod);
    struct starting s = {w, pod, *state, world, box->id, cri_sandbox_config(a, pod, &node, box->attempt)};
    struct podstate *used UNUSED CLEANUP_PODSTATE = podstate_ref(*state);
    /* What could not be resized is tried again; it keeps nothing from starting. */
    int resized = act.resize ? resize_pod(w, pod, &act, e) : 0;
    if (resized == -ECANCELED)
        return resized;
    rc = carry_out_starts(&s, &act);
    if (rc < 0)
        return rc;
    int again = look_again(w, state, e);
    remove_spent_containers(w, *state);
    remove_dead_sandboxes(w, *state);
    return resized != 0 ? resized : again; /* what could not be started has its own time to try again */
}

int sync_pod(struct worker *w, struct err *e)
{
    struct object *pod CLEANUP_OBJECT = object_ref(w->pod);
    struct podstate *state = podstate_ref(w->state);
    struct arena a = ARENA_INIT;
    struct world world;
    world_init(&world, w);
    world.v.env.n_pod_ips = podstate_ips(state, &world.v.env.pod_ips);
    int rc = prepare(w, pod->val, &world, e);
    if (rc == 0)
        rc = carry_out(w, pod->val, &state, &world, &a, e);
    world_done(&world);
    podstate_unref(state);
    arena_done(&a);
    return rc;
}
