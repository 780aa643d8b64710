/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container speaks as itself only: what comes out of its cable bears its own hardware address and addresses, in ARP and
 * neighbour discovery, too, and says of nobody that he is a router (CVE-2020-10749). Network policies go by source addresses.
 * A table of the bridge family whose sets say what each cable may bear; one container more is some elements more.
 */
#include "cni/cni.h"

#include "netlink/nft.h"
#include "netlink/nftmsg.h"

#include <linux/netfilter.h>
#include <stdio.h>

#define NAME "cube-guard"
#define TABLE "bridge " NAME

/* `shown` is filled with the one rule that nft 1.0.6 has no words for: the address that an advertisement is about. */
static const char table_text[] =
    "create table " TABLE "\n"
    "table " TABLE " {\n"
    "set ports { type ifname; }\n"
    "set macs { type ifname . ether_addr; }\n"
    "set own4 { type ifname . ether_addr . ipv4_addr; }\n"
    "set own6 { type ifname . ether_addr . ipv6_addr; }\n"
    "chain shown { }\n"
    "chain pods {\n"
    "iifname . ether saddr != @macs drop\n"
    "iifname . ether saddr . ip saddr @own4 accept\n"
    "iifname . arp saddr ether . arp saddr ip @own4 accept\n"
    "arp saddr ip 0.0.0.0 accept\n"
    "icmpv6 type { nd-router-advert, nd-redirect } drop\n"
    "icmpv6 type nd-neighbor-advert jump shown\n"
    "iifname . ether saddr . ip6 saddr @own6 accept\n"
    "ip6 saddr :: icmpv6 type { nd-neighbor-solicit, nd-router-solicit, mld-listener-report, mld2-listener-report } accept\n"
    "drop\n"
    "}\n"
    "chain prerouting { type filter hook prerouting priority -300; policy accept; iifname @ports jump pods; }\n"
    "}\n";

/* ---- elements ----------------------------------------------------------------------------------------------- */

/* A cable as one line of notes: "guard veth1234 0a:58:0a:01:00:02 10.1.0.2 fd00::2". */
struct cable {
    uint8_t key[16 + 8 + 16]; /* name, hardware address, address: as the kernel concatenates them */
    struct str addresses;
};

static bool cable_parse(struct str line, struct cable *ret)
{
    struct str word, name, mac;
    *ret = (struct cable){0};
    if (!str_next(&line, ' ', &word) || !str_is(word, "guard") || !str_next(&line, ' ', &name) || !str_next(&line, ' ', &mac) ||
        name.n >= IFNAMSIZ || !mac_parse(mac, ret->key + 16))
        return false;
    memcpy(ret->key, name.p, name.n);
    ret->addresses = line;
    return true;
}

/* The address that the kernel gives an interface by itself (RFC 4291, appendix A). */
static void link_local(const uint8_t mac[static 6], uint8_t ret[static 16])
{
    const uint8_t ip[16] = {0xfe, 0x80, 0, 0, 0, 0, 0, 0, mac[0] ^ 2, mac[1], mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]};
    memcpy(ret, ip, 16);
}

static void put_cable(const struct cable *c, struct buf *own4, struct buf *own6)
{
    struct str rest = c->addresses, word;
    uint8_t key[sizeof(c->key)];
    struct ip ip;
    memcpy(key, c->key, sizeof(key));
    link_local(c->key + 16, key + 24);
    nft_element_put(own6, key, sizeof(key), NULL, 0);
    while (rest.n && str_next(&rest, ' ', &word))
        if (ip_parse(word, &ip)) {
            memcpy(key + 24, ip.b, ip_size(&ip));
            nft_element_put(ip.family == AF_INET ? own4 : own6, key, 24 + ip_size(&ip), NULL, 0);
        }
}

static int send_cable(const struct cable *c, void put(struct nft_batch *, struct str, struct str), struct err *e)
{
    struct buf own4 CLEANUP_BUF = BUF_INIT, own6 CLEANUP_BUF = BUF_INIT, name CLEANUP_BUF = BUF_INIT, mac CLEANUP_BUF = BUF_INIT;
    struct nft_batch b;
    put_cable(c, &own4, &own6);
    nft_element_put(&name, c->key, 16, NULL, 0);
    nft_element_put(&mac, c->key, 24, NULL, 0);
    nft_batch_init(&b, NFPROTO_BRIDGE, NAME);
    put(&b, STR("macs"), buf_str(&mac));
    if (own4.n)
        put(&b, STR("own4"), buf_str(&own4));
    put(&b, STR("own6"), buf_str(&own6));
    put(&b, STR("ports"), buf_str(&name));
    int r = nft_batch_send(&b, NULL, e);
    nft_batch_done(&b);
    return r;
}

static void put_add(struct nft_batch *b, struct str set, struct str elements)
{
    nft_elements_add(b, set, 0, elements);
}

static void put_delete(struct nft_batch *b, struct str set, struct str elements)
{
    nft_elements_delete(b, set, elements);
}

/* ---- the table ------------------------------------------------------------------------------------------------ */

/* The first container makes it; another may be quicker. */
static int make_table(void)
{
    struct buf x CLEANUP_BUF = BUF_INIT;
    struct nft_batch b;
    if (nft_apply(str_of(table_text), NULL) < 0)
        return -EEXIST;
    nftx_meta(&x, NFT_META_IIFNAME, 0);
    nftx_payload(&x, NFT_PAYLOAD_LL_HEADER, 6, 6, 4);
    nftx_payload(&x, NFT_PAYLOAD_TRANSPORT_HEADER, 8, 16, 6);
    nftx_lookup(&x, STR("own6"), 0, -1, true);
    nftx_verdict(&x, NF_DROP, STR_NULL);
    nft_batch_init(&b, NFPROTO_BRIDGE, NAME);
    nft_rule_add(&b, STR("shown"), buf_str(&x));
    int r = nft_batch_send(&b, NULL, NULL);
    nft_batch_done(&b);
    return r;
}

int cni_guard_add(const struct cni_request *r, const struct cni_result *result, struct buf *notes, struct err *e)
{
    const struct cni_interface *host = NULL, *within = NULL;
    struct cable c;
    char ip[IP_TEXT_MAX];
    size_t start = notes->n;
    for (size_t i = 0; i < result->n_interfaces; i++)
        if (result->interfaces[i].sandbox)
            within = &result->interfaces[i];
        else if (cni_is_host_link(result->interfaces[i].name))
            host = &result->interfaces[i];
    if (!r->guard || !host || !within)
        return 0;
    buf_printf(notes, "guard %s %s", host->name, within->mac);
    for (size_t i = 0; i < result->n_addresses; i++)
        buf_printf(notes, " %s", ip_format(&result->addresses[i].at.ip, ip));
    buf_putc(notes, '\n');
    if (!cable_parse(str_trim(str_from(buf_str(notes), start)), &c) || send_cable(&c, put_add, NULL) == 0)
        return 0;
    make_table();
    int code = send_cable(&c, put_add, e);
    if (code >= 0)
        return 0;
    notes->n = start;
    /* A kernel without nftables for bridges: as with the reference plug-ins. */
    return code == -EOPNOTSUPP || code == -EAFNOSUPPORT || code == -ENOENT ? 0 : CNI_FAILED;
}

void cni_guard_del(struct str notes)
{
    struct str line;
    struct cable c;
    while (notes.n && str_next(&notes, '\n', &line))
        if (cable_parse(line, &c))
            send_cable(&c, put_delete, NULL); /* refused whole when it is gone already: the link's name was of chance */
}

int cni_guard_cleanup(struct err *e)
{
    size_t n = 0;
    int r = nft_count_elements(NFPROTO_BRIDGE, NAME, STR("ports"), false, &n, e);
    return r < 0 || n ? (r == -ENOENT ? 0 : r) : nft_apply(STR("delete table " TABLE "\n"), e);
}
