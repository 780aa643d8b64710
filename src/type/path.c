/* SPDX-License-Identifier: Apache-2.0 */
#include "type/path.h"

struct walk {
    struct arena *arena;
    struct path_hits *hits;
    size_t cap;
};

static void hit(struct walk *w, const struct val *v)
{
    if (w->hits->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 4;
        const struct val **items = ARENA_ARRAY(w->arena, const struct val *, cap);
        if (w->hits->n)
            memcpy(items, w->hits->items, w->hits->n * sizeof(*items));
        w->hits->items = items;
        w->cap = cap;
    }
    w->hits->items[w->hits->n++] = v;
}

static void step(struct walk *w, const struct val *v, struct str path);

static struct str unquoted(struct str s)
{
    bool quoted = s.n >= 2 && (s.p[0] == '\'' || s.p[0] == '"') && s.p[s.n - 1] == s.p[0];
    return quoted ? str_slice(s, 1, s.n - 2) : s;
}

/* ?(@.name=="text"): the items whose member has that text. */
static bool filter_matches(const struct val *item, struct str condition)
{
    ssize_t eq = -1;
    for (size_t i = 0; i + 1 < condition.n; i++)
        if (condition.p[i] == '=' && condition.p[i + 1] == '=') {
            eq = (ssize_t)i;
            break;
        }
    if (eq < 0 || !str_starts(condition, STR("@.")))
        return false;
    struct str name = str_trim(str_slice(condition, 2, (size_t)eq - 2));
    struct str want = unquoted(str_trim(str_from(condition, (size_t)eq + 2)));
    const struct val *v = val_key(item, name);
    return val_is(v, VAL_STR) && str_eq(val_str(v), want);
}

static void step_filter(struct walk *w, const struct val *v, struct str condition, struct str rest)
{
    VAL_EACH (v, item)
        if (filter_matches(item, condition))
            step(w, item, rest);
}

static void step_all(struct walk *w, const struct val *v, struct str rest)
{
    VAL_EACH (v, item)
        step(w, item, rest);
    VAL_EACH_ENTRY (v, k, item) {
        (void)k;
        step(w, item, rest);
    }
    VAL_EACH_MEMBER (v, item)
        step(w, item, rest);
}

/* What stands between the brackets at the start of path, quotes and inner brackets respected; 0 when they do
 * not close. */
static size_t bracket_length(struct str path)
{
    char quote = 0;
    for (size_t i = 1; i < path.n; i++) {
        char c = path.p[i];
        if (quote)
            quote = c == quote ? 0 : quote;
        else if (c == '\'' || c == '"')
            quote = c;
        else if (c == ']')
            return i + 1;
    }
    return 0;
}

static void step_bracket(struct walk *w, const struct val *v, struct str path)
{
    size_t n = bracket_length(path);
    int64_t i;
    if (!n)
        return;
    struct str inner = str_trim(str_slice(path, 1, n - 2)), rest = str_from(path, n);
    if (str_is(inner, "*"))
        step_all(w, v, rest);
    else if (str_starts(inner, STR("?(")) && str_ends(inner, STR(")")))
        step_filter(w, v, str_slice(inner, 2, inner.n - 3), rest);
    else if (str_to_i64(inner, &i) == 0 && val_is(v, VAL_LIST))
        step(w, val_item(v, (size_t)(i < 0 ? i + (int64_t)v->n : i)), rest);
    else
        step(w, val_key(v, unquoted(inner)), rest);
}

static size_t name_length(struct str path)
{
    size_t n = 0;
    while (n < path.n && path.p[n] != '.' && path.p[n] != '[')
        n += path.p[n] == '\\' && n + 1 < path.n ? 2 : 1;
    return n;
}

/* "a\.b" names the member "a.b". */
static struct str unescaped(struct arena *a, struct str s)
{
    if (str_find(s, '\\') < 0)
        return s;
    char *text = arena_bytes(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] != '\\')
            text[n++] = s.p[i];
    return str_n(text, n);
}

static void step(struct walk *w, const struct val *v, struct str path)
{
    if (!v || v->kind == VAL_NULL)
        return;
    if (!path.n) {
        hit(w, v);
        return;
    }
    if (path.p[0] == '[') {
        step_bracket(w, v, path);
        return;
    }
    if (path.p[0] == '.')
        path = str_from(path, 1);
    size_t n = name_length(path);
    if (!n)
        return;
    if (v->kind == VAL_LIST) {
        VAL_EACH (v, item)
            step(w, item, path);
        return;
    }
    struct str name = unescaped(w->arena, str_slice(path, 0, n)), rest = str_from(path, n);
    if (str_is(name, "*"))
        step_all(w, v, rest);
    else
        step(w, val_key(v, name), rest);
}

void path_find(struct arena *a, const struct val *v, struct str path, struct path_hits *ret)
{
    struct walk w = {.arena = a, .hits = ret};
    *ret = (struct path_hits){0};
    if (path.n > 1 && path.p[0] == '{' && path.p[path.n - 1] == '}')
        path = str_slice(path, 1, path.n - 2);
    if (str_starts(path, STR("$")))
        path = str_from(path, 1);
    if (path.n)
        step(&w, v, path);
}
