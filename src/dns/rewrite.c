/* SPDX-License-Identifier: Apache-2.0 */
#include "dns/rewrite.h"

#include "dns/chain.h"

#include <stdio.h>
#include <strings.h>

/* ---- reading ---------------------------------------------------------------------------------------------- */

/* Names are matched with their last dot, as people write them in patterns for CoreDNS. */
static struct str with_dot(struct arena *a, struct str s)
{
    char *p = dns_lower(arena_cstr(a, s));
    return s.n && p[s.n - 1] == '.' ? str_n(p, s.n) : arena_printf(a, "%s.", p);
}

static struct str lower_text(struct arena *a, struct str s)
{
    struct str dotted = with_dot(a, s);
    return s.n && s.p[s.n - 1] == '.' ? dotted : arena_str(a, str_slice(dotted, 0, dotted.n - 1));
}

static const struct {
    const char *text;
    enum rewrite_how how;
} hows[] = {{"exact", REWRITE_EXACT},
            {"prefix", REWRITE_PREFIX},
            {"suffix", REWRITE_SUFFIX},
            {"substring", REWRITE_SUBSTRING},
            {"regex", REWRITE_REGEX}};

static int how_of(struct str s)
{
    for (size_t i = 0; i < ARRAY_SIZE(hows); i++)
        if (str_is(s, hows[i].text))
            return (int)hows[i].how;
    return -1;
}

struct str rewrite_word(struct words *w)
{
    return w->at < w->d->n_args ? w->d->args[w->at++] : STR_NULL;
}

static int read_answer(const struct config_parse *p, struct words *w, struct rewrite_rule *rule)
{
    struct str kind = rewrite_word(w);
    if (str_is(kind, "answer"))
        kind = rewrite_word(w);
    if (str_is(kind, "auto")) {
        rule->automatic = true;
        return 0;
    }
    if (!str_is(kind, "name") && !str_is(kind, "value"))
        return config_refuse(p, w->d, "an answer rule is auto, name or value, not \"" STR_FMT "\"", STR_ARG(kind));
    struct str from = rewrite_word(w), to = rewrite_word(w);
    if (!to.p)
        return config_refuse(p, w->d, "an answer rule wants a pattern and what takes its place");
    rule->answers = arena_grow(p->a, rule->answers, rule->n_answers, sizeof(*rule->answers));
    struct rewrite_answer *a = &rule->answers[rule->n_answers];
    int r = config_pattern(p, w->d, from, &a->from);
    if (r < 0)
        return r;
    a->value = str_is(kind, "value");
    a->to = lower_text(p->a, to);
    rule->n_answers++;
    return 0;
}

/* [exact|prefix|suffix|substring|regex] FROM, with `least` words behind it at least; a whole name gets its last dot. */
static int read_from(const struct config_parse *p, struct words *w, size_t least, struct rewrite_rule *rule)
{
    int how = w->d->n_args - w->at >= 2 + least ? how_of(w->d->args[w->at]) : -1;
    if (how >= 0)
        w->at++;
    rule->how = how < 0 ? REWRITE_EXACT : (enum rewrite_how)how;
    struct str from = rewrite_word(w);
    if (w->d->n_args - w->at < least)
        return config_refuse(p, w->d, "this rule wants a name and what becomes of it");
    bool whole = rule->how == REWRITE_EXACT || (rule->how == REWRITE_SUFFIX && rule->what != REWRITE_CNAME);
    rule->from = whole ? with_dot(p->a, from) : lower_text(p->a, from);
    return rule->how == REWRITE_REGEX ? config_pattern(p, w->d, from, &rule->pattern) : 0;
}

/* FROM TO, and what becomes of the answer. */
static int read_name(const struct config_parse *p, struct words *w, struct rewrite_rule *rule)
{
    int r = read_from(p, w, 1, rule);
    if (r < 0)
        return r;
    struct str to = rewrite_word(w);
    rule->to = rule->how == REWRITE_EXACT || rule->how == REWRITE_SUFFIX ? with_dot(p->a, to) : lower_text(p->a, to);
    rule->automatic = rule->how == REWRITE_EXACT;
    while (r == 0 && w->at < w->d->n_args)
        r = read_answer(p, w, rule);
    return r;
}

/* FROM TO, of the targets of CNAMEs. */
static int read_cname(const struct config_parse *p, struct words *w, struct rewrite_rule *rule)
{
    int r = read_from(p, w, 1, rule);
    if (r < 0)
        return r;
    struct str to = rewrite_word(w);
    rule->to = rule->how == REWRITE_EXACT ? with_dot(p->a, to) : lower_text(p->a, to);
    return w->at == w->d->n_args ? 0 : config_refuse(p, w->d, "too many words for a cname rule");
}

static int read_option(const struct config_parse *p, struct words *w, struct rewrite_rule *rule)
{
    return rewrite_read_option(p, w, &rule->option);
}

static int read_numbers(const struct config_parse *p, struct words *w, struct rewrite_rule *rule)
{
    struct str from = rewrite_word(w), to = rewrite_word(w);
    bool type = rule->what == REWRITE_TYPE;
    int a = type ? dns_type_find(from) : dns_class_find(from), b = type ? dns_type_find(to) : dns_class_find(to);
    if (a < 0 || b < 0 || w->at != w->d->n_args)
        return config_refuse(p, w->d, "a %s rule wants two %s", type ? "type" : "class", type ? "types" : "classes");
    rule->from_number = (uint16_t)a;
    rule->to_number = (uint16_t)b;
    return 0;
}

/* "30", "30-", "-30", "30-60" */
static int read_ttl_range(const struct config_parse *p, const struct directive *d, struct str s, struct rewrite_rule *rule)
{
    struct str low, high;
    int64_t min = 0, max = 0;
    bool range = str_cut(s, '-', &low, &high);
    if ((low.n && str_to_i64(low, &min)) || (high.n && str_to_i64(high, &max)) || min < 0 || max < 0 || (!low.n && !high.n) ||
        MAX(min, max) > INT32_MAX)
        return config_refuse(p, d, "\"" STR_FMT "\" is no TTL", STR_ARG(s));
    rule->ttl_min = (uint32_t)min;
    rule->ttl_max = !range ? (uint32_t)min : high.n ? (uint32_t)max : INT32_MAX;
    return 0;
}

/* ttl and rcode: NAME VALUE... */
static int read_answer_rule(const struct config_parse *p, struct words *w, struct rewrite_rule *rule)
{
    int r = read_from(p, w, rule->what == REWRITE_TTL ? 1 : 2, rule);
    if (r < 0)
        return r;
    struct str value = rewrite_word(w);
    if (rule->what == REWRITE_TTL)
        return read_ttl_range(p, w->d, value, rule);
    int from = dns_code_find(value), to = dns_code_find(rewrite_word(w));
    if (from < 0 || to < 0)
        return config_refuse(p, w->d, "an rcode rule wants two codes");
    rule->from_number = (uint16_t)from;
    rule->to_number = (uint16_t)to;
    return 0;
}

static const struct {
    const char *text;
    enum rewrite_what what;
    int (*read)(const struct config_parse *p, struct words *w, struct rewrite_rule *rule);
} whats[] = {
    {"name", REWRITE_NAME, read_name},       {"class", REWRITE_CLASS, read_numbers},    {"type", REWRITE_TYPE, read_numbers},
    {"ttl", REWRITE_TTL, read_answer_rule}, {"rcode", REWRITE_RCODE, read_answer_rule},
    {"cname", REWRITE_CNAME, read_cname},   {"edns0", REWRITE_EDNS0, read_option},
};

static int read_rule(const struct config_parse *p, const struct directive *d, struct rewrite_rule *rule)
{
    struct words w = {.d = d};
    struct str word = rewrite_word(&w);
    rule->stop = !str_is(word, "continue");
    if (str_is(word, "stop") || str_is(word, "continue"))
        word = rewrite_word(&w);
    for (size_t i = 0; i < ARRAY_SIZE(whats); i++)
        if (str_is(word, whats[i].text)) {
            rule->what = whats[i].what;
            return whats[i].read(p, &w, rule);
        }
    return config_refuse(p, d, "rewrite: \"" STR_FMT "\" is none of the rules known here: name, class, type, ttl, rcode, cname, edns0", STR_ARG(word));
}

/* "rewrite { name A B }": the rule's words are the first line's of the block, with answer lines below it. */
static struct directive joined(struct arena *a, const struct directive *d)
{
    struct directive out = *d;
    size_t n = d->n_args;
    for (size_t i = 0; i < d->n_body; i++)
        n += 1 + d->body[i].n_args;
    out.args = ARENA_ARRAY(a, struct str, n + 1);
    out.n_args = 0;
    for (size_t i = 0; i < d->n_args; i++)
        out.args[out.n_args++] = d->args[i];
    for (size_t i = 0; i < d->n_body; i++) {
        out.args[out.n_args++] = d->body[i].name;
        for (size_t j = 0; j < d->body[i].n_args; j++)
            out.args[out.n_args++] = d->body[i].args[j];
    }
    return out;
}

int rewrite_parse(const struct config_parse *p, const struct directive *d)
{
    struct rewrites *list = &p->block->rewrites;
    struct directive flat = joined(p->a, d);
    if (!flat.n_args)
        return config_refuse(p, d, "rewrite wants a rule");
    if (list->n == REWRITES_MAX)
        return config_refuse(p, d, "more than %d rules", REWRITES_MAX);
    list->rules = arena_grow(p->a, list->rules, list->n, sizeof(*list->rules));
    list->rules[list->n] = (struct rewrite_rule){0};
    p->block->waits = true;
    return read_rule(p, &flat, &list->rules[list->n++]); /* counted at once: what it made is freed with the block */
}

void rewrites_done(struct rewrites *r)
{
    for (size_t i = 0; i < r->n; i++) {
        cel_regex_free(r->rules[i].pattern);
        for (size_t j = 0; j < r->rules[i].n_answers; j++)
            cel_regex_free(r->rules[i].answers[j].from);
    }
}

/* ---- the question ------------------------------------------------------------------------------------------- */

/* "{0}" to "{15}" in text are the groups. */
static void fill_groups(struct str text, const struct str *groups, struct buf *out)
{
    for (size_t at = 0; at < text.n;) {
        int64_t which;
        const char *end = text.p[at] == '{' ? memchr(text.p + at, '}', text.n - at) : NULL;
        struct str digits = end ? str_slice(text, at + 1, (size_t)(end - text.p) - at - 1) : STR_NULL;
        if (digits.n && !str_to_i64(digits, &which) && which >= 0 && which < REWRITE_GROUPS) {
            buf_putstr(out, groups[which]);
            at += digits.n + 2;
        } else {
            buf_putc(out, text.p[at++]);
        }
    }
}

static void replace_all(struct str s, struct str from, struct str to, struct buf *out)
{
    while (s.n) {
        const char *hit = from.n ? memmem(s.p, s.n, from.p, from.n) : NULL;
        size_t n = hit ? (size_t)(hit - s.p) : s.n;
        buf_put(out, s.p, n);
        if (hit)
            buf_putstr(out, to);
        s = str_from(s, n + (hit ? from.n : 0));
    }
}

/* Whether the rule is for that name (with its last dot); what it becomes goes to out (may be NULL). */
static bool apply(const struct rewrite_rule *r, struct str name, struct buf *out)
{
    struct str groups[REWRITE_GROUPS], to = r->to;
    bool hit = false;
    switch (r->how) {
    case REWRITE_EXACT:
        hit = str_eq(name, r->from);
        if (hit && out)
            buf_putstr(out, to);
        break;
    case REWRITE_PREFIX:
        hit = str_starts(name, r->from);
        if (hit && out)
            buf_putstr(out, to), buf_putstr(out, str_from(name, r->from.n));
        break;
    case REWRITE_SUFFIX:
        hit = str_ends(name, r->from);
        if (hit && out)
            buf_put(out, name.p, name.n - r->from.n), buf_putstr(out, to);
        break;
    case REWRITE_SUBSTRING:
        hit = str_contains(name, r->from);
        if (hit && out)
            replace_all(name, r->from, to, out);
        break;
    case REWRITE_REGEX:
        hit = cel_regex_match(r->pattern, name, groups, REWRITE_GROUPS);
        if (hit && out)
            fill_groups(to, groups, out);
        break;
    }
    return hit;
}

/* A name as it is kept in queries: without its last dot; false when it is no name. */
static bool set_name(char ret[static DNS_NAME_MAX], struct str name)
{
    struct buf wire CLEANUP_BUF = BUF_INIT;
    while (name.n && name.p[name.n - 1] == '.')
        name.n--;
    if (name.n >= DNS_NAME_MAX)
        return false;
    char text[DNS_NAME_MAX];
    memcpy(text, name.p ? name.p : "", name.n);
    text[name.n] = '\0';
    if (!dns_write_name(&wire, text))
        return false;
    memcpy(ret, text, name.n + 1);
    return true;
}

static bool apply_to_question(struct rewriting *w, const struct rewrite_rule *rule, const struct chain_ask *a, struct dns_query *q)
{
    char dotted[DNS_NAME_MAX + 2];
    int n = snprintf(dotted, sizeof(dotted), "%s.", q->name);
    struct buf out CLEANUP_BUF = BUF_INIT;
    switch (rule->what) {
    case REWRITE_NAME: return apply(rule, str_n(dotted, (size_t)n), &out) && set_name(q->name, buf_str(&out));
    case REWRITE_TYPE:
        if (q->type != rule->from_number)
            return false;
        q->type = rule->to_number;
        return true;
    case REWRITE_CLASS:
        if (q->class_ != rule->from_number)
            return false;
        q->class_ = rule->to_number;
        return true;
    case REWRITE_TTL:
    case REWRITE_RCODE: return apply(rule, str_n(dotted, (size_t)n), NULL);
    case REWRITE_CNAME: return true; /* its answer will tell */
    case REWRITE_EDNS0: return rewrite_apply_option(w, &rule->option, a, q);
    }
    return false;
}

void rewrite_question(const struct rewrites *r, const struct chain_ask *a, struct dns_query *q, struct buf *question,
                      struct rewriting *w)
{
    *w = (struct rewriting){.rules = r};
    rewrite_take_options(r, q->options, &w->options);
    for (size_t i = 0; i < r->n; i++) {
        if (!apply_to_question(w, &r->rules[i], a, q))
            continue;
        w->applied |= UINT64_C(1) << i;
        w->changed = true;
        if (r->rules[i].stop)
            break;
    }
    if (w->changed) {
        dns_write_question(question, q->name, q->type, q->class_);
        q->question = buf_str(question);
        q->onward = buf_str(&w->options);
    }
}

void rewriting_done(struct rewriting *w)
{
    buf_done(&w->options);
    arena_done(&w->arena);
}

/* ---- the answer ---------------------------------------------------------------------------------------------- */

struct reply_job {
    const struct rewriting *w;
    const struct dns_query *asked, *changed;
    struct str wire;
    struct dns_reply *out;
};

static struct str dotted_name(const char *name, char buf[static DNS_NAME_MAX + 2])
{
    int n = snprintf(buf, DNS_NAME_MAX + 2, "%s.", name);
    dns_lower(buf);
    return str_n(buf, (size_t)n);
}

static const struct rewrite_rule *applied(const struct rewriting *w, size_t i, enum rewrite_what what)
{
    const struct rewrite_rule *rule = &w->rules->rules[i];
    return w->applied >> i & 1 && rule->what == what ? rule : NULL;
}

/* A name of the answer by one rule that the question met. */
static bool rename_by(const struct rewrite_rule *rule, struct str name, bool value, struct buf *out)
{
    struct rewrite_rule back = {.how = rule->how, .from = rule->to, .to = rule->from};
    struct str groups[REWRITE_GROUPS];
    if (rule->automatic && rule->how != REWRITE_REGEX && apply(&back, name, out))
        return true;
    for (size_t i = 0; i < rule->n_answers; i++) {
        const struct rewrite_answer *a = &rule->answers[i];
        if (a->value != value || !cel_regex_match(a->from, name, groups, REWRITE_GROUPS))
            continue;
        fill_groups(a->to, groups, out);
        return true;
    }
    return false;
}

/* What was done last is undone first. */
static void rename_by_rules(const struct reply_job *j, char name[static DNS_NAME_MAX], bool value)
{
    for (size_t i = j->w->rules->n; i; i--) {
        const struct rewrite_rule *rule = applied(j->w, i - 1, REWRITE_NAME);
        struct buf out CLEANUP_BUF = BUF_INIT;
        char text[DNS_NAME_MAX + 2];
        if (rule && rename_by(rule, dotted_name(name, text), value, &out))
            set_name(name, buf_str(&out)); /* one that is no name changes nothing */
    }
}

static void rename_target(void *arg, char name[static DNS_NAME_MAX])
{
    rename_by_rules(arg, name, true);
}

bool rewrite_target(const struct rewriting *w, char name[static DNS_NAME_MAX])
{
    for (size_t i = w->rules->n; i; i--) {
        const struct rewrite_rule *rule = applied(w, i - 1, REWRITE_CNAME);
        struct buf out CLEANUP_BUF = BUF_INIT;
        char text[DNS_NAME_MAX + 2], before[DNS_NAME_MAX];
        if (!rule || !apply(rule, dotted_name(name, text), &out))
            continue;
        snprintf(before, sizeof(before), "%s", name);
        if (set_name(name, buf_str(&out)))
            return strcasecmp(before, name) != 0;
    }
    return false;
}

static uint32_t ttl_by_rules(const struct reply_job *j, uint32_t ttl)
{
    for (size_t i = 0; i < j->w->rules->n; i++) {
        const struct rewrite_rule *rule = applied(j->w, i, REWRITE_TTL);
        if (rule)
            ttl = MIN(MAX(ttl, rule->ttl_min), rule->ttl_max);
    }
    return ttl;
}

static bool put_back(void *arg, const struct dns_record *from)
{
    struct reply_job *j = arg;
    struct dns_record r = *from;
    char owner[DNS_NAME_MAX];
    size_t at = r.name_at;
    if (!dns_read_name(j->wire, &at, owner))
        return false;
    r.ttl = ttl_by_rules(j, r.ttl);
    bool questions_own = !strcasecmp(owner, j->changed->name); /* it must fit what was asked, or no resolver takes it */
    if (!questions_own)
        rename_by_rules(j, owner, false);
    dns_put_record(j->out, r.section, questions_own ? NULL : owner, &r, j->wire, rename_target, j);
    return true;
}

void rewrite_reply(const struct rewriting *w, const struct dns_query *asked, const struct dns_query *changed,
                   const struct dns_reply *from, size_t limit, struct dns_reply *ret)
{
    struct buf options CLEANUP_BUF = BUF_INIT;
    struct str wire = buf_str(&from->out);
    struct reply_job j = {w, asked, changed, wire, ret};
    unsigned code = wire.n >= DNS_HEADER ? (uint8_t)wire.p[3] & 15 : DNS_SERVFAIL;
    bool authoritative = wire.n >= DNS_HEADER && wire.p[2] & 4;
    dns_reply_start(ret, asked, limit);
    rewrite_shown_options(w, from, &options);
    ret->options = buf_str(&options);
    if (!dns_each_record(wire, put_back, &j))
        code = DNS_SERVFAIL;
    for (size_t i = 0; i < w->rules->n; i++) {
        const struct rewrite_rule *rule = applied(w, i, REWRITE_RCODE);
        if (rule && rule->from_number == code)
            code = rule->to_number;
    }
    ret->truncated = ret->truncated || (wire.n >= DNS_HEADER && wire.p[2] & 2);
    dns_reply_end(ret, (enum dns_code)code, authoritative);
    ret->options = STR_NULL; /* they end here */
}
