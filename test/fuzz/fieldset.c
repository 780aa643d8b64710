/* SPDX-License-Identifier: Apache-2.0 */
/* managedFields and configurations from clients. Three texts apart by a NUL: a set of fields, an object as it stands, with
 * managers of its own, and what is applied to it. What comes out can be written, read and applied again. */
#include "type/managed.h"
#include "types.h"
#include "wire/json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void count(void *arg, const struct str *path, size_t n)
{
    struct buf text CLEANUP_BUF = BUF_INIT;
    fieldset_path_text(&text, path, n);
    *(size_t *)arg += text.n;
}

static void check_set(struct arena *a, struct str text)
{
    struct fieldset *s, *again;
    struct buf once CLEANUP_BUF = BUF_INIT;
    size_t n = 0;
    if (fieldset_decode(a, text, &s, NULL) < 0)
        return;
    fieldset_encode(&once, s);
    ASSERT(fieldset_decode(a, buf_str(&once), &again, NULL) == 0);
    ASSERT(fieldset_equal(s, again));
    ASSERT(fieldset_empty(fieldset_minus(a, s, again)));
    ASSERT(fieldset_equal(fieldset_union(a, s, again), s) && fieldset_equal(fieldset_common(a, s, again), s));
    fieldset_each(typed_with_parents(a, type_at(T_core_v1_Pod), s), count, &n);
}

static void check_apply(struct arena *a, const struct managed_request *r, const struct val *live, const struct val *config)
{
    const struct val *is, *managed;
    struct val *typed;
    struct status s;
    struct buf text CLEANUP_BUF = BUF_INIT;
    for (int i = 0; i < 2; i++) {
        status_init(&s, a);
        if (managed_apply(a, r, live, config, i > 0, &is, &managed, &s) == 0)
            json_encode(&text, NULL, is, 0);
    }
    if (text.n == 0 || json_decode(a, r->type, buf_str(&text), 0, NULL, &typed, NULL) < 0)
        return;
    managed_update(a, r, live, typed);
    managed_from_scale(a, r, live, managed_to_scale(a, r, typed));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_ARENA struct arena a = ARENA_INIT;
    struct str set, rest, object, config;
    struct val *live = NULL, *plain;
    struct managed_request r = {.type = type_at(T_core_v1_Pod), .api_version = STR("v1"), .manager = STR("kubectl")};
    str_cut(str_n((const char *)data, size), '\0', &set, &rest);
    str_cut(rest, '\0', &object, &config);
    check_set(&a, set);
    if (json_decode(&a, r.type, object, 0, NULL, &live, NULL) < 0)
        live = NULL;
    if (json_decode(&a, NULL, config, 0, NULL, &plain, NULL) == 0)
        check_apply(&a, &r, live, plain);
    return 0;
}
