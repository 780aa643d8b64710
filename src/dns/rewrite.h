/* SPDX-License-Identifier: Apache-2.0 */
/* `rewrite` of a Corefile: questions changed on their way in, and answers changed back on their way out. */
#pragma once

#include "dns/message.h"
#include "dns/pattern.h"

enum rewrite_what { REWRITE_NAME, REWRITE_CLASS, REWRITE_TYPE, REWRITE_TTL, REWRITE_RCODE };
enum rewrite_how { REWRITE_EXACT, REWRITE_PREFIX, REWRITE_SUFFIX, REWRITE_SUBSTRING, REWRITE_REGEX };

struct rewrite_answer {
    bool value; /* of the records, else their names */
    struct pattern from;
    struct str to;
};

struct rewrite_rule {
    enum rewrite_what what;
    enum rewrite_how how;
    bool stop, automatic;
    struct str from, to;    /* names with their last dot; classes and types as text */
    struct pattern pattern; /* REWRITE_REGEX */
    uint16_t from_number, to_number;
    uint32_t ttl_min, ttl_max;
    struct rewrite_answer *answers;
    size_t n_answers;
};

struct rewrites {
    struct rewrite_rule *rules;
    size_t n;
};

struct config_parse;
struct directive;
int rewrite_parse(const struct config_parse *p, const struct directive *d);
void rewrites_done(struct rewrites *r);

/* What was done to one question, for its answer. */
struct rewriting {
    const struct rewrites *rules;
    uint64_t applied; /* rules, as bits */
    bool changed;
};
enum { REWRITES_MAX = 64 };

/* Changes q; its question section then lies in *question. */
void rewrite_question(const struct rewrites *r, struct dns_query *q, struct buf *question, struct rewriting *ret);
/* Makes of the answer to the changed question that to the one that was asked, into ret (started by this function). */
void rewrite_reply(const struct rewriting *w, const struct dns_query *asked, const struct dns_query *changed, struct str wire,
                   size_t limit, struct dns_reply *ret);
