/* SPDX-License-Identifier: Apache-2.0 */
#include "type/tree.h"

#include <stdio.h>

#include "cases.h"
#include "names.h"
#include "resources.h"

static struct object *make(const char *name)
{
    struct arena a = ARENA_INIT;
    struct val *v = val_new(&a, VAL_OBJ);
    val_set_str(&a, val_sub_obj(&a, v, N_metadata), N_name, str_of(name));
    struct object *o = object_new(&resources[RES_CONFIGMAPS], v);
    arena_done(&a);
    return o;
}

static struct tree *put(struct tree *t, const char *key)
{
    CLEANUP_OBJECT struct object *o = make(key);
    return tree_put(t, str_of(key), o);
}

static char *keys(const struct tree *t, const char *from)
{
    static char text[1024];
    size_t n = 0;
    text[0] = 0;
    struct tree_iter it;
    for (tree_seek(&it, t, str_of(from)); it.object; tree_next(&it))
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%.*s ", (int)it.key.n, it.key.p);
    return text;
}

static void test_order_and_seek(void **state)
{
    (void)state;
    struct tree *t = NULL;
    const char *all[] = {"c", "a", "e", "b", "d"};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        t = put(t, all[i]);
    assert_int_equal(tree_count(t), 5);
    assert_string_equal(keys(t, ""), "a b c d e ");
    assert_string_equal(keys(t, "c"), "c d e ");
    assert_string_equal(keys(t, "cc"), "d e ");
    assert_string_equal(keys(t, "f"), "");
    assert_int_equal(tree_count_from(t, STR("")), 5);
    assert_int_equal(tree_count_from(t, STR("cc")), 2);
    assert_non_null(tree_get(t, STR("d")));
    assert_null(tree_get(t, STR("x")));
    tree_unref(t);
}

static void test_old_versions_stay(void **state)
{
    (void)state;
    struct tree *t = NULL;
    for (char c = 'a'; c <= 'p'; c++)
        t = put(t, (char[]){c, 0});
    struct tree *old = tree_ref(t);
    t = tree_del(t, STR("h"));
    t = tree_del(t, STR("a"));
    t = put(t, "z");
    CLEANUP_OBJECT struct object *other = make("other");
    t = tree_put(t, STR("c"), other);
    assert_string_equal(keys(old, ""), "a b c d e f g h i j k l m n o p ");
    assert_string_equal(keys(t, ""), "b c d e f g i j k l m n o p z ");
    assert_ptr_equal(tree_get(t, STR("c")), other);
    assert_ptr_not_equal(tree_get(old, STR("c")), other);
    tree_unref(t);
    assert_int_equal(tree_count(old), 16);
    tree_unref(old);
}

static void test_delete_of_what_is_not_there(void **state)
{
    (void)state;
    assert_null(tree_del(NULL, STR("x")));
    struct tree *t = put(NULL, "a");
    struct tree *same = t;
    t = tree_del(t, STR("x"));
    assert_ptr_equal(t, same);
    assert_null(tree_del(t, STR("a")));
}

static void test_namespaces(void **state)
{
    (void)state;
    const char *all[] = {"a/1", "a/2", "a-b/1", "a.b/1", "ab/1", "a0/9", "b/1"};
    struct tree *t = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        t = put(t, all[i]);
    int n = 0;
    TREE_EACH (t, STR("a"), it) {
        assert_true(str_starts(it.key, STR("a/")));
        n++;
    }
    assert_int_equal(n, 2);
    n = 0;
    TREE_EACH (t, STR(""), it)
        n++;
    assert_int_equal(n, (int)ARRAY_SIZE(all));
    TREE_EACH (t, STR("c"), it)
        fail();
    tree_unref(t);
}

/* Against a plain array: random changes, old versions kept, depth bounded. */
static void test_random_changes(void **state)
{
    (void)state;
    enum { KEYS = 500, STEPS = 20000 };
    static bool there[KEYS];
    uint64_t seed = 1;
    struct object *o = make("o");
    struct tree *t = NULL, *kept = NULL;
    size_t kept_count = 0, count = 0;
    for (int step = 0; step < STEPS; step++) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
        unsigned k = (unsigned)(seed >> 33) % KEYS;
        char key[16];
        snprintf(key, sizeof(key), "%03u", k);
        bool del = (seed >> 20) & 1;
        count += del ? -(size_t)there[k] : !there[k];
        there[k] = !del;
        t = del ? tree_del(t, str_of(key)) : tree_put(t, str_of(key), o);
        assert_int_equal(tree_count(t), count);
        assert_int_equal(tree_get(t, str_of(key)) != NULL, !del);
        if (step % 1000 == 0) {
            assert_int_equal(tree_count(kept), kept_count);
            tree_unref(kept);
            kept = tree_ref(t);
            kept_count = count;
        }
    }
    size_t seen = 0;
    struct tree_iter it;
    int depth = 0;
    for (tree_seek(&it, t, STR("")); it.object; tree_next(&it)) {
        char key[16];
        snprintf(key, sizeof(key), "%.*s", (int)it.key.n, it.key.p);
        assert_true(there[atoi(key)]);
        depth = MAX(depth, it.depth);
        seen++;
    }
    assert_int_equal(seen, count);
    assert_true(depth <= 20);
    tree_unref(t);
    tree_unref(kept);
    assert_int_equal(o->refs, 1);
    object_unref(o);
}

static void test_ascending_keys_stay_balanced(void **state)
{
    (void)state;
    struct object *o = make("o");
    struct tree *t = NULL;
    for (int i = 0; i < 20000; i++) {
        char key[16];
        snprintf(key, sizeof(key), "%08d", i);
        t = tree_put(t, str_of(key), o);
    }
    struct tree_iter it;
    tree_seek(&it, t, STR(""));
    assert_true(it.depth <= 30);
    for (int i = 0; i < 20000; i += 2) {
        char key[16];
        snprintf(key, sizeof(key), "%08d", i);
        t = tree_del(t, str_of(key));
    }
    assert_int_equal(tree_count(t), 10000);
    assert_int_equal(tree_count_from(t, STR("00010000")), 5000);
    tree_unref(t);
    object_unref(o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_and_seek),
        cmocka_unit_test(test_old_versions_stay),
        cmocka_unit_test(test_delete_of_what_is_not_there),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_random_changes),
        cmocka_unit_test(test_ascending_keys_stay_balanced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
