/* drawer.h - what the three kinds of drawing share.
 * SPDX-License-Identifier: Apache-2.0 */
#ifndef ATTN_DRAWER_H
#define ATTN_DRAWER_H

#include "draw/colors.h"
#include "draw/picture_layout.h"

typedef struct attn_draw_ops {
    attn_draw_size (*measure)(const attn_drawing *);
    attn_status (*open)(attn_drawer *, attn_error *);
    attn_status (*section)(attn_drawer *, const attn_section *, const float *values, attn_error *);
    attn_status (*end)(attn_drawer *, attn_error *);
    void (*close)(attn_drawer *);
} attn_draw_ops;

struct attn_drawer {
    const attn_drawing *drawing;
    const attn_draw_ops *ops;
    attn_draw_bytes write;
    void *ctx;
    attn_cancel *cancel;
    uint64_t width, height; /* of the picture */
    size_t section;         /* the next one */
    uint64_t top;           /* where it begins */
    attn_status status;     /* the first failure */
    void *state;            /* the kind's own */
};

extern const attn_draw_ops attn_draw_png, attn_draw_svg, attn_draw_text;
extern const char attn_draw_axes[]; /* which side looks, and which is looked at; below every section's title */

/* Bytes out; a failure sticks in d->status. */
void attn_draw_put(attn_drawer *, const void *bytes, size_t n);
void attn_draw_string(attn_drawer *, const char *s);
void attn_draw_format(attn_drawer *, const char *fmt, ...) ATTN_PRINTF(2, 3); /* at most 500 bytes */
/* False, with d->status set: somebody wants this to end. */
bool attn_draw_may_go_on(attn_drawer *);

#endif
