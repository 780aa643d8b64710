/* SPDX-License-Identifier: Apache-2.0 */
#include "netlink/nftmsg.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>

enum { LIST_MAX = 60000 }; /* an attribute's length is 16 bits */

/* ---- attributes ----------------------------------------------------------------------------------------- */

static void pad(struct buf *b)
{
    buf_put(b, "\0\0\0", (4 - b->n % 4) % 4);
}

static void put_attr(struct buf *b, uint16_t type, const void *p, size_t n)
{
    struct nlattr a = {(uint16_t)(sizeof(a) + n), type};
    buf_put(b, &a, sizeof(a));
    buf_put(b, p, n);
    pad(b);
}

static void put_u32(struct buf *b, uint16_t type, uint32_t v)
{
    v = htonl(v);
    put_attr(b, type, &v, sizeof(v));
}

static void put_u64(struct buf *b, uint16_t type, uint64_t v)
{
    uint32_t halves[2] = {htonl((uint32_t)(v >> 32)), htonl((uint32_t)v)};
    put_attr(b, type, halves, sizeof(halves));
}

static void put_text(struct buf *b, uint16_t type, struct str s)
{
    struct nlattr a = {(uint16_t)(sizeof(a) + s.n + 1), type};
    buf_put(b, &a, sizeof(a));
    buf_putstr(b, s);
    buf_putc(b, '\0');
    pad(b);
}

static size_t nest(struct buf *b, uint16_t type)
{
    struct nlattr a = {0, (uint16_t)(type | NLA_F_NESTED)};
    buf_put(b, &a, sizeof(a));
    return b->n - sizeof(a);
}

static void unnest(struct buf *b, size_t at)
{
    uint16_t n = (uint16_t)(b->n - at);
    memcpy(b->p + at, &n, sizeof(n));
}

/* ---- messages ------------------------------------------------------------------------------------------- */

static size_t open_raw(struct buf *b, uint16_t type, uint16_t flags, uint32_t seq, uint8_t family, uint16_t res)
{
    struct nlmsghdr h = {.nlmsg_type = type, .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags), .nlmsg_seq = seq};
    struct nfgenmsg g = {.nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(res)};
    size_t at = b->n;
    buf_put(b, &h, sizeof(h));
    buf_put(b, &g, sizeof(g));
    return at;
}

static void close_raw(struct buf *b, size_t at)
{
    uint32_t n = (uint32_t)(b->n - at);
    memcpy(b->p + at, &n, sizeof(n));
}

static size_t open_msg(struct nft_batch *b, uint16_t type, uint16_t flags)
{
    b->n++;
    return open_raw(&b->b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | type), flags, (uint32_t)(b->first + b->n), b->family, 0);
}

static void close_msg(struct nft_batch *b, size_t at)
{
    close_raw(&b->b, at);
}

void nft_batch_init(struct nft_batch *b, uint8_t family, const char *table)
{
    *b = (struct nft_batch){.table = table, .family = family, .next_id = 1};
    close_raw(&b->b, open_raw(&b->b, NFNL_MSG_BATCH_BEGIN, 0, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
}

void nft_batch_init_part(struct nft_batch *b, uint8_t family, const char *table, unsigned part)
{
    /* Sets of different parts need different numbers: older kernels (6.1) take the first of a number in the whole batch. */
    *b = (struct nft_batch){.table = table, .family = family, .next_id = (part << 26) + 1, .first = (size_t)part << 26};
}

void nft_batch_append(struct nft_batch *b, struct nft_batch *src)
{
    buf_putstr(&b->b, buf_str(&src->b));
    b->n += src->n;
    nft_batch_done(src);
    src->n = 0;
}

void nft_batch_done(struct nft_batch *b)
{
    buf_done(&b->b);
}

/* What nft shows as a comment: type, length, text with its NUL. */
static void put_comment(struct buf *b, uint16_t type, struct str comment)
{
    enum { COMMENT_MAX = 127 };
    struct nlattr a = {.nla_type = type};
    struct str text = str_slice(comment, 0, COMMENT_MAX);
    a.nla_len = (uint16_t)(sizeof(a) + 2 + text.n + 1);
    buf_put(b, &a, sizeof(a));
    buf_putc(b, 0);
    buf_putc(b, (char)(text.n + 1));
    buf_putstr(b, text);
    buf_putc(b, '\0');
    pad(b);
}

void nft_table_add(struct nft_batch *b, const char *comment)
{
    size_t at = open_msg(b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
    put_text(&b->b, NFTA_TABLE_NAME, str_of(b->table));
    if (comment)
        put_comment(&b->b, NFTA_TABLE_USERDATA, str_of(comment));
    close_msg(b, at);
}

void nft_table_delete(struct nft_batch *b)
{
    size_t at = open_msg(b, NFT_MSG_DELTABLE, 0);
    put_text(&b->b, NFTA_TABLE_NAME, str_of(b->table));
    close_msg(b, at);
}

void nft_chain_add(struct nft_batch *b, struct str name, const struct nft_hook *hook)
{
    size_t at = open_msg(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
    put_text(&b->b, NFTA_CHAIN_TABLE, str_of(b->table));
    put_text(&b->b, NFTA_CHAIN_NAME, name);
    if (hook) {
        size_t in = nest(&b->b, NFTA_CHAIN_HOOK);
        put_u32(&b->b, NFTA_HOOK_HOOKNUM, (uint32_t)hook->hook);
        put_u32(&b->b, NFTA_HOOK_PRIORITY, (uint32_t)hook->priority);
        unnest(&b->b, in);
        put_text(&b->b, NFTA_CHAIN_TYPE, str_of(hook->type));
    }
    close_msg(b, at);
}

static void about_chain(struct nft_batch *b, uint16_t type, uint16_t table, uint16_t name_attr, struct str name)
{
    size_t at = open_msg(b, type, 0);
    put_text(&b->b, table, str_of(b->table));
    put_text(&b->b, name_attr, name);
    close_msg(b, at);
}

void nft_chain_flush(struct nft_batch *b, struct str name)
{
    about_chain(b, NFT_MSG_DELRULE, NFTA_RULE_TABLE, NFTA_RULE_CHAIN, name);
}

void nft_chain_delete(struct nft_batch *b, struct str name)
{
    about_chain(b, NFT_MSG_DELCHAIN, NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME, name);
}

/* ---- nft's own notes on sets (libnftnl's udata: type, length, value) ------------------------------------ */

static void note(struct buf *u, uint8_t type, const void *p, size_t n)
{
    buf_putc(u, (char)type);
    buf_putc(u, (char)n);
    buf_put(u, p, n);
}

static void note_u32(struct buf *u, uint8_t type, uint32_t v)
{
    note(u, type, &v, sizeof(v));
}

/* As nft numbers its expressions and their details: the header's name and its field, or a key of "meta". */
enum { NFT_EXPR_PAYLOAD = 7, NFT_EXPR_META = 9, NFT_EXPR_CONCAT = 13, NFT_EXPR_NUMGEN = 23 };
static const struct {
    uint32_t expr, details[3], type, len;
    uint8_t n_details;
} parts[NFT_PARTS] = {
    [NFT_PART_IP_DADDR] = {NFT_EXPR_PAYLOAD, {12, 12}, NFT_TYPE_IPADDR, 4, 2},
    [NFT_PART_IP6_DADDR] = {NFT_EXPR_PAYLOAD, {13, 9}, NFT_TYPE_IP6ADDR, 16, 2},
    [NFT_PART_L4PROTO] = {NFT_EXPR_META, {NFT_META_L4PROTO}, NFT_TYPE_PROTO, 4, 1},
    [NFT_PART_DPORT] = {NFT_EXPR_PAYLOAD, {11, 2}, NFT_TYPE_PORT, 4, 2},
    [NFT_PART_TCP_DPORT] = {NFT_EXPR_PAYLOAD, {8, 2}, NFT_TYPE_PORT, 4, 2},
    [NFT_PART_RANDOM] = {NFT_EXPR_NUMGEN, {NFT_NG_RANDOM, 2, 0}, NFT_TYPE_INTEGER, 4, 3},
};

static void note_part(struct buf *u, uint8_t number, enum nft_part part)
{
    struct buf details CLEANUP_BUF = BUF_INIT, in CLEANUP_BUF = BUF_INIT;
    for (uint8_t i = 0; i < parts[part].n_details; i++)
        note_u32(&details, i, parts[part].details[i]);
    note_u32(&in, 0, parts[part].expr);
    note(&in, 1, details.p, details.n);
    note(u, number, in.p, in.n);
}

static void note_typeof(struct buf *u, uint8_t type, const enum nft_part *of)
{
    struct buf all CLEANUP_BUF = BUF_INIT, in CLEANUP_BUF = BUF_INIT;
    for (uint8_t i = 0; of[i] < NFT_PARTS; i++)
        note_part(&all, i, of[i]);
    note_u32(&in, 0, NFT_EXPR_CONCAT);
    note(&in, 1, all.p, all.n);
    note(u, type, in.p, in.n);
}

/* It prints numbers wrongly without their byte orders, and parts that have no size of their own not at all. */
static void put_notes(struct buf *b, const struct nft_set *s)
{
    enum { KEY_ORDER = 0, DATA_ORDER = 1, KEY_TYPEOF = 3, DATA_TYPEOF = 4, NONE = 0, HOST = 1, BIG = 2 };
    struct buf u CLEANUP_BUF = BUF_INIT;
    note_u32(&u, KEY_ORDER, s->key_parts ? NONE : s->host_order ? HOST : BIG);
    note_u32(&u, DATA_ORDER, s->key_parts ? NONE : BIG);
    if (s->key_parts)
        note_typeof(&u, KEY_TYPEOF, s->key_parts);
    if (s->data_parts)
        note_typeof(&u, DATA_TYPEOF, s->data_parts);
    put_attr(b, NFTA_SET_USERDATA, u.p, u.n);
}

static void type_of_parts(const enum nft_part *of, uint32_t *type, uint32_t *len)
{
    for (*type = *len = 0; *of < NFT_PARTS; of++) {
        *type = *type << 6 | parts[*of].type;
        *len += parts[*of].len;
    }
}

uint32_t nft_set_add(struct nft_batch *b, const struct nft_set *set)
{
    struct nft_set with_types = *set;
    const struct nft_set *s = &with_types;
    if (s->key_parts)
        type_of_parts(s->key_parts, &with_types.key_type, &with_types.key_len);
    if (s->data_parts)
        type_of_parts(s->data_parts, &with_types.data_type, &with_types.data_len);
    bool anonymous = !s->name.n;
    struct str name = anonymous ? s->flags & NFT_SET_MAP ? STR("__map%d") : STR("__set%d") : s->name;
    uint32_t id = b->next_id++, flags = s->flags | (anonymous ? NFT_SET_ANONYMOUS | NFT_SET_CONSTANT : 0);
    size_t at = open_msg(b, NFT_MSG_NEWSET, NLM_F_CREATE);
    put_text(&b->b, NFTA_SET_TABLE, str_of(b->table));
    put_text(&b->b, NFTA_SET_NAME, name);
    put_u32(&b->b, NFTA_SET_FLAGS, flags);
    put_u32(&b->b, NFTA_SET_KEY_TYPE, s->key_type);
    put_u32(&b->b, NFTA_SET_KEY_LEN, s->key_len);
    if (s->flags & NFT_SET_MAP) {
        put_u32(&b->b, NFTA_SET_DATA_TYPE, s->data_type);
        put_u32(&b->b, NFTA_SET_DATA_LEN, s->data_len);
    }
    put_u32(&b->b, NFTA_SET_ID, id);
    if (s->size) {
        size_t in = nest(&b->b, NFTA_SET_DESC);
        put_u32(&b->b, NFTA_SET_DESC_SIZE, s->size);
        unnest(&b->b, in);
    }
    put_notes(&b->b, s);
    close_msg(b, at);
    return id;
}

void nft_set_delete(struct nft_batch *b, struct str name)
{
    about_chain(b, NFT_MSG_DELSET, NFTA_SET_TABLE, NFTA_SET_NAME, name);
}

/* ---- elements ------------------------------------------------------------------------------------------- */

static void put_data(struct buf *b, uint16_t type, const void *p, size_t n)
{
    size_t at = nest(b, type);
    put_attr(b, NFTA_DATA_VALUE, p, n);
    unnest(b, at);
}

static void put_verdict(struct buf *b, uint16_t type, int32_t verdict, struct str chain)
{
    size_t at = nest(b, type), in = nest(b, NFTA_DATA_VERDICT);
    put_u32(b, NFTA_VERDICT_CODE, (uint32_t)verdict);
    if (chain.n)
        put_text(b, NFTA_VERDICT_CHAIN, chain);
    unnest(b, in);
    unnest(b, at);
}

void nft_element_put(struct buf *to, const void *key, size_t key_len, const void *data, size_t data_len)
{
    size_t at = nest(to, NFTA_LIST_ELEM);
    put_data(to, NFTA_SET_ELEM_KEY, key, key_len);
    if (data_len)
        put_data(to, NFTA_SET_ELEM_DATA, data, data_len);
    unnest(to, at);
}

void nft_element_put_verdict(struct buf *to, const void *key, size_t key_len, int32_t verdict, struct str chain, struct str comment)
{
    size_t at = nest(to, NFTA_LIST_ELEM);
    put_data(to, NFTA_SET_ELEM_KEY, key, key_len);
    put_verdict(to, NFTA_SET_ELEM_DATA, verdict, chain);
    if (comment.n)
        put_comment(to, NFTA_SET_ELEM_USERDATA, comment);
    unnest(to, at);
}

void nft_element_put_timed(struct buf *to, const void *key, size_t key_len, uint64_t timeout_ms, uint64_t left_ms)
{
    size_t at = nest(to, NFTA_LIST_ELEM);
    put_data(to, NFTA_SET_ELEM_KEY, key, key_len);
    put_u64(to, NFTA_SET_ELEM_TIMEOUT, timeout_ms);
    put_u64(to, NFTA_SET_ELEM_EXPIRATION, left_ms);
    unnest(to, at);
}

/* How many bytes of whole elements fit into one message. */
static size_t fitting(struct str elements)
{
    size_t at = 0;
    while (at < elements.n) {
        struct nlattr a;
        memcpy(&a, elements.p + at, sizeof(a));
        if (at + a.nla_len > LIST_MAX)
            break;
        at += a.nla_len;
    }
    return at;
}

static void elements(struct nft_batch *b, uint16_t type, uint16_t flags, struct str set, uint32_t id, struct str list)
{
    while (list.n) {
        size_t n = fitting(list), at = open_msg(b, type, flags);
        put_text(&b->b, NFTA_SET_ELEM_LIST_TABLE, str_of(b->table));
        put_text(&b->b, NFTA_SET_ELEM_LIST_SET, set);
        if (id)
            put_u32(&b->b, NFTA_SET_ELEM_LIST_SET_ID, id);
        size_t in = nest(&b->b, NFTA_SET_ELEM_LIST_ELEMENTS);
        buf_put(&b->b, list.p, n);
        unnest(&b->b, in);
        close_msg(b, at);
        list = str_from(list, n);
    }
}

void nft_elements_add(struct nft_batch *b, struct str set, uint32_t set_id, struct str list)
{
    elements(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, set.n ? set : STR("__set%d"), set_id, list);
}

void nft_elements_delete(struct nft_batch *b, struct str set, struct str list)
{
    elements(b, NFT_MSG_DELSETELEM, 0, set, 0, list);
}

void nft_rule_add(struct nft_batch *b, struct str chain, struct str exprs)
{
    size_t at = open_msg(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    put_text(&b->b, NFTA_RULE_TABLE, str_of(b->table));
    put_text(&b->b, NFTA_RULE_CHAIN, chain);
    size_t in = nest(&b->b, NFTA_RULE_EXPRESSIONS);
    buf_putstr(&b->b, exprs);
    unnest(&b->b, in);
    close_msg(b, at);
}

/* ---- expressions ---------------------------------------------------------------------------------------- */

struct expr {
    size_t elem, data;
};

static struct expr open_expr(struct buf *x, const char *name)
{
    struct expr e = {nest(x, NFTA_LIST_ELEM), 0};
    put_text(x, NFTA_EXPR_NAME, str_of(name));
    e.data = nest(x, NFTA_EXPR_DATA);
    return e;
}

static void close_expr(struct buf *x, struct expr e)
{
    unnest(x, e.data);
    unnest(x, e.elem);
}

static uint32_t word(unsigned reg)
{
    return NFT_REG32_00 + reg;
}

void nftx_payload(struct buf *x, uint32_t base, uint32_t offset, uint32_t len, unsigned reg)
{
    struct expr e = open_expr(x, "payload");
    put_u32(x, NFTA_PAYLOAD_DREG, word(reg));
    put_u32(x, NFTA_PAYLOAD_BASE, base);
    put_u32(x, NFTA_PAYLOAD_OFFSET, offset);
    put_u32(x, NFTA_PAYLOAD_LEN, len);
    close_expr(x, e);
}

static void two(struct buf *x, const char *name, uint16_t a, uint32_t va, uint16_t b, uint32_t vb)
{
    struct expr e = open_expr(x, name);
    put_u32(x, a, va);
    put_u32(x, b, vb);
    close_expr(x, e);
}

void nftx_meta(struct buf *x, uint32_t key, unsigned reg)
{
    two(x, "meta", NFTA_META_KEY, key, NFTA_META_DREG, word(reg));
}

void nftx_meta_set(struct buf *x, uint32_t key, unsigned reg)
{
    two(x, "meta", NFTA_META_KEY, key, NFTA_META_SREG, word(reg));
}

void nftx_ct(struct buf *x, uint32_t key, unsigned reg)
{
    two(x, "ct", NFTA_CT_KEY, key, NFTA_CT_DREG, word(reg));
}

void nftx_fib_type(struct buf *x, uint32_t flags, unsigned reg)
{
    struct expr e = open_expr(x, "fib");
    put_u32(x, NFTA_FIB_FLAGS, flags);
    put_u32(x, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    put_u32(x, NFTA_FIB_DREG, word(reg));
    close_expr(x, e);
}

void nftx_cmp(struct buf *x, uint32_t op, unsigned reg, const void *data, size_t len)
{
    struct expr e = open_expr(x, "cmp");
    put_u32(x, NFTA_CMP_SREG, word(reg));
    put_u32(x, NFTA_CMP_OP, op);
    put_data(x, NFTA_CMP_DATA, data, len);
    close_expr(x, e);
}

void nftx_bits(struct buf *x, unsigned reg, const void *mask, const void *xor_, size_t len)
{
    struct expr e = open_expr(x, "bitwise");
    put_u32(x, NFTA_BITWISE_SREG, word(reg));
    put_u32(x, NFTA_BITWISE_DREG, word(reg));
    put_u32(x, NFTA_BITWISE_LEN, (uint32_t)len);
    put_data(x, NFTA_BITWISE_MASK, mask, len);
    put_data(x, NFTA_BITWISE_XOR, xor_, len);
    close_expr(x, e);
}

void nftx_immediate(struct buf *x, unsigned reg, const void *data, size_t len)
{
    struct expr e = open_expr(x, "immediate");
    put_u32(x, NFTA_IMMEDIATE_DREG, word(reg));
    put_data(x, NFTA_IMMEDIATE_DATA, data, len);
    close_expr(x, e);
}

void nftx_verdict(struct buf *x, int32_t verdict, struct str chain)
{
    struct expr e = open_expr(x, "immediate");
    put_u32(x, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
    put_verdict(x, NFTA_IMMEDIATE_DATA, verdict, chain);
    close_expr(x, e);
}

void nftx_numgen(struct buf *x, uint32_t modulus, unsigned reg)
{
    struct expr e = open_expr(x, "numgen");
    put_u32(x, NFTA_NG_DREG, word(reg));
    put_u32(x, NFTA_NG_MODULUS, modulus);
    put_u32(x, NFTA_NG_TYPE, NFT_NG_RANDOM);
    put_u32(x, NFTA_NG_OFFSET, 0);
    close_expr(x, e);
}

size_t nftx_lookup(struct buf *x, struct str set, unsigned reg, int to, bool inverse)
{
    struct expr e = open_expr(x, "lookup");
    size_t at = 0;
    put_text(x, NFTA_LOOKUP_SET, set.n ? set : to == -1 ? STR("__set%d") : STR("__map%d"));
    put_u32(x, NFTA_LOOKUP_SREG, word(reg));
    if (to != -1)
        put_u32(x, NFTA_LOOKUP_DREG, to < 0 ? (uint32_t)NFT_REG_VERDICT : word((unsigned)to));
    if (!set.n) {
        put_u32(x, NFTA_LOOKUP_SET_ID, 0);
        at = x->n - sizeof(uint32_t);
    }
    if (inverse)
        put_u32(x, NFTA_LOOKUP_FLAGS, NFT_LOOKUP_F_INV);
    close_expr(x, e);
    return at;
}

void nftx_set_id(char *exprs, size_t at, uint32_t id)
{
    id = htonl(id);
    memcpy(exprs + at, &id, sizeof(id));
}

void nftx_dynset(struct buf *x, uint32_t op, struct str set, unsigned key, int data, uint64_t timeout_ms)
{
    struct expr e = open_expr(x, "dynset");
    put_text(x, NFTA_DYNSET_SET_NAME, set);
    put_u32(x, NFTA_DYNSET_OP, op);
    put_u32(x, NFTA_DYNSET_SREG_KEY, word(key));
    if (data >= 0)
        put_u32(x, NFTA_DYNSET_SREG_DATA, word((unsigned)data));
    if (timeout_ms)
        put_u64(x, NFTA_DYNSET_TIMEOUT, timeout_ms);
    close_expr(x, e);
}

void nftx_dnat(struct buf *x, uint8_t family, unsigned address, unsigned port)
{
    struct expr e = open_expr(x, "nat");
    put_u32(x, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    put_u32(x, NFTA_NAT_FAMILY, family);
    put_u32(x, NFTA_NAT_REG_ADDR_MIN, word(address));
    put_u32(x, NFTA_NAT_REG_PROTO_MIN, word(port));
    close_expr(x, e);
}

void nftx_masquerade(struct buf *x)
{
    struct expr e = open_expr(x, "masq");
    put_u32(x, NFTA_MASQ_FLAGS, 1 << 4); /* NF_NAT_RANGE_PROTO_RANDOM_FULLY */
    close_expr(x, e);
}

void nftx_reject(struct buf *x, uint8_t family)
{
    struct expr e = open_expr(x, "reject");
    uint8_t code = family == NFPROTO_IPV6 ? 4 : 3; /* port unreachable */
    put_u32(x, NFTA_REJECT_TYPE, NFT_REJECT_ICMP_UNREACH);
    put_attr(x, NFTA_REJECT_ICMP_CODE, &code, 1);
    close_expr(x, e);
}
