/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus' text exposition format 0.0.4: reading it, sample by sample, as kubelets' /metrics pages are
 * written. */
#pragma once

#include "base/arena.h"

struct prom_sample {
    struct str name;
    struct str labels; /* raw, between the braces; for prom_label */
    double value;
    int64_t time_ms; /* 0: the line has no time of its own */
};

/* The next sample; comments and lines that are none are passed over. False at the end of the text. */
bool prom_next(struct str *rest, struct prom_sample *ret);
/* The value of a label, unescaped (in the arena when that changes it); .p NULL when there is none of that
 * name. */
struct str prom_label(const struct prom_sample *s, const char *name, struct arena *a);

/* Writing: a label's value with its escapes. */
void prom_escape(struct buf *b, struct str value);
