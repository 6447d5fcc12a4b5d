/* pre_tokenizer_metaspace.c - Metaspace: spaces become a sign that is part of the words ("▁"), and each sign begins a word.
 * SPDX-License-Identifier: Apache-2.0 */
#include "text/pipeline.h"

static attn_status read_prepend(attn_prepend *out, const attn_node *n)
{
    static const char *const names[] = { [ATTN_NEVER] = "never", [ATTN_FIRST] = "first", [ATTN_ALWAYS] = "always" };
    attn_node scheme = attn_node_member(n, "prepend_scheme");
    attn_text name = { .length = 0 };
    *out = ATTN_ALWAYS;
    if (!scheme.value)
        return ATTN_OK;
    attn_status st = attn_node_string(n, "prepend_scheme", &name);
    if (st != ATTN_OK)
        return st;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (attn_text_is(name, names[i])) {
            *out = (attn_prepend)i;
            return ATTN_OK;
        }
    return attn_node_unknown(&scheme, "", name);
}

attn_status attn_metaspace_read(const attn_node *n, attn_metaspace_settings *out)
{
    attn_node old = attn_node_member(n, "add_prefix_space"), cuts = attn_node_member(n, "split");
    bool space = true;
    attn_status st = attn_node_code_point(n, "replacement", &out->sign);
    if (st == ATTN_OK)
        st = read_prepend(&out->prepend, n);
    if (st == ATTN_OK && old.value)
        st = attn_node_bool(n, "add_prefix_space", &space);
    out->cuts = true;
    if (st == ATTN_OK && cuts.value)
        st = attn_node_bool(n, "split", &out->cuts);
    if (st == ATTN_OK && !space && out->prepend != ATTN_NEVER) /* old files have add_prefix_space alone */
        st = attn_node_fail(&old, ATTN_E_FORMAT, "false, but prepend_scheme is not \"never\"");
    return st;
}

static attn_status metaspace_open(attn_splitter *self, const attn_node *n)
{
    attn_metaspace_settings settings = { .cuts = true };
    attn_status st = attn_metaspace_read(n, &settings);
    self->sign = settings.sign;
    self->prepend = settings.prepend;
    self->cuts = settings.cuts;
    return st;
}

static attn_reach metaspace_grow(const attn_splitter *self, attn_reach in, uint64_t pieces)
{
    enum { SIGN_BYTES_MAX = 4 };
    uint64_t more = self->prepend == ATTN_NEVER ? 0 : pieces;
    return (attn_reach){ .bytes = SIGN_BYTES_MAX * (in.bytes + more), .points = in.points + more };
}

static attn_status metaspace_run(const attn_splitter *self, attn_encoder *e, const attn_stretch *in, size_t index)
{
    attn_buffer out = e->splits[index];
    uint32_t c;
    attn_utf8_get(in->bytes, &c);
    if (c != ' ' && c != self->sign && (self->prepend == ATTN_ALWAYS || (self->prepend == ATTN_FIRST && in->at[0] == 0)))
        attn_buffer_put(&out, self->sign, in->at[0]);
    attn_status st = ATTN_OK;
    size_t done = 0; /* of `out`: pieces handed on */
    for (size_t i = 0, n; st == ATTN_OK && i < in->length; i += n) {
        n = attn_utf8_get(in->bytes + i, &c);
        if (c == ' ')
            c = self->sign;
        if (c == self->sign && self->cuts && done < out.length) {
            attn_stretch piece = { .bytes = out.bytes + done, .at = out.at + done, .length = out.length - done };
            st = attn_splitters_next(e, &piece, index + 1);
            done = out.length;
        }
        attn_buffer_put(&out, c, in->at[i]);
        if (st == ATTN_OK)
            st = attn_encoder_handled(e, n);
    }
    attn_stretch piece = { .bytes = out.bytes + done, .at = out.at + done, .length = out.length - done };
    return st == ATTN_OK ? attn_splitters_next(e, &piece, index + 1) : st;
}

const attn_splitter_kind attn_metaspace = { .type = "Metaspace", .open = metaspace_open, .run = metaspace_run, .grow = metaspace_grow };
