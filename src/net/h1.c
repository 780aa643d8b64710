/* SPDX-License-Identifier: Apache-2.0 */
#include "net/h1.h"

enum { MAX_HEADERS = 256 };

static struct h1 *h1_of(llhttp_t *p)
{
    return p->data;
}

static int fail(struct h1 *h, enum h1_fault f)
{
    if (!h->fault)
        h->fault = f;
    return HPE_USER;
}

static size_t head_size(const struct h1 *h)
{
    return h->target.n + h->text.n + h->n_spans * 4;
}

static int on_target(llhttp_t *p, const char *at, size_t n)
{
    struct h1 *h = h1_of(p);
    buf_put(&h->target, at, n);
    return head_size(h) > h->max_head ? fail(h, H1_TOO_LARGE) : 0;
}

static int on_name(llhttp_t *p, const char *at, size_t n)
{
    struct h1 *h = h1_of(p);
    if (h->n_spans >= MAX_HEADERS || head_size(h) + n > h->max_head)
        return fail(h, H1_TOO_LARGE);
    if (!h->in_name)
        h->now = (struct h1_span){.name = h->text.n};
    h->in_name = true;
    for (size_t i = 0; i < n; i++)
        buf_putc(&h->text, at[i] >= 'A' && at[i] <= 'Z' ? (char)(at[i] + 32) : at[i]);
    h->now.name_n += n;
    return 0;
}

static int on_name_end(llhttp_t *p)
{
    struct h1 *h = h1_of(p);
    h->in_name = false;
    h->now.value = h->text.n;
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t n)
{
    struct h1 *h = h1_of(p);
    if (head_size(h) + n > h->max_head)
        return fail(h, H1_TOO_LARGE);
    buf_put(&h->text, at, n);
    h->now.value_n += n;
    return 0;
}

static int on_value_end(llhttp_t *p)
{
    struct h1 *h = h1_of(p);
    const char *value = h->text.p + h->now.value;
    while (h->now.value_n && (value[h->now.value_n - 1] == ' ' || value[h->now.value_n - 1] == '\t'))
        h->now.value_n--;
    if (h->n_spans == h->cap_spans) {
        h->cap_spans = h->cap_spans ? h->cap_spans * 2 : 16;
        h->spans = xrealloc(h->spans, h->cap_spans * sizeof(*h->spans));
    }
    h->spans[h->n_spans++] = h->now;
    if (h->head_done)
        h->n_trailers++;
    return 0;
}

static struct str span_name(const struct h1 *h, size_t i)
{
    return str_n(h->text.p + h->spans[i].name, h->spans[i].name_n);
}

static struct str span_value(const struct h1 *h, size_t i)
{
    return str_n(h->text.p + h->spans[i].value, h->spans[i].value_n);
}

static bool same_fold(struct str a, const char *lower)
{
    if (a.n != strlen(lower))
        return false;
    for (size_t i = 0; i < a.n; i++)
        if ((a.p[i] >= 'A' && a.p[i] <= 'Z' ? a.p[i] + 32 : a.p[i]) != lower[i])
            return false;
    return true;
}

/* RFC 9112 section 6.1, and stricter. */
static enum h1_fault check_framing(const struct h1 *h)
{
    unsigned hosts = 0, codings = 0, lengths = 0;
    for (size_t i = 0; i < h->n_spans; i++) {
        if (str_is(span_name(h, i), "host"))
            hosts++;
        if (str_is(span_name(h, i), "content-length"))
            lengths++;
        if (!str_is(span_name(h, i), "transfer-encoding"))
            continue;
        if (++codings > 1 || !same_fold(span_value(h, i), "chunked"))
            return H1_BAD_ENCODING;
    }
    if ((codings && lengths) || lengths > 1 || (codings && h1_version(h) == 10))
        return H1_BAD;
    if (h->request && (hosts > 1 || (hosts == 0 && h1_version(h) == 11)))
        return H1_BAD;
    return 0;
}

static int on_headers_complete(llhttp_t *p)
{
    struct h1 *h = h1_of(p);
    if (p->http_major != 1 || p->http_minor > 1)
        return fail(h, H1_BAD_VERSION);
    enum h1_fault f = check_framing(h);
    if (f || (h->request && h->target.n == 0))
        return fail(h, f ? f : H1_BAD);
    h->head_done = true;
    h->keep_alive = llhttp_should_keep_alive(p);
    if (h->request)
        p->upgrade = 0; /* framing does not depend on Upgrade: a body, if any, comes first */
    return h->no_body ? 1 : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct h1 *h = h1_of(p);
    size_t direct = MIN(n, h->into_n);
    if (direct) {
        memcpy(h->into, at, direct);
        h->into += direct;
        h->into_n -= direct;
    }
    if (n > direct)
        buf_put(&h->body, at + direct, n - direct);
    return 0;
}

static int on_complete(llhttp_t *p)
{
    h1_of(p)->done = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_url = on_target,
    .on_status = on_target,
    .on_header_field = on_name,
    .on_header_field_complete = on_name_end,
    .on_header_value = on_value,
    .on_header_value_complete = on_value_end,
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_complete,
};

void h1_init(struct h1 *h, bool request, size_t max_head)
{
    *h = (struct h1){.request = request, .max_head = max_head};
    h1_next(h);
}

void h1_next(struct h1 *h)
{
    llhttp_init(&h->parser, h->request ? HTTP_REQUEST : HTTP_RESPONSE, &settings);
    h->parser.data = h;
    h->head_done = h->done = h->upgrade = h->no_body = false;
    h->fault = 0;
    buf_clear(&h->target);
    buf_clear(&h->text);
    buf_clear(&h->body);
    h->n_spans = h->n_trailers = h->into_n = 0;
    h->in_name = h->begun = h->keep_alive = false;
    h->method[0] = 0;
    h->last = 0;
    h->matched = 0;
}

void h1_done(struct h1 *h)
{
    buf_done(&h->target);
    buf_done(&h->text);
    buf_done(&h->body);
    free(h->spans);
    h->spans = NULL;
}

/* Is there a bare CR or LF, or a folded line (RFC 9112 section 5.2), among those bytes that belong to the
 * head? llhttp takes some of them (CVE-2023-30589 and others). */
static bool bad_line_end(struct h1 *h, const char *p, size_t n)
{
    static const char end[] = "\r\n\r\n";
    for (size_t i = 0; i < n && h->matched < 4; i++) {
        if ((p[i] == '\n') != (h->last == '\r'))
            return true;
        if (h->last == '\n' && (p[i] == ' ' || p[i] == '\t'))
            return true;
        h->last = p[i];
        h->begun = h->begun || (p[i] != '\r' && p[i] != '\n');
        h->matched = !h->begun ? 0 : p[i] == end[h->matched] ? h->matched + 1 : p[i] == '\r';
    }
    return false;
}

static bool known_method(struct str s)
{
#define METHOD(number, name, string) if (str_is(s, #string)) return true;
    HTTP_ALL_METHOD_MAP(METHOD)
#undef METHOD
    return false;
}

/* Methods are any token (RFC 9110 section 9.1) and not those of a list only: to llhttp an unknown one is a POST. It is seen when
 * it comes in one piece. Returns its length. */
static size_t take_method(struct h1 *h, const char *p, size_t n)
{
    const char *space = memchr(p, ' ', MIN(n, sizeof(h->method)));
    size_t length = space ? (size_t)(space - p) : 0;
    if (!h->request || h->begun || !length || known_method(str_n(p, length)))
        return 0;
    for (size_t i = 0; i < length; i++)
        if (p[i] < 'A' || p[i] > 'Z')
            return 0;
    memcpy(h->method, p, length);
    h->method[length] = 0;
    return length;
}

const char *h1_method(const struct h1 *h)
{
    return h->method[0] ? h->method : llhttp_method_name((llhttp_method_t)h->parser.method);
}

int h1_feed(struct h1 *h, const char *p, size_t n, size_t *ret_used)
{
    *ret_used = 0;
    if (h->fault)
        return h->fault;
    if (h->done || n == 0)
        return 0;
    size_t method = take_method(h, p, n);
    if (bad_line_end(h, p, n) || (method && llhttp_execute(&h->parser, "POST", 4) != HPE_OK))
        return h->fault = H1_BAD;
    llhttp_errno_t r = llhttp_execute(&h->parser, p + method, n - method);
    if (r == HPE_OK) {
        *ret_used = n;
        return 0;
    }
    if (h->done && (r == HPE_PAUSED || r == HPE_PAUSED_UPGRADE)) {
        h->upgrade = r == HPE_PAUSED_UPGRADE;
        *ret_used = (size_t)(llhttp_get_error_pos(&h->parser) - p);
        return 0;
    }
    if (!h->fault)
        h->fault = r == HPE_INVALID_VERSION ? H1_BAD_VERSION : H1_BAD;
    return h->fault;
}

int h1_feed_eof(struct h1 *h)
{
    if (h->fault || h->done)
        return h->fault;
    int r = h->head_done ? llhttp_finish(&h->parser) : HPE_INVALID_EOF_STATE;
    if (r != HPE_OK && !h->done) /* a body that ends here: on_complete has been asked, and says that it paused */
        return h->fault = H1_BAD;
    h->done = true;
    return 0;
}

int h1_version(const struct h1 *h)
{
    return h->parser.http_major * 10 + h->parser.http_minor;
}

bool h1_keep_alive(const struct h1 *h)
{
    return h->keep_alive;
}

int64_t h1_content_length(const struct h1 *h)
{
    for (size_t i = 0; i < h->n_spans; i++) {
        int64_t n;
        if (str_is(span_name(h, i), "content-length") && str_to_i64(span_value(h, i), &n) == 0)
            return n;
        if (str_is(span_name(h, i), "transfer-encoding"))
            return -1;
    }
    return h->request || h->no_body ? 0 : -1;
}

struct http_headers h1_headers(const struct h1 *h, struct arena *a, bool trailers)
{
    size_t first = trailers ? h->n_spans - h->n_trailers : 0;
    size_t n = trailers ? h->n_trailers : h->n_spans - h->n_trailers;
    struct http_header *items = ARENA_ARRAY(a, struct http_header, n);
    for (size_t i = 0; i < n; i++)
        items[i] = (struct http_header){arena_str(a, span_name(h, first + i)),
                                        arena_str(a, span_value(h, first + i))};
    return (struct http_headers){items, n};
}
