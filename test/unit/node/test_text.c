/* SPDX-License-Identifier: Apache-2.0 */
/* Texts that the kubelet makes and reads: references, environment, names of images, logs, resolv.conf, options. */
#include "testing.h"

#include "client/fake_client.h"
#include "node/certs.h"
#include "node/crilog.h"
#include "node/criconfig.h"
#include "node/dns.h"
#include "node/env.h"
#include "node/imageref.h"
#include "node/options.h"
#include "node/podcerts.h"
#include "node/volume.h"
#include "base/flags.h"
#include "types.h"
#include "wire/json.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

static struct arena arena;

#define expect(value, text)                                                                                  \
    do {                                                                                                     \
        struct str expect_ = (value);                                                                        \
        if (!str_is(expect_, text))                                                                          \
            fail_msg("%s:%d: \"" STR_FMT "\" is not \"%s\"", __FILE__, __LINE__, STR_ARG(expect_), text);    \
    } while (0)

static struct val *pod_of(const char *meta, const char *spec)
{
    return val_relaxed(&arena, type_at(T_core_v1_Pod),
                       arena_printf(&arena, "{metadata: {namespace: ns, name: p, uid: u1 %s}, spec: {%s}}", meta, spec).p);
}

/* ---- hashes --------------------------------------------------------------------------------------------------------- */

/* As upstream's kubelet v1.37.2 computes them: it must not restart what ours started, nor ours what it did. */
static void hashes_of_containers(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"main", "cube.local/hello:1", "2717ce18"}, {"a", "x", "8828a57d"}, {"web", "a<b>&\"", "782232f"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct val *c = val_new(&arena, VAL_OBJ);
        val_set_str(&arena, c, N_name, str_of(cases[i][0]));
        val_set_str(&arena, c, N_image, str_of(cases[i][1]));
        expect(container_hash(&arena, c), cases[i][2]);
    }
    arena_done(&arena);
}

/* ---- $(NAME) ------------------------------------------------------------------------------------------------------ */

static void references(void **state)
{
    static const char *const cases[][2] = {
        {"plain", "plain"},        {"$(A)", "x"},           {"$(A)$(B)", "xyy"},    {"$$(A)", "$(A)"},
        {"$$$(A)", "$x"},          {"$(NO)", "$(NO)"},      {"$", "$"},             {"$A", "$A"},
        {"a$(A", "a$(A"},          {"$()", "$()"},          {"$(A)-$(A)", "x-x"},   {"$$", "$"},
        {"$$$$(A)", "$$(A)"},      {"$($(A))", "$($(A))"},  {"", ""},
    };
    struct env_var vars[] = {{STR("A"), STR("x")}, {STR("B"), STR("yy")}};
    struct env_list list = {vars, 2, 2};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect(env_expand(&arena, str_of(cases[i][0]), &list), cases[i][1]);
    arena_done(&arena);
}

static int get_map(void *ctx, struct str ns, struct str name, const struct val **ret, struct err *e)
{
    *ret = str_is(name, "cm") ? val_relaxed(&arena, type_at(T_core_v1_ConfigMap), "{data: {K: v, L: w}}") : NULL;
    return 0;
}

static void each_service(void *ctx, void (*visit)(void *arg, const struct val *s), void *arg)
{
    visit(arg, val_relaxed(&arena, type_at(T_core_v1_Service),
                           "{metadata: {namespace: ns, name: redis-primary}, spec: {clusterIP: '10.0.0.11', ports: [{port: 6379, protocol: TCP}]}}"));
    visit(arg, val_relaxed(&arena, type_at(T_core_v1_Service),
                           "{metadata: {namespace: other, name: hidden}, spec: {clusterIP: '10.0.0.12', ports: [{port: 1}]}}"));
    visit(arg, val_relaxed(&arena, type_at(T_core_v1_Service),
                           "{metadata: {namespace: ns, name: headless}, spec: {clusterIP: None, ports: [{port: 1}]}}"));
}

enum { SERVICES = 20000 };

static void many_services(void *ctx, void (*visit)(void *arg, const struct val *s), void *arg)
{
    struct arena a = ARENA_INIT;
    for (int i = 0; i < SERVICES; i++) {
        visit(arg, val_relaxed(&a, type_at(T_core_v1_Service),
                               arena_printf(&a, "{metadata: {namespace: ns, name: s%d}, spec: {clusterIP: '10.0.0.11', ports: [{port: 80}]}}", i).p));
        arena_done(&a);
    }
}

/* As many as a large namespace has: with every one looked for among all before it this would take minutes. */
static void an_environment_of_many_services(void **state)
{
    struct env_world w = {.config_map = get_map, .secret = get_map, .services = many_services};
    struct env_list env;
    struct err e = {{0}};
    struct val *pod = pod_of("", "enableServiceLinks: true, containers: [{name: c, env: [{name: V, value: '$(S19999_PORT)'}]}]");
    clock_t begun = clock();
    assert_int_equal(env_make(&arena, pod, val_item(val_at(pod, N_spec, N_containers), 0), &w, &env, &e), 0);
    assert_true(env.n >= SERVICES * 7 && clock() - begun < 60 * CLOCKS_PER_SEC);
    expect(*env_find(&env, STR("V")), "tcp://10.0.0.11:80");
    arena_done(&arena);
}

static void the_environment(void **state)
{
    struct env_world w = {.config_map = get_map, .secret = get_map, .services = each_service, .node_milli_cpu = 3500,
                          .node_memory = INT64_C(3) << 30};
    struct env_list env;
    struct err e = {{0}};
    struct val *pod = pod_of(", labels: {a: b}, annotations: {'x.y/z': \"line\"}",
                             "nodeName: node1, serviceAccountName: sa, containers: [{name: c, resources: {requests: {cpu: 250m}},"
                             "env: [{name: V, value: '$(P_K) $(REDIS_PRIMARY_SERVICE_HOST)'}, {name: W, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}},"
                             " {name: X, valueFrom: {resourceFieldRef: {resource: requests.cpu, divisor: 1m}}},"
                             " {name: Y, valueFrom: {resourceFieldRef: {resource: limits.cpu}}},"
                             " {name: Z, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Gi}}},"
                             " {name: O, valueFrom: {configMapKeyRef: {name: none, key: k, optional: true}}}],"
                             "envFrom: [{prefix: P_, configMapRef: {name: cm}}]}]");
    const struct val *c = val_item(val_at(pod, N_spec, N_containers), 0);
    assert_int_equal(env_make(&arena, pod, c, &w, &env, &e), 0);
    expect(*env_find(&env, STR("V")), "v 10.0.0.11");
    expect(*env_find(&env, STR("W")), "node1");
    expect(*env_find(&env, STR("X")), "250");
    expect(*env_find(&env, STR("Y")), "4");
    expect(*env_find(&env, STR("Z")), "3");
    expect(*env_find(&env, STR("P_L")), "w");
    assert_null(env_find(&env, STR("O")));
    assert_null(env_find(&env, STR("HIDDEN_SERVICE_HOST")));
    assert_null(env_find(&env, STR("HEADLESS_SERVICE_HOST")));
    expect(*env_find(&env, STR("REDIS_PRIMARY_PORT")), "tcp://10.0.0.11:6379");
    expect(*env_find(&env, STR("REDIS_PRIMARY_PORT_6379_TCP_ADDR")), "10.0.0.11");
    expect(*env_find(&env, STR("REDIS_PRIMARY_PORT_6379_TCP_PROTO")), "tcp");
    pod = pod_of("", "containers: [{name: c, env: [{name: V, valueFrom: {secretKeyRef: {name: none, key: k}}}]}]");
    assert_int_equal(env_make(&arena, pod, val_item(val_at(pod, N_spec, N_containers), 0), &w, &env, &e), -ENOENT);
    assert_string_equal(e.text, "secret \"none\" not found");
    pod = pod_of("", "containers: [{name: c, env: [{name: V, valueFrom: {configMapKeyRef: {name: cm, key: no}}}]}]");
    assert_int_equal(env_make(&arena, pod, val_item(val_at(pod, N_spec, N_containers), 0), &w, &env, &e), -ENOENT);
    assert_string_equal(e.text, "couldn't find key no in ConfigMap ns/cm");
    arena_done(&arena);
}

static void downward_fields(void **state)
{
    static const struct str ips[] = {STR("10.0.0.1"), STR("fd00::1")};
    struct env_world w = {.pod_ips = ips, .n_pod_ips = 2, .host_ips = ips, .n_host_ips = 1};
    struct val *pod = pod_of(", labels: {b: '2', a: '1'}, annotations: {k: \"quo\\\"te\\nnew\"}", "nodeName: n1, serviceAccountName: sa");
    static const char *const cases[][2] = {
        {"metadata.name", "p"}, {"metadata.namespace", "ns"}, {"metadata.uid", "u1"}, {"metadata.labels", "a=\"1\"\nb=\"2\""},
        {"metadata.annotations", "k=\"quo\\\"te\\nnew\""}, {"metadata.labels['a']", "1"}, {"metadata.labels['none']", ""},
        {"spec.nodeName", "n1"}, {"spec.serviceAccountName", "sa"}, {"status.podIP", "10.0.0.1"},
        {"status.podIPs", "10.0.0.1,fd00::1"}, {"status.hostIP", "10.0.0.1"},
    };
    struct str v;
    struct err e = {{0}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        assert_int_equal(env_field_value(&arena, pod, str_of(cases[i][0]), &w, &v, &e), 0);
        expect(v, cases[i][1]);
    }
    assert_int_equal(env_field_value(&arena, pod, STR("spec.replicas"), &w, &v, &e), -EINVAL);
    assert_string_equal(e.text, "unsupported fieldPath: spec.replicas");
    assert_int_equal(env_field_value(&arena, pod, STR("metadata.name['x']"), &w, &v, &e), -EINVAL);
    assert_int_equal(env_file_value(&arena, STR("# c\nA=1\n\nB = 'two words'\nA=\"3\"\n"), STR("A"), &v, &e), 0);
    expect(v, "3");
    assert_int_equal(env_file_value(&arena, STR("B = 'two words'\n"), STR("B"), &v, &e), 0);
    expect(v, "two words");
    assert_int_equal(env_file_value(&arena, STR("broken\n"), STR("B"), &v, &e), -EINVAL);
    arena_done(&arena);
}

/* ---- files of volumes ------------------------------------------------------------------------------------------------ */

static int get_token(void *ctx, struct str audience, int64_t seconds, struct arena *a, struct str *ret, struct err *e)
{
    *ret = arena_printf(a, "token for " STR_FMT " %lld", STR_ARG(audience), (long long)seconds);
    return 0;
}

static int get_certificate(void *ctx, struct str volume, size_t index, const struct val *source, struct arena *a, struct str *ret_key,
                           struct str *ret_chain, struct err *e)
{
    if (str_is(val_getstr(source, N_signerName), "slow.org/s"))
        return err_set(e, -EAGAIN, "not yet");
    *ret_key = arena_printf(a, "key %zu of " STR_FMT ";", index, STR_ARG(volume));
    *ret_chain = STR("chain");
    return 0;
}

static struct str payload_text(const char *spec, const char *volume)
{
    struct volume_world w = {.env = {.config_map = get_map, .secret = get_map}, .token = get_token, .certificate = get_certificate};
    struct val *pod = pod_of(", labels: {a: b}", spec), *v = val_relaxed(&arena, type_at(T_core_v1_Volume), volume);
    struct payload p;
    struct err e = {{0}};
    struct buf b = BUF_INIT;
    int r = volume_payload(&arena, pod, v, &w, &p, &e);
    if (r < 0)
        buf_printf(&b, "%s", e.text);
    else if (r > 0)
        buf_puts(&b, "plain");
    for (size_t i = 0; r == 0 && i < p.n; i++)
        buf_printf(&b, "%s" STR_FMT ":%o:%lld=" STR_FMT, i ? " " : "", STR_ARG(p.files[i].path), p.files[i].mode, (long long)p.files[i].uid,
                   STR_ARG(p.files[i].content));
    struct str s = arena_str(&arena, buf_str(&b));
    buf_done(&b);
    return s;
}

static int get_huge(void *ctx, struct str ns, struct str name, const struct val **ret, struct err *e)
{
    *ret = ctx;
    return 0;
}

/* As many keys as fit into an object must not keep the kubelet from everything else. */
static void huge_config_maps(void **state)
{
    enum { KEYS = 150000 };
    struct buf text CLEANUP_BUF = BUF_INIT;
    struct val *map;
    for (unsigned i = 0; i < KEYS; i++)
        buf_printf(&text, "%s\"%06u\":\"\"", i ? "," : "{\"data\":{", i);
    buf_puts(&text, "}}");
    assert_int_equal(json_decode(&arena, type_at(T_core_v1_ConfigMap), buf_str(&text), 0, NULL, &map, NULL), 0);
    struct volume_world w = {.env = {.config_map = get_huge, .ctx = map}};
    struct val *pod = pod_of("", "containers: [{name: c, envFrom: [{configMapRef: {name: m}}]}]");
    struct payload p;
    struct env_list env;
    struct err e = {{0}};
    clock_t begun = clock();
    assert_int_equal(volume_payload(&arena, pod, val_relaxed(&arena, type_at(T_core_v1_Volume), "{configMap: {name: m}}"), &w,
                                    &p, &e), 0);
    assert_int_equal(p.n, KEYS);
    assert_int_equal(env_make(&arena, pod, val_item(val_at(pod, N_spec, N_containers), 0), &w.env, &env, &e), -E2BIG);
    assert_true(clock() - begun < 4 * CLOCKS_PER_SEC);
    arena_done(&arena);
}

static void certificate_files(void **state)
{
    static const char both[] = "{name: v, projected: {defaultMode: 420, sources: [{downwardAPI: {}}, {podCertificate: {signerName: 'e.org/s', keyType: "
                               "ED25519, credentialBundlePath: all.pem, keyPath: key.pem, certificateChainPath: c/chain.pem}}]}}";
    expect(payload_text("", both), "all.pem:644:-1=key 1 of v;chain key.pem:644:-1=key 1 of v; c/chain.pem:644:-1=chain");
    expect(payload_text("securityContext: {fsGroup: 7}", both), "all.pem:600:-1=key 1 of v;chain key.pem:600:-1=key 1 of v; c/chain.pem:600:-1=chain");
    expect(payload_text("", "{name: v, projected: {defaultMode: 420, sources: [{podCertificate: {signerName: 'e.org/s', keyType: RSA3072, keyPath: k, user: 9}}]}}"),
           "k:600:9=key 0 of v;");
    expect(payload_text("", "{name: v, projected: {sources: [{podCertificate: {signerName: 'slow.org/s', keyType: ED25519, keyPath: k}}]}}"), "not yet");
    arena_done(&arena);
}

static void certificate_requests(void **state)
{
    const struct val *pod = pod_of("", "serviceAccountName: robot"), *condition = NULL;
    struct val *source = val_relaxed(&arena, type_at(T_core_v1_PodCertificateProjection),
                                     "{signerName: 'e.org/s', keyType: ED25519, maxExpirationSeconds: 7200, userAnnotations: {'e.org/a': b}}");
    struct val *v = pod_cert_request(&arena, pod, source, STR("node-a"), STR("node-uid"), STR("account-uid"), STR("der")), *spec = val_mut(v, N_spec);
    static const struct {
        name_id name;
        const char *want;
    } fields[] = {{N_signerName, "e.org/s"}, {N_serviceAccountName, "robot"}, {N_serviceAccountUID, "account-uid"},
                  {N_nodeName, "node-a"},    {N_nodeUID, "node-uid"},         {N_stubPKCS10Request, "der"}};
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        expect(val_getstr(spec, fields[i].name), fields[i].want);
    assert_true(str_eq(val_getstr(spec, N_podUID), obj_uid(pod)) && str_eq(val_getstr(spec, N_podName), obj_name(pod)));
    assert_int_equal(val_int(val_get(spec, N_maxExpirationSeconds), 0), 7200);
    expect(val_str(val_key(val_get(spec, N_unverifiedUserAnnotations), STR("e.org/a"))), "b");
    const struct val *owner = val_item(val_at(v, N_metadata, N_ownerReferences), 0);
    assert_true(str_is(val_getstr(owner, N_kind), "Pod") && str_eq(val_getstr(owner, N_uid), obj_uid(pod)));
    static const struct {
        const char *conditions;
        enum pod_cert_state want;
    } cases[] = {{"", POD_CERT_PENDING},
                 {"{type: Other, status: 'True'}", POD_CERT_PENDING},
                 {"{type: Issued, status: 'True'}", POD_CERT_ISSUED},
                 {"{type: Denied, status: 'True', reason: Why}", POD_CERT_DENIED},
                 {"{type: Other, status: 'True'}, {type: Failed, status: 'True'}", POD_CERT_FAILED}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        assert_int_equal(pod_cert_state_of(val_relaxed(&arena, type_at(T_certificates_v1_PodCertificateRequest),
                                                       arena_printf(&arena, "{status: {conditions: [%s]}}", cases[i].conditions).p), &condition), cases[i].want);
    expect(pod_cert_clean_chain(&arena, STR("words\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\nmore\n-----BEGIN X-----\nBBBB\n-----END X-----\n")),
           "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n");
    arena_done(&arena);
}

static void volume_files(void **state)
{
    expect(payload_text("", "{name: v, configMap: {name: cm, defaultMode: 420}}"), "K:644:-1=v L:644:-1=w");
    expect(payload_text("", "{name: v, configMap: {name: cm, defaultMode: 420, items: [{key: K, path: a/b, mode: 256}]}}"), "a/b:400:-1=v");
    expect(payload_text("", "{name: v, configMap: {name: none}}"), "configmap \"none\" not found");
    expect(payload_text("", "{name: v, configMap: {name: none, optional: true}}"), "");
    expect(payload_text("", "{name: v, secret: {secretName: cm, items: [{key: X, path: x}]}}"), "references non-existent secret key: X");
    expect(payload_text("", "{name: v, downwardAPI: {items: [{path: n, fieldRef: {fieldPath: metadata.name}}]}}"), "n:644:-1=p");
    expect(payload_text("", "{name: v, projected: {sources: [{serviceAccountToken: {path: t, audience: x, expirationSeconds: 600}},"
                            " {configMap: {name: cm, items: [{key: K, path: k}]}}, {downwardAPI: {items: [{path: k, fieldRef: {fieldPath: metadata.uid}}]}}]}}"),
           "t:644:-1=token for x 600 k:644:-1=u1");
    expect(payload_text("securityContext: {runAsUser: 7}, containers: [{name: a}, {name: b}]",
                        "{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 600}}]}}"),
           "t:600:7=token for  600");
    expect(payload_text("securityContext: {runAsUser: 7}, containers: [{name: a}, {name: b, securityContext: {runAsUser: 8}}]",
                        "{name: v, projected: {sources: [{serviceAccountToken: {path: t, expirationSeconds: 600}}]}}"),
           "t:644:-1=token for  600");
    expect(payload_text("", "{name: v, emptyDir: {}}"), "plain");
    arena_done(&arena);
}

/* ---- images ------------------------------------------------------------------------------------------------------------ */

static void image_names(void **state)
{
    static const char *const good[] = {
        "busybox", "busybox:1.35", "library/busybox", "docker.io/library/busybox", "localhost/x", "localhost:5000/a/b-c__d.e:tag_1.2-x",
        "[::1]:5000/x", "r.example.com/x@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "UPPER.example.com/x",
    };
    static const char *const bad[] = {"", "Busybox", "a//b", "/a", "a/", "a:", "a:-x", "a b", "a@sha256:12", "a---:x y", "a..b", "-a"};
    for (size_t i = 0; i < ARRAY_SIZE(good); i++)
        if (image_check(str_of(good[i]), NULL) != 0)
            fail_msg("%s is refused", good[i]);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        if (image_check(str_of(bad[i]), NULL) == 0)
            fail_msg("%s is taken", bad[i]);
    expect(image_with_tag(&arena, STR("busybox")), "busybox:latest");
    expect(image_with_tag(&arena, STR("localhost:5000/x")), "localhost:5000/x:latest");
    expect(image_with_tag(&arena, STR("x:1")), "x:1");
    expect(image_repository(&arena, STR("busybox:1")), "docker.io/library/busybox");
    expect(image_repository(&arena, STR("me/app")), "docker.io/me/app");
    expect(image_repository(&arena, STR("r.io:5000/a/b@sha256:12")), "r.io:5000/a/b");
    arena_done(&arena);
}

static struct str credentials(const char *json, bool legacy, const char *image)
{
    struct val *list = val_new(&arena, VAL_LIST);
    struct buf b = BUF_INIT;
    struct err e = {{0}};
    if (image_credentials(&arena, str_of(json), legacy, str_of(image), list, &e) < 0)
        buf_puts(&b, "error");
    VAL_EACH (list, c)
        buf_printf(&b, "%s" STR_FMT "/" STR_FMT, b.n ? " " : "", STR_ARG(val_getstr(c, N_username)), STR_ARG(val_getstr(c, N_password)));
    struct str s = arena_str(&arena, buf_str(&b));
    buf_done(&b);
    return s;
}

static void image_secrets(void **state)
{
    const char *json = "{\"auths\":{\"https://index.docker.io/v1/\":{\"auth\":\"aHViOnB3\"},\"r.io\":{\"username\":\"u\",\"password\":\"p\"},"
                       "\"r.io/team\":{\"auth\":\"dDp3OjE=\"},\"*.example.com:5000\":{\"username\":\"star\"}}}";
    expect(credentials(json, false, "busybox"), "hub/pw");
    expect(credentials(json, false, "r.io/x"), "u/p");
    expect(credentials(json, false, "r.io/team/x:1"), "t/w:1 u/p");
    expect(credentials(json, false, "r.io/teamster/x"), "u/p");
    expect(credentials(json, false, "a.example.com:5000/x"), "star/");
    expect(credentials(json, false, "a.example.com/x"), "");
    expect(credentials(json, false, "a.b.example.com:5000/x"), "");
    expect(credentials("{\"r.io\":{\"auth\":\"YTpi\"}}", true, "r.io/x"), "a/b");
    expect(credentials("not json", false, "r.io/x"), "error");
    arena_done(&arena);
}

/* ---- logs ---------------------------------------------------------------------------------------------------------------- */

static void log_lines(void **state)
{
    struct crilog_line l;
    assert_int_equal(crilog_parse(STR("2006-01-02T15:04:05.999999999Z stdout F some text"), &l), 0);
    assert_str(l.text, "some text");
    assert_false(l.partial || l.from_stderr);
    assert_int_equal(crilog_parse(STR("2006-01-02T15:04:05Z stderr P part"), &l), 0);
    assert_true(l.partial && l.from_stderr);
    assert_int_equal(crilog_parse(STR("2006-01-02T15:04:05Z stdout F:extra x"), &l), 0);
    assert_int_equal(crilog_parse(STR("2006-01-02T15:04:05Z stdout F"), &l), 0);
    assert_int_equal(l.text.n, 0);
    static const char *const bad[] = {"", "x", "2006-01-02T15:04:05Z", "2006-01-02T15:04:05Z stdout", "2006-01-02T15:04:05Z other F x",
                                      "2006-01-02T15:04:05Z stdout Q x", "yesterday stdout F x"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        assert_int_equal(crilog_parse(str_of(bad[i]), &l), -EINVAL);
    struct str text = STR("a\nb\nc\n");
    assert_int_equal(crilog_tail(text, 1), 4);
    assert_int_equal(crilog_tail(text, 2), 2);
    assert_int_equal(crilog_tail(text, 9), 0);
    assert_int_equal(crilog_tail(text, 0), 6);
    struct buf b = BUF_INIT;
    crilog_last(STR("2006-01-02T15:04:05Z stdout F one\n2006-01-02T15:04:05Z stdout P tw\n2006-01-02T15:04:05Z stderr F o\n"), 100, 80, &b);
    assert_str(buf_str(&b), "one\ntwo\n");
    buf_clear(&b);
    crilog_last(STR("2006-01-02T15:04:05Z stdout F abcdef\n"), 4, 80, &b);
    assert_str(buf_str(&b), "def\n");
    buf_done(&b);
}

/* ---- names ----------------------------------------------------------------------------------------------------------------- */

static struct str conf_text(const char *spec, bool host)
{
    static const char *const dns[] = {"10.96.0.10", NULL};
    struct resolv_conf rc, out;
    struct buf b = BUF_INIT;
    resolv_conf_parse(&arena, STR("# c\nnameserver 1.1.1.1\nsearch old\nsearch corp.example. lab\nnameserver 2.2.2.2\noptions edns0 ndots:1\n"), &rc);
    struct dns_settings s = {dns, "cluster.local", host ? &rc : NULL};
    pod_dns(&arena, pod_of("", spec), &s, &out);
    for (size_t i = 0; i < out.n_servers; i++)
        buf_printf(&b, "@" STR_FMT " ", STR_ARG(out.servers[i]));
    for (size_t i = 0; i < out.n_searches; i++)
        buf_printf(&b, STR_FMT " ", STR_ARG(out.searches[i]));
    for (size_t i = 0; i < out.n_options; i++)
        buf_printf(&b, "+" STR_FMT " ", STR_ARG(out.options[i]));
    struct str r = arena_str(&arena, str_trim(buf_str(&b)));
    buf_done(&b);
    return r;
}

static void resolving(void **state)
{
    const char *cluster = "@10.96.0.10 ns.svc.cluster.local svc.cluster.local cluster.local corp.example lab +ndots:5";
    expect(conf_text("dnsPolicy: ClusterFirst", true), cluster);
    expect(conf_text("", true), cluster);
    expect(conf_text("dnsPolicy: Default", true), "@1.1.1.1 @2.2.2.2 corp.example lab +edns0 +ndots:1");
    expect(conf_text("dnsPolicy: ClusterFirst, hostNetwork: true", true), "@1.1.1.1 @2.2.2.2 corp.example lab +edns0 +ndots:1");
    expect(conf_text("dnsPolicy: ClusterFirstWithHostNet, hostNetwork: true", true), cluster);
    expect(conf_text("dnsPolicy: None, dnsConfig: {nameservers: ['9.9.9.9'], searches: [a.b], options: [{name: x, value: '1'}, {name: y}]}", true),
           "@9.9.9.9 a.b +x:1 +y");
    expect(conf_text("dnsConfig: {options: [{name: ndots, value: '2'}], searches: [lab, more]}", true),
           "@10.96.0.10 ns.svc.cluster.local svc.cluster.local cluster.local corp.example lab more +ndots:2");
    expect(conf_text("dnsPolicy: Default", false), "@127.0.0.1");
    expect(conf_text("dnsPolicy: None, dnsConfig: {nameservers: ['1.0.0.1', '1.0.0.2', '1.0.0.3', '1.0.0.4']}", true),
           "@1.0.0.1 @1.0.0.2 @1.0.0.3");
    struct str ips[] = {STR("10.0.0.5")};
    expect(pod_hosts_file(&arena, pod_of("", "hostname: h, subdomain: s, hostAliases: [{ip: '1.2.3.4', hostnames: [x, y]}]"), ips, 1, "cluster.local", STR("")),
           "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\nfe00::0\tip6-localnet\n"
           "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n10.0.0.5\th.s.ns.svc.cluster.local\th\n"
           "\n# Entries added by HostAliases.\n1.2.3.4\tx\ty\n");
    arena_done(&arena);
}

/* ---- options ------------------------------------------------------------------------------------------------------------------ */

static int options(struct kubelet_options *o, struct err *e, const char *words)
{
    struct str rest = str_of(words), word;
    char *argv[32] = {(char *)(uintptr_t) "kubelet"};
    int argc = 1;
    *o = (struct kubelet_options){0};
    while (*words && str_next(&rest, ' ', &word))
        argv[argc++] = arena_cstr(&arena, word);
    return kubelet_options_read(o, argc, argv, e);
}

FIBER_TEST(options_and_file)
{
    struct kubelet_options o;
    struct err e = {{0}};
    char path[] = "/tmp/kubelet-config-XXXXXX";
    assert_int_equal(options(&o, &e, "--hostname-override=n1 --cluster-dns=10.0.0.1,10.0.0.2 --max-pods 7 --node-labels=a=b --eviction-hard=memory.available<1Mi"), 0);
    assert_string_equal(o.config.node_name, "n1");
    assert_string_equal(o.config.cluster_dns[1], "10.0.0.2");
    assert_int_equal(o.config.max_pods, 7);
    assert_string_equal(o.config.node_labels[0], "a=b");
    assert_string_equal(o.config.listen, "0.0.0.0:10250");
    assert_true(o.config.authorize_always); /* as upstream without a file */
    assert_null(o.kubeconfig);
    kubelet_options_done(&o);
    int fd = mkstemp(path);
    const char *text = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nclusterDNS: [10.9.0.10]\nclusterDomain: my.test\n"
                       "maxPods: 50\ncgroupRoot: /x\nport: 1234\nsyncFrequency: 2m0s\ncontainerLogMaxSize: 1Mi\nfailCgroupV1: false\n"
                       "evictionHard: {memory.available: 1%}\nregisterWithTaints: [{key: k, value: v, effect: NoSchedule}]\nserializeImagePulls: false\n";
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(options(&o, &e, arena_printf(&arena, "--config=%s --max-pods=60 --kubeconfig=/k", path).p), 0);
    assert_string_equal(o.config.cluster_dns[0], "10.9.0.10");
    assert_null(o.config.cluster_dns[1]);
    assert_int_equal(o.config.max_pods, 60); /* flags go before the file */
    assert_string_equal(o.config.listen, "0.0.0.0:1234");
    assert_string_equal(o.config.cgroup_root, "/x");
    assert_string_equal(o.config.taints[0], "k=v:NoSchedule");
    assert_string_equal(o.config.eviction_hard[0], "memory.available=1%");
    assert_int_equal(o.config.sync_period, SECONDS(120));
    assert_int_equal(o.config.log_max_size, 1 << 20);
    assert_false(o.config.authorize_always || o.config.anonymous || o.config.serial_pulls);
    assert_string_equal(o.kubeconfig, "/k");
    kubelet_options_done(&o);
    assert_int_equal(ftruncate(fd, 0), 0);
    assert_int_equal(pwrite(fd, "kind: Pod\napiVersion: v1\n", 25, 0), 25);
    assert_int_equal(options(&o, &e, arena_printf(&arena, "--config=%s", path).p), -EINVAL);
    assert_non_null(strstr(e.text, "expected a kubelet.config.k8s.io/v1beta1 KubeletConfiguration"));
    kubelet_options_done(&o);
    close(fd);
    unlink(path);
    assert_int_equal(options(&o, &e, "--config=/does/not/exist"), -ENOENT);
    kubelet_options_done(&o);
    assert_int_equal(options(&o, &e, "--no-such-flag"), -EINVAL);
    kubelet_options_done(&o);
    assert_int_equal(options(&o, &e, "--authorization-mode=Never"), -EINVAL);
    kubelet_options_done(&o);
    assert_int_equal(options(&o, &e, "--help"), FLAGS_HELP);
    kubelet_options_done(&o);
    arena_done(&arena);
}

static void certificates_in_time(void **state)
{
    const struct wall from = {SECONDS(1000)}, to = {SECONDS(2000)};
    assert_in_range(cert_renewal(from, to, 0).ns / NSEC_PER_SEC, 1699, 1700);
    assert_in_range(cert_renewal(from, to, 0.5).ns / NSEC_PER_SEC, 1799, 1800);
    assert_in_range(cert_renewal(from, to, 1).ns / NSEC_PER_SEC, 1899, 1900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_in_time),
        cmocka_unit_test(references),  cmocka_unit_test(the_environment), cmocka_unit_test(an_environment_of_many_services), cmocka_unit_test(downward_fields),
        cmocka_unit_test(volume_files), cmocka_unit_test(certificate_files), cmocka_unit_test(certificate_requests), cmocka_unit_test(huge_config_maps), cmocka_unit_test(image_names),    cmocka_unit_test(image_secrets),
        cmocka_unit_test(log_lines),   cmocka_unit_test(resolving),       cmocka_unit_test(options_and_file),
        cmocka_unit_test(hashes_of_containers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
