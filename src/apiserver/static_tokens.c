/* SPDX-License-Identifier: Apache-2.0 */
/* --token-auth-file: tokens as CSV (RFC 4180), one a record: token, user, uid, and groups in one quoted field. */
#include "apiserver/auth.h"
#include "apiserver/auth_state.h"
#include "auth/crypto.h"
#include "base/log.h"
#include "base/os.h"

enum { FILE_MAX = 16 << 20, FIELDS_MAX = 16 };

struct static_token {
    char *name, *uid, *groups; /* groups: with commas, NULL for none */
};

static void token_free(void *p)
{
    struct static_token *t = p;
    free(t->name);
    free(t->uid);
    free(t->groups);
    free(t);
}

void static_tokens_free(struct map *m)
{
    map_done_with(m, token_free);
}

/* ---- CSV ------------------------------------------------------------------------------------------------ */

struct csv {
    struct arena *arena;
    struct str rest;
    int line;
};

/* Behind its first quote; what follows the last one is left in rest. */
static int quoted_field(struct csv *c, struct str *ret, struct err *e)
{
    CLEANUP_BUF struct buf b = BUF_INIT;
    int line = c->line;
    for (;; c->rest = str_from(c->rest, 1)) {
        if (!c->rest.n)
            return err_set(e, -EINVAL, "line %d: a quote is not closed", line);
        if (c->rest.p[0] == '"') {
            c->rest = str_from(c->rest, 1);
            if (!c->rest.n || c->rest.p[0] != '"')
                break;
        }
        c->line += c->rest.p[0] == '\n';
        buf_putc(&b, c->rest.p[0]);
    }
    *ret = arena_str(c->arena, buf_str(&b));
    return 0;
}

static int plain_field(struct csv *c, struct str *ret, struct err *e)
{
    size_t n = 0;
    while (n < c->rest.n && c->rest.p[n] != ',' && c->rest.p[n] != '\n')
        n++;
    struct str s = str_slice(c->rest, 0, n);
    c->rest = str_from(c->rest, n);
    if (str_find(s, '"') >= 0)
        return err_set(e, -EINVAL, "line %d: a quote within a field that has none around it", c->line);
    if (s.n && s.p[s.n - 1] == '\r')
        s.n--;
    *ret = s;
    return 0;
}

/* The fields of the next record; 0 of them at the end. */
static int next_record(struct csv *c, struct str fields[static FIELDS_MAX], size_t *ret_n, struct err *e)
{
    size_t n = 0;
    while (c->rest.n && (c->rest.p[0] == '\n' || str_starts(c->rest, STR("\r\n")))) {
        c->rest = str_from(c->rest, c->rest.p[0] == '\n' ? 1 : 2);
        c->line++;
    }
    while (c->rest.n && n < FIELDS_MAX) {
        bool quoted = c->rest.p[0] == '"';
        if (quoted)
            c->rest = str_from(c->rest, 1);
        int r = quoted ? quoted_field(c, &fields[n++], e) : plain_field(c, &fields[n++], e);
        if (r < 0)
            return r;
        if (str_starts(c->rest, STR("\r\n")))
            c->rest = str_from(c->rest, 1);
        if (c->rest.n && c->rest.p[0] != ',' && c->rest.p[0] != '\n')
            return err_set(e, -EINVAL, "line %d: something follows a closed quote", c->line);
        bool ends = !c->rest.n || c->rest.p[0] == '\n';
        c->rest = str_from(c->rest, 1);
        if (ends)
            break;
        if (!c->rest.n)
            fields[n++] = STR("");
    }
    c->line++;
    *ret_n = n;
    return 0;
}

/* ---- the file ------------------------------------------------------------------------------------------- */

/* Looked up by what is made of it, so that the time a look takes tells nothing of how near a guess was. */
static struct str key_of(struct str token, uint8_t hash[static 32])
{
    sha256(token, hash);
    return str_n((char *)hash, 32);
}

static int take(struct map *m, const struct str *f, size_t n, int line, struct err *e)
{
    uint8_t hash[32];
    if (n < 3)
        return err_set(e, -EINVAL, "line %d: there must be at least 3 columns (token, user name, user uid), found %zu", line, n);
    if (!f[0].n) {
        log_warn("apiserver", "the token in line %d of the token file is empty", line);
        return 0;
    }
    struct static_token *t = NEW(struct static_token);
    *t = (struct static_token){str_dup(f[1]), str_dup(f[2]), n > 3 ? str_dup(f[3]) : NULL};
    struct static_token *was = map_put(m, key_of(f[0], hash), t);
    if (was) {
        log_warn("apiserver", "the token in line %d of the token file stands there twice", line);
        token_free(was);
    }
    return 0;
}

int static_tokens_load(const char *path, struct map *ret, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct csv c = {.arena = &a, .line = 1};
    struct str fields[FIELDS_MAX];
    struct map m = MAP_INIT;
    size_t n = 1;
    int r = os_read_file(&a, path, FILE_MAX, &c.rest);
    if (r < 0)
        return err_set(e, r, "--token-auth-file %s: %s", path, strerror(-r));
    while (r == 0 && n) {
        int line = c.line;
        r = next_record(&c, fields, &n, e);
        if (r == 0 && n)
            r = take(&m, fields, n, line, e);
    }
    if (r < 0) {
        static_tokens_free(&m);
        return err_wrap(e, r, "--token-auth-file %s", path);
    }
    static_tokens_free(ret);
    *ret = m;
    return 0;
}

/* ---- asking --------------------------------------------------------------------------------------------- */

int static_token_authenticate(struct request *r, const struct token_question *q, struct token_answer *ret, struct err *e)
{
    uint8_t hash[32];
    const struct static_token *t = map_get(&r->server->auth->static_tokens, key_of(q->token, hash));
    if (!t)
        return err_set(e, -EACCES, "no such token");
    struct user u = {.name = arena_str(r->arena, str_of(t->name)), .uid = arena_str(r->arena, str_of(t->uid))};
    struct str rest = str_of(t->groups ? t->groups : ""), one;
    while (rest.n && str_next(&rest, ',', &one))
        user_add_group(r->arena, &u, arena_str(r->arena, one));
    ret->user = u;
    return token_for_server(r, q, ret, e);
}
