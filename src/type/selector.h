/* SPDX-License-Identifier: Apache-2.0 */
/* Label and field selectors: parsed once, matched often. */
#pragma once

#include "base/err.h"
#include "wire/value.h"

enum sel_op { SEL_EQ, SEL_NE, SEL_IN, SEL_NOT_IN, SEL_EXISTS, SEL_NOT_EXISTS, SEL_GT, SEL_LT };

struct requirement {
    enum sel_op op;
    struct str key;
    struct str *values; /* sorted */
    size_t n_values;
};

struct selector {
    struct requirement *reqs;
    size_t n;     /* 0 matches everything */
    bool nothing; /* matches nothing (a nil LabelSelector where upstream says so) */
};

/* "a=b,c in (d,e),!f": 0 or -EINVAL with upstream's sentence. All text in the arena. */
int selector_parse(struct arena *a, struct str text, struct selector *ret, struct err *e);
/* metadata.name=x,spec.nodeName!=y */
int field_selector_parse(struct arena *a, struct str text, struct selector *ret, struct err *e);
/* A metav1.LabelSelector object; NULL selects nothing, an empty one everything. */
int selector_from_val(struct arena *a, const struct val *label_selector, struct selector *ret, struct err *e);
/* A plain map of labels (Service.spec.selector). */
void selector_from_map(struct arena *a, const struct val *map, struct selector *ret);
bool selector_matches(const struct selector *s, const struct val *labels);
/* Fields are looked up with get(ctx, path): STR_NULL when that object has no such field. */
bool selector_matches_fields(const struct selector *s, struct str (*get)(void *ctx, struct str path),
                             void *ctx);
struct str selector_print(struct arena *a, const struct selector *s); /* canonical, as upstream prints it */
