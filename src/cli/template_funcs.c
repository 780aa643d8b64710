/* SPDX-License-Identifier: Apache-2.0 */
/* The functions of templates. */
#include "cli/template-internal.h"

#include "base/base64.h"
#include "cli/jsonpath.h"
#include "net/url.h"
#include "type/text.h"

#include <ctype.h>
#include <stdio.h>

struct call {
    struct arena *a;
    struct str name;
    const struct val *const *args;
    size_t n;
    const struct val **ret;
    struct err *e;
};

static int give(struct call *c, struct val v)
{
    struct val *out = ARENA_NEW(c->a, struct val);
    *out = v;
    *c->ret = out;
    return 0;
}

static int give_text(struct call *c, const struct buf *b)
{
    return give(c, val_of_str(arena_str(c->a, buf_str(b))));
}

static int wrong(struct call *c, const char *why)
{
    return err_set(c->e, -EINVAL, "template: output: error calling " STR_FMT ": %s", STR_ARG(c->name), why);
}

static bool is_nil(const struct val *v)
{
    return !v || v->kind == VAL_NULL;
}

/* ---- logic and comparison ---------------------------------------------------------------------------------- */

static int f_and(struct call *c)
{
    *c->ret = c->args[c->n - 1]; /* the others were looked at before: template.c */
    return 0;
}

static int f_not(struct call *c)
{
    return give(c, val_of_bool(!template_truth(c->args[0])));
}

static int order(struct call *c, const struct val *a, const struct val *b, int *ret)
{
    if (is_nil(a) || is_nil(b) || a->kind != b->kind)
        return wrong(c, "incompatible types for comparison");
    return scalars_order(a, b, ret) ? 0 : wrong(c, "invalid type for comparison");
}

static int f_eq(struct call *c)
{
    for (size_t i = 1; i < c->n; i++) {
        int o = 1;
        if (is_nil(c->args[0]) || is_nil(c->args[i])) {
            o = is_nil(c->args[0]) != is_nil(c->args[i]);
        } else {
            int r = order(c, c->args[0], c->args[i], &o);
            if (r < 0)
                return r;
        }
        if (o == 0)
            return give(c, val_of_bool(true));
    }
    return give(c, val_of_bool(false));
}

static int f_ne(struct call *c)
{
    int r = f_eq(c);
    return r < 0 ? r : give(c, val_of_bool(!(*c->ret)->b));
}

static int f_order(struct call *c)
{
    int o = 0, r = order(c, c->args[0], c->args[1], &o);
    bool less = c->name.p[0] == 'l', or_equal = c->name.p[1] == 'e';
    return r < 0 ? r : give(c, val_of_bool((less ? o < 0 : o > 0) || (or_equal && o == 0)));
}

/* ---- parts ---------------------------------------------------------------------------------------------------- */

static int f_len(struct call *c)
{
    const struct val *v = c->args[0];
    if (is_nil(v))
        return wrong(c, "len of nil pointer");
    if (v->kind == VAL_BOOL || v->kind == VAL_INT || v->kind == VAL_FLOAT)
        return wrong(c, "len of this type");
    return give(c, val_of_int(v->n));
}

/* One step of index: false when it cannot be made. */
static bool step_into(struct call *c, const struct val *v, const struct val *at, const struct val **ret)
{
    if (val_is(v, VAL_LIST) && val_is(at, VAL_INT)) {
        *ret = at->i >= 0 ? val_item(v, (size_t)at->i) : NULL;
        return *ret != NULL;
    }
    if (val_is(v, VAL_STR) && val_is(at, VAL_INT) && at->i >= 0 && at->i < v->n) {
        struct val *out = ARENA_NEW(c->a, struct val);
        *out = val_of_int((unsigned char)v->s[at->i]);
        *ret = out;
        return true;
    }
    if ((val_is(v, VAL_MAP) || val_is(v, VAL_OBJ)) && val_is(at, VAL_STR)) {
        *ret = val_key(v, val_str(at));
        return true;
    }
    return false;
}

static int f_index(struct call *c)
{
    const struct val *v = c->args[0];
    for (size_t i = 1; i < c->n; i++) {
        if (is_nil(v))
            return wrong(c, "index of untyped nil");
        if (!step_into(c, v, c->args[i], &v))
            return wrong(c, val_is(c->args[i], VAL_INT) ? "index out of range" : "can't index item of this type");
    }
    *c->ret = v;
    return 0;
}

static int f_exists(struct call *c)
{
    const struct val *v = c->args[0];
    for (size_t i = 1; i < c->n; i++)
        if (is_nil(v) || !step_into(c, v, c->args[i], &v))
            return give(c, val_of_bool(false));
    return give(c, val_of_bool(!is_nil(v)));
}

static int f_slice(struct call *c)
{
    const struct val *v = c->args[0];
    int64_t from = c->n > 1 ? val_int(c->args[1], -1) : 0, to = c->n > 2 ? val_int(c->args[2], -1) : (v ? v->n : 0);
    if (is_nil(v) || from < 0 || to < from || to > v->n)
        return wrong(c, "index out of range");
    if (v->kind == VAL_STR)
        return give(c, val_of_str(arena_str(c->a, str_slice(val_str(v), (size_t)from, (size_t)(to - from)))));
    if (v->kind != VAL_LIST)
        return wrong(c, "can't slice item of this type");
    struct val *list = val_new(c->a, VAL_LIST);
    for (int64_t i = from; i < to; i++)
        val_add(c->a, list, v->items[i]);
    *c->ret = list;
    return 0;
}

/* ---- printing --------------------------------------------------------------------------------------------------- */

/* fmt.Sprint: a blank between operands when neither is a string. */
static int f_print(struct call *c)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    bool line = str_is(c->name, "println");
    for (size_t i = 0; i < c->n; i++) {
        if (i && (line || (!val_is(c->args[i], VAL_STR) && !val_is(c->args[i - 1], VAL_STR))))
            buf_putc(&b, ' ');
        text_of_value(&b, c->args[i]);
    }
    if (line)
        buf_putc(&b, '\n');
    return give_text(c, &b);
}

struct verb {
    char flags[8];
    int width, precision; /* -1: none */
    char letter;
};

static void pad(struct buf *b, const struct verb *v, struct str s)
{
    bool left = strchr(v->flags, '-') != NULL;
    int fill = v->width > (int)s.n ? v->width - (int)s.n : 0;
    for (int i = 0; !left && i < fill; i++)
        buf_putc(b, strchr(v->flags, '0') && v->letter == 'd' ? '0' : ' ');
    buf_putstr(b, s);
    for (int i = 0; left && i < fill; i++)
        buf_putc(b, ' ');
}

static void format_value(struct call *c, struct buf *b, const struct verb *v, const struct val *arg)
{
    struct buf t CLEANUP_BUF = BUF_INIT;
    if (v->letter == 'q' && val_is(arg, VAL_STR))
        buf_putstr(&t, text_quote(c->a, val_str(arg)));
    else if ((v->letter == 'x' || v->letter == 'X') && val_is(arg, VAL_INT))
        buf_printf(&t, v->letter == 'x' ? "%llx" : "%llX", (unsigned long long)arg->i);
    else if (v->letter == 'x' && val_is(arg, VAL_STR))
        for (size_t i = 0; i < arg->n; i++)
            buf_printf(&t, "%02x", (unsigned char)arg->s[i]);
    else if (strchr("feg", v->letter) && val_is(arg, VAL_FLOAT))
        buf_printf(&t, "%.*f", v->precision < 0 ? 6 : v->precision, arg->f);
    else if ((v->letter == 'd' && !val_is(arg, VAL_INT)) || (v->letter == 's' && arg && val_is(arg, VAL_INT)))
        buf_printf(&t, "%%!%c(", v->letter), text_of_value(&t, arg), buf_putc(&t, ')');
    else
        text_of_value(&t, arg);
    struct str s = buf_str(&t);
    if (v->letter == 's' && v->precision >= 0)
        s = str_slice(s, 0, (size_t)v->precision);
    pad(b, v, s);
}

static size_t parse_verb(struct str s, size_t at, struct verb *v)
{
    size_t n = 0;
    *v = (struct verb){.width = 0, .precision = -1};
    while (at < s.n && s.p[at] && strchr("-+# 0", s.p[at]) && n + 1 < sizeof(v->flags))
        v->flags[n++] = s.p[at++];
    while (at < s.n && isdigit((unsigned char)s.p[at]) && v->width < 1000)
        v->width = 10 * v->width + (s.p[at++] - '0');
    if (at < s.n && s.p[at] == '.')
        for (at++, v->precision = 0; at < s.n && isdigit((unsigned char)s.p[at]) && v->precision < 1000;)
            v->precision = 10 * v->precision + (s.p[at++] - '0');
    v->letter = at < s.n ? s.p[at] : 0;
    return at + 1;
}

static int f_printf(struct call *c)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str s = val_str(c->args[0]);
    size_t next = 1;
    for (size_t i = 0; i < s.n;) {
        struct verb v;
        if (s.p[i] != '%') {
            buf_putc(&b, s.p[i++]);
            continue;
        }
        i = parse_verb(s, i + 1, &v);
        if (v.letter == '%')
            buf_putc(&b, '%');
        else if (next < c->n)
            format_value(c, &b, &v, c->args[next++]);
        else
            buf_printf(&b, "%%!%c(MISSING)", v.letter);
    }
    return give_text(c, &b);
}

/* ---- escaping ----------------------------------------------------------------------------------------------------- */

static void put_html(struct buf *b, char ch)
{
    static const char from[] = "\"'&<>", *const to[] = {"&#34;", "&#39;", "&amp;", "&lt;", "&gt;"};
    const char *at = ch ? strchr(from, ch) : NULL;
    if (at)
        buf_puts(b, to[at - from]);
    else
        buf_putc(b, ch);
}

static void put_js(struct buf *b, char ch)
{
    if (ch == '\n' || (ch && strchr("<>&=", ch)))
        buf_printf(b, "\\u%04X", (unsigned)ch);
    else if (ch && strchr("\\'\"", ch))
        buf_printf(b, "\\%c", ch);
    else
        buf_putc(b, ch);
}

static int f_escape(struct call *c)
{
    struct buf text CLEANUP_BUF = BUF_INIT, b CLEANUP_BUF = BUF_INIT;
    for (size_t i = 0; i < c->n; i++)
        text_of_value(&text, c->args[i]);
    if (str_is(c->name, "urlquery"))
        url_encode_query(&b, buf_str(&text));
    for (size_t i = 0; i < text.n && !str_is(c->name, "urlquery"); i++)
        (str_is(c->name, "html") ? put_html : put_js)(&b, text.p[i]);
    return give_text(c, &b);
}

static int f_base64decode(struct call *c)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (base64_take(&b, val_str(c->args[0])) < 0)
        return wrong(c, "illegal base64 data");
    return give_text(c, &b);
}

static const struct function {
    const char *name;
    size_t min, max;
    int (*fn)(struct call *c);
} functions[] = {
    {"and", 1, 64, f_and},       {"or", 1, 64, f_and},         {"not", 1, 1, f_not},
    {"len", 1, 1, f_len},        {"index", 1, 64, f_index},    {"slice", 1, 3, f_slice},
    {"print", 0, 64, f_print},   {"println", 0, 64, f_print},  {"printf", 1, 64, f_printf},
    {"html", 1, 64, f_escape},   {"js", 1, 64, f_escape},      {"urlquery", 1, 64, f_escape},
    {"eq", 2, 64, f_eq},         {"ne", 2, 2, f_ne},           {"lt", 2, 2, f_order},
    {"le", 2, 2, f_order},       {"gt", 2, 2, f_order},        {"ge", 2, 2, f_order},
    {"exists", 1, 64, f_exists}, {"base64decode", 1, 1, f_base64decode},
};

static const struct function *find(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
        if (str_is(name, functions[i].name))
            return &functions[i];
    return NULL;
}

bool template_is_function(struct str name)
{
    return find(name) != NULL;
}

int template_call(struct arena *a, struct str name, const struct val *const *args, size_t n, const struct val **ret,
                  struct err *e)
{
    const struct function *f = find(name);
    struct call c = {.a = a, .name = name, .args = args, .n = n, .ret = ret, .e = e};
    if (n < f->min || n > f->max)
        return err_set(e, -EINVAL, "template: output: wrong number of args for " STR_FMT ": got %zu", STR_ARG(name), n);
    return f->fn(&c);
}
