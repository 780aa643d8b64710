/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pods that talk to the world outside do it under the node's address. The bridge plugin could see to that (ipMasq),
 * but it runs iptables half a dozen times for each Pod; one rule for the node's whole range does the same once.
 */
#include "netlink/nft.h"
#include "netlink/nft_watch.h"
#include "node/host.h"

static void put_range(struct buf *b, const char *bridge, struct str cidr, const char *cluster_cidr)
{
    bool six = str_find(cidr, ':') >= 0;
    const char *family = six ? "ip6" : "ip";
    struct str ranges = str_of(cluster_cidr), range;
    buf_printf(b, "%s saddr " STR_FMT " %s daddr %s return\n", family, STR_ARG(cidr), family, six ? "ff00::/8" : "224.0.0.0/4");
    while (cluster_cidr && str_next(&ranges, ',', &range))
        if ((str_find(range, ':') >= 0) == six)
            buf_printf(b, "%s saddr " STR_FMT " %s daddr " STR_FMT " return\n", family, STR_ARG(cidr), family, STR_ARG(str_trim(range)));
    buf_printf(b, "%s saddr " STR_FMT " oifname != \"%s\" masquerade\n", family, STR_ARG(cidr), bridge);
}

int linux_masquerade(struct host *h UNUSED, const char *bridge, const struct str *cidrs, size_t n, const char *cluster_cidr,
                     struct err *e)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    /* Made anew in one transaction: whatever an earlier run has left is gone with it. */
    buf_printf(&b, "table inet cube-masq-%s\ndelete table inet cube-masq-%s\ntable inet cube-masq-%s {\n"
                   "chain postrouting {\ntype nat hook postrouting priority srcnat; policy accept;\n",
               bridge, bridge, bridge);
    for (size_t i = 0; i < n; i++)
        put_range(&b, bridge, cidrs[i], cluster_cidr);
    buf_puts(&b, "}\n}\n");
    int r = nft_apply(buf_str(&b), e);
    return r < 0 ? err_wrap(e, r, "the rule that hides pods behind the node cannot be set") : 0;
}

bool linux_masquerade_lost(struct host *h UNUSED, const char *bridge, uint32_t *generation)
{
    struct buf command CLEANUP_BUF = BUF_INIT, said CLEANUP_BUF = BUF_INIT;
    uint32_t now;
    if (nft_generation(&now, NULL) < 0 || now == *generation)
        return false;
    *generation = now;
    buf_printf(&command, "list chain inet cube-masq-%s postrouting", bridge);
    return nft_read(buf_str(&command), &said, NULL) < 0 || !str_contains(buf_str(&said), STR("masquerade"));
}
