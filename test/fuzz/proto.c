/* SPDX-License-Identifier: Apache-2.0 */
/* Protobuf of several types, in an envelope or bare. What is accepted encodes to bytes that mean the same. */
#include "wire/json.h"
#include "wire/proto.h"

#include "types.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const unsigned chosen[] = {
    T_core_v1_Pod,
    T_apps_v1_Deployment,
    T_apiextensions_v1_JSONSchemaProps,
    T_core_v1_Secret,
    T_coordination_v1_Lease,
    T_core_v1_Service,
    T_authentication_v1_TokenReview,
    T_etcdserverpb_TxnRequest,
    T_runtime_v1_RunPodSandboxRequest,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size)
        return 0;
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    CLEANUP_BUF struct buf b = BUF_INIT, json = BUF_INIT;
    struct str bytes = str_n((const char *)data + 1, size - 1);
    const struct type *t = type_at(chosen[data[0] % ARRAY_SIZE(chosen)]);
    struct val *v, *w;
    struct err e;
    bool enveloped = proto_is_envelope(bytes);
    if ((enveloped ? proto_decode_object(&a, t, bytes, &v, &e) : proto_decode(&a, t, bytes, &v, &e)) < 0)
        return 0;
    json_encode(&json, t, v, 0);
    if (enveloped)
        proto_encode_object(&b, t, v);
    else
        proto_encode(&b, t, v);
    ASSERT((enveloped ? proto_decode_object(&a, t, buf_str(&b), &w, &e)
                      : proto_decode(&a, t, buf_str(&b), &w, &e)) == 0);
    ASSERT(enveloped || val_same(v, w));
    return 0;
}
