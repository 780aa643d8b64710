/* SPDX-License-Identifier: Apache-2.0 */
/* cel-go's strings, version 2 as Kubernetes has them, and Kubernetes' find and findAll. Positions are code points. */
#include "cel/cel-internal.h"

#define FN(name) static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)

static struct cel_val out_of_range(struct cel_run *r, int64_t i)
{
    return cel_fail(r->arena, "index out of range: %lld", (long long)i);
}

/* The byte where the i-th code point starts; -1 beyond the end. */
static ssize_t byte_of(struct str s, int64_t i)
{
    size_t at = 0;
    uint32_t rune;
    if (i < 0)
        return -1;
    for (; i > 0 && at < s.n; i--)
        at += cel_rune(str_from(s, at), &rune);
    return i > 0 ? -1 : (ssize_t)at;
}

FN(char_at)
{
    struct str s = cel_str(v[0]);
    uint32_t rune;
    ssize_t at = byte_of(s, v[1].i);
    if (at < 0)
        return out_of_range(r, v[1].i);
    s = str_from(s, (size_t)at);
    return cel_of_str(s.n ? str_n(s.p, cel_rune(s, &rune)) : STR(""));
}

FN(index_of)
{
    struct str s = cel_str(v[0]), sub = cel_str(v[1]);
    int64_t from = n > 2 ? v[2].i : 0;
    if (from < 0)
        return out_of_range(r, from);
    ssize_t start = byte_of(s, from);
    if (!sub.n)
        return cel_of_int(start < 0 ? (int64_t)cel_runes(s) : from);
    if (start < 0)
        return cel_of_int(-1);
    const char *p = memmem(s.p + start, s.n - (size_t)start, sub.p, sub.n);
    return cel_of_int(p ? (int64_t)cel_runes(str_n(s.p, (size_t)(p - s.p))) : -1);
}

FN(last_index_of)
{
    struct str s = cel_str(v[0]), sub = cel_str(v[1]);
    int64_t size = (int64_t)cel_runes(s), from = n > 2 ? v[2].i : size;
    if (from < 0)
        return out_of_range(r, from);
    if (!sub.n)
        return cel_of_int(MIN(from, size));
    if (n > 2 && from >= size)
        return cel_of_int(-1);
    for (size_t at = (size_t)byte_of(s, from) + 1; at > 0; at--)
        if (at - 1 + sub.n <= s.n && memcmp(s.p + at - 1, sub.p, sub.n) == 0)
            return cel_of_int((int64_t)cel_runes(str_n(s.p, at - 1)));
    return cel_of_int(-1);
}

static struct cel_val map_ascii(struct cel_run *r, struct cel_val s, char first, char last)
{
    char *p = arena_bytes(r->arena, s.n + 1);
    for (uint32_t i = 0; i < s.n; i++)
        p[i] = s.s[i] >= first && s.s[i] <= last ? s.s[i] ^ 0x20 : s.s[i];
    p[s.n] = 0;
    return cel_of_str(str_n(p, s.n));
}

FN(lower)
{
    return map_ascii(r, v[0], 'A', 'Z');
}

FN(upper)
{
    return map_ascii(r, v[0], 'a', 'z');
}

FN(substring)
{
    struct str s = cel_str(v[0]);
    int64_t size = (int64_t)cel_runes(s), start = v[1].i, end = n > 2 ? v[2].i : size;
    if (n > 2 && start > end)
        return cel_fail(r->arena, "invalid substring range. start: %lld, end: %lld", (long long)start, (long long)end);
    if (start < 0 || start > size)
        return out_of_range(r, start);
    if (end < 0 || end > size)
        return out_of_range(r, end);
    size_t from = (size_t)byte_of(s, start);
    return cel_of_str(str_n(s.p + from, (size_t)byte_of(s, end) - from));
}

/* unicode.IsSpace */
static bool is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) ||
           c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

FN(trim)
{
    struct str s = cel_str(v[0]);
    size_t first = s.n, last = 0, size;
    for (size_t i = 0; i < s.n; i += size) {
        uint32_t rune;
        size = cel_rune(str_from(s, i), &rune);
        if (is_space(rune))
            continue;
        first = MIN(first, i);
        last = i + size;
    }
    return cel_of_str(first < last ? str_n(s.p + first, last - first) : STR(""));
}

FN(replace)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str s = cel_str(v[0]), from = cel_str(v[1]), to = cel_str(v[2]);
    int64_t left = n > 3 ? v[3].i : -1;
    size_t at = 0;
    while (at <= s.n && left != 0) {
        const char *p = from.n ? memmem(s.p + at, s.n - at, from.p, from.n) : s.p + at;
        if (!p)
            break;
        buf_put(&b, s.p + at, (size_t)(p - s.p) - at);
        buf_putstr(&b, to);
        at = (size_t)(p - s.p) + from.n;
        left -= left > 0;
        uint32_t rune;
        size_t step = from.n ? 0 : at < s.n ? cel_rune(str_from(s, at), &rune) : 1;
        if (step && at < s.n)
            buf_put(&b, s.p + at, step);
        at += step;
    }
    if (at < s.n)
        buf_put(&b, s.p + at, s.n - at);
    return cel_of_text(r->arena, buf_str(&b));
}

FN(split)
{
    struct str s = cel_str(v[0]), sep = cel_str(v[1]);
    int64_t left = n > 2 ? v[2].i : -1;
    struct cel_val out = cel_new_list(r->arena, NULL, 0);
    if (left == 0)
        return out;
    for (;;) {
        uint32_t rune;
        size_t cut = s.n, skip = sep.n;
        const char *p = sep.n ? memmem(s.p, s.n, sep.p, sep.n) : NULL;
        if (p)
            cut = (size_t)(p - s.p);
        else if (!sep.n && s.n)
            cut = cel_rune(s, &rune);
        bool more = sep.n ? p != NULL : cut < s.n;
        if (!more || left == 1) {
            if (sep.n || s.n)
                out = cel_list_append(r->arena, out, cel_of_str(s));
            return out;
        }
        out = cel_list_append(r->arena, out, cel_of_str(str_n(s.p, cut)));
        s = str_from(s, cut + skip);
        left -= left > 0;
    }
}

FN(join)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    for (size_t i = 0; i < v[0].n; i++) {
        struct cel_val x = cel_item(r->arena, v[0], i);
        if (x.kind != CEL_STRING)
            return cel_no_overload();
        if (i && n > 1)
            buf_putstr(&b, cel_str(v[1]));
        buf_putstr(&b, cel_str(x));
    }
    return cel_of_text(r->arena, buf_str(&b));
}

FN(reverse)
{
    struct str s = cel_str(v[0]);
    char *p = arena_bytes(r->arena, s.n + 1), *end = p + s.n;
    *end = 0;
    for (size_t i = 0, size; i < s.n; i += size) {
        uint32_t rune;
        size = cel_rune(str_from(s, i), &rune);
        memcpy(end - i - size, s.p + i, size);
    }
    return cel_of_str(str_n(p, s.n));
}

FN(quote)
{
    static const char from[] = "\a\b\f\n\r\t\v\\\"", codes[] = "abfnrtv\\\"";
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct str s = cel_str(v[0]);
    buf_putc(&b, '"');
    for (size_t i = 0, size; i < s.n; i += size) {
        uint32_t rune;
        size = cel_rune(str_from(s, i), &rune);
        const char *e = s.p[i] ? strchr(from, s.p[i]) : NULL;
        if (e && size == 1)
            buf_printf(&b, "\\%c", codes[e - from]);
        else if (rune == 0xfffd && size == 1)
            buf_puts(&b, "\xef\xbf\xbd");
        else
            buf_put(&b, s.p + i, size);
    }
    buf_putc(&b, '"');
    return cel_of_text(r->arena, buf_str(&b));
}

/* ---- regular expressions --------------------------------------------------------------------------------------------- */

const struct cel_regex *cel_regex_of(struct cel_run *r, struct cel_val pattern, struct cel_regex **ret_own, char *ret_fault)
{
    *ret_own = r->site->regex ? NULL : cel_regex_new(cel_str(pattern), ret_fault, CEL_REGEX_FAULT);
    return r->site->regex ? r->site->regex : *ret_own;
}

FN(find)
{
    char fault[CEL_REGEX_FAULT];
    struct cel_regex *own;
    const struct cel_regex *re = cel_regex_of(r, v[1], &own, fault);
    size_t start = 0, end = 0;
    if (!re)
        return cel_fail(r->arena, "Illegal regex: %s", fault);
    bool found = cel_regex_find(re, cel_str(v[0]), 0, &start, &end);
    cel_regex_free(own);
    return cel_of_str(found ? str_n(v[0].s + start, end - start) : STR(""));
}

FN(find_all)
{
    char fault[CEL_REGEX_FAULT];
    struct cel_regex *own;
    const struct cel_regex *re = cel_regex_of(r, v[1], &own, fault);
    struct cel_val out = cel_new_list(r->arena, NULL, 0);
    struct str s = cel_str(v[0]);
    size_t from = 0, start, end, last_end = SIZE_MAX;
    if (!re)
        return cel_fail(r->arena, "Illegal regex: %s", fault);
    for (int64_t left = n > 2 ? v[2].i : -1; left != 0 && cel_regex_find(re, s, from, &start, &end);) {
        if (start == end && start == last_end) { /* an empty match right behind the last one does not count */
            uint32_t rune;
            if (start >= s.n)
                break;
            from = start + cel_rune(str_from(s, start), &rune);
            last_end = SIZE_MAX;
            continue;
        }
        out = cel_list_append(r->arena, out, cel_of_str(str_n(s.p + start, end - start)));
        left -= left > 0;
        from = last_end = end;
    }
    cel_regex_free(own);
    return out;
}

#define LIB CEL_LIB_KUBERNETES

const struct cel_fn cel_fns_text[] = {
    {"charAt", "string_char_at_int", "string.(int) string", char_at, COST_ONE, LIB, 0},
    {"indexOf", "string_index_of_string", "string.(string) int", index_of, COST_TRAVERSE, LIB, 0},
    {"indexOf", "string_index_of_string_int", "string.(string, int) int", index_of, COST_TRAVERSE, LIB, 0},
    {"lastIndexOf", "string_last_index_of_string", "string.(string) int", last_index_of, COST_TRAVERSE, LIB, 0},
    {"lastIndexOf", "string_last_index_of_string_int", "string.(string, int) int", last_index_of, COST_TRAVERSE, LIB, 0},
    {"lowerAscii", "string_lower_ascii", "string.() string", lower, COST_ARG0, LIB, 0},
    {"upperAscii", "string_upper_ascii", "string.() string", upper, COST_ARG0, LIB, 0},
    {"substring", "string_substring_int", "string.(int) string", substring, COST_ARG0, LIB, 0},
    {"substring", "string_substring_int_int", "string.(int, int) string", substring, COST_ARG0, LIB, 0},
    {"trim", "string_trim", "string.() string", trim, COST_ARG0, LIB, 0},
    {"replace", "string_replace_string_string", "string.(string, string) string", replace, COST_ARG0_TWICE, LIB, 0},
    {"replace", "string_replace_string_string_int", "string.(string, string, int) string", replace, COST_ARG0_TWICE, LIB, 0},
    {"split", "string_split_string", "string.(string) list(string)", split, COST_ARG0_TWICE, LIB, 0},
    {"split", "string_split_string_int", "string.(string, int) list(string)", split, COST_ARG0_TWICE, LIB, 0},
    {"join", "list_join", "list(string).() string", join, COST_RESULT_TWICE, LIB, 0},
    {"join", "list_join_string", "list(string).(string) string", join, COST_RESULT_TWICE, LIB, 0},
    {"strings.quote", "strings_quote", "(string) string", quote, COST_ARG0_ONLY, LIB, 29},
    {"reverse", "string_reverse", "string.() string", reverse, COST_ONE, CEL_LIB_EXTENSIONS, 0},
    {"find", "string_find_string", "string.(string) string", find, COST_REGEX, LIB, 0},
    {"findAll", "string_find_all_string", "string.(string) list(string)", find_all, COST_REGEX, LIB, 0},
    {"findAll", "string_find_all_string_int", "string.(string, int) list(string)", find_all, COST_REGEX, LIB, 0},
};
const size_t n_cel_fns_text = ARRAY_SIZE(cel_fns_text);
