/* SPDX-License-Identifier: Apache-2.0 */
/* SPDY/3.1 header blocks and frame constants. Private to net/. */
#pragma once

#include "net/spdy.h"

#include <zlib.h>

enum spdy_type {
    SPDY_SYN_STREAM = 1,
    SPDY_SYN_REPLY = 2,
    SPDY_RST_STREAM = 3,
    SPDY_SETTINGS = 4,
    SPDY_PING = 6,
    SPDY_GOAWAY = 7,
    SPDY_HEADERS = 8,
    SPDY_WINDOW_UPDATE = 9,
};

enum {
    SPDY_FLAG_FIN = 1,
    SPDY_FRAME_HEAD = 8,
    SPDY_CONTROL_MAX = 1 << 16,
    SPDY_HEADERS_MAX = 1 << 16, /* decompressed */
    SPDY_RST_PROTOCOL_ERROR = 1,
    SPDY_RST_INVALID_STREAM = 2,
    SPDY_RST_CANCEL = 5,
};

struct spdy_frame {
    bool control;
    uint16_t type;      /* of a control frame */
    uint32_t stream_id; /* of a data frame */
    uint8_t flags;
    uint32_t length;
};

/* The 8 bytes before each frame: 0 or -EPROTO (a control frame of another version). */
int spdy_parse_frame(const uint8_t p[static 8], struct spdy_frame *ret);

/* Header compression: one stream a direction for the whole connection. */
void spdy_zlib_init(z_stream *deflater, z_stream *inflater);
void spdy_zlib_done(z_stream *deflater, z_stream *inflater);
void spdy_compress(z_stream *z, struct buf *b, struct str plain);
/* 0 or -EPROTO (corrupt, or more than SPDY_HEADERS_MAX). */
int spdy_decompress(z_stream *z, struct buf *b, struct str packed);

static inline uint32_t spdy_u32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}
void spdy_put_u32(struct buf *b, uint32_t v);
/* The dictionary, made at first use. */
struct str spdy_dictionary(void);
