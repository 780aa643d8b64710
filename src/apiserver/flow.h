/* SPDX-License-Identifier: Apache-2.0 */
/*
 * API priority and fairness (KEP-1040, flowcontrol.apiserver.k8s.io/v1): a request belongs to the FlowSchema of least precedence
 * number that matches it, and waits for seats of that schema's priority level.
 */
#pragma once

#include "apiserver/flow_level.h"
#include "apiserver/request.h"

struct flow_control;

void flow_open(struct apiserver *s); /* s->flow; before requests are served */
void flow_close(struct apiserver *s);
/* A stage: waits until it is the request's turn, or refuses it with 429. */
int flow_begin(struct request *r);
/* Does a rule list of a FlowSchema match? (for tests, too) */
bool flow_rules_match(const struct val *rules, const struct user *u, const struct request_info *in);
void flow_metrics(struct apiserver *s, struct buf *b);
/* GET /debug/api_priority_and_fairness/dump_priority_levels: text. */
void flow_dump_levels(struct apiserver *s, struct buf *b);

/* Fibers: limits follow demand every ten seconds; FlowSchemas say whether their level is there. */
void flow_adjust(void *apiserver);
void flow_status_follow(void *apiserver);
