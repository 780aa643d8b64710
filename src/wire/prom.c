/* SPDX-License-Identifier: Apache-2.0 */
#include "wire/prom.h"

#include <stdlib.h>

enum { NUMBER_MAX = 64 };

static struct str skip_blanks(struct str s)
{
    size_t n = 0;
    while (n < s.n && (s.p[n] == ' ' || s.p[n] == '\t'))
        n++;
    return str_from(s, n);
}

static bool name_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == ':';
}

/* Where the labels end: the brace that stands in no quoted value. -1: nowhere. */
static ssize_t find_brace(struct str s)
{
    bool quoted = false;
    for (size_t i = 0; i < s.n; i++) {
        if (quoted && s.p[i] == '\\')
            i++;
        else if (s.p[i] == '"')
            quoted = !quoted;
        else if (!quoted && s.p[i] == '}')
            return (ssize_t)i;
    }
    return -1;
}

static bool take_number(struct str s, double *ret)
{
    char text[NUMBER_MAX], *end;
    if (!s.n || s.n >= sizeof(text))
        return false;
    memcpy(text, s.p, s.n);
    text[s.n] = '\0';
    *ret = strtod(text, &end);
    return *end == '\0';
}

static bool parse_line(struct str line, struct prom_sample *ret)
{
    struct prom_sample s = {.labels = STR_NULL};
    struct str value, time;
    size_t n = 0;
    while (n < line.n && name_char(line.p[n]))
        n++;
    s.name = str_slice(line, 0, n);
    line = skip_blanks(str_from(line, n));
    if (!s.name.n)
        return false;
    if (line.n && line.p[0] == '{') {
        ssize_t end = find_brace(str_from(line, 1));
        if (end < 0)
            return false;
        s.labels = str_slice(line, 1, (size_t)end);
        line = skip_blanks(str_from(line, (size_t)end + 2));
    }
    str_cut(str_trim(line), ' ', &value, &time);
    time = str_trim(time);
    if (!take_number(value, &s.value) || (time.n && str_to_i64(time, &s.time_ms) < 0))
        return false;
    *ret = s;
    return true;
}

bool prom_next(struct str *rest, struct prom_sample *ret)
{
    struct str line;
    while (rest->p && str_next(rest, '\n', &line)) {
        line = str_trim(line);
        if (line.n && line.p[0] != '#' && parse_line(line, ret))
            return true;
    }
    return false;
}

/* ---- labels ------------------------------------------------------------------------------------------ */

/* Cuts name="value" off; the value still escaped. */
static bool next_label(struct str *rest, struct str *ret_name, struct str *ret_value, bool *ret_escaped)
{
    struct str s = skip_blanks(*rest);
    ssize_t eq = str_find(s, '=');
    if (eq <= 0 || (size_t)eq + 1 >= s.n || s.p[eq + 1] != '"')
        return false;
    *ret_name = str_trim(str_slice(s, 0, (size_t)eq));
    s = str_from(s, (size_t)eq + 2);
    *ret_escaped = false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\\') {
            *ret_escaped = true;
            i++;
        } else if (s.p[i] == '"') {
            *ret_value = str_slice(s, 0, i);
            s = skip_blanks(str_from(s, i + 1));
            *rest = s.n && s.p[0] == ',' ? str_from(s, 1) : s;
            return true;
        }
    }
    return false;
}

static struct str unescape(struct arena *a, struct str s)
{
    char *p = arena_bytes(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        bool escape = s.p[i] == '\\' && i + 1 < s.n;
        i += escape;
        p[n++] = (char)(escape && s.p[i] == 'n' ? '\n' : s.p[i]);
    }
    p[n] = '\0';
    return str_n(p, n);
}

struct str prom_label(const struct prom_sample *s, const char *name, struct arena *a)
{
    struct str rest = s->labels, key, value;
    bool escaped;
    while (next_label(&rest, &key, &value, &escaped))
        if (str_is(key, name))
            return escaped ? unescape(a, value) : value;
    return STR_NULL;
}

void prom_escape(struct buf *b, struct str value)
{
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '\n')
            buf_puts(b, "\\n");
        else if (value.p[i] == '"' || value.p[i] == '\\')
            buf_printf(b, "\\%c", value.p[i]);
        else
            buf_putc(b, value.p[i]);
    }
}
