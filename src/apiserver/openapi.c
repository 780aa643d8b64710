/* SPDX-License-Identifier: Apache-2.0 */
/* /openapi/v2 and /openapi/v3. */
#include "apiserver/pages.h"

int page_openapi_v2(struct request *r)
{
    return status_set(&r->status, 501, "NotImplemented", "OpenAPI v2 is not served yet");
}

int page_openapi_v3(struct request *r)
{
    return status_set(&r->status, 501, "NotImplemented", "OpenAPI v3 is not served yet");
}
