/* SPDX-License-Identifier: Apache-2.0 */
/* CSI drivers come and go; what is remembered of a volume on the disk. */
#include "node/csi.h"

#include "client/fake_client.h"
#include "grpc.h"
#include "net/grpc.h"
#include "net/http.h"
#include "node/kubelet-internal.h"
#include "node/plugins.h"
#include "testing.h"
#include "type/meta.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static struct arena arena;
static char dir[64];
static bool hangs;
static int asked;
static struct waitq goes_on;

static int on_info(void *ctx, struct grpc_exchange *g, struct err *e)
{
    const struct val *q;
    int rc = grpc_recv_request(g, &q);
    struct val *answer = val_new(grpc_arena(g), VAL_OBJ);
    (void)e;
    asked++;
    while (rc == 0 && hangs)
        rc = waitq_wait(&goes_on, MONO_NEVER);
    val_set_str(grpc_arena(g), answer, N_node_id, str_of(ctx));
    return rc ? GRPC_CANCELLED : grpc_send(g, answer);
}

static const struct grpc_service services[] = {{&grpc_methods[G_csi_v1_Node_NodeGetInfo], on_info}, {NULL, NULL}};

struct registering {
    struct kubelet *k;
    const char *socket;
    int rc;
    struct err e;
};

static void register_fiber(void *arg)
{
    struct registering *r = arg;
    struct val *versions = val_new(&arena, VAL_LIST);
    val_add_str(&arena, versions, STR("1.0.0"));
    r->rc = csi_plugin_handler.registered(r->k, STR("d.x"), arena_printf(&arena, "%s/%s", dir, r->socket), versions, &r->e);
}

static const char *id_on_node(struct fake_client *f)
{
    const struct object *o = fake_get(f, RES_CSINODES, "", "n");
    return val_cstr(val_get(val_item(val_at(o ? o->val : NULL, N_spec, N_drivers), 0), N_nodeID));
}

static void one_at_a_time(struct kubelet *k, struct fake_client *f)
{
    struct registering one = {.k = k, .socket = "one.sock", .rc = 1}, two = {.k = k, .socket = "two.sock", .rc = 1};
    struct group g = {0};
    hangs = true;
    group_spawn(&g, "one", register_fiber, &one);
    for (int i = 0; i < 500 && !asked; i++)
        fiber_sleep(MILLISECONDS(10));
    assert_int_equal(asked, 1);
    register_fiber(&two); /* would be in the CSINode after the first, and refused all the same */
    assert_int_equal(two.rc, -EBUSY);
    assert_int_equal(asked, 1);
    hangs = false;
    waitq_wake_all(&goes_on);
    group_wait(&g, MONO_NEVER);
    assert_int_equal(one.rc, 0);
    assert_string_equal(id_on_node(f), "one");
    register_fiber(&two);
    assert_int_equal(two.rc, -EEXIST);
    csi_plugin_handler.gone(k, STR("d.x"), STR("one.sock"));
    assert_string_equal(id_on_node(f), "");
    register_fiber(&two);
    assert_int_equal(two.rc, 0);
    assert_string_equal(id_on_node(f), "two");
}

/* A volume's data are never half there: what was read through an open file is still what it was. */
static void whole_or_not_at_all(struct kubelet *k)
{
    const char *volume = arena_printf(&arena, "%s/volume", dir).p;
    struct csi_data first = {STR("v"), STR("h"), STR("d.x"), false}, second = {STR("v"), STR("another"), STR("d.x"), true}, got;
    struct err e = {{0}};
    char before[1024], after[1024];
    assert_int_equal(csi_save_data(k, &arena, volume, &first, true, &e), 0);
    int fd = open(arena_printf(&arena, "%s/vol_data.json", volume).p, O_RDONLY | O_CLOEXEC);
    ssize_t n = pread(fd, before, sizeof(before), 0);
    assert_true(n > 0);
    assert_int_equal(csi_save_data(k, &arena, volume, &second, true, &e), 0);
    assert_int_equal(pread(fd, after, sizeof(after), 0), n);
    assert_memory_equal(before, after, (size_t)n);
    close(fd);
    assert_int_equal(csi_load_data(k, &arena, volume, &got, &e), 0);
    assert_str(got.handle, "another");
    assert_true(got.inline_);
}

FIBER_TEST(drivers_and_data)
{
    struct kubelet *k = NEW(struct kubelet);
    struct fake_client *f = fake_client_new();
    static struct grpc_server drivers[2] = {{services, (char *)(uintptr_t)"one", 0}, {services, (char *)(uintptr_t)"two", 0}};
    struct http_server *s[2];
    struct err e = {{0}};
    snprintf(dir, sizeof(dir), "/tmp/cube-csi-XXXXXX");
    assert_non_null(mkdtemp(dir));
    k->cfg.root_dir = dir;
    k->cfg.node_name = "n";
    k->host = host_linux_new(dir);
    k->client = fake_client_as(f);
    fake_put_text(f, RES_NODES, "{metadata: {name: n, uid: u-n}}");
    for (size_t i = 0; i < 2; i++) {
        s[i] = http_server_new(&(const struct http_server_config){.handler = grpc_serve, .ctx = &drivers[i]});
        assert_int_equal(http_server_listen(s[i], arena_printf(&arena, "unix:%s/%s.sock", dir, i ? "two" : "one").p, &e), 0);
    }
    csi_start(k);
    one_at_a_time(k, f);
    whole_or_not_at_all(k);
    csi_free(k);
    for (size_t i = 0; i < 2; i++) {
        http_server_stop(s[i], os_mono());
        http_server_free(s[i]);
    }
    fake_client_free(f);
    linux_remove_tree(k->host, dir, NULL);
    host_free(k->host);
    arena_done(&k->arena);
    arena_done(&arena);
    free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(drivers_and_data)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
