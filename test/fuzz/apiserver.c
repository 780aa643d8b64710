/* SPDX-License-Identifier: Apache-2.0 */
/* Whole requests to an API server over a memory store. The input is lines: method and target, Accept,
 * Content-Type, then the body. */
#include "apiserver/server.h"
#include "base/fiber.h"
#include "base/os.h"
#include "net/http.h"
#include "store/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    struct str method_target, accept, type, body;
};

static bool printable(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return true;
}

static bool split(struct str all, struct input *ret)
{
    str_cut(all, '\n', &ret->method_target, &all);
    str_cut(all, '\n', &ret->accept, &all);
    str_cut(all, '\n', &ret->type, &ret->body);
    return ret->method_target.n && printable(ret->method_target) && printable(ret->accept) &&
           printable(ret->type) &&
           !str_contains(ret->method_target, STR("watch")); /* they end when their client goes: below */
}

static void put_request(struct buf *b, const struct input *in)
{
    buf_printf(b, "%.*s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept: %.*s\r\nContent-Type: %.*s\r\n"
                  "Content-Length: %zu\r\n\r\n",
               STR_ARG(in->method_target), STR_ARG(in->accept), STR_ARG(in->type), in->body.n);
    buf_putstr(b, in->body);
}

static void converse(struct apiserver *s, const struct input *in)
{
    struct stream *ends[2];
    char text[4096];
    CLEANUP_BUF struct buf b = BUF_INIT;
    struct mono deadline = mono_add(os_mono(), SECONDS(5));
    put_request(&b, in);
    stream_pair(1 << 20, ends);
    http_server_serve(apiserver_http(s), ends[0], "fuzz");
    if (stream_write(ends[1], b.p, b.n, deadline) == 0)
        while (stream_read(ends[1], text, sizeof(text), deadline) > 0)
            ;
    stream_free(ends[1]);
}

static void run(void *arg)
{
    struct store *store = NULL;
    struct apiserver *s = NULL;
    struct err e = {0};
    struct apiserver_config c = {.authorization = "AlwaysAllow", .max_body = 1 << 16};
    if (store_open_memory(&(struct store_options){.durable = false}, &store) < 0)
        return;
    c.store = store;
    if (apiserver_start(&c, &s, &e) == 0)
        converse(s, arg);
    apiserver_stop(s, 0);
    store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {.body = STR_NULL};
    if (split(str_n((const char *)data, size), &in))
        loop_run(run, &in);
    return 0;
}
