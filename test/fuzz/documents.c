/* SPDX-License-Identifier: Apache-2.0 */
/* What extension servers say of themselves: discovery and OpenAPI. The first byte chooses. */
#include "apiserver/aggregate.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char own[] = "{\"swagger\":\"2.0\",\"paths\":{\"/api\":{\"get\":{}}},\"definitions\":{\"io.k8s.A\":{\"type\":\"object\"}}}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int (*const each[])(struct arena *, struct str, struct str, struct str, struct str *, struct err *) = {
        documents_discovery, documents_resources, documents_v2, documents_v3};
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str text, out = STR_NULL;
    struct val *v = NULL;
    struct err e = {0};
    if (!size)
        return 0;
    text = str_n((const char *)data + 1, size - 1);
    size_t which = data[0] % ARRAY_SIZE(each);
    int r = each[which](&a, text, STR("g.example.com"), STR("v1"), &out, &e);
    ASSERT(r == 0 || r == 1 || e.text[0]);
    if (r != 0 || which == 3) /* the last is a place, not a document */
        return 0;
    ASSERT(json_decode(&a, NULL, out, 0, NULL, &v, &e) == 0); /* it becomes a part of ours */
    struct str twice[] = {out, out};
    if (which == 2 && documents_merge_v2(&a, str_of(own), twice, ARRAY_SIZE(twice), &b, &e) == 0)
        ASSERT(json_decode(&a, NULL, buf_str(&b), 0, NULL, &v, &e) == 0);
    return 0;
}
