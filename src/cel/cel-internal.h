/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of this folder share: the tree of an expression, the table of functions, a running evaluation. */
#pragma once

#include "base/map.h"
#include "cel/cel.h"

/* What recursion runs through keeps small frames: the locals of what it calls on the way are not to be in them. */
#define NOINLINE __attribute__((noinline))

/* ---- limits (of the source; run time is bounded by cost) ------------------------------------------------- */

enum {
    CEL_MAX_SOURCE = 100000, /* code points, as cel-go */
    CEL_MAX_NESTING = 100,   /* of brackets and conditions in the source: the parser runs on a fiber's stack */
    CEL_MAX_HEIGHT = 200,    /* of the tree after macros */
    CEL_MAX_NODES = 400000,  /* of the tree after macros */
    CEL_MAX_ISSUES = 100,
};

/* ---- the tree -------------------------------------------------------------------------------------------- */

enum cel_node_kind { X_LITERAL, X_IDENT, X_SELECT, X_CALL, X_LIST, X_MAP, X_STRUCT, X_FOLD };

enum cel_node_op { /* calls that are no function */
    OP_NONE,
    OP_AND,
    OP_OR,
    OP_IF,
    OP_EQ,
    OP_NE,
    OP_INDEX,
    OP_OPT_INDEX,
    OP_OPT_SELECT,
    OP_NOT_FALSE, /* @not_strictly_false */
    OP_OPT_OR,
    OP_OPT_OR_VALUE,
};

enum cel_node_flags {
    X_TEST = 1 << 0,  /* has(a.b) */
    X_LOCAL = 1 << 1, /* an identifier of a fold: `slot` */
    X_ROOTED = 1 << 2, /* written with a leading dot */
    X_SET = 1 << 3,    /* `in` of a constant list */
};

struct cel_overload;

struct cel_node {
    uint8_t kind, op, flags;
    uint8_t cost;    /* what evaluating this node adds by itself, where that is fixed */
    uint16_t height; /* of the tree below */
    uint16_t slot;   /* of a local */
    uint32_t pos;    /* byte in the source */
    uint32_t n;      /* args; pairs of a map; fields of a struct */
    struct str name; /* identifier, field, function, type */
    const struct cel_type *type;
    struct cel_node *target; /* operand of a select; receiver of a call */
    struct cel_node **args;  /* arguments, items, keys and values (2n), values of fields; range, init, cond, step, result */
    void *note;              /* of the estimate, while it is made */
    bool *optional;          /* of items, pairs, fields; NULL: none is */
    union {
        struct cel_val literal;
        unsigned variable; /* of a global identifier */
        struct {
            const struct cel_overload **overloads; /* candidates that may apply, by declared order */
            uint32_t n_overloads;
            struct cel_regex *regex; /* of a constant pattern */
        };
        struct {
            struct str *fields; /* of a struct */
            const uint32_t *field_index;
        };
        struct {
            struct str iter, iter2, accu; /* of a fold; iter2 empty when there is one */
            uint16_t iter_slot, iter2_slot, accu_slot;
        };
    };
};

enum { FOLD_RANGE, FOLD_INIT, FOLD_COND, FOLD_STEP, FOLD_RESULT };

/* ---- functions ------------------------------------------------------------------------------------------- */

struct cel_run;

/* How a call is charged (k8s.io/apiserver's estimator and cel-go's). COST_x: the size of an argument, times 0.1. */
enum cel_cost_rule {
    COST_ONE,
    COST_NONE,
    COST_ARG0,        /* ceil(size(arg 0) * 0.1) */
    COST_ARG0_TWICE,  /* ceil(size(arg 0) * 0.2) */
    COST_RESULT_TWICE,
    COST_ARG0_ONLY,   /* as COST_ARG0, when the checker knew the overload; else one */
    COST_ARG1,        /* startsWith, endsWith */
    COST_SUM,         /* ceil((size 0 + size 1) * 0.1) */
    COST_LESS,        /* ceil(min(size 0, size 1) * 0.1) */
    COST_IN_LIST,     /* size(arg 1) */
    COST_CONTAINS,    /* product */
    COST_REGEX,
    COST_TRAVERSE,    /* all of arg 0, deeply */
    COST_FORMAT,      /* format.validate */
    COST_CIDR_IP,
    COST_CIDR_IP_STRING,
    COST_CIDR_CIDR,
    COST_CIDR_CIDR_STRING,
    COST_CHECK,       /* an authorization check */
    COST_SELECTOR,
    COST_LIST_RESULT, /* slice, reverse, range */
    COST_FLATTEN,
    COST_SORT,        /* of arg 0 with itself */
    COST_SORT_BY,     /* of arg 1 with itself */
    COST_SETS,
    COST_SETS_TWICE,
};

typedef struct cel_val cel_call(struct cel_run *r, const struct cel_val *args, unsigned n);

/* A row of a table. sig: "receiver.(args) result" or "(args) result"; T, K, V stand for any type. */
struct cel_fn {
    const char *name, *id, *sig;
    cel_call *call;
    uint8_t cost;       /* enum cel_cost_rule */
    uint8_t libs;       /* enum cel_libs that bring it; 0: always there */
    uint8_t since;      /* minor of Kubernetes; 0: always */
};

enum { CEL_MAX_ARGS = 5 };

struct cel_overload {
    const struct cel_fn *fn;
    const struct cel_type *result;
    const struct cel_type *args[CEL_MAX_ARGS]; /* with the receiver first */
    uint32_t masks[CEL_MAX_ARGS];              /* kinds of values that may be it */
    uint8_t n_args;
    bool member, generic;
};

struct cel_fn_name {
    struct cel_overload *overloads;
    size_t n;
};

/* All overloads of a name in declared order; NULL when no table has it. */
const struct cel_fn_name *cel_functions(struct str name);
bool cel_fn_allowed(const struct cel_fn *f, const struct cel_env *env);

#define CEL_FN_TABLE(x)                                                                                      \
    extern const struct cel_fn x[];                                                                          \
    extern const size_t n_##x
CEL_FN_TABLE(cel_fns_std);
CEL_FN_TABLE(cel_fns_time);
CEL_FN_TABLE(cel_fns_text);
CEL_FN_TABLE(cel_fns_list);
CEL_FN_TABLE(cel_fns_amount);
CEL_FN_TABLE(cel_fns_net);
CEL_FN_TABLE(cel_fns_url);
CEL_FN_TABLE(cel_fns_format);
CEL_FN_TABLE(cel_fns_authz);
CEL_FN_TABLE(cel_fns_ext);

/* ---- environment and program ----------------------------------------------------------------------------- */

struct cel_var {
    struct str name;
    const struct cel_type *type;
};

struct cel_env {
    int refs;
    unsigned libs, version;
    bool mixed;
    struct str container;
    struct arena arena;
    struct cel_var *vars;
    unsigned n_vars, cap_vars;
    const struct cel_type **types;
    unsigned n_types, cap_types;
    struct str open; /* root of the names of open types; empty: none */
};

/* The newest variable of that name, or -1. */
int cel_env_find(const struct cel_env *env, struct str name);
/* A type by the name that an expression has for it: int, list, google.protobuf.Timestamp, an object's; or NULL. */
const struct cel_type *cel_env_find_type(struct cel_env *env, struct str name);

struct cel_program {
    int refs;
    struct arena arena;
    struct cel_env *env;
    struct str source;
    struct cel_node *root;
    const struct cel_type *type;
    struct cel_cost estimate;
    unsigned n_slots;
    struct cel_regex **regexes;
    unsigned n_regexes;
    bool *uses; /* by variable */
    unsigned n_uses;
};

/* ---- from source to tree ---------------------------------------------------------------------------------- */

struct cel_report {
    struct arena *arena; /* of the issues */
    struct str source;
    struct cel_issue *items;
    size_t n, cap;
};
/* pos: byte in the source, SIZE_MAX for none. */
void cel_issue_add(struct cel_report *r, size_t pos, const char *fmt, ...) PRINTF(3, 4);

struct cel_maker { /* of nodes */
    struct arena *arena;
    struct cel_report *report;
    struct cel_env *env;
    unsigned n_nodes;
};
struct cel_node *cel_node_new(struct cel_maker *m, enum cel_node_kind kind, size_t pos);
struct cel_node *cel_node_literal(struct cel_maker *m, size_t pos, struct cel_val v);
struct cel_node *cel_node_ident(struct cel_maker *m, size_t pos, struct str name);
/* args are copied; n nodes follow. */
struct cel_node *cel_node_call(struct cel_maker *m, size_t pos, const char *name, struct cel_node *target,
                               struct cel_node *const *args, unsigned n);
struct cel_node *cel_node_copy(struct cel_maker *m, const struct cel_node *x);
void cel_node_measure(struct cel_node *x); /* sets height from what is below */

/* NULL after issues. */
struct cel_node *cel_parse(struct cel_maker *m, struct str source);
/* The macro's expansion, or x itself when it is none; NULL after an issue. */
struct cel_node *cel_macro(struct cel_maker *m, struct cel_node *x);
/* Types, references and overloads of the whole tree; false after issues. */
bool cel_check(struct cel_maker *m, struct cel_program *p);
/* What it may cost at least and at most. Before cel_plan, which changes the tree. */
void cel_estimate_program(struct cel_program *p);
/* Constant parts, costs of nodes, constant patterns; -EINVAL with why. */
int cel_plan(struct cel_maker *m, struct cel_program *p);

/* Bytes of a string or bytes literal without its quotes and prefix: false when an escape is wrong. */
bool cel_unescape(struct arena *a, struct str body, bool bytes, struct str *ret);

/* string.format() with a constant text and a list literal: what is wrong with its clauses. */
void cel_format_check(struct cel_report *report, const struct cel_node *x);

/* ---- types ------------------------------------------------------------------------------------------------ */

bool cel_type_same(const struct cel_type *a, const struct cel_type *b);
const struct cel_type *cel_type_new(struct arena *a, enum cel_kind kind, struct str name,
                                    const struct cel_type *const *params, unsigned n);
/* From text: "list(T)", "kubernetes.Quantity"; letters alone are parameters. Panics: only for the tables. */
const struct cel_type *cel_type_parse(struct arena *a, struct str *s);
extern const struct cel_type cel_error_type, cel_list_dyn, cel_map_dyn, cel_optional_dyn, cel_list_escaped;
uint32_t cel_kind_mask(const struct cel_type *t);

/* ---- values ------------------------------------------------------------------------------------------------ */

enum cel_form {
    FORM_OWN,
    FORM_VIEW,  /* of: struct cel_type of the items, values or the object */
    FORM_TABLE, /* of: struct type of the items or the object, NULL when they are no messages */
};

struct cel_list {
    struct cel_val *items;
    uint32_t used, cap; /* a list may grow in place when it is the longest that shares these items */
};
struct cel_map {
    struct cel_val *pairs; /* key, value ... */
    uint32_t used, cap;
    uint32_t *slots; /* hash index: pair + 1; NULL for few pairs */
    uint32_t n_slots;
    const struct cel_val *absent;
};
struct cel_object {
    struct cel_val *values; /* by the index of the type's field; kind CEL_ERROR and s NULL: absent, or not asked for yet */
    struct cel_val (*field)(void *user, unsigned i, struct arena *a); /* of a lazy one */
    void *user;
};
struct cel_opaque { /* the first member of what stands for it */
    const struct cel_type *type;
    bool (*equal)(const struct cel_opaque *x, const struct cel_opaque *y); /* NULL: never, but with itself */
    struct str (*text)(struct arena *a, const struct cel_opaque *o);       /* for people and string() */
    size_t size; /* for costs; 1 unless it says otherwise */
};

#define CEL_ABSENT ((struct cel_val){.kind = CEL_ERROR})

static inline bool cel_absent(struct cel_val v)
{
    return v.kind == CEL_ERROR && !v.s;
}
static inline bool cel_failed(struct cel_val v)
{
    return v.kind == CEL_ERROR;
}
struct cel_val cel_fail(struct arena *a, const char *fmt, ...) PRINTF(2, 3);
struct cel_val cel_no_overload(void);
struct cel_val cel_not_a_number(void); /* what has no order was to be ordered */
struct cel_val cel_of_opaque(const struct cel_opaque *o);
/* A pointer to the T whose first member is a struct cel_opaque. */
#define CEL_OPAQUE_AS(v, T) ((const T *)(v).opaque)

size_t cel_size(struct cel_val v); /* items, pairs; code points of a string, bytes */
struct cel_val cel_item(struct arena *a, struct cel_val list, size_t i);
/* The value, CEL_ABSENT when there is none. */
struct cel_val cel_lookup(struct arena *a, struct cel_val map, struct cel_val key);
struct cel_val cel_field_of(struct arena *a, struct cel_val v, struct str name);
bool cel_has_field(struct arena *a, struct cel_val v, struct str name, struct cel_val *ret_error);
/* Walks lists (key: the index) and maps; *pos starts at 0. */
bool cel_next(struct arena *a, struct cel_val v, size_t *pos, struct cel_val *ret_key, struct cel_val *ret_value);
struct cel_val cel_list_append(struct arena *a, struct cel_val list, struct cel_val item);
struct cel_val cel_list_concat(struct arena *a, struct cel_val x, struct cel_val y);
struct cel_val cel_map_insert(struct arena *a, struct cel_val map, struct cel_val key, struct cel_val value);
/* Into a map that only the caller has: a key that is there gets the new value (a literal's later entry wins). */
struct cel_val cel_map_put(struct arena *a, struct cel_val map, struct cel_val key, struct cel_val value);
bool cel_contains(struct arena *a, struct cel_val list, struct cel_val item);
/* -1, 0, 1; 2 when they have no order. */
int cel_compare(struct cel_val x, struct cel_val y);
bool cel_zero_value(struct cel_val v);
struct cel_val cel_of_text(struct arena *a, struct str s); /* copied */
struct cel_val cel_timestamp_of(int64_t seconds, int64_t nanos); /* an error value when out of range */
bool cel_timestamp_parse(struct str s, struct cel_val *ret);
bool cel_duration_parse(struct str s, int64_t *ret);
struct str cel_duration_text(struct arena *a, int64_t ns);
struct str cel_timestamp_text(struct arena *a, struct cel_val v);
struct str cel_double_text(struct arena *a, double d);
/* Bytes of the code point at s and its value; 1 and U+FFFD for what is no UTF-8. s is not empty. */
size_t cel_rune(struct str s, uint32_t *ret);
size_t cel_runes(struct str s);
size_t cel_put_rune(char *to, uint32_t c); /* up to 4 bytes */

/* As url.ParseRequestURI; else what is wrong. */
bool cel_is_url(struct arena *a, struct str s, const char **ret_wrong);

/* ---- evaluation --------------------------------------------------------------------------------------------- */

struct cel_run {
    const struct cel_program *program;
    struct cel_eval *ev;
    struct arena *arena;
    struct cel_val *locals;
    struct cel_val *globals; /* kind CEL_ERROR, s NULL: not asked for yet */
    const struct cel_node *site; /* the call that runs */
    uint64_t cost, limit;
    bool over;
};

struct cel_val cel_exec(struct cel_run *r, const struct cel_node *x);
void cel_charge(struct cel_run *r, uint64_t cost);
uint64_t cel_call_cost(struct cel_run *r, const struct cel_overload *o, bool only, const struct cel_val *args, unsigned n,
                       struct cel_val result);
uint64_t cel_equal_cost(struct cel_val x, struct cel_val y);

/* The pattern of the call at hand: made with the program when it is constant; else *ret_own, which is the caller's. NULL with
 * the fault (CEL_REGEX_FAULT bytes) when it is none. */
const struct cel_regex *cel_regex_of(struct cel_run *r, struct cel_val pattern, struct cel_regex **ret_own, char *ret_fault);
