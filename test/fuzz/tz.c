/* SPDX-License-Identifier: Apache-2.0 */
/* Time zones: files and rules from elsewhere. The first byte says which. */
#include "base/tz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tz *z = NULL;
    struct str s = str_n((const char *)data + 1, size ? size - 1 : 0);
    if (!size || (data[0] & 1 ? tz_parse(s, &z) : tz_parse_rule(s, &z)) < 0)
        return 0;
    for (int64_t t = -INT64_C(4000000000); t < INT64_C(8000000000); t += INT64_C(1234567891)) {
        struct tz_span span = tz_at(z, t);
        ASSERT(span.from <= t && t < span.until);
        tz_seconds(z, tz_civil(z, t));
    }
    tz_free(z);
    return 0;
}
