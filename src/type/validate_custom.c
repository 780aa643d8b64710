/* SPDX-License-Identifier: Apache-2.0 */
#include "type/validate_custom.h"

#include <math.h>
#include <stdio.h>

#include "names.h"
#include "type/custom_format.h"
#include "type/meta.h"
#include "type/text.h"
#include "type/validate-internal.h"

/* One go over a value. Alternatives (anyOf ...) are tried with a status of their own. */
struct judge {
    struct status *s;
    const struct custom_checks *checks;
    struct buf *path;
    unsigned seen;    /* schemas visited: of alternatives that all fail the deepest one tells why */
};

static void judge(struct judge *j, const struct structural *s, const struct val *v, const struct val *old);

static struct str here(const struct judge *j)
{
    return j->path->n ? buf_str(j->path) : STR("<nil>");
}

/* As it stands in sentences: a root has no name. */
static struct str subject(const struct judge *j)
{
    return buf_str(j->path);
}

/* ---- what a value is ----------------------------------------------------------------------------------- */

static const char *const type_words[] = {"", "object", "array", "string", "integer", "number", "boolean"};

static enum structural_type type_of(const struct val *v)
{
    switch (v->kind) {
    case VAL_BOOL:
        return STRUCTURAL_BOOLEAN;
    case VAL_INT:
        return STRUCTURAL_INTEGER;
    case VAL_FLOAT:
        return STRUCTURAL_NUMBER;
    case VAL_STR:
        return STRUCTURAL_STRING;
    case VAL_LIST:
        return STRUCTURAL_ARRAY;
    case VAL_MAP:
    case VAL_OBJ:
        return STRUCTURAL_OBJECT;
    }
    return STRUCTURAL_ANY;
}

static bool is_whole(const struct val *v)
{
    return v->kind == VAL_INT || (v->kind == VAL_FLOAT && isfinite(v->f) && v->f == trunc(v->f));
}

static bool fits_type(const struct structural *s, const struct val *v)
{
    enum structural_type is = type_of(v);
    if (s->int_or_string)
        return is == STRUCTURAL_STRING || is_whole(v);
    if (s->type == STRUCTURAL_ANY || is == s->type)
        return true;
    return s->type == STRUCTURAL_NUMBER ? is == STRUCTURAL_INTEGER : s->type == STRUCTURAL_INTEGER && is_whole(v);
}

static void say_type(struct judge *j, const char *want, struct str is)
{
    struct str at = here(j);
    cause_add(j->s, "FieldValueTypeInvalid", at, "Invalid value: \"" STR_FMT "\": " STR_FMT " in body must be of type %s: \"" STR_FMT "\"",
              STR_ARG(is), STR_ARG(subject(j)), want, STR_ARG(is));
}

/* Upstream forgets a format that is none of its type. */
static bool format_counts(const struct structural *s)
{
    static const char *const of_integer[] = {"int32", "int64", NULL}, *const of_number[] = {"float", "double", NULL};
    struct str format = s->rules ? s->rules->format : STR_NULL;
    return s->type == STRUCTURAL_INTEGER  ? str_in(format, of_integer)
           : s->type == STRUCTURAL_NUMBER ? str_in(format, of_number)
                                          : s->type == STRUCTURAL_STRING && custom_format_known(format);
}

/* A format that is broken by the type: of numbers upstream names how Go holds them, of texts and lists it says nothing. */
static bool check_formatted(struct judge *j, const struct structural *s, const struct val *v)
{
    const char *is = v->kind == VAL_INT ? "int64" : v->kind == VAL_FLOAT ? "float64" : "";
    bool texts = v->kind == VAL_STR || v->kind == VAL_LIST;
    struct str format = s->rules ? s->rules->format : STR_NULL;
    if (!format_counts(s) || (texts && s->type != STRUCTURAL_STRING) || str_is(format, is))
        return false;
    if (!texts)
        say_type(j, arena_cstr(j->s->arena, format), str_of(is));
    return true;
}

static bool check_type(struct judge *j, const struct structural *s, const struct val *v)
{
    const char *want = s->int_or_string ? "integer,string" : type_words[s->type];
    if (v->kind == VAL_NULL) {
        if (!s->nullable && *want)
            say_type(j, want, STR("null"));
        return false;
    }
    if (fits_type(s, v) || check_formatted(j, s, v))
        return true;
    say_type(j, want, str_of(type_words[type_of(v)]));
    return true;
}

/* ---- scalars ------------------------------------------------------------------------------------------- */

static void say(struct judge *j, const struct val *v, const char *fmt, ...) PRINTF(3, 4);
static void say(struct judge *j, const struct val *v, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    cause_invalid(j->s, here(j), v, arena_printf(j->s->arena, STR_FMT " in body %s", STR_ARG(subject(j)), text).p);
}

static const char *number_text(struct judge *j, double d)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    json_encode_float(&b, d);
    return arena_cstr(j->s->arena, buf_str(&b));
}

static void check_number(struct judge *j, const struct structural_rules *r, const struct val *v)
{
    double d = val_float(v, 0);
    if (r->has & RULE_MULTIPLE && r->multiple_of > 0 && fabs(remainder(d, r->multiple_of)) > 1e-9 * r->multiple_of)
        say(j, v, "should be a multiple of %s", number_text(j, r->multiple_of));
    if (r->has & RULE_MAXIMUM && (d > r->maximum || (r->has & RULE_BELOW && d == r->maximum)))
        say(j, v, "should be less than %s%s", r->has & RULE_BELOW ? "" : "or equal to ", number_text(j, r->maximum));
    if (r->has & RULE_MINIMUM && (d < r->minimum || (r->has & RULE_ABOVE && d == r->minimum)))
        say(j, v, "should be greater than %s%s", r->has & RULE_ABOVE ? "" : "or equal to ", number_text(j, r->minimum));
}

/* Is the number one that the type and its format can hold? */
static void check_numeric(struct judge *j, const struct structural *s, const struct val *v)
{
    struct str format = format_counts(s) ? s->rules->format : STR_NULL;
    double d = val_float(v, 0);
    bool small = !str_is(format, "int32") || (d >= INT32_MIN && d <= INT32_MAX);
    if (s->type != STRUCTURAL_INTEGER || (is_whole(v) && small))
        return;
    struct str how = format.n ? arena_printf(j->s->arena, "with format " STR_FMT, STR_ARG(format)) : STR("(default format)");
    cause_add(j->s, "FieldValueInvalid", STR("<nil>"), "Invalid value: \"\": Checked value must be of type integer " STR_FMT " in " STR_FMT,
              STR_ARG(how), STR_ARG(subject(j)));
}

static int64_t characters(struct str s)
{
    int64_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        n += ((unsigned char)s.p[i] & 0xc0) != 0x80;
    return n;
}

/* Of length and pattern only the first that does not fit is told of. */
static void check_string(struct judge *j, struct structural_rules *r, const struct val *v)
{
    struct str text = val_str(v);
    int64_t n = characters(text);
    if (r->has & RULE_MAX_LENGTH && n > r->max_length)
        cause_too_long(j->s, here(j), (size_t)r->max_length);
    else if (r->has & RULE_MIN_LENGTH && n < r->min_length)
        say(j, v, "should be at least %lld chars long", (long long)r->min_length);
    else if (r->pattern.n && j->checks && j->checks->match && !j->checks->match(j->checks->arg, r, text))
        cause_invalid(j->s, here(j), v,
                      arena_printf(j->s->arena, STR_FMT " in body should match '" STR_FMT "'", STR_ARG(subject(j)), STR_ARG(r->pattern)).p);
    if (r->format.n && !custom_format_fits(r->format, text))
        say_type(j, arena_cstr(j->s->arena, r->format), text);
}

/* ---- enums --------------------------------------------------------------------------------------------- */

static void check_enum(struct judge *j, const struct val *enums, const struct val *v)
{
    size_t n = 0;
    VAL_EACH (enums, e)
        if (val_same(e, v))
            return;
    const char **words = ARENA_ARRAY(j->s->arena, const char *, val_len(enums) + 1);
    VAL_EACH (enums, e) {
        struct buf b CLEANUP_BUF = BUF_INIT;
        if (e->kind != VAL_STR)
            json_encode(&b, NULL, e, 0);
        words[n++] = arena_cstr(j->s->arena, e->kind == VAL_STR ? val_str(e) : buf_str(&b));
    }
    words[n] = NULL;
    cause_not_supported(j->s, here(j), v, words);
}

/* ---- lists --------------------------------------------------------------------------------------------- */

static size_t into_item(struct judge *j, size_t i)
{
    size_t at = j->path->n;
    buf_printf(j->path, "[%zu]", i);
    return at;
}

/* The keys of an item of an associative list; as one value to compare. All of them are there when there are as many as it names. */
static const struct val *keys_of(struct arena *a, const struct structural *s, const struct val *item)
{
    struct val *keys = val_new(a, VAL_MAP);
    VAL_EACH (s->list_keys, k) {
        const struct val *v = val_key(item, val_str(k));
        const struct structural *m = s->items ? structural_member(s->items, val_str(k)) : NULL;
        if (v || (m && m->default_value))
            val_put(a, keys, val_str(k), v ? *v : *m->default_value);
    }
    return keys;
}

struct keyed {
    const struct val *v;
    uint64_t hash;
    size_t at;
};

static int by_hash(const void *px, const void *py)
{
    const struct keyed *x = px, *y = py;
    return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash) : (x->at > y->at) - (x->at < y->at);
}

static struct keyed *keyed_items(struct arena *a, const struct structural *s, const struct val *list)
{
    struct keyed *k = ARENA_ARRAY(a, struct keyed, val_len(list) + 1);
    for (size_t i = 0; i < val_len(list); i++) {
        k[i].v = s->list == STRUCTURAL_MAP ? keys_of(a, s, val_item(list, i)) : val_item(list, i);
        k[i].hash = val_hash(k[i].v);
        k[i].at = i;
    }
    qsort(k, val_len(list), sizeof(*k), by_hash);
    return k;
}

static bool are_twins(const struct keyed *x, const struct keyed *y)
{
    return x->hash == y->hash && val_same(x->v, y->v);
}

/* False when there is an item that cannot have keys. */
static bool check_keyed(struct judge *j, const struct structural *s, const struct val *list)
{
    for (size_t i = 0; s->list == STRUCTURAL_MAP && i < val_len(list); i++) {
        const struct val *item = val_item(list, i);
        if (item->kind == VAL_MAP || item->kind == VAL_NULL)
            continue;
        size_t at = into_item(j, i);
        cause_invalid(j->s, here(j), item, "must be an object for an array of list-type map");
        j->path->n = at;
        return false;
    }
    return true;
}

/* Each value that is there several times is told of where it comes the second time. */
static void check_twins(struct judge *j, const struct structural *s, const struct val *list)
{
    const struct keyed *k = keyed_items(j->s->arena, s, list);
    for (size_t i = 1; i < val_len(list); i++)
        if (are_twins(&k[i], &k[i - 1]) && !(i > 1 && are_twins(&k[i - 1], &k[i - 2]))) {
            size_t at = into_item(j, k[i].at);
            cause_duplicate(j->s, here(j), k[i].v);
            j->path->n = at;
        }
}

static const struct keyed *twin(const struct keyed *k, size_t n, const struct val *keys)
{
    uint64_t hash = val_hash(keys);
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (k[mid].hash < hash)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < n && k[lo].hash == hash; lo++)
        if (val_same(k[lo].v, keys))
            return &k[lo];
    return NULL;
}

const struct val **custom_former_items(struct arena *a, const struct structural *s, const struct val *v, const struct val *old)
{
    const struct val **out = ARENA_ARRAY(a, const struct val *, val_len(v) + 1);
    if (s->list != STRUCTURAL_MAP || !val_is(old, VAL_LIST))
        return out;
    const struct keyed *k = keyed_items(a, s, old);
    for (size_t i = 0; i < val_len(v); i++) {
        const struct val *keys = keys_of(a, s, val_item(v, i));
        const struct keyed *before = val_len(keys) == val_len(s->list_keys) ? twin(k, val_len(old), keys) : NULL;
        out[i] = before ? val_item(old, before->at) : NULL;
    }
    return out;
}

static void check_list(struct judge *j, const struct structural *s, const struct val *v, const struct val *old)
{
    const struct structural_rules *r = s->rules;
    int64_t n = (int64_t)val_len(v);
    if (r && r->has & RULE_MAX_ITEMS && n > r->max_items)
        cause_too_many(j->s, here(j), (size_t)n, (size_t)r->max_items);
    if (r && r->has & RULE_MIN_ITEMS && n < r->min_items)
        say(j, &(struct val){.kind = VAL_INT, .i = n}, "should have at least %lld items", (long long)r->min_items);
    if (!s->items)
        return;
    const struct val **before = custom_former_items(j->s->arena, s, v, old);
    for (size_t i = 0; i < val_len(v); i++) {
        size_t at = into_item(j, i);
        judge(j, s->items, val_item(v, i), before[i]);
        j->path->n = at;
    }
}

/* ---- objects ------------------------------------------------------------------------------------------- */

static size_t into_member(struct judge *j, struct str name)
{
    size_t at = j->path->n;
    buf_printf(j->path, "%s" STR_FMT, at ? "." : "", STR_ARG(name));
    return at;
}

static void check_required(struct judge *j, const struct val *required, const struct val *v)
{
    VAL_EACH (required, name) {
        if (val_key(v, val_str(name)))
            continue;
        size_t at = into_member(j, val_str(name));
        cause_required(j->s, here(j), NULL);
        j->path->n = at;
    }
}

/* Metadata is typed and has rules of its own; a schema may narrow its names. */
static void check_meta(struct judge *j, const struct structural *s, const struct val *meta, const struct val *old)
{
    for (size_t i = 0; i < s->n_members; i++) {
        const struct val *m = val_key(meta, s->members[i].name);
        size_t at = into_member(j, s->members[i].name);
        if (val_is(m, VAL_STR))
            judge(j, s->members[i].schema, m, val_key(old, s->members[i].name));
        j->path->n = at;
    }
}

static void check_map(struct judge *j, const struct structural *s, const struct val *v, const struct val *old)
{
    const struct structural_rules *r = s->rules;
    int64_t n = (int64_t)val_len(v);
    if (r && r->has & RULE_MAX_MEMBERS && n > r->max_members)
        cause_too_many(j->s, here(j), (size_t)n, (size_t)r->max_members);
    if (r && r->has & RULE_MIN_MEMBERS && n < r->min_members)
        say(j, &(struct val){.kind = VAL_INT, .i = n}, "should have at least %lld properties", (long long)r->min_members);
    if (r)
        check_required(j, r->required, v);
    VAL_EACH_ENTRY (v, k, m) {
        const struct structural *child = structural_member(s, val_str(k));
        if (!child)
            continue;
        size_t at = into_member(j, val_str(k));
        if (m->kind == VAL_OBJ)
            check_meta(j, child, m, val_key(old, val_str(k)));
        else
            judge(j, child, m, val_key(old, val_str(k)));
        j->path->n = at;
    }
}

/* ---- several schemas at once --------------------------------------------------------------------------- */

struct attempt {
    struct status s;
    unsigned seen;
};

static struct attempt attempt(struct judge *j, const struct structural *s, const struct val *v, const struct val *old)
{
    struct attempt t = {.seen = 0};
    struct judge one = *j;
    status_init(&t.s, j->s->arena);
    one.s = &t.s;
    one.seen = 0;
    judge(&one, s, v, old);
    t.seen = one.seen;
    return t;
}

/* Among the causes from `first` up to `end`; it looks back only so far that many do not cost their square. */
static bool is_told(const struct status *s, size_t first, size_t end, const struct cause *c)
{
    enum { BACK = 32 };
    for (size_t i = end > first + BACK ? end - BACK : first; i < end; i++)
        if (strcmp(s->causes[i].reason, c->reason) == 0 && str_eq(s->causes[i].field, c->field) && str_eq(s->causes[i].message, c->message))
            return true;
    return false;
}

/* What several of them say is said once. */
static void merge(struct judge *j, const struct status *s)
{
    for (size_t i = 0; i < s->n_causes; i++)
        if (!is_told(j->s, 0, j->s->n_causes, &s->causes[i]))
            cause_add(j->s, s->causes[i].reason, s->causes[i].field, STR_FMT, STR_ARG(s->causes[i].message));
}

static void say_general(struct judge *j, const char *text)
{
    cause_add(j->s, "FieldValueInvalid", STR("<nil>"), "Invalid value: \"\": \"" STR_FMT "\" %s", STR_ARG(subject(j)), text);
}

/* How many of the schemas hold; *best: of those that do not, the one that got furthest. */
static size_t count_valid(struct judge *j, const struct structural **l, const struct val *v, const struct val *old, bool stop,
                          struct attempt *best)
{
    size_t n = 0;
    for (; *l && !(stop && n); l++) {
        struct attempt t = attempt(j, *l, v, old);
        if (!t.s.n_causes)
            n++;
        else if (!best->s.n_causes || t.seen > best->seen)
            *best = t;
    }
    return n;
}

static void check_any(struct judge *j, const struct structural_rules *r, const struct val *v, const struct val *old)
{
    struct attempt best = {.seen = 0};
    if (!r->any || count_valid(j, r->any, v, old, true, &best))
        return;
    say_general(j, "must validate at least one schema (anyOf)");
    merge(j, &best.s);
}

static void check_one(struct judge *j, const struct structural_rules *r, const struct val *v, const struct val *old)
{
    struct attempt best = {.seen = 0};
    size_t n = r->one ? count_valid(j, r->one, v, old, false, &best) : 1;
    if (n == 1)
        return;
    if (n)
        say_general(j, arena_printf(j->s->arena, "must validate one and only one schema (oneOf). Found %zu valid alternatives", n).p);
    else
        say_general(j, "must validate one and only one schema (oneOf). Found none valid");
    if (!n)
        merge(j, &best.s);
}

static void check_all(struct judge *j, const struct structural_rules *r, const struct val *v, const struct val *old)
{
    size_t valid = 0, n = 0;
    for (const struct structural **l = r->all; l && *l; l++, n++) {
        struct attempt t = attempt(j, *l, v, old);
        valid += !t.s.n_causes;
        merge(j, &t.s);
    }
    if (valid != n)
        say_general(j, valid ? "must validate all the schemas (allOf)" : "must validate all the schemas (allOf). None validated");
}

/* What the schema says once more after the alternatives, whose causes stand from `first` to `end`. */
static void drop_told(struct judge *j, size_t first, size_t end)
{
    struct status *s = j->s;
    size_t kept = end;
    for (size_t i = end; i < s->n_causes; i++)
        if (!is_told(s, first, end, &s->causes[i]))
            s->causes[kept++] = s->causes[i];
    s->n_causes = kept;
}

static void check_combined(struct judge *j, const struct structural_rules *r, const struct val *v, const struct val *old)
{
    check_any(j, r, v, old);
    check_one(j, r, v, old);
    check_all(j, r, v, old);
    if (r->not_ && !attempt(j, r->not_, v, old).s.n_causes)
        say_general(j, "must not validate the schema (not)");
}

/* ---- the walk ------------------------------------------------------------------------------------------ */

/* What the schema does not speak of upstream cannot tell to be what it was. */
static bool is_spoken_of(const struct structural *s, const struct val *v)
{
    VAL_EACH (s->list == STRUCTURAL_MAP ? v : NULL, item) {
        VAL_EACH (s->list_keys, key)
            if (!val_key(item, val_str(key)))
                return false;
        if (!s->items || !is_spoken_of(s->items, item))
            return false;
    }
    VAL_EACH_ENTRY (v, k, m) {
        const struct structural *child = structural_member(s, val_str(k));
        if (!child || !is_spoken_of(child, m))
            return false;
    }
    return true;
}

static void judge(struct judge *j, const struct structural *s, const struct val *v, const struct val *old)
{
    struct structural_rules *r = s->rules;
    size_t first = j->s->n_causes, end;
    j->seen++;
    if (old && val_same(v, old) && is_spoken_of(s, v))
        return;
    bool there = check_type(j, s, v);
    if (there && r)
        check_combined(j, r, v, old);
    end = j->s->n_causes;
    if (there && r && v->kind == VAL_STR)
        check_string(j, r, v);
    if (v->kind == VAL_INT || v->kind == VAL_FLOAT)
        check_numeric(j, s, v);
    if (there && r && (v->kind == VAL_INT || v->kind == VAL_FLOAT))
        check_number(j, r, v);
    if (v->kind == VAL_LIST)
        check_list(j, s, v, old);
    if (r && r->enums)
        check_enum(j, r->enums, v);
    if (v->kind == VAL_MAP)
        check_map(j, s, v, old);
    if (end > first)
        drop_told(j, first, end);
}

/* Sets and associative lists with twins. What had them before may keep them. */
static void twins(struct judge *j, const struct structural *s, const struct val *v)
{
    size_t i = 0;
    if (s->list != STRUCTURAL_ATOMIC && v->kind == VAL_LIST && check_keyed(j, s, v) && val_len(v) > 1)
        check_twins(j, s, v);
    VAL_EACH (v, item) {
        size_t at = into_item(j, i++);
        if (s->items)
            twins(j, s->items, item);
        j->path->n = at;
    }
    VAL_EACH_ENTRY (v, k, m) {
        const struct structural *own = structural_property(s, val_str(k)), *child = own ? own : s->additional;
        size_t at = j->path->n;
        if (own)
            into_member(j, val_str(k));
        else
            buf_printf(j->path, "[" STR_FMT "]", STR_ARG(val_str(k)));
        if (child)
            twins(j, child, m);
        j->path->n = at;
    }
}

void custom_validate(const struct structural *schema, const struct val *v, const struct val *old,
                     const struct custom_checks *checks, struct status *s)
{
    struct buf path CLEANUP_BUF = BUF_INIT;
    struct judge j = {.s = s, .checks = checks, .path = &path};
    judge(&j, schema, v, old);
    struct status had;
    status_init(&had, s->arena);
    if (old) {
        struct judge before = {.s = &had, .checks = checks, .path = &path};
        twins(&before, schema, old);
    }
    if (!had.n_causes)
        twins(&j, schema, v);
}
