/* SPDX-License-Identifier: Apache-2.0 */
/* The promises of store.h kept by an etcd, and what is different there: members that go, other writers, lost answers. */
#include "testing.h"

#include "etcd/store.h"
#include "grpc.h"
#include "member.h"
#include "names.h"
#include "wire/schema.h"

#include <stdio.h>

static struct member member;
static int opened;
static struct arena arena;

static struct store *open_at(const char *endpoints, const char *prefix)
{
    struct store *s = NULL;
    struct err e = {0};
    struct etcd_store_config c = {.etcd = {.endpoints = endpoints, .timeout = SECONDS(2)}, .prefix = prefix};
    int r = etcd_store_open(&c, &s, &e);
    if (r < 0)
        print_error("%s\n", err_text(&e, r));
    assert_int_equal(r, 0);
    return s;
}

/* Each test has a part of the member for itself. */
static const char *fresh_prefix(void)
{
    return arena_printf(&arena, "/test%d/registry", ++opened).p;
}

static struct store *open_fresh(void)
{
    return open_at(member.url, fresh_prefix());
}

#define KEY(k) STR("/registry/" k)

static int write_op(struct store *s, struct store_op op, revision *ret)
{
    return store_txn(s, &op, 1, ret, NULL);
}

static revision put(struct store *s, const char *key, const char *value, int64_t expect)
{
    revision rev = {0};
    assert_int_equal(write_op(s, (struct store_op){STORE_PUT, str_of(key), str_of(value), .expect = expect}, &rev), 0);
    return rev;
}

FIBER_TEST(transactions)
{
    struct store *s = open_fresh();
    struct store_entry got;
    revision a, b, c;
    a = put(s, "/registry/x/a", "1", STORE_ABSENT);
    assert_true(a.n > 0 && store_revision(s).n >= a.n);
    assert_int_equal(write_op(s, (struct store_op){STORE_PUT, KEY("x/a"), STR("2"), .expect = STORE_ABSENT}, NULL), STORE_CONFLICT);
    assert_int_equal(store_get(s, KEY("x/a"), (revision){0}, &arena, &got), 0);
    assert_str(got.key, "/registry/x/a");
    assert_str(got.value, "1");
    assert_true(got.created.n == a.n && got.modified.n == a.n && got.version == 1);
    b = put(s, "/registry/x/a", "2", a.n);
    assert_true(b.n > a.n);
    assert_int_equal(store_get(s, KEY("x/a"), a, &arena, &got), 0);
    assert_str(got.value, "1");
    /* All or nothing, and which one was in the way. */
    struct store_op ops[] = {{STORE_PUT, KEY("x/b"), STR("b"), .expect = STORE_ABSENT},
                             {STORE_PUT, KEY("x/c"), STR("c"), .expect = STORE_ANY},
                             {STORE_DELETE, KEY("x/a"), .expect = a.n}};
    size_t conflict = 9;
    assert_int_equal(store_txn(s, ops, 3, NULL, &conflict), STORE_CONFLICT);
    assert_int_equal(conflict, 2);
    assert_int_equal(store_get(s, KEY("x/b"), (revision){0}, &arena, &got), -ENOENT);
    ops[2].expect = b.n;
    assert_int_equal(store_txn(s, ops, 3, &c, NULL), 0);
    assert_int_equal(store_get(s, KEY("x/a"), (revision){0}, &arena, &got), -ENOENT);
    assert_int_equal(store_get(s, KEY("x/b"), (revision){0}, &arena, &got), 0);
    assert_int_equal(got.modified.n, c.n);
    assert_int_equal(store_get(s, KEY("x/b"), (revision){c.n + 1000}, &arena, &got), STORE_FUTURE);
    store_close(s);
}

FIBER_TEST(limits)
{
    struct store *s = open_fresh();
    struct store_op ops[129];
    for (size_t i = 0; i < 129; i++)
        ops[i] = (struct store_op){STORE_PUT, arena_printf(&arena, "/registry/x/%zu", i), STR("v"), .expect = STORE_ABSENT};
    assert_int_equal(store_ops_max(s), 128);
    assert_int_equal(store_txn(s, ops, 129, NULL, NULL), -E2BIG);
    assert_int_equal(store_txn(s, ops, 128, NULL, NULL), 0);
    assert_int_equal(store_txn(s, ops, 0, NULL, NULL), -EINVAL);
    struct store_op twice[] = {ops[128], ops[128]};
    assert_int_equal(store_txn(s, twice, 2, NULL, NULL), -EINVAL);
    char *big = arena_alloc(&arena, 2 << 20);
    memset(big, 'x', 2 << 20);
    assert_int_equal(write_op(s, (struct store_op){STORE_PUT, KEY("x/big"), str_n(big, 2 << 20), .expect = STORE_ABSENT}, NULL), -E2BIG);
    store_close(s);
}

static int count(void *arg, const struct store_entry *e)
{
    struct str want = arena_printf(&arena, "/registry/n/%04zu", *(size_t *)arg);
    assert_true(str_eq(e->key, want));
    ++*(size_t *)arg;
    return 0;
}

static int stop(void *arg, const struct store_entry *e UNUSED)
{
    return ++*(size_t *)arg == 3 ? 77 : 0;
}

FIBER_TEST(ranges_of_many_pages)
{
    struct store *s = open_fresh();
    for (size_t i = 0; i < 1200; i += 100) {
        struct store_op ops[100];
        for (size_t k = 0; k < 100; k++)
            ops[k] = (struct store_op){STORE_PUT, arena_printf(&arena, "/registry/n/%04zu", i + k), STR("v"), .expect = STORE_ABSENT};
        assert_int_equal(store_txn(s, ops, 100, NULL, NULL), 0);
    }
    revision then = store_revision(s), at;
    put(s, "/registry/o/after", "v", STORE_ABSENT);
    size_t n = 0;
    assert_int_equal(store_range(s, KEY("n/"), KEY("n0"), (revision){0}, 0, count, &n, &at), 0);
    assert_int_equal(n, 1200);
    assert_true(at.n >= then.n);
    n = 0;
    assert_int_equal(store_range(s, KEY("n/"), STR(""), then, 0, count, &n, &at), 0);
    assert_int_equal(n, 1200); /* not what came after, without an end of the range */
    assert_int_equal(at.n, then.n);
    n = 0;
    assert_int_equal(store_range(s, KEY("n/"), KEY("n0"), then, 501, count, &n, NULL), 0);
    assert_int_equal(n, 501);
    n = 0;
    assert_int_equal(store_range(s, KEY("n/"), KEY("n0"), then, 0, stop, &n, NULL), 77);
    store_close(s);
}

/* ---- watching ---------------------------------------------------------------------------------------------- */

struct stamp {
    revision rev;
};

static void stamp(void *cookie, revision rev)
{
    ((struct stamp *)cookie)->rev = rev;
}

static struct mono soon(void)
{
    return mono_add(os_mono(), SECONDS(10));
}

FIBER_TEST(events_in_order_with_cookies)
{
    const char *prefix = fresh_prefix();
    struct store *s = open_at(member.url, prefix), *other = open_at(member.url, prefix);
    struct store_watch *w;
    const struct store_event *events;
    struct stamp mine = {{0}};
    size_t n, seen = 0;
    revision progress = {0}, first = put(s, "/registry/a", "1", STORE_ABSENT), last;
    assert_int_equal(store_watch(s, STR("/registry/"), STR("/registry0"), first, true, &w), 0);
    revision second = put(other, "/registry/a", "2", first.n), third;
    struct store_op op = {STORE_PUT, KEY("b"), STR("b"), .expect = STORE_ABSENT, .cookie = &mine, .committing = stamp};
    assert_int_equal(write_op(s, op, &third), 0);
    assert_int_equal(mine.rev.n, third.n);
    assert_int_equal(write_op(other, (struct store_op){STORE_DELETE, KEY("a"), .expect = second.n}, &last), 0);
    while (progress.n < last.n) {
        assert_int_equal(store_watch_next(w, soon(), &events, &n, &progress), 0);
        for (size_t i = 0; i < n; i++, seen++) {
            assert_int_equal(events[i].modified.n, seen == 0 ? second.n : seen == 1 ? third.n : last.n);
            assert_str(events[i].key, seen == 1 ? "/registry/b" : "/registry/a");
            assert_str(events[i].previous, seen == 0 ? "1" : seen == 1 ? "" : "2");
            assert_ptr_equal(events[i].cookie, seen == 1 ? &mine : NULL);
            assert_int_equal(events[i].deleted, seen == 2);
            assert_int_equal(events[i].created, seen == 1);
        }
    }
    assert_int_equal(seen, 3);
    assert_int_equal(store_watch_next(w, mono_add(os_mono(), MILLISECONDS(30)), &events, &n, &progress), -ETIMEDOUT);
    store_watch_close(w);
    store_close(other);
    store_close(s);
}

/* Many of ours at once: whichever comes first, answer or event, each event has its cookie. */
struct writer {
    struct store *store;
    struct stamp stamps[50];
    int number;
};

static void write_many(void *arg)
{
    struct writer *w = arg;
    for (int i = 0; i < 50; i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        assert_int_equal(write_op(w->store, (struct store_op){STORE_PUT, arena_printf(&a, "/registry/w/%d-%d", w->number, i), STR("v"),
                                      .expect = STORE_ABSENT, .cookie = &w->stamps[i], .committing = stamp}, NULL), 0);
    }
}

FIBER_TEST(every_event_of_ours_has_its_cookie)
{
    struct store *s = open_fresh();
    struct store_watch *w;
    struct writer writers[4] = {{0}};
    struct group g = {0};
    const struct store_event *events;
    revision progress;
    size_t n, seen = 0;
    assert_int_equal(store_watch(s, STR("/registry/"), STR("/registry0"), store_revision(s), false, &w), 0);
    for (int i = 0; i < 4; i++) {
        writers[i] = (struct writer){.store = s, .number = i};
        group_spawn(&g, "writer", write_many, &writers[i]);
    }
    while (seen < 200) {
        assert_int_equal(store_watch_next(w, soon(), &events, &n, &progress), 0);
        for (size_t i = 0; i < n; i++, seen++) {
            struct stamp *mine = events[i].cookie;
            assert_non_null(mine);
            assert_int_equal(mine->rev.n, events[i].modified.n);
        }
    }
    group_wait(&g, MONO_NEVER);
    store_watch_close(w);
    store_close(s);
}

FIBER_TEST(the_latest_revision_is_that_of_all_writers)
{
    const char *prefix = fresh_prefix();
    struct store *s = open_at(member.url, prefix), *other = open_at(member.url, prefix), *stranger = open_fresh();
    struct store_watch *w;
    const struct store_event *events;
    revision latest, progress = {0};
    size_t n;
    assert_int_equal(store_watch(s, STR("/registry/"), STR("/registry0"), store_revision(s), false, &w), 0);
    revision theirs = put(other, "/registry/a", "1", STORE_ABSENT);
    assert_true(store_revision(s).n < theirs.n);
    assert_int_equal(store_latest(s, &latest), 0);
    assert_true(latest.n >= theirs.n);
    /* Of keys elsewhere the watch sees nothing; it learns all the same that it has seen everything. */
    theirs = put(stranger, "/registry/a", "1", STORE_ABSENT);
    assert_int_equal(store_latest(s, &latest), 0);
    assert_true(latest.n >= theirs.n);
    while (progress.n < latest.n)
        assert_int_equal(store_watch_next(w, soon(), &events, &n, &progress), 0);
    store_watch_close(w);
    store_close(stranger);
    store_close(other);
    store_close(s);
}

/* ---- compaction -------------------------------------------------------------------------------------------- */

FIBER_TEST(compacted_revisions_are_gone)
{
    struct store *s = open_fresh();
    struct store_watch *w;
    struct store_entry got;
    const struct store_event *events;
    revision progress, first = put(s, "/registry/a", "1", STORE_ABSENT), second = put(s, "/registry/a", "2", first.n);
    size_t n;
    second = put(s, "/registry/a", "3", second.n);
    assert_int_equal(store_watch(s, STR("/registry/"), STR("/registry0"), first, false, &w), 0);
    assert_int_equal(store_compact(s, second), 0);
    assert_int_equal(store_compacted(s).n, second.n);
    assert_int_equal(store_get(s, KEY("a"), first, &arena, &got), STORE_COMPACTED);
    assert_int_equal(store_compact(s, first), STORE_COMPACTED);
    assert_int_equal(store_watch_next(w, soon(), &events, &n, &progress), STORE_COMPACTED);
    store_watch_close(w);
    assert_int_equal(store_watch(s, STR("/registry/"), STR("/registry0"), (revision){1}, false, &w), STORE_COMPACTED);
    store_close(s);
}

/* Two servers take turns; together they compact once an interval, and nothing younger than it. */
FIBER_TEST(servers_compact_in_turns)
{
    const char *prefix = fresh_prefix();
    struct store *s[2], *observer = open_at(member.url, prefix);
    struct err e = {0};
    struct etcd_store_config c = {.etcd.endpoints = member.url, .prefix = prefix, .compaction_interval = MILLISECONDS(300)};
    for (int i = 0; i < 2; i++)
        assert_int_equal(etcd_store_open(&c, &s[i], &e), 0);
    revision old = put(observer, "/registry/a", "1", STORE_ABSENT);
    struct store_entry got;
    struct mono until = soon();
    put(observer, "/registry/a", "2", old.n);
    int r;
    while ((r = store_get(observer, KEY("a"), old, &arena, &got)) == 0 && os_mono().ns < until.ns)
        fiber_sleep(MILLISECONDS(50));
    assert_int_equal(r, STORE_COMPACTED);
    assert_int_equal(store_get(observer, KEY("a"), (revision){0}, &arena, &got), 0);
    assert_str(got.value, "2");
    for (int i = 0; i < 2; i++)
        store_close(s[i]);
    store_close(observer);
}

/* ---- members that go --------------------------------------------------------------------------------------- */

FIBER_TEST(a_watch_outlives_its_member)
{
    struct store *s = open_fresh();
    struct store_watch *w;
    const struct store_event *events;
    revision progress;
    size_t n;
    revision first = put(s, "/registry/a", "1", STORE_ABSENT);
    assert_int_equal(store_watch(s, STR("/registry/"), STR("/registry0"), (revision){first.n - 1}, false, &w), 0);
    assert_int_equal(store_watch_next(w, soon(), &events, &n, &progress), 0);
    assert_int_equal(n, 1);
    assert_string_equal(store_fault(s), "");
    member_kill(&member);
    assert_true(write_op(s, (struct store_op){STORE_PUT, KEY("b"), STR("1"), .expect = STORE_ABSENT}, NULL) < 0);
    assert_non_null(strstr(store_fault(s), "no member of etcd answers"));
    member_start(&member);
    struct store_entry got;
    assert_int_equal(store_get(s, KEY("a"), (revision){0}, &arena, &got), 0); /* reads wait for it */
    assert_string_equal(store_fault(s), "");
    put(s, "/registry/c", "1", STORE_ABSENT);
    assert_int_equal(store_watch_next(w, soon(), &events, &n, &progress), 0);
    assert_int_equal(n, 1);
    assert_str(events[0].key, "/registry/c");
    store_watch_close(w);
    store_close(s);
}

FIBER_TEST(nobody_answers)
{
    struct store *s = NULL;
    struct err e = {0};
    struct etcd_store_config c = {.etcd.endpoints = "http://127.0.0.1:1", .patience = MILLISECONDS(300)};
    assert_int_equal(etcd_store_open(&c, &s, &e), -ETIMEDOUT);
    assert_non_null(strstr(e.text, "no member of etcd answers"));
    c.etcd.endpoints = "ftp://x";
    assert_int_equal(etcd_store_open(&c, &s, &e), -EINVAL);
    c = (struct etcd_store_config){.etcd.endpoints = member.url, .prefix = "/"};
    assert_int_equal(etcd_store_open(&c, &s, &e), -EINVAL);
}

FIBER_TEST(the_end_of_a_store_ends_its_watches)
{
    struct store *s = open_fresh();
    struct store_watch *w;
    const struct store_event *events;
    revision progress;
    size_t n;
    assert_int_equal(store_watch(s, STR("/registry/"), STR("/registry0"), store_revision(s), false, &w), 0);
    store_close(s);
    assert_int_equal(store_watch_next(w, soon(), &events, &n, &progress), -EPIPE);
    store_watch_close(w);
}

static int lost;

/* A member that carries transactions out and goes before it answers. */
static int lose_answer(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *request, *answer;
    int r = grpc_recv_request(g, &request);
    if (r)
        return r;
    struct err inner = {0};
    lost++;
    assert_int_equal(etcd_call(ctx, &grpc_methods[G_etcdserverpb_KV_Txn], request, grpc_arena(g), &answer, &inner), 0);
    return err_set(e, GRPC_UNAVAILABLE, "transport is closing");
}

static int answer_range(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *request, *answer;
    int r = grpc_recv_request(g, &request);
    r = r ? r : etcd_call(ctx, &grpc_methods[G_etcdserverpb_KV_Range], request, grpc_arena(g), &answer, e);
    return r ? r : grpc_send(g, answer);
}

FIBER_TEST(what_was_carried_out_without_an_answer_is_no_conflict)
{
    struct etcd *straight;
    struct err e = {0};
    assert_int_equal(etcd_new(&(struct etcd_config){.endpoints = member.url}, &straight, &e), 0);
    struct grpc_service services[] = {{&grpc_methods[G_etcdserverpb_KV_Txn], lose_answer},
                                      {&grpc_methods[G_etcdserverpb_KV_Range], answer_range},
                                      {NULL, NULL}};
    struct grpc_server server = {.services = services, .ctx = straight};
    struct http_server *h;
    char at[64];
    h = http_server_new(&(struct http_server_config){.handler = grpc_serve, .ctx = &server});
    assert_int_equal(http_server_listen(h, "127.0.0.1:0", &e), 0);
    http_server_address(h, at, sizeof(at));
    struct store *s = open_at(arena_printf(&arena, "http://%s,%s", at, member.url).p, fresh_prefix());
    struct store_entry got;
    revision rev = {0};
    assert_int_equal(write_op(s, (struct store_op){STORE_PUT, KEY("a"), STR("mine"), .expect = STORE_ABSENT}, &rev), 0);
    assert_int_equal(store_get(s, KEY("a"), (revision){0}, &arena, &got), 0);
    assert_true(got.modified.n == rev.n && got.version == 1);
    assert_int_equal(lost, 1);
    store_close(s);
    http_server_stop(h, soon());
    http_server_free(h);
    etcd_free(straight);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(transactions),
        cmocka_unit_test(limits),
        cmocka_unit_test(ranges_of_many_pages),
        cmocka_unit_test(events_in_order_with_cookies),
        cmocka_unit_test(every_event_of_ours_has_its_cookie),
        cmocka_unit_test(the_latest_revision_is_that_of_all_writers),
        cmocka_unit_test(a_watch_outlives_its_member),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(the_end_of_a_store_ends_its_watches),
        cmocka_unit_test(what_was_carried_out_without_an_answer_is_no_conflict),
        cmocka_unit_test(servers_compact_in_turns),
        cmocka_unit_test(compacted_revisions_are_gone),
    };
    if (!member_there())
        return 77;
    member_start(&member);
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    member_remove(&member);
    arena_done(&arena);
    return r;
}
