/* SPDX-License-Identifier: Apache-2.0 */
#include "netlink/nft_watch.h"

#include "base/os.h"
#include "netlink/message.h"

#include <arpa/inet.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_socket(unsigned group, struct err *e)
{
    int more = 1 << 20; /* a table with thousands of elements is told in one go */
    struct sockaddr_nl addr = {.nl_family = AF_NETLINK};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &more, sizeof(more));
        if (!group || setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group)) == 0)
            return fd;
    }
    int r = -errno;
    if (fd >= 0)
        close(fd);
    return err_set(e, r, "nftables cannot be asked: %s", strerror(-r));
}

static uint32_t generation_of(const struct nlmsghdr *h)
{
    const struct nlattr *at;
    mnl_attr_for_each(at, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(at) == NFTA_GEN_ID && mnl_attr_get_payload_len(at) == sizeof(uint32_t))
            return ntohl(mnl_attr_get_u32(at));
    }
    return 0;
}

static bool is_message(const struct nlmsghdr *h, unsigned type)
{
    return h->nlmsg_type == (NFNL_SUBSYS_NFTABLES << 8 | type);
}

static int read_generation(const struct nlmsghdr *h, void *arg)
{
    if (is_message(h, NFT_MSG_NEWGEN))
        *(uint32_t *)arg = generation_of(h);
    return MNL_CB_OK;
}

int nft_generation(uint32_t *ret, struct err *e)
{
    char buf[4096] = {0};
    struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
    uint32_t generation = 0;
    int fd = open_socket(0, e);
    if (fd < 0)
        return fd;
    h->nlmsg_type = NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN;
    h->nlmsg_flags = NLM_F_REQUEST;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
    g->nfgen_family = AF_UNSPEC;
    ssize_t n = send(fd, buf, h->nlmsg_len, 0); /* the kernel answers before this returns */
    if (n >= 0)
        n = recv(fd, buf, sizeof(buf), 0);
    if (n > 0)
        netlink_run(buf, (size_t)n, 0, 0, read_generation, &generation);
    int r = n < 0 ? -errno : 0;
    close(fd);
    if (r < 0)
        return err_set(e, r, "nftables does not tell its generation: %s", strerror(-r));
    *ret = generation;
    return 0;
}

int nft_watch_open(struct nft_watch *w, struct err *e)
{
    int fd = open_socket(NFNLGRP_NFTABLES, e);
    if (fd < 0)
        return fd;
    *w = (struct nft_watch){.fd = fd};
    return 0;
}

void nft_watch_close(struct nft_watch *w)
{
    os_forget_fd(w->fd);
    close(w->fd);
    w->fd = -1;
}

struct look {
    struct nft_watch *w;
    const char *table;
    uint32_t generation;
    bool found;
};

/* All messages about tables and what is in them have the table's name as their first attribute. */
static int look_at(const struct nlmsghdr *h, void *arg)
{
    struct look *l = arg;
    const struct nlattr *at;
    if (is_message(h, NFT_MSG_NEWGEN)) {
        if (l->w->touched && !l->found) {
            l->generation = generation_of(h);
            l->found = true;
        } else if (l->w->touched) {
            l->generation = 0; /* two at once: the reader is told of something that is not its own */
        }
        l->w->touched = false;
        return MNL_CB_OK;
    }
    mnl_attr_for_each(at, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(at) == NFTA_TABLE_NAME && mnl_attr_validate(at, MNL_TYPE_NUL_STRING) == 0 &&
            !strcmp(mnl_attr_get_str(at), l->table))
            l->w->touched = true;
    }
    return MNL_CB_OK;
}

int nft_watch_next(struct nft_watch *w, const char *table, struct mono deadline, uint32_t *ret_generation)
{
    struct look l = {.w = w, .table = table};
    char buf[16384];
    while (!l.found) {
        ssize_t n = recv(w->fd, buf, sizeof(buf), MSG_DONTWAIT);
        if (n > 0) {
            netlink_run(buf, (size_t)n, 0, 0, look_at, &l);
        } else if (n < 0 && errno == ENOBUFS) {
            w->touched = false;
            return NFT_WATCH_LOST;
        } else if (n < 0 && errno == EAGAIN) {
            int r = os_wait_fd(w->fd, OS_READABLE, deadline);
            if (r < 0)
                return r;
        } else if (n == 0 || errno != EINTR) {
            return n == 0 ? -EPIPE : -errno;
        }
    }
    *ret_generation = l.generation;
    return 0;
}
