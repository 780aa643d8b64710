/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/rtnl.h"

#include "base/fiber.h"
#include "base/os.h"

#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>
#include <unistd.h>

struct job {
    void (*fn)(struct job *j, struct mnl_socket *s);
    struct arena *arena;
    const struct prefixes *within;
    struct routes have;
    size_t cap;
    const struct route_changes *changes;
    int *results;
    int r;
};

static void run_once(struct job *j)
{
    struct mnl_socket *s = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!s || mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) < 0)
        j->r = -errno;
    else
        j->fn(j, s);
    if (s)
        mnl_socket_close(s);
}

/* On a helper thread: a dump of a router's whole table takes its time. */
static void run(void *arg)
{
    struct job *j = arg;
    unsigned tries = 0;
    do { /* with a socket of its own: what is left of an answer is not worth reading */
        j->r = 0;
        run_once(j);
    } while (j->r == -EINTR && ++tries < 10);
}

static int offload(struct job *j, struct err *e)
{
    fiber_offload(run, j);
    return j->r < 0 ? err_set(e, j->r, "the kernel's routes cannot be read or set: %s", strerror(-j->r)) : 0;
}

/* ---- reading -------------------------------------------------------------------------------------- */

static size_t size_of(uint8_t family)
{
    return family == AF_INET ? 4 : 16;
}

static bool take_ip(const struct nlattr *attr, uint8_t family, struct ip *ret)
{
    if (mnl_attr_get_payload_len(attr) != size_of(family))
        return false;
    *ret = (struct ip){.family = family};
    memcpy(ret->b, mnl_attr_get_payload(attr), size_of(family));
    return true;
}

/* A route of ours with a range and a gateway; others are none of our business even if they carry our number.
 */
static bool read_route(const struct nlmsghdr *h, struct route *ret)
{
    const struct rtmsg *m = mnl_nlmsg_get_payload(h);
    struct route r = {.to = {.ip.family = m->rtm_family, .bits = m->rtm_dst_len}};
    const struct nlattr *attr;
    if ((m->rtm_family != AF_INET && m->rtm_family != AF_INET6) || m->rtm_protocol != OVERLAY_PROTOCOL ||
        m->rtm_table != RT_TABLE_MAIN || m->rtm_type != RTN_UNICAST || (m->rtm_flags & RTM_F_CLONED))
        return false;
    mnl_attr_for_each(attr, h, sizeof(*m))
    {
        if (mnl_attr_get_type(attr) == RTA_DST && !take_ip(attr, m->rtm_family, &r.to.ip))
            return false;
        if (mnl_attr_get_type(attr) == RTA_GATEWAY && !take_ip(attr, m->rtm_family, &r.via))
            return false;
    }
    *ret = r;
    return true;
}

static bool is_within(const struct prefix *p, const struct prefixes *within)
{
    for (size_t i = 0; i < within->n; i++)
        if (prefix_contains(&within->list[i], p))
            return true;
    return within->n == 0;
}

static int take_route(const struct nlmsghdr *h, void *arg)
{
    struct job *j = arg;
    struct route r;
    if (h->nlmsg_type != RTM_NEWROUTE || !read_route(h, &r) || !is_within(&r.to, j->within))
        return MNL_CB_OK;
    if (j->have.n == j->cap) {
        struct route *more = ARENA_ARRAY(j->arena, struct route, j->cap = j->cap ? j->cap * 2 : 64);
        if (j->have.n)
            memcpy(more, j->have.list, j->have.n * sizeof(*more));
        j->have.list = more;
    }
    j->have.list[j->have.n++] = r;
    return MNL_CB_OK;
}

/* 0, or -errno; -EINTR when the routes changed while they were read (NLM_F_DUMP_INTR): some may be missing.
 */
static int dump(struct job *j, struct mnl_socket *s, uint8_t family, unsigned seq)
{
    char buf[32768];
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = RTM_GETROUTE;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    h->nlmsg_seq = seq;
    struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->rtm_family = family;
    m->rtm_protocol = OVERLAY_PROTOCOL;
    int more = mnl_socket_sendto(s, h, h->nlmsg_len) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
    while (more > MNL_CB_STOP) {
        ssize_t n = mnl_socket_recvfrom(s, buf, sizeof(buf));
        more =
            n <= 0 ? MNL_CB_ERROR : mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(s), take_route, j);
    }
    if (more < MNL_CB_STOP)
        return errno == EAFNOSUPPORT || errno == EOPNOTSUPP ? 0 : -errno; /* a kernel without IPv6 */
    return 0;
}

static void read_all(struct job *j, struct mnl_socket *s)
{
    int on = 1;
    /* The kernel then looks at the protocol itself and sends no others. Older ones send all, and we look. */
    setsockopt(mnl_socket_get_fd(s), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
    j->have.n = 0;
    j->r = dump(j, s, AF_INET, 1);
    if (j->r == 0)
        j->r = dump(j, s, AF_INET6, 2);
}

int rtnl_read(struct arena *a, const struct prefixes *within, struct routes *ret, struct err *e)
{
    struct job j = {.fn = read_all, .arena = a, .within = within};
    int r = offload(&j, e);
    if (r < 0)
        return r;
    routes_sort(&j.have);
    *ret = j.have;
    return 0;
}

/* ---- setting -------------------------------------------------------------------------------------- */

/* Replacing does not ask whose route it is, so it is done only where ours is; else a foreign one would be
 * lost. */
static int change(struct mnl_socket *s, const struct route *r, bool set, unsigned seq)
{
    char buf[1024];
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    h->nlmsg_type = set ? RTM_NEWROUTE : RTM_DELROUTE;
    h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK |
                                (!set          ? 0
                                 : r->replaces ? NLM_F_CREATE | NLM_F_REPLACE
                                               : NLM_F_CREATE | NLM_F_EXCL));
    h->nlmsg_seq = seq;
    struct rtmsg *m = mnl_nlmsg_put_extra_header(h, sizeof(*m));
    m->rtm_family = r->to.ip.family;
    m->rtm_dst_len = r->to.bits;
    m->rtm_table = RT_TABLE_MAIN;
    m->rtm_protocol = OVERLAY_PROTOCOL;
    m->rtm_scope = RT_SCOPE_UNIVERSE;
    m->rtm_type = RTN_UNICAST;
    mnl_attr_put(h, RTA_DST, size_of(r->to.ip.family), r->to.ip.b);
    if (r->via.family)
        mnl_attr_put(h, RTA_GATEWAY, size_of(r->via.family), r->via.b);
    if (mnl_socket_sendto(s, h, h->nlmsg_len) < 0)
        return -errno;
    ssize_t n = mnl_socket_recvfrom(s, buf, sizeof(buf));
    if (n < 0 || mnl_cb_run(buf, (size_t)n, seq, mnl_socket_get_portid(s), NULL, NULL) < 0)
        return !set && errno == ESRCH ? 0 : -errno;
    return 0;
}

static void change_all(struct job *j, struct mnl_socket *s)
{
    unsigned seq = 0;
    for (size_t i = 0; i < j->changes->set.n; i++)
        j->results[seq] = change(s, &j->changes->set.list[i], true, seq + 1), seq++;
    for (size_t i = 0; i < j->changes->drop.n; i++)
        j->results[seq] = change(s, &j->changes->drop.list[i], false, seq + 1), seq++;
}

int rtnl_apply(const struct route_changes *c, int *results, struct err *e)
{
    struct job j = {.fn = change_all, .changes = c, .results = results};
    return c->set.n + c->drop.n ? offload(&j, e) : 0;
}

/* ---- watching ------------------------------------------------------------------------------------- */

int rtnl_watch(int *ret_fd, struct err *e)
{
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK,
                               .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                            RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int r = -errno;
        if (fd >= 0)
            close(fd);
        return err_set(e, r, "the kernel's routes cannot be watched: %s", strerror(-r));
    }
    *ret_fd = fd;
    return 0;
}

void rtnl_unwatch(int fd)
{
    os_forget_fd(fd);
    close(fd);
}

/* A link or an address that changes takes routes away without a word (IPv4); a removed route is told. */
static int look(const struct nlmsghdr *h, void *arg)
{
    bool *matters = arg;
    struct route r;
    if (h->nlmsg_type == RTM_NEWLINK || h->nlmsg_type == RTM_NEWADDR || h->nlmsg_type == RTM_DELADDR ||
        (h->nlmsg_type == RTM_DELROUTE && read_route(h, &r)))
        *matters = true;
    return MNL_CB_OK;
}

int rtnl_wait(int fd, bool *ret_matters, struct mono deadline)
{
    char buf[16384];
    bool matters = false;
    int r = os_wait_fd(fd, OS_READABLE, deadline);
    if (r < 0)
        return r;
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n > 0)
            mnl_cb_run(buf, (size_t)n, 0, 0, look, &matters);
        else if (n < 0 && errno == ENOBUFS) /* too many at once: some were lost */
            matters = true;
        else if (n == 0 || errno != EINTR)
            break;
    }
    *ret_matters = matters;
    return 0;
}
