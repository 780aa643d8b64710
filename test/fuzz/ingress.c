/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Host and path of a request to a decision: canonical forms stay as they are, hold no dot segment however it was escaped, and the
 * maps decide as a look at one rule after the other does. "HOST\nPATH", or rules "HOST PATH" line by line after that.
 */
#include "ingress/route.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { MOST_RULES = 24 };

struct rule {
    struct str host, path; /* canonical */
    enum path_type type;
};

static struct str cut_slashes(struct str s)
{
    while (s.n && s.p[s.n - 1] == '/')
        s.n--;
    return s;
}

static bool host_matches(struct str rule, struct str host)
{
    ssize_t dot = str_find(host, '.');
    if (str_starts(rule, STR("*.")))
        return dot > 0 && str_eq(str_from(rule, 1), str_from(host, (size_t)dot));
    return str_eq(rule, host);
}

static bool path_matches(const struct rule *r, struct str path)
{
    struct str prefix = cut_slashes(r->path);
    if (r->type == PATH_EXACT)
        return str_eq(r->path, path);
    return str_starts(path, prefix) && (path.n == prefix.n || path.p[prefix.n] == '/');
}

/* 2: exact host; 1: wildcard; 0: none; -1: another. */
static int host_rank(const struct rule *r, struct str host)
{
    if (!r->host.n)
        return 0;
    return !host_matches(r->host, host) ? -1 : str_starts(r->host, STR("*.")) ? 1 : 2;
}

static const struct rule *by_scanning(const struct rule *rules, size_t n, struct str host, struct str path)
{
    const struct rule *best = NULL;
    int rank = -1;
    for (size_t i = 0; i < n; i++)
        rank = MAX(rank, host_rank(&rules[i], host));
    for (size_t i = 0; i < n && rank >= 0; i++) {
        const struct rule *r = &rules[i];
        if (host_rank(r, host) != rank || !path_matches(r, path))
            continue;
        if (!best || (r->type == PATH_EXACT && best->type != PATH_EXACT) ||
            (r->type == best->type && r->type == PATH_PREFIX && r->path.n > best->path.n))
            best = r;
    }
    return best;
}

static size_t read_rules(struct arena *a, struct str text, struct router *router, struct rule *rules)
{
    size_t n = 0;
    struct str line, host, path;
    while (n < MOST_RULES && str_next(&text, '\n', &line)) {
        struct rule *r = &rules[n];
        char name[HOST_MAX + 2] = "*.";
        str_cut(line, ' ', &host, &path);
        bool wild = str_starts(host, STR("*."));
        enum path_type type = path.n && path.p[path.n - 1] == '=' ? PATH_EXACT : PATH_PREFIX;
        if (type == PATH_EXACT)
            path.n--;
        if (path_canonical(a, path, &r->path) < 0 || (host.n && host_canonical(str_from(host, wild ? 2 : 0), name + (wild ? 2 : 0)) < 0))
            continue;
        r->host = host.n ? arena_str(a, str_of(name)) : STR("");
        /* several slashes at the end are as long as one */
        size_t cut = cut_slashes(r->path).n;
        if (type == PATH_PREFIX && r->path.n > cut + (cut > 0))
            r->path.n = cut + (cut > 0);
        r->type = type;
        if (router_add(router, host, type, path, r) == 0)
            n++;
    }
    return n;
}

static void check_canonical(struct arena *a, struct str path)
{
    struct str again, segment, rest = path;
    ASSERT(path_canonical(a, path, &again) == 0 && str_eq(again, path));
    while (str_next(&rest, '/', &segment))
        ASSERT(!str_is(segment, ".") && !str_is(segment, ".."));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str rest = str_n((const char *)data, size), host_text, path_text, path;
    char host[HOST_MAX], again[HOST_MAX];
    struct rule rules[MOST_RULES + 1];
    str_cut(rest, '\n', &host_text, &rest);
    str_cut(rest, '\n', &path_text, &rest);
    if (host_canonical(host_text, host) < 0 || path_canonical(&a, path_text, &path) < 0)
        return 0;
    ASSERT(host_canonical(str_of(host), again) == 0 && !strcmp(host, again));
    check_canonical(&a, path);
    struct router *router = router_new();
    size_t n = read_rules(&a, rest, router, rules);
    const struct rule *found = router_find(router, str_of(host), path), *want = by_scanning(rules, n, str_of(host), path);
    ASSERT(found == want || (found && want && found->type == want->type && str_eq(found->path, want->path) && str_eq(found->host, want->host)));
    router_free(router);
    return 0;
}
