/* SPDX-License-Identifier: Apache-2.0 */
/* What operands and manifests mean; nothing here asks a server. */
#include "../testing.h"

#include "cli/pairs.h"
#include "cli/select.h"
#include "type/meta.h"

/* A kubectl lives for one command and leaves its memory to the end of the process. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "detect_leaks=0";
}

static struct cli *new_cli(void)
{
    struct cli *c = NEW(struct cli);
    c->path = "kubectl test";
    c->ns = STR("default");
    return c;
}

static int names(struct cli *c, struct selection *ret, int argc, const char *const *argv)
{
    return select_names(c, &(struct query){.argc = argc, .argv = (char **)argv, .ns = "default"}, ret);
}

FIBER_TEST(test_operands)
{
    static const char *const slashes[] = {"get", "deploy/web", "svc/web", NULL}, *const plain[] = {"get", "pods", "a", "b", NULL};
    struct cli *c = new_cli();
    struct selection sel;
    assert_int_equal(names(c, &sel, 3, slashes), 0);
    assert_int_equal(sel.n, 2);
    assert_str(sel.items[0].kind->plural, "deployments");
    assert_str(sel.items[0].name, "web");
    assert_str(sel.items[1].kind->plural, "services");
    assert_int_equal(names(c, &sel, 4, plain), 0);
    assert_int_equal(sel.n, 2);
    assert_str(sel.items[1].name, "b");
    assert_str(info_label(c, &sel.items[0]), "pod/a");
}

FIBER_TEST(test_kinds)
{
    static const char *const words[] = {"po", "pod", "pods", "Pod", "pods.v1."};
    struct cli *c = new_cli();
    for (size_t i = 0; i + 1 < ARRAY_SIZE(words); i++) {
        const struct kind *k = kind_by_name(c, str_of(words[i]));
        assert_non_null(k);
        assert_str(k->plural, "pods");
    }
    assert_str(kind_by_name(c, STR("deployments.v1.apps"))->api_version, "apps/v1");
    assert_str(kind_label(c, kind_by_name(c, STR("deploy"))), "deployment.apps");
}

FIBER_TEST(test_pairs)
{
    static const char *const good[] = {"label", "pod", "x", "a=b", "c-", NULL}, *const both[] = {"label", "pod", "x", "a=b", "a-", NULL};
    static const char *const late[] = {"label", "a=b", "pod", NULL};
    struct cli *c = new_cli();
    struct pairs p;
    assert_int_equal(pairs_split(c, 5, (char **)good, "label", &p), 0);
    assert_int_equal(p.n, 2);
    assert_int_equal(p.n_operands, 3);
    assert_str(p.items[0].key, "a");
    assert_str(p.items[0].value, "b");
    assert_str(p.items[1].key, "c");
    assert_true(p.items[1].remove);
    assert_int_equal(pairs_split(c, 5, (char **)both, "label", &p), 1);
    assert_int_equal(pairs_split(c, 3, (char **)late, "label", &p), 1);
}

FIBER_TEST(test_manifests)
{
    struct cli *c = new_cli();
    struct manifests m = {0}, bad = {0};
    struct str text = STR("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n---\n# nothing\n---\n"
                          "{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{\"apiVersion\":\"v1\",\"kind\":\"Secret\","
                          "\"metadata\":{\"name\":\"b\"}}]}\n");
    assert_int_equal(manifest_parse(c, "x.yaml", text, &m), 0);
    assert_int_equal(m.n, 2);
    assert_str(obj_name(m.items[0].v), "a");
    assert_str(obj_name(m.items[1].v), "b");
    struct manifests several = {0};
    assert_int_equal(manifest_parse(c, "x.json", STR("{\"kind\":\"A\",\"apiVersion\":\"v1\",\"x\":\"}{\\\"\"}\n{\"kind\":\"B\",\"apiVersion\":\"v1\"}"
                                                    "{\"kind\":\"C\",\"apiVersion\":\"v1\",\"l\":[{}]}\n"), &several), 0);
    assert_int_equal(several.n, 3);
    assert_str(val_getstr(several.items[2].v, N_kind), "C");
    free(several.items);
    assert_int_equal(manifest_parse(c, "x.json", STR("{\"kind\":\"A\",\"apiVersion\":\"v1\"} {\"kind\":"), &bad), 1);
    assert_int_equal(manifest_parse(c, "x.yaml", STR("kind: Pod\n"), &bad), 1);
    assert_int_equal(manifest_parse(c, "x.yaml", STR("a: [\n"), &bad), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_operands), cmocka_unit_test(test_kinds),
                                       cmocka_unit_test(test_pairs), cmocka_unit_test(test_manifests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
