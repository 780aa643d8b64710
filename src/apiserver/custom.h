/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Custom kinds: what CustomResourceDefinitions add to the table of resources, at run time. A version of one is a struct
 * resource like any other, with an index beyond those compiled in, that stays where it is as long as the server runs (objects
 * point to it); what its definition says of it is replaced with each change.
 */
#pragma once

#include "apiserver/request.h"
#include "type/structural.h"

struct custom_kind;

struct custom_scale {
    struct str spec_replicas, status_replicas, selector; /* simple JSON paths (".spec.replicas"); empty: none */
};

struct custom_programs;

struct custom_version {
    struct resource res;
    struct custom_type type;
    struct custom_kind *kind;
    const struct val *schema;         /* openAPIV3Schema; NULL: none */
    const struct val *selectable;     /* LIST of selectableFields */
    struct custom_scale scale;
    struct str warning;               /* a deprecated version says this; empty: nothing */
    bool served;
    struct custom_programs *programs; /* of the definition as it stands */
    const struct val *said;           /* by the last definition that had it: its entry in spec.versions */
    uint64_t in_turn;                 /* which that was */
};

/* The version behind a resource; NULL for one that is compiled in. */
const struct custom_version *custom_version(const struct resource *r);
/* As what objects of r's kind are stored; r itself when it is compiled in. */
const struct resource *custom_stored(const struct resource *r);
/* Its definition is being deleted: nothing new may be made. */
bool custom_terminating(const struct resource *r);

/* The server's own resource for one that a client in this process describes (or has from us): NULL when there is none such. */
const struct resource *custom_resolve(const struct apiserver *s, const struct resource *r);

/* ---- what is served: compiled in and custom ------------------------------------------------------------ */

const struct resource *served_find(const struct apiserver *s, struct str group, struct str version, struct str plural);
const struct resource *served_find_kind(const struct apiserver *s, struct str group, struct str version, struct str kind);
/* Group versions in the order of discovery. */
size_t served_count(const struct apiserver *s);
const struct group_version *served_at(const struct apiserver *s, size_t i);
/* The resources of a group version, in the arena. */
const struct resource **served_resources(const struct apiserver *s, struct arena *a, const struct group_version *g, size_t *ret_n);

/* v10 before v2 before v1 before v2beta1 before v1alpha3, then other words. */
int version_order(const char *x, const char *y);
/* Pages about what is served (discovery, OpenAPI) are made anew. */
void served_changed(struct apiserver *s);

/* The served versions of the kind that r is of, r among them; in the arena. */
const struct resource *const *served_versions(struct arena *a, const struct resource *r, size_t *ret_n);

/* ---- their life ---------------------------------------------------------------------------------------- */

/* Takes up all definitions that are established. Waits. Before the server answers. */
void custom_open(struct apiserver *s);
/* A fiber: judges new and changed definitions, serves them, ends those that are being deleted. */
void custom_follow(void *apiserver);
void custom_close(struct apiserver *s);
/* Ends what definitions said before they changed, where nobody can still look at it. */
void custom_end_retired(struct apiserver *s, struct mono now);

/* custom_status.c, pure: names and conditions of a definition; taken: what other definitions of the group have of its names.
 * True when the status changed. */
struct custom_names {
    const struct str *resources, *kinds;
    size_t n_resources, n_kinds;
};
bool custom_judge(struct arena *a, struct val *crd, const struct custom_names *taken, struct wall now);

/* custom_object.c: value rules of the schema, in place of the tables'; causes go to r->status. */
/* Of a definition itself: do its expressions compile? */
void custom_check_definition(struct request *r, const struct resource *res, const struct val *crd);
void custom_rules(struct request *r, const struct resource *res, const struct val *v, const struct val *old);
/* The Scale of a custom resource by the paths of its definition; false when it does not say how many are wanted. */
struct custom_replicas {
    int64_t wanted, now;
    struct str selector;
};
bool custom_scale_get(const struct custom_version *c, struct arena *a, const struct val *v, struct custom_replicas *ret);
/* False when there is no such place in the object. */
bool custom_scale_set(const struct custom_version *c, struct arena *a, struct val *v, int64_t replicas);
bool custom_selectable(const struct resource *res, struct str path);
