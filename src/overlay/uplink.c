/* SPDX-License-Identifier: Apache-2.0 */
/* Which link packets for other nodes leave by. Pure. */
#include "overlay/kernel.h"

#include <linux/if_addr.h>
#include <linux/rtnetlink.h>
#include <regex.h>

struct finder {
    const struct rtnl_links *links;
    const struct rtnl_addresses *addresses;
    const struct rtnl_routes *routes;
};

static const struct rtnl_link *by_index(const struct finder *f, int index)
{
    for (size_t i = 0; i < f->links->n; i++)
        if (f->links->list[i].index == index)
            return &f->links->list[i];
    return NULL;
}

static const struct rtnl_link *by_address(const struct finder *f, const struct ip *ip)
{
    for (size_t i = 0; ip->family && i < f->addresses->n; i++)
        if (ip_equal(&f->addresses->list[i].at.ip, ip))
            return by_index(f, f->addresses->list[i].link);
    return NULL;
}

static const struct rtnl_link *by_word(const struct finder *f, const char *word)
{
    struct ip ip;
    if (ip_parse(str_of(word), &ip))
        return by_address(f, &ip);
    for (size_t i = 0; i < f->links->n; i++)
        if (!strcmp(f->links->list[i].name, word))
            return &f->links->list[i];
    return NULL;
}

static const struct rtnl_link *by_pattern(const struct finder *f, const char *pattern)
{
    regex_t re;
    char text[IP_TEXT_MAX];
    const struct rtnl_link *found = NULL;
    if (regcomp(&re, pattern, REG_EXTENDED | REG_NOSUB))
        return NULL;
    for (size_t i = 0; !found && i < f->links->n; i++)
        if (regexec(&re, f->links->list[i].name, 0, NULL, 0) == 0)
            found = &f->links->list[i];
    for (size_t i = 0; !found && i < f->addresses->n; i++)
        if (regexec(&re, ip_format(&f->addresses->list[i].at.ip, text), 0, NULL, 0) == 0)
            found = by_index(f, f->addresses->list[i].link);
    regfree(&re);
    return found;
}

/* As the kernel looks it up: the longest range, then the smallest metric. */
static const struct rtnl_link *towards(const struct finder *f, const struct ip *ip)
{
    const struct rtnl_route *best = NULL;
    for (size_t i = 0; i < f->routes->n; i++) {
        const struct rtnl_route *r = &f->routes->list[i];
        if (!r->link || !prefix_has(&r->to, ip))
            continue;
        if (!best || r->to.bits > best->to.bits || (r->to.bits == best->to.bits && r->metric < best->metric))
            best = r;
    }
    return best ? by_index(f, best->link) : NULL;
}

static const struct rtnl_link *default_link(const struct finder *f)
{
    static const struct ip anywhere[] = {{.family = AF_INET}, {.family = AF_INET6}};
    const struct rtnl_link *l = NULL;
    for (size_t i = 0; !l && i < ARRAY_SIZE(anywhere); i++)
        for (size_t j = 0; !l && j < f->routes->n; j++)
            if (f->routes->list[j].to.bits == 0 && f->routes->list[j].to.ip.family == anywhere[i].family)
                l = towards(f, &anywhere[i]);
    return l;
}

static const struct rtnl_link *choose(const struct finder *f, const struct uplink_choice *c, const struct peer *self)
{
    const struct rtnl_link *l = NULL;
    struct ip ip;
    bool told = (c->links && c->links->n) || (c->patterns && c->patterns->n) || c->can_reach;
    for (size_t i = 0; !l && c->links && i < c->links->n; i++)
        l = by_word(f, c->links->items[i]);
    for (size_t i = 0; !l && c->patterns && i < c->patterns->n; i++)
        l = by_pattern(f, c->patterns->items[i]);
    if (!l && c->can_reach && ip_parse(str_of(c->can_reach), &ip))
        l = towards(f, &ip);
    for (unsigned i = 0; !l && !told && self && i < FAMILIES; i++)
        l = by_address(f, &self->internal[i]);
    return l || told ? l : default_link(f);
}

/* Its address of a family: the one that its Node says when the link has it, else the first that others can use. */
static void take_address(const struct finder *f, const struct ip *wish, unsigned family, struct uplink *u)
{
    for (size_t i = 0; i < f->addresses->n; i++) {
        const struct rtnl_address *at = &f->addresses->list[i];
        if (at->link != u->link || family_of(&at->at.ip) != family || at->scope != RT_SCOPE_UNIVERSE)
            continue;
        if (wish && ip_equal(&at->at.ip, wish)) {
            u->address[family] = *wish;
            return;
        }
        if (!u->address[family].family && !(at->flags & (IFA_F_TENTATIVE | IFA_F_DEPRECATED)))
            u->address[family] = at->at.ip;
    }
}

int uplink_find(const struct uplink_choice *choice, const struct peer *self, const struct rtnl_links *links,
                const struct rtnl_addresses *addresses, const struct rtnl_routes *routes, struct uplink *ret,
                struct err *e)
{
    struct finder f = {links, addresses, routes};
    const struct rtnl_link *l = choose(&f, choice, self);
    if (!l)
        return err_set(e, -ENODEV,
                       "no link for packets to other nodes: none has this node's address or a default route, or is "
                       "named by --iface");
    struct uplink u = {.link = l->index, .mtu = l->mtu};
    memcpy(u.name, l->name, sizeof(u.name));
    for (unsigned i = 0; i < FAMILIES; i++)
        take_address(&f, self ? &self->internal[i] : NULL, i, &u);
    *ret = u;
    return 0;
}
