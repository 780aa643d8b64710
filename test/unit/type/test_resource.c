/* SPDX-License-Identifier: Apache-2.0 */
#include "type/resource.h"

#include "cases.h"
#include "names.h"
#include "resources.h"

static void test_find(void **state)
{
    (void)state;
    assert_ptr_equal(resource_find(STR(""), STR("v1"), STR("pods")), &resources[RES_PODS]);
    assert_ptr_equal(resource_find(STR("apps"), STR("v1"), STR("deployments")), &resources[RES_DEPLOYMENTS]);
    assert_ptr_equal(resource_find_kind(STR("apps"), STR("v1"), STR("Deployment")),
                     &resources[RES_DEPLOYMENTS]);
    assert_null(resource_find(STR("apps"), STR("v1"), STR("pods")));
    assert_null(resource_find(STR(""), STR("v2"), STR("pods")));
    assert_null(resource_find(STR(""), STR("v1"), STR("Pod")));
    char pods[5000] = "pods";
    assert_null(resource_find(STR(""), STR("v1"), str_n(pods, sizeof(pods))));
}

static void test_every_resource_is_found(void **state)
{
    (void)state;
    for (unsigned i = 1; i < n_resources; i++) {
        const struct resource *r = &resources[i];
        assert_ptr_equal(resource_find(str_of(r->group), str_of(r->version), str_of(r->name)), r);
        assert_int_equal(r->index, i);
    }
}

static void test_subresources_and_versions(void **state)
{
    (void)state;
    char buf[64];
    const struct resource *r = &resources[RES_DEPLOYMENTS];
    assert_string_equal(resource_subresource(r, STR("scale"))->kind, "Scale");
    assert_null(resource_subresource(r, STR("log")));
    assert_string_equal(resource_api_version(r, buf, sizeof(buf)), "apps/v1");
    assert_string_equal(resource_api_version(&resources[RES_PODS], buf, sizeof(buf)), "v1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_every_resource_is_found),
        cmocka_unit_test(test_subresources_and_versions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
