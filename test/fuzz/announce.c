/* SPDX-License-Identifier: Apache-2.0 */
/* What anybody on the link may say: ARP and neighbour discovery. What is understood must be written back alike. */
#include "announce/message.h"
#include "base/base.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arp_message m, again;
    struct neighbour_message n;
    uint8_t out[MESSAGE_ARP_SIZE], advert[MESSAGE_ADVERT_SIZE];
    if (arp_parse(data, size, &m)) {
        arp_write(&m, out);
        if (!arp_parse(out, sizeof(out), &again) || memcmp(out, data, sizeof(out)) != 0)
            abort();
    }
    if (neighbour_parse(data, size, 255, &n)) {
        neighbour_advertise(&n.target, n.mac, true, advert);
        if (neighbour_parse(data, size, 254, &n) || !neighbour_parse(advert, sizeof(advert), 255, &n))
            abort();
    }
    return 0;
}
