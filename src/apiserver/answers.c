/* SPDX-License-Identifier: Apache-2.0 */
#include "apiserver/answers.h"

struct answer_kept {
    struct mono until;
    size_t n;
    char text[];
};

void answers_done(struct answers *c)
{
    map_done_with(&c->map, free);
}

void answers_clear(struct answers *c)
{
    map_done_with(&c->map, free);
}

struct str answers_get(struct answers *c, struct str key, struct mono now)
{
    struct answer_kept *k = map_get(&c->map, key);
    if (!k)
        return STR_NULL;
    if (k->until.ns > now.ns)
        return str_n(k->text, k->n);
    free(map_del(&c->map, key));
    return STR_NULL;
}

void answers_put(struct answers *c, struct str key, struct str text, struct mono until)
{
    struct answer_kept *k = xmalloc(sizeof(*k) + text.n + 1);
    k->until = until;
    k->n = text.n;
    memcpy(k->text, text.p, text.n);
    k->text[text.n] = 0;
    free(map_del(&c->map, key));
    if (c->map.n >= c->max)
        MAP_EACH (&c->map, e) {
            free(map_del(&c->map, e->key));
            break;
        }
    free(map_put(&c->map, key, k));
}
