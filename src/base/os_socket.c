/* SPDX-License-Identifier: Apache-2.0 */
#include "base/os_socket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

union address {
    struct sockaddr any;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_un un;
};

static int parse_unix(struct str path, union address *ret, socklen_t *ret_n)
{
    if (path.n == 0 || path.n >= sizeof(ret->un.sun_path))
        return -ENAMETOOLONG;
    *ret = (union address){.un = {.sun_family = AF_UNIX}};
    memcpy(ret->un.sun_path, path.p, path.n);
    *ret_n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + path.n + (path.p[0] != '@'));
    if (path.p[0] == '@')
        ret->un.sun_path[0] = '\0';
    return 0;
}

/* "1.2.3.4:80", "[::1]:80", "unix:/path", "unix:@abstract" */
static int parse_address(const char *text, union address *ret, socklen_t *ret_n)
{
    struct str s = str_of(text);
    if (str_starts(s, STR("unix:")))
        return parse_unix(str_from(s, 5), ret, ret_n);
    ssize_t colon = str_rfind(s, ':');
    int64_t port;
    if (colon < 0 || str_to_i64(str_from(s, (size_t)colon + 1), &port) < 0 || port < 0 || port > 65535)
        return -EINVAL;
    struct str host = str_slice(s, 0, (size_t)colon);
    char host_text[INET6_ADDRSTRLEN + 2];
    bool six = host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']';
    if (six)
        host = str_slice(host, 1, host.n - 2);
    if (host.n >= sizeof(host_text))
        return -EINVAL;
    snprintf(host_text, sizeof(host_text), STR_FMT, STR_ARG(host));
    *ret = (union address){0};
    if (six) {
        ret->in6.sin6_family = AF_INET6;
        ret->in6.sin6_port = htons((uint16_t)port);
        *ret_n = sizeof(ret->in6);
        return inet_pton(AF_INET6, host_text, &ret->in6.sin6_addr) == 1 ? 0 : -EINVAL;
    }
    ret->in.sin_family = AF_INET;
    ret->in.sin_port = htons((uint16_t)port);
    *ret_n = sizeof(ret->in);
    if (host.n == 0)
        return 0; /* ":80": every address */
    return inet_pton(AF_INET, host_text, &ret->in.sin_addr) == 1 ? 0 : -EINVAL;
}

static void format_address(const union address *a, char *ret, size_t size)
{
    char host[INET6_ADDRSTRLEN];
    if (!ret || !size)
        return;
    if (a->any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a->in.sin_addr, host, sizeof(host));
        snprintf(ret, size, "%s:%u", host, ntohs(a->in.sin_port));
    } else if (a->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a->in6.sin6_addr, host, sizeof(host));
        snprintf(ret, size, "[%s]:%u", host, ntohs(a->in6.sin6_port));
    } else {
        snprintf(ret, size, "unix:");
    }
}

static void set_option(int fd, int level, int name, int value)
{
    setsockopt(fd, level, name, &value, sizeof(value));
}

static int open_bound(const char *address, int type, struct err *e)
{
    union address a;
    socklen_t n;
    int r = parse_address(address, &a, &n);
    if (r < 0)
        return err_set(e, r, "address \"%s\": expected IP:port, [IPv6]:port or unix:path", address);
    int fd = socket(a.any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(e, -errno, "cannot open a socket: %s", strerror(errno));
    if (a.any.sa_family != AF_UNIX && type == SOCK_STREAM)
        set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (a.any.sa_family == AF_UNIX && a.un.sun_path[0])
        unlink(a.un.sun_path);
    if (bind(fd, &a.any, n) < 0) {
        r = -errno;
        close(fd);
        return err_set(e, r, "cannot listen on %s: %s", address,
                       r == -EADDRINUSE ? "another program already uses this address and port" : strerror(-r));
    }
    return fd;
}

int socket_listen(const char *address, struct err *e)
{
    int fd = open_bound(address, SOCK_STREAM, e);
    if (fd < 0)
        return fd;
    if (listen(fd, 1024) < 0) {
        int r = -errno;
        close(fd);
        return err_set(e, r, "cannot listen on %s: %s", address, strerror(-r));
    }
    return fd;
}

int socket_udp_bind(const char *address, struct err *e)
{
    return open_bound(address, SOCK_DGRAM, e);
}

int socket_accept(int fd, char *ret_peer, size_t peer_size, struct mono deadline)
{
    for (;;) {
        union address a = {0};
        socklen_t n = sizeof(a);
        int c = accept4(fd, &a.any, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (c >= 0) {
            if (a.any.sa_family != AF_UNIX)
                set_option(c, IPPROTO_TCP, TCP_NODELAY, 1);
            format_address(&a, ret_peer, peer_size);
            return c;
        }
        if (errno == EINTR || errno == ECONNABORTED)
            continue;
        if (errno != EAGAIN)
            return -errno;
        int r = os_wait_fd(fd, OS_READABLE, deadline);
        if (r < 0)
            return r;
    }
}

static int finish_connect(int fd, struct mono deadline)
{
    int r = os_wait_fd(fd, OS_WRITABLE, deadline);
    if (r < 0)
        return r;
    int error = 0;
    socklen_t n = sizeof(error);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n);
    return -error;
}

int socket_connect(const char *address, struct mono deadline)
{
    union address a;
    socklen_t n;
    int r = parse_address(address, &a, &n);
    if (r < 0)
        return r;
    int fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    if (a.any.sa_family != AF_UNIX)
        set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (connect(fd, &a.any, n) < 0)
        r = errno == EINPROGRESS || errno == EAGAIN ? finish_connect(fd, deadline) : -errno;
    if (r < 0) {
        os_close(fd);
        return r;
    }
    return fd;
}

ssize_t socket_try_recv(int fd, void *p, size_t n)
{
    ssize_t r;
    do {
        r = read(fd, p, n);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

ssize_t socket_try_send(int fd, const void *p, size_t n, bool more)
{
    ssize_t r;
    do {
        r = send(fd, p, n, MSG_NOSIGNAL | (more ? MSG_MORE : 0));
        if (r < 0 && errno == ENOTSOCK)
            r = write(fd, p, n);
    } while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : r;
}

int socket_shutdown(int fd)
{
    return shutdown(fd, SHUT_WR) < 0 ? -errno : 0;
}

int socket_local_address(int fd, char *ret, size_t size)
{
    union address a = {0};
    socklen_t n = sizeof(a);
    if (getsockname(fd, &a.any, &n) < 0)
        return -errno;
    format_address(&a, ret, size);
    return 0;
}

ssize_t socket_try_recvfrom(int fd, void *p, size_t n, char *ret_peer, size_t peer_size)
{
    union address a = {0};
    socklen_t an = sizeof(a);
    ssize_t r;
    do {
        r = recvfrom(fd, p, n, 0, &a.any, &an);
    } while (r < 0 && errno == EINTR);
    if (r < 0)
        return -errno;
    format_address(&a, ret_peer, peer_size);
    return r;
}

ssize_t socket_sendto(int fd, const void *p, size_t n, const char *peer)
{
    union address a;
    socklen_t an;
    int r = parse_address(peer, &a, &an);
    if (r < 0)
        return r;
    ssize_t sent = sendto(fd, p, n, MSG_NOSIGNAL, &a.any, an);
    return sent < 0 ? -errno : sent;
}

int socket_pair(int ret[2])
{
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    ret[0] = fds[0];
    ret[1] = fds[1];
    return 0;
}
