/* SPDX-License-Identifier: Apache-2.0 */
#include "adm/forward.h"

#include "base/os.h"

/* What stands in the chain, as `iptables -S` prints it; false when there is no iptables to ask. */
static bool read_chain(struct arena *a, struct str *ret)
{
    const char *argv[] = {"iptables", "-w", "5", "-S", "FORWARD", NULL};
    return os_run(a, argv, ret, NULL, mono_add(os_mono(), SECONDS(10))) == 0;
}

static const char *comment_of(struct arena *a, const char *bridge)
{
    return arena_printf(a, "cube-%s", bridge).p;
}

static bool has_rules(struct arena *a, struct str chain, const char *bridge)
{
    struct str line;
    const char *plain = arena_printf(a, "--comment %s ", comment_of(a, bridge)).p;
    const char *quoted = arena_printf(a, "--comment \"%s\" ", comment_of(a, bridge)).p;
    while (str_next(&chain, '\n', &line))
        if (str_contains(line, str_of(plain)) || str_contains(line, str_of(quoted)))
            return true;
    return false;
}

/* verb: "-I" or "-D". */
static int change(struct arena *a, const char *verb, const char *direction, const char *bridge, struct err *e)
{
    struct str text = STR_NULL;
    const char *argv[] = {"iptables",
                          "-w",
                          "5",
                          verb,
                          "FORWARD",
                          direction,
                          bridge,
                          "-m",
                          "comment",
                          "--comment",
                          comment_of(a, bridge),
                          "-j",
                          "ACCEPT",
                          NULL};
    int r = os_run(a, argv, NULL, &text, mono_add(os_mono(), SECONDS(10)));
    return r == 0 ? 0
                  : err_set(e, r < 0 ? r : -EIO,
                            "this machine drops what it should forward for %s, and iptables does not take a "
                            "rule: " STR_FMT,
                            bridge, STR_ARG(r < 0 ? str_of(strerror(-r)) : str_trim(text)));
}

int forward_allow(const char *bridge, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str chain;
    if (!read_chain(&a, &chain) || !str_contains(chain, STR("-P FORWARD DROP")) ||
        has_rules(&a, chain, bridge))
        return 0;
    int r = change(&a, "-I", "-i", bridge, e);
    return r < 0 ? r : change(&a, "-I", "-o", bridge, e);
}

void forward_forget(const char *bridge)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str chain;
    if (!read_chain(&a, &chain) || !has_rules(&a, chain, bridge))
        return;
    change(&a, "-D", "-i", bridge, NULL);
    change(&a, "-D", "-o", bridge, NULL);
}
