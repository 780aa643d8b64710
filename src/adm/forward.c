/* SPDX-License-Identifier: Apache-2.0 */
#include "adm/forward.h"

#include "base/os.h"

#include <fcntl.h>
#include <stdio.h>

/* Each family has its own policy. */
static const char *const programs[] = {"iptables", "ip6tables"};

/* What stands in the chain, as `iptables -S` prints it; false when there is no such program to ask. */
static bool read_chain(struct arena *a, const char *program, struct str *ret)
{
    const char *argv[] = {program, "-w", "5", "-S", "FORWARD", NULL};
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
static int change(struct arena *a, const char *program, const char *verb, const char *direction, const char *bridge, struct err *e)
{
    struct str text = STR_NULL;
    const char *argv[] = {program, "-w", "5", verb, "FORWARD", direction, bridge, "-m", "comment", "--comment", comment_of(a, bridge),
                          "-j", "ACCEPT", NULL};
    int r = os_run(a, argv, NULL, &text, mono_add(os_mono(), SECONDS(10)));
    return r == 0 ? 0
                  : err_set(e, r < 0 ? r : -EIO,
                            "this machine drops what it should forward for %s, and %s does not take a "
                            "rule: " STR_FMT,
                            bridge, program, STR_ARG(r < 0 ? str_of(strerror(-r)) : str_trim(text)));
}

static int allow(const char *program, const char *bridge, struct err *e)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str chain;
    if (!read_chain(&a, program, &chain) || !str_contains(chain, STR("-P FORWARD DROP")) || has_rules(&a, chain, bridge))
        return 0;
    int r = change(&a, program, "-I", "-i", bridge, e);
    return r < 0 ? r : change(&a, program, "-I", "-o", bridge, e);
}

int forward_allow(const char *bridge, struct err *e)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(programs); i++)
        r = allow(programs[i], bridge, e);
    return r;
}

void forward_forget(const char *bridge)
{
    for (size_t i = 0; i < ARRAY_SIZE(programs); i++) {
        struct arena a CLEANUP_ARENA = ARENA_INIT;
        struct str chain;
        if (!read_chain(&a, programs[i], &chain) || !has_rules(&a, chain, bridge))
            continue;
        change(&a, programs[i], "-D", "-i", bridge, NULL);
        change(&a, programs[i], "-D", "-o", bridge, NULL);
    }
}

/* ---- settings of the kernel -------------------------------------------------------------------------- */

void net_setting(const char *name, const char *value)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    int fd = os_open(arena_printf(&a, "/proc/sys/net/%s", name).p, O_WRONLY, 0);
    if (fd >= 0)
        os_pwrite(fd, value, strlen(value), 0);
    os_close(fd);
}

void forward_six(void)
{
    struct arena a CLEANUP_ARENA = ARENA_INIT;
    struct str now;
    char **links;
    if (os_read_file(&a, "/proc/sys/net/ipv6/conf/all/forwarding", 8, &now) == 0 && str_is(str_trim(now), "1"))
        return;
    if (os_list_dir(&a, "/proc/sys/net/ipv6/conf", &links) == 0)
        for (; *links; links++) {
            const char *name = arena_printf(&a, "ipv6/conf/%s/accept_ra", *links).p;
            if (os_read_file(&a, arena_printf(&a, "/proc/sys/net/%s", name).p, 8, &now) == 0 && str_is(str_trim(now), "1"))
                net_setting(name, "2");
        }
    net_setting("ipv6/conf/all/forwarding", "1");
}
