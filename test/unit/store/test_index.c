/* SPDX-License-Identifier: Apache-2.0 */
#include "../testing.h"

#include "store/frame.h"
#include "store/index.h"

#include <stdio.h>

static uint64_t state_ = 1;
static unsigned chance(unsigned n)
{
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)((state_ >> 33) % n);
}

static struct str key_of(char *b, unsigned i)
{
    return str_n(b, (size_t)sprintf(b, "/key/%05u", i));
}

static struct item put_item(int64_t rev, uint32_t version)
{
    return (struct item){
        .modified = rev, .created = rev, .version = version, .len = 10, .off = (uint32_t)rev * 8};
}

/* A tree against a bitmap: same members, same order, whatever the order of coming and going. */
static void tree_keeps_order(void **state UNUSED)
{
    enum { N = 3000 };
    static bool there[N];
    struct index ix = {0};
    char b[32];
    size_t n = 0;
    for (int round = 0; round < 60000; round++) {
        unsigned i = round < 20000 ? chance(N) : round < 40000 ? (unsigned)round % N : chance(300);
        struct str key = key_of(b, i);
        assert_int_equal(btree_find(&ix.live, key) != NULL, there[i]);
        if (there[i]) {
            index_pop(&ix, key, 0);
            n--;
        } else {
            struct item it = put_item(1, 1);
            index_push(&ix, key, &it);
            n++;
        }
        there[i] = !there[i];
        assert_int_equal(ix.live.n, n);
        if (round % 5000)
            continue;
        struct cursor c = btree_seek(&ix.live, STR(""), false);
        for (unsigned k = 0; k < N; k++) {
            if (!there[k])
                continue;
            assert_true(str_eq(node_key(btree_at(&ix.live, c)), key_of(b, k)));
            c = btree_next(&ix.live, c);
        }
        assert_null(btree_at(&ix.live, c));
    }
    index_done(&ix);
}

static void seek_before_at_and_after(void **state UNUSED)
{
    struct index ix = {0};
    char b[32];
    for (unsigned i = 0; i < 1000; i += 2) {
        struct item it = put_item(1, 1);
        index_push(&ix, key_of(b, i), &it);
    }
    for (unsigned i = 0; i < 998; i++) {
        struct str key = key_of(b, i);
        struct node *n = btree_at(&ix.live, btree_seek(&ix.live, key, false));
        char want[32];
        assert_true(str_eq(node_key(n), key_of(want, (i + 1) / 2 * 2)));
        n = btree_at(&ix.live, btree_seek(&ix.live, key, true));
        assert_true(str_eq(node_key(n), key_of(want, i / 2 * 2 + 2)));
    }
    assert_null(btree_at(&ix.live, btree_seek(&ix.live, key_of(b, 998), true)));
    index_done(&ix);
}

static void versions_by_revision(void **state UNUSED)
{
    struct index ix = {0};
    struct str k = STR("k");
    for (uint32_t v = 1; v <= 5; v++) {
        struct item it = put_item(v * 10, v);
        index_push(&ix, k, &it);
    }
    const struct node *n = btree_find(&ix.live, k);
    const struct item *before;
    assert_null(node_at(n, 9));
    assert_int_equal(node_at(n, 10)->version, 1);
    assert_int_equal(node_at(n, 39)->version, 3);
    assert_int_equal(node_at(n, 1000)->version, 5);
    assert_int_equal(node_exact(n, 30, &before)->version, 3);
    assert_int_equal(before->version, 2);
    assert_null(node_exact(n, 31, NULL));
    assert_int_equal(node_exact(n, 50, &before)->version, 5);
    assert_int_equal(before->version, 4);
    index_prune(&ix, (struct node *)n, 35);
    assert_int_equal(node_at(n, 35)->version, 3); /* the state at the compacted revision stays */
    assert_null(node_at(n, 25));
    assert_int_equal(index_used(&ix, 0), 3 * op_size(1, 10));
    index_done(&ix);
}

/* A deleted and forgotten key keeps its tombstone exactly as long as puts of it are in the log. */
static void graves_last_as_long_as_copies(void **state UNUSED)
{
    struct index ix = {0};
    struct str k = STR("k");
    struct item a = put_item(2, 1), b = put_item(3, 2), gone = put_item(4, 0);
    gone.len = 0;
    index_push(&ix, k, &a);
    index_push(&ix, k, &b);
    index_push(&ix, k, &gone);
    assert_int_equal(ix.keys, 0);
    index_prune(&ix, btree_find(&ix.live, k), 10);
    assert_null(btree_find(&ix.live, k));
    assert_non_null(btree_find(&ix.graves, k));
    assert_true(index_needs(&ix, k, 4, 0, 32));
    assert_false(index_needs(&ix, k, 3, 0, 24));
    index_forget_copy(&ix, k);
    assert_true(index_needs(&ix, k, 4, 0, 32));
    index_forget_copy(&ix, k);
    assert_false(index_needs(&ix, k, 4, 0, 32));
    assert_int_equal(index_used(&ix, 0), 0);
    index_done(&ix);
}

static void a_key_returns_from_its_grave(void **state UNUSED)
{
    struct index ix = {0};
    struct str k = STR("k");
    struct item a = put_item(2, 1), gone = put_item(4, 0), again = put_item(20, 1);
    index_push(&ix, k, &a);
    index_push(&ix, k, &gone);
    index_prune(&ix, btree_find(&ix.live, k), 10);
    struct node *n = index_push(&ix, k, &again);
    assert_int_equal(ix.graves.n, 0);
    assert_int_equal(ix.keys, 1);
    assert_int_equal(n->copies, 2);
    assert_int_equal(node_at(n, 15)->version, 0); /* deleted then */
    index_pop(&ix, k, 10);                        /* the write failed */
    assert_int_equal(ix.graves.n, 1);
    assert_int_equal(ix.live.n, 0);
    assert_int_equal(ix.keys, 0);
    index_done(&ix);
}

/* Whatever the order in which copies are found, the outcome is the same. */
static void replay_in_any_order(void **state UNUSED)
{
    struct item items[] = {put_item(2, 1), put_item(4, 0), put_item(6, 1), put_item(8, 2), put_item(9, 3)};
    struct str k = STR("k");
    for (int round = 0; round < 500; round++) {
        struct index ix = {0};
        for (int i = 4; i > 0; i--) {
            int j = (int)chance((unsigned)i + 1);
            struct item t = items[i];
            items[i] = items[j];
            items[j] = t;
        }
        for (int i = 0; i < 5; i++)
            index_replay(&ix, k, &items[i], 7);
        index_replay(&ix, k, &items[2], 7); /* a copy of a copy */
        index_replay_end(&ix);
        const struct node *n = btree_find(&ix.live, k);
        assert_int_equal(n->n_older, 2);
        assert_int_equal(node_at(n, 7)->modified, 6);
        assert_int_equal(n->last.modified, 9);
        assert_int_equal(n->copies, items[2].version ? 5 : 4);
        assert_int_equal(ix.keys, 1);
        assert_int_equal(index_used(&ix, 0), 3 * op_size(1, 10));
        index_done(&ix);
    }
}

static void replay_forgets_unneeded_tombstones(void **state UNUSED)
{
    struct index ix = {0};
    struct item gone = put_item(4, 0), a = put_item(2, 1);
    index_replay(&ix, STR("one"), &gone, 10);
    index_replay(&ix, STR("two"), &gone, 10);
    index_replay(&ix, STR("two"), &a, 10); /* found later: it had been moved */
    index_replay_end(&ix);
    assert_int_equal(ix.live.n, 0);
    assert_int_equal(ix.graves.n, 1);
    assert_non_null(btree_find(&ix.graves, STR("two")));
    index_done(&ix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tree_keeps_order),
        cmocka_unit_test(seek_before_at_and_after),
        cmocka_unit_test(versions_by_revision),
        cmocka_unit_test(graves_last_as_long_as_copies),
        cmocka_unit_test(a_key_returns_from_its_grave),
        cmocka_unit_test(replay_in_any_order),
        cmocka_unit_test(replay_forgets_unneeded_tombstones),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
