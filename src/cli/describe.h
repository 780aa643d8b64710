/* SPDX-License-Identifier: Apache-2.0 */
/*
 * describe: an object told in lines, as upstream lays them out. What a line needs no code for stands in tables of
 * rows; describe_*.c hold the tables and the rest, by kind.
 */
#pragma once

#include "cli/request.h"
#include "cli/select.h"

struct desc {
    struct cli *c;
    struct buf text; /* with tabs */
    struct buf done; /* aligned */
    bool events;     /* --show-events */
};

/* A line's text with its level's indentation; the line end is the caller's. */
void desc_put(struct desc *d, unsigned level, const char *fmt, ...) PRINTF(3, 4);
/* What follows is aligned by itself. */
void desc_flush(struct desc *d);

enum row_kind {
    ROW_TEXT, /* scalars as they are */
    ROW_BOOL, /* True or False */
    ROW_TIME, /* RFC 1123 in local time */
    ROW_SECONDS, /* "30s" */
    ROW_LABELS, /* a line each */
    ROW_ANNOTATIONS, /* a line each, long ones folded */
    ROW_PAIRS, /* "a=b,c=d" */
    ROW_SELECTOR, /* a LabelSelector as text */
    ROW_JOIN, /* a list, with "," */
    ROW_JOIN_SPACED, /* with ", " */
    ROW_LIST, /* "[a b]" */
    ROW_CONTROLLER, /* "ReplicaSet/web"; no path */
    ROW_TITLE, /* the label alone, when the value is there */
};

struct desc_row {
    uint8_t level;
    const char *label; /* "Name:" */
    enum row_kind kind;
    name_id path[6];    /* ends with 0 */
    const char *absent; /* what to print then; NULL: no row */
};
/* rows ends with label NULL. */
void desc_rows(struct desc *d, const struct val *v, const struct desc_row *rows);
#define AT(...) {__VA_ARGS__, 0}

/* Name, Namespace, Labels, Annotations. */
extern const struct desc_row desc_meta_rows[];

/* Parts that several kinds have. */
void desc_labels(struct desc *d, const char *indent, const char *title, const struct val *labels);
void desc_annotations(struct desc *d, const char *title, const struct val *annotations);
void desc_events(struct desc *d, const struct info *i);
void desc_pod_template(struct desc *d, const struct val *template);
void desc_volume_source(struct desc *d, const struct val *source, bool persistent);
void desc_volumes(struct desc *d, const struct val *volumes, const char *space);
void desc_containers(struct desc *d, const char *title, const struct val *containers, const struct val *statuses,
                     const struct val *pod, const char *space);
void desc_tolerations(struct desc *d, const char *title, const struct val *tolerations);
void desc_taints(struct desc *d, const struct val *taints);
void desc_resource_list(struct desc *d, unsigned level, const struct val *list); /* "cpu:  1", sorted */
void desc_conditions(struct desc *d, const struct val *conditions); /* Type, Status, Reason */
void desc_claim(struct desc *d, const struct val *claim, bool whole, unsigned level);
/* "1 Running / 0 Waiting / 0 Succeeded / 0 Failed" of the pods an object controls. */
struct str desc_pods_status(struct desc *d, const struct info *i);
/* "10.0.0.1:80,10.0.0.2:80 + 2 more..." of the service's ready endpoints at that port name. */
struct str desc_endpoints(struct desc *d, struct str ns, struct str service, struct str port_name);

/* Texts, in the arena. */
struct str desc_text(struct desc *d, const struct val *v); /* as Go's %v */
struct str desc_time(struct desc *d, const struct val *time);
struct str desc_age(struct desc *d, const struct val *time); /* "5m", "<unknown>" */
struct str desc_pairs(struct desc *d, const struct val *map); /* "a=b,c=d", "<none>" */
struct str desc_selector(struct desc *d, const struct val *label_selector);
struct str desc_join(struct desc *d, const struct val *list, const char *between);
struct str desc_lower(struct desc *d, struct str s);
struct str access_modes(struct desc *d, const struct val *modes); /* "RWO,ROX" */

/* The keys of a MAP; k is a `const struct val *`. */
#define DESC_EACH_KEY(map, k)                                                                                \
    for (const struct val *k = val_is(map, VAL_MAP) ? (map)->items : NULL, *k##_end = k ? k + 2 * (size_t)(map)->n : NULL; \
         k < k##_end; k += 2)

typedef void describe_fn(struct desc *d, const struct info *i);
struct describer {
    uint16_t res; /* RES_xxx; 0 ends a table */
    describe_fn *fn;
};
extern const struct describer describe_core[], describe_workloads[], describe_network[], describe_cluster[], describe_other[];
/* Any other kind: whatever the object holds. */
void describe_anything(struct desc *d, const struct info *i);
