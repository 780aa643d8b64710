/* SPDX-License-Identifier: Apache-2.0 */
/* The audit log: one audit.k8s.io/v1 Event of level Metadata a request, as a JSON line (--audit-log-path). */
#pragma once

#include "base/err.h"

struct apiserver;
struct request;

int audit_open(struct apiserver *s, struct err *e);
void audit_close(struct apiserver *s);
void audit_done(struct request *r); /* writes the line of a request that was answered */
