/* out.c - the byte writer of out.h.
 *
 * One block is being filled at a time. It is handed over when the next piece does not fit, and the head of the answer goes out just before the
 * first block does: until then nothing has been promised to the client, and a failure can still become an honest error answer.
 * SPDX-License-Identifier: Apache-2.0 */
#include "out.h"

#include <stdio.h>
#include <string.h>

void api_out_init(api_out *out, api_reply *reply, api_head head)
{
    *out = (api_out){ .reply = reply, .head = head };
}

static void fail(api_out *out, attn_status status)
{
    if (out->status == ATTN_OK)
        out->status = status;
}

/* Sends the head, once. From here on the answer has begun, even if the head did not make it: there is no second try. */
static void start(api_out *out)
{
    if (out->started || out->status != ATTN_OK)
        return;
    out->started = true;
    fail(out, out->reply->start(out->reply->ctx, &out->head));
}

/* Gives `block` away, behind the head. */
static void deliver(api_out *out, api_block *block)
{
    uint64_t begin = attn_clock_ns();
    start(out);
    if (out->status == ATTN_OK)
        fail(out, out->reply->give(out->reply->ctx, block));
    else
        out->reply->drop(out->reply->ctx, block);
    out->waited_ns += attn_clock_ns() - begin;
}

static void deliver_current(api_out *out)
{
    api_block *block = out->block;
    out->block = NULL;
    if (block && block->used > 0)
        deliver(out, block);
    else if (block)
        out->reply->drop(out->reply->ctx, block);
}

/* Makes room for n bytes in the current block. */
static bool make_room(api_out *out, size_t n)
{
    if (out->status != ATTN_OK)
        return false;
    if (out->block && API_BLOCK_BYTES - out->block->used >= n)
        return true;
    deliver_current(out);
    if (out->status != ATTN_OK)
        return false;
    out->block = out->reply->take(out->reply->ctx);
    if (!out->block) {
        fail(out, ATTN_E_NOMEM);
        return false;
    }
    out->block->used = 0;
    return true;
}

/* As they are. */
static void put_bytes(api_out *out, const void *bytes, size_t n)
{
    const char *from = bytes;
    if (!out->reply) {
        out->written = out->written > UINT64_MAX - n ? UINT64_MAX : out->written + n;
        return;
    }
    while (n > 0 && make_room(out, 1)) {
        size_t room = API_BLOCK_BYTES - out->block->used, part = n < room ? n : room;
        memcpy(out->block->data + out->block->used, from, part);
        out->block->used += part;
        out->written += part;
        from += part;
        n -= part;
    }
}

/* The escape of a byte that may not stand in a JSON string as it is; 0 bytes: it may. */
static size_t escape(unsigned char c, char out[7])
{
    static const char short_name[32] = { ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r' };
    if (c == '"' || c == '\\' || (c < 0x20 && short_name[c])) {
        out[0] = '\\';
        out[1] = c < 0x20 ? short_name[c] : (char)c;
        return 2;
    }
    if (c < 0x20)
        return (size_t)snprintf(out, 7, "\\u%04x", c);
    return 0;
}

static void put_escaped(api_out *out, const char *s, size_t n, void (*put)(api_out *, const void *, size_t))
{
    size_t plain = 0; /* first byte not written yet */
    for (size_t i = 0; i < n; i++) {
        char text[7];
        size_t length = escape((unsigned char)s[i], text);
        if (length == 0)
            continue;
        put(out, s + plain, i - plain);
        put(out, text, length);
        plain = i + 1;
    }
    put(out, s + plain, n - plain);
}

void api_out_bytes(api_out *out, const void *bytes, size_t n)
{
    if (out->quoted)
        put_escaped(out, bytes, n, put_bytes);
    else
        put_bytes(out, bytes, n);
}

void api_out_string(api_out *out, const char *s)
{
    api_out_bytes(out, s, strlen(s));
}

void api_out_char(api_out *out, char c)
{
    api_out_bytes(out, &c, 1);
}

void api_out_format(api_out *out, const char *fmt, ...)
{
    char text[257];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof text)
        fail(out, ATTN_E_INTERNAL);
    else
        api_out_bytes(out, text, (size_t)n);
}

void api_out_uint(api_out *out, uint64_t n)
{
    char text[20];
    size_t at = sizeof text;
    do {
        text[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n > 0);
    api_out_bytes(out, text + at, sizeof text - at);
}

void api_out_json_string(api_out *out, const char *s, size_t n)
{
    api_out_char(out, '"');
    put_escaped(out, s, n, api_out_bytes);
    api_out_char(out, '"');
}

char *api_out_reserve(api_out *out, size_t n)
{
    if (n > API_BLOCK_BYTES || !out->reply)
        fail(out, ATTN_E_INTERNAL);
    return make_room(out, n) ? out->block->data + out->block->used : NULL;
}

void api_out_commit(api_out *out, size_t used)
{
    if (out->status != ATTN_OK)
        return;
    out->block->used += used;
    out->written += used;
}

void api_out_flush(api_out *out)
{
    if (out->reply && out->status == ATTN_OK)
        deliver_current(out);
}

void api_out_block(api_out *out, api_block *block, bool more)
{
    if (!block) {
        fail(out, ATTN_E_NOMEM);
        return;
    }
    if (out->block)
        out->block->more = true;
    deliver_current(out);
    size_t used = block->used;
    block->more = more;
    deliver(out, block); /* gone, whatever came of it */
    if (out->status == ATTN_OK)
        out->written += used;
}

attn_status api_out_end(api_out *out)
{
    if (out->status != ATTN_OK)
        return out->status;
    if (!out->started) {
        out->head.has_length = true;
        out->head.length = out->block ? out->block->used : 0;
    }
    deliver_current(out);
    start(out);
    return out->status;
}

bool api_out_abandon(api_out *out)
{
    if (out->block)
        out->reply->drop(out->reply->ctx, out->block);
    out->block = NULL;
    fail(out, ATTN_E_CANCELLED);
    return !out->started;
}
