/* SPDX-License-Identifier: Apache-2.0 */
/* Objects made from flags: what run, expose, create and autoscale share. Objects are OBJs of their types. */
#pragma once

#include "cli/write.h"

/* kind, apiVersion, metadata.name and, when it was asked for, metadata.namespace. */
struct val *gen_object(struct cli *c, const struct kind *k, struct str name);
/* "a=b,c=d" as a MAP. 0 or 1. */
int gen_labels(struct cli *c, const char *text, struct val **ret);
/* KEY=VALUE of an environment variable: appended to a LIST of EnvVars. 0 or 1. */
int gen_env(struct cli *c, struct val *list, const char *text);
/* A port number or name: VAL_INT or VAL_STR. */
struct val gen_port(struct cli *c, struct str text);
/* --overrides and --override-type: v as changed by them. 0 or 1. */
struct overrides {
    const char *text, *type;
};
#define OVERRIDE_FLAGS(o)                                                                                    \
    {"override-type", 0, FLAG_STRING, &(o)->type, "What --overrides is: merge, strategic or json"},          \
        {"overrides", 0, FLAG_STRING, &(o)->text, "JSON that changes the object before it is made"}
int gen_override(struct cli *c, const struct overrides *o, const struct type *t, struct val **v);
