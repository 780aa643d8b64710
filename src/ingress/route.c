/* SPDX-License-Identifier: Apache-2.0 */
#include "ingress/route.h"

/* ---- canonical forms ---------------------------------------------------------------------------------- */

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static struct str without_port(struct str host)
{
    ssize_t bracket = str_rfind(host, ']'), colon = str_rfind(host, ':');
    if (colon < 0 || colon < bracket)
        return host;
    for (size_t i = (size_t)colon + 1; i < host.n; i++)
        if (host.p[i] < '0' || host.p[i] > '9')
            return STR_NULL;
    return str_slice(host, 0, (size_t)colon);
}

static bool address_in_brackets(struct str host)
{
    for (size_t i = 1; i + 1 < host.n; i++)
        if (!is_alnum(host.p[i]) && host.p[i] != ':' && host.p[i] != '.')
            return false;
    return host.n > 2 && host.p[host.n - 1] == ']';
}

int host_canonical(struct str host, char ret[static HOST_MAX])
{
    host = without_port(host);
    if (host.n > 1 && host.p[host.n - 1] == '.')
        host.n--;
    if (!host.n || host.n >= HOST_MAX || (host.p[0] == '[' && !address_in_brackets(host)))
        return -EINVAL;
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        if (!is_alnum(c) && c != '-' && c != '_' && c != '.' && host.p[0] != '[')
            return -EINVAL;
        if (c == '.' && (i == 0 || i + 1 == host.n || host.p[i - 1] == '.'))
            return -EINVAL;
    }
    for (size_t i = 0; i < host.n; i++)
        ret[i] = host.p[i] >= 'A' && host.p[i] <= 'Z' ? (char)(host.p[i] + 32) : host.p[i];
    ret[host.n] = '\0';
    return 0;
}

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static void put_escaped(struct buf *b, unsigned char c)
{
    if (is_alnum((char)c) || (c && strchr("-._~", c)))
        buf_putc(b, (char)c);
    else
        buf_printf(b, "%%%02X", c);
}

/* A segment of one or two dots, where an escaped slash counts as one, since some reader undoes it. */
static bool has_dot_segment(struct str path)
{
    size_t dots = 0, length = 0;
    for (size_t i = 0; i <= path.n; i++) {
        struct str rest = str_from(path, i);
        bool escaped = str_starts(rest, STR("%2F")) || str_starts(rest, STR("%5C"));
        if (i == path.n || path.p[i] == '/' || escaped || path.p[i] == ';') {
            if (length && dots == length && length <= 2)
                return true;
            dots = length = 0;
            i += escaped ? 2 : 0;
            continue;
        }
        dots += path.p[i] == '.';
        length++;
    }
    return false;
}

int path_canonical(struct arena *a, struct str path, struct str *ret)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    if (!path.n || path.p[0] != '/')
        return -EINVAL;
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];
        if (c == '%') {
            if (i + 2 >= path.n || hex(path.p[i + 1]) < 0 || hex(path.p[i + 2]) < 0)
                return -EINVAL;
            c = (unsigned char)(hex(path.p[i + 1]) << 4 | hex(path.p[i + 2]));
            i += 2;
            if (c == 0)
                return -EINVAL;
            put_escaped(&b, c);
        } else if (c <= ' ' || c == 0x7f || c == '\\' || c == '#' || c == '?') {
            return -EINVAL;
        } else if (c >= 0x80 || strchr("\"<>^`{|}", c)) {
            put_escaped(&b, c);
        } else {
            buf_putc(&b, (char)c);
        }
    }
    if (has_dot_segment(buf_str(&b)))
        return -EINVAL;
    *ret = arena_str(a, buf_str(&b));
    return 0;
}

/* ---- rules -------------------------------------------------------------------------------------------- */

struct prefix_rule {
    void *target;
    bool slash; /* written with a slash at its end: one longer */
};

struct host_rules {
    struct map exact, prefixes; /* a prefix without slashes at its end */
    size_t longest; /* prefix: longer ones are not looked for */
    void *fallback;
};

struct router {
    struct map hosts; /* "example.org"; "*.example.org" ; "" */
    void *fallback;
};

struct router *router_new(void)
{
    return NEW(struct router);
}

static void host_free(void *p)
{
    struct host_rules *h = p;
    map_done(&h->exact);
    map_done_with(&h->prefixes, free);
    free(h);
}

void router_free(struct router *r)
{
    if (!r)
        return;
    map_done_with(&r->hosts, host_free);
    free(r);
}

static struct host_rules *host_at(struct router *r, struct str host)
{
    char name[HOST_MAX + 2] = "";
    bool wild = str_starts(host, STR("*."));
    if (host.n && host_canonical(str_from(host, wild ? 2 : 0), name + (wild ? 2 : 0)) < 0)
        return NULL;
    if (wild)
        memcpy(name, "*.", 2);
    struct host_rules *h = map_get(&r->hosts, str_of(name));
    if (!h) {
        h = NEW(struct host_rules);
        map_put(&r->hosts, str_of(name), h);
    }
    return h;
}

static struct str without_slashes(struct str path)
{
    while (path.n && path.p[path.n - 1] == '/')
        path.n--;
    return path;
}

static int add_prefix(struct host_rules *h, struct str path, void *target)
{
    struct str key = without_slashes(path);
    bool slash = key.n && key.n != path.n;
    struct prefix_rule *p = map_get(&h->prefixes, key);
    if (p && p->slash >= slash)
        return p->slash == slash ? -EEXIST : 0; /* the longer one wins wherever both match */
    if (!p) {
        p = NEW(struct prefix_rule);
        map_put(&h->prefixes, key, p);
    }
    *p = (struct prefix_rule){target, slash};
    h->longest = MAX(h->longest, key.n);
    return 0;
}

int router_add(struct router *r, struct str host, enum path_type type, struct str path, void *target)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str canonical;
    struct host_rules *h = host_at(r, host);
    if (!h || path.n > PATH_RULE_MAX || path_canonical(&a, path, &canonical) < 0)
        return -EINVAL;
    if (type == PATH_PREFIX)
        return add_prefix(h, canonical, target);
    if (map_has(&h->exact, canonical))
        return -EEXIST;
    map_put(&h->exact, canonical, target);
    return 0;
}

int router_add_default(struct router *r, const struct str *host, void *target)
{
    struct host_rules *h = host ? host_at(r, *host) : NULL;
    if (host && !h)
        return -EINVAL;
    void **slot = h ? &h->fallback : &r->fallback;
    if (*slot)
        return -EEXIST;
    *slot = target;
    return 0;
}

/* ---- decisions ---------------------------------------------------------------------------------------- */

static struct host_rules *find_host(const struct router *r, struct str host)
{
    char wild[HOST_MAX + 2];
    ssize_t dot = str_find(host, '.');
    struct host_rules *h = host.n ? map_get(&r->hosts, host) : NULL;
    if (!h && dot > 0 && host.n - (size_t)dot < HOST_MAX) {
        wild[0] = '*';
        memcpy(wild + 1, host.p + dot, host.n - (size_t)dot);
        h = map_get(&r->hosts, str_n(wild, host.n - (size_t)dot + 1));
    }
    return h ? h : map_get(&r->hosts, STR(""));
}

static void *find_path(const struct host_rules *h, struct str path)
{
    void *exact = map_get(&h->exact, path);
    if (exact || !h->prefixes.n)
        return exact;
    for (struct str s = without_slashes(path);; s = without_slashes(s)) {
        const struct prefix_rule *p = s.n <= h->longest ? map_get(&h->prefixes, s) : NULL;
        if (p || !s.n)
            return p ? p->target : NULL;
        s.n = (size_t)str_rfind(s, '/');
    }
}

void *router_find(const struct router *r, struct str host, struct str path)
{
    const struct host_rules *h = find_host(r, host);
    void *target = h ? find_path(h, path) : NULL;
    if (!target && h)
        target = h->fallback;
    return target ? target : r->fallback;
}
