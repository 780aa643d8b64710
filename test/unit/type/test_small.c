/* SPDX-License-Identifier: Apache-2.0 */
/* The small modules that others build on: schedules, image names, quality of service, paths, Services. */
#include "cases.h"
#include "names.h"
#include "type/cron.h"
#include "type/image.h"
#include "type/path.h"
#include "type/qos.h"
#include "type/service.h"
#include "types.h"

static struct arena arena;

#define BERLIN "CET-1CEST,M3.5.0,M10.5.0/3"

static void test_cron_next(void **state)
{
    (void)state;
    static const struct {
        const char *schedule, *after, *want; /* want NULL: never */
        const char *zone;                    /* a rule; NULL: UTC */
    } cases[] = {
        {"* * * * *", "2024-01-01T00:00:30Z", "2024-01-01T00:01:00Z", NULL},
        {"*/15 * * * *", "2024-01-01T00:15:00Z", "2024-01-01T00:30:00Z", NULL},
        {"0 0 29 2 *", "2024-03-01T00:00:00Z", "2028-02-29T00:00:00Z", NULL},
        {"0 0 30 2 *", "2024-03-01T00:00:00Z", NULL, NULL},
        {"30 6 * * mon-fri", "2024-01-05T07:00:00Z", "2024-01-08T06:30:00Z", NULL},
        {"0 0 13 * 5", "2024-01-01T00:00:00Z", "2024-01-05T00:00:00Z", NULL}, /* the 13th or a Friday */
        {"@daily", "2024-12-31T23:59:59Z", "2025-01-01T00:00:00Z", NULL},
        {"@monthly", "2024-01-31T00:00:00Z", "2024-02-01T00:00:00Z", NULL},
        {"@every 90m", "2024-01-01T00:00:00Z", "2024-01-01T01:30:00Z", NULL},
        {"0 9 * * *", "2024-01-01T00:00:00Z", "2024-01-01T07:00:00Z", "EET-2"},
        {"0 0 1 jan *", "2024-01-01T00:00:00Z", "2025-01-01T00:00:00Z", NULL},
        /* Clocks go on from 02:00 to 03:00 on 31 March 2024 and back from 03:00 to 02:00 on 27 October. */
        {"30 2 * * *", "2024-03-30T12:00:00Z", "2024-04-01T00:30:00Z", BERLIN},
        {"30 2 * * *", "2024-10-26T12:00:00Z", "2024-10-27T00:30:00Z", BERLIN},
        {"30 2 * * *", "2024-10-27T00:30:00Z", "2024-10-27T01:30:00Z", BERLIN},
        {"0 * * * *", "2024-03-31T00:00:00Z", "2024-03-31T01:00:00Z", BERLIN},
        {"0 3 * * *", "2024-03-30T12:00:00Z", "2024-03-31T01:00:00Z", BERLIN},
        {"0 9 * * *", "2024-03-31T00:00:00Z", "2024-03-31T07:00:00Z", BERLIN},
        {"0 0 * * *", "2024-06-30T22:30:00Z", "2024-07-01T22:00:00Z", BERLIN},
        /* No midnight on 3 November 2024 by this rule; no half past two at Lord Howe that night in October. */
        {"0 0 * * *", "2024-11-02T12:00:00Z", "2024-11-04T02:00:00Z", "<-03>3<-02>,M11.1.0/0,M2.3.0/0"},
        {"0 1 * * *", "2024-11-02T12:00:00Z", "2024-11-03T03:00:00Z", "<-03>3<-02>,M11.1.0/0,M2.3.0/0"},
        {"15 2 * * *", "2024-10-05T12:00:00Z", "2024-10-06T15:15:00Z", "<+1030>-10:30<+11>-11,M10.1.0,M4.1.0"},
        {"45 5 * * *", "2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "<+0545>-5:45"},
        {"0 12 1 1 *", "2024-01-01T12:00:00Z", "2024-01-01T17:00:00Z", "EST5EDT,M3.2.0,M11.1.0"},
        {"0 22-23,1 * * 7", "2024-01-07T01:00:00Z", "2024-01-07T22:00:00Z", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cron c;
        struct err e = {0};
        struct wall after, want = {0};
        if (str_is(str_of(cases[i].schedule), "0 22-23,1 * * 7")) {
            assert_int_equal(cron_parse(str_of(cases[i].schedule), &c, &e), -EINVAL); /* Sunday is 0 */
            continue;
        }
        if (cron_parse(str_of(cases[i].schedule), &c, &e))
            fail_msg("%s: %s", cases[i].schedule, e.text);
        assert_int_equal(time_parse(str_of(cases[i].after), &after), 0);
        if (cases[i].want)
            assert_int_equal(time_parse(str_of(cases[i].want), &want), 0);
        struct tz *zone = NULL;
        if (cases[i].zone)
            assert_int_equal(tz_parse_rule(str_of(cases[i].zone), &zone), 0);
        struct wall got = cron_next(&c, after, zone);
        tz_free(zone);
        if (got.ns != want.ns)
            fail_msg("%s after %s", cases[i].schedule, cases[i].after);
    }
}

static void test_cron_refuses(void **state)
{
    (void)state;
    static const char *const cases[] = {
        "",          "* * * *",    "* * * * * *",     "60 * * * *",  "* 24 * * *",
        "* * 0 * *", "* * * 13 *", "a * * * *",       "*/0 * * * *", "5-1 * * * *",
        "@often",    "@every x",   "TZ=UTC * * * * *"};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct cron c;
        struct err e = {0};
        if (cron_parse(str_of(cases[i]), &c, &e) != -EINVAL)
            fail_msg("%s was taken", cases[i]);
        assert_true(e.text[0]);
    }
}

static void test_images(void **state)
{
    (void)state;
    static const struct {
        const char *name, *registry, *path, *tag, *digest, *effective;
    } cases[] = {
        {"nginx", "", "nginx", "", "", "latest"},
        {"nginx:1.2", "", "nginx", "1.2", "", "1.2"},
        {"a/b", "", "a/b", "", "", "latest"},
        {"r.io/a/b:c", "r.io", "a/b", "c", "", "c"},
        {"localhost/a", "localhost", "a", "", "", "latest"},
        {"host:5000/a", "host:5000", "a", "", "", "latest"},
        {"a@sha256:0123456789012345678901234567890123456789012345678901234567890123", "", "a", "",
         "sha256:0123456789012345678901234567890123456789012345678901234567890123", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct image_name n;
        if (!image_parse(str_of(cases[i].name), &n))
            fail_msg("%s", cases[i].name);
        assert_true(str_is(n.registry, cases[i].registry));
        assert_true(str_is(n.path, cases[i].path));
        assert_true(str_is(n.tag, cases[i].tag));
        assert_true(str_is(n.digest, cases[i].digest));
        assert_true(str_is(image_tag(str_of(cases[i].name)), cases[i].effective));
    }
    static const char *const bad[] = {"", "A", "a:", "a@sha256:12", "a b", ":x", "/a", "a//b"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct image_name n;
        if (image_parse(str_of(bad[i]), &n))
            fail_msg("%s was taken", bad[i]);
    }
}

static void test_qos(void **state)
{
    (void)state;
    static const struct {
        const char *spec, *want;
    } cases[] = {
        {"{'containers':[{'name':'a'}]}", "BestEffort"},
        {"{'containers':[{'name':'a','resources':{'requests':{'cpu':'0'}}}]}", "BestEffort"},
        {"{'containers':[{'name':'a','resources':{'requests':{'cpu':'1'}}}]}", "Burstable"},
        {"{'containers':[{'name':'a','resources':{'requests':{'cpu':'1','memory':'1'},'limits':{'cpu':'1','"
         "memory':'1'}}}]}",
         "Guaranteed"},
        {"{'containers':[{'name':'a','resources':{'requests':{'cpu':'1','memory':'1'},'limits':{'cpu':'2','"
         "memory':'1'}}}]}",
         "Burstable"},
        {"{'containers':[{'name':'a','resources':{'requests':{'cpu':'1','memory':'1'},'limits':{'cpu':'1','"
         "memory':'1'}}},"
         "{'name':'b'}]}",
         "Burstable"},
        {"{'initContainers':[{'name':'i'}],'containers':[{'name':'a','resources':{'limits':{'cpu':'1','"
         "memory':'1'},"
         "'requests':{'cpu':'1','memory':'1'}}}]}",
         "Burstable"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_string_equal(pod_qos_class(case_val(&arena, type_at(T_core_v1_PodSpec), cases[i].spec)),
                            cases[i].want);
}

static void test_paths(void **state)
{
    (void)state;
    static const char doc[] = "{'a':{'b':[{'n':'x','v':1},{'n':'y','v':2}],'k.l':'dotted'},'s':'t'}";
    static const struct {
        const char *path, *want; /* what it finds, with spaces */
    } cases[] = {
        {"s", "t"},
        {".s", "t"},
        {"a.b.n", "x y"},
        {".a.b[0].n", "x"},
        {".a.b[1].v", "2"},
        {".a.b[-1].n", "y"},
        {".a.b[*].v", "1 2"},
        {".a['k.l']", "dotted"},
        {".a.k\\.l", "dotted"},
        {".a.b[?(@.n==\"y\")].v", "2"},
        {".a.b[7].n", ""},
        {".nothing.here", ""},
        {".a[", ""},
        {".a.b[?(@.n", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct path_hits hits;
        struct buf b = BUF_INIT;
        path_find(&arena, case_val(&arena, NULL, doc), str_of(cases[i].path), &hits);
        for (size_t j = 0; j < hits.n; j++) {
            struct str s = val_str(hits.items[j]);
            buf_printf(&b, "%s", j ? " " : "");
            if (hits.items[j]->kind == VAL_INT)
                buf_printf(&b, "%d", (int)hits.items[j]->i);
            else
                buf_putstr(&b, s);
        }
        if (!str_is(buf_str(&b), cases[i].want))
            fail_msg("%s: " STR_FMT, cases[i].path, STR_ARG(buf_str(&b)));
        buf_done(&b);
    }
}

static void test_service_addresses(void **state)
{
    (void)state;
    const struct type *t = type_at(T_core_v1_Service);
    struct val *v = case_val(&arena, t, "{'spec':{'clusterIP':'10.0.0.1'}}");
    service_normalize(&arena, v, NULL);
    assert_json(&arena, t, v,
                "{'metadata':{},'spec':{'clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1']},'status':{'"
                "loadBalancer':{}}}");

    const struct val *old = v;
    v = case_val(&arena, t, "{'spec':{'clusterIP':'None','clusterIPs':['10.0.0.1']}}");
    service_normalize(&arena, v, old);
    assert_string_equal(val_cstr(val_item(val_at(v, N_spec, N_clusterIPs), 0)), "None");
}

static void test_service_leaves_its_type(void **state)
{
    (void)state;
    const struct type *t = type_at(T_core_v1_Service);
    const struct val *old =
        case_val(&arena, t,
                 "{'spec':{'type':'NodePort','clusterIP':'10.0.0.1','clusterIPs':['10.0.0.1'],"
                 "'ports':[{'port':80,'nodePort':30001}]}}");
    struct val *v = val_copy(&arena, old);
    val_set_str(&arena, val_mut(v, N_spec), N_type, STR("ClusterIP"));
    prepare_service_update(&arena, v, old);
    assert_null(val_get(val_item(val_at(v, N_spec, N_ports), 0), N_nodePort));
    assert_string_equal(val_cstr(val_at(v, N_spec, N_clusterIP)), "10.0.0.1");

    v = val_copy(&arena, old);
    val_set_str(&arena, val_mut(v, N_spec), N_type, STR("ExternalName"));
    prepare_service_update(&arena, v, old);
    assert_null(val_at(v, N_spec, N_clusterIP));
    assert_null(val_at(v, N_spec, N_clusterIPs));
}

static int teardown(void **state)
{
    (void)state;
    arena_done(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cron_next),
        cmocka_unit_test(test_cron_refuses),
        cmocka_unit_test(test_images),
        cmocka_unit_test(test_qos),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_service_addresses),
        cmocka_unit_test(test_service_leaves_its_type),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
