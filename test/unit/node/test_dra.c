/* SPDX-License-Identifier: Apache-2.0 */
/* Claims that drivers prepared: what is kept of them over a restart, and which devices a container gets. */
#include "node/dra.h"

#include "client/fake_client.h"
#include "testing.h"
#include "type/meta.h"
#include "types.h"

static struct arena arena;

#define CLAIM                                                                                                \
    "{metadata: {namespace: ns, name: c, uid: u-c}, status: {allocation: {devices: {results: [{request: r, driver: d, pool: p, device: x}, "    \
    "{request: q/s, driver: e, pool: p, device: y}]}}}}"

static struct dra_claim *prepared(struct dra_state *s)
{
    struct object *o CLEANUP_OBJECT = object_relaxed(RES_RESOURCECLAIMS, CLAIM);
    struct dra_claim *c = dra_state_add(s, o->val);
    const struct type *t = &types[T_dra_v1_NodePrepareResourceResponse];
    map_put(&c->pods, STR("u-p"), c);
    dra_claim_set_devices(c, STR("d"), val_get(val_relaxed(&arena, t, "{devices: [{request_names: [r], pool_name: p, device_name: x, cdi_device_ids: ['v/k=x', 'v/k=all']}]}"), N_devices));
    dra_claim_set_devices(c, STR("e"), val_get(val_relaxed(&arena, t, "{devices: [{request_names: [q/s], pool_name: p, device_name: y, share_id: h, cdi_device_ids: ['v/k=y', 'v/k=all']}]}"), N_devices));
    return c;
}

static const char *given(const struct dra_claim *c, const char *request)
{
    struct val *list = val_new(&arena, VAL_LIST);
    struct buf b CLEANUP_BUF = BUF_INIT;
    dra_claim_devices(c, str_of(request), &arena, list);
    buf_puts(&b, "");
    VAL_EACH (list, d)
        buf_printf(&b, "%s" STR_FMT, b.n ? " " : "", STR_ARG(val_getstr(d, N_name)));
    return arena_cstr(&arena, buf_str(&b));
}

static void test_devices_of_requests(void **state)
{
    (void)state;
    struct dra_state s = {0};
    struct dra_claim *c = prepared(&s);
    assert_string_equal(given(c, ""), "v/k=x v/k=all v/k=y");
    assert_string_equal(given(c, "r"), "v/k=x v/k=all");
    assert_string_equal(given(c, "q"), "v/k=y v/k=all"); /* whichever alternative it was */
    assert_string_equal(given(c, "other"), "");
    dra_claim_set_devices(c, STR("d"), NULL); /* what is said again takes the place of what was said */
    assert_string_equal(given(c, ""), "v/k=y v/k=all");
    dra_state_done(&s);
}

static void test_file(void **state)
{
    (void)state;
    struct dra_state s = {0}, t = {0};
    struct err e = {{0}};
    prepared(&s);
    struct str text = dra_state_text(&s, &arena);
    assert_true(str_contains(text, STR("\\\"kind\\\":\\\"DRACheckpoint\\\"")));
    assert_int_equal(dra_state_read(&t, text, &e), 0);
    struct dra_claim *c = dra_state_find(&t, STR("ns"), STR("c"));
    assert_non_null(c);
    assert_str(c->uid, "u-c");
    assert_true(map_has(&c->pods, STR("u-p")));
    assert_false(c->prepared); /* its drivers are asked again */
    assert_string_equal(given(c, ""), "v/k=x v/k=all v/k=y");
    assert_str(dra_state_text(&t, &arena), arena_cstr(&arena, text));
    dra_state_drop(&t, c);
    assert_null(dra_state_find(&t, STR("ns"), STR("c")));
    dra_state_done(&s);
    dra_state_done(&t);
}

#define UPSTREAMS \
    "{\"Data\":\"{\\\"kind\\\":\\\"DRACheckpoint\\\",\\\"apiVersion\\\":\\\"checkpoint.dra.kubelet.k8s.io/v1\\\",\\\"ClaimInfoStateList\\\":" \
    "[{\\\"ClaimUID\\\":\\\"u\\\",\\\"ClaimName\\\":\\\"n\\\",\\\"Namespace\\\":\\\"ns\\\",\\\"PodUIDs\\\":{\\\"p\\\":{}},\\\"DriverState\\\":{\\\"d\\\":" \
    "{\\\"Devices\\\":null}}}]}\",\"Checksum\":%u}"

/* As upstream's kubelet writes it: members in another order, lists that are null. */
static void test_upstreams_file(void **state)
{
    (void)state;
    static const unsigned sum = 702696322u;
    struct dra_state s = {0};
    struct err e = {{0}};
    assert_int_equal(dra_state_read(&s, arena_printf(&arena, UPSTREAMS, sum), &e), 0);
    assert_non_null(dra_state_find(&s, STR("ns"), STR("n")));
    dra_state_done(&s);
    assert_int_equal(dra_state_read(&s, arena_printf(&arena, UPSTREAMS, sum + 1), &e), -EINVAL);
    assert_int_equal(dra_state_read(&s, STR("{"), &e), -EINVAL);
    assert_int_equal(dra_state_read(&s, STR("[]"), &e), -EINVAL);
    dra_state_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_devices_of_requests), cmocka_unit_test(test_file),
                                       cmocka_unit_test(test_upstreams_file)};
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    return r;
}
