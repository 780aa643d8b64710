/* SPDX-License-Identifier: Apache-2.0 */
/* Who is there, by their Leases and one's own clock. */
#include "../testing.h"

#include "announce/members.h"
#include "client/fake_client.h"
#include "type/meta.h"

#include <stdio.h>

static struct mono at(int64_t seconds)
{
    return (struct mono){SECONDS(1000 + seconds)};
}

static bool hears(struct members *m, const char *node, const char *renewed, const char *networks, int64_t seconds)
{
    char text[400];
    snprintf(text, sizeof(text), "{metadata: {namespace: cube-announce, name: %s, annotations: {cube.local/networks: '%s'}}, spec: {holderIdentity: %s, "
                                 "leaseDurationSeconds: 9, renewTime: '2030-01-01T00:00:%s.000000Z'}}", node, networks, node, renewed);
    struct object *o CLEANUP_OBJECT = object_relaxed(RES_LEASES, text);
    return members_change(m, NULL, o, at(seconds));
}

static const char *present(const struct members *m)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    static char text[200];
    size_t n, k = 0;
    const struct member *list = members_list(m, false, &a, &n);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++)
        k += (size_t)snprintf(text + k, sizeof(text) - k, "%s" STR_FMT ":%zu", i ? " " : "", STR_ARG(list[i].node), list[i].networks.n);
    return text;
}

static void test_silence(void **state UNUSED)
{
    struct members m = {.self = STR("a")};
    struct mono next;
    assert_true(hears(&m, "a", "01", "192.0.2.0/24", 0));
    assert_true(hears(&m, "b", "01", "", 1));
    assert_string_equal(present(&m), "a:1 b:0");
    assert_false(hears(&m, "b", "01", "", 5)); /* seen again, but not alive again */
    assert_false(hears(&m, "a", "02", "192.0.2.0/24", 5));
    assert_false(members_expire(&m, at(9), &next));
    assert_int_equal(next.ns, at(10).ns);
    assert_true(members_expire(&m, at(10), &next));
    assert_string_equal(present(&m), "a:1");
    assert_int_equal(next.ns, at(14).ns);
    assert_false(members_expire(&m, at(11), &next));
    assert_true(hears(&m, "b", "05", "192.0.2.0/24,2001:db8::/64", 12)); /* back */
    assert_string_equal(present(&m), "a:1 b:2");
    assert_true(hears(&m, "b", "05", "", 12)); /* on other networks */
    members_done(&m);
}

/* While nobody could be seen nobody is gone for it. */
static void test_own_silence(void **state UNUSED)
{
    struct members m = {.self = STR("a")};
    struct mono next;
    hears(&m, "a", "01", "", 0);
    hears(&m, "b", "01", "", 0);
    assert_true(members_self_present(&m));
    assert_true(members_expire(&m, at(60), &next));
    assert_false(members_self_present(&m));
    assert_true(hears(&m, "a", "02", "", 61));
    assert_true(members_self_present(&m));
    assert_string_equal(present(&m), "a:0 b:0"); /* it gets its time to show up */
    hears(&m, "a", "03", "", 69);
    assert_true(members_expire(&m, at(70), &next));
    assert_string_equal(present(&m), "a:0");
    members_done(&m);
}

static void test_gone(void **state UNUSED)
{
    struct members m = {.self = STR("a")};
    struct object *o CLEANUP_OBJECT = object_relaxed(RES_LEASES, "{metadata: {namespace: cube-announce, name: b}}");
    hears(&m, "b", "01", "", 0);
    assert_true(members_change(&m, o, NULL, at(1)));
    assert_string_equal(present(&m), "");
    assert_false(members_change(&m, o, NULL, at(1)));
    assert_true(hears(&m, "b", "01", "rubbish", 2)); /* networks that are none: it is there all the same */
    assert_string_equal(present(&m), "b:0");
    members_done(&m);
}

static void test_own_lease(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct prefixes networks;
    struct object *node CLEANUP_OBJECT = object_relaxed(RES_NODES, "{metadata: {name: a, uid: u-a}}");
    prefixes_parse(&a, "192.0.2.0/24,2001:db8::/64", &networks, NULL);
    struct val *v = member_lease(&a, NULL, node->val, STR("a"), &networks, SECONDS(9), (struct wall){SECONDS(1)});
    struct object *o CLEANUP_OBJECT = object_new(&resources[RES_LEASES], v);
    struct members m = {.self = STR("a")};
    assert_true(members_change(&m, NULL, o, at(0)));
    assert_string_equal(present(&m), "a:2"); /* others read what is written */
    assert_str(val_str(val_at(val_item(val_get(obj_meta(v), N_ownerReferences), 0), N_uid)), "u-a");
    struct val *next = member_lease(&a, v, node->val, STR("a"), &networks, SECONDS(9), (struct wall){SECONDS(4)});
    struct object *later CLEANUP_OBJECT = object_new(&resources[RES_LEASES], next);
    struct mono when;
    members_change(&m, o, later, at(4));
    members_expire(&m, at(5), &when);
    assert_int_equal(when.ns, at(13).ns);
    members_done(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_silence), cmocka_unit_test(test_own_silence), cmocka_unit_test(test_gone),
                                       cmocka_unit_test(test_own_lease)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
