/* SPDX-License-Identifier: Apache-2.0 */
/* URLs, queries and escapes: what is decoded and encoded again decodes to the same. */
#include "net/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_query(struct arena *a, struct str query)
{
    struct str key, value;
    while (query_next(a, &query, &key, &value)) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        struct str again_key, again_value;
        query_add(&b, arena_cstr(a, key), value);
        struct str rest = buf_str(&b);
        if (memchr(key.p ? key.p : "", '\0', key.n))
            continue;
        ASSERT(query_next(a, &rest, &again_key, &again_value));
        ASSERT(str_eq(again_key, key) && str_eq(again_value, value));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str text = str_n((const char *)data, size), plain, again;
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct url u;
    if (url_parse(text, &u) == 0) {
        ASSERT(u.host.n + u.path.n + u.query.n + u.fragment.n <= size);
        check_query(&a, u.query);
    }
    check_query(&a, text);
    if (url_decode(&a, text, false, &plain) == 0) {
        url_encode_segment(&b, plain);
        ASSERT(url_decode(&a, buf_str(&b), false, &again) == 0 && str_eq(again, plain));
    }
    return 0;
}
