/* SPDX-License-Identifier: Apache-2.0 */
/* Audit: which rule counts, what stands in events, and where they go. */
#include "fixture.h"

#include <stdio.h>
#include <unistd.h>

#include "apiserver/audit_policy.h"
#include "base/fiber.h"
#include "base/os.h"
#include "client/client.h"
#include "wire/json.h"

/* ---- the policy ---------------------------------------------------------------------------------------- */

#define POLICY "apiVersion: audit.k8s.io/v1\nkind: Policy\n"

static const struct val *policy(struct arena *a, const char *text)
{
    struct err e = {0};
    const struct val *v = NULL;
    struct str warning;
    int r = audit_policy_read(a, str_of(text), &v, &warning, &e);
    if (r < 0)
        fail_msg("%s", err_text(&e, r));
    return v;
}

static void bad_policies(void **state UNUSED)
{
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"kind: Policy\nrules: [{level: None}]", "expected an audit.k8s.io/v1 Policy"},
        {POLICY, "rules: there must be at least one"},
        {POLICY "rules: [{level: None}, {level: Everything}]", "rules[1].level: \"Everything\" is no level"},
        {POLICY "rules: [{verbs: [get]}]", "rules[0].level: \"\""},
        {POLICY "omitStages: [Later]\nrules: [{level: None}]", "omitStages[0]: \"Later\""},
        {POLICY "rules: [{level: None, omitStages: [Panic, X]}]", "rules[0].omitStages[1]: \"X\""},
        {POLICY "rules: [{level: None, nonResourceURLs: [healthz]}]", "rules[0].nonResourceURLs[0]: \"healthz\" must begin"},
        {POLICY "rules: [{level: None, nonResourceURLs: ['/a*b']}]", "may only be the last"},
        {POLICY "rules: [{level: None, nonResourceURLs: ['/a'], namespaces: [x]}]", "cannot apply to resources and"},
        {POLICY "rules: [{level: None, resources: [{group: '', resourceNames: [x]}]}]", "resources[0].resourceNames"},
        {"{", ""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct err e = {0};
        const struct val *v = NULL;
        struct str warning;
        assert_true(audit_policy_read(&a, str_of(cases[i].text), &v, &warning, &e) < 0);
        if (!strstr(e.text, cases[i].says))
            fail_msg("case %zu says: %s", i, e.text);
    }
}

static void unknown_fields_are_said(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    const struct val *v = NULL;
    struct str warning;
    assert_int_equal(audit_policy_read(&a, STR(POLICY "rules: [{level: None, colour: red}]"), &v, &warning, &e), 0);
    assert_true(str_contains(warning, STR("colour")));
}

static void first_rule_counts(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    const struct val *p = policy(&a, POLICY
        "omitStages: [RequestReceived]\n"
        "omitManagedFields: true\n"
        "rules:\n"
        "- {level: None, users: [root]}\n"
        "- {level: Metadata, userGroups: [admins], verbs: [delete]}\n"
        "- {level: Request, namespaces: [a], resources: [{group: '', resources: [pods, services/status]}], omitManagedFields: false}\n"
        "- {level: RequestResponse, resources: [{group: apps}, {group: '', resources: ['*/log', 'nodes/*']}], omitStages: [Panic]}\n"
        "- {level: Metadata, resources: [{group: '*', resources: [secrets], resourceNames: [s1]}]}\n"
        "- {level: Request, nonResourceURLs: ['/healthz*', /version]}\n");
    static const struct {
        const char *user, *group, *verb, *ns, *api, *resource, *sub, *name, *path;
        enum audit_level want;
    } cases[] = {
        {"root", "", "get", "a", "", "pods", "", "", NULL, AUDIT_NONE},
        {"x", "admins", "delete", "", "", "pods", "", "", NULL, AUDIT_METADATA},
        {"x", "admins", "get", "a", "", "pods", "", "", NULL, AUDIT_REQUEST},
        {"x", "", "get", "b", "", "pods", "", "", NULL, AUDIT_NONE},
        {"x", "", "get", "a", "", "pods", "status", "", NULL, AUDIT_NONE},
        {"x", "", "get", "a", "", "services", "status", "", NULL, AUDIT_REQUEST},
        {"x", "", "get", "b", "", "pods", "log", "", NULL, AUDIT_RESPONSE},
        {"x", "", "get", "", "apps", "anything", "scale", "", NULL, AUDIT_RESPONSE},
        {"x", "", "get", "", "", "nodes", "", "", NULL, AUDIT_RESPONSE},
        {"x", "", "get", "", "", "nodes", "proxy", "", NULL, AUDIT_RESPONSE},
        {"x", "", "get", "b", "", "secrets", "", "s1", NULL, AUDIT_METADATA},
        {"x", "", "get", "b", "", "secrets", "", "s2", NULL, AUDIT_NONE},
        {"x", "", "get", "", "", "", "", "", "/healthz/etcd", AUDIT_REQUEST},
        {"x", "", "get", "", "", "", "", "", "/version", AUDIT_REQUEST},
        {"x", "", "get", "", "", "", "", "", "/version/x", AUDIT_NONE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct str group = str_of(cases[i].group);
        struct user u = {.name = str_of(cases[i].user), .groups = &group, .n_groups = 1};
        struct attributes at = {.user = &u, .verb = str_of(cases[i].verb), .resource_request = !cases[i].path,
                                .ns = str_of(cases[i].ns), .group = str_of(cases[i].api), .resource = str_of(cases[i].resource),
                                .subresource = str_of(cases[i].sub), .name = str_of(cases[i].name),
                                .path = str_of(cases[i].path ? cases[i].path : "")};
        struct audit_choice c = audit_policy_choose(p, &at);
        if (c.level != cases[i].want)
            fail_msg("case %zu: %s", i, audit_levels[c.level]);
        assert_true(c.omitted & 1u << AUDIT_RECEIVED);
        assert_int_equal(!!(c.omitted & 1u << AUDIT_PANIC), c.level == AUDIT_RESPONSE);
        if (c.level != AUDIT_NONE)
            assert_int_equal(c.omit_managed, i != 2 && i != 5);
    }
}

/* ---- events -------------------------------------------------------------------------------------------- */

struct audited {
    struct fixture f;
    struct arena arena; /* outlives the server */
    char dir[64];
    struct apiserver_config config;
};

static const char *in_dir(struct audited *a, const char *name)
{
    return arena_printf(&a->arena, "%s/%s", a->dir, name).p;
}

static void begin(struct audited *a, const char *policy_text)
{
    *a = (struct audited){.dir = "/tmp/cube-audit-XXXXXX"};
    assert_non_null(mkdtemp(a->dir));
    a->config = (struct apiserver_config){.listen = "127.0.0.1:0", .authorization = "AlwaysAllow"};
    a->config.audit.log.path = in_dir(a, "audit.log");
    if (policy_text) {
        a->config.audit.policy = in_dir(a, "policy.yaml");
        assert_int_equal(os_write_file(a->config.audit.policy, str_of(policy_text), 0600), 0);
    }
}

static void end(struct audited *a)
{
    char **names;
    assert_int_equal(os_list_dir(&a->arena, a->dir, &names), 0);
    for (; *names; names++)
        os_unlink(in_dir(a, *names));
    rmdir(a->dir);
    fixture_stop(&a->f);
    arena_done(&a->arena);
}

static struct str log_text(struct audited *a)
{
    struct str text;
    assert_int_equal(os_read_file(&a->f.arena, in_dir(a, "audit.log"), 1 << 24, &text), 0);
    return text;
}

/* The last event of a stage whose requestURI begins so; NULL: none. Every line must be an Event. */
static const struct val *event(struct audited *a, const char *uri, const char *stage)
{
    struct str rest = log_text(a), line;
    const struct val *found = NULL;
    while (str_next(&rest, '\n', &line)) {
        struct val *v = NULL;
        if (!line.n)
            continue;
        assert_int_equal(json_decode(&a->f.arena, NULL, line, 0, NULL, &v, NULL), 0);
        assert_string_equal(at(&a->f, v, "kind"), "Event");
        if (strncmp(at(&a->f, v, "requestURI"), uri, strlen(uri)) == 0 && strcmp(at(&a->f, v, "stage"), stage) == 0)
            found = v;
    }
    return found;
}

static const char *note(const struct val *event, const char *key)
{
    return val_cstr(val_key(val_key(event, STR("annotations")), str_of(key)));
}

#define MAPS "/api/v1/namespaces/default/configmaps"
#define assert_says(a, v, path, want) assert_string_equal(at(&(a)->f, (v), (path)), (want))

FIBER_TEST(events_hold_what_their_level_says)
{
    struct audited a;
    begin(&a, POLICY "rules:\n"
                     "- {level: Metadata, resources: [{group: '', resources: [secrets]}]}\n"
                     "- {level: RequestResponse, omitManagedFields: true, resources: [{group: '', resources: [configmaps]}]}\n"
                     "- {level: Request, omitStages: [RequestReceived], resources: [{group: '', resources: [serviceaccounts]}]}\n"
                     "- {level: None}\n");
    fixture_start(&a.f, &a.config);
    assert_code(ask(&a.f, "POST", MAPS "?fieldManager=me", "{\"metadata\":{\"name\":\"m\"},\"data\":{\"k\":\"v\"}}",
                    "User-Agent: tester\nX-Forwarded-For: 10.9.8.7, nonsense\nAudit-ID: abc"), 201);
    const struct val *v = event(&a, MAPS, "RequestReceived");
    assert_non_null(v);
    assert_says(&a, v, "requestObject.data.k", "");
    v = event(&a, MAPS, "ResponseComplete");
    assert_non_null(v);
    assert_says(&a, v, "level", "RequestResponse");
    assert_says(&a, v, "auditID", "abc");
    assert_says(&a, v, "verb", "create");
    assert_says(&a, v, "user.username", "system:anonymous");
    assert_says(&a, v, "sourceIPs.0", "10.9.8.7");
    assert_says(&a, v, "sourceIPs.1", "127.0.0.1");
    assert_says(&a, v, "userAgent", "tester");
    assert_says(&a, v, "objectRef.resource", "configmaps");
    assert_says(&a, v, "objectRef.name", "m");
    assert_says(&a, v, "responseStatus.code", "201");
    assert_string_equal(note(v, "authorization.k8s.io/decision"), "allow");
    assert_says(&a, v, "requestObject.data.k", "v");
    assert_says(&a, v, "responseObject.data.k", "v");
    assert_true(*at(&a.f, v, "responseObject.metadata.uid"));
    assert_says(&a, v, "responseObject.metadata.managedFields.0.manager", "");

    assert_code(patch(&a.f, MAPS "/m", "merge-patch+json", "{\n\"data\":{\"k\":\"w\"}}"), 200);
    v = event(&a, MAPS "/m", "ResponseComplete");
    assert_says(&a, v, "requestObject.data.k", "w");
    assert_code(get(&a.f, MAPS "/none"), 404);
    v = event(&a, MAPS "/none", "ResponseComplete");
    assert_says(&a, v, "responseStatus.reason", "NotFound");
    assert_says(&a, v, "responseObject.kind", "Status");

    assert_code(post(&a.f, "/api/v1/namespaces/default/secrets", "{\"metadata\":{\"name\":\"s\"},\"stringData\":{\"k\":\"hush\"}}"), 201);
    assert_non_null(event(&a, "/api/v1/namespaces/default/secrets", "ResponseComplete"));
    assert_false(str_contains(log_text(&a), STR("hush")));
    assert_code(post(&a.f, "/api/v1/namespaces/default/serviceaccounts", "{\"metadata\":{\"name\":\"x\"}}"), 201);
    assert_null(event(&a, "/api/v1/namespaces/default/serviceaccounts", "RequestReceived"));
    v = event(&a, "/api/v1/namespaces/default/serviceaccounts", "ResponseComplete");
    assert_says(&a, v, "requestObject.metadata.name", "x");
    assert_says(&a, v, "responseObject.kind", "");
    assert_code(get(&a.f, "/api/v1/nodes"), 200);
    assert_null(event(&a, "/api/v1/nodes", "ResponseComplete"));
    assert_code(get(&a.f, "/version"), 200);
    assert_null(event(&a, "/version", "ResponseComplete"));
    struct reply r = get(&a.f, "/metrics");
    assert_true(str_contains(r.text, STR("apiserver_audit_level_total{level=\"RequestResponse\"} 3")));
    assert_true(str_contains(r.text, STR("apiserver_audit_error_total{plugin=\"all\"} 0")));
    end(&a);
}

FIBER_TEST(without_a_policy_metadata)
{
    struct audited a;
    begin(&a, NULL);
    fixture_start(&a.f, &a.config);
    make_config_map(&a.f, "m", "{}");
    assert_code(get(&a.f, MAPS "/m"), 200);
    const struct val *v = event(&a, MAPS "/m", "ResponseComplete");
    assert_non_null(v);
    assert_says(&a, v, "level", "Metadata");
    assert_says(&a, v, "responseObject.kind", "");
    assert_null(event(&a, MAPS, "RequestReceived"));
    end(&a);
}

FIBER_TEST(a_watch_is_noted_when_it_begins)
{
    struct audited a;
    struct watching w = {0};
    begin(&a, POLICY "rules: [{level: Metadata, verbs: [watch]}]");
    fixture_start(&a.f, &a.config);
    assert_int_equal(watch_begin(&a.f, &w, MAPS "?watch=1&resourceVersion=0"), 200);
    const struct val *v = event(&a, MAPS, "ResponseStarted");
    assert_non_null(v);
    assert_says(&a, v, "responseStatus.code", "200");
    assert_null(event(&a, MAPS, "ResponseComplete"));
    watch_end(&w);
    for (int i = 0; i < 200 && !event(&a, MAPS, "ResponseComplete"); i++)
        fiber_sleep(MILLISECONDS(10));
    assert_non_null(event(&a, MAPS, "ResponseComplete"));
    end(&a);
}

FIBER_TEST(our_own_parts_are_noted_by_a_policy)
{
    struct audited a;
    begin(&a, POLICY "rules: [{level: Request, users: ['system:serviceaccount:kube-system:gc'], verbs: [get]}, {level: None}]");
    fixture_start(&a.f, &a.config);
    static const char *const groups[] = {"system:masters", NULL};
    struct client *c = local_client_new(a.f.server, "gc", "system:serviceaccount:kube-system:gc", groups);
    struct status s;
    const struct val *got = NULL;
    status_init(&s, &a.f.arena);
    assert_int_equal(client_get(c, CALL(.res = &resources[RES_NAMESPACES], .name = STR("default")), &a.f.arena, &got, &s), 0);
    client_free(c);
    const struct val *v = event(&a, "", "ResponseComplete");
    assert_non_null(v);
    assert_says(&a, v, "userAgent", "gc");
    assert_says(&a, v, "objectRef.name", "default");
    end(&a);
}

/* ---- the log ------------------------------------------------------------------------------------------- */

static size_t count_lines(struct audited *a, int64_t *ret_files)
{
    char **names;
    size_t n = 0;
    *ret_files = 0;
    assert_int_equal(os_list_dir(&a->f.arena, a->dir, &names), 0);
    for (; *names; names++) {
        struct str text;
        assert_int_equal(os_read_file(&a->f.arena, in_dir(a, *names), 1 << 24, &text), 0);
        ++*ret_files;
        assert_true(text.n <= 4096);
        for (size_t i = 0; i < text.n; i++)
            n += text.p[i] == '\n';
    }
    return n;
}

FIBER_TEST(a_full_log_is_rotated)
{
    struct audited a;
    int64_t files;
    begin(&a, NULL);
    a.config.audit.log.max_bytes = 4096;
    fixture_start(&a.f, &a.config);
    for (int i = 0; i < 40; i++) {
        get(&a.f, MAPS);
        fiber_sleep(MILLISECONDS(1)); /* backups are named by the millisecond */
    }
    assert_int_equal(count_lines(&a, &files), 40);
    assert_true(files > 3);
    a.config.audit.log.max_backups = 2;
    fixture_restart(&a.f, &a.config);
    count_lines(&a, &files);
    assert_int_equal(files, 3);
    end(&a);
}

FIBER_TEST(a_log_that_cannot_be_written)
{
    struct audited a;
    begin(&a, POLICY "rules: [{level: Metadata}]");
    a.config.audit.log.path = "/dev/full";
    fixture_start(&a.f, &a.config);
    assert_code(get(&a.f, MAPS), 200);
    a.config.audit.log_mode = "blocking-strict";
    fixture_restart(&a.f, &a.config);
    struct reply r = get(&a.f, MAPS);
    assert_code(r, 500);
    assert_true(str_contains(r.text, STR("failed to store audit event")));
    end(&a);
}

/* ---- the webhook --------------------------------------------------------------------------------------- */

struct hook {
    unsigned calls, events, refuse;
    char last[64];
};

static void take(void *ctx, struct http_exchange *x)
{
    struct hook *h = ctx;
    struct str body;
    struct val *v = NULL;
    h->calls++;
    assert_int_equal(http_read_all(x, 1 << 20, MONO_NEVER, &body), 0);
    if (h->refuse) {
        h->refuse--;
        http_respond(x, 503, "text/plain", STR("later"));
        return;
    }
    assert_int_equal(json_decode(&x->arena, NULL, body, 0, NULL, &v, NULL), 0);
    assert_true(str_is(val_str(val_key(v, STR("kind"))), "EventList"));
    h->events += (unsigned)val_len(val_key(v, STR("items")));
    http_respond(x, 200, "text/plain", STR(""));
}

FIBER_TEST(a_webhook_gets_batches_and_is_tried_again)
{
    struct audited a;
    struct hook h = {.refuse = 1};
    struct err e = {0};
    char address[128];
    struct http_server *server = http_server_new(&(struct http_server_config){.handler = take, .ctx = &h});
    assert_int_equal(http_server_listen(server, "127.0.0.1:0", &e), 0);
    http_server_address(server, address, sizeof(address));
    begin(&a, POLICY "omitStages: [RequestReceived]\nrules: [{level: Metadata, verbs: [list]}]");
    struct str kubeconfig = arena_printf(&a.arena,
        "apiVersion: v1\nkind: Config\nclusters: [{name: x, cluster: {server: 'http://%s/audit'}}]\n"
        "contexts: [{name: x, context: {cluster: x, user: ''}}]\ncurrent-context: x\n", address);
    a.config.audit.log.path = NULL;
    a.config.audit.webhook = (struct audit_webhook_config){.kubeconfig = in_dir(&a, "hook.conf"), .backoff_ns = MILLISECONDS(5)};
    a.config.audit.webhook_batching = (struct audit_batching){.size = 3, .wait_ns = MILLISECONDS(200)};
    assert_int_equal(os_write_file(a.config.audit.webhook.kubeconfig, kubeconfig, 0600), 0);
    fixture_start(&a.f, &a.config);
    for (int i = 0; i < 7; i++)
        get(&a.f, MAPS);
    for (int i = 0; i < 300 && h.events < 7; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_int_equal(h.events, 7);
    assert_int_equal(h.calls, 4); /* 3 refused, 3, 3, 1 */
    end(&a);
    http_server_stop(server, os_mono());
    http_server_free(server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_policies),
        cmocka_unit_test(unknown_fields_are_said),
        cmocka_unit_test(first_rule_counts),
        cmocka_unit_test(events_hold_what_their_level_says),
        cmocka_unit_test(without_a_policy_metadata),
        cmocka_unit_test(a_watch_is_noted_when_it_begins),
        cmocka_unit_test(our_own_parts_are_noted_by_a_policy),
        cmocka_unit_test(a_full_log_is_rotated),
        cmocka_unit_test(a_log_that_cannot_be_written),
        cmocka_unit_test(a_webhook_gets_batches_and_is_tried_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
