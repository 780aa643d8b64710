/* SPDX-License-Identifier: Apache-2.0 */
/* What of a request goes into the audit log: audit.k8s.io/v1 Policy, the first rule that matches. */
#pragma once

#include "apiserver/auth.h"

enum audit_level { AUDIT_NONE, AUDIT_METADATA, AUDIT_REQUEST, AUDIT_RESPONSE, AUDIT_LEVELS };
enum audit_stage { AUDIT_RECEIVED, AUDIT_STARTED, AUDIT_COMPLETE, AUDIT_PANIC, AUDIT_STAGES };
extern const char *const audit_levels[AUDIT_LEVELS];
extern const char *const audit_stages[AUDIT_STAGES];

struct audit_choice {
    enum audit_level level;
    unsigned omitted; /* stages, bits 1 << stage */
    bool omit_managed;
};

/* JSON or YAML text; -EINVAL with the field in the sentence. Unknown fields are said in *ret_warning (may stay empty) and
 * passed over, as upstream does. */
int audit_policy_read(struct arena *a, struct str text, const struct val **ret, struct str *ret_warning, struct err *e);
/* policy NULL: the server's own, metadata of every request for a resource when it is answered. at->user NULL: unknown. */
struct audit_choice audit_policy_choose(const struct val *policy, const struct attributes *at);
