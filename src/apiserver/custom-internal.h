/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of custom kinds share: custom.c (their life), custom_describe.c (from definition to resources), custom_served.c
 * (what is served). */
#pragma once

#include "apiserver/cache.h"
#include "apiserver/conversion.h"
#include "apiserver/custom.h"
#include "apiserver/custom_cel.h"
#include "base/map.h"

/* A kind of which a definition speaks, or once spoke. */
struct custom_kind {
    struct str name; /* of the definition, malloc'd: "widgets.example.com" */
    uint16_t index;
    struct custom_version **versions; /* each stays where it is */
    size_t n_versions;
    struct custom_version *stored;
    struct cache_kind *cache;         /* NULL: not served */
    struct object *definition;        /* as it was taken up, what it is made from points into it; NULL: gone */
    struct arena *arena;              /* what is made from it; replaced when it changes */
    struct custom_programs *programs;
    struct conversions *conversions;  /* conversion.h; NULL: none yet */
    uint64_t turn;                    /* how often definitions were taken up */
    int64_t revision, generation;     /* of it */
    bool terminating, ending;         /* ending: a fiber is at it */
    struct mono gone;                 /* since when it is not served */
    struct list link;                 /* in custom_state.kinds; gone ones stand in their order */
};

struct custom_state {
    struct list kinds, gone;
    struct map by_name, by_kind; /* "group/version/plural" to served versions */
    struct map definitions;      /* name to struct custom_kind */
    struct map taken;            /* "group/r/name" and "group/k/kind": how many definitions have it (a uintptr_t) */
    uint16_t n_kinds;
    struct served *served;       /* NULL: to be made anew when somebody asks */
    struct list retired;
    struct cache_hook hook;
    struct waitq changed;
    struct map waiting;          /* names of definitions that wait for others: look again without being told */
    struct map dirty;            /* names of definitions to look at */
    unsigned ending;             /* how many are being ended */
};

/* Memory that a request may still look at; parts may be NULL. */
void custom_retire(struct custom_state *c, struct arena *a, struct object *definition, struct custom_programs *programs);
struct arena *custom_arena(void);

/* Makes the versions of a kind from k->definition, into k->arena. */
void custom_describe(struct custom_kind *k);
/* Leaves of them what objects that are still around need: names. */
void custom_describe_gone(struct custom_kind *k);

/* Puts the served versions of a kind into what is served, or takes them out: before anything of them changes. */
void custom_serve(struct apiserver *s, struct custom_kind *k);
void custom_unserve(struct apiserver *s, struct custom_kind *k);
void custom_served_done(struct custom_state *c);
