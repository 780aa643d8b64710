/* SPDX-License-Identifier: Apache-2.0 */
#include "client/https.h"

#include <stdio.h>
#include <unistd.h>

#include "client/fake_client.h"
#include "testing.h"
#include "type/meta.h"

/* ---- a server that says what it was told to say ------------------------------------------------------ */

struct answer {
    const char *wants; /* start of the request: "GET /api/v1/pods?" */
    int status;
    const char *body; /* a watch's lines, when the request asks for a watch */
    const char *retry_after;
};

struct served {
    struct http_server *server;
    struct client *client;
    const struct answer *answers; /* in order; ends with wants NULL */
    size_t next;
    struct buf log; /* "METHOD target content-type body\n" */
    struct arena arena;
    struct status s;
};

static void note(struct served *t, struct http_exchange *x, struct str body)
{
    struct str type = http_header(&x->headers, "content-type"),
               auth = http_header(&x->headers, "authorization");
    struct str as = http_header(&x->headers, "impersonate-user");
    buf_printf(&t->log, STR_FMT " " STR_FMT, STR_ARG(x->method), STR_ARG(x->target));
    if (body.n)
        buf_printf(&t->log, " " STR_FMT " " STR_FMT, STR_ARG(type), STR_ARG(body));
    if (auth.n)
        buf_printf(&t->log, " auth=" STR_FMT, STR_ARG(auth));
    if (as.n)
        buf_printf(&t->log, " as=" STR_FMT, STR_ARG(as));
    buf_putc(&t->log, '\n');
}

static void serve(void *ctx, struct http_exchange *x)
{
    struct served *t = ctx;
    struct str body = STR_NULL;
    char request[1024];
    http_read_all(x, 1 << 20, MONO_NEVER, &body);
    note(t, x, body);
    snprintf(request, sizeof(request), STR_FMT " " STR_FMT, STR_ARG(x->method), STR_ARG(x->target));
    const struct answer *a = &t->answers[t->next];
    if (!a->wants || strncmp(request, a->wants, strlen(a->wants)) != 0) {
        http_respond(x, 599, "text/plain", STR("not in the script"));
        return;
    }
    t->next++;
    if (a->retry_after)
        http_add_header(x, "Retry-After", str_of(a->retry_after));
    http_respond(x, a->status, "application/json", str_of(a->body));
}

static void set_up(struct served *t, const struct answer *answers, const struct https_config *more)
{
    char address[64], url[96];
    struct err e = {0};
    *t = (struct served){.answers = answers};
    t->server = http_server_new(&(struct http_server_config){.handler = serve, .ctx = t});
    assert_int_equal(http_server_listen(t->server, "127.0.0.1:0", &e), 0);
    assert_int_equal(http_server_address(t->server, address, sizeof(address)), 0);
    snprintf(url, sizeof(url), "http://%s", address);
    struct https_config config = more ? *more : (struct https_config){0};
    config.server = str_of(url);
    config.user_agent = "tester";
    assert_int_equal(https_client_new(&config, &t->client, &e), 0);
    status_init(&t->s, &t->arena);
}

static void tear_down(struct served *t)
{
    client_free(t->client);
    http_server_free(t->server);
    buf_done(&t->log);
    arena_done(&t->arena);
}

static void expect_log(struct served *t, const char *want)
{
    assert_string_equal(t->log.p ? t->log.p : "", want);
    buf_clear(&t->log);
}

#define POD                                                                                                  \
    "{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"a\",\"namespace\":\"x\",\"uid\":"      \
    "\"u\",\"resourceVersion\":\"7\"}}"
static const struct resource *const pods = &resources[RES_PODS];

/* ---- calls ------------------------------------------------------------------------------------------- */

FIBER_TEST(calls_are_what_the_api_wants)
{
    static const struct answer answers[] = {
        {"GET /api/v1/namespaces/x/pods/a", 200, POD},
        {"POST /api/v1/namespaces/x/pods", 201, POD},
        {"PUT /api/v1/namespaces/x/pods/a/status", 200, POD},
        {"PATCH /apis/apps/v1/namespaces/x/deployments/d", 200,
         "{\"kind\":\"Deployment\",\"apiVersion\":\"apps/v1\"}"},
        {"DELETE /api/v1/nodes/n", 200, "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Success\"}"},
        {"GET /api/v1/pods", 200,
         "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"9\"},\"items\":"
         "[" POD "]}"},
        {0},
    };
    struct served t;
    const struct val *got;
    set_up(&t, answers, NULL);
    assert_int_equal(
        client_get(t.client, CALL(.res = pods, .ns = STR("x"), .name = STR("a")), &t.arena, &got, &t.s), 0);
    assert_str(obj_uid(got), "u");
    struct val *v = val_relaxed(&t.arena, pods->type, "{metadata: {name: a}}");
    assert_int_equal(client_create(t.client, CALL(.res = pods, .ns = STR("x")), v, &t.arena, &got, &t.s), 0);
    const struct call *status =
        CALL(.res = pods, .ns = STR("x"), .name = STR("a"), .subresource = "status", .dry_run = true);
    assert_int_equal(client_update(t.client, status, v, &t.arena, NULL, &t.s), 0);
    const struct call *patch =
        CALL(.res = &resources[RES_DEPLOYMENTS], .ns = STR("x"), .name = STR("d"), .field_manager = "me");
    assert_int_equal(client_patch(t.client, patch, PATCH_STRATEGIC, STR("{}"), &t.arena, NULL, &t.s), 0);
    const struct call *delete = CALL(.res = &resources[RES_NODES], .name = STR("n"), .grace_seconds = 0,
                                     .uid = STR("u1"), .propagation = "Foreground");
    assert_int_equal(client_delete(t.client, delete, &t.arena, &got, &t.s), 0);
    const struct call *list =
        CALL(.res = pods, .label_selector = STR("a in (b,c)"), .limit = 5, .continue_token = STR("t+/="));
    assert_int_equal(client_list(t.client, list, &t.arena, &got, &t.s), 0);
    assert_int_equal(val_len(val_get(got, N_items)), 1);
    expect_log(&t, "GET /api/v1/namespaces/x/pods/a\n"
                   "POST /api/v1/namespaces/x/pods?fieldManager=tester application/json "
                   "{\"metadata\":{\"name\":\"a\"},\"spec\":"
                   "{\"containers\":null},\"status\":{}}\n"
                   "PUT /api/v1/namespaces/x/pods/a/status?dryRun=All&fieldManager=tester application/json "
                   "{\"metadata\":{\"name\":"
                   "\"a\"},\"spec\":{\"containers\":null},\"status\":{}}\n"
                   "PATCH /apis/apps/v1/namespaces/x/deployments/d?fieldManager=me "
                   "application/strategic-merge-patch+json {}\n"
                   "DELETE /api/v1/nodes/n application/json "
                   "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\",\"gracePeriodSeconds\":"
                   "0,\"preconditions\":{\"uid\":\"u1\"},\"propagationPolicy\":\"Foreground\"}\n"
                   "GET /api/v1/pods?labelSelector=a+in+%28b%2Cc%29&limit=5&continue=t%2B%2F%3D\n");
    tear_down(&t);
}

FIBER_TEST(refusals_are_the_servers_own)
{
    static const struct answer answers[] = {
        {"GET /api/v1/namespaces/x/pods/a", 404,
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"message\":"
         "\"pods \\\"a\\\" not found\",\"reason\":\"NotFound\",\"code\":404}"},
        {"GET /api/v1/namespaces/x/pods/a", 502, "<html>bad gateway</html>"},
        {"GET /api/v1/namespaces/x/pods/a", 200, "this is no JSON"},
        {0},
    };
    struct served t;
    set_up(&t, answers, NULL);
    const struct call *call = CALL(.res = pods, .ns = STR("x"), .name = STR("a"));
    assert_int_equal(client_get(t.client, call, &t.arena, NULL, &t.s), 404);
    assert_str(t.s.message, "pods \"a\" not found");
    assert_int_equal(client_get(t.client, call, &t.arena, NULL, &t.s), 502);
    assert_true(str_contains(t.s.message, STR("bad gateway")));
    assert_int_equal(client_get(t.client, call, &t.arena, NULL, &t.s), -EBADMSG);
    tear_down(&t);
    struct client *nobody;
    struct https_config config = {.server = STR("http://127.0.0.1:1")};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct status s;
    status_init(&s, &a);
    assert_int_equal(https_client_new(&config, &nobody, NULL), 0);
    assert_true(client_get(nobody, call, &a, NULL, &s) < 0);
    client_free(nobody);
    config.server = STR("no address");
    assert_int_equal(https_client_new(&config, &nobody, NULL), -EINVAL);
}

FIBER_TEST(a_busy_server_is_asked_again)
{
    static const struct answer answers[] = {
        {"GET /api/v1/namespaces/x/pods/a", 429, "{}", "0"},
        {"GET /api/v1/namespaces/x/pods/a", 200, POD},
        {"GET /api/v1/namespaces/x/pods/a", 429, "{}"}, /* without a time it is an answer like any other */
        {0},
    };
    struct served t;
    set_up(&t, answers, NULL);
    struct mono begun = os_mono();
    const struct call *call = CALL(.res = pods, .ns = STR("x"), .name = STR("a"));
    assert_int_equal(client_get(t.client, call, &t.arena, NULL, &t.s), 0);
    assert_true(os_mono().ns - begun.ns >= SECONDS(1)); /* never sooner than that */
    assert_int_equal(client_get(t.client, call, &t.arena, NULL, &t.s), 429);
    tear_down(&t);
}

FIBER_TEST(credentials_go_with_every_request)
{
    static const struct answer answers[] = {
        {"GET /api/v1/nodes/n", 200, "{\"kind\":\"Node\",\"apiVersion\":\"v1\"}"}, {0}};
    char path[] = "/tmp/cube-token-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, "secret\n", 7) == 7);
    close(fd);
    struct served t;
    struct https_config config = {.token_file = str_of(path), .as_user = STR("alice")};
    set_up(&t, answers, &config);
    assert_int_equal(
        client_get(t.client, CALL(.res = &resources[RES_NODES], .name = STR("n")), &t.arena, NULL, &t.s), 0);
    expect_log(&t, "GET /api/v1/nodes/n auth=Bearer secret as=alice\n");
    tear_down(&t);
    unlink(path);
}

/* ---- watches ----------------------------------------------------------------------------------------- */

static void next(struct served *t, struct client_watch *w, enum watch_event_kind kind, const char *name,
                 int64_t revision)
{
    struct watch_event e;
    assert_int_equal(client_watch_next(w, mono_add(os_mono(), SECONDS(10)), &e, &t->s), 0);
    assert_int_equal(e.kind, kind);
    assert_str(e.object->name, name);
    assert_int_equal(e.object->revision, revision);
    object_unref(e.object);
}

#define EVENT(type, name, revision)                                                                          \
    "{\"type\":\"" type                                                                                      \
    "\",\"object\":{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"" name                   \
    "\",\"resourceVersion\":\"" revision "\"}}}\n"
#define EXPIRED                                                                                              \
    "{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\","      \
    "\"reason\":\"Expired\",\"code\":410}}\n"

FIBER_TEST(a_watch_may_bring_the_present_state)
{
    static const struct answer answers[] = {
        {"GET "
         "/api/v1/pods?watch=true&allowWatchBookmarks=true&fieldSelector=spec.nodeName%3Dn1&timeoutSeconds=",
         200,
         EVENT("ADDED", "a", "3") EVENT("BOOKMARK", "", "5") EVENT("MODIFIED", "a", "6")
             EVENT("DELETED", "a", "7") EXPIRED},
        {0},
    };
    struct served t;
    struct client_watch *w;
    struct watch_event e;
    set_up(&t, answers, NULL);
    assert_int_equal(
        client_watch(t.client, CALL(.res = pods, .field_selector = STR("spec.nodeName=n1")), 0, &w, &t.s), 0);
    assert_non_null(strstr(t.log.p, "&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\n"));
    next(&t, w, WATCH_ADDED, "a", 3);
    next(&t, w, WATCH_BOOKMARK, "", 5);
    next(&t, w, WATCH_MODIFIED, "a", 6);
    next(&t, w, WATCH_DELETED, "a", 7);
    assert_int_equal(client_watch_next(w, MONO_NEVER, &e, &t.s), 410);
    assert_int_equal(client_watch_next(w, MONO_NEVER, &e, &t.s), -EPIPE);
    client_watch_close(w);
    tear_down(&t);
}

#define PAGE(next, items)                                                                                    \
    "{\"kind\":\"PodList\",\"apiVersion\":\"v1\",\"metadata\":{\"resourceVersion\":\"9\",\"continue\":"      \
    "\"" next "\"},\"items\":[" items "]}"

FIBER_TEST(an_older_server_is_listed_and_then_watched)
{
    static const struct answer answers[] = {
        {"GET /api/v1/pods?watch=true", 422,
         "{\"kind\":\"Status\",\"apiVersion\":\"v1\",\"status\":\"Failure\",\"reason\":\"Invalid\",\"code\":"
         "422}"},
        {"GET /api/v1/pods?limit=500", 200, PAGE("more", POD)},
        {"GET /api/v1/pods?limit=500&continue=more", 200, PAGE("", POD)},
        {"GET /api/v1/pods?watch=true", 200, EVENT("MODIFIED", "a", "11")},
        {"GET /api/v1/pods?limit=500", 200,
         PAGE("", "")}, /* the second time it is not asked for more than it can do */
        {"GET /api/v1/pods?watch=true", 200, ""},
        {0},
    };
    struct served t;
    struct client_watch *w;
    set_up(&t, answers, NULL);
    assert_int_equal(client_watch(t.client, CALL(.res = pods), 0, &w, &t.s), 0);
    next(&t, w, WATCH_ADDED, "a", 7);
    next(&t, w, WATCH_ADDED, "a", 7);
    next(&t, w, WATCH_BOOKMARK, "", 9);
    next(&t, w, WATCH_MODIFIED, "a", 11);
    assert_non_null(strstr(t.log.p, "&resourceVersion=9\n"));
    client_watch_close(w);
    assert_int_equal(client_watch(t.client, CALL(.res = pods), 0, &w, &t.s), 0);
    client_watch_close(w); /* what was listed and not taken is freed */
    tear_down(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_are_what_the_api_wants),
        cmocka_unit_test(refusals_are_the_servers_own),
        cmocka_unit_test(a_busy_server_is_asked_again),
        cmocka_unit_test(credentials_go_with_every_request),
        cmocka_unit_test(a_watch_may_bring_the_present_state),
        cmocka_unit_test(an_older_server_is_listed_and_then_watched),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
