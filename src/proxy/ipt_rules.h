/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What iptables mode wants: a pure function of service ports, as text for iptables-restore. Chains, comments and their
 * order are kube-proxy's, so that `iptables -t nat -L` reads as people know it, and tools that look for them find them.
 */
#pragma once

#include "proxy/model.h"

/* Chains that all Services write lines into. */
enum ipt_shared { NAT_SERVICES, NAT_EXTERNAL, NAT_NODEPORTS, FILTER_SERVICES, FILTER_EXTERNAL, FILTER_NODEPORTS, FILTER_FIREWALL, IPT_SHARED_MAX };
extern const struct ipt_shared_chain {
    const char *name;
    bool filter; /* in table filter, not nat */
} ipt_shared_chains[IPT_SHARED_MAX];

/* Chains of one Service (all in nat) and its lines in shared chains. */
struct ipt_chain {
    struct str name, rules; /* lines that begin with "-A NAME " */
    size_t n;
};
struct ipt_line {
    enum ipt_shared chain;
    struct str text; /* without "-A CHAIN " */
};
struct ipt_items {
    struct arena *arena;
    struct ipt_chain *chains;
    size_t n_chains, cap_chains;
    struct ipt_line *lines;
    size_t n_lines, cap_lines;
};

/* large: so many endpoints in all that comments are left out where there is one for each. */
void ipt_items_of(const struct node_side *node, const struct service_ports *ports, bool large, struct ipt_items *ret);

/* "KUBE-SVC-" and 16 letters: SHA-256 of the text in base32. */
struct str ipt_chain_name(struct arena *a, const char *prefix, struct str text);
bool ipt_is_service_chain(struct str name); /* by its prefix */
/* Rules that do not depend on Services: appended, with their "-A CHAIN ", and counted (but for KUBE-FIREWALL's: the
 * kubelet has rules there, too). nat or filter. */
size_t ipt_base_rules(const struct node_side *node, bool filter, struct buf *b);
/* The last lines of nat's KUBE-SERVICES: addresses that Services claim come after those that Services have, so that nobody takes
 * another's ClusterIP by claiming it (CVE-2020-8554). */
size_t ipt_nodeport_jumps(const struct node_side *node, struct buf *b);

/* Jumps from the kernel's chains. */
struct ipt_jump {
    bool filter;
    const char *from, *to, *comment; /* comment "" for none */
    bool only_new;
};
extern const struct ipt_jump ipt_jumps[]; /* ends with from NULL */
