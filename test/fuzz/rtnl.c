/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink messages as the kernel would send them: any bytes. */
#include "netlink/message.h"
#include "netlink/rtnl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t n = size < 16384 ? size : 16384;
    char *copy = xmalloc(n + 1); /* aligned, and as long as it is: reading beyond it is found */
    int left = (int)n;
    memcpy(copy, data, n);
    for (struct nlmsghdr *h = (void *)copy; netlink_ok(h, left); h = mnl_nlmsg_next(h, &left)) {
        struct rtnl_link link;
        struct rtnl_address address;
        struct rtnl_route route;
        struct rtnl_neigh neigh;
        rtnl_parse_link(h, &link);
        rtnl_parse_address(h, &address);
        rtnl_parse_route(h, &route);
        rtnl_parse_neigh(h, &neigh);
    }
    free(copy);
    return 0;
}
