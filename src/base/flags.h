/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Command-line flags as Go's pflag understands them, since every program of ours takes upstream's flags: --name=value,
 * --name value, --bool, --bool=false, -n value, -nvalue, grouped short booleans, "--" ends flags. Flags and operands may mix.
 */
#pragma once

#include "base/err.h"
#include "base/str.h"

enum flag_kind {
    FLAG_BOOL,     /* bool * */
    FLAG_STRING,   /* const char ** : points into argv */
    FLAG_INT,      /* int64_t * */
    FLAG_DURATION, /* int64_t * nanoseconds; Go text */
    FLAG_STRINGS,  /* struct flag_list *: each use appends; commas separate */
    FLAG_ARRAY,    /* struct flag_list *: each use appends one value, commas kept */
    FLAG_IGNORED,  /* accepted with a value and without effect (upstream flags that make no difference here) */
    FLAG_IGNORED_BOOL,
    FLAG_FIXED,    /* const char *: "a|b", the values that say what is done anyway; others are refused with `why` */
};

struct flag_list {
    const char **items; /* malloc'd array of malloc'd texts, flags_list_done frees */
    size_t n;
};
void flag_list_done(struct flag_list *l);

struct flag {
    const char *name;
    char shorthand; /* 0 for none */
    enum flag_kind kind;
    void *to;
    const char *help; /* one line; NULL hides it from the help text */
    const char *no_value; /* value when given without one ("--dry-run" means "unchanged"); NULL: a value must follow */
    bool given;       /* set by flags_parse */
    const char *why;  /* of a flag of upstream's: why it has no effect, or why other values are refused */
    const char *text; /* set by flags_parse: the last value; points into argv */
};

#define FLAG_NO_EFFECT(name_, why_) {.name = (name_), .kind = FLAG_IGNORED, .why = (why_)}
#define FLAG_NO_EFFECT_BOOL(name_, why_) {.name = (name_), .kind = FLAG_IGNORED_BOOL, .why = (why_)}
#define FLAG_ONLY(name_, values_, why_) {.name = (name_), .kind = FLAG_FIXED, .to = (char *)(uintptr_t)(values_), .why = (why_)}
#define FLAG_ONLY_BOOL(name_, values_, why_) \
    {.name = (name_), .kind = FLAG_FIXED, .to = (char *)(uintptr_t)(values_), .no_value = "true", .why = (why_)}

/* Parses argv[1..]; flags ends with name NULL. Operands are moved to the front of argv from index 1 on, their number is
 * *ret_operands; what stands after "--" is counted in them too, and *ret_dash (may be NULL) is the index among the
 * operands of the first after "--", or -1. 0, or -EINVAL with a sentence that names the flag; FLAGS_HELP when --help
 * or -h was given (and not declared). */
#define FLAGS_HELP 1
int flags_parse(struct flag *flags, int argc, char **argv, int *ret_operands, int *ret_dash, struct err *e);
/* "  -n, --name string   help" lines, in the order of the table; then those of upstream's that have one value only, or no effect. */
void flags_help(const struct flag *flags, struct buf *b);
/* The present value as text, as Go prints it. */
void flag_value(const struct flag *f, struct buf *b);
struct flag *flags_find(struct flag *flags, const char *name);
