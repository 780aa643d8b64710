/* SPDX-License-Identifier: Apache-2.0 */
/* YAML documents. What is accepted is written so that it reads as the same value. */
#include "wire/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct arena *a, const struct val *v)
{
    CLEANUP_BUF struct buf b = BUF_INIT, json = BUF_INIT, again = BUF_INIT;
    struct val *w;
    struct err e;
    yaml_encode(&b, NULL, v);
    ASSERT(yaml_decode(a, buf_str(&b), NULL, &w, &e) == 0);
    json_encode(&json, NULL, v, 0);
    json_encode(&again, NULL, w, 0);
    ASSERT(str_eq(buf_str(&json), buf_str(&again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct json_report report = {0};
    struct val *v;
    struct err e;
    struct yaml_stream *s = yaml_open(str_n((const char *)data, size));
    while (yaml_next(s, &a, &report, &v, &e) == 0)
        check(&a, v);
    yaml_close(s);
    return 0;
}
