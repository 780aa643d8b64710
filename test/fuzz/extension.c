/* SPDX-License-Identifier: Apache-2.0 */
/* What extension servers say of themselves: discovery, OpenAPI. The first byte chooses. */
#include "apiserver/aggregate.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct err e = {0};
    struct str out = STR_NULL;
    if (!size)
        return 0;
    struct str text = arena_str(&a, str_n((const char *)data + 1, size - 1));
    switch (data[0] & 3) {
    case 0:
        documents_discovery(&a, text, STR("g"), STR("v"), &out, &e);
        break;
    case 1:
        documents_resources(&a, text, STR("g"), STR("v"), &out, &e);
        break;
    case 2:
        documents_v3(&a, text, STR("g"), STR("v"), &out, &e);
        break;
    default:
        if (documents_v2(&a, text, STR("g"), STR("v"), &out, &e) == 0 &&
            documents_merge_v2(&a, STR("{\"definitions\":{\"a\":{\"x\":1}},\"paths\":{}}"), &out, 1, &b, &e) < 0)
            __builtin_trap(); /* what we made ourselves can be merged */
    }
    return 0;
}
