/* SPDX-License-Identifier: Apache-2.0 */
/* `rewrite edns0`: options set, appended, replaced and taken away (RFC 6891, NSID by RFC 5001, subnets by RFC 7871). */
#include "dns/chain.h"
#include "netlink/prefix.h"

#include <stdlib.h>

enum { EDNS_NSID = 3, EDNS_SUBNET = 8, MOST_DATA = 256 };

/* ---- reading ------------------------------------------------------------------------------------------------- */

static const struct {
    const char *text;
    enum option_data data;
} variables[] = {
    {"{qname}", OPTION_QNAME},         {"{qtype}", OPTION_QTYPE},         {"{client_ip}", OPTION_CLIENT_IP},
    {"{client_port}", OPTION_CLIENT_PORT}, {"{protocol}", OPTION_PROTOCOL}, {"{server_ip}", OPTION_SERVER_IP},
    {"{server_port}", OPTION_SERVER_PORT},
};

/* "0xffee" or "65518" */
static bool read_code(struct str text, uint16_t *ret)
{
    char copy[16], *end;
    if (!text.n || text.n >= sizeof(copy))
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    unsigned long n = strtoul(copy, &end, 0);
    *ret = (uint16_t)n;
    return copy[0] >= '0' && copy[0] <= '9' && !*end && n <= UINT16_MAX;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* "abcd", "0x61626364", "{qname}" */
static int read_data(const struct config_parse *p, const struct directive *d, struct str text, struct rewrite_option *o)
{
    for (size_t i = 0; i < ARRAY_SIZE(variables); i++)
        if (str_is(text, variables[i].text)) {
            o->data = variables[i].data;
            return 0;
        }
    if (!text.p || text.n > MOST_DATA || (str_starts(text, STR("{")) && str_ends(text, STR("}"))))
        return config_refuse(p, d, "\"" STR_FMT "\" is no data of an option that is known here", STR_ARG(text));
    o->text = arena_str(p->a, text);
    if (!str_starts(text, STR("0x")))
        return 0;
    char *bytes = arena_bytes(p->a, text.n);
    for (size_t i = 2; i < text.n; i += 2) {
        int high = hex_digit(text.p[i]), low = i + 1 < text.n ? hex_digit(text.p[i + 1]) : -1;
        if (high < 0 || low < 0)
            return config_refuse(p, d, "\"" STR_FMT "\" is no hexadecimal text", STR_ARG(text));
        bytes[i / 2 - 1] = (char)(high << 4 | low);
    }
    o->text = str_n(bytes, text.n / 2 - 1);
    return 0;
}

static int read_bits(const struct config_parse *p, const struct directive *d, struct str text, int64_t max, uint8_t *ret)
{
    int64_t n;
    int r = config_number(p, d, text, 0, max, &n);
    if (r == 0)
        *ret = (uint8_t)n;
    return r;
}

static int read_kind(const struct config_parse *p, struct words *w, struct str kind, struct rewrite_option *o)
{
    bool unset = o->action == OPTION_UNSET;
    if (str_is(kind, "nsid")) {
        o->code = EDNS_NSID;
        return 0;
    }
    if (str_is(kind, "subnet")) {
        o->code = EDNS_SUBNET;
        o->data = OPTION_SUBNET;
        int r = unset ? 0 : read_bits(p, w->d, rewrite_word(w), 32, &o->v4_bits);
        return r < 0 || unset ? r : read_bits(p, w->d, rewrite_word(w), 128, &o->v6_bits);
    }
    if (!str_is(kind, "local") || !read_code(rewrite_word(w), &o->code))
        return config_refuse(p, w->d, "edns0 wants local with a code, nsid or subnet");
    return unset ? 0 : read_data(p, w->d, rewrite_word(w), o);
}

/* edns0 local|nsid|subnet set|append|replace|unset ... [revert] */
int rewrite_read_option(const struct config_parse *p, struct words *w, struct rewrite_option *ret)
{
    static const char *const actions[] = {"set", "append", "replace", "unset"};
    struct rewrite_option o = {0};
    struct str kind = rewrite_word(w), action = rewrite_word(w);
    size_t i = 0;
    while (i < ARRAY_SIZE(actions) && !str_is(action, actions[i]))
        i++;
    if (i == ARRAY_SIZE(actions))
        return config_refuse(p, w->d, "\"" STR_FMT "\" is none of set, append, replace, unset", STR_ARG(action));
    o.action = (enum option_action)i;
    int r = read_kind(p, w, kind, &o);
    if (r < 0)
        return r;
    struct str last = rewrite_word(w);
    o.revert = str_is(last, "revert") && o.action != OPTION_UNSET;
    if ((last.p && !o.revert) || rewrite_word(w).p)
        return config_refuse(p, w->d, "too many words for an edns0 rule");
    *ret = o;
    return 0;
}

/* ---- options as they are on the wire ---------------------------------------------------------------------------- */

/* The next option of a list; false at its end, also when it is broken. */
static bool next_option(struct str *rest, uint16_t *ret_code, struct str *ret_whole)
{
    size_t n = rest->n >= 4 ? 4u + dns_get16(rest->p + 2) : 4;
    if (n > rest->n)
        return false;
    *ret_code = dns_get16(rest->p);
    *ret_whole = str_slice(*rest, 0, n);
    *rest = str_from(*rest, n);
    return true;
}

static bool find_option(struct str list, uint16_t code, struct str *ret_data)
{
    uint16_t is;
    struct str whole;
    while (next_option(&list, &is, &whole))
        if (is == code) {
            *ret_data = str_from(whole, 4);
            return true;
        }
    return false;
}

static void put_option(struct buf *b, uint16_t code, struct str data)
{
    char head[4];
    dns_set16(head, code);
    dns_set16(head + 2, (uint16_t)data.n);
    buf_put(b, head, sizeof(head));
    buf_putstr(b, data);
}

/* The list with that option's data replaced; data NULL: without it. */
static void change_option(struct buf *list, uint16_t code, const struct str *data)
{
    struct buf out = BUF_INIT;
    struct str rest = buf_str(list), whole;
    uint16_t is;
    while (next_option(&rest, &is, &whole))
        if (is != code)
            buf_putstr(&out, whole);
        else if (data)
            put_option(&out, code, *data);
    buf_done(list);
    *list = out;
}

/* ---- applying ------------------------------------------------------------------------------------------------------ */

void rewrite_take_options(const struct rewrites *r, struct str options, struct buf *ret)
{
    uint16_t code;
    struct str whole;
    while (next_option(&options, &code, &whole)) {
        bool wanted = false;
        for (size_t i = 0; i < r->n; i++)
            wanted = wanted || (r->rules[i].what == REWRITE_EDNS0 && r->rules[i].option.code == code);
        if (wanted)
            buf_putstr(ret, whole);
    }
}

static bool put_ip(const char *text, struct buf *out)
{
    struct ip ip;
    bool is = text && ip_parse(str_of(text), &ip);
    if (is)
        buf_put(out, ip.b, ip_size(&ip));
    return is;
}

/* RFC 7871 section 6: family, length, scope, and as many bytes as the length needs. */
static bool put_subnet(const struct rewrite_option *o, const char *peer, struct buf *out)
{
    struct prefix p;
    if (!peer || !ip_parse(str_of(peer), &p.ip))
        return false;
    p.bits = p.ip.family == AF_INET ? o->v4_bits : o->v6_bits;
    struct ip network = prefix_network(&p);
    const char head[4] = {0, network.family == AF_INET ? 1 : 2, (char)p.bits, 0};
    buf_put(out, head, sizeof(head));
    buf_put(out, network.b, (p.bits + 7u) / 8);
    return true;
}

static void put_number(uint16_t n, struct buf *out)
{
    char b[2];
    dns_set16(b, n);
    buf_put(out, b, sizeof(b));
}

static bool put_data(const struct rewrite_option *o, const struct chain_ask *a, const struct dns_query *q, struct buf *out)
{
    switch (o->data) {
    case OPTION_TEXT: buf_putstr(out, o->text); return true;
    case OPTION_QNAME: buf_printf(out, "%s.", q->name); return true;
    case OPTION_QTYPE: put_number(q->type, out); return true;
    case OPTION_CLIENT_IP: return put_ip(a->peer, out);
    case OPTION_CLIENT_PORT: put_number(a->peer_port, out); return true;
    case OPTION_PROTOCOL: buf_puts(out, a->tcp ? "tcp" : "udp"); return true;
    case OPTION_SERVER_IP: return put_ip(a->local, out);
    case OPTION_SERVER_PORT: put_number(a->port, out); return true;
    case OPTION_SUBNET: return put_subnet(o, a->peer, out);
    }
    return false;
}

static void remember(struct rewriting *w, uint16_t code, bool there, struct str data)
{
    if (w->n_undo == ARRAY_SIZE(w->undo))
        return;
    w->undo[w->n_undo].code = code;
    w->undo[w->n_undo].there = there;
    w->undo[w->n_undo++].data = arena_str(&w->arena, data);
}

bool rewrite_apply_option(struct rewriting *w, const struct rewrite_option *o, const struct chain_ask *a, const struct dns_query *q)
{
    struct buf data CLEANUP_BUF = BUF_INIT;
    struct str before = STR_NULL;
    bool there = find_option(buf_str(&w->options), o->code, &before);
    if (o->action == OPTION_UNSET) {
        change_option(&w->options, o->code, NULL);
        return true;
    }
    if ((there && o->action == OPTION_APPEND) || (!there && o->action == OPTION_REPLACE) || !put_data(o, a, q, &data))
        return false;
    if (o->revert)
        remember(w, o->code, there, before);
    struct str now = buf_str(&data);
    if (there)
        change_option(&w->options, o->code, &now);
    else
        put_option(&w->options, o->code, now);
    return true;
}

void rewrite_shown_options(const struct rewriting *w, const struct dns_reply *from, struct buf *ret)
{
    size_t at;
    struct str theirs;
    if (!from->foreign)
        buf_putstr(ret, buf_str(&w->options));
    else if (dns_find_opt(buf_str(&from->out), &at, &theirs))
        buf_putstr(ret, theirs);
    if (!from->foreign) /* nothing here is answered by where the asker is: RFC 7871 section 7.2.1 */
        change_option(ret, EDNS_SUBNET, NULL);
    for (size_t i = w->n_undo; i; i--)
        change_option(ret, w->undo[i - 1].code, w->undo[i - 1].there ? &w->undo[i - 1].data : NULL);
    if (ret->n > 2 * MOST_DATA) /* no room for answers would be left */
        buf_clear(ret);
}
