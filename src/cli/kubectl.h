/* SPDX-License-Identifier: Apache-2.0 */
/* kubectl: upstream's command of that name, with its flags, output and exit codes. */
#pragma once

int kubectl_main(int argc, char **argv);
