/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of an expression (cel-spec, "Syntax"). Private to this folder. */
#pragma once

#include "cel/cel-internal.h"

enum cel_token_kind {
    T_END,
    T_BAD, /* no token starts here */
    T_IDENT,
    T_ESC_IDENT, /* `a-b`: text without the quotes */
    T_INT,
    T_UINT,
    T_FLOAT,
    T_STRING,
    T_BYTES,
    T_TRUE,
    T_FALSE,
    T_NULL,
    T_IN,
    T_EQ,
    T_NE,
    T_LE,
    T_GE,
    T_AND,
    T_OR,
    T_PUNCT, /* the rest: c */
};

struct cel_token {
    enum cel_token_kind kind;
    char c;          /* of T_PUNCT */
    size_t pos, end; /* bytes */
    struct str text;
};

/* The token at or after `pos`, behind white space and comments. */
struct cel_token cel_lex(struct str source, size_t pos);
/* The content of a string or bytes token; false when an escape is wrong. */
bool cel_token_bytes(struct arena *a, struct cel_token t, struct str *ret);
