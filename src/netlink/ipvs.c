/* SPDX-License-Identifier: Apache-2.0 */
#include "netlink/ipvs.h"

#include "netlink/message.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <stdio.h>

enum { MESSAGE = 4096, ANSWER = 65536 };

/* ---- messages ------------------------------------------------------------------------------------------- */

static struct nlmsghdr *begin(char *msg, uint16_t type, uint8_t command, uint8_t version, uint16_t flags)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(msg);
    h->nlmsg_type = type;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
    struct genlmsghdr *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
    g->cmd = command;
    g->version = version;
    return h;
}

static void put_server(struct nlmsghdr *h, const struct ipvs_server *s, bool whole)
{
    struct ip_vs_flags flags = {s->flags, ~0u};
    struct nlattr *in = mnl_attr_nest_start(h, IPVS_CMD_ATTR_SERVICE);
    mnl_attr_put_u16(h, IPVS_SVC_ATTR_AF, s->ip.family);
    mnl_attr_put_u16(h, IPVS_SVC_ATTR_PROTOCOL, s->l4);
    mnl_attr_put(h, IPVS_SVC_ATTR_ADDR, 16, s->ip.b);
    mnl_attr_put_u16(h, IPVS_SVC_ATTR_PORT, htons(s->port));
    if (whole) {
        mnl_attr_put_strz(h, IPVS_SVC_ATTR_SCHED_NAME, s->scheduler);
        mnl_attr_put(h, IPVS_SVC_ATTR_FLAGS, sizeof(flags), &flags);
        mnl_attr_put_u32(h, IPVS_SVC_ATTR_TIMEOUT, s->timeout);
        mnl_attr_put_u32(h, IPVS_SVC_ATTR_NETMASK, s->ip.family == AF_INET ? UINT32_MAX : 128);
    }
    mnl_attr_nest_end(h, in);
}

static void put_dest(struct nlmsghdr *h, const struct ipvs_dest *d, bool whole)
{
    struct nlattr *in = mnl_attr_nest_start(h, IPVS_CMD_ATTR_DEST);
    mnl_attr_put(h, IPVS_DEST_ATTR_ADDR, 16, d->ip.b);
    mnl_attr_put_u16(h, IPVS_DEST_ATTR_ADDR_FAMILY, d->ip.family);
    mnl_attr_put_u16(h, IPVS_DEST_ATTR_PORT, htons(d->port));
    if (whole) {
        mnl_attr_put_u32(h, IPVS_DEST_ATTR_FWD_METHOD, IP_VS_CONN_F_MASQ);
        mnl_attr_put_u32(h, IPVS_DEST_ATTR_WEIGHT, d->weight);
        mnl_attr_put_u32(h, IPVS_DEST_ATTR_U_THRESH, 0);
        mnl_attr_put_u32(h, IPVS_DEST_ATTR_L_THRESH, 0);
    }
    mnl_attr_nest_end(h, in);
}

static const struct {
    uint8_t command;
    bool server_whole, dest, dest_whole;
    int fine; /* an error that says that there is nothing to do */
} shapes[] = {
    [IPVS_ADD_SERVER] = {IPVS_CMD_NEW_SERVICE, true, false, false, EEXIST},
    [IPVS_CHANGE_SERVER] = {IPVS_CMD_SET_SERVICE, true, false, false, 0},
    [IPVS_DELETE_SERVER] = {IPVS_CMD_DEL_SERVICE, false, false, false, ESRCH},
    [IPVS_ADD_DEST] = {IPVS_CMD_NEW_DEST, false, true, true, EEXIST},
    [IPVS_CHANGE_DEST] = {IPVS_CMD_SET_DEST, false, true, true, 0},
    [IPVS_DELETE_DEST] = {IPVS_CMD_DEL_DEST, false, true, false, ENOENT},
};

size_t ipvs_write(char *msg, uint16_t family, const struct ipvs_op *op)
{
    struct nlmsghdr *h = begin(msg, family, shapes[op->what].command, IPVS_GENL_VERSION, NLM_F_ACK);
    put_server(h, &op->server, shapes[op->what].server_whole);
    if (shapes[op->what].dest)
        put_dest(h, &op->dest, shapes[op->what].dest_whole);
    return h->nlmsg_len;
}

/* The attribute of that type in a nest of the message, at least that long. */
static const struct nlattr *find_in(const struct nlmsghdr *h, uint16_t nest, uint16_t type, size_t least)
{
    const struct nlattr *a, *in;
    if (h->nlmsg_len < sizeof(*h) + sizeof(struct genlmsghdr))
        return NULL;
    mnl_attr_for_each(a, h, sizeof(struct genlmsghdr))
    {
        if (mnl_attr_get_type(a) != nest)
            continue;
        mnl_attr_for_each_nested(in, a)
        {
            if (mnl_attr_get_type(in) == type)
                return mnl_attr_get_payload_len(in) >= least ? in : NULL;
        }
    }
    return NULL;
}

static uint32_t number(const struct nlmsghdr *h, uint16_t nest, uint16_t type)
{
    const struct nlattr *a = find_in(h, nest, type, 4);
    return a ? mnl_attr_get_u32(a) : 0;
}

bool ipvs_parse_server(const struct nlmsghdr *h, struct ipvs_server *ret)
{
    const struct nlattr *family = find_in(h, IPVS_CMD_ATTR_SERVICE, IPVS_SVC_ATTR_AF, 2), *l4 = find_in(h, IPVS_CMD_ATTR_SERVICE, IPVS_SVC_ATTR_PROTOCOL, 2),
                        *ip = find_in(h, IPVS_CMD_ATTR_SERVICE, IPVS_SVC_ATTR_ADDR, 16), *port = find_in(h, IPVS_CMD_ATTR_SERVICE, IPVS_SVC_ATTR_PORT, 2),
                        *scheduler = find_in(h, IPVS_CMD_ATTR_SERVICE, IPVS_SVC_ATTR_SCHED_NAME, 1), *flags = find_in(h, IPVS_CMD_ATTR_SERVICE, IPVS_SVC_ATTR_FLAGS, 8);
    if (!family || !l4 || !ip || !port || !scheduler) /* by packet mark: none of ours */
        return false;
    struct ipvs_server s = {.l4 = (uint8_t)mnl_attr_get_u16(l4), .port = ntohs(mnl_attr_get_u16(port))};
    s.ip.family = (uint8_t)mnl_attr_get_u16(family);
    memcpy(s.ip.b, mnl_attr_get_payload(ip), s.ip.family == AF_INET ? 4 : 16);
    memcpy(s.scheduler, mnl_attr_get_payload(scheduler), MIN((size_t)mnl_attr_get_payload_len(scheduler), sizeof(s.scheduler) - 1));
    if (flags)
        memcpy(&s.flags, mnl_attr_get_payload(flags), sizeof(s.flags));
    s.timeout = number(h, IPVS_CMD_ATTR_SERVICE, IPVS_SVC_ATTR_TIMEOUT);
    *ret = s;
    return true;
}

bool ipvs_parse_dest(const struct nlmsghdr *h, uint8_t family, struct ipvs_dest *ret)
{
    const struct nlattr *ip = find_in(h, IPVS_CMD_ATTR_DEST, IPVS_DEST_ATTR_ADDR, 16), *port = find_in(h, IPVS_CMD_ATTR_DEST, IPVS_DEST_ATTR_PORT, 2);
    if (!ip || !port)
        return false;
    struct ipvs_dest d = {.ip = {.family = family}, .port = ntohs(mnl_attr_get_u16(port))};
    memcpy(d.ip.b, mnl_attr_get_payload(ip), family == AF_INET ? 4 : 16);
    d.weight = number(h, IPVS_CMD_ATTR_DEST, IPVS_DEST_ATTR_WEIGHT);
    d.connections = number(h, IPVS_CMD_ATTR_DEST, IPVS_DEST_ATTR_ACTIVE_CONNS) + number(h, IPVS_CMD_ATTR_DEST, IPVS_DEST_ATTR_INACT_CONNS);
    *ret = d;
    return true;
}

/* ---- talking -------------------------------------------------------------------------------------------- */

static int talk(struct ipvs *v, struct nlmsghdr *h, mnl_cb_t each, void *arg)
{
    if (mnl_socket_sendto(v->socket, h, h->nlmsg_len) < 0)
        return -errno;
    char *in = xmalloc(ANSWER);
    int r = 1;
    while (r > 0) {
        ssize_t n = mnl_socket_recvfrom(v->socket, in, ANSWER);
        r = n < 0 ? -1 : netlink_run(in, (size_t)n, 0, 0, each, arg);
    }
    r = r < 0 ? -errno : 0;
    free(in);
    return r;
}

static int take_family(const struct nlmsghdr *h, void *arg)
{
    const struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(struct genlmsghdr))
    {
        if (mnl_attr_get_type(a) == CTRL_ATTR_FAMILY_ID && mnl_attr_get_payload_len(a) >= 2)
            *(uint16_t *)arg = mnl_attr_get_u16(a);
    }
    return MNL_CB_OK;
}

int ipvs_open(struct ipvs *ret, struct err *e)
{
    char msg[MESSAGE];
    struct ipvs v = {mnl_socket_open2(NETLINK_GENERIC, SOCK_CLOEXEC), 0};
    int r = v.socket && mnl_socket_bind(v.socket, 0, MNL_SOCKET_AUTOPID) >= 0 ? 0 : -errno;
    if (r == 0) {
        struct nlmsghdr *h = begin(msg, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, 1, NLM_F_ACK);
        mnl_attr_put_strz(h, CTRL_ATTR_FAMILY_NAME, IPVS_GENL_NAME);
        r = talk(&v, h, take_family, &v.family);
    }
    if (r == 0 && v.family) {
        *ret = v;
        return 0;
    }
    ipvs_close(&v);
    return err_set(e, r ? r : -ENOENT, "IPVS: %s", r == -ENOENT || !r ? "the kernel has none (is the module ip_vs loaded?)" : strerror(-r));
}

void ipvs_close(struct ipvs *v)
{
    if (v->socket)
        mnl_socket_close(v->socket);
    v->socket = NULL;
}

int ipvs_do(struct ipvs *v, const struct ipvs_op *op, struct err *e)
{
    static const char *const verbs[] = {"add server", "change server", "delete server", "add destination of", "change destination of", "delete destination of"};
    char msg[MESSAGE], text[IP_TEXT_MAX];
    ipvs_write(msg, v->family, op);
    int r = talk(v, (struct nlmsghdr *)(void *)msg, NULL, NULL);
    if (r == 0 || r == -shapes[op->what].fine)
        return 0;
    return err_set(e, r, "IPVS: %s %s port %u: %s", verbs[op->what], ip_format(&op->server.ip, text), op->server.port, strerror(-r));
}

struct gather {
    struct arena *arena;
    uint8_t family;
    struct ipvs_server *servers;
    struct ipvs_dest *dests;
    size_t n, cap;
};

static void *room(struct gather *g, void *list, size_t size)
{
    if (g->n < g->cap)
        return list;
    void *bigger = arena_alloc(g->arena, (g->cap = MAX(g->cap * 2, (size_t)16)) * size);
    if (g->n)
        memcpy(bigger, list, g->n * size);
    return bigger;
}

static int take_server(const struct nlmsghdr *h, void *arg)
{
    struct gather *g = arg;
    g->servers = room(g, g->servers, sizeof(*g->servers));
    g->n += ipvs_parse_server(h, &g->servers[g->n]);
    return MNL_CB_OK;
}

static int take_dest(const struct nlmsghdr *h, void *arg)
{
    struct gather *g = arg;
    g->dests = room(g, g->dests, sizeof(*g->dests));
    g->n += ipvs_parse_dest(h, g->family, &g->dests[g->n]);
    return MNL_CB_OK;
}

int ipvs_servers(struct ipvs *v, struct arena *a, struct ipvs_server **ret, size_t *ret_n, struct err *e)
{
    char msg[MESSAGE];
    struct gather g = {.arena = a};
    int r = talk(v, begin(msg, v->family, IPVS_CMD_GET_SERVICE, IPVS_GENL_VERSION, NLM_F_DUMP), take_server, &g);
    *ret = g.servers;
    *ret_n = g.n;
    return r < 0 ? err_set(e, r, "IPVS: cannot list servers: %s", strerror(-r)) : 0;
}

int ipvs_dests(struct ipvs *v, const struct ipvs_server *s, struct arena *a, struct ipvs_dest **ret, size_t *ret_n, struct err *e)
{
    char msg[MESSAGE];
    struct gather g = {.arena = a, .family = s->ip.family};
    struct nlmsghdr *h = begin(msg, v->family, IPVS_CMD_GET_DEST, IPVS_GENL_VERSION, NLM_F_DUMP);
    put_server(h, s, false);
    int r = talk(v, h, take_dest, &g);
    *ret = g.dests;
    *ret_n = g.n;
    return r < 0 ? err_set(e, r, "IPVS: cannot list destinations: %s", strerror(-r)) : 0;
}

int ipvs_timeouts(struct ipvs *v, uint32_t tcp, uint32_t tcp_fin, uint32_t udp, struct err *e)
{
    char msg[MESSAGE];
    struct nlmsghdr *h = begin(msg, v->family, IPVS_CMD_SET_CONFIG, IPVS_GENL_VERSION, NLM_F_ACK);
    mnl_attr_put_u32(h, IPVS_CMD_ATTR_TIMEOUT_TCP, tcp);
    mnl_attr_put_u32(h, IPVS_CMD_ATTR_TIMEOUT_TCP_FIN, tcp_fin);
    mnl_attr_put_u32(h, IPVS_CMD_ATTR_TIMEOUT_UDP, udp);
    int r = talk(v, h, NULL, NULL);
    return r < 0 ? err_set(e, r, "IPVS: cannot set timeouts: %s", strerror(-r)) : 0;
}
