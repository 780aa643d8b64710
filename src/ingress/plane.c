/* SPDX-License-Identifier: Apache-2.0 */
#include "ingress/plane-internal.h"

#include "auth/x509.h"
#include "base/os.h"
#include "net/resolve.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MOST_THREADS = 8, DRAIN_S = 5, MOST_CONNECTIONS = 10000, TO_ONE_ENDPOINT = 512, CONNECT_S = 3, HEADER_S = 10 };

/* ---- listeners ----------------------------------------------------------------------------------------- */

union any_address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

/* "" is all addresses of both families. */
static int socket_address(const char *text, union any_address *ret, socklen_t *ret_n, struct err *e)
{
    struct str s = str_of(text);
    ssize_t colon = str_rfind(s, ':');
    struct str host = colon < 0 ? s : str_slice(s, 0, (size_t)colon);
    uint64_t port;
    struct ip ip = {.family = AF_INET6};
    if (host.n > 1 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = str_slice(host, 1, host.n - 2);
    if (colon < 0 || str_to_u64(str_from(s, (size_t)colon + 1), &port) < 0 || port > 65535 || (host.n && !ip_parse(host, &ip)))
        return err_set(e, -EINVAL, "\"%s\" is no address to listen on, such as :80 or 127.0.0.1:80", text);
    *ret = (union any_address){.any.sa_family = ip.family};
    *ret_n = ip.family == AF_INET ? sizeof(ret->four) : sizeof(ret->six);
    if (ip.family == AF_INET) {
        ret->four.sin_port = htons((uint16_t)port);
        memcpy(&ret->four.sin_addr, ip.b, 4);
    } else {
        ret->six.sin6_port = htons((uint16_t)port);
        memcpy(&ret->six.sin6_addr, ip.b, 16);
    }
    return 0;
}

/* One socket a thread on the same port: the kernel spreads connections over them (SO_REUSEPORT). */
static int listen_shared(const union any_address *at, socklen_t n, const char *text, int *ret, struct err *e)
{
    int on = 1, off = 0;
    int fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
        if (at->any.sa_family == AF_INET6)
            setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    }
    if (fd < 0 || bind(fd, &at->any, n) < 0 || listen(fd, 4096) < 0) {
        int r = -errno;
        if (fd >= 0)
            close(fd);
        return err_set(e, r, "cannot listen on %s: %s", text, strerror(-r));
    }
    *ret = fd;
    return 0;
}

/* Before sharing: somebody else's port of the same user would be shared, too. */
static int check_free(const union any_address *at, socklen_t n, const char *text, struct err *e)
{
    int on = 1, off = 0, fd = socket(at->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0), r = 0;
    if (fd < 0)
        return err_set(e, -errno, "cannot listen on %s: %s", text, strerror(errno));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (at->any.sa_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    if (bind(fd, &at->any, n) < 0)
        r = err_set(e, -errno, "cannot listen on %s: %s", text, strerror(errno));
    close(fd);
    return r;
}

static int listen_all(struct plane *p, int which, const char *text, int *ret_port, struct err *e)
{
    union any_address at;
    socklen_t n;
    int r = socket_address(text, &at, &n, e);
    if (r == 0)
        r = check_free(&at, n, text, e);
    for (unsigned i = 0; r == 0 && i < p->n; i++) {
        r = listen_shared(&at, n, text, &p->workers[i].fds[which], e);
        if (r == 0 && i == 0) /* a port that the kernel chose is all the others' */
            getsockname(p->workers[i].fds[which], &at.any, &n);
    }
    if (r == 0)
        *ret_port = ntohs(at.any.sa_family == AF_INET ? at.four.sin_port : at.six.sin6_port);
    return r;
}

void peer_address(const char *peer, char ret[static IP_TEXT_MAX])
{
    struct str s = str_of(peer);
    ssize_t colon = str_rfind(s, ':');
    struct str host = colon < 0 ? s : str_slice(s, 0, (size_t)colon);
    struct ip ip = {0};
    if (host.n > 1 && host.p[0] == '[')
        host = str_slice(host, 1, host.n - 2);
    if (str_starts(host, STR("::ffff:")) && str_find(host, '.') > 0)
        host = str_from(host, 7);
    if (ip_parse(host, &ip))
        ip_format(&ip, ret);
    else
        ret[0] = '\0';
}

/* ---- threads ------------------------------------------------------------------------------------------- */

struct table *worker_table(struct worker *w)
{
    pthread_mutex_lock(&w->lock);
    struct table *t = table_ref(w->table);
    pthread_mutex_unlock(&w->lock);
    return t;
}

static struct tls_certificate *choose(void *ctx, const char *name)
{
    struct table *t = worker_table(ctx);
    struct tls_certificate *c = table_certificate(t, name);
    table_unref(t);
    return c;
}

static void make_clients(struct worker *w)
{
    const struct tls_client_config tls = {.insecure = true}; /* as others do: pods' certificates are of no CA that we know */
    struct http_client_config c = {.max_conns = TO_ONE_ENDPOINT, .connect_timeout = SECONDS(CONNECT_S), .idle_timeout = SECONDS(50)};
    struct err e;
    w->clients[PROTOCOL_HTTP] = http_client_new(&c);
    c.h2_prior = true;
    w->clients[PROTOCOL_H2C] = http_client_new(&c);
    c.h2_prior = false;
    if (tls_client_new(&tls, &c.tls, &e) == 0) {
        w->clients[PROTOCOL_HTTPS] = http_client_new(&c);
        tls_client_unref(c.tls);
    }
}

static struct http_server *make_server(struct worker *w, bool with_tls)
{
    struct http_server_config c = {.handler = serve_request, .ctx = w, .max_connections = MOST_CONNECTIONS, .idle_timeout = SECONDS(75),
                                   .header_timeout = w->plane->config.header_timeout};
    struct tls_server_config t = {.keys = &w->plane->fallback, .n_keys = 1, .choose = choose, .choose_ctx = w};
    struct err e;
    if (w->fds[with_tls] < 0 || (with_tls && tls_server_new(&t, &c.tls, &e) < 0))
        return NULL;
    struct http_server *s = http_server_new(&c);
    http_server_listen_fd(s, TAKE_FD(w->fds[with_tls]));
    tls_server_unref(c.tls);
    return s;
}

static void worker_main(void *arg)
{
    struct worker *w = arg;
    struct http_server *servers[2] = {make_server(w, false), make_server(w, true)};
    make_clients(w);
    while (os_wait_fd(w->stop[0], OS_READABLE, mono_add(os_mono(), SECONDS(1))) == -ETIMEDOUT)
        w->connections = (servers[0] ? http_server_connections(servers[0]) : 0) + (servers[1] ? http_server_connections(servers[1]) : 0);
    for (int i = 0; i < 2; i++)
        if (servers[i]) {
            http_server_stop(servers[i], mono_add(os_mono(), SECONDS(DRAIN_S)));
            http_server_free(servers[i]);
        }
    for (size_t i = 0; i < ARRAY_SIZE(w->clients); i++)
        if (w->clients[i])
            http_client_free(w->clients[i]);
    map_done_with(&w->bad, free);
    os_forget_fd(w->stop[0]);
}

static void *thread_main(void *arg)
{
    loop_run(worker_main, arg);
    os_thread_done();
    return NULL;
}

/* ---- the plane ----------------------------------------------------------------------------------------- */

/* Shown to who asks for a name that nobody serves: a browser then says that something is wrong, as it is. */
static int make_fallback(struct plane *p, struct err *e)
{
    struct wall now = os_wall();
    struct x509_spec spec = {.names = {.cn = "Cube Ingress, no certificate for this name"},
                             .usages = X509_SERVER_AUTH | X509_DIGITAL_SIGNATURE,
                             .not_before = {now.ns - SECONDS(3600)},
                             .not_after = {now.ns + SECONDS(3650 * INT64_C(86400))}};
    struct x509_key *key = NULL;
    struct x509_cert *cert = NULL;
    int r = x509_key_generate(&key);
    if (r == 0)
        r = x509_issue(&spec, key, NULL, NULL, &cert, e);
    if (r == 0) {
        x509_cert_pem(cert, &p->cert);
        x509_key_pem(key, &p->key);
        p->fallback = (struct tls_keypair){buf_str(&p->cert), buf_str(&p->key)};
    }
    x509_cert_unref(cert);
    x509_key_unref(key);
    return r;
}

static int start_worker(struct worker *w, struct err *e)
{
    if (pipe2(w->stop, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_set(e, -errno, "no pipe: %s", strerror(errno));
    int r = pthread_create(&w->thread, NULL, thread_main, w);
    w->running = r == 0;
    return r ? err_set(e, -r, "no thread: %s", strerror(r)) : 0;
}

static void plane_free(struct plane *p)
{
    for (unsigned i = 0; i < p->n; i++) {
        struct worker *w = &p->workers[i];
        int fds[] = {w->stop[0], w->stop[1], w->fds[0], w->fds[1]};
        for (size_t k = 0; k < ARRAY_SIZE(fds); k++)
            if (fds[k] >= 0)
                close(fds[k]);
        table_unref(w->table);
        pthread_mutex_destroy(&w->lock);
    }
    buf_done(&p->cert);
    buf_done(&p->key);
    free(p->workers);
    free(p);
}

int plane_start(const struct plane_config *c, struct table *table, struct plane **ret, struct err *e)
{
    struct plane *p = NEW(struct plane);
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    p->config = *c;
    if (!p->config.header_timeout)
        p->config.header_timeout = SECONDS(HEADER_S);
    p->n = c->threads ? c->threads : (unsigned)MIN(MAX(cpus, 1L), (long)MOST_THREADS);
    p->workers = xcalloc(p->n, sizeof(*p->workers));
    for (unsigned i = 0; i < p->n; i++) {
        p->workers[i] = (struct worker){.plane = p, .stop = {-1, -1}, .fds = {-1, -1}, .table = table_ref(table)};
        pthread_mutex_init(&p->workers[i].lock, NULL);
    }
    int r = make_fallback(p, e);
    if (r == 0 && c->http)
        r = listen_all(p, 0, c->http, &p->http_port, e);
    if (r == 0 && c->https)
        r = listen_all(p, 1, c->https, &p->https_port, e);
    if (r == 0 && !p->config.public_https_port)
        p->config.public_https_port = p->https_port;
    for (unsigned i = 0; r == 0 && i < p->n; i++)
        r = start_worker(&p->workers[i], e);
    if (r < 0) {
        plane_stop(p);
        return r;
    }
    *ret = p;
    return 0;
}

void plane_set(struct plane *p, struct table *table)
{
    for (unsigned i = 0; i < p->n; i++) {
        struct worker *w = &p->workers[i];
        pthread_mutex_lock(&w->lock);
        struct table *old = w->table;
        w->table = table_ref(table);
        pthread_mutex_unlock(&w->lock);
        table_unref(old);
    }
}

void plane_ports(const struct plane *p, int *ret_http, int *ret_https)
{
    *ret_http = p->http_port;
    *ret_https = p->https_port;
}

unsigned plane_connections(const struct plane *p)
{
    unsigned n = 0;
    for (unsigned i = 0; i < p->n; i++)
        n += p->workers[i].connections;
    return n;
}

static void join_threads(void *arg)
{
    struct plane *p = arg;
    for (unsigned i = 0; i < p->n; i++)
        if (p->workers[i].running)
            pthread_join(p->workers[i].thread, NULL);
}

void plane_stop(struct plane *p)
{
    if (!p)
        return;
    for (unsigned i = 0; i < p->n; i++)
        if (p->workers[i].running && write(p->workers[i].stop[1], "", 1) < 0)
            panic("a pipe of our own takes no byte");
    fiber_offload(join_threads, p);
    plane_free(p);
}
