/* SPDX-License-Identifier: Apache-2.0 */
#include "hookserver.h"

#include <stdlib.h>
#include <string.h>

#include "auth/x509.h"
#include "base/base64.h"
#include "net/tls.h"
#include "wire/json.h"

static void serve(void *ctx, struct http_exchange *x)
{
    struct hookserver *h = ctx;
    struct str body = STR("");
    struct val *v = NULL;
    if (h->serve) {
        h->calls++;
        h->serve(h, x);
        return;
    }
    if (http_read_all(x, 64 << 20, mono_add(os_mono(), SECONDS(10)), &body) < 0)
        return;
    h->calls++;
    body = arena_str(&h->arena, body);
    if (json_decode(&h->arena, NULL, body, 0, NULL, &v, NULL) == 0)
        h->asked = v;
    struct str answer = h->answer(h, x->path, v);
    http_respond(x, answer.p ? 200 : 500, "application/json", answer.p ? answer : STR("broken"));
}

static struct x509_cert *issue(const struct x509_spec *spec, const struct x509_key *key, const struct x509_cert *ca, const struct x509_key *ca_key)
{
    struct x509_cert *cert = NULL;
    struct err e = {0};
    if (x509_issue(spec, key, ca, ca_key, &cert, &e) < 0)
        fail_msg("%s", e.text);
    return cert;
}

static void make_certificate(struct hookserver *h, const char *dns)
{
    struct x509_key *ca_key = NULL, *key = NULL;
    struct buf cert CLEANUP_BUF = BUF_INIT, pem CLEANUP_BUF = BUF_INIT, text CLEANUP_BUF = BUF_INIT, ca_pem CLEANUP_BUF = BUF_INIT;
    const char *names[] = {dns, NULL}, *ips[] = {"127.0.0.1", NULL};
    struct wall from = {os_wall().ns - SECONDS(60)}, to = {os_wall().ns + SECONDS(3600)};
    struct x509_spec root = {.names = {.cn = "hook-ca"}, .is_ca = true, .not_before = from, .not_after = to};
    struct x509_spec leaf = {.names = {.cn = "hook", .dns = names, .ips = ips}, .usages = X509_SERVER_AUTH | X509_DIGITAL_SIGNATURE, .not_before = from, .not_after = to};
    struct err e = {0};
    assert_int_equal(x509_key_generate(&ca_key), 0);
    assert_int_equal(x509_key_generate(&key), 0);
    struct x509_cert *ca = issue(&root, ca_key, NULL, NULL), *own = issue(&leaf, key, ca, ca_key);
    x509_cert_pem(own, &cert);
    x509_cert_pem(ca, &ca_pem);
    x509_key_pem(key, &pem);
    struct tls_keypair pair = {buf_str(&cert), buf_str(&pem)};
    if (tls_server_new(&(struct tls_server_config){.keys = &pair, .n_keys = 1, .client_auth = TLS_CLIENT_REQUEST}, &h->tls, &e) < 0)
        fail_msg("%s", e.text);
    base64_put(&text, buf_str(&ca_pem));
    h->ca = arena_str(&h->arena, buf_str(&text));
    x509_cert_unref(ca);
    x509_cert_unref(own);
    x509_key_unref(key);
    x509_key_unref(ca_key);
}

void hookserver_start(struct hookserver *h, const char *dns, hook_answer *answer)
{
    struct err e = {0};
    *h = (struct hookserver){.arena = ARENA_INIT, .answer = answer};
    make_certificate(h, dns);
    h->http = http_server_new(&(struct http_server_config){.handler = serve, .ctx = h, .tls = h->tls});
    assert_int_equal(http_server_listen(h->http, "127.0.0.1:0", &e), 0);
    http_server_address(h->http, h->address, sizeof(h->address));
    h->port = atoi(strrchr(h->address, ':') + 1);
}

void hookserver_stop(struct hookserver *h)
{
    http_server_stop(h->http, mono_add(os_mono(), SECONDS(1)));
    http_server_free(h->http);
    tls_server_unref(h->tls);
    arena_done(&h->arena);
}

const char *hookserver_config(struct hookserver *h, const char *path)
{
    return arena_printf(&h->arena, "{\"url\":\"https://%s%s\",\"caBundle\":\"%s\"}", h->address, path, h->ca.p).p;
}

struct str hookserver_review(struct hookserver *h, const struct val *review, const char *members)
{
    const struct val *request = val_key(review, STR("request"));
    return arena_printf(&h->arena, "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"%s\",\"response\":{\"uid\":\"%s\",%s}}",
                        val_cstr(val_key(review, STR("apiVersion"))), val_cstr(val_key(request, STR("uid"))), members);
}
