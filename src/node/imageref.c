/* SPDX-License-Identifier: Apache-2.0 */
#include "node/imageref.h"

#include "names.h"
#include "wire/json.h"

#include <ctype.h>

enum { NAME_MAX_BYTES = 255, CREDENTIALS_MAX = 16 };

/* ---- names ----------------------------------------------------------------------------------------------- */

struct parts {
    struct str domain, path, tag, digest; /* domain .p NULL when there is none */
};

/* Is the text before the first slash a registry? It is when it looks like no path component could. */
static bool is_domain(struct str s)
{
    bool upper = false;
    for (size_t i = 0; i < s.n; i++)
        upper = upper || isupper((unsigned char)s.p[i]);
    return str_find(s, '.') >= 0 || str_find(s, ':') >= 0 || str_is(s, "localhost") || upper;
}

static struct parts split(struct str image)
{
    struct parts p = {STR_NULL, STR_NULL, STR_NULL, STR_NULL};
    struct str rest = image, head, tail;
    ssize_t at = str_find(rest, '@');
    if (at >= 0) {
        p.digest = str_from(rest, (size_t)at + 1);
        rest = str_slice(rest, 0, (size_t)at);
    }
    if (str_cut(rest, '/', &head, &tail) && is_domain(head)) {
        p.domain = head;
        rest = tail;
    }
    ssize_t colon = str_rfind(rest, ':'), slash = str_rfind(rest, '/');
    if (colon > slash) {
        p.tag = str_from(rest, (size_t)colon + 1);
        rest = str_slice(rest, 0, (size_t)colon);
    }
    p.path = rest;
    return p;
}

static bool alnum_lower(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Letters and digits with single '.', one or two '_', or any number of '-' between them. */
static bool good_component(struct str s)
{
    if (!s.n || !alnum_lower(s.p[0]) || !alnum_lower(s.p[s.n - 1]))
        return false;
    for (size_t i = 0; i < s.n;) {
        size_t j = i;
        while (j < s.n && !alnum_lower(s.p[j]) && s.p[j] == s.p[i])
            j++;
        if (j == i) {
            i++;
            continue;
        }
        size_t n = j - i;
        if (!(s.p[i] == '-' || (s.p[i] == '.' && n == 1) || (s.p[i] == '_' && n <= 2)) || !alnum_lower(s.p[j]))
            return false;
        i = j;
    }
    return true;
}

static bool good_path(struct str path)
{
    struct str part;
    if (!path.n)
        return false;
    while (str_next(&path, '/', &part))
        if (!good_component(part))
            return false;
    return true;
}

static bool all_in(struct str s, const char *set)
{
    for (size_t i = 0; i < s.n; i++)
        if (!s.p[i] || !strchr(set, s.p[i]))
            return false;
    return s.n > 0;
}

/* "[fd00::1]:5000" */
static bool good_ipv6_domain(struct str s)
{
    ssize_t end = str_find(s, ']');
    struct str rest = str_from(s, (size_t)(end + 1));
    return end > 1 && all_in(str_slice(s, 1, (size_t)end - 1), "0123456789abcdefABCDEF:.") &&
           (!rest.n || (rest.p[0] == ':' && all_in(str_from(rest, 1), "0123456789")));
}

static bool good_domain(struct str s)
{
    struct str host, port;
    if (s.n && s.p[0] == '[')
        return good_ipv6_domain(s);
    bool has_port = str_cut(s, ':', &host, &port);
    if (!host.n || host.p[0] == '.' || host.p[0] == '-' || host.p[host.n - 1] == '.' || host.p[host.n - 1] == '-')
        return false;
    for (size_t i = 0; i < host.n; i++)
        if (!isalnum((unsigned char)host.p[i]) && host.p[i] != '.' && host.p[i] != '-')
            return false;
    return !has_port || all_in(port, "0123456789");
}

static bool good_tag(struct str s)
{
    if (!s.n || s.n > 128 || s.p[0] == '.' || s.p[0] == '-')
        return false;
    for (size_t i = 0; i < s.n; i++)
        if (!isalnum((unsigned char)s.p[i]) && !(s.p[i] && strchr("._-", s.p[i])))
            return false;
    return true;
}

static bool good_digest(struct str s)
{
    struct str algorithm, hex;
    if (!str_cut(s, ':', &algorithm, &hex) || !algorithm.n || hex.n < 32)
        return false;
    for (size_t i = 0; i < hex.n; i++)
        if (!isxdigit((unsigned char)hex.p[i]))
            return false;
    return !str_is(algorithm, "sha256") || hex.n == 64;
}

int image_check(struct str image, struct err *e)
{
    struct parts p = split(image);
    bool upper = false;
    for (size_t i = 0; i < p.path.n; i++)
        upper = upper || isupper((unsigned char)p.path.p[i]);
    if (upper)
        return err_set(e, -EINVAL, "invalid reference format: repository name (" STR_FMT ") must be lowercase",
                       STR_ARG(p.path));
    if (!good_path(p.path) || (p.domain.p && !good_domain(p.domain)) || (p.tag.p && !good_tag(p.tag)) ||
        (p.digest.p && !good_digest(p.digest)))
        return err_set(e, -EINVAL, "invalid reference format");
    if (p.path.n + p.domain.n > NAME_MAX_BYTES)
        return err_set(e, -EINVAL, "repository name must not be more than %d characters", NAME_MAX_BYTES);
    return 0;
}

struct str image_with_tag(struct arena *a, struct str image)
{
    struct parts p = split(image);
    return p.tag.p || p.digest.p ? image : arena_printf(a, STR_FMT ":latest", STR_ARG(image));
}

struct str image_repository(struct arena *a, struct str image)
{
    struct parts p = split(image);
    if (p.domain.p)
        return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(p.domain), STR_ARG(p.path));
    return arena_printf(a, "docker.io/%s" STR_FMT, str_find(p.path, '/') < 0 ? "library/" : "", STR_ARG(p.path));
}

/* ---- credentials ------------------------------------------------------------------------------------------ */

/* One host label: '*' stands for any run of characters. */
static bool glob(struct str pattern, struct str s)
{
    size_t i = 0, j = 0, star = SIZE_MAX, mark = 0;
    while (j < s.n) {
        if (i < pattern.n && pattern.p[i] == '*') {
            star = i++;
            mark = j;
        } else if (i < pattern.n && (pattern.p[i] == '?' || pattern.p[i] == s.p[j])) {
            i++;
            j++;
        } else if (star != SIZE_MAX) {
            i = star + 1;
            j = ++mark;
        } else {
            return false;
        }
    }
    while (i < pattern.n && pattern.p[i] == '*')
        i++;
    return i == pattern.n;
}

static bool host_fits(struct str pattern, struct str host)
{
    struct str p, h, p_port = STR_NULL, h_port = STR_NULL, p_host, h_host;
    str_cut(pattern, ':', &p_host, &p_port);
    str_cut(host, ':', &h_host, &h_port);
    if (!str_eq(p_port, h_port))
        return false;
    for (;;) {
        bool more_p = str_next(&p_host, '.', &p), more_h = str_next(&h_host, '.', &h);
        if (!more_p || !more_h)
            return more_p == more_h;
        if (!glob(p, h))
            return false;
    }
}

/* "https://index.docker.io/v1/" and the like to "index.docker.io": how entries are written varies. */
static struct str entry_key(struct str key)
{
    static const char *const prefixes[] = {"https://", "http://"};
    for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
        if (str_starts(key, str_of(prefixes[i])))
            key = str_from(key, strlen(prefixes[i]));
    struct str host, path;
    if (str_cut(key, '/', &host, &path) && (str_starts(path, STR("v1")) || str_starts(path, STR("v2"))))
        key = host;
    while (key.n && key.p[key.n - 1] == '/')
        key.n--;
    return key;
}

static bool fits(struct str key, struct str repository)
{
    struct str k_host, k_path, host, path;
    str_cut(entry_key(key), '/', &k_host, &k_path);
    str_cut(repository, '/', &host, &path);
    if (str_is(host, "docker.io") && (str_is(k_host, "index.docker.io") || str_is(k_host, "docker.io")))
        host = k_host;
    if (!host_fits(k_host, host))
        return false;
    return !k_path.n || (str_starts(path, k_path) && (path.n == k_path.n || path.p[k_path.n] == '/'));
}

static int base64_value(char c)
{
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

static struct str decode64(struct arena *a, struct str s)
{
    char *out = arena_bytes(a, s.n + 1);
    size_t n = 0;
    uint32_t bits = 0, have = 0;
    for (size_t i = 0; i < s.n; i++) {
        int v = base64_value(s.p[i]);
        if (v < 0)
            continue;
        bits = bits << 6 | (uint32_t)v;
        have += 6;
        if (have >= 8) {
            have -= 8;
            out[n++] = (char)(bits >> have);
        }
    }
    out[n] = 0;
    return str_n(out, n);
}

static void add_entry(struct arena *a, struct val *list, const struct val *entry)
{
    struct str user = val_str(val_key(entry, STR("username"))), password = val_str(val_key(entry, STR("password")));
    struct str both = val_str(val_key(entry, STR("auth")));
    if (both.n) {
        struct str text = decode64(a, both), u, p;
        if (str_cut(text, ':', &u, &p)) {
            user = u;
            password = p;
        }
    }
    struct val *o = val_add_obj(a, list);
    val_set_str(a, o, N_username, user);
    val_set_str(a, o, N_password, password);
    val_set_str(a, o, N_identity_token, val_str(val_key(entry, STR("identitytoken"))));
    val_set_str(a, o, N_registry_token, val_str(val_key(entry, STR("registrytoken"))));
}

int image_credentials(struct arena *a, struct str json, bool legacy, struct str image, struct val *list, struct err *e)
{
    struct val *doc;
    int r = json_decode(a, NULL, json, 0, NULL, &doc, e);
    const struct val *auths = legacy ? doc : r < 0 ? NULL : val_key(doc, STR("auths"));
    struct str repository = image_repository(a, image);
    const struct val *found[CREDENTIALS_MAX], *keys[CREDENTIALS_MAX];
    size_t n = 0;
    if (r < 0)
        return r;
    VAL_EACH_ENTRY (auths, k, v)
        if (n < CREDENTIALS_MAX && fits(val_str(k), repository)) {
            size_t at = n++;
            for (; at > 0 && entry_key(val_str(keys[at - 1])).n < entry_key(val_str(k)).n; at--) {
                keys[at] = keys[at - 1];
                found[at] = found[at - 1];
            }
            keys[at] = k;
            found[at] = v;
        }
    for (size_t i = 0; i < n; i++)
        add_entry(a, list, found[i]);
    return 0;
}
