/* SPDX-License-Identifier: Apache-2.0 */
#include "type/meta.h"

#include "cases.h"
#include "names.h"
#include "type/check.h"
#include "types.h"

static struct arena arena;

static void test_conditions(void **state)
{
    (void)state;
    struct val *list = val_new(&arena, VAL_LIST);
    struct wall t1 = {SECONDS(1000)}, t2 = {SECONDS(2000)}, t3 = {SECONDS(3000)};
    assert_true(condition_set(&arena, list, STR("Ready"), "False", "Why", STR("text"), t1));
    assert_false(condition_set(&arena, list, STR("Ready"), "False", "Why", STR("text"), t2));
    assert_true(condition_set(&arena, list, STR("Ready"), "False", "Other", STR(""), t2));
    const struct val *c = condition_find(list, STR("Ready"));
    assert_int_equal(val_time(val_get(c, N_lastTransitionTime)).ns, t1.ns);
    assert_null(val_get(c, N_message));
    assert_true(condition_set(&arena, list, STR("Ready"), "True", "Other", STR(""), t3));
    assert_int_equal(val_time(val_get(condition_find(list, STR("Ready")), N_lastTransitionTime)).ns, t3.ns);
    assert_true(condition_is(list, STR("Ready"), "True"));
    assert_false(condition_is(list, STR("Nope"), "True"));
    assert_int_equal(list->n, 1);
}

static void test_owners(void **state)
{
    (void)state;
    struct val *owner =
        case_val(&arena, type_at(T_apps_v1_ReplicaSet), "{'metadata':{'name':'rs','uid':'u1'}}");
    struct val *pod = val_new(&arena, VAL_OBJ);
    struct val *refs = val_sub_list(&arena, val_sub_obj(&arena, pod, N_metadata), N_ownerReferences);
    assert_null(obj_controller(pod));
    val_add(&arena, refs, obj_owner_ref(&arena, "apps/v1", "ReplicaSet", owner));
    assert_true(obj_controlled_by(pod, STR("u1")));
    assert_false(obj_controlled_by(pod, STR("u2")));
    assert_json(&arena, type_at(T_meta_v1_OwnerReference), obj_controller(pod),
                "{'apiVersion':'apps/v1','kind':'ReplicaSet','name':'rs','uid':'u1','controller':true,"
                "'blockOwnerDeletion':true}");
}

static void test_readers_accept_nothing(void **state)
{
    (void)state;
    assert_int_equal(obj_name(NULL).n, 0);
    assert_int_equal(obj_revision(NULL), 0);
    assert_null(obj_controller(NULL));
    assert_false(obj_deleting(NULL));
    assert_false(obj_has_finalizer(NULL, STR("x")));
    assert_int_equal(val_time(NULL).ns, 0);
    assert_str(obj_key(&arena, STR("ns"), STR("n")), "ns/n");
    assert_str(obj_key(&arena, STR(""), STR("n")), "n");
}

static void test_formats(void **state)
{
    (void)state;
    static const struct {
        const char *format, *text;
        unsigned faults;
    } cases[] = {
        {"dns-label", "a-1", 0},
        {"dns-label", "", 1},
        {"dns-label", "-a", 1},
        {"dns-label", "a.b", 1},
        {"dns-label", "A", 1},
        {"dns-subdomain", "a.b-c.1", 0},
        {"dns-subdomain", "a..b", 1},
        {"dns-subdomain", ".a", 1},
        {"dns-label-1035", "1a", 1},
        {"dns-label-1035", "a1", 0},
        {"qualified-name", "example.com/My_name.1", 0},
        {"qualified-name", "/a", 1},
        {"qualified-name", "a/", 2},
        {"qualified-name", "a/b/c", 1},
        {"qualified-name", "A/b", 1},
        {"label-value", "", 0},
        {"label-value", "a b", 1},
        {"env-name", "A b", 0},
        {"env-name", "a=b", 1},
        {"env-name", "", 1},
        {"config-key", "a_b.C", 0},
        {"config-key", "..a", 1},
        {"config-key", "", 1},
        {"port-name", "http", 0},
        {"port-name", "1", 1},
        {"port-name", "a--b", 1},
        {"port-name", "abcdefghijklmnop", 1},
        {"ip", "1.2.3.4", 0},
        {"ip", "1.2.3.04", 1},
        {"ip", "::1", 0},
        {"ip", "1.2.3", 1},
        {"cidr", "10.0.0.0/8", 0},
        {"cidr", "10.0.0.0/33", 1},
        {"cidr", "10.0.0.0", 1},
        {"cidr", "fd00::/64", 0},
        {"path-segment", "a", 0},
        {"path-segment", "..", 1},
        {"path-segment", "a/b%", 2},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct check c = {0};
        check_find(cases[i].format)(&c, str_of(cases[i].text));
        if (c.n != cases[i].faults)
            fail_msg("%s %s: %u faults", cases[i].format, cases[i].text, c.n);
    }
    assert_null(check_find("nonsense"));
    assert_null(check_dns_label(STR("a")));
    assert_non_null(check_dns_label(STR("A")));
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
        cmocka_unit_test(test_conditions),
        cmocka_unit_test(test_owners),
        cmocka_unit_test(test_readers_accept_nothing),
        cmocka_unit_test(test_formats),
    };
    return cmocka_run_group_tests(tests, NULL, teardown);
}
