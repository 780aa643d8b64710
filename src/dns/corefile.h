/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Corefile's syntax: server blocks of directives with arguments and bodies, quotes, comments, {$VARIABLES} and
 * {%VARIABLES%} of the environment, snippets and `import`. What the directives mean is config.h's.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"

struct directive {
    struct str name;
    struct str *args;
    size_t n_args;
    struct directive *body; /* of the block behind it */
    size_t n_body;
    bool has_body;
    const char *file;
    unsigned line;
};

struct server_block {
    struct str *keys; /* "cluster.local:53", "." */
    size_t n_keys;
    struct directive *directives;
    size_t n_directives;
    const char *file;
    unsigned line;
};

struct corefile {
    struct server_block *blocks;
    size_t n;
};

/* Where text from outside comes from; NULL: there is none. Both return texts in the arena. */
struct corefile_world {
    struct str (*variable)(void *ctx, struct arena *a, struct str name); /* empty: not set */
    /* The texts of the files that a pattern names, *ret_n of them; -errno. */
    int (*files)(void *ctx, struct arena *a, const char *pattern, struct str **ret, size_t *ret_n);
    void *ctx;
};

/* All in the arena. 0, or -EINVAL with a sentence that names file and line. */
int corefile_parse(struct arena *a, const char *file, struct str text, const struct corefile_world *w, struct corefile *ret,
                   struct err *e);
