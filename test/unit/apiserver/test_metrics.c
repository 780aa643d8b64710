/* SPDX-License-Identifier: Apache-2.0 */
/* What /metrics says after requests of every kind, under upstream's names; the form of it all. */
#include "fixture.h"

#include "base/map.h"

#include <stdio.h>
#include <stdlib.h>

#define MAPS "/api/v1/namespaces/default/configmaps"
#define OF_MAPS "component=\"apiserver\",dry_run=\"\",group=\"\",resource=\"configmaps\",scope="

#define assert_line(text, line) \
    do { \
        if (!str_contains((text), STR("\n" line))) \
            fail_msg("no line: %s", line); \
    } while (0)

/* name{labels} value, each family announced once and before its rows. */
static void check_form(struct str text)
{
    struct map families = MAP_INIT;
    struct str line, name, rest, type;
    while (str_next(&text, '\n', &line)) {
        if (!line.n || str_starts(line, STR("# HELP ")))
            continue;
        if (str_starts(line, STR("# TYPE "))) {
            assert_true(str_cut(str_from(line, 7), ' ', &name, &type));
            if (map_has(&families, name))
                fail_msg("twice: %.*s", STR_ARG(name));
            map_put(&families, name, &families);
            continue;
        }
        ssize_t brace = str_find(line, '{'), blank = str_find(line, ' ');
        name = str_n(line.p, (size_t)(brace >= 0 && brace < blank ? brace : blank));
        static const char *const ends[] = {"_bucket", "_sum", "_count", ""};
        bool known = false;
        for (size_t i = 0; i < ARRAY_SIZE(ends) && !known; i++)
            known = str_ends(name, str_of(ends[i])) && map_has(&families, str_n(name.p, name.n - strlen(ends[i])));
        if (!known)
            fail_msg("no type: %.*s", STR_ARG(line));
        rest = line;
        while (str_find(rest, ' ') >= 0)
            rest = str_from(rest, (size_t)str_find(rest, ' ') + 1);
        char *end;
        strtod(rest.p, &end);
        assert_ptr_equal(end, rest.p + rest.n);
    }
    map_done(&families);
}

FIBER_TEST(requests_are_told_of)
{
    struct fixture f;
    struct watching w;
    const char *type;
    const struct val *v;
    fixture_start(&f, NULL);
    assert_int_equal(watch_begin(&f, &w, MAPS "?watch=true"), 200);
    make_config_map(&f, "a", "{}");
    assert_true(watch_event(&w, 10000, &type, &v));
    assert_code(get(&f, MAPS), 200);
    assert_code(get(&f, MAPS "/none"), 404);
    assert_code(ask(&f, "PATCH", MAPS "/a", "{\"data\":{\"x\":\"y\"}}", "Content-Type: application/merge-patch+json"), 200);
    assert_code(get(&f, "/readyz"), 200);
    struct str t = get(&f, "/metrics").text;
    check_form(t);
    assert_line(t, "apiserver_request_total{code=\"200\"," OF_MAPS "\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"} 1\n");
    assert_line(t, "apiserver_request_total{code=\"404\"," OF_MAPS "\"resource\",subresource=\"\",verb=\"GET\",version=\"v1\"} 1\n");
    assert_line(t, "apiserver_request_duration_seconds_count{" OF_MAPS "\"resource\",subresource=\"\",verb=\"PATCH\",version=\"v1\"} 1\n");
    assert_line(t, "apiserver_request_duration_seconds_bucket{" OF_MAPS "\"resource\",subresource=\"\",verb=\"PATCH\",version=\"v1\",le=\"+Inf\"} 1\n");
    assert_line(t, "apiserver_request_sli_duration_seconds_count{" OF_MAPS "\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"} 1\n");
    assert_line(t, "apiserver_response_sizes_count{" OF_MAPS "\"namespace\",subresource=\"\",verb=\"LIST\",version=\"v1\"} 1\n");
    assert_line(t, "apiserver_resource_objects{group=\"\",resource=\"configmaps\"} ");
    assert_line(t, "apiserver_watch_events_total{group=\"\",resource=\"configmaps\",version=\"v1\"} ");
    assert_line(t, "apiserver_storage_list_returned_objects_total{group=\"\",resource=\"configmaps\"} ");
    assert_line(t, "apiserver_request_body_size_bytes_count{group=\"\",resource=\"configmaps\",verb=\"patch\"} 1\n");
    assert_line(t, "field_validation_request_duration_seconds_count{field_validation=\"Warn\"} ");
    assert_line(t, "etcd_requests_total{group=\"\",operation=\"update\",resource=\"configmaps\"} ");
    assert_line(t, "apiserver_admission_controller_admission_duration_seconds_count{name=\"ResourceQuota\",operation=\"UPDATE\",rejected=\"false\",type=\"validate\"} ");
    assert_line(t, "apiserver_admission_step_admission_duration_seconds_count{operation=\"CREATE\",rejected=\"false\",type=\"admit\"} ");
    assert_line(t, "apiserver_request_filter_duration_seconds_count{filter=\"authorization\"} ");
    assert_line(t, "authenticated_user_requests{username=\"other\"} ");
    assert_line(t, "apiserver_longrunning_requests{component=\"apiserver\",verb=\"WATCH\"} 1\n");
    assert_line(t, "apiserver_tls_handshake_errors_total 0\n");
    assert_line(t, "process_open_fds ");
    watch_end(&w);
    t = get(&f, "/metrics/slis").text;
    check_form(t);
    assert_line(t, "kubernetes_healthcheck{name=\"ping\",type=\"readyz\"} 1\n");
    assert_line(t, "kubernetes_healthchecks_total{name=\"etcd-readiness\",status=\"success\",type=\"readyz\"} 1\n");
    fixture_stop(&f);
}

FIBER_TEST(pages_of_every_program)
{
    struct fixture f;
    fixture_start(&f, NULL);
    assert_true(str_contains(get(&f, "/statusz").text, STR("\nkube-apiserver statusz\n")));
    struct reply r = ask(&f, "GET", "/flagz", NULL, "Accept: application/json;v=v1beta1;g=config.k8s.io;as=Flagz");
    assert_code(r, 200);
    assert_at(&f, r, "kind", "Flagz");
    r = ask(&f, "PUT", "/debug/flags/v", "4", "Content-Type: text/plain");
    assert_code(r, 200);
    assert_str(r.text, "successfully set klog.logging.verbosity to 4");
    assert_code(ask(&f, "PUT", "/debug/flags/v", "0", "Content-Type: text/plain"), 200);
    assert_code(get(&f, "/debug/pprof/"), 501);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_told_of),
        cmocka_unit_test(pages_of_every_program),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
