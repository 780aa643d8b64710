/* SPDX-License-Identifier: Apache-2.0 */
/* Puts to an etcd of our own, a given number in flight, over gRPC by nghttp2: the peer's figure for
 * bench/store. */
#include "peers.h"

#include <arpa/inet.h>
#include <nghttp2/nghttp2.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct call {
    unsigned char body[2048];
    size_t n, sent;
};

struct client {
    int fd;
    nghttp2_session *session;
    int to_do, in_flight, failed;
    size_t value;
    unsigned number;
};

static size_t put_bytes(unsigned char *p, int field, const void *bytes, size_t n)
{
    size_t at = 0;
    p[at++] = (unsigned char)(field << 3 | 2);
    if (n > 127)
        p[at++] = (unsigned char)((n & 127) | 128);
    p[at++] = (unsigned char)(n > 127 ? n >> 7 : n);
    memcpy(p + at, bytes, n);
    return at + n;
}

static ssize_t read_body(nghttp2_session *session, int32_t stream, uint8_t *p, size_t n, uint32_t *flags,
                         nghttp2_data_source *source, void *arg)
{
    struct call *c = source->ptr;
    (void)session, (void)stream, (void)arg;
    size_t k = c->n - c->sent < n ? c->n - c->sent : n;
    memcpy(p, c->body + c->sent, k);
    c->sent += k;
    if (c->sent == c->n)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)k;
}

#define HEADER(name, value)                                                                                  \
    {                                                                                                        \
        (uint8_t *)name, (uint8_t *)value, sizeof(name) - 1, sizeof(value) - 1, 0                            \
    }

static void submit(struct client *c)
{
    static const nghttp2_nv headers[] = {
        HEADER(":method", "POST"),
        HEADER(":scheme", "http"),
        HEADER(":path", "/etcdserverpb.KV/Put"),
        HEADER(":authority", "localhost"),
        HEADER("content-type", "application/grpc"),
        HEADER("te", "trailers"),
    };
    static char value[1500];
    char key[64];
    struct call *call = calloc(1, sizeof(*call));
    unsigned char *p = call->body;
    memset(value, 'v', sizeof(value));
    bench_key(key, c->number++);
    size_t n = put_bytes(p + 5, 1, key, strlen(key));
    n += put_bytes(p + 5 + n, 2, value, c->value);
    p[3] = (unsigned char)(n >> 8);
    p[4] = (unsigned char)n;
    call->n = n + 5;
    nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_body};
    if (nghttp2_submit_request(c->session, NULL, headers, 6, &body, call) < 0)
        c->failed++;
    c->in_flight++;
    c->to_do--;
}

static int on_close(nghttp2_session *session, int32_t stream, uint32_t code, void *arg)
{
    struct client *c = arg;
    free(nghttp2_session_get_stream_user_data(session, stream));
    c->in_flight--;
    c->failed += code != 0;
    if (c->to_do)
        submit(c);
    return 0;
}

static int connect_to(int port)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1;
    for (int i = 0; i < 200; i++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
            return fd;
        close(fd);
        usleep(50000);
    }
    return -1;
}

static int flush_out(struct client *c)
{
    const uint8_t *p;
    ssize_t n;
    while ((n = nghttp2_session_mem_send(c->session, &p)) > 0)
        for (ssize_t done = 0; done < n;) {
            ssize_t r = write(c->fd, p + done, (size_t)(n - done));
            if (r <= 0)
                return -1;
            done += r;
        }
    return n < 0 ? -1 : 0;
}

/* Puts per second; negative when it did not work. */
double etcd_puts(int port, int total, int flight, size_t value)
{
    struct client c = {.fd = connect_to(port), .to_do = total, .value = value};
    if (c.fd < 0)
        return -1;
    nghttp2_session_callbacks *callbacks;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_client_new(&c.session, callbacks, &c);
    nghttp2_settings_entry settings[] = {{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, 1 << 20}};
    nghttp2_submit_settings(c.session, 0, settings, 1);
    nghttp2_session_set_local_window_size(c.session, 0, 0, 1 << 24);
    double start = bench_now();
    for (int i = 0; i < flight && c.to_do; i++)
        submit(&c);
    while (c.in_flight && !c.failed && flush_out(&c) == 0) {
        uint8_t in[65536];
        ssize_t n = read(c.fd, in, sizeof(in));
        if (n <= 0 || nghttp2_session_mem_recv(c.session, in, (size_t)n) < 0)
            break;
    }
    double rate = c.in_flight || c.failed ? -1 : total / (bench_now() - start);
    nghttp2_session_del(c.session);
    nghttp2_session_callbacks_del(callbacks);
    close(c.fd);
    return rate;
}

int etcd_start(const char *dir, int port)
{
    char client[64], peer[64], cluster[80];
    snprintf(client, sizeof(client), "http://127.0.0.1:%d", port);
    snprintf(peer, sizeof(peer), "http://127.0.0.1:%d", port + 1);
    snprintf(cluster, sizeof(cluster), "default=%s", peer);
    pid_t pid = fork();
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stdout) || !freopen("/dev/null", "w", stderr))
            _exit(1);
        execlp("etcd", "etcd", "--data-dir", dir, "--listen-client-urls", client, "--advertise-client-urls",
               client, "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster",
               cluster, "--log-level", "error", (char *)NULL);
        _exit(127);
    }
    usleep(1500000);
    int status;
    return waitpid(pid, &status, WNOHANG) == 0 ? pid : -1;
}

void etcd_stop(int pid)
{
    int status;
    kill(pid, SIGTERM);
    waitpid(pid, &status, 0);
}
