/* SPDX-License-Identifier: Apache-2.0 */
/* Services and what stands around them. */
#include "cli/describe.h"

#include "names.h"
#include "resources.h"
#include "type/meta.h"

#include <time.h>

static struct str or_unset(struct str s)
{
    return s.n ? s : STR("<unset>");
}

/* ---- endpoints ---------------------------------------------------------------------------------------------------- */

enum { ENDPOINTS_SHOWN = 3 };

struct endpoints {
    struct buf text;
    size_t n;
};

static void add_endpoint(struct endpoints *e, const struct val *endpoint, const struct val *port)
{
    const struct val *ready = val_at(endpoint, N_conditions, N_ready);
    struct str address = val_str(val_item(val_get(endpoint, N_addresses), 0));
    bool v6 = str_find(address, ':') >= 0 && port;
    if (ready && !val_bool(ready, true))
        return;
    if (e->n++ >= ENDPOINTS_SHOWN)
        return;
    buf_printf(&e->text, "%s%s" STR_FMT "%s", e->text.n ? "," : "", v6 ? "[" : "", STR_ARG(address), v6 ? "]" : "");
    if (port)
        buf_printf(&e->text, ":%lld", (long long)val_int(val_get(port, N_port), 0));
}

static void add_slice(struct endpoints *e, const struct val *slice, struct str port_name)
{
    const struct val *ports = val_get(slice, N_ports), *endpoints = val_get(slice, N_endpoints);
    VAL_EACH(ports, p)
    {
        if (!str_eq(val_getstr(p, N_name), port_name))
            continue;
        VAL_EACH(endpoints, v)
        {
            add_endpoint(e, v, p);
        }
    }
    VAL_EACH(endpoints, v)
    {
        if (!val_len(ports)) /* a headless service may have none */
            add_endpoint(e, v, NULL);
    }
}

struct str desc_endpoints(struct desc *d, struct str ns, struct str service, struct str port_name)
{
    struct status s;
    struct val *list = NULL;
    struct endpoints e = {BUF_INIT, 0};
    struct str labels = cli_printf(d->c, "kubernetes.io/service-name=" STR_FMT, STR_ARG(service));
    if (request_list(d->c, kind_at(d->c, RES_ENDPOINTSLICES), ns, query_with(d->c, STR_NULL, "labelSelector", labels), &list, &s))
        return cli_printf(d->c, "<error: " STR_FMT ">", STR_ARG(s.message));
    if (!val_len(val_get(list, N_items)))
        return STR("<none>");
    VAL_EACH(val_get(list, N_items), slice)
    {
        add_slice(&e, slice, port_name);
    }
    if (e.n > ENDPOINTS_SHOWN)
        buf_printf(&e.text, " + %zu more...", e.n - ENDPOINTS_SHOWN);
    struct str out = arena_str(&d->c->a, buf_str(&e.text));
    buf_done(&e.text);
    return out;
}

/* ---- services ------------------------------------------------------------------------------------------------------ */

static const struct desc_row service_rows[] = {
    {0, "Name:", ROW_TEXT, AT(N_metadata, N_name), ""},
    {0, "Namespace:", ROW_TEXT, AT(N_metadata, N_namespace), ""},
    {0, "Labels", ROW_LABELS, AT(N_metadata, N_labels), NULL},
    {0, "Annotations", ROW_ANNOTATIONS, AT(N_metadata, N_annotations), NULL},
    {0, "Selector:", ROW_PAIRS, AT(N_spec, N_selector), "<none>"},
    {0, "Type:", ROW_TEXT, AT(N_spec, N_type), ""},
    {0, "IP Family Policy:", ROW_TEXT, AT(N_spec, N_ipFamilyPolicy), NULL},
    {0, "IP Families:", ROW_JOIN, AT(N_spec, N_ipFamilies), "<none>"},
    {0, "IP:", ROW_TEXT, AT(N_spec, N_clusterIP), ""},
    {0, "IPs:", ROW_JOIN, AT(N_spec, N_clusterIPs), "<none>"},
    {0, "External IPs:", ROW_JOIN, AT(N_spec, N_externalIPs), NULL},
    {0, "Desired LoadBalancer IP:", ROW_TEXT, AT(N_spec, N_loadBalancerIP), NULL},
    {0, "External Name:", ROW_TEXT, AT(N_spec, N_externalName), NULL},
    {0},
};
static const struct desc_row service_end[] = {
    {0, "Session Affinity:", ROW_TEXT, AT(N_spec, N_sessionAffinity), ""},
    {0, "External Traffic Policy:", ROW_TEXT, AT(N_spec, N_externalTrafficPolicy), NULL},
    {0, "Internal Traffic Policy:", ROW_TEXT, AT(N_spec, N_internalTrafficPolicy), NULL},
    {0, "HealthCheck NodePort:", ROW_TEXT, AT(N_spec, N_healthCheckNodePort), NULL},
    {0, "LoadBalancer Source Ranges:", ROW_JOIN, AT(N_spec, N_loadBalancerSourceRanges), NULL},
    {0, "Traffic Distribution:", ROW_TEXT, AT(N_spec, N_trafficDistribution), NULL},
    {0},
};

static void put_balancer(struct desc *d, const struct val *ingress)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    VAL_EACH(ingress, v)
    {
        struct str ip = val_getstr(v, N_ip), mode = val_getstr(v, N_ipMode);
        buf_printf(&b, "%s" STR_FMT, b.n ? ", " : "", STR_ARG(ip.n ? ip : val_getstr(v, N_hostname)));
        if (ip.n && mode.n)
            buf_printf(&b, " (" STR_FMT ")", STR_ARG(mode));
    }
    if (b.n)
        desc_put(d, 0, "LoadBalancer Ingress:\t" STR_FMT "\n", STR_ARG(buf_str(&b)));
}

static void put_port(struct desc *d, const struct info *i, const struct val *p)
{
    struct str name = or_unset(val_getstr(p, N_name)), protocol = val_getstr(p, N_protocol), app = val_getstr(p, N_appProtocol);
    int64_t node = val_int(val_get(p, N_nodePort), 0);
    desc_put(d, 0, "Port:\t" STR_FMT "\t%lld/" STR_FMT "\n", STR_ARG(name), (long long)val_int(val_get(p, N_port), 0),
             STR_ARG(protocol));
    desc_put(d, 0, "TargetPort:\t" STR_FMT "/" STR_FMT "\n", STR_ARG(desc_text(d, val_get(p, N_targetPort))), STR_ARG(protocol));
    if (app.n)
        desc_put(d, 0, "AppProtocol:\t" STR_FMT "\n", STR_ARG(app));
    if (node)
        desc_put(d, 0, "NodePort:\t" STR_FMT "\t%lld/" STR_FMT "\n", STR_ARG(name), (long long)node, STR_ARG(protocol));
    desc_put(d, 0, "Endpoints:\t" STR_FMT "\n", STR_ARG(desc_endpoints(d, i->ns, i->name, val_getstr(p, N_name))));
}

static void describe_service(struct desc *d, const struct info *i)
{
    desc_rows(d, i->v, service_rows);
    put_balancer(d, val_at(i->v, N_status, N_loadBalancer, N_ingress));
    VAL_EACH(val_at(i->v, N_spec, N_ports), p)
    {
        put_port(d, i, p);
    }
    desc_rows(d, i->v, service_end);
    desc_events(d, i);
}

/* ---- endpoints and slices -------------------------------------------------------------------------------------------- */

static struct str addresses_of(struct desc *d, const struct val *list)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    VAL_EACH(list, v)
    {
        buf_printf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(val_getstr(v, N_ip)));
    }
    return b.n ? arena_str(&d->c->a, buf_str(&b)) : STR("<none>");
}

static void put_port_table(struct desc *d, unsigned level, const struct val *ports)
{
    desc_put(d, level, "Name\tPort\tProtocol\n");
    desc_put(d, level, "----\t----\t--------\n");
    VAL_EACH(ports, p)
    {
        desc_put(d, level, STR_FMT "\t" STR_FMT "\t" STR_FMT "\n", STR_ARG(or_unset(val_getstr(p, N_name))),
                 STR_ARG(or_unset(desc_text(d, val_get(p, N_port)))), STR_ARG(val_getstr(p, N_protocol)));
    }
}

static void describe_endpoints(struct desc *d, const struct info *i)
{
    desc_rows(d, i->v, desc_meta_rows);
    desc_put(d, 0, "Subsets:\n");
    VAL_EACH(val_get(i->v, N_subsets), s)
    {
        desc_put(d, 1, "Addresses:\t" STR_FMT "\n", STR_ARG(addresses_of(d, val_get(s, N_addresses))));
        desc_put(d, 1, "NotReadyAddresses:\t" STR_FMT "\n", STR_ARG(addresses_of(d, val_get(s, N_notReadyAddresses))));
        if (val_len(val_get(s, N_ports))) {
            desc_put(d, 1, "Ports:\n");
            put_port_table(d, 2, val_get(s, N_ports));
        }
        desc_put(d, 0, "\n");
    }
    desc_events(d, i);
}

static void put_slice_endpoint(struct desc *d, const struct val *e)
{
    static const struct desc_row rows[] = {{3, "Ready:", ROW_TEXT, AT(N_conditions, N_ready), "<unset>"},
                                           {2, "Hostname:", ROW_TEXT, AT(N_hostname), "<unset>"},
                                           {0}};
    static const struct desc_row more[] = {{2, "NodeName:", ROW_TEXT, AT(N_nodeName), "<unset>"},
                                           {2, "Zone:", ROW_TEXT, AT(N_zone), "<unset>"},
                                           {0}};
    const struct val *ref = val_get(e, N_targetRef);
    struct str addresses = desc_join(d, val_get(e, N_addresses), ", ");
    desc_put(d, 1, "- Addresses:\t" STR_FMT "\n", STR_ARG(addresses.n ? addresses : STR("<none>")));
    desc_put(d, 2, "Conditions:\n");
    desc_rows(d, e, rows);
    if (ref)
        desc_put(d, 2, "TargetRef:\t" STR_FMT "/" STR_FMT "\n", STR_ARG(val_getstr(ref, N_kind)), STR_ARG(val_getstr(ref, N_name)));
    desc_rows(d, e, more);
}

static void describe_slice(struct desc *d, const struct info *i)
{
    const struct val *ports = val_get(i->v, N_ports), *endpoints = val_get(i->v, N_endpoints);
    desc_rows(d, i->v, desc_meta_rows);
    desc_put(d, 0, "AddressType:\t" STR_FMT "\n", STR_ARG(val_getstr(i->v, N_addressType)));
    desc_put(d, 0, "Ports:%s\n", val_len(ports) ? "" : " <unset>");
    if (val_len(ports))
        put_port_table(d, 1, ports);
    desc_put(d, 0, "Endpoints:%s\n", val_len(endpoints) ? "" : " <none>");
    VAL_EACH(endpoints, e)
    {
        put_slice_endpoint(d, e);
    }
    desc_events(d, i);
}

/* ---- ingresses --------------------------------------------------------------------------------------------------------- */

static struct str backend_text(struct desc *d, struct str ns, const struct val *backend)
{
    const struct val *svc = val_get(backend, N_service), *res = val_get(backend, N_resource), *port = val_get(svc, N_port);
    struct val *service = NULL;
    struct status s;
    if (res)
        return cli_printf(d->c, "APIGroup: " STR_FMT ", Kind: " STR_FMT ", Name: " STR_FMT,
                          STR_ARG(val_getstr(res, N_apiGroup).n ? val_getstr(res, N_apiGroup) : STR("<none>")),
                          STR_ARG(val_getstr(res, N_kind)), STR_ARG(val_getstr(res, N_name)));
    if (!svc)
        return STR("");
    struct str name = val_getstr(svc, N_name), port_name = val_getstr(port, N_name), found = STR("");
    int64_t number = val_int(val_get(port, N_number), 0);
    struct str at = number ? cli_printf(d->c, "%lld", (long long)number) : port_name;
    struct str text = cli_printf(d->c, STR_FMT ":" STR_FMT, STR_ARG(name), STR_ARG(at));
    if (request_get(d->c, kind_at(d->c, RES_SERVICES), ns, name, NULL, &service, &s))
        return cli_printf(d->c, STR_FMT " (<error: " STR_FMT ">)", STR_ARG(text), STR_ARG(s.message));
    VAL_EACH(val_at(service, N_spec, N_ports), p)
    {
        if (number ? val_int(val_get(p, N_port), 0) == number : str_eq(val_getstr(p, N_name), port_name))
            found = val_getstr(p, N_name);
    }
    return cli_printf(d->c, STR_FMT " (" STR_FMT ")", STR_ARG(text), STR_ARG(desc_endpoints(d, ns, name, found)));
}

static void put_tls(struct desc *d, const struct val *list)
{
    if (val_len(list))
        desc_put(d, 0, "TLS:\n");
    VAL_EACH(list, t)
    {
        struct str secret = val_getstr(t, N_secretName);
        desc_put(d, 1, STR_FMT " " STR_FMT "\n",
                 STR_ARG(secret.n ? cli_printf(d->c, STR_FMT " terminates", STR_ARG(secret)) : STR("SNI routes")),
                 STR_ARG(desc_join(d, val_get(t, N_hosts), ",")));
    }
}

static void put_rules(struct desc *d, const struct info *i, struct str fallback)
{
    unsigned n = 0;
    desc_put(d, 0, "Rules:\n  Host\tPath\tBackends\n");
    desc_put(d, 1, "----\t----\t--------\n");
    VAL_EACH(val_at(i->v, N_spec, N_rules), r)
    {
        struct str host = val_getstr(r, N_host);
        if (!val_get(r, N_http))
            continue;
        n++;
        desc_put(d, 1, STR_FMT "\t\n", STR_ARG(host.n ? host : STR("*")));
        VAL_EACH(val_at(r, N_http, N_paths), p)
        {
            desc_put(d, 2, "\t" STR_FMT " \t" STR_FMT "\n", STR_ARG(val_getstr(p, N_path)),
                     STR_ARG(backend_text(d, i->ns, val_get(p, N_backend))));
        }
    }
    if (!n)
        desc_put(d, 1, "*\t*\t" STR_FMT "\n", STR_ARG(fallback));
}

static void describe_ingress(struct desc *d, const struct info *i)
{
    const struct val *v = i->v, *def = val_at(v, N_spec, N_defaultBackend);
    struct str class = val_str(val_at(v, N_spec, N_ingressClassName));
    struct str fallback = def ? backend_text(d, i->ns, def) : STR("<default>");
    struct buf b CLEANUP_BUF = BUF_INIT;
    VAL_EACH(val_at(v, N_status, N_loadBalancer, N_ingress), a)
    {
        struct str ip = val_getstr(a, N_ip);
        buf_printf(&b, "%s" STR_FMT, b.n ? "," : "", STR_ARG(ip.n ? ip : val_getstr(a, N_hostname)));
    }
    desc_put(d, 0, "Name:\t" STR_FMT "\n", STR_ARG(i->name));
    desc_labels(d, "", "Labels", obj_labels(v));
    desc_put(d, 0, "Namespace:\t" STR_FMT "\n", STR_ARG(i->ns));
    desc_put(d, 0, "Address:\t" STR_FMT "\n", STR_ARG(buf_str(&b)));
    desc_put(d, 0, "Ingress Class:\t" STR_FMT "\n", STR_ARG(class.n ? class : STR("<none>")));
    desc_put(d, 0, "Default backend:\t" STR_FMT "\n", STR_ARG(fallback));
    put_tls(d, val_at(v, N_spec, N_tls));
    put_rules(d, i, fallback);
    desc_annotations(d, "Annotations", val_at(v, N_metadata, N_annotations));
    desc_events(d, i);
}

/* ---- network policies ------------------------------------------------------------------------------------------------- */

static void put_policy_ports(struct desc *d, const struct val *ports)
{
    if (!val_len(ports))
        desc_put(d, 2, "To Port: <any> (traffic allowed to all ports)\n");
    VAL_EACH(ports, p)
    {
        struct str protocol = val_getstr(p, N_protocol);
        const struct val *end = val_get(p, N_endPort);
        desc_put(d, 2, "To Port%s: " STR_FMT, end ? " Range" : "", STR_ARG(desc_text(d, val_get(p, N_port))));
        if (end)
            desc_put(d, 0, "-%lld", (long long)val_int(end, 0));
        desc_put(d, 0, "/" STR_FMT "\n", STR_ARG(protocol.n ? protocol : STR("TCP")));
    }
}

static void put_peer(struct desc *d, const char *word, const struct val *peer)
{
    const struct val *pods = val_get(peer, N_podSelector), *spaces = val_get(peer, N_namespaceSelector), *block = val_get(peer, N_ipBlock);
    desc_put(d, 2, "%s:\n", word);
    if (spaces)
        desc_put(d, 3, "NamespaceSelector: " STR_FMT "\n", STR_ARG(desc_selector(d, spaces)));
    if (pods)
        desc_put(d, 3, "PodSelector: " STR_FMT "\n", STR_ARG(desc_selector(d, pods)));
    if (block && !pods && !spaces) {
        desc_put(d, 3, "IPBlock:\n");
        desc_put(d, 4, "CIDR: " STR_FMT "\n", STR_ARG(val_getstr(block, N_cidr)));
        desc_put(d, 4, "Except: " STR_FMT "\n", STR_ARG(desc_join(d, val_get(block, N_except), ", ")));
    }
}

static void put_policy_rules(struct desc *d, const struct val *rules, bool ingress)
{
    const char *word = ingress ? "From" : "To";
    size_t at = 0;
    if (!val_len(rules))
        desc_put(d, 2, "<none> (Selected pods are isolated for %s connectivity)\n", ingress ? "ingress" : "egress");
    VAL_EACH(rules, r)
    {
        const struct val *peers = val_get(r, ingress ? N_from : N_to);
        put_policy_ports(d, val_get(r, N_ports));
        if (!val_len(peers))
            desc_put(d, 2, "%s: <any> (traffic not restricted by %s)\n", word, ingress ? "source" : "destination");
        VAL_EACH(peers, p)
        {
            put_peer(d, word, p);
        }
        if (++at < val_len(rules))
            desc_put(d, 2, "----------\n");
    }
}

static bool has_type(const struct val *types_, const char *word)
{
    VAL_EACH(types_, v)
    {
        if (str_is(val_str(v), word))
            return true;
    }
    return false;
}

/* As Go prints a time when nobody says how. */
static struct str created_text(struct desc *d, const struct val *time)
{
    time_t seconds = (time_t)(val_time(time).ns / NSEC_PER_SEC);
    struct tm tm;
    char text[64];
    if (!localtime_r(&seconds, &tm))
        return STR("");
    return arena_str(&d->c->a, str_n(text, strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S %z %Z", &tm)));
}

static void describe_policy(struct desc *d, const struct info *i)
{
    const struct val *spec = val_get(i->v, N_spec), *pods = val_get(spec, N_podSelector), *kinds = val_get(spec, N_policyTypes);
    bool all = !val_len(val_get(pods, N_matchLabels)) && !val_len(val_get(pods, N_matchExpressions));
    desc_put(d, 0, "Name:\t" STR_FMT "\n", STR_ARG(i->name));
    desc_put(d, 0, "Namespace:\t" STR_FMT "\n", STR_ARG(i->ns));
    desc_put(d, 0, "Created on:\t" STR_FMT "\n", STR_ARG(created_text(d, val_at(i->v, N_metadata, N_creationTimestamp))));
    desc_labels(d, "", "Labels", obj_labels(i->v));
    desc_annotations(d, "Annotations", val_at(i->v, N_metadata, N_annotations));
    desc_put(d, 0, "Spec:\n");
    desc_put(d, 1, "PodSelector:     " STR_FMT "\n",
             STR_ARG(all ? STR("<none> (Allowing the specific traffic to all pods in this namespace)") : desc_selector(d, pods)));
    for (int k = 0; k < 2; k++) {
        bool on = has_type(kinds, k ? "Egress" : "Ingress");
        desc_put(d, 1, "%s %s traffic%s\n", on ? "Allowing" : "Not affecting", k ? "egress" : "ingress", on ? ":" : "");
        if (on)
            put_policy_rules(d, val_get(spec, k ? N_egress : N_ingress), !k);
    }
    desc_put(d, 1, "Policy Types: " STR_FMT "\n", STR_ARG(desc_join(d, kinds, ", ")));
}

const struct describer describe_network[] = {
    {RES_SERVICES, describe_service},   {RES_ENDPOINTS, describe_endpoints},     {RES_ENDPOINTSLICES, describe_slice},
    {RES_INGRESSES, describe_ingress}, {RES_NETWORKPOLICIES, describe_policy}, {0},
};
