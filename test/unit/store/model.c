/* SPDX-License-Identifier: Apache-2.0 */
#include "model.h"

#include "base/os.h"

#include <stdio.h>

uint64_t model_random(struct model *m, uint64_t below)
{
    m->random = m->random * 6364136223846793005u + 1442695040888963407u;
    return (m->random >> 24) % below;
}

void model_truncate(struct model *m, int64_t rev)
{
    while (m->n && m->events[m->n - 1].modified > rev) {
        free(m->events[--m->n].key);
        free(m->events[m->n].value);
    }
}

void model_done(struct model *m)
{
    model_truncate(m, -1);
    free(m->events);
    *m = (struct model){0};
}

static void add(struct model *m, struct model_event e)
{
    if (m->n == m->cap) {
        m->cap = MAX(m->cap * 2, (size_t)64);
        m->events = xrealloc(m->events, m->cap * sizeof(*m->events));
    }
    e.key = xstrdup(e.key);
    e.value = e.value ? xstrdup(e.value) : NULL;
    m->events[m->n++] = e;
}

struct model model_copy(const struct model *m)
{
    struct model c = *m;
    c.events = NULL;
    c.n = c.cap = 0;
    for (size_t i = 0; i < m->n; i++)
        add(&c, m->events[i]);
    return c;
}

const struct model_event *model_at(const struct model *m, const char *key, int64_t rev)
{
    for (size_t i = m->n; i-- > 0;)
        if (m->events[i].modified <= rev && strcmp(m->events[i].key, key) == 0)
            return &m->events[i];
    return NULL;
}

void model_add(struct model *m, const char *key, const char *value, int64_t rev)
{
    const struct model_event *was = model_at(m, key, INT64_MAX);
    bool there = was && was->version;
    if (!value && !there)
        return;
    add(m, (struct model_event){
               .modified = rev,
               .created = there ? was->created : rev,
               .version = !value  ? 0
                          : there ? was->version + 1
                                  : 1,
               .key = (char *)key,
               .value = (char *)value,
           });
}

/* ---- random work -------------------------------------------------------------------------------------- */

static int64_t guess(struct model *m, const char *key)
{
    const struct model_event *now = model_at(m, key, INT64_MAX);
    if (model_random(m, 10) == 0)
        return (int64_t)model_random(m, 20);
    return now && now->version ? now->modified : STORE_ABSENT;
}

static void make_uniform(struct model *m, struct model_txn *t)
{
    static char value[1000];
    memset(value, 'v', sizeof(value));
    t->n = 1;
    strcpy(t->keys[0], model_random(m, 4) ? "/k/00" : "/k/01");
    snprintf(t->values[0], sizeof(t->values[0]), "%.*s", (int)sizeof(value), value);
    t->ops[0] = (struct store_op){
        .kind = STORE_PUT, .key = str_of(t->keys[0]), .value = str_of(t->values[0]), .expect = STORE_ANY};
}

void model_txn_make(struct model *m, struct model_txn *t)
{
    if (m->uniform) {
        make_uniform(m, t);
        return;
    }
    t->n = model_random(m, 5) ? 1 : 1 + model_random(m, MODEL_OPS);
    uint64_t first = model_random(m, MODEL_KEYS);
    bool lazy = m->lazy && model_random(m, 4) == 0;
    for (size_t i = 0; i < t->n; i++) {
        snprintf(t->keys[i], sizeof(t->keys[i]), "/k/%02u", (unsigned)((first + i * 7) % MODEL_KEYS));
        size_t n = model_random(m, 20) ? model_random(m, 200) : model_random(m, sizeof(t->values[i]) - 20);
        int head = snprintf(t->values[i], sizeof(t->values[i]), "%llx-", (unsigned long long)m->random);
        memset(t->values[i] + head, 'a' + (int)i, n);
        t->values[i][(size_t)head + n] = 0;
        struct store_op *op = &t->ops[i];
        *op = (struct store_op){
            .kind = model_random(m, 4) ? STORE_PUT : STORE_DELETE, .key = str_of(t->keys[i]), .lazy = lazy};
        op->expect = model_random(m, 2) ? STORE_ANY : guess(m, t->keys[i]);
        if (op->kind == STORE_PUT)
            op->value = str_of(t->values[i]);
    }
}

int model_txn_expect(const struct model *m, const struct model_txn *t, bool *ret_effect)
{
    *ret_effect = false;
    for (size_t i = 0; i < t->n; i++) {
        const struct model_event *now = model_at(m, t->keys[i], INT64_MAX);
        int64_t modified = now && now->version ? now->modified : 0;
        if (t->ops[i].expect != STORE_ANY && t->ops[i].expect != modified)
            return STORE_CONFLICT;
        *ret_effect |= modified || t->ops[i].kind == STORE_PUT;
    }
    return 0;
}

void model_txn_apply(struct model *m, const struct model_txn *t, int64_t rev)
{
    for (size_t i = 0; i < t->n; i++)
        model_add(m, t->keys[i], t->ops[i].kind == STORE_PUT ? t->values[i] : NULL, rev);
}

/* ---- comparing ---------------------------------------------------------------------------------------- */

struct comparison {
    const struct model *m;
    int64_t rev;
    size_t n;
    struct buf *why;
};

static int compare_entry(void *arg, const struct store_entry *e)
{
    struct comparison *c = arg;
    char key[64];
    snprintf(key, sizeof(key), STR_FMT, STR_ARG(e->key));
    const struct model_event *want = model_at(c->m, key, c->rev);
    c->n++;
    if (want && want->version == e->version && want->modified == e->modified.n &&
        want->created == e->created.n && str_is(e->value, want->value))
        return 0;
    buf_printf(c->why, "at %lld: %s is version %lld of %lld, should be %lld of %lld; ", (long long)c->rev,
               key, (long long)e->version, (long long)e->modified.n, want ? (long long)want->version : 0,
               want ? (long long)want->modified : 0);
    return 42;
}

bool model_same(const struct model *m, struct store *s, int64_t at, int64_t rev, struct buf *b)
{
    struct comparison c = {.m = m, .rev = rev, .why = b};
    size_t n = 0;
    int r = store_range(s, STR(""), STR(""), (revision){at}, 0, compare_entry, &c, NULL);
    if (r != 0 && r != 42)
        buf_printf(b, "range at %lld: %d %s; ", (long long)at, r, store_fault(s));
    for (unsigned i = 0; i < MODEL_KEYS && r == 0; i++) {
        char key[32];
        snprintf(key, sizeof(key), "/k/%02u", i);
        const struct model_event *want = model_at(m, key, rev);
        n += want && want->version;
    }
    if (r == 0 && n != c.n)
        buf_printf(b, "at %lld: %zu keys, should be %zu; ", (long long)rev, c.n, n);
    return r == 0 && n == c.n;
}

static bool same_event(const struct model_event *want, const struct store_event *e)
{
    return want->modified == e->modified.n && str_is(e->key, want->key) && e->deleted == !want->version &&
           e->created == (want->version == 1) && want->created == e->created_at.n &&
           str_is(e->value, want->value ? want->value : "");
}

bool model_same_events(const struct model *m, struct store *s, int64_t after, int64_t rev, struct buf *b)
{
    struct store_watch *w;
    int r = store_watch(s, STR(""), STR(""), (revision){after}, false, &w);
    if (r != 0) {
        buf_printf(b, "watch after %lld: %d; ", (long long)after, r);
        return false;
    }
    size_t i = 0;
    while (i < m->n && m->events[i].modified <= after)
        i++;
    const struct store_event *ev;
    size_t n;
    revision progress;
    bool same = true;
    while (same && (r = store_watch_next(w, os_mono(), &ev, &n, &progress)) == 0)
        for (size_t k = 0; k < n && same; k++, i++) {
            same = i < m->n && m->events[i].modified <= rev && same_event(&m->events[i], &ev[k]);
            if (!same)
                buf_printf(b,
                           "watch after %lld: event %s" STR_FMT " of %lld is wrong, should be %s of %lld; ",
                           (long long)after, ev[k].deleted ? "-" : "", STR_ARG(ev[k].key),
                           (long long)ev[k].modified.n, i < m->n ? m->events[i].key : "none",
                           i < m->n ? (long long)m->events[i].modified : 0);
        }
    store_watch_close(w);
    bool all = i == m->n || m->events[i].modified > rev;
    if (same && (!all || r != -ETIMEDOUT))
        buf_printf(b, "watch after %lld: ended with %d before %lld; ", (long long)after, r,
                   all ? 0 : (long long)m->events[i].modified);
    return same && all && r == -ETIMEDOUT;
}
