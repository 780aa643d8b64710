/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1 framing: however the bytes are cut into pieces, the same message must come out. First byte: what and
 * how. */
#include "net/h1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct outcome {
    int fault;
    size_t used;
    bool head, done;
    struct buf text; /* target, headers, body, trailers */
};

static void describe(struct h1 *h, struct outcome *o)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    buf_putstr(&o->text, buf_str(&h->target));
    buf_putc(&o->text, '\n');
    for (int trailers = 0; trailers < 2; trailers++) {
        struct http_headers headers = h1_headers(h, &a, trailers);
        for (size_t i = 0; i < headers.n; i++) {
            buf_putstr(&o->text, headers.items[i].name);
            buf_putc(&o->text, ':');
            buf_putstr(&o->text, headers.items[i].value);
            buf_putc(&o->text, '\n');
        }
    }
    buf_putstr(&o->text, buf_str(&h->body));
}

static void run(bool request, bool no_body, const uint8_t *p, size_t n, size_t piece, struct outcome *o)
{
    struct h1 h;
    h1_init(&h, request, 4096);
    h.no_body = no_body;
    while (o->used < n && !h.done && !h.fault) {
        size_t used, take = MIN(piece, n - o->used);
        char *exact = xmalloc(take ? take : 1);
        memcpy(exact, p + o->used, take);
        h1_feed(&h, exact, take, &used);
        free(exact);
        o->used += used;
        ASSERT(used <= take && (used == take || h.done || h.fault));
    }
    o->fault = h.fault;
    o->head = h.head_done;
    o->done = h.done;
    if (!o->fault)
        describe(&h, o);
    h1_feed_eof(&h);
    h1_next(&h);
    h1_done(&h);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 1)
        return 0;
    struct outcome whole = {0}, pieces = {0};
    bool request = data[0] & 1, no_body = data[0] & 2;
    run(request, no_body, data + 1, size - 1, size, &whole);
    run(request, no_body, data + 1, size - 1, 1 + (data[0] >> 2), &pieces);
    ASSERT((whole.fault == 0) == (pieces.fault == 0));
    if (!whole.fault) {
        ASSERT(whole.used == pieces.used && whole.done == pieces.done && whole.head == pieces.head);
        ASSERT(str_eq(buf_str(&whole.text), buf_str(&pieces.text)));
    }
    buf_done(&whole.text);
    buf_done(&pieces.text);
    return 0;
}
