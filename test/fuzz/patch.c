/* SPDX-License-Identifier: Apache-2.0 */
/* Patches from clients. The first byte says which kind, on which object. What they make can be written and
 * read again. */
#include "type/patch.h"
#include "types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char pod[] =
    "{\"metadata\":{\"name\":\"x\",\"labels\":{\"a\":\"b\"},\"finalizers\":[\"x/a\",\"x/"
    "b\"]},\"spec\":{\"containers\":["
    "{\"name\":\"a\",\"image\":\"i\",\"env\":[{\"name\":\"E\",\"value\":\"1\"}],\"ports\":[{"
    "\"containerPort\":80}]},"
    "{\"name\":\"b\"}],\"volumes\":[{\"name\":\"v\",\"emptyDir\":{}}],\"tolerations\":[{\"key\":\"k\"}]}}";

static void check(struct arena *a, const struct type *t, const struct val *v)
{
    CLEANUP_BUF struct buf once = BUF_INIT, twice = BUF_INIT;
    struct val *again;
    json_encode(&once, t, v, 0);
    ASSERT(json_decode(a, t, buf_str(&once), 0, NULL, &again, NULL) == 0);
    json_encode(&twice, t, again, 0);
    ASSERT(str_eq(buf_str(&once), buf_str(&twice)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    static const enum patch_kind kinds[] = {PATCH_JSON, PATCH_MERGE, PATCH_STRATEGIC};
    struct json_report report = {0};
    struct status s;
    struct val *doc, *out;
    if (!size)
        return 0;
    const struct type *t = data[0] & 4 ? NULL : type_at(T_core_v1_Pod);
    if (json_decode(&a, t, str_of(pod), 0, NULL, &doc, NULL))
        return 0;
    status_init(&s, &a);
    struct str patch = str_n((const char *)data + 1, size - 1);
    if (patch_apply(&a, kinds[(data[0] & 3) % 3], t, doc, patch, &report, &out, &s) == 0)
        check(&a, t, out);
    return 0;
}
