/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A NetworkPolicy taken apart: whom it is for and what it lets through, ready to be matched and to be written as rules.
 * Pure. Addresses are in network order and their text is made by us, so that no text of a user's object goes further.
 */
#pragma once

#include "base/err.h"
#include "netlink/prefix.h"
#include "type/selector.h"

enum direction { INGRESS, EGRESS, DIRECTIONS };

enum family { FAMILY_4, FAMILY_6, FAMILIES };

static inline enum family family_of(const struct ip *ip)
{
    return ip->family == AF_INET ? FAMILY_4 : FAMILY_6;
}
/* "10.0.0.0/8"; without "/": one address. -EINVAL. */
int block_parse(struct str text, struct prefix *ret);
/* As nft writes it: a single address without its length. */
const char *block_text(const struct prefix *b, char ret[static IP_TEXT_MAX]);

/* Pods by their labels, in one namespace or in those with certain labels. */
struct selection {
    struct str id; /* the same for the same selection, whoever makes it */
    struct str ns; /* .p NULL: namespaces by labels */
    struct selector namespaces, pods;
};

enum peer_kind { PEER_PODS, PEER_BLOCK };
struct peer {
    enum peer_kind kind;
    struct selection pods;
    struct prefix block, *except;
    size_t n_except;
};

struct port_range {
    uint16_t first, last;
};
/* All that a rule says about one protocol. */
struct ports {
    const char *protocol; /* "tcp", "udp", "sctp" */
    bool all;
    struct port_range *ranges; /* sorted, none touches another */
    struct str *names;
    size_t n_ranges, n_names;
};
enum { PROTOCOLS = 3 };

struct policy_rule {
    struct peer *peers; /* none: everybody */
    size_t n_peers;
    struct ports ports[PROTOCOLS]; /* none: every protocol */
    size_t n_ports;
};

struct policy_spec {
    struct str ns;
    struct selector pods;
    struct {
        bool applies; /* the pods are isolated in this direction */
        struct policy_rule *rules;
        size_t n;
    } to[DIRECTIONS];
};

/* 0, or -EINVAL with a sentence: parts of it cannot be understood and let nothing through. Texts in the arena. */
int policy_spec_of(struct arena *a, const struct val *policy, struct policy_spec *ret, struct err *e);
