/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar of cel-spec by precedence climbing, with cel-go's optional syntax (a.?b, a[?b], [?a], {?k: v}). Issues
 * read as upstream's; where ANTLR goes on after a mistake and tells of further ones, this stops at the first.
 */
#include "cel/lex.h"

#include <errno.h>
#include <math.h>

struct parser {
    struct cel_maker *m;
    struct str source;
    struct cel_token t; /* the next one */
    unsigned depth;
};

static struct cel_node *parse_expr(struct parser *p);

static void advance(struct parser *p)
{
    p->t = cel_lex(p->source, p->t.end);
}

static bool is_punct(const struct parser *p, char c)
{
    return p->t.kind == T_PUNCT && p->t.c == c;
}

static bool accept(struct parser *p, char c)
{
    if (!is_punct(p, c))
        return false;
    advance(p);
    return true;
}

static const char expected_operand[] = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, "
                                       "NUM_UINT, STRING, BYTES, IDENTIFIER}";

static NOINLINE struct cel_node *unexpected(struct parser *p, const char *expected)
{
    if (p->t.kind == T_BAD)
        cel_issue_add(p->m->report, p->t.pos, "Syntax error: token recognition error at: '" STR_FMT "'",
                      STR_ARG(p->t.text));
    else
        cel_issue_add(p->m->report, p->t.pos, "Syntax error: mismatched input '" STR_FMT "' expecting %s",
                      STR_ARG(p->t.text), expected);
    return NULL;
}

static NOINLINE bool expect(struct parser *p, char c)
{
    if (accept(p, c))
        return true;
    if (p->t.kind == T_END)
        cel_issue_add(p->m->report, p->t.pos, "Syntax error: missing '%c' at '<EOF>'", c);
    else
        unexpected(p, (char[]){'\'', c, '\'', 0});
    return false;
}

/* ---- growing lists of nodes ------------------------------------------------------------------------------- */

struct nodes {
    struct cel_node **items;
    bool *optional;
    bool any_optional;
    uint32_t n, cap;
};

static NOINLINE void nodes_add(struct parser *p, struct nodes *l, struct cel_node *x, bool optional)
{
    if (l->n == l->cap) {
        uint32_t cap = l->cap ? 2 * l->cap : 4;
        struct cel_node **items = ARENA_ARRAY(p->m->arena, struct cel_node *, cap);
        bool *flags = ARENA_ARRAY(p->m->arena, bool, cap);
        if (l->n) {
            memcpy(items, l->items, l->n * sizeof(*items));
            memcpy(flags, l->optional, l->n * sizeof(*flags));
        }
        l->items = items;
        l->optional = flags;
        l->cap = cap;
    }
    l->items[l->n] = x;
    l->optional[l->n++] = optional;
    l->any_optional |= optional;
}

/* ---- literals --------------------------------------------------------------------------------------------- */

static NOINLINE struct cel_node *literal(struct parser *p, size_t pos, struct cel_val v)
{
    advance(p);
    return cel_node_literal(p->m, pos, v);
}

static NOINLINE struct cel_node *bad_literal(struct parser *p, size_t pos, const char *what)
{
    cel_issue_add(p->m->report, pos, "invalid %s literal", what);
    return NULL;
}

/* Digits of base 10 or (0x) 16, without sign and suffix. */
static bool read_number(struct str s, uint64_t *ret)
{
    bool hex = s.n > 2 && s.p[0] == '0' && s.p[1] == 'x';
    if (!hex)
        return !str_to_u64(s, ret);
    uint64_t v = 0;
    for (size_t i = 2; i < s.n; i++) {
        if (v >> 60)
            return false;
        char c = s.p[i];
        v = v * 16 + (uint64_t)(c <= '9' ? c - '0' : (c | 32) - 'a' + 10);
    }
    *ret = v;
    return true;
}

static NOINLINE struct cel_node *parse_int(struct parser *p, size_t pos, bool negative)
{
    uint64_t u;
    if (!read_number(p->t.text, &u) || u > (uint64_t)INT64_MAX + negative)
        return bad_literal(p, pos, "int");
    return literal(p, pos, cel_of_int(negative ? (int64_t)(0 - u) : (int64_t)u));
}

static NOINLINE struct cel_node *parse_uint(struct parser *p)
{
    uint64_t u;
    if (!read_number(str_n(p->t.text.p, p->t.text.n - 1), &u))
        return bad_literal(p, p->t.pos, "uint");
    return literal(p, p->t.pos, (struct cel_val){.kind = CEL_UINT, .u = u});
}

static NOINLINE struct cel_node *parse_float(struct parser *p, size_t pos, bool negative)
{
    char *text = arena_cstr(p->m->arena, p->t.text);
    double d = strtod(text, NULL);
    if (isinf(d))
        return bad_literal(p, pos, "double");
    return literal(p, pos, (struct cel_val){.kind = CEL_DOUBLE, .d = negative ? -d : d});
}

static NOINLINE struct cel_node *parse_text(struct parser *p)
{
    struct str s;
    struct cel_token t = p->t;
    if (!cel_token_bytes(p->m->arena, t, &s)) {
        cel_issue_add(p->m->report, t.pos, "Syntax error: token recognition error at: '" STR_FMT "'", STR_ARG(t.text));
        return NULL;
    }
    struct cel_val v = cel_of_str(s);
    v.kind = t.kind == T_BYTES ? CEL_BYTES : CEL_STRING;
    return literal(p, t.pos, v);
}

/* ---- primaries -------------------------------------------------------------------------------------------- */

static bool is_reserved(struct str s)
{
    static const char *const words[] = {"as", "break", "const", "continue", "else", "for", "function", "if", "import",
                                        "let", "loop", "package", "namespace", "return", "var", "void", "while"};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_is(s, words[i]))
            return true;
    return false;
}

/* Arguments up to the closing parenthesis; the opening one was read. */
static bool parse_args(struct parser *p, struct nodes *ret)
{
    if (accept(p, ')'))
        return true;
    do {
        struct cel_node *x = parse_expr(p);
        if (!x)
            return false;
        nodes_add(p, ret, x, false);
    } while (accept(p, ','));
    return expect(p, ')');
}

static NOINLINE struct cel_node *finish_call(struct parser *p, size_t pos, struct str name, struct cel_node *target)
{
    struct nodes args = {0};
    if (!parse_args(p, &args))
        return NULL;
    struct cel_node *x = cel_node_new(p->m, X_CALL, pos);
    x->name = name;
    x->target = target;
    x->args = args.items;
    x->n = args.n;
    cel_node_measure(x);
    return cel_macro(p->m, x);
}

static NOINLINE struct cel_node *parse_list(struct parser *p)
{
    size_t pos = p->t.pos;
    struct nodes items = {0};
    advance(p);
    while (!is_punct(p, ']')) {
        bool optional = accept(p, '?');
        if (is_punct(p, ',') && !items.n && !optional) { /* [,] is an empty list */
            advance(p);
            break;
        }
        struct cel_node *x = parse_expr(p);
        if (!x)
            return NULL;
        nodes_add(p, &items, x, optional);
        if (!accept(p, ','))
            break;
    }
    if (!expect(p, ']'))
        return NULL;
    struct cel_node *x = cel_node_new(p->m, X_LIST, pos);
    x->args = items.items;
    x->n = items.n;
    x->optional = items.any_optional ? items.optional : NULL;
    cel_node_measure(x);
    return x;
}

static NOINLINE struct cel_node *parse_map(struct parser *p)
{
    size_t pos = p->t.pos;
    struct nodes items = {0};
    advance(p);
    while (!is_punct(p, '}')) {
        bool optional = accept(p, '?');
        if (is_punct(p, ',') && !items.n && !optional) {
            advance(p);
            break;
        }
        struct cel_node *k = parse_expr(p);
        if (!k || !expect(p, ':'))
            return NULL;
        struct cel_node *v = parse_expr(p);
        if (!v)
            return NULL;
        nodes_add(p, &items, k, optional);
        nodes_add(p, &items, v, optional);
        if (!accept(p, ','))
            break;
    }
    if (!expect(p, '}'))
        return NULL;
    struct cel_node *x = cel_node_new(p->m, X_MAP, pos);
    x->args = items.items;
    x->n = items.n / 2;
    if (items.any_optional) {
        x->optional = ARENA_ARRAY(p->m->arena, bool, x->n);
        for (uint32_t i = 0; i < x->n; i++)
            x->optional[i] = items.optional[2 * i];
    }
    cel_node_measure(x);
    return x;
}

static bool accept_name(struct parser *p, struct str *ret)
{
    if (p->t.kind != T_IDENT && p->t.kind != T_ESC_IDENT) {
        unexpected(p, "IDENTIFIER");
        return false;
    }
    *ret = p->t.text;
    advance(p);
    return true;
}

/* Fields of a message up to the closing brace; the opening one was read. */
static NOINLINE struct cel_node *finish_struct(struct parser *p, size_t pos, struct str name)
{
    struct nodes values = {0};
    struct cel_node *x = cel_node_new(p->m, X_STRUCT, pos);
    uint32_t cap = 0;
    while (!is_punct(p, '}')) {
        if (is_punct(p, ',') && !values.n) {
            advance(p);
            break;
        }
        bool optional = accept(p, '?');
        if (values.n == cap) {
            struct str *more = ARENA_ARRAY(p->m->arena, struct str, cap = cap ? 2 * cap : 4);
            if (values.n)
                memcpy(more, x->fields, values.n * sizeof(*more));
            x->fields = more;
        }
        if (!accept_name(p, &x->fields[values.n]) || !expect(p, ':'))
            return NULL;
        struct cel_node *v = parse_expr(p);
        if (!v)
            return NULL;
        nodes_add(p, &values, v, optional);
        if (!accept(p, ','))
            break;
    }
    if (!expect(p, '}'))
        return NULL;
    x->name = name;
    x->args = values.items;
    x->n = values.n;
    x->optional = values.any_optional ? values.optional : NULL;
    cel_node_measure(x);
    return x;
}

/* a.b.c of a chain of plain selections, as text; false when it is something else. */
static bool message_name(struct parser *p, const struct cel_node *x, struct buf *b)
{
    if (x->kind == X_SELECT && !(x->flags & X_TEST)) {
        if (!message_name(p, x->target, b))
            return false;
        buf_putc(b, '.');
    } else if (x->kind == X_IDENT) {
        if (x->flags & X_ROOTED)
            buf_putc(b, '.');
    } else {
        return false;
    }
    buf_putstr(b, x->name);
    return true;
}

static NOINLINE struct cel_node *parse_identifier(struct parser *p)
{
    bool rooted = accept(p, '.');
    if (p->t.kind != T_IDENT)
        return unexpected(p, "IDENTIFIER");
    struct cel_token t = p->t;
    struct str name = t.text;
    advance(p);
    bool call = is_punct(p, '(');
    if (is_reserved(name)) {
        cel_issue_add(p->m->report, t.pos, "reserved identifier: " STR_FMT, STR_ARG(name));
        return NULL;
    }
    if (rooted && call)
        name = arena_printf(p->m->arena, "." STR_FMT, STR_ARG(name));
    if (call) {
        size_t pos = p->t.pos;
        advance(p);
        return finish_call(p, pos, name, NULL);
    }
    struct cel_node *x = cel_node_ident(p->m, t.pos, name);
    x->flags = rooted ? X_ROOTED : 0;
    return x;
}

static NOINLINE struct cel_node *parse_nested(struct parser *p)
{
    advance(p);
    struct cel_node *x = parse_expr(p);
    return x && expect(p, ')') ? x : NULL;
}

static struct cel_node *parse_primary(struct parser *p)
{
    size_t pos = p->t.pos;
    switch (p->t.kind) {
    case T_IDENT:
        return parse_identifier(p);
    case T_INT:
        return parse_int(p, pos, false);
    case T_UINT:
        return parse_uint(p);
    case T_FLOAT:
        return parse_float(p, pos, false);
    case T_STRING:
    case T_BYTES:
        return parse_text(p);
    case T_TRUE:
    case T_FALSE:
        return literal(p, pos, cel_of_bool(p->t.kind == T_TRUE));
    case T_NULL:
        return literal(p, pos, (struct cel_val){.kind = CEL_NULL});
    default:
        break;
    }
    if (is_punct(p, '('))
        return parse_nested(p);
    if (is_punct(p, '['))
        return parse_list(p);
    if (is_punct(p, '{'))
        return parse_map(p);
    if (is_punct(p, '.'))
        return parse_identifier(p);
    return unexpected(p, expected_operand);
}

/* ---- members ----------------------------------------------------------------------------------------------- */

static NOINLINE struct cel_node *parse_select(struct parser *p, struct cel_node *x)
{
    size_t pos = p->t.pos;
    struct str name;
    advance(p);
    bool optional = accept(p, '?');
    bool plain = p->t.kind == T_IDENT;
    if (!accept_name(p, &name))
        return NULL;
    if (optional) {
        struct cel_node *args[] = {x, cel_node_literal(p->m, pos, cel_of_str(name))};
        return cel_node_call(p->m, pos, "_?._", NULL, args, 2);
    }
    if (plain && is_punct(p, '(')) {
        pos = p->t.pos;
        advance(p);
        return finish_call(p, pos, name, x);
    }
    struct cel_node *s = cel_node_new(p->m, X_SELECT, pos);
    s->target = x;
    s->name = name;
    cel_node_measure(s);
    return s;
}

static NOINLINE struct cel_node *parse_index(struct parser *p, struct cel_node *x)
{
    size_t pos = p->t.pos;
    advance(p);
    bool optional = accept(p, '?');
    struct cel_node *i = parse_expr(p);
    if (!i || !expect(p, ']'))
        return NULL;
    return cel_node_call(p->m, pos, optional ? "_[?_]" : "_[_]", NULL, (struct cel_node *[]){x, i}, 2);
}

static struct cel_node *parse_member_of(struct parser *p, struct cel_node *x)
{
    while (x) {
        if (x->height > CEL_MAX_HEIGHT) {
            cel_issue_add(p->m->report, SIZE_MAX, "expression recursion limit exceeded: %d", CEL_MAX_HEIGHT);
            return NULL;
        }
        if (is_punct(p, '.')) {
            x = parse_select(p, x);
        } else if (is_punct(p, '[')) {
            x = parse_index(p, x);
        } else if (is_punct(p, '{') && (x->kind == X_IDENT || x->kind == X_SELECT)) {
            CLEANUP_BUF struct buf b = BUF_INIT;
            size_t pos = p->t.pos;
            if (!message_name(p, x, &b))
                return unexpected(p, "<EOF>");
            advance(p);
            x = finish_struct(p, pos, arena_str(p->m->arena, buf_str(&b)));
        } else {
            break;
        }
    }
    return x;
}

/* ---- operators --------------------------------------------------------------------------------------------- */

static struct cel_node *parse_unary(struct parser *p)
{
    size_t pos = p->t.pos;
    if (!is_punct(p, '!') && !is_punct(p, '-'))
        return parse_member_of(p, parse_primary(p));
    char op = p->t.c;
    unsigned n = 0;
    for (; is_punct(p, op); advance(p))
        n++;
    bool number = op == '-' && n == 1 && (p->t.kind == T_INT || p->t.kind == T_FLOAT);
    if (number)
        return parse_member_of(p, p->t.kind == T_INT ? parse_int(p, pos, true) : parse_float(p, pos, true));
    struct cel_node *x = parse_member_of(p, parse_primary(p));
    return !x || n % 2 == 0 ? x : cel_node_call(p->m, pos, op == '!' ? "!_" : "-_", NULL, &x, 1);
}

struct binary {
    const char *name;
    int level; /* binds tighter when higher */
};

static struct binary binary_of(const struct cel_token *t)
{
    static const struct {
        char c;
        struct binary b;
    } puncts[] = {{'<', {"_<_", 1}}, {'>', {"_>_", 1}}, {'+', {"_+_", 2}}, {'-', {"_-_", 2}},
                  {'*', {"_*_", 3}}, {'/', {"_/_", 3}}, {'%', {"_%_", 3}}};
    switch (t->kind) {
    case T_EQ:
        return (struct binary){"_==_", 1};
    case T_NE:
        return (struct binary){"_!=_", 1};
    case T_LE:
        return (struct binary){"_<=_", 1};
    case T_GE:
        return (struct binary){"_>=_", 1};
    case T_IN:
        return (struct binary){"@in", 1};
    case T_PUNCT:
        for (size_t i = 0; i < ARRAY_SIZE(puncts); i++)
            if (puncts[i].c == t->c)
                return puncts[i].b;
        break;
    default:
        break;
    }
    return (struct binary){NULL, 0};
}

static struct cel_node *parse_binary(struct parser *p, int level)
{
    struct cel_node *x = parse_unary(p);
    while (x) {
        struct binary b = binary_of(&p->t);
        if (!b.name || b.level < level)
            break;
        size_t pos = p->t.pos;
        advance(p);
        struct cel_node *y = parse_binary(p, b.level + 1);
        if (!y)
            return NULL;
        x = cel_node_call(p->m, pos, b.name, NULL, (struct cel_node *[]){x, y}, 2);
        if (x->height > CEL_MAX_HEIGHT) {
            cel_issue_add(p->m->report, SIZE_MAX, "expression recursion limit exceeded: %d", CEL_MAX_HEIGHT);
            return NULL;
        }
    }
    return x;
}

/* Terms of && and || become a balanced tree, so that long chains are not deep. */
static struct cel_node *balance(struct parser *p, const char *op, struct cel_node **terms, const size_t *ops, uint32_t n)
{
    if (n == 1)
        return terms[0];
    uint32_t mid = (n + 1) / 2;
    struct cel_node *args[] = {balance(p, op, terms, ops, mid), balance(p, op, terms + mid, ops + mid, n - mid)};
    return cel_node_call(p->m, ops[mid - 1], op, NULL, args, 2);
}

static struct cel_node *parse_logic(struct parser *p, bool or_level);

/* What follows the first term. */
static NOINLINE struct cel_node *parse_chain(struct parser *p, bool or_level, struct cel_node *x)
{
    struct nodes terms = {0};
    size_t *ops = NULL;
    uint32_t cap = 0;
    for (;; x = or_level ? parse_logic(p, false) : parse_binary(p, 1)) {
        if (!x)
            return NULL;
        nodes_add(p, &terms, x, false);
        if (p->t.kind != (or_level ? T_OR : T_AND))
            break;
        if (terms.n > cap) {
            size_t *more = ARENA_ARRAY(p->m->arena, size_t, 2 * terms.n + 2);
            if (cap)
                memcpy(more, ops, cap * sizeof(*ops));
            ops = more;
            cap = 2 * terms.n + 2;
        }
        ops[terms.n - 1] = p->t.pos;
        advance(p);
    }
    return balance(p, or_level ? "_||_" : "_&&_", terms.items, ops, terms.n);
}

static struct cel_node *parse_logic(struct parser *p, bool or_level)
{
    struct cel_node *x = or_level ? parse_logic(p, false) : parse_binary(p, 1);
    return x && p->t.kind == (or_level ? T_OR : T_AND) ? parse_chain(p, or_level, x) : x;
}

static struct cel_node *parse_conditional(struct parser *p)
{
    struct cel_node *c = parse_logic(p, true);
    if (!c || !is_punct(p, '?'))
        return c;
    size_t pos = p->t.pos;
    advance(p);
    struct cel_node *yes = parse_logic(p, true);
    if (!yes || !expect(p, ':'))
        return NULL;
    struct cel_node *no = parse_expr(p);
    return no ? cel_node_call(p->m, pos, "_?_:_", NULL, (struct cel_node *[]){c, yes, no}, 3) : NULL;
}

static struct cel_node *parse_expr(struct parser *p)
{
    if (p->depth >= CEL_MAX_NESTING || p->m->n_nodes > CEL_MAX_NODES) {
        cel_issue_add(p->m->report, SIZE_MAX, "expression recursion limit exceeded: %d", CEL_MAX_NESTING);
        return NULL;
    }
    p->depth++;
    struct cel_node *x = parse_conditional(p);
    p->depth--;
    return x;
}

struct cel_node *cel_parse(struct cel_maker *m, struct str source)
{
    size_t size = cel_runes(source);
    if (size > CEL_MAX_SOURCE) {
        cel_issue_add(m->report, SIZE_MAX, "expression code point size exceeds limit: size: %zu, limit %d", size,
                      CEL_MAX_SOURCE);
        return NULL;
    }
    struct parser p = {.m = m, .source = source};
    advance(&p);
    struct cel_node *x = parse_expr(&p);
    if (x && p.t.kind != T_END)
        x = unexpected(&p, "<EOF>");
    if (x && x->height > CEL_MAX_HEIGHT) {
        cel_issue_add(m->report, SIZE_MAX, "expression recursion limit exceeded: %d", CEL_MAX_HEIGHT);
        return NULL;
    }
    return x;
}
