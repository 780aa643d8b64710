/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole controller with real sockets, in a network namespace of the test's own (root, else skipped): Ingresses in an API of
 * the mind, back ends in this loop, the controller's threads between them.
 */
#include "world.h"

/* ---- tests --------------------------------------------------------------------------------------------- */

FIBER_TEST(requests_are_passed_on)
{
    struct world w;
    struct answer a;
    begin(&w);
    fake_put_text(w.fake, RES_INGRESSES, INGRESS("i", "", "rules:[" RULE("web.example", "/", "web") "," RULE("none.example", "/", "none") "," RULE(
        "half.example", "/", "half") "," RULE("gone.example", "/", "gone") "]"));
    expect(&w, "web.example", "/x?y=1", 200);
    assert_true(saw(&w, "GET /x?y=1\n"));
    assert_true(saw(&w, "host: web.example\n"));
    assert_true(saw(&w, "x-forwarded-for: 127.0.0.1\n"));
    assert_true(saw(&w, "x-forwarded-proto: http\n"));
    assert_true(saw(&w, "x-forwarded-port: 8080\n"));
    assert_true(saw(&w, "forwarded: for=127.0.0.1;host=\"web.example\";proto=http\n"));
    const struct http_header lies[] = {{STR("X-Forwarded-For"), STR("6.6.6.6")}, {STR("X-Real-IP"), STR("6.6.6.6")}, {STR("Forwarded"), STR("for=6.6.6.6")},
                                       {STR("X-Forwarded-Proto"), STR("https")}, {STR("X-Original-URL"), STR("/admin")}, {STR("X-Kept"), STR("1")}};
    assert_int_equal(ask_with(&w, w.client, "http://" HTTP, "web.example", "/", "POST", lies, ARRAY_SIZE(lies), STR("some body"), &a), 0);
    assert_int_equal(a.status, 200);
    assert_int_equal(w.last_body, 9);
    assert_false(saw(&w, "6.6.6.6"));
    assert_false(saw(&w, "/admin"));
    assert_true(saw(&w, "x-forwarded-proto: http\n"));
    assert_true(saw(&w, "x-kept: 1\n"));
    assert_int_equal(get(&w, "web.example", "/stream", &a), 0);
    assert_int_equal(a.length, 500000);
    assert_int_equal(ask_with(&w, w.client, "http://" HTTP, "web.example", "/", "HEAD", NULL, 0, STR_NULL, &a), 0);
    assert_int_equal(a.status, 200);
    expect(&w, "nobody.example", "/", 404);
    expect(&w, "none.example", "/", 503);
    expect(&w, "gone.example", "/", 503);
    for (int i = 0; i < 10; i++) { /* one of its endpoints takes no connection */
        assert_int_equal(get(&w, "half.example", "/", &a), 0);
        assert_int_equal(a.status, 200);
    }
    fake_put_text(w.fake, RES_ENDPOINTSLICES, SLICE("web", "{addresses:['10.77.0.2']}"));
    expect(&w, "web.example", "/", 502);
    fake_put_text(w.fake, RES_ENDPOINTSLICES, SLICE("web", "{addresses:['10.77.0.1']}"));
    expect(&w, "web.example", "/", 200);
    assert_false(w.read_secrets_wholesale);
    end(&w);
}

/* What two readers could read differently gets no further than here. */
FIBER_TEST(no_smuggling)
{
    static const struct {
        const char *bytes, *status;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
        {"POST / HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", "501"},
        {"POST / HTTP/1.1\r\nHost: web.example\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "501"},
        {"POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", "400"},
        {"POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: +1\r\n\r\na", "400"},
        {"GET / HTTP/1.1\r\nHost: web.example\r\nX: a\r\n b\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: web.example\nX: a\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost: web.example\r\nHost: other.example\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost : web.example\r\n\r\n", "400"},
        {"GET / HTTP/1.1\r\n\r\n", "400"},
        {"GET http://other.example/ HTTP/1.1\r\nHost: web.example\r\n\r\n", "400"},
        {"GET /a/../b HTTP/1.1\r\nHost: web.example\r\n\r\n", "400"},
        {"GET /%2e%2e/b HTTP/1.1\r\nHost: web.example\r\n\r\n", "400"},
        {"CONNECT web.example:80 HTTP/1.1\r\nHost: web.example\r\n\r\n", "400"},
        {"OPTIONS * HTTP/1.1\r\nHost: web.example\r\n\r\n", "400"},
    };
    struct world w;
    begin(&w);
    fake_put_text(w.fake, RES_INGRESSES, INGRESS("i", "", "rules:[" RULE("web.example", "/", "web") "]"));
    expect(&w, "web.example", "/", 200);
    unsigned before = w.seen;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        const char *answer = raw(&a, cases[i].bytes);
        if (strncmp(answer, "HTTP/1.1 ", 9) || (strncmp(answer + 9, "400", 3) && strncmp(answer + 9, cases[i].status, 3)))
            fail_msg("%s\n--> %s", cases[i].bytes, answer);
    }
    assert_int_equal(w.seen, before);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    raw(&a, "GET /1 HTTP/1.1\r\nHost: web.example\r\nConnection: Upgrade, HTTP2-Settings, X-Forwarded-For, X-Gone\r\nUpgrade: h2c\r\n"
            "HTTP2-Settings: AAMAAABkAAQAAP__\r\nX-Gone: 1\r\n\r\n");
    assert_true(saw(&w, "GET /1\n")); /* an ordinary request */
    assert_false(saw(&w, "h2c"));
    assert_false(saw(&w, "http2-settings"));
    assert_false(saw(&w, "x-gone"));
    assert_true(saw(&w, "x-forwarded-for: 127.0.0.1\n"));
    const char *twice = raw(&a, "POST /2 HTTP/1.1\r\nHost: web.example\r\nContent-Length: 3\r\n\r\nabcGET /3 HTTP/1.1\r\nHost: web.example\r\n\r\n");
    assert_non_null(strstr(strstr(twice, "HTTP/1.1 200") + 1, "HTTP/1.1 200"));
    assert_true(saw(&w, "GET /3\n"));
    end(&w);
}

FIBER_TEST(limits)
{
    struct world w;
    struct answer a;
    begin(&w);
    fake_put_text(w.fake, RES_INGRESSES, INGRESS("i", "'ingress.cube.dev/timeout':1s,'ingress.cube.dev/max-body-size':100k", "rules:[" RULE("web.example", "/", "web") "]"));
    fake_put_text(w.fake, RES_INGRESSES, INGRESS("j", "'ingress.cube.dev/allow-from':'10.0.0.0/8'", "rules:[" RULE("inner.example", "/", "web") "]"));
    expect(&w, "web.example", "/", 200);
    expect(&w, "inner.example", "/", 403);
    assert_int_equal(get(&w, "web.example", "/slow", &a), 0);
    assert_int_equal(a.status, 504);
    struct buf big CLEANUP_BUF = BUF_INIT;
    memset(buf_grow(&big, 200000), 'x', 200000);
    big.n = 200000;
    unsigned before = w.seen;
    assert_int_equal(ask_with(&w, w.client, "http://" HTTP, "web.example", "/", "POST", NULL, 0, buf_str(&big), &a), 0);
    assert_int_equal(a.status, 413);
    assert_int_equal(w.seen, before);
    struct http_call *call; /* of a length that nobody told */
    struct err e;
    const struct http_header host = {STR("Host"), STR("web.example")};
    struct http_request r = {.method = "POST", .url = "http://" HTTP "/", .headers = &host, .n_headers = 1, .stream_body = true};
    assert_int_equal(http_begin(w.client, &r, mono_add(os_mono(), SECONDS(5)), &call, &e), 0);
    for (int i = 0; i < 3 && http_call_write(call, str_slice(buf_str(&big), 0, 50000), mono_add(os_mono(), SECONDS(5))) == 0; i++)
        ;
    assert_int_equal(http_call_wait(call, mono_add(os_mono(), SECONDS(5)), &e), 0);
    assert_int_equal(call->status, 413);
    http_call_free(call);
    big.n = 90000;
    assert_int_equal(ask_with(&w, w.client, "http://" HTTP, "web.example", "/", "POST", NULL, 0, buf_str(&big), &a), 0);
    assert_int_equal(a.status, 200);
    assert_int_equal(w.last_body, 90000);
    struct arena arena CLEANUP_ARENA = ARENA_INIT; /* a client that stops in the middle */
    assert_non_null(strstr(raw(&arena, "POST / HTTP/1.1\r\nHost: web.example\r\nContent-Length: 10\r\n\r\nabc") + 0, ""));
    expect(&w, "web.example", "/", 200);
    end(&w);
}

static void put_secret(struct world *w, const char *name, const char *cn, const char *const *dns)
{
    struct wall now = os_wall();
    struct x509_spec spec = {.names = {.cn = cn, .dns = dns}, .usages = X509_SERVER_AUTH | X509_DIGITAL_SIGNATURE,
                             .not_before = {now.ns - SECONDS(60)}, .not_after = {now.ns + SECONDS(86400)}};
    struct x509_key *key;
    struct x509_cert *cert;
    struct buf cert_pem CLEANUP_BUF = BUF_INIT, key_pem CLEANUP_BUF = BUF_INIT;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v = val_new(&a, VAL_OBJ), *meta = val_sub_obj(&a, v, N_metadata), *data = val_sub_map(&a, v, N_data);
    struct err e;
    assert_int_equal(x509_key_generate(&key) | x509_issue(&spec, key, NULL, NULL, &cert, &e), 0);
    x509_cert_pem(cert, &cert_pem);
    x509_key_pem(key, &key_pem);
    val_set_str(&a, meta, N_name, str_of(name));
    val_set_str(&a, meta, N_namespace, STR("a"));
    val_set_str(&a, v, N_type, STR("kubernetes.io/tls"));
    val_put(&a, data, STR("tls.crt"), val_of_bytes(buf_str(&cert_pem)));
    val_put(&a, data, STR("tls.key"), val_of_bytes(buf_str(&key_pem)));
    fake_put(w->fake, &resources[RES_SECRETS], v);
    x509_cert_unref(cert);
    x509_key_unref(key);
}

/* The common name of the certificate that is shown for a name. */
static void expect_certificate(const char *sni, const char *want)
{
    struct tls_client *t;
    struct err e;
    struct mono deadline = mono_add(os_mono(), SECONDS(8));
    assert_int_equal(tls_client_new(&(struct tls_client_config){.insecure = true}, &t, &e), 0);
    for (;;) {
        struct stream *s;
        char cn[128] = "nobody listens";
        int fd = os_connect(HTTPS, mono_add(os_mono(), SECONDS(1)));
        if (fd >= 0 && tls_connect(t, fd, sni, false, mono_add(os_mono(), SECONDS(5)), &s, &e) == 0) {
            snprintf(cn, sizeof(cn), "%s", s->tls->cn);
            stream_free(s);
        }
        if (!strcmp(cn, want))
            break;
        if (os_mono().ns > deadline.ns)
            fail_msg("%s: \"%s\" instead of \"%s\"", sni, cn, want);
        fiber_sleep(MILLISECONDS(20));
    }
    tls_client_unref(t);
}

FIBER_TEST(certificates)
{
    static const char *const any[] = {"*.example", "one.example", "two.example", NULL};
    struct world w;
    struct answer a;
    begin(&w);
    put_secret(&w, "one", "first", any); /* its certificate names the other host, too: that is not what decides */
    fake_put_text(w.fake, RES_INGRESSES, INGRESS("i", "", "tls:[{hosts:[one.example],secretName:one},{hosts:['*.wild.example'],secretName:two}],rules:[" RULE(
        "one.example", "/", "web") "," RULE("two.example", "/", "web") "," RULE("x.wild.example", "/", "rpc") "]"));
    fake_put_text(w.fake, RES_INGRESSES, INGRESS("plain", "'ingress.cube.dev/redirect-to-https':'false'", "rules:[" RULE("one.example", "/plain", "web") "]"));
    expect_certificate("one.example", "first");
    expect_certificate("two.example", "Cube Ingress, no certificate for this name");
    expect_certificate("x.wild.example", "Cube Ingress, no certificate for this name");
    put_secret(&w, "two", "second", any);
    expect_certificate("x.wild.example", "second");
    put_secret(&w, "one", "renewed", any);
    expect_certificate("one.example", "renewed");
    expect(&w, "one.example", "/x?y", 308);
    assert_int_equal(get(&w, "one.example", "/x?y", &a), 0);
    assert_string_equal(a.location, "https://one.example:8443/x?y");
    expect(&w, "one.example", "/plain", 200);
    expect(&w, "two.example", "/", 200); /* no certificate, no redirect */
    struct tls_client *t;
    struct err e;
    assert_int_equal(tls_client_new(&(struct tls_client_config){.insecure = true}, &t, &e), 0);
    struct http_client *c = http_client_new(&(struct http_client_config){.tls = t, .server_name = "one.example"});
    assert_int_equal(ask_with(&w, c, "https://" HTTPS, "one.example", "/s", "GET", NULL, 0, STR_NULL, &a), 0);
    assert_int_equal(a.status, 200);
    assert_true(saw(&w, "x-forwarded-proto: https\n"));
    /* HTTP/2 in, HTTP/2 on to who speaks it, trailers back */
    struct http_call *call;
    const struct http_header h[] = {{STR("Host"), STR("x.wild.example")}, {STR("TE"), STR("trailers")}};
    struct http_request r = {.method = "POST", .url = "https://" HTTPS "/stream", .headers = h, .n_headers = 2, .body = STR("abc")};
    assert_int_equal(http_do(c, &r, mono_add(os_mono(), SECONDS(5)), &call, &e), 0);
    struct str text;
    assert_int_equal(call->version, 20);
    assert_int_equal(http_call_read_all(call, 1 << 20, mono_add(os_mono(), SECONDS(5)), &text), 0);
    assert_int_equal(text.n, 500000);
    assert_str(http_header(&call->trailers, "grpc-status"), "0");
    assert_int_equal(w.last_version, 20);
    assert_true(saw(&w, "te: trailers\n"));
    http_call_free(call);
    http_client_free(c);
    tls_client_unref(t);
    assert_false(w.read_secrets_wholesale);
    end(&w);
}

FIBER_TEST(websockets)
{
    struct world w;
    struct websocket *ws;
    struct websocket_message m;
    struct http_call *call;
    struct err e;
    begin(&w);
    fake_put_text(w.fake, RES_INGRESSES, INGRESS("i", "", "rules:[" RULE("web.example", "/", "web") "]"));
    expect(&w, "web.example", "/", 200);
    const struct http_header host = {STR("Host"), STR("web.example")};
    struct http_request r = {.url = "http://" HTTP "/ws", .headers = &host, .n_headers = 1};
    assert_int_equal(websocket_connect(w.client, &r, NULL, mono_add(os_mono(), SECONDS(5)), &ws, &call, &e), 0);
    http_call_free(call);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(websocket_write(ws, WS_TEXT, STR("ping"), MONO_NEVER), 0);
        assert_int_equal(websocket_read(ws, &m, mono_add(os_mono(), SECONDS(5))), 0);
        assert_str(m.data, "ping");
        /* changes around it do not cut it */
        fake_put_text(w.fake, RES_INGRESSES, i % 2 ? INGRESS("k", "", "rules:[" RULE("k.example", "/", "web") "]") : INGRESS("k", "", "rules:[" RULE("l.example", "/", "web") "]"));
        fiber_sleep(MILLISECONDS(50));
    }
    websocket_free(ws);
    /* one of its endpoints takes no connection: the other is asked */
    fake_put_text(w.fake, RES_INGRESSES, INGRESS("h", "'ingress.cube.dev/timeout':1s", "rules:[" RULE("half.example", "/", "half") "]"));
    expect(&w, "half.example", "/", 200);
    const struct http_header half = {STR("Host"), STR("half.example")};
    r.headers = &half;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(websocket_connect(w.client, &r, NULL, mono_add(os_mono(), SECONDS(5)), &ws, &call, &e), 0);
        http_call_free(call);
        websocket_free(ws);
    }
    /* one that took it and is silent is not asked again */
    unsigned before = w.seen;
    struct http_request slow = {.url = "http://" HTTP "/slow", .headers = &half, .n_headers = 1};
    assert_int_equal(websocket_connect(w.client, &slow, NULL, mono_add(os_mono(), SECONDS(5)), &ws, &call, &e), HTTP_NO_UPGRADE);
    assert_int_equal(call->status, 504);
    http_call_free(call);
    assert_int_equal(w.seen, before + 1);
    end(&w);
}

static const char *address_of(struct world *w, const char *name, struct arena *a)
{
    const struct object *o = fake_get(w->fake, RES_INGRESSES, "a", name);
    return arena_cstr(a, val_getstr(val_item(val_at(o->val, N_status, N_loadBalancer, N_ingress), 0), N_ip));
}

static void expect_address(struct world *w, const char *name, const char *want)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct mono deadline = mono_add(os_mono(), SECONDS(8));
    while (strcmp(address_of(w, name, &a), want)) {
        if (os_mono().ns > deadline.ns)
            fail_msg("%s: \"%s\" instead of \"%s\"", name, address_of(w, name, &a), want);
        fiber_sleep(MILLISECONDS(20));
    }
}

FIBER_TEST(status_events_metrics)
{
    struct world w;
    struct answer a;
    begin(&w);
    fiber_sleep(MILLISECONDS(100));
    assert_int_equal(get(&w, "web.example", "/", &a), -ECONNREFUSED); /* nothing to serve, nothing bound */
    fake_put_text(w.fake, RES_INGRESSES, INGRESS("i", "", "rules:[" RULE("web.example", "/", "web") "," RULE("x.example", "/", "gone") "]"));
    fake_put_text(w.fake, RES_INGRESSES, "{metadata:{name:j,namespace:a,uid:j},spec:{ingressClassName:other,rules:[]}}");
    expect_address(&w, "i", "192.0.2.7");
    expect(&w, "web.example", "/", 200);
    expect_address(&w, "j", "");
    struct mono deadline = mono_add(os_mono(), SECONDS(8));
    while (!fake_count(w.fake, RES_EVENTS) && os_mono().ns < deadline.ns)
        fiber_sleep(MILLISECONDS(20));
    assert_int_equal(fake_count(w.fake, RES_EVENTS), 1);
    assert_str(val_getstr(fake_at(w.fake, RES_EVENTS, 0)->val, N_reason), "NoService");
    struct http_call *call;
    struct http_request r = {.url = "http://127.0.0.1:8081/metrics"};
    struct err e;
    struct str text;
    bool counted = false; /* a request is counted after its answer */
    deadline = mono_add(os_mono(), SECONDS(8));
    while (!counted && os_mono().ns < deadline.ns) {
        assert_int_equal(http_do(w.client, &r, mono_add(os_mono(), SECONDS(5)), &call, &e), 0);
        assert_int_equal(http_call_read_all(call, 1 << 20, mono_add(os_mono(), SECONDS(5)), &text), 0);
        counted = str_contains(text, STR("cube_ingress_requests_total{namespace=\"a\",ingress=\"i\",host=\"web.example\",status=\"200\"} ")) &&
                  str_contains(text, STR("cube_ingress_request_duration_seconds_bucket{namespace=\"a\",ingress=\"i\",host=\"web.example\",le=\"+Inf\"} "));
        http_call_free(call);
    }
    assert_true(counted);
    fake_put_text(w.fake, RES_INGRESSES, "{metadata:{name:i,namespace:a,uid:i},spec:{ingressClassName:other},status:{loadBalancer:{ingress:[{ip:'192.0.2.7'}]}}}");
    expect_address(&w, "i", ""); /* taken back */
    fiber_sleep(MILLISECONDS(100));
    deadline = mono_add(os_mono(), SECONDS(8));
    while (get(&w, "web.example", "/", &a) != -ECONNREFUSED && os_mono().ns < deadline.ns)
        fiber_sleep(MILLISECONDS(20));
    assert_int_equal(get(&w, "web.example", "/", &a), -ECONNREFUSED);
    end(&w);
}

static void addresses_of_peers(void **state UNUSED)
{
    static const struct {
        const char *peer, *want;
    } cases[] = {{"1.2.3.4:5", "1.2.3.4"}, {"[::ffff:1.2.3.4]:5", "1.2.3.4"}, {"[fd00::1]:5", "fd00::1"}, {"unix:", ""}, {"", ""}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char text[IP_TEXT_MAX];
        peer_address(cases[i].peer, text);
        assert_string_equal(text, cases[i].want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_of_peers),
        cmocka_unit_test(requests_are_passed_on),
        cmocka_unit_test(no_smuggling),
        cmocka_unit_test(limits),
        cmocka_unit_test(certificates),
        cmocka_unit_test(websockets),
        cmocka_unit_test(status_events_metrics),
    };
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        return 0;
    loop_run(bring_up, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
