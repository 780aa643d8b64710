/* SPDX-License-Identifier: Apache-2.0 */
/* kube-scheduler as a program: upstream's flags and configuration file. */
#include "scheduler/scheduler.h"

#include "base/os.h"
#include "client/daemon.h"
#include "client/leader.h"
#include "names.h"
#include "types.h"
#include "wire/yaml.h"

struct options {
    struct daemon_flags common;
    struct scheduler_config config;
    struct leader_config leader;
    struct serving_flags serving;
    struct arena arena; /* what the configuration file says */
    const char *config_file;
    bool leader_elect;
    struct flag *flags;
};

struct work {
    struct options *options;
    struct client *client;
};

/* ---- the configuration file -------------------------------------------------------------------------- */

/* A flag that was given goes before the file. */
static bool given(const struct options *o, const char *name)
{
    struct flag *f = flags_find(o->flags, name);
    return f && f->given;
}

static int read_duration(const struct val *v, const char *what, int64_t *to, struct err *e)
{
    struct str text = val_str(v);
    if (!text.n)
        return 0;
    return duration_parse(text, to) < 0
               ? err_set(e, -EINVAL, "%s: \"" STR_FMT "\" is no duration", what, STR_ARG(text))
               : 0;
}

static void read_text(struct options *o, const struct val *v, const char *flag, const char **to)
{
    if (val_str(v).n && !given(o, flag))
        *to = arena_cstr(&o->arena, val_str(v));
}

static int read_election(struct options *o, const struct val *v, struct err *e)
{
    struct leader_config *l = &o->leader;
    if (!given(o, "leader-elect"))
        o->leader_elect = val_bool(val_get(v, N_leaderElect), o->leader_elect);
    read_text(o, val_get(v, N_resourceName), "leader-elect-resource-name", &l->name);
    read_text(o, val_get(v, N_resourceNamespace), "leader-elect-resource-namespace", &l->ns);
    int r = given(o, "leader-elect-lease-duration")
                ? 0
                : read_duration(val_get(v, N_leaseDuration), "leaseDuration", &l->lease_ns, e);
    if (r == 0 && !given(o, "leader-elect-renew-deadline"))
        r = read_duration(val_get(v, N_renewDeadline), "renewDeadline", &l->renew_ns, e);
    if (r == 0 && !given(o, "leader-elect-retry-period"))
        r = read_duration(val_get(v, N_retryPeriod), "retryPeriod", &l->retry_ns, e);
    return r;
}

/* --scheduler-name names the first. */
static int read_profiles(struct options *o, const struct val *list, struct err *e)
{
    struct profile *p;
    int r = profiles_read(&o->arena, list, &p, &o->config.n_profiles, e);
    if (r < 0)
        return r;
    if (given(o, "scheduler-name"))
        p[0].name = o->config.name;
    o->config.profiles = p;
    return 0;
}

static int apply_file(struct options *o, const struct val *v, struct err *e)
{
    if (val_len(val_get(v, N_extenders)))
        return err_set(e, -EINVAL, "extenders are not supported");
    o->config.backoff_first_ns = SECONDS(val_int(val_get(v, N_podInitialBackoffSeconds), 0));
    o->config.backoff_max_ns = SECONDS(val_int(val_get(v, N_podMaxBackoffSeconds), 0));
    read_text(o, val_at(v, N_clientConnection, N_kubeconfig), "kubeconfig", &o->common.kubeconfig);
    int r = read_election(o, val_get(v, N_leaderElection), e);
    return r < 0 ? r : read_profiles(o, val_get(v, N_profiles), e);
}

static int read_file(struct options *o, struct val **ret, struct err *e)
{
    struct str text, json;
    int r = os_read_file(&o->arena, o->config_file, 1 << 20, &text);
    if (r < 0)
        return err_set(e, r, "cannot be read: %s", strerror(-r));
    r = yaml_to_json(&o->arena, text, NULL, &json, e);
    if (r == 0)
        r = json_decode(&o->arena, &types[T_kubescheduler_v1_KubeSchedulerConfiguration], json, 0, NULL, ret,
                        e);
    if (r == 0 && !(str_is(val_getstr(*ret, N_kind), "KubeSchedulerConfiguration") &&
                    str_is(val_getstr(*ret, N_apiVersion), "kubescheduler.config.k8s.io/v1")))
        r = err_set(e, -EINVAL, "no KubeSchedulerConfiguration of kubescheduler.config.k8s.io/v1");
    return r;
}

static int prepare(void *arg, struct err *e)
{
    struct options *o = arg;
    struct val *v;
    if (!o->config_file)
        return 0;
    int r = read_file(o, &v, e);
    if (r == 0)
        r = apply_file(o, v, e);
    return r < 0 ? err_wrap(e, r, "--config %s", o->config_file) : 0;
}

/* ---- the program ------------------------------------------------------------------------------------- */

static int work(void *arg, struct err *e)
{
    struct work *w = arg;
    w->options->config.client = w->client;
    return scheduler_run(&w->options->config, e);
}

static int run(void *arg, struct client *c, struct err *e)
{
    struct options *o = arg;
    struct work w = {o, c};
    o->leader.client = c;
    return o->leader_elect ? leader_run(&o->leader, work, &w, e) : work(&w, e);
}

int scheduler_main(int argc, char **argv)
{
    struct options o = {
        .leader_elect = true,
        .serving = {.bind = "0.0.0.0", .port = 10259},
        .leader = {.ns = "kube-system", .name = "kube-scheduler", .component = "default-scheduler"}};
    struct flag flags[] = {
        DAEMON_FLAGS(&o.common),
        {"config", 0, FLAG_STRING, &o.config_file,
         "file with a KubeSchedulerConfiguration; flags go before what it says"},
        {"scheduler-name", 0, FLAG_STRING, &o.config.name,
         "pods with this schedulerName (default-scheduler)"},
        LEADER_FLAGS(&o.leader_elect, &o.leader),
        SERVING_FLAGS(&o.serving),
        CLIENT_PACE_FLAGS,
        FLAG_ONLY("write-config-to", "", "the configuration is not written; /configz and docs tell the defaults"),
        FLAG_NO_EFFECT("pod-max-in-unschedulable-pods-duration", "a pod is tried again when something changes that may help it, and every five minutes"),
        {0},
    };
    o.flags = flags;
    struct daemon d = {"kube-scheduler", "Finds a node for every pod.", flags, &o.common, run, &o, prepare, &o.serving};
    int code = daemon_main(&d, argc, argv);
    arena_done(&o.arena);
    return code;
}
