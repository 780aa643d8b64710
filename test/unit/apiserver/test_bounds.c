/* SPDX-License-Identifier: Apache-2.0 */
/* How much may be asked for and how long it may take; and how the server ends. */
#include "fixture.h"

#include <stdlib.h>

#include "apiserver/state.h"
#include "net/stream.h"

#define MAPS "/api/v1/namespaces/default/configmaps"

static struct mono soon(void)
{
    return mono_add(os_mono(), SECONDS(20));
}

/* A create whose body has not come yet. */
static struct http_call *begin_create(struct fixture *f, const char *query)
{
    struct http_call *call = NULL;
    struct err e = {0};
    static const struct http_header json[] = {{{"Content-Type", 12}, {"application/json", 16}}};
    struct http_request q = {.method = "POST", .url = arena_printf(&f->arena, "%s" MAPS "%s", f->base, query).p, .headers = json,
                             .n_headers = 1, .stream_body = true};
    assert_int_equal(http_begin(f->http, &q, soon(), &call, &e), 0);
    assert_int_equal(http_call_write(call, STR("{\"metadata\":"), soon()), 0);
    return call;
}

static void wait_in_flight(struct fixture *f, unsigned n)
{
    for (int i = 0; i < 1000 && f->server->in_flight[IN_FLIGHT_WRITE] != n; i++)
        fiber_sleep(MILLISECONDS(5));
    assert_int_equal(f->server->in_flight[IN_FLIGHT_WRITE], n);
}

static int code_of(struct http_call *call)
{
    struct err e = {0};
    assert_int_equal(http_call_wait(call, soon(), &e), 0);
    int code = call->status;
    http_call_free(call);
    return code;
}

static int end_create(struct http_call *call, const char *name)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_printf(&b, "{\"name\":\"%s\"}}", name);
    assert_int_equal(http_call_write(call, buf_str(&b), soon()), 0);
    assert_int_equal(http_call_end(call), 0);
    return code_of(call);
}

FIBER_TEST(limits_without_fairness)
{
    struct fixture f;
    fixture_start(&f, &(struct apiserver_config){.authorization = "AlwaysAllow", .fairness_off = true, .max_mutating_in_flight = 1});
    struct http_call *call = begin_create(&f, "");
    wait_in_flight(&f, 1);
    struct reply r = post(&f, MAPS, "{\"metadata\":{\"name\":\"b\"}}");
    assert_code(r, 429);
    assert_str(http_header(&r.headers, "retry-after"), "1");
    assert_code(get(&f, MAPS), 200);
    assert_int_equal(end_create(call, "a"), 201);
    assert_code(post(&f, MAPS, "{\"metadata\":{\"name\":\"b\"}}"), 201);
    fixture_stop(&f);
}

FIBER_TEST(timeouts)
{
    struct fixture f;
    fixture_start(&f, NULL);
    struct reply r = get(&f, MAPS "?timeout=soon");
    assert_code(r, 400);
    assert_at(&f, r, "message", "invalid timeout specified in the request URL - time: invalid duration \"soon\"");
    assert_code(get(&f, MAPS "?timeout=0s"), 200);
    assert_int_equal(code_of(begin_create(&f, "?timeout=20ms")), 504);
    wait_in_flight(&f, 0);
    fixture_restart(&f, &(struct apiserver_config){.authorization = "AlwaysAllow", .request_timeout = MILLISECONDS(20)});
    assert_int_equal(code_of(begin_create(&f, "?timeout=1h")), 504);
    fixture_stop(&f);
}

FIBER_TEST(bodies_and_depth)
{
    enum { MAX = 3 << 20, DEEP = 100000 };
    struct fixture f;
    fixture_start(&f, NULL);
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_puts(&b, "{\"metadata\":{\"name\":\"a\"},\"data\":{\"k\":\"");
    while (b.n < MAX)
        buf_puts(&b, "0123456789abcdef");
    buf_puts(&b, "\"}}");
    assert_code(post(&f, MAPS, b.p), 413);
    static const char *const forms[][3] = {{"Content-Type: application/json", "[", "]"}, {"Content-Type: application/yaml", "[", "]"},
                                           {"Content-Type: application/json", "{\"a\":", "1}"}};
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) { /* CVE-2019-11253, CVE-2019-1002100: no stack, no minutes */
        buf_clear(&b);
        for (int n = 0; n < DEEP; n++)
            buf_puts(&b, forms[i][1]);
        for (int n = 0; n < DEEP; n++)
            buf_puts(&b, forms[i][2]);
        buf_putc(&b, 0);
        assert_code(ask(&f, "POST", MAPS, b.p, forms[i][0]), 400);
    }
    fixture_stop(&f);
}

/* CVE-2019-11253, CVE-2019-11254: references that multiply. */
FIBER_TEST(yaml_bombs)
{
    struct fixture f;
    fixture_start(&f, NULL);
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_puts(&b, "a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (char c = 'b'; c < 'n'; c++)
        buf_printf(&b, "%c: &%c [*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c,*%c]\n", c, c, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1, c - 1);
    struct reply r = ask(&f, "POST", MAPS, b.p, "Content-Type: application/yaml");
    assert_true(r.code == 400 || r.code == 413);
    fixture_stop(&f);
}

FIBER_TEST(goaway_by_chance)
{
    struct fixture f;
    fixture_start(&f, &(struct apiserver_config){.authorization = "AlwaysAllow", .goaway_chance = 1});
    http_client_free(f.http);
    f.http = http_client_new(&(struct http_client_config){.h2_prior = true});
    assert_code(get(&f, "/version"), 200);
    for (int i = 0; i < 1000 && http_server_connections(f.server->http); i++)
        fiber_sleep(MILLISECONDS(5));
    assert_int_equal(http_server_connections(f.server->http), 0);
    assert_code(get(&f, "/version"), 200); /* over a new one */
    fixture_restart(&f, NULL);
    http_client_free(f.http);
    f.http = http_client_new(&(struct http_client_config){.h2_prior = true});
    assert_code(get(&f, "/version"), 200);
    fiber_sleep(MILLISECONDS(400));
    assert_int_equal(http_server_connections(f.server->http), 1);
    fixture_stop(&f);
}

struct ending {
    struct fixture f;
    struct group g;
    bool ended;
};

static void wind_down(void *arg)
{
    struct ending *e = arg;
    apiserver_wind_down(e->f.server);
    e->ended = true;
}

FIBER_TEST(the_end_with_retry_after)
{
    struct ending e = {0};
    fixture_start(&e.f, &(struct apiserver_config){.authorization = "AlwaysAllow", .send_retry_after = true});
    assert_code(get(&e.f, "/readyz"), 200);
    struct http_call *call = begin_create(&e.f, "");
    wait_in_flight(&e.f, 1);
    group_spawn(&e.g, "end", wind_down, &e);
    for (int i = 0; i < 1000 && !e.f.server->refusing; i++)
        fiber_sleep(MILLISECONDS(5));
    assert_code(get(&e.f, "/readyz"), 500);
    assert_true(str_contains(get(&e.f, "/readyz/shutdown").text, STR("internal server error")));
    assert_code(get(&e.f, "/livez"), 200);
    struct reply r = get(&e.f, MAPS);
    assert_code(r, 429);
    assert_str(http_header(&r.headers, "retry-after"), "5");
    assert_true(http_header_has(&r.headers, "connection", "close"));
    assert_str(r.text, "The apiserver is shutting down, please try again later.\n");
    assert_false(e.ended);
    assert_int_equal(end_create(call, "a"), 201); /* what had begun is done */
    assert_int_equal(group_wait(&e.g, soon()), 0);
    fixture_stop(&e.f);
}

FIBER_TEST(the_end_serves_for_the_delay)
{
    struct ending e = {0};
    struct watching w;
    const char *type;
    const struct val *v;
    fixture_start(&e.f, &(struct apiserver_config){.authorization = "AlwaysAllow", .shutdown_delay = MILLISECONDS(300)});
    assert_int_equal(watch_begin(&e.f, &w, MAPS "?watch=true"), 200);
    group_spawn(&e.g, "end", wind_down, &e);
    fiber_yield();
    assert_code(get(&e.f, "/readyz"), 500);
    make_config_map(&e.f, "late", NULL); /* 201 while others learn that it is not ready */
    assert_true(watch_event(&w, 10000, &type, &v));
    assert_string_equal(type, "ADDED");
    assert_false(watch_event(&w, 20000, &type, &v)); /* the end of the watch, not of the wait */
    watch_end(&w);
    assert_int_equal(group_wait(&e.g, soon()), 0);
    assert_true(e.ended);
    fixture_stop(&e.f);
}

FIBER_TEST(strict_transport_security)
{
    struct fixture f;
    fixture_start(&f, &(struct apiserver_config){.authorization = "AlwaysAllow", .hsts = "max-age=31536000; includeSubDomains"});
    struct reply r = get(&f, MAPS);
    assert_str(http_header(&r.headers, "strict-transport-security"), "max-age=31536000; includeSubDomains");
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(limits_without_fairness), cmocka_unit_test(timeouts),
        cmocka_unit_test(bodies_and_depth),        cmocka_unit_test(yaml_bombs),
        cmocka_unit_test(goaway_by_chance),        cmocka_unit_test(the_end_with_retry_after),
        cmocka_unit_test(the_end_serves_for_the_delay), cmocka_unit_test(strict_transport_security),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
