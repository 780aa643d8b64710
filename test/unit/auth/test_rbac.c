/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/rbac.h"

#include "../testing.h"
#include "types.h"
#include "wire/json.h"

static struct arena arena;

static const struct val *parse(unsigned type, const char *json)
{
    struct val *v;
    struct err e = {0};
    if (json_decode(&arena, type_at(type), str_of(json), 0, NULL, &v, &e) < 0)
        fail_msg("%s", e.text);
    return v;
}

static const struct val *rules(const char *json)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, "{\"rules\":%s}", json);
    const struct val *role = parse(T_rbac_v1_ClusterRole, b.p);
    VAL_EACH_MEMBER(role, it)
    {
        if (val_is(it, VAL_LIST))
            return it;
    }
    return NULL;
}

struct ask_case {
    const char *rules, *verb, *group, *resource, *sub, *name, *path;
    bool want;
};

static void one_rule(void **state)
{
    static const char pods[] =
        "[{\"verbs\":[\"get\",\"list\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]";
    static const char logs[] = "[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods/log\"]}]";
    static const char scales[] = "[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*/scale\"]}]";
    static const char named[] = "[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"secrets\"],"
                                "\"resourceNames\":[\"a\",\"b\"]}]";
    static const char all[] = "[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}]";
    static const char urls[] = "[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/healthz\",\"/logs/*\"]}]";
    static const char every[] = "[{\"verbs\":[\"*\"],\"nonResourceURLs\":[\"*\"]}]";
    static const struct ask_case cases[] = {
        {pods, "get", "", "pods", "", "x", NULL, true},
        {pods, "delete", "", "pods", "", "x", NULL, false},
        {pods, "get", "apps", "pods", "", "x", NULL, false},
        {pods, "get", "", "pods", "log", "x", NULL, false},
        {logs, "get", "", "pods", "log", "x", NULL, true},
        {logs, "get", "", "pods", "", "x", NULL, false},
        {logs, "get", "", "nodes", "log", "x", NULL, false},
        {scales, "update", "apps", "deployments", "scale", "x", NULL, true},
        {scales, "update", "apps", "deployments", "", "x", NULL, false},
        {named, "get", "", "secrets", "", "b", NULL, true},
        {named, "get", "", "secrets", "", "c", NULL, false},
        {named, "get", "", "secrets", "", "", NULL, false},
        {all, "escalate", "x.io", "y", "z", "", NULL, true},
        {all, "get", NULL, NULL, NULL, NULL, "/healthz", false},
        {urls, "get", NULL, NULL, NULL, NULL, "/healthz", true},
        {urls, "get", NULL, NULL, NULL, NULL, "/healthz/x", false},
        {urls, "get", NULL, NULL, NULL, NULL, "/logs/x/y", true},
        {urls, "post", NULL, NULL, NULL, NULL, "/healthz", false},
        {urls, "get", "", "pods", "", "", NULL, false},
        {every, "get", NULL, NULL, NULL, NULL, "/anything", true},
        {"[]", "get", "", "pods", "", "", NULL, false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct ask_case *c = &cases[i];
        struct rbac_request r = {.verb = str_of(c->verb),
                                 .resource_request = !c->path,
                                 .group = str_of(c->group),
                                 .resource = str_of(c->resource),
                                 .subresource = str_of(c->sub),
                                 .name = str_of(c->name),
                                 .path = str_of(c->path)};
        if (rbac_rules_allow(rules(c->rules), &r) != c->want)
            fail_msg("case %zu", i);
    }
    arena_done(&arena);
}

/* ---- a small world ------------------------------------------------------------------------------------ */

static const char *const cluster_bindings[] = {
    "{\"metadata\":{\"name\":\"admins\"},\"roleRef\":{\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":"
    "\"ClusterRole\","
    "\"name\":\"admin\"},\"subjects\":[{\"kind\":\"Group\",\"name\":\"ops\"},{\"kind\":\"User\",\"name\":"
    "\"root\"}]}",
    "{\"metadata\":{\"name\":\"sa\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"view\"},"
    "\"subjects\":[{\"kind\":\"ServiceAccount\",\"name\":\"robot\",\"namespace\":\"ns1\"},"
    "{\"kind\":\"ServiceAccount\",\"name\":\"nowhere\"}]}",
    ("{\"metadata\":{\"name\":\"dangling\"},\"roleRef\":{\"kind\":\"ClusterRole\",\"name\":\"gone\"},"
     "\"subjects\":[{\"kind\":\"User\",\"name\":\"ann\"}]}"),
};
static const char role_binding[] =
    "{\"metadata\":{\"name\":\"rb\",\"namespace\":\"ns1\"},\"roleRef\":{\"kind\":\"Role\",\"name\":\"edit\"},"
    "\"subjects\":[{\"kind\":\"User\",\"name\":\"ann\"},{\"kind\":\"ServiceAccount\",\"name\":\"local\"}]}";

static void each_cluster(void *ctx, rbac_visit *visit, void *arg)
{
    for (size_t i = 0; i < ARRAY_SIZE(cluster_bindings); i++)
        if (!visit(arg, parse(T_rbac_v1_ClusterRoleBinding, cluster_bindings[i])))
            return;
}

static void each_role(void *ctx, struct str namespace, rbac_visit *visit, void *arg)
{
    if (str_is(namespace, "ns1"))
        visit(arg, parse(T_rbac_v1_RoleBinding, role_binding));
}

static const struct val *cluster_role(void *ctx, struct str name)
{
    if (str_is(name, "admin"))
        return parse(T_rbac_v1_ClusterRole,
                     "{\"rules\":[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}]}");
    if (str_is(name, "view"))
        return parse(T_rbac_v1_ClusterRole,
                     "{\"rules\":[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]}");
    return NULL;
}

static const struct val *role(void *ctx, struct str namespace, struct str name)
{
    if (!str_is(namespace, "ns1") || !str_is(name, "edit"))
        return NULL;
    return parse(T_rbac_v1_Role,
                 "{\"rules\":[{\"verbs\":[\"update\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]}");
}

static const struct rbac_world world = {NULL, each_cluster, each_role, cluster_role, role};

static bool may(const char *user, const char *group, const char *verb, const char *ns, struct err *e)
{
    struct str groups[] = {str_of(group)};
    struct rbac_request r = {.user = {str_of(user), groups, group ? 1 : 0},
                             .verb = str_of(verb),
                             .resource_request = true,
                             .resource = STR("pods"),
                             .namespace = str_of(ns)};
    return rbac_authorize(&world, &r, e);
}

static void bindings(void **state)
{
    struct err e = {0};
    assert_true(may("joe", "ops", "delete", "", &e));
    assert_string_equal(
        e.text, "RBAC: allowed by ClusterRoleBinding \"admins\" of ClusterRole \"admin\" to Group \"ops\"");
    assert_true(may("root", NULL, "delete", "ns2", NULL));
    assert_false(may("joe", "other", "get", "ns1", NULL));
    assert_true(may("ann", NULL, "update", "ns1", &e));
    assert_string_equal(e.text, "RBAC: allowed by RoleBinding \"rb/ns1\" of Role \"edit\" to User \"ann\"");
    assert_false(may("ann", NULL, "update", "ns2", NULL));
    assert_false(may("ann", NULL, "update", "", NULL));
    assert_true(may("system:serviceaccount:ns1:robot", NULL, "get", "ns9", &e));
    assert_string_equal(
        e.text,
        "RBAC: allowed by ClusterRoleBinding \"sa\" of ClusterRole \"view\" to ServiceAccount \"robot/ns1\"");
    assert_false(may("system:serviceaccount:ns2:robot", NULL, "get", "ns9", NULL));
    assert_false(may("system:serviceaccount::nowhere", NULL, "get", "ns9", NULL));
    assert_true(may("system:serviceaccount:ns1:local", NULL, "update", "ns1", &e));
    assert_string_equal(
        e.text, "RBAC: allowed by RoleBinding \"rb/ns1\" of Role \"edit\" to ServiceAccount \"local/ns1\"");
    struct rbac_user ann = {STR("ann"), NULL, 0};
    assert_int_equal(val_len(rbac_user_rules(&world, &arena, &ann, STR("ns1"))), 1);
    assert_int_equal(val_len(rbac_user_rules(&world, &arena, &ann, STR_NULL)), 0);
    arena_done(&arena);
}

/* ---- escalation --------------------------------------------------------------------------------------- */

static void escalation(void **state)
{
    static const struct {
        const char *owned, *wanted;
        bool want;
    } cases[] = {
        {"[]", "[]", true},
        {"[]", "[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]", false},
        {"[{\"verbs\":[\"*\"],\"apiGroups\":[\"*\"],\"resources\":[\"*\"]}]",
         "[{\"verbs\":[\"get\"],\"apiGroups\":[\"a\",\"b\"],\"resources\":[\"pods/"
         "log\"],\"resourceNames\":[\"x\"]}]",
         true},
        /* several rules together */
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]},"
         "{\"verbs\":[\"list\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]",
         "[{\"verbs\":[\"get\",\"list\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]", true},
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]",
         "[{\"verbs\":[\"*\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]", false},
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":[\"a\"]}]",
         "[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]", false},
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"]}]",
         "[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"pods\"],\"resourceNames\":[\"a\"]}]",
         true},
        {"[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"*/scale\"]}]",
         "[{\"verbs\":[\"get\"],\"apiGroups\":[\"\"],\"resources\":[\"x/scale\",\"y/scale\"]}]", true},
        {"[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/a/*\"]}]",
         "[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/a/b\",\"/a/c/*\"]}]", true},
        {"[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/a/*\"]}]",
         "[{\"verbs\":[\"get\"],\"nonResourceURLs\":[\"/b\"]}]", false},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct val *missing;
        if (rbac_rules_cover(&arena, rules(cases[i].owned), rules(cases[i].wanted), &missing) !=
            cases[i].want)
            fail_msg("case %zu", i);
        assert_int_equal(val_len(missing) == 0, cases[i].want);
    }
    struct val *missing;
    struct buf b CLEANUP_BUF = BUF_INIT;
    rbac_rules_cover(
        &arena, rules("[]"),
        rules("[{\"verbs\":[\"get\"],\"apiGroups\":[\"apps\"],\"resources\":[\"deployments\"]}]"), &missing);
    rbac_rule_text(&b, val_item(missing, 0));
    assert_str(buf_str(&b), "{APIGroups:[\"apps\"], Resources:[\"deployments\"], Verbs:[\"get\"]}");
    arena_done(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_rule), cmocka_unit_test(bindings),
                                       cmocka_unit_test(escalation)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
