/* SPDX-License-Identifier: Apache-2.0 */
#include "base/flags.h"

#include "base/time.h"

#include <stdio.h>

void flag_list_done(struct flag_list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free((char *)l->items[i]);
    free(l->items);
    *l = (struct flag_list){0};
}

static void list_add(struct flag_list *l, struct str s)
{
    l->items = xrealloc(l->items, (l->n + 1) * sizeof(*l->items));
    l->items[l->n++] = str_dup(s);
}

static struct flag *find(struct flag *flags, struct str name)
{
    for (struct flag *f = flags; f->name; f++)
        if (str_is(name, f->name))
            return f;
    return NULL;
}

struct flag *flags_find(struct flag *flags, const char *name)
{
    return find(flags, str_of(name));
}

static struct flag *find_short(struct flag *flags, char c)
{
    for (struct flag *f = flags; f->name; f++)
        if (f->shorthand == c)
            return f;
    return NULL;
}

static int invalid(const struct flag *f, const char *value, const char *want, struct err *e)
{
    return err_set(e, -EINVAL, "invalid argument \"%s\" for \"--%s\": expected %s", value, f->name, want);
}

static int set_bool(const struct flag *f, const char *value, struct err *e)
{
    static const char *const yes[] = {"true", "1", "t", "T", "TRUE", "True"};
    static const char *const no[] = {"false", "0", "f", "F", "FALSE", "False"};
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        bool is_yes = !strcmp(value, yes[i]);
        if (!is_yes && strcmp(value, no[i]))
            continue;
        if (f->kind == FLAG_BOOL)
            *(bool *)f->to = is_yes;
        return 0;
    }
    return invalid(f, value, "true or false", e);
}

static int set_fixed(const struct flag *f, const char *value, struct err *e)
{
    struct str rest = str_of(f->to ? f->to : ""), one;
    while (str_next(&rest, '|', &one))
        if (str_is(one, value))
            return 0;
    return err_set(e, -EINVAL, "--%s=%s is not supported: %s", f->name, value, f->why);
}

static int set_value(struct flag *f, const char *value, struct err *e)
{
    struct str rest = str_of(value), field;
    f->given = true;
    f->text = value;
    switch (f->kind) {
    case FLAG_BOOL:
    case FLAG_IGNORED_BOOL:
        return set_bool(f, value, e);
    case FLAG_STRING:
        *(const char **)f->to = value;
        return 0;
    case FLAG_INT:
        return str_to_i64(rest, f->to) < 0 ? invalid(f, value, "a whole number", e) : 0;
    case FLAG_DURATION:
        return duration_parse(rest, f->to) < 0 ? invalid(f, value, "a duration like 30s or 1h15m", e) : 0;
    case FLAG_STRINGS:
        while (str_next(&rest, ',', &field))
            list_add(f->to, field);
        return 0;
    case FLAG_ARRAY:
        list_add(f->to, rest);
        return 0;
    case FLAG_IGNORED:
        return 0;
    case FLAG_FIXED:
        return set_fixed(f, value, e);
    }
    return 0;
}

struct args {
    struct flag *flags;
    char **argv;
    int argc, at, operands;
};

static bool is_bool(const struct flag *f)
{
    return f->kind == FLAG_BOOL || f->kind == FLAG_IGNORED_BOOL;
}

static int set_without_value(struct args *p, struct flag *f, struct err *e)
{
    if (is_bool(f))
        return set_value(f, "true", e);
    if (f->no_value)
        return set_value(f, f->no_value, e);
    if (p->at + 1 >= p->argc)
        return err_set(e, -EINVAL, "flag needs an argument: --%s", f->name);
    return set_value(f, p->argv[++p->at], e);
}

static int parse_long(struct args *p, const char *text, struct err *e)
{
    struct str name, value;
    bool has_value = str_cut(str_of(text), '=', &name, &value);
    struct flag *f = find(p->flags, name);
    if (!f && str_is(name, "help"))
        return FLAGS_HELP;
    if (!f)
        return err_set(e, -EINVAL, "unknown flag: --" STR_FMT, STR_ARG(name));
    return has_value ? set_value(f, value.p, e) : set_without_value(p, f, e);
}

static int parse_short(struct args *p, const char *text, struct err *e)
{
    for (; *text; text++) {
        struct flag *f = find_short(p->flags, *text);
        if (!f && *text == 'h')
            return FLAGS_HELP;
        if (!f)
            return err_set(e, -EINVAL, "unknown shorthand flag: '%c' in -%s", *text, text);
        if (!is_bool(f) && text[1])
            return set_value(f, text + 1 + (text[1] == '='), e);
        int r = set_without_value(p, f, e);
        if (r)
            return r;
    }
    return 0;
}

int flags_parse(struct flag *flags, int argc, char **argv, int *ret_operands, int *ret_dash, struct err *e)
{
    struct args p = {.flags = flags, .argv = argv, .argc = argc, .at = 1};
    int dash = -1;
    for (; p.at < argc; p.at++) {
        char *arg = argv[p.at];
        int r = 0;
        if (dash >= 0 || arg[0] != '-' || !arg[1])
            argv[1 + p.operands++] = arg;
        else if (!strcmp(arg, "--"))
            dash = p.operands;
        else
            r = arg[1] == '-' ? parse_long(&p, arg + 2, e) : parse_short(&p, arg + 1, e);
        if (r)
            return r;
    }
    *ret_operands = p.operands;
    if (ret_dash)
        *ret_dash = dash;
    return 0;
}

static const char *kind_text(const struct flag *f)
{
    switch (f->kind) {
    case FLAG_BOOL:
    case FLAG_IGNORED_BOOL:
        return "";
    case FLAG_INT:
        return " int";
    case FLAG_DURATION:
        return " duration";
    case FLAG_STRINGS:
    case FLAG_ARRAY:
        return " strings";
    case FLAG_STRING:
    case FLAG_IGNORED:
    case FLAG_FIXED:
        return " string";
    }
    return "";
}

static void put_list(const struct flag_list *l, struct buf *b)
{
    buf_putc(b, '[');
    for (size_t i = 0; i < l->n; i++)
        buf_printf(b, "%s%s", i ? "," : "", l->items[i]);
    buf_putc(b, ']');
}

void flag_value(const struct flag *f, struct buf *b)
{
    char text[TIME_TEXT_MAX];
    switch (f->kind) {
    case FLAG_BOOL:
        buf_puts(b, *(const bool *)f->to ? "true" : "false");
        return;
    case FLAG_STRING:
        buf_puts(b, *(const char *const *)f->to ? *(const char *const *)f->to : "");
        return;
    case FLAG_INT:
        buf_printf(b, "%lld", (long long)*(const int64_t *)f->to);
        return;
    case FLAG_DURATION:
        buf_puts(b, duration_format(*(const int64_t *)f->to, text));
        return;
    case FLAG_STRINGS:
    case FLAG_ARRAY:
        put_list(f->to, b);
        return;
    case FLAG_IGNORED:
    case FLAG_IGNORED_BOOL:
    case FLAG_FIXED:
        buf_puts(b, f->text ? f->text : "");
        return;
    }
}

/* What is there for upstream's sake. */
static void help_upstream(const struct flag *flags, bool fixed, const char *title, struct buf *b)
{
    bool any = false;
    for (const struct flag *f = flags; f->name; f++) {
        if (f->help || !(fixed ? f->kind == FLAG_FIXED : f->kind == FLAG_IGNORED || f->kind == FLAG_IGNORED_BOOL))
            continue;
        if (!any)
            buf_printf(b, "\n%s\n\n", title);
        any = true;
        const char *values = fixed && f->to ? f->to : "";
        buf_printf(b, "      --%-34s %s%s%s\n", f->name, values, *values ? ": " : "", f->why ? f->why : "");
    }
}

void flags_help(const struct flag *flags, struct buf *b)
{
    for (const struct flag *f = flags; f->name; f++) {
        char left[96], s[8] = "    ";
        if (!f->help)
            continue;
        if (f->shorthand)
            snprintf(s, sizeof(s), "-%c, ", f->shorthand);
        snprintf(left, sizeof(left), "%s--%s%s", s, f->name, kind_text(f));
        buf_printf(b, "  %-36s %s\n", left, f->help);
    }
    help_upstream(flags, true, "Flags of upstream's that are taken with these values only:", b);
    help_upstream(flags, false, "Flags of upstream's that are taken and change nothing:", b);
}
