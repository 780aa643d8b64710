/* SPDX-License-Identifier: Apache-2.0 */
/* ctnetlink's messages: whatever their lengths say, nothing is read beyond them. */
#include "netlink/conntrack.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct conntrack_flow f;
    uint8_t *copy = xmalloc(size + 1); /* aligned as messages are, and no byte longer */
    memcpy(copy, data, size);
    conntrack_parse(copy, size, &f);
    free(copy);
    return 0;
}
