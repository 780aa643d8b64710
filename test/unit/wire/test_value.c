/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "wire/json.h"
#include "wire/value-internal.h"

#include "names.h"
#include "types.h"

#include <stdio.h>

static struct val *parse(struct arena *a, const char *json)
{
    struct val *v = NULL;
    assert_int_equal(json_decode(a, NULL, str_of(json), 0, NULL, &v, NULL), 0);
    return v;
}

static void readers_take_anything(void **state UNUSED)
{
    struct val i = val_of_int(7), f = val_of_float(-2.9), s = val_of_str(STR("x")), big = val_of_float(1e300);
    assert_null(val_get(NULL, N_spec));
    assert_null(val_at(NULL, N_spec, N_nodeName));
    assert_null(val_key(&i, STR("a")));
    assert_null(val_item(&s, 0));
    assert_int_equal(val_len(&s), 0);
    assert_str(val_str(NULL), "");
    assert_str(val_str(&i), "");
    assert_string_equal(val_cstr(&i), "");
    assert_int_equal(val_int(NULL, 5), 5);
    assert_int_equal(val_int(&s, 5), 5);
    assert_int_equal(val_int(&f, 5), -2);
    assert_true(val_int(&big, 0) == INT64_MAX);
    assert_true(val_float(&i, 0) == 7.0);
    assert_true(val_bool(&s, true));
    VAL_EACH (&i, it)
        fail();
    VAL_EACH_ENTRY (&s, k, v)
        fail_msg("%p %p", (const void *)k, (const void *)v);
    VAL_EACH_MEMBER(&s, it)
    fail();
}

static void members_are_set_replaced_and_deleted(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *pod = val_new(&a, VAL_OBJ);
    val_set_str(&a, val_sub_obj(&a, pod, N_metadata), N_name, STR("web"));
    val_set_str(&a, val_sub_obj(&a, pod, N_spec), N_nodeName, STR("n1"));
    assert_str(val_str(val_at(pod, N_metadata, N_name)), "web");
    val_set_str(&a, val_sub_obj(&a, pod, N_spec), N_nodeName, STR("n2"));
    assert_str(val_str(val_at(pod, N_spec, N_nodeName)), "n2");
    assert_int_equal(val_len(pod), 2);
    assert_null(val_set(&a, val_mut(pod, N_spec), N_nodeName, (struct val){.kind = VAL_NULL}));
    assert_null(val_at(pod, N_spec, N_nodeName));
    assert_true(val_del(pod, N_spec));
    assert_false(val_del(pod, N_spec));
    assert_null(val_set_ref(&a, pod, N_metadata, NULL));
    assert_int_equal(val_len(pod), 0);
    val_set_int(&a, pod, N_replicas, 3);
    assert_int_equal(val_int(val_key(pod, STR("replicas")), 0), 3);
    assert_null(val_key(pod, STR("no such name")));
}

static void lists_grow_and_shrink(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *list = val_new(&a, VAL_LIST);
    for (int64_t i = 0; i < 1000; i++)
        val_add(&a, list, val_of_int(i));
    size_t before = a.total;
    assert_int_equal(val_len(list), 1000);
    for (int64_t i = 0; i < 1000; i++)
        assert_int_equal(val_int(val_item(list, (size_t)i), -1), i);
    val_remove(list, 0);
    val_remove(list, 998);
    val_remove(list, 998); /* beyond the end: nothing */
    assert_int_equal(val_len(list), 998);
    assert_int_equal(val_int(val_item(list, 0), -1), 1);
    for (int i = 0; i < 20; i++)
        val_add(&a, list, val_of_int(i));
    assert_int_equal(a.total, before); /* there was room for them */
}

/* What one owner appends must not show in a value that shares the items. */
static void shared_items_are_not_appended_to(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *obj = val_new(&a, VAL_OBJ), *other = val_new(&a, VAL_OBJ);
    struct val *list = val_sub_list(&a, obj, N_items);
    val_add(&a, list, val_of_int(1));
    struct val *shared = val_set_ref(&a, other, N_items, list);
    struct val *copy = val_copy_shallow(&a, obj);
    val_add(&a, shared, val_of_int(2));
    val_add(&a, val_mut(copy, N_items), val_of_int(3));
    val_add(&a, list, val_of_int(4));
    assert_int_equal(val_int(val_item(val_get(obj, N_items), 1), 0), 4);
    assert_int_equal(val_int(val_item(val_get(other, N_items), 1), 0), 2);
    assert_int_equal(val_int(val_item(val_get(copy, N_items), 1), 0), 3);
}

static void maps_keep_one_value_a_key(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *map = val_new(&a, VAL_MAP);
    val_put_str(&a, map, STR("b"), STR("1"));
    val_put_str(&a, map, STR("a"), STR("2"));
    val_put_str(&a, map, STR("b"), STR("3"));
    assert_int_equal(val_len(map), 2);
    assert_str(val_str(val_key(map, STR("b"))), "3");
    val_put_str(&a, map, STR("replicas"), STR("4"));
    assert_str(val_getstr(map, N_replicas), "4");
    assert_true(val_unput(map, STR("b")));
    assert_false(val_unput(map, STR("b")));
    int n = 0;
    VAL_EACH_ENTRY (map, k, v)
        n += (int)val_str(k).n + (int)val_str(v).n;
    assert_int_equal(n, 1 + 8 + 2);
}

static void copies_stand_alone(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *copy;
    {
        struct arena short_lived CLEANUP_ARENA = ARENA_INIT;
        copy = val_copy(&a, parse(&short_lived, "{\"a\":[1,{\"b\":\"x\"}],\"c\":{}}"));
    }
    assert_true(val_equal(copy, parse(&a, "{\"c\":{},\"a\":[1,{\"b\":\"x\"}]}")));
    assert_null(val_copy(&a, NULL));
    assert_null(val_copy_shallow(&a, NULL));
}

static void equality(void **state UNUSED)
{
    static const struct {
        const char *a, *b;
        bool equal;
    } cases[] = {
        {"{\"a\":1,\"b\":2}", "{\"b\":2,\"a\":1}", true},
        {"{\"a\":1}", "{\"a\":1,\"b\":2}", false},
        {"{\"a\":null}", "{}", false}, /* the keys of a map count */
        {"[1,2]", "[2,1]", false},
        {"[1]", "[1.0]", false},
        {"1e2", "100.0", true},
        {"\"a\"", "\"b\"", false},
        {"{}", "[]", true},
        {"null", "{}", true},
        {"true", "true", true},
        {"0", "null", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct val *x = parse(&a, cases[i].a), *y = parse(&a, cases[i].b);
        if (val_equal(x, y) != cases[i].equal)
            fail_msg("%s and %s", cases[i].a, cases[i].b);
        assert_int_equal(val_equal(y, x), cases[i].equal);
        if (cases[i].equal)
            assert_true(val_hash(x) == val_hash(y));
    }
}

static void absent_members_equal_empty_ones(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *x = val_new(&a, VAL_OBJ), *y = val_new(&a, VAL_OBJ);
    val_set_int(&a, x, N_replicas, 1);
    val_set_int(&a, y, N_replicas, 1);
    val_sub_list(&a, val_sub_obj(&a, y, N_template), N_containers);
    assert_true(val_equal(x, y) && val_equal(y, x));
    assert_true(val_hash(x) == val_hash(y));
    assert_false(val_same(x, y));
    assert_false(val_same(y, x));
    assert_true(val_same(x, x));
    assert_true(val_equal(NULL, val_new(&a, VAL_NULL)));
    assert_true(val_same(NULL, val_new(&a, VAL_NULL)));
    assert_true(val_equal(val_get(y, N_template), NULL));
    val_set_bool(&a, y, N_paused, false);
    assert_false(val_equal(x, y));
}

static void pairs_sort_and_the_last_wins(void **state UNUSED)
{
    struct val pairs[400];
    static char keys[200][8];
    for (int i = 0; i < 200; i++) {
        snprintf(keys[i], sizeof(keys[i]), "k%03d", (i * 37) % 100);
        pairs[2 * i] = val_of_str(str_of(keys[i]));
        pairs[2 * i + 1] = val_of_int(i);
    }
    assert_int_equal(val_sort_pairs(pairs, 200, NULL, NULL), 100);
    for (int i = 0; i < 100; i++) {
        if (i)
            assert_true(str_cmp(val_text(&pairs[2 * i - 2]), val_text(&pairs[2 * i])) < 0);
        assert_true(pairs[2 * i + 1].i >= 100);
    }
}

static void names_and_types_are_found(void **state UNUSED)
{
    for (unsigned i = 1; i < n_names; i++)
        assert_int_equal(name_find(name_str((name_id)i)), i);
    assert_int_equal(name_find(STR("")), 0);
    assert_int_equal(name_find(STR("nodeNam")), 0);
    assert_str(name_str(N_nodeName), "nodeName");
    assert_str(name_str(0), "");
    assert_str(name_str(UINT16_MAX), "");
    for (unsigned i = 1; i < n_types; i++)
        assert_ptr_equal(type_find(str_of(types[i].name)), &types[i]);
    assert_null(type_find(STR("core.v1.Po")));
    assert_null(type_find(STR("")));
}

static void fields_are_found_from_anywhere(void **state UNUSED)
{
    const struct type *t = type_at(T_core_v1_PodSpec);
    for (unsigned start = 0; start <= t->n_fields + 1u; start++)
        for (unsigned i = 0; i < t->n_fields; i++) {
            unsigned hint = start;
            assert_ptr_equal(type_field(t, t->fields[i].name, &hint), &t->fields[i]);
            assert_int_equal(hint, i + 1);
            hint = start;
            assert_ptr_equal(type_field_str(t, name_str(t->fields[i].name), &hint), &t->fields[i]);
            assert_int_equal(hint, i + 1);
        }
    unsigned hint = 3;
    assert_null(type_field_str(t, STR("no such field"), &hint));
    assert_null(type_field_str(t, STR("replicas"), &hint));
    assert_null(type_field(t, 0, NULL));
    assert_int_equal(hint, 3);
}

/* Wide maps that are in order are searched otherwise than others. */
static void keys_of_wide_maps_are_found(void **state UNUSED)
{
    enum { WIDE = 100 };
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v = NULL;
    for (int i = 0; i < WIDE; i++)
        buf_printf(&b, "%c\"k%d\":%d", i ? ',' : '{', i * 7 % WIDE, i);
    buf_puts(&b, "}");
    assert_int_equal(json_decode(&a, NULL, buf_str(&b), 0, NULL, &v, NULL), 0);
    for (int added = 0; added < 2; added++) { /* what is added last stands out of order */
        for (int i = 0; i < WIDE; i++)
            assert_int_equal(val_int(val_key(v, arena_printf(&a, "k%d", i * 7 % WIDE)), -1), i);
        assert_null(val_key(v, STR("")));
        assert_null(val_key(v, STR("k")));
        assert_null(val_key(v, STR("k999")));
        assert_int_equal(val_int(val_key(v, STR("a")), -1), added ? 5 : -1);
        val_put(&a, v, STR("a"), val_of_int(5));
    }
    assert_true(val_unput(v, STR("k50")));
    assert_null(val_key(v, STR("k50")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_take_anything),
        cmocka_unit_test(members_are_set_replaced_and_deleted),
        cmocka_unit_test(lists_grow_and_shrink),
        cmocka_unit_test(shared_items_are_not_appended_to),
        cmocka_unit_test(maps_keep_one_value_a_key),
        cmocka_unit_test(copies_stand_alone),
        cmocka_unit_test(equality),
        cmocka_unit_test(absent_members_equal_empty_ones),
        cmocka_unit_test(pairs_sort_and_the_last_wins),
        cmocka_unit_test(names_and_types_are_found),
        cmocka_unit_test(fields_are_found_from_anywhere),
        cmocka_unit_test(keys_of_wide_maps_are_found),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
