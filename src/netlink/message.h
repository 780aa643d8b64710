/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of a datagram one after the other, whatever they say about their lengths. */
#pragma once

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>

/* For mnl_nlmsg_ok, which takes a length of 2 GiB and more for a negative one: less than what is left. The padding after the message has
 * to be there, too: libmnl takes it for the end of the attributes. */
static inline bool netlink_ok(const struct nlmsghdr *h, int left)
{
    return left >= (int)sizeof(*h) && h->nlmsg_len >= sizeof(*h) && h->nlmsg_len <= (uint32_t)left &&
           MNL_ALIGN(h->nlmsg_len) <= (uint32_t)left;
}

/* mnl_cb_run for those that are whole. */
static inline int netlink_run(const void *datagram, size_t n, uint32_t seq, uint32_t port, mnl_cb_t fn, void *arg)
{
    const struct nlmsghdr *h = datagram;
    int left = n <= INT32_MAX ? (int)n : 0;
    while (netlink_ok(h, left))
        h = mnl_nlmsg_next(h, &left);
    size_t whole = (size_t)((const char *)h - (const char *)datagram);
    return mnl_cb_run(datagram, whole < n ? whole : n, seq, port, fn, arg);
}
