/* SPDX-License-Identifier: Apache-2.0 */
#include "netlink/conntrack.h"

#include "base/fiber.h"
#include "netlink/message.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <sys/socket.h>

/* ---- reading -------------------------------------------------------------------------------------------- */

/* The attribute of that type among those that stand in [p, p + n); NULL when it is not there or too short. */
static const struct nlattr *find(const void *p, size_t n, uint16_t type, size_t least)
{
    const struct nlattr *a = p;
    for (; mnl_attr_ok(a, (int)((const char *)p + n - (const char *)a)); a = mnl_attr_next(a))
        if (mnl_attr_get_type(a) == type)
            return mnl_attr_get_payload_len(a) >= least ? a : NULL;
    return NULL;
}

static const struct nlattr *find_in(const struct nlattr *nest, uint16_t type, size_t least)
{
    return nest ? find(mnl_attr_get_payload(nest), mnl_attr_get_payload_len(nest), type, least) : NULL;
}

struct end {
    const struct nlattr *address, *port;
};

static struct end tuple_end(const struct nlattr *tuple, bool six, bool source)
{
    const struct nlattr *ip = find_in(tuple, CTA_TUPLE_IP, 0), *proto = find_in(tuple, CTA_TUPLE_PROTO, 0);
    uint16_t address = six ? source ? CTA_IP_V6_SRC : CTA_IP_V6_DST : source ? CTA_IP_V4_SRC : CTA_IP_V4_DST;
    return (struct end){find_in(ip, address, six ? 16 : 4),
                        find_in(proto, source ? CTA_PROTO_SRC_PORT : CTA_PROTO_DST_PORT, 2)};
}

static bool is_conntrack(const struct nlmsghdr *h)
{
    return h->nlmsg_type == (NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW) &&
           h->nlmsg_len >= sizeof(*h) + sizeof(struct nfgenmsg);
}

static const struct nlattr *top(const struct nlmsghdr *h, uint16_t type)
{
    size_t head = sizeof(*h) + sizeof(struct nfgenmsg);
    return find((const char *)h + head, h->nlmsg_len - head, type, 0);
}

static bool parse(const struct nlmsghdr *h, struct conntrack_flow *ret)
{
    if (!is_conntrack(h))
        return false;
    const struct nfgenmsg *g = mnl_nlmsg_get_payload(h);
    bool six = g->nfgen_family == AF_INET6;
    const struct nlattr *orig = top(h, CTA_TUPLE_ORIG);
    const struct nlattr *l4 = find_in(find_in(orig, CTA_TUPLE_PROTO, 0), CTA_PROTO_NUM, 1);
    struct end to = tuple_end(orig, six, false), from = tuple_end(top(h, CTA_TUPLE_REPLY), six, true);
    if (!l4 || !to.address || !to.port || !from.address || !from.port)
        return false;
    struct conntrack_flow f = {.l4 = mnl_attr_get_u8(l4)};
    memcpy(f.to, mnl_attr_get_payload(to.address), six ? 16 : 4);
    memcpy(f.answers_from, mnl_attr_get_payload(from.address), six ? 16 : 4);
    f.to_port = ntohs(mnl_attr_get_u16(to.port));
    f.answers_from_port = ntohs(mnl_attr_get_u16(from.port));
    *ret = f;
    return true;
}

bool conntrack_parse(const void *message, size_t n, struct conntrack_flow *ret)
{
    const struct nlmsghdr *h = message;
    return n <= INT32_MAX && netlink_ok(h, (int)n) && parse(h, ret);
}

/* ---- the sweep ------------------------------------------------------------------------------------------ */

struct sweep {
    uint8_t family, l4;
    conntrack_unwanted *unwanted;
    void *arg;
    struct buf deletions; /* messages */
    size_t ended;
    int r;
};

/* The flow is named by what it is (tuple, zone) and by its id: not a new one that looks the same. */
static void add_deletion(struct sweep *s, const struct nlmsghdr *of)
{
    static const uint16_t names[] = {CTA_TUPLE_ORIG, CTA_ZONE, CTA_ID};
    struct nlmsghdr h = {.nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE, .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK};
    struct nfgenmsg g = {.nfgen_family = s->family, .version = NFNETLINK_V0};
    size_t at = s->deletions.n;
    buf_put(&s->deletions, &h, sizeof(h));
    buf_put(&s->deletions, &g, sizeof(g));
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct nlattr *a = top(of, names[i]);
        if (a)
            buf_put(&s->deletions, a, MNL_ALIGN(a->nla_len));
    }
    h.nlmsg_len = (uint32_t)(s->deletions.n - at);
    memcpy(s->deletions.p + at, &h, sizeof(h));
}

static int look_at(const struct nlmsghdr *h, void *arg)
{
    struct sweep *s = arg;
    struct conntrack_flow f;
    if (parse(h, &f) && f.l4 == s->l4 && s->unwanted(s->arg, &f))
        add_deletion(s, h);
    return MNL_CB_OK;
}

static int list(struct sweep *s, struct mnl_socket *nl, char *msg, size_t size)
{
    struct nlmsghdr *h = mnl_nlmsg_put_header(msg);
    h->nlmsg_type = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_GET;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
    *g = (struct nfgenmsg){.nfgen_family = s->family};
    int r = mnl_socket_sendto(nl, h, h->nlmsg_len) < 0 ? -1 : 1;
    while (r > 0) {
        ssize_t n = mnl_socket_recvfrom(nl, msg, size);
        r = n < 0 ? -1 : netlink_run(msg, (size_t)n, 0, mnl_socket_get_portid(nl), look_at, s);
    }
    return r < 0 && errno != EINTR ? -errno : 0; /* a list that changed meanwhile is good enough */
}

static int end_them(struct sweep *s, struct mnl_socket *nl, char *msg, size_t size)
{
    const struct nlmsghdr *h = (const void *)s->deletions.p;
    int left = (int)s->deletions.n;
    for (; s->deletions.n && netlink_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
        if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
            return -errno;
        ssize_t n = mnl_socket_recvfrom(nl, msg, size);
        if (n < 0)
            return -errno;
        if (netlink_run(msg, (size_t)n, 0, 0, NULL, NULL) >= 0)
            s->ended++;
        else if (errno != ENOENT)
            return -errno;
    }
    return 0;
}

static void run_sweep(void *arg)
{
    struct sweep *s = arg;
    size_t size = 65536;
    struct mnl_socket *nl = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (!nl || mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0) {
        s->r = -errno;
    } else {
        char *msg = xmalloc(size);
        s->r = list(s, nl, msg, size);
        if (s->r == 0)
            s->r = end_them(s, nl, msg, size);
        free(msg);
    }
    if (nl)
        mnl_socket_close(nl);
}

int conntrack_sweep(uint8_t family, uint8_t l4, conntrack_unwanted *unwanted, void *arg, size_t *ret_ended, struct err *e)
{
    struct sweep s = {.family = family, .l4 = l4, .unwanted = unwanted, .arg = arg};
    fiber_offload(run_sweep, &s);
    buf_done(&s.deletions);
    if (s.r < 0)
        return err_set(e, s.r, "conntrack: %s", strerror(-s.r));
    if (ret_ended)
        *ret_ended = s.ended;
    return 0;
}
