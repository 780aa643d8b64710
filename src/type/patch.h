/* SPDX-License-Identifier: Apache-2.0 */
/* The three patches of the API (RFC 6902, RFC 7386, and Kubernetes' strategic merge). The result is a fresh
 * value in normal form, as if it had been decoded; defaults are not applied. */
#pragma once

#include "base/err.h"
#include "type/status.h"
#include "wire/json.h"
#include "wire/schema.h"

enum {
    PATCH_MAX_OPERATIONS = 10000,       /* of a JSON patch: more is 413 */
    PATCH_MAX_COPIED = 3 * 1024 * 1024, /* bytes that its copy operations may add */
};

/* patch: JSON text. *ret is a new value of type t (NULL: untyped) in the arena. 0 or 400/413/422 in s. */
int patch_json(struct arena *a, const struct type *t, const struct val *doc, struct str patch,
               struct val **ret, struct status *s);
int patch_merge(struct arena *a, const struct type *t, const struct val *doc, struct str patch,
                struct val **ret, struct status *s);
int patch_strategic(struct arena *a, const struct type *t, const struct val *doc, struct str patch,
                    struct val **ret, struct status *s);

/* The same by kind, and with what field validation complains about (duplicates in the patch, fields of the
 * result that the type does not know) in report; NULL when nobody asks. */
enum patch_kind {
    PATCH_JSON,
    PATCH_MERGE,
    PATCH_STRATEGIC,
    PATCH_APPLY /* server-side apply; not for patch_apply */
};
int patch_apply(struct arena *a, enum patch_kind kind, const struct type *t, const struct val *doc,
                struct str patch, struct json_report *report, struct val **ret, struct status *s);

/* kubectl's side: the strategic (typed) or merge (untyped) patch, JSON text, that three-way merges: what
 * `modified` wants, less what was in `original` and is no longer in `modified`, against `current`. */
int patch_three_way(struct arena *a, const struct type *t, const struct val *original,
                    const struct val *modified, const struct val *current, struct str *ret_patch,
                    struct err *e);
