/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pages that every program of upstream's has beside its own: /statusz and /flagz (KEP-4827, KEP-4828; text, or a structure of
 * config.k8s.io when asked for), /debug/flags/v (how much is logged, changed while running), and what is said of /debug/pprof.
 */
#pragma once

#include "base/arena.h"
#include "base/flags.h"
#include "base/time.h"

struct flag_text {
    const char *name, *value;
};
/* The present values of a table, in the order of their names; ends with name NULL. */
const struct flag_text *zpages_flags(struct arena *a, const struct flag *flags);

struct zpages {
    const char *component;         /* "kube-scheduler" */
    const struct flag_text *flags; /* zpages_flags; NULL: none to tell of */
    struct mono started;
    const char *const *paths;      /* other pages, ends with NULL; "/healthz" */
    bool no_debug;                 /* statusz and flagz only */
};

struct zpage {
    int code;
    const char *content_type, *warning; /* warning: of a Warning header, NULL for none */
    struct str body;
};

/* Is it one of these pages? Then the answer is in ret; text in the arena. */
bool zpages_serve(const struct zpages *z, struct str method, struct str path, struct str accept, struct str body, struct arena *a,
                  struct zpage *ret);
/* The same for a plain HTTP server: false when it is none of them, and nothing was answered. */
struct http_exchange;
bool zpages_answer(const struct zpages *z, struct http_exchange *x);
