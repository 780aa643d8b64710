/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nf_tables transactions as netlink messages, for tables with so many rules and elements that nft's text is too slow
 * (libnftables takes about ten times as long and reads the ruleset back first). A batch is all or nothing. What it may
 * name must be there already or stand earlier in the batch.
 *
 * A rule is a list of expressions, made with nftx_*. Registers are numbered in words of four bytes from 0 to 15; data
 * wider than a word takes the following ones, too. Addresses, ports and marks stand in registers as the kernel has them:
 * what comes from packets in network order, marks and types in the machine's.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

#include <linux/netfilter/nf_tables.h>

struct nft_batch {
    struct buf b;
    const char *table;
    uint8_t family; /* NFPROTO_IPV4, NFPROTO_IPV6, NFPROTO_INET */
    uint32_t next_id;
    size_t n, first; /* messages so far, and the number of the first: for appended batches, to tell refusals apart */
};

void nft_batch_init(struct nft_batch *b, uint8_t family, const char *table);
/* A batch that will only be appended to another, each with a part (1 to 62) of its own. */
void nft_batch_init_part(struct nft_batch *b, uint8_t family, const char *table, unsigned part);
void nft_batch_done(struct nft_batch *b);
/* Puts src's messages behind those of b and empties src; both of one table. */
void nft_batch_append(struct nft_batch *b, struct nft_batch *src);
/* A socket for many batches: when one is closed, the kernel first destroys what transactions have removed, and that takes
 * longer than a small transaction. Zero-initialised is ready; opened when it is needed. */
struct nft_link {
    struct mnl_socket *socket;
};
void nft_link_done(struct nft_link *l);
/* Waits (helper thread). 0, or -errno of the first message that the kernel refused, with its sentence. link may be NULL. */
int nft_batch_send(struct nft_batch *b, struct nft_link *link, struct err *e);

void nft_table_add(struct nft_batch *b, const char *comment);
void nft_table_delete(struct nft_batch *b); /* refused when it is not there: add it first */

/* hook < 0: a chain that is jumped to. */
struct nft_hook {
    const char *type; /* "nat", "filter" */
    int hook, priority;
};
void nft_chain_add(struct nft_batch *b, struct str name, const struct nft_hook *hook);
void nft_chain_flush(struct nft_batch *b, struct str name);
void nft_chain_delete(struct nft_batch *b, struct str name);

/* Types of keys and data are numbered as nft does, so that `nft list` prints them: concatenations shift by six bits. */
enum {
    NFT_TYPE_INTEGER = 4,
    NFT_TYPE_IPADDR = 7,
    NFT_TYPE_IP6ADDR = 8,
    NFT_TYPE_PROTO = 12,
    NFT_TYPE_PORT = 13,
    NFT_TYPE_TO_VERDICT = (int)0xffffff00
};
/* What a part of a concatenation is made of, for keys and data that have no type of their own (nft's "typeof"). */
enum nft_part { NFT_PART_IP_DADDR, NFT_PART_IP6_DADDR, NFT_PART_L4PROTO, NFT_PART_DPORT, NFT_PART_TCP_DPORT, NFT_PART_RANDOM, NFT_PARTS };
struct nft_set {
    struct str name;  /* empty: an anonymous set of the next rule that is added */
    uint32_t flags;   /* NFT_SET_MAP, NFT_SET_TIMEOUT, NFT_SET_EVAL ... */
    uint32_t key_type, key_len, data_type, data_len;
    uint32_t size;    /* 0: as it comes */
    bool host_order;  /* keys are numbers in the machine's byte order */
    const enum nft_part *key_parts, *data_parts; /* both or none: types and lengths follow from them; end with NFT_PARTS */
};
/* The id by which a rule of this batch can name it (anonymous ones can be named by nothing else). */
uint32_t nft_set_add(struct nft_batch *b, const struct nft_set *s);
void nft_set_delete(struct nft_batch *b, struct str name);

/* One element as bytes; several stand one after the other. verdict: NFT_GOTO ... with its chain, NF_DROP, NF_ACCEPT.
 * comment: for people; cut after 127 bytes. */
void nft_element_put(struct buf *to, const void *key, size_t key_len, const void *data, size_t data_len);
void nft_element_put_verdict(struct buf *to, const void *key, size_t key_len, int32_t verdict, struct str chain, struct str comment);
/* In a set with timeouts: it stays for so long, counted from when it was last put in; left: how much of that is left. */
void nft_element_put_timed(struct buf *to, const void *key, size_t key_len, uint64_t timeout_ms, uint64_t left_ms);
/* set_id 0: by name. */
void nft_elements_add(struct nft_batch *b, struct str set, uint32_t set_id, struct str elements);
void nft_elements_delete(struct nft_batch *b, struct str set, struct str elements);

void nft_rule_add(struct nft_batch *b, struct str chain, struct str exprs);

/* ---- expressions ---------------------------------------------------------------------------------------- */

void nftx_payload(struct buf *x, uint32_t base, uint32_t offset, uint32_t len, unsigned reg); /* NFT_PAYLOAD_... */
void nftx_meta(struct buf *x, uint32_t key, unsigned reg);                                     /* NFT_META_... */
void nftx_meta_set(struct buf *x, uint32_t key, unsigned reg);
void nftx_ct(struct buf *x, uint32_t key, unsigned reg);
void nftx_fib_type(struct buf *x, uint32_t flags, unsigned reg); /* NFTA_FIB_F_SADDR or DADDR */
void nftx_cmp(struct buf *x, uint32_t op, unsigned reg, const void *data, size_t len); /* NFT_CMP_EQ, NEQ */
void nftx_bits(struct buf *x, unsigned reg, const void *mask, const void *xor_, size_t len);
void nftx_immediate(struct buf *x, unsigned reg, const void *data, size_t len);
void nftx_verdict(struct buf *x, int32_t verdict, struct str chain);
void nftx_numgen(struct buf *x, uint32_t modulus, unsigned reg); /* random */
/* Is what stands in reg in the set? to: register of a map's data, -1 for sets, -2 for verdicts. Returns where the set's
 * id stands in x (0 when a name is given), to be filled in by nftx_set_id. */
size_t nftx_lookup(struct buf *x, struct str set, unsigned reg, int to, bool inverse);
void nftx_set_id(char *exprs, size_t at, uint32_t id);
/* op: NFT_DYNSET_OP_ADD, UPDATE, DELETE. data < 0: a set. */
void nftx_dynset(struct buf *x, uint32_t op, struct str set, unsigned key, int data, uint64_t timeout_ms);
void nftx_dnat(struct buf *x, uint8_t family, unsigned address, unsigned port);
void nftx_masquerade(struct buf *x);                 /* fully random */
void nftx_reject(struct buf *x, uint8_t family);     /* ICMP port unreachable */

/* ---- looking ------------------------------------------------------------------------------------------- */

struct nft_counts {
    size_t chains, rules, sets; /* of the table, anonymous sets left out */
};
/* 0, or -ENOENT when the table is not there. Waits. */
int nft_count(uint8_t family, const char *table, struct nft_counts *ret, struct err *e);
/* How many elements a set has. Kernels before 6.16 do not tell: they must list them, which takes seconds when there are many
 * (cheaply: -ENODATA instead). Waits. */
int nft_count_elements(uint8_t family, const char *table, struct str set, bool cheaply, size_t *ret, struct err *e);
/* Calls fn with each element of these sets, and how many milliseconds it will stay (0: for good). A set that is not there has
 * none. Waits; fn is called on a helper thread: it may touch nothing but arg. */
typedef void nft_each_element_fn(void *arg, size_t set, struct str key, uint64_t left_ms);
int nft_each_element(uint8_t family, const char *table, const struct str *sets, size_t n, nft_each_element_fn *fn, void *arg, struct err *e);
