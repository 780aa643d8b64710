/* SPDX-License-Identifier: Apache-2.0 */
#include "netlink/subnet_env.h"

void subnet_env_read(struct str text, struct subnet_env *ret)
{
    struct subnet_env out = {0};
    struct str line, name, value;
    while (text.n && str_next(&text, '\n', &line)) {
        int64_t n;
        if (!str_cut(str_trim(line), '=', &name, &value))
            continue;
        if (str_is(name, "FLANNEL_SUBNET"))
            prefix_parse(value, &out.subnet[0]);
        else if (str_is(name, "FLANNEL_IPV6_SUBNET"))
            prefix_parse(value, &out.subnet[1]);
        else if (str_is(name, "FLANNEL_NETWORK"))
            prefix_parse(value, &out.network[0]);
        else if (str_is(name, "FLANNEL_IPV6_NETWORK"))
            prefix_parse(value, &out.network[1]);
        else if (str_is(name, "FLANNEL_MTU") && str_to_i64(value, &n) == 0 && n > 0 && n < 65536)
            out.mtu = (uint32_t)n;
        else if (str_is(name, "FLANNEL_IPMASQ"))
            out.ip_masq = str_is(value, "true");
    }
    *ret = out;
}
