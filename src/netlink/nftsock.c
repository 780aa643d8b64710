/* SPDX-License-Identifier: Apache-2.0 */
/* The socket half of nftmsg.h. */
#include "netlink/nftmsg.h"

#include "base/fiber.h"
#include "netlink/message.h"

#include <arpa/inet.h>
#include <endian.h>
#include <libmnl/libmnl.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>

static void set_room(struct mnl_socket *s, size_t send)
{
    int size = (int)MIN(send + send / 4 + 65536, (size_t)INT32_MAX / 2), receive = 4 << 20;
    if (setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(mnl_socket_get_fd(s), SOL_SOCKET, SO_RCVBUFFORCE, &receive, sizeof(receive));
}

static struct mnl_socket *open_socket(void)
{
    struct mnl_socket *s = mnl_socket_open2(NETLINK_NETFILTER, SOCK_CLOEXEC);
    if (s && mnl_socket_bind(s, 0, MNL_SOCKET_AUTOPID) >= 0)
        return s;
    int r = errno;
    if (s)
        mnl_socket_close(s);
    errno = r;
    return NULL;
}

void nft_link_done(struct nft_link *l)
{
    if (l->socket)
        mnl_socket_close(l->socket);
    l->socket = NULL;
}

/* ---- a batch -------------------------------------------------------------------------------------------- */

static const char *const verbs[] = {
    [NFT_MSG_NEWTABLE] = "add table",    [NFT_MSG_DELTABLE] = "delete table",   [NFT_MSG_NEWCHAIN] = "add chain",
    [NFT_MSG_DELCHAIN] = "delete chain", [NFT_MSG_NEWRULE] = "add rule",        [NFT_MSG_DELRULE] = "flush chain",
    [NFT_MSG_NEWSET] = "add set",        [NFT_MSG_DELSET] = "delete set",       [NFT_MSG_NEWSETELEM] = "add element",
    [NFT_MSG_DELSETELEM] = "delete element",
};

/* The second attribute of all these messages is the name of what they are about. */
static const char *name_in(const struct nlmsghdr *h)
{
    const struct nlattr *a = mnl_nlmsg_get_payload_offset(h, sizeof(struct nfgenmsg));
    if (!mnl_attr_ok(a, (int)((const char *)mnl_nlmsg_get_payload_tail(h) - (const char *)a)))
        return "";
    a = mnl_attr_next(a);
    return mnl_attr_ok(a, (int)((const char *)mnl_nlmsg_get_payload_tail(h) - (const char *)a)) ? mnl_attr_get_payload(a) : "";
}

static int refused(const struct nft_batch *b, int r, uint32_t seq, struct err *e)
{
    const struct nlmsghdr *h = (const struct nlmsghdr *)b->b.p;
    int left = (int)b->b.n;
    for (; netlink_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
        unsigned type = h->nlmsg_type & 0xff;
        if (h->nlmsg_seq == seq && h->nlmsg_type >> 8 == NFNL_SUBSYS_NFTABLES && type < ARRAY_SIZE(verbs) && verbs[type])
            return err_set(e, r, "nftables: %s %s %s: %s", verbs[type], b->table, name_in(h), strerror(-r));
    }
    return err_set(e, r, "nftables: %s", strerror(-r));
}

/* The kernel has done everything when send returns: what it has to say is there already. */
static int read_errors(struct mnl_socket *s, const struct nft_batch *b, struct err *e)
{
    char in[65536] __attribute__((aligned(8)));
    for (;;) {
        ssize_t n = recv(mnl_socket_get_fd(s), in, sizeof(in), MSG_DONTWAIT);
        if (n < 0)
            return errno == EAGAIN ? 0 : errno == ENOBUFS ? err_set(e, -EIO, "nftables: too many errors") : -errno;
        int left = (int)n;
        for (const struct nlmsghdr *h = (void *)in; netlink_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
            const struct nlmsgerr *said = mnl_nlmsg_get_payload(h);
            if (h->nlmsg_type == NLMSG_ERROR && mnl_nlmsg_get_payload_len(h) >= sizeof(*said) && said->error)
                return refused(b, said->error, h->nlmsg_seq, e);
        }
    }
}

struct send_call {
    struct nft_batch *batch;
    struct nft_link *link;
    struct err *err;
    int r;
};

static void run_send(void *arg)
{
    struct send_call *c = arg;
    struct nft_link own = {0}, *l = c->link ? c->link : &own;
    if (!l->socket && !(l->socket = open_socket())) {
        c->r = err_set(c->err, -errno, "nftables: no socket: %s", strerror(errno));
        return;
    }
    set_room(l->socket, c->batch->b.n);
    if (mnl_socket_sendto(l->socket, c->batch->b.p, c->batch->b.n) < 0)
        c->r = err_set(c->err, -errno, "nftables: cannot send %zu bytes: %s", c->batch->b.n, strerror(errno));
    else
        c->r = read_errors(l->socket, c->batch, c->err);
    if (c->r < 0 || !c->link) /* more refusals may come: nobody waits for them */
        nft_link_done(l);
}

int nft_batch_send(struct nft_batch *b, struct nft_link *link, struct err *e)
{
    struct send_call c = {b, link, e, 0};
    struct nlmsghdr h = {.nlmsg_len = sizeof(h) + sizeof(struct nfgenmsg), .nlmsg_type = NFNL_MSG_BATCH_END, .nlmsg_flags = NLM_F_REQUEST};
    struct nfgenmsg g = {.version = NFNETLINK_V0, .res_id = htons(NFNL_SUBSYS_NFTABLES)};
    if (!b->n)
        return 0;
    buf_put(&b->b, &h, sizeof(h));
    buf_put(&b->b, &g, sizeof(g));
    fiber_offload(run_send, &c);
    return c.r;
}

/* ---- looking -------------------------------------------------------------------------------------------- */

/* One question whose answer is a list of messages. */
struct dump {
    uint8_t family;
    uint16_t type;
    bool one;            /* the answer is one message, not a list */
    struct str texts[2]; /* attributes 1 and 2 of the question; n 0: none */
    void (*each)(void *arg, const struct nlmsghdr *h);
    void *arg;
    int r;
};

static int each_message(const struct nlmsghdr *h, void *arg)
{
    struct dump *d = arg;
    d->each(d->arg, h);
    return MNL_CB_OK;
}

static int dump_once(struct dump *d, struct mnl_socket *s)
{
    char *msg = xmalloc(65536);
    struct nlmsghdr *h = mnl_nlmsg_put_header(msg);
    h->nlmsg_type = (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | d->type);
    h->nlmsg_flags = NLM_F_REQUEST | (d->one ? NLM_F_ACK : NLM_F_DUMP);
    h->nlmsg_seq = 1;
    struct nfgenmsg *g = mnl_nlmsg_put_extra_header(h, sizeof(*g));
    *g = (struct nfgenmsg){.nfgen_family = d->family};
    for (uint16_t i = 0; i < ARRAY_SIZE(d->texts); i++)
        if (d->texts[i].n) {
            char text[256];
            snprintf(text, sizeof(text), STR_FMT, STR_ARG(d->texts[i]));
            mnl_attr_put_strz(h, (uint16_t)(i + 1), text);
        }
    int r = mnl_socket_sendto(s, h, h->nlmsg_len) < 0 ? -errno : 1;
    while (r > 0) {
        ssize_t n = mnl_socket_recvfrom(s, msg, 65536);
        r = n < 0 ? -1 : netlink_run(msg, (size_t)n, 1, mnl_socket_get_portid(s), each_message, d);
        if (r < 0)
            r = -errno;
    }
    free(msg);
    return r;
}

static void run_dump(void *arg)
{
    struct dump *d = arg;
    struct mnl_socket *s = open_socket();
    if (s)
        set_room(s, 0);
    d->r = s ? dump_once(d, s) : -errno;
    if (s)
        mnl_socket_close(s);
}

/* The answer may be cut short by somebody's transaction (-EINTR): what was counted then is worth nothing. */
static int ask(struct dump *d, struct err *e)
{
    fiber_offload(run_dump, d);
    return d->r < 0 && d->r != -ENOENT && d->r != -EINTR ? err_set(e, d->r, "nftables: %s", strerror(-d->r)) : d->r;
}

static struct str text_attr(const struct nlmsghdr *h, uint16_t type)
{
    const struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == type && mnl_attr_validate(a, MNL_TYPE_NUL_STRING) >= 0)
            return str_of(mnl_attr_get_str(a));
    }
    return STR_NULL;
}

struct counting {
    struct str table;
    size_t n;
    bool all;
};

/* Attribute 1 is the table, 2 (of chains and sets) the name. */
static void count_one(void *arg, const struct nlmsghdr *h)
{
    struct counting *c = arg;
    struct str name = text_attr(h, 2);
    if (!str_eq(text_attr(h, 1), c->table) || (!c->all && str_starts(name, STR("__"))))
        return;
    c->n++;
}

static int count(uint8_t family, const char *table, uint16_t type, struct counting *c, struct err *e)
{
    c->table = str_of(table);
    struct dump d = {.family = family, .type = type, .each = count_one, .arg = c};
    if (type != NFT_MSG_GETCHAIN && type != NFT_MSG_GETTABLE)
        d.texts[0] = c->table;
    return ask(&d, e);
}

int nft_count(uint8_t family, const char *table, struct nft_counts *ret, struct err *e)
{
    struct counting tables = {.all = true}, chains = {.all = true}, rules = {.all = true}, sets = {0};
    int r = count(family, table, NFT_MSG_GETTABLE, &tables, e);
    if (r == 0 && !tables.n)
        return -ENOENT;
    if (r == 0)
        r = count(family, table, NFT_MSG_GETCHAIN, &chains, e);
    if (r == 0)
        r = count(family, table, NFT_MSG_GETRULE, &rules, e);
    if (r == 0)
        r = count(family, table, NFT_MSG_GETSET, &sets, e);
    if (r == 0)
        *ret = (struct nft_counts){chains.n, rules.n, sets.n};
    return r;
}

static void count_elements(void *arg, const struct nlmsghdr *h)
{
    const struct nlattr *a, *one;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == NFTA_SET_ELEM_LIST_ELEMENTS)
            mnl_attr_for_each_nested(one, a)(*(size_t *)arg)++;
    }
}

static void take_count(void *arg, const struct nlmsghdr *h)
{
    enum { SET_COUNT = 20 }; /* NFTA_SET_COUNT of newer headers */
    const struct nlattr *a;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == SET_COUNT && mnl_attr_get_payload_len(a) == sizeof(uint32_t))
            *(size_t *)arg = ntohl(mnl_attr_get_u32(a));
    }
}

int nft_count_elements(uint8_t family, const char *table, struct str set, bool cheaply, size_t *ret, struct err *e)
{
    size_t n = SIZE_MAX;
    struct dump d = {.family = family, .type = NFT_MSG_GETSET, .one = true, .texts = {str_of(table), set}, .each = take_count, .arg = &n};
    int r = ask(&d, e);
    if (r == 0 && n == SIZE_MAX && cheaply)
        return -ENODATA;
    if (r == 0 && n == SIZE_MAX) {
        n = 0;
        d = (struct dump){.family = family, .type = NFT_MSG_GETSETELEM, .texts = {str_of(table), set}, .each = count_elements, .arg = &n};
        r = ask(&d, e);
    }
    if (r == 0)
        *ret = n;
    return r;
}

struct reading {
    struct dump dump;
    const struct str *sets;
    size_t n, at;
    nft_each_element_fn *fn;
    void *arg;
};

static void take_element(const struct nlattr *element, struct reading *rd)
{
    const struct nlattr *a, *in;
    struct str key = STR_NULL;
    uint64_t left = 0;
    mnl_attr_for_each_nested(a, element)
    {
        if (mnl_attr_get_type(a) == NFTA_SET_ELEM_EXPIRATION && mnl_attr_get_payload_len(a) == sizeof(left))
            left = be64toh(mnl_attr_get_u64(a));
        if (mnl_attr_get_type(a) == NFTA_SET_ELEM_KEY)
            mnl_attr_for_each_nested(in, a)
            {
                if (mnl_attr_get_type(in) == NFTA_DATA_VALUE)
                    key = str_n(mnl_attr_get_payload(in), mnl_attr_get_payload_len(in));
            }
    }
    if (key.n)
        rd->fn(rd->arg, rd->at, key, left);
}

static void take_elements(void *arg, const struct nlmsghdr *h)
{
    const struct nlattr *a, *one;
    mnl_attr_for_each(a, h, sizeof(struct nfgenmsg))
    {
        if (mnl_attr_get_type(a) == NFTA_SET_ELEM_LIST_ELEMENTS)
            mnl_attr_for_each_nested(one, a) take_element(one, arg);
    }
}

/* All with one socket: there may be thousands of sets. */
static void run_reading(void *arg)
{
    struct reading *rd = arg;
    struct dump *d = &rd->dump;
    struct mnl_socket *s = open_socket();
    if (s)
        set_room(s, 0);
    d->r = s ? 0 : -errno;
    for (rd->at = 0; rd->at < rd->n && d->r == 0; rd->at++) {
        d->texts[1] = rd->sets[rd->at];
        int r = dump_once(d, s);
        d->r = r == -ENOENT || r == -EINTR ? 0 : r;
    }
    if (s)
        mnl_socket_close(s);
}

int nft_each_element(uint8_t family, const char *table, const struct str *sets, size_t n, nft_each_element_fn *fn, void *arg, struct err *e)
{
    struct reading rd = {.sets = sets, .n = n, .fn = fn, .arg = arg};
    rd.dump = (struct dump){.family = family, .type = NFT_MSG_GETSETELEM, .texts = {str_of(table)}, .each = take_elements, .arg = &rd};
    if (!n)
        return 0;
    fiber_offload(run_reading, &rd);
    return rd.dump.r < 0 ? err_set(e, rd.dump.r, "nftables: %s", strerror(-rd.dump.r)) : 0;
}
