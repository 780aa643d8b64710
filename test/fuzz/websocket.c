/* SPDX-License-Identifier: Apache-2.0 */
/* WebSocket frames as they come from a peer, to both roles. First byte: role. */
#include "base/fiber.h"
#include "net/websocket.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    const uint8_t *data;
    size_t size;
};

static void run(void *arg)
{
    const struct input *in = arg;
    struct stream *s[2];
    struct websocket_message m;
    stream_pair(1 << 20, s);
    stream_write(s[1], in->data + 1, in->size - 1, MONO_NEVER);
    stream_shutdown(s[1]);
    struct websocket *w = websocket_of_stream(s[0], in->data[0] & 1, "");
    websocket_set_max(w, 65536);
    while (websocket_read(w, &m, MONO_NEVER) == 0)
        ASSERT(m.data.n <= 65536);
    websocket_free(w);
    stream_free(s[1]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    if (size >= 1 && size < 1 << 19)
        loop_run(run, &in);
    return 0;
}
