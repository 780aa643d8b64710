/* SPDX-License-Identifier: Apache-2.0 */
/* The programs of this floor, for cmd/main.c. argv[0] is the command's name. They return exit codes. */
#pragma once

int up_main(int argc, char **argv);
int down_main(int argc, char **argv);
int status_main(int argc, char **argv);
int node_main(int argc, char **argv);
int image_main(int argc, char **argv);
