/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of upstream's that are not there yet: they say so. Weak, so that the real one takes its place when it comes. */
#include "cli/commands.h"

#define LATER(name, text)                                                                                    \
    int name(struct cli *c, int argc UNUSED, char **argv UNUSED)                       \
    {                                                                                                        \
        return cli_fail(c, "\"kubectl %s\" is not there yet; upstream's kubectl works with this cluster", text);  \
    }

__attribute__((weak)) LATER(cmd_completion, "completion")
__attribute__((weak)) LATER(cmd_diff, "diff")
__attribute__((weak)) LATER(cmd_events, "events")
static LATER(later_auth, "auth")
static LATER(later_certificate, "certificate")
static LATER(later_top, "top")

__attribute__((weak)) const struct command auth_commands[] = {
    {"can-i", NULL, "VERB TYPE", "Whether an action is allowed", NULL, later_auth, NULL},
    {"whoami", NULL, "", "Who one is", NULL, later_auth, NULL},
    {0},
};
__attribute__((weak)) const struct command certificate_commands[] = {
    {"approve", NULL, "NAME", "Approve a request", NULL, later_certificate, NULL},
    {"deny", NULL, "NAME", "Deny a request", NULL, later_certificate, NULL},
    {0},
};
__attribute__((weak)) const struct command top_commands[] = {
    {"node", NULL, "", "Use of nodes", NULL, later_top, NULL},
    {"pod", NULL, "", "Use of pods", NULL, later_top, NULL},
    {0},
};
