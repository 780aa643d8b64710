/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar is that of github.com/distribution/reference. */
#include "type/image.h"

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_word(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* How many of the characters at the start separate two words of a path: ".", "_", "__" or any number of "-".
 */
static size_t separator(struct str s)
{
    size_t n = 0;
    if (s.n && s.p[0] == '-')
        while (n < s.n && s.p[n] == '-')
            n++;
    else if (s.n && s.p[0] == '.')
        n = 1;
    else if (s.n && s.p[0] == '_')
        n = s.n > 1 && s.p[1] == '_' ? 2 : 1;
    return n;
}

static size_t word(struct str s)
{
    size_t n = 0;
    while (n < s.n && is_lower_alnum(s.p[n]))
        n++;
    return n;
}

static bool is_path_part(struct str s)
{
    for (;;) {
        size_t n = word(s);
        if (!n)
            return false;
        s = str_from(s, n);
        if (!s.n)
            return true;
        n = separator(s);
        if (!n)
            return false;
        s = str_from(s, n);
    }
}

static bool is_path(struct str s)
{
    struct str rest = s, part;
    if (!s.n)
        return false;
    while (str_next(&rest, '/', &part))
        if (!is_path_part(part))
            return false;
    return true;
}

static bool is_tag(struct str s)
{
    if (!s.n || s.n > 128 || !is_word(s.p[0]))
        return false;
    for (size_t i = 1; i < s.n; i++)
        if (!is_word(s.p[i]) && s.p[i] != '.' && s.p[i] != '-')
            return false;
    return true;
}

static bool is_digest(struct str s)
{
    struct str algorithm, hex;
    if (!str_cut(s, ':', &algorithm, &hex) || !algorithm.n || hex.n < 32)
        return false;
    for (size_t i = 0; i < hex.n; i++)
        if (!is_hex(hex.p[i]))
            return false;
    return true;
}

static bool is_registry_char(char c)
{
    return (is_word(c) && c != '_') || c == '.' || c == '-' || c == ':' || c == '[' || c == ']';
}

/* "host", "host:port", "[v6]:port" */
static bool is_registry(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!is_registry_char(s.p[i]))
            return false;
    return s.n && s.p[0] != '.' && s.p[0] != '-' && s.p[0] != ':';
}

static bool has_upper(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] >= 'A' && s.p[i] <= 'Z')
            return true;
    return false;
}

/* The part before the first slash is a registry when it looks like a host: a dot, a port, "localhost", a
 * capital. */
static struct str cut_registry(struct str s, struct str *ret_rest)
{
    struct str head, rest;
    *ret_rest = s;
    if (!str_cut(s, '/', &head, &rest))
        return STR_NULL;
    if (str_find(head, '.') < 0 && str_find(head, ':') < 0 && !str_is(head, "localhost") && !has_upper(head))
        return STR_NULL;
    *ret_rest = rest;
    return head;
}

static bool is_bare_digest(struct str s)
{
    size_t n = 0;
    while (n < s.n && is_hex(s.p[n]) && !(s.p[n] >= 'A' && s.p[n] <= 'F'))
        n++;
    return s.n == 64 && n == 64;
}

bool image_parse(struct str s, struct image_name *ret)
{
    struct image_name name = {0};
    struct str rest = s;
    if (is_bare_digest(s))
        return false;
    ssize_t at = str_find(s, '@');
    if (at >= 0) {
        name.digest = str_from(s, (size_t)at + 1);
        rest = str_slice(s, 0, (size_t)at);
        if (!is_digest(name.digest))
            return false;
    }
    name.registry = cut_registry(rest, &rest);
    ssize_t colon = str_find(rest, ':');
    if (colon >= 0) {
        name.tag = str_from(rest, (size_t)colon + 1);
        rest = str_slice(rest, 0, (size_t)colon);
        if (!is_tag(name.tag))
            return false;
    }
    name.path = rest;
    if (!is_path(rest) || rest.n > 255 || (name.registry.n && !is_registry(name.registry)))
        return false;
    *ret = name;
    return true;
}

struct str image_tag(struct str s)
{
    struct image_name name;
    if (!image_parse(s, &name))
        return STR("");
    return name.tag.n || name.digest.n ? name.tag : STR("latest");
}
