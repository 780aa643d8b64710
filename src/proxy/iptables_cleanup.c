/* SPDX-License-Identifier: Apache-2.0 */
/* Removes what kube-proxy's iptables and IPVS modes make: their jumps, then their chains. */
#include "base/fiber.h"
#include "proxy/backend.h"
#include "proxy/ipt_rules.h"
#include "proxy/iptables.h"

/* By table; KUBE-FIREWALL is the kubelet's, too, and stays. */
static const char *const our_chains[3][12] = {
    {"KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-POSTROUTING", "KUBE-MARK-MASQ", "KUBE-PROXY-CANARY", "KUBE-NODE-PORT", "KUBE-LOAD-BALANCER", NULL},
    {"KUBE-SERVICES", "KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "KUBE-PROXY-CANARY",
     "KUBE-NODE-PORT", "KUBE-SOURCE-RANGES-FIREWALL", "KUBE-IPVS-FILTER", "KUBE-IPVS-OUT-FILTER", NULL},
    {"KUBE-PROXY-CANARY", NULL},
};
static const char *const tables[] = {"nat", "filter", "mangle"};

static bool is_ours(struct str chain, size_t table)
{
    for (const char *const *c = our_chains[table]; *c; c++)
        if (str_is(chain, *c))
            return true;
    return table == 0 && (ipt_is_service_chain(chain) || str_starts(chain, STR("CUBE-PROXY-")));
}

/* "-A INPUT ... -j KUBE-SERVICES": from a chain that is not ours to one that is. */
static bool leads_to_ours(struct str line, size_t table)
{
    struct str words = line, word, from = STR_NULL, target = STR_NULL;
    for (size_t i = 0; str_next(&words, ' ', &word); i++) {
        if (i == 1)
            from = word;
        if (str_is(target, "-j") && word.n)
            return is_ours(word, table) && !is_ours(from, table);
        target = word;
    }
    return false;
}

static bool write_removal(struct str saved, size_t table, struct buf *b)
{
    struct buf drop CLEANUP_BUF = BUF_INIT;
    struct str line, rest = saved, name, tail;
    buf_printf(b, "*%s\n", tables[table]);
    while (str_next(&rest, '\n', &line)) {
        if (!str_starts(line, STR(":")) || !str_cut(str_from(line, 1), ' ', &name, &tail) || !is_ours(name, table))
            continue;
        buf_printf(b, ":" STR_FMT " - [0:0]\n", STR_ARG(name));
        buf_printf(&drop, "-X " STR_FMT "\n", STR_ARG(name));
    }
    while (str_next(&saved, '\n', &line))
        if (str_starts(line, STR("-A ")) && leads_to_ours(line, table))
            buf_printf(b, "-D " STR_FMT "\n", STR_ARG(str_from(line, 3)));
    buf_putstr(b, buf_str(&drop));
    buf_puts(b, "COMMIT\n");
    return drop.n > 0;
}

int iptables_cleanup(struct err *e)
{
    int first = 0;
    for (int six = 0; six < 2; six++)
        for (size_t t = 0; t < ARRAY_SIZE(tables); t++) {
            struct arena a CLEANUP_ARENA = ARENA_INIT;
            struct buf b CLEANUP_BUF = BUF_INIT;
            struct str saved;
            struct err why = {0};
            int r = iptables_save(six, tables[t], &a, &saved, &why);
            if (r < 0) /* no such program or table: nothing of ours in it */
                continue;
            r = write_removal(saved, t, &b) ? iptables_restore(six, buf_str(&b), &why) : 0;
            if (r < 0 && !first)
                first = err_set(e, r, "%s", why.text);
        }
    return first;
}
