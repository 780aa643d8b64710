/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/overlay.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "netlink/nft.h"
#include "resources.h"
#include "type/meta.h"

#define LOG "overlay"

enum { CALM_MS = 50, WATCH_CALM_S = 2, RETRY_S = 10 };

struct overlay {
    const struct overlay_config *config;
    struct arena arena;
    struct netconf conf;
    struct str prefix; /* of annotations */
    struct prefixes within;
    struct replica *replica; /* of the Nodes; or */
    struct subnets *subnets; /* what is leased in etcd */
    struct waitq changed;
    bool dirty; /* a Node has changed */
    bool again; /* the kernel may have lost what it had */
    bool failing;
    struct kernel kernel;
    struct arena told_arena;
    struct str told; /* troubles that were logged */
    struct buf subnet_file, masq; /* as they were last written */
    int watch;
};

/* ---- telling people --------------------------------------------------------------------------------- */

static const char *reason(int r)
{
    return r == -ENETUNREACH || r == -EHOSTUNREACH
               ? "that address is on no network of this machine, which a plain route needs"
           : r == -EEXIST ? "somebody else's route leads there"
                          : strerror(-r);
}

static void trouble(struct overlay *o, struct buf *all, const char *fmt, ...) PRINTF(3, 4);
static void trouble(struct overlay *o, struct buf *all, const char *fmt, ...)
{
    va_list ap;
    size_t start = all->n;
    va_start(ap, fmt);
    buf_vprintf(all, fmt, ap);
    va_end(ap);
    buf_putc(all, '\n');
    struct str line = str_from(buf_str(all), start);
    if (!str_contains(o->told, line)) /* each is said once, not at each retry */
        log_warn(LOG, "pods cannot be reached: " STR_FMT, STR_ARG(str_trim(line)));
}

static void tell_troubles(struct overlay *o, const struct kernel_sync *s)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    char text[ENTRY_TEXT_MAX];
    for (size_t i = 0; i < s->changes.set.n; i++)
        if (s->results && s->results[i] < 0)
            trouble(o, &b, "[%s: %s]", entry_text(&s->changes.set.list[i], text), reason(s->results[i]));
    for (size_t i = 0; i < s->plan.n_refused; i++)
        trouble(o, &b, "[%s of node " STR_FMT ": it is, in part, node " STR_FMT "'s]",
                prefix_format(&s->plan.refused[i].range, text), STR_ARG(s->plan.refused[i].node),
                STR_ARG(s->plan.refused[i].other));
    arena_reset(&o->told_arena);
    o->told = arena_str(&o->told_arena, buf_str(&b));
}

/* ---- telling others --------------------------------------------------------------------------------- */

/* self false: there is no range yet, and so no device. */
static struct announcement what_to_say(const struct overlay *o, bool self)
{
    struct announcement say = {.backend = o->conf.backend, .vni = o->conf.vni};
    for (unsigned f = 0; f < FAMILIES; f++) {
        const struct device *d = &o->kernel.devices[f];
        if (!o->conf.enabled[f] || (self && say.backend == BACKEND_VXLAN && !d->index))
            continue;
        say.address[f] = o->config->uplink.public[f].family ? o->config->uplink.public[f] : o->kernel.uplink.address[f];
        memcpy(say.mac[f], d->mac, 6);
    }
    return say;
}

static void announce_in_etcd(struct overlay *o, bool self)
{
    struct announcement say = what_to_say(o, self);
    struct err e = {0};
    int r = subnets_announce(o->subnets, &say, &e);
    if (r && r != -EAGAIN && r != -ECANCELED)
        log_warn(LOG, "no range could be leased: %s", err_text(&e, -EIO));
    o->failing = o->failing || r;
}

static void announce(struct overlay *o, const struct object *node)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct announcement say = what_to_say(o, true);
    struct status s;
    status_init(&s, &a);
    struct str patch = announcement_patch(&a, node, o->prefix, &say);
    if (!patch.n)
        return;
    int r = client_patch(o->config->client, CALL(.res = &resources[RES_NODES], .name = node->name), PATCH_MERGE, patch,
                         &a, NULL, &s);
    if (r && o->conf.backend == BACKEND_VXLAN) { /* host-gw works without */
        struct str why = r < 0 ? str_of(strerror(-r)) : s.message;
        log_warn(LOG, "the other nodes cannot be told of this one: " STR_FMT, STR_ARG(why));
        o->failing = true;
    }
}

/* A cloud's nodes start with that condition True, and with a taint that goes with it. */
static void tell_network(struct overlay *o, const struct object *node)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    struct str patch = o->config->tell_network ? network_available_patch(&a, node, os_wall()) : STR_NULL;
    if (!patch.n)
        return;
    int r = client_patch(o->config->client,
                         CALL(.res = &resources[RES_NODES], .name = node->name, .subresource = "status"), PATCH_STRATEGIC,
                         patch, &a, NULL, &s);
    if (r) {
        struct str why = r < 0 ? str_of(strerror(-r)) : s.message;
        log_warn(LOG, "the Node cannot be told that it has a network: " STR_FMT, STR_ARG(why));
        o->failing = true;
    }
}

/* For CNI plug-ins on this node. */
static void write_subnet_file(struct overlay *o, const struct peer *self)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    const char *path = o->config->subnet_file;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    uint32_t mtu = o->kernel.uplink.mtu;
    if (!path || !mtu || !self->pods.n)
        return;
    for (unsigned f = 0; f < FAMILIES; f++)
        if (o->kernel.devices[f].index)
            mtu = MIN(mtu, o->kernel.devices[f].mtu);
    subnet_file_text(&b, &o->conf, &self->pods, mtu, o->config->ip_masq);
    if (str_eq(buf_str(&b), buf_str(&o->subnet_file)))
        return;
    ssize_t slash = str_rfind(str_of(path), '/');
    int r = slash > 0 ? os_mkdir_all(arena_cstr(&a, str_n(path, (size_t)slash)), 0755) : 0;
    r = r < 0 ? r : os_write_file(path, buf_str(&b), 0644);
    if (r < 0) {
        log_warn(LOG, "%s cannot be written: %s", path, strerror(-r));
        return;
    }
    buf_clear(&o->subnet_file);
    buf_putstr(&o->subnet_file, buf_str(&b));
}

static void masquerade(struct overlay *o, const struct peer *self)
{
    char table[OVERLAY_NAME_MAX];
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct err e = {0};
    if (!o->config->ip_masq || !self->pods.n || !o->within.n)
        return;
    masquerade_text(&b, overlay_name(&o->within, table), &o->within, &self->pods, o->config->masq_predictable);
    if (str_eq(buf_str(&b), buf_str(&o->masq)))
        return;
    int r = nft_apply(buf_str(&b), &e);
    if (r < 0) {
        log_warn(LOG, "packets from pods to elsewhere keep the pods' addresses: %s", err_text(&e, r));
        return;
    }
    buf_clear(&o->masq);
    buf_putstr(&o->masq, buf_str(&b));
}

/* ---- following ------------------------------------------------------------------------------------ */

static void node_changed(void *arg, const struct resource *res UNUSED, const struct object *old,
                         const struct object *new_)
{
    struct overlay *o = arg;
    struct str name = new_ ? new_->name : old->name;
    if (!peer_differs(old, new_, o->prefix))
        return;
    o->dirty = true;
    o->again = o->again || str_is(name, o->config->node_name); /* our own link or devices may be others now */
    waitq_wake_all(&o->changed);
}

struct change_filter {
    const struct overlay *o;
    bool matters;
};

static void look_at_change(void *arg, const struct nlmsghdr *h)
{
    struct change_filter *c = arg;
    c->matters = c->matters || kernel_change_matters(&c->o->kernel, h);
}

static void leases_changed(void *arg)
{
    struct overlay *o = arg;
    o->dirty = true;
    waitq_wake_all(&o->changed);
}

/* What others do to the kernel; a machine with many pods sees links come and go, so not more often than that. */
static void watch_kernel(void *arg)
{
    struct overlay *o = arg;
    for (;;) {
        struct change_filter c = {.o = o};
        if (rtnl_wait(o->watch, look_at_change, &c, MONO_NEVER) < 0)
            break;
        if (!c.matters)
            continue;
        o->again = true;
        waitq_wake_all(&o->changed);
        if (fiber_sleep(SECONDS(WATCH_CALM_S)) < 0)
            break;
    }
}

static int wait_for_work(struct overlay *o)
{
    struct mono retry = o->failing ? mono_add(os_mono(), SECONDS(RETRY_S)) : MONO_NEVER;
    while (!o->dirty && !o->again) {
        int r = waitq_wait(&o->changed, retry);
        if (r == -ETIMEDOUT)
            o->again = true;
        else if (r < 0)
            return r;
    }
    return fiber_sleep(MILLISECONDS(CALM_MS)); /* what comes together is done together */
}

/* Everybody else and ourselves; ret_node (a reference): where the Node is what we are told by. */
static bool who(struct overlay *o, struct arena *a, struct peer **ret, size_t *ret_n, struct peer *ret_self,
                struct object **ret_node)
{
    if (o->subnets)
        return subnets_peers(o->subnets, a, ret, ret_n, ret_self);
    struct str name = str_of(o->config->node_name);
    const struct tree *nodes = replica_tree(o->replica, &resources[RES_NODES]);
    bool known = peers_of_nodes(a, nodes, name, o->prefix, ret, ret_n, ret_self);
    *ret_node = known ? object_ref(tree_get(nodes, name)) : NULL;
    return known;
}

static void sync_once(struct overlay *o)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct peer self = {0};
    struct object *node = NULL;
    bool had_device = o->kernel.devices[V4].index || o->kernel.devices[V6].index;
    struct kernel_sync s = {.conf = &o->conf, .choice = &o->config->uplink, .within = &o->within, .arena = &a,
                            .look = o->again};
    o->dirty = o->again = o->failing = false;
    struct peer *peers;
    bool known = who(o, &a, &peers, &s.n, &self, &node);
    s.self = known ? &self : NULL;
    s.peers = peers;
    s.look = s.look || (o->subnets && known && !had_device); /* the first range makes the device */
    int r = kernel_sync(&o->kernel, &s, &e);
    if (r < 0) {
        log_error(LOG, "%s", err_text(&e, r));
        o->failing = true;
    } else {
        o->failing = s.failing;
        tell_troubles(o, &s);
    }
    if (r == 0 && o->subnets) {
        announce_in_etcd(o, known);
    } else if (r == 0 && node) {
        announce(o, node);
        tell_network(o, node);
    }
    if (r == 0 && known) {
        write_subnet_file(o, &self);
        masquerade(o, &self);
    }
    object_unref(node);
}

static int serve(struct overlay *o)
{
    int r;
    o->again = true;
    while ((r = wait_for_work(o)) == 0)
        sync_once(o);
    return r;
}

/* ---- configuration ------------------------------------------------------------------------------------ */

/* Flannel's own place for it. It may not be there, or not for us. */
static struct str conf_of_cluster(struct overlay *o, struct arena *a)
{
    struct status s;
    const struct val *v = NULL;
    status_init(&s, a);
    int r = client_get(o->config->client,
                       CALL(.res = &resources[RES_CONFIGMAPS], .ns = STR("kube-flannel"), .name = STR("kube-flannel-cfg")),
                       a, &v, &s);
    return r ? STR_NULL : val_str(val_key(val_get(v, N_data), STR("net-conf.json")));
}

static int read_conf(struct overlay *o, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct overlay_config *c = o->config;
    enum backend_kind kind = BACKEND_HOST_GW;
    struct str text = STR_NULL;
    const char *name = c->backend ? c->backend : c->fallback;
    if (name && !backend_parse(str_of(name), &kind))
        return err_set(e, -EINVAL, "there is no overlay back end \"%s\"; there are: host-gw, vxlan", name);
    netconf_default(kind, &o->conf);
    if (o->subnets) {
        int r = subnets_read_conf(o->subnets, &a, &text);
        r = r ? r : netconf_parse(text, &o->conf, e);
        return r ? r : netconf_complete(&o->conf, e);
    }
    if (c->net_conf_path) {
        int r = os_read_file(&a, c->net_conf_path, 1 << 20, &text);
        if (r < 0 && r != -ENOENT)
            return err_set(e, r, "cannot read %s: %s", c->net_conf_path, strerror(-r));
    }
    if (!text.n && !c->backend)
        text = conf_of_cluster(o, &a);
    int r = text.n ? netconf_parse(text, &o->conf, e) : 0;
    if (r == 0 && c->backend)
        o->conf.backend = kind;
    return r;
}

static int prepare(struct overlay *o, struct err *e)
{
    o->prefix = annotation_prefix(&o->arena, o->config->annotation_prefix);
    if (!o->prefix.n)
        return err_set(e, -EINVAL, "\"%s\" cannot be what annotations begin with", o->config->annotation_prefix);
    int r = prefixes_parse(&o->arena, o->config->cluster_cidr, &o->within, e);
    if (r == 0 && o->config->subnets)
        r = subnets_new(o->config->subnets, leases_changed, o, &o->subnets, e);
    r = r ? r : read_conf(o, e);
    if (r < 0)
        return r;
    if (!o->within.n)
        o->within = netconf_networks(&o->arena, &o->conf);
    for (size_t i = 0; i < o->within.n; i++) { /* for subnet.env */
        unsigned f = family_of(&o->within.list[i].ip);
        if (!o->conf.network[f].ip.family)
            o->conf.network[f] = o->within.list[i];
    }
    return rtnl_watch(o->conf.backend == BACKEND_VXLAN, &o->watch, e);
}

static void follow_leases(void *arg)
{
    struct overlay *o = arg;
    subnets_follow(o->subnets, &o->conf);
}

static int follow_etcd(struct overlay *o)
{
    struct group g = {0};
    group_spawn(&g, "leases", follow_leases, o);
    group_spawn(&g, "kernel", watch_kernel, o);
    int r = serve(o);
    group_stop(&g);
    return r;
}

static int follow(struct overlay *o)
{
    const struct replica_kind kind = {.res = &resources[RES_NODES]};
    struct group g = {0};
    o->replica = replica_new(o->config->client, &kind, 1);
    replica_on_change(o->replica, node_changed, o);
    replica_start(o->replica);
    int r = replica_wait_synced(o->replica, MONO_NEVER); /* half a list would cost routes */
    group_spawn(&g, "kernel", watch_kernel, o);
    if (r == 0)
        r = serve(o);
    group_stop(&g);
    replica_free(o->replica);
    return r;
}

int overlay_run(const struct overlay_config *c, struct err *e)
{
    struct overlay o = {.config = c, .watch = -1};
    int r = prepare(&o, e);
    if (r == 0)
        r = o.subnets ? follow_etcd(&o) : follow(&o);
    if (o.watch >= 0)
        rtnl_unwatch(o.watch);
    subnets_free(o.subnets);
    kernel_done(&o.kernel);
    buf_done(&o.subnet_file);
    buf_done(&o.masq);
    arena_done(&o.told_arena);
    arena_done(&o.arena);
    return r;
}

int overlay_cleanup(const char *cluster_cidr, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct prefixes within;
    struct buf b CLEANUP_BUF = BUF_INIT;
    char table[OVERLAY_NAME_MAX];
    int r = prefixes_parse(&a, cluster_cidr, &within, e);
    r = r < 0 ? r : kernel_cleanup(&within, e);
    if (r < 0)
        return r;
    overlay_name(&within, table);
    buf_printf(&b, "table inet %s\ndelete table inet %s\n", table, table); /* removing what is not there is an error */
    return nft_apply(buf_str(&b), e);
}
