/* SPDX-License-Identifier: Apache-2.0 */
/* TLS between our own two ends, and HTTP over it. */
#include "net/http.h"

#include "../testing.h"
#include "auth/x509.h"

#include <stdio.h>

static struct x509_key *ca_key, *other_key;
static struct x509_cert *ca, *other_ca;
static struct arena arena;

static struct mono soon(int ms)
{
    return mono_add(os_mono(), MILLISECONDS(ms));
}

static struct str pem_of(const struct x509_cert *c)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    x509_cert_pem(c, &b);
    return arena_str(&arena, buf_str(&b));
}

static struct x509_cert *make_ca(struct x509_key **ret_key)
{
    struct x509_cert *c;
    struct x509_spec spec = {.names = {.cn = "test-ca"},
                             .is_ca = true,
                             .not_before = {os_wall().ns - SECONDS(3600)},
                             .not_after = {os_wall().ns + SECONDS(86400)}};
    assert_int_equal(x509_key_generate(ret_key), 0);
    assert_int_equal(x509_issue(&spec, *ret_key, NULL, NULL, &c, NULL), 0);
    return c;
}

static struct tls_keypair leaf(const char *cn, const char *org, const char *dns, const char *ip,
                               unsigned usage, int64_t lives, bool by_other)
{
    const char *const orgs[] = {org, NULL}, *const names[] = {dns, NULL}, *const ips[] = {ip, NULL};
    struct x509_spec spec = {.names = {.cn = cn, .orgs = orgs, .dns = names, .ips = ips},
                             .usages = usage,
                             .not_before = {os_wall().ns - SECONDS(3600)},
                             .not_after = {os_wall().ns + lives}};
    struct x509_key *k;
    struct x509_cert *c;
    struct buf b CLEANUP_BUF = BUF_INIT;
    assert_int_equal(x509_key_generate(&k), 0);
    assert_int_equal(x509_issue(&spec, k, by_other ? other_ca : ca, by_other ? other_key : ca_key, &c, NULL),
                     0);
    x509_key_pem(k, &b);
    struct tls_keypair pair = {pem_of(c), arena_str(&arena, buf_str(&b))};
    x509_key_unref(k);
    x509_cert_unref(c);
    return pair;
}

static struct tls_keypair server_pair(void)
{
    return leaf("srv", NULL, "srv.example", "127.0.0.1", X509_SERVER_AUTH, SECONDS(3600), false);
}

/* ---- a handshake over a socket pair ------------------------------------------------------------------- */

struct end {
    struct tls_server *server;
    int fd, r;
    struct stream *s;
    struct err e;
};

static void accept_main(void *arg)
{
    struct end *e = arg;
    e->r = tls_accept(e->server, e->fd, soon(3000), &e->s, &e->e);
}

static int shake(struct tls_server *server, struct tls_client *client, const char *name,
                 struct end *ret_server, struct stream **ret_client, struct err *e)
{
    int fds[2];
    struct group g = {0};
    assert_int_equal(os_socketpair(fds), 0);
    *ret_server = (struct end){.server = server, .fd = fds[0]};
    group_spawn(&g, "accept", accept_main, ret_server);
    *ret_client = NULL;
    int r = tls_connect(client, fds[1], name, false, soon(3000), ret_client, e);
    group_wait(&g, soon(4000));
    return r;
}

static struct tls_server *new_server(struct tls_keypair k, enum tls_client_auth auth)
{
    struct tls_server *t;
    struct err e = {0};
    struct tls_server_config c = {.keys = &k, .n_keys = 1, .client_ca = pem_of(ca), .client_auth = auth};
    if (tls_server_new(&c, &t, &e) < 0)
        fail_msg("%s", e.text);
    return t;
}

static struct tls_client *new_client(const struct x509_cert *trust, struct tls_keypair k)
{
    struct tls_client *t;
    struct err e = {0};
    struct tls_client_config c = {.ca = pem_of(trust), .key = k};
    if (tls_client_new(&c, &t, &e) < 0)
        fail_msg("%s", e.text);
    return t;
}

static void setup(void)
{
    ca = make_ca(&ca_key);
    other_ca = make_ca(&other_key);
}

static void teardown(void)
{
    x509_cert_unref(ca);
    x509_cert_unref(other_ca);
    x509_key_unref(ca_key);
    x509_key_unref(other_key);
    arena_done(&arena);
}

FIBER_TEST(names_are_verified)
{
    setup();
    struct tls_server *server = new_server(server_pair(), TLS_CLIENT_NONE);
    struct tls_client *good = new_client(ca, (struct tls_keypair){0}),
                      *bad = new_client(other_ca, (struct tls_keypair){0});
    static const struct {
        const char *name;
        bool trusted, want;
    } cases[] = {{"srv.example", true, true},
                 {"127.0.0.1", true, true},
                 {"srv", true, false},
                 {"127.0.0.2", true, false},
                 {"srv.example", false, false}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct end e;
        struct stream *c;
        struct err err = {0};
        int r = shake(server, cases[i].trusted ? good : bad, cases[i].name, &e, &c, &err);
        assert_int_equal(r == 0, cases[i].want);
        if (r == 0) {
            assert_string_equal(c->tls->alpn, "h2");
            assert_string_equal(c->tls->version, "TLSv1.3");
            assert_string_equal(c->tls->cn, "srv");
            assert_true(c->tls->verified);
            assert_int_equal(c->tls->n_chain, 1);
            assert_int_equal(e.s->tls->n_chain, 0);
            assert_false(e.s->tls->verified);
        } else {
            assert_non_null(strstr(err.text, "certificate"));
        }
        stream_free(c);
        stream_free(e.s);
    }
    tls_client_unref(good);
    tls_client_unref(bad);
    tls_server_unref(server);
    teardown();
}

FIBER_TEST(client_certificates)
{
    setup();
    static const struct {
        bool given, by_other;
        int64_t lives;
        enum tls_client_auth auth;
        bool accepted, verified;
    } cases[] = {
        {true, false, SECONDS(60), TLS_CLIENT_REQUEST, true, true},
        {true, true, SECONDS(60), TLS_CLIENT_REQUEST, true, false},   /* unknown CA: no error, not verified */
        {true, false, -SECONDS(60), TLS_CLIENT_REQUEST, true, false}, /* expired */
        {false, false, 0, TLS_CLIENT_REQUEST, true, false},
        {true, false, SECONDS(60), TLS_CLIENT_REQUIRE, true, true},
        {true, true, SECONDS(60), TLS_CLIENT_REQUIRE, false, false},
        {false, false, 0, TLS_CLIENT_REQUIRE, false, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct tls_keypair k = {0};
        if (cases[i].given)
            k = leaf("ann", "ops", NULL, NULL, X509_CLIENT_AUTH, cases[i].lives, cases[i].by_other);
        struct tls_server *server = new_server(server_pair(), cases[i].auth);
        struct tls_client *client = new_client(ca, k);
        struct end e;
        struct stream *c;
        struct err err = {0};
        shake(server, client, "srv.example", &e, &c, &err);
        if ((e.r == 0) != cases[i].accepted)
            fail_msg("case %zu: %s", i, e.e.text);
        if (e.r == 0) {
            assert_int_equal(e.s->tls->verified, cases[i].verified);
            assert_int_equal(e.s->tls->n_chain, cases[i].given);
            if (cases[i].given) {
                assert_string_equal(e.s->tls->cn, "ann");
                assert_int_equal(e.s->tls->n_orgs, 1);
                assert_string_equal(e.s->tls->orgs[0], "ops");
                assert_int_equal(e.s->tls->why_not == NULL, cases[i].verified);
            }
        }
        stream_free(c);
        stream_free(e.s);
        tls_client_unref(client);
        tls_server_unref(server);
    }
    teardown();
}

static void pump_back(void *arg)
{
    struct stream *s = arg;
    char *p = xmalloc(65536);
    ssize_t n;
    while ((n = stream_read(s, p, 65536, soon(5000))) > 0)
        if (stream_write(s, p, (size_t)n, soon(5000)) < 0)
            break;
    stream_shutdown(s);
    free(p);
}

struct sending {
    struct stream *s;
    const char *p;
    size_t n;
};

static void send_main(void *arg)
{
    struct sending *s = arg;
    assert_int_equal(stream_write(s->s, s->p, s->n, soon(10000)), 0);
    stream_shutdown(s->s);
}

/* Megabytes both ways at once: every partial write and both kinds of waiting. */
FIBER_TEST(bulk)
{
    setup();
    struct tls_server *server = new_server(server_pair(), TLS_CLIENT_NONE);
    struct tls_client *client = new_client(ca, (struct tls_keypair){0});
    struct end e;
    struct stream *c;
    struct err err;
    assert_int_equal(shake(server, client, "srv.example", &e, &c, &err), 0);
    size_t n = 4 << 20, at = 0;
    char *out = xmalloc(n), *in = xmalloc(n + 1);
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(i * 31 + i / 1000);
    struct group g = {0};
    struct sending sending = {c, out, n};
    group_spawn(&g, "back", pump_back, e.s);
    group_spawn(&g, "send", send_main, &sending);
    ssize_t r;
    while ((r = stream_read(c, in + at, n + 1 - at, soon(10000))) > 0)
        at += (size_t)r;
    assert_int_equal(r, 0); /* an orderly end: close_notify */
    assert_int_equal(at, n);
    assert_memory_equal(in, out, n);
    group_stop(&g);
    free(in);
    free(out);
    stream_free(c);
    stream_free(e.s);
    tls_client_unref(client);
    tls_server_unref(server);
    teardown();
}

FIBER_TEST(reload_and_server_names)
{
    setup();
    struct tls_keypair keys[2] = {
        server_pair(), leaf("two", NULL, "two.example", NULL, X509_SERVER_AUTH, SECONDS(60), false)};
    struct tls_server *server = new_server(keys[0], TLS_CLIENT_NONE);
    struct tls_client *client = new_client(ca, (struct tls_keypair){0});
    struct end e1, e2;
    struct stream *c1, *c2;
    struct err err = {0};
    assert_int_equal(shake(server, client, "srv.example", &e1, &c1, &err), 0);
    assert_true(shake(server, client, "two.example", &e2, &c2, &err) < 0);
    struct tls_server_config config = {.keys = keys, .n_keys = 2};
    assert_int_equal(tls_server_set(server, &config, &err), 0);
    assert_int_equal(shake(server, client, "two.example", &e2, &c2, &err), 0);
    assert_string_equal(c2->tls->cn, "two");
    assert_string_equal(e2.s->tls->server_name, "two.example");
    char p[4];
    assert_int_equal(stream_write(c1, "old", 3, soon(1000)), 0); /* a connection that stands goes on */
    assert_int_equal(stream_read_full(e1.s, p, 3, soon(1000)), 0);
    /* rubbish is refused, and what was there stays in use */
    struct tls_keypair bad = {STR("no certificate"), STR("no key")};
    config = (struct tls_server_config){.keys = &bad, .n_keys = 1};
    assert_int_equal(tls_server_set(server, &config, &err), -EINVAL);
    struct tls_keypair mixed = {keys[0].cert_pem, keys[1].key_pem};
    config.keys = &mixed;
    assert_int_equal(tls_server_set(server, &config, &err), -EINVAL);
    stream_free(c1);
    stream_free(c2);
    stream_free(e1.s);
    stream_free(e2.s);
    assert_int_equal(shake(server, client, "two.example", &e2, &c2, &err), 0);
    stream_free(c2);
    stream_free(e2.s);
    tls_client_unref(client);
    tls_server_unref(server);
    teardown();
}

FIBER_TEST(a_peer_that_is_no_tls)
{
    setup();
    struct tls_server *server = new_server(server_pair(), TLS_CLIENT_NONE);
    int fds[2];
    struct end e = {.server = server};
    struct group g = {0};
    os_socketpair(fds);
    e.fd = fds[0];
    group_spawn(&g, "accept", accept_main, &e);
    os_send(fds[1], "GET / HTTP/1.1\r\n\r\n", 18, soon(1000));
    group_wait(&g, soon(4000));
    assert_true(e.r < 0);
    os_close(fds[1]);
    os_socketpair(fds);
    e = (struct end){.server = server, .fd = fds[0]};
    group_spawn(&g, "accept", accept_main, &e);
    fiber_sleep(MILLISECONDS(5));
    os_close(fds[1]);
    group_wait(&g, soon(4000));
    assert_true(e.r < 0);
    tls_server_unref(server);
    teardown();
}

/* ---- HTTP over TLS ------------------------------------------------------------------------------------ */

static void whoami(void *ctx, struct http_exchange *x)
{
    struct stream *s;
    if (http_wants_upgrade(x, "echo") && http_upgrade(x, "echo", &s) == 0) {
        pump_back(s);
        stream_free(s);
        return;
    }
    http_respond(x, 200, NULL,
                 arena_printf(&x->arena, "%d %s %s", x->version, x->tls->verified ? "verified" : "unknown",
                              x->tls->cn));
}

FIBER_TEST(http_over_tls)
{
    setup();
    struct err e = {0};
    char address[64], url[96];
    struct tls_server *server = new_server(server_pair(), TLS_CLIENT_REQUEST);
    struct http_server *h = http_server_new(&(struct http_server_config){.handler = whoami, .tls = server});
    assert_int_equal(http_server_listen(h, "127.0.0.1:0", &e), 0);
    http_server_address(h, address, sizeof(address));
    snprintf(url, sizeof(url), "https://%s/", address);
    for (int no_h2 = 0; no_h2 < 2; no_h2++) {
        struct tls_client *t;
        struct tls_client_config c = {
            .ca = pem_of(ca),
            .no_h2 = no_h2,
            .key = leaf("ann", "ops", NULL, NULL, X509_CLIENT_AUTH, SECONDS(60), false)};
        assert_int_equal(tls_client_new(&c, &t, &e), 0);
        struct http_client *client = http_client_new(&(struct http_client_config){.tls = t});
        struct http_request r = {.url = url};
        struct http_call *call;
        struct str body;
        assert_int_equal(http_do(client, &r, soon(3000), &call, &e), 0);
        assert_int_equal(http_call_read_all(call, 100, soon(3000), &body), 0);
        assert_str(body, no_h2 ? "11 verified ann" : "20 verified ann");
        assert_string_equal(call->tls->cn, "srv");
        http_call_free(call);
        struct stream *s;
        char p[4];
        assert_int_equal(http_client_upgrade(client, &r, "echo", soon(3000), &call, &s, &e), 0);
        stream_write(s, "ping", 4, soon(1000));
        assert_int_equal(stream_read_full(s, p, 4, soon(1000)), 0);
        stream_free(s);
        http_call_free(call);
        /* Another name than the URL's host. */
        struct http_client *named =
            http_client_new(&(struct http_client_config){.tls = t, .server_name = "other"});
        assert_true(http_do(named, &r, soon(3000), &call, &e) < 0);
        assert_non_null(strstr(e.text, "certificate"));
        http_client_free(named);
        http_client_free(client);
        tls_client_unref(t);
    }
    http_server_free(h);
    tls_server_unref(server);
    teardown();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_verified),
        cmocka_unit_test(client_certificates),
        cmocka_unit_test(bulk),
        cmocka_unit_test(reload_and_server_names),
        cmocka_unit_test(a_peer_that_is_no_tls),
        cmocka_unit_test(http_over_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
