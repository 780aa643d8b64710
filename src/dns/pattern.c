/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/pattern.h"

enum { MAX_PATTERN = 10000 };

struct translation {
    struct str in;
    size_t at;
    struct buf out;
    struct pattern *p;
    unsigned groups; /* as the library counts them */
    bool fold;
    struct arena *a;
    struct err *e;
};

static int refuse(struct translation *t, const char *what)
{
    return err_set(t->e, -EINVAL, "the pattern \"" STR_FMT "\": %s", STR_ARG(t->in), what);
}

static char here(const struct translation *t, size_t ahead)
{
    return t->at + ahead < t->in.n ? t->in.p[t->at + ahead] : '\0';
}

static int count_group(struct translation *t, struct str name)
{
    struct pattern *p = t->p;
    if (p->n == PATTERN_GROUPS)
        return refuse(t, "too many groups");
    p->at[p->n] = ++t->groups;
    p->name[p->n++] = arena_str(t->a, name);
    return 0;
}

/* "(" and what may stand behind it. */
static int open_group(struct translation *t)
{
    struct str rest = str_from(t->in, t->at);
    buf_putc(&t->out, '(');
    if (here(t, 1) != '?') {
        t->at++;
        return count_group(t, STR_NULL);
    }
    if (str_starts(rest, STR("(?:"))) {
        t->at += 3;
        t->groups++;
        return 0;
    }
    size_t skip = str_starts(rest, STR("(?P<")) ? 4 : str_starts(rest, STR("(?<")) ? 3 : 0;
    const char *end = skip ? memchr(rest.p, '>', rest.n) : NULL;
    if (!end)
        return refuse(t, "this kind of group is not known here");
    t->at += (size_t)(end - rest.p) + 1;
    return count_group(t, str_slice(rest, skip, (size_t)(end - rest.p) - skip));
}

static const char *class_of(char c)
{
    switch (c) {
    case 'd': return "0-9";
    case 'w': return "a-zA-Z0-9_";
    case 's': return " \t\r\n\f";
    default: return NULL;
    }
}

static int escape(struct translation *t)
{
    char c = here(t, 1);
    if (!c)
        return refuse(t, "a backslash at its end");
    t->at += 2;
    if (c == 'd' || c == 'w' || c == 's')
        buf_printf(&t->out, "[%s]", class_of(c));
    else if (c == 'D' || c == 'W' || c == 'S')
        buf_printf(&t->out, "[^%s]", class_of((char)(c | 0x20)));
    else if (c == 'A')
        buf_putc(&t->out, '^');
    else if (c == 'z')
        buf_putc(&t->out, '$');
    else if (c == 'b' || c == 'B')
        buf_printf(&t->out, "\\%c", c);
    else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'))
        return refuse(t, "this escape is not known here");
    else
        buf_printf(&t->out, "\\%c", c);
    return 0;
}

/* The library knows no escapes within brackets: a "]" must stand first there, a "-" last. */
static int bracket(struct translation *t)
{
    struct buf set CLEANUP_BUF = BUF_INIT;
    bool close = false, dash = false, negated = here(t, 1) == '^';
    t->at += negated ? 2 : 1;
    for (bool first = true;; first = false) {
        char c = here(t, 0);
        if (!c)
            return refuse(t, "a bracket is not closed");
        if (c == ']' && !first)
            break;
        if (c == '[' && here(t, 1) == ':') {
            const char *end = memmem(t->in.p + t->at, t->in.n - t->at, ":]", 2);
            size_t n = end ? (size_t)(end - t->in.p) + 2 - t->at : 0;
            if (!n)
                return refuse(t, "a class is not closed");
            buf_put(&set, t->in.p + t->at, n);
            t->at += n;
            continue;
        }
        bool escaped = c == '\\';
        if (escaped)
            c = here(t, 1);
        t->at += escaped ? 2 : 1;
        if (c == ']')
            close = true;
        else if (c == '-' && escaped)
            dash = true;
        else if (escaped && class_of(c))
            buf_puts(&set, class_of(c));
        else if (escaped && !c)
            return refuse(t, "a backslash at its end");
        else
            buf_putc(&set, c);
    }
    t->at++;
    buf_printf(&t->out, "[%s%s" STR_FMT "%s]", negated ? "^" : "", close ? "]" : "", STR_ARG(buf_str(&set)), dash ? "-" : "");
    return 0;
}

static int translate(struct translation *t)
{
    if (str_starts(t->in, STR("(?i)"))) {
        t->fold = true;
        t->at = 4;
    }
    while (t->at < t->in.n) {
        char c = here(t, 0);
        int r = 0;
        if (c == '(')
            r = open_group(t);
        else if (c == '\\')
            r = escape(t);
        else if (c == '[')
            r = bracket(t);
        else if ((c == '*' || c == '+' || c == '?' || c == '}') && here(t, 1) == '?')
            r = refuse(t, "lazy repetition is not known here");
        else
            buf_putc(&t->out, c), t->at++;
        if (r < 0)
            return r;
    }
    return 0;
}

int pattern_compile(struct arena *a, struct str text, struct pattern *ret, struct err *e)
{
    struct pattern p = {.n = 1};
    struct translation t = {.in = text, .p = &p, .a = a, .e = e};
    if (text.n > MAX_PATTERN)
        return err_set(e, -EINVAL, "a pattern is too long");
    int r = translate(&t);
    buf_putc(&t.out, '\0');
    int code = r < 0 ? 0 : regcomp(&p.regex, t.out.p, REG_EXTENDED | (t.fold ? REG_ICASE : 0));
    if (r == 0 && code) {
        char why[128];
        regerror(code, &p.regex, why, sizeof(why));
        r = refuse(&t, why);
    }
    buf_done(&t.out);
    if (r == 0)
        *ret = p;
    return r;
}

void pattern_done(struct pattern *p)
{
    if (p->n)
        regfree(&p->regex);
    p->n = 0;
}

bool pattern_find(const struct pattern *p, const char *text, struct str ret_groups[static PATTERN_GROUPS])
{
    regmatch_t m[4 * PATTERN_GROUPS];
    if (regexec(&p->regex, text, ARRAY_SIZE(m), m, 0) != 0)
        return false;
    for (size_t i = 0; i < PATTERN_GROUPS; i++) {
        ret_groups[i] = STR("");
        if (i < p->n && p->at[i] < ARRAY_SIZE(m) && m[p->at[i]].rm_so >= 0)
            ret_groups[i] = str_n(text + m[p->at[i]].rm_so, (size_t)(m[p->at[i]].rm_eo - m[p->at[i]].rm_so));
    }
    return true;
}
