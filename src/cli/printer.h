/* SPDX-License-Identifier: Apache-2.0 */
/* -o: json, yaml, name, jsonpath, go-template, custom columns; and "deployment.apps/web created". */
#pragma once

#include "cli/kinds.h"
#include "cli/tab.h"

struct print_flags {
    const char *output, *template;
    bool show_managed, allow_missing;
};
#define PRINT_FLAGS(p)                                                                                       \
    {"output", 'o', FLAG_STRING, &(p)->output,                                                               \
     "Output: json, yaml, name, jsonpath=..., jsonpath-file=..., go-template=..., go-template-file=..."},     \
        {"template", 0, FLAG_STRING, &(p)->template, "Template of -o go-template, go-template-file or jsonpath"}, \
        {"show-managed-fields", 0, FLAG_BOOL, &(p)->show_managed, "Keep managedFields in JSON and YAML"},    \
        {"allow-missing-template-keys", 0, FLAG_BOOL, &(p)->allow_missing, "Missing fields print nothing (default true)"}
#define PRINT_FLAGS_INIT ((struct print_flags){.allow_missing = true})

enum print_kind {
    PRINT_NONE, /* no -o: the command's own form */
    PRINT_WIDE,
    PRINT_JSON,
    PRINT_YAML,
    PRINT_NAME,
    PRINT_JSONPATH,
    PRINT_JSONPATH_JSON,
    PRINT_TEMPLATE,
    PRINT_COLUMNS,
};

struct printer {
    enum print_kind kind;
    struct print_flags flags;
    const struct jsonpath *path;
    const struct template *template;
    struct print_column *columns;
    size_t n_columns;
    bool no_headers;
    size_t count;             /* objects printed */
    struct tab_widths widths; /* of custom columns */
};

/* 0, or 1 after the error was said. table: "wide" and custom columns are allowed, too. */
int printer_make(struct cli *c, const struct print_flags *f, bool table, struct printer *ret);
/* Prints one object; t NULL: untyped. did: "created", "configured (dry run)" for PRINT_NONE and "" else. */
int printer_put(struct cli *c, struct printer *p, const struct type *t, const struct val *v, const char *did);
/* Prints several as get does: one object by itself when single, else as a List. */
int printer_put_all(struct cli *c, struct printer *p, const struct val *const *items, size_t n, bool single,
                    struct str revision);
/* "created", "created (dry run)", "created (server dry run)" */
const char *dry_run_word(struct cli *c, const char *did, int dry_run);

/* --dry-run */
enum { DRY_NONE, DRY_CLIENT, DRY_SERVER };
#define DRY_RUN_FLAG(to)                                                                                     \
    {"dry-run", 0, FLAG_STRING, (to), "none, client (only print) or server (ask, but keep nothing)", "unchanged"}
/* 0 or 1 with the error said. */
int dry_run_parse(struct cli *c, const char *text, int *ret);
