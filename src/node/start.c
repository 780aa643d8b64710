/* SPDX-License-Identifier: Apache-2.0 */
/* From nothing to a running container: image, configuration, creation, start, postStart. */
#include "node/checkpoint.h"
#include "node/kubelet-internal.h"
#include "node/memory.h"

#include <stdio.h>

#define CONFIG_RETRY SECONDS(10)

/* How starting one container goes on: texts live in the arena. */
struct attempt {
    const struct starting *s;
    const struct start_action *action;
    struct kubelet *k;
    struct container_book *book;
    struct str name;
    struct arena *arena;
    struct err e;
};

/* It failed for now: the reason goes into the book and, unless it was told already, into an event. */
static int fail(struct attempt *t, const char *reason, struct str message, int64_t retry, bool event)
{
    if (event)
        container_event(t->k, t->s->pod, t->name, true, "Failed", "Error: " STR_FMT, STR_ARG(message));
    book_set_reason(t->book, reason, message);
    t->book->retry_at.ns = os_wall().ns + retry;
    return 1;
}

static int fail_err(struct attempt *t, const char *reason, int rc)
{
    if (rc == -ECANCELED)
        return rc;
    return fail(t, reason, str_of(err_text(&t->e, rc)), CONFIG_RETRY, true);
}

/* ---- crash loops ----------------------------------------------------------------------------------------- */

static const struct rt_container *last_ended(const struct podstate *s, struct str name)
{
    for (size_t i = 0; s && i < s->n_containers; i++)
        if (s->containers[i].state == RT_EXITED && str_eq(s->containers[i].name, name))
            return &s->containers[i];
    return NULL;
}

static int check_backoff(struct attempt *t)
{
    const struct rt_container *last = last_ended(t->s->state, t->name);
    int64_t most = t->k->cfg.max_crash_backoff;
    struct wall now = os_wall();
    if (!last)
        return 0;
    int64_t wait = backoff_wait(&t->book->crash, most, last->finished, now);
    if (wait <= 0) {
        backoff_next(&t->book->crash, MIN(BACKOFF_FIRST, most), most, last->finished, now);
        return 0;
    }
    char text[TIME_TEXT_MAX];
    struct str pod = pod_text(t->arena, t->s->pod);
    container_event(t->k, t->s->pod, t->name, true, "BackOff", "Back-off restarting failed container " STR_FMT " in pod " STR_FMT,
                    STR_ARG(t->name), STR_ARG(pod));
    struct str message =
        arena_printf(t->arena, "back-off %s restarting failed container=" STR_FMT " pod=" STR_FMT,
                     duration_format(t->book->crash.interval, text), STR_ARG(t->name), STR_ARG(pod));
    return fail(t, "CrashLoopBackOff", message, wait, false);
}

/* ---- configuration --------------------------------------------------------------------------------------- */

/* When the runtime has forgotten all, the logs still tell. */
static unsigned restart_count(struct attempt *t, const char *log_dir)
{
    unsigned next = 0, n;
    char **names, tail;
    if (podstate_next_number(t->s->state, t->name, &next))
        return next;
    if (t->k->host->ops->list_dir(t->k->host, t->arena, log_dir, &names) == 0)
        for (; *names; names++)
            if (sscanf(*names, "%u.lo%c", &n, &tail) == 2 && n + 1 > next)
                next = n + 1;
    return next;
}

static bool mounts_at(const struct cri_mount *m, size_t n, const char *path)
{
    for (size_t i = 0; i < n; i++)
        if (str_is(m[i].container_path, path))
            return true;
    return false;
}

/* The Pod's own /etc/hosts. */
static int add_hosts(struct attempt *t, struct cri_mount *mounts, size_t *n)
{
    const struct env_world *w = &t->s->world->v.env;
    struct host *h = t->k->host;
    struct str dir = pod_dir(t->arena, t->k->cfg.root_dir, obj_uid(t->s->pod)), host_file = STR("");
    if (mounts_at(mounts, *n, "/etc/hosts"))
        return 0;
    if (pod_host_network(t->s->pod))
        h->ops->read_file(h, t->arena, "/etc/hosts", 1 << 20, &host_file, NULL);
    struct str path = arena_printf(t->arena, STR_FMT "/etc-hosts", STR_ARG(dir));
    struct str text = pod_hosts_file(t->arena, t->s->pod, w->pod_ips, w->n_pod_ips, t->k->cfg.cluster_domain, host_file);
    int r = h->ops->make_dir(h, dir.p, 0750, &t->e);
    if (r == 0)
        r = h->ops->write_file(h, path.p, text, 0644, &t->e);
    if (r == 0)
        mounts[(*n)++] = (struct cri_mount){.container_path = STR("/etc/hosts"), .host_path = path};
    return r;
}

/* An empty file that the container may write its last words to. */
static int add_termination_message(struct attempt *t, struct cri_mount *mounts, size_t *n)
{
    struct str at = val_getstr(t->action->spec, N_terminationMessagePath);
    struct host *h = t->k->host;
    if (!at.n || mounts_at(mounts, *n, at.p))
        return 0;
    struct str dir = arena_printf(t->arena, STR_FMT "/containers/" STR_FMT,
                                  STR_ARG(pod_dir(t->arena, t->k->cfg.root_dir, obj_uid(t->s->pod))), STR_ARG(t->name));
    struct str path = arena_printf(t->arena, STR_FMT "/%08x", STR_ARG(dir), (unsigned)os_random_below(UINT32_MAX));
    int r = h->ops->make_dir(h, dir.p, 0750, &t->e);
    if (r == 0)
        r = h->ops->write_file(h, path.p, STR(""), 0666, &t->e);
    if (r == 0)
        mounts[(*n)++] = (struct cri_mount){.container_path = at, .host_path = path};
    return r;
}

static int find_target(struct attempt *t, struct str *ret)
{
    struct str target = val_getstr(t->action->spec, N_targetContainerName);
    *ret = STR_NULL;
    if (t->action->kind != CK_EPHEMERAL || !target.n)
        return 0;
    const struct rt_container *c = podstate_find(t->s->state, target);
    if (!c)
        return err_set(&t->e, -ENOENT, "unable to find target container " STR_FMT, STR_ARG(target));
    *ret = c->id;
    return 0;
}

static int mount_volumes(struct attempt *t, const struct val *spec, const struct env_list *env, struct container_volumes *ret)
{
    struct volume_list list = worker_volumes(t->s->w);
    list.recursive_read_only = runtime_mounts_recursively_read_only(t->k, t->s->pod);
    return volume_mounts(t->arena, t->k->host, t->k->cfg.root_dir, t->s->pod, spec, env, &list, ret, &t->e);
}

/* A Pod that cannot have the devices it was promised has failed: another one, elsewhere, may do better. */
static int give_devices(struct attempt *t, struct cri_container *c, struct env_list *env)
{
    struct err why = {{0}};
    int r = devices_prepare(t->s->w, t->s->pod, t->action->spec, t->arena, c, env, &why);
    if (r == 0)
        return dra_give(t->s->w, t->s->pod, t->action->spec, t->arena, c, &t->e);
    if (r == -ECANCELED)
        return r;
    struct str message = arena_printf(t->arena, "Allocate failed due to %s, which is unexpected", err_text(&why, r));
    if (!podstate_any_running(t->s->state)) {
        pod_event(t->k, t->s->pod, true, "UnexpectedAdmissionError", STR_FMT, STR_ARG(message));
        worker_fail(t->s->w, "UnexpectedAdmissionError", message, -1, NULL);
    }
    return err_set(&t->e, r, STR_FMT, STR_ARG(message));
}

/* Those of volumes, then those of devices. */
static void join_mounts(struct attempt *t, struct cri_container *c, const struct container_volumes *v)
{
    struct cri_mount *mounts = ARENA_ARRAY(t->arena, struct cri_mount, v->n_mounts + c->n_mounts + 1);
    struct cri_device *list = ARENA_ARRAY(t->arena, struct cri_device, v->n_devices + c->n_devices + 1);
    if (v->n_mounts)
        memcpy(mounts, v->mounts, v->n_mounts * sizeof(*mounts));
    if (c->n_mounts)
        memcpy(mounts + v->n_mounts, c->mounts, c->n_mounts * sizeof(*mounts));
    if (v->n_devices)
        memcpy(list, v->devices, v->n_devices * sizeof(*list));
    if (c->n_devices)
        memcpy(list + v->n_devices, c->devices, c->n_devices * sizeof(*list));
    c->mounts = mounts;
    c->n_mounts += v->n_mounts;
    c->devices = list;
    c->n_devices += v->n_devices;
}

static int configure(struct attempt *t, const struct image_info *image, const struct val **ret)
{
    struct kubelet *k = t->k;
    const struct val *pod = t->s->pod;
    struct env_list env;
    struct container_volumes v;
    struct str cpus = STR_NULL;
    struct cri_container c = {.spec = t->action->spec, .kind = t->action->kind, .image_ref = image->ref,
                              .image_has_uid = image->has_uid, .image_uid = image->uid, .image_user = image->user};
    struct str log_dir =
        arena_printf(t->arena, STR_FMT "/" STR_FMT, STR_ARG(pod_log_dir(t->arena, k->cfg.pod_logs_dir, pod)), STR_ARG(t->name));
    int r = cri_check_user(pod, &c, &t->e);
    if (r == 0)
        r = find_target(t, &c.target_id);
    if (r == 0)
        r = env_make(t->arena, pod, c.spec, &t->s->world->v.env, &env, &t->e);
    if (r == 0)
        r = mount_volumes(t, c.spec, &env, &v);
    if (r == 0)
        r = give_devices(t, &c, &env);
    if (r == 0)
        r = cpus_prepare(t->s->w, pod, c.spec, t->arena, &cpus, &t->e);
    if (r == 0)
        r = add_hosts(t, v.mounts, &v.n_mounts);
    if (r == 0)
        r = add_termination_message(t, v.mounts, &v.n_mounts);
    if (r == 0)
        r = k->host->ops->make_dir(k->host, log_dir.p, 0755, &t->e);
    if (r != 0)
        return r;
    c.restarts = restart_count(t, log_dir.p);
    c.env = &env;
    join_mounts(t, &c, &v);
    struct cri_node node = userns_node(t->s->w, pod);
    struct val *config = cri_container_config(t->arena, pod, &c, &node);
    struct str mems = memory_nodes_of(k, t->s->w->uid, t->name, t->arena);
    if (mems.n)
        val_set_str(t->arena, val_sub_obj(t->arena, val_sub_obj(t->arena, config, N_linux), N_resources), N_cpuset_mems, mems);
    if (cpus.n)
        val_set_str(t->arena, val_sub_obj(t->arena, val_sub_obj(t->arena, config, N_linux), N_resources), N_cpuset_cpus, cpus);
    *ret = config;
    return 0;
}

/* ---- running --------------------------------------------------------------------------------------------- */

/* "<pod>_<namespace>_<container>-<id>.log", where log collectors look. */
static void link_log(struct attempt *t, struct str id, const struct val *config)
{
    struct kubelet *k = t->k;
    if (!k->cfg.container_logs_dir)
        return;
    struct str target = arena_printf(t->arena, STR_FMT "/" STR_FMT,
                                     STR_ARG(pod_log_dir(t->arena, k->cfg.pod_logs_dir, t->s->pod)),
                                     STR_ARG(val_getstr(config, N_log_path)));
    struct str path = arena_printf(t->arena, "%s/" STR_FMT "_" STR_FMT "_" STR_FMT "-" STR_FMT ".log",
                                   k->cfg.container_logs_dir, STR_ARG(obj_name(t->s->pod)),
                                   STR_ARG(obj_namespace(t->s->pod)), STR_ARG(t->name), STR_ARG(id));
    if (k->host->ops->make_dir(k->host, k->cfg.container_logs_dir, 0755, NULL) == 0)
        k->host->ops->symlink(k->host, target.p, path.p);
}

static int run_post_start(struct attempt *t, struct str id)
{
    const struct val *hook = val_at(t->action->spec, N_lifecycle, N_postStart);
    struct str output = STR("");
    if (!hook)
        return 0;
    const struct env_world *w = &t->s->world->v.env;
    struct action_target target = {t->k, t->s->pod, t->action->spec, id, w->n_pod_ips ? w->pod_ips[0] : STR(""), true};
    int rc = action_run(&target, hook, 0, t->arena, &output);
    if (rc == 0 || rc == -ECANCELED)
        return rc;
    container_event(t->k, t->s->pod, t->name, true, "FailedPostStartHook", "PostStartHook failed");
    struct rt_container c = {.id = id, .name = t->name, .state = RT_RUNNING, .grace = -1};
    struct kill_request kill = {.w = t->s->w, .spec = t->action->spec, .container = &c, .grace = -1,
                                .message = STR("FailedPostStartHook")};
    kill_container(&kill, NULL);
    return fail(t, "PostStartHookError", output, 0, false);
}

/* One that was made but never began (we were killed in between) gives its number to the next: nothing was restarted. One
 * that could not begin has exited, as runtimes tell it. Its log goes first: it would be all that tells of it (restart_count)
 * should we be killed in between again. */
static int drop_unstarted(struct attempt *t)
{
    const struct rt_container *last = podstate_find(t->s->state, t->name);
    if (!last || last->state != RT_CREATED)
        return 0;
    if (last->log_path.n)
        os_unlink(arena_cstr(t->arena, last->log_path));
    return runtime_remove_container(t->k->rt, last->id, &t->e);
}

static int create_and_run(struct attempt *t, const struct val *config)
{
    struct runtime *rt = t->k->rt;
    struct str id;
    int rc = drop_unstarted(t);
    if (rc == 0)
        rc = checkpoint_wait(t->k);
    if (rc == 0)
        rc = runtime_create_container(rt, t->s->sandbox_id, config, t->s->sandbox_config, t->arena, &id, &t->e);
    if (rc != 0)
        return fail_err(t, "CreateContainerError", rc);
    worker_set_in_force(t->s->w, t->name, t->s->pod);
    container_event(t->k, t->s->pod, t->name, false, "Created", "Container created");
    rc = runtime_start_container(rt, id, &t->e);
    if (rc != 0)
        return fail_err(t, "RunContainerError", rc);
    container_event(t->k, t->s->pod, t->name, false, "Started", "Container started");
    link_log(t, id, config);
    book_clear_reason(t->book);
    if (val_at(t->action->spec, N_lifecycle, N_postStart))
        pleg_refresh(t->k, obj_uid(t->s->pod), NULL); /* the hook may take long: show that it runs */
    return run_post_start(t, id);
}

/* What an image is wanted for: the container itself, or (spec made up for it) one of its volumes. */
static int pull_image(struct attempt *t, const struct val *spec, struct image_info *ret)
{
    const char *reason;
    struct str message = STR("");
    struct wall retry = {0};
    int rc = image_ensure(t->s->w, spec, t->s->sandbox_config, t->s->world, t->arena, ret, &reason, &message, &retry);
    if (rc == 0 || rc == -ECANCELED)
        return rc;
    container_event(t->k, t->s->pod, t->name, true, "Failed", "Error: %s", reason);
    return fail(t, reason, message, retry.ns - os_wall().ns, false);
}

/* "1.6.20~ds1", "v2.1.3" */
static bool mounts_images(const struct runtime *rt)
{
    unsigned major = 0, minor = 0;
    const char *version = *rt->version == 'v' ? rt->version + 1 : rt->version;
    if (strcmp(rt->name, "containerd") != 0 || sscanf(version, "%u.%u", &major, &minor) != 2)
        return true; /* it will say so itself */
    return major > 2 || (major == 2 && minor >= 1);
}

/* Images that the container has as volumes (KEP-4639) are pulled as its own is; the runtime mounts them. */
static int pull_volumes(struct attempt *t)
{
    int rc = 0;
    VAL_EACH (val_get(t->action->spec, N_volumeMounts), m)
        VAL_EACH (val_at(t->s->pod, N_spec, N_volumes), v) {
            const struct val *source = val_get(v, N_image);
            struct image_info unused;
            if (rc != 0 || !source || !str_eq(val_getstr(v, N_name), val_getstr(m, N_name)))
                continue;
            if (!mounts_images(t->k->rt)) {
                err_set(&t->e, -ENOTSUP, "volume \"" STR_FMT "\" is an image: container runtime %s %s cannot mount images, "
                        "containerd 2.1 or later can", STR_ARG(val_getstr(v, N_name)), t->k->rt->name, t->k->rt->version);
                return fail_err(t, "CreateContainerConfigError", -ENOTSUP);
            }
            struct val *spec = val_new(t->arena, VAL_OBJ);
            val_set_str(t->arena, spec, N_name, t->name);
            val_set_str(t->arena, spec, N_image, val_getstr(source, N_reference));
            val_set_str(t->arena, spec, N_imagePullPolicy, val_getstr(source, N_pullPolicy));
            rc = pull_image(t, spec, &unused);
        }
    return rc;
}

static int start(struct attempt *t)
{
    const struct val *config;
    struct image_info image;
    int rc = check_backoff(t);
    if (rc == 0)
        rc = pull_image(t, t->action->spec, &image);
    if (rc == 0)
        rc = pull_volumes(t);
    if (rc != 0)
        return rc;
    rc = configure(t, &image, &config);
    return rc != 0 ? fail_err(t, "CreateContainerConfigError", rc) : create_and_run(t, config);
}

int start_container(const struct starting *s, const struct start_action *action)
{
    struct arena a = ARENA_INIT;
    struct attempt t = {.s = s, .action = action, .k = s->w->k, .name = val_getstr(action->spec, N_name), .arena = &a};
    t.book = worker_book(s->w, t.name);
    int rc = t.book->retry_at.ns > os_wall().ns ? 1 : start(&t);
    arena_done(&a);
    return rc;
}
