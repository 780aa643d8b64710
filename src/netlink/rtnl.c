/* SPDX-License-Identifier: Apache-2.0 */
/* The socket: batches out, answers in. */
#include "netlink/rtnl-internal.h"

#include "base/fiber.h"
#include "base/os.h"
#include "netlink/message.h"

#include <fcntl.h>
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* The kernel's answers must fit into our receive buffer before we read any of them. */
enum { CHUNK_MESSAGES = 64, CHUNK_BYTES = 32768 };

/* ---- open ----------------------------------------------------------------------------------------- */

static int open_here(struct rtnl *ret)
{
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
    socklen_t size = sizeof(addr);
    int on = 1, fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&addr, size) < 0 || getsockname(fd, (struct sockaddr *)&addr, &size) < 0) {
        int r = -errno;
        close(fd);
        return r;
    }
    /* The kernel filters dumps itself, and does not send our own words back with an error. Older ones refuse both. */
    setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
    setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
    *ret = (struct rtnl){.fd = fd, .portid = addr.nl_pid, .seq = 1};
    return 0;
}

int rtnl_open(struct rtnl *ret, int ns_fd)
{
    if (ns_fd < 0)
        return open_here(ret);
    int own = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0)
        return -errno;
    int r = setns(ns_fd, CLONE_NEWNET) < 0 ? -errno : open_here(ret);
    if (setns(own, CLONE_NEWNET) < 0)
        panic("cannot go back to our own network namespace: %s", strerror(errno));
    close(own);
    return r;
}

void rtnl_close(struct rtnl *n)
{
    if (n->fd > 0)
        close(n->fd);
    n->fd = 0;
}

/* ---- batches --------------------------------------------------------------------------------------- */

void rtnl_batch_done(struct rtnl_batch *b)
{
    buf_done(&b->b);
    *b = (struct rtnl_batch){0};
}

static struct nlmsghdr *last(struct rtnl_batch *b)
{
    return (struct nlmsghdr *)(void *)(b->b.p + b->last);
}

static void put_padded(struct rtnl_batch *b, const void *p, size_t n)
{
    static const char zeros[4];
    buf_put(&b->b, p, n);
    buf_put(&b->b, zeros, NLMSG_ALIGN(n) - n);
}

void rtnl_begin(struct rtnl_batch *b, uint16_t type, uint16_t flags, const void *header, size_t n)
{
    struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags)};
    b->last = b->b.n;
    b->n++;
    put_padded(b, &h, sizeof(h));
    put_padded(b, header, n);
    last(b)->nlmsg_len = (uint32_t)(b->b.n - b->last);
}

void rtnl_attr(struct rtnl_batch *b, uint16_t type, const void *p, size_t n)
{
    struct nlattr at = {.nla_type = type, .nla_len = (uint16_t)(sizeof(at) + n)};
    put_padded(b, &at, sizeof(at));
    put_padded(b, p, n);
    last(b)->nlmsg_len = (uint32_t)(b->b.n - b->last);
}

void rtnl_attr_u32(struct rtnl_batch *b, uint16_t type, uint32_t v)
{
    rtnl_attr(b, type, &v, sizeof(v));
}

void rtnl_attr_u8(struct rtnl_batch *b, uint16_t type, uint8_t v)
{
    rtnl_attr(b, type, &v, sizeof(v));
}

void rtnl_attr_text(struct rtnl_batch *b, uint16_t type, const char *text)
{
    rtnl_attr(b, type, text, strlen(text) + 1);
}

size_t rtnl_nest(struct rtnl_batch *b, uint16_t type, const void *header, size_t n)
{
    size_t at = b->b.n;
    rtnl_attr(b, type, header, n);
    return at;
}

void rtnl_nest_end(struct rtnl_batch *b, size_t at)
{
    ((struct nlattr *)(void *)(b->b.p + at))->nla_len = (uint16_t)(b->b.n - at);
}

/* ---- talking ---------------------------------------------------------------------------------------- */

static int send_all(struct rtnl *n, const void *p, size_t size)
{
    struct sockaddr_nl kernel = {.nl_family = AF_NETLINK};
    while (sendto(n->fd, p, size, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

static ssize_t receive(struct rtnl *n, void *p, size_t size)
{
    for (;;) {
        ssize_t got = recv(n->fd, p, size, 0);
        if (got >= 0)
            return got;
        if (errno != EINTR)
            return -errno;
    }
}

/* Answers to the messages first..first+count-1. Each is answered once. */
static int take_answers(struct rtnl *n, uint32_t first, size_t count, int *results)
{
    char buf[16384] __attribute__((aligned(8)));
    for (size_t answered = 0; answered < count;) {
        ssize_t got = receive(n, buf, sizeof(buf));
        if (got < 0)
            return (int)got;
        int left = (int)got;
        for (struct nlmsghdr *h = (void *)buf; netlink_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
            uint32_t which = h->nlmsg_seq - first;
            if (h->nlmsg_type != NLMSG_ERROR || which >= count || h->nlmsg_len < NLMSG_LENGTH(sizeof(struct nlmsgerr)))
                continue;
            results[which] = ((struct nlmsgerr *)mnl_nlmsg_get_payload(h))->error;
            answered++;
        }
    }
    return 0;
}

/* From message `from` on as many as go at once; how many bytes and messages these are. */
static size_t number_chunk(struct rtnl *n, struct rtnl_batch *b, size_t from, size_t *ret_count)
{
    size_t size = 0, count = 0;
    while (from + size < b->b.n && count < CHUNK_MESSAGES && size < CHUNK_BYTES) {
        struct nlmsghdr *h = (void *)(b->b.p + from + size);
        h->nlmsg_seq = n->seq++;
        size += NLMSG_ALIGN(h->nlmsg_len);
        count++;
    }
    *ret_count = count;
    return size;
}

int rtnl_run(struct rtnl *n, struct rtnl_batch *b, int *results)
{
    int r = 0, first_failure = 0;
    size_t done = 0;
    for (size_t at = 0; r == 0 && at < b->b.n;) {
        int chunk[CHUNK_MESSAGES] = {0};
        size_t count;
        uint32_t first = n->seq;
        size_t size = number_chunk(n, b, at, &count);
        r = send_all(n, b->b.p + at, size);
        if (r == 0)
            r = take_answers(n, first, count, chunk);
        for (size_t i = 0; i < count; i++) {
            int one = r < 0 ? r : chunk[i];
            first_failure = first_failure ? first_failure : one;
            if (results)
                results[done + i] = one;
        }
        done += count;
        at += size;
    }
    for (; results && done < b->n; done++)
        results[done] = r;
    buf_clear(&b->b);
    b->n = b->last = 0;
    return r < 0 ? r : first_failure;
}

/* One datagram of a list: 1 when it was the last, 0 when there is more, -errno. */
static int take_part(struct rtnl *n, char *buf, int left, rtnl_take *fn, void *arg, bool *interrupted)
{
    for (struct nlmsghdr *h = (void *)buf; netlink_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
        if (h->nlmsg_seq != n->seq - 1)
            continue;
        *interrupted = *interrupted || (h->nlmsg_flags & NLM_F_DUMP_INTR);
        if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR) {
            int error = mnl_nlmsg_get_payload_len(h) >= sizeof(int) ? *(int *)mnl_nlmsg_get_payload(h) : 0;
            return error == -EAFNOSUPPORT || error == -EOPNOTSUPP || error >= 0 ? 1 : error; /* no IPv6 */
        }
        fn(arg, h);
    }
    return 0;
}

int rtnl_dump(struct rtnl *n, struct rtnl_batch *request, rtnl_take *fn, void *arg)
{
    char buf[32768] __attribute__((aligned(8)));
    struct nlmsghdr *h = (void *)request->b.p;
    bool interrupted = false;
    h->nlmsg_seq = n->seq++;
    h->nlmsg_flags = (uint16_t)((h->nlmsg_flags & ~NLM_F_ACK) | NLM_F_DUMP);
    int r = send_all(n, request->b.p, request->b.n);
    while (r == 0) {
        ssize_t got = receive(n, buf, sizeof(buf));
        r = got < 0 ? (int)got : take_part(n, buf, (int)got, fn, arg, &interrupted);
    }
    return r < 0 ? r : interrupted ? -EINTR : 0;
}

int rtnl_ask(struct rtnl *n, struct rtnl_batch *request, rtnl_take *fn, void *arg)
{
    char buf[32768] __attribute__((aligned(8)));
    struct nlmsghdr *h = (void *)request->b.p;
    bool interrupted = false;
    h->nlmsg_seq = n->seq++;
    h->nlmsg_flags &= (uint16_t)~NLM_F_ACK;
    int r = send_all(n, request->b.p, request->b.n);
    while (r == 0) {
        ssize_t got = receive(n, buf, sizeof(buf));
        if (got < 0)
            return (int)got;
        r = take_part(n, buf, (int)got, fn, arg, &interrupted);
        if (r == 0 && got >= (ssize_t)sizeof(*h) && ((struct nlmsghdr *)(void *)buf)->nlmsg_seq == n->seq - 1)
            r = 1; /* the one answer */
    }
    return r < 0 ? r : 0;
}

/* ---- watching ------------------------------------------------------------------------------------- */

int rtnl_watch(bool neighbours, int *ret_fd, struct err *e)
{
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK,
                               .nl_groups = RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR |
                                            RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE |
                                            (neighbours ? RTMGRP_NEIGH : 0)};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int r = -errno;
        if (fd >= 0)
            close(fd);
        return err_set(e, r, "the kernel's links and routes cannot be watched: %s", strerror(-r));
    }
    *ret_fd = fd;
    return 0;
}

void rtnl_unwatch(int fd)
{
    os_forget_fd(fd);
    close(fd);
}

int rtnl_wait(int fd, void (*fn)(void *arg, const struct nlmsghdr *h), void *arg, struct mono deadline)
{
    char buf[16384] __attribute__((aligned(8)));
    int r = os_wait_fd(fd, OS_READABLE, deadline);
    if (r < 0)
        return r;
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n < 0 && errno == ENOBUFS)
            fn(arg, NULL);
        else if (n == 0 || (n < 0 && errno != EINTR))
            return 0;
        int left = (int)n;
        for (struct nlmsghdr *h = (void *)buf; n > 0 && netlink_ok(h, left); h = mnl_nlmsg_next(h, &left))
            fn(arg, h);
    }
}

/* ---- ethtool -------------------------------------------------------------------------------------- */

int rtnl_checksum_in_software(const char *link)
{
    struct ethtool_value off = {.cmd = ETHTOOL_STXCSUM, .data = 0};
    struct ifreq req = {.ifr_data = (void *)&off};
    snprintf(req.ifr_name, sizeof(req.ifr_name), "%s", link);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    int r = ioctl(fd, SIOCETHTOOL, &req) < 0 ? -errno : 0;
    close(fd);
    return r;
}
