/* SPDX-License-Identifier: Apache-2.0 */
/* SPDY frames as they come from a peer. First byte: 0, 1 frames to a client or server; 2 a header block. */
#include "base/fiber.h"
#include "net/spdy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static void accept_main(void *arg)
{
    struct spdy_stream *s;
    char p[512];
    while (spdy_accept(arg, MONO_NEVER, &s) == 0) {
        spdy_reply(s, NULL, false);
        while (spdy_read(s, p, sizeof(p), mono_add(os_mono(), MILLISECONDS(1))) > 0)
            ;
        spdy_stream_free(s);
    }
}

static void run(void *arg)
{
    const struct input *in = arg;
    struct stream *s[2];
    struct group g = {0};
    stream_pair(1 << 20, s);
    stream_write(s[1], in->data + 1, in->size - 1, MONO_NEVER);
    stream_shutdown(s[1]);
    struct spdy_conn *c = spdy_new(s[0], in->data[0] & 1);
    group_spawn(&g, "accept", accept_main, c);
    spdy_wait_gone(c, mono_add(os_mono(), MILLISECONDS(100)));
    spdy_abort(c);
    group_wait(&g, MONO_NEVER);
    spdy_free(c);
    stream_free(s[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    if (size < 1 || size > 1 << 18)
        return 0;
    if (data[0] == 2) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct http_headers h;
        struct buf b CLEANUP_BUF = BUF_INIT;
        if (spdy_parse_headers(&a, str_n((const char *)data + 1, size - 1), &h) == 0) {
            spdy_write_headers(&b, &h);
            ASSERT(b.n <= size - 1); /* only further values of a name are dropped */
        }
    } else {
        loop_run(run, &in);
    }
    return 0;
}
