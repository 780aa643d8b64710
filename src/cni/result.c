/* SPDX-License-Identifier: Apache-2.0 */
/* The result in the form of each version. Pure. */
#include "cni/cni.h"

#include "wire/json.h"

#include <stdio.h>

/* 0.1.0 and 0.2.0: ip4 and ip6; 0.3.0 to 0.4.0: ips with "version"; later without. */
static int generation(struct str version)
{
    return str_starts(version, STR("0.1.")) || str_starts(version, STR("0.2.")) ? 0
           : str_starts(version, STR("0."))                                     ? 1
           : str_starts(version, STR("1.0."))                                   ? 2
                                                                                : 3;
}

static void put(struct buf *b, const char *before, const char *text)
{
    buf_puts(b, before);
    json_encode_str(b, str_of(text), JSON_NO_HTML);
}


static void put_routes(struct buf *b, const struct cni_result *r, uint8_t family, int gen)
{
    bool any = false;
    for (size_t i = 0; i < r->n_routes; i++) {
        const struct cni_route *t = &r->routes[i];
        char to[IP_TEXT_MAX], via[IP_TEXT_MAX];
        if (family && t->to.ip.family != family)
            continue;
        buf_puts(b, any ? "," : "[");
        any = true;
        if (gen == 3 && t->json.n) {
            buf_putstr(b, t->json);
            continue;
        }
        buf_printf(b, "{\"dst\":\"%s\"", prefix_format(&t->to, to));
        if (t->via.family)
            buf_printf(b, ",\"gw\":\"%s\"", ip_format(&t->via, via));
        buf_putc(b, '}');
    }
    if (any)
        buf_putc(b, ']');
}

static bool has_routes(const struct cni_result *r, uint8_t family)
{
    for (size_t i = 0; i < r->n_routes; i++)
        if (!family || r->routes[i].to.ip.family == family)
            return true;
    return false;
}

static void put_old(struct buf *b, const struct cni_result *r)
{
    for (size_t i = 0; i < r->n_addresses; i++) {
        const struct cni_address *at = &r->addresses[i];
        bool four = at->at.ip.family == AF_INET;
        char text[IP_TEXT_MAX];
        buf_printf(b, ",\"ip%c\":{\"ip\":\"%s\"", four ? '4' : '6', prefix_format(&at->at, text));
        if (at->gateway.family)
            buf_printf(b, ",\"gateway\":\"%s\"", ip_format(&at->gateway, text));
        if (has_routes(r, at->at.ip.family)) {
            buf_puts(b, ",\"routes\":");
            put_routes(b, r, at->at.ip.family, 0);
        }
        buf_putc(b, '}');
    }
}

static void put_interfaces(struct buf *b, const struct cni_result *r, int gen)
{
    for (size_t i = 0; i < r->n_interfaces; i++) {
        const struct cni_interface *l = &r->interfaces[i];
        put(b, i ? ",{\"name\":" : ",\"interfaces\":[{\"name\":", l->name);
        if (l->mac[0])
            put(b, ",\"mac\":", l->mac);
        if (gen == 3 && l->mtu)
            buf_printf(b, ",\"mtu\":%u", l->mtu);
        if (l->sandbox)
            put(b, ",\"sandbox\":", l->sandbox);
        buf_putc(b, '}');
    }
    buf_puts(b, r->n_interfaces ? "]" : "");
}

static void put_addresses(struct buf *b, const struct cni_result *r, int gen)
{
    for (size_t i = 0; i < r->n_addresses; i++) {
        const struct cni_address *at = &r->addresses[i];
        char text[IP_TEXT_MAX];
        buf_puts(b, i ? ",{" : ",\"ips\":[{");
        if (gen == 1)
            buf_printf(b, "\"version\":\"%c\",", at->at.ip.family == AF_INET ? '4' : '6');
        if (at->interface >= 0)
            buf_printf(b, "\"interface\":%d,", at->interface);
        buf_printf(b, "\"address\":\"%s\"", prefix_format(&at->at, text));
        if (at->gateway.family)
            buf_printf(b, ",\"gateway\":\"%s\"", ip_format(&at->gateway, text));
        buf_putc(b, '}');
    }
    buf_puts(b, r->n_addresses ? "]" : "");
}

void cni_result_print(struct buf *b, struct str version, const struct cni_result *r)
{
    int gen = generation(version);
    buf_puts(b, "{\"cniVersion\":");
    json_encode_str(b, version, 0);
    if (gen == 0) {
        put_old(b, r);
    } else {
        put_interfaces(b, r, gen);
        put_addresses(b, r, gen);
        if (has_routes(r, 0)) {
            buf_puts(b, ",\"routes\":");
            put_routes(b, r, 0, gen);
        }
    }
    buf_puts(b, ",\"dns\":");
    if (val_is(r->dns, VAL_MAP))
        json_encode(b, NULL, r->dns, JSON_NO_HTML);
    else
        buf_puts(b, "{}");
    buf_puts(b, "}\n");
}

void cni_error_print(struct buf *b, struct str version, int code, const char *message)
{
    buf_puts(b, "{\"cniVersion\":");
    json_encode_str(b, cni_version_known(version) ? version : STR("1.1.0"), 0);
    buf_printf(b, ",\"code\":%d", code);
    put(b, ",\"msg\":", message);
    buf_puts(b, "}\n");
}

/* ---- prevResult ------------------------------------------------------------------------------------------ */

static int read_address(const struct val *v, const char *member, struct cni_address *ret, struct err *e)
{
    struct str text = val_str(val_key(v, str_of(member))), via = val_str(val_key(v, STR("gateway")));
    struct cni_address at = {.interface = (int)val_int(val_key(v, STR("interface")), -1)};
    if (!prefix_parse_address(text, &at.at) || (via.n && !ip_parse(via, &at.gateway)))
        return err_set(e, CNI_DECODE, "prevResult: \"" STR_FMT "\" is no address", STR_ARG(text));
    *ret = at;
    return 0;
}

static int read_old(struct cni_result *r, const struct val *v, struct err *e)
{
    static const char *const names[] = {"ip4", "ip6"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct val *one = val_key(v, str_of(names[i]));
        int c = one ? read_address(one, "ip", &r->addresses[r->n_addresses], e) : 0;
        if (c)
            return c;
        r->n_addresses += one != NULL;
    }
    return 0;
}

static void read_interfaces(struct arena *a, struct cni_result *r, const struct val *list)
{
    r->interfaces = ARENA_ARRAY(a, struct cni_interface, val_len(list) + 1);
    VAL_EACH (list, v) {
        struct cni_interface *l = &r->interfaces[r->n_interfaces++];
        struct str sandbox = val_str(val_key(v, STR("sandbox")));
        snprintf(l->name, sizeof(l->name), STR_FMT, STR_ARG(val_str(val_key(v, STR("name")))));
        snprintf(l->mac, sizeof(l->mac), STR_FMT, STR_ARG(val_str(val_key(v, STR("mac")))));
        l->mtu = (uint32_t)val_int(val_key(v, STR("mtu")), 0);
        l->sandbox = sandbox.n ? arena_cstr(a, sandbox) : NULL;
    }
}

static int read_route_list(struct arena *a, struct cni_result *r, const struct val *list, struct err *e)
{
    struct cni_route *routes = ARENA_ARRAY(a, struct cni_route, val_len(list) + 1);
    VAL_EACH (list, v) {
        struct cni_route *t = &routes[r->n_routes];
        struct str via = val_str(val_key(v, STR("gw")));
        if (!prefix_parse(val_str(val_key(v, STR("dst"))), &t->to) || (via.n && !ip_parse(via, &t->via)))
            return err_set(e, CNI_DECODE, "prevResult: a route that is none");
        r->n_routes++;
    }
    r->routes = routes;
    return 0;
}

int cni_result_read(struct arena *a, const struct val *v, struct cni_result *ret, struct err *e)
{
    struct cni_result r = {0};
    const struct val *ips = val_key(v, STR("ips"));
    if (!val_is(v, VAL_MAP))
        return err_set(e, CNI_BAD_CONFIG, "prevResult is missing");
    r.addresses = ARENA_ARRAY(a, struct cni_address, val_len(ips) + 2);
    r.dns = val_key(v, STR("dns"));
    read_interfaces(a, &r, val_key(v, STR("interfaces")));
    int c = ips ? 0 : read_old(&r, v, e);
    VAL_EACH (ips, one)
        if (c == 0 && (c = read_address(one, "address", &r.addresses[r.n_addresses], e)) == 0)
            r.n_addresses++;
    c = c ? c : read_route_list(a, &r, val_key(v, STR("routes")), e);
    for (size_t i = 0; i < r.n_addresses; i++)
        if (r.addresses[i].interface >= (int)r.n_interfaces || r.addresses[i].interface < -1)
            r.addresses[i].interface = -1;
    if (c == 0)
        *ret = r;
    return c;
}
