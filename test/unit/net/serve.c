/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A server for interop.sh: plain and TLS on ports it prints, with keys it writes into the folder given as
 * argument. Ends when its standard input does.
 */
#include "auth/x509.h"
#include "base/fiber.h"
#include "net/http.h"

#include <stdio.h>

static char *dir;
static struct arena arena;

static void handler(void *ctx, struct http_exchange *x)
{
    struct str body;
    if (str_is(x->path, "/echo") && http_read_all(x, 64 << 20, MONO_NEVER, &body) == 0) {
        http_respond(x, 200, "application/octet-stream", body);
    } else if (str_is(x->path, "/stream")) {
        http_start(x, 200, "text/plain", -1);
        for (int i = 0; i < 3; i++)
            http_write(x, STR("line\n"), MONO_NEVER);
        http_add_trailer(x, "X-Lines", STR("3"));
    } else if (str_is(x->path, "/whoami")) {
        const struct tls_peer *t = x->tls;
        http_respond(x, 200, "text/plain",
                     arena_printf(&x->arena, "%d %s %s %s\n", x->version, t ? t->version : "plain",
                                  t && t->verified ? t->cn : "nobody", t && t->n_orgs ? t->orgs[0] : "-"));
    } else if (str_is(x->path, "/small")) {
        http_respond(x, 200, "application/json", STR("{\"kind\":\"Status\",\"apiVersion\":\"v1\"}\n"));
    } else {
        http_respond(x, 404, "text/plain", STR("not here\n"));
    }
}

static struct str write_file(const char *name, struct buf *b)
{
    struct str s = arena_str(&arena, buf_str(b));
    os_write_file(arena_printf(&arena, "%s/%s", dir, name).p, s, 0600);
    buf_clear(b);
    return s;
}

static struct tls_keypair make(const char *name, const char *cn, const char *org, unsigned usage,
                               struct x509_cert *ca, struct x509_key *ca_key)
{
    const char *const ips[] = {"127.0.0.1", NULL}, *const orgs[] = {org, NULL};
    struct x509_spec spec = {.names = {.cn = cn, .ips = usage == X509_SERVER_AUTH ? ips : NULL, .orgs = orgs},
                             .usages = usage,
                             .not_before = {os_wall().ns - SECONDS(600)},
                             .not_after = {os_wall().ns + SECONDS(3600)}};
    struct x509_key *key;
    struct x509_cert *cert;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct tls_keypair pair = {0};
    if (x509_key_generate(&key) < 0 || x509_issue(&spec, key, ca, ca_key, &cert, NULL) < 0)
        return pair;
    x509_cert_pem(cert, &b);
    pair.cert_pem = write_file(arena_printf(&arena, "%s.crt", name).p, &b);
    x509_key_pem(key, &b);
    pair.key_pem = write_file(arena_printf(&arena, "%s.key", name).p, &b);
    x509_cert_unref(cert);
    x509_key_unref(key);
    return pair;
}

static struct tls_server *make_tls(void)
{
    struct x509_spec spec = {.names = {.cn = "interop-ca"},
                             .is_ca = true,
                             .not_before = {os_wall().ns - SECONDS(600)},
                             .not_after = {os_wall().ns + SECONDS(3600)}};
    struct x509_key *key;
    struct x509_cert *ca;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct tls_server *t = NULL;
    if (x509_key_generate(&key) < 0 || x509_issue(&spec, key, NULL, NULL, &ca, NULL) < 0)
        return NULL;
    x509_cert_pem(ca, &b);
    struct str ca_pem = write_file("ca.crt", &b);
    struct tls_keypair server = make("server", "server", NULL, X509_SERVER_AUTH, ca, key);
    make("client", "ann", "ops", X509_CLIENT_AUTH, ca, key);
    struct tls_server_config config = {
        .keys = &server, .n_keys = 1, .client_ca = ca_pem, .client_auth = TLS_CLIENT_REQUEST};
    tls_server_new(&config, &t, NULL);
    x509_cert_unref(ca);
    x509_key_unref(key);
    return t;
}

static void run(void *arg)
{
    char plain[64], secure[64];
    struct err e = {0};
    struct tls_server *tls = make_tls();
    struct http_server *a = http_server_new(&(struct http_server_config){.handler = handler});
    struct http_server *b = http_server_new(&(struct http_server_config){.handler = handler, .tls = tls});
    if (http_server_listen(a, "127.0.0.1:0", &e) == 0 && http_server_listen(b, "127.0.0.1:0", &e) == 0) {
        http_server_address(a, plain, sizeof(plain));
        http_server_address(b, secure, sizeof(secure));
        printf("http://%s https://%s\n", plain, secure);
        fflush(stdout);
        os_wait_fd(0, OS_READABLE, MONO_NEVER);
    }
    http_server_free(a);
    http_server_free(b);
    tls_server_unref(tls);
    arena_done(&arena);
}

int main(int argc, char **argv)
{
    if (argc != 2)
        return 2;
    dir = argv[1];
    loop_run(run, NULL);
    return 0;
}
