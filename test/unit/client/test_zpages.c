/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "client/zpages.h"

#include "base/log.h"

static struct arena arena;
static const char *const paths[] = {"/healthz", "/statusz", NULL};

static struct zpage ask(const char *method, const char *path, const char *accept, const char *body)
{
    static const struct flag_text flags[] = {{"a", "1"}, {"b", "two \"words\""}, {0}};
    struct zpages z = {.component = "kube-x", .flags = flags, .started = os_mono(), .paths = paths};
    struct zpage p = {0};
    if (!zpages_serve(&z, str_of(method), str_of(path), str_of(accept), str_of(body), &arena, &p))
        p.code = -1;
    return p;
}

static bool says(struct zpage p, int code, const char *text)
{
    assert_int_equal(p.code, code);
    return str_contains(p.body, str_of(text));
}

static void text_unless_asked(void **state UNUSED)
{
    assert_true(says(ask("GET", "/statusz", "", ""), 200, "\nkube-x statusz\nWarning: This endpoint is not meant"));
    assert_true(says(ask("GET", "/statusz", "*/*", ""), 200, "\nUp: 0 hr 00 min 00 sec\n"));
    assert_true(says(ask("GET", "/statusz", "text/plain", ""), 200, "\nPaths: /healthz /statusz\n"));
    assert_true(says(ask("GET", "/flagz", "text/html, text/plain", ""), 200, "\na=1\nb=two \"words\"\n"));
    assert_string_equal(ask("GET", "/flagz", "", "").content_type, "text/plain; charset=utf-8");
    assert_int_equal(ask("GET", "/other", "", "").code, -1);
}

static void structures(void **state UNUSED)
{
    struct zpage p = ask("GET", "/flagz", "application/json;v=v1beta1;g=config.k8s.io;as=Flagz", "");
    assert_str(p.body, "{\"kind\":\"Flagz\",\"apiVersion\":\"config.k8s.io/v1beta1\",\"metadata\":{\"name\":\"kube-x\"},"
                       "\"flags\":{\"a\":\"1\",\"b\":\"two \\\"words\\\"\"}}");
    assert_null(p.warning);
    p = ask("GET", "/statusz", "application/json; as=Statusz; v=v1alpha1; g=config.k8s.io", "");
    assert_true(says(p, 200, "\"uptimeSeconds\":0,"));
    assert_true(says(p, 200, "\"apiVersion\":\"config.k8s.io/v1alpha1\""));
    assert_non_null(p.warning);
    assert_int_equal(ask("GET", "/statusz", "application/json", "").code, 406);
    assert_int_equal(ask("GET", "/statusz", "application/json;v=v1beta1;g=config.k8s.io;as=Flagz", "").code, 406);
    assert_int_equal(ask("GET", "/statusz", "application/vnd.kubernetes.protobuf;v=v1beta1;g=config.k8s.io;as=Statusz", "").code, 406);
}

static void verbosity(void **state UNUSED)
{
    assert_true(says(ask("PUT", "/debug/flags/v", "", "5\n"), 200, "successfully set klog.logging.verbosity to 5"));
    assert_true(log_enabled(LOG_DEBUG));
    assert_true(says(ask("GET", "/debug/flags", "", ""), 200, "v=5"));
    assert_int_equal(ask("PUT", "/debug/flags/v", "", "much").code, 400);
    assert_int_equal(ask("GET", "/debug/flags/v", "", "").code, 406);
    assert_int_equal(ask("PUT", "/debug/flags/v", "", "0").code, 200);
    assert_false(log_enabled(LOG_DEBUG));
    assert_int_equal(ask("GET", "/debug/pprof/heap", "", "").code, 501);
}

static void values_of_flags(void **state UNUSED)
{
    int64_t n = 3;
    const char *text = "x";
    struct flag flags[] = {{"z", 0, FLAG_INT, &n, ""}, {"m", 0, FLAG_STRING, &text, ""}, {0}};
    const struct flag_text *t = zpages_flags(&arena, flags);
    assert_string_equal(t[0].name, "m");
    assert_string_equal(t[0].value, "x");
    assert_string_equal(t[1].value, "3");
    assert_null(t[2].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_unless_asked),
        cmocka_unit_test(structures),
        cmocka_unit_test(verbosity),
        cmocka_unit_test(values_of_flags),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    return failed;
}
