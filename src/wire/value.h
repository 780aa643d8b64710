/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A value: the one form of API objects and of every other message (CRI, etcd, configuration files) in memory.
 *
 * A value is 16 bytes: kind, member name, length, and the scalar itself or a pointer to children. A typed message
 * is a VAL_OBJ whose members carry a name id (names.h, made by gen/); a map with string keys, and anything without
 * a type, is a VAL_MAP of key/value pairs. Reading never allocates and every reader accepts NULL, so that
 *     val_str(val_at(pod, N_spec, N_nodeName))
 * is the whole of a field access. Fields that are absent and fields that are zero where upstream's Go type cannot
 * tell the two apart (non-pointer, omitempty) are the same here: absent. Null is absent, too.
 *
 * Leaf forms: quantities, times, micro times and durations are VAL_STR in their canonical text; IntOrString is
 * VAL_INT or VAL_STR; bytes are VAL_BYTES (decoded); raw extensions, FieldsV1 and JSON fields are VAL_RAW, compact
 * JSON text. Strings and raw text are NUL-terminated beyond n.
 *
 * Building: make values in an arena with val_new_* and val_set_*; a value built from parts of another shares them.
 * Never write to a value that you did not build or val_copy yourself: objects (type/object.h) are shared by all.
 */
#pragma once

#include "base/arena.h"

typedef uint16_t name_id; /* N_xxx of names.h; 0 is no name */

enum val_kind {
    VAL_NULL,
    VAL_BOOL,
    VAL_INT,
    VAL_FLOAT,
    VAL_STR,
    VAL_BYTES,
    VAL_RAW,
    VAL_LIST,
    VAL_OBJ, /* n members in items, each with its name */
    VAL_MAP, /* n pairs: items[2*i] is the key (VAL_STR), items[2*i+1] the value */
};

struct val {
    uint8_t kind;
    uint8_t flags; /* private to value.c */
    name_id name;  /* of a member of a VAL_OBJ, else 0 */
    uint32_t n;    /* bytes, items, members or pairs */
    union {
        bool b;
        int64_t i;
        double f;
        const char *s;
        struct val *items;
    };
};

/* The text of a name id and back (0 when the text is no known name). */
struct str name_str(name_id id);
name_id name_find(struct str s);

/* ---- reading: all accept NULL and values of another kind ----------------------------------------------- */

const struct val *val_get(const struct val *v, name_id name);      /* member of an OBJ, or of a MAP by its text */
const struct val *val_key(const struct val *v, struct str key);    /* value in a MAP, or member of an OBJ */
const struct val *val_path(const struct val *v, const name_id *path); /* path ends with 0 */
#define val_at(v, ...) val_path((v), (const name_id[]){__VA_ARGS__, 0})

static inline bool val_is(const struct val *v, enum val_kind k)
{
    return v && v->kind == k;
}
struct str val_str(const struct val *v);              /* of STR, BYTES, RAW; else empty */
const char *val_cstr(const struct val *v);            /* NUL-terminated; "" when not STR, BYTES, RAW */
int64_t val_int(const struct val *v, int64_t absent); /* of INT (and FLOAT, cut); else `absent` */
double val_float(const struct val *v, double absent);
bool val_bool(const struct val *v, bool absent);
size_t val_len(const struct val *v);                          /* items, members or pairs; 0 for others */
const struct val *val_item(const struct val *v, size_t i);    /* of a LIST; NULL beyond the end */
static inline struct str val_getstr(const struct val *v, name_id name)
{
    return val_str(val_get(v, name));
}

/* it is a `const struct val *` */
#define VAL_EACH(list, it)                                                                                   \
    for (const struct val *it = val_is(list, VAL_LIST) ? (list)->items : NULL,                               \
                          *it##_end = it ? it + (list)->n : NULL;                                            \
         it < it##_end; it++)
/* Pairs of a MAP: k and v are `const struct val *`. */
#define VAL_EACH_ENTRY(map, k, v)                                                                            \
    for (const struct val *k = val_is(map, VAL_MAP) ? (map)->items : NULL,                                   \
                          *k##_end = k ? k + 2 * (size_t)(map)->n : NULL, *v = k ? k + 1 : NULL;             \
         k < k##_end; k += 2, v = k + 1)
/* Members of an OBJ; it->name tells which. */
#define VAL_EACH_MEMBER(obj, it)                                                                             \
    for (const struct val *it = val_is(obj, VAL_OBJ) ? (obj)->items : NULL,                                  \
                          *it##_end = it ? it + (obj)->n : NULL;                                             \
         it < it##_end; it++)

/* The same content? Members and map entries in any order; INT and FLOAT differ; NULL equals VAL_NULL, and an
 * absent member equals a null, an empty OBJ, an empty MAP and an empty LIST. */
bool val_equal(const struct val *a, const struct val *b);
/* As val_equal, but an absent member equals a null only: `emptyDir: {}` is not the same as no emptyDir. */
bool val_same(const struct val *a, const struct val *b);
uint64_t val_hash(const struct val *v); /* equal values hash alike */

/* ---- making ------------------------------------------------------------------------------------------- */

static inline struct val val_of_bool(bool b)
{
    return (struct val){.kind = VAL_BOOL, .b = b};
}
static inline struct val val_of_int(int64_t i)
{
    return (struct val){.kind = VAL_INT, .i = i};
}
static inline struct val val_of_float(double f)
{
    return (struct val){.kind = VAL_FLOAT, .f = f};
}
/* s must live as long as the value and be NUL-terminated beyond n (literals, arena_str). */
static inline struct val val_of_str(struct str s)
{
    return (struct val){.kind = VAL_STR, .n = (uint32_t)s.n, .s = s.p ? s.p : ""};
}
static inline struct val val_of_raw(struct str json)
{
    return (struct val){.kind = VAL_RAW, .n = (uint32_t)json.n, .s = json.p ? json.p : ""};
}
static inline struct val val_of_bytes(struct str s)
{
    return (struct val){.kind = VAL_BYTES, .n = (uint32_t)s.n, .s = s.p ? s.p : ""};
}
struct val *val_new(struct arena *a, enum val_kind kind); /* empty OBJ, MAP, LIST ... */
struct val *val_new_str(struct arena *a, struct str s);   /* copies s */

/* Deep copy into the arena: everything in it may then be written to. NULL gives NULL. */
struct val *val_copy(struct arena *a, const struct val *v);
/* Copy of the top level only; children are shared and must not be written to. */
struct val *val_copy_shallow(struct arena *a, const struct val *v);

/* Set a member (replacing it) and return where it now is. Setting a VAL_NULL removes it (returns NULL). v is taken
 * as it is: its children are shared, not copied. obj must be an OBJ you own, or a MAP: its pair of that name then. */
struct val *val_set(struct arena *a, struct val *obj, name_id name, struct val v);
struct val *val_set_ref(struct arena *a, struct val *obj, name_id name, const struct val *v); /* NULL removes */
struct val *val_set_str(struct arena *a, struct val *obj, name_id name, struct str s);        /* copies s */
struct val *val_set_int(struct arena *a, struct val *obj, name_id name, int64_t i);
struct val *val_set_bool(struct arena *a, struct val *obj, name_id name, bool b);
/* The member as an OBJ (MAP, LIST) to write to, made when absent. What is there must be yours to write to. */
struct val *val_sub_obj(struct arena *a, struct val *obj, name_id name);
struct val *val_sub_map(struct arena *a, struct val *obj, name_id name);
struct val *val_sub_list(struct arena *a, struct val *obj, name_id name);
bool val_del(struct val *obj, name_id name); /* true when it was there */

/* Append to a LIST; returns where the item now is (valid until the next append). */
struct val *val_add(struct arena *a, struct val *list, struct val v);
struct val *val_add_obj(struct arena *a, struct val *list); /* appends an empty OBJ */
struct val *val_add_str(struct arena *a, struct val *list, struct str s);
void val_remove(struct val *list, size_t i);

/* Set a pair of a MAP (key copied); VAL_NULL values are kept. */
struct val *val_put(struct arena *a, struct val *map, struct str key, struct val v);
struct val *val_put_str(struct arena *a, struct val *map, struct str key, struct str s);
bool val_unput(struct val *map, struct str key);

/* Writable access along a path within a value that is yours. */
struct val *val_mut(struct val *v, name_id name);
