/* SPDX-License-Identifier: Apache-2.0 */
#include "net/http-internal.h"

#include <stdio.h>
#include <time.h>

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

bool http_fold_eq(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (lower(a.p[i]) != lower(b.p[i]))
            return false;
    return true;
}

struct str http_header(const struct http_headers *h, const char *name)
{
    for (size_t i = 0; i < h->n; i++)
        if (str_is(h->items[i].name, name))
            return h->items[i].value;
    return STR_NULL;
}

bool http_header_has(const struct http_headers *h, const char *name, const char *token)
{
    for (size_t i = 0; i < h->n; i++) {
        if (!str_is(h->items[i].name, name))
            continue;
        struct str rest = h->items[i].value, item;
        while (str_next(&rest, ',', &item))
            if (http_fold_eq(str_trim(item), str_of(token)))
                return true;
    }
    return false;
}

static const struct {
    int status;
    const char *text;
} status_texts[] = {
    {100, "Continue"},
    {101, "Switching Protocols"},
    {200, "OK"},
    {201, "Created"},
    {202, "Accepted"},
    {204, "No Content"},
    {206, "Partial Content"},
    {301, "Moved Permanently"},
    {302, "Found"},
    {303, "See Other"},
    {304, "Not Modified"},
    {307, "Temporary Redirect"},
    {308, "Permanent Redirect"},
    {400, "Bad Request"},
    {401, "Unauthorized"},
    {403, "Forbidden"},
    {404, "Not Found"},
    {405, "Method Not Allowed"},
    {406, "Not Acceptable"},
    {408, "Request Timeout"},
    {409, "Conflict"},
    {410, "Gone"},
    {411, "Length Required"},
    {412, "Precondition Failed"},
    {413, "Request Entity Too Large"},
    {414, "Request URI Too Long"},
    {415, "Unsupported Media Type"},
    {416, "Requested Range Not Satisfiable"},
    {417, "Expectation Failed"},
    {422, "Unprocessable Entity"},
    {425, "Too Early"},
    {426, "Upgrade Required"},
    {429, "Too Many Requests"},
    {431, "Request Header Fields Too Large"},
    {500, "Internal Server Error"},
    {501, "Not Implemented"},
    {502, "Bad Gateway"},
    {503, "Service Unavailable"},
    {504, "Gateway Timeout"},
    {505, "HTTP Version Not Supported"},
};

const char *http_status_text(int status)
{
    for (size_t i = 0; i < ARRAY_SIZE(status_texts); i++)
        if (status_texts[i].status == status)
            return status_texts[i].text;
    return "Unknown";
}

bool http_name_ok(struct str name)
{
    for (size_t i = 0; i < name.n; i++) {
        char c = lower(name.p[i]);
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && (!c || !strchr("!#$%&'*+-.^_`|~", c)))
            return false;
    }
    return name.n > 0;
}

bool http_value_ok(struct str value)
{
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] == '\r' || value.p[i] == '\n' || value.p[i] == '\0')
            return false;
    return true;
}

void http_fields_add(struct arena *a, struct http_fields *f, struct str name, struct str value, bool to_lower)
{
    if (f->n == f->cap) {
        size_t cap = f->cap ? f->cap * 2 : 16;
        struct http_header *items = ARENA_ARRAY(a, struct http_header, cap);
        if (f->n)
            memcpy(items, f->items, f->n * sizeof(*items));
        f->items = items;
        f->cap = cap;
    }
    char *copy = arena_cstr(a, name);
    for (size_t i = 0; to_lower && i < name.n; i++)
        copy[i] = lower(copy[i]);
    f->items[f->n++] = (struct http_header){str_n(copy, name.n), arena_str(a, value)};
}

struct str http_fields_get(const struct http_fields *f, const char *lower_name)
{
    for (size_t i = 0; i < f->n; i++)
        if (http_fold_eq(f->items[i].name, str_of(lower_name)))
            return f->items[i].value;
    return STR_NULL;
}

/* RFC 9110 section 5.6.7; strftime would speak the locale's language. */
void http_put_header(struct buf *b, const struct http_header *h)
{
    buf_putstr(b, h->name);
    buf_put(b, ": ", 2);
    buf_putstr(b, h->value);
    buf_put(b, "\r\n", 2);
}

/* Made once a second. */
char *http_date(char ret[static 32])
{
    static _Thread_local char last[32];
    static _Thread_local time_t last_t = -1;
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t t = (time_t)(os_wall().ns / NSEC_PER_SEC);
    struct tm tm;
    if (t == last_t)
        return memcpy(ret, last, sizeof(last));
    gmtime_r(&t, &tm);
    snprintf(last, sizeof(last), "%s, %02u %s %04u %02u:%02u:%02u GMT", days[tm.tm_wday], (unsigned)tm.tm_mday % 100,
             months[tm.tm_mon], (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)tm.tm_hour % 100,
             (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100);
    last_t = t;
    return memcpy(ret, last, sizeof(last));
}

bool http_is_hop_header(struct str name)
{
#define NAME(s) {s, sizeof(s) - 1}
    static const struct str hop[] = {
        NAME("connection"), NAME("keep-alive"), NAME("proxy-connection"), NAME("transfer-encoding"),  NAME("upgrade"),
        NAME("te"),         NAME("trailer"),    NAME("http2-settings"),   NAME("proxy-authenticate"), NAME("proxy-authorization")};
#undef NAME
    for (size_t i = 0; i < ARRAY_SIZE(hop); i++)
        if (name.n == hop[i].n && http_fold_eq(name, hop[i]))
            return true;
    return false;
}

int http_stream_write(struct stream *s, const void *p, size_t n, struct mono deadline, int64_t stall)
{
    for (size_t at = 0; at < n;) {
        ssize_t r = stream_try_write(s, (const char *)p + at, n - at);
        if (r >= 0) {
            at += (size_t)r;
            continue;
        }
        if (r != -EAGAIN)
            return (int)r;
        int w = stream_wait(s, OS_WRITABLE, mono_min(deadline, mono_add(os_mono(), stall)));
        if (w < 0)
            return w;
    }
    return 0;
}

char *http_scratch(void)
{
    static _Thread_local char scratch[HTTP_SCRATCH];
    return scratch;
}
