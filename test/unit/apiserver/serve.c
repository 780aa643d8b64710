/* SPDX-License-Identifier: Apache-2.0 */
/* The API server as a program, for tests that drive it from outside. */
#include "apiserver/server.h"

int main(int argc, char **argv)
{
    return apiserver_main(argc, argv);
}
