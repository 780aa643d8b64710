/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/proxy.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "names.h"
#include "netlink/nft_watch.h"
#include "proxy/backend.h"
#include "proxy/health.h"
#include "proxy/host.h"
#include "proxy/iptables.h"
#include "proxy/retry.h"
#include "proxy/udp.h"
#include "resources.h"
#include "type/meta.h"

#include <signal.h>

#define LOG "proxy"
#define DEFAULT_TABLE "cube-proxy"

enum { TRIGGERS_MAX = 1024 };

struct health_note {
    uint16_t port;
    size_t endpoints;
};

/* One address family. */
struct side {
    struct proxy *p;
    int number; /* 0: IPv4, 1: IPv6 */
    bool on;
    struct node_side node;
    struct arena node_arena, address_arena;
    struct backend *backend;
    struct map dirty; /* "ns/name" of Services to look at; the value is not used */
    bool full;        /* everything is to be written anew */
    struct retry retry;
    struct udp udp;
    struct map health_notes; /* "ns/name" -> struct health_note *: ports to open, close or tell another number */
    struct map no_local; /* "ns/name" -> which policies lack endpoints, as bits */
    struct wall triggers[TRIGGERS_MAX]; /* when the changes happened that wait */
    size_t n_triggers;
};

struct proxy {
    const struct proxy_config *config;
    const char *table;
    struct service_index index;
    struct replica *replica;
    struct side sides[2];
    struct waitq changed;
    struct health health;
    struct metrics metrics;
    uint32_t generation, ours; /* the kernel's count of nftables transactions when we last looked, and ours until then */
    bool touched;        /* by others since the last deep look */
    bool node_changed;
};

/* ---- what changes --------------------------------------------------------------------------------------- */

static void touch(void *arg, struct str ns, struct str name)
{
    struct proxy *p = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str key = obj_key(&a, ns, name);
    for (int i = 0; i < 2; i++) {
        if (!p->sides[i].on)
            continue;
        map_put(&p->sides[i].dirty, key, p);
        health_queued(&p->health, i, os_mono());
        p->metrics.sides[i].last_queued = os_wall();
    }
    waitq_wake_all(&p->changed);
}

/* The controller notes when the Pod changed that made it write the slice. */
static void note_trigger(struct proxy *p, const struct object *slice)
{
    struct str text = slice ? obj_annotation(slice->val, STR("endpoints.kubernetes.io/last-change-trigger-time")) : STR_NULL;
    struct side *s = &p->sides[slice && str_is(val_getstr(slice->val, N_addressType), "IPv6")];
    struct wall t;
    if (text.n && replica_synced(p->replica) && s->n_triggers < TRIGGERS_MAX && time_parse(text, &t) == 0)
        s->triggers[s->n_triggers++] = t;
}

static void follow(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct proxy *p = arg;
    switch (res->index) {
    case RES_SERVICES:
        p->metrics.services++;
        break;
    case RES_ENDPOINTSLICES:
        p->metrics.endpoints++;
        note_trigger(p, new_);
        break;
    default:
        p->node_changed = true;
        waitq_wake_all(&p->changed);
        return;
    }
    service_index_changed(&p->index, res, old, new_, touch, p);
}

/* ---- the node ------------------------------------------------------------------------------------------- */

static struct prefixes parse_prefixes(bool six, struct str texts, struct arena *a)
{
    struct str one;
    struct prefixes ret = {.list = ARENA_ARRAY(a, struct prefix, texts.n + 1)};
    while (str_next(&texts, ',', &one))
        ret.n += model_prefix(six, one, &ret.list[ret.n]);
    return ret;
}

static void read_detection(const struct proxy_config *c, const struct val *node, struct node_side *s, struct arena *a)
{
    struct str mode = c->detect_local ? str_of(c->detect_local) : STR("ClusterCIDR");
    struct prefixes found = {0};
    s->detect = (struct detect_local){.kind = DETECT_NONE};
    if (str_is(mode, "BridgeInterface") && c->bridge)
        s->detect = (struct detect_local){.kind = DETECT_INTERFACE, .interface = c->bridge};
    if (str_is(mode, "InterfaceNamePrefix") && c->interface_prefix)
        s->detect = (struct detect_local){.kind = DETECT_PREFIX, .interface = c->interface_prefix};
    if (str_is(mode, "ClusterCIDR") && c->cluster_cidr)
        found = parse_prefixes(s->six, str_of(c->cluster_cidr), a);
    if (str_is(mode, "NodeCIDR"))
        VAL_EACH(val_at(node, N_spec, N_podCIDRs), text)
        {
            if (!found.n)
                found = parse_prefixes(s->six, val_str(text), a);
        }
    if (found.n)
        s->detect = (struct detect_local){.kind = DETECT_CIDR, .prefix = found.list[0]};
}

/* Its internal address, else the external one. */
static void read_node_ip(const struct proxy_config *c, const struct val *node, struct node_side *s)
{
    static const struct str kinds[] = {{"InternalIP", 10}, {"ExternalIP", 10}};
    struct str rest = str_of(c->node_ip), one;
    s->has_node_ip = false;
    while (c->node_ip && !s->has_node_ip && str_next(&rest, ',', &one))
        s->has_node_ip = model_ip(s->six, one, &s->node_ip);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        VAL_EACH(val_at(node, N_status, N_addresses), v)
        {
            if (!s->has_node_ip && str_eq(val_getstr(v, N_type), kinds[i]))
                s->has_node_ip = model_ip(s->six, val_getstr(v, N_address), &s->node_ip);
        }
}

static void add_nodeports(struct node_side *s, struct str text)
{
    struct prefix *to = &s->nodeports.list[s->nodeports.n];
    if (str_is(text, "all"))
        text = s->six ? STR("::/0") : STR("0.0.0.0/0");
    if (str_is(text, "localhost"))
        text = s->six ? STR("::1/128") : STR("127.0.0.0/8");
    if (str_is(text, "primary")) {
        if (!s->has_node_ip || ip_is_loopback(&s->node_ip))
            return;
        *to = (struct prefix){s->node_ip, (uint8_t)ip_bits(&s->node_ip)};
    } else if (!model_prefix(s->six, text, to)) {
        return;
    }
    s->nodeports.n++;
    s->nodeports_all |= !to->bits;
}

/* None of this family means all. */
static void read_nodeports(const struct proxy_config *c, struct node_side *s, struct arena *a)
{
    size_t n = 0;
    static const struct prefix loopback = {{AF_INET, {127}}, 8};
    while (c->nodeport_addresses && c->nodeport_addresses[n])
        n++;
    s->nodeports = (struct prefixes){.list = ARENA_ARRAY(a, struct prefix, n)};
    s->nodeports_all = false;
    for (size_t i = 0; i < n; i++)
        add_nodeports(s, str_of(c->nodeport_addresses[i]));
    s->nodeports_all |= !s->nodeports.n;
    bool has = s->nodeports_all;
    for (size_t i = 0; i < s->nodeports.n; i++)
        has |= prefix_has(&s->nodeports.list[i], &loopback.ip) || prefix_has(&loopback, &s->nodeports.list[i].ip);
    s->localhost_nodeports = !s->six && has && !c->no_localhost_nodeports;
}

static void read_service_cidrs(struct proxy *p, struct node_side *s, struct arena *a)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    TREE_EACH(replica_tree(p->replica, &resources[RES_SERVICECIDRS]), STR(""), it)
    {
        const struct object *o = it.object;
        VAL_EACH(val_at(o->val, N_spec, N_cidrs), c)
        {
            buf_printf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(val_str(c)));
        }
    }
    s->service_cidrs = parse_prefixes(s->six, buf_str(&b), a);
}

static void read_skipped(const struct proxy_config *c, struct node_side *s, struct arena *a)
{
    size_t n = 0;
    while (c->skip_ips && c->skip_ips[n])
        n++;
    s->skip = (struct ips){.list = ARENA_ARRAY(a, struct ip, n)};
    for (size_t i = 0; i < n; i++)
        s->skip.n += model_ip(s->six, str_of(c->skip_ips[i]), &s->skip.list[s->skip.n]);
}

static void read_side(struct proxy *p, struct side *s, const struct val *node)
{
    const struct proxy_config *c = p->config;
    struct arena *a = &s->node_arena;
    int64_t liberal = 0;
    arena_reset(a);
    s->node.node_name = c->node_name;
    s->node.zone = arena_cstr(a, obj_label(node, STR("topology.kubernetes.io/zone")));
    s->node.masquerade_all = c->masquerade_all;
    s->node.mark = c->masquerade_mark ? c->masquerade_mark : 0x4000;
    s->node.proxy_name = c->proxy_name;
    s->node.tcp_liberal = host_sysctl_read("net/netfilter/nf_conntrack_tcp_be_liberal", &liberal) == 0 && liberal;
    read_node_ip(c, node, &s->node);
    read_detection(c, node, &s->node, a);
    read_nodeports(c, &s->node, a);
    read_skipped(c, &s->node, a);
    read_service_cidrs(p, &s->node, a);
}

static const struct val *this_node(struct proxy *p)
{
    const struct object *o = replica_get(p->replica, &resources[RES_NODES], STR_NULL, str_of(p->config->node_name));
    return o ? o->val : NULL;
}

static bool is_going(const struct val *node)
{
    if (obj_deleting(node))
        return true;
    VAL_EACH(val_at(node, N_spec, N_taints), t)
    {
        if (str_is(val_getstr(t, N_key), "ToBeDeletedByClusterAutoscaler"))
            return true;
    }
    return false;
}

/* All that the rules depend on besides Services and endpoints, as one text: the Node object itself changes all the
 * time. */
static void fingerprint(const struct node_side *s, struct buf *b)
{
    buf_puts(b, s->zone);
    buf_put(b, &s->node_ip, sizeof(s->node_ip));
    buf_printf(b, "%d %d %d", s->has_node_ip, s->detect.kind, s->tcp_liberal);
    buf_put(b, &s->detect.prefix, sizeof(s->detect.prefix));
    buf_put(b, s->nodeports.list, s->nodeports.n * sizeof(struct prefix));
    buf_put(b, s->service_cidrs.list, s->service_cidrs.n * sizeof(struct prefix));
}

static void look_at_node(struct proxy *p)
{
    const struct val *node = this_node(p);
    p->node_changed = false;
    p->health.node_known = node != NULL;
    p->health.node_going = is_going(node);
    for (int i = 0; i < 2; i++) {
        struct buf before CLEANUP_BUF = BUF_INIT, after CLEANUP_BUF = BUF_INIT;
        if (!p->sides[i].on)
            continue;
        if (p->sides[i].node.zone)
            fingerprint(&p->sides[i].node, &before);
        read_side(p, &p->sides[i], node);
        fingerprint(&p->sides[i].node, &after);
        p->sides[i].full |= !str_eq(buf_str(&before), buf_str(&after));
    }
}

/* Addresses that come and go matter where NodePorts are bound to some. */
static void look_at_addresses(struct side *s)
{
    struct arena a = ARENA_INIT;
    struct ips now = host_addresses(s->node.six, str_is(str_of(s->backend->ops->name), "ipvs") ? "kube-ipvs0" : NULL, &a);
    bool same = now.n == s->node.local_addresses.n &&
                (!now.n || !memcmp(now.list, s->node.local_addresses.list, now.n * sizeof(struct ip)));
    if (same) {
        arena_done(&a);
        return;
    }
    arena_done(&s->address_arena);
    s->address_arena = a;
    s->node.local_addresses = now;
    s->full |= !s->node.nodeports_all || str_is(str_of(s->backend->ops->name), "ipvs");
}

/* ---- writing -------------------------------------------------------------------------------------------- */

static void note_no_local(struct side *s, struct str key, const struct service_ports *ports)
{
    struct metrics_side *m = &s->p->metrics.sides[s->number];
    uintptr_t old = (uintptr_t)map_del(&s->no_local, key), now = 0;
    for (size_t i = 0; i < ports->n; i++) {
        const struct service_port *p = &ports->list[i];
        now |= (p->any && !p->inside ? 1u : 0) | (p->any && !p->outside && p->accessible ? 2u : 0);
    }
    m->no_local_internal += (now & 1) - (old & 1);
    m->no_local_external += (now >> 1) - (old >> 1);
    if (now)
        map_put(&s->no_local, key, (void *)now);
}

/* Opening and closing ports may wait, and Services change meanwhile: only noted here. */
static void note_health_port(struct side *s, struct str key, const struct service_ports *ports)
{
    uint16_t port = ports->n ? ports->list[0].health_port : 0;
    if (!port && !map_has(&s->p->health.ports[s->number], key))
        return;
    struct health_note *n = NEW(struct health_note);
    *n = (struct health_note){port, port ? model_local_ready(ports) : 0};
    free(map_put(&s->health_notes, key, n));
}

static void set_health_ports(struct side *s)
{
    struct map notes = s->health_notes;
    s->health_notes = MAP_INIT;
    MAP_EACH(&notes, k)
    {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        const struct health_note *n = k->value;
        struct ips on = {0};
        if (n->port && (!s->node.nodeports_all || s->node.six)) /* one socket for all of IPv6 would take IPv4, too */
            on = model_nodeport_ips(&s->node, true, &a);
        health_port_set(&s->p->health, s->number, k->key, n->port, n->endpoints, &on);
    }
    map_done_with(&notes, free);
}

/* A port that somebody else had is noted again, until it is ours. */
static void note_deaf(void *arg, struct str key, uint16_t port, size_t endpoints)
{
    struct side *s = arg;
    if (map_has(&s->health_notes, key))
        return;
    struct health_note *n = NEW(struct health_note);
    *n = (struct health_note){port, endpoints};
    map_put(&s->health_notes, key, n);
}

static void write_one(struct side *s, struct str key)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct service_ports ports;
    struct str ns, name;
    str_cut(key, '/', &ns, &name);
    model_service(&s->node, service_index_get(&s->p->index, ns, name), &a, &ports);
    s->backend->ops->service(s->backend, key, &ports);
    udp_service(&s->udp, key, &ports);
    note_no_local(s, key, &ports);
    note_health_port(s, key, &ports);
}

static void note_written(struct side *s, bool full, struct mono start, size_t triggers)
{
    struct metrics_side *m = &s->p->metrics.sides[s->number];
    struct wall now = os_wall();
    int64_t took = os_mono().ns - start.ns;
    proxy_metrics_sync(&m->sync, took);
    proxy_metrics_sync(full ? &m->full : &m->partial, took);
    for (size_t i = 0; i < triggers; i++)
        proxy_metrics_programming(&m->programming, MAX(now.ns - s->triggers[i].ns, (int64_t)0));
    memmove(s->triggers, s->triggers + triggers, (s->n_triggers - triggers) * sizeof(*s->triggers));
    s->n_triggers -= triggers;
    m->last_sync = now;
    health_updated(&s->p->health, s->number, now, s->dirty.n > 0, start);
}

static void sweep(struct side *s)
{
    struct metrics_side *m = &s->p->metrics.sides[s->number];
    struct err why = {0};
    size_t ended;
    struct mono start = os_mono();
    bool due = s->udp.due;
    int r = udp_sweep(&s->udp, s->node.six, &ended, &why);
    if (r < 0)
        log_warn(LOG, "%s", err_text(&why, r));
    m->conntrack_ended += ended;
    if (due)
        proxy_metrics_sync(&m->conntrack, os_mono().ns - start.ns);
}

static size_t count_endpoints(const struct service_index *index)
{
    size_t n = 0;
    MAP_EACH(&index->entries, k)
    {
        const struct service_entry *e = k->value;
        for (size_t i = 0; e->service && i < e->n_slices; i++)
            n += val_len(val_get(e->slices[i]->val, N_endpoints));
    }
    return n;
}

/* What changed, or everything; what changes meanwhile is for the next time. 0, or -errno: everything is then to be
 * written. */
static int write_side(struct side *s, struct err *e)
{
    bool full = s->full;
    struct mono start = os_mono();
    size_t triggers = s->n_triggers;
    struct map keys = s->dirty;
    s->dirty = MAP_INIT;
    s->full = false;
    if (full)
        s->backend->endpoints = count_endpoints(&s->p->index);
    s->backend->ops->begin(s->backend, full);
    MAP_EACH(full ? &s->p->index.entries : &keys, k)
    {
        write_one(s, k->key);
    }
    if (full) /* Services that are gone still have a port open, or figures */
        MAP_EACH(&keys, k)
        {
            if (!map_has(&s->p->index.entries, k->key))
                write_one(s, k->key);
        }
    map_done(&keys);
    int r = s->backend->ops->commit(s->backend, e);
    s->backend->ops->figures(s->backend, &s->p->metrics.sides[s->number].backend);
    s->full |= r != 0;
    if (r < 0)
        return r;
    note_written(s, full, start, triggers);
    set_health_ports(s);
    sweep(s);
    return 0;
}

static bool side_has_work(const struct side *s)
{
    return s->on && (s->dirty.n || s->full) && retry_due(&s->retry, os_mono());
}

static void write_sides(struct proxy *p)
{
    for (int i = 0; i < 2; i++) {
        struct side *s = &p->sides[i];
        struct err why = {0};
        if (!side_has_work(s))
            continue;
        bool was_full = s->full;
        int r = write_side(s, &why);
        if (r < 0 && !was_full) {
            log_warn(LOG, "a change was not taken, writing everything anew: %s", err_text(&why, r));
            why = (struct err){0};
            r = write_side(s, &why);
        }
        if (r < 0)
            log_error(LOG, "%s: %s", s->node.six ? "IPv6" : "IPv4", err_text(&why, r));
        retry_note(&s->retry, r < 0, os_mono());
        if (!s->backend->ops->counted) /* what programs did for us is not others' doing */
            nft_generation(&p->generation, NULL);
    }
}

/* ---- is it still there? --------------------------------------------------------------------------------- */

static void verify(struct proxy *p, bool deep)
{
    for (int i = 0; i < 2; i++) {
        struct side *s = &p->sides[i];
        struct err why = {0};
        if (!s->on)
            continue;
        if (deep) {
            look_at_addresses(s);
            health_each_deaf(&p->health, i, note_deaf, s);
            set_health_ports(s);
        }
        bool look = !s->full && (p->touched || !s->backend->ops->counted);
        int r = look ? s->backend->ops->verify(s->backend, deep, &why) : 0;
        if (r < 0)
            log_warn(LOG, "cannot look at the rules: %s", err_text(&why, r));
        if (r == 1)
            log_warn(LOG, "somebody has changed our rules, writing them anew");
        s->full |= r > 0;
    }
    p->touched &= !deep;
}

/* Whether anybody else changed any nftables rules since we last asked: the kernel counts all transactions, we count ours. What
 * the iptables programs make for us is not counted. */
static bool touched_by_others(struct proxy *p)
{
    uint32_t now, ours = 0;
    for (int i = 0; i < 2; i++)
        ours += p->sides[i].backend ? p->sides[i].backend->transactions : 0;
    if (nft_generation(&now, NULL) < 0)
        return false;
    bool touched = now - p->generation != ours - p->ours;
    p->generation = now;
    p->ours = ours;
    p->touched |= touched;
    return touched;
}

static void tidy(struct proxy *p)
{
    for (int i = 0; i < 2; i++)
        if (p->sides[i].on && p->sides[i].backend->ops->tidy)
            p->sides[i].backend->ops->tidy(p->sides[i].backend);
}

/* ---- the loop ------------------------------------------------------------------------------------------- */

static bool has_work(const struct proxy *p)
{
    if (p->node_changed)
        return true;
    for (int i = 0; i < 2; i++)
        if (side_has_work(&p->sides[i]))
            return true;
    return false;
}

static int wait_for_work(struct proxy *p, struct mono deep)
{
    while (!has_work(p)) {
        struct mono tick = mono_add(os_mono(), SECONDS(1));
        int r = waitq_wait(&p->changed, tick.ns < deep.ns ? tick : deep);
        if (r == -ECANCELED)
            return r;
        if (r == -ETIMEDOUT && os_mono().ns >= deep.ns)
            return 0;
        if (r == -ETIMEDOUT && touched_by_others(p))
            verify(p, false);
        if (r == -ETIMEDOUT)
            tidy(p);
    }
    return 0;
}

static int serve(struct proxy *p)
{
    const struct proxy_config *c = p->config;
    int64_t pause = c->min_sync_ns ? c->min_sync_ns : MILLISECONDS(100), period = c->sync_ns ? c->sync_ns : SECONDS(30);
    struct mono deep = mono_add(os_mono(), period);
    for (;;) {
        int r = wait_for_work(p, deep);
        if (r < 0)
            return r;
        if (os_mono().ns >= deep.ns) {
            touched_by_others(p);
            verify(p, true);
            deep = mono_add(os_mono(), period);
        }
        if (p->node_changed)
            look_at_node(p);
        write_sides(p);
        r = fiber_sleep(pause); /* changes that come meanwhile are taken together */
        if (r < 0)
            return r;
    }
}

/* ---- start and end -------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    struct backend *(*new)(const struct node_side *node, const struct backend_settings *s);
} modes[] = {{"nftables", backend_nftables}, {"iptables", backend_iptables}, {"ipvs", backend_ipvs}};

static int find_mode(const char *name, size_t *ret, struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(modes); i++)
        if (!name || !strcmp(name, modes[i].name)) {
            *ret = i;
            return 0;
        }
    return err_set(e, -EINVAL, "unknown proxy mode \"%s\": it must be nftables, iptables or ipvs", name);
}

/* What another mode of this very proxy left. */
static void clean_other_modes(const struct proxy *p, const char *mode, const struct backend_settings *s)
{
    struct err why = {0};
    bool ipvs = !strcmp(mode, "ipvs"), iptables = !strcmp(mode, "iptables");
    if (ipvs || iptables)
        nftables_cleanup(p->table, &why);
    if (!iptables && iptables_was_here(p->table, "iptables"))
        iptables_cleanup(&why);
    if (!ipvs && iptables_was_here(p->table, "ipvs")) {
        iptables_cleanup(&why);
        ipvs_cleanup(&why);
    }
    if (why.text[0])
        log_warn(LOG, "cannot remove what another mode left: %s", why.text);
}

static void set_kernel(const struct proxy_config *c, struct side *s)
{
    if (!strcmp(s->backend->ops->name, "iptables") && s->node.localhost_nodeports &&
        host_sysctl_write("net/ipv4/conf/all/route_localnet", 1) < 0)
        log_warn(LOG, "cannot set route_localnet: no NodePorts on loopback");
}

static void start_sides(struct proxy *p, size_t mode, const struct backend_settings *settings)
{
    static const char *const names[] = {"IPv4", "IPv6"};
    for (int i = 0; i < 2; i++) {
        struct side *s = &p->sides[i];
        s->on = i == 0 || host_has_ipv6();
        if (!s->on)
            continue;
        s->p = p;
        s->number = i;
        s->node.six = i == 1;
        s->backend = modes[mode].new(&s->node, settings);
        p->health.sides[i] = (struct health_side){.family = names[i], .updated = os_wall()};
        p->metrics.sides[i].family = names[i];
        p->metrics.sides[i].last_queued = os_wall();
        s->full = true;
    }
}

static void end(struct proxy *p)
{
    fiber_shield(true); /* open ports are closed with their connections */
    health_close(&p->health);
    fiber_shield(false);
    for (int i = 0; i < 2; i++) {
        struct side *s = &p->sides[i];
        if (s->backend)
            s->backend->ops->free(s->backend);
        map_done(&s->dirty);
        map_done(&s->no_local);
        map_done_with(&s->health_notes, free);
        udp_done(&s->udp);
        arena_done(&s->node_arena);
        arena_done(&s->address_arena);
    }
    service_index_done(&p->index);
}

static int run(struct proxy *p, struct err *e)
{
    int r = replica_wait_synced(p->replica, MONO_NEVER); /* rules from half a list would cut connections */
    if (r < 0)
        return r;
    look_at_node(p);
    for (int i = 0; i < 2; i++)
        if (p->sides[i].on) {
            look_at_addresses(&p->sides[i]);
            set_kernel(p->config, &p->sides[i]);
        }
    r = health_open(&p->health, p->config, e);
    return r < 0 ? r : serve(p);
}

static struct prefixes exclude_of(bool six, const char *const *texts, struct arena *a)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    for (; texts && *texts; texts++)
        buf_printf(&b, "%s,", *texts);
    return parse_prefixes(six, buf_str(&b), a);
}

int proxy_run(const struct proxy_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct replica_kind kinds[] = {
        {.res = &resources[RES_SERVICES]},
        {.res = &resources[RES_ENDPOINTSLICES]},
        {.res = &resources[RES_SERVICECIDRS]},
        {.res = &resources[RES_NODES], .field_selector = arena_printf(&a, "metadata.name=%s", c->node_name)},
    };
    struct proxy *p = NEW(struct proxy);
    struct backend_settings settings = {.scheduler = c->ipvs_scheduler,
                                        .strict_arp = c->ipvs_strict_arp,
                                        .tcp_timeout = c->ipvs_tcp_timeout,
                                        .tcp_fin_timeout = c->ipvs_tcp_fin_timeout,
                                        .udp_timeout = c->ipvs_udp_timeout};
    size_t mode = 0;
    settings.table = p->table = c->table ? c->table : DEFAULT_TABLE;
    p->config = c;
    settings.exclude[0] = exclude_of(false, c->ipvs_exclude, &a);
    settings.exclude[1] = exclude_of(true, c->ipvs_exclude, &a);
    int r = find_mode(c->mode, &mode, e);
    if (r == 0 && c->conntrack)
        r = host_conntrack(c->conntrack, e);
    if (r == 0 && !c->init_only) {
        p->metrics.mode = p->health.mode = modes[mode].name;
        p->health.metrics = &p->metrics;
        p->health.configz = c->configz;
        p->health.flags = c->flags;
        p->health.started = os_mono();
        p->health.timeout_ns = 2 * (c->sync_ns ? c->sync_ns : SECONDS(30));
        start_sides(p, mode, &settings);
        clean_other_modes(p, modes[mode].name, &settings);
        p->replica = replica_new(c->client, kinds, ARRAY_SIZE(kinds));
        replica_on_change(p->replica, follow, p);
        replica_start(p->replica);
        r = run(p, e);
        replica_free(p->replica);
    }
    end(p);
    free(p);
    return r;
}

int proxy_cleanup(const char *table, bool whole, struct err *e)
{
    const char *t = table ? table : DEFAULT_TABLE;
    int r = nftables_cleanup(t, e);
    bool ipvs = whole || iptables_was_here(t, "ipvs");
    if (whole || ipvs || iptables_was_here(t, "iptables")) {
        int r2 = iptables_cleanup(r < 0 ? NULL : e);
        r = r < 0 ? r : r2;
    }
    if (ipvs) {
        int r2 = ipvs_cleanup(r < 0 ? NULL : e);
        r = r < 0 ? r : r2;
    }
    return r;
}
