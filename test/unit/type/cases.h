/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of this floor: values from JSON text with single quotes. */
#pragma once

#include "../testing.h"
#include "wire/json.h"

static inline struct str case_text(struct arena *a, const char *single_quoted)
{
    char *t = arena_cstr(a, str_of(single_quoted));
    for (char *p = t; *p; p++)
        if (*p == '\'')
            *p = '"';
    return str_of(t);
}

static inline struct val *case_val(struct arena *a, const struct type *t, const char *single_quoted)
{
    struct err e = {0};
    struct val *v = NULL;
    if (json_decode(a, t, case_text(a, single_quoted), 0, NULL, &v, &e) != 0)
        fail_msg("%s: %s", single_quoted, e.text);
    return v;
}

static inline struct str case_json(struct arena *a, const struct type *t, const struct val *v)
{
    struct buf b = BUF_INIT;
    json_encode(&b, t, v, 0);
    struct str s = arena_str(a, buf_str(&b));
    buf_done(&b);
    return s;
}

/* JSON text equals, with single quotes for double ones. */
#define assert_json(a, t, v, want) assert_string_equal(case_json((a), (t), (v)).p, case_text((a), (want)).p)
