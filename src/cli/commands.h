/* SPDX-License-Identifier: Apache-2.0 */
/* The commands, one table; each stands in the file named after it. */
#pragma once

#include "cli/cli.h"

extern const struct command commands[]; /* ends with name NULL */

/* Group headings of `kubectl help`, with the names under them. */
struct command_group {
    const char *title;
    const char *const *names;
};
extern const struct command_group command_groups[]; /* ends with title NULL */

/* cmd_*.c */
int cmd_get(struct cli *c, int argc, char **argv);
int cmd_describe(struct cli *c, int argc, char **argv);
int cmd_apply(struct cli *c, int argc, char **argv);
int cmd_apply_view(struct cli *c, int argc, char **argv);
int cmd_apply_set(struct cli *c, int argc, char **argv);
int cmd_diff(struct cli *c, int argc, char **argv);
int cmd_create(struct cli *c, int argc, char **argv);
int cmd_replace(struct cli *c, int argc, char **argv);
int cmd_delete(struct cli *c, int argc, char **argv);
int cmd_edit(struct cli *c, int argc, char **argv);
int cmd_patch(struct cli *c, int argc, char **argv);
int cmd_label(struct cli *c, int argc, char **argv);
int cmd_annotate(struct cli *c, int argc, char **argv);
int cmd_taint(struct cli *c, int argc, char **argv);
int cmd_scale(struct cli *c, int argc, char **argv);
int cmd_autoscale(struct cli *c, int argc, char **argv);
int cmd_expose(struct cli *c, int argc, char **argv);
int cmd_run(struct cli *c, int argc, char **argv);
int cmd_logs(struct cli *c, int argc, char **argv);
int cmd_exec(struct cli *c, int argc, char **argv);
int cmd_attach(struct cli *c, int argc, char **argv);
int cmd_debug(struct cli *c, int argc, char **argv);
int cmd_cp(struct cli *c, int argc, char **argv);
int cmd_port_forward(struct cli *c, int argc, char **argv);
int cmd_proxy(struct cli *c, int argc, char **argv);
int cmd_wait(struct cli *c, int argc, char **argv);
int cmd_explain(struct cli *c, int argc, char **argv);
int cmd_api_resources(struct cli *c, int argc, char **argv);
int cmd_api_versions(struct cli *c, int argc, char **argv);
int cmd_version(struct cli *c, int argc, char **argv);
int cmd_cluster_info(struct cli *c, int argc, char **argv);
int cmd_drain(struct cli *c, int argc, char **argv);
int cmd_cordon(struct cli *c, int argc, char **argv);
int cmd_uncordon(struct cli *c, int argc, char **argv);
int cmd_events(struct cli *c, int argc, char **argv);
int cmd_completion(struct cli *c, int argc, char **argv);
int cmd_options(struct cli *c, int argc, char **argv);
int cmd_plugin_list(struct cli *c, int argc, char **argv);

extern const struct command apply_commands[], create_commands[], rollout_commands[], set_commands[],
    config_commands[], auth_commands[], top_commands[], certificate_commands[], completion_commands[];
