/* SPDX-License-Identifier: Apache-2.0 */
/* Garbage collector, quotas and the end of namespaces with custom kinds, against the API server: in its process and over HTTP. */
#include "../apiserver/fixture.h"
#include "client/https.h"
#include "controllers/engine.h"

#define CRDS "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
#define GROUP "/apis/x.example.com/v1/"
#define WIDGETS GROUP "namespaces/default/widgets"
#define MAPS "/api/v1/namespaces/default/configmaps"
#define QUOTAS "/api/v1/namespaces/default/resourcequotas"

struct cluster {
    struct fixture f;
    struct client *client;
    struct group controllers;
    struct controllers_config config;
    struct err err;
};

static void run_controllers(void *arg)
{
    struct cluster *c = arg;
    controllers_run_with(c->client, &c->config, &c->err);
}

static void begin(struct cluster *c, bool https)
{
    struct err e = {0};
    *c = (struct cluster){.config = {.names = "garbagecollector,resourcequota,namespace"}};
    fixture_start(&c->f, NULL);
    if (https)
        assert_int_equal(https_client_new(&(struct https_config){.server = str_of(c->f.base)}, &c->client, &e), 0);
    else
        c->client = local_client_new(c->f.server, "kube-controller-manager", NULL, NULL);
    group_spawn(&c->controllers, "controllers", run_controllers, c);
}

static void end(struct cluster *c)
{
    group_stop(&c->controllers);
    client_free(c->client);
    fixture_stop(&c->f);
}

/* Until the path answers with that code, and (when want is not NULL) has that text at `where`. */
static struct reply wait_at(struct cluster *c, const char *path, int code, const char *where, const char *want)
{
    struct reply r = get(&c->f, path);
    for (int i = 0; i < 1500 && (r.code != code || (want && strcmp(at(&c->f, r.v, where), want) != 0)); i++) {
        fiber_sleep(MILLISECONDS(10));
        r = get(&c->f, path);
    }
    assert_code(r, code);
    if (want)
        assert_at(&c->f, r, where, want);
    return r;
}

static void wait_for(struct cluster *c, const char *path, int code)
{
    wait_at(c, path, code, NULL, NULL);
}

static void define(struct cluster *c, const char *plural, const char *kind)
{
    assert_code(post(&c->f, CRDS, arena_printf(&c->f.arena,
        "{\"metadata\":{\"name\":\"%s.x.example.com\"},\"spec\":{\"group\":\"x.example.com\",\"scope\":\"Namespaced\",\"names\":{"
        "\"plural\":\"%s\",\"kind\":\"%s\"},\"versions\":[{\"name\":\"v1\",\"served\":true,\"storage\":true,\"schema\":{"
        "\"openAPIV3Schema\":{\"type\":\"object\",\"properties\":{\"spec\":{\"type\":\"object\","
        "\"x-kubernetes-preserve-unknown-fields\":true}}}}}]}}", plural, plural, kind).p), 201);
    wait_for(c, arena_printf(&c->f.arena, GROUP "%s", plural).p, 200);
}

static const char *ref(struct cluster *c, const char *name, const char *more)
{
    struct reply r = get(&c->f, arena_printf(&c->f.arena, WIDGETS "/%s", name).p);
    return arena_printf(&c->f.arena, "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Widget\",\"name\":\"%s\",\"uid\":\"%s\"%s}", name,
                        r.code == 200 ? at(&c->f, r.v, "metadata.uid") : "gone", more).p;
}

/* owners: JSON, may be empty; more: of metadata. */
static void make(struct cluster *c, bool widget, const char *name, const char *owners, const char *more)
{
    assert_code(post(&c->f, widget ? WIDGETS : MAPS, arena_printf(&c->f.arena,
        "{\"apiVersion\":\"%s\",\"kind\":\"%s\",\"metadata\":{\"name\":\"%s\",\"ownerReferences\":[%s]%s}}",
        widget ? "x.example.com/v1" : "v1", widget ? "Widget" : "ConfigMap", name, owners, more).p), 201);
}

static void delete(struct cluster *c, const char *path)
{
    assert_in_range(ask(&c->f, "DELETE", path, NULL, NULL).code, 200, 202);
}

static void let_go(struct cluster *c, const char *path)
{
    assert_code(patch(&c->f, path, "merge-patch+json", "{\"metadata\":{\"finalizers\":null}}"), 200);
}

static void collected(bool https)
{
    struct cluster c;
    begin(&c, https);
    define(&c, "widgets", "Widget");
    make(&c, true, "a", "", "");
    make(&c, true, "b", ref(&c, "a", ""), "");
    make(&c, false, "of-a", ref(&c, "a", ""), "");
    make(&c, false, "of-b", ref(&c, "b", ""), "");
    make(&c, true, "stays", "", "");
    make(&c, true, "of-both", arena_printf(&c.f.arena, "%s,%s", ref(&c, "a", ""), ref(&c, "stays", "")).p, "");
    delete(&c, WIDGETS "/a");
    wait_for(&c, MAPS "/of-a", 404);
    wait_for(&c, WIDGETS "/b", 404);
    wait_for(&c, MAPS "/of-b", 404);
    wait_at(&c, WIDGETS "/of-both", 200, "metadata.ownerReferences.0.name", "stays");
    assert_at(&c.f, get(&c.f, WIDGETS "/of-both"), "metadata.ownerReferences.1.name", "");

    make(&c, false, "of-nobody", ref(&c, "never", ""), ""); /* an owner that never was */
    wait_for(&c, MAPS "/of-nobody", 404);
    assert_code(get(&c.f, WIDGETS "/stays"), 200);
    end(&c);
}

static void held_up_and_orphaned(bool https)
{
    struct cluster c;
    begin(&c, https);
    define(&c, "widgets", "Widget");
    make(&c, true, "f", "", "");
    make(&c, false, "of-f", ref(&c, "f", ",\"blockOwnerDeletion\":true"), ",\"finalizers\":[\"x.example.com/f\"]");
    delete(&c, WIDGETS "/f?propagationPolicy=Foreground");
    struct reply r = wait_at(&c, WIDGETS "/f", 200, "metadata.finalizers.0", "foregroundDeletion");
    for (int i = 0; i < 1500 && !*at(&c.f, r.v, "metadata.deletionTimestamp"); i++) {
        fiber_sleep(MILLISECONDS(10));
        r = get(&c.f, MAPS "/of-f");
    }
    assert_string_not_equal(at(&c.f, get(&c.f, WIDGETS "/f").v, "metadata.deletionTimestamp"), "");
    let_go(&c, MAPS "/of-f");
    wait_for(&c, WIDGETS "/f", 404);

    make(&c, true, "o", "", "");
    make(&c, true, "of-o", ref(&c, "o", ""), "");
    make(&c, false, "too", ref(&c, "o", ""), "");
    delete(&c, WIDGETS "/o?propagationPolicy=Orphan");
    wait_for(&c, WIDGETS "/o", 404);
    assert_at(&c.f, get(&c.f, WIDGETS "/of-o"), "metadata.ownerReferences.0.name", "");
    assert_at(&c.f, get(&c.f, MAPS "/too"), "metadata.ownerReferences.0.name", "");
    end(&c);
}

/* Kinds come and go, and come again. */
static void kinds_come_and_go(bool https)
{
    struct cluster c;
    begin(&c, https);
    define(&c, "widgets", "Widget");
    for (int i = 0; i < 3; i++) {
        make(&c, true, "first", "", "");
        make(&c, false, "of-first", ref(&c, "first", ""), "");
        delete(&c, WIDGETS "/first");
        wait_for(&c, MAPS "/of-first", 404); /* the kind is known */
        make(&c, true, "a", "", "");
        make(&c, false, "of-a", ref(&c, "a", ""), "");
        delete(&c, CRDS "/widgets.x.example.com");
        wait_for(&c, CRDS "/widgets.x.example.com", 404);
        wait_for(&c, MAPS "/of-a", 404);
        define(&c, "widgets", "Widget");
    }
    make(&c, true, "a", "", "");
    make(&c, false, "of-a", ref(&c, "a", ""), "");
    delete(&c, WIDGETS "/a");
    wait_for(&c, MAPS "/of-a", 404);
    end(&c);
}

/* A kind that is served in another version from now on: what is owned is still owned. */
static void versions_change(bool https)
{
    struct cluster c;
    begin(&c, https);
    define(&c, "widgets", "Widget");
    make(&c, true, "a", "", "");
    make(&c, false, "of-a", ref(&c, "a", ""), "");
    assert_code(patch(&c.f, CRDS "/widgets.x.example.com", "json-patch+json",
                      "[{\"op\":\"add\",\"path\":\"/spec/versions/-\",\"value\":{\"name\":\"v2\",\"served\":true,\"storage\":true,"
                      "\"schema\":{\"openAPIV3Schema\":{\"type\":\"object\"}}}},"
                      "{\"op\":\"replace\",\"path\":\"/spec/versions/0/storage\",\"value\":false},"
                      "{\"op\":\"replace\",\"path\":\"/spec/versions/0/served\",\"value\":false}]"), 200);
    wait_for(&c, "/apis/x.example.com/v2/namespaces/default/widgets/a", 200);
    wait_for(&c, WIDGETS "/a", 404);
    make(&c, false, "passing", "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"name\":\"none\",\"uid\":\"none\"}", "");
    wait_for(&c, MAPS "/passing", 404); /* everybody had a turn */
    assert_code(get(&c.f, MAPS "/of-a"), 200);
    delete(&c, "/apis/x.example.com/v2/namespaces/default/widgets/a");
    wait_for(&c, MAPS "/of-a", 404);
    end(&c);
}

static void counted(bool https)
{
    static const char quota[] = "{\"metadata\":{\"name\":\"q\"},\"spec\":{\"hard\":{\"count/widgets.x.example.com\":\"2\"}}}";
    struct cluster c;
    begin(&c, https);
    assert_code(post(&c.f, QUOTAS, quota), 201); /* before the kind */
    define(&c, "widgets", "Widget");
    struct reply r = {0};
    for (int i = 0; i < 1500 && r.code != 201; i++) { /* refused until somebody has counted */
        fiber_sleep(MILLISECONDS(10));
        r = post(&c.f, WIDGETS, "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"a\"}}");
    }
    assert_code(r, 201);
    make(&c, true, "b", "", "");
    r = post(&c.f, WIDGETS, "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"c\"}}");
    assert_code(r, 403);
    assert_true(str_contains(r.text, STR("exceeded quota: q, requested: count/widgets.x.example.com=1, used: "
                                         "count/widgets.x.example.com=2, limited: count/widgets.x.example.com=2")));
    delete(&c, WIDGETS "/a");
    for (int i = 0; i < 1500 && r.code != 201; i++) { /* what went is found by the controller */
        fiber_sleep(MILLISECONDS(10));
        r = post(&c.f, WIDGETS, "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"c\"}}");
    }
    assert_code(r, 201);
    end(&c);
}

static void namespaces_end(bool https)
{
    static const char at_n[] = GROUP "namespaces/n/widgets";
    struct cluster c;
    begin(&c, https);
    define(&c, "widgets", "Widget");
    assert_code(post(&c.f, "/api/v1/namespaces", "{\"metadata\":{\"name\":\"n\"}}"), 201);
    assert_code(post(&c.f, at_n, "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"a\",\"finalizers\":["
                                 "\"x.example.com/f\"]}}"), 201);
    assert_code(post(&c.f, at_n, "{\"apiVersion\":\"x.example.com/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"b\"}}"), 201);
    delete(&c, "/api/v1/namespaces/n");
    wait_for(&c, GROUP "namespaces/n/widgets/b", 404);
    struct reply r = get(&c.f, "/api/v1/namespaces/n");
    struct str want = STR("Some resources are remaining: widgets.x.example.com has 1 resource instances");
    for (int i = 0; i < 1500 && !str_contains(r.text, want); i++) {
        fiber_sleep(MILLISECONDS(10));
        r = get(&c.f, "/api/v1/namespaces/n");
    }
    assert_true(str_contains(r.text, want));
    let_go(&c, GROUP "namespaces/n/widgets/a");
    wait_for(&c, "/api/v1/namespaces/n", 404);
    end(&c);
}

#define BOTH(name)                                                                                           \
    FIBER_TEST(name##_in_process)                                                                            \
    {                                                                                                        \
        name(false);                                                                                         \
    }                                                                                                        \
    FIBER_TEST(name##_over_http)                                                                             \
    {                                                                                                        \
        name(true);                                                                                          \
    }
BOTH(collected)
BOTH(held_up_and_orphaned)
BOTH(kinds_come_and_go)
BOTH(versions_change)
BOTH(counted)
BOTH(namespaces_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(collected_in_process),         cmocka_unit_test(collected_over_http),
        cmocka_unit_test(held_up_and_orphaned_in_process), cmocka_unit_test(held_up_and_orphaned_over_http),
        cmocka_unit_test(kinds_come_and_go_in_process), cmocka_unit_test(kinds_come_and_go_over_http),
        cmocka_unit_test(versions_change_in_process),   cmocka_unit_test(versions_change_over_http),
        cmocka_unit_test(counted_in_process),           cmocka_unit_test(counted_over_http),
        cmocka_unit_test(namespaces_end_in_process),    cmocka_unit_test(namespaces_end_over_http),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
