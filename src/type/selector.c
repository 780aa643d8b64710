/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The grammar is that of apimachinery's labels package (Labels and Selectors in the API documentation); the
 * sentences are the ones its clients know.
 */
#include "type/selector.h"

#include <stdarg.h>

#include "names.h"
#include "type/check.h"
#include "type/text.h"

/* ---- requirements -------------------------------------------------------------------------------------- */

static void sort_strings(struct str *v, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t j = i; j > 0 && str_cmp(v[j - 1], v[j]) > 0; j--) {
            struct str t = v[j];
            v[j] = v[j - 1];
            v[j - 1] = t;
        }
}

/* Sorted and each once. */
static size_t make_set(struct str *v, size_t n)
{
    sort_strings(v, n);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!kept || !str_eq(v[kept - 1], v[i]))
            v[kept++] = v[i];
    return kept;
}

/* Stable by key. */
static void sort_reqs(struct requirement *r, size_t n)
{
    for (size_t i = 1; i < n; i++)
        for (size_t j = i; j > 0 && str_cmp(r[j - 1].key, r[j].key) > 0; j--) {
            struct requirement t = r[j];
            r[j] = r[j - 1];
            r[j - 1] = t;
        }
}

static void selector_add(struct arena *a, struct selector *s, struct requirement r)
{
    bool full = s->n == 0 || (s->n >= 4 && (s->n & (s->n - 1)) == 0);
    if (full) {
        struct requirement *reqs = ARENA_ARRAY(a, struct requirement, MAX((size_t)4, 2 * s->n));
        if (s->n)
            memcpy(reqs, s->reqs, s->n * sizeof(*reqs));
        s->reqs = reqs;
    }
    s->reqs[s->n++] = r;
}

/* Errors of one requirement, gathered as upstream's aggregate prints them. */
struct faults {
    struct buf text;
    unsigned n;
};

static void fault(struct faults *f, const char *fmt, ...) PRINTF(2, 3);
static void fault(struct faults *f, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    if (f->n++)
        buf_puts(&f->text, ", ");
    buf_vprintf(&f->text, fmt, ap);
    va_end(ap);
}

static void put_check(struct buf *b, const struct check *c)
{
    for (unsigned i = 0; i < c->n; i++)
        buf_printf(b, "%s%s", i ? "; " : "", c->texts[i]);
}

static void fault_check(struct arena *a, struct faults *f, struct str path, struct str value,
                        const struct check *c)
{
    if (!c->n)
        return;
    CLEANUP_BUF struct buf b = BUF_INIT;
    put_check(&b, c);
    fault(f, STR_FMT ": Invalid value: " STR_FMT ": " STR_FMT, STR_ARG(path), STR_ARG(text_quote(a, value)),
          STR_ARG(buf_str(&b)));
}

static struct str list_text(struct arena *a, const struct requirement *r)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    buf_putc(&b, '[');
    for (size_t i = 0; i < r->n_values; i++)
        buf_printf(&b, "%s" STR_FMT, i ? "," : "", STR_ARG(text_quote(a, r->values[i])));
    buf_putc(&b, ']');
    return arena_str(a, buf_str(&b));
}

static const char *count_fault(const struct requirement *r)
{
    switch (r->op) {
    case SEL_IN:
    case SEL_NOT_IN:
        return r->n_values ? NULL : "for 'in', 'notin' operators, values set can't be empty";
    case SEL_EQ:
    case SEL_NE:
        return r->n_values == 1 ? NULL : "exact-match compatibility requires one single value";
    case SEL_EXISTS:
    case SEL_NOT_EXISTS:
        return r->n_values == 0 ? NULL : "values set must be empty for exists and does not exist";
    case SEL_GT:
    case SEL_LT:
        return r->n_values == 1 ? NULL : "for 'Gt', 'Lt' operators, exactly one value is required";
    }
    return NULL;
}

static void requirement_faults(struct arena *a, const struct requirement *r, struct faults *f)
{
    struct check c = {0};
    check_label_key(&c, r->key);
    fault_check(a, f, STR("key"), r->key, &c);
    if (count_fault(r))
        fault(f, "values: Invalid value: " STR_FMT ": %s", STR_ARG(list_text(a, r)), count_fault(r));
    for (size_t i = 0; (r->op == SEL_GT || r->op == SEL_LT) && i < r->n_values; i++) {
        int64_t n;
        if (str_to_i64(r->values[i], &n) != 0)
            fault(f,
                  "values[%zu]: Invalid value: " STR_FMT
                  ": for 'Gt', 'Lt' operators, the value must be an integer",
                  i, STR_ARG(text_quote(a, r->values[i])));
    }
    for (size_t i = 0; i < r->n_values; i++) {
        struct check v = {0};
        check_label_text(&v, r->values[i]);
        fault_check(a, f, arena_printf(a, "values[%zu][" STR_FMT "]", i, STR_ARG(r->key)), r->values[i], &v);
    }
}

static int requirement_check(struct arena *a, const struct requirement *r, struct err *e)
{
    struct faults f = {0};
    requirement_faults(a, r, &f);
    int ret = 0;
    if (f.n)
        ret = err_set(e, -EINVAL, "%s" STR_FMT "%s", f.n > 1 ? "[" : "", STR_ARG(buf_str(&f.text)),
                      f.n > 1 ? "]" : "");
    buf_done(&f.text);
    return ret;
}

/* ---- words --------------------------------------------------------------------------------------------- */

enum token {
    TOK_ERROR,
    TOK_END,
    TOK_CLOSE,
    TOK_COMMA,
    TOK_NOT,
    TOK_EQ_EQ,
    TOK_EQ,
    TOK_GT,
    TOK_WORD,
    TOK_IN,
    TOK_LT,
    TOK_NE,
    TOK_NOT_IN,
    TOK_OPEN,
};

static const struct {
    const char *text;
    enum token token;
} tokens[] = {
    {"==", TOK_EQ_EQ}, {"!=", TOK_NE}, {")", TOK_CLOSE},      {",", TOK_COMMA},
    {"!", TOK_NOT},    {"=", TOK_EQ},  {">", TOK_GT},         {"<", TOK_LT},
    {"(", TOK_OPEN},   {"in", TOK_IN}, {"notin", TOK_NOT_IN},
};

struct parser {
    struct arena *arena;
    struct str rest;
    enum token token; /* the one to look at */
    struct str text;
    struct err *e;
};

static bool is_special(char c)
{
    return c && strchr("=!(),><", c);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static enum token token_of(struct str s)
{
    for (size_t i = 0; i < ARRAY_SIZE(tokens); i++)
        if (str_is(s, tokens[i].text))
            return tokens[i].token;
    return TOK_WORD;
}

static size_t special_length(struct str s)
{
    return s.n > 1 && s.p[1] == '=' && (s.p[0] == '=' || s.p[0] == '!') ? 2 : 1;
}

static void advance(struct parser *p)
{
    while (p->rest.n && is_blank(p->rest.p[0]))
        p->rest = str_from(p->rest, 1);
    size_t n = 0;
    if (p->rest.n && is_special(p->rest.p[0]))
        n = special_length(p->rest);
    else
        while (n < p->rest.n && p->rest.p[n] && !is_special(p->rest.p[n]) && !is_blank(p->rest.p[n]))
            n++;
    p->text = str_slice(p->rest, 0, n);
    p->token = n ? token_of(p->text) : TOK_END; /* a NUL ends it, too */
    p->rest = str_from(p->rest, n);
}

/* Where a key or value is wanted, "in" and "notin" are words like any other. */
static enum token as_value(const struct parser *p)
{
    return p->token == TOK_IN || p->token == TOK_NOT_IN ? TOK_WORD : p->token;
}

static int unexpected(struct parser *p, const char *wanted)
{
    return err_set(p->e, -EINVAL, "found '" STR_FMT "', expected: %s", STR_ARG(p->text), wanted);
}

/* ---- grammar ------------------------------------------------------------------------------------------- */

static int parse_op(struct parser *p, enum sel_op *ret)
{
    switch (p->token) {
    case TOK_IN:
        *ret = SEL_IN;
        break;
    case TOK_NOT_IN:
        *ret = SEL_NOT_IN;
        break;
    case TOK_EQ:
    case TOK_EQ_EQ:
        *ret = SEL_EQ;
        break;
    case TOK_NE:
        *ret = SEL_NE;
        break;
    case TOK_GT:
        *ret = SEL_GT;
        break;
    case TOK_LT:
        *ret = SEL_LT;
        break;
    default:
        return unexpected(p, "in, notin, =, ==, !=, gt, lt");
    }
    advance(p);
    return 0;
}

static void add_value(struct parser *p, struct requirement *r, struct str s)
{
    struct str *values = ARENA_ARRAY(p->arena, struct str, r->n_values + 1);
    if (r->n_values)
        memcpy(values, r->values, r->n_values * sizeof(*values));
    values[r->n_values] = arena_str(p->arena, s);
    r->values = values;
    r->n_values = make_set(values, r->n_values + 1);
}

/* What stands in the brackets of "in (a,b)": empty words count as values. */
static int parse_list(struct parser *p, struct requirement *r)
{
    bool want_word = true;
    for (;; advance(p)) {
        enum token t = as_value(p);
        if (t == TOK_CLOSE || t == TOK_COMMA) {
            if (want_word)
                add_value(p, r, STR(""));
            if (t == TOK_CLOSE)
                return 0;
            want_word = true;
        } else if (t == TOK_WORD && want_word) {
            add_value(p, r, p->text);
            want_word = false;
        } else {
            return unexpected(p, want_word ? "',', or identifier" : "',' or ')'");
        }
    }
}

static int parse_set(struct parser *p, struct requirement *r)
{
    if (p->token != TOK_OPEN)
        return err_set(p->e, -EINVAL, "found '" STR_FMT "' expected: '('", STR_ARG(p->text));
    advance(p);
    if (as_value(p) != TOK_WORD && p->token != TOK_COMMA && p->token != TOK_CLOSE)
        return unexpected(p, "',', ')' or identifier");
    int ret = parse_list(p, r);
    if (ret == 0)
        advance(p);
    return ret;
}

static int parse_exact(struct parser *p, struct requirement *r)
{
    if (p->token == TOK_END || p->token == TOK_COMMA) {
        add_value(p, r, STR(""));
        return 0;
    }
    if (as_value(p) != TOK_WORD)
        return unexpected(p, "identifier");
    add_value(p, r, p->text);
    advance(p);
    return 0;
}

static int parse_key(struct parser *p, struct requirement *r)
{
    bool negated = p->token == TOK_NOT;
    if (negated)
        advance(p);
    if (as_value(p) != TOK_WORD)
        return unexpected(p, "identifier");
    r->key = arena_str(p->arena, p->text);
    struct check c = {0};
    check_label_key(&c, r->key);
    if (c.n) {
        struct faults f = {0};
        fault_check(p->arena, &f, STR("<nil>"), r->key, &c);
        int ret = err_set(p->e, -EINVAL, STR_FMT, STR_ARG(buf_str(&f.text)));
        buf_done(&f.text);
        return ret;
    }
    advance(p);
    r->op = negated ? SEL_NOT_EXISTS : SEL_EXISTS;
    return 0;
}

static int parse_requirement(struct parser *p, struct requirement *r)
{
    int ret = parse_key(p, r);
    if (ret < 0)
        return ret;
    /* "!a" ends the requirement whatever follows; "a" only before a comma or the end. */
    if (r->op == SEL_EXISTS && p->token != TOK_END && p->token != TOK_COMMA) {
        ret = parse_op(p, &r->op);
        if (ret == 0)
            ret = r->op == SEL_IN || r->op == SEL_NOT_IN ? parse_set(p, r) : parse_exact(p, r);
        if (ret < 0)
            return ret;
    }
    return requirement_check(p->arena, r, p->e);
}

static int parse_all(struct parser *p, struct selector *s)
{
    while (p->token != TOK_END) {
        if (as_value(p) != TOK_WORD && p->token != TOK_NOT)
            return unexpected(p, "!, identifier, or 'end of string'");
        struct requirement r = {0};
        int ret = parse_requirement(p, &r);
        if (ret < 0)
            return err_wrap(p->e, ret, "unable to parse requirement");
        selector_add(p->arena, s, r);
        if (p->token == TOK_END)
            break;
        if (p->token != TOK_COMMA)
            return unexpected(p, "',' or 'end of string'");
        advance(p);
        if (as_value(p) != TOK_WORD && p->token != TOK_NOT)
            return unexpected(p, "identifier after ','");
    }
    return 0;
}

int selector_parse(struct arena *a, struct str text, struct selector *ret, struct err *e)
{
    struct parser p = {.arena = a, .rest = text, .e = e};
    struct selector s = {0};
    advance(&p);
    int r = parse_all(&p, &s);
    if (r < 0)
        return r;
    sort_reqs(s.reqs, s.n);
    *ret = s;
    return 0;
}

/* ---- field selectors ----------------------------------------------------------------------------------- */

static int unescape(struct arena *a, struct str s, struct str *ret, struct err *e)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\\') {
            char next = i + 1 < s.n ? s.p[++i] : 0;
            if (next != '\\' && next != ',' && next != '=')
                return err_set(e, -EINVAL, "invalid field selector: invalid escape sequence: \\%s",
                               next ? (char[]){next, 0} : "");
            c = next;
        } else if (c == ',' || c == '=') {
            return err_set(e, -EINVAL, "invalid field selector: unescaped character in value: %d", c);
        }
        buf_putc(&b, c);
    }
    *ret = arena_str(a, buf_str(&b));
    return 0;
}

/* The end of the term that begins at s: its comma that is not escaped. */
static size_t term_length(struct str s)
{
    size_t i = 0;
    for (; i < s.n && s.p[i] != ','; i++)
        if (s.p[i] == '\\' && i + 1 < s.n)
            i++;
    return i;
}

static int field_term(struct arena *a, struct str all, struct str term, struct requirement *r, struct err *e)
{
    size_t i = 0;
    for (; i < term.n; i++)
        if (term.p[i] == '=' || (term.p[i] == '!' && i + 1 < term.n && term.p[i + 1] == '='))
            break;
    if (i == term.n)
        return err_set(e, -EINVAL, "invalid selector: '" STR_FMT "'; can't understand '" STR_FMT "'",
                       STR_ARG(all), STR_ARG(term));
    size_t op = term.p[i] == '!' || (i + 1 < term.n && term.p[i + 1] == '=') ? 2 : 1;
    r->op = term.p[i] == '!' ? SEL_NE : SEL_EQ;
    r->key = arena_str(a, str_slice(term, 0, i));
    r->values = ARENA_NEW(a, struct str);
    r->n_values = 1;
    return unescape(a, str_from(term, i + op), &r->values[0], e);
}

int field_selector_parse(struct arena *a, struct str text, struct selector *ret, struct err *e)
{
    struct selector s = {0};
    for (struct str rest = text; rest.n;) {
        size_t n = term_length(rest);
        struct requirement r = {0};
        if (n) {
            int c = field_term(a, text, str_slice(rest, 0, n), &r, e);
            if (c < 0)
                return c;
            selector_add(a, &s, r);
        }
        rest = str_from(rest, n + 1);
    }
    sort_reqs(s.reqs, s.n);
    *ret = s;
    return 0;
}

/* ---- from objects -------------------------------------------------------------------------------------- */

static void set_one_value(struct arena *a, struct requirement *r, struct str value)
{
    r->values = ARENA_NEW(a, struct str);
    r->values[0] = arena_str(a, value);
    r->n_values = 1;
}

static int op_of(struct str s, enum sel_op *ret)
{
    static const struct {
        const char *text;
        enum sel_op op;
    } ops[] = {
        {"In", SEL_IN}, {"NotIn", SEL_NOT_IN}, {"Exists", SEL_EXISTS}, {"DoesNotExist", SEL_NOT_EXISTS}};
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
        if (str_is(s, ops[i].text)) {
            *ret = ops[i].op;
            return 0;
        }
    return -EINVAL;
}

static int add_expression(struct arena *a, const struct val *expr, struct selector *s, struct err *e)
{
    struct requirement r = {.key = arena_str(a, val_getstr(expr, N_key))};
    const struct val *values = val_get(expr, N_values);
    if (op_of(val_getstr(expr, N_operator), &r.op) < 0)
        return err_set(e, -EINVAL, STR_FMT " is not a valid label selector operator",
                       STR_ARG(text_quote(a, val_getstr(expr, N_operator))));
    r.values = ARENA_ARRAY(a, struct str, val_len(values));
    VAL_EACH (values, v)
        r.values[r.n_values++] = arena_str(a, val_str(v));
    int ret = requirement_check(a, &r, e);
    r.n_values = make_set(r.values, r.n_values);
    if (ret == 0)
        selector_add(a, s, r);
    return ret;
}

int selector_from_val(struct arena *a, const struct val *label_selector, struct selector *ret, struct err *e)
{
    struct selector s = {.nothing = !label_selector || label_selector->kind == VAL_NULL};
    VAL_EACH_ENTRY (val_get(label_selector, N_matchLabels), k, v) {
        struct requirement r = {.op = SEL_EQ, .key = arena_str(a, val_str(k))};
        set_one_value(a, &r, val_str(v));
        int c = requirement_check(a, &r, e);
        if (c < 0)
            return c;
        selector_add(a, &s, r);
    }
    VAL_EACH (val_get(label_selector, N_matchExpressions), expr) {
        int c = add_expression(a, expr, &s, e);
        if (c < 0)
            return c;
    }
    sort_reqs(s.reqs, s.n);
    *ret = s;
    return 0;
}

void selector_from_map(struct arena *a, const struct val *map, struct selector *ret)
{
    struct selector s = {0};
    VAL_EACH_ENTRY (map, k, v) {
        struct requirement r = {.op = SEL_EQ, .key = arena_str(a, val_str(k))};
        set_one_value(a, &r, val_str(v));
        selector_add(a, &s, r);
    }
    sort_reqs(s.reqs, s.n);
    *ret = s;
}

/* ---- matching ------------------------------------------------------------------------------------------ */

static bool has_value(const struct requirement *r, struct str s)
{
    for (size_t i = 0; i < r->n_values; i++)
        if (str_eq(r->values[i], s))
            return true;
    return false;
}

static bool compares(const struct requirement *r, struct str s)
{
    int64_t have, want;
    if (r->n_values != 1 || str_to_i64(s, &have) != 0 || str_to_i64(r->values[0], &want) != 0)
        return false;
    return r->op == SEL_GT ? have > want : have < want;
}

/* have.p is NULL when there is no such label. */
static bool requirement_matches(const struct requirement *r, struct str have)
{
    switch (r->op) {
    case SEL_EQ:
    case SEL_IN:
        return have.p && has_value(r, have);
    case SEL_NE:
    case SEL_NOT_IN:
        return !have.p || !has_value(r, have);
    case SEL_EXISTS:
        return have.p != NULL;
    case SEL_NOT_EXISTS:
        return !have.p;
    case SEL_GT:
    case SEL_LT:
        return have.p && compares(r, have);
    }
    return false;
}

bool selector_matches(const struct selector *s, const struct val *labels)
{
    if (s->nothing)
        return false;
    for (size_t i = 0; i < s->n; i++) {
        const struct val *v = val_key(labels, s->reqs[i].key);
        if (!requirement_matches(&s->reqs[i], v ? str_n(val_cstr(v), val_str(v).n) : STR_NULL))
            return false;
    }
    return true;
}

bool selector_matches_fields(const struct selector *s, struct str (*get)(void *ctx, struct str path),
                             void *ctx)
{
    if (s->nothing)
        return false;
    for (size_t i = 0; i < s->n; i++) {
        struct str have = get(ctx, s->reqs[i].key);
        if (!requirement_matches(&s->reqs[i], have.p ? have : STR("")))
            return false;
    }
    return true;
}

/* ---- printing ------------------------------------------------------------------------------------------ */

static const char *const op_texts[] = {
    [SEL_EQ] = "=",           [SEL_NE] = "!=", [SEL_IN] = " in ",
    [SEL_NOT_IN] = " notin ", [SEL_GT] = ">",  [SEL_LT] = "<",
};

static void put_requirement(struct buf *b, const struct requirement *r)
{
    if (r->op == SEL_NOT_EXISTS)
        buf_putc(b, '!');
    buf_putstr(b, r->key);
    if (r->op == SEL_EXISTS || r->op == SEL_NOT_EXISTS)
        return;
    bool set = r->op == SEL_IN || r->op == SEL_NOT_IN;
    buf_printf(b, "%s%s", op_texts[r->op], set ? "(" : "");
    for (size_t i = 0; i < r->n_values; i++)
        buf_printf(b, "%s" STR_FMT, i ? "," : "", STR_ARG(r->values[i]));
    if (set)
        buf_putc(b, ')');
}

struct str selector_print(struct arena *a, const struct selector *s)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    for (size_t i = 0; i < s->n; i++) {
        if (i)
            buf_putc(&b, ',');
        put_requirement(&b, &s->reqs[i]);
    }
    return arena_str(a, buf_str(&b));
}
