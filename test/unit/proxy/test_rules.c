/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The service proxy's rules. Text is checked for some cases; the kernel is asked in a network namespace of the test's
 * own (needs root, else those parts are skipped): what a hundred small changes leave there must equal what one full
 * write makes.
 */
#include "../testing.h"

#include "names.h"
#include "netlink/nft.h"
#include "proxy/sync.h"
#include "resources.h"
#include "type/meta.h"
#include "wire/json.h"

#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#define TABLE "cube-test-rules"

static const struct rules_node node = {"here", "", "10.244.0.0/16", false, NULL};

static struct object *object_of(unsigned res, const char *json)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v;
    struct err e = {0};
    if (json_decode(&a, resources[res].type, str_of(json), 0, NULL, &v, &e))
        fail_msg("%s: %s", json, e.text);
    return object_new(&resources[res], v);
}

/* A Service and n endpoints, of which each second one is on this node. */
struct world {
    struct service_index index;
    struct object *service[8], *slice[8];
};

static void set_object(struct world *w, struct object **slot, unsigned res, const char *json)
{
    struct object *now = json ? object_of(res, json) : NULL;
    if (!now && !*slot)
        return;
    service_index_changed(&w->index, &resources[res], *slot, now, NULL, NULL);
    object_unref(*slot);
    *slot = now;
}

static void set_service(struct world *w, int i, const char *spec)
{
    char json[1024], more[512];
    snprintf(more, sizeof(more), "%s", spec ? spec : "");
    char *number = strstr(more, "%d"); /* an external IP of its own: shared ones go to whoever was first */
    if (number)
        number[0] = (char)('1' + i), number[1] = '1';
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"s%d\",\"namespace\":\"default\",\"uid\":\"s%d\"},\"spec\":{\"clusterIP\":\"10.96.0.%d\",\"clusterIPs\":"
             "[\"10.96.0.%d\"],\"ports\":[{\"name\":\"http\",\"port\":80,\"protocol\":\"TCP\",\"nodePort\":%d}]%s}}",
             i, i, i + 1, i + 1, 30000 + i, more);
    set_object(w, &w->service[i], RES_SERVICES, spec ? json : NULL);
}

static void set_endpoints(struct world *w, int i, int n)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, "{\"metadata\":{\"name\":\"s%d-x\",\"namespace\":\"default\",\"uid\":\"e%d\",\"labels\":{\"kubernetes.io/service-name\":\"s%d\"}},"
                   "\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"http\",\"port\":8080,\"protocol\":\"TCP\"}],\"endpoints\":[", i, i, i);
    for (int k = 0; k < n; k++)
        buf_printf(&b, "%s{\"addresses\":[\"10.244.%d.%d\"],\"nodeName\":\"%s\"}", k ? "," : "", i, k + 1, k % 2 ? "there" : "here");
    buf_puts(&b, "]}");
    set_object(w, &w->slice[i], RES_ENDPOINTSLICES, n >= 0 ? b.p : NULL);
}

static void world_done(struct world *w)
{
    for (int i = 0; i < 8; i++) {
        set_object(w, &w->service[i], RES_SERVICES, NULL);
        set_object(w, &w->slice[i], RES_ENDPOINTSLICES, NULL);
    }
    service_index_done(&w->index);
}

static struct str items_text(struct world *w, int i, struct arena *a)
{
    struct items it = {.arena = a};
    struct buf b CLEANUP_BUF = BUF_INIT;
    char name[8];
    snprintf(name, sizeof(name), "s%d", i);
    rules_of_service(&node, service_index_get(&w->index, STR("default"), str_of(name)), &it);
    for (size_t k = 0; k < it.n; k++)
        buf_printf(&b, "%c " STR_FMT " -> " STR_FMT "\n", "SCE"[it.list[k].kind], STR_ARG(it.list[k].name), STR_ARG(it.list[k].body));
    return arena_str(a, buf_str(&b));
}

static void services_become_items(void **state UNUSED)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct world w = {0};
    set_service(&w, 0, "");
    assert_true(str_contains(items_text(&w, 0, &a), STR("E no_endpoints 10.96.0.1 . tcp . 80 -> goto reject-it")));
    assert_true(str_contains(items_text(&w, 0, &a), STR("E cluster_ips 10.96.0.1 -> goto reject-it")));
    assert_true(str_contains(items_text(&w, 0, &a), STR("E no_node_ports tcp . 30000 -> goto reject-it")));
    set_endpoints(&w, 0, 1);
    assert_true(str_contains(items_text(&w, 0, &a), STR("-> meta l4proto tcp dnat ip to 10.244.0.1:8080")));
    set_endpoints(&w, 0, 2);
    struct str text = items_text(&w, 0, &a);
    assert_true(str_contains(text, STR("numgen random mod 2 map { 0 : 10.244.0.1 . 8080, 1 : 10.244.0.2 . 8080 }")));
    assert_true(str_contains(text, STR("E hairpin 10.244.0.1 . 10.244.0.1 . tcp . 8080")));
    assert_false(str_contains(text, STR("10.244.0.2 . 10.244.0.2"))); /* not on this node */
    set_service(&w, 0, ",\"externalTrafficPolicy\":\"Local\"");
    text = items_text(&w, 0, &a);
    assert_true(str_contains(text, STR("C loc-")));
    assert_true(str_contains(text, STR("fib saddr type local")));
    set_service(&w, 0, ",\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":60}}");
    text = items_text(&w, 0, &a);
    assert_true(str_contains(text, STR("timeout 60s")));
    assert_true(str_contains(text, STR("update @aff-")));
    set_service(&w, 0, NULL);
    assert_str(items_text(&w, 0, &a), "");
    world_done(&w);
}

/* ---- with the kernel ------------------------------------------------------------------------------------------- */

static int change(struct world *w, struct sync *s, int i, struct buf *b)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct sync_text t = {0};
    struct items want = {.arena = &a};
    char name[8], key[16];
    snprintf(name, sizeof(name), "s%d", i);
    snprintf(key, sizeof(key), "default/s%d", i);
    rules_of_service(&node, service_index_get(&w->index, STR("default"), str_of(name)), &want);
    sync_service(s, "ip", TABLE, str_of(key), &want, &t);
    sync_text_join(&t, b);
    sync_text_done(&t);
    return 0;
}

static void apply(struct buf *b)
{
    struct err e = {0};
    if (b->n && nft_apply(buf_str(b), &e) < 0)
        fail_msg("%s\n%s", e.text, b->p);
}

static int compare_lines(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

/* What the kernel has, line by line and sorted: the order of elements and chains is its own affair. Rules keep the
 * name of their chain before them, so none can hide in another. */
static struct str kernel_text(struct arena *a)
{
    struct str out, line, chain = STR("");
    const char *argv[] = {"nft", "-y", "list", "table", "ip", TABLE, NULL};
    assert_int_equal(os_run(a, argv, &out, NULL, MONO_NEVER), 0);
    struct str *lines = ARENA_ARRAY(a, struct str, out.n);
    size_t n = 0;
    while (str_next(&out, '\n', &line)) {
        line = str_trim(line);
        if (!line.n || str_is(line, "}"))
            continue;
        if (str_ends(line, STR(",")))
            line.n--;
        if (str_ends(line, STR("{")))
            chain = line;
        lines[n++] = arena_printf(a, STR_FMT " / " STR_FMT, STR_ARG(chain), STR_ARG(line));
    }
    qsort(lines, n, sizeof(*lines), compare_lines);
    return arena_join(a, lines, n, STR("\n"));
}

/* Elements stand several on a line and wrap: all text without their spacing, so only sorted words count. */
static struct str words(struct arena *a, struct str text)
{
    struct str *list = ARENA_ARRAY(a, struct str, text.n + 1), word;
    size_t n = 0;
    for (size_t i = 0; i < text.n; i++)
        if (text.p[i] == '\n' || text.p[i] == '\t')
            ((char *)text.p)[i] = ' ';
    while (str_next(&text, ' ', &word))
        if (word.n)
            list[n++] = word;
    qsort(list, n, sizeof(*list), compare_lines);
    return arena_join(a, list, n, STR("\n"));
}

static void small_changes_equal_a_full_write_body(void *arg UNUSED)
{
    static const char *specs[] = {"", ",\"externalTrafficPolicy\":\"Local\"", ",\"internalTrafficPolicy\":\"Local\"",
                                  ",\"sessionAffinity\":\"ClientIP\",\"sessionAffinityConfig\":{\"clientIP\":{\"timeoutSeconds\":60}}",
                                  ",\"externalIPs\":[\"192.0.2.%d\"]", NULL};
    struct world w = {0};
    struct sync s = {0};
    struct buf b CLEANUP_BUF = BUF_INIT;
    uint64_t r = 7;
    rules_base(&node, TABLE, &b);
    apply(&b);
    for (int step = 0; step < 120; step++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        r = r * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        int i = (int)(r >> 33) % 8;
        if ((r >> 40) % 2)
            set_endpoints(&w, i, (int)(r >> 50) % 5 - 1);
        else
            set_service(&w, i, specs[(r >> 50) % ARRAY_SIZE(specs)]);
        buf_clear(&b);
        change(&w, &s, i, &b);
        apply(&b);
        if (step % 10)
            continue;
        struct str small = words(&a, kernel_text(&a));
        struct sync anew = {0};
        buf_clear(&b);
        rules_base(&node, TABLE, &b);
        for (int k = 0; k < 8; k++)
            change(&w, &anew, k, &b);
        apply(&b);
        assert_string_equal(small.p, words(&a, kernel_text(&a)).p);
        sync_done(&s);
        s = anew;
    }
    sync_done(&s);
    world_done(&w);
}

static void small_changes_equal_a_full_write(void **state UNUSED)
{
    if (geteuid() || unshare(CLONE_NEWNET) < 0)
        skip();
    loop_run(small_changes_equal_a_full_write_body, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_become_items),
        cmocka_unit_test(small_changes_equal_a_full_write),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
