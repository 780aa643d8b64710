/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/cluster.h"

#include "names.h"
#include "resources.h"
#include "testing.h"
#include "world.h"

#define RUN(name) world_reconcile(w, &service_cidr_controller, name)
#define HELD "finalizers: [networking.k8s.io/service-cidr-finalizer]"
#define GOING "deletionTimestamp: \"2025-12-31T23:00:00Z\"" /* an hour ago */
#define READY "status: {conditions: [{type: Ready, status: \"True\"}]}"

static bool releases(struct world *w)
{
    const struct write *x = world_find(w, WRITE_UPDATE);
    return x && !val_at(x->body, N_metadata, N_finalizers);
}

static void a_new_range_is_held_and_ready(void **state UNUSED)
{
    struct world *w = world_new();
    world_add(w, RES_SERVICECIDRS, "{metadata: {name: a}, spec: {cidrs: [10.96.0.0/16]}}");
    RUN("a");
    const struct write *update = world_find(w, WRITE_UPDATE), *status = world_find(w, WRITE_PATCH_STATUS);
    assert_non_null(update);
    assert_str(val_str(val_item(val_at(update->body, N_metadata, N_finalizers), 0)), "networking.k8s.io/service-cidr-finalizer");
    assert_non_null(status);
    assert_true(str_contains(status->patch, STR("\"status\":\"True\"")));
    world_add(w, RES_SERVICECIDRS, "{metadata: {name: b, " HELD "}, spec: {cidrs: [10.97.0.0/16]}, " READY "}");
    assert_string_equal(RUN("b"), "");
    world_free(w);
}

static void it_goes_when_its_addresses_have_gone(void **state UNUSED)
{
    struct world *w = world_new();
    world_add(w, RES_SERVICECIDRS, "{metadata: {name: a, " HELD ", " GOING "}, spec: {cidrs: [10.96.0.0/16, \"fd00::/112\"]}, " READY "}");
    world_add(w, RES_IPADDRESSES, "{metadata: {name: \"fd00::5\"}}");
    world_add(w, RES_IPADDRESSES, "{metadata: {name: 10.99.0.1}}");
    RUN("a");
    const struct write *status = world_find(w, WRITE_PATCH_STATUS);
    assert_non_null(status);
    assert_true(str_contains(status->patch, STR("\"reason\":\"Terminating\"")));
    assert_null(world_find(w, WRITE_UPDATE));
    world_remove(w, RES_IPADDRESSES, "", "fd00::5");
    RUN("a");
    assert_true(releases(w));
    world_free(w);
}

static void allocators_get_to_see_it(void **state UNUSED)
{
    struct world *w = world_new();
    world_add(w, RES_SERVICECIDRS, "{metadata: {name: a, " HELD ", deletionTimestamp: \"2025-12-31T23:59:57Z\"}, spec: {cidrs: [10.96.0.0/16]}, " READY "}");
    assert_string_equal(RUN("a"), "again 7s\n");
    world_free(w);
}

static void another_range_takes_its_addresses(void **state UNUSED)
{
    struct world *w = world_new();
    world_add(w, RES_SERVICECIDRS, "{metadata: {name: a, " HELD ", " GOING "}, spec: {cidrs: [10.96.0.0/24]}, " READY "}");
    world_add(w, RES_SERVICECIDRS, "{metadata: {name: b, " HELD ", " GOING "}, spec: {cidrs: [10.96.0.0/16]}, " READY "}");
    world_add(w, RES_IPADDRESSES, "{metadata: {name: 10.96.0.1}}");
    RUN("a");
    assert_false(releases(w)); /* the other is going, too */
    world_add(w, RES_SERVICECIDRS, "{metadata: {name: b, " HELD "}, spec: {cidrs: [10.96.0.0/16]}, " READY "}");
    RUN("a");
    assert_true(releases(w));
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_range_is_held_and_ready),
        cmocka_unit_test(it_goes_when_its_addresses_have_gone),
        cmocka_unit_test(another_range_takes_its_addresses),
        cmocka_unit_test(allocators_get_to_see_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
