/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the kubelet share. Private to this folder. */
#pragma once

#include "base/fiber.h"
#include "base/log.h"
#include "base/map.h"
#include "base/os.h"
#include "client/delegate.h"
#include "client/replica.h"
#include "node/actions.h"
#include "node/backoff.h"
#include "node/cpus.h"
#include "node/criconfig.h"
#include "node/devices.h"
#include "node/dra.h"
#include "node/gate.h"
#include "node/host.h"
#include "node/kubelet.h"
#include "node/objects.h"
#include "node/podcerts.h"
#include "node/podstatus.h"
#include "node/runtime.h"
#include "node/volumes.h"
#include "resources.h"

#define LOG "kubelet"

struct worker;
struct http_client;
struct http_server;

/* What is known of a Pod from the runtime, whether or not somebody wants it. */
struct pod_record {
    struct podstate *state; /* NULL: nothing left of it */
    uint64_t signature;     /* of the lists it was made from */
    struct group watchers;  /* one fiber a running container: notices its end at once */
    struct map watched;     /* container id -> non-NULL */
};

struct pull; /* images.c */

struct kubelet {
    struct kubelet_config cfg; /* complete: no NULL where a default exists */
    struct arena arena;        /* of cfg's texts and what lives as long as the kubelet */
    struct client *client;
    struct runtime *rt;
    struct host *host;
    struct host_facts facts;
    struct str *ips; /* of the node */
    size_t n_ips;
    struct gate starts; /* Pods whose sandbox and first containers are being made */
    struct event_recorder *events;
    struct val *node_ref; /* ObjectReference for events */
    struct replica *pods;   /* of this node */
    struct replica *world;  /* Services, the Node, RuntimeClasses */
    struct objects *objects;
    struct replica *cert_requests; /* PodCertificateRequests; NULL before the first is made */
    struct cri_node cri;
    struct resolv_conf resolv;
    struct group fibers;
    struct node_volumes *volumes;
    struct csi *csi;
    bool stopping;
    struct mono started;
    struct wall started_wall;

    struct map workers; /* uid -> struct worker */
    struct waitq workers_ended;
    struct map statics; /* Pods from files: uid -> struct object */
    bool statics_seen;  /* the files were read once */
    struct waitq mirrors_changed;

    struct map records; /* uid -> struct pod_record */
    struct fmutex relisting;
    struct waitq relist_wanted;
    struct waitq room; /* resources may have been given back */
    bool room_made;
    bool relisted; /* once */
    struct mono relisted_at;
    bool events_work;   /* the runtime tells what happens (until it says that it cannot) */

    struct devices devices;
    struct dra dra;
    struct numa_machine *machine; /* NULL: nobody needs to know it */
    struct topology_options topology;
    struct cpu_manager *cpus; /* NULL: policy "none" */
    struct memory_manager *memory; /* NULL: policy "None" */
    unsigned checkpoint_asked, checkpoint_tried; /* states of the two managers: the newest, and the newest that was to be written */
    struct waitq checkpoint_wanted, checkpoint_done;
    struct http_server *pod_resources;
    struct map pulls; /* "uid_image" -> struct pull */
    unsigned pulling;
    struct waitq pull_slot;

    /* health */
    bool runtime_ready, network_ready;
    struct val *features; /* of the runtime: runtimeHandlers and features of a NodeStatus */
    struct arena features_arena;
    uint64_t features_hash;
    char runtime_problem[512], network_trouble[512];
    bool memory_pressure, disk_pressure, pid_pressure;
    int64_t burstable_shares;      /* of the level's cgroup, as last written */
    bool masqueraded;              /* the rule is set for the present ranges */
    uint32_t rules_seen;           /* number of the kernel's last change of rules when that was looked at */
    bool node_touched;             /* something that the node's status tells has changed */
    struct waitq node_dirty;
    bool node_registered;
    bool shutting_down; /* takes no more Pods */
    bool images_dirty;  /* what images there are has changed */
    int server_port;
    struct map unused_images; /* image id -> struct wall: since when */
    struct metrics *metrics; /* metrics.h */

    struct http_client *http; /* for probes, hooks and the runtime's streaming server */
    struct http_server *server, *healthz;
    struct delegate delegate; /* server_auth.c */
};

/* ---- world.c: what a Pod may ask for beyond itself ----------------------------------------------------------- */

struct token {
    char *audience;
    int64_t seconds;
    char *text;
    struct wall refresh, expires;
};

/* Made for one pass over a Pod; objects it handed out live until world_done. */
struct world {
    struct kubelet *k;
    struct worker *worker;
    struct object *pod; /* as it was when the pass began; the worker's own may change at any wait */
    struct volume_world v;
    struct object **held;
    size_t n_held;
};
void world_init(struct world *w, struct worker *worker);
void world_done(struct world *w);
void worker_hold_references(struct worker *w, const struct val *pod, bool hold);
bool worker_refers(const struct worker *w, bool secret, struct str name);

/* The value as if it had come from the API: what a Go client could not tell from absent is absent. For comparing. */
const struct val *as_api_has_it(struct arena *a, const struct type *type, const struct val *v);

/* ---- events ----------------------------------------------------------------------------------------------------- */

void pod_event(struct kubelet *k, const struct val *pod, bool warning, const char *reason, const char *fmt, ...)
    PRINTF(5, 6);
/* A warning, with annotations (MAP). */
void pod_event_noted(struct kubelet *k, const struct val *pod, const struct val *annotations, const char *reason, struct str text);
void container_event(struct kubelet *k, const struct val *pod, struct str container, bool warning, const char *reason,
                     const char *fmt, ...) PRINTF(6, 7);
/* The condition DisruptionTarget of a Pod that the node ends. */
const struct val *pod_disruption(struct arena *a, const struct val *pod, struct str message);
void node_event(struct kubelet *k, bool warning, const char *reason, const char *fmt, ...) PRINTF(4, 5);

/* ---- pleg.c: noticing what happens in the runtime ------------------------------------------------------------------ */

void pleg_run(void *kubelet); /* a fiber */
/* Asks the runtime about one Pod now. 0 or an error; waits. */
int pleg_refresh(struct kubelet *k, struct str uid, struct err *e);
struct podstate *pleg_state(struct kubelet *k, struct str uid); /* a reference, NULL when there is nothing */
int pleg_relist(struct kubelet *k, struct err *e);
void pleg_forget_all(struct kubelet *k);

/* ---- worker.c: one fiber a Pod -------------------------------------------------------------------------------------- */

/* What is remembered about a container between its lives. */
struct container_book {
    struct backoff crash;
    struct wait_reason reason; /* malloc'd texts; reason.p NULL: none */
    struct wall retry_at;      /* not before; 0: any time */
    struct arena in_force_arena;
    const struct val *in_force; /* its resources (ResourceRequirements); NULL: not known */
};

enum worker_stage {
    WORKER_SYNCING,     /* make it as the spec says */
    WORKER_TERMINATING, /* stop all of it */
    WORKER_TERMINATED,  /* nothing runs: give back volumes and cgroup */
    WORKER_FINISHED,    /* nothing is left to do but to wait for the API object to go */
};

struct probe_entry;

struct worker {
    struct kubelet *k;
    char *uid, *ns, *name;
    struct object *pod;      /* what is to run: as wanted, with the resources that were granted; NULL for what only the
                              * runtime knows */
    struct object *api;      /* what is wanted; the same as pod unless a resize is pending */
    bool granted;            /* pod's resources are its own: a resize must be granted first */
    bool resize_queued;      /* to be granted as soon as there is room */
    struct resize_condition resize_pending, resize_progress;
    struct arena whole_arena;
    const struct val *whole_in_force; /* resources of the Pod as a whole */
    bool whole_known;
    int64_t userns; /* userns.c; 0: none */
    struct cgroup_limits cgroup; /* what its cgroup has, when cgroup_known */
    bool cgroup_known;
    struct podstate *state;  /* what is */
    enum worker_stage stage;
    bool started;            /* its fiber runs */
    bool ended;              /* its fiber has returned: to be freed */
    bool dirty;              /* something changed since the last look */
    bool removed;            /* the API (or the file) no longer has it */
    struct waitq wake;

    /* failed for reasons outside of its containers */
    const char *fail_reason;
    struct str fail_message;
    int64_t fail_grace; /* -1: the Pod's own */
    const struct val *disruption;
    struct arena fail_arena;

    struct map books;  /* container name -> struct container_book */
    struct map probes; /* container id -> struct probe_entry */
    struct token *tokens;
    size_t n_tokens;
    struct pod_cert **certs; /* podcerts.c */
    size_t n_certs;

    struct group doing;   /* at most one fiber: sync, terminate or clean up */
    int64_t doing_grace;  /* of the terminating fiber */
    bool volumes_dirty;   /* their content may have changed */
    struct pod_volumes *volumes; /* NULL before the first pass */
    bool volumes_ready, cgroup_ready;
    bool stopped;         /* nothing runs any more */
    bool cleaned;         /* volumes and cgroup are given back */
    bool disposed;        /* the runtime has forgotten it, too */
    bool progress;        /* the state changed since the last pass began */
    unsigned failures;    /* passes in a row without success or progress */
    struct mono retry_at; /* no pass before */

    struct val *status;   /* made last, in status_arena */
    struct arena status_arena;
    bool phase_terminal;  /* by its containers, even while that is not yet told */
    uint64_t status_hash, posted_hash;
    bool posted;          /* anything, ever */
    struct group posting; /* at most one fiber */
    bool api_deleted;     /* the final delete went through */
};

struct worker *worker_new(struct kubelet *k, struct str uid, struct str ns, struct str name);
void worker_free(struct worker *w); /* its fiber must have ended */
void worker_start(struct worker *w); /* once it is known what runs of it */
void worker_set_pod(struct worker *w, const struct object *pod); /* makes a reference of its own */
void worker_set_removed(struct worker *w);
void worker_set_state(struct worker *w, const struct podstate *state); /* makes a reference of its own */
void worker_set_volumes_dirty(struct worker *w);
void worker_wake(struct worker *w);
/* It must stop because the node says so (eviction, deadline, admission). The first reason stays. */
void worker_fail(struct worker *w, const char *reason, struct str message, int64_t grace, const struct val *disruption);
void workers_reap(void *kubelet); /* a fiber: frees what has ended */
struct worker *worker_find(struct kubelet *k, struct str uid);
struct container_book *worker_book(struct worker *w, struct str container);
void book_set_reason(struct container_book *b, const char *reason, struct str message);
void book_clear_reason(struct container_book *b);
const struct val *worker_pod(const struct worker *w); /* NULL for orphans */

/* ---- grant.c: resources that the node has set aside -------------------------------------------------------------- */

/* It may run with the resources of its spec (it was admitted). */
void grant_first(struct worker *w);
/* It runs since before our time: what was granted, and is in force, is read from its status and the runtime. */
void grant_recall(struct worker *w);
/* w->api is new: what of it is to run. resized: its resources were changed. */
void grant_follow(struct worker *w, bool resized);
void grant_retry(struct kubelet *k); /* there may be room now for resizes that wait */
void grant_check(struct worker *w); /* is a resize under way, or done? */
void grant_failed(struct worker *w, const char *message);
void grant_done(struct worker *w); /* frees what is remembered */
void grants_run(void *kubelet);     /* a fiber: looks at what waits now and then */
const struct val *worker_in_force(void *worker, struct str container, bool *ret_known);
void worker_set_in_force(struct worker *w, struct str container, const struct val *pod); /* as the Pod says */
bool worker_cgroup_differs(const struct worker *w);
bool worker_restarting(const struct worker *w); /* all of it begins anew, as its status says */

/* The cgroups between the root and the Pods: makes them, and keeps the burstable level's weight. */
int qos_update(struct kubelet *k, struct err *e);

/* ---- sync.c, start.c, kill.c ------------------------------------------------------------------------------------------ */

/* resizing.c: gives containers and the Pod's cgroup other resources, in an order in which none is ever larger than what
 * holds it. */
int resize_pod(struct worker *w, const struct val *pod, struct actions *act, struct err *e);

/* userns.c: a range of users for a Pod that wants one, when the runtime can. 0, or an error's sentence. */
int userns_ensure(struct worker *w, const struct val *pod, struct str handler, struct err *e);
/* What of the node goes into the Pod's configurations, with its range. */
struct cri_node userns_node(struct worker *w, const struct val *pod);

/* One pass: does what the decision says. 0, or an error whose sentence is in e (and was told as an event). */
int sync_pod(struct worker *w, struct err *e);
/* Pulls, creates and starts one container. 0, or 1 with reason and message in the book; -ECANCELED. */
struct starting {
    struct worker *w;
    const struct val *pod;
    const struct podstate *state;
    struct world *world;
    struct str sandbox_id;
    const struct val *sandbox_config;
};
int start_container(const struct starting *s, const struct start_action *action);

struct kill_request {
    struct worker *w;
    const struct val *spec; /* NULL: unknown */
    const struct rt_container *container;
    int64_t grace;          /* -1: from the spec or the annotation */
    enum kill_reason reason;
    struct str message;     /* of the event; empty: "Stopping container <name>" */
    struct sidecar_order *order; /* NULL: none */
};
int kill_container(const struct kill_request *r, struct err *e);
/* All of it: containers with their grace, then sandboxes. Waits. */
int kill_pod(struct worker *w, int64_t grace, struct err *e);

/* ---- images.c ----------------------------------------------------------------------------------------------------------- */

struct image_info {
    struct str ref;
    bool has_uid;
    int64_t uid;
    struct str user;
};
/* Makes sure the image is here, by the container's pull policy. 0; else -1 with the waiting reason and message. */
int image_ensure(struct worker *w, const struct val *container, const struct val *sandbox_config, struct world *world,
                 struct arena *a, struct image_info *ret, const char **ret_reason, struct str *ret_message,
                 struct wall *ret_retry);
void images_free(struct kubelet *k);

/* ---- probes and hooks ---------------------------------------------------------------------------------------------------- */

enum probe_result worker_probe_result(void *worker, enum probe_kind kind, struct str container_id);
void probes_update(struct worker *w); /* starts and stops probing to fit the state */
void probes_stop(struct worker *w, bool readiness_too);
void probes_free(struct worker *w);

/* One handler (exec, httpGet, tcpSocket, grpc, sleep) against a container. 0 success, 1 failure with what it said,
 * negative: it could not be tried. */
struct action_target {
    struct kubelet *k;
    const struct val *pod, *container;
    struct str container_id;
    struct str ip; /* of the Pod */
    bool hook;     /* an answer is enough, whatever its status code */
};
int action_run(const struct action_target *t, const struct val *handler, int64_t timeout_seconds, struct arena *a,
               struct str *ret_output);

/* ---- poststatus.c --------------------------------------------------------------------------------------------------------- */

void worker_make_status(struct worker *w);
void worker_post(struct worker *w); /* starts posting when there is something to post */
/* Termination messages: reads them into the state once a container has ended. */
void state_read_messages(struct kubelet *k, struct podstate *s);

/* ---- sources.c: which Pods are wanted ----------------------------------------------------------------------------------- */

void sources_pod_changed(void *kubelet, const struct resource *res, const struct object *old, const struct object *new_);
void sources_static_run(void *kubelet); /* a fiber */
void sources_reconcile(struct kubelet *k); /* workers for what only the runtime knows */
int mirror_ensure(struct worker *w);     /* the API's image of a static pod */
const struct object *mirror_of(struct kubelet *k, const struct val *pod);

/* ---- admit.c ------------------------------------------------------------------------------------------------------------- */

/* May the Pod run here, beside those that do? NULL, or the reason with a message (upstream's). Pure. */
struct admit_world {
    const struct val *node; /* the API's, may be NULL */
    const struct val *const *others;
    size_t n_others;
    const struct val *allocatable; /* map */
    const char *const *allowed_sysctls;
};
const char *admit_pod(struct arena *a, const struct val *pod, const struct admit_world *w, struct str *ret_message);

/* May the Pod that runs here have the resources that its spec asks for now? NULL, or the reason. */
const char *admit_resize(struct arena *a, const struct val *pod, const struct admit_world *w, struct str *ret_message);
/* Who else is here, what the node has. */
void admit_world_of(struct kubelet *k, const struct worker *w, struct arena *a, struct admit_world *ret);

/* ---- nodestatus.c, lease.c ------------------------------------------------------------------------------------------------ */

void node_touch(struct kubelet *k); /* look at it now */
void node_run(void *kubelet);  /* registers, then keeps the status: a fiber */
void lease_run(void *kubelet); /* a fiber */
struct val *node_allocatable(struct kubelet *k, struct arena *a);
int64_t node_allocatable_of(struct kubelet *k, const char *resource); /* milli for cpu */

/* ---- housekeeping: gc.c, logrotate.c, eviction.c ---------------------------------------------------------------------------- */

void gc_run(void *kubelet);
void gc_dead_containers(struct kubelet *k); /* of Pods that have ended */
void gc_unused_images(struct kubelet *k);   /* all of them */
void logrotate_run(void *kubelet);
void eviction_run(void *kubelet);

/* ---- the HTTPS face ------------------------------------------------------------------------------------------------------------ */

struct http_exchange;
int server_start(struct kubelet *k, struct err *e);
void server_stop(struct kubelet *k);
/* Who asks, and may they? True, or false after having answered 401 or 403 (server_auth.c). */
bool server_allows(struct kubelet *k, struct http_exchange *x);
void server_auth_forget(struct kubelet *k);
/* The Pod that a path names; NULL when there is none. uid empty: any. */
struct worker *server_find(struct kubelet *k, struct str ns, struct str name, struct str uid);
void serve_logs(struct kubelet *k, struct http_exchange *x, struct worker *w, struct str container);
void serve_stats(struct kubelet *k, struct http_exchange *x);
void serve_system_logs(struct kubelet *k, struct http_exchange *x);
/* A page of links to them. dirs: which of the names are folders. */
void system_logs_index(char *const *names, const bool *dirs, struct buf *ret);
void serve_shutdown(struct kubelet *k, struct http_exchange *x);
void serve_metrics(struct kubelet *k, struct http_exchange *x, struct str which);
/* Working set of a Pod, from the runtime's statistics: uid -> bytes. Values are malloc'd int64_t. */
int pod_memory_usage(struct kubelet *k, struct map *ret, struct err *e);

/* ---- cni.c --------------------------------------------------------------------------------------------------------------------- */

void cni_update(struct kubelet *k); /* writes the configuration when the node's pod CIDR is known and changed */
