/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a JSONPath template, between jsonpath_parse.c and jsonpath.c. */
#pragma once

#include "cli/jsonpath.h"

enum jp_kind {
    JP_TEXT,
    JP_LIST,  /* one {...}: its steps follow each other */
    JP_FIELD,
    JP_ARRAY, /* [a:b:c] */
    JP_FILTER,
    JP_INT,
    JP_FLOAT,
    JP_BOOL,
    JP_WILDCARD,
    JP_RECURSIVE,
    JP_UNION,
    JP_RANGE,
    JP_END,
};

struct jp_index {
    int64_t value;
    bool known;
    bool derived; /* the end of "[n]" */
};

struct jp_node {
    enum jp_kind kind;
    struct str text; /* of JP_TEXT, JP_FIELD */
    struct val value; /* of JP_INT, JP_FLOAT, JP_BOOL, JP_TEXT */
    struct jp_index index[3];
    struct jp_list *left, *right; /* of JP_FILTER */
    struct str op;                /* "==", "exists" ... */
    struct jp_list *list;         /* of JP_LIST */
    struct jp_list **lists;       /* of JP_UNION */
    size_t n_lists;
};

struct jp_list {
    struct jp_node *items;
    size_t n, cap;
};

struct jsonpath {
    struct jp_list root;
};
