/* SPDX-License-Identifier: Apache-2.0 */
#include "announce/plan.h"

#include "auth/crypto.h"
#include "names.h"
#include "type/meta.h"

#include <stdio.h>
#include <string.h>

#define EXCLUDE_LABEL "node.kubernetes.io/exclude-from-external-load-balancers"

struct str ip_map_key(const struct ip *ip, char ret[static IP_KEY_MAX])
{
    ret[0] = ip->family == AF_INET6 ? '6' : '4';
    memcpy(ret + 1, ip->b, 16);
    return str_n(ret, IP_KEY_MAX);
}

bool node_takes_part(const struct val *node)
{
    if (val_key(obj_labels(node), STR(EXCLUDE_LABEL)))
        return false;
    VAL_EACH (val_at(node, N_status, N_conditions), c)
        if (str_is(val_getstr(c, N_type), "NetworkUnavailable") && str_is(val_getstr(c, N_status), "True"))
            return false;
    return true;
}

/* ---- Services ------------------------------------------------------------------------------------------------- */

/* KEP-1959: a Service that names another's class is none of our business. KEP-1860: packets to an address of mode Proxy
 * come with a node's own. */
size_t service_addresses(const struct object *service, struct ip *ret, size_t most)
{
    const struct val *spec = service ? val_get(service->val, N_spec) : NULL, *class = val_get(spec, N_loadBalancerClass);
    size_t n = 0;
    if (!str_is(val_getstr(spec, N_type), "LoadBalancer") || (class && !str_is(val_str(class), ANNOUNCE_CLASS)))
        return 0;
    VAL_EACH (val_at(service->val, N_status, N_loadBalancer, N_ingress), point)
        if (n < most && !str_is(val_getstr(point, N_ipMode), "Proxy") && ip_parse(val_getstr(point, N_ip), &ret[n]))
            n++;
    return n;
}

/* Ready, or on its way out but still serving. */
static bool can_serve(const struct val *endpoint)
{
    const struct val *c = val_get(endpoint, N_conditions);
    bool ready = val_bool(val_get(c, N_ready), true);
    return ready || val_bool(val_get(c, N_serving), ready);
}

/* Whether some endpoint can serve; on the node, if that is given. */
static bool has_endpoint(const struct service_entry *s, struct str node)
{
    for (size_t i = 0; i < s->n_slices; i++)
        VAL_EACH (val_get(s->slices[i]->val, N_endpoints), e)
            if (can_serve(e) && (!node.n || str_eq(val_getstr(e, N_nodeName), node)))
                return true;
    return false;
}

/* ---- choosing --------------------------------------------------------------------------------------------------- */

static bool is_on_network(const struct member *m, const struct ip *ip)
{
    for (size_t i = 0; i < m->networks.n; i++)
        if (prefix_has(&m->networks.list[i], ip))
            return true;
    return false;
}

/* MetalLB's order: by the hash of node and address, so that a node's addresses go to many others when it goes. */
static void rank_of(const struct member *m, const struct ip *ip, char ret[static 65])
{
    char text[IP_TEXT_MAX];
    struct buf b CLEANUP_BUF = BUF_INIT;
    buf_printf(&b, STR_FMT "#%s", STR_ARG(m->node), ip_format(ip, text));
    sha256_hex(buf_str(&b), ret);
}

const struct member *choose_member(const struct service_entry *s, const struct ip *ip, const struct member *members,
                                   size_t n)
{
    const struct val *spec = val_get(s->service->val, N_spec);
    bool local = str_is(val_getstr(spec, N_externalTrafficPolicy), "Local"), best_near = false;
    const struct member *best = NULL;
    char rank[65], best_rank[65] = "";
    if (!has_endpoint(s, STR_NULL))
        return NULL;
    for (size_t i = 0; i < n; i++) {
        const struct member *m = &members[i];
        bool near = is_on_network(m, ip);
        if ((local && !has_endpoint(s, m->node)) || (best_near && !near))
            continue;
        rank_of(m, ip, rank);
        if (best && near == best_near && strcmp(rank, best_rank) >= 0)
            continue;
        best = m;
        best_near = near;
        memcpy(best_rank, rank, sizeof(rank));
    }
    return best;
}

int member_rank(const struct service_entry *s, const struct ip *ip, const struct member *members, size_t n, struct str self)
{
    struct member *left = xcalloc(n + 1, sizeof(*left));
    int rank = 0;
    size_t k = 0;
    for (size_t i = 0; i < n; i++)
        if (is_on_network(&members[i], ip))
            left[k++] = members[i];
    for (;; rank++) {
        const struct member *m = choose_member(s, ip, left, k);
        if (!m || str_eq(m->node, self)) {
            rank = m ? rank : -1;
            break;
        }
        left[m - left] = left[--k];
    }
    free(left);
    return rank;
}
