/* SPDX-License-Identifier: Apache-2.0 */
#include "proxy/proxy.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "names.h"
#include "netlink/nft.h"
#include "proxy/sync.h"
#include "resources.h"
#include "type/meta.h"

#define DEFAULT_TABLE "cube-proxy"

struct proxy {
    const struct proxy_config *config;
    const char *table;
    struct rules_node node;
    struct service_index index;
    struct sync sync;
    struct map dirty; /* "ns/name" of Services to look at; the value is not used */
    struct waitq changed;
};

static void touch(void *arg, struct str ns, struct str name)
{
    struct proxy *p = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    map_put(&p->dirty, obj_key(&a, ns, name), p);
    waitq_wake_all(&p->changed);
}

static void follow(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct proxy *p = arg;
    service_index_changed(&p->index, res, old, new_, touch, p);
}

static void touch_everything(struct proxy *p)
{
    MAP_EACH(&p->index.entries, e)
    {
        map_put(&p->dirty, e->key, p);
    }
}

/* The transaction that the dirty Services need; nothing is dirty afterwards. */
static size_t write_changes(struct proxy *p, struct buf *b)
{
    struct sync_text t = {0};
    MAP_EACH(&p->dirty, e)
    {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct items want = {.arena = &a};
        struct str ns, name;
        str_cut(e->key, '/', &ns, &name);
        rules_of_service(&p->node, service_index_get(&p->index, ns, name), &want);
        sync_service(&p->sync, p->node.six ? "ip6" : "ip", p->table, e->key, &want, &t);
    }
    map_done(&p->dirty);
    sync_text_join(&t, b);
    size_t changes = t.changes;
    sync_text_done(&t);
    return changes;
}

/* Everything anew in one transaction: at the start, and when the kernel did not take a change. */
static int write_all(struct proxy *p, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    sync_done(&p->sync);
    touch_everything(p);
    rules_base(&p->node, p->table, &b);
    write_changes(p, &b);
    return nft_apply(buf_str(&b), e);
}

static int write_dirty(struct proxy *p, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t changes = write_changes(p, &b);
    int r = changes ? nft_apply(buf_str(&b), e) : 0;
    if (r >= 0)
        return r;
    log_warn("proxy", "a change was not taken, writing everything anew: %s", err_text(e, r));
    return write_all(p, e);
}

static int serve(struct proxy *p, struct err *e)
{
    int64_t pause = p->config->min_sync_ns ? p->config->min_sync_ns : MILLISECONDS(100);
    int r = write_all(p, e);
    if (r < 0)
        return r;
    for (int failures = 0;;) {
        while (!p->dirty.n && !failures)
            if ((r = waitq_wait(&p->changed, MONO_NEVER)) < 0)
                return r;
        struct err why = {0};
        r = failures ? write_all(p, &why) : write_dirty(p, &why);
        failures = r < 0 ? failures + 1 : 0;
        if (r < 0)
            log_error("proxy", "%s", err_text(&why, r));
        /* Changes that come meanwhile are taken together. */
        r = fiber_sleep(failures ? SECONDS(1 << MIN(failures, 5)) : pause);
        if (r < 0)
            return r;
    }
}

/* The node's zone, for topology hints; a node that is not there yet has none. */
static const char *find_zone(struct arena *a, const struct proxy_config *c)
{
    const struct val *node = NULL;
    struct status s;
    status_init(&s, a);
    if (client_get(c->client, CALL(.res = &resources[RES_NODES], .name = str_of(c->node_name)), a, &node, &s))
        return "";
    return arena_cstr(a, obj_label(node, STR("topology.kubernetes.io/zone")));
}

int proxy_run(const struct proxy_config *c, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct replica_kind kinds[] = {{.res = &resources[RES_SERVICES]}, {.res = &resources[RES_ENDPOINTSLICES]}};
    struct proxy p = {.config = c, .table = c->table ? c->table : DEFAULT_TABLE};
    p.node = (struct rules_node){c->node_name, find_zone(&a, c), c->cluster_cidr, false, c->skip_ips};
    struct replica *replica = replica_new(c->client, kinds, ARRAY_SIZE(kinds));
    replica_on_change(replica, follow, &p);
    replica_start(replica);
    int r = replica_wait_synced(replica, MONO_NEVER); /* rules from half a list would cut connections */
    if (r == 0)
        r = serve(&p, e);
    replica_free(replica);
    sync_done(&p.sync);
    map_done(&p.dirty);
    service_index_done(&p.index);
    return r;
}

int proxy_cleanup(const char *table, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    static const char *const families[] = {"ip", "ip6"};
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) /* adding first: deleting what is not there is an error */
        buf_printf(&b, "add table %s %s\ndelete table %s %s\n", families[i], table ? table : DEFAULT_TABLE, families[i],
                   table ? table : DEFAULT_TABLE);
    return nft_apply(buf_str(&b), e);
}
