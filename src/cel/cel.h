/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Common Expression Language (cel-spec) with the Kubernetes libraries, as the API server v1.37 has it: for rules of
 * custom resources, admission policies, match conditions, structured authentication and DRA selectors.
 *
 *     environment  what names an expression may use: variables with types, named object types, the version
 *     program      an expression that was parsed, macro-expanded and type-checked: immutable, counted references
 *     evaluation   a program with the values of its variables: a value or a sentence, and what it cost
 *
 * Types are also how API objects are looked at: cel_view(v, type) gives a `struct val` without copying it, as the type
 * says (a string of type timestamp becomes a timestamp, an absent field is absent). The type of what comes out of an
 * OpenAPI schema, of a policy's `object` (dyn) or of DRA's `device` is thus only a declaration.
 *
 * Memory: an environment and a program own what they are made of; all that an evaluation makes is in its arena, and its
 * result may point there and into the values that were given to it.
 */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "wire/schema.h"

/* ---- types ---------------------------------------------------------------------------------------------- */

enum cel_kind {
    CEL_ERROR, /* of a value: s is the sentence */
    CEL_DYN,   /* types only; also google.protobuf.Any and Value */
    CEL_NULL,
    CEL_BOOL,
    CEL_INT,
    CEL_UINT,
    CEL_DOUBLE,
    CEL_STRING,
    CEL_BYTES,
    CEL_TIMESTAMP,
    CEL_DURATION,
    CEL_LIST,
    CEL_MAP,
    CEL_OBJECT, /* fields by name; made by Type{field: value} or a view */
    CEL_TYPE,
    CEL_OPTIONAL,
    CEL_OPAQUE,  /* quantity, IP, URL ... and what a user brings: opaque by name */
    CEL_WRAPPER, /* types only: param[0] or null (google.protobuf.Int64Value ...) */
    CEL_PARAM,   /* types only: a type parameter of a function */
};

enum cel_type_flags {
    CEL_LIST_SET = 1 << 0,     /* x-kubernetes-list-type: set: equal whatever the order, + is a union */
    CEL_LIST_MAP = 1 << 1,     /* x-kubernetes-list-type: map: items are matched by keys */
    CEL_INT_OR_STRING = 1 << 2, /* a dyn that is an int or a string */
    CEL_SIZED = 1 << 4,        /* max counts although it is 0 */
    CEL_OPEN = 1 << 3,         /* an object whose fields are not all known: others are dyn */
    CEL_ESCAPED = 1 << 5,      /* a dyn or map: keys may also be given as cel_escape_name writes them, at any depth */
};

struct cel_field {
    struct str name;             /* as expressions write it */
    struct str json;             /* as the object has it; the same as name when it needs no escape */
    const struct cel_type *type;
    const struct val *absent;    /* proto-like types: what an absent field reads as; NULL: reading it is an error */
};

struct cel_type {
    uint8_t kind;     /* enum cel_kind */
    uint8_t n_params; /* list and optional 1, map 2, type 0 or 1, opaque any */
    uint16_t flags;   /* enum cel_type_flags */
    uint32_t n_fields;
    struct str name; /* of an object, opaque type or parameter */
    const struct cel_type *const *params;
    const struct cel_field *fields;  /* of an object */
    const char *const *keys;         /* of a CEL_LIST_MAP, NULL-terminated */
    uint64_t max; /* items, pairs, bytes of text at most, as far as cost estimation knows; 0 without CEL_SIZED: not known */
};

extern const struct cel_type cel_dyn, cel_null, cel_bool, cel_int, cel_uint, cel_double, cel_string, cel_bytes,
    cel_timestamp, cel_duration, cel_type_type, cel_quantity, cel_semver, cel_ip, cel_cidr, cel_url, cel_format,
    cel_authorizer;

const struct cel_type *cel_list_of(struct arena *a, const struct cel_type *item);
const struct cel_type *cel_map_of(struct arena *a, const struct cel_type *key, const struct cel_type *value);
const struct cel_type *cel_optional_of(struct arena *a, const struct cel_type *t);
/* fields are taken as they are (in the arena, sorted or not). */
const struct cel_type *cel_object_of(struct arena *a, struct str name, const struct cel_field *fields, size_t n);
/* The same from a table; fields are named in JSON as in expressions. */
struct cel_declared {
    const char *name;
    const struct cel_type *type;
};
const struct cel_type *cel_object_declared(struct arena *a, const char *name, const struct cel_declared *fields, size_t n);
#define CEL_OBJECT_TYPE(a, name, ...) \
    cel_object_declared((a), (name), (const struct cel_declared[]){__VA_ARGS__}, \
                        sizeof((const struct cel_declared[]){__VA_ARGS__}) / sizeof(struct cel_declared))
/* JSON of others: map(string, dyn), CEL_ESCAPED. */
extern const struct cel_type cel_map_escaped;
const struct cel_field *cel_type_field(const struct cel_type *t, struct str name); /* NULL when there is none */
/* A type's name as messages have it: "list(map(string, dyn))". */
struct str cel_type_text(struct arena *a, const struct cel_type *t);
/* How Kubernetes writes a property's name in expressions ("namespace" as __namespace__, "a-b" as a__dash__b); false
 * when it cannot be written and so is not visible. */
bool cel_escape_name(struct arena *a, struct str json, struct str *ret);
/* Back: the name itself when nothing in it is escaped. */
struct str cel_unescape_name(struct arena *a, struct str name);

/* ---- values --------------------------------------------------------------------------------------------- */

struct cel_list;
struct cel_map;
struct cel_object;
struct cel_opaque;

struct cel_val {
    uint8_t kind; /* enum cel_kind */
    uint8_t form; /* private: how a list, map or object is held */
    uint32_t n;   /* bytes of text, items, pairs; nanoseconds of a timestamp */
    union {
        bool b;
        int64_t i; /* int; seconds of a timestamp since 1970; nanoseconds of a duration */
        uint64_t u;
        double d;
        const char *s; /* string, bytes, error */
        struct cel_list *list;
        struct cel_map *map;
        struct cel_object *object;
        const struct val *val;
        const struct cel_type *type;     /* CEL_TYPE */
        const struct cel_val *inner;     /* CEL_OPTIONAL; NULL is none */
        const struct cel_opaque *opaque; /* CEL_OPAQUE: of->name tells which */
    };
    const void *of; /* private: the type of a view, of an object or of an opaque value; a timestamp's zone */
};

static inline struct str cel_str(struct cel_val v) /* of a string, bytes or error */
{
    return str_n(v.s, v.n);
}
static inline struct cel_val cel_of_bool(bool b)
{
    return (struct cel_val){.kind = CEL_BOOL, .b = b};
}
static inline struct cel_val cel_of_int(int64_t i)
{
    return (struct cel_val){.kind = CEL_INT, .i = i};
}
static inline struct cel_val cel_of_str(struct str s) /* shared, not copied */
{
    return (struct cel_val){.kind = CEL_STRING, .n = (uint32_t)s.n, .s = s.p ? s.p : ""};
}
/* A value of the API as that type says; type NULL or dyn: as JSON has it (data of a Secret is base64). NULL is null.
 * A text that does not parse as its type says (a timestamp) is an error value. */
struct cel_val cel_view(struct arena *a, const struct val *v, const struct cel_type *type);
/* As it stands in JSON, as an object of that built-in type: also the fields that JSON always writes. */
struct cel_val cel_view_table(struct arena *a, const struct val *v, const struct type *type);
/* Lists and maps of one's own. Keys of a map must be bool, int, uint or string, each once. */
struct cel_val cel_new_list(struct arena *a, const struct cel_val *items, size_t n);
struct cel_val cel_new_map(struct arena *a, const struct cel_val *pairs, size_t n_pairs);
/* The same, but looking up an absent key gives `absent` (shared). */
struct cel_val cel_new_map_default(struct arena *a, const struct cel_val *pairs, size_t n_pairs,
                                   const struct cel_val *absent);
/* An object of a declared type; values[i] of fields[i], kind CEL_ERROR with s NULL where it is absent. */
struct cel_val cel_new_object(struct arena *a, const struct cel_type *type, const struct cel_val *values);
/* An object all of whose fields are there, each asked for when it is first read (fields[i]), and once. */
struct cel_val cel_new_lazy_object(struct arena *a, const struct cel_type *type,
                                   struct cel_val (*field)(void *user, unsigned i, struct arena *a), void *user);
/* Are all objects in a value of the type that the path to them says: "Object.spec" in the field spec of an "Object"
 * (those of cel_env_open_type)? Lists, and objects of other types (JSONPatch), only hold such. -EINVAL with what is not. */
int cel_check_type_names(struct arena *a, struct cel_val v, struct err *e);
/* Kubernetes' own: from text; an error value when it is none. */
struct cel_val cel_quantity_of(struct arena *a, struct str text);
struct cel_val cel_semver_of(struct arena *a, struct str text);

/* The value as JSON would have it (durations and timestamps as text, maps with keys as text): what message expressions,
 * mutations and audit annotations need. An error (-EINVAL) for types, opaque values and what JSON cannot hold. */
int cel_to_val(struct arena *a, struct cel_val v, struct val *ret, struct err *e);
/* For people and tests: a literal that reads back as the value where there is one. */
struct str cel_text(struct arena *a, struct cel_val v);
bool cel_equal(struct arena *a, struct cel_val x, struct cel_val y);
const struct cel_type *cel_type_of(struct cel_val v); /* its type at run time */

/* ---- environment ----------------------------------------------------------------------------------------- */

struct cel_env;
struct cel_program;

/* Functions and macros beyond cel-spec's standard, by where they come from. */
enum cel_libs {
    CEL_LIB_KUBERNETES = 1 << 0, /* what every expression of the API server may use */
    CEL_LIB_BIND = 1 << 1,       /* cel.bind */
    CEL_LIB_AUTHORIZER = 1 << 2, /* the type of `authorizer` and its functions */
    CEL_LIB_JSONPATCH = 1 << 3,  /* JSONPatch{...}, jsonpatch.escapeKey */
    CEL_LIB_EXTENSIONS = 1 << 4, /* cel-go's other extensions (math, encoders, strings v4): conformance tests */
    CEL_LIB_INCLUDES = 1 << 5,   /* list.includes(): part of 1.37's lists; DRA has it earlier */
};

/* Version: the minor of Kubernetes whose functions an expression may use. New expressions may use what the oldest server
 * that the cluster could be rolled back to knows (36 for v1.37); stored ones, everything (UINT_MAX). */
struct cel_env *cel_env_new(unsigned libs, unsigned version);
struct cel_env *cel_env_ref(struct cel_env *env);
struct cel_env *cel_env_unref(struct cel_env *env); /* returns NULL */
/* Types and strings handed to an environment must live as long as it: its own arena is the place for them. */
struct arena *cel_env_arena(struct cel_env *env);
/* A variable ("self", "device", also "a.b"); the newest of a name counts. Returns its number for the activation. */
unsigned cel_env_var(struct cel_env *env, const char *name, const struct cel_type *type);
/* An object type that expressions may make (Object.spec{...}) and name. */
void cel_env_type(struct cel_env *env, const struct cel_type *object);
/* The same for types of objects about whose fields nothing is known: root itself and everything below it by name
 * (Object, Object.spec, Object.spec.template ...). */
void cel_env_open_type(struct cel_env *env, const char *root);
void cel_env_container(struct cel_env *env, const char *name);
/* List and map literals may mix types (cel-spec; Kubernetes refuses it). */
void cel_env_mixed_literals(struct cel_env *env, bool allowed);

/* ---- programs -------------------------------------------------------------------------------------------- */

struct cel_issue {
    int line, column;   /* from 1; 0 when there is no place */
    struct str message; /* "undeclared reference to 'x' (in container '')" */
};

struct cel_issues {
    struct cel_issue *items;
    size_t n;
    struct str text; /* all of them as upstream prints them: "ERROR: <input>:1:1: ...\n | expr\n | ^" */
};

/* 0 or -EINVAL with the issues, which are in the arena. */
int cel_compile(struct cel_env *env, struct str source, struct arena *a, struct cel_program **ret, struct cel_issues *ret_issues);
struct cel_program *cel_program_ref(struct cel_program *p);
struct cel_program *cel_program_unref(struct cel_program *p); /* returns NULL */
const struct cel_type *cel_program_type(const struct cel_program *p); /* of its result */
struct str cel_program_source(const struct cel_program *p);
bool cel_program_uses(const struct cel_program *p, unsigned variable); /* does it read the variable at all? */
/* Does it select that field of that variable (claims.email, claims.?email) anywhere? */
bool cel_program_selects(const struct cel_program *p, const char *variable, const char *field);
size_t cel_program_bytes(const struct cel_program *p); /* memory that it holds */

/* The least and most that an evaluation may cost, from the sizes that types declare (cel_type.max); UINT64_MAX: no
 * bound. */
struct cel_cost {
    uint64_t min, max;
};
struct cel_cost cel_estimate(const struct cel_program *p);

/* ---- evaluation ------------------------------------------------------------------------------------------ */

#define CEL_COST_PER_CALL 1000000                /* one expression */
#define CEL_COST_BUDGET 10000000                 /* all of one policy binding or custom resource */
#define CEL_COST_BUDGET_MATCH_CONDITIONS 2500000 /* all match conditions of one webhook or policy */

struct cel_eval {
    /* The value of a variable, asked for at most once an evaluation. An error value ends the expression with it. */
    struct cel_val (*variable)(void *user, unsigned variable, struct arena *a);
    void *user;
    struct arena *arena;
    uint64_t limit;    /* 0: none */
    int64_t now;       /* not used by the language; for what a user's functions need */
    uint64_t ret_cost; /* out: what it cost, also when it failed */
};

enum { CEL_COST_EXCEEDED = 1 }; /* positive outcome of cel_eval: the limit was reached */

/* 0 with the value; -EINVAL with the sentence ("no such key: x"); CEL_COST_EXCEEDED. Does not wait, except where a
 * function of the user's (the authorizer) does. */
int cel_eval(const struct cel_program *p, struct cel_eval *ev, struct cel_val *ret, struct err *e);

/* ---- the authorizer -------------------------------------------------------------------------------------- */

/* What `authorizer.group(..).resource(..).check(verb)` asks. Strings not given are empty. */
struct cel_authz_request {
    struct str path; /* a check of a path: the rest is empty but the verb */
    struct str group, resource, subresource, namespace, name, verb;
    struct str field_selector, label_selector;
    bool has_field_selector, has_label_selector;
    struct str sa_namespace, sa_name; /* authorizer.serviceAccount(ns, name); else the request's own user */
};
struct cel_authz_decision {
    bool allowed;
    struct str reason, error; /* error: the check failed */
};
struct cel_authorizer {
    struct cel_authz_decision (*check)(void *user, const struct cel_authz_request *r, struct arena *a);
    void *user;
};
struct cel_val cel_of_authorizer(struct arena *a, const struct cel_authorizer *z);
/* authorizer.requestResource: a check of the request's own resource. */
struct cel_val cel_of_resource_check(struct arena *a, const struct cel_authorizer *z, const struct cel_authz_request *r);
extern const struct cel_type cel_resource_check;

/* ---- regular expressions --------------------------------------------------------------------------------- */

/* RE2's syntax, which is Go's. NULL when it is none, with Go's sentence ("error parsing regexp: ...", cut when it is long). */
struct cel_regex;
enum { CEL_REGEX_FAULT = 256 };
struct cel_regex *cel_regex_new(struct str pattern, char *ret_fault, size_t size);
void cel_regex_free(struct cel_regex *re); /* NULL is fine */
/* Somewhere at or after `from`? The bounds of the leftmost match. */
bool cel_regex_find(const struct cel_regex *re, struct str text, size_t from, size_t *ret_start, size_t *ret_end);
/* The groups of the first match, the whole of it as group 0, in n places; .p is NULL for those that took no part. */
bool cel_regex_match(const struct cel_regex *re, struct str text, struct str *ret_groups, size_t n);
/* How many groups there are besides the whole match. */
size_t cel_regex_groups(const struct cel_regex *re);
/* The number of the group of that name; -1: there is none. */
int cel_regex_group(const struct cel_regex *re, struct str name);
