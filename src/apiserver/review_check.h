/* SPDX-License-Identifier: Apache-2.0 */
/* What access reviews have to look like, as upstream's authorization/validation. */
#pragma once

#include "apiserver/request.h"

/* Puts the metadata of a review right; 400 when its namespace is another than the path's. */
int review_metadata(struct request *r, struct val *v);
/* 422 when the review cannot be answered. */
int review_check_access(struct request *r, const struct val *v, bool self);
/* What of its selectors was not understood, for status.evaluationError; empty for all right. */
struct str review_misunderstood(struct request *r, const struct val *spec);
