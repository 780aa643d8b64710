/* SPDX-License-Identifier: Apache-2.0 */
#include "etcd/store-internal.h"

#include "base/log.h"
#include "base/os.h"

enum { PAGE = 500, OPS_MAX = 128, MESSAGE_MAX = 512 << 20 };

#define OUTER STR("/registry")
#define RETRY MILLISECONDS(250)

struct val etcd_bytes(struct arena *a, struct str s)
{
    return val_of_bytes(arena_str(a, s));
}

struct str etcd_key_out(const struct etcd_store *s, struct arena *a, struct str key)
{
    return arena_printf(a, "%s" STR_FMT, s->prefix, STR_ARG(str_from(key, OUTER.n)));
}

struct str etcd_key_in(const struct etcd_store *s, struct arena *a, struct str key)
{
    return arena_printf(a, STR_FMT STR_FMT, STR_ARG(OUTER), STR_ARG(str_from(key, strlen(s->prefix))));
}

/* ---- asking ------------------------------------------------------------------------------------------------ */

void etcd_saw(struct etcd_store *s, int64_t rev)
{
    s->seen = MAX(s->seen, rev);
}

static void note_silence(struct etcd_store *s, const struct err *e)
{
    if (!s->fault.text[0])
        log_warn(LOG, "no member of etcd answers: %s", e->text);
    err_set(&s->fault, -EHOSTUNREACH, "no member of etcd answers: %s", e->text);
}

static void note_answer(struct etcd_store *s, const struct val *answer)
{
    if (s->fault.text[0])
        log_info(LOG, "etcd answers again");
    s->fault = (struct err){0};
    etcd_saw(s, val_int(val_at(answer, N_header, N_revision), 0));
}

/* etcd tells apart by words what gRPC's codes do not. */
static const struct {
    int code;
    const char *words;
    int outcome;
} outcomes[] = {
    {GRPC_OUT_OF_RANGE, "compacted", STORE_COMPACTED},
    {GRPC_OUT_OF_RANGE, "future", STORE_FUTURE},
    {GRPC_RESOURCE_EXHAUSTED, "space exceeded", STORE_FULL},
    {GRPC_RESOURCE_EXHAUSTED, "larger than max", -E2BIG}, /* of a message, beyond --max-request-bytes and some */
    {GRPC_RESOURCE_EXHAUSTED, "", -EAGAIN},
    {GRPC_INVALID_ARGUMENT, "too many operations", -E2BIG},
    {GRPC_INVALID_ARGUMENT, "too large", -E2BIG},
    {GRPC_INVALID_ARGUMENT, "", -EINVAL},
    {GRPC_PERMISSION_DENIED, "", -EACCES},
    {GRPC_UNAUTHENTICATED, "", -EACCES},
    {GRPC_DEADLINE_EXCEEDED, "", -ETIMEDOUT},
};

static int outcome_of(int code, const struct err *e)
{
    for (size_t i = 0; i < ARRAY_SIZE(outcomes); i++)
        if (outcomes[i].code == code && str_contains(str_of(e->text), str_of(outcomes[i].words)))
            return outcomes[i].outcome;
    return -EIO;
}

int etcd_ask(struct etcd_store *s, unsigned method, const struct val *request, struct arena *a, const struct val **ret)
{
    struct err e = {0};
    const struct val *answer = NULL;
    if (s->closing)
        return -EPIPE;
    s->users++;
    int r = etcd_call(s->etcd, &grpc_methods[method], request, a, &answer, &e);
    if (--s->users == 0)
        waitq_wake_all(&s->unused);
    if (r < 0)
        return r;
    if (r == GRPC_UNAVAILABLE || r == GRPC_DEADLINE_EXCEEDED)
        note_silence(s, &e);
    else
        note_answer(s, answer);
    if (r > 0)
        return outcome_of(r, &e);
    *ret = answer;
    return 0;
}

int etcd_insist(struct etcd_store *s, unsigned method, const struct val *request, struct arena *a, const struct val **ret)
{
    struct mono until = mono_add(os_mono(), SECONDS(30));
    for (;;) {
        int r = etcd_ask(s, method, request, a, ret);
        if ((r != -EIO && r != -ETIMEDOUT && r != -EAGAIN) || os_mono().ns >= until.ns)
            return r;
        if ((r = fiber_sleep(RETRY)) < 0)
            return r;
    }
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

static struct store_entry entry_of(const struct etcd_store *s, struct arena *a, const struct val *kv)
{
    return (struct store_entry){.key = etcd_key_in(s, a, val_getstr(kv, N_key)),
                                .value = val_getstr(kv, N_value),
                                .created = {val_int(val_get(kv, N_create_revision), 0)},
                                .modified = {val_int(val_get(kv, N_mod_revision), 0)},
                                .version = val_int(val_get(kv, N_version), 0)};
}

static int store_get_one(struct store *base, struct str key, revision at, struct arena *a, struct store_entry *ret)
{
    struct etcd_store *s = etcd_store_of(base);
    struct val *request = val_new(a, VAL_OBJ);
    const struct val *answer;
    val_set(a, request, N_key, val_of_bytes(etcd_key_out(s, a, key)));
    val_set_int(a, request, N_revision, at.n);
    int r = etcd_insist(s, G_etcdserverpb_KV_Range, request, a, &answer);
    if (r)
        return r;
    if (!val_len(val_get(answer, N_kvs)))
        return -ENOENT;
    *ret = entry_of(s, a, val_item(val_get(answer, N_kvs), 0));
    return 0;
}

struct walk {
    struct etcd_store *s;
    struct str to;
    char *next; /* malloc'd: the first key that was not looked at */
    size_t next_n, left; /* left: entries that may be told of yet */
    int64_t at;
    bool more;
};

/* A page: what fn returns when it is not 0, outcomes of a read. */
static int page(struct walk *w, store_visit *fn, void *arg)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ);
    const struct val *answer;
    val_set(&a, request, N_key, val_of_bytes(str_n(w->next, w->next_n)));
    val_set(&a, request, N_range_end, val_of_bytes(w->to));
    val_set_int(&a, request, N_limit, (int64_t)MIN(w->left, (size_t)PAGE));
    val_set_int(&a, request, N_revision, w->at);
    int r = etcd_insist(w->s, G_etcdserverpb_KV_Range, request, &a, &answer);
    if (r)
        return r;
    if (!w->at)
        w->at = val_int(val_at(answer, N_header, N_revision), 0);
    w->more = val_bool(val_get(answer, N_more), false);
    VAL_EACH (val_get(answer, N_kvs), kv) {
        struct store_entry entry = entry_of(w->s, &a, kv);
        struct str key = val_getstr(kv, N_key);
        free(w->next);
        w->next = xmalloc(key.n + 1); /* the next possible key: this one and a zero byte */
        memcpy(w->next, key.p, key.n);
        w->next[key.n] = 0;
        w->next_n = key.n + 1;
        if ((r = fn(arg, &entry)) != 0 || --w->left == 0)
            return r;
    }
    w->more = w->more && val_len(val_get(answer, N_kvs));
    return 0;
}

static int store_range_all(struct store *base, struct str from, struct str to, revision at, size_t limit, store_visit *fn,
                           void *arg, revision *ret_at)
{
    struct etcd_store *s = etcd_store_of(base);
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str first = etcd_key_out(s, &a, from);
    struct walk w = {.s = s, .at = at.n, .left = limit ? limit : SIZE_MAX, .more = true, .next_n = first.n};
    w.to = to.n ? etcd_key_out(s, &a, to) : etcd_range_end(&a, str_of(s->prefix));
    w.next = xmalloc(first.n + 1);
    memcpy(w.next, first.p, first.n);
    int r = 0;
    while (r == 0 && w.more && w.left)
        r = page(&w, fn, arg);
    free(w.next);
    if (r >= 0 && r != STORE_COMPACTED && r != STORE_FUTURE && ret_at)
        *ret_at = (revision){w.at};
    return r;
}

static revision store_seen(const struct store *base)
{
    return (revision){etcd_store_of_const(base)->seen};
}

/* A read that goes through etcd's quorum, of one key that need not be there. */
static int ask_latest(struct etcd_store *s)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *request = val_new(&a, VAL_OBJ);
    const struct val *answer;
    val_set(&a, request, N_key, val_of_bytes(arena_printf(&a, "%s/cube/progress", s->prefix)));
    val_set_bool(&a, request, N_keys_only, true);
    return etcd_insist(s, G_etcdserverpb_KV_Range, request, &a, &answer);
}

static int store_ask_latest(struct store *base, revision *ret)
{
    struct etcd_store *s = etcd_store_of(base);
    uint64_t mine = s->asked + 1; /* questions that were under way before may have been answered already */
    while (s->answered < mine) {
        int r;
        if (s->asking) {
            if ((r = waitq_wait(&s->answer, MONO_NEVER)) < 0)
                return r;
            continue;
        }
        s->asking = true;
        uint64_t number = ++s->asked;
        r = ask_latest(s);
        s->asking = false;
        if (r == 0)
            s->answered = number;
        waitq_wake_all(&s->answer);
        if (r)
            return r;
    }
    ret->n = s->seen;
    if (!etcd_watches_reached(s, s->seen)) {
        s->wanted = MAX(s->wanted, s->seen);
        waitq_wake_all(&s->nudge);
    }
    return 0;
}

static revision store_known_compacted(const struct store *base)
{
    return (revision){etcd_store_of_const(base)->compacted};
}

static void store_count(const struct store *base, struct store_stats *ret)
{
    const struct etcd_store *s = etcd_store_of_const(base);
    *ret = (struct store_stats){
        .bytes_disk = s->disk_bytes, .writes = s->writes, .watches = s->n_watches, .full = s->full};
}

static const char *store_silence(const struct store *base)
{
    return etcd_store_of_const(base)->fault.text;
}

/* ---- opening and closing ----------------------------------------------------------------------------------- */

static void store_end(struct store *base)
{
    struct etcd_store *s = etcd_store_of(base);
    fiber_shield(true);
    etcd_watches_end(s);
    group_stop(&s->fibers);
    s->closing = true;
    while (s->users)
        waitq_wait(&s->unused, MONO_NEVER);
    etcd_free(s->etcd);
    map_done(&s->under_way);
    map_done(&s->cookies);
    free(s->prefix);
    free(s);
    fiber_shield(false);
}

static const struct store_ops ops = {
    .close = store_end,
    .revision = store_seen,
    .latest = store_ask_latest,
    .compacted = store_known_compacted,
    .stats = store_count,
    .fault = store_silence,
    .ops_max = OPS_MAX,
    .get = store_get_one,
    .range = store_range_all,
    .txn = etcd_txn,
    .watch = etcd_watch,
    .watch_next = etcd_watch_next,
    .watch_close = etcd_watch_close,
    .compact = etcd_compact,
};

static int wait_for_answer(struct etcd_store *s, int64_t patience, struct err *e)
{
    struct mono until = mono_add(os_mono(), patience ? patience : SECONDS(20));
    for (;;) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct val *request = val_new(&a, VAL_OBJ);
        const struct val *answer;
        val_set(&a, request, N_key, val_of_bytes(arena_printf(&a, "%s/cube/progress", s->prefix)));
        int r = etcd_ask(s, G_etcdserverpb_KV_Range, request, &a, &answer);
        if (r == 0)
            return 0;
        if (r == -EACCES)
            return err_set(e, r, "etcd refuses the user or the certificate");
        if (os_mono().ns >= until.ns)
            return err_set(e, -ETIMEDOUT, "%s", s->fault.text[0] ? s->fault.text : "etcd does not answer as expected");
        if ((r = fiber_sleep(RETRY)) < 0)
            return err_set(e, r, "cancelled");
    }
}

int etcd_store_open(const struct etcd_store_config *c, struct store **ret, struct err *e)
{
    struct etcd_config config = c->etcd;
    struct etcd *etcd;
    struct str prefix = str_of(c->prefix ? c->prefix : "/registry");
    config.max_message = config.max_message ? config.max_message : MESSAGE_MAX;
    while (str_ends(prefix, STR("/")))
        prefix.n--;
    if (!prefix.n)
        return err_set(e, -EINVAL, "the prefix of keys in etcd is empty: expected something like /registry");
    int r = etcd_new(&config, &etcd, e);
    if (r < 0)
        return r;
    struct etcd_store *s = NEW(struct etcd_store);
    s->base.ops = &ops;
    s->etcd = etcd;
    s->prefix = str_dup(prefix);
    s->compaction_interval = c->compaction_interval ? c->compaction_interval : SECONDS(300);
    list_init(&s->watches);
    r = wait_for_answer(s, c->patience, e);
    if (r < 0) {
        store_end(&s->base);
        return r;
    }
    etcd_upkeep_start(s);
    *ret = &s->base;
    return 0;
}
