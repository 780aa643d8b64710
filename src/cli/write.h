/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands that write share: dry run, field manager, validation, output; and the last-applied annotation. */
#pragma once

#include "cli/printer.h"
#include "cli/request.h"
#include "cli/select.h"

struct write {
    struct print_flags print;
    struct printer printer;
    const char *dry, *manager, *validate;
    int dry_run; /* DRY_NONE ... */
    const char *failed; /* what a refusal is prefixed with: "failed to create deployment"; NULL: nothing */
};
#define WRITE_INIT ((struct write){.print = PRINT_FLAGS_INIT})
#define WRITE_FLAGS(w)                                                                                       \
    PRINT_FLAGS(&(w)->print), DRY_RUN_FLAG(&(w)->dry),                                                       \
        {"field-manager", 0, FLAG_STRING, &(w)->manager, "Name that the changed fields belong to"},          \
        {"validate", 0, FLAG_STRING, &(w)->validate, "Unknown fields: strict (refused), warn or ignore", "strict"}

/* After parsing. manager: the default one. 0 or 1. */
int write_prepare(struct cli *c, struct write *w, const char *manager);
/* The query of a request that writes. */
struct str write_query(struct cli *c, const struct write *w);
/* Prints an object that was made or changed: "pod/web created", or as -o says. t NULL: untyped. */
int write_print(struct cli *c, struct write *w, const struct type *t, const struct val *v, const char *did);

/* An object made from flags (an OBJ of t): posted unless it is a dry run, and printed. save: with the last-applied
 * annotation. */
int write_object_create(struct cli *c, struct write *w, const struct kind *k, const struct type *t, struct val *v, bool save,
                 const char *did);

/* Says what a request's status says, as of the object of a file: `error when creating "x.yaml": ...`. Returns 1. */
int write_refused(struct cli *c, struct status *s, const char *verb, const char *source);

/* "--key=value" arguments' checks that several commands share: exactly one NAME operand. 0 or 1. */
int write_one_name(struct cli *c, int argc, char **argv, struct str *ret);

/* ---- the last-applied annotation --------------------------------------------------------------------------- */

#define LAST_APPLIED STR("kubectl.kubernetes.io/last-applied-configuration")

/* v is an untyped MAP that is ours. Sets the annotation to what v itself says, and gives that text. */
struct str applied_set(struct cli *c, struct val *v);
struct str applied_get(const struct val *v); /* .p NULL when there is none */
