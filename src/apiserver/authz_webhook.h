/* SPDX-License-Identifier: Apache-2.0 */
/* A webhook that decides: SubjectAccessReviews, asked where CEL conditions say so, with answers kept for a while. */
#pragma once

#include "apiserver/auth.h"

struct authz_webhook;

struct authz_webhook_config {
    const char *name, *kubeconfig, *version;
    int64_t timeout_ns, yes_ttl_ns, no_ttl_ns; /* TTLs: 0 keeps nothing */
    bool deny_on_failure;
    const struct val *conditions; /* WebhookMatchConditions */
};

enum authz_hook_result { HOOK_SUCCESS, HOOK_TIMEOUT, HOOK_ERROR, HOOK_CANCELED, HOOK_RESULTS };
struct authz_hook_counts {
    uint64_t evaluations[HOOK_RESULTS], fail_open[HOOK_RESULTS], match_errors, exclusions;
    struct auth_histogram *durations, *matches; /* HOOK_RESULTS of them; one */
};

/* All texts of the configuration in the arena, which must outlive it. Conditions that do not compile go to st, at path. */
int authz_webhook_open(struct arena *a, const struct authz_webhook_config *c, struct str path, struct status *st,
                       struct authz_webhook **ret, struct err *e);
void authz_webhook_close(struct authz_webhook *w); /* NULL is fine */
/* fault: why there is no answer; then the decision is that of the failure policy. Waits. */
enum decision authz_webhook_ask(struct authz_webhook *w, struct arena *a, const struct attributes *at, struct err *ret_reason,
                                struct err *ret_fault);
const struct authz_hook_counts *authz_webhook_counts(const struct authz_webhook *w);
extern const char *const authz_hook_results[HOOK_RESULTS];
