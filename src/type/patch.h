/* SPDX-License-Identifier: Apache-2.0 */
/* The three patches of the API (RFC 6902, RFC 7386, and Kubernetes' strategic merge). Results share parts of their
 * inputs; the result is untyped-normalised by the caller (values of typed members keep their canonical forms). */
#pragma once

#include "type/status.h"
#include "wire/schema.h"

/* patch: JSON text. *ret is a new value of type t (NULL: untyped) in the arena. 0 or 400/415/422 in s. */
int patch_json(struct arena *a, const struct type *t, const struct val *doc, struct str patch, struct val **ret,
               struct status *s);
int patch_merge(struct arena *a, const struct type *t, const struct val *doc, struct str patch, struct val **ret,
                struct status *s);
int patch_strategic(struct arena *a, const struct type *t, const struct val *doc, struct str patch, struct val **ret,
                    struct status *s);

/* kubectl's side: the strategic (typed) or merge (untyped) patch, JSON text, that three-way merges: what `modified`
 * wants, less what was in `original` and is no longer in `modified`, against `current`. */
int patch_three_way(struct arena *a, const struct type *t, const struct val *original, const struct val *modified,
                    const struct val *current, struct str *ret_patch, struct err *e);
