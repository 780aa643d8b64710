/* SPDX-License-Identifier: Apache-2.0 */
/* What programs serve of themselves, and to whom: the API server is asked. */
#include "../testing.h"

#include "client/serving.h"
#include "fake_client.h"
#include "names.h"
#include "net/http.h"

#include <stdio.h>

struct world {
    struct fake_client *api;
    struct serving *serving;
    struct serving_flags flags;
    struct http_client *http;
    struct arena arena;
    unsigned reviews;
    char address[100];
};

/* Token "good" is ann's, who may see /metrics and nothing else. */
static int answer(void *arg, uint16_t verb UNUSED, const struct call *call, const struct val *body, struct status *s UNUSED)
{
    struct world *w = arg;
    struct val *status = val_sub_obj(&w->arena, (struct val *)(uintptr_t)body, N_status);
    const struct val *spec = val_get(body, N_spec);
    w->reviews++;
    if (call->res->index == RES_TOKENREVIEWS) {
        bool good = str_is(val_getstr(spec, N_token), "good");
        val_set_bool(&w->arena, status, N_authenticated, good);
        if (good)
            val_set_str(&w->arena, val_sub_obj(&w->arena, status, N_user), N_username, STR("ann"));
        return 0;
    }
    bool yes = str_is(val_getstr(spec, N_user), "ann") && str_is(val_str(val_at(spec, N_nonResourceAttributes, N_path)), "/metrics") &&
               str_is(val_str(val_at(spec, N_nonResourceAttributes, N_verb)), "get");
    val_set_bool(&w->arena, status, N_allowed, yes);
    return 0;
}

static void begin(struct world *w)
{
    static bool on = true;
    static struct flag table[] = {{"on", 0, FLAG_BOOL, &on, ""}, {0}};
    struct err e = {0};
    *w = (struct world){.api = fake_client_new(), .flags = {.bind = "127.0.0.1"}};
    fake_client_hook(w->api, answer, w);
    struct serving_config c = {.flags = &w->flags, .name = "kube-x", .client = fake_client_as(w->api), .table = table, .listen = "127.0.0.1:0"};
    if (serving_start(&c, &w->serving, &e) < 0)
        fail_msg("%s", e.text);
    assert_int_equal(serving_address(w->serving, w->address, sizeof(w->address)), 0);
    struct tls_client *tls;
    assert_int_equal(tls_client_new(&(struct tls_client_config){.insecure = true}, &tls, &e), 0);
    w->http = http_client_new(&(struct http_client_config){.tls = tls});
    tls_client_unref(tls);
}

static void end(struct world *w)
{
    http_client_free(w->http);
    serving_stop(w->serving);
    fake_client_free(w->api);
    arena_done(&w->arena);
}

static int get(struct world *w, const char *path, const char *token, struct str *ret)
{
    struct err e = {0};
    struct http_call *call = NULL;
    char url[200];
    struct http_header h = {STR("Authorization"), token ? arena_printf(&w->arena, "Bearer %s", token) : STR_NULL};
    struct mono deadline = mono_add(os_mono(), SECONDS(20));
    snprintf(url, sizeof(url), "https://%s%s", w->address, path);
    struct http_request q = {.url = url, .headers = &h, .n_headers = token ? 1 : 0};
    if (http_do(w->http, &q, deadline, &call, &e) < 0)
        fail_msg("%s", e.text);
    int code = call->status;
    struct str text;
    assert_int_equal(http_call_read_all(call, 1 << 20, deadline, &text), 0);
    if (ret)
        *ret = arena_str(&w->arena, text);
    http_call_free(call);
    return code;
}

FIBER_TEST(health_for_everybody_the_rest_for_some)
{
    struct world w;
    struct str text;
    begin(&w);
    assert_int_equal(get(&w, "/healthz", NULL, &text), 200);
    assert_str(text, "ok");
    assert_int_equal(get(&w, "/livez", NULL, NULL), 200);
    assert_int_equal(get(&w, "/readyz/x", NULL, NULL), 200);
    assert_int_equal(w.reviews, 0);
    assert_int_equal(get(&w, "/metrics", NULL, NULL), 403);
    assert_int_equal(get(&w, "/metrics", "bad", NULL), 401);
    assert_int_equal(get(&w, "/metrics", "good", &text), 200);
    assert_true(str_contains(text, STR("\nprocess_cpu_seconds_total ")));
    assert_true(str_contains(text, STR("kubernetes_build_info{")));
    assert_int_equal(get(&w, "/flagz", "good", &text), 403);
    assert_str(text, "forbidden: User \"ann\" cannot get path \"/flagz\"");
    unsigned asked = w.reviews;
    assert_int_equal(get(&w, "/metrics", "good", NULL), 200); /* remembered */
    assert_int_equal(w.reviews, asked);
    end(&w);
}

FIBER_TEST(other_pages_for_everybody)
{
    struct world w;
    struct str text;
    begin(&w);
    static const char *pages[] = {"/flagz", "/debug/*"};
    w.flags.open = (struct flag_list){pages, 2};
    assert_int_equal(get(&w, "/flagz", NULL, &text), 200);
    assert_true(str_contains(text, STR("\non=true\n")));
    assert_int_equal(get(&w, "/debug/pprof/profile", NULL, NULL), 501);
    assert_int_equal(get(&w, "/healthz", NULL, NULL), 403); /* no longer listed */
    end(&w);
}

FIBER_TEST(ports)
{
    struct fake_client *api = fake_client_new();
    struct serving_flags flags = {.bind = "127.0.0.1"};
    struct flag table[] = {{"secure-port", 0, FLAG_INT, &flags.port, ""}, {0}};
    struct serving_config c = {.flags = &flags, .name = "kube-x", .client = fake_client_as(api), .table = table};
    struct serving *s = NULL;
    struct err e = {0};
    assert_int_equal(serving_start(&c, &s, &e), 0);
    assert_null(s); /* port 0: nothing */
    int fd = os_listen("127.0.0.1:0", &e);
    char address[64];
    assert_int_equal(os_local_address(fd, address, sizeof(address)), 0);
    flags.port = atoi(strrchr(address, ':') + 1);
    assert_int_equal(serving_start(&c, &s, &e), 0); /* nobody asked for that port */
    assert_null(s);
    table[0].given = true;
    assert_int_equal(serving_start(&c, &s, &e), -EADDRINUSE);
    os_close(fd);
    fake_client_free(api);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(health_for_everybody_the_rest_for_some),
        cmocka_unit_test(other_pages_for_everybody),
        cmocka_unit_test(ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
