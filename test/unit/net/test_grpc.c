/* SPDX-License-Identifier: Apache-2.0 */
#include "net/grpc.h"

#include "../testing.h"
#include "grpc.h"
#include "names.h"

#include <stdio.h>

static struct http_server *server;
static struct grpc_client *client;
static char address[128];
static unsigned cancelled;

static struct mono soon(int ms)
{
    return mono_add(os_mono(), MILLISECONDS(ms));
}

static int serve_version(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *request;
    int r = grpc_recv_request(g, &request);
    if (r)
        return r;
    struct str version = val_getstr(request, N_version);
    if (str_is(version, "bad"))
        return err_set(e, GRPC_INVALID_ARGUMENT, "100%% bad\nversion \xc3\xa4");
    if (str_is(version, "slow"))
        fiber_sleep(SECONDS(2));
    struct val *v = val_new(grpc_arena(g), VAL_OBJ);
    val_set_str(grpc_arena(g), v, N_version, version);
    val_set_str(grpc_arena(g), v, N_runtime_name, STR("fake"));
    return grpc_send(g, v);
}

static int serve_events(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *request;
    int r = grpc_recv_request(g, &request);
    for (int i = 0; r == 0 && i < 3; i++) {
        struct val *v = val_new(grpc_arena(g), VAL_OBJ);
        val_set_str(grpc_arena(g), v, N_container_id, arena_printf(grpc_arena(g), "c%d", i));
        r = grpc_send(g, v);
    }
    if (http_wait_gone(grpc_http(g), soon(500)) == 0)
        cancelled++;
    return r ? r : err_set(e, GRPC_ABORTED, "enough");
}

/* etcd's watch: both sides talk as they like. */
static int serve_watch(void *ctx, struct grpc_exchange *g, struct err *e)
{
    for (int64_t i = 1;; i++) {
        const struct val *request;
        int r = grpc_recv(g, MONO_NEVER, &request);
        if (r || !request)
            return r;
        struct val *v = val_new(grpc_arena(g), VAL_OBJ);
        val_set_int(grpc_arena(g), v, N_watch_id, i);
        r = grpc_send(g, v);
        if (r)
            return r;
    }
}

static void start(const char *listen_at)
{
    static struct grpc_service services[4];
    static struct grpc_server grpc = {.services = services};
    struct err e;
    services[0] = (struct grpc_service){&grpc_methods[G_runtime_v1_RuntimeService_Version], serve_version};
    services[1] =
        (struct grpc_service){&grpc_methods[G_runtime_v1_RuntimeService_GetContainerEvents], serve_events};
    services[2] = (struct grpc_service){&grpc_methods[G_etcdserverpb_Watch_Watch], serve_watch};
    services[3] = (struct grpc_service){0};
    server = http_server_new(&(struct http_server_config){.handler = grpc_serve, .ctx = &grpc});
    assert_int_equal(http_server_listen(server, listen_at, &e), 0);
    if (str_starts(str_of(listen_at), STR("unix:")))
        snprintf(address, sizeof(address), "%s", listen_at);
    else
        http_server_address(server, address, sizeof(address));
    client = grpc_client_new(&(struct grpc_client_config){.address = address});
}

static void stop(void)
{
    grpc_client_free(client);
    http_server_free(server);
}

static int version(const char *text, struct mono deadline, struct arena *a, const struct val **ret,
                   struct err *e)
{
    struct val *v = val_new(a, VAL_OBJ);
    val_set_str(a, v, N_version, str_of(text));
    return grpc_call(client, &grpc_methods[G_runtime_v1_RuntimeService_Version], v, deadline, a, ret, e);
}

FIBER_TEST(unary)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    const struct val *v;
    start("127.0.0.1:0");
    for (int i = 0; i < 3; i++) {
        assert_int_equal(version("v1", soon(2000), &a, &v, &e), 0);
        assert_str(val_getstr(v, N_version), "v1");
        assert_str(val_getstr(v, N_runtime_name), "fake");
    }
    assert_int_equal(version("bad", soon(2000), &a, &v, &e), GRPC_INVALID_ARGUMENT);
    assert_string_equal(e.text, "100% bad\nversion \xc3\xa4");
    assert_int_equal(version("slow", soon(50), &a, &v, &e), GRPC_DEADLINE_EXCEEDED);
    assert_int_equal(http_server_connections(server), 1);
    stop();
}

FIBER_TEST(unknown_method_and_no_server)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    const struct val *v;
    start("127.0.0.1:0");
    assert_int_equal(
        grpc_call(client, &grpc_methods[G_runtime_v1_RuntimeService_Status], NULL, soon(2000), &a, &v, &e),
        GRPC_UNIMPLEMENTED);
    assert_non_null(strstr(e.text, "/runtime.v1.RuntimeService/Status"));
    http_server_free(server);
    server = NULL;
    assert_int_equal(version("v1", soon(2000), &a, &v, &e), GRPC_UNAVAILABLE);
    stop();
}

FIBER_TEST(unix_socket)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    const struct val *v;
    char path[96];
    snprintf(path, sizeof(path), "unix:@cube-test-grpc-%lx", (unsigned long)os_random_u64());
    start(path);
    assert_int_equal(version("v1", soon(2000), &a, &v, &e), 0);
    stop();
}

FIBER_TEST(a_server_that_restarts_is_found_again)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    const struct val *v;
    start("127.0.0.1:0");
    assert_int_equal(version("v1", soon(2000), &a, &v, &e), 0);
    struct grpc_client *kept = client;
    char at[128];
    snprintf(at, sizeof(at), "%s", address);
    http_server_free(server);
    fiber_sleep(MILLISECONDS(10));
    start(at);
    grpc_client_free(client);
    client = kept;
    assert_int_equal(version("v2", soon(2000), &a, &v, &e), 0);
    stop();
}

FIBER_TEST(server_streaming)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    const struct val *v;
    struct grpc_stream *s;
    const struct grpc_method *m = &grpc_methods[G_runtime_v1_RuntimeService_GetContainerEvents];
    start("127.0.0.1:0");
    assert_int_equal(grpc_stream_open(client, m, val_new(&a, VAL_OBJ), MONO_NEVER, &s, &e), 0);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(grpc_stream_recv(s, soon(2000), &a, &v, &e), 0);
        assert_int_equal(val_getstr(v, N_container_id).p[1], '0' + i);
    }
    assert_int_equal(grpc_stream_recv(s, soon(20), &a, &v, &e), GRPC_DEADLINE_EXCEEDED); /* and goes on */
    assert_int_equal(grpc_stream_recv(s, soon(2000), &a, &v, &e), GRPC_ABORTED);
    assert_string_equal(e.text, "enough");
    grpc_stream_free(s);
    cancelled = 0;
    assert_int_equal(grpc_stream_open(client, m, val_new(&a, VAL_OBJ), MONO_NEVER, &s, &e), 0);
    assert_int_equal(grpc_stream_recv(s, soon(2000), &a, &v, &e), 0);
    grpc_stream_free(s);
    struct mono end = soon(200); /* long before the handler would end by itself */
    while (!cancelled && os_mono().ns < end.ns)
        fiber_sleep(MILLISECONDS(2));
    assert_int_equal(cancelled, 1);
    stop();
}

FIBER_TEST(both_ways)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    const struct val *v;
    struct grpc_stream *s;
    start("127.0.0.1:0");
    assert_int_equal(
        grpc_stream_open(client, &grpc_methods[G_etcdserverpb_Watch_Watch], NULL, MONO_NEVER, &s, &e), 0);
    for (int i = 1; i <= 5; i++) {
        assert_int_equal(grpc_stream_send(s, val_new(&a, VAL_OBJ), soon(1000)), 0);
        assert_int_equal(grpc_stream_recv(s, soon(1000), &a, &v, &e), 0);
        assert_int_equal(val_int(val_get(v, N_watch_id), 0), i);
    }
    assert_int_equal(grpc_stream_close_send(s), 0);
    assert_int_equal(grpc_stream_recv(s, soon(1000), &a, &v, &e), 0);
    assert_null(v);
    grpc_stream_free(s);
    stop();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unary),
        cmocka_unit_test(unknown_method_and_no_server),
        cmocka_unit_test(unix_socket),
        cmocka_unit_test(a_server_that_restarts_is_found_again),
        cmocka_unit_test(server_streaming),
        cmocka_unit_test(both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
