/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/address_pool.h"
#include "controllers/cluster.h"

#include <stdio.h>

#include "names.h"
#include "resources.h"
#include "testing.h"
#include "type/meta.h"
#include "world.h"

#define RUN(key) world_reconcile(w, &service_lb_controller, key)
#define HELD "finalizers: [service.kubernetes.io/load-balancer-cleanup]"
#define GOING "deletionTimestamp: \"2026-01-01T00:00:00Z\""
#define BORN(day) "creationTimestamp: \"2025-01-" day "T00:00:00Z\""
#define V4 "type: LoadBalancer, ipFamilies: [IPv4], ipFamilyPolicy: SingleStack"
#define BOTH "type: LoadBalancer, ipFamilies: [IPv6, IPv4], ipFamilyPolicy: "
#define HAS(ip) "status: {loadBalancer: {ingress: [{ip: \"" ip "\", ipMode: VIP}]}}"

static struct world *world_with(const char *pool)
{
    struct world *w = world_new();
    world_config(w)->load_balancer_pool = pool;
    world_follow(w, &service_lb_controller);
    return w;
}

static const struct object *service(struct world *w, const char *name, const char *meta, const char *spec, const char *rest)
{
    return world_addf(w, RES_SERVICES, "{metadata: {namespace: default, name: %s, %s}, spec: {%s}, %s}", name, meta, spec, rest);
}

/* The i-th address that the last reconcile writes; "" when it writes none. */
static const char *given(struct world *w, size_t i)
{
    const struct write *x = world_find(w, WRITE_UPDATE_STATUS);
    return x ? val_cstr(val_get(val_item(val_at(x->body, N_status, N_loadBalancer, N_ingress), i), N_ip)) : "";
}

static bool holds(struct world *w)
{
    const struct write *x = world_find(w, WRITE_UPDATE_STATUS);
    assert_non_null(x);
    return obj_has_finalizer(x->body, STR("service.kubernetes.io/load-balancer-cleanup"));
}

/* ---- pools --------------------------------------------------------------------------------------------- */

static void pools_are_read(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct address_pool p;
    struct err e = {0};
    struct cidr ip;
    assert_int_equal(address_pool_parse(&a, "192.0.2.16/30, 198.51.100.9-198.51.100.10,192.0.2.1,2001:db8::/64", &p, &e), 0);
    assert_int_equal(p.n, 4);
    assert_int_equal(address_pool_count(&p, false), 7);
    assert_int_equal(address_pool_count(&p, true), UINT64_C(1) << 32);
    assert_str(cidr_ip_text(&a, address_pool_nth(&p, false, 0)), "192.0.2.16");
    assert_str(cidr_ip_text(&a, address_pool_nth(&p, false, 5)), "198.51.100.10");
    assert_str(cidr_ip_text(&a, address_pool_nth(&p, false, 6)), "192.0.2.1");
    assert_str(cidr_ip_text(&a, address_pool_nth(&p, true, UINT32_MAX)), "2001:db8::ffff:ffff");
    cidr_parse_ip(STR("198.51.100.11"), &ip);
    assert_false(address_pool_has(&p, ip));
    cidr_parse_ip(STR("2001:db8::1:0:0:5"), &ip);
    assert_true(address_pool_has(&p, ip));
}

static void nonsense_is_no_pool(void **state UNUSED)
{
    static const char *const bad[] = {"", ",", "x", "192.0.2.0/33", "192.0.2.9-192.0.2.1", "192.0.2.1-2001:db8::1", "192.0.2.1-",
                                      "127.0.0.0/30", "::/0", "0.0.0.0/0", "224.0.0.1", "::ffff:192.0.2.1", "fe80::1",
                                      "192.0.2.0/28,192.0.2.15", "192.0.2.1,", "192.0.2.1/24/3", "192.0.2.1 192.0.2.2"};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct address_pool p = {.n = 77};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct err e = {0};
        if (address_pool_parse(&a, bad[i], &p, &e) != -EINVAL)
            fail_msg("\"%s\" is taken for a pool", bad[i]);
        assert_int_equal(p.n, 77);
    }
}

static void a_pool_is_apart_from_the_other_networks(void **state UNUSED)
{
    struct controllers_config c = {.cluster_cidr = "10.244.0.0/16", .service_cidr = "10.96.0.0/12", .load_balancer_pool = "10.0.0.0/24"};
    struct err e = {0};
    assert_int_equal(controllers_check(&c, &e), 0);
    c.load_balancer_pool = "10.244.255.250-10.245.0.9";
    assert_int_equal(controllers_check(&c, &e), -EINVAL);
    c.load_balancer_pool = "10.100.0.1";
    assert_int_equal(controllers_check(&c, &e), -EINVAL);
    c.load_balancer_pool = "10.0.0.0/24,nonsense";
    assert_int_equal(controllers_check(&c, &e), -EINVAL);
}

static void without_a_pool_it_is_off(void **state UNUSED)
{
    struct controllers_config c = {0};
    assert_false(service_lb_controller.enabled(&c));
    c.load_balancer_pool = "192.0.2.1";
    assert_true(service_lb_controller.enabled(&c));
}

/* ---- giving -------------------------------------------------------------------------------------------- */

static void a_service_gets_an_address_and_keeps_it(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.1");
    service(w, "a", "finalizers: [example.com/other]", V4, "");
    assert_string_equal(RUN("default/a"),
                        "status services default/a {\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.1\",\"ipMode\":\"VIP\"}]}}\n"
                        "event Normal EnsuredLoadBalancer Ensured load balancer with 192.0.2.1\n");
    assert_true(holds(w));
    assert_true(obj_has_finalizer(world_find(w, WRITE_UPDATE_STATUS)->body, STR("example.com/other")));
    world_apply(w);
    assert_string_equal(RUN("default/a"), "");
    world_free(w);
}

static void a_status_that_others_change_is_mended(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.1");
    service(w, "a", HELD, V4, HAS("203.0.113.7"));
    RUN("default/a");
    assert_string_equal(given(w, 0), "192.0.2.1");
    service(w, "a", HELD, V4, "status: {loadBalancer: {ingress: [{ip: 192.0.2.1, ipMode: Proxy}]}}");
    RUN("default/a");
    assert_string_equal(given(w, 0), "192.0.2.1");
    service(w, "a", "labels: {}", V4, HAS("192.0.2.1"));
    RUN("default/a");
    assert_true(holds(w));
    world_free(w);
}

static void others_are_left_alone(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.1");
    service(w, "foreign", "labels: {}", V4 ", loadBalancerClass: example.com/lb", "");
    service(w, "leaving", HELD ", " GOING, V4 ", loadBalancerClass: example.com/lb", HAS("203.0.113.1"));
    service(w, "plain", "labels: {}", "type: ClusterIP", "");
    assert_string_equal(RUN("default/foreign"), "");
    assert_string_equal(RUN("default/leaving"), "");
    assert_string_equal(RUN("default/plain"), "");
    assert_string_equal(RUN("default/nobody"), "");
    service(w, "ours", "labels: {}", V4 ", loadBalancerClass: cube.local/load-balancer", "");
    RUN("default/ours");
    assert_string_equal(given(w, 0), "192.0.2.1");
    world_free(w);
}

static void an_address_of_a_foreign_class_is_taken(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.1");
    service(w, "a", HELD ", " BORN("01"), V4, HAS("192.0.2.1"));
    service(w, "foreign", BORN("09"), V4 ", loadBalancerClass: example.com/lb", HAS("192.0.2.1"));
    assert_string_equal(RUN("default/a"),
                        "status services default/a {\"loadBalancer\":{}}\n"
                        "event Warning AddressConflict 192.0.2.1 belongs to default/foreign\n"
                        "event Warning AllocationFailed Cannot give an address: all 1 IPv4 addresses of the pool are in use\n");
    assert_false(holds(w));
    world_free(w);
}

static void no_address_is_given_twice(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.8/30");
    char name[32], key[64], got[4][32];
    for (int i = 0; i < 4; i++) { /* none of the writes is seen before the next reconcile */
        snprintf(name, sizeof(name), "s%d", i);
        service(w, name, "labels: {}", V4, "");
        snprintf(key, sizeof(key), "default/s%d", i);
        RUN(key);
        snprintf(got[i], sizeof(got[i]), "%s", given(w, 0));
        assert_true(got[i][0]);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(got[i], got[k]);
    }
    service(w, "s4", "labels: {}", V4, "");
    assert_string_equal(RUN("default/s4"),
                        "event Warning AllocationFailed Cannot give an address: all 4 IPv4 addresses of the pool are in use\n");
    assert_string_equal(RUN("default/s4"), ""); /* told once */
    world_free(w);
}

static void a_name_finds_its_address_again(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.0/24");
    char first[32];
    service(w, "b", "labels: {}", V4, "");
    RUN("default/b");
    snprintf(first, sizeof(first), "%s", given(w, 0));
    world_remove(w, RES_SERVICES, "default", "b");
    service(w, "c", "labels: {}", V4, "");
    RUN("default/c");
    assert_string_not_equal(given(w, 0), first); /* of 256, by their names */
    service(w, "b", "uid: other", V4, "");
    RUN("default/b");
    assert_string_equal(given(w, 0), first);
    world_free(w);
}

static void an_address_may_be_asked_for(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.0/24");
    service(w, "a", "labels: {}", V4 ", loadBalancerIP: 192.0.2.77", "");
    RUN("default/a");
    assert_string_equal(given(w, 0), "192.0.2.77");
    world_apply(w);
    service(w, "b", "labels: {}", V4 ", loadBalancerIP: 192.0.2.77", "");
    assert_string_equal(RUN("default/b"), "event Warning AllocationFailed Cannot give an address: "
                                          "the requested address 192.0.2.77 is in use by default/a\n");
    service(w, "b", "labels: {}", V4 ", loadBalancerIP: 192.0.3.1", "");
    assert_string_equal(RUN("default/b"), "event Warning AllocationFailed Cannot give an address: "
                                          "the requested address 192.0.3.1 is not in the pool\n");
    service(w, "b", "labels: {}", V4 ", loadBalancerIP: \"2001:db8::1\"", "");
    assert_string_equal(RUN("default/b"), "event Warning AllocationFailed Cannot give an address: "
                                          "the requested address 2001:db8::1 is of no IP family of the Service\n");
    service(w, "b", "labels: {}", V4 ", loadBalancerIP: nowhere", "");
    assert_string_equal(RUN("default/b"), "event Warning AllocationFailed Cannot give an address: "
                                          "\"nowhere\" is not an IP address\n");
    world_free(w);
}

static void what_it_has_stays_until_it_gets_what_it_asks_for(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.0/30");
    service(w, "a", HELD, V4, HAS("192.0.2.1"));
    service(w, "b", HELD, V4 ", loadBalancerIP: 192.0.2.1", HAS("192.0.2.2"));
    assert_string_equal(RUN("default/b"), "event Warning AllocationFailed Cannot give an address: "
                                          "the requested address 192.0.2.1 is in use by default/a\n");
    const struct object *a = object_ref(world_get(w, RES_SERVICES, "default", "a"));
    world_remove(w, RES_SERVICES, "default", "a");
    service(w, "a", HELD, V4, HAS("192.0.2.1"));
    assert_string_equal(RUN("default/a"), "");
    RUN("default/b");
    assert_string_equal(world_keys(w, &service_lb_controller, a, NULL), "default/b"); /* it has waited for that */
    RUN("default/b");
    assert_string_equal(given(w, 0), "192.0.2.1");
    object_unref((struct object *)a);
    world_free(w);
}

/* ---- families ------------------------------------------------------------------------------------------ */

static void families_get_one_each_in_their_order(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.1,2001:db8::1");
    service(w, "a", "labels: {}", BOTH "RequireDualStack", "");
    RUN("default/a");
    assert_string_equal(given(w, 0), "2001:db8::1");
    assert_string_equal(given(w, 1), "192.0.2.1");
    world_apply(w);
    assert_string_equal(RUN("default/a"), "");
    service(w, "a", HELD, V4, "status: {loadBalancer: {ingress: [{ip: \"2001:db8::1\", ipMode: VIP}, {ip: 192.0.2.1, ipMode: VIP}]}}");
    RUN("default/a");
    assert_string_equal(given(w, 0), "192.0.2.1");
    assert_string_equal(given(w, 1), "");
    world_free(w);
}

static void both_families_or_none_when_both_are_required(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.1");
    service(w, "a", "labels: {}", BOTH "RequireDualStack", "");
    assert_string_equal(RUN("default/a"),
                        "event Warning AllocationFailed Cannot give an address: the pool has no IPv6 addresses\n");
    service(w, "b", "labels: {}", BOTH "PreferDualStack", "");
    RUN("default/b");
    assert_string_equal(given(w, 0), "192.0.2.1");
    const struct write *second = world_write(w, 1);
    assert_string_equal(second->reason, "EnsuredLoadBalancer");
    assert_null(world_write(w, 2)); /* nothing to complain about */
    world_free(w);
}

/* ---- taking back --------------------------------------------------------------------------------------- */

static void it_is_released_when_it_goes_or_is_of_another_type(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.1");
    service(w, "a", HELD ", " GOING, V4, HAS("192.0.2.1"));
    assert_string_equal(RUN("default/a"), "status services default/a {\"loadBalancer\":{}}\nevent Normal DeletedLoadBalancer Deleted load balancer\n");
    assert_false(holds(w));
    service(w, "a", "finalizers: [example.com/other], " GOING, V4, "");
    assert_string_equal(RUN("default/a"), "");
    service(w, "b", HELD, "type: NodePort", "");
    assert_string_equal(RUN("default/b"), "status services default/b {\"loadBalancer\":{}}\nevent Normal DeletedLoadBalancer Deleted load balancer\n");
    assert_false(holds(w));
    world_free(w);
}

static void who_waited_is_served_the_oldest_first(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.1");
    service(w, "a", HELD, V4, HAS("192.0.2.1"));
    service(w, "young", BORN("20"), V4, "");
    service(w, "old", BORN("10"), V4, "");
    service(w, "content", HELD, "type: NodePort", "");
    RUN("default/young");
    RUN("default/old");
    const struct object *was = object_ref(world_get(w, RES_SERVICES, "default", "a"));
    assert_string_equal(world_keys(w, &service_lb_controller, was, was), "default/a"); /* nothing became free */
    assert_string_equal(world_keys(w, &service_lb_controller, was, NULL), "default/old default/young");
    assert_string_equal(RUN("default/old"),
                        "status services default/old {\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.1\",\"ipMode\":\"VIP\"}]}}\n"
                        "event Normal EnsuredLoadBalancer Ensured load balancer with 192.0.2.1\n");
    object_unref((struct object *)was);
    world_free(w);
}

static void an_address_given_in_vain_is_free_again(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.1");
    service(w, "a", "labels: {}", V4, "");
    service(w, "b", "labels: {}", V4, "");
    RUN("default/a");
    RUN("default/b");
    const struct object *was = object_ref(world_get(w, RES_SERVICES, "default", "a"));
    assert_string_equal(world_keys(w, &service_lb_controller, was, NULL), "default/b");
    RUN("default/b");
    assert_string_equal(given(w, 0), "192.0.2.1");
    object_unref((struct object *)was);
    world_free(w);
}

static void of_two_with_one_address_the_older_keeps_it(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.0/31");
    service(w, "a", HELD ", " BORN("20"), V4, HAS("192.0.2.1"));
    const struct object *older = service(w, "b", HELD ", " BORN("10"), V4, HAS("192.0.2.1"));
    assert_string_equal(world_keys(w, &service_lb_controller, NULL, older), "default/b default/a");
    assert_string_equal(RUN("default/b"), "");
    assert_string_equal(RUN("default/a"),
                        "status services default/a {\"loadBalancer\":{\"ingress\":[{\"ip\":\"192.0.2.0\",\"ipMode\":\"VIP\"}]}}\n"
                        "event Warning AddressConflict 192.0.2.1 belongs to default/b\n"
                        "event Normal EnsuredLoadBalancer Ensured load balancer with 192.0.2.0\n");
    world_apply(w);
    assert_string_equal(RUN("default/a"), "");
    assert_string_equal(RUN("default/b"), "");
    world_free(w);
}

static void an_address_out_of_the_pool_is_replaced(void **state UNUSED)
{
    struct world *w = world_with("192.0.2.5");
    service(w, "a", HELD, V4, HAS("192.0.9.9"));
    RUN("default/a");
    assert_string_equal(given(w, 0), "192.0.2.5");
    assert_true(holds(w));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pools_are_read),
        cmocka_unit_test(nonsense_is_no_pool),
        cmocka_unit_test(a_pool_is_apart_from_the_other_networks),
        cmocka_unit_test(without_a_pool_it_is_off),
        cmocka_unit_test(a_service_gets_an_address_and_keeps_it),
        cmocka_unit_test(a_status_that_others_change_is_mended),
        cmocka_unit_test(others_are_left_alone),
        cmocka_unit_test(an_address_of_a_foreign_class_is_taken),
        cmocka_unit_test(no_address_is_given_twice),
        cmocka_unit_test(a_name_finds_its_address_again),
        cmocka_unit_test(an_address_may_be_asked_for),
        cmocka_unit_test(what_it_has_stays_until_it_gets_what_it_asks_for),
        cmocka_unit_test(families_get_one_each_in_their_order),
        cmocka_unit_test(both_families_or_none_when_both_are_required),
        cmocka_unit_test(it_is_released_when_it_goes_or_is_of_another_type),
        cmocka_unit_test(who_waited_is_served_the_oldest_first),
        cmocka_unit_test(an_address_given_in_vain_is_free_again),
        cmocka_unit_test(of_two_with_one_address_the_older_keeps_it),
        cmocka_unit_test(an_address_out_of_the_pool_is_replaced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
