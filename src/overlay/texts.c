/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/overlay.h"

#include <stdio.h>

static const struct prefix *of_family(const struct prefixes *list, unsigned f)
{
    for (size_t i = 0; i < list->n; i++)
        if (family_of(&list->list[i].ip) == f)
            return &list->list[i];
    return NULL;
}

const char *overlay_name(const struct prefixes *within, char ret[static OVERLAY_NAME_MAX])
{
    char range[IP_TEXT_MAX] = "";
    if (within->n)
        prefix_format(&within->list[0], range);
    snprintf(ret, OVERLAY_NAME_MAX, OVERLAY_NAME "%s%s", range[0] ? "-" : "", range);
    for (char *p = ret; *p; p++)
        if (*p == ':') /* which no name in nft may have */
            *p = '_';
    return ret;
}

void subnet_file_text(struct buf *b, const struct netconf *conf, const struct prefixes *own, uint32_t mtu, bool ip_masq)
{
    static const char *const names[FAMILIES] = {"FLANNEL_", "FLANNEL_IPV6_"};
    for (unsigned f = 0; f < FAMILIES; f++) {
        char text[IP_TEXT_MAX];
        const struct prefix *range = of_family(own, f), *network = &conf->network[f];
        struct prefix bridge;
        if (!conf->enabled[f] || !range || !ip_add(&range->ip, 1, &bridge.ip))
            continue;
        bridge.bits = range->bits;
        buf_printf(b, "%sNETWORK=%s\n", names[f], prefix_format(network->ip.family ? network : range, text));
        buf_printf(b, "%sSUBNET=%s\n", names[f], prefix_format(&bridge, text));
    }
    buf_printf(b, "FLANNEL_MTU=%u\nFLANNEL_IPMASQ=%s\n", mtu, ip_masq ? "true" : "false");
}

/* kube-proxy's mark first: what it masquerades already must not be so twice. */
void masquerade_text(struct buf *b, const char *table, const struct prefixes *networks, const struct prefixes *own,
                     bool predictable)
{
    buf_printf(b,
               "table inet %s\ndelete table inet %s\ntable inet %s {\nchain postrouting {\n"
               "type nat hook postrouting priority srcnat; policy accept;\nmeta mark & 0x4000 == 0x4000 return\n",
               table, table, table);
    for (size_t i = 0; i < networks->n; i++) {
        char net[IP_TEXT_MAX], range[IP_TEXT_MAX];
        unsigned f = family_of(&networks->list[i].ip);
        const char *ip = f == V4 ? "ip" : "ip6", *all = f == V4 ? "224.0.0.0/4" : "ff00::/8";
        const struct prefix *mine = of_family(own, f);
        prefix_format(&networks->list[i], net);
        buf_printf(b, "%s saddr %s %s daddr %s return\n", ip, net, ip, net);
        if (mine)
            buf_printf(b, "%s saddr != %s %s daddr %s return\n", ip, net, ip, prefix_format(mine, range));
        buf_printf(b, "%s saddr %s %s daddr != %s masquerade%s\n", ip, net, ip, all,
                   predictable ? "" : " fully-random");
        buf_printf(b, "%s saddr != %s %s daddr %s masquerade%s\n", ip, net, ip, net,
                   predictable ? "" : " fully-random");
    }
    buf_puts(b, "}\n}\n");
}
