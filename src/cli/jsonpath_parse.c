/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/jsonpath-internal.h"

#include <ctype.h>
#include <stdio.h>

enum { MAX_NESTING = 32 };

struct parser {
    struct arena *a;
    struct str in;
    size_t at;
    struct jp_list *root;
    struct err *e;
    int depth;
};

static int fail(struct parser *p, const char *why)
{
    return err_set(p->e, -EINVAL, "%s", why);
}

static struct jp_node *append(struct parser *p, struct jp_list *l, struct jp_node n)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 4;
        struct jp_node *items = ARENA_ARRAY(p->a, struct jp_node, cap);
        if (l->n)
            memcpy(items, l->items, l->n * sizeof(*items));
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n] = n;
    return &l->items[l->n++];
}

static int peek(const struct parser *p)
{
    return p->at < p->in.n ? (unsigned char)p->in.p[p->at] : -1;
}

static bool looking_at(const struct parser *p, const char *s)
{
    return str_starts(str_from(p->in, p->at), str_of(s));
}

static bool ends_word(int c)
{
    return c < 0 || strchr(" \t\r\n.,[]$@{}", c);
}

static struct jp_node text_node(struct str s)
{
    return (struct jp_node){.kind = JP_TEXT, .text = s, .value = val_of_str(s)};
}

/* The steps of one action's text, without braces, in a list of its own. */
static int parse_steps(struct parser *p, struct str text, struct jp_list **ret);

/* ---- words, numbers, quotes -------------------------------------------------------------------------------- */

static int parse_word(struct parser *p, struct jp_list *l)
{
    size_t from = p->at;
    while (!ends_word(peek(p)))
        p->at++;
    struct str word = str_slice(p->in, from, p->at - from);
    if (str_is(word, "true") || str_is(word, "false"))
        append(p, l, (struct jp_node){.kind = JP_BOOL, .value = val_of_bool(str_is(word, "true"))});
    else if (str_is(word, "range"))
        append(p, l, (struct jp_node){.kind = JP_RANGE});
    else if (str_is(word, "end"))
        append(p, l, (struct jp_node){.kind = JP_END});
    else
        return err_set(p->e, -EINVAL, "unrecognized identifier " STR_FMT, STR_ARG(word));
    return 0;
}

static int parse_number(struct parser *p, struct jp_list *l)
{
    size_t from = p->at;
    int64_t i;
    char copy[64], *end;
    if (peek(p) == '+' || peek(p) == '-')
        p->at++;
    while (isdigit(peek(p)) || peek(p) == '.')
        p->at++;
    struct str s = str_slice(p->in, from, p->at - from);
    if (str_to_i64(s.n && s.p[0] == '+' ? str_from(s, 1) : s, &i) == 0) {
        append(p, l, (struct jp_node){.kind = JP_INT, .value = val_of_int(i)});
        return 0;
    }
    snprintf(copy, sizeof(copy), STR_FMT, STR_ARG(s));
    double d = strtod(copy, &end);
    if (!s.n || *end || s.n >= sizeof(copy))
        return err_set(p->e, -EINVAL, "cannot parse number " STR_FMT, STR_ARG(s));
    append(p, l, (struct jp_node){.kind = JP_FLOAT, .value = val_of_float(d)});
    return 0;
}

static char escaped(char c)
{
    static const char from[] = "abfnrtv", to[] = "\a\b\f\n\r\t\v";
    const char *at = strchr(from, c);
    return at && c ? to[at - from] : c;
}

static struct str unquote(struct parser *p, struct str s)
{
    char *out = arena_bytes(p->a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++)
        out[n++] = s.p[i] == '\\' && i + 1 < s.n ? escaped(s.p[++i]) : s.p[i];
    out[n] = 0;
    return str_n(out, n);
}

static int parse_quote(struct parser *p, struct jp_list *l, char quote)
{
    size_t from = ++p->at;
    for (;; p->at++) {
        if (peek(p) < 0 || peek(p) == '\n')
            return fail(p, "unterminated quoted string");
        if (peek(p) == '\\')
            p->at++;
        else if (peek(p) == quote)
            break;
    }
    append(p, l, text_node(unquote(p, str_slice(p->in, from, p->at++ - from))));
    return 0;
}

/* ---- fields, arrays, filters --------------------------------------------------------------------------------- */

static int parse_field(struct parser *p, struct jp_list *l)
{
    size_t from = p->at, n = 0;
    while (!ends_word(peek(p)))
        p->at += peek(p) == '\\' && p->at + 1 < p->in.n ? 2 : 1;
    char *out = arena_bytes(p->a, p->at - from + 1);
    for (size_t i = from; i < p->at; i++)
        if (p->in.p[i] != '\\')
            out[n++] = p->in.p[i];
    out[n] = 0;
    struct str name = str_n(out, n);
    if (str_is(name, "*"))
        append(p, l, (struct jp_node){.kind = JP_WILDCARD});
    else
        append(p, l, (struct jp_node){.kind = JP_FIELD, .text = name});
    return 0;
}

static int parse_recursive(struct parser *p, struct jp_list *l)
{
    if (l->n && l->items[l->n - 1].kind == JP_RECURSIVE)
        return fail(p, "invalid multiple recursive descent");
    p->at += 2;
    append(p, l, (struct jp_node){.kind = JP_RECURSIVE});
    return isalnum(peek(p)) || peek(p) == '_' ? parse_field(p, l) : 0;
}

static bool parse_index(struct str s, struct jp_index *ret)
{
    *ret = (struct jp_index){0};
    if (!s.n)
        return true;
    ret->known = true;
    return str_to_i64(s, &ret->value) == 0;
}

static int parse_slice(struct parser *p, struct jp_list *l, struct str text)
{
    struct jp_node n = {.kind = JP_ARRAY};
    struct str part[3] = {{0}}, rest = text;
    unsigned parts = 0;
    while (parts < 3 && str_next(&rest, ':', &part[parts]))
        parts++;
    if (rest.p || (parts == 1 && !part[0].n))
        return err_set(p->e, -EINVAL, "invalid array index " STR_FMT, STR_ARG(text));
    for (unsigned i = 0; i < 3; i++)
        if (!parse_index(part[i], &n.index[i]))
            return err_set(p->e, -EINVAL, "invalid array index " STR_FMT, STR_ARG(text));
    if (parts == 1)
        n.index[1] = (struct jp_index){.value = n.index[0].value + 1, .known = true, .derived = true};
    append(p, l, n);
    return 0;
}

static int parse_union(struct parser *p, struct jp_list *l, struct str text)
{
    struct jp_node n = {.kind = JP_UNION};
    struct str rest = text, part;
    n.lists = ARENA_ARRAY(p->a, struct jp_list *, text.n + 1);
    while (str_next(&rest, ',', &part)) {
        int r = parse_steps(p, arena_printf(p->a, "[" STR_FMT "]", STR_ARG(str_trim(part))), &n.lists[n.n_lists++]);
        if (r < 0)
            return r;
    }
    append(p, l, n);
    return 0;
}

static int append_steps(struct parser *p, struct jp_list *l, struct str text)
{
    struct jp_list *steps;
    int r = parse_steps(p, text, &steps);
    for (size_t i = 0; r == 0 && i < steps->n; i++)
        append(p, l, steps->items[i]);
    return r;
}

static int parse_array(struct parser *p, struct jp_list *l)
{
    size_t from = ++p->at;
    while (peek(p) >= 0 && peek(p) != '\n' && peek(p) != ']')
        p->at++;
    if (peek(p) != ']')
        return fail(p, "unterminated array");
    struct str text = str_slice(p->in, from, p->at++ - from);
    if (str_is(text, "*"))
        text = STR(":");
    if (str_find(text, ',') >= 0)
        return parse_union(p, l, text);
    if (text.n >= 2 && text.p[0] == '\'' && text.p[text.n - 1] == '\'' && str_find(str_slice(text, 1, text.n - 2), '\'') < 0)
        return append_steps(p, l, arena_printf(p->a, "." STR_FMT, STR_ARG(str_slice(text, 1, text.n - 2))));
    return parse_slice(p, l, text);
}

/* The end of a filter's text: a ')' outside of quotes. */
static int find_filter_end(struct parser *p)
{
    int quote = 0;
    for (;; p->at++) {
        int c = peek(p);
        if (c < 0 || c == '\n')
            return fail(p, "unterminated filter");
        if (quote)
            quote = c == quote && p->in.p[p->at - 1] != '\\' ? 0 : quote;
        else if (c == '"' || c == '\'')
            quote = c;
        else if (c == ')')
            return 0;
    }
}

static int parse_filter(struct parser *p, struct jp_list *l)
{
    struct jp_node n = {.kind = JP_FILTER, .op = STR("exists")};
    size_t from = p->at += 3;
    int r = find_filter_end(p);
    if (r < 0)
        return r;
    struct str text = str_slice(p->in, from, p->at++ - from);
    if (peek(p) != ']')
        return fail(p, "unclosed array expect ]");
    p->at++;
    size_t op = 0, end;
    while (op < text.n && !strchr("!<>=", text.p[op]))
        op++;
    for (end = op; end < text.n && strchr("!<>=", text.p[end]);)
        end++;
    if (op == 0 || op == end || end == text.n) {
        r = parse_steps(p, text, &n.left);
    } else {
        n.op = str_slice(text, op, end - op);
        r = parse_steps(p, str_slice(text, 0, op), &n.left);
        if (r == 0)
            r = parse_steps(p, str_from(text, end), &n.right);
    }
    if (r == 0)
        append(p, l, n);
    return r;
}

/* ---- actions ------------------------------------------------------------------------------------------------- */

static int parse_step(struct parser *p, struct jp_list *l)
{
    int c = peek(p);
    if (looking_at(p, "[?("))
        return parse_filter(p, l);
    if (looking_at(p, ".."))
        return parse_recursive(p, l);
    if (c < 0 || c == '\r' || c == '\n')
        return fail(p, "unclosed action");
    if (c == ' ' || c == '@' || c == '$')
        return p->at++, 0;
    if (c == '[')
        return parse_array(p, l);
    if (c == '"' || c == '\'')
        return parse_quote(p, l, (char)c);
    if (c == '.')
        return p->at++, parse_field(p, l);
    if (c == '+' || c == '-' || isdigit(c))
        return parse_number(p, l);
    if (isalnum(c) || c == '_' || c >= 0x80)
        return parse_word(p, l);
    return err_set(p->e, -EINVAL, "unrecognized character in action: U+%04X '%c'", c, c);
}

static int parse_action(struct parser *p, struct jp_list *l)
{
    while (peek(p) != '}') {
        int r = parse_step(p, l);
        if (r < 0)
            return r;
    }
    p->at++;
    return 0;
}

static int parse_steps(struct parser *p, struct str text, struct jp_list **ret)
{
    struct parser own = {.a = p->a, .in = arena_printf(p->a, STR_FMT "}", STR_ARG(text)), .e = p->e, .depth = p->depth + 1};
    if (own.depth > MAX_NESTING)
        return fail(p, "too many levels");
    *ret = ARENA_NEW(p->a, struct jp_list);
    return parse_action(&own, *ret);
}

int jsonpath_parse(struct arena *a, struct str text, const struct jsonpath **ret, struct err *e)
{
    struct jsonpath *path = ARENA_NEW(a, struct jsonpath);
    struct parser p = {.a = a, .in = arena_str(a, text), .e = e, .root = &path->root};
    while (p.at < p.in.n) {
        size_t from = p.at;
        while (p.at < p.in.n && p.in.p[p.at] != '{')
            p.at++;
        if (p.at > from)
            append(&p, p.root, text_node(arena_str(a, str_slice(p.in, from, p.at - from))));
        if (p.at >= p.in.n)
            break;
        p.at++;
        struct jp_list *action = ARENA_NEW(a, struct jp_list);
        append(&p, p.root, (struct jp_node){.kind = JP_LIST, .list = action});
        int r = parse_action(&p, action);
        if (r < 0)
            return r;
    }
    *ret = path;
    return 0;
}

int jsonpath_relaxed(struct arena *a, struct str text, struct str *ret, struct err *e)
{
    struct str s = text;
    if (s.n > 2 && s.p[0] == '{' && s.p[s.n - 1] == '}')
        s = str_slice(s, 1, s.n - 2);
    if (str_starts(s, STR(".")))
        s = str_from(s, 1);
    if (!text.n) {
        *ret = text;
        return 0;
    }
    if (!s.n || str_find(s, '{') >= 0 || str_find(s, '}') >= 0)
        return err_set(e, -EINVAL, "unexpected path string, expected a 'name1.name2' or '.name1.name2' or '{name1.name2}' or "
                                   "'{.name1.name2}'");
    *ret = arena_printf(a, "{.%.*s}", STR_ARG(s));
    return 0;
}
