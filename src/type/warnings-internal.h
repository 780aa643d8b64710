/* SPDX-License-Identifier: Apache-2.0 */
/* Warnings: what a client may do and will probably regret. The sentences are upstream's. */
#pragma once

#include "type/validate-internal.h"

struct warner {
    warn_fn *fn;
    void *arg;
    struct arena arena;    /* for the texts of one object */
    const struct val *old; /* NULL on create */
};

/* "path: text"; p NULL: the text alone. */
void warn_at(struct warner *w, const struct vpath *p, const char *fmt, ...) PRINTF(3, 4);
/* Addresses that are right but written in a way that others may read differently. */
void warn_ip(struct warner *w, const struct vpath *p, struct str ip);
void warn_cidr(struct warner *w, const struct vpath *p, struct str cidr);
/* Labels of nodes that have a newer name: what to say about them, NULL for others. */
const char *deprecated_node_label(struct str key);
void warn_node_term(struct warner *w, const struct vpath *p, const struct val *term, bool check_values);
void warn_claim_spec(struct warner *w, const struct vpath *p, const struct val *spec);
void warn_fraction(struct warner *w, const struct vpath *p, const struct val *resources, const char *name);

/* A Pod, or a template of one: at is NULL for a Pod. */
void warn_pod(struct warner *w, const struct vpath *at, const struct val *pod);
