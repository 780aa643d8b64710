/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/plan.h"

#include <stdio.h>

/* ---- order ------------------------------------------------------------------------------------------ */

/* The same place in the kernel: only one of them can be there. */
static int compare_place(const struct entry *a, const struct entry *b)
{
    if (a->kind != b->kind)
        return (int)a->kind - (int)b->kind;
    if (a->kind == ENTRY_ROUTE)
        return prefix_compare(&a->to, &b->to);
    if (a->device != b->device)
        return a->device < b->device ? -1 : 1;
    return a->kind == ENTRY_NEIGHBOUR ? prefix_compare(&a->to, &b->to) : memcmp(a->mac, b->mac, 6);
}

static bool same_content(const struct entry *a, const struct entry *b)
{
    return ip_equal(&a->via, &b->via) && a->device == b->device && a->onlink == b->onlink &&
           memcmp(a->mac, b->mac, 6) == 0;
}

static int compare_whole(const void *a, const void *b)
{
    const struct entry *x = a, *y = b;
    int r = compare_place(x, y);
    r = r ? r : ip_compare(&x->via, &y->via);
    return r ? r : memcmp(x->mac, y->mac, 6);
}

void entries_sort(struct entries *e)
{
    if (e->n)
        qsort(e->list, e->n, sizeof(*e->list), compare_whole);
}

/* ---- claims ------------------------------------------------------------------------------------------ */

struct claim {
    struct prefix range;
    size_t peer; /* by age */
    size_t order;
};

static int compare_claims(const void *a, const void *b)
{
    const struct claim *x = a, *y = b;
    int r = prefix_compare(&x->range, &y->range);
    return r ? r : x->order < y->order ? -1 : x->order > y->order;
}

/* Ranges contain one another or are apart; sorted, one that overlaps with any overlaps with its neighbour. */
static bool any_overlap(struct arena *a, const struct claim *claims, size_t n)
{
    struct claim *sorted = ARENA_ARRAY(a, struct claim, n + 1);
    if (n)
        memcpy(sorted, claims, n * sizeof(*claims));
    qsort(sorted, n, sizeof(*sorted), compare_claims);
    for (size_t i = 1; i < n; i++)
        if (prefix_overlaps(&sorted[i - 1].range, &sorted[i].range))
            return true;
    return false;
}

static void refuse(struct plan *p, const struct plan_input *in, const struct claim *c, struct str other)
{
    p->refused[p->n_refused++] = (struct refusal){in->peers[c->peer].name, other, c->range};
}

/* Keeps those that overlap with none that came before. Rare, so it may compare each with each. */
static size_t settle(const struct plan_input *in, struct claim *claims, size_t n, struct plan *p)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;
        while (j < kept && !prefix_overlaps(&claims[j].range, &claims[i].range))
            j++;
        if (j == kept)
            claims[kept++] = claims[i];
        else if (claims[j].peer != claims[i].peer || prefix_compare(&claims[j].range, &claims[i].range))
            refuse(p, in, &claims[i], in->peers[claims[j].peer].name);
    }
    return kept;
}

static bool overlaps_own(const struct plan_input *in, const struct prefix *range)
{
    for (size_t i = 0; in->self && i < in->self->pods.n; i++)
        if (prefix_overlaps(&in->self->pods.list[i], range))
            return true;
    return false;
}

/* The ranges that peers have, by the peers' age. */
static size_t make_claims(struct arena *a, const struct plan_input *in, struct plan *p, struct claim **ret)
{
    size_t all = 0, n = 0;
    for (size_t i = 0; i < in->n; i++)
        all += in->peers[i].pods.n;
    struct claim *claims = ARENA_ARRAY(a, struct claim, all + 1);
    p->refused = ARENA_ARRAY(a, struct refusal, all + 1);
    for (size_t i = 0; i < in->n; i++)
        for (size_t j = 0; j < in->peers[i].pods.n; j++) {
            struct claim c = {in->peers[i].pods.list[j], i, n};
            if (in->within->n && !prefixes_contain(in->within, &c.range))
                continue;
            if (overlaps_own(in, &c.range))
                refuse(p, in, &c, in->self->name);
            else
                claims[n++] = c;
        }
    *ret = claims;
    return any_overlap(a, claims, n) ? settle(in, claims, n, p) : n;
}

/* ---- back ends ---------------------------------------------------------------------------------------- */

static void add(struct entries *to, struct entry e)
{
    to->list[to->n++] = e;
}

static void plain_route(struct entries *to, const struct prefix *range, const struct ip *via)
{
    add(to, (struct entry){.kind = ENTRY_ROUTE, .to = *range, .via = *via});
}

static bool is_near(const struct plan_input *in, const struct ip *ip)
{
    for (size_t i = 0; i < in->networks.n; i++)
        if (prefix_has(&in->networks.list[i], ip))
            return true;
    return false;
}

static void through_device(struct entries *to, const struct device *d, const struct prefix *range,
                           const struct peer *p, unsigned f)
{
    struct entry forward = {.kind = ENTRY_FORWARD, .device = d->index, .via = p->address[f]};
    struct entry neighbour = {.kind = ENTRY_NEIGHBOUR,
                              .device = d->index,
                              .to = {range->ip, (uint8_t)ip_bits(&range->ip)}};
    memcpy(forward.mac, p->mac[f], 6);
    memcpy(neighbour.mac, p->mac[f], 6);
    add(to, forward);
    add(to, neighbour);
    add(to, (struct entry){
                .kind = ENTRY_ROUTE, .device = d->index, .onlink = true, .to = *range, .via = range->ip});
}

static void host_gw(const struct plan_input *in, const struct prefix *range, const struct peer *p, unsigned f,
                    struct entries *to)
{
    (void)in;
    bool other = p->announced && p->backend.n && !str_is(p->backend, "host-gw");
    const struct ip *via = other ? &p->internal[f] : &p->address[f]; /* what it says is about another back end */
    if (via->family)
        plain_route(to, range, via);
}

static void vxlan(const struct plan_input *in, const struct prefix *range, const struct peer *p, unsigned f,
                  struct entries *to)
{
    const struct device *d = &in->devices[f];
    if (!p->address[f].family)
        return;
    if (in->conf->direct_routing && is_near(in, &p->address[f]))
        plain_route(to, range, &p->address[f]);
    else if (d->index && p->has_mac[f] && str_is(p->backend, "vxlan") && memcmp(p->mac[f], d->mac, 6))
        through_device(to, d, range, p, f);
}

typedef void reach(const struct plan_input *in, const struct prefix *range, const struct peer *p, unsigned f,
                   struct entries *to);
static reach *const backends[] = {[BACKEND_HOST_GW] = host_gw, [BACKEND_VXLAN] = vxlan};

/* Of those in one place the first: the older node's hardware address. */
static void thin(struct entries *e)
{
    size_t kept = 0;
    for (size_t i = 0; i < e->n; i++)
        if (!kept || compare_place(&e->list[kept - 1], &e->list[i]))
            e->list[kept++] = e->list[i];
    e->n = kept;
}

void plan_make(struct arena *a, const struct plan_input *in, struct plan *ret)
{
    struct plan p = {0};
    struct claim *claims;
    size_t n = make_claims(a, in, &p, &claims);
    p.want.list = ARENA_ARRAY(a, struct entry, n * 3 + 1);
    for (size_t i = 0; i < n; i++) {
        unsigned f = family_of(&claims[i].range.ip);
        if (in->conf->enabled[f])
            backends[in->conf->backend](in, &claims[i].range, &in->peers[claims[i].peer], f, &p.want);
    }
    entries_sort(&p.want);
    thin(&p.want);
    *ret = p;
}

/* ---- changes ------------------------------------------------------------------------------------------ */

static void reverse(struct entries *e)
{
    for (size_t i = 0; i < e->n / 2; i++) {
        struct entry swap = e->list[i];
        e->list[i] = e->list[e->n - 1 - i];
        e->list[e->n - 1 - i] = swap;
    }
}

void entries_compare(struct arena *a, const struct entries *have, const struct entries *want,
                     struct entry_changes *ret)
{
    struct entry_changes c = {{ARENA_ARRAY(a, struct entry, want->n + 1), 0},
                              {ARENA_ARRAY(a, struct entry, have->n + 1), 0}};
    size_t h = 0, w = 0;
    while (h < have->n || w < want->n) {
        int order = h == have->n ? 1 : w == want->n ? -1 : compare_place(&have->list[h], &want->list[w]);
        if (order < 0)
            add(&c.drop, have->list[h++]);
        else if (order > 0)
            add(&c.set, want->list[w++]);
        else if (same_content(&have->list[h], &want->list[w]))
            h++, w++;
        else /* setting replaces what is in the same place */
            add(&c.set, want->list[w]), c.set.list[c.set.n - 1].replaces = true, h++, w++;
    }
    reverse(&c.drop); /* a route goes before its neighbour does */
    *ret = c;
}

const char *entry_text(const struct entry *e, char ret[static ENTRY_TEXT_MAX])
{
    char to[IP_TEXT_MAX], via[IP_TEXT_MAX], mac[MAC_TEXT_MAX];
    if (e->kind == ENTRY_FORWARD)
        snprintf(ret, ENTRY_TEXT_MAX, "%s at %s", mac_format(e->mac, mac), ip_format(&e->via, via));
    else if (e->kind == ENTRY_NEIGHBOUR)
        snprintf(ret, ENTRY_TEXT_MAX, "%s is %s", ip_format(&e->to.ip, to), mac_format(e->mac, mac));
    else if (e->device)
        snprintf(ret, ENTRY_TEXT_MAX, "%s via %s by vxlan", prefix_format(&e->to, to), ip_format(&e->via, via));
    else
        snprintf(ret, ENTRY_TEXT_MAX, "%s via %s", prefix_format(&e->to, to), ip_format(&e->via, via));
    return ret;
}
