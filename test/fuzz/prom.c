/* SPDX-License-Identifier: Apache-2.0 */
/* Metrics pages come from nodes. */
#include "wire/prom.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = ARENA_INIT;
    struct str text = str_n((const char *)data, size);
    struct prom_sample s;
    while (prom_next(&text, &s)) {
        prom_label(&s, "pod", &a);
        prom_label(&s, "no such", &a);
    }
    arena_done(&a);
    return 0;
}
