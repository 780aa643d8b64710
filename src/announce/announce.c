/* SPDX-License-Identifier: Apache-2.0 */
#include "announce/announce.h"

#include "announce/links.h"
#include "announce/members.h"
#include "base/log.h"
#include "base/os.h"
#include "client/replica.h"
#include "names.h"
#include "resources.h"
#include "type/meta.h"

#define LOG "announce"
#define LEASE_DEFAULT SECONDS(9)
#define TELL_EVERY MILLISECONDS(1100) /* MetalLB's: what was lost is said again */
#define LOOK_EVERY SECONDS(30)        /* at links, whatever the kernel tells */
#define LINK_CALM SECONDS(1)
#define CALM MILLISECONDS(50)

enum { TELL_TIMES = 6, ADDRESSES_MAX = 8, ASK_TIMES = 3, ASK_MORE = 2 /* for each node that goes before us */ };

/* An address that is ours. */
struct holding {
    struct ip ip;
    unsigned to_tell; /* so many times still */
    struct mono next;
};

/* An address of another node that may be gone, while nobody can tell us so. */
struct watch {
    struct ip ip;
    const struct object *service; /* a reference */
    unsigned patience, left;      /* questions that nobody answers, before we take it */
    struct mono next;
};

struct announcer {
    const struct announce_config *config;
    struct arena arena;
    int64_t lease_ns;
    struct replica *replica;
    struct service_index services;
    struct members members;
    struct links links;
    struct map held;      /* ip_map_key -> struct holding */
    struct map watched;   /* ip_map_key -> struct watch; while we are cut off */
    bool watching;
    struct event_recorder *events;
    struct waitq changed, renew_now;
    bool dirty, synced;
    struct mono claimed;  /* when the last renewal that went well began; 0: none */
    int watch;
};

/* ---- what links ask --------------------------------------------------------------------------------------- */

static struct holding *holding_of(const struct announcer *n, const struct ip *ip)
{
    char key[IP_KEY_MAX];
    return map_get(&n->held, ip_map_key(ip, key));
}

static struct watch *watch_of(const struct announcer *n, const struct ip *ip)
{
    char key[IP_KEY_MAX];
    return n->watched.n ? map_get(&n->watched, ip_map_key(ip, key)) : NULL;
}

static enum links_ip knows(void *ctx, const struct ip *ip)
{
    return holding_of(ctx, ip) ? IP_OURS : watch_of(ctx, ip) ? IP_WATCHED : IP_STRANGE;
}

/* Do the others know that we are here? They count from when they saw us, which was later. */
static bool is_known(const struct announcer *n)
{
    return n->claimed.ns && os_mono().ns < mono_add(n->claimed, n->lease_ns / 3 * 2).ns;
}

static void drop(struct announcer *n, const struct ip *ip, const char *why)
{
    char key[IP_KEY_MAX], text[IP_TEXT_MAX];
    struct holding *h = map_del(&n->held, ip_map_key(ip, key));
    log_info(LOG, "%s is no more announced here: %s", ip_format(ip, text), why);
    links_leave(&n->links, ip);
    free(h);
}

/* While the others know of us, it is a mistake, or one that is about to give it up: said again, soon, it is ours. If they
 * may think that we are gone, somebody took over. */
static void heard(void *ctx, const struct ip *ip)
{
    struct announcer *n = ctx;
    struct holding *h = holding_of(n, ip);
    struct watch *w = watch_of(n, ip);
    if (!h) {
        w->left = w->patience;
    } else if (!is_known(n)) {
        struct ip copy = *ip; /* it may be the holding's */
        drop(n, &copy, "another node has taken it over");
    } else if (!h->to_tell) {
        h->to_tell = 1;
        h->next = mono_add(os_mono(), TELL_EVERY);
        waitq_wake_all(&n->changed);
    }
}

static const struct links_ops ops = {knows, heard};

/* ---- deciding --------------------------------------------------------------------------------------------------- */

static struct member *able_members(const struct announcer *n, bool silent, struct arena *a, size_t *ret_n)
{
    size_t all, kept = 0;
    struct member *list = members_list(&n->members, silent, a, &all);
    for (size_t i = 0; i < all; i++) {
        const struct object *node = replica_get(n->replica, &resources[RES_NODES], STR_NULL, list[i].node);
        if (node && node_takes_part(node->val))
            list[kept++] = list[i];
    }
    *ret_n = kept;
    return list;
}

static void take(struct announcer *n, const struct ip *ip, const struct object *service)
{
    char key[IP_KEY_MAX], text[IP_TEXT_MAX];
    struct holding *h = NEW(struct holding);
    *h = (struct holding){.ip = *ip, .to_tell = TELL_TIMES};
    map_put(&n->held, ip_map_key(ip, key), h);
    links_join(&n->links, ip);
    log_info(LOG, "%s is announced here, for " STR_FMT "/" STR_FMT, ip_format(ip, text), STR_ARG(service->namespace_),
             STR_ARG(service->name));
    event_record(n->events, service->res, service->val, false, "nodeAssigned", "announcing %s from node \"%s\" with protocol \"layer2\"",
                 ip_format(ip, text), n->config->node_name);
}

/* Addresses that are ours go into the map, with the Service; of Services that share one, the first by name counts. */
static void find_ours(const struct announcer *n, struct arena *a, struct map *ours)
{
    size_t n_members;
    const struct member *members = able_members(n, false, a, &n_members);
    struct map decided = MAP_INIT; /* address -> the key of who decides about it */
    MAP_EACH (&n->services.entries, e) {
        struct ip ips[ADDRESSES_MAX];
        const struct service_entry *s = e->value;
        size_t k = s->service ? service_addresses(s->service, ips, ADDRESSES_MAX) : 0;
        for (size_t i = 0; i < k; i++) {
            char key[IP_KEY_MAX];
            struct str id = ip_map_key(&ips[i], key);
            const struct map_entry *other = map_get(&decided, id);
            if (other && str_cmp(other->key, e->key) < 0)
                continue;
            map_put(&decided, id, e);
            const struct member *m = choose_member(s, &ips[i], members, n_members);
            if (m && str_is(m->node, n->config->node_name))
                map_put(ours, id, (void *)(uintptr_t)s->service);
            else
                map_del(ours, id);
        }
    }
    map_done(&decided);
}

static struct ip key_ip(struct str key)
{
    struct ip ip = {.family = key.p[0] == '6' ? AF_INET6 : AF_INET};
    memcpy(ip.b, key.p + 1, 16);
    return ip;
}

static void decide(struct announcer *n)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct map ours = MAP_INIT;
    find_ours(n, &a, &ours);
    MAP_EACH (&n->held, e) {
        struct ip ip = key_ip(e->key);
        if (!map_has(&ours, e->key))
            drop(n, &ip, "it is another node's, or nothing is behind it");
    }
    MAP_EACH (&ours, e) {
        struct ip ip = key_ip(e->key);
        if (!map_has(&n->held, e->key))
            take(n, &ip, e->value);
    }
    map_done(&ours);
}

/* ---- cut off --------------------------------------------------------------------------------------------------------

 * Nobody hears of anybody when the API server is away, and its machine may have gone with addresses of its own. Then the link
 * itself is asked: what nobody answers for some time is taken by the node that comes next. Only for addresses of a network
 * that we are on: elsewhere silence says nothing. */

static void watch_free(void *v)
{
    struct watch *w = v;
    object_unref((struct object *)(uintptr_t)w->service);
    free(w);
}

static void stop_watching(struct announcer *n)
{
    map_done_with(&n->watched, watch_free);
    n->watching = false;
}

static void watch(struct announcer *n, const struct service_entry *s, const struct ip *ip, int rank)
{
    char key[IP_KEY_MAX];
    struct watch *w = NEW(struct watch), *was;
    *w = (struct watch){.ip = *ip, .service = object_ref(s->service), .patience = ASK_TIMES + ASK_MORE * (unsigned)rank};
    w->left = w->patience;
    if ((was = map_put(&n->watched, ip_map_key(ip, key), w)))
        watch_free(was);
}

static void start_watching(struct announcer *n)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    size_t n_members;
    const struct member *members = able_members(n, true, &a, &n_members);
    MAP_EACH (&n->services.entries, e) {
        struct ip ips[ADDRESSES_MAX];
        const struct service_entry *s = e->value;
        size_t k = s->service ? service_addresses(s->service, ips, ADDRESSES_MAX) : 0;
        for (size_t i = 0; i < k; i++) {
            int rank = holding_of(n, &ips[i]) ? -1 : member_rank(s, &ips[i], members, n_members, str_of(n->config->node_name));
            if (rank >= 0)
                watch(n, s, &ips[i], rank);
        }
    }
    n->watching = true;
}

/* When to go on. */
static struct mono ask_around(struct announcer *n, struct mono now)
{
    struct mono next = MONO_NEVER;
    if (!n->claimed.ns || now.ns < mono_add(n->claimed, 2 * n->lease_ns).ns) { /* by then the others have done what they can */
        if (n->watching)
            stop_watching(n);
        return n->claimed.ns && !is_known(n) ? mono_add(n->claimed, 2 * n->lease_ns) : next;
    }
    if (!n->watching)
        start_watching(n);
    MAP_EACH (&n->watched, e) {
        struct watch *w = e->value;
        if (w->next.ns <= now.ns && !w->left) {
            take(n, &w->ip, w->service);
            watch_free(map_del(&n->watched, e->key));
            continue;
        }
        if (w->next.ns <= now.ns) {
            links_ask(&n->links, &w->ip);
            w->left--;
            w->next = mono_add(now, n->lease_ns / 4);
        }
        next.ns = MIN(next.ns, w->next.ns);
    }
    return next;
}

/* ---- following ----------------------------------------------------------------------------------------------------- */

static void touch(struct announcer *n)
{
    n->dirty = true;
    waitq_wake_all(&n->changed);
}

static void note_service(void *arg, struct str ns, struct str name)
{
    struct announcer *n = arg;
    struct ip ips[1];
    const struct service_entry *s = service_index_get(&n->services, ns, name);
    if (s && s->service && service_addresses(s->service, ips, 1))
        touch(n);
}

static void changed(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct announcer *n = arg;
    struct ip ips[1];
    if (res->index == RES_LEASES) {
        if (members_change(&n->members, old, new_, os_mono()))
            touch(n);
    } else if (res->index == RES_NODES) {
        if (!old || !new_ || node_takes_part(old->val) != node_takes_part(new_->val))
            touch(n);
    } else {
        service_index_changed(&n->services, res, old, new_, note_service, n);
        if (res->index == RES_SERVICES && service_addresses(old, ips, 1))
            touch(n); /* it may have some no more */
    }
}

/* Cables of pods are ports of a bridge; they come and go all the time. */
static void look_at_change(void *arg, const struct nlmsghdr *h)
{
    struct rtnl_link link;
    struct rtnl_address at;
    bool *matters = arg;
    *matters |= !h || (rtnl_parse_link(h, &link) && !link.master) || rtnl_parse_address(h, &at);
}

static int wait_links(struct announcer *n)
{
    struct mono look = mono_add(os_mono(), LOOK_EVERY);
    bool matters = false;
    int r = 0;
    while (r == 0 && !matters)
        r = rtnl_wait(n->watch, look_at_change, &matters, look);
    return r < 0 && r != -ETIMEDOUT ? r : fiber_sleep(LINK_CALM);
}

/* What others do to the links. */
static void follow_links(void *arg)
{
    struct announcer *n = arg;
    for (bool again = false;; again = true) {
        struct err e = {0};
        bool changed_ = false;
        int r = links_refresh(&n->links, &changed_, &e);
        if (r < 0)
            log_warn(LOG, "%s", e.text);
        if (changed_ && again) {
            waitq_wake_all(&n->renew_now);
            MAP_EACH (&n->held, m) {
                struct holding *h = m->value;
                links_join(&n->links, &h->ip);
                h->to_tell = TELL_TIMES;
                h->next.ns = 0;
            }
            touch(n);
        }
        if (wait_links(n) < 0)
            return;
    }
}

/* ---- being there --------------------------------------------------------------------------------------------------- */

static int renew(struct announcer *n, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    const struct val *lease = NULL;
    struct str name = str_of(n->config->node_name);
    struct mono began = os_mono();
    struct call call = *CALL(.res = &resources[RES_LEASES], .ns = STR(ANNOUNCE_NAMESPACE), .name = name);
    status_init(&s, &a);
    int r = client_get(n->config->client, &call, &a, &lease, &s);
    if (r != 0 && r != 404)
        return err_set(e, -EIO, STR_FMT, STR_ARG(r > 0 ? s.message : str_of(strerror(-r))));
    const struct object *node = replica_get(n->replica, &resources[RES_NODES], STR_NULL, name);
    const struct val *v = member_lease(&a, r == 404 ? NULL : lease, node ? node->val : NULL, name, &n->links.networks, n->lease_ns, os_wall());
    status_init(&s, &a);
    if (r == 404) {
        call.name = STR_NULL;
        r = client_create(n->config->client, &call, v, &a, NULL, &s);
    } else {
        r = client_update(n->config->client, &call, v, &a, NULL, &s);
    }
    if (r != 0)
        return r < 0 ? r : err_set(e, -EIO, STR_FMT, STR_ARG(s.message));
    n->claimed = began;
    return 0;
}

static void keep_lease(void *arg)
{
    struct announcer *n = arg;
    for (bool told = false; !fiber_cancelled();) {
        struct err e = {0};
        int r = renew(n, &e);
        if (r == -ECANCELED)
            return;
        if (r < 0 && !told)
            log_warn(LOG, "the other nodes cannot be told that this one is there: %s", err_text(&e, r));
        told = r < 0;
        waitq_wait(&n->renew_now, mono_add(os_mono(), r < 0 ? n->lease_ns / 9 : n->lease_ns / 3));
    }
}

/* ---- the loop -------------------------------------------------------------------------------------------------------- */

static struct mono tell_due(struct announcer *n, struct mono now)
{
    struct mono next = MONO_NEVER;
    MAP_EACH (&n->held, e) {
        struct holding *h = e->value;
        if (h->to_tell && h->next.ns <= now.ns) {
            links_tell(&n->links, &h->ip);
            h->to_tell--;
            h->next = mono_add(now, TELL_EVERY);
        }
        if (h->to_tell)
            next.ns = MIN(next.ns, h->next.ns);
    }
    return next;
}

static int serve(struct announcer *n)
{
    int r = 0;
    n->dirty = true;
    while (r >= 0 || r == -ETIMEDOUT) {
        struct mono expiry, next;
        n->dirty |= members_expire(&n->members, os_mono(), &expiry);
        /* Cut off from the others we keep what we have and take nothing; if they take it over, we hear of that. */
        if (n->dirty && is_known(n) && members_self_present(&n->members)) {
            n->dirty = false;
            decide(n);
        }
        next = ask_around(n, os_mono());
        next.ns = MIN(next.ns, tell_due(n, os_mono()).ns);
        next.ns = MIN(next.ns, expiry.ns);
        if (n->dirty)
            next.ns = MIN(next.ns, mono_add(os_mono(), SECONDS(1)).ns);
        r = waitq_wait(&n->changed, next);
        if (r == 0)
            r = fiber_sleep(CALM); /* what comes together is done together */
    }
    return r;
}

static int follow(struct announcer *n, struct err *e)
{
    const struct replica_kind kinds[] = {{.res = &resources[RES_SERVICES]},
                                         {.res = &resources[RES_ENDPOINTSLICES]},
                                         {.res = &resources[RES_NODES]},
                                         {.res = &resources[RES_LEASES], .ns = STR(ANNOUNCE_NAMESPACE)}};
    struct group g = {0};
    bool any;
    n->replica = replica_new(n->config->client, kinds, ARRAY_SIZE(kinds));
    replica_on_change(n->replica, changed, n);
    replica_start(n->replica);
    int r = replica_wait_synced(n->replica, MONO_NEVER); /* half a picture would take what others have */
    if (r == 0)
        r = links_refresh(&n->links, &any, e);
    if (r == 0) {
        group_spawn(&g, "announce-links", follow_links, n);
        group_spawn(&g, "announce-lease", keep_lease, n);
        r = serve(n);
    }
    group_stop(&g);
    replica_free(n->replica);
    return r;
}

int announce_run(const struct announce_config *c, struct err *e)
{
    struct announcer n = {.config = c, .lease_ns = c->lease_ns > 0 ? c->lease_ns : LEASE_DEFAULT, .watch = -1};
    n.members.self = str_of(c->node_name);
    links_init(&n.links);
    n.links.ops = &ops;
    n.links.ctx = &n;
    n.links.only = c->links;
    int r = prefixes_parse(&n.arena, c->pod_cidr, &n.links.pods, e);
    if (r == 0)
        r = rtnl_watch(false, &n.watch, e);
    if (r == 0) {
        n.events = event_recorder_new(c->client, "cube-announce", c->node_name);
        r = follow(&n, e);
        event_recorder_free(n.events);
    }
    if (n.watch >= 0)
        rtnl_unwatch(n.watch);
    links_done(&n.links);
    map_done_with(&n.held, free);
    stop_watching(&n);
    members_done(&n.members);
    service_index_done(&n.services);
    arena_done(&n.arena);
    return r;
}
