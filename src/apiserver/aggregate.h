/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The aggregation layer: group versions that other servers serve. An APIService with a service gives its group version away, as
 * a whole: what is asked of it goes on to that Service as soon as the object says Available (or is refused with 503), under the
 * name of who asked, and what the server says of itself is part of our discovery and OpenAPI. Who asks is known and may ask
 * before anything goes on.
 */
#pragma once

#include "apiserver/cache.h"
#include "apiserver/request.h"
#include "base/map.h"

struct apiserver;
struct group_version;

/* What an extension server said of its group version, malloc'd. */
struct extension_documents {
    struct str resources;                /* JSON: list of APIResourceDiscovery */
    struct str openapi_v2;               /* JSON: the swagger with the paths of the group version only */
    struct str openapi_v3;               /* the path and query of its document */
    struct str discovery_tag, v2_tag;    /* ETags */
    bool current;                        /* the last time that it was asked for resources it answered */
};

/* One APIService with a service. Counted: a request that waits keeps it. */
struct extension {
    unsigned refs;
    struct apiserver *server;
    struct object *object; /* the APIService as it stands */
    struct str name, group, version; /* malloc'd */
    bool gone;
    bool look;            /* something changed */
    struct waitq changed;
    struct extension_documents documents;
    struct mono asked;    /* when documents were asked for; 0: never since it became available */
};

struct aggregate {
    struct map extensions;  /* by the name of their APIService */
    struct cache_hook services, endpoints, api_services, definitions;
    struct map dirty;       /* names of APIServices to look at: aggregate_register */
    struct waitq changed;
    struct map unavailable; /* "name/reason" to how often (a uintptr_t) */
};

void aggregate_open(struct apiserver *s);
void aggregate_close(struct apiserver *s);
/* A fiber: keeps an APIService for each group version of custom kinds, and says of local ones that they are available. */
void aggregate_register(void *apiserver);
void aggregate_metrics(const struct apiserver *s, struct buf *b);

/* Who serves that group version instead of us; NULL: we do. Borrowed until the next wait. */
struct extension *aggregate_find(const struct apiserver *s, struct str group, struct str version);
/* Passes the request on: 0, or the request has a status. */
int aggregate_proxy(struct request *r, struct extension *x);

/* Group versions in the order of discovery, those of extension servers among them; in the arena. */
struct served_version {
    const char *group, *version;
    const struct group_version *own; /* NULL: an extension's */
    struct extension *extension;
    bool first; /* of its group */
};
struct served_version *aggregate_versions(const struct apiserver *s, struct arena *a, size_t *ret_n);

/* ---- aggregate_follow.c --------------------------------------------------------------------------------- */

struct extension *extension_ref(struct extension *x);
void extension_unref(struct extension *x);
bool extension_available(const struct extension *x);
/* A fiber of one extension (takes a reference): whether it is available, and what it says of itself. */
void extension_follow(void *extension);
/* A GET at the extension server under our own name. 0 with the answer in the arena. */
struct extension_answer {
    int code;
    struct str text, media, tag;
};
int extension_get(struct extension *x, const char *path, const char *user, const char *group, const char *accept, struct str tag,
                  int64_t timeout, struct arena *a, struct extension_answer *ret, struct err *e);
/* Where to, and by which client (peers.h). */
struct peer_client;
int extension_reach(struct extension *x, struct arena *a, struct peer_client **ret_client, struct str *ret_base, struct err *e);

/* What there is to say of an APIService before anybody is called: true, or the condition that is not met. slices: whether the
 * Service has EndpointSlices. Pure. */
struct extension_verdict {
    const char *status, *reason;
    struct str message;
};
bool extension_judge(struct arena *a, const struct val *api_service, const struct val *service, const struct val *const *slices,
                     size_t n_slices, struct extension_verdict *ret);

/* ---- aggregate_documents.c: texts of strangers, pure ----------------------------------------------------- */

/* The resources of a group version out of an APIGroupDiscoveryList: 0, -EINVAL, 1 when it is not in it. */
int documents_discovery(struct arena *a, struct str text, struct str group, struct str version, struct str *ret, struct err *e);
/* The same out of an APIResourceList (servers without aggregated discovery). */
int documents_resources(struct arena *a, struct str text, struct str group, struct str version, struct str *ret, struct err *e);
/* The swagger with nothing but the paths of a group version and the definitions that they need. */
int documents_v2(struct arena *a, struct str text, struct str group, struct str version, struct str *ret, struct err *e);
/* Where the index of OpenAPI v3 says that the document of a group version lies: 0, 1 when it is not in it. */
int documents_v3(struct arena *a, struct str text, struct str group, struct str version, struct str *ret, struct err *e);
/* Adds what documents_v2 gave to our own swagger; definitions of the same name and another content get another name. */
int documents_merge_v2(struct arena *a, struct str own, const struct str *others, size_t n, struct buf *ret, struct err *e);
