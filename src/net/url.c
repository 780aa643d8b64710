/* SPDX-License-Identifier: Apache-2.0 */
#include "net/url.h"

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int url_decode(struct arena *a, struct str s, bool plus, struct str *ret)
{
    char *out = arena_bytes(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            int hi = i + 1 < s.n ? hex_value(s.p[i + 1]) : -1;
            int lo = i + 2 < s.n ? hex_value(s.p[i + 2]) : -1;
            if (hi < 0 || lo < 0)
                return -EINVAL;
            c = (char)(hi * 16 + lo);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        out[n++] = c;
    }
    out[n] = '\0';
    *ret = str_n(out, n);
    return 0;
}

static bool unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.' || c == '~';
}

static void encode(struct buf *b, struct str s, const char *safe, bool plus)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (unreserved(c) || (c && strchr(safe, c))) {
            buf_putc(b, c);
        } else if (plus && c == ' ') {
            buf_putc(b, '+');
        } else {
            buf_putc(b, '%');
            buf_putc(b, digits[(uint8_t)c >> 4]);
            buf_putc(b, digits[(uint8_t)c & 15]);
        }
    }
}

void url_encode_query(struct buf *b, struct str s)
{
    encode(b, s, "", true);
}

void url_encode_segment(struct buf *b, struct str s)
{
    encode(b, s, "$&+=:@", false);
}

/* ---- URLs --------------------------------------------------------------------------------------------- */

static bool scheme_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        bool other = (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.';
        if (!alpha && !(i && other))
            return false;
    }
    return s.n > 0;
}

static int parse_port(struct str s, uint16_t *ret)
{
    uint64_t port;
    if (s.n == 0) /* "host:" is allowed */
        return 0;
    if (s.n > 5 || str_to_u64(s, &port) < 0 || port > 65535)
        return -EINVAL;
    *ret = (uint16_t)port;
    return 0;
}

/* "user:pw@host:port", "[::1]:port" */
static int parse_authority(struct str s, struct url *u)
{
    ssize_t at = str_rfind(s, '@');
    if (at >= 0) {
        u->userinfo = str_slice(s, 0, (size_t)at);
        s = str_from(s, (size_t)at + 1);
    }
    if (s.n && s.p[0] == '[') {
        ssize_t close = str_find(s, ']');
        if (close < 0)
            return -EINVAL;
        u->host = str_slice(s, 1, (size_t)close - 1);
        s = str_from(s, (size_t)close + 1);
        if (s.n && s.p[0] != ':')
            return -EINVAL;
        return parse_port(str_from(s, 1), &u->port);
    }
    struct str port;
    str_cut(s, ':', &u->host, &port);
    for (size_t i = 0; i < u->host.n; i++)
        if (!unreserved(u->host.p[i]) && !strchr("%!$&'()*+,;=", u->host.p[i]))
            return -EINVAL;
    return parse_port(port, &u->port);
}

static int has_control(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((uint8_t)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return true;
    return false;
}

int url_parse(struct str text, struct url *ret)
{
    struct url u = {0};
    if (text.n == 0 || has_control(text))
        return -EINVAL;
    str_cut(text, '#', &text, &u.fragment);
    str_cut(text, '?', &text, &u.query);
    if (text.n && text.p[0] == '/' && !str_starts(text, STR("//"))) {
        u.path = text;
        *ret = u;
        return 0;
    }
    ssize_t colon = str_find(text, ':');
    if (colon < 0 || !str_starts(str_from(text, (size_t)colon), STR("://")))
        return -EINVAL;
    u.scheme = str_slice(text, 0, (size_t)colon);
    if (!scheme_ok(u.scheme))
        return -EINVAL;
    struct str rest = str_from(text, (size_t)colon + 3);
    ssize_t slash = str_find(rest, '/');
    u.path = slash < 0 ? STR_NULL : str_from(rest, (size_t)slash);
    int r = parse_authority(slash < 0 ? rest : str_slice(rest, 0, (size_t)slash), &u);
    if (r < 0)
        return r;
    *ret = u;
    return 0;
}

uint16_t url_port(const struct url *u)
{
    if (u->port)
        return u->port;
    if (str_is(u->scheme, "https") || str_is(u->scheme, "wss"))
        return 443;
    return str_is(u->scheme, "http") || str_is(u->scheme, "ws") ? 80 : 0;
}

/* ---- queries ------------------------------------------------------------------------------------------ */

bool query_next(struct arena *a, struct str *rest, struct str *ret_key, struct str *ret_value)
{
    while (rest->n) {
        struct str pair, key, value;
        str_cut(*rest, '&', &pair, rest);
        if (pair.n == 0 || str_find(pair, ';') >= 0)
            continue;
        str_cut(pair, '=', &key, &value);
        struct str k, v;
        if (url_decode(a, key, true, &k) < 0 || url_decode(a, value, true, &v) < 0)
            continue;
        *ret_key = k;
        *ret_value = v;
        return true;
    }
    return false;
}

bool query_get(struct arena *a, struct str query, const char *key, struct str *ret)
{
    struct str k, v;
    while (query_next(a, &query, &k, &v)) {
        if (str_is(k, key)) {
            *ret = v;
            return true;
        }
    }
    return false;
}

bool query_bool(struct arena *a, struct str query, const char *key, bool absent)
{
    struct str v;
    if (!query_get(a, query, key, &v))
        return absent;
    return !str_is(v, "0") && !str_is(v, "false");
}

void query_add(struct buf *b, const char *key, struct str value)
{
    if (b->n && b->p[b->n - 1] != '?')
        buf_putc(b, '&');
    url_encode_query(b, str_of(key));
    buf_putc(b, '=');
    url_encode_query(b, value);
}
