/* SPDX-License-Identifier: Apache-2.0 */
#include "overlay/route.h"

#include "names.h"
#include "type/meta.h"

#include <arpa/inet.h>
#include <stdio.h>

/* ---- addresses ------------------------------------------------------------------------------------ */

bool ip_parse(struct str text, struct ip *ret)
{
    char c[INET6_ADDRSTRLEN];
    struct ip ip = {0};
    if (text.n >= sizeof(c))
        return false;
    snprintf(c, sizeof(c), STR_FMT, STR_ARG(text));
    ip.family = strchr(c, ':') ? AF_INET6 : AF_INET;
    if (inet_pton(ip.family, c, ip.b) != 1)
        return false;
    *ret = ip;
    return true;
}

static unsigned width(const struct ip *ip)
{
    return ip->family == AF_INET ? 32 : 128;
}

static void mask(struct prefix *p)
{
    for (unsigned bit = p->bits; bit < width(&p->ip); bit++)
        p->ip.b[bit / 8] &= (uint8_t) ~(0x80u >> (bit % 8));
}

bool prefix_parse(struct str text, struct prefix *ret)
{
    struct str ip, bits;
    struct prefix p = {0};
    int64_t n;
    if (!str_cut(text, '/', &ip, &bits) || !ip_parse(ip, &p.ip) || str_to_i64(bits, &n) < 0 || n < 0 ||
        n > width(&p.ip))
        return false;
    p.bits = (uint8_t)n;
    mask(&p);
    *ret = p;
    return true;
}

bool prefix_contains(const struct prefix *outer, const struct prefix *inner)
{
    struct prefix cut = *inner;
    if (outer->ip.family != inner->ip.family || outer->bits > inner->bits)
        return false;
    cut.bits = outer->bits;
    mask(&cut);
    return memcmp(cut.ip.b, outer->ip.b, sizeof(cut.ip.b)) == 0;
}

int prefixes_parse(struct arena *a, const char *list, struct prefixes *ret, struct err *e)
{
    struct str rest = str_of(list), word;
    struct prefixes out = {ARENA_ARRAY(a, struct prefix, rest.n + 1), 0};
    while (list && str_next(&rest, ',', &word))
        if (!prefix_parse(str_trim(word), &out.list[out.n++]))
            return err_set(e, -EINVAL, "\"" STR_FMT "\" is no address range like 10.244.0.0/16",
                           STR_ARG(word));
    *ret = out;
    return 0;
}

/* ---- nodes ---------------------------------------------------------------------------------------- */

static const struct val *addresses_of(const struct object *node)
{
    return node ? val_at(node->val, N_status, N_addresses) : NULL;
}

static const struct val *ranges_of(const struct object *node)
{
    return node ? val_at(node->val, N_spec, N_podCIDRs) : NULL;
}

bool peer_differs(const struct object *old, const struct object *new_)
{
    return !old || !new_ || !val_equal(addresses_of(old), addresses_of(new_)) ||
           !val_equal(ranges_of(old), ranges_of(new_)) ||
           !val_equal(val_at(old->val, N_spec, N_podCIDR), val_at(new_->val, N_spec, N_podCIDR));
}

static void read_addresses(const struct object *node, struct peer *p)
{
    struct ip ip;
    VAL_EACH (addresses_of(node), v) {
        if (!str_is(val_getstr(v, N_type), "InternalIP") || !ip_parse(val_getstr(v, N_address), &ip))
            continue;
        struct ip *to = ip.family == AF_INET ? &p->address4 : &p->address6;
        if (!to->family) /* the first of a family is the node's own choice */
            *to = ip;
    }
}

static void read_ranges(struct arena *a, const struct object *node, struct peer *p)
{
    const struct val *list = ranges_of(node);
    p->pods.list = ARENA_ARRAY(a, struct prefix, val_len(list) + 1);
    VAL_EACH (list, v)
        p->pods.n += prefix_parse(val_str(v), &p->pods.list[p->pods.n]);
    if (!val_len(list)) /* older than dual stack */
        p->pods.n += prefix_parse(val_str(val_at(node->val, N_spec, N_podCIDR)), &p->pods.list[0]);
}

size_t peers_of_nodes(struct arena *a, const struct tree *nodes, struct str self, struct peer **ret)
{
    struct peer *list = ARENA_ARRAY(a, struct peer, tree_count(nodes) + 1);
    size_t n = 0;
    TREE_EACH (nodes, STR_NULL, it) {
        struct peer p = {.name = it.object->name};
        if (str_eq(p.name, self))
            continue;
        read_addresses(it.object, &p);
        read_ranges(a, it.object, &p);
        if (p.pods.n && (p.address4.family || p.address6.family))
            list[n++] = p;
    }
    *ret = list;
    return n;
}

/* ---- routes --------------------------------------------------------------------------------------- */

static bool is_within(const struct prefix *p, const struct prefixes *within)
{
    for (size_t i = 0; i < within->n; i++)
        if (prefix_contains(&within->list[i], p))
            return true;
    return within->n == 0;
}

static int compare_ip(const struct ip *a, const struct ip *b)
{
    return a->family != b->family ? (int)a->family - (int)b->family : memcmp(a->b, b->b, sizeof(a->b));
}

static int compare_to(const struct route *a, const struct route *b)
{
    int r = compare_ip(&a->to.ip, &b->to.ip);
    return r ? r : (int)a->to.bits - (int)b->to.bits;
}

static int compare_whole(const void *a, const void *b)
{
    const struct route *x = a, *y = b;
    int r = compare_to(x, y);
    return r ? r : compare_ip(&x->via, &y->via);
}

void routes_sort(struct routes *r)
{
    if (r->n)
        qsort(r->list, r->n, sizeof(*r->list), compare_whole);
}

/* Two nodes that say they have the same range: a mistake (or one is about to go) that must not make the route
 * flap. */
static bool is_taken(const struct routes *r, const struct prefix *to)
{
    for (size_t i = r->n; i-- > 0;)
        if (r->list[i].to.bits == to->bits && compare_ip(&r->list[i].to.ip, &to->ip) == 0)
            return true;
    return false;
}

/* Sorted, of several to one range only the one that was first before sorting. */
static void sort_and_thin(struct arena *a, struct routes *r)
{
    struct routes sorted = {ARENA_ARRAY(a, struct route, r->n + 1), r->n};
    struct routes out = {ARENA_ARRAY(a, struct route, r->n + 1), 0};
    bool twice = false;
    if (r->n)
        memcpy(sorted.list, r->list, r->n * sizeof(*r->list));
    routes_sort(&sorted);
    for (size_t i = 1; i < sorted.n; i++)
        twice = twice || compare_to(&sorted.list[i - 1], &sorted.list[i]) == 0;
    if (!twice) {
        *r = sorted;
        return;
    }
    for (size_t i = 0; i < r->n; i++)
        if (!is_taken(&out, &r->list[i].to))
            out.list[out.n++] = r->list[i];
    routes_sort(&out);
    *r = out;
}

void routes_wanted(struct arena *a, const struct peer *peers, size_t n, const struct prefixes *within,
                   struct routes *ret)
{
    size_t ranges = 0;
    for (size_t i = 0; i < n; i++)
        ranges += peers[i].pods.n;
    struct routes out = {ARENA_ARRAY(a, struct route, ranges + 1), 0};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < peers[i].pods.n; k++) {
            const struct prefix *to = &peers[i].pods.list[k];
            const struct ip *via = to->ip.family == AF_INET ? &peers[i].address4 : &peers[i].address6;
            if (via->family && is_within(to, within))
                out.list[out.n++] = (struct route){*to, *via};
        }
    sort_and_thin(a, &out);
    *ret = out;
}

void routes_compare(struct arena *a, const struct routes *have, const struct routes *want,
                    struct route_changes *ret)
{
    struct route_changes c = {{ARENA_ARRAY(a, struct route, want->n + 1), 0},
                              {ARENA_ARRAY(a, struct route, have->n + 1), 0}};
    size_t h = 0, w = 0;
    while (h < have->n || w < want->n) {
        int order = h == have->n ? 1 : w == want->n ? -1 : compare_to(&have->list[h], &want->list[w]);
        if (order < 0)
            c.drop.list[c.drop.n++] = have->list[h++];
        else if (order > 0)
            c.set.list[c.set.n++] = want->list[w++];
        else if (compare_ip(&have->list[h].via, &want->list[w].via) == 0)
            h++, w++;
        else /* setting replaces what leads to the same range */
            c.set.list[c.set.n] = want->list[w++], c.set.list[c.set.n++].replaces = true, h++;
    }
    *ret = c;
}

const char *route_text(const struct route *r, char ret[static ROUTE_TEXT_MAX])
{
    char to[INET6_ADDRSTRLEN] = "?", via[INET6_ADDRSTRLEN] = "?";
    inet_ntop(r->to.ip.family, r->to.ip.b, to, sizeof(to));
    inet_ntop(r->via.family, r->via.b, via, sizeof(via));
    snprintf(ret, ROUTE_TEXT_MAX, "%s/%u via %s", to, r->to.bits, via);
    return ret;
}
