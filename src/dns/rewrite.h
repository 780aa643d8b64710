/* SPDX-License-Identifier: Apache-2.0 */
/* `rewrite` of a Corefile: questions changed on their way in, and answers changed back on their way out. */
#pragma once

#include "cel/cel.h"
#include "dns/message.h"

enum rewrite_what { REWRITE_NAME, REWRITE_CLASS, REWRITE_TYPE, REWRITE_TTL, REWRITE_RCODE, REWRITE_CNAME, REWRITE_EDNS0 };
enum rewrite_how { REWRITE_EXACT, REWRITE_PREFIX, REWRITE_SUFFIX, REWRITE_SUBSTRING, REWRITE_REGEX };
enum { REWRITE_GROUPS = 16 };

struct rewrite_answer {
    bool value; /* of the records, else their names */
    struct cel_regex *from;
    struct str to;
};

/* `rewrite edns0`: one option of a question. */
struct rewrite_option {
    enum option_action { OPTION_SET, OPTION_APPEND, OPTION_REPLACE, OPTION_UNSET } action;
    enum option_data {
        OPTION_TEXT, OPTION_QNAME, OPTION_QTYPE, OPTION_CLIENT_IP, OPTION_CLIENT_PORT, OPTION_PROTOCOL, OPTION_SERVER_IP,
        OPTION_SERVER_PORT, OPTION_SUBNET,
    } data;
    uint16_t code;
    struct str text;          /* OPTION_TEXT */
    uint8_t v4_bits, v6_bits; /* OPTION_SUBNET */
    bool revert;
};

struct rewrite_rule {
    enum rewrite_what what;
    enum rewrite_how how;
    bool stop, automatic;
    struct str from, to; /* names with their last dot; classes and types as text */
    struct cel_regex *pattern; /* REWRITE_REGEX */
    uint16_t from_number, to_number;
    uint32_t ttl_min, ttl_max;
    struct rewrite_answer *answers;
    size_t n_answers;
    struct rewrite_option option;
};

struct rewrites {
    struct rewrite_rule *rules;
    size_t n;
};

struct chain_ask;
struct config_parse;
struct directive;
int rewrite_parse(const struct config_parse *p, const struct directive *d);
void rewrites_done(struct rewrites *r);

enum { REWRITES_MAX = 64 };
/* What was done to one question, for its answer. */
struct rewriting {
    const struct rewrites *rules;
    uint64_t applied; /* rules, as bits */
    bool changed;
    struct buf options; /* of EDNS, as rules made them */
    struct {
        uint16_t code;
        bool there;     /* before */
        struct str data;
    } undo[REWRITES_MAX]; /* in the order of the rules; what the answer is not to show */
    size_t n_undo;
    struct arena arena;
};

/* Changes q; its question section then lies in *question, its options in ret, to be freed with rewriting_done. */
void rewrite_question(const struct rewrites *r, const struct chain_ask *a, struct dns_query *q, struct buf *question,
                      struct rewriting *ret);
void rewriting_done(struct rewriting *w);
/* The target of a CNAME as `rewrite cname` has it; false: no rule is for it. */
bool rewrite_target(const struct rewriting *w, char name[static DNS_NAME_MAX]);
/* Makes of the answer to the changed question that to the one that was asked, into ret (started by this function). */
void rewrite_reply(const struct rewriting *w, const struct dns_query *asked, const struct dns_query *changed,
                   const struct dns_reply *from, size_t limit, struct dns_reply *ret);

/* ---- rewrite_edns.c ------------------------------------------------------------------------------------------------ */

struct words;
int rewrite_read_option(const struct config_parse *p, struct words *w, struct rewrite_option *ret);
/* Those options of a question that rules are about. */
void rewrite_take_options(const struct rewrites *r, struct str options, struct buf *ret);
/* False: the rule has nothing to do here. */
bool rewrite_apply_option(struct rewriting *w, const struct rewrite_option *o, const struct chain_ask *a, const struct dns_query *q);
/* What the answer shows: its own options when it is somebody else's, else the question's. */
void rewrite_shown_options(const struct rewriting *w, const struct dns_reply *from, struct buf *ret);

/* One word of a rule at a time; .p NULL at their end. */
struct words {
    const struct directive *d;
    size_t at;
};
struct str rewrite_word(struct words *w);
