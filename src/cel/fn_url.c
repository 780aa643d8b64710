/* SPDX-License-Identifier: Apache-2.0 */
/* URLs as Go's net/url reads them: what url.ParseRequestURI accepts, split as url.Parse does. */
#include "cel/cel-internal.h"

#include "type/text.h"

#define FN(name) static struct cel_val name(struct cel_run *r, const struct cel_val *v, unsigned n)

struct url_val {
    struct cel_opaque o;
    struct str text, scheme, host, path, query; /* path and query as they are written */
};

static const struct url_val *url_in(struct cel_val v)
{
    return CEL_OPAQUE_AS(v, struct url_val);
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_alpha(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_alnum(char c)
{
    return is_alpha(c) || (c >= '0' && c <= '9');
}

/* With %XX as bytes (and + as a space); false for an escape that is none. */
static bool unescape(struct arena *a, struct str s, bool plus, struct str *ret)
{
    char *p = arena_bytes(a, s.n + 1);
    size_t n = 0;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '%') {
            if (i + 2 >= s.n || hex(s.p[i + 1]) < 0 || hex(s.p[i + 2]) < 0)
                return false;
            p[n++] = (char)(hex(s.p[i + 1]) << 4 | hex(s.p[i + 2]));
            i += 2;
        } else {
            p[n++] = plus && s.p[i] == '+' ? ' ' : s.p[i];
        }
    }
    p[n] = 0;
    *ret = str_n(p, n);
    return true;
}

static const char *parse_scheme(struct str s, struct url_val *u, struct str *ret_rest)
{
    *ret_rest = s;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == ':') {
            if (i == 0)
                return "missing protocol scheme";
            u->scheme = str_n(s.p, i);
            *ret_rest = str_from(s, i + 1);
            return NULL;
        }
        if (!is_alpha(c) && (i == 0 || !(is_alnum(c) || c == '+' || c == '-' || c == '.')))
            return NULL;
    }
    return NULL;
}

static bool port_ok(struct str s)
{
    for (size_t i = 1; i < s.n; i++)
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    return !s.n || s.p[0] == ':';
}

/* NULL when all may be in the name of a host. */
static const char *host_fault(struct arena *a, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        if (c == '%') {
            /* Within a host only bytes beyond ASCII may be escaped. */
            if (i + 2 >= s.n || hex(s.p[i + 1]) < 8 || hex(s.p[i + 2]) < 0)
                return "invalid character in host name";
            i += 2;
        } else if (!((unsigned char)c >= 0x80 || is_alnum(c) || strchr("-_.~!$&'()*+,;=:[]<>\"", c))) {
            return arena_printf(a, "invalid character " STR_FMT " in host name", STR_ARG(text_quote(a, str_n(s.p + i, 1)))).p;
        }
    }
    return NULL;
}

static bool user_ok(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_alnum(s.p[i]) && !strchr("-._:~!$&'()*+,;=%@", s.p[i]))
            return false;
    return true;
}

static const char *parse_authority(struct arena *a, struct str s, struct url_val *u)
{
    ssize_t at = str_rfind(s, '@');
    struct str host = at < 0 ? s : str_from(s, (size_t)at + 1), port = STR_NULL;
    if (at >= 0 && !user_ok(str_n(s.p, (size_t)at)))
        return "net/url: invalid userinfo";
    if (str_starts(host, STR("["))) {
        ssize_t close = str_rfind(host, ']');
        if (close < 0)
            return "missing ']' in host";
        port = str_from(host, (size_t)close + 1);
    } else {
        ssize_t colon = str_rfind(host, ':');
        if (colon >= 0)
            port = str_from(host, (size_t)colon);
    }
    if (!port_ok(port))
        return "invalid port after host";
    const char *fault = host_fault(a, host);
    if (fault)
        return fault;
    return unescape(a, host, false, &u->host) ? NULL : "invalid URL escape";
}

/* What is wrong with it; NULL when nothing is. */
static const char *parse_url(struct arena *a, struct str s, struct url_val *u)
{
    struct str rest, path;
    u->text = s;
    if (!s.n)
        return "empty url";
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return "net/url: invalid control character in URL";
    if (str_is(s, "*")) {
        u->path = s;
        return NULL;
    }
    const char *wrong = parse_scheme(s, u, &rest);
    if (wrong)
        return wrong;
    str_cut(rest, '#', &rest, &path);
    str_cut(rest, '?', &rest, &u->query);
    if (!str_starts(rest, STR("/"))) {
        if (u->scheme.n)
            return NULL; /* mailto:x: opaque, without host and path */
        return "invalid URI for request";
    }
    if (str_starts(rest, STR("//")) && (u->scheme.n || !str_starts(rest, STR("///")))) {
        rest = str_from(rest, 2);
        ssize_t slash = str_find(rest, '/');
        struct str authority = slash < 0 ? rest : str_n(rest.p, (size_t)slash);
        rest = slash < 0 ? STR_NULL : str_from(rest, (size_t)slash);
        wrong = parse_authority(a, authority, u);
        if (wrong)
            return wrong;
    }
    u->path = rest;
    return unescape(a, rest, false, &path) ? NULL : "invalid URL escape";
}

static bool url_equal(const struct cel_opaque *x, const struct cel_opaque *y)
{
    return str_eq(((const struct url_val *)x)->text, ((const struct url_val *)y)->text);
}

static struct str url_text(struct arena *a, const struct cel_opaque *o)
{
    return ((const struct url_val *)o)->text;
}

FN(url_from)
{
    struct url_val *u = ARENA_NEW(r->arena, struct url_val);
    u->o = (struct cel_opaque){&cel_url, url_equal, url_text, 1};
    const char *wrong = parse_url(r->arena, cel_str(v[0]), u);
    if (!wrong)
        return cel_of_opaque(&u->o);
    struct str q = text_quote(r->arena, cel_str(v[0]));
    return cel_fail(r->arena, "URL parse error during conversion from string: parse " STR_FMT ": %s", STR_ARG(q), wrong);
}

FN(is_url)
{
    struct url_val u = {0};
    return cel_of_bool(!parse_url(r->arena, cel_str(v[0]), &u));
}

FN(get_scheme)
{
    struct str s = arena_str(r->arena, url_in(v[0])->scheme);
    for (size_t i = 0; i < s.n; i++)
        ((char *)s.p)[i] = (char)(s.p[i] >= 'A' && s.p[i] <= 'Z' ? s.p[i] | 0x20 : s.p[i]);
    return cel_of_str(s);
}

FN(get_host)
{
    return cel_of_str(url_in(v[0])->host);
}

/* host:port as both; [::1]:80 without its brackets. */
static void split_host(struct str s, struct str *ret_name, struct str *ret_port)
{
    ssize_t colon = str_rfind(s, ':');
    *ret_name = s;
    *ret_port = STR("");
    if (colon >= 0 && port_ok(str_from(s, (size_t)colon))) {
        *ret_name = str_n(s.p, (size_t)colon);
        *ret_port = str_from(s, (size_t)colon + 1);
    }
    if (ret_name->n > 1 && ret_name->p[0] == '[' && ret_name->p[ret_name->n - 1] == ']')
        *ret_name = str_n(ret_name->p + 1, ret_name->n - 2);
}

FN(get_hostname)
{
    struct str name, port;
    split_host(url_in(v[0])->host, &name, &port);
    return cel_of_str(name);
}

FN(get_port)
{
    struct str name, port;
    split_host(url_in(v[0])->host, &name, &port);
    return cel_of_str(port);
}

FN(get_escaped_path)
{
    struct str raw = url_in(v[0])->path, plain;
    bool valid = true;
    for (size_t i = 0; i < raw.n; i++)
        valid &= is_alnum(raw.p[i]) || strchr("-_.~!$&'()*+,/:;=@[]%", raw.p[i]) != NULL;
    if (valid || !unescape(r->arena, raw, false, &plain))
        return cel_of_str(raw);
    CLEANUP_BUF struct buf b = BUF_INIT;
    for (size_t i = 0; i < plain.n; i++)
        if (is_alnum(plain.p[i]) || (plain.p[i] && strchr("-_.~$&+,/:;=@", plain.p[i])))
            buf_putc(&b, plain.p[i]);
        else
            buf_printf(&b, "%%%02X", (unsigned char)plain.p[i]);
    return cel_of_text(r->arena, buf_str(&b));
}

FN(get_query)
{
    struct cel_val out = cel_new_map(r->arena, NULL, 0);
    struct str rest = url_in(v[0])->query, part, key, value;
    while (rest.n && str_next(&rest, '&', &part)) {
        if (!part.n || str_find(part, ';') >= 0)
            continue;
        str_cut(part, '=', &key, &value);
        if (!unescape(r->arena, key, true, &key) || !unescape(r->arena, value, true, &value))
            continue;
        struct cel_val k = cel_of_str(key), x = cel_of_str(value), before = cel_lookup(r->arena, out, k);
        if (cel_absent(before)) {
            out = cel_map_insert(r->arena, out, k, cel_new_list(r->arena, &x, 1));
            continue;
        }
        for (uint32_t i = 0; i < out.n; i++)
            if (cel_equal(r->arena, out.map->pairs[2 * i], k))
                out.map->pairs[2 * i + 1] = cel_list_append(r->arena, before, x);
    }
    return out;
}

#define URL "kubernetes.URL"
#define LIB CEL_LIB_KUBERNETES

const struct cel_fn cel_fns_url[] = {
    {"url", "string_to_url", "(string) " URL, url_from, COST_ARG0, LIB, 0},
    {"isURL", "is_url_string", "(string) bool", is_url, COST_ONE, LIB, 0},
    {"getScheme", "url_get_scheme", URL ".() string", get_scheme, COST_ONE, LIB, 0},
    {"getHost", "url_get_host", URL ".() string", get_host, COST_ONE, LIB, 0},
    {"getHostname", "url_get_hostname", URL ".() string", get_hostname, COST_ONE, LIB, 0},
    {"getPort", "url_get_port", URL ".() string", get_port, COST_ONE, LIB, 0},
    {"getEscapedPath", "url_get_escaped_path", URL ".() string", get_escaped_path, COST_ONE, LIB, 0},
    {"getQuery", "url_get_query", URL ".() map(string, list(string))", get_query, COST_ONE, LIB, 0},
};
const size_t n_cel_fns_url = ARRAY_SIZE(cel_fns_url);

bool cel_is_url(struct arena *a, struct str s, const char **ret_wrong)
{
    struct url_val u = {0};
    *ret_wrong = parse_url(a, s, &u);
    return !*ret_wrong;
}
