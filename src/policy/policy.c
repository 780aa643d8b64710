/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/policy.h"

#include "base/fiber.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "netlink/nft.h"
#include "netlink/nft_watch.h"
#include "policy/plan.h"
#include "resources.h"

#include <fcntl.h>

#define LOG "policy"
#define DEFAULT_TABLE "cube-policy"

enum { CALM_MS = 10, GATE_S = 2, OWN_WRITES = 16, PUT_BACK_CALM_MS = 200 };

struct policy_gate {
    struct policies *policies; /* NULL: it does not run */
};

/* The generations around one write of our own; one event of ours falls between. */
struct own_write {
    uint32_t before, after;
    bool seen;
};

struct policies {
    const struct policy_config *config;
    const char *table;
    struct plan *plan;
    struct replica *policies, *world; /* world: pods, namespaces, the node; NULL while there are no policies */
    struct waitq changed, written;
    uint64_t asked, done; /* changes so far, and those of them that the kernel has */
    bool enforcing;
    struct nft_watch watch;
    struct own_write own[OWN_WRITES];
    unsigned n_own;
    bool writing;
};

/* ---- following ---------------------------------------------------------------------------------------- */

static void note_change(struct policies *p)
{
    p->asked++;
    waitq_wake_all(&p->changed);
}

static void follow(void *arg, const struct resource *res UNUSED, const struct object *old, const struct object *new_)
{
    struct policies *p = arg;
    struct err e = {0};
    if (plan_change(p->plan, old, new_, &e) < 0)
        log_warn(LOG, "%s", e.text);
    note_change(p);
}

/* ---- the kernel --------------------------------------------------------------------------------------- */

/* Traffic between two pods of this node is bridged. That it passes the rules at all is a setting of the kernel's. */
static void pass_bridged(void)
{
    static const char *const files[] = {"/proc/sys/net/bridge/bridge-nf-call-iptables",
                                        "/proc/sys/net/bridge/bridge-nf-call-ip6tables"};
    static bool told;
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        int fd = os_open(files[i], O_RDWR, 0);
        if (fd == -ENOENT && i == 0) {
            struct arena a CLEANUP_ARENA = ARENA_INIT;
            os_run(&a, (const char *const[]){"modprobe", "br_netfilter", NULL}, NULL, NULL, mono_add(os_mono(), SECONDS(10)));
            fd = os_open(files[i], O_RDWR, 0);
        }
        if (fd >= 0)
            os_pwrite(fd, "1", 1, 0);
        else if (!told)
            log_error(LOG, "%s: %s; network policies do not hold between two pods of this node's bridge", files[i], strerror(-fd));
        told = told || fd < 0;
        os_close(fd);
    }
}

static int apply(struct policies *p, struct str text, struct err *e)
{
    struct own_write *w = &p->own[p->n_own++ % OWN_WRITES];
    *w = (struct own_write){0};
    int r = nft_generation(&w->before, e);
    p->writing = true;
    if (r == 0)
        r = nft_apply(text, e);
    if (r == 0)
        r = nft_generation(&w->after, e);
    p->writing = false;
    return r;
}

static int write_plan(struct policies *p, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    uint64_t upto = p->asked;
    plan_text(p->plan, p->table, &b);
    int r = b.n ? apply(p, buf_str(&b), e) : 0;
    if (r < 0) {
        plan_forget(p->plan);
        return r;
    }
    p->done = upto;
    waitq_wake_all(&p->written);
    return 0;
}

static bool is_own(struct policies *p, uint32_t generation)
{
    for (size_t i = 0; i < OWN_WRITES; i++) {
        struct own_write *w = &p->own[i];
        if (!w->seen && generation && (int32_t)(generation - w->before) > 0 && (int32_t)(w->after - generation) >= 0) {
            w->seen = true;
            return true;
        }
    }
    return false;
}

/* What a foreign hand has changed in our table is put back, whatever it was. */
static void watch_table(void *arg)
{
    struct policies *p = arg;
    uint32_t generation;
    int r;
    while ((r = nft_watch_next(&p->watch, p->table, MONO_NEVER, &generation)) >= 0) {
        while (p->writing)
            if (waitq_wait(&p->written, mono_add(os_mono(), MILLISECONDS(CALM_MS))) == -ECANCELED)
                return;
        if ((r != NFT_WATCH_LOST && is_own(p, generation)) || !p->enforcing)
            continue;
        log_warn(LOG, "somebody else has changed the table %s: it is written anew", p->table);
        plan_forget(p->plan);
        note_change(p);
        if (fiber_sleep(MILLISECONDS(PUT_BACK_CALM_MS)) < 0) /* two who fight over it do it slowly */
            return;
    }
}

/* ---- the work ----------------------------------------------------------------------------------------- */

static int wait_change(struct policies *p, unsigned failures)
{
    if (failures)
        return fiber_sleep(SECONDS(1 << MIN(failures, 5u)));
    while (p->asked == p->done) {
        int r = waitq_wait(&p->changed, MONO_NEVER);
        if (r < 0)
            return r;
    }
    return 0;
}

static int keep_writing(struct policies *p)
{
    int r = 0;
    for (unsigned failures = 0; r == 0 && plan_policies(p->plan);) {
        struct err e = {0};
        if (write_plan(p, &e) < 0) {
            log_error(LOG, "%s", e.text);
            failures++;
        } else {
            failures = 0;
        }
        r = wait_change(p, failures);
    }
    return r;
}

static int enforce(struct policies *p, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str own = arena_printf(&a, "metadata.name=%s", p->config->node_name);
    const struct replica_kind kinds[] = {
        {.res = &resources[RES_PODS]}, {.res = &resources[RES_NAMESPACES]}, {.res = &resources[RES_NODES], .field_selector = own}};
    struct group g = {0};
    int r = nft_watch_open(&p->watch, e);
    if (r < 0)
        return r;
    pass_bridged();
    p->world = replica_new(p->config->client, kinds, ARRAY_SIZE(kinds));
    replica_on_change(p->world, follow, p);
    replica_start(p->world);
    group_spawn(&g, "policy-watch", watch_table, p);
    r = replica_wait_synced(p->world, MONO_NEVER); /* half a list would cut off who is permitted */
    plan_forget(p->plan);
    p->enforcing = true;
    if (r == 0)
        r = keep_writing(p);
    p->enforcing = false;
    group_stop(&g);
    nft_watch_close(&p->watch);
    replica_free(TAKE_PTR(p->world));
    return r;
}

/* A plan of nothing but the policies that there are. */
static void start_over(struct policies *p)
{
    plan_free(p->plan);
    p->plan = plan_new(p->config->node_name);
    p->asked = p->done = 0;
    TREE_EACH(replica_tree(p->policies, &resources[RES_NETWORKPOLICIES]), STR_NULL, it)
    {
        plan_change(p->plan, NULL, it.object, NULL);
    }
    waitq_wake_all(&p->written);
}

static int serve(struct policies *p, struct err *e)
{
    int r = replica_wait_synced(p->policies, MONO_NEVER);
    while (r == 0) {
        if (plan_policies(p->plan)) {
            r = enforce(p, e);
            start_over(p);
            continue;
        }
        if ((r = policy_cleanup(p->table, e)) == 0 && !plan_policies(p->plan))
            r = waitq_wait(&p->changed, MONO_NEVER);
    }
    return r;
}

int policy_run(const struct policy_config *c, struct err *e)
{
    const struct replica_kind kinds[] = {{.res = &resources[RES_NETWORKPOLICIES]}};
    struct policies p = {.config = c, .table = c->table ? c->table : DEFAULT_TABLE};
    p.plan = plan_new(c->node_name);
    p.policies = replica_new(c->client, kinds, ARRAY_SIZE(kinds));
    replica_on_change(p.policies, follow, &p);
    replica_start(p.policies);
    if (c->gate)
        c->gate->policies = &p;
    int r = serve(&p, e);
    if (c->gate)
        c->gate->policies = NULL;
    waitq_wake_all(&p.written);
    replica_free(p.policies);
    plan_free(p.plan);
    return r;
}

int policy_cleanup(const char *table, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    plan_remove_text(table ? table : DEFAULT_TABLE, &b);
    return nft_apply(buf_str(&b), e);
}

/* ---- the kubelet's side ------------------------------------------------------------------------------- */

struct policy_gate *policy_gate_new(void)
{
    return NEW(struct policy_gate);
}

void policy_gate_free(struct policy_gate *g)
{
    free(g);
}

void policy_placed(struct policy_gate *g, struct str ns, struct str name, struct str uid, struct str addresses)
{
    struct mono deadline = mono_add(os_mono(), SECONDS(GATE_S));
    bool placed = false;
    uint64_t mine = 0;
    int r = 0;
    while (r == 0 && g && g->policies && g->policies->world && plan_policies(g->policies->plan)) {
        struct policies *p = g->policies;
        if (!placed && plan_placed(p->plan, ns, name, uid, addresses) == 0) {
            note_change(p);
            placed = true;
            mine = p->asked;
        }
        if (placed && p->done >= mine)
            return;
        /* Not placed: our copy of the pods is behind the kubelet's. */
        r = waitq_wait(placed ? &p->written : &p->changed, deadline);
    }
}
