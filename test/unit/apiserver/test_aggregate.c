/* SPDX-License-Identifier: Apache-2.0 */
/* Group versions that another server serves. The other one is on a loopback port, behind a Service "ext". */
#include "hookserver.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apiserver/aggregate.h"
#include "auth/x509.h"
#include "base/os.h"
#include "wire/json.h"

#define API_SERVICES "/apis/apiregistration.k8s.io/v1/apiservices"
#define FLUNDERS "/apis/wardle.example.com/v1/namespaces/default/flunders"
#define CRDS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"

/* ---- the other server ----------------------------------------------------------------------------------- */

static bool down, legacy;
static char seen[4096]; /* of the last request for a resource */
static char seen_cn[64];

static void note(struct http_exchange *x)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, STR_FMT " " STR_FMT "\n", STR_ARG(x->method), STR_ARG(x->target));
    for (size_t i = 0; i < x->headers.n; i++)
        buf_printf(&b, STR_FMT ": " STR_FMT "\n", STR_ARG(x->headers.items[i].name), STR_ARG(x->headers.items[i].value));
    snprintf(seen, sizeof(seen), "%.*s", STR_ARG(buf_str(&b)));
    snprintf(seen_cn, sizeof(seen_cn), "%s", x->tls && x->tls->cn ? x->tls->cn : "");
}

#define RESOURCE "{\"resource\":\"flunders\",\"responseKind\":{\"group\":\"wardle.example.com\",\"version\":\"v1\",\"kind\":\"Flunder\"},\"scope\":\"Namespaced\",\"singularResource\":\"flunder\",\"verbs\":[\"get\",\"list\"]}"

static const struct {
    const char *path, *text;
} documents[] = {
    {"/apis", "{\"kind\":\"APIGroupDiscoveryList\",\"apiVersion\":\"apidiscovery.k8s.io/v2\",\"metadata\":{},\"items\":[{\"metadata\":{\"name\":\"wardle.example.com\"},\"versions\":[{\"version\":\"v1\",\"resources\":[" RESOURCE "],\"freshness\":\"Current\"}]}]}"},
    {"/apis/wardle.example.com/v1", "{\"kind\":\"APIResourceList\",\"apiVersion\":\"v1\",\"groupVersion\":\"wardle.example.com/v1\",\"resources\":["
     "{\"name\":\"flunders\",\"singularName\":\"flunder\",\"namespaced\":true,\"kind\":\"Flunder\",\"verbs\":[\"get\"],\"shortNames\":[\"fl\"]},{\"name\":\"flunders/status\",\"singularName\":\"\",\"namespaced\":true,\"kind\":\"Flunder\",\"verbs\":[\"get\",\"patch\"]}]}"},
    {"/apis/metrics.k8s.io/v1beta1", "{\"kind\":\"APIResourceList\"}"},
    {"/openapi/v3", "{\"paths\":{\"version\":{\"serverRelativeURL\":\"/openapi/v3/version?hash=1\"},\"apis/wardle.example.com/v1\":{\"serverRelativeURL\":\"/openapi/v3/apis/wardle.example.com/v1?hash=ABC\"}}}"},
    {"/openapi/v3/apis/wardle.example.com/v1", "{\"openapi\":\"3.0.0\",\"info\":{\"title\":\"wardle\"}}"},
    {"/openapi/v2", "{\"swagger\":\"2.0\",\"paths\":{\"/version/\":{\"get\":{\"schema\":{\"$ref\":\"#/definitions/Info\"}}},\"/apis/wardle.example.com/v1/flunders\":{\"get\":{\"parameters\":[{\"$ref\":\"#/parameters/pretty-1\"}],\"schema\":{\"$ref\":\"#/definitions/com.example.wardle.v1.Flunder\"}}}},"
     "\"definitions\":{\"Info\":{\"type\":\"object\"},\"com.example.wardle.v1.Flunder\":{\"type\":\"object\",\"properties\":{\"metadata\":{\"$ref\":\"#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta\"}}},"
     "\"io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta\":{\"type\":\"object\",\"description\":\"another one\"}},\"parameters\":{\"pretty-1\":{\"in\":\"query\",\"name\":\"pretty\"},\"other\":{\"in\":\"query\",\"name\":\"x\"}}}"},
};

static void serve(struct hookserver *h UNUSED, struct http_exchange *x)
{
    const char *media = "application/json";
    struct str text = STR_NULL, body = STR("");
    struct stream *stream = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(documents); i++)
        if (str_is(x->path, documents[i].path))
            text = str_of(documents[i].text);
    if (str_is(x->path, "/apis") && !legacy)
        media = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    if (down) {
        http_respond(x, 500, NULL, STR("down"));
    } else if (http_wants_upgrade(x, "echo")) {
        note(x);
        http_upgrade(x, "echo", &stream);
        stream_write(stream, "hello", 5, MONO_NEVER);
        stream_free(stream);
    } else if (text.p) {
        if (!str_is(x->path, "/apis/wardle.example.com/v1"))
            note(x);
        http_respond(x, 200, media, text);
    } else {
        note(x);
        http_read_all(x, 1 << 20, MONO_NEVER, &body);
        http_add_header(x, "X-From", STR("there"));
        http_respond(x, 418, "application/json", arena_printf(&x->arena, "{\"kind\":\"Echo\",\"got\":\"%zu\"}", body.n));
    }
}

/* ---- ours ----------------------------------------------------------------------------------------------- */

/* cn "front" by itself, in two files below a directory of its own. */
static void make_front_proxy(struct fixture *f, struct apiserver_config *c)
{
    char dir[] = "/tmp/cube-aggregate-XXXXXX";
    struct x509_key *key = NULL;
    struct x509_cert *cert = NULL;
    struct buf pem CLEANUP_BUF = BUF_INIT, key_pem CLEANUP_BUF = BUF_INIT;
    struct err e = {0};
    struct x509_spec spec = {.names = {.cn = "front"}, .usages = X509_CLIENT_AUTH | X509_DIGITAL_SIGNATURE,
                             .not_before = {os_wall().ns - SECONDS(60)}, .not_after = {os_wall().ns + SECONDS(3600)}};
    assert_non_null(mkdtemp(dir));
    assert_int_equal(x509_key_generate(&key), 0);
    assert_int_equal(x509_issue(&spec, key, NULL, NULL, &cert, &e), 0);
    x509_cert_pem(cert, &pem);
    x509_key_pem(key, &key_pem);
    c->proxy_client_cert = arena_printf(&f->arena, "%s/crt", dir).p;
    c->proxy_client_key = arena_printf(&f->arena, "%s/key", dir).p;
    assert_int_equal(os_write_file(c->proxy_client_cert, buf_str(&pem), 0600), 0);
    assert_int_equal(os_write_file(c->proxy_client_key, buf_str(&key_pem), 0600), 0);
    x509_cert_unref(cert);
    x509_key_unref(key);
}

static void remove_front_proxy(const struct apiserver_config *c)
{
    char dir[100];
    snprintf(dir, sizeof(dir), "%.*s", (int)(strrchr(c->proxy_client_cert, '/') - c->proxy_client_cert), c->proxy_client_cert);
    unlink(c->proxy_client_cert);
    unlink(c->proxy_client_key);
    rmdir(dir);
}

struct world {
    struct fixture f;
    struct hookserver h;
    struct apiserver_config c;
    struct arena paths;
};

static void start(struct world *w)
{
    struct fixture files = {.arena = ARENA_INIT};
    down = legacy = false;
    w->c = (struct apiserver_config){.authorization = "AlwaysAllow", .proxy_local = true};
    make_front_proxy(&files, &w->c);
    w->paths = files.arena;
    fixture_start(&w->f, &w->c);
    hookserver_start(&w->h, "ext.default.svc", NULL);
    w->h.serve = serve;
}

static void stop(struct world *w)
{
    fixture_stop(&w->f);
    hookserver_stop(&w->h);
    remove_front_proxy(&w->c);
    arena_done(&w->paths);
}

/* Straight into the store: over the API nobody's endpoint is at a loopback address. */
static void put_endpoint(struct world *w, bool ready)
{
    struct arena *a = &w->f.arena;
    struct val *v = NULL;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str text = arena_printf(a, "{\"apiVersion\":\"discovery.k8s.io/v1\",\"kind\":\"EndpointSlice\",\"metadata\":{\"name\":\"ext-1\",\"namespace\":\"default\",\"labels\":{\"kubernetes.io/service-name\":\"ext\"}},\"addressType\":\"IPv4\","
                                   "\"endpoints\":[{\"addresses\":[\"127.0.0.1\"],\"conditions\":{\"ready\":%s}}],\"ports\":[{\"name\":\"s\",\"port\":%d}]}", ready ? "true" : "false", w->h.port);
    assert_int_equal(json_decode(a, resources[RES_ENDPOINTSLICES].type, text, 0, NULL, &v, NULL), 0);
    object_store_bytes(&resources[RES_ENDPOINTSLICES], v, &b);
    struct store_op op = {.kind = STORE_PUT, .key = STR("/registry/endpointslices/default/ext-1"), .value = buf_str(&b), .expect = STORE_ANY};
    assert_int_equal(store_txn(w->f.store, &op, 1, NULL, NULL), 0);
}

static void make_service(struct world *w)
{
    assert_code(post(&w->f, "/api/v1/namespaces/default/services", "{\"apiVersion\":\"v1\",\"kind\":\"Service\",\"metadata\":{\"name\":\"ext\"},\"spec\":{\"ports\":[{\"port\":443,\"name\":\"s\"}]}}"), 201);
    put_endpoint(w, true);
}

static struct reply make_api_service(struct world *w, const char *group, const char *version, const char *trust)
{
    return post(&w->f, API_SERVICES, arena_printf(&w->f.arena, "{\"apiVersion\":\"apiregistration.k8s.io/v1\",\"kind\":\"APIService\",\"metadata\":{\"name\":\"%s.%s\"},\"spec\":{\"group\":\"%s\",\"version\":\"%s\",\"groupPriorityMinimum\":2000,\"versionPriority\":200,\"service\":{\"namespace\":\"default\",\"name\":\"ext\"},%s}}",
                     version, group, group, version, trust).p);
}

static const char *trusting(struct world *w)
{
    return arena_printf(&w->f.arena, "\"caBundle\":\"%s\"", w->h.ca.p).p;
}

/* Asks again and again until the text at the path is that. */
static struct reply until(struct fixture *f, const char *url, const char *headers, const char *path, const char *want)
{
    struct reply r = ask(f, "GET", url, NULL, headers);
    for (int i = 0; i < 1000 && strcmp(at(f, r.v, path), want) != 0; i++) {
        fiber_sleep(MILLISECONDS(10));
        r = ask(f, "GET", url, NULL, headers);
    }
    assert_at(f, r, path, want);
    return r;
}

static struct reply until_condition(struct fixture *f, const char *name, const char *reason)
{
    return until(f, arena_printf(&f->arena, API_SERVICES "/%s", name).p, NULL, "status.conditions.0.reason", reason);
}

static void start_serving(struct world *w)
{
    start(w);
    make_service(w);
    assert_code(make_api_service(w, "wardle.example.com", "v1", trusting(w)), 201);
    until_condition(&w->f, "v1.wardle.example.com", "Passed");
}

static bool was_sent(const char *line)
{
    return strstr(seen, line) != NULL;
}

/* ---- tests ---------------------------------------------------------------------------------------------- */

FIBER_TEST(requests_go_on_with_who_asked)
{
    struct world w;
    start_serving(&w);
    struct reply r = ask(&w.f, "PATCH", FLUNDERS "/a%2Fb?x=1&y=%20", "{\"a\":1}", "Authorization: Bearer x\nX-Remote-User: root\nX-Remote-Extra-A: b\nContent-Type: application/merge-patch+json");
    assert_code(r, 401); /* tokens are looked at first */
    r = ask(&w.f, "PATCH", FLUNDERS "/a%2Fb?x=1&y=%20", "{\"a\":1}", "X-Remote-User: root\nX-Remote-Extra-A: b\nContent-Type: application/merge-patch+json\nImpersonate-User: jane\nImpersonate-Group: g1\nImpersonate-Group: g2\nImpersonate-Extra-sc%2Fopes: s,1\nImpersonate-Uid: u1");
    assert_code(r, 418);
    assert_at(&w.f, r, "got", "7");
    assert_string_equal(http_header(&r.headers, "x-from").p, "there");
    assert_true(was_sent("PATCH " FLUNDERS "/a%2Fb?x=1&y=%20\n"));
    assert_true(was_sent("x-remote-user: jane\n"));
    assert_true(was_sent("x-remote-uid: u1\n"));
    assert_true(was_sent("x-remote-group: g1\n"));
    assert_true(was_sent("x-remote-group: g2\n"));
    assert_true(was_sent("x-remote-group: system:authenticated\n"));
    assert_true(was_sent("x-remote-extra-sc%2fopes: s,1\n") || was_sent("x-remote-extra-sc%2Fopes: s,1\n"));
    assert_true(was_sent("content-type: application/merge-patch+json\n"));
    assert_false(was_sent("root"));
    assert_false(was_sent("x-remote-extra-a:"));
    assert_false(was_sent("mpersonate"));
    assert_string_equal(seen_cn, "front");
    /* forms that we do not have are the other server's to judge */
    assert_code(ask(&w.f, "GET", FLUNDERS, NULL, "Accept: text/x-strange"), 418);
    assert_code(get(&w.f, "/apis/wardle.example.com/v1"), 200);
    stop(&w);
}

FIBER_TEST(who_may_not_ask_is_not_passed_on)
{
    struct fixture f;
    struct val *v = NULL;
    struct status st;
    fixture_start(&f, &(struct apiserver_config){.authorization = "Node,RBAC"});
    status_init(&st, &f.arena);
    assert_int_equal(json_decode(&f.arena, resources[RES_APISERVICES].type, STR("{\"metadata\":{\"name\":\"v1.wardle.example.com\"},\"spec\":{\"group\":\"wardle.example.com\",\"version\":\"v1\",\"groupPriorityMinimum\":1,\"versionPriority\":1,\"service\":{\"namespace\":\"default\",\"name\":\"ext\"}}}"), 0, NULL, &v, NULL), 0);
    assert_int_equal(client_create(f.local, CALL(.res = &resources[RES_APISERVICES]), v, &f.arena, NULL, &st), 0);
    struct reply r = get(&f, FLUNDERS);
    assert_code(r, 403); /* not 503: nothing is told */
    assert_at(&f, r, "message", "flunders.wardle.example.com is forbidden: User \"system:anonymous\" cannot list resource \"flunders\" in API group \"wardle.example.com\" in the namespace \"default\"");
    fixture_stop(&f);
}

FIBER_TEST(conditions_say_what_is_missing)
{
    struct world w;
    start(&w);
    assert_code(make_api_service(&w, "wardle.example.com", "v1", trusting(&w)), 201);
    struct reply r = until_condition(&w.f, "v1.wardle.example.com", "ServiceNotFound");
    assert_at(&w.f, r, "status.conditions.0.type", "Available");
    assert_at(&w.f, r, "status.conditions.0.status", "False");
    assert_at(&w.f, r, "status.conditions.0.message", "service/ext in \"default\" is not present");
    r = get(&w.f, FLUNDERS);
    assert_code(r, 503);
    assert_string_equal(arena_cstr(&w.f.arena, r.text), "service unavailable\n");
    down = true;
    make_service(&w);
    r = until_condition(&w.f, "v1.wardle.example.com", "FailedDiscoveryCheck");
    assert_true(str_contains(str_of(at(&w.f, r.v, "status.conditions.0.message")), STR("bad status from /apis/wardle.example.com/v1: 500")));
    down = false;
    until_condition(&w.f, "v1.wardle.example.com", "Passed");
    assert_code(get(&w.f, FLUNDERS), 418);
    put_endpoint(&w, false);
    until_condition(&w.f, "v1.wardle.example.com", "MissingEndpoints");
    assert_code(get(&w.f, FLUNDERS), 503);
    struct str metrics = get(&w.f, "/metrics").text;
    assert_true(str_contains(metrics, STR("aggregator_unavailable_apiservice{name=\"v1.wardle.example.com\"} 1\n")));
    assert_true(str_contains(metrics, STR("aggregator_unavailable_apiservice{name=\"v1.apps\"} 0\n")));
    assert_true(str_contains(metrics, STR("aggregator_unavailable_apiservice_total{name=\"v1.wardle.example.com\",reason=\"MissingEndpoints\"} 1\n")));
    stop(&w);
}

FIBER_TEST(its_certificate_is_verified)
{
    struct world w;
    start(&w);
    make_service(&w);
    struct hookserver other; /* another authority */
    hookserver_start(&other, NULL, NULL);
    assert_code(make_api_service(&w, "wardle.example.com", "v1", arena_printf(&w.f.arena, "\"caBundle\":\"%s\"", other.ca.p).p), 201);
    until_condition(&w.f, "v1.wardle.example.com", "FailedDiscoveryCheck");
    assert_int_equal(w.h.calls, 0);
    assert_code(patch(&w.f, API_SERVICES "/v1.wardle.example.com", "merge-patch+json", "{\"spec\":{\"caBundle\":null,\"insecureSkipTLSVerify\":true}}"), 200);
    until_condition(&w.f, "v1.wardle.example.com", "Passed");
    assert_code(get(&w.f, FLUNDERS), 418);
    hookserver_stop(&other);
    stop(&w);
}

/* A certificate for another name of the same authority. */
FIBER_TEST(its_name_is_verified)
{
    struct world w;
    start(&w);
    make_service(&w);
    hookserver_stop(&w.h);
    hookserver_start(&w.h, "other.default.svc", NULL);
    w.h.serve = serve;
    put_endpoint(&w, true);
    assert_code(make_api_service(&w, "wardle.example.com", "v1", trusting(&w)), 201);
    until_condition(&w.f, "v1.wardle.example.com", "FailedDiscoveryCheck");
    assert_int_equal(w.h.calls, 0);
    stop(&w);
}

#define AGGREGATED "Accept: application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

static bool lists_group(struct fixture *f, const struct val *v, const char *path, const char *group, const struct val **ret)
{
    VAL_EACH (val_key(v, STR("items")), item)
        if (strcmp(at(f, item, path), group) == 0) {
            *ret = item;
            return true;
        }
    return false;
}

static const struct val *discovered(struct fixture *f, const char *freshness)
{
    const struct val *item = NULL;
    for (int i = 0; i < 1000; i++) {
        struct reply r = ask(f, "GET", "/apis", NULL, AGGREGATED);
        if (lists_group(f, r.v, "metadata.name", "wardle.example.com", &item) && strcmp(at(f, item, "versions.0.freshness"), freshness) == 0)
            return item;
        fiber_sleep(MILLISECONDS(10));
    }
    fail_msg("not discovered as %s", freshness);
    return NULL;
}

FIBER_TEST(it_is_part_of_discovery)
{
    struct world w;
    start_serving(&w);
    const struct val *item = discovered(&w.f, "Current");
    assert_string_equal(at(&w.f, item, "versions.0.resources.0.resource"), "flunders");
    assert_string_equal(at(&w.f, item, "versions.0.resources.0.responseKind.kind"), "Flunder");
    struct reply r = get(&w.f, "/apis/wardle.example.com");
    assert_at(&w.f, r, "kind", "APIGroup");
    assert_at(&w.f, r, "preferredVersion.groupVersion", "wardle.example.com/v1");
    assert_true(str_contains(get(&w.f, "/apis").text, STR("\"wardle.example.com/v1\"")));
    assert_true(str_contains(get(&w.f, "/").text, STR("\"/apis/wardle.example.com/v1\"")));
    down = true;
    patch(&w.f, "/api/v1/namespaces/default/services/ext", "merge-patch+json", "{\"metadata\":{\"labels\":{\"a\":\"b\"}}}"); /* it is looked at */
    until_condition(&w.f, "v1.wardle.example.com", "FailedDiscoveryCheck");
    item = discovered(&w.f, "Stale");
    assert_string_equal(at(&w.f, item, "versions.0.resources.0.resource"), "flunders"); /* what was known */
    assert_code(ask(&w.f, "DELETE", API_SERVICES "/v1.wardle.example.com", NULL, NULL), 200);
    assert_false(str_contains(ask(&w.f, "GET", "/apis", NULL, AGGREGATED).text, STR("wardle")));
    assert_code(get(&w.f, FLUNDERS), 404);
    stop(&w);
}

FIBER_TEST(servers_without_aggregated_discovery)
{
    struct world w;
    start(&w);
    legacy = true;
    make_service(&w);
    make_api_service(&w, "wardle.example.com", "v1", trusting(&w));
    const struct val *item = discovered(&w.f, "Current");
    assert_string_equal(at(&w.f, item, "versions.0.resources.0.resource"), "flunders");
    assert_string_equal(at(&w.f, item, "versions.0.resources.0.scope"), "Namespaced");
    assert_string_equal(at(&w.f, item, "versions.0.resources.0.shortNames.0"), "fl");
    assert_string_equal(at(&w.f, item, "versions.0.resources.0.responseKind.group"), "wardle.example.com");
    assert_string_equal(at(&w.f, item, "versions.0.resources.0.subresources.0.subresource"), "status");
    assert_string_equal(at(&w.f, item, "versions.0.resources.0.subresources.0.verbs.1"), "patch");
    stop(&w);
}

FIBER_TEST(it_is_part_of_openapi)
{
    struct world w;
    start_serving(&w);
    struct reply r = get(&w.f, "/openapi/v3");
    for (int i = 0; i < 1000 && !str_contains(r.text, STR("wardle")); i++) {
        fiber_sleep(MILLISECONDS(10));
        r = get(&w.f, "/openapi/v3");
    }
    const struct val *at_v3 = val_key(val_key(r.v, STR("paths")), STR("apis/wardle.example.com/v1"));
    assert_string_equal(at(&w.f, at_v3, "serverRelativeURL"), "/openapi/v3/apis/wardle.example.com/v1?hash=ABC");
    assert_false(str_contains(r.text, STR("openapi/v3/version")));
    r = get(&w.f, "/openapi/v3/apis/wardle.example.com/v1?hash=ABC");
    assert_at(&w.f, r, "info.title", "wardle");
    assert_true(was_sent("GET /openapi/v3/apis/wardle.example.com/v1?hash=ABC\n"));
    for (int i = 0; i < 1000 && !str_contains(get(&w.f, "/openapi/v2").text, STR("wardle")); i++)
        fiber_sleep(MILLISECONDS(10));
    r = get(&w.f, "/openapi/v2");
    const struct val *definitions = val_key(r.v, STR("definitions"));
    assert_non_null(val_key(val_key(r.v, STR("paths")), STR("/apis/wardle.example.com/v1/flunders")));
    assert_non_null(val_key(val_key(r.v, STR("paths")), STR("/api/v1/pods")));
    const struct val *meta = val_key(val_key(val_key(definitions, STR("com.example.wardle.v1.Flunder")), STR("properties")), STR("metadata"));
    assert_string_equal(at(&w.f, meta, "$ref"), "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta_v2");
    assert_string_equal(val_cstr(val_key(val_key(definitions, STR("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta_v2")), STR("description"))), "another one");
    assert_null(val_key(definitions, STR("Info")));
    assert_non_null(val_key(val_key(r.v, STR("parameters")), STR("pretty-1")));
    assert_null(val_key(val_key(r.v, STR("parameters")), STR("other")));
    stop(&w);
}

FIBER_TEST(upgrades_pass)
{
    struct world w;
    start_serving(&w);
    struct http_header headers[] = {{STR("Upgrade"), STR("echo")}};
    struct http_call *call = NULL;
    struct stream *stream = NULL;
    struct err e = {0};
    char text[6] = "";
    int r = http_client_upgrade(w.f.http, &(struct http_request){.url = arena_printf(&w.f.arena, "%s" FLUNDERS "/a/exec", w.f.base).p, .headers = headers, .n_headers = 1},
                                "echo", mono_add(os_mono(), SECONDS(10)), &call, &stream, &e);
    assert_int_equal(r, 0);
    assert_int_equal(call->status, 101);
    assert_int_equal(stream_read_full(stream, text, 5, mono_add(os_mono(), SECONDS(10))), 0);
    assert_string_equal(text, "hello");
    assert_true(was_sent("x-remote-user: system:anonymous\n"));
    stream_free(stream);
    http_call_free(call);
    stop(&w);
}

/* Our own metrics.k8s.io, until somebody else takes it; then it is theirs, and ours again. */
FIBER_TEST(a_group_version_of_ours_is_given_away)
{
    struct world w;
    start_serving(&w);
    struct reply r = get(&w.f, API_SERVICES "/v1beta1.metrics.k8s.io");
    assert_at(&w.f, r, "status.conditions.0.reason", "Local");
    assert_code(patch(&w.f, API_SERVICES "/v1beta1.metrics.k8s.io", "merge-patch+json", arena_printf(&w.f.arena, "{\"spec\":{\"service\":{\"namespace\":\"default\",\"name\":\"ext\",\"port\":443},\"caBundle\":\"%s\"}}", w.h.ca.p).p), 200);
    until_condition(&w.f, "v1beta1.metrics.k8s.io", "Passed");
    assert_code(get(&w.f, "/apis/metrics.k8s.io/v1beta1/nodes"), 418);
    assert_code(patch(&w.f, API_SERVICES "/v1beta1.metrics.k8s.io", "merge-patch+json", "{\"spec\":{\"service\":null,\"caBundle\":null}}"), 200);
    assert_code(get(&w.f, "/apis/metrics.k8s.io/v1beta1/nodes"), 200);
    until_condition(&w.f, "v1beta1.metrics.k8s.io", "Local");
    stop(&w);
}

static const char definition[] = "{\"apiVersion\":\"apiextensions.k8s.io/v1\",\"kind\":\"CustomResourceDefinition\",\"metadata\":{\"name\":\"ends.x.example.com\"},\"spec\":{\"group\":\"x.example.com\",\"scope\":\"Namespaced\",\"names\":{\"plural\":\"ends\",\"kind\":\"End\"},\"versions\":["
    "{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}},{\"name\":\"v2\",\"served\":false,\"storage\":false,\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}}]}}";

static void until_code(struct fixture *f, const char *path, int code)
{
    struct reply r = get(f, path);
    for (int i = 0; i < 1000 && r.code != code; i++) {
        fiber_sleep(MILLISECONDS(10));
        r = get(f, path);
    }
    assert_code(r, code);
}

FIBER_TEST(custom_kinds_have_api_services)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_code(post(&f, CRDS, definition), 201);
    until_code(&f, API_SERVICES "/v1.x.example.com", 200);
    struct reply r = get(&f, API_SERVICES "/v1.x.example.com");
    assert_string_equal(val_cstr(val_key(val_key(val_key(r.v, STR("metadata")), STR("labels")), STR("kube-aggregator.kubernetes.io/automanaged"))), "true");
    assert_at(&f, r, "spec.groupPriorityMinimum", "1000");
    assert_at(&f, r, "spec.versionPriority", "100");
    assert_at(&f, r, "status.conditions.0.reason", "Local");
    assert_code(get(&f, API_SERVICES "/v2.x.example.com"), 404);
    /* what is managed is put right, what is not is left */
    assert_code(patch(&f, API_SERVICES "/v1.x.example.com", "merge-patch+json", "{\"spec\":{\"versionPriority\":7}}"), 200);
    until(&f, API_SERVICES "/v1.x.example.com", NULL, "spec.versionPriority", "100");
    assert_code(ask(&f, "DELETE", API_SERVICES "/v1.x.example.com", NULL, NULL), 200);
    until_code(&f, API_SERVICES "/v1.x.example.com", 200);
    assert_code(patch(&f, CRDS "/ends.x.example.com", "json-patch+json", "[{\"op\":\"replace\",\"path\":\"/spec/versions/1/served\",\"value\":true}]"), 200);
    until_code(&f, API_SERVICES "/v2.x.example.com", 200);
    fixture_restart(&f, NULL);
    assert_code(ask(&f, "DELETE", CRDS "/ends.x.example.com", NULL, NULL), 200);
    until_code(&f, API_SERVICES "/v1.x.example.com", 404);
    until_code(&f, API_SERVICES "/v2.x.example.com", 404);
    fixture_stop(&f);
}

FIBER_TEST(local_ones_are_available)
{
    struct fixture f;
    fixture_start(&f, NULL);
    struct reply r = post(&f, API_SERVICES, "{\"apiVersion\":\"apiregistration.k8s.io/v1\",\"kind\":\"APIService\",\"metadata\":{\"name\":\"v1.own.example.com\"},\"spec\":{\"group\":\"own.example.com\",\"version\":\"v1\",\"groupPriorityMinimum\":10,\"versionPriority\":10}}");
    assert_code(r, 201);
    assert_at(&f, r, "status.conditions.0.reason", "Local");
    assert_at(&f, r, "status.conditions.0.status", "True");
    fixture_stop(&f);
}

static void check_order(const struct val *v, const char *const *want)
{
    const struct val *groups = val_key(v, STR("groups"));
    size_t n = 0;
    for (size_t i = 0; i < val_len(groups) && want[n]; i++)
        n += str_is(val_str(val_key(val_item(groups, i), STR("name"))), want[n]);
    if (want[n])
        fail_msg("%s is not where it should be", want[n]);
}

FIBER_TEST(groups_stand_by_priority)
{
    struct world w;
    static const char *const want[] = {"apiregistration.k8s.io", "apps", "mid.example.com", "wardle.example.com", "x.example.com", NULL};
    start_serving(&w);
    make_api_service(&w, "mid.example.com", "v1", trusting(&w));
    assert_code(post(&w.f, CRDS, definition), 201);
    until_code(&w.f, "/apis/x.example.com/v1", 200);
    make_api_service(&w, "wardle.example.com", "v2", trusting(&w));
    make_api_service(&w, "wardle.example.com", "v1beta1", trusting(&w));
    check_order(get(&w.f, "/apis").v, want);
    struct reply r = get(&w.f, "/apis/wardle.example.com");
    assert_at(&w.f, r, "versions.0.version", "v2");
    assert_at(&w.f, r, "versions.1.version", "v1");
    assert_at(&w.f, r, "versions.2.version", "v1beta1");
    stop(&w);
}

static void documents_of_strangers(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct err e = {0};
    struct str text;
    static const char *const bad[] = {"", "[]", "{", "null", "\"x\""};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        assert_int_equal(documents_discovery(&a, str_of(bad[i]), STR("g"), STR("v"), &text, &e), -EINVAL);
        assert_int_equal(documents_resources(&a, str_of(bad[i]), STR("g"), STR("v"), &text, &e), -EINVAL);
        assert_int_equal(documents_v2(&a, str_of(bad[i]), STR("g"), STR("v"), &text, &e), -EINVAL);
        assert_int_equal(documents_v3(&a, str_of(bad[i]), STR("g"), STR("v"), &text, &e), -EINVAL);
        assert_int_equal(documents_merge_v2(&a, STR("{}"), (struct str[]){str_of(bad[i])}, 1, &b, &e), -EINVAL);
    }
    assert_int_equal(documents_discovery(&a, STR("{\"items\":[3,{\"metadata\":{\"name\":\"g\"},\"versions\":{}}]}"), STR("g"), STR("v"), &text, &e), 1);
    assert_int_equal(documents_discovery(&a, STR("{\"items\":[{\"metadata\":{\"name\":\"g\"},\"versions\":[{\"version\":\"v\",\"resources\":[1,{\"resource\":\"x\",\"subresources\":[{}]}]}]}]}"), STR("g"), STR("v"), &text, &e), 0);
    assert_string_equal(arena_cstr(&a, text), "[1,{\"resource\":\"x\",\"responseKind\":{\"group\":\"\",\"kind\":\"\",\"version\":\"\"},\"subresources\":[{\"responseKind\":{\"group\":\"\",\"kind\":\"\",\"version\":\"\"}}]}]");
    /* elsewhere is nowhere */
    assert_int_equal(documents_v3(&a, STR("{\"paths\":{\"apis/g/v\":{\"serverRelativeURL\":\"//evil.example.com/\"}}}"), STR("g"), STR("v"), &text, &e), 1);
    /* definitions that point to each other, and to nothing */
    assert_int_equal(documents_v2(&a, STR("{\"paths\":{\"/apis/g/v/x\":{\"$ref\":\"#/definitions/a\"}},\"definitions\":{\"a\":{\"$ref\":\"#/definitions/b\"},\"b\":{\"x\":[{\"$ref\":\"#/definitions/a\"},{\"$ref\":\"#/definitions/none\"}]},\"c\":{}}}"), STR("g"), STR("v"), &text, &e), 0);
    assert_string_equal(arena_cstr(&a, text), "{\"definitions\":{\"a\":{\"$ref\":\"#/definitions/b\"},\"b\":{\"x\":[{\"$ref\":\"#/definitions/a\"},{\"$ref\":\"#/definitions/none\"}]}},\"paths\":{\"/apis/g/v/x\":{\"$ref\":\"#/definitions/a\"}}}");
    /* the same definition is shared, another one gets another name */
    assert_int_equal(documents_merge_v2(&a, STR("{\"definitions\":{\"a\":{\"x\":1},\"b\":{\"x\":1},\"b_v2\":{}},\"paths\":{\"/1\":{}}}"),
                                        (struct str[]){STR("{\"definitions\":{\"a\":{\"x\":1},\"b\":{\"x\":2}},\"paths\":{\"/1\":{\"n\":1},\"/2\":{\"a\":{\"$ref\":\"#/definitions/a\"},\"b\":{\"$ref\":\"#/definitions/b\"}}}}")}, 1, &b, &e), 0);
    assert_string_equal(arena_cstr(&a, buf_str(&b)), "{\"definitions\":{\"a\":{\"x\":1},\"b\":{\"x\":1},\"b_v2\":{},\"b_v3\":{\"x\":2}},\"paths\":{\"/1\":{},\"/2\":{\"a\":{\"$ref\":\"#/definitions/a\"},\"b\":{\"$ref\":\"#/definitions/b_v3\"}}}}");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_go_on_with_who_asked),
        cmocka_unit_test(who_may_not_ask_is_not_passed_on),
        cmocka_unit_test(conditions_say_what_is_missing),
        cmocka_unit_test(its_certificate_is_verified),
        cmocka_unit_test(its_name_is_verified),
        cmocka_unit_test(it_is_part_of_discovery),
        cmocka_unit_test(servers_without_aggregated_discovery),
        cmocka_unit_test(it_is_part_of_openapi),
        cmocka_unit_test(upgrades_pass),
        cmocka_unit_test(a_group_version_of_ours_is_given_away),
        cmocka_unit_test(custom_kinds_have_api_services),
        cmocka_unit_test(local_ones_are_available),
        cmocka_unit_test(groups_stand_by_priority),
        cmocka_unit_test(documents_of_strangers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
