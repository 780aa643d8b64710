/* SPDX-License-Identifier: Apache-2.0 */
#include "cel/lex.h"

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int hex_digit(char c)
{
    return is_digit(c) ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static char at(struct str s, size_t i)
{
    return i < s.n ? s.p[i] : 0;
}

static size_t skip_space(struct str s, size_t i)
{
    for (;;) {
        char c = at(s, i);
        if (i < s.n && (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f')) {
            i++;
        } else if (c == '/' && at(s, i + 1) == '/') {
            while (i < s.n && s.p[i] != '\n')
                i++;
        } else {
            return i;
        }
    }
}

static size_t digits(struct str s, size_t i)
{
    while (is_digit(at(s, i)))
        i++;
    return i;
}

/* The end of an exponent at i, or i when there is none. */
static size_t exponent(struct str s, size_t i)
{
    if (at(s, i) != 'e' && at(s, i) != 'E')
        return i;
    size_t k = i + 1;
    if (at(s, k) == '+' || at(s, k) == '-')
        k++;
    return is_digit(at(s, k)) ? digits(s, k) : i;
}

static size_t lex_number(struct str s, size_t i, enum cel_token_kind *ret)
{
    *ret = T_INT;
    if (at(s, i) == '0' && at(s, i + 1) == 'x' && hex_digit(at(s, i + 2)) >= 0) {
        for (i += 2; hex_digit(at(s, i)) >= 0;)
            i++;
    } else {
        i = digits(s, i);
        if (at(s, i) == '.' && is_digit(at(s, i + 1))) {
            *ret = T_FLOAT;
            i = digits(s, i + 1);
        }
        size_t e = exponent(s, i);
        if (e > i) {
            *ret = T_FLOAT;
            return e;
        }
        if (*ret == T_FLOAT)
            return i;
    }
    if (at(s, i) == 'u' || at(s, i) == 'U') {
        *ret = T_UINT;
        i++;
    }
    return i;
}

/* The end of a quoted text whose (first) quote is at i; 0 when it does not end. */
static size_t lex_quoted(struct str s, size_t i, bool raw)
{
    char q = s.p[i];
    bool triple = at(s, i + 1) == q && at(s, i + 2) == q;
    for (i += triple ? 3 : 1; i < s.n; i++) {
        char c = s.p[i];
        if (c == '\\' && !raw) {
            i++;
        } else if (!triple && (c == '\n' || c == '\r')) {
            return 0;
        } else if (c == q && (!triple || (at(s, i + 1) == q && at(s, i + 2) == q))) {
            return i + (triple ? 3 : 1);
        }
    }
    return 0;
}

/* A prefix of r, b, rb, br and then a quote? Its length, with the kind. */
static size_t quote_prefix(struct str s, size_t i, bool *ret_bytes, bool *ret_raw)
{
    size_t k = i;
    *ret_bytes = at(s, k) == 'b' || at(s, k) == 'B';
    k += *ret_bytes;
    *ret_raw = at(s, k) == 'r' || at(s, k) == 'R';
    k += *ret_raw;
    return at(s, k) == '"' || at(s, k) == '\'' ? k - i + 1 : 0;
}

static enum cel_token_kind keyword(struct str s)
{
    static const struct {
        const char *text;
        enum cel_token_kind kind;
    } words[] = {{"true", T_TRUE}, {"false", T_FALSE}, {"null", T_NULL}, {"in", T_IN}};
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (str_is(s, words[i].text))
            return words[i].kind;
    return T_IDENT;
}

static struct cel_token lex_word(struct str s, size_t i)
{
    struct cel_token t = {.pos = i};
    bool bytes, raw;
    size_t prefix = quote_prefix(s, i, &bytes, &raw);
    if (prefix) {
        t.end = lex_quoted(s, i + prefix - 1, raw);
        t.kind = t.end ? bytes ? T_BYTES : T_STRING : T_BAD;
        if (!t.end)
            t.end = s.n;
    } else {
        for (t.end = i; is_letter(at(s, t.end)) || is_digit(at(s, t.end));)
            t.end++;
        t.kind = keyword(str_n(s.p + i, t.end - i));
    }
    t.text = str_n(s.p + i, t.end - i);
    return t;
}

static struct cel_token lex_escaped(struct str s, size_t i)
{
    size_t k = i + 1;
    while (is_letter(at(s, k)) || is_digit(at(s, k)) || at(s, k) == '.' || at(s, k) == '-' || at(s, k) == '/' ||
           at(s, k) == ' ')
        k++;
    bool ok = at(s, k) == '`' && k > i + 1;
    return (struct cel_token){.kind = ok ? T_ESC_IDENT : T_BAD, .pos = i, .end = ok ? k + 1 : i + 1,
                              .text = ok ? str_n(s.p + i + 1, k - i - 1) : str_n(s.p + i, 1)};
}

static struct cel_token lex_operator(struct str s, size_t i)
{
    static const struct {
        char text[3];
        enum cel_token_kind kind;
    } pairs[] = {{"==", T_EQ}, {"!=", T_NE}, {"<=", T_LE}, {">=", T_GE}, {"&&", T_AND}, {"||", T_OR}};
    for (size_t k = 0; k < ARRAY_SIZE(pairs); k++)
        if (at(s, i) == pairs[k].text[0] && at(s, i + 1) == pairs[k].text[1])
            return (struct cel_token){.kind = pairs[k].kind, .pos = i, .end = i + 2, .text = str_n(s.p + i, 2)};
    char c = s.p[i];
    if (c && strchr("<>[]{}().,-!?:+*/%", c))
        return (struct cel_token){.kind = T_PUNCT, .c = c, .pos = i, .end = i + 1, .text = str_n(s.p + i, 1)};
    uint32_t rune;
    size_t n = cel_rune(str_from(s, i), &rune);
    return (struct cel_token){.kind = T_BAD, .pos = i, .end = i + n, .text = str_n(s.p + i, n)};
}

struct cel_token cel_lex(struct str s, size_t pos)
{
    size_t i = skip_space(s, pos);
    if (i >= s.n)
        return (struct cel_token){.kind = T_END, .pos = s.n, .end = s.n, .text = STR("<EOF>")};
    char c = s.p[i];
    if (is_letter(c) || c == '"' || c == '\'')
        return lex_word(s, i);
    if (c == '`')
        return lex_escaped(s, i);
    if (is_digit(c) || (c == '.' && is_digit(at(s, i + 1)))) {
        struct cel_token t = {.pos = i};
        t.end = lex_number(s, i, &t.kind);
        t.text = str_n(s.p + i, t.end - i);
        return t;
    }
    return lex_operator(s, i);
}

/* ---- the content of a literal ---------------------------------------------------------------------------- */

/* Reads `n` digits of the base at p; -1 when there are not so many. */
static int64_t read_code(struct str s, size_t at_byte, size_t n, int base)
{
    int64_t v = 0;
    for (size_t i = 0; i < n; i++) {
        int d = at_byte + i < s.n ? hex_digit(s.p[at_byte + i]) : -1;
        if (d < 0 || d >= base)
            return -1;
        v = v * base + d;
    }
    return v;
}

/* An escape at s[i] (behind the backslash). Returns its length, 0 when it is wrong. */
static size_t read_escape(struct str s, size_t i, bool bytes, char *to, size_t *ret_n)
{
    static const char from[] = "abfnrtv\\\"'`?", codes[] = "\a\b\f\n\r\t\v\\\"'`?";
    char c = at(s, i);
    const char *simple = c ? strchr(from, c) : NULL;
    if (simple) {
        *to = codes[simple - from];
        *ret_n = 1;
        return 1;
    }
    size_t n = c == 'x' || c == 'X' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 3;
    bool octal = c >= '0' && c <= '3';
    if (!octal && (n == 3 || (bytes && n > 2)))
        return 0;
    int64_t v = read_code(s, octal ? i : i + 1, n, octal ? 8 : 16);
    if (v < 0 || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    if (bytes) {
        *to = (char)v;
        *ret_n = 1;
    } else {
        *ret_n = cel_put_rune(to, (uint32_t)v);
    }
    return octal ? n : n + 1;
}

bool cel_unescape(struct arena *a, struct str body, bool bytes, struct str *ret)
{
    char *to = arena_bytes(a, body.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < body.n;) {
        if (body.p[i] == '\r' && at(body, i + 1) == '\n') { /* line ends of the three-quote forms are one */
            to[n++] = '\n';
            i += 2;
        } else if (body.p[i] == '\r') {
            to[n++] = '\n';
            i++;
        } else if (body.p[i] != '\\') {
            to[n++] = body.p[i++];
        } else {
            size_t written, used = read_escape(body, i + 1, bytes, to + n, &written);
            if (!used)
                return false;
            n += written;
            i += 1 + used;
        }
    }
    to[n] = 0;
    *ret = str_n(to, n);
    return true;
}

static struct str unify_lines(struct arena *a, struct str s)
{
    if (str_find(s, '\r') < 0)
        return arena_str(a, s);
    char *to = arena_bytes(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\r' && at(s, i + 1) == '\n')
            continue;
        to[n++] = s.p[i] == '\r' ? '\n' : s.p[i];
    }
    to[n] = 0;
    return str_n(to, n);
}

bool cel_token_bytes(struct arena *a, struct cel_token t, struct str *ret)
{
    bool bytes, raw;
    size_t prefix = quote_prefix(t.text, 0, &bytes, &raw);
    struct str s = str_from(t.text, prefix - 1);
    size_t quotes = s.n >= 6 && s.p[1] == s.p[0] && s.p[2] == s.p[0] ? 3 : 1;
    s = str_n(s.p + quotes, s.n - 2 * quotes);
    if (raw) {
        *ret = unify_lines(a, s);
        return true;
    }
    return cel_unescape(a, s, bytes, ret);
}
