/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON of several types and of none. The first byte chooses the type; the rest is the text. What is accepted
 * must come back the same from the second time on (the first time 1.0 becomes 1, and -0 becomes 0).
 */
#include "wire/json.h"

#include "names.h"
#include "types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned chosen[] = {
    0,
    T_core_v1_Pod,
    T_apps_v1_Deployment,
    T_core_v1_Secret,
    T_apiextensions_v1_CustomResourceDefinition,
    T_coordination_v1_Lease,
    T_core_v1_Service,
    T_meta_v1_Status,
    T_runtime_v1_RunPodSandboxRequest,
};

static struct val *decode(struct arena *a, const struct type *t, struct str text, struct json_report *report)
{
    struct val *v = NULL;
    struct err e;
    return json_decode(a, t, text, 0, report, &v, &e) == 0 ? v : NULL;
}

static struct str encode(struct arena *a, const struct type *t, const struct val *v, unsigned flags)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    json_encode(&b, t, v, flags);
    return arena_str(a, buf_str(&b));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct json_report report = {0};
    struct str text = str_n((const char *)data + 1, size - 1), version, kind, raw;
    const struct type *t = type_at(chosen[data[0] % ARRAY_SIZE(chosen)]);
    unsigned flags = data[0] & 64 ? JSON_NO_HTML : data[0] & 128 ? JSON_PRETTY : 0;
    json_type_meta(&a, text, &version, &kind, NULL);
    struct val *v = decode(&a, t, text, &report);
    if (!v)
        return 0;
    ASSERT(json_compact(&a, text, &raw, NULL) == 0);
    v = decode(&a, t, encode(&a, t, v, flags), NULL);
    ASSERT(v);
    struct str once = encode(&a, t, v, flags);
    struct val *w = decode(&a, t, once, NULL);
    ASSERT(w && val_same(v, w) && val_hash(v) == val_hash(w) && val_same(val_copy(&a, v), w));
    ASSERT(str_eq(once, encode(&a, t, w, flags)));
    return 0;
}
