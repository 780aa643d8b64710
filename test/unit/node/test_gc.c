/* SPDX-License-Identifier: Apache-2.0 */
/* Which images go when the disk is short, with a runtime that only lists and removes. */
#include "client/fake_client.h"
#include "grpc.h"
#include "net/grpc.h"
#include "node/kubelet-internal.h"
#include "testing.h"
#include "types.h"

static struct arena arena;
static struct buf removed;
static const char *config; /* what the runtime says of its settings; NULL: nothing */

static int on_call(struct runtime *r UNUSED, unsigned method, const struct val *q, struct mono deadline UNUSED, struct arena *a,
                   const struct val **ret, struct err *e UNUSED)
{
    struct val *v = val_new(a, VAL_OBJ);
    *ret = v;
    switch (method) {
    case G_runtime_v1_RuntimeService_Status:
        assert_true(val_bool(val_get(q, N_verbose), false));
        if (config)
            val_put_str(a, val_sub_map(a, v, N_info), STR("config"), str_of(config));
        return 0;
    case G_runtime_v1_ImageService_ListImages:
        *ret = val_relaxed(a, &types[T_runtime_v1_ListImagesResponse],
                           "{images: [{id: box, repo_tags: ['x/pause:1']}, {id: old, repo_tags: ['x/old:1', 'x/old:2']}, {id: kept, pinned: true}]}");
        return 0;
    case G_runtime_v1_ImageService_RemoveImage:
        buf_putstr(&removed, val_str(val_at(q, N_image, N_image)));
        buf_puts(&removed, " ");
        return 0;
    default:
        return GRPC_UNIMPLEMENTED;
    }
}

static const char *goes(const char *settings)
{
    static const struct runtime_ops ops = {.call = on_call};
    struct runtime rt = {.ops = &ops, .name = "mind", .version = "1"};
    struct kubelet *k = NEW(struct kubelet);
    k->rt = &rt;
    config = settings;
    buf_done(&removed);
    buf_puts(&removed, "");
    gc_unused_images(k);
    map_done_with(&k->unused_images, free);
    free(k);
    return arena_cstr(&arena, buf_str(&removed));
}

FIBER_TEST(test_sandbox_image_stays)
{
    assert_string_equal(goes("{\"sandboxImage\":\"x/pause:1\"}"), "old ");
    assert_string_equal(goes("{\"sandboxImage\":\"x/old:2\"}"), "box ");
    /* One that does not say has pinned it. */
    assert_string_equal(goes("{}"), "box old ");
    assert_string_equal(goes("["), "box old ");
    assert_string_equal(goes(NULL), "box old ");
    buf_done(&removed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sandbox_image_stays)};
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    arena_done(&arena);
    return r;
}
