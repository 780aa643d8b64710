/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The engine of all controllers (D4, D6): a controller declares the kinds it reads and how an object maps to
 * keys; the engine hands it a snapshot and a key and carries out the writes it returns. reconcile is pure: no
 * clock, no socket, no log; everything it knows is in its arguments, so a table of cases tests it.
 *
 * The engine waits until the replica has seen its own last writes for a key before it reconciles that key
 * again; that takes the place of upstream's expectations. Failures are retried with back-off (5 ms doubling
 * to 1000 s, as upstream).
 */
#pragma once

#include "client/replica.h"
#include "base/list.h"

struct key {
    struct str ns, name;
};

/* ---- what a reconcile returns ------------------------------------------------------------------------ */

enum write_verb {
    WRITE_CREATE,
    WRITE_UPDATE,
    WRITE_UPDATE_STATUS,
    WRITE_PATCH,
    WRITE_PATCH_STATUS,
    WRITE_DELETE,
    WRITE_EVENT,
    WRITE_CHECK_ABSENT,
    WRITE_CHECK_ALLOWED
};

/* What to tell users about a create or delete: an event about `about`, whose text is followed by the name of
 * the object written or by why it was refused. That it is there already is no event. */
struct telling {
    const char *reason, *text;               /* "SuccessfulCreate", "Created pod: " */
    const char *failed_reason, *failed_text; /* "FailedCreate", "Error creating: "; NULL for none */
    const char *tail;                        /* after the name; NULL: nothing */
};

/* WRITE_CHECK_ABSENT writes nothing: it asks the server itself and goes on only if the object (with that uid)
 * is not there; for decisions that must not rest on a replica that may lag. WRITE_CHECK_ALLOWED asks with a
 * SubjectAccessReview (body) and goes on only if that is allowed, else it is a refusal with 403. */

/* One thing to do. Carried out in order; a failure stops the rest of the list unless `may_fail` names its
 * code. Creates of one kind that follow each other run at once, in batches of 1, 2, 4 ... (deletes and patches
 * likewise: patches that follow each other are of different objects), so that a refusal that concerns them all
 * costs one request. */
struct write {
    struct list link;
    enum write_verb verb;
    const struct resource *res;
    struct str ns, name;     /* delete with an empty name: all of the namespace */
    const char *subresource; /* NULL, or "status", "scale", "eviction" ... beyond what the verb says */
    const struct val *body;  /* create, update; about whom for an event */
    struct str patch;        /* merge patch, JSON text */
    struct str uid;          /* delete and patch precondition */
    struct str revision;     /* delete precondition */
    int64_t grace_seconds;   /* delete: -1 default */
    const char *propagation; /* delete */
    int may_fail;            /* an HTTP code that is as good as success (404 of a delete, 409 of a create) */
    bool strategic;          /* the patch is a strategic merge patch */
    bool warning;            /* event */
    const char *reason;      /* event */
    struct str message;      /* event */
    const struct telling *telling;    /* NULL: nothing to tell */
    const struct resource *about_res; /* of telling */
    const struct val *about;
};

struct controllers_config;
struct writes {
    struct arena *arena;
    struct list list;
    int64_t again_ns; /* reconcile the key again after so long even if nothing changes; 0: no */
    const struct controllers_config *config;
    void *state;          /* of the controller, see below */
    const void *gathered; /* what its gather handed over; NULL: it has none, or there was nothing */
};
struct write *writes_add(struct writes *w, enum write_verb verb, const struct resource *res, struct str ns,
                         struct str name);
/* The object itself, or its status, as it shall be: with its resourceVersion, so a write in between is a
 * conflict. */
struct write *writes_update(struct writes *w, const struct resource *res, const struct val *v);
struct write *writes_update_status(struct writes *w, const struct resource *res, const struct val *v);
/* Deletes that very object (uid); that it is gone already is fine. */
struct write *writes_delete(struct writes *w, const struct object *o);
void writes_event(struct writes *w, const struct resource *res, const struct val *about, bool warning,
                  const char *reason, const char *fmt, ...) PRINTF(6, 7);
void writes_again(struct writes *w, int64_t ns); /* the soonest wins */
/* Drops all but statuses: what is left to say when something else was refused. */
void writes_keep_status(struct writes *w);

/* ---- a controller ------------------------------------------------------------------------------------ */

typedef void key_sink(void *arg, struct key key);
struct controller {
    const char *name;      /* upstream's name in --controllers: "deployment-controller" */
    const char *alias;     /* its former name there ("deployment"), NULL: none */
    const char *source;    /* of its events; NULL: name */
    const char *account;   /* its service account in kube-system; NULL: name */
    const uint16_t *reads; /* RES_xxx, ends with 0; NULL: every stored kind but Events, and custom ones (customs.h) */
    unsigned workers;      /* 0: 1 (keys in flight at once) */
    /* Which keys a changed object concerns. old or new may be NULL. */
    void (*keys_of)(const struct snapshot *world, const struct resource *res, const struct object *old,
                    const struct object *new_, key_sink *sink, void *arg);
    /* The same for a controller that keeps count of what it sees in its state; instead of keys_of. res: the replica's, which
     * that of a custom object need not be. */
    void (*changed)(void *state, const struct resource *res, const struct object *old, const struct object *new_,
                    key_sink *sink, void *arg);
    /* What no watch tells and must be asked for, for reconcile to find in ret->gathered: metrics. The one part of a
     * controller that waits; the world it sees may be older than that of the reconcile after it. NULL: nothing. */
    const void *(*gather)(struct client *c, const struct snapshot *world, struct key key, struct arena *a);
    /* 0, or negative when the world makes no sense (retried). now: wall for what is written, mono for
     * waiting. */
    int (*reconcile)(const struct snapshot *world, struct key key, struct wall now, struct writes *ret);
    /* What else to write when w was refused with s (conditions that tell why); NULL: nothing. The key is
     * retried: after its back-off, or when writes_again says so here. */
    void (*refused)(const struct snapshot *world, struct key key, const struct write *w,
                    const struct status *s, struct wall now, struct writes *ret);
    int64_t retry_max_ns; /* how long a failing key waits at most; 0: 1000 s */
    int64_t resync_ns; /* run once with an empty key every so long (rounds over everything), and when a custom kind
                          comes up; 0: no */
    int64_t (*resync_of)(
        const struct controllers_config *config); /* the same when flags decide; NULL: resync_ns */
    /* What it remembers between reconciles (when a node was last heard of); in ret->state. NULL: nothing. */
    void *(*state_new)(const struct controllers_config *config);
    void (*state_free)(void *state);
    /* Needs settings that are missing (--cluster-cidr)? Then it is left out. NULL: never. */
    bool (*enabled)(const struct controllers_config *config);
    bool off; /* not among "*" */
};
/* A create that was refused because its namespace is on its way out: nothing to complain about, and not tried again;
 * the end of the key's object is a change that it will see. */
bool refused_by_terminating_namespace(const struct status *s);

/* What a controller reads: its `reads`, or every stored kind that can be watched and is compiled in. */
const uint16_t *controller_reads(const struct controller *c);
extern const char
    *const controllers_elsewhere[]; /* names of upstream's that are accepted and mean nothing; NULL */
extern const struct controller
    *const controllers[]; /* ends with NULL: everything the controller manager runs */

/* ---- running ----------------------------------------------------------------------------------------- */

/* Settings that come from flags. Zero means upstream's default in brackets. */
struct controllers_config {
    const char *names;        /* --controllers: "*", "x", "-x"; NULL: all */
    struct str root_ca;       /* PEM for kube-root-ca.crt; empty: that controller is off */
    const char *cluster_cidr; /* pod networks of nodes are cut from these (comma list); NULL: no node IPAM */
    const char *service_cidr; /* left out of them */
    const char *service_node_ports; /* "30000-32767", for repair; NULL: any are right */
    const char *load_balancer_pool; /* addresses of LoadBalancer Services; NULL: somebody else gives them */
    unsigned node_mask_ipv4;  /* [24] */
    unsigned node_mask_ipv6;  /* [64] */
    int64_t node_monitor_grace;       /* [50 s] silence after which a node is Unknown */
    int64_t node_monitor_period;      /* [5 s] */
    int64_t node_startup_grace;       /* [60 s] */
    double node_eviction_rate;        /* [0.1] nodes a second */
    int64_t terminated_pod_threshold; /* [12500] */
    int64_t endpoints_per_slice;      /* [100] */
    bool no_force_detach;         /* a dead node's volumes stay attached until it says that they are free */
    bool no_dynamic_provisioning; /* claims only get volumes that are there */
    bool service_accounts; /* each controller writes as its service account (client over HTTPS only) */
    struct str signing_cert, signing_key; /* PEM: signer of CertificateSigningRequests; empty: off */
    int64_t signing_duration;             /* [1 year] */
    int64_t hpa_sync_period;              /* [15 s] */
    int64_t hpa_downscale_stabilization;  /* [5 min] */
    int64_t hpa_cpu_initialization;       /* [5 min] */
    int64_t hpa_initial_readiness_delay;  /* [30 s] */
    double hpa_tolerance;                 /* [0.1] */
    int64_t quota_sync_period;            /* [5 min] */
};

/* 0, or -EINVAL with a sentence: unknown controllers, networks that are none. */
int controllers_check(const struct controllers_config *config, struct err *e);
/* Runs controllers until the fiber is cancelled. names: comma list as --controllers ("*", "-name"), NULL:
 * all. */
int controllers_run(struct client *c, const char *names, struct err *e);
int controllers_run_with(struct client *c, const struct controllers_config *config, struct err *e);
/* One controller alone; for tests. */
int controller_run(struct client *c, const struct controller *controller,
                   const struct controllers_config *config, struct err *e);
/* The subcommand with upstream's flags (kube-controller-manager). Returns the exit code. */
int controller_manager_main(int argc, char **argv);
