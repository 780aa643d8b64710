/* SPDX-License-Identifier: Apache-2.0 */
/* What balancers are told, with the clock as a parameter; and the page of figures. */
#include "../testing.h"

#include "proxy/health.h"
#include "proxy/retry.h"
#include "wire/prom.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

static struct str answer(const struct health *h, bool whole, int64_t now, int want, struct buf *b)
{
    buf_clear(b);
    assert_int_equal(health_answer(h, whole, (struct mono){now}, (struct wall){SECONDS(1800000000)}, b), want);
    return buf_str(b);
}

static void late_changes_are_a_fault(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct health h = {.timeout_ns = SECONDS(60), .node_known = true};
    h.sides[0] = (struct health_side){.family = "IPv4", .updated = {SECONDS(1700000000)}};
    h.sides[1] = (struct health_side){.family = "IPv6", .updated = {SECONDS(1700000001)}};
    assert_str(answer(&h, true, 0, 200, &b),
               "{\"lastUpdated\":\"2027-01-15T08:00:00Z\",\"currentTime\":\"2027-01-15T08:00:00Z\",\"nodeEligible\":true,\"healthy\":true,\"status\":{"
               "\"IPv4\":{\"lastUpdated\":\"2023-11-14T22:13:20Z\",\"healthy\":true},\"IPv6\":{\"lastUpdated\":\"2023-11-14T22:13:21Z\",\"healthy\":true}}}");
    health_queued(&h, 0, (struct mono){SECONDS(100)});
    health_queued(&h, 0, (struct mono){SECONDS(150)}); /* the oldest counts */
    answer(&h, false, SECONDS(159), 200, &b);
    struct str late = answer(&h, false, SECONDS(160), 503, &b);
    assert_true(str_contains(late, STR("\"lastUpdated\":\"2023-11-14T22:13:21Z\""))); /* no longer "now" */
    assert_true(str_contains(late, STR("\"healthy\":false,\"status\"")));
    assert_false(str_contains(late, STR("nodeEligible")));
    health_updated(&h, 0, (struct wall){SECONDS(1700000002)}, false, (struct mono){SECONDS(159)});
    answer(&h, false, SECONDS(160), 200, &b);
}

/* Where something changes all the time there are always changes that wait, but none for long. */
static void a_busy_proxy_is_well(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct health h = {.timeout_ns = SECONDS(60), .node_known = true};
    h.sides[0].family = "IPv4";
    for (int64_t now = 0; now < SECONDS(600); now += SECONDS(1)) {
        health_queued(&h, 0, (struct mono){now + 1});
        health_updated(&h, 0, (struct wall){SECONDS(1700000000) + now}, true, (struct mono){now});
        health_queued(&h, 0, (struct mono){now + 2});
        answer(&h, true, now + 2, 200, &b);
    }
    answer(&h, false, SECONDS(658), 200, &b);
    answer(&h, false, SECONDS(659), 503, &b); /* those that waited last were never written */
}

static void a_node_that_goes_takes_no_traffic(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct health h = {.timeout_ns = SECONDS(60), .node_known = true, .node_going = true};
    h.sides[0].family = "IPv4";
    assert_true(str_contains(answer(&h, true, 0, 503, &b), STR("\"nodeEligible\":false,\"healthy\":true")));
    answer(&h, false, 0, 200, &b); /* but lives */
    h.node_going = h.node_known = false;
    answer(&h, true, 0, 503, &b);
}

static void ports_tell_of_endpoints(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    assert_int_equal(health_port_answer(STR("ns"), STR("web"), 2, true, &b), 200);
    assert_str(buf_str(&b), "{\n\t\"service\": {\n\t\t\"namespace\": \"ns\",\n\t\t\"name\": \"web\"\n\t},\n\t\"localEndpoints\": 2,\n\t\"serviceProxyHealthy\": true\n}");
    assert_int_equal(health_port_answer(STR("ns"), STR("web"), 0, true, &b), 503);
    assert_int_equal(health_port_answer(STR("ns"), STR("web"), 2, false, &b), 503);
}

static void count_deaf(void *arg, struct str key, uint16_t port, size_t endpoints)
{
    assert_str(key, "ns/web");
    assert_true(port && endpoints == 3);
    ++*(size_t *)arg;
}

/* Somebody else has the port when the Service comes, and gives it up later. */
FIBER_TEST(a_port_that_was_taken_is_tried_again)
{
    struct health h = {.timeout_ns = SECONDS(60)};
    struct ip here = {AF_INET, {127, 0, 0, 1}};
    struct ips on = {&here, 1};
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int other = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0);
    size_t deaf = 0;
    assert_int_equal(bind(other, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(other, 1), 0);
    assert_int_equal(getsockname(other, (struct sockaddr *)&at, &len), 0);
    health_port_set(&h, 0, STR("ns/web"), ntohs(at.sin_port), 3, &on);
    health_each_deaf(&h, 0, count_deaf, &deaf);
    assert_int_equal(deaf, 1);
    close(other);
    assert_int_equal(connect(c, (struct sockaddr *)&at, sizeof(at)), -1);
    close(c);
    health_port_set(&h, 0, STR("ns/web"), ntohs(at.sin_port), 3, &on);
    health_each_deaf(&h, 0, count_deaf, &deaf);
    assert_int_equal(deaf, 1);
    c = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(c, (struct sockaddr *)&at, sizeof(at)), 0);
    close(c);
    health_close(&h);
}

static void one_family_does_not_wait_for_the_other(void **state UNUSED)
{
    struct retry four = {0}, six = {0};
    static const int64_t waits[] = {1, 2, 4, 8, 16, 32, 32};
    int64_t now = SECONDS(100);
    for (size_t i = 0; i < ARRAY_SIZE(waits); i++) {
        assert_true(retry_due(&six, (struct mono){now}));
        retry_note(&six, true, (struct mono){now});
        assert_false(retry_due(&six, (struct mono){now + SECONDS(waits[i]) - 1}));
        retry_note(&four, false, (struct mono){now});
        assert_true(retry_due(&four, (struct mono){now}));
        now += SECONDS(waits[i]);
    }
    retry_note(&six, false, (struct mono){now});
    assert_true(retry_due(&six, (struct mono){now}));
}

static double figure(struct str page, const char *name, const char *le)
{
    struct prom_sample s;
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    while (prom_next(&page, &s))
        if (str_is(s.name, name) && (!le || str_is(prom_label(&s, "le", &a), le)))
            return s.value;
    return -1;
}

static void figures_are_written(void **state UNUSED)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct metrics m = {.mode = "nftables"};
    m.sides[0].family = "IPv4";
    proxy_metrics_sync(&m.sides[0].sync, MILLISECONDS(1));
    proxy_metrics_sync(&m.sides[0].sync, MILLISECONDS(3));
    proxy_metrics_sync(&m.sides[0].sync, SECONDS(100));
    proxy_metrics_programming(&m.sides[0].programming, SECONDS(4));
    proxy_metrics_write(&m, &b);
    assert_true(figure(buf_str(&b), "kubeproxy_sync_proxy_rules_duration_seconds_bucket", "0.001") == 1);
    assert_true(figure(buf_str(&b), "kubeproxy_sync_proxy_rules_duration_seconds_bucket", "0.004") == 2);
    assert_true(figure(buf_str(&b), "kubeproxy_sync_proxy_rules_duration_seconds_bucket", "16.384") == 2);
    assert_true(figure(buf_str(&b), "kubeproxy_sync_proxy_rules_duration_seconds_bucket", "+Inf") == 3);
    assert_true(figure(buf_str(&b), "kubeproxy_network_programming_duration_seconds_bucket", "3") == 0);
    assert_true(figure(buf_str(&b), "kubeproxy_network_programming_duration_seconds_bucket", "4") == 1);
    assert_true(figure(buf_str(&b), "kubeproxy_network_programming_duration_seconds_bucket", "300") == 1);
    assert_true(figure(buf_str(&b), "kubeproxy_sync_proxy_rules_nftables_sync_failures_total", NULL) == 0);
    assert_true(figure(buf_str(&b), "kubeproxy_sync_proxy_rules_iptables_restore_failures_total", NULL) == -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(late_changes_are_a_fault), cmocka_unit_test(a_busy_proxy_is_well), cmocka_unit_test(one_family_does_not_wait_for_the_other), cmocka_unit_test(a_port_that_was_taken_is_tried_again), cmocka_unit_test(a_node_that_goes_takes_no_traffic),
                                       cmocka_unit_test(ports_tell_of_endpoints), cmocka_unit_test(figures_are_written)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
