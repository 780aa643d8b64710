/* SPDX-License-Identifier: Apache-2.0 */
#include "net/resolve.h"

#include "base/fiber.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>

char *net_join(struct arena *a, const char *host, uint16_t port)
{
    bool six = strchr(host, ':') && host[0] != '[';
    return (char *)arena_printf(a, six ? "[%s]:%u" : "%s:%u", host, port).p;
}

int net_split(struct arena *a, struct str address, char **ret_host, uint16_t *ret_port)
{
    struct str host = address, rest = STR_NULL;
    if (address.n && address.p[0] == '[') {
        ssize_t close = str_find(address, ']');
        if (close < 0)
            return -EINVAL;
        host = str_slice(address, 1, (size_t)close - 1);
        rest = str_from(address, (size_t)close + 1);
    } else if (str_find(address, ':') >= 0 && str_find(address, ':') == str_rfind(address, ':')) {
        host = str_slice(address, 0, (size_t)str_find(address, ':'));
        rest = str_from(address, host.n);
    }
    uint64_t port = 0;
    if (rest.n && (rest.p[0] != ':' || str_to_u64(str_from(rest, 1), &port) < 0 || port > 65535))
        return -EINVAL;
    *ret_host = arena_cstr(a, host);
    *ret_port = (uint16_t)port;
    return 0;
}

static bool is_address(const char *host)
{
    struct in6_addr any;
    return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

struct lookup {
    const char *host;
    struct addrinfo *list;
    int r;
};

static void lookup_blocking(void *arg)
{
    struct lookup *l = arg;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    l->r = getaddrinfo(l->host, NULL, &hints, &l->list);
    if (l->r == EAI_NONAME || l->r == EAI_ADDRFAMILY) {
        /* AI_ADDRCONFIG does not count loopback: on a machine without a network "localhost" would be unknown.
         */
        hints.ai_flags = 0;
        l->r = getaddrinfo(l->host, NULL, &hints, &l->list);
    }
}

static char *address_text(struct arena *a, const struct addrinfo *ai, uint16_t port)
{
    char text[INET6_ADDRSTRLEN] = "";
    if (ai->ai_family == AF_INET)
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)ai->ai_addr)->sin_addr, text,
                  sizeof(text));
    else if (ai->ai_family == AF_INET6)
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)ai->ai_addr)->sin6_addr, text,
                  sizeof(text));
    return text[0] ? net_join(a, text, port) : NULL;
}

int net_resolve(struct arena *a, const char *host, uint16_t port, char ***ret, struct err *e)
{
    if (is_address(host)) {
        char **one = ARENA_ARRAY(a, char *, 2);
        one[0] = net_join(a, host, port);
        *ret = one;
        return 0;
    }
    struct lookup l = {.host = host};
    fiber_offload(lookup_blocking, &l);
    if (l.r)
        return err_set(e, l.r == EAI_AGAIN ? -EAGAIN : -ENOENT, "cannot resolve \"%s\": %s", host,
                       gai_strerror(l.r));
    size_t n = 0, i = 0;
    for (struct addrinfo *ai = l.list; ai; ai = ai->ai_next)
        n++;
    char **list = ARENA_ARRAY(a, char *, n + 1);
    for (struct addrinfo *ai = l.list; ai; ai = ai->ai_next) {
        char *text = address_text(a, ai, port);
        if (text)
            list[i++] = text;
    }
    freeaddrinfo(l.list);
    if (i == 0)
        return err_set(e, -ENOENT, "\"%s\" has no address", host);
    *ret = list;
    return 0;
}

/* The time left is shared among the addresses that are left, so that a dead first one does not eat it all. */
static struct mono share_of(struct mono deadline, size_t left)
{
    if (deadline.ns == INT64_MAX || left < 2)
        return deadline;
    struct mono now = os_mono();
    return deadline.ns <= now.ns ? deadline : mono_add(now, (deadline.ns - now.ns) / (int64_t)left);
}

static bool passes(const struct net_gate *gate, struct arena *a, const char *address)
{
    char *ip;
    uint16_t port;
    return !gate->allowed || (net_split(a, str_of(address), &ip, &port) == 0 && gate->allowed(gate->ctx, ip));
}

int net_dial(const char *host, uint16_t port, struct mono deadline, int *ret_fd, struct err *e)
{
    return net_dial_through(&(struct net_gate){0}, host, port, deadline, ret_fd, e);
}

int net_dial_through(const struct net_gate *gate, const char *host, uint16_t port, struct mono deadline, int *ret_fd, struct err *e)
{
    if (str_starts(str_of(host), STR("unix:"))) {
        int fd = os_connect(host, deadline);
        if (fd < 0)
            return err_set(e, fd, "cannot connect to %s: %s", host, strerror(-fd));
        *ret_fd = fd;
        return 0;
    }
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    char **addresses;
    int r = net_resolve(&a, host, port, &addresses, e);
    if (r < 0)
        return r;
    size_t n = 0;
    while (addresses[n])
        n++;
    r = -EACCES;
    for (size_t i = 0; i < n; i++) {
        if (!passes(gate, &a, addresses[i])) {
            err_set(e, r, "%s is no address to connect to", addresses[i]);
            continue;
        }
        r = os_connect(addresses[i], share_of(deadline, n - i));
        if (r >= 0) {
            *ret_fd = r;
            return 0;
        }
        err_set(e, r, "cannot connect to %s: %s", addresses[i], strerror(-r));
        if (r == -ECANCELED)
            break;
    }
    return r;
}
