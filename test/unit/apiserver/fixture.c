/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <stdio.h>

#include "wire/json.h"

static void start(struct fixture *f, const struct apiserver_config *config)
{
    struct apiserver_config c = config ? *config : (struct apiserver_config){.authorization = "AlwaysAllow"};
    struct err e = {0};
    char address[100];
    c.store = f->store;
    c.listen = "127.0.0.1:0";
    int r = apiserver_start(&c, &f->server, &e);
    if (r < 0)
        fail_msg("%s", err_text(&e, r));
    apiserver_address(f->server, address, sizeof(address));
    snprintf(f->base, sizeof(f->base), "%s://%s", c.tls_cert ? "https" : "http", address);
    f->http = http_client_new(&(struct http_client_config){.max_conns = 20});
    f->local = local_client_new(f->server, "test", NULL, NULL);
}

static void stop(struct fixture *f)
{
    client_free(f->local);
    http_client_free(f->http);
    apiserver_stop(f->server, SECONDS(1));
}

void fixture_start(struct fixture *f, const struct apiserver_config *config)
{
    *f = (struct fixture){.arena = ARENA_INIT};
    assert_int_equal(store_open_memory(&(struct store_options){.durable = false}, &f->store), 0);
    start(f, config);
}

void fixture_restart(struct fixture *f, const struct apiserver_config *config)
{
    stop(f);
    start(f, config);
}

void fixture_stop(struct fixture *f)
{
    stop(f);
    store_close(f->store);
    arena_done(&f->arena);
}

static size_t split_headers(struct fixture *f, const char *text, struct http_header *h, size_t max)
{
    struct str rest = str_of(text), line, name, value;
    size_t n = 0;
    while (text && str_next(&rest, '\n', &line) && n < max) {
        if (!str_cut(line, ':', &name, &value))
            continue;
        h[n++] = (struct http_header){str_trim(name), str_trim(value)};
    }
    return n;
}

struct reply ask(struct fixture *f, const char *method, const char *path, const char *body,
                 const char *headers)
{
    struct http_header h[16];
    struct err e = {0};
    struct http_call *call = NULL;
    struct mono deadline = mono_add(os_mono(), SECONDS(20));
    size_t n = split_headers(f, headers, h, 14);
    if (body && (!headers || !strstr(headers, "Content-Type")))
        h[n++] = (struct http_header){STR("Content-Type"), STR("application/json")};
    struct http_request q = {.method = method,
                             .url = arena_printf(&f->arena, "%s%s", f->base, path).p,
                             .headers = h,
                             .n_headers = n,
                             .body = str_of(body)};
    int r = http_do(f->http, &q, deadline, &call, &e);
    if (r < 0)
        fail_msg("%s %s: %s", method, path, err_text(&e, r));
    struct reply reply = {.code = call->status};
    struct str text = STR_NULL;
    assert_int_equal(http_call_read_all(call, 64 << 20, deadline, &text), 0);
    reply.text = arena_str(&f->arena, text);
    struct http_header *copy = ARENA_ARRAY(&f->arena, struct http_header, call->headers.n);
    for (size_t i = 0; i < call->headers.n; i++)
        copy[i] = (struct http_header){arena_str(&f->arena, call->headers.items[i].name),
            arena_str(&f->arena, call->headers.items[i].value)};
    reply.headers = (struct http_headers){copy, call->headers.n};
    struct val *v = NULL;
    if (json_decode(&f->arena, NULL, reply.text, 0, NULL, &v, NULL) == 0)
        reply.v = v;
    http_call_free(call);
    return reply;
}

struct reply patch(struct fixture *f, const char *path, const char *type, const char *body)
{
    return ask(f, "PATCH", path, body, arena_printf(&f->arena, "Content-Type: application/%s", type).p);
}

const char *at(struct fixture *f, const struct val *v, const char *path)
{
    struct str rest = str_of(path), key;
    int64_t i;
    while (str_next(&rest, '.', &key)) {
        if (val_is(v, VAL_LIST) && str_to_i64(key, &i) == 0)
            v = val_item(v, (size_t)i);
        else
            v = val_key(v, key);
    }
    if (val_is(v, VAL_INT))
        return arena_printf(&f->arena, "%lld", (long long)v->i).p;
    if (val_is(v, VAL_BOOL))
        return v->b ? "true" : "false";
    return val_cstr(v);
}

int watch_begin(struct fixture *f, struct watching *w, const char *path)
{
    struct err e = {0};
    *w = (struct watching){.f = f};
    struct http_request q = {.url = arena_printf(&f->arena, "%s%s", f->base, path).p};
    int r = http_do(f->http, &q, mono_add(os_mono(), SECONDS(10)), &w->call, &e);
    if (r < 0)
        fail_msg("%s: %s", path, err_text(&e, r));
    return w->call->status;
}

bool watch_event(struct watching *w, int ms, const char **ret_type, const struct val **ret)
{
    struct mono deadline = mono_add(os_mono(), MILLISECONDS(ms));
    ssize_t end;
    while ((end = str_find(buf_str(&w->pending), '\n')) < 0) {
        ssize_t n = http_call_read(w->call, buf_grow(&w->pending, 65536), 65536, deadline);
        if (n <= 0)
            return false;
        w->pending.n += (size_t)n;
    }
    struct val *v = NULL;
    struct str line = arena_str(&w->f->arena, str_n(w->pending.p, (size_t)end));
    assert_int_equal(json_decode(&w->f->arena, NULL, line, 0, NULL, &v, NULL), 0);
    buf_consume(&w->pending, (size_t)end + 1);
    *ret_type = at(w->f, v, "type");
    *ret = val_key(v, STR("object"));
    return true;
}

void watch_end(struct watching *w)
{
    http_call_free(w->call);
    buf_done(&w->pending);
}

void make_config_map(struct fixture *f, const char *name, const char *labels_json)
{
    struct str body =
        arena_printf(&f->arena, "{\"metadata\":{\"name\":\"%s\",\"labels\":%s},\"data\":{\"k\":\"v\"}}", name,
                     labels_json ? labels_json : "{}");
    assert_code(post(f, "/api/v1/namespaces/default/configmaps", body.p), 201);
}
