/* SPDX-License-Identifier: Apache-2.0 */
/* Services and EndpointSlices from short texts, for the proxy's tests. */
#pragma once

#include "../testing.h"

#include "proxy/model.h"
#include "resources.h"
#include "wire/json.h"

#include <stdio.h>

struct few {
    struct service_index index;
    struct object *service, *slices[4];
};

static inline struct object *object_of(unsigned res, const char *json)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct val *v;
    struct err e = {0};
    if (json_decode(&a, resources[res].type, str_of(json), 0, NULL, &v, &e))
        fail_msg("%s: %s", json, e.text);
    return object_new(&resources[res], v);
}

static inline void put_object(struct few *w, struct object **slot, unsigned res, const char *json)
{
    struct object *now = json ? object_of(res, json) : NULL;
    if (!now && !*slot)
        return;
    service_index_changed(&w->index, &resources[res], *slot, now, NULL, NULL);
    object_unref(*slot);
    *slot = now;
}

/* spec: more members of the spec, with a comma first; more: of the object (status). */
static inline void put_service(struct few *w, const char *spec, const char *more)
{
    char json[2048];
    snprintf(json, sizeof(json),
             "{\"metadata\":{\"name\":\"svc1\",\"namespace\":\"ns1\",\"uid\":\"u\"},\"spec\":{\"clusterIP\":\"172.30.0.41\",\"clusterIPs\":[\"172.30.0.41\",\"fd00::41\"],"
             "\"ports\":[{\"name\":\"p80\",\"port\":80,\"protocol\":\"TCP\"%s}]%s}%s}",
             strstr(spec, "NodePort") || strstr(spec, "LoadBalancer") ? ",\"nodePort\":30001" : "", spec, more);
    put_object(w, &w->service, RES_SERVICES, json);
}

/* endpoints: one item a letter pair, e.g. "H1 T2": on this node (H) or there (T), address 10.180.0.N; after it flags: '-' not ready,
 * 't' terminating, 's' serving although not ready, 'z' 'Z' hint for our or another zone, 'n' 'N' for our or another node. */
static inline void put_slice(struct few *w, int number, const char *endpoints)
{
    struct buf b CLEANUP_BUF = BUF_INIT;
    struct str rest = str_of(endpoints), one;
    buf_printf(&b, "{\"metadata\":{\"name\":\"svc1-%d\",\"namespace\":\"ns1\",\"uid\":\"s%d\",\"labels\":{\"kubernetes.io/service-name\":\"svc1\"}},"
                   "\"addressType\":\"IPv4\",\"ports\":[{\"name\":\"p80\",\"port\":80,\"protocol\":\"TCP\"}],\"endpoints\":[", number, number);
    for (int n = 0; str_next(&rest, ' ', &one);) {
        if (one.n < 2)
            continue;
        bool off = str_find(one, '-') >= 0, leaving = str_find(one, 't') >= 0, serving = !off || str_find(one, 's') >= 0;
        buf_printf(&b, "%s{\"addresses\":[\"10.180.0.%c\"],\"nodeName\":\"%s\",\"conditions\":{\"ready\":%s,\"serving\":%s,\"terminating\":%s}", n++ ? "," : "",
                   one.p[1], one.p[0] == 'H' ? "here" : "there", off ? "false" : "true", serving ? "true" : "false", leaving ? "true" : "false");
        const char *zone = str_find(one, 'z') >= 0 ? "z1" : str_find(one, 'Z') >= 0 ? "z2" : NULL;
        const char *node = str_find(one, 'n') >= 0 ? "here" : str_find(one, 'N') >= 0 ? "there" : NULL;
        if (zone || node) {
            buf_puts(&b, ",\"hints\":{");
            if (zone)
                buf_printf(&b, "\"forZones\":[{\"name\":\"%s\"}]%s", zone, node ? "," : "");
            if (node)
                buf_printf(&b, "\"forNodes\":[{\"name\":\"%s\"}]", node);
            buf_putc(&b, '}');
        }
        buf_putc(&b, '}');
    }
    buf_puts(&b, "]}");
    put_object(w, &w->slices[number], RES_ENDPOINTSLICES, b.p);
}

static inline void few_done(struct few *w)
{
    put_object(w, &w->service, RES_SERVICES, NULL);
    for (int i = 0; i < 4; i++)
        put_object(w, &w->slices[i], RES_ENDPOINTSLICES, NULL);
    service_index_done(&w->index);
}

static inline void ports_of(struct few *w, const struct node_side *node, struct arena *a, struct service_ports *ret)
{
    model_service(node, service_index_get(&w->index, STR("ns1"), STR("svc1")), a, ret);
}
