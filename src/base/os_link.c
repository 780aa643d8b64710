/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of links, of the real door: packet(7) for ARP, raw(7) for ICMPv6. */
#include "base/os_socket.h"

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/icmp6.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static int fail(int fd, const char *what, struct err *e)
{
    int r = -errno;
    if (fd >= 0)
        close(fd);
    return err_set(e, r, "%s: %s", what, strerror(-r));
}

static int open_arp(int link, struct err *e)
{
    struct sockaddr_ll at = {.sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ARP), .sll_ifindex = link};
    int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0); /* hears nothing until it is bound */
    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof(at)) < 0)
        return fail(fd, "ARP cannot be heard", e);
    return fd;
}

static bool set(int fd, int name, int value)
{
    return setsockopt(fd, IPPROTO_IPV6, name, &value, sizeof(value)) == 0;
}

static int open_icmp6(int link, struct err *e)
{
    char name[IF_NAMESIZE];
    struct icmp6_filter filter;
    int fd = socket(AF_INET6, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_ICMPV6);
    ICMP6_FILTER_SETBLOCKALL(&filter);
    ICMP6_FILTER_SETPASS(ND_NEIGHBOR_SOLICIT, &filter);
    ICMP6_FILTER_SETPASS(ND_NEIGHBOR_ADVERT, &filter);
    if (fd < 0 || !if_indextoname((unsigned)link, name) ||
        setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name)) < 0 ||
        setsockopt(fd, IPPROTO_ICMPV6, ICMP6_FILTER, &filter, sizeof(filter)) < 0 || !set(fd, IPV6_RECVHOPLIMIT, 1) ||
        !set(fd, IPV6_UNICAST_HOPS, 255) || !set(fd, IPV6_MULTICAST_HOPS, 255) || !set(fd, IPV6_MULTICAST_LOOP, 0) ||
        !set(fd, IPV6_MULTICAST_IF, link))
        return fail(fd, "neighbour discovery cannot be heard", e);
    return fd;
}

int link_open(enum os_link_kind kind, int link, struct err *e)
{
    return kind == OS_LINK_ARP ? open_arp(link, e) : open_icmp6(link, e);
}

int link_join(int link, const uint8_t group[static 16], struct err *e)
{
    struct ipv6_mreq q = {.ipv6mr_interface = (unsigned)link};
    int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    memcpy(&q.ipv6mr_multiaddr, group, 16);
    if (fd < 0 || setsockopt(fd, IPPROTO_IPV6, IPV6_ADD_MEMBERSHIP, &q, sizeof(q)) < 0)
        return fail(fd, "a multicast group cannot be heard", e);
    return fd;
}

union link_address {
    struct sockaddr any;
    struct sockaddr_ll ll;
    struct sockaddr_in6 in6;
};

static int hops_of(struct msghdr *m)
{
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
        if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT) {
            int hops;
            memcpy(&hops, CMSG_DATA(c), sizeof(hops));
            return hops;
        }
    return -1;
}

ssize_t link_try_recv(int fd, void *p, size_t n, struct os_link_peer *ret_from)
{
    union link_address a = {0};
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))];
    struct iovec v = {p, n};
    struct msghdr m = {.msg_name = &a, .msg_namelen = sizeof(a), .msg_iov = &v, .msg_iovlen = 1, .msg_control = control,
                       .msg_controllen = sizeof(control)};
    ssize_t r;
    do {
        r = recvmsg(fd, &m, 0);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    *ret_from = (struct os_link_peer){.hops = hops_of(&m)};
    if (a.any.sa_family == AF_PACKET)
        memcpy(ret_from->mac, a.ll.sll_addr, 6);
    else
        memcpy(ret_from->ip, &a.in6.sin6_addr, 16);
    return r;
}

ssize_t link_send(int fd, const void *p, size_t n, const struct os_link_peer *to)
{
    union link_address a = {0};
    socklen_t size = sizeof(a);
    int domain = 0;
    socklen_t domain_size = sizeof(domain);
    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) < 0)
        return -errno;
    if (domain == AF_PACKET) {
        if (getsockname(fd, &a.any, &size) < 0)
            return -errno;
        a.ll.sll_halen = 6;
        memcpy(a.ll.sll_addr, to->mac, 6);
        size = sizeof(a.ll);
    } else {
        a.in6.sin6_family = AF_INET6;
        memcpy(&a.in6.sin6_addr, to->ip, 16);
        size = sizeof(a.in6);
    }
    ssize_t r = sendto(fd, p, n, MSG_NOSIGNAL | MSG_DONTWAIT, &a.any, size);
    return r < 0 ? -errno : r;
}
