/* SPDX-License-Identifier: Apache-2.0 */
/* What webhooks answer: AdmissionReview and ConversionReview. The first byte chooses. */
#include "apiserver/admit_review.h"
#include "apiserver/conversion.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct review_answer answer = {.allowed = false};
    struct val *v = NULL;
    struct err e = {0};
    if (!size)
        return 0;
    struct str text = arena_str(&a, str_n((const char *)data + 1, size - 1));
    struct str version = data[0] & 1 ? STR("v1") : STR("v1beta1");
    if (data[0] & 2) {
        if (review_read(&a, version, STR("u"), data[0] & 4, text, &answer, &e) == 0 && answer.patch.n && !(data[0] & 4))
            __builtin_trap(); /* who validates changes nothing */
    } else if (conversion_review_read(&a, version, STR("u"), text, data[0] >> 6, &v, &e) == 0 && val_len(v) != data[0] >> 6) {
        __builtin_trap();
    }
    return 0;
}
