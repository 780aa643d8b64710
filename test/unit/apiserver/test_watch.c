/* SPDX-License-Identifier: Apache-2.0 */
/* watch: over HTTP and from inside the process. */
#include "fixture.h"

#include "apiserver/expire.h"
#include "apiserver/state.h"
#include "base/os.h"

#define MAPS "/api/v1/namespaces/default/configmaps"

static void expect(struct watching *w, const char *type, const char *name)
{
    const char *t;
    const struct val *v;
    if (!watch_event(w, 5000, &t, &v))
        fail_msg("no event, wanted %s %s", type, name);
    assert_string_equal(t, type);
    assert_string_equal(at(w->f, v, "metadata.name"), name);
}

static void expect_nothing(struct watching *w)
{
    const char *t;
    const struct val *v;
    if (watch_event(w, 50, &t, &v))
        fail_msg("unexpected %s %s", t, at(w->f, v, "metadata.name"));
}

FIBER_TEST(state_then_changes)
{
    struct fixture f;
    struct watching w;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    assert_int_equal(watch_begin(&f, &w, MAPS "?watch=true"), 200);
    expect(&w, "ADDED", "a");
    make_config_map(&f, "b", NULL);
    expect(&w, "ADDED", "b");
    assert_code(patch(&f, MAPS "/a", "merge-patch+json", "{\"data\":{\"k\":\"2\"}}"), 200);
    expect(&w, "MODIFIED", "a");
    assert_code(ask(&f, "DELETE", MAPS "/a", NULL, NULL), 200);
    const char *t;
    const struct val *v;
    assert_true(watch_event(&w, 5000, &t, &v));
    assert_string_equal(t, "DELETED");
    assert_string_equal(at(&f, v, "data.k"), "2");
    /* a deletion has a revision of its own */
    const char *rv = at(&f, get(&f, MAPS).v, "metadata.resourceVersion");
    assert_string_equal(at(&f, v, "metadata.resourceVersion"), rv);
    watch_end(&w);
    fixture_stop(&f);
}

/* Authorised for one name, it shows that one (the path says it, no field selector). */
FIBER_TEST(of_one_name)
{
    struct fixture f;
    struct watching w;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    make_config_map(&f, "b", NULL);
    assert_int_equal(watch_begin(&f, &w, "/api/v1/watch/namespaces/default/configmaps/b"), 200);
    expect(&w, "ADDED", "b");
    make_config_map(&f, "c", NULL);
    expect_nothing(&w);
    assert_code(ask(&f, "DELETE", MAPS "/b", NULL, NULL), 200);
    expect(&w, "DELETED", "b");
    watch_end(&w);
    fixture_stop(&f);
}

FIBER_TEST(resumes_after_a_revision)
{
    struct fixture f;
    struct watching w;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    const char *rv = at(&f, get(&f, MAPS).v, "metadata.resourceVersion");
    make_config_map(&f, "b", NULL);
    assert_int_equal(watch_begin(&f, &w, arena_printf(&f.arena, MAPS "?watch=true&resourceVersion=%s", rv).p),
                     200);
    expect(&w, "ADDED", "b");
    expect_nothing(&w);
    watch_end(&w);
    fixture_stop(&f);
}

FIBER_TEST(too_old_a_revision_expires)
{
    struct fixture f;
    struct watching w;
    const char *t;
    const struct val *v;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    fixture_restart(&f, NULL);
    assert_int_equal(watch_begin(&f, &w, MAPS "?watch=true&resourceVersion=1"), 200);
    assert_true(watch_event(&w, 5000, &t, &v));
    assert_string_equal(t, "ERROR");
    assert_string_equal(at(&f, v, "code"), "410");
    assert_string_equal(at(&f, v, "reason"), "Expired");
    watch_end(&w);
    fixture_stop(&f);
}

FIBER_TEST(selectors_turn_changes_into_coming_and_going)
{
    struct fixture f;
    struct watching w;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", "{\"t\":\"x\"}");
    make_config_map(&f, "b", "{\"t\":\"y\"}");
    assert_int_equal(watch_begin(&f, &w, MAPS "?watch=true&labelSelector=t%3Dx"), 200);
    expect(&w, "ADDED", "a");
    assert_code(patch(&f, MAPS "/b", "merge-patch+json", "{\"metadata\":{\"labels\":{\"t\":\"x\"}}}"), 200);
    expect(&w, "ADDED", "b");
    assert_code(patch(&f, MAPS "/a", "merge-patch+json", "{\"metadata\":{\"labels\":{\"t\":\"y\"}}}"), 200);
    expect(&w, "DELETED", "a");
    expect_nothing(&w);
    watch_end(&w);
    fixture_stop(&f);
}

FIBER_TEST(watch_lists_end_with_a_bookmark)
{
    struct fixture f;
    struct watching w;
    const char *t;
    const struct val *v;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    assert_int_equal(watch_begin(&f, &w,
                                 MAPS "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&"
                                      "allowWatchBookmarks=true"),
                     200);
    expect(&w, "ADDED", "a");
    assert_true(watch_event(&w, 5000, &t, &v));
    assert_string_equal(t, "BOOKMARK");
    assert_string_equal(at(&f, v, "kind"), "ConfigMap");
    const struct val *annotations = val_key(val_key(v, STR("metadata")), STR("annotations"));
    assert_str(val_str(val_key(annotations, STR("k8s.io/initial-events-end"))), "true");
    assert_true(*at(&f, v, "metadata.resourceVersion"));
    watch_end(&w);
    fixture_stop(&f);
}

FIBER_TEST(ends_after_its_time)
{
    struct fixture f;
    struct watching w;
    const char *t;
    const struct val *v;
    fixture_start(&f, NULL);
    assert_int_equal(watch_begin(&f, &w, MAPS "?watch=true&timeoutSeconds=1"), 200);
    struct mono from = os_mono();
    assert_false(watch_event(&w, 10000, &t, &v));
    int64_t took = os_mono().ns - from.ns;
    assert_true(took > MILLISECONDS(500) && took < SECONDS(5));
    watch_end(&w);
    fixture_stop(&f);
}

FIBER_TEST(tables_name_their_columns_once)
{
    struct fixture f;
    struct err e = {0};
    struct http_call *call = NULL;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    make_config_map(&f, "b", NULL);
    struct http_header accept = {STR("Accept"), STR("application/json;as=Table;v=v1;g=meta.k8s.io")};
    struct http_request q = {.url =
                                 arena_printf(&f.arena, "%s" MAPS "?watch=true&timeoutSeconds=1", f.base).p,
                             .headers = &accept,
                             .n_headers = 1};
    assert_int_equal(http_do(f.http, &q, mono_add(os_mono(), SECONDS(5)), &call, &e), 0);
    struct watching w = {.f = &f, .call = call};
    const char *t;
    const struct val *v;
    assert_true(watch_event(&w, 5000, &t, &v));
    assert_string_equal(at(&f, v, "columnDefinitions.0.name"), "Name");
    assert_true(watch_event(&w, 5000, &t, &v));
    assert_string_equal(at(&f, v, "columnDefinitions.0.name"), "");
    assert_string_equal(at(&f, v, "rows.0.object.metadata.name"), "b");
    watch_end(&w);
    fixture_stop(&f);
}

FIBER_TEST(local_watches_share_objects)
{
    struct fixture f;
    struct client_watch *w = NULL;
    struct watch_event e;
    struct status s;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    status_init(&s, &f.arena);
    const struct resource *maps = &resources[RES_CONFIGMAPS];
    assert_int_equal(client_watch(f.local, CALL(.res = maps, .ns = STR("default")), 0, &w, &s), 0);
    struct mono soon = mono_add(os_mono(), SECONDS(5));
    assert_int_equal(client_watch_next(w, soon, &e, &s), 0);
    assert_int_equal(e.kind, WATCH_ADDED);
    assert_ptr_equal(e.object, tree_get(local_tree(f.local, maps), STR("default/a")));
    object_unref(e.object);
    assert_int_equal(client_watch_next(w, soon, &e, &s), 0);
    assert_int_equal(e.kind, WATCH_BOOKMARK);
    int64_t rev = e.object->revision;
    object_unref(e.object);
    assert_int_equal(client_watch_next(w, mono_add(os_mono(), MILLISECONDS(10)), &e, &s), -ETIMEDOUT);
    make_config_map(&f, "b", NULL);
    assert_int_equal(client_watch_next(w, soon, &e, &s), 0);
    assert_true(e.object->revision > rev);
    assert_str(e.object->name, "b");
    object_unref(e.object);
    client_watch_close(w);
    fixture_restart(&f, NULL);
    assert_int_equal(client_watch(f.local, CALL(.res = maps), 1, &w, &s), 410);
    fixture_stop(&f);
}

static void close_later(void *arg)
{
    fiber_sleep(MILLISECONDS(20));
    client_watch_close(arg);
}

FIBER_TEST(closing_wakes_a_local_watch)
{
    struct fixture f;
    struct client_watch *w = NULL;
    struct watch_event e;
    struct status s;
    fixture_start(&f, NULL);
    status_init(&s, &f.arena);
    int64_t rev = local_revision(f.local);
    assert_int_equal(client_watch(f.local, CALL(.res = &resources[RES_PODS]), rev, &w, &s), 0);
    fiber_spawn("closer", close_later, w);
    assert_int_equal(client_watch_next(w, MONO_NEVER, &e, &s), -EPIPE);
    fixture_stop(&f);
}

FIBER_TEST(local_calls_take_the_same_way)
{
    struct fixture f;
    struct status s;
    const struct val *v = NULL;
    fixture_start(&f, NULL);
    status_init(&s, &f.arena);
    struct arena *a = &f.arena;
    struct val *m = val_new(a, VAL_OBJ);
    val_set_str(a, val_sub_obj(a, m, N_metadata), N_name, STR("x"));
    const struct call *c = CALL(.res = &resources[RES_CONFIGMAPS], .ns = STR("default"), .name = STR("x"));
    assert_int_equal(client_create(f.local, c, m, a, &v, &s), 0);
    assert_true(obj_revision(v) > 0);
    assert_int_equal(client_create(f.local, c, m, a, &v, &s), 409);
    assert_string_equal(s.reason, "AlreadyExists");
    status_init(&s, a);
    assert_int_equal(client_patch(f.local, c, PATCH_MERGE, STR("{\"data\":{\"k\":\"v\"}}"), a, &v, &s), 0);
    assert_int_equal(client_list(f.local, c, a, &v, &s), 0);
    assert_int_equal(val_len(val_get(v, N_items)), 1);
    assert_int_equal(
        client_delete(f.local, CALL(.res = c->res, .ns = c->ns, .name = c->name, .uid = STR("1")), a, &v, &s),
        409);
    status_init(&s, a);
    assert_int_equal(client_delete(f.local, c, a, NULL, &s), 0);
    assert_int_equal(client_get(f.local, c, a, &v, &s), 404);
    fixture_stop(&f);
}

FIBER_TEST(restarts_over_the_same_store)
{
    struct fixture f;
    fixture_start(&f, NULL);
    make_config_map(&f, "a", NULL);
    const char *rv = at(&f, get(&f, MAPS "/a").v, "metadata.resourceVersion");
    const char *uid = at(&f, get(&f, "/api/v1/namespaces/default").v, "metadata.uid");
    fixture_restart(&f, NULL);
    struct reply r = get(&f, MAPS "/a");
    assert_at(&f, r, "metadata.resourceVersion", rv);
    assert_at(&f, r, "data.k", "v");
    assert_at(&f, get(&f, "/api/v1/namespaces/default"), "metadata.uid",
              uid); /* bootstrap objects are not made anew */
    fixture_stop(&f);
}

FIBER_TEST(unconcerned_watches_are_passed_by)
{
    struct fixture f;
    struct watching w;
    fixture_start(&f, NULL);
    const char *rv = at(&f, get(&f, MAPS).v, "metadata.resourceVersion");
    assert_int_equal(watch_begin(&f, &w,
                                 arena_printf(&f.arena,
                                              MAPS "?watch=true&fieldSelector=metadata.name%%3Dmine&"
                                                   "resourceVersion=%s",
                                              rv)
                                     .p),
                     200);
    for (int i = 0; i < 150; i++)
        make_config_map(&f, arena_printf(&f.arena, "m%d", i).p, NULL);
    make_config_map(&f, "mine", NULL);
    expect(&w, "ADDED", "mine");
    expect_nothing(&w);
    watch_end(&w);
    fixture_stop(&f);
}

FIBER_TEST(events_expire)
{
    struct fixture f;
    fixture_start(&f, NULL);
    const char *path = "/api/v1/namespaces/default/events";
    assert_code(
        post(&f, path, "{\"metadata\":{\"name\":\"old\"},\"involvedObject\":{\"namespace\":\"default\"}}"),
        201);
    assert_code(post(&f, path,
                     "{\"metadata\":{\"name\":\"seen\"},\"involvedObject\":{\"namespace\":\"default\"},"
                     "\"lastTimestamp\":\"2100-01-01T00:00:00Z\"}"),
                201);
    assert_false(expire_before(f.server, (struct wall){os_wall().ns + SECONDS(10)}));
    assert_code(get(&f, arena_printf(&f.arena, "%s/old", path).p), 404);
    assert_code(get(&f, arena_printf(&f.arena, "%s/seen", path).p), 200);
    fixture_stop(&f);
}

/* What was written at once does not stay for ever. */
FIBER_TEST(old_events_go_without_new_ones)
{
    struct fixture f;
    struct watching w;
    fixture_start(&f, NULL);
    make_config_map(&f, "first", "{}");
    struct reply first = get(&f, "/api/v1/namespaces/default/configmaps/first");
    for (int i = 0; i < 200; i++)
        make_config_map(&f, arena_printf(&f.arena, "c%d", i).p, "{}");
    struct cache_kind *k = cache_kind(f.server->cache, &resources[RES_CONFIGMAPS]);
    const char *path = arena_printf(&f.arena, "/api/v1/configmaps?watch=1&resourceVersion=%s", at(&f, first.v, "metadata.resourceVersion")).p;
    cache_trim(f.server->cache, os_mono());
    assert_true(k->next - k->first > 200); /* still young */
    assert_int_equal(watch_begin(&f, &w, path), 200);
    watch_end(&w);
    cache_trim(f.server->cache, mono_add(os_mono(), SECONDS(76)));
    assert_int_equal(k->next - k->first, 128);
    const char *type;
    const struct val *v;
    assert_int_equal(watch_begin(&f, &w, path), 200);
    assert_true(watch_event(&w, 5000, &type, &v));
    assert_string_equal(type, "ERROR");
    assert_string_equal(at(&f, v, "reason"), "Expired");
    watch_end(&w);
    fixture_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(state_then_changes),
        cmocka_unit_test(of_one_name),
        cmocka_unit_test(resumes_after_a_revision),
        cmocka_unit_test(too_old_a_revision_expires),
        cmocka_unit_test(selectors_turn_changes_into_coming_and_going),
        cmocka_unit_test(watch_lists_end_with_a_bookmark),
        cmocka_unit_test(ends_after_its_time),
        cmocka_unit_test(tables_name_their_columns_once),
        cmocka_unit_test(local_watches_share_objects),
        cmocka_unit_test(closing_wakes_a_local_watch),
        cmocka_unit_test(local_calls_take_the_same_way),
        cmocka_unit_test(restarts_over_the_same_store),
        cmocka_unit_test(unconcerned_watches_are_passed_by),
        cmocka_unit_test(old_events_go_without_new_ones),
        cmocka_unit_test(events_expire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
