/* SPDX-License-Identifier: Apache-2.0 */
#include "adm/nodes.h"

#include "adm/addresses.h"
#include "adm/options.h"
#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/https.h"
#include "client/kubeconfig.h"
#include "net/http.h"
#include "node/host.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_NODES = 250 };
#define SHUTDOWN_MOST SECONDS(120) /* for a kubelet to end its pods; its own limit is 30 s unless it is told otherwise */

/* ---- records -------------------------------------------------------------------------------------- */

static const char *nodes_dir(struct arena *a, const struct cluster_config *c)
{
    return arena_printf(a, "%s/nodes", c->data_dir).p;
}

/* A name for a Node and a host: RFC 1123, one label or several. */
static bool is_name(const char *s)
{
    size_t n = strlen(s);
    for (size_t i = 0; i < n; i++) {
        bool alnum = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9');
        bool edge = i == 0 || i == n - 1 || s[i - 1] == '.' || s[i + 1] == '.';
        if (!alnum && (edge || (s[i] != '-' && s[i] != '.')))
            return false;
    }
    return n > 0 && n <= 63;
}

/* Where nodes have cgroups of their own, some names are taken: of systemd's units, and of the machine's pods. */
static bool is_taken_name(const char *s)
{
    static const char *const ends[] = {".slice", ".scope", ".service", ".mount", ".socket"};
    for (size_t i = 0; i < ARRAY_SIZE(ends); i++)
        if (str_ends(str_of(s), str_of(ends[i])))
            return true;
    return !strcmp(s, "kubepods");
}

/* The name is the folder's, and the cgroup one of that name: what is recorded is killed and removed, so that nothing
 * else may be recorded. */
static bool is_consistent(struct arena *a, const struct node *n)
{
    struct str dir = str_of(n->dir), cgroup = str_of(n->cluster.cgroup_root), rest = cgroup, part;
    ssize_t slash = str_rfind(dir, '/');
    if (!is_name(n->name) || is_taken_name(n->name) || !str_is(str_from(dir, (size_t)(slash + 1)), n->name))
        return false;
    while (str_next(&rest, '/', &part))
        if (str_is(part, "..") || str_is(part, "."))
            return false;
    return cgroup.n && cgroup.p[0] == '/' && str_ends(cgroup, arena_printf(a, "/%s", n->name));
}

int node_load(struct arena *a, const char *dir, struct node *ret, struct err *e)
{
    struct node n = {.dir = arena_cstr(a, str_of(dir))};
    struct flag flags[] = {CLUSTER_FLAGS(&n.cluster), NODE_FLAGS(&n), {0}};
    int r = flags_load(a, flags, arena_printf(a, "%s/node.conf", dir).p, e);
    if (r < 0)
        return r;
    n.name = n.cluster.node_name;
    if (!n.name || !n.cluster.advertise || !n.gateway || !n.link || !n.control_plane || !n.cluster.node_cidr)
        return err_set(e, -EINVAL, "%s/node.conf lacks something: remove the folder, or set it right", dir);
    if (!is_consistent(a, &n))
        return err_set(e, -EINVAL, "%s/node.conf is not of this node: remove the folder, or set it right", dir);
    *ret = n;
    return 0;
}

int node_save(const struct node *node, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct node n = *node;
    struct flag flags[] = {CLUSTER_FLAGS(&n.cluster), NODE_FLAGS(&n), {0}};
    return flags_save(flags, arena_printf(&a, "%s/node.conf", n.dir).p, e);
}

int nodes_read(struct arena *a, const struct cluster_config *c, struct node_list *ret, struct err *e)
{
    char **names;
    struct node_list l = {0};
    size_t n = 0;
    const char *dir = nodes_dir(a, c);
    int r = os_list_dir(a, dir, &names);
    if (r < 0 && r != -ENOENT)
        return err_set(e, r, "cannot read %s: %s", dir, strerror(-r));
    for (char **p = names; r == 0 && *p; p++)
        n++;
    l.list = ARENA_ARRAY(a, struct node, n + MAX_NODES);
    for (; r == 0 && *names; names++) {
        const char *one = arena_printf(a, "%s/%s", dir, *names).p;
        if (access(arena_printf(a, "%s/node.conf", one).p, F_OK) < 0)
            continue; /* the lock, or what could not be removed */
        if ((r = node_load(a, one, &l.list[l.n], e)) == 0)
            l.n++;
    }
    if (r < 0 && r != -ENOENT)
        return r;
    *ret = l;
    return 0;
}

struct node *nodes_find(const struct node_list *l, const char *name)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->list[i].name, name))
            return &l->list[i];
    return NULL;
}

/* One at a time changes what nodes there are, or starts and stops them. */
static int lock_nodes(const struct cluster_config *c, int *ret_fd, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *path = arena_printf(&a, "%s/lock", nodes_dir(&a, c)).p;
    struct mono deadline = mono_add(os_mono(), SECONDS(120));
    int r = os_mkdir_all(nodes_dir(&a, c), 0711);
    int fd = r < 0 ? r : os_open(path, O_RDWR | O_CREAT, 0600);
    if (fd < 0)
        return err_set(e, fd, "cannot write %s: %s", path, strerror(-fd));
    while ((r = os_flock(fd)) < 0 && os_mono().ns < deadline.ns && fiber_sleep(MILLISECONDS(20)) == 0)
        ;
    if (r < 0) {
        os_close(fd);
        return err_set(e, r, "another command is at work on the nodes of %s", c->data_dir);
    }
    *ret_fd = fd;
    return 0;
}

/* ---- a new one ------------------------------------------------------------------------------------ */

static const char *free_name(struct arena *a, const struct cluster_config *c, const struct node_list *known)
{
    for (int i = 2;; i++) {
        const char *name = arena_printf(a, "%s-%d", c->node_name, i).p;
        if (!nodes_find(known, name))
            return name;
    }
}

static bool has_address(struct arena *a, const struct node_list *l, const char *addresses)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(list_first(a, l->list[i].cluster.advertise), list_first(a, addresses)))
            return true;
    return false;
}

/* How many addresses the smallest of the ranges has, from its first on and without its last. */
static uint64_t room_in(const struct prefixes *ranges)
{
    uint64_t room = UINT64_MAX;
    for (size_t i = 0; i < ranges->n; i++) {
        unsigned bits = ip_bits(&ranges->list[i].ip) - ranges->list[i].bits;
        if (bits < 32)
            room = MIN(room, (UINT64_C(1) << bits) - 1);
    }
    return room;
}

/* Addresses and cable: the first number from 2 on that nobody has. */
static int give_address(struct arena *a, const struct cluster_config *c, const struct node_list *known,
                        struct node *n, struct err *e)
{
    struct prefixes ranges;
    int r = node_net_range(a, c, known, &ranges, e);
    if (r < 0)
        return r;
    for (uint32_t i = 2; i < room_in(&ranges) && i < MAX_NODES + 2; i++) {
        const char *addresses = addresses_at(a, &ranges, i);
        if (has_address(a, known, addresses))
            continue;
        n->cluster.advertise = addresses;
        n->cluster.node_cidr = ranges_text(a, &ranges);
        n->gateway = addresses_at(a, &ranges, 1);
        n->link = arena_printf(a, "%s%u", c->node_bridge, i).p;
        return 0;
    }
    return err_set(e, -EADDRNOTAVAIL, "no address is free for one more node");
}

static const char *own_program(struct arena *a)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    struct str s = str_n(path, n < 0 ? 0 : (size_t)n);
    return n <= 0 || str_ends(s, STR(" (deleted)")) ? "/proc/self/exe" : arena_cstr(a, s);
}

/* What follows from the cluster, which may have another address or program than when the node was made. */
static void fill(struct arena *a, const struct cluster_config *c, struct node *n)
{
    struct cluster_config *k = &n->cluster;
    bool top = !strcmp(c->cgroup_root, "/");
    n->program = own_program(a);
    n->control_plane = c->advertise;
    n->machine_data = c->data_dir;
    n->machine_run = c->run_dir;
    *k = (struct cluster_config){
        .node_name = n->name,
        .advertise = k->advertise,
        .node_cidr = k->node_cidr,
        .data_dir = n->dir,
        .run_dir = "/run",
        .conf_dir = n->dir,
        .port = c->port,
        .kubelet_port = 10250,
        .service_cidr = c->service_cidr,
        .pod_cidr = c->pod_cidr,
        .dns_ip = c->dns_ip,
        .cluster_domain = c->cluster_domain,
        .bridge = "cni0",
        .node_bridge = c->node_bridge,
        .cgroup_root = arena_printf(a, "%s/%s", top ? "" : c->cgroup_root, n->name).p,
        .proxy_table = "cube-proxy",
        .proxy_mode = c->proxy_mode,
        .proxy_health_port = 10256,
        .proxy_metrics_port = 10249,
        .node_ports = c->node_ports,
        .load_balancer_pool = c->load_balancer_pool,
        .node_grace = c->node_grace,
        .without = c->without,
        .containerd = c->containerd,
        .runc = c->runc,
        .cni_bin_dir = c->cni_bin_dir,
        .cni_conf_dir = c->cni_conf_dir,
        .cni_plugin = c->cni_plugin,
        .overlay_backend = c->overlay_backend,
    };
}

static int make_folders(struct arena *a, const struct node *n, struct err *e)
{
    static const char *const folders[] = {"", "/log", "/pki", "/manifests"};
    for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
        const char *path = arena_printf(a, "%s%s", n->dir, folders[i]).p;
        int r = os_mkdir_all(path, i ? 0700 : 0711);
        if (r < 0)
            return err_set(e, r, "cannot make %s: %s", path, strerror(-r));
    }
    return 0;
}

/* name NULL: one is found. known has room for one more. */
static int add(struct arena *a, const struct cluster_config *c, const char *name, struct node_list *known,
               struct err *e)
{
    struct node n = {.name = name ? name : free_name(a, c, known)};
    if (!is_name(n.name))
        return err_set(e, -EINVAL,
                       "\"%s\" is no name for a node: small letters, digits, '-' and '.', at most 63",
                       n.name);
    if (is_taken_name(n.name))
        return err_set(e, -EINVAL, "\"%s\" is no name for a node: a cgroup of the machine may have it", n.name);
    if (!strcmp(n.name, c->node_name) || nodes_find(known, n.name))
        return err_set(e, -EEXIST, "there is a node %s already", n.name);
    if (known->n >= MAX_NODES)
        return err_set(e, -E2BIG, "%d further nodes are enough for one machine", MAX_NODES);
    if (str_starts(str_of(c->data_dir), STR("/run/")))
        return err_set(e, -EINVAL, "further nodes have a /run of their own: --data-dir must not be below it");
    n.dir = arena_printf(a, "%s/%s", nodes_dir(a, c), n.name).p;
    int r = give_address(a, c, known, &n, e);
    if (r < 0)
        return r;
    fill(a, c, &n);
    r = make_folders(a, &n, e);
    if (r == 0)
        r = node_save(&n, e);
    if (r == 0)
        known->list[known->n++] = n;
    return r;
}

int nodes_add(struct arena *a, const struct cluster_config *c, const char *name, struct node *ret,
              struct err *e)
{
    struct node_list known;
    int lock, r = lock_nodes(c, &lock, e);
    if (r < 0)
        return r;
    r = nodes_read(a, c, &known, e);
    if (r == 0)
        r = add(a, c, name, &known, e);
    if (r == 0)
        *ret = known.list[known.n - 1];
    os_close(lock);
    return r;
}

int nodes_ensure(struct arena *a, const struct cluster_config *c, int64_t at_least, struct node_list *ret,
                 struct err *e)
{
    struct node_list known;
    int lock = -1, r = 0;
    if (at_least > 0)
        r = lock_nodes(c, &lock, e);
    if (r == 0)
        r = nodes_read(a, c, &known, e);
    while (r == 0 && (int64_t)known.n < at_least)
        r = add(a, c, NULL, &known, e);
    os_close(lock);
    if (r == 0)
        *ret = known;
    return r;
}

/* ---- running ones --------------------------------------------------------------------------------- */

pid_t node_pid(const struct node *n)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text, line;
    int64_t pid;
    if (os_read_file(&a, arena_printf(&a, "%s/pid", n->dir).p, 64, &text) < 0 ||
        str_to_i64(str_trim(text), &pid) < 0 || pid <= 1)
        return 0;
    if (os_read_file(&a, arena_printf(&a, "/proc/%d/cmdline", (int)pid).p, 65536, &line) < 0)
        return 0;
    struct buf want CLEANUP_BUF = BUF_INIT; /* its arguments, with the zeros between them */
    buf_put(&want, "node\0run\0--dir\0", 15);
    buf_put(&want, n->dir, strlen(n->dir) + 1);
    return line.n && memmem(line.p, line.n, want.p, want.n) ? (pid_t)pid : 0;
}

const char *node_socket(struct arena *a, const struct node *n)
{
    pid_t pid = node_pid(n);
    return pid ? arena_printf(a, "/proc/%d/root/run/containerd/containerd.sock", (int)pid).p : NULL;
}

static bool state_is(const struct node *n, const char *state)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text;
    return os_read_file(&a, arena_printf(&a, "%s/state", n->dir).p, 64, &text) == 0 &&
           str_is(str_trim(text), state);
}

static int wait_state(const struct node *n, const char *state, struct err *e)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(30));
    while (!state_is(n, state)) {
        if (!node_pid(n))
            return err_set(e, -EPIPE, "node %s has ended; see %s/log/node.log", n->name, n->dir);
        if (os_mono().ns > deadline.ns)
            return err_set(e, -ETIMEDOUT, "node %s is not %s after 30 s; see %s/log/node.log", n->name, state,
                           n->dir);
        int r = fiber_sleep(MILLISECONDS(5));
        if (r < 0)
            return r;
    }
    return 0;
}

/* Folders that a node wants to mount its own upon. Those that we make are written down, for nodes_purge. */
static const char *const mount_points[] = {"/var/lib/kubelet", "/var/lib/containerd", "/var/lib/cni",
                                           "/etc/cni",         "/var/log/pods",       "/var/log/containers"};

/* The one of that name; NULL when it is none. */
static const char *mount_point(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(mount_points); i++)
        if (str_is(name, mount_points[i]))
            return mount_points[i];
    return NULL;
}

static int make_mount_points(const struct cluster_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf made CLEANUP_BUF = BUF_INIT;
    struct str before = STR_NULL;
    const char *record = arena_printf(&a, "%s/made", nodes_dir(&a, c)).p;
    if (os_read_file(&a, record, 65536, &before) == 0)
        buf_putstr(&made, before);
    for (size_t i = 0; i < ARRAY_SIZE(mount_points); i++) {
        if (access(mount_points[i], F_OK) == 0)
            continue;
        int r = os_mkdir_all(mount_points[i], 0755);
        if (r < 0)
            return err_set(e, r, "cannot make %s: %s", mount_points[i], strerror(-r));
        buf_printf(&made, "%s\n", mount_points[i]);
    }
    if (made.n == before.n)
        return 0;
    int r = os_write_file(record, buf_str(&made), 0600);
    return r < 0 ? err_set(e, r, "cannot write %s: %s", record, strerror(-r)) : 0;
}

/* Makes the namespaces and process 1. */
static int boot(const struct node *n, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *log = arena_printf(&a, "%s/log/node.log", n->dir).p;
    const char *argv[] = {n->program, "node", "run", "--dir", n->dir, NULL};
    pid_t pid;
    int status;
    os_unlink(arena_printf(&a, "%s/state", n->dir).p);
    int fd = os_open(log, O_WRONLY | O_CREAT | O_APPEND, 0640);
    if (fd < 0)
        return err_set(e, fd, "cannot write %s: %s", log, strerror(-fd));
    struct os_spawn s = {.argv = argv, .in = -1, .out = fd, .err = fd, .cwd = "/", .new_session = true};
    int r = os_spawn(&s, &pid);
    os_close(fd);
    if (r == 0)
        r = os_wait_pid(pid, &status, mono_add(os_mono(), SECONDS(30)));
    if (r < 0)
        return err_set(e, r, "cannot start node %s: %s", n->name, strerror(-r));
    return status ? err_set(e, -EIO, "node %s cannot be started; see %s", n->name, log) : 0;
}

static int start_locked(const struct cluster_config *c, struct node *n, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct node now = *n;
    bool changed;
    fill(&a, c, &now);
    now.stopped = n->stopped = false;
    int r = make_folders(&a, &now, e);
    if (r == 0)
        r = node_save(&now, e);
    if (r == 0)
        r = node_certs_ensure(c, &now, &changed, e);
    if (r < 0)
        return r;
    pid_t pid = node_pid(&now);
    if (pid) /* its agent may be off, or of another program or configuration */
        return os_kill(pid, SIGUSR1);
    r = boot(&now, e);
    if (r == 0)
        r = node_net_plug(c, &now, node_pid(&now), e);
    return r < 0 ? r : wait_state(&now, NODE_STATE_ON, e);
}

static int prepare(const struct cluster_config *c, const struct node *n, struct err *e)
{
    int r = make_mount_points(c, e);
    return r < 0 ? r : node_net_bridge(c, n, e);
}

int node_start(const struct cluster_config *c, struct node *n, struct err *e)
{
    int lock, r = lock_nodes(c, &lock, e);
    if (r < 0)
        return r;
    r = prepare(c, n, e);
    if (r == 0)
        r = start_locked(c, n, e);
    os_close(lock);
    return r;
}

struct start {
    const struct cluster_config *config;
    struct node *node;
    struct err err;
    int r;
};

static void start_one(void *arg)
{
    struct start *s = arg;
    s->r = start_locked(s->config, s->node, &s->err);
}

int nodes_start(struct arena *a, const struct cluster_config *c, const struct node_list *which,
                struct node_list *ret, struct err *e)
{
    struct group g = {0};
    struct start *starts = ARENA_ARRAY(a, struct start, which->n + 1);
    struct node_list up = {ARENA_ARRAY(a, struct node, which->n + 1), 0};
    int lock, r = which->n ? lock_nodes(c, &lock, e) : 0;
    if (r < 0 || !which->n)
        return r;
    r = prepare(c, &which->list[0], e);
    for (size_t i = 0; r == 0 && i < which->n; i++) {
        starts[i] = (struct start){.config = c, .node = &which->list[i]};
        if (!which->list[i].stopped)
            group_spawn(&g, "node", start_one, &starts[i]);
    }
    if (r == 0)
        r = group_wait(&g, MONO_NEVER);
    group_stop(&g);
    os_close(lock);
    for (size_t i = 0; i < which->n; i++) {
        if (starts[i].r == 0 && !which->list[i].stopped)
            up.list[up.n++] = which->list[i];
        else if (r == 0 && starts[i].r < 0) {
            r = starts[i].r;
            *e = starts[i].err;
        }
    }
    *ret = up;
    return r;
}

/* ---- ending them ---------------------------------------------------------------------------------- */

static int quiet(const struct node *n, struct err *e)
{
    pid_t pid = node_pid(n);
    if (!pid || state_is(n, NODE_STATE_OFF))
        return 0;
    os_kill(pid, SIGTERM);
    return wait_state(n, NODE_STATE_OFF, e);
}

/* Kills process 1, and with it the kernel kills all others of the node; waits until they are gone. */
static int pull_plug(const struct node *n, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    pid_t pid = node_pid(n);
    int status;
    if (pid) {
        os_kill(pid, SIGKILL);
        if (os_wait_pid(pid, &status, mono_add(os_mono(), SECONDS(30))) == -ETIMEDOUT)
            return err_set(e, -ETIMEDOUT, "processes of node %s did not end within 30 s of being killed",
                           n->name);
    }
    os_unlink(arena_printf(&a, "%s/pid", n->dir).p);
    os_unlink(arena_printf(&a, "%s/state", n->dir).p);
    node_net_unplug(n);
    return linux_cgroup_remove(NULL, n->cluster.cgroup_root, e);
}

/* Its kubelet ends the pods as for any shutdown: by priority, with their hooks, and the API hears of it (KEP-2000). */
static int shut_down(const struct cluster_config *c, const struct node *n, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct client *client = NULL;
    struct http_call *call = NULL;
    struct str body = STR("");
    struct mono deadline = mono_add(os_mono(), SHUTDOWN_MOST);
    struct https_raw raw = {.method = "POST", .path = arena_printf(&a, "/api/v1/nodes/%s/proxy/shutdown", n->name).p};
    int r = kubeconfig_client(arena_printf(&a, "%s/admin.conf", c->conf_dir).p, "cube-node", &client, e);
    if (r == 0)
        r = https_raw(client, &raw, deadline, &call, e);
    if (r >= 0 && http_call_read_all(call, 1 << 16, deadline, &body) < 0)
        body = STR("");
    if (r >= 0)
        r = call->status == 200 && str_is(str_trim(body), "ok") ? 0 : err_set(e, -EIO, "its kubelet: " STR_FMT, STR_ARG(str_trim(body)));
    http_call_free(call);
    if (client)
        client_free(client);
    return r;
}

static int stop_locked(const struct node *n, bool graceful, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *socket = graceful ? node_socket(&a, n) : NULL;
    if (socket) {
        struct err why = {0};
        int r = quiet(n, &why); /* else its kubelet would start them again */
        if (r == 0)
            r = cri_stop_pods(socket, true, &why);
        if (r < 0)
            log_warn("node", "%s: %s; its plug is pulled", n->name, err_text(&why, r));
    }
    return pull_plug(n, e);
}

int node_stop(const struct cluster_config *c, struct node *n, bool graceful, struct err *e)
{
    int lock, r = lock_nodes(c, &lock, e);
    if (r < 0)
        return r;
    n->stopped = true;
    r = node_save(n, e);
    struct err why = {0};
    if (r == 0 && graceful && state_is(n, NODE_STATE_ON) && shut_down(c, n, &why) < 0)
        log_warn("node", "%s: %s; what runs is ended without it", n->name, why.text);
    if (r == 0)
        r = stop_locked(n, graceful, e);
    os_close(lock);
    return r;
}

int node_remove(const struct cluster_config *c, struct node *n, struct err *e)
{
    int lock, r = lock_nodes(c, &lock, e);
    if (r < 0)
        return r;
    r = stop_locked(n, false, e);
    if (r == 0)
        r = linux_remove_tree(NULL, n->dir, e);
    os_close(lock);
    return r;
}

int nodes_quiet(const struct cluster_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct node_list all;
    int r = nodes_read(&a, c, &all, e);
    for (size_t i = 0; r == 0 && i < all.n; i++) {
        pid_t pid = node_pid(&all.list[i]);
        if (pid)
            os_kill(pid, SIGTERM); /* all at once, then each is waited for */
    }
    for (size_t i = 0; r == 0 && i < all.n; i++) {
        int one = node_pid(&all.list[i]) ? wait_state(&all.list[i], NODE_STATE_OFF, e) : 0;
        r = one < 0 ? one : r;
    }
    return r;
}

int nodes_renew(const struct cluster_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct node_list all;
    int r = nodes_read(&a, c, &all, e);
    for (size_t i = 0; r == 0 && i < all.n; i++) {
        bool changed = false;
        r = node_certs_ensure(c, &all.list[i], &changed, e);
        pid_t pid = changed ? node_pid(&all.list[i]) : 0;
        if (pid && state_is(&all.list[i], NODE_STATE_ON))
            os_kill(pid, SIGUSR1);
    }
    return r;
}

int nodes_down(const struct cluster_config *c, bool orderly, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct node_list all;
    int r = nodes_read(&a, c, &all, e);
    for (size_t i = 0; r == 0 && i < all.n; i++)
        r = stop_locked(&all.list[i], orderly, e);
    return r;
}

/* ---- for good ------------------------------------------------------------------------------------- */

/* Whether some process sees a mount there: nodes of another cluster, say. Removing the folder would take it
 * from them. */
static bool is_mounted_somewhere(struct arena *a, const char *path)
{
    char **names;
    const char *want = arena_printf(a, " %s ", path).p;
    if (os_list_dir(a, "/proc", &names) < 0)
        return true;
    for (; *names; names++) {
        struct arena one CLEANUP_ARENA = ARENA_INIT;
        struct str text;
        if ((*names)[0] < '1' || (*names)[0] > '9')
            continue;
        if (os_read_file(&one, arena_printf(&one, "/proc/%s/mountinfo", *names).p, 16 << 20, &text) == 0 &&
            str_contains(text, str_of(want)))
            return true;
    }
    return false;
}

int nodes_purge(const struct cluster_config *c, struct err *e UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str made, line;
    const char *record = arena_printf(&a, "%s/made", nodes_dir(&a, c)).p;
    if (access(nodes_dir(&a, c), F_OK) < 0)
        return 0;
    node_net_remove(c);
    if (os_read_file(&a, record, 65536, &made) < 0)
        return 0;
    while (str_next(&made, '\n', &line)) {
        const char *path = mount_point(line);
        if (path && !is_mounted_somewhere(&a, path))
            rmdir(path); /* unless somebody has put something there */
    }
    return 0;
}
