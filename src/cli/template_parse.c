/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/template-internal.h"

#include <ctype.h>
#include <stdio.h>

enum { MAX_NESTING = 64 };

struct parser {
    struct arena *a;
    struct str in; /* the whole template */
    size_t at;
    struct str action; /* what stands between the braces now */
    size_t pos;        /* in action */
    bool trim_next;    /* "-}}" was seen */
    struct err *e;
    int depth;
};

enum end { END_TEXT, END_END, END_ELSE };

static int parse_list(struct parser *p, struct tp_list **ret, enum end *ret_end);
static int parse_pipe(struct parser *p, struct tp_pipe **ret, char close);

static int fail(struct parser *p, const char *why)
{
    return err_set(p->e, -EINVAL, "template: output: %s in {{" STR_FMT "}}", why, STR_ARG(p->action));
}

/* ---- words of an action ---------------------------------------------------------------------------------- */

static int peek(const struct parser *p)
{
    return p->pos < p->action.n ? (unsigned char)p->action.p[p->pos] : -1;
}

static void skip_blanks(struct parser *p)
{
    while (peek(p) >= 0 && strchr(" \t\r\n", peek(p)))
        p->pos++;
}

static bool in_word(int c)
{
    return isalnum(c) || c == '_' || c >= 0x80;
}

static struct str word(struct parser *p)
{
    size_t from = p->pos;
    while (peek(p) >= 0 && in_word(peek(p)))
        p->pos++;
    return str_slice(p->action, from, p->pos - from);
}

static char escaped(char c)
{
    static const char from[] = "abfnrtv", to[] = "\a\b\f\n\r\t\v";
    const char *at = c ? strchr(from, c) : NULL;
    return at ? to[at - from] : c;
}

static int parse_string(struct parser *p, struct str *ret)
{
    char quote = p->action.p[p->pos++];
    char *out = arena_bytes(p->a, p->action.n + 1);
    size_t n = 0;
    for (; peek(p) != quote; p->pos++) {
        if (peek(p) < 0)
            return fail(p, "unterminated quoted string");
        if (peek(p) == '\\' && quote != '`' && p->pos + 1 < p->action.n)
            out[n++] = escaped(p->action.p[++p->pos]);
        else
            out[n++] = p->action.p[p->pos];
    }
    p->pos++;
    out[n] = 0;
    *ret = str_n(out, n);
    return 0;
}

static int parse_number(struct parser *p, struct val *ret)
{
    size_t from = p->pos;
    char copy[64], *end;
    while (peek(p) >= 0 && (isalnum(peek(p)) || strchr("+-._", peek(p))))
        p->pos++;
    struct str s = str_slice(p->action, from, p->pos - from);
    snprintf(copy, sizeof(copy), STR_FMT, STR_ARG(s));
    long long i = strtoll(copy, &end, 0);
    if (!*end && s.n < sizeof(copy)) {
        *ret = val_of_int(i);
        return 0;
    }
    *ret = val_of_float(strtod(copy, &end));
    return *end ? fail(p, "bad number syntax") : 0;
}

static int parse_char(struct parser *p, struct val *ret)
{
    struct str s;
    int r = parse_string(p, &s);
    if (r == 0)
        *ret = val_of_int(s.n ? (unsigned char)s.p[0] : 0);
    return r;
}

/* ".a.b" after whatever stands before it. */
static void parse_fields(struct parser *p, struct tp_arg *arg)
{
    while (peek(p) == '.' && p->pos + 1 < p->action.n && in_word((unsigned char)p->action.p[p->pos + 1])) {
        p->pos++;
        struct str name = word(p), *more = ARENA_ARRAY(p->a, struct str, arg->n_fields + 1);
        if (arg->n_fields)
            memcpy(more, arg->fields, arg->n_fields * sizeof(*more));
        more[arg->n_fields++] = name;
        arg->fields = more;
    }
}

static int parse_name(struct parser *p, struct tp_arg *arg)
{
    struct str name = word(p);
    arg->kind = TA_CONSTANT;
    if (str_is(name, "true") || str_is(name, "false"))
        arg->constant = val_of_bool(str_is(name, "true"));
    else if (str_is(name, "nil"))
        arg->constant = (struct val){.kind = VAL_NULL};
    else if (template_is_function(name))
        arg->kind = TA_FUNCTION, arg->name = name;
    else
        return err_set(p->e, -EINVAL, "template: output: function \"" STR_FMT "\" not defined", STR_ARG(name));
    return 0;
}

static int parse_arg(struct parser *p, struct tp_arg *arg)
{
    int c = peek(p), r = 0;
    struct str s;
    *arg = (struct tp_arg){.kind = TA_CONSTANT};
    if (c == '.' && !(p->pos + 1 < p->action.n && isdigit((unsigned char)p->action.p[p->pos + 1]))) {
        arg->kind = TA_DOT;
        parse_fields(p, arg);
        if (!arg->n_fields)
            p->pos++;
        return 0;
    }
    if (c == '$') {
        size_t from = p->pos++;
        word(p);
        arg->kind = TA_VARIABLE;
        arg->name = str_slice(p->action, from, p->pos - from);
    } else if (c == '(') {
        p->pos++;
        arg->kind = TA_PIPE;
        r = parse_pipe(p, &arg->pipe, ')');
    } else if (c == '"' || c == '`') {
        r = parse_string(p, &s);
        arg->constant = val_of_str(r == 0 ? s : STR(""));
        return r;
    } else if (c == '\'') {
        return parse_char(p, &arg->constant);
    } else if (isdigit(c) || c == '+' || c == '-' || c == '.') {
        return parse_number(p, &arg->constant);
    } else if (in_word(c)) {
        return parse_name(p, arg);
    } else {
        return fail(p, "unexpected character");
    }
    if (r == 0)
        parse_fields(p, arg);
    return r;
}

/* ---- pipelines ----------------------------------------------------------------------------------------------- */

static int parse_command(struct parser *p, struct tp_command *ret, char close)
{
    size_t cap = 0;
    for (skip_blanks(p); peek(p) >= 0 && peek(p) != '|' && peek(p) != close; skip_blanks(p)) {
        if (ret->n == cap) {
            cap = cap ? 2 * cap : 4;
            struct tp_arg *more = ARENA_ARRAY(p->a, struct tp_arg, cap);
            if (ret->n)
                memcpy(more, ret->args, ret->n * sizeof(*more));
            ret->args = more;
        }
        int r = parse_arg(p, &ret->args[ret->n]);
        if (r < 0)
            return r;
        ret->n++;
    }
    return ret->n ? 0 : fail(p, "missing value for command");
}

/* "$i, $v :=" or "$v =" at the start of a pipeline, if it stands there. */
static void parse_declaration(struct parser *p, struct tp_pipe *pipe)
{
    size_t start = p->pos;
    while (peek(p) == '$' && pipe->n_vars < 2) {
        size_t from = p->pos++;
        word(p);
        pipe->vars[pipe->n_vars++] = str_slice(p->action, from, p->pos - from);
        skip_blanks(p);
        if (peek(p) != ',')
            break;
        p->pos++;
        skip_blanks(p);
    }
    struct str rest = str_from(p->action, p->pos);
    if (pipe->n_vars && str_starts(rest, STR(":="))) {
        p->pos += 2;
    } else if (pipe->n_vars == 1 && str_starts(rest, STR("="))) {
        pipe->assigns = true;
        p->pos++;
    } else {
        pipe->n_vars = 0;
        p->pos = start;
    }
}

static int parse_pipe(struct parser *p, struct tp_pipe **ret, char close)
{
    struct tp_pipe *pipe = ARENA_NEW(p->a, struct tp_pipe);
    if (++p->depth > MAX_NESTING)
        return fail(p, "too many levels");
    skip_blanks(p);
    parse_declaration(p, pipe);
    pipe->commands = ARENA_ARRAY(p->a, struct tp_command, p->action.n + 1);
    for (;;) {
        int r = parse_command(p, &pipe->commands[pipe->n++], close);
        if (r < 0)
            return r;
        if (peek(p) != '|')
            break;
        p->pos++;
    }
    if (close && peek(p) != close)
        return fail(p, "unclosed left paren");
    p->pos += close != 0;
    p->depth--;
    *ret = pipe;
    return 0;
}

/* ---- text and actions ------------------------------------------------------------------------------------------ */

static struct str trim_right(struct str s)
{
    while (s.n && strchr(" \t\r\n", s.p[s.n - 1]))
        s.n--;
    return s;
}

static struct str trim_left(struct str s)
{
    while (s.n && strchr(" \t\r\n", s.p[0]))
        s = str_from(s, 1);
    return s;
}

/* The end of an action, seen from its start: "}}" outside of quotes and comments. */
static size_t find_close(struct str s, size_t at)
{
    char quote = 0;
    if (str_starts(str_from(s, at), STR("/*"))) {
        for (; at + 3 < s.n; at++)
            if (s.p[at] == '*' && s.p[at + 1] == '/')
                break;
    }
    for (; at + 1 < s.n; at++) {
        char ch = s.p[at];
        if (quote && ch == '\\' && quote != '`')
            at++;
        else if (quote)
            quote = ch == quote ? 0 : quote;
        else if (ch == '"' || ch == '`' || ch == '\'')
            quote = ch;
        else if (ch == '}' && s.p[at + 1] == '}')
            return at;
    }
    return s.n;
}

/* Moves on to the next action: its text is in p->action, what stood before it in *ret_text. False at the end. */
static int next_action(struct parser *p, struct str *ret_text, bool *ret_more)
{
    struct str rest = str_from(p->in, p->at);
    size_t open = 0;
    while (open + 1 < rest.n && !(rest.p[open] == '{' && rest.p[open + 1] == '{'))
        open++;
    *ret_more = open + 1 < rest.n;
    struct str text = *ret_more ? str_slice(rest, 0, open) : rest;
    *ret_text = p->trim_next ? trim_left(text) : text;
    p->trim_next = false;
    p->at = *ret_more ? p->at + open + 2 : p->in.n;
    if (!*ret_more)
        return 0;
    if (p->at + 1 < p->in.n && p->in.p[p->at] == '-' && strchr(" \t\r\n", p->in.p[p->at + 1])) {
        *ret_text = trim_right(*ret_text);
        p->at += 2;
    }
    size_t close = find_close(p->in, p->at);
    p->action = str_slice(p->in, p->at, close - p->at);
    p->pos = 0;
    if (close >= p->in.n)
        return fail(p, "unclosed action");
    p->at = close + 2;
    size_t n = p->action.n;
    if (n >= 2 && p->action.p[n - 1] == '-' && strchr(" \t\r\n", p->action.p[n - 2])) {
        p->trim_next = true;
        p->action.n = n - 2;
    }
    p->action = str_trim(p->action);
    return 0;
}

static bool starts_with_word(const struct parser *p, const char *w)
{
    size_t n = strlen(w);
    return str_starts(p->action, str_of(w)) && (p->action.n == n || !in_word((unsigned char)p->action.p[n]));
}

static int parse_control(struct parser *p, enum tp_kind kind, const char *w, struct tp_node *node);

/* "{{else}}", "{{else if x}}", "{{else with x}}": what follows up to the {{end}}. */
static int parse_else(struct parser *p, struct tp_node *node)
{
    enum end end;
    p->action = str_trim(str_from(p->action, 4));
    if (!p->action.n) {
        int r = parse_list(p, &node->otherwise, &end);
        return r < 0 ? r : end == END_END ? 0 : fail(p, "expected end; found else or the end of the template");
    }
    bool with = starts_with_word(p, "with");
    if (!with && !starts_with_word(p, "if"))
        return fail(p, "unexpected word after else");
    node->otherwise = ARENA_NEW(p->a, struct tp_list);
    node->otherwise->items = ARENA_NEW(p->a, struct tp_node);
    node->otherwise->n = 1;
    return parse_control(p, with ? TN_WITH : TN_IF, with ? "with" : "if", node->otherwise->items);
}

static int parse_control(struct parser *p, enum tp_kind kind, const char *w, struct tp_node *node)
{
    enum end end;
    node->kind = kind;
    p->pos = strlen(w);
    if (++p->depth > MAX_NESTING)
        return fail(p, "too many levels");
    int r = parse_pipe(p, &node->pipe, 0);
    if (r == 0)
        r = parse_list(p, &node->body, &end);
    if (r == 0 && end == END_ELSE)
        r = parse_else(p, node);
    else if (r == 0 && end != END_END)
        r = fail(p, "unexpected EOF");
    p->depth--;
    return r;
}

static const struct {
    const char *word;
    enum tp_kind kind;
} controls[] = {{"if", TN_IF}, {"with", TN_WITH}, {"range", TN_RANGE}};

static int parse_action(struct parser *p, struct tp_node *node)
{
    static const char *const refused[] = {"define", "template", "block"};
    for (size_t i = 0; i < ARRAY_SIZE(controls); i++)
        if (starts_with_word(p, controls[i].word))
            return parse_control(p, controls[i].kind, controls[i].word, node);
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        if (starts_with_word(p, refused[i]))
            return fail(p, "named templates are not supported");
    if (str_is(p->action, "break") || str_is(p->action, "continue")) {
        node->kind = str_is(p->action, "break") ? TN_BREAK : TN_CONTINUE;
        return 0;
    }
    node->kind = TN_ACTION;
    int r = parse_pipe(p, &node->pipe, 0);
    return r < 0 ? r : peek(p) >= 0 ? fail(p, "unexpected text") : 0;
}

static struct tp_node *append(struct parser *p, struct tp_list *l, size_t *cap)
{
    if (l->n == *cap) {
        *cap = *cap ? 2 * *cap : 8;
        struct tp_node *more = ARENA_ARRAY(p->a, struct tp_node, *cap);
        if (l->n)
            memcpy(more, l->items, l->n * sizeof(*more));
        l->items = more;
    }
    return &l->items[l->n++];
}

static int parse_list(struct parser *p, struct tp_list **ret, enum end *ret_end)
{
    struct tp_list *l = ARENA_NEW(p->a, struct tp_list);
    size_t cap = 0;
    *ret = l;
    for (;;) {
        struct str text;
        bool more;
        int r = next_action(p, &text, &more);
        if (r < 0)
            return r;
        if (text.n)
            *append(p, l, &cap) = (struct tp_node){.kind = TN_TEXT, .text = text};
        *ret_end = END_TEXT;
        if (!more)
            return 0;
        if (str_starts(p->action, STR("/*")))
            continue;
        *ret_end = str_is(p->action, "end") ? END_END : starts_with_word(p, "else") ? END_ELSE : END_TEXT;
        if (*ret_end != END_TEXT)
            return 0;
        struct tp_node node = {0};
        r = parse_action(p, &node);
        if (r < 0)
            return r;
        *append(p, l, &cap) = node;
    }
}

int template_parse(struct arena *a, struct str text, const struct template **ret, struct err *e)
{
    struct template *t = ARENA_NEW(a, struct template);
    struct parser p = {.a = a, .in = arena_str(a, text), .e = e};
    enum end end;
    int r = parse_list(&p, &t->root, &end);
    if (r == 0 && end != END_TEXT)
        r = fail(&p, "unexpected end or else");
    if (r == 0)
        *ret = t;
    return r;
}
