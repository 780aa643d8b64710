/* SPDX-License-Identifier: Apache-2.0 */
/* Encryption at rest: what stands in the store, turning of keys, and what is refused. */
#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "apiserver/encryption.h"
#include "base/fiber.h"
#include "base/os.h"

#define CONFIG "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
#define KEY1 "{name: k1, secret: MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=}"
#define KEY2 "{name: k2, secret: ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA=}"
#define KMS(name, path) "{kms: {apiVersion: v2, name: " name ", endpoint: 'unix://" path "', timeout: 5s}}"
#define SECRETS "/api/v1/namespaces/default/secrets"

struct sealed {
    struct fixture f;
    char path[64];
    struct apiserver_config config;
};

static void configure(struct sealed *s, const char *text)
{
    assert_int_equal(os_write_file(s->path, str_of(text), 0600), 0);
}

static void begin(struct sealed *s, const char *text)
{
    *s = (struct sealed){.path = "/tmp/cube-encryption-XXXXXX"};
    int fd = mkstemp(s->path);
    assert_true(fd >= 0);
    close(fd);
    configure(s, text);
    s->config = (struct apiserver_config){.authorization = "AlwaysAllow", .encryption = s->path};
    fixture_start(&s->f, &s->config);
}

static void end(struct sealed *s)
{
    fixture_stop(&s->f);
    unlink(s->path);
}

static struct str stored(struct sealed *s, const char *key)
{
    struct store_entry e;
    assert_int_equal(store_get(s->f.store, str_of(key), (revision){0}, &s->f.arena, &e), 0);
    return e.value;
}

static bool stored_with(struct sealed *s, const char *key, const char *prefix)
{
    return str_starts(stored(s, key), str_of(prefix));
}

static void make_secret(struct sealed *s, const char *name)
{
    struct str body = arena_printf(&s->f.arena, "{\"metadata\":{\"name\":\"%s\"},\"stringData\":{\"k\":\"hush\"}}", name);
    assert_code(post(&s->f, SECRETS, body.p), 201);
}

static void is_hush(struct sealed *s, const char *name)
{
    struct reply r = get(&s->f, arena_printf(&s->f.arena, SECRETS "/%s", name).p);
    assert_code(r, 200);
    assert_at(&s->f, r, "data.k", "aHVzaA==");
}

FIBER_TEST(what_is_named_is_sealed)
{
    struct sealed s;
    begin(&s, CONFIG "- {resources: [secrets, '*.apps'], providers: [{secretbox: {keys: [" KEY1 "]}}, {identity: {}}]}\n");
    make_secret(&s, "a");
    make_config_map(&s.f, "m", "{}");
    assert_true(stored_with(&s, "/registry/secrets/default/a", "k8s:enc:secretbox:v1:k1:"));
    assert_false(str_contains(stored(&s, "/registry/secrets/default/a"), STR("hush")));
    assert_false(stored_with(&s, "/registry/configmaps/default/m", "k8s:enc:"));
    assert_code(post(&s.f, "/apis/apps/v1/namespaces/default/deployments",
                     "{\"metadata\":{\"name\":\"d\"},\"spec\":{\"selector\":{\"matchLabels\":{\"a\":\"b\"}},\"template\":{\"metadata\":"
                     "{\"labels\":{\"a\":\"b\"}},\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}}}"), 201);
    assert_true(stored_with(&s, "/registry/deployments/default/d", "k8s:enc:secretbox:v1:k1:"));
    is_hush(&s, "a");
    fixture_restart(&s.f, &s.config);
    is_hush(&s, "a");
    end(&s);
}

static void wait_for(struct sealed *s, const char *key, const char *prefix, bool want)
{
    for (int i = 0; i < 300 && stored_with(s, key, prefix) != want; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_int_equal(stored_with(s, key, prefix), want);
}

FIBER_TEST(turning_keys_seals_anew)
{
    struct sealed s;
    struct err e = {0};
    begin(&s, CONFIG "- {resources: ['*.'], providers: [{aesgcm: {keys: [" KEY1 "]}}, {identity: {}}]}\n");
    make_secret(&s, "a");
    assert_true(stored_with(&s, "/registry/secrets/default/a", "k8s:enc:aesgcm:v1:k1:"));
    assert_true(stored_with(&s, "/registry/namespaces/default", "k8s:enc:aesgcm:v1:k1:"));
    configure(&s, CONFIG "- {resources: [secrets], providers: [{aesgcm: {keys: [" KEY2 ", " KEY1 "]}}]}\n"
                         "- {resources: ['*.*'], providers: [{identity: {}}, {aesgcm: {keys: [" KEY1 "]}}]}\n");
    assert_int_equal(apiserver_reload(s.f.server, &e), 0);
    wait_for(&s, "/registry/secrets/default/a", "k8s:enc:aesgcm:v1:k2:", true);
    wait_for(&s, "/registry/namespaces/default", "k8s:enc:", false);
    is_hush(&s, "a");
    configure(&s, CONFIG "- {resources: [secrets], providers: [{aesgcm: {keys: [" KEY2 "]}}]}\n");
    fixture_restart(&s.f, &s.config);
    is_hush(&s, "a");
    configure(&s, CONFIG "- {resources: [secrets], providers: [{aesgcm: {keys: [{name: bad, secret: nonsense}]}}]}\n");
    assert_true(apiserver_reload(s.f.server, &e) < 0);
    make_secret(&s, "b"); /* what was good goes on */
    assert_true(stored_with(&s, "/registry/secrets/default/b", "k8s:enc:aesgcm:v1:k2:"));
    end(&s);
}

/* What the server says when it shall start over that store with these keys. */
static const char *refusal(struct sealed *s, const char *text, struct err *e)
{
    struct apiserver *server = NULL;
    struct apiserver_config c = s->config;
    configure(s, text);
    c.store = s->f.store;
    assert_true(apiserver_start(&c, &server, e) < 0);
    return e->text;
}

FIBER_TEST(lost_keys_and_moved_values_are_refused)
{
    struct sealed s;
    struct err e = {0};
    begin(&s, CONFIG "- {resources: [secrets], providers: [{aesgcm: {keys: [" KEY1 "]}}]}\n");
    make_secret(&s, "a");
    assert_non_null(strstr(refusal(&s, CONFIG "- {resources: [secrets], providers: [{aesgcm: {keys: [" KEY2 "]}}]}\n", &e),
                           "/registry/secrets/default/a"));
    assert_non_null(strstr(refusal(&s, CONFIG "- {resources: [configmaps], providers: [{identity: {}}]}\n", &e),
                           "/registry/secrets/default/a"));
    /* Whoever can write the store cannot pass one secret for another. */
    struct store_op op = {.kind = STORE_PUT, .key = STR("/registry/secrets/default/b"),
                          .value = stored(&s, "/registry/secrets/default/a"), .expect = STORE_ABSENT};
    assert_int_equal(store_txn(s.f.store, &op, 1, NULL, NULL), 0);
    assert_non_null(strstr(refusal(&s, CONFIG "- {resources: [secrets], providers: [{aesgcm: {keys: [" KEY1 "]}}]}\n", &e),
                           "/registry/secrets/default/b"));
    end(&s);
}

static void bad_configurations(void **state UNUSED)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"kind: EncryptionConfiguration\nresources: []", "expected an apiserver.config.k8s.io/v1"},
        {CONFIG "- {resources: [], providers: [{identity: {}}]}", "resources[0]: resources and providers"},
        {CONFIG "- {resources: [secrets], providers: [{kms: {name: x, endpoint: /x, apiVersion: v2}}]}", "providers[0]: kms.endpoint: \"/x\" is no unix"},
        {CONFIG "- {resources: [secrets], providers: [{kms: {name: x, endpoint: 'unix:///x'}}]}", "KMS v1 is deprecated and not spoken"},
        {CONFIG "- {resources: [secrets], providers: [{kms: {name: x, endpoint: 'unix:///x', apiVersion: v1}}]}", "KMS v1 is deprecated"},
        {CONFIG "- {resources: [secrets], providers: [{kms: {name: 'a:b', endpoint: 'unix:///x', apiVersion: v2}}]}", "must not have a colon"},
        {CONFIG "- {resources: [secrets], providers: [{kms: {name: a, endpoint: 'unix:///x', apiVersion: v2, cachesize: 3}}]}", "kms.cachesize"},
        {CONFIG "- {resources: [secrets], providers: [{kms: {name: a, endpoint: 'unix:///x', apiVersion: v2, timeout: 0s}}]}", "kms.timeout"},
        {CONFIG "- {resources: [a], providers: [" KMS("a", "x") "]}\n- {resources: [b], providers: [" KMS("a", "y") "]}", "there is another \"a\""},
        {CONFIG "- {resources: [secrets], providers: [{aesgcm: {keys: [{name: a, secret: '!'}]}}]}", "key \"a\": the secret is no base64"},
        {CONFIG "- {resources: [secrets], providers: [{aesgcm: {keys: [{name: a, secret: YQ==}]}}]}", "it must be 16, 24 or 32"},
        {CONFIG "- {resources: [secrets], providers: [{identity: {}}, {aescbc: {keys: []}}]}", "providers[1]: keys: there must be"},
        {CONFIG "- {resources: [secrets], providers: [{}]}", "expected exactly one of"},
        {CONFIG "- {resource: [secrets]}", "resource"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char path[] = "/tmp/cube-encryption-XXXXXX";
        struct encryption *x = NULL;
        struct err e = {0};
        int fd = mkstemp(path);
        assert_int_equal(write(fd, cases[i].text, strlen(cases[i].text)), (ssize_t)strlen(cases[i].text));
        close(fd);
        assert_true(encryption_load(path, "", &x, &e) < 0);
        unlink(path);
        if (!strstr(e.text, cases[i].says))
            fail_msg("case %zu says: %s", i, e.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_named_is_sealed),
        cmocka_unit_test(turning_keys_seals_anew),
        cmocka_unit_test(lost_keys_and_moved_values_are_refused),
        cmocka_unit_test(bad_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
