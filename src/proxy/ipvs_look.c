/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel has of IPVS mode beside what it should have; and the end of it all. */
#include "proxy/ipvs-internal.h"

#include "base/fiber.h"
#include "proxy/program.h"

#include <linux/ip_vs.h>
#include <netinet/in.h>
#include <stdio.h>

/* ---- names ---------------------------------------------------------------------------------------------- */

const struct ipvs_set ipvs_sets[SETS] = {
    [S_LOOP] = {"LOOP-BACK", "hash:ip,port,ip"},           [S_CLUSTER] = {"CLUSTER-IP", "hash:ip,port"},
    [S_EXTERNAL] = {"EXTERNAL-IP", "hash:ip,port"},        [S_EXTERNAL_LOCAL] = {"EXTERNAL-IP-LOCAL", "hash:ip,port"},
    [S_LB] = {"LOAD-BALANCER", "hash:ip,port"},            [S_LB_LOCAL] = {"LOAD-BALANCER-LOCAL", "hash:ip,port"},
    [S_LB_FW] = {"LOAD-BALANCER-FW", "hash:ip,port"},      [S_LB_SOURCE_IP] = {"LOAD-BALANCER-SOURCE-IP", "hash:ip,port,ip"},
    [S_LB_SOURCE_CIDR] = {"LOAD-BALANCER-SOURCE-CIDR", "hash:ip,port,net"},
    [S_TCP] = {"NODE-PORT-TCP", "bitmap:port"},            [S_TCP_LOCAL] = {"NODE-PORT-LOCAL-TCP", "bitmap:port"},
    [S_UDP] = {"NODE-PORT-UDP", "bitmap:port"},            [S_UDP_LOCAL] = {"NODE-PORT-LOCAL-UDP", "bitmap:port"},
    [S_SCTP] = {"NODE-PORT-SCTP-HASH", "hash:ip,port"},    [S_SCTP_LOCAL] = {"NODE-PORT-LOCAL-SCTP-HASH", "hash:ip,port"},
    [S_HEALTH] = {"HEALTH-CHECK-NODE-PORT", "bitmap:port"}, [S_IPS] = {"IPVS-IPS", "hash:ip"},
};

const char *ipvs_set_name(bool six, enum set s, char ret[static 32])
{
    snprintf(ret, 32, "KUBE-%s%s", six ? "6-" : "", ipvs_sets[s].name);
    return ret;
}

/* ---- what is wanted ------------------------------------------------------------------------------------- */

bool ipvs_has_dest(const struct ipvs_dest *list, size_t n, const struct ipvs_dest *d, uint32_t *ret_weight)
{
    for (size_t i = 0; i < n; i++)
        if (ip_equal(&list[i].ip, &d->ip) && list[i].port == d->port) {
            *ret_weight = list[i].weight;
            return true;
        }
    return false;
}

struct str ipvs_leaving_key(struct arena *a, const struct ipvs_server *s, const struct ipvs_dest *d)
{
    char one[IP_TEXT_MAX], two[IP_TEXT_MAX];
    return arena_printf(a, "%s:%u/%u %s:%u", ip_format(&s->ip, one), s->port, s->l4, ip_format(&d->ip, two), d->port);
}

static bool is_excluded(const struct ipvs_side *t, const struct ip *ip)
{
    const struct prefixes *p = &t->settings->exclude[t->base.node->six];
    for (size_t i = 0; i < p->n; i++)
        if (prefix_has(&p->list[i], ip))
            return true;
    return false;
}

struct ipvs_server_key ipvs_key_of(const struct ipvs_server *s)
{
    struct ipvs_server_key k = {{s->ip.family, s->l4, (uint8_t)(s->port >> 8), (uint8_t)s->port}};
    memcpy(k.b + 4, s->ip.b, 16);
    return k;
}

const struct vserver *ipvs_wanted(const struct map *all, const struct ipvs_server *s)
{
    struct ipvs_server_key k = ipvs_key_of(s);
    return map_get(all, str_n((const char *)k.b, sizeof(k)));
}

struct map ipvs_all_wanted(const struct ipvs_side *t)
{
    struct map all = MAP_INIT;
    MAP_EACH(&t->services, s)
    {
        struct kept *k = s->value;
        for (size_t i = 0; i < k->n_servers; i++) {
            struct ipvs_server_key key = ipvs_key_of(&k->servers[i].server);
            map_put(&all, str_n((const char *)key.b, sizeof(key)), &k->servers[i]);
        }
    }
    return all;
}

bool ipvs_is_as_wanted(const struct ipvs_server *is, const struct ipvs_server *want)
{
    enum { FLAGS = IP_VS_SVC_F_PERSISTENT | IP_VS_SVC_F_SCHED1 | IP_VS_SVC_F_SCHED2 | IP_VS_SVC_F_SCHED3 };
    return !strcmp(is->scheduler, want->scheduler) && (is->flags & FLAGS) == want->flags && is->timeout == want->timeout;
}

bool ipvs_is_minded(const struct ipvs_side *t, const struct ipvs_server *s)
{
    return (s->ip.family == AF_INET6) == t->base.node->six && !is_excluded(t, &s->ip);
}

/* ---- is everything there? ------------------------------------------------------------------------------- */

static bool dests_are_there(const struct ipvs_side *t, const struct vserver *want, const struct ipvs_dest *dests, size_t n)
{
    size_t good = 0;
    uint32_t weight;
    for (size_t i = 0; i < n; i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        if (ipvs_has_dest(want->dests, want->n, &dests[i], &weight) && dests[i].weight == weight)
            good++;
        else if (!map_has(&t->leaving, ipvs_leaving_key(&a, &want->server, &dests[i])))
            return false;
    }
    return good == want->n;
}

/* 0 when the kernel has the servers that it should have, 1 when not, -errno. */
static int look_at_servers(const struct ipvs_side *t, struct ipvs *v, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct ipvs_server *have;
    size_t n, n_dests, good = 0;
    struct map all = ipvs_all_wanted(t);
    int r = ipvs_servers(v, &a, &have, &n, e);
    for (size_t i = 0; i < n && r == 0; i++) {
        struct ipvs_dest *dests;
        if (!ipvs_is_minded(t, &have[i]))
            continue;
        const struct vserver *want = ipvs_wanted(&all, &have[i]);
        r = !want || !ipvs_is_as_wanted(&have[i], &want->server);
        r = r ? r : ipvs_dests(v, &have[i], &a, &dests, &n_dests, e);
        r = r ? r : !dests_are_there(t, want, dests, n_dests);
        good++;
    }
    r = r ? r : good != all.n;
    map_done(&all);
    return r;
}

static int look_at_addresses(const struct ipvs_side *t, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct rtnl_addresses have = {0};
    struct rtnl_link l;
    struct rtnl n;
    char text[IP_TEXT_MAX];
    size_t good = 0;
    int r = rtnl_open(&n, -1);
    if (r < 0)
        return err_set(e, r, "%s: %s", IPVS_DEVICE, strerror(-r));
    r = rtnl_link_read(&n, IPVS_DEVICE, &l);
    r = r == -ENODEV ? 1 : r < 0 ? r : rtnl_addresses_read(&n, &a, l.index, &have);
    rtnl_close(&n);
    for (size_t i = 0; i < have.n; i++)
        good += map_has(&t->addresses, str_of(ip_format(&have.list[i].at.ip, text)));
    return r ? r : good != t->addresses.n;
}

struct look {
    const struct ipvs_side *t;
    struct err *e;
    int r;
};

static void run_look(void *arg)
{
    struct look *w = arg;
    struct ipvs v;
    w->r = ipvs_open(&v, w->e);
    if (w->r < 0)
        return;
    w->r = look_at_servers(w->t, &v, w->e);
    ipvs_close(&v);
    w->r = w->r ? w->r : look_at_addresses(w->t, w->e);
}

/* "Name: KUBE-CLUSTER-IP" ... "Number of entries: 3" of each set. */
static int look_at_sets(const struct ipvs_side *t, struct err *e)
{
    static const struct str name_is = {"Name: ", 6}, number_is = {"Number of entries: ", 19};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const char *argv[] = {"ipset", "list", "-t", NULL};
    struct map numbers = MAP_INIT;
    struct str said, line, name = STR_NULL;
    char text[32];
    int64_t n;
    int r = program_run(&a, argv, STR_NULL, &said, e);
    while (r == 0 && str_next(&said, '\n', &line)) {
        if (str_starts(line, name_is))
            name = str_trim(str_from(line, name_is.n));
        else if (str_starts(line, number_is) && str_to_i64(str_trim(str_from(line, number_is.n)), &n) == 0)
            map_put(&numbers, name, (void *)((uintptr_t)n + 1));
    }
    for (int s = 0; r == 0 && s < SETS; s++) {
        uintptr_t want = 1;
        struct str head = str_of(ipvs_set_name(t->base.node->six, (enum set)s, text));
        MAP_EACH(&t->entries, entry)
        {
            want += str_starts(entry->key, head) && entry->key.p[head.n] == ' ';
        }
        r = (uintptr_t)map_get(&numbers, head) != want;
    }
    map_done(&numbers);
    return r;
}

int ipvs_look(struct ipvs_side *t, struct err *e)
{
    struct look w = {t, e, 0};
    int r = look_at_sets(t, e);
    if (r)
        return r;
    fiber_offload(run_look, &w);
    return w.r;
}

/* ---- the end -------------------------------------------------------------------------------------------- */

struct removal {
    struct str sets; /* as `ipset save` has them */
    struct err *e;
    int r;
};

/* On an address of our device, or on a port that stands in our sets of NodePorts. */
static bool is_made_by_us(const struct removal *w, const struct rtnl_addresses *on, const struct ipvs_server *s)
{
    static const struct {
        uint8_t l4;
        const char *set, *proto;
    } nodeports[] = {{IPPROTO_TCP, "NODE-PORT-TCP", ""}, {IPPROTO_UDP, "NODE-PORT-UDP", ""}, {IPPROTO_SCTP, "NODE-PORT-SCTP-HASH", ",sctp:"}};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char text[IP_TEXT_MAX];
    for (size_t i = 0; i < on->n; i++)
        if (ip_equal(&on->list[i].at.ip, &s->ip))
            return true;
    for (size_t i = 0; i < ARRAY_SIZE(nodeports); i++)
        if (s->l4 == nodeports[i].l4 &&
            str_contains(w->sets, arena_printf(&a, "add KUBE-%s%s %s%s%u\n", s->ip.family == AF_INET6 ? "6-" : "", nodeports[i].set,
                                               nodeports[i].proto[0] ? ip_format(&s->ip, text) : "", nodeports[i].proto, s->port)))
            return true;
    return false;
}

static void run_cleanup(void *arg)
{
    struct removal *w = arg;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct rtnl_batch b CLEANUP_BATCH = {0};
    struct rtnl_link l;
    struct rtnl_addresses on = {0};
    struct ipvs_server *have = NULL;
    struct ipvs v;
    struct rtnl n;
    size_t n_have = 0;
    if (rtnl_open(&n, -1) < 0)
        return;
    if (rtnl_link_read(&n, IPVS_DEVICE, &l) == 0 && rtnl_addresses_read(&n, &a, l.index, &on) == 0) {
        if (ipvs_open(&v, NULL) == 0) {
            ipvs_servers(&v, &a, &have, &n_have, NULL);
            for (size_t i = 0; i < n_have; i++) {
                const struct ipvs_op gone = {.what = IPVS_DELETE_SERVER, .server = have[i]};
                int r = is_made_by_us(w, &on, &have[i]) ? ipvs_do(&v, &gone, w->r ? NULL : w->e) : 0;
                w->r = w->r ? w->r : r;
            }
            ipvs_close(&v);
        }
        rtnl_delete_link(&b, l.index);
        rtnl_run(&n, &b, NULL);
    }
    rtnl_close(&n);
}

int ipvs_cleanup(struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct removal w = {.e = e};
    const char *save[] = {"ipset", "save", NULL};
    char name[32];
    bool sets_there = program_run(&a, save, STR_NULL, &w.sets, NULL) == 0; /* no such program: no sets of ours */
    fiber_offload(run_cleanup, &w);
    for (int i = 0; sets_there && i < 2 * SETS; i++) {
        const char *argv[] = {"ipset", "destroy", ipvs_set_name(i >= SETS, (enum set)(i % SETS), name), NULL};
        program_run(&a, argv, STR_NULL, NULL, NULL);
    }
    return w.r;
}
