/* SPDX-License-Identifier: Apache-2.0 */
/* What is served beside resources: health, metrics, discovery, OpenAPI, keys. */
#pragma once

#include "apiserver/request.h"

request_stage page_not_allowed;
request_stage page_serve; /* by r->info.path; 404 for unknown ones */

void health_metrics(struct apiserver *s, struct buf *b); /* /metrics/slis: what the checks say */

request_stage page_version, page_healthz, page_livez, page_readyz, page_flow, page_metrics, page_index, page_zpage, page_slis, page_api,
    page_apis, page_openapi_v2, page_openapi_v3, page_openid_configuration, page_jwks;
