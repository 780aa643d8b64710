/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/html_links.h"

#include <strings.h>

enum { TAG_MAX = 65536 };
enum { IN_TEXT, IN_COMMENT, IN_RAW_TEXT };

/* ---- one link ------------------------------------------------------------------------------------------ */

/* "http://host:port/path" or "//host/path" in its parts; a mere path has an empty host. */
static bool split_link(struct str link, struct str *ret_host, struct str *ret_path)
{
    ssize_t colon = str_find(link, ':');
    struct str rest = link;
    if (str_starts(link, STR("http://")) || str_starts(link, STR("https://")))
        rest = str_from(link, (size_t)colon + 1);
    *ret_host = STR_NULL;
    *ret_path = rest;
    if (!str_starts(rest, STR("//")))
        return rest.p == link.p;
    rest = str_from(rest, 2);
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?' && rest.p[n] != '#')
        n++;
    *ret_host = str_slice(rest, 0, n);
    *ret_path = str_from(rest, n);
    return true;
}

struct str link_rewrite(const struct link_base *b, struct arena *a, struct str link)
{
    struct str host, path;
    if (!split_link(link, &host, &path) || !path.n || path.p[0] != '/')
        return link;
    if (host.n && !str_eq(host, b->backend) && !str_eq(host, b->host))
        return link;
    bool keep_host = host.n && str_eq(host, b->host);
    struct str before = keep_host ? str_n(link.p, (size_t)(path.p - link.p)) : STR("");
    bool there = str_starts(path, b->prefix);
    return arena_printf(a, STR_FMT STR_FMT STR_FMT, STR_ARG(before), STR_ARG(there ? STR("") : b->prefix),
                        STR_ARG(path));
}

/* ---- a tag --------------------------------------------------------------------------------------------- */

/* HTML 4.01 "Index of attributes" and HTML5: where addresses stand. */
static const struct {
    const char *element, *attributes; /* with a space on both sides of each */
} places[] = {
    {"a", " href "},           {"applet", " codebase "}, {"area", " href "},   {"audio", " src "},
    {"base", " href "},        {"blockquote", " cite "}, {"body", " background "},
    {"button", " formaction "}, {"command", " icon "},   {"del", " cite "},    {"embed", " src "},
    {"form", " action "},      {"frame", " longdesc src "}, {"head", " profile "}, {"html", " manifest "},
    {"iframe", " longdesc src "}, {"img", " longdesc src usemap "}, {"input", " src usemap formaction "},
    {"ins", " cite "},         {"link", " href "},       {"object", " classid codebase data usemap "},
    {"q", " cite "},           {"script", " src "},      {"source", " src "},  {"video", " poster src "},
};

static const char *attributes_of(struct str element)
{
    for (size_t i = 0; i < ARRAY_SIZE(places); i++)
        if (strlen(places[i].element) == element.n && !strncasecmp(places[i].element, element.p, element.n))
            return places[i].attributes;
    return NULL;
}

static bool holds_address(const char *attributes, struct str name)
{
    char wanted[24] = " ";
    if (name.n + 3 > sizeof(wanted))
        return false;
    for (size_t i = 0; i < name.n; i++)
        wanted[i + 1] = name.p[i] >= 'A' && name.p[i] <= 'Z' ? (char)(name.p[i] | 0x20) : name.p[i];
    memcpy(wanted + 1 + name.n, " ", 2);
    return strstr(attributes, wanted) != NULL;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

static size_t skip_spaces(struct str tag, size_t at)
{
    while (at < tag.n && is_space(tag.p[at]))
        at++;
    return at;
}

static size_t word_end(struct str tag, size_t at, const char *ends)
{
    while (at < tag.n && !is_space(tag.p[at]) && !strchr(ends, tag.p[at]))
        at++;
    return at;
}

/* One attribute from `at` on; *ret_value is empty without one. Returns where it ends. */
static size_t read_attribute(struct str tag, size_t at, struct str *ret_name, struct str *ret_value)
{
    size_t end = word_end(tag, at, "=>/");
    *ret_name = str_slice(tag, at, end - at);
    *ret_value = STR_NULL;
    at = skip_spaces(tag, end);
    if (at >= tag.n || tag.p[at] != '=')
        return MAX(end, at);
    at = skip_spaces(tag, at + 1);
    if (at < tag.n && (tag.p[at] == '"' || tag.p[at] == '\'')) {
        char quote = tag.p[at++];
        const char *close = memchr(tag.p + at, quote, tag.n - at);
        end = close ? (size_t)(close - tag.p) : tag.n;
        *ret_value = str_slice(tag, at, end - at);
        return MIN(end + 1, tag.n);
    }
    end = word_end(tag, at, ">");
    *ret_value = str_slice(tag, at, end - at);
    return end;
}

/* The whole tag, "<a href=...>": its addresses are put anew, everything else stays as it was written. */
static void put_tag(const struct link_base *base, struct str tag, struct buf *ret)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    size_t at = word_end(tag, 1, "/>"), written = 0;
    const char *attributes = attributes_of(str_slice(tag, 1, at - 1));
    while (attributes && at + 1 < tag.n) {
        struct str name, value;
        if (is_space(tag.p[at]) || tag.p[at] == '/' || tag.p[at] == '=') {
            at++;
            continue;
        }
        at = read_attribute(tag, at, &name, &value);
        if (!value.n || !holds_address(attributes, name))
            continue;
        size_t start = (size_t)(value.p - tag.p);
        buf_put(ret, tag.p + written, start - written);
        buf_putstr(ret, link_rewrite(base, &a, value));
        written = start + value.n;
    }
    buf_putstr(ret, str_from(tag, written));
}

/* ---- the page ------------------------------------------------------------------------------------------ */

static const char *const raw_elements[] = {"script", "style",    "textarea", "title",    "xmp",
                                           "iframe", "noembed", "noframes", "plaintext"};

/* Where the tag that starts at p[0] ends (behind its '>'), 0 when that has not come yet. */
static size_t tag_end(struct str s)
{
    char quote = 0, before = 0;
    for (size_t i = 1; i < s.n; i++) {
        char c = s.p[i];
        if (quote)
            quote = c == quote ? 0 : quote;
        else if ((c == '"' || c == '\'') && before == '=')
            quote = c;
        else if (c == '>')
            return i + 1;
        before = is_space(c) && before == '=' ? before : c;
    }
    return 0;
}

static void enter_raw(struct html_links *h, struct str tag)
{
    struct str element = str_slice(tag, 1, word_end(tag, 1, "/>") - 1);
    for (size_t i = 0; i < ARRAY_SIZE(raw_elements); i++)
        if (strlen(raw_elements[i]) == element.n && !strncasecmp(raw_elements[i], element.p, element.n)) {
            h->state = IN_RAW_TEXT;
            memcpy(h->raw_element, raw_elements[i], element.n + 1);
        }
}

/* One for each state: how much of s was dealt with; 0 means more must come. */
static size_t feed_comment(struct html_links *h, struct str s, bool end, struct buf *ret)
{
    const char *close = memmem(s.p, s.n, "-->", 3);
    size_t n = close ? (size_t)(close - s.p) + 3 : end ? s.n : s.n > 2 ? s.n - 2 : 0;
    buf_put(ret, s.p, n);
    if (close)
        h->state = IN_TEXT;
    return n;
}

static size_t feed_raw(struct html_links *h, struct str s, bool end, struct buf *ret)
{
    size_t name = strlen(h->raw_element), n = end ? s.n : s.n > name + 2 ? s.n - name - 2 : 0;
    for (size_t i = 0; i + name + 2 <= s.n; i++)
        if (s.p[i] == '<' && s.p[i + 1] == '/' && !strncasecmp(s.p + i + 2, h->raw_element, name)) {
            h->state = IN_TEXT;
            n = i + 2;
            break;
        }
    buf_put(ret, s.p, n);
    return n;
}

static size_t feed_text(struct html_links *h, struct str s, bool end, struct buf *ret)
{
    const char *open = memchr(s.p, '<', s.n);
    size_t n = open ? (size_t)(open - s.p) : s.n;
    if (n) {
        buf_put(ret, s.p, n);
        return n;
    }
    if (s.n < 4 && !end)
        return 0;
    if (str_starts(s, STR("<!--"))) {
        h->state = IN_COMMENT;
        buf_put(ret, s.p, 4);
        return 4;
    }
    n = s.n > 1 && ((s.p[1] | 0x20) >= 'a' && (s.p[1] | 0x20) <= 'z') ? tag_end(s) : 1;
    if (!n && !end && s.n < TAG_MAX)
        return 0;
    if (n > 1) {
        enter_raw(h, str_slice(s, 0, n));
        put_tag(h->base, str_slice(s, 0, n), ret);
        return n;
    }
    buf_putc(ret, '<');
    return 1;
}

void html_links_feed(struct html_links *h, struct str piece, bool end, struct buf *ret)
{
    if (!h->base) { /* nothing to be rewritten any more */
        buf_putstr(ret, piece);
        return;
    }
    buf_putstr(&h->held, piece);
    size_t at = 0, n = 1;
    while (n && at < h->held.n) {
        struct str rest = str_from(buf_str(&h->held), at);
        n = h->state == IN_COMMENT    ? feed_comment(h, rest, end, ret)
            : h->state == IN_RAW_TEXT ? feed_raw(h, rest, end, ret)
                                      : feed_text(h, rest, end, ret);
        at += n;
    }
    buf_consume(&h->held, at);
}

void html_links_done(struct html_links *h)
{
    buf_done(&h->held);
}
