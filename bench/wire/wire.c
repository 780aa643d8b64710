/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How fast objects go in and out: bench_wire FILE [NAME]. FILE has one object a line, {"kind", "apiVersion",
 * "json"} as test/unit/wire/data/codec.jsonl; those of that kind (all without NAME) are taken together.
 * Prints bytes and MB/s.
 */
#include "wire/json.h"
#include "wire/proto.h"
#include "wire/value-internal.h"

#include <stdio.h>
#include <time.h>

struct sample {
    const struct type *type;
    struct str json, proto;
    const struct val *v;
};

struct samples {
    struct arena a;
    struct sample s[1024];
    size_t n, json_bytes, proto_bytes, vals;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static size_t count(const struct val *v)
{
    size_t n = 1;
    for (size_t i = 0; val_is_container(v) && i < (size_t)v->n * val_stride(v); i++)
        n += count(&v->items[i]);
    return n;
}

static const struct type *type_of(struct str api_version, struct str kind)
{
    for (unsigned i = 1; i < n_types; i++) {
        struct str name = str_of(types[i].name);
        if (types[i].api_version && str_is(api_version, types[i].api_version) &&
            str_eq(str_from(name, (size_t)(str_rfind(name, '.') + 1)), kind))
            return &types[i];
    }
    return NULL;
}

static void add(struct samples *all, const struct val *line, const char *only)
{
    struct str kind = val_str(val_key(line, STR("kind")));
    const struct type *t = type_of(val_str(val_key(line, STR("apiVersion"))), kind);
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct val *v;
    if (!t || (only && !str_is(kind, only)) || all->n == ARRAY_SIZE(all->s))
        return;
    json_encode(&b, NULL, val_key(line, STR("json")), 0);
    struct sample *s = &all->s[all->n++];
    s->type = t;
    s->json = arena_str(&all->a, buf_str(&b));
    if (json_decode(&all->a, t, s->json, 0, NULL, &v, NULL) < 0)
        exit(1);
    buf_clear(&b);
    json_encode(&b, t, v, 0);
    s->json = arena_str(&all->a, buf_str(&b));
    buf_clear(&b);
    proto_encode(&b, t, v);
    s->proto = arena_str(&all->a, buf_str(&b));
    s->v = v;
    all->json_bytes += s->json.n;
    all->proto_bytes += s->proto.n;
    all->vals += count(v);
}

enum job { JSON_IN, JSON_IN_UNTYPED, JSON_OUT, PROTO_IN, PROTO_OUT, COPY, JOBS };
static const char *const job_names[] = {"json in",     "json in, untyped", "json out",
                                        "protobuf in", "protobuf out",     "copy"};

static void run(const struct sample *s, enum job job, struct arena *a, struct buf *b)
{
    struct val *v;
    arena_reset(a);
    buf_clear(b);
    switch (job) {
    case JSON_IN:
        json_decode(a, s->type, s->json, 0, NULL, &v, NULL);
        return;
    case JSON_IN_UNTYPED:
        json_decode(a, NULL, s->json, 0, NULL, &v, NULL);
        return;
    case JSON_OUT:
        json_encode(b, s->type, s->v, 0);
        return;
    case PROTO_IN:
        proto_decode(a, s->type, s->proto, &v, NULL);
        return;
    case PROTO_OUT:
        proto_encode(b, s->type, s->v);
        return;
    case COPY:
        val_copy(a, s->v);
        return;
    case JOBS:
        return;
    }
}

static void measure(const struct samples *all, enum job job)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct buf b CLEANUP_BUF = BUF_INIT;
    size_t rounds = 0, bytes = job == PROTO_IN || job == PROTO_OUT ? all->proto_bytes : all->json_bytes;
    double start = now(), spent = 0;
    for (; spent < 0.5; spent = now() - start, rounds++)
        for (size_t i = 0; i < all->n; i++)
            run(&all->s[i], job, &a, &b);
    printf("%-18s %7.0f MB/s  %9.0f ns an object\n", job_names[job], (double)(rounds * bytes) / spent / 1e6,
           spent * 1e9 / (double)(rounds * all->n));
}

int main(int argc, char **argv)
{
    static struct samples all;
    FILE *f = argc > 1 ? fopen(argv[1], "r") : NULL;
    char *text = NULL;
    size_t size = 0;
    ssize_t n;
    if (!f) {
        fprintf(stderr, "usage: bench_wire FILE [KIND]\n");
        return 1;
    }
    while ((n = getline(&text, &size, f)) > 0) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct val *line;
        if (json_decode(&a, NULL, str_n(text, (size_t)n), 0, NULL, &line, NULL) == 0)
            add(&all, line, argc > 2 ? argv[2] : NULL);
    }
    free(text);
    fclose(f);
    if (!all.n)
        return 1;
    printf("%zu objects: %zu bytes of JSON, %zu of protobuf, %zu values of %zu bytes\n", all.n,
           all.json_bytes, all.proto_bytes, all.vals, sizeof(struct val));
    for (enum job job = 0; job < JOBS; job++)
        measure(&all, job);
    arena_done(&all.a);
    return 0;
}
