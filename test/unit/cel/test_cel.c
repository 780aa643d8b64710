/* SPDX-License-Identifier: Apache-2.0 */
/* Views of API objects, declared objects, the authorizer, limits. What the language means: the recorded cases. */
#include "../testing.h"
#include "cel/cel.h"
#include "names.h"
#include "wire/json.h"

#define KUBERNETES (CEL_LIB_KUBERNETES | CEL_LIB_BIND)

struct fixture {
    struct arena a;
    struct cel_env *env;
    struct cel_val vars[8];
};

static struct cel_val variable(void *user, unsigned n, struct arena *a)
{
    return ((struct fixture *)user)->vars[n];
}

static struct fixture setup(unsigned libs)
{
    return (struct fixture){.env = cel_env_new(libs, 255)};
}

static void teardown(struct fixture *f)
{
    cel_env_unref(f->env);
    arena_done(&f->a);
}

static void bind(struct fixture *f, const char *name, const struct cel_type *t, struct cel_val v)
{
    f->vars[cel_env_var(f->env, name, t)] = v;
}

static struct val *json(struct fixture *f, const char *type, const char *text)
{
    struct val *v;
    struct err e = {0};
    if (json_decode(&f->a, type ? type_find(str_of(type)) : NULL, str_of(text), 0, NULL, &v, &e) < 0)
        fail_msg("%s: %s", text, e.text);
    return v;
}

/* The value's text; the sentence of a compilation or evaluation that failed. */
static const char *eval(struct fixture *f, const char *expr)
{
    struct cel_issues issues;
    struct cel_program *p;
    struct cel_val v;
    struct err e = {0};
    if (cel_compile(f->env, str_of(expr), &f->a, &p, &issues) < 0)
        return issues.items[0].message.p;
    struct cel_eval ev = {.variable = variable, .user = f, .arena = &f->a, .limit = CEL_COST_PER_CALL};
    int r = cel_eval(p, &ev, &v, &e);
    const char *s = r ? arena_cstr(&f->a, str_of(e.text)) : cel_text(&f->a, v).p;
    cel_program_unref(p);
    return s;
}

#define IS(f, expr, text) assert_string_equal(eval(f, expr), text)

/* As `object` of an admission policy: JSON's fields, also those that JSON always writes. */
static void test_table(void **state)
{
    struct fixture f = setup(KUBERNETES);
    struct val *pod = json(&f, "core.v1.Pod",
                           "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\",\"labels\":{\"a\":\"b\"}},"
                           "\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\",\"resources\":{\"limits\":{\"cpu\":\"1\"}}}]}}");
    bind(&f, "object", &cel_dyn, cel_view_table(&f.a, pod, type_find(STR("core.v1.Pod"))));
    IS(&f, "object.metadata.name", "\"p\"");
    IS(&f, "object.metadata.labels['a']", "\"b\"");
    IS(&f, "object.spec.containers.all(c, c.image == 'i')", "true");
    IS(&f, "object.spec.containers[0].resources.limits.cpu", "\"1\"");
    IS(&f, "has(object.spec.hostNetwork)", "false");
    IS(&f, "has(object.status) && object.status == {}", "true");
    IS(&f, "object.spec.nothing", "no such key: nothing");
    IS(&f, "object.metadata.map(k, k).exists(k, k == 'labels')", "true");
    teardown(&f);
    f = setup(KUBERNETES);
    struct val *secret = json(&f, "core.v1.Secret", "{\"apiVersion\":\"v1\",\"kind\":\"Secret\",\"data\":{\"k\":\"aGVsbG8=\"}}");
    bind(&f, "object", &cel_dyn, cel_view_table(&f.a, secret, type_find(STR("core.v1.Secret"))));
    IS(&f, "object.data.k", "\"aGVsbG8=\"");
    teardown(&f);
}

/* As `self` of a custom resource's rule: formats are types, absent is absent, lists have identities. */
static void test_declared(void **state)
{
    struct fixture f = setup(KUBERNETES);
    struct arena *a = cel_env_arena(f.env);
    static const char *const keys[] = {"name", NULL};
    struct cel_field item[] = {{STR("name"), STR("name"), &cel_string, NULL}, {STR("port"), STR("port"), &cel_int, NULL}};
    struct cel_type *list = (struct cel_type *)cel_list_of(a, cel_object_of(a, STR("Item"), item, 2));
    struct cel_type *set = (struct cel_type *)cel_list_of(a, &cel_string);
    list->flags = CEL_LIST_MAP;
    list->keys = keys;
    set->flags = CEL_LIST_SET;
    struct cel_field fields[] = {{STR("when"), STR("when"), &cel_timestamp, NULL}, {STR("for__dash__x"), STR("for-x"), &cel_duration, NULL},
                                 {STR("items"), STR("items"), list, NULL},         {STR("tags"), STR("tags"), set, NULL},
                                 {STR("raw"), STR("raw"), &cel_bytes, NULL},       {STR("none"), STR("none"), &cel_int, NULL}};
    const struct cel_type *t = cel_object_of(a, STR("Self"), fields, ARRAY_SIZE(fields));
    struct val *self = json(&f, NULL, "{\"when\":\"2024-01-02T03:04:05Z\",\"for-x\":\"90s\",\"items\":[{\"name\":\"a\",\"port\":1},"
                                      "{\"name\":\"b\",\"port\":2}],\"tags\":[\"x\",\"y\"],\"raw\":\"aGk=\",\"more\":1}");
    struct val *old = json(&f, NULL, "{\"items\":[{\"name\":\"b\",\"port\":2},{\"name\":\"a\",\"port\":1}],\"tags\":[\"y\",\"x\"]}");
    bind(&f, "self", t, cel_view(&f.a, self, t));
    bind(&f, "oldSelf", t, cel_view(&f.a, old, t));
    IS(&f, "self.when.getFullYear()", "2024");
    IS(&f, "self.for__dash__x > duration('1m')", "true");
    IS(&f, "self.raw == b'hi'", "true");
    IS(&f, "has(self.none)", "false");
    IS(&f, "self.none == 1", "no such key: none");
    IS(&f, "self.more", "undefined field 'more'");
    IS(&f, "self.tags == oldSelf.tags && self.items == oldSelf.items", "true");
    IS(&f, "self.tags + ['y', 'z']", "[\"x\", \"y\", \"z\"]");
    IS(&f, "(self.items + oldSelf.items).size()", "2");
    teardown(&f);
}

static void test_made_objects(void **state)
{
    struct fixture f = setup(KUBERNETES | CEL_LIB_JSONPATCH);
    struct arena *a = cel_env_arena(f.env);
    struct cel_field patch[] = {{STR("op"), STR("op"), &cel_string, NULL}, {STR("value"), STR("value"), &cel_dyn, NULL}};
    cel_env_type(f.env, cel_object_of(a, STR("JSONPatch"), patch, 2));
    IS(&f, "JSONPatch{op: 'add', value: [1]}", "JSONPatch{op: \"add\", value: [1]}");
    IS(&f, "JSONPatch{op: 'add'} == JSONPatch{op: 'add'}", "true");
    IS(&f, "JSONPatch{op: 1}", "expected type of field 'op' is 'string' but provided type is 'int'");
    IS(&f, "JSONPatch{nope: 1}", "undefined field 'nope'");
    IS(&f, "JSONPatch{?op: optional.none()}.op", "no such key: op");
    IS(&f, "jsonpatch.escapeKey('a/b~c')", "\"a~1b~0c\"");
    teardown(&f);
}

static struct cel_authz_decision answer(void *user, const struct cel_authz_request *q, struct arena *a)
{
    unsigned *asked = user;
    ++*asked;
    struct str text = arena_printf(a, "%.*s/%.*s/%.*s %.*s", STR_ARG(q->group), STR_ARG(q->resource), STR_ARG(q->namespace), STR_ARG(q->verb));
    return (struct cel_authz_decision){.allowed = str_is(q->verb, "get"), .reason = text};
}

static void test_authorizer(void **state)
{
    struct fixture f = setup(KUBERNETES | CEL_LIB_AUTHORIZER);
    unsigned asked = 0;
    struct cel_authorizer z = {answer, &asked};
    bind(&f, "authorizer", &cel_authorizer, cel_of_authorizer(&f.a, &z));
    IS(&f, "authorizer.group('apps').resource('deployments').namespace('ns').check('get').allowed()", "true");
    IS(&f, "authorizer.group('apps').resource('deployments').namespace('ns').check('list').reason()", "\"apps/deployments/ns list\"");
    IS(&f, "authorizer.path('/healthz').check('get').allowed()", "true");
    IS(&f, "authorizer.path('').check('get').allowed()", "path must not be empty");
    assert_int_equal(asked, 3);
    IS(&f, "[1, 2, 3].all(x, authorizer.group('').resource('pods').check('get').allowed())",
       "operation cancelled: actual cost limit exceeded");
    teardown(&f);
    f = setup(KUBERNETES);
    bind(&f, "authorizer", &cel_authorizer, cel_of_authorizer(&f.a, &z));
    IS(&f, "authorizer.group('apps')", "undeclared reference to 'group' (in container '')");
    teardown(&f);
}

static void test_versions(void **state)
{
    struct fixture f = {.env = cel_env_new(KUBERNETES, 36)};
    IS(&f, "[1].includes(1)", "undeclared reference to 'includes' (in container '')");
    IS(&f, "[3, 1].sort()", "[1, 3]");
    teardown(&f);
    f = (struct fixture){.env = cel_env_new(KUBERNETES, 33)};
    IS(&f, "[3, 1].sort()", "undeclared reference to 'sort' (in container '')");
    teardown(&f);
}

static const char *repeated(struct fixture *f, const char *head, const char *part, unsigned n, const char *tail, const char *close)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_puts(&b, head);
    for (unsigned i = 0; i < n; i++)
        buf_puts(&b, part);
    buf_puts(&b, tail);
    for (unsigned i = 0; i < n; i++)
        buf_puts(&b, close);
    return eval(f, arena_cstr(&f->a, buf_str(&b)));
}

/* On a fiber's stack: what is too deep is refused, what is just below it works. */
FIBER_TEST(test_depth)
{
    struct fixture f = setup(KUBERNETES);
    bind(&f, "x", &cel_int, cel_of_int(1));
    assert_string_equal(repeated(&f, "", "(", 90, "x", ")"), "1");
    assert_string_equal(repeated(&f, "", "(", 10000, "x", ")"), "expression recursion limit exceeded: 100");
    assert_string_equal(repeated(&f, "", "[", 90, "x", "][0]"), "1");
    assert_string_equal(repeated(&f, "size(", "[", 90, "x", "]"), "Syntax error: missing ')' at '<EOF>'");
    assert_string_equal(repeated(&f, "x", " + x", 190, "", ""), "191");
    assert_string_equal(repeated(&f, "x", " + x", 300, "", ""), "expression recursion limit exceeded: 200");
    assert_string_equal(repeated(&f, "x == 1", " && x == 1", 5000, "", ""), "true");
    assert_string_equal(repeated(&f, "", "[x].map(x, ", 40, "x", ")[0]"), "1");
    assert_string_equal(repeated(&f, "", "!", 5000, "true", ""), "true");
    assert_string_equal(repeated(&f, "x", " ? x : x", 5000, "", ""), "expression recursion limit exceeded: 100");
    teardown(&f);
}

static void test_size(void **state)
{
    struct fixture f = setup(KUBERNETES);
    assert_true(strstr(repeated(&f, "'", "abcdefghij", 10001, "'", ""), "expression code point size exceeds limit"));
    IS(&f, "lists.range(1000000).map(x, lists.range(1000000))", "operation cancelled: actual cost limit exceeded");
    teardown(&f);
}

/* A deep value of an object is walked on a fiber's stack, too. */
FIBER_TEST(test_deep_value)
{
    struct fixture f = setup(KUBERNETES);
    CLEANUP_BUF struct buf b = BUF_INIT;
    unsigned n = 0;
    struct val *v = NULL;
    for (unsigned depth = 10000; !v; depth /= 2) { /* as deep as JSON may be */
        buf_clear(&b);
        for (unsigned i = 0; i < depth; i++)
            buf_puts(&b, "[");
        for (unsigned i = 0; i < depth; i++)
            buf_puts(&b, "]");
        if (json_decode(&f.a, NULL, buf_str(&b), 0, NULL, &v, NULL) < 0)
            v = NULL;
        n = depth;
    }
    assert_true(n > 10);
    bind(&f, "d", &cel_dyn, cel_view(&f.a, v, NULL));
    IS(&f, "d == d", "true");
    IS(&f, "size(d)", "1");
    eval(&f, "d.flatten(100000)");
    eval(&f, "'%s'.format([d])");
    teardown(&f);
}

static void test_uses(void **state)
{
    struct fixture f = setup(KUBERNETES);
    struct cel_issues issues;
    struct cel_program *p;
    bind(&f, "a", &cel_int, cel_of_int(1));
    bind(&f, "b", &cel_int, cel_of_int(1));
    assert_int_equal(cel_compile(f.env, STR("[1].all(a, a == 1) && b == 1"), &f.a, &p, &issues), 0);
    assert_false(cel_program_uses(p, 0));
    assert_true(cel_program_uses(p, 1));
    assert_true(cel_program_bytes(p) < 16384);
    cel_program_unref(p);
    teardown(&f);
}

static void test_to_json(void **state)
{
    struct fixture f = setup(KUBERNETES);
    struct cel_issues issues;
    struct cel_program *p;
    struct cel_val v;
    struct val r;
    struct buf b = BUF_INIT;
    struct cel_eval ev = {.variable = variable, .user = &f, .arena = &f.a};
    assert_int_equal(cel_compile(f.env, STR("{'a': [dyn(1), 'x', duration('90s'), b'hi', null, 1.5]}"), &f.a, &p, &issues), -EINVAL);
    assert_int_equal(cel_compile(f.env, STR("{'a': [duration('90s')], 'b': [timestamp(0)]}.a"), &f.a, &p, &issues), -EINVAL);
    assert_int_equal(cel_compile(f.env, STR("{'a': {'x': duration('90s')}}"), &f.a, &p, &issues), 0);
    assert_int_equal(cel_eval(p, &ev, &v, NULL), 0);
    assert_int_equal(cel_to_val(&f.a, v, &r, NULL), 0);
    json_encode(&b, NULL, &r, 0);
    assert_string_equal(b.p, "{\"a\":{\"x\":\"90s\"}}");
    cel_program_unref(p);
    buf_done(&b);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),  cmocka_unit_test(test_declared),   cmocka_unit_test(test_made_objects),
        cmocka_unit_test(test_authorizer), cmocka_unit_test(test_versions), cmocka_unit_test(test_depth),
        cmocka_unit_test(test_size),   cmocka_unit_test(test_deep_value), cmocka_unit_test(test_uses),
        cmocka_unit_test(test_to_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
