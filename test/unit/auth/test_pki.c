/* SPDX-License-Identifier: Apache-2.0 */
#include "auth/pki.h"

#include "../testing.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define DAY (INT64_C(86400) * NSEC_PER_SEC)

static char dir[128], conf[128];

static const char *reason(const struct pki_item *items, const char *name)
{
    for (; items->name; items++)
        if (!strcmp(items->name, name))
            return items->reason;
    fail_msg("no item %s", name);
    return NULL;
}

static unsigned n_reasons(const struct pki_item *items)
{
    unsigned n = 0;
    for (; items->name; items++)
        n += items->reason != NULL;
    return n;
}

static void make_dirs(struct arena *a)
{
    char base[] = "/tmp/cube-test-pki-XXXXXX";
    assert_non_null(mkdtemp(base));
    snprintf(dir, sizeof(dir), "%s/pki", base);
    snprintf(conf, sizeof(conf), "%s/conf", base);
}

static void remove_dir(struct arena *a, const char *path)
{
    char **names;
    if (os_list_dir(a, path, &names) == 0)
        for (; *names; names++)
            os_unlink(arena_printf(a, "%s/%s", path, *names).p);
    rmdir(path);
}

static void remove_dirs(struct arena *a)
{
    remove_dir(a, dir);
    remove_dir(a, conf);
    *strrchr(dir, '/') = '\0';
    rmdir(dir);
}

FIBER_TEST(life_of_a_pki)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct pki_item *items;
    make_dirs(&a);
    const char *ips[] = {"10.0.0.5", "10.96.0.1", NULL, NULL}, *const dns[] = {"cp1", NULL};
    struct pki_config c = {.dir = dir, .apiserver_ips = ips, .apiserver_dns = dns, .now = os_wall()};

    /* From nothing: everything is made, once. */
    assert_int_equal(pki_ensure(&a, &c, &items, &e), 0);
    assert_int_equal(n_reasons(items), 6);
    assert_string_equal(reason(items, "apiserver"), "missing");
    assert_int_equal(pki_ensure(&a, &c, &items, &e), 0);
    assert_int_equal(n_reasons(items), 0);
    struct stat st;
    assert_int_equal(stat(arena_printf(&a, "%s/ca.key", dir).p, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    /* A new address: the API server's certificate alone is renewed. */
    ips[2] = "10.0.0.6";
    assert_int_equal(pki_check(&a, &c, &items, &e), 0);
    assert_string_equal(reason(items, "apiserver"), "lacks 10.0.0.6");
    assert_int_equal(pki_ensure(&a, &c, &items, &e), 0);
    assert_int_equal(n_reasons(items), 1);
    assert_int_equal(pki_check(&a, &c, &items, &e), 0);
    assert_int_equal(n_reasons(items), 0);

    /* A year later the leaves are renewed, the CAs are not. */
    c.now.ns += 340 * DAY;
    assert_int_equal(pki_ensure(&a, &c, &items, &e), 0);
    assert_int_equal(n_reasons(items), 3);
    assert_true(str_starts(str_of(reason(items, "front-proxy-client")), STR("expires 20")));

    /* Eleven years later all is expired and heals; the CA keeps its key, so what it signed stays good. */
    struct str before, after;
    assert_int_equal(os_read_file(&a, arena_printf(&a, "%s/ca.key", dir).p, 1 << 20, &before), 0);
    c.now.ns += 4000 * DAY;
    assert_int_equal(pki_ensure(&a, &c, &items, &e), 0);
    assert_true(str_starts(str_of(reason(items, "ca")), STR("expired 20")));
    assert_int_equal(os_read_file(&a, arena_printf(&a, "%s/ca.key", dir).p, 1 << 20, &after), 0);
    assert_true(str_eq(before, after));

    /* Without the CA's key good certificates are kept, and what must be renewed fails with a reason. */
    os_unlink(arena_printf(&a, "%s/ca.key", dir).p);
    assert_int_equal(pki_ensure(&a, &c, &items, &e), 0);
    assert_int_equal(n_reasons(items), 0);
    c.now.ns += 340 * DAY;
    assert_int_equal(pki_ensure(&a, &c, &items, &e), 0);
    assert_null(reason(items, "apiserver")); /* soon to end, but good */
    ips[2] = "10.0.0.7";
    assert_int_equal(pki_ensure(&a, &c, &items, &e), -ENOKEY);
    assert_non_null(strstr(e.text, "apiserver (lacks 10.0.0.7)"));
    remove_dirs(&a);
}

FIBER_TEST(kubeconfigs)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct err e = {0};
    struct pki_item *items;
    struct str text;
    make_dirs(&a);
    struct pki_config c = {.dir = dir, .now = os_wall()};
    assert_int_equal(pki_ensure(&a, &c, NULL, &e), 0);
    assert_int_equal(pki_kubeconfigs_ensure(&a, &c, conf, "https://10.0.0.5:6443", "n1", &items, &e), 0);
    assert_int_equal(n_reasons(items), 5);
    assert_int_equal(pki_kubeconfigs_ensure(&a, &c, conf, "https://10.0.0.5:6443", "n1", &items, &e), 0);
    assert_int_equal(n_reasons(items), 0);
    assert_int_equal(os_read_file(&a, arena_printf(&a, "%s/admin.conf", conf).p, 1 << 20, &text), 0);
    assert_true(str_contains(text, STR("current-context: kubernetes-admin@kubernetes\n")));
    assert_int_equal(pki_kubeconfigs_ensure(&a, &c, conf, "https://10.0.0.6:6443", "n2", &items, &e), 0);
    assert_int_equal(n_reasons(items), 5);
    assert_string_equal(reason(items, "scheduler.conf"), "server is \"https://10.0.0.5:6443\"");
    c.now.ns += 350 * DAY;
    assert_int_equal(pki_kubeconfigs_ensure(&a, &c, conf, "https://10.0.0.6:6443", "n2", &items, &e), 0);
    assert_int_equal(n_reasons(items), 5);
    remove_dirs(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(life_of_a_pki), cmocka_unit_test(kubeconfigs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
