/* SPDX-License-Identifier: Apache-2.0 */
#include "client/replica.h"

#include "client/fake_client.h"
#include "testing.h"

static const struct resource *const pods = &resources[RES_PODS];

struct seen {
    struct buf text;
};

static void note(void *arg, const struct resource *res, const struct object *old, const struct object *new_)
{
    struct seen *s = arg;
    buf_printf(&s->text, "%c" STR_FMT " ",
               !old    ? '+'
               : !new_ ? '-'
                       : '~',
               STR_ARG((new_ ? new_ : old)->name));
}

static struct mono soon(void)
{
    return mono_add(os_mono(), SECONDS(20));
}

static struct replica *start(struct fake_client *f, struct seen *seen)
{
    const struct replica_kind kinds[] = {{.res = pods}, {.res = &resources[RES_NODES]}};
    struct replica *r = replica_new(fake_client_as(f), kinds, 2);
    replica_on_change(r, note, seen);
    replica_add_index(r, pods, index_pod_node);
    replica_start(r);
    assert_int_equal(replica_wait_synced(r, soon()), 0);
    return r;
}

static void expect(struct seen *s, const char *want)
{
    assert_str(buf_str(&s->text), want);
    buf_clear(&s->text);
}

static size_t count_on(const struct tree *index, const char *node)
{
    size_t n = 0;
    TREE_EACH (index, str_of(node), it)
        n++;
    return n;
}

FIBER_TEST(lists_then_follows)
{
    struct fake_client *f = fake_client_new();
    struct seen seen = {0};
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: b}}");
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: a}, spec: {nodeName: n1}}");
    struct replica *r = start(f, &seen);
    expect(&seen, "+a +b ");
    assert_non_null(replica_get(r, pods, STR("x"), STR("a")));
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: b}, spec: {nodeName: n1}}");
    fake_remove(f, RES_PODS, "x", "a");
    assert_int_equal(replica_wait_revision(r, pods, fake_revision(f), soon()), 0);
    expect(&seen, "~b -a ");
    assert_null(replica_get(r, pods, STR("x"), STR("a")));
    assert_int_equal(count_on(replica_index(r, pods, index_pod_node), "n1"), 1);
    replica_free(r);
    buf_done(&seen.text);
    fake_client_free(f);
}

FIBER_TEST(lists_again_after_410_and_tells_only_the_difference)
{
    struct fake_client *f = fake_client_new();
    struct seen seen = {0};
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: a}, spec: {nodeName: n1}}");
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: b}, spec: {nodeName: n1}}");
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: c}, spec: {nodeName: n1}}");
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: d, uid: one}}");
    struct replica *r = start(f, &seen);
    expect(&seen, "+a +b +c +d ");
    fake_break_watches(f, true);
    fake_remove(f, RES_PODS, "x", "a");
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: b}, spec: {nodeName: n2}}");
    fake_remove(f, RES_PODS, "x", "d");
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: d, uid: two}}");
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: e}}");
    assert_int_equal(replica_wait_revision(r, pods, fake_revision(f), soon()), 0);
    expect(&seen, "-a ~b -d +d +e ");
    assert_int_equal(count_on(replica_index(r, pods, index_pod_node), "n1"), 1);
    assert_int_equal(count_on(replica_index(r, pods, index_pod_node), "n2"), 1);
    replica_free(r);
    buf_done(&seen.text);
    fake_client_free(f);
}

FIBER_TEST(snapshots_stay_as_they_were)
{
    struct fake_client *f = fake_client_new();
    struct seen seen = {0};
    fake_put_text(f, RES_PODS, "{metadata: {namespace: x, name: a}}");
    struct replica *r = start(f, &seen);
    struct snapshot s;
    snapshot_take_kinds(r, (const uint16_t[]){RES_PODS, 0}, &s);
    fake_remove(f, RES_PODS, "x", "a");
    assert_int_equal(replica_wait_revision(r, pods, fake_revision(f), soon()), 0);
    assert_null(replica_get(r, pods, STR("x"), STR("a")));
    const struct object *a = snapshot_get(&s, pods, STR("x"), STR("a"));
    assert_non_null(a);
    assert_str(a->name, "a");
    assert_null(snapshot_tree(&s, &resources[RES_NODES]));
    snapshot_release(&s);
    replica_free(r);
    buf_done(&seen.text);
    fake_client_free(f);
}

FIBER_TEST(kinds_come_and_go)
{
    const struct resource *secrets = &resources[RES_SECRETS];
    struct fake_client *f = fake_client_new();
    struct seen seen = {0};
    struct snapshot s;
    struct replica *r = start(f, &seen);
    fake_put_text(f, RES_SECRETS, "{metadata: {namespace: x, name: a}}");
    replica_follow(r, secrets);
    assert_true(replica_synced(r)); /* nobody waits for it */
    snapshot_take_kinds(r, NULL, &s);
    assert_false(s.slots[s.n - 1].synced);
    assert_true(s.slots[s.n - 1].followed);
    snapshot_release(&s);
    assert_int_equal(replica_wait_revision(r, secrets, fake_revision(f), soon()), 0);
    expect(&seen, "+a ");
    replica_unfollow(r, secrets);
    expect(&seen, "-a ");
    fake_put_text(f, RES_SECRETS, "{metadata: {namespace: x, name: b}}");
    assert_null(replica_get(r, secrets, STR("x"), STR("a")));
    snapshot_take_kinds(r, NULL, &s);
    assert_ptr_equal(s.slots[s.n - 1].res, secrets);
    assert_false(s.slots[s.n - 1].followed);
    snapshot_release(&s);
    replica_follow(r, secrets);
    assert_int_equal(replica_wait_revision(r, secrets, fake_revision(f), soon()), 0);
    expect(&seen, "+a +b ");
    replica_unfollow(r, secrets);
    replica_forget(r, secrets);
    assert_false(replica_follows(r, secrets));
    replica_free(r);
    buf_done(&seen.text);
    fake_client_free(f);
}

FIBER_TEST(waiting_for_a_revision_has_a_deadline)
{
    struct fake_client *f = fake_client_new();
    struct seen seen = {0};
    struct replica *r = start(f, &seen);
    assert_int_equal(replica_wait_revision(r, pods, 99, mono_add(os_mono(), MILLISECONDS(5))), -ETIMEDOUT);
    assert_int_equal(replica_wait_revision(r, &resources[RES_SECRETS], 99, MONO_NEVER), 0); /* not followed */
    replica_free(r);
    fake_client_free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists_then_follows),
        cmocka_unit_test(lists_again_after_410_and_tells_only_the_difference),
        cmocka_unit_test(snapshots_stay_as_they_were),
        cmocka_unit_test(kinds_come_and_go),
        cmocka_unit_test(waiting_for_a_revision_has_a_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
