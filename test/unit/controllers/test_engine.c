/* SPDX-License-Identifier: Apache-2.0 */
#include "controllers/engine.h"

#include <stdio.h>

#include "client/fake_client.h"
#include "testing.h"
#include "type/meta.h"

/*
 * A controller for tests: for every ConfigMap it makes as many Secrets as data.n says, labelled with its
 * name, by counting those it sees. Only an engine that waits for its own writes makes the right number.
 */
static unsigned reconciles;

static void keys_of(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg)
{
    const struct object *o = new_ ? new_ : old;
    sink(arg, (struct key){o->namespace_,
                           res == &resources[RES_CONFIGMAPS] ? o->name : obj_label(o->val, STR("of"))});
}

static int reconcile(const struct snapshot *world, struct key key, struct wall now, struct writes *ret)
{
    const struct object *cm = snapshot_get(world, &resources[RES_CONFIGMAPS], key.ns, key.name);
    int64_t want = 0, have = 0;
    reconciles++;
    if (!cm || str_to_i64(val_str(val_key(val_get(cm->val, N_data), STR("n"))), &want) < 0)
        return cm ? -EINVAL : 0;
    TREE_EACH (snapshot_tree(world, &resources[RES_SECRETS]), key.ns, it)
        have += str_eq(obj_label(it.object->val, STR("of")), key.name);
    for (; have < want; have++) {
        struct val *v = val_new(ret->arena, VAL_OBJ);
        struct val *meta = val_sub_obj(ret->arena, v, N_metadata);
        val_set_str(ret->arena, meta, N_generateName, STR("s-"));
        val_put_str(ret->arena, val_sub_map(ret->arena, meta, N_labels), STR("of"), key.name);
        struct write *w = writes_add(ret, WRITE_CREATE, &resources[RES_SECRETS], key.ns, STR_NULL);
        w->body = v;
        static const struct telling telling = {"Made", "made ", "NotMade", "not made: ", ", as told"};
        w->telling = &telling;
        w->about_res = cm->res;
        w->about = cm->val;
    }
    return 0;
}

static void refused(const struct snapshot *world, struct key key, const struct write *w,
                    const struct status *s, struct wall now, struct writes *ret)
{
    struct write *x = writes_add(ret, WRITE_PATCH, &resources[RES_CONFIGMAPS], key.ns, key.name);
    x->patch = STR("{\"data\":{\"refused\":\"yes\"}}");
}

static const struct controller controller = {
    .name = "test-controller",
    .reads = (const uint16_t[]){RES_CONFIGMAPS, RES_SECRETS, 0},
    .workers = 2,
    .keys_of = keys_of,
    .reconcile = reconcile,
    .refused = refused,
};

static void run(void *arg)
{
    controller_run(arg, &controller, NULL, NULL);
}

struct fixture {
    struct fake_client *fake;
    struct group group;
    struct arena arena;
};

static void set_up(struct fixture *t)
{
    *t = (struct fixture){.fake = fake_client_new()};
    reconciles = 0;
    group_spawn(&t->group, "controller", run, fake_client_as(t->fake));
}

static void tear_down(struct fixture *t)
{
    group_stop(&t->group);
    fake_client_free(t->fake);
    arena_done(&t->arena);
}

static bool wait_for_secrets(struct fixture *t, size_t n)
{
    for (int i = 0; i < 2000 && fake_count(t->fake, RES_SECRETS) < n; i++)
        fiber_sleep(MILLISECONDS(1));
    return fake_count(t->fake, RES_SECRETS) == n;
}

/* A controller that asks somebody first: what it was told, and the world after that, are what it decides by. */
static unsigned asked;

static const void *ask_around(struct client *c, const struct snapshot *world, struct key key, struct arena *a)
{
    int *told = ARENA_NEW(a, int);
    if (!snapshot_get(world, &resources[RES_CONFIGMAPS], key.ns, key.name))
        return NULL;
    asked++;
    if (fiber_sleep(MILLISECONDS(100)) < 0)
        return NULL;
    *told = 42;
    return told;
}

static unsigned refusals;

static int decide(const struct snapshot *world, struct key key, struct wall now, struct writes *ret)
{
    const struct object *o = snapshot_get(world, &resources[RES_CONFIGMAPS], key.ns, key.name);
    const int *told = ret->gathered;
    if (!o || !told)
        return 0;
    struct val *v = val_new(ret->arena, VAL_OBJ);
    struct val *meta = val_sub_obj(ret->arena, v, N_metadata);
    val_set_str(ret->arena, meta, N_name,
                arena_printf(ret->arena, "told-%d-" STR_FMT, *told, STR_ARG(val_str(val_key(val_get(o->val, N_data), STR("n"))))));
    struct write *w = writes_add(ret, WRITE_CREATE, &resources[RES_SECRETS], key.ns, STR_NULL);
    w->body = v;
    w->may_fail = 409;
    return 0;
}

static void later(const struct snapshot *world, struct key key, const struct write *w, const struct status *s, struct wall now,
                  struct writes *ret)
{
    refusals++;
    writes_again(ret, MILLISECONDS(30));
}

static const struct controller asking = {
    .name = "asking-controller",
    .reads = (const uint16_t[]){RES_CONFIGMAPS, 0},
    .keys_of = keys_of,
    .gather = ask_around,
    .reconcile = decide,
    .refused = later,
};

static void run_asking(void *arg)
{
    controller_run(arg, &asking, NULL, NULL);
}

FIBER_TEST(what_was_asked_for_is_handed_over)
{
    struct fixture t = {.fake = fake_client_new()};
    asked = 0;
    group_spawn(&t.group, "controller", run_asking, fake_client_as(t.fake));
    fake_put_text(t.fake, RES_CONFIGMAPS, "{metadata: {namespace: x, name: a}, data: {n: '1'}}");
    while (!asked)
        fiber_sleep(MILLISECONDS(1));
    /* What changes while it is asking is seen. */
    fake_put_text(t.fake, RES_CONFIGMAPS, "{metadata: {namespace: x, name: a}, data: {n: '2'}}");
    assert_true(wait_for_secrets(&t, 1));
    assert_non_null(fake_get(t.fake, RES_SECRETS, "x", "told-42-2"));
    tear_down(&t);
}

FIBER_TEST(reads_its_own_writes)
{
    struct fixture t;
    set_up(&t);
    fake_put_text(t.fake, RES_CONFIGMAPS, "{metadata: {namespace: x, name: a}, data: {n: '3'}}");
    assert_true(wait_for_secrets(&t, 3));
    fake_hold_watches(t.fake, true); /* the replica lags while keys keep coming */
    fake_put_text(t.fake, RES_CONFIGMAPS, "{metadata: {namespace: x, name: a}, data: {n: '9'}}");
    fake_hold_watches(t.fake, false);
    assert_true(wait_for_secrets(&t, 9));
    fiber_sleep(MILLISECONDS(20));
    assert_int_equal(fake_count(t.fake, RES_SECRETS), 9);
    tear_down(&t);
}

static int refuse_creates(void *arg, uint16_t verb, const struct call *call, const struct val *body,
                          struct status *s)
{
    unsigned *n = arg;
    if (verb != VERB_CREATE || call->res != &resources[RES_SECRETS])
        return 0;
    (*n)++;
    return status_set(s, 403, "Forbidden", "exceeded quota");
}

/* Who says when to try again is not tried by the back-off alone: 5, 10, 20, 30, 30 ms ... */
FIBER_TEST(a_refusal_may_say_when_to_try_again)
{
    struct fixture t = {.fake = fake_client_new()};
    unsigned creates = 0;
    refusals = 0;
    fake_client_hook(t.fake, refuse_creates, &creates);
    group_spawn(&t.group, "controller", run_asking, fake_client_as(t.fake));
    fake_put_text(t.fake, RES_CONFIGMAPS, "{metadata: {namespace: x, name: a}, data: {n: '1'}}");
    fiber_sleep(MILLISECONDS(3000));
    assert_true(creates >= 13); /* by the back-off alone: nine */
    assert_int_equal(refusals, creates);
    tear_down(&t);
}

static const struct object *find_event(struct fixture *t, const char *reason)
{
    for (size_t i = 0; i < fake_count(t->fake, RES_EVENTS); i++)
        if (str_is(val_getstr(fake_at(t->fake, RES_EVENTS, i)->val, N_reason), reason))
            return fake_at(t->fake, RES_EVENTS, i);
    return NULL;
}

FIBER_TEST(a_refusal_costs_one_request_a_try_and_is_told)
{
    struct fixture t;
    unsigned creates = 0;
    set_up(&t);
    fake_client_hook(t.fake, refuse_creates, &creates);
    fake_put_text(t.fake, RES_CONFIGMAPS, "{metadata: {namespace: x, name: a}, data: {n: '50'}}");
    fiber_sleep(MILLISECONDS(12)); /* tries at 0, 5, 15 ms */
    assert_true(creates >= 1 && creates <= 5);
    const struct object *e = find_event(&t, "NotMade");
    assert_non_null(e);
    assert_str(val_getstr(e->val, N_message), "not made: exceeded quota");
    fake_client_hook(t.fake, NULL, NULL);
    assert_true(wait_for_secrets(&t, 50));
    fiber_sleep(MILLISECONDS(20));
    e = find_event(&t, "Made");
    assert_true(e && str_ends(val_getstr(e->val, N_message), STR(", as told")));
    tear_down(&t);
}

static int have_them_all(void *arg, uint16_t verb, const struct call *call, const struct val *body, struct status *s)
{
    if (!refuse_creates(arg, verb, call, body, s))
        return 0;
    return status_already_exists(s, call->res, STR("s-1"));
}

FIBER_TEST(what_is_there_already_is_not_told)
{
    struct fixture t;
    unsigned creates = 0;
    set_up(&t);
    fake_client_hook(t.fake, have_them_all, &creates);
    fake_put_text(t.fake, RES_CONFIGMAPS, "{metadata: {namespace: x, name: a}, data: {n: '1'}}");
    fiber_sleep(MILLISECONDS(30));
    assert_true(creates >= 1);
    assert_null(find_event(&t, "NotMade"));
    tear_down(&t);
}

static int refuse_in_ending_namespace(void *arg, uint16_t verb, const struct call *call, const struct val *body,
                                      struct status *s)
{
    if (!refuse_creates(arg, verb, call, body, s))
        return 0;
    return status_set(s, 403, "Forbidden", "secrets \"s-\" is forbidden: unable to create new content in namespace x because it is "
                                           "being terminated");
}

FIBER_TEST(creates_in_an_ending_namespace_are_tried_once)
{
    struct fixture t;
    unsigned creates = 0;
    set_up(&t);
    fake_client_hook(t.fake, refuse_in_ending_namespace, &creates);
    fake_put_text(t.fake, RES_CONFIGMAPS, "{metadata: {namespace: x, name: a}, data: {n: '1'}}");
    fiber_sleep(MILLISECONDS(60));
    assert_in_range(creates, 1, 2); /* once more when what was written about it is seen */
    tear_down(&t);
}

FIBER_TEST(a_world_that_makes_no_sense_is_tried_again_later)
{
    struct fixture t;
    set_up(&t);
    fake_put_text(t.fake, RES_CONFIGMAPS, "{metadata: {namespace: x, name: a}, data: {n: nonsense}}");
    fiber_sleep(MILLISECONDS(60));
    assert_true(reconciles >= 2 && reconciles <= 6); /* 0, 5, 15, 35, 75 ms */
    tear_down(&t);
}

static void check_names(const char *names, int want)
{
    struct fake_client *f = fake_client_new();
    struct err e = {0};
    assert_int_equal(controllers_run(fake_client_as(f), names, &e), want);
    assert_string_equal(e.text, "\"nosuch\" is not in the list of known controllers");
    fake_client_free(f);
}

FIBER_TEST(unknown_controllers_are_refused)
{
    check_names("*,nosuch", -EINVAL);
    check_names("-nosuch", -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_its_own_writes),
        cmocka_unit_test(what_was_asked_for_is_handed_over),
        cmocka_unit_test(a_refusal_may_say_when_to_try_again),
        cmocka_unit_test(a_refusal_costs_one_request_a_try_and_is_told),
        cmocka_unit_test(what_is_there_already_is_not_told),
        cmocka_unit_test(creates_in_an_ending_namespace_are_tried_once),
        cmocka_unit_test(a_world_that_makes_no_sense_is_tried_again_later),
        cmocka_unit_test(unknown_controllers_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
