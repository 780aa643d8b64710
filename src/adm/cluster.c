/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole cluster in one process. The order is that of a start: files and certificates, store and API server,
 * container runtime (started first, since it takes longest), then the parts, each in a fiber that is started again if it
 * ends with an error.
 */
#include "adm/cluster.h"

#include "adm/addresses.h"
#include "adm/forward.h"
#include "adm/nodes.h"
#include "adm/parts.h"
#include "apiserver/local.h"
#include "apiserver/server.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "etcd/store.h"
#include "names.h"
#include "policy/policy.h"
#include "resources.h"
#include "type/meta.h"

#include <stdio.h>

struct cluster {
    const struct cluster_config *config;
    cluster_progress *progress;
    void *progress_arg;
    struct arena arena;
    struct parts_input input;
    struct containerd runtime;
    int64_t nodes;           /* wanted at least */
    bool nodes_started;
    struct store *store;
    struct apiserver *server;
    struct group parts;
    int lock;
    int runtime_r;         /* of starting containerd */
    struct err runtime_err;
    struct waitq runtime_done;
    bool runtime_ready;
};

static void tell(struct cluster *c, const char *step)
{
    log_info("up", "%s", step);
    c->progress(c->progress_arg, step);
}

static void tell_trouble(void *arg, const char *text)
{
    struct cluster *c = arg;
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, "trouble: %s", text);
    c->progress(c->progress_arg, b.p); /* it stands in the log already */
}

/* ---- the runtime, beside everything else ---------------------------------------------------------------------- */

static void start_runtime(void *arg)
{
    struct cluster *c = arg;
    c->runtime_r = containerd_ensure(&c->runtime, &c->runtime_err);
    if (c->runtime_r == 0 && !c->runtime.foreign)
        c->runtime_r = image_ensure_pause(&c->runtime, c->config->data_dir, &c->runtime_err);
    c->runtime_ready = true;
    waitq_wake_all(&c->runtime_done);
    if (c->runtime_r == 0 && !c->runtime.foreign)
        containerd_keep(&c->runtime);
}

static int wait_runtime(struct cluster *c, struct err *e)
{
    while (!c->runtime_ready) {
        int r = waitq_wait(&c->runtime_done, MONO_NEVER);
        if (r < 0)
            return r;
    }
    if (c->runtime_r < 0)
        *e = c->runtime_err;
    return c->runtime_r;
}

/* ---- store and API server ---------------------------------------------------------------------------------------- */

static int open_etcd(struct cluster *c, struct err *e)
{
    const struct cluster_config *k = c->config;
    struct etcd_store_config o = {.etcd = {.endpoints = k->etcd_servers, .ca_file = k->etcd_ca, .cert_file = k->etcd_cert,
                                           .key_file = k->etcd_key},
                                  .prefix = k->etcd_prefix};
    int r = etcd_store_open(&o, &c->store, e);
    return r < 0 ? err_wrap(e, r, "--etcd-servers %s", k->etcd_servers) : 0;
}

static int open_store(struct cluster *c, struct err *e)
{
    if (c->config->etcd_servers)
        return open_etcd(c, e);
    struct store_options o = {.dir = arena_printf(&c->arena, "%s/store", c->config->data_dir).p, .durable = true};
    struct str note = STR_NULL;
    int r = store_open_log(&o, &c->store, &note, &c->arena, e);
    if (r == 0 && note.n)
        log_warn("up", STR_FMT, STR_ARG(note));
    return r < 0 ? err_wrap(e, r, "the store in %s cannot be opened", o.dir) : 0;
}

static const char *pki(struct cluster *c, const char *name)
{
    return arena_printf(&c->arena, "%s/pki/%s", c->config->conf_dir, name).p;
}

static int start_server(struct cluster *c, struct err *e)
{
    const struct cluster_config *k = c->config;
    int first = 30000, last = 32767;
    if (sscanf(k->node_ports, "%d-%d", &first, &last) != 2 || first < 1 || last > 65535 || first > last)
        return err_set(e, -EINVAL, "--service-node-port-range %s: expected FIRST-LAST", k->node_ports);
    struct apiserver_config *s = ARENA_NEW(&c->arena, struct apiserver_config);
    *s = (struct apiserver_config){
        .store = c->store,
        .listen = every_address(&c->arena, k, k->port),
        .advertise = list_first(&c->arena, k->advertise),
        .advertise_port = (int)k->port,
        .tls_cert = pki(c, "apiserver.crt"),
        .tls_key = pki(c, "apiserver.key"),
        .client_ca = pki(c, "ca.crt"),
        .front_proxy_ca = pki(c, "front-proxy-ca.crt"),
        .front_proxy_names = "front-proxy-client",
        .proxy_client_cert = pki(c, "front-proxy-client.crt"),
        .proxy_client_key = pki(c, "front-proxy-client.key"),
        .sa_signing_key = pki(c, "sa.key"),
        .sa_keys = pki(c, "sa.pub"),
        .sa_issuer = arena_printf(&c->arena, "https://kubernetes.default.svc.%s", k->cluster_domain).p,
        .bootstrap_tokens = true,
        .authn_config = k->authn_config,
        .authorization = k->authz_config ? NULL : "Node,RBAC",
        .authz_config = k->authz_config,
        .kubelet_ca = pki(c, "ca.crt"),
        .kubelet_cert = pki(c, "apiserver-kubelet-client.crt"),
        .kubelet_key = pki(c, "apiserver-kubelet-client.key"),
        .service_cidr = k->service_cidr,
        .node_port_first = first,
        .node_port_last = last,
        .audit.log = {.path = arena_printf(&c->arena, "%s/log/audit.log", k->data_dir).p, .max_bytes = 64 << 20, .max_backups = 4},
    };
    return apiserver_start(s, &c->server, e);
}

/* ---- parts ---------------------------------------------------------------------------------------------------------- */

static struct client *client_of(void *arg, const struct part *part, struct err *e UNUSED)
{
    struct cluster *c = arg;
    return local_client_new(c->server, part->name, part->user(&c->input), part->groups);
}

/* Beside everything else: it is rarely needed. */
static void allow_forwarding(void *arg)
{
    struct cluster *c = arg;
    struct err e = {0};
    int r = forward_allow(c->config->bridge, &e);
    if (r < 0 && r != -ECANCELED)
        log_warn("up", "%s", err_text(&e, r));
}

/* ---- certificates go on being good ------------------------------------------------------------------------------- */

static void keep_certificates(void *arg)
{
    struct cluster *c = arg;
    while (fiber_sleep(SECONDS(6 * 3600)) == 0) {
        struct err e = {0};
        int r = parts_certificates(&c->arena, c->config, &c->input, &e);
        if (r == 0)
            r = apiserver_reload(c->server, &e);
        if (r == 0)
            r = nodes_renew(c->config, &e);
        if (r < 0)
            log_error("certificates", "%s", err_text(&e, r));
    }
}

/* ---- up and down -------------------------------------------------------------------------------------------------- */

/* The node carries the control plane, which a kubelet may not say of itself; it has no taint: it also runs pods. */
static int mark_node(struct cluster *c, struct client *client)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    return client_patch(client, CALL(.res = &resources[RES_NODES], .name = str_of(c->config->node_name)), PATCH_MERGE,
                        STR("{\"metadata\":{\"labels\":{\"node-role.kubernetes.io/control-plane\":\"\"}}}"), &a, NULL, &s);
}

static bool node_is_ready(const char *name, struct client *client)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *node = NULL;
    struct status s;
    status_init(&s, &a);
    int r = client_get(client, CALL(.res = &resources[RES_NODES], .name = str_of(name)), &a, &node, &s);
    return r == 0 && condition_is(val_at(node, N_status, N_conditions), STR("Ready"), "True");
}

static int make_addons(struct cluster *c, struct err *e)
{
    struct client *client = local_client_new(c->server, "cube-up", NULL, NULL);
    int r = addons_ensure(c->config, client, e);
    client_free(client);
    return r;
}

/* The further nodes: those on record, and as many more as are wanted. */
static int bring_up_nodes(struct cluster *c, struct node_list *ret, struct err *e)
{
    struct node_list all;
    int r = nodes_ensure(&c->arena, c->config, c->nodes - 1, &all, e);
    return r < 0 ? r : nodes_start(&c->arena, c->config, &all, ret, e);
}

static int wait_ready(const char *name, struct client *client)
{
    int r = 0;
    while (r == 0 && !node_is_ready(name, client))
        r = fiber_sleep(MILLISECONDS(10));
    return r;
}

static void tell_when_ready(void *arg)
{
    struct cluster *c = arg;
    struct client *client = local_client_new(c->server, "cube-up", NULL, NULL);
    bool whole = !c->config->without; /* else the node waits for what somebody else starts */
    struct node_list further = {0};
    struct err e = {0};
    int r = bring_up_nodes(c, &further, &e);
    if (r < 0 && r != -ECANCELED) {
        log_error("up", "%s", err_text(&e, r));
        tell(c, arena_printf(&c->arena, "failed: %s", err_text(&e, r)).p);
    }
    if (!whole)
        tell(c, "ready");
    r = wait_ready(c->config->node_name, client);
    if (r == 0) {
        mark_node(c, client);
        tell(c, "node ready");
    }
    for (size_t i = 0; r == 0 && i < further.n; i++)
        r = wait_ready(further.list[i].name, client);
    if (r == 0 && further.n)
        tell(c, arena_printf(&c->arena, "%zu nodes ready", further.n + 1).p);
    if (r == 0 && whole)
        tell(c, "ready");
    client_free(client);
}

static int make_folders(struct cluster *c, struct err *e)
{
    const struct cluster_config *k = c->config;
    const struct {
        const char *path;
        mode_t mode;
    } folders[] = {
        {k->data_dir, 0711},
        {k->run_dir, 0711},
        {k->conf_dir, 0755},
        {arena_printf(&c->arena, "%s/log", k->data_dir).p, 0755},
        {arena_printf(&c->arena, "%s/cni", k->data_dir).p, 0755},
        {arena_printf(&c->arena, "%s/manifests", k->conf_dir).p, 0700},
    };
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        int r = os_mkdir_all(folders[i].path, folders[i].mode);
        if (r < 0)
            return err_set(e, r, "cannot make %s: %s", folders[i].path, strerror(-r));
    }
    return 0;
}

static int bring_up(struct cluster *c, struct err *e)
{
    const struct cluster_config *k = c->config;
    int r = make_folders(c, e);
    if (r == 0)
        r = cluster_lock(k, &c->lock, e);
    if (r == 0)
        r = cluster_config_save(k, e);
    if (r < 0)
        return r;
    containerd_of_cluster(&c->arena, k, &c->runtime);
    c->input.cri_socket = c->runtime.socket;
    c->input.paths = (struct node_paths){
        .kubelet = arena_printf(&c->arena, "%s/kubelet", k->data_dir).p,
        .pod_logs = arena_printf(&c->arena, "%s/log/pods", k->data_dir).p,
        .manifests = arena_printf(&c->arena, "%s/manifests", k->conf_dir).p,
        .cni_conf = k->cri_socket || k->cni_conf_dir ? NULL : c->runtime.cni_conf_dir,
        .subnet_file = arena_printf(&c->arena, "%s/flannel/subnet.env", k->run_dir).p,
        .cni_data = arena_printf(&c->arena, "%s/cni-addresses", k->data_dir).p,
    };
    group_spawn(&c->parts, "runtime", start_runtime, c);
    r = parts_certificates(&c->arena, c->config, &c->input, e);
    if (r < 0)
        return r;
    tell(c, "certificates");
    if ((r = open_store(c, e)) < 0 || (r = start_server(c, e)) < 0 || (r = make_addons(c, e)) < 0)
        return r;
    tell(c, "API server");
    if ((r = parts_network(&c->input, e)) < 0 || (r = wait_runtime(c, e)) < 0)
        return r;
    tell(c, "container runtime");
    c->input.policy_gate = policy_gate_new();
    parts_start(&c->parts, &c->input, false, client_of, c);
    if (!k->cri_socket) /* with a runtime of somebody else's, the network is theirs */
        group_spawn(&c->parts, "forwarding", allow_forwarding, c);
    group_spawn(&c->parts, "certificates", keep_certificates, c);
    group_spawn(&c->parts, "ready", tell_when_ready, c);
    return 0;
}

int cluster_run(const struct cluster_config *config, int64_t nodes, cluster_progress *progress, void *arg, struct err *e)
{
    struct cluster c = {.config = config, .nodes = nodes, .progress = progress, .progress_arg = arg, .lock = -1};
    c.input = (struct parts_input){.config = config, .arena = &c.arena, .trouble = tell_trouble, .trouble_arg = &c};
    int r = bring_up(&c, e);
    if (r == 0) {
        int signal = os_wait_signal(MONO_NEVER);
        log_info("up", "ending on signal %d; pods go on running", signal);
    }
    group_stop(&c.parts);
    policy_gate_free(c.input.policy_gate);
    if (c.lock >= 0) /* they are machines of their own and would go on without us */
        nodes_quiet(config, NULL);
    apiserver_stop(c.server, SECONDS(2));
    if (c.store)
        store_close(c.store);
    os_close(c.lock);
    arena_done(&c.arena);
    return r;
}
