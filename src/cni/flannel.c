/* SPDX-License-Identifier: Apache-2.0 */
/* Type flannel: the configuration that subnet.env and the delegate make together. Pure. */
#include "cni/cni.h"

#include "wire/json.h"

static struct val text_val(struct arena *a, const char *s)
{
    return val_of_str(arena_str(a, str_of(s)));
}

/* What is not said in the delegate. */
static void fill(struct arena *a, struct val *map, const char *name, struct val v)
{
    if (!val_key(map, str_of(name)))
        val_put(a, map, str_of(name), v);
}

static struct val make_ipam(struct arena *a, const struct val *given, const struct subnet_env *env)
{
    struct val *ipam = val_is(given, VAL_MAP) ? val_copy(a, given) : val_new(a, VAL_MAP);
    struct val *sets = val_new(a, VAL_LIST), *routes = val_new(a, VAL_LIST);
    char text[IP_TEXT_MAX];
    for (size_t f = 0; f < 2; f++) {
        struct val *set = val_new(a, VAL_LIST), *range = val_new(a, VAL_MAP), *route = val_new(a, VAL_MAP);
        if (env->subnet[f].ip.family) {
            val_put(a, range, STR("subnet"), text_val(a, prefix_format(&env->subnet[f], text)));
            val_add(a, set, *range);
            val_add(a, sets, *set);
        }
        if (env->network[f].ip.family) {
            val_put(a, route, STR("dst"), text_val(a, prefix_format(&env->network[f], text)));
            val_add(a, routes, *route);
        }
    }
    VAL_EACH (val_key(given, STR("routes")), v)
        val_add(a, routes, *v);
    fill(a, ipam, "type", text_val(a, "host-local"));
    val_put(a, ipam, STR("ranges"), *sets);
    val_put(a, ipam, STR("routes"), *routes);
    return *ipam;
}

int cni_flannel_delegate(struct arena *a, const struct val *conf, const struct subnet_env *env, struct str *ret,
                         struct err *e)
{
    const struct val *given = val_key(conf, STR("delegate"));
    struct buf b = BUF_INIT;
    if ((!env->subnet[0].ip.family && !env->subnet[1].ip.family) || !env->mtu)
        return err_set(e, CNI_TRY_LATER, "subnet.env has no subnet or MTU yet");
    struct val *d = val_is(given, VAL_MAP) ? val_copy(a, given) : val_new(a, VAL_MAP);
    if (val_key(d, STR("name")) || (val_key(d, STR("ipam")) && !val_is(val_key(d, STR("ipam")), VAL_MAP)))
        return err_set(e, CNI_BAD_CONFIG, "delegate: name is not for the delegate, and ipam is an object");
    fill(a, d, "type", text_val(a, "bridge"));
    fill(a, d, "ipMasq", val_of_bool(!env->ip_masq));
    fill(a, d, "mtu", val_of_int(env->mtu));
    if (str_is(val_str(val_key(d, STR("type"))), "bridge"))
        fill(a, d, "isGateway", val_of_bool(true));
    val_put(a, d, STR("name"), *val_key(conf, STR("name")));
    static const char *const inherited[] = {"cniVersion", "runtimeConfig", "args", "prevResult"};
    for (size_t i = 0; i < ARRAY_SIZE(inherited); i++)
        if (val_key(conf, str_of(inherited[i])))
            val_put(a, d, str_of(inherited[i]), *val_key(conf, str_of(inherited[i])));
    val_put(a, d, STR("ipam"), make_ipam(a, val_key(d, STR("ipam")), env));
    json_encode(&b, NULL, d, JSON_NO_HTML);
    *ret = arena_str(a, buf_str(&b));
    buf_done(&b);
    return 0;
}
