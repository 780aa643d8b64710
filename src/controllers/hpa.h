/* SPDX-License-Identifier: Apache-2.0 */
/*
 * HorizontalPodAutoscaler (autoscaling/v2): so many pods as keep their metrics at a target.
 *
 *     hpa_gather.c   asks for the Scale of the target and for the metrics   (waits)
 *     hpa.c          status, conditions, the new size                       (pure)
 *     hpa_replicas.c what one metric proposes                               (pure)
 *     hpa_limits.c   how fast and how far that may go, given the past       (pure)
 */
#pragma once

#include "base/map.h"
#include "controllers/pods.h"
#include "type/selector.h"
#include "type/status.h"

extern const struct controller hpa_controller;

/* ---- readings ---------------------------------------------------------------------------------------- */

/* What was answered for one of spec.metrics: a PodMetricsList, a MetricValueList, an ExternalMetricValueList.
 */
struct hpa_reading {
    const struct val *v;
    struct str failed; /* why there is none; empty: there is */
};

struct hpa_readings {
    const struct val *spec;     /* of the autoscaler when they were asked for; NULL: as it is */
    const struct resource *res; /* of the target */
    const struct val *scale;    /* NULL: see scale_failed */
    struct str scale_failed;
    const struct hpa_reading *metrics; /* as many as spec.metrics; NULL when they were not needed */
};
const void *hpa_gather(struct client *c, const struct snapshot *world, struct key key, struct arena *a);

/* ---- settings and memory ----------------------------------------------------------------------------- */

/* controllers_config with its defaults. */
struct hpa_settings {
    int64_t period, downscale_window, cpu_initialization, readiness_delay; /* ns */
    double tolerance;
};
struct hpa_settings hpa_settings_of(const struct controllers_config *c);

struct hpa_mark {
    struct wall at;
    int64_t n;
};
struct hpa_marks {
    struct hpa_mark *items; /* malloc'd */
    size_t n;
};

/* What is remembered of one autoscaler between two looks. */
struct hpa_memory {
    struct hpa_marks proposals;  /* sizes that the metrics asked for, unlimited */
    struct hpa_marks ups, downs; /* by how much it was scaled, when */
    char *selector;              /* of its target, malloc'd; NULL: unknown */
    /* The change asked for last, to be taken back when it turns out that it never came about. */
    int64_t from, to;
    struct str reason; /* of static text or in reason_text */
    char reason_text[256];
};
void hpa_memory_free(void *memory);

/* ---- deciding ---------------------------------------------------------------------------------------- */

enum { HPA_UNKNOWN = -1 };

int64_t hpa_min_replicas(const struct val *hpa);
bool hpa_scaled_to_zero(const struct val *hpa);
/* Must metrics be asked for, the target having that many replicas? */
bool hpa_needs_metrics(const struct val *hpa, int64_t replicas);

/* One metric looked at. */
struct hpa_view {
    struct arena *arena;
    const struct val *hpa;
    const struct objects *pods; /* those that the target's selector takes */
    int64_t spec_replicas, status_replicas;
    struct hpa_settings settings;
    struct wall now;
};
struct hpa_proposal {
    int64_t replicas;
    struct str metric;        /* its name in messages */
    const struct val *status; /* a MetricStatus; NULL when the metric failed */
    const char *failed_reason;
    struct str failed;       /* as the condition and the event have it */
    struct str failed_first; /* with what upstream puts before it in the sum of errors */
};
/* True when the metric proposes something, else it failed. */
bool hpa_propose(const struct hpa_view *x, const struct val *metric, const struct hpa_reading *r,
                 struct hpa_proposal *ret);

/* Within limits: the size that may be had now. Notes the proposal in memory. */
struct hpa_limited {
    int64_t replicas;
    const char *able_reason, *able_message; /* of AbleToScale */
    bool limited;                           /* status of ScalingLimited */
    const char *limit_reason, *limit_message;
};
void hpa_limit(const struct val *hpa, const struct hpa_settings *s, struct hpa_memory *m, int64_t current,
               int64_t wanted, struct wall now, struct hpa_limited *ret);
/* A change that was asked for; only behaviours make use of it. */
void hpa_note_change(const struct val *hpa, struct hpa_memory *m, int64_t from, int64_t to, struct wall now);
void hpa_unnote_change(struct hpa_memory *m);
void hpa_first_look(struct hpa_memory *m, int64_t replicas, struct wall now);
