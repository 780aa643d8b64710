/* SPDX-License-Identifier: Apache-2.0 */
#include "client/kubeconfig.h"

#include <stdio.h>
#include <unistd.h>

#include "names.h"
#include "testing.h"

static char dir[64];

static int make_dir(void **state)
{
    snprintf(dir, sizeof(dir), "/tmp/cube-kubeconfig-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static const char *const files[] = {"a", "b", "bad", "ca.pem", "token"};

static int remove_dir(void **state)
{
    char path[128];
    for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        unlink(path);
    }
    return rmdir(dir);
}

static const char *put(const char *name, const char *text)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
    return path;
}

#define HEAD "apiVersion: v1\nkind: Config\n"
#define ONE                                                                                                  \
    HEAD "current-context: one\n"                                                                            \
         "clusters:\n- name: c\n  cluster: {server: 'https://one:6443', certificate-authority: ca.pem}\n"    \
         "users:\n- name: u\n  user: {tokenFile: token}\n"                                                   \
         "contexts:\n- name: one\n  context: {cluster: c, user: u, namespace: ns1}\n"
#define TWO                                                                                                  \
    HEAD "current-context: two\n"                                                                            \
         "clusters:\n- name: c\n  cluster: {server: 'https://two:6443'}\n"                                   \
         "- name: d\n  cluster: {server: 'https://d:6443', insecure-skip-tls-verify: true}\n"                \
         "contexts:\n- name: two\n  context: {cluster: d, user: nobody}\n"

FIBER_TEST(a_file_says_where_and_who)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct val *config;
    struct https_config c;
    struct str ns;
    char path[128];
    put("ca.pem", "PEM");
    put("token", "t");
    snprintf(path, sizeof(path), "%s", put("a", ONE));
    assert_int_equal(kubeconfig_load(&a, path, &config, &e), 0);
    assert_int_equal(kubeconfig_resolve(&a, config, &(struct kubeconfig_overrides){0}, &c, &ns, &e), 0);
    assert_str(c.server, "https://one:6443");
    assert_str(c.ca_pem, "PEM");
    assert_str(ns, "ns1");
    assert_true(str_starts(c.token_file, str_of(dir)) && str_ends(c.token_file, STR("/token")));
    struct kubeconfig_overrides o = {.server = "https://other:1", .token = "x", .namespace_ = "ns2"};
    assert_int_equal(kubeconfig_resolve(&a, config, &o, &c, &ns, &e), 0);
    assert_str(c.server, "https://other:1");
    assert_str(c.token, "x");
    assert_str(ns, "ns2");
}

FIBER_TEST(of_several_files_the_first_wins)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct val *config;
    struct https_config c;
    struct str ns;
    char list[300];
    put("a", ONE);
    put("b", TWO);
    put("ca.pem", "PEM");
    snprintf(list, sizeof(list), "%s/missing:%s/a:%s/b", dir, dir, dir);
    setenv("KUBECONFIG", list, 1);
    assert_int_equal(kubeconfig_load(&a, NULL, &config, &e), 0);
    assert_int_equal(kubeconfig_resolve(&a, config, &(struct kubeconfig_overrides){0}, &c, &ns, &e), 0);
    assert_str(c.server, "https://one:6443");
    struct kubeconfig_overrides o = {.context = "two"};
    int r = kubeconfig_resolve(&a, config, &o, &c, &ns, &e);
    if (r == 0) {
        assert_str(c.server, "https://d:6443");
        assert_true(c.insecure);
        assert_str(ns, "default");
    }
    unsetenv("KUBECONFIG");
}

FIBER_TEST(what_is_wrong_is_said)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct val *config;
    struct https_config c;
    struct str ns;
    char path[128];
    assert_true(kubeconfig_load(&a, "/nonexistent/config", &config, &e) < 0);
    assert_non_null(strstr(e.text, "/nonexistent/config"));
    snprintf(path, sizeof(path), "%s", put("bad", "clusters: [\n"));
    assert_true(kubeconfig_load(&a, path, &config, &e) < 0);
    assert_non_null(strstr(e.text, path));
    snprintf(path, sizeof(path), "%s", put("a", ONE));
    assert_int_equal(kubeconfig_load(&a, path, &config, &e), 0);
    struct kubeconfig_overrides o = {.context = "nosuch"};
    assert_true(kubeconfig_resolve(&a, config, &o, &c, &ns, &e) < 0);
    assert_non_null(strstr(e.text, "nosuch"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_says_where_and_who),
        cmocka_unit_test(of_several_files_the_first_wins),
        cmocka_unit_test(what_is_wrong_is_said),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
