/* SPDX-License-Identifier: Apache-2.0 */
/* AdmissionReview (admission.k8s.io v1 and v1beta1) as text, out and in. Pure. */
#pragma once

#include "base/err.h"
#include "wire/value.h"

struct review_answer {
    bool allowed;
    struct str patch;           /* a JSON patch; empty: none */
    const struct val *status;   /* NULL: none */
    const struct val *warnings; /* LIST of texts */
    const struct val *notes;    /* MAP for the audit log */
};

/* The version of reviews that both sides know: "v1", "v1beta1"; empty: none. */
struct str review_version(const struct val *versions);
/* request: an AdmissionRequest, whose uid is set to this one. */
struct str review_text(struct arena *a, struct str version, struct str uid, struct val *request);
/* 0, or -EINVAL with what is wrong with the answer ("expected response.uid=..."). */
int review_read(struct arena *a, struct str version, struct str uid, bool mutating, struct str text, struct review_answer *ret,
                struct err *e);
