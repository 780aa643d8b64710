/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/peers.h"

#include "apiserver/state.h"
#include "base/os.h"
#include "net/tls.h"

enum { CLIENTS_MAX = 200 };

struct peer_client {
    struct http_client *http;
    unsigned in_use;
    struct mono used;
};

struct peers {
    struct map by_key;
};

static void client_free(void *p)
{
    struct peer_client *c = p;
    http_client_free(c->http);
    free(c);
}

void peers_free(struct apiserver *s)
{
    if (!s->peers)
        return;
    map_done_with(&s->peers->by_key, client_free);
    free(s->peers);
    s->peers = NULL;
}

/* The one that nobody has used for the longest time makes room. */
static void make_room(struct map *m)
{
    struct map_entry *oldest = NULL;
    if (m->n < CLIENTS_MAX)
        return;
    MAP_EACH (m, e) {
        const struct peer_client *c = e->value;
        if (!c->in_use && (!oldest || c->used.ns < ((struct peer_client *)oldest->value)->used.ns))
            oldest = e;
    }
    if (oldest)
        client_free(map_del(m, oldest->key));
}

static int client_new(const struct apiserver *s, const struct peer *p, struct peer_client **ret, struct err *e)
{
    struct tls_client *tls = NULL;
    struct tls_client_config config = {.ca = p->ca, .insecure = p->insecure, .no_h2 = p->spread};
    if (p->front_proxy)
        config.key = (struct tls_keypair){s->proxy_cert, s->proxy_key};
    int r = tls_client_new(&config, &tls, e);
    if (r < 0)
        return r;
    struct peer_client *c = NEW(struct peer_client);
    c->http = http_client_new(&(struct http_client_config){.tls = tls, .server_name = p->server_name.n ? p->server_name.p : NULL});
    tls_client_unref(tls);
    *ret = c;
    return 0;
}

static void put_part(struct buf *key, struct str part)
{
    buf_putstr(key, part);
    buf_putc(key, 0);
}

int peer_take(struct apiserver *s, const struct peer *p, struct peer_client **ret, struct err *e)
{
    struct peer_client *c;
    struct buf key CLEANUP_BUF = BUF_INIT;
    put_part(&key, p->server_name);
    put_part(&key, p->ca);
    put_part(&key, p->front_proxy ? s->proxy_cert : STR("")); /* a new one takes new connections */
    buf_putc(&key, (char)('0' + (p->insecure ? 1 : 0) + (p->spread ? 2 : 0)));
    if (!s->peers)
        s->peers = NEW(struct peers);
    if (!(c = map_get(&s->peers->by_key, buf_str(&key)))) {
        make_room(&s->peers->by_key);
        int r = client_new(s, p, &c, e);
        if (r < 0)
            return r;
        map_put(&s->peers->by_key, buf_str(&key), c);
    }
    c->used = os_mono();
    c->in_use++;
    *ret = c;
    return 0;
}

struct http_client *peer_http(struct peer_client *c)
{
    return c->http;
}

void peer_give_back(struct peer_client *c)
{
    if (c)
        c->in_use--;
}
