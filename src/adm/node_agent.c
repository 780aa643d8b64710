/* SPDX-License-Identifier: Apache-2.0 */
/* What runs on a further node beside its containers, in its namespaces: containerd's keeper, kubelet, proxy,
 * DNS, overlay, policy, announcements. */
#include "adm/nodes.h"
#include "adm/parts.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/kubeconfig.h"
#include "policy/policy.h"

#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

struct agent {
    const char *dir;
    struct node node;
    struct arena arena;
    struct containerd runtime;
    struct parts_input input;
    struct group parts;
    int code;
};

/* kubelet as itself; the others as upstream's users of these names. */
static const char *kubeconfig_of(const struct part *part)
{
    return !strcmp(part->name, "kubelet") ? "kubelet.conf"
           : !strcmp(part->name, "dns")    ? "coredns.conf"
           : !strcmp(part->name, "overlay") ? "overlay.conf"
           : !strcmp(part->name, "policy") ? "policy.conf"
           : !strcmp(part->name, "announce") ? "announce.conf"
                                           : "kube-proxy.conf";
}

static struct client *client_of(void *arg, const struct part *part, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct agent *g = arg;
    struct client *client = NULL;
    const char *file = arena_printf(&a, "%s/%s", g->dir, kubeconfig_of(part)).p;
    return kubeconfig_client(file, part->name, &client, e) < 0 ? NULL : client;
}

static void fill(struct agent *g)
{
    const struct cluster_config *c = &g->node.cluster;
    g->runtime = (struct containerd){
        .socket = "/run/containerd/containerd.sock",
        .root = "/var/lib/containerd",
        .state = "/run/containerd",
        .config = arena_printf(&g->arena, "%s/containerd.toml", g->dir).p,
        .log = arena_printf(&g->arena, "%s/log/containerd.log", g->dir).p,
        .pid_file = "/run/containerd.pid",
        .cni_conf_dir = c->cni_conf_dir ? c->cni_conf_dir : "/etc/cni/net.d",
        .containerd = c->containerd,
        .runc = c->runc,
        .cni_bin_dir = c->cni_bin_dir,
    };
    g->input = (struct parts_input){
        .config = c,
        .arena = &g->arena,
        .cri_socket = g->runtime.socket,
        .paths = {.kubelet = "/var/lib/kubelet",
                  .pod_logs = "/var/log/pods",
                  .container_logs = "/var/log/containers",
                  .manifests = arena_printf(&g->arena, "%s/manifests", g->dir).p,
                  .subnet_file = "/run/flannel/subnet.env",
                  .cni_conf = c->cni_conf_dir ? NULL : g->runtime.cni_conf_dir},
    };
}

static int read_certificates(struct agent *g, struct err *e)
{
    const struct {
        const char *name;
        struct str *to;
    } files[] = {{"ca.crt", &g->input.ca_pem},
                 {"kubelet.crt", &g->input.kubelet_cert},
                 {"kubelet.key", &g->input.kubelet_key}};
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        const char *path = arena_printf(&g->arena, "%s/pki/%s", g->dir, files[i].name).p;
        int r = os_read_file(&g->arena, path, 1 << 20, files[i].to);
        if (r < 0)
            return err_set(e, r, "cannot read %s: %s", path, strerror(-r));
    }
    return 0;
}

static void keep_runtime(void *arg)
{
    struct agent *g = arg;
    containerd_keep(&g->runtime);
}

static int bring_up(struct agent *g, struct err *e)
{
    int r = node_load(&g->arena, g->dir, &g->node, e);
    if (r < 0)
        return r;
    fill(g);
    r = node_net_within(&g->node, e);
    if (r == 0)
        r = parts_network(&g->input, e);
    if (r == 0)
        r = read_certificates(g, e);
    if (r == 0)
        r = containerd_ensure(&g->runtime, e);
    if (r == 0)
        r = image_ensure_pause(&g->runtime, g->dir, e);
    if (r < 0)
        return r;
    g->input.policy_gate = policy_gate_new();
    group_spawn(&g->parts, "runtime", keep_runtime, g);
    parts_start(&g->parts, &g->input, true, client_of, g);
    return 0;
}

static void run(void *arg)
{
    struct agent *g = arg;
    struct err e = {0};
    int r = bring_up(g, &e);
    if (r == 0) {
        log_info("node", "%s runs at %s", g->node.name, g->node.cluster.advertise);
        os_wait_signal(MONO_NEVER);
    } else {
        log_error("node", "%s", err_text(&e, r));
        g->code = 1;
    }
    group_stop(&g->parts);
    policy_gate_free(g->input.policy_gate);
}

int node_agent_main(const char *dir)
{
    struct agent g = {.dir = dir};
    loop_run(run, &g);
    arena_done(&g.arena);
    return g.code;
}
