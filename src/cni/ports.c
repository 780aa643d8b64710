/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host ports: a table of our own whose maps say where each goes, so that one port more is one element more whatever there is
 * already. Packets that would come back to their own network (a container that asks its host's address for itself or its
 * neighbour) or from the host's loopback leave under the host's address, as otherwise the answer would not find its way.
 */
#include "cni/cni.h"

#include "netlink/conntrack.h"
#include "netlink/nft.h"
#include "netlink/nftmsg.h"

#include <fcntl.h>
#include <linux/netfilter.h>
#include <stdio.h>
#include <unistd.h>

#define TABLE "inet cube-hostports"

/* Marks are the reference plug-in's: 0x2000 for what is to be masqueraded. */
static const char table_text[] =
    "create table " TABLE "\n"
    "table " TABLE " {\n"
    "map any4 { type inet_proto . inet_service : ipv4_addr . inet_service; }\n"
    "map any6 { type inet_proto . inet_service : ipv6_addr . inet_service; }\n"
    "map at4 { type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }\n"
    "map at6 { type ipv6_addr . inet_proto . inet_service : ipv6_addr . inet_service; }\n"
    "set hide { type inet_proto . inet_service; }\n"
    "set near4 { type ipv4_addr; flags interval; auto-merge; elements = { 127.0.0.0/8 }; }\n"
    "set near6 { type ipv6_addr; flags interval; auto-merge; elements = { ::1 }; }\n"
    "chain ports {\n"
    "meta l4proto . th dport @hide ip saddr @near4 meta mark set meta mark or 0x2000\n"
    "meta l4proto . th dport @hide ip6 saddr @near6 meta mark set meta mark or 0x2000\n"
    "dnat ip to ip daddr . meta l4proto . th dport map @at4\n"
    "dnat ip6 to ip6 daddr . meta l4proto . th dport map @at6\n"
    "dnat ip to meta l4proto . th dport map @any4\n"
    "dnat ip6 to meta l4proto . th dport map @any6\n"
    "}\n"
    "chain prerouting { type nat hook prerouting priority dstnat; fib daddr type local jump ports; }\n"
    "chain output { type nat hook output priority -100; fib daddr type local jump ports; }\n"
    "chain postrouting { type nat hook postrouting priority srcnat; meta mark and 0x2000 == 0x2000 masquerade; }\n"
    "}\n";

/* ---- elements ------------------------------------------------------------------------------------------- */

/* A mapping as one line: "port 4 tcp 8080 * 10.1.0.2 80 hide 10.1.0.0/24" (the host's address or *; "-": not hidden). */
struct element {
    bool six, hide;
    struct str protocol, host_port, host_ip, to, to_port, net;
};

static bool element_parse(struct str line, struct element *ret)
{
    struct str words[9];
    size_t n = 0;
    while (n < 9 && line.n && str_next(&line, ' ', &words[n]))
        n++;
    if (n != 9 || !str_is(words[0], "port"))
        return false;
    *ret = (struct element){.six = str_is(words[1], "6"), .protocol = words[2], .host_port = words[3], .host_ip = words[4],
                            .to = words[5], .to_port = words[6], .hide = str_is(words[7], "hide"), .net = words[8]};
    return true;
}

static void put_mapping(struct buf *b, const char *verb, const struct element *m, bool with_data)
{
    bool any = str_is(m->host_ip, "*");
    buf_printf(b, "%s element " TABLE " %s%c { ", verb, any ? "any" : "at", m->six ? '6' : '4');
    if (!any)
        buf_printf(b, STR_FMT " . ", STR_ARG(m->host_ip));
    buf_printf(b, STR_FMT " . " STR_FMT, STR_ARG(m->protocol), STR_ARG(m->host_port));
    if (with_data)
        buf_printf(b, " : " STR_FMT " . " STR_FMT, STR_ARG(m->to), STR_ARG(m->to_port));
    buf_puts(b, " }\n");
}

static void put_hide(struct buf *b, const char *verb, const struct element *m)
{
    buf_printf(b, "%s element " TABLE " hide { " STR_FMT " . " STR_FMT " }\n", verb, STR_ARG(m->protocol),
               STR_ARG(m->host_port));
}

static void put_element(struct buf *b, const struct element *m)
{
    put_mapping(b, "add", m, true);
    if (!m->hide)
        return;
    put_hide(b, "add", m);
    buf_printf(b, "add element " TABLE " near%c { " STR_FMT " }\n", m->six ? '6' : '4', STR_ARG(m->net));
}

static const struct cni_address *address_of(const struct cni_result *result, uint8_t family)
{
    for (size_t i = 0; i < result->n_addresses; i++)
        if (result->addresses[i].at.ip.family == family)
            return &result->addresses[i];
    return NULL;
}

static void put_port(struct buf *b, struct buf *notes, const struct cni_port *p, const struct cni_address *at, bool snat)
{
    char ip[IP_TEXT_MAX], net[IP_TEXT_MAX], host[IP_TEXT_MAX] = "*";
    struct prefix range = {prefix_network(&at->at), at->at.bits};
    struct element m;
    size_t start = notes->n;
    if (p->at.family)
        ip_format(&p->at, host);
    buf_printf(notes, "port %c %s %u %s %s %u %s %s\n", at->at.ip.family == AF_INET ? '4' : '6', p->protocol, p->host, host,
               ip_format(&at->at.ip, ip), p->container, snat ? "hide" : "-", prefix_format(&range, net));
    if (element_parse(str_trim(str_from(buf_str(notes), start)), &m))
        put_element(b, &m);
}

void cni_ports_text(struct buf *b, struct buf *notes, const struct cni_request *r, const struct cni_result *result)
{
    static const uint8_t families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < r->n_ports; i++)
        for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
            const struct cni_port *p = &r->ports[i];
            const struct cni_address *at = address_of(result, families[f]);
            if (at && (!p->at.family || p->at.family == families[f]))
                put_port(b, notes, p, at, r->snat);
        }
}

/* ---- doing ------------------------------------------------------------------------------------------------ */

/* The first pod with a port makes the table; another may be quicker. */
static int apply(struct str text, struct err *e)
{
    int r = nft_apply(text, NULL);
    if (r < 0 && nft_apply(str_of("list table " TABLE), NULL) < 0)
        nft_apply(str_of(table_text), NULL);
    return r < 0 ? nft_apply(text, e) : 0;
}

/* Answers to the host's own 127.0.0.1 come from there, which the kernel else takes for a forgery. */
static void allow_loopback(const struct cni_result *result)
{
    for (size_t i = 0; i < result->n_interfaces; i++) {
        char path[80];
        if (result->interfaces[i].sandbox || cni_is_host_link(result->interfaces[i].name))
            continue;
        snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/route_localnet", result->interfaces[i].name);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0)
            continue;
        if (write(fd, "1", 1) < 0) {
            /* then the host's own 127.0.0.1 leads to no pod */
        }
        close(fd);
    }
}

/* An element of a pod that was never taken away (its node lost power): the port is not in use, the runtime says so. */
static void replace(const struct element *m)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    put_mapping(&b, "delete", m, false);
    nft_apply(buf_str(&b), NULL);
}

static int add_all(struct str text, struct str notes, struct err *e)
{
    struct str rest = notes, line;
    struct element m;
    if (apply(text, e) == 0)
        return 0;
    while (rest.n && str_next(&rest, '\n', &line))
        if (element_parse(line, &m))
            replace(&m);
    return apply(text, e) < 0 ? CNI_FAILED : 0;
}

/* UDP "connections" that were there before lead elsewhere until they are forgotten. */
static void forget_flows(const struct cni_request *r);

int cni_ports_add(const struct cni_request *r, const struct cni_result *result, struct str text, struct str notes,
                  struct err *e)
{
    if (!text.n)
        return 0;
    int c = add_all(text, notes, e);
    if (c == 0) {
        allow_loopback(result);
        forget_flows(r);
    }
    return c;
}

/* Adding first what is to go makes it no error that it is gone already; where another has the port now, both fail. */
void cni_ports_del(struct str notes)
{
    struct str line;
    struct element m;
    while (notes.n && str_next(&notes, '\n', &line)) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        if (!element_parse(line, &m))
            continue;
        put_mapping(&b, "add", &m, true);
        put_mapping(&b, "delete", &m, false);
        if (m.hide && str_is(m.host_ip, "*")) { /* ports of single addresses share it with each other */
            put_hide(&b, "add", &m);
            put_hide(&b, "delete", &m);
        }
        nft_apply(buf_str(&b), NULL);
    }
}

int cni_ports_check(const struct cni_request *r, const struct cni_result *result, struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT, notes CLEANUP_BUF = BUF_INIT;
    struct str rest, line;
    struct element m;
    cni_ports_text(&b, &notes, r, result);
    rest = buf_str(&notes);
    while (rest.n && str_next(&rest, '\n', &line)) {
        struct buf one CLEANUP_BUF = BUF_INIT;
        if (!element_parse(line, &m))
            continue;
        put_mapping(&one, "get", &m, true);
        if (nft_apply(buf_str(&one), NULL) < 0)
            return err_set(e, CNI_CHECK_FAILED, "the host's %s port " STR_FMT " does not lead to the container",
                           m.six ? "IPv6" : "IPv4", STR_ARG(m.host_port));
    }
    return 0;
}

int cni_ports_cleanup(struct err *e)
{
    static const char *const maps[] = {"any4", "any6", "at4", "at6"};
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
        size_t n = 0;
        int r = nft_count_elements(NFPROTO_INET, "cube-hostports", str_of(maps[i]), false, &n, e);
        if (r < 0 || n)
            return r == -ENOENT ? 0 : r;
    }
    return nft_apply(STR("delete table " TABLE "\n"), e);
}

/* ---- connection tracking ---------------------------------------------------------------------------------- */

static bool leads_to_port(void *arg, const struct conntrack_flow *f)
{
    const struct cni_request *r = arg;
    for (size_t i = 0; i < r->n_ports; i++)
        if (!strcmp(r->ports[i].protocol, "udp") && r->ports[i].host == f->to_port)
            return true;
    return false;
}

static void forget_flows(const struct cni_request *r)
{
    bool any = false;
    for (size_t i = 0; i < r->n_ports; i++)
        any = any || !strcmp(r->ports[i].protocol, "udp");
    if (!any)
        return;
    conntrack_sweep(AF_INET, IPPROTO_UDP, leads_to_port, (void *)(uintptr_t)r, NULL, NULL);
    conntrack_sweep(AF_INET6, IPPROTO_UDP, leads_to_port, (void *)(uintptr_t)r, NULL, NULL);
}
