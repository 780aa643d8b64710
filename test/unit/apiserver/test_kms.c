/* SPDX-License-Identifier: Apache-2.0 */
/* Key services: what is asked of a plug-in, what stands in the store, turning of keys, and a plug-in that is ill. */
#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "apiserver/encryption.h"
#include "apiserver/kms.h"
#include "grpc.h"
#include "net/grpc.h"
#include "types.h"
#include "wire/proto.h"

#define SECRETS "/api/v1/namespaces/default/secrets"

/* A plug-in whose key id stands before what it sealed; the key is a mask. */
struct plugin {
    struct http_server *http;
    char key_id[64], health[32], version[16], socket[64];
    unsigned encrypts, decrypts, statuses;
    bool broken, other_key;
};

static void mask(char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (char)(p[i] ^ 0x5a);
}

static int serve_status(void *ctx, struct grpc_exchange *g, struct err *e UNUSED)
{
    struct plugin *p = ctx;
    struct val *v = val_new(grpc_arena(g), VAL_OBJ);
    p->statuses++;
    if (p->broken)
        return err_set(e, GRPC_UNAVAILABLE, "no token in the machine");
    val_set_str(grpc_arena(g), v, N_version, str_of(p->version));
    val_set_str(grpc_arena(g), v, N_healthz, str_of(p->health));
    val_set_str(grpc_arena(g), v, N_key_id, str_of(p->key_id));
    return grpc_send(g, v);
}

static int serve_encrypt(void *ctx, struct grpc_exchange *g, struct err *e UNUSED)
{
    struct plugin *p = ctx;
    const struct val *request;
    int r = grpc_recv_request(g, &request);
    struct arena *a = grpc_arena(g);
    struct val *v = val_new(a, VAL_OBJ);
    p->encrypts++;
    if (r)
        return r;
    assert_int_equal(val_getstr(request, N_plaintext).n, 32);
    assert_true(val_getstr(request, N_uid).n == 36);
    char *sealed = arena_cstr(a, val_getstr(request, N_plaintext));
    mask(sealed, 32);
    val_set(a, v, N_ciphertext, val_of_bytes(str_n(sealed, 32)));
    val_set_str(a, v, N_key_id, p->other_key ? STR("other") : str_of(p->key_id));
    val_put(a, val_sub_map(a, v, N_annotations), STR("kms.example.com"), val_of_bytes(STR("note")));
    return grpc_send(g, v);
}

static int serve_decrypt(void *ctx, struct grpc_exchange *g, struct err *e UNUSED)
{
    struct plugin *p = ctx;
    const struct val *request;
    int r = grpc_recv_request(g, &request);
    struct arena *a = grpc_arena(g);
    struct val *v = val_new(a, VAL_OBJ);
    if (r)
        return r;
    p->decrypts++;
    if (p->broken)
        return err_set(e, GRPC_UNAVAILABLE, "no token in the machine");
    assert_true(val_getstr(request, N_key_id).n > 0);
    assert_str(val_str(val_key(val_get(request, N_annotations), STR("kms.example.com"))), "note");
    char *plain = arena_cstr(a, val_getstr(request, N_ciphertext));
    mask(plain, 32);
    val_set(a, v, N_plaintext, val_of_bytes(str_n(plain, 32)));
    return grpc_send(g, v);
}

static struct grpc_service services[4];

static void plugin_start(struct plugin *p, const char *key_id)
{
    static struct grpc_server grpc;
    char at[80];
    struct err e;
    *p = (struct plugin){.health = "ok", .version = "v2"};
    snprintf(p->key_id, sizeof(p->key_id), "%s", key_id);
    snprintf(p->socket, sizeof(p->socket), "/tmp/cube-kms-%d.sock", (int)getpid());
    unlink(p->socket);
    services[0] = (struct grpc_service){&grpc_methods[G_kms_v2_KeyManagementService_Status], serve_status};
    services[1] = (struct grpc_service){&grpc_methods[G_kms_v2_KeyManagementService_Encrypt], serve_encrypt};
    services[2] = (struct grpc_service){&grpc_methods[G_kms_v2_KeyManagementService_Decrypt], serve_decrypt};
    grpc = (struct grpc_server){.services = services, .ctx = p};
    p->http = http_server_new(&(struct http_server_config){.handler = grpc_serve, .ctx = &grpc});
    snprintf(at, sizeof(at), "unix:%s", p->socket);
    assert_int_equal(http_server_listen(p->http, at, &e), 0);
}

static void plugin_stop(struct plugin *p)
{
    http_server_stop(p->http, os_mono());
    http_server_free(p->http);
    unlink(p->socket);
}

struct sealed {
    struct fixture f;
    struct plugin p;
    char path[64];
    struct apiserver_config config;
};

static void begin(struct sealed *s, const char *fallback)
{
    char text[512];
    *s = (struct sealed){.path = "/tmp/cube-kms-config-XXXXXX"};
    close(mkstemp(s->path));
    plugin_start(&s->p, "key-1");
    snprintf(text, sizeof(text),
             "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n"
             "- {resources: [secrets], providers: [{kms: {apiVersion: v2, name: vault, endpoint: 'unix://%s', timeout: 5s}}%s]}\n",
             s->p.socket, fallback);
    assert_int_equal(os_write_file(s->path, str_of(text), 0600), 0);
    s->config = (struct apiserver_config){.authorization = "AlwaysAllow", .encryption = s->path};
    fixture_start(&s->f, &s->config);
}

static void end(struct sealed *s)
{
    fixture_stop(&s->f);
    plugin_stop(&s->p);
    unlink(s->path);
}

static struct reply make_secret(struct sealed *s, const char *name)
{
    return post(&s->f, SECRETS, arena_printf(&s->f.arena, "{\"metadata\":{\"name\":\"%s\"},\"stringData\":{\"k\":\"hush\"}}", name).p);
}

static struct str key_id_of(struct sealed *s, const char *name)
{
    struct store_entry e;
    struct val *o;
    struct str prefix = STR("k8s:enc:kms:v2:vault:");
    assert_int_equal(store_get(s->f.store, arena_printf(&s->f.arena, "/registry/secrets/default/%s", name), (revision){0}, &s->f.arena, &e), 0);
    assert_true(str_starts(e.value, prefix));
    assert_false(str_contains(e.value, STR("hush")));
    assert_int_equal(proto_decode(&s->f.arena, &types[T_kmsstore_v2_EncryptedObject], str_from(e.value, prefix.n), &o, NULL), 0);
    assert_int_equal(val_int(val_get(o, N_encryptedDEKSourceType), 0), 1);
    assert_str(val_str(val_key(val_get(o, N_annotations), STR("kms.example.com"))), "note");
    return val_getstr(o, N_keyID);
}

static void is_hush(struct sealed *s, const char *name)
{
    struct reply r = get(&s->f, arena_printf(&s->f.arena, SECRETS "/%s", name).p);
    assert_code(r, 200);
    assert_at(&s->f, r, "data.k", "aHVzaA==");
}

FIBER_TEST(a_seed_seals_many_values)
{
    struct sealed s;
    begin(&s, "");
    assert_code(make_secret(&s, "a"), 201);
    assert_code(make_secret(&s, "b"), 201);
    assert_str(key_id_of(&s, "a"), "key-1");
    assert_str(key_id_of(&s, "b"), "key-1");
    assert_int_equal(s.p.encrypts, 1);
    assert_int_equal(s.p.decrypts, 0);
    fixture_restart(&s.f, &s.config); /* another seed; the first is asked for once */
    is_hush(&s, "a");
    is_hush(&s, "b");
    assert_int_equal(s.p.encrypts, 2);
    assert_int_equal(s.p.decrypts, 1);
    struct reply r = get(&s.f, "/metrics");
    assert_true(str_contains(r.text, STR("apiserver_envelope_encryption_kms_operations_latency_seconds_count{grpc_status_code=\"OK\",method_name=\""
                                         "/v2.KeyManagementService/Decrypt\",provider_name=\"vault\"} 1\n")));
    assert_true(str_contains(r.text, STR("apiserver_envelope_encryption_dek_source_cache_size{provider_name=\"vault\"} 2\n")));
    assert_true(str_contains(r.text, STR("transformation_type=\"from_storage\"} ")));
    end(&s);
}

FIBER_TEST(another_key_id_seals_anew)
{
    struct sealed s;
    begin(&s, ", {identity: {}}");
    assert_code(make_secret(&s, "a"), 201);
    snprintf(s.p.key_id, sizeof(s.p.key_id), "key-2");
    struct err e = {0};
    assert_int_equal(apiserver_reload(s.f.server, &e), 0); /* asks for the status, as the minute's end does */
    for (int i = 0; i < 500 && !str_is(key_id_of(&s, "a"), "key-2"); i++)
        fiber_sleep(MILLISECONDS(10));
    assert_str(key_id_of(&s, "a"), "key-2");
    is_hush(&s, "a");
    end(&s);
}

FIBER_TEST(a_plugin_that_is_not_there)
{
    struct sealed s;
    begin(&s, "");
    assert_code(get(&s.f, "/healthz/kms-providers"), 200);
    assert_true(str_contains(get(&s.f, "/readyz?verbose").text, STR("[+]kms-providers ok\n")));
    assert_code(make_secret(&s, "a"), 201);
    s.p.broken = true;
    struct apiserver *server = NULL;
    struct apiserver_config c = s.config;
    struct err e = {0};
    c.store = s.f.store;
    assert_true(apiserver_start(&c, &server, &e) < 0); /* its data cannot be read */
    assert_non_null(strstr(e.text, "no token in the machine"));
    s.p.broken = false;
    is_hush(&s, "a");
    end(&s);
}

static struct kms *service_of(struct plugin *p)
{
    char endpoint[96];
    snprintf(endpoint, sizeof(endpoint), "unix://%s", p->socket);
    struct kms *k = kms_new(&(struct kms_config){.name = "vault", .endpoint = endpoint, .timeout = SECONDS(5), .poll = MILLISECONDS(10)});
    return k;
}

FIBER_TEST(what_is_wrong_with_a_plugin)
{
    static const struct {
        const char *key_id, *health, *version, *says;
        bool other;
    } cases[] = {
        {"", "ok", "v2", "the key id is empty"},
        {"k", "no", "v2", "unexpected healthz status: no"},
        {"k", "ok", "v1beta1", "expected KMS version v2"},
        {"k", "ok", "v2", "another key than Status names", .other = true},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct plugin p;
        struct err e = {0};
        plugin_start(&p, cases[i].key_id);
        snprintf(p.health, sizeof(p.health), "%s", cases[i].health);
        snprintf(p.version, sizeof(p.version), "%s", cases[i].version);
        p.other_key = cases[i].other;
        struct kms *k = service_of(&p);
        assert_true(kms_health(k, &e) < 0);
        if (!strstr(e.text, cases[i].says))
            fail_msg("case %zu says: %s", i, e.text);
        assert_true(kms_may_seal(k, os_mono(), &e) < 0);
        assert_int_equal(p.statuses, 1);
        assert_true(kms_health(k, &e) < 0); /* remembered for a while */
        assert_int_equal(p.statuses, 1);
        kms_unref(k);
        plugin_stop(&p);
    }
}

FIBER_TEST(sealing_ends_three_minutes_after_the_last_good_status)
{
    struct plugin p;
    struct err e = {0};
    plugin_start(&p, "k");
    struct kms *k = service_of(&p);
    assert_int_equal(kms_health(k, &e), 0);
    assert_int_equal(kms_may_seal(k, mono_add(os_mono(), SECONDS(170)), &e), 0);
    assert_true(kms_may_seal(k, mono_add(os_mono(), SECONDS(181)), &e) < 0);
    assert_non_null(strstr(e.text, "more than 180 seconds"));
    kms_unref(k);
    plugin_stop(&p);
}

static void count_turn(void *arg)
{
    ++*(unsigned *)arg;
}

FIBER_TEST(the_status_is_asked_for_and_turns_the_seed)
{
    struct plugin p;
    unsigned turns = 0;
    plugin_start(&p, "k1");
    struct kms *k = service_of(&p);
    kms_start(k, count_turn, &turns);
    for (int i = 0; i < 500 && p.statuses < 3; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_true(p.statuses >= 3);
    assert_int_equal(turns, 0);
    assert_int_equal(p.encrypts, 1);
    snprintf(p.key_id, sizeof(p.key_id), "k2");
    for (int i = 0; i < 500 && !turns; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_int_equal(turns, 1);
    assert_int_equal(p.encrypts, 2);
    kms_stop(k);
    kms_unref(k);
    plugin_stop(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_seals_many_values),
        cmocka_unit_test(another_key_id_seals_anew),
        cmocka_unit_test(a_plugin_that_is_not_there),
        cmocka_unit_test(what_is_wrong_with_a_plugin),
        cmocka_unit_test(the_status_is_asked_for_and_turns_the_seed),
        cmocka_unit_test(sealing_ends_three_minutes_after_the_last_good_status),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
