/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a template, between template_parse.c, template.c and template_funcs.c. */
#pragma once

#include "cli/template.h"

enum tp_arg_kind {
    TA_DOT,      /* .a.b: fields of dot */
    TA_VARIABLE, /* $x.a.b */
    TA_CONSTANT,
    TA_FUNCTION,
    TA_PIPE, /* (...).a.b */
};

struct tp_pipe;

struct tp_arg {
    enum tp_arg_kind kind;
    struct str name; /* of the function or variable, "$" included */
    struct val constant;
    struct tp_pipe *pipe;
    struct str *fields;
    size_t n_fields;
};

struct tp_command {
    struct tp_arg *args;
    size_t n;
};

struct tp_pipe {
    struct str vars[2]; /* declared or assigned; empty for none */
    unsigned n_vars;
    bool assigns; /* = instead of := */
    struct tp_command *commands;
    size_t n;
};

enum tp_kind { TN_TEXT, TN_ACTION, TN_IF, TN_WITH, TN_RANGE, TN_BREAK, TN_CONTINUE };

struct tp_node {
    enum tp_kind kind;
    struct str text;
    struct tp_pipe *pipe;
    struct tp_list *body, *otherwise; /* otherwise may be NULL */
};

struct tp_list {
    struct tp_node *items;
    size_t n;
};

struct template {
    struct tp_list *root;
};

/* A function's outcome: a value in the arena; NULL is nil. */
int template_call(struct arena *a, struct str name, const struct val *const *args, size_t n, const struct val **ret,
                  struct err *e);
bool template_is_function(struct str name);
bool template_truth(const struct val *v);
