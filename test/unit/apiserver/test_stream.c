/* SPDX-License-Identifier: Apache-2.0 */
/* What is passed on: logs, exec and port-forward to a kubelet (played here), proxies to pods, services and
 * nodes. */
#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "auth/pki.h"
#include "auth/x509.h"
#include "base/os.h"
#include "net/gzip.h"
#include "net/remotecommand.h"
#include "net/websocket.h"

#define PODS "/api/v1/namespaces/default/pods"

struct kubelet {
    struct http_server *server;
    struct arena arena;
    char dir[64];
    int port;
    const char *last; /* target of the last request */
    bool had_client, had_token;
};

static void play_exec(struct http_exchange *x)
{
    struct rc_options o = {.stdout_ = true, .stdin_ = true};
    struct rc_session *s = NULL;
    struct err e = {0};
    char text[64];
    if (rc_accept(x, &o, mono_add(os_mono(), SECONDS(5)), &s, &e) < 0)
        return;
    ssize_t n = rc_read(s, RC_STDIN, text, sizeof(text), mono_add(os_mono(), SECONDS(5)));
    if (n > 0)
        rc_write(s, RC_STDOUT, str_n(text, (size_t)n), mono_add(os_mono(), SECONDS(5)));
    rc_finish(s, STR("{\"metadata\":{},\"status\":\"Success\"}"), STR(""));
    rc_free(s);
}

static void play(void *ctx, struct http_exchange *x)
{
    struct kubelet *k = ctx;
    k->last = arena_str(&k->arena, x->target).p;
    k->had_client = x->tls && x->tls->verified;
    k->had_token = http_header(&x->headers, "authorization").n > 0;
    if (str_starts(x->path, STR("/exec/")))
        play_exec(x);
    else if (str_starts(x->path, STR("/containerLogs/")))
        http_respond(x, 200, "text/plain", STR("line\n"));
    else if (str_starts(x->path, STR("/gone"))) {
        http_add_header(x, "Location", STR("/there"));
        http_respond(x, 302, "text/plain", STR(""));
    } else if (str_starts(x->path, STR("/page"))) {
        http_add_header(x, "Access-Control-Allow-Origin", STR("*"));
        http_respond(x, 200, "text/html; charset=utf-8", STR("<a href=\"/rewriteme\">test</a>"));
    } else if (str_starts(x->path, STR("/packed"))) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        gzip_deflate(&b, STR("<a href=\"/rewriteme\">test</a>"), 1);
        http_add_header(x, "Content-Encoding", STR("gzip"));
        http_respond(x, 200, "text/html", buf_str(&b));
    } else
        http_respond(x, 200, "text/plain", arena_printf(&x->arena, "you asked for %.*s", STR_ARG(x->target)));
}

static const char *file(struct kubelet *k, const char *name)
{
    return arena_printf(&k->arena, "%s/%s", k->dir, name).p;
}

static struct str read_all(struct kubelet *k, const char *name)
{
    struct str s;
    assert_int_equal(os_read_file(&k->arena, file(k, name), 1 << 20, &s), 0);
    return s;
}

/* A serving certificate of the node's own, as kubelets have them. */
static struct tls_keypair pair_of(struct kubelet *k, const char *cn)
{
    static const char *const ips[] = {"127.0.0.1", NULL};
    struct x509_spec spec = {.names = {.cn = cn, .ips = ips}, .usages = X509_SERVER_AUTH | X509_DIGITAL_SIGNATURE,
                             .not_before = {os_wall().ns - SECONDS(60)}, .not_after = {os_wall().ns + SECONDS(3600)}};
    struct x509_cert *ca, *cert;
    struct x509_key *ca_key, *key;
    struct buf cert_pem CLEANUP_BUF = BUF_INIT, key_pem CLEANUP_BUF = BUF_INIT;
    assert_int_equal(x509_cert_parse(read_all(k, "ca.crt"), &ca, NULL), 0);
    assert_int_equal(x509_key_parse(read_all(k, "ca.key"), &ca_key, NULL), 0);
    assert_int_equal(x509_key_generate(&key), 0);
    assert_int_equal(x509_issue(&spec, key, ca, ca_key, &cert, NULL), 0);
    x509_cert_pem(cert, &cert_pem);
    x509_key_pem(key, &key_pem);
    x509_cert_unref(ca);
    x509_cert_unref(cert);
    x509_key_unref(ca_key);
    x509_key_unref(key);
    return (struct tls_keypair){arena_str(&k->arena, buf_str(&cert_pem)), arena_str(&k->arena, buf_str(&key_pem))};
}

static void kubelet_start(struct kubelet *k, bool tls)
{
    static const char *const ips[] = {"127.0.0.1", NULL};
    struct err e = {0};
    char address[64];
    struct tls_server *t = NULL;
    *k = (struct kubelet){.dir = "/tmp/cube-kubelet-XXXXXX"};
    assert_non_null(mkdtemp(k->dir));
    struct pki_config pki = {
        .dir = k->dir, .apiserver_ips = ips, .dns_domain = "cluster.local", .now = os_wall()};
    assert_int_equal(pki_ensure(&k->arena, &pki, NULL, &e), 0);
    struct tls_keypair pair = pair_of(k, "system:node:n");
    struct tls_server_config c = {.keys = &pair, .n_keys = 1, .client_ca = read_all(k, "ca.crt"),
        .client_auth = TLS_CLIENT_REQUEST};
    if (tls)
        assert_int_equal(tls_server_new(&c, &t, &e), 0);
    k->server = http_server_new(&(struct http_server_config){.handler = play, .ctx = k, .tls = t});
    if (t)
        tls_server_unref(t);
    assert_int_equal(http_server_listen(k->server, "127.0.0.1:0", &e), 0);
    http_server_address(k->server, address, sizeof(address));
    k->port = atoi(strrchr(address, ':') + 1);
}

static void kubelet_stop(struct kubelet *k)
{
    char command[128];
    http_server_free(k->server);
    snprintf(command, sizeof(command), "rm -rf %s", k->dir);
    assert_int_equal(system(command), 0);
    arena_done(&k->arena);
}

static struct apiserver_config config_for(struct kubelet *k)
{
    return (struct apiserver_config){.authorization = "AlwaysAllow",
                                     .proxy_local = true,
                                     .kubelet_ca = file(k, "ca.crt"),
                                     .kubelet_cert = file(k, "apiserver-kubelet-client.crt"),
                                     .kubelet_key = file(k, "apiserver-kubelet-client.key")};
}

static void make_objects(struct fixture *f, int port)
{
    assert_code(
        post(f, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"default\"}}"), 201);
    assert_code(post(f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"n\"}}"), 201);
    assert_code(
        patch(f, "/api/v1/nodes/n/status", "merge-patch+json",
              arena_printf(&f->arena,
                           "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"}],"
                           "\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":%d}}}}",
                           port)
                  .p),
        200);
    assert_code(
        post(f, PODS,
             "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n\",\"containers\":[{\"name\":\"a\","
             "\"image\":\"i\"},{\"name\":\"b\",\"image\":\"i\"}]}}"),
        201);
}

/* A server whose node's kubelet is k. */
static struct apiserver_config start(struct fixture *f, struct kubelet *k)
{
    kubelet_start(k, true);
    struct apiserver_config c = config_for(k);
    fixture_start(f, &c);
    make_objects(f, k->port);
    return c;
}

FIBER_TEST(logs_come_from_the_kubelet)
{
    struct fixture f;
    struct kubelet k;
    start(&f, &k);
    struct reply r = ask(&f, "GET", PODS "/p/log?container=a&tailLines=5&follow=true&bogus=1", NULL,
                         "Authorization: Basic x");
    assert_code(r, 200);
    assert_str(r.text, "line\n");
    assert_string_equal(k.last, "/containerLogs/default/p/a?follow=true&tailLines=5");
    assert_true(k.had_client);
    assert_false(k.had_token); /* the client's credentials stay here */
    r = get(&f, PODS "/p/log");
    assert_code(r, 400);
    assert_at(&f, r, "message", "a container name must be specified for pod p, choose one of: [a b]");
    assert_code(get(&f, PODS "/p/log?container=z"), 400);
    assert_code(get(&f, PODS "/p/log?container=a&tailLines=-1"), 422);
    assert_code(get(&f, PODS "/none/log"), 404);
    fixture_stop(&f);
    kubelet_stop(&k);
}

static void log_over_websocket(struct fixture *f, const char *protocol, const char *want)
{
    const char *const protocols[] = {protocol, NULL};
    struct websocket *w = NULL;
    struct http_call *call = NULL;
    struct websocket_message m = {0};
    struct err e = {0};
    struct mono deadline = mono_add(os_mono(), SECONDS(10));
    struct http_request q = {.url = arena_printf(&f->arena, "%s" PODS "/p/log?container=a", f->base).p};
    int r = websocket_connect(f->http, &q, protocol ? protocols : NULL, deadline, &w, &call, &e);
    if (r)
        fail_msg("%d: %s", r, err_text(&e, r));
    assert_string_equal(websocket_protocol(w), protocol ? protocol : "");
    assert_int_equal(websocket_read(w, &m, deadline), 0);
    assert_str(m.data, want);
    assert_int_equal(websocket_read(w, &m, deadline), -ENODATA);
    websocket_free(w);
    http_call_free(call);
}

FIBER_TEST(logs_come_as_messages)
{
    struct fixture f;
    struct kubelet k;
    start(&f, &k);
    log_over_websocket(&f, NULL, "line\n");
    log_over_websocket(&f, "binary.k8s.io", "line\n");
    log_over_websocket(&f, "base64.binary.k8s.io", "bGluZQo=");
    fixture_stop(&f);
    kubelet_stop(&k);
}

FIBER_TEST(a_kubelet_must_prove_itself)
{
    struct fixture f;
    struct kubelet k, other;
    kubelet_start(&k, true);
    kubelet_start(&other, true);
    struct apiserver_config c = config_for(&k);
    fixture_start(&f, &c);
    make_objects(&f, other.port); /* its certificate is of another CA */
    struct reply r = get(&f, PODS "/p/log?container=a");
    assert_code(r, 503);
    assert_null(other.last);
    fixture_stop(&f);
    kubelet_stop(&k);
    kubelet_stop(&other);
}

/* KEP-4872: a Node object may name any address; only who shows that node's certificate gets our requests. */
FIBER_TEST(a_node_cannot_stand_for_another)
{
    struct fixture f;
    struct kubelet k;
    struct apiserver_config c = start(&f, &k);
    assert_code(post(&f, "/api/v1/nodes", "{\"metadata\":{\"name\":\"thief\"}}"), 201);
    assert_code(patch(&f, "/api/v1/nodes/thief/status", "merge-patch+json",
                      arena_printf(&f.arena,
                                   "{\"status\":{\"addresses\":[{\"type\":\"InternalIP\",\"address\":\"127.0.0.1\"}],"
                                   "\"daemonEndpoints\":{\"kubeletEndpoint\":{\"Port\":%d}}}}", k.port).p), 200);
    assert_code(get(&f, "/api/v1/nodes/n/proxy/metrics"), 200);
    k.last = NULL;
    assert_code(get(&f, "/api/v1/nodes/thief/proxy/metrics"), 503);
    assert_null(k.last);
    c.proxy_local = false;
    fixture_restart(&f, &c);
    assert_code(get(&f, "/api/v1/nodes/n/proxy/metrics"), 503); /* loopback is this machine itself */
    assert_null(k.last);
    fixture_stop(&f);
    kubelet_stop(&k);
}

static void exec_over(struct fixture *f, struct kubelet *k, bool websocket)
{
    struct rc_options o = {.stdout_ = true, .stdin_ = true};
    struct rc_session *s = NULL;
    struct http_call *call = NULL;
    struct err e = {0};
    char text[64];
    struct str outcome = STR_NULL;
    struct mono deadline = mono_add(os_mono(), SECONDS(10));
    struct http_request q = {
        .method = websocket ? "GET" : "POST",
        .url = arena_printf(&f->arena,
                            "%s" PODS "/p/exec?container=a&command=cat&command=-n&stdin=true&stdout=true",
                            f->base)
                   .p};
    int r = rc_connect(f->http, &q, &o, websocket, deadline, &s, &call, &e);
    if (r)
        fail_msg("%d: %s", r, err_text(&e, r));
    assert_int_equal(rc_write(s, RC_STDIN, STR("hello"), deadline), 0);
    ssize_t n = rc_read(s, RC_STDOUT, text, sizeof(text), deadline);
    assert_int_equal(n, 5);
    assert_memory_equal(text, "hello", 5);
    assert_int_equal(rc_read_outcome(s, &f->arena, &outcome, deadline), 0);
    assert_true(str_contains(outcome, STR("Success")));
    assert_string_equal(k->last, "/exec/default/p/a?command=cat&command=-n&input=1&output=1");
    rc_free(s);
    http_call_free(call);
}

FIBER_TEST(exec_over_both_carriers)
{
    struct fixture f;
    struct kubelet k;
    start(&f, &k);
    exec_over(&f, &k, false);
    exec_over(&f, &k, true);
    assert_code(get(&f, PODS "/none/exec?command=x&stdout=1"), 404);
    fixture_stop(&f);
    kubelet_stop(&k);
}

FIBER_TEST(proxies_to_pods_services_and_nodes)
{
    struct fixture f;
    struct kubelet k, node;
    kubelet_start(&k, false);
    kubelet_start(&node, true);
    struct apiserver_config c = config_for(&node);
    fixture_start(&f, &c);
    make_objects(&f, node.port);
    assert_code(patch(&f, PODS "/p/status", "merge-patch+json",
                      "{\"status\":{\"phase\":\"Running\",\"podIP\":\"127.0.0.1\",\"podIPs\":[{\"ip\":\"127."
                      "0.0.1\"}]}}"),
                200);
    struct reply r = get(&f, arena_printf(&f.arena, PODS "/p:%d/proxy/a%%20b/?x=y", k.port).p);
    assert_code(r, 200);
    assert_str(r.text, "you asked for /a%20b/?x=y");
    r = ask(&f, "OPTIONS", arena_printf(&f.arena, PODS "/p:%d/proxy?x", k.port).p, NULL, NULL);
    assert_str(r.text, "you asked for /?x");
    r = get(&f, arena_printf(&f.arena, PODS "/p:%d/proxy", k.port).p);
    assert_code(r, 301); /* relative links need the slash */
    r = get(&f, arena_printf(&f.arena, PODS "/p:%d/proxy/gone", k.port).p);
    assert_code(r, 302);
    struct str want = arena_printf(&f.arena, PODS "/p:%d/proxy/there", k.port);
    assert_str(http_header(&r.headers, "location"), want.p);
    want = arena_printf(&f.arena, "<a href=\"" PODS "/p:%d/proxy/rewriteme\">test</a>", k.port);
    r = get(&f, arena_printf(&f.arena, PODS "/p:%d/proxy/page", k.port).p);
    assert_str(r.text, want.p);
    assert_null(http_header(&r.headers, "access-control-allow-origin").p);
    assert_non_null(http_header(&r.headers, "content-type").p);
    r = get(&f, arena_printf(&f.arena, PODS "/p:%d/proxy/packed", k.port).p);
    struct buf plain CLEANUP_BUF = BUF_INIT;
    assert_int_equal(gzip_inflate(&plain, r.text, 4096), 0);
    assert_str(buf_str(&plain), want.p);
    assert_code(get(&f, PODS "/p:x/proxy/"), 400);
    assert_code(get(&f, "/api/v1/nodes/n/proxy/metrics"), 200);
    assert_string_equal(node.last, "/metrics");
    assert_code(post(&f, "/api/v1/namespaces/default/services",
                     "{\"metadata\":{\"name\":\"s\"},\"spec\":{\"ports\":[{\"name\":\"h\",\"port\":80}]}}"),
                201);
    assert_code(get(&f, "/api/v1/namespaces/default/services/s:h/proxy/x"), 503);
    assert_code(post(&f, "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
                     arena_printf(
                         &f.arena,
                         "{\"metadata\":{\"name\":\"s-1\",\"labels\":{\"kubernetes.io/service-name\":\"s\"}},"
                         "\"addressType\":\"IPv4\",\"endpoints\":[{\"addresses\":[\"10.9.9.9\"],"
                         "\"conditions\":{\"ready\":false}},{\"addresses\":[\"10.9.9.8\"]}],\"ports\":"
                         "[{\"name\":\"h\",\"port\":%d}]}",
                         k.port)
                         .p),
                201);
    c.proxy_local = false;
    fixture_restart(&f, &c);
    k.last = NULL;
    r = get(&f, arena_printf(&f.arena, PODS "/p:%d/proxy/x", k.port).p);
    assert_code(r, 503); /* this machine's own services are not for pods/proxy */
    assert_at(&f, r, "message", "address not allowed");
    assert_null(k.last);
    fixture_stop(&f);
    kubelet_stop(&k);
    kubelet_stop(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logs_come_from_the_kubelet),
        cmocka_unit_test(logs_come_as_messages),
        cmocka_unit_test(a_kubelet_must_prove_itself),
        cmocka_unit_test(a_node_cannot_stand_for_another),
        cmocka_unit_test(exec_over_both_carriers),
        cmocka_unit_test(proxies_to_pods_services_and_nodes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
