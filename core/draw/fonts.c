/* fonts.c - the faces there are: the one inside the program, and those found in folders when the first character is missing.
 *
 * Files are ranked (plain sans first, bold, slanted and ornate ones last; colour emoji first for emoji and last for all else) and read in that order, each
 * when a character was not found before it: what a file has is kept as a set, so a second look costs no file. A damaged file has no characters.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/fonts.h"

#include <hb-ot.h>
#include <string.h>

extern const char attn_font_labels[], attn_font_labels_end[];

/* ---- memory ------------------------------------------------------------------------------------------------------------ */

static void *note(FT_Memory memory, void *block)
{
    attn_fonts *fonts = memory->user;
    fonts->no_memory = fonts->no_memory || !block;
    return block;
}

static void *take_memory(FT_Memory memory, long size)
{
    return note(memory, attn_malloc((size_t)size));
}

static void give_memory(FT_Memory memory, void *block)
{
    (void)memory;
    attn_free(block);
}

static void *resize_memory(FT_Memory memory, long now, long size, void *block)
{
    (void)now;
    return note(memory, attn_realloc(block, (size_t)size));
}

/* ---- faces ------------------------------------------------------------------------------------------------------------- */

static void close_face(attn_face *face)
{
    hb_font_destroy(face->font);
    if (face->ft)
        FT_Done_Face(face->ft);
    hb_blob_destroy(face->blob);
    *face = (attn_face){ .file = ATTN_NO_FACE };
}

static hb_blob_t *open_blob(const attn_font_file *file)
{
    if (file->path)
        return hb_blob_create_from_file_or_fail(file->path);
    return hb_blob_create_or_fail(attn_font_labels, (unsigned)(attn_font_labels_end - attn_font_labels), HB_MEMORY_MODE_READONLY, NULL, NULL);
}

/* The first face of a collection: the others are other weights, or the same for another country. */
static bool open_face(attn_fonts *fonts, int number, attn_face *face)
{
    unsigned length = 0;
    face->blob = open_blob(&fonts->files[number]);
    const char *bytes = face->blob ? hb_blob_get_data(face->blob, &length) : NULL;
    if (!bytes || FT_New_Memory_Face(fonts->library, (const FT_Byte *)bytes, (FT_Long)length, 0, &face->ft) != 0) {
        face->ft = NULL;
        return false;
    }
    hb_face_t *shaper = hb_face_create(face->blob, 0);
    face->font = hb_font_create(shaper);
    hb_face_destroy(shaper);
    face->file = number;
    return true;
}

attn_face *attn_face_get(attn_fonts *fonts, int file)
{
    attn_face *oldest = &fonts->faces[0];
    for (size_t i = 0; i < ATTN_OPEN_FACES; i++) {
        attn_face *face = &fonts->faces[i];
        if (face->file == file) {
            face->used = ++fonts->clock;
            return face;
        }
        if (face->used < oldest->used)
            oldest = face;
    }
    close_face(oldest);
    if (!open_face(fonts, file, oldest)) {
        close_face(oldest);
        return NULL;
    }
    oldest->used = ++fonts->clock;
    return oldest;
}

/* ---- who has a character ------------------------------------------------------------------------------------------------- */

static bool has_character(attn_fonts *fonts, int number, int32_t c)
{
    attn_font_file *file = &fonts->files[number];
    if (!file->was_read) {
        attn_face *face = attn_face_get(fonts, number);
        if (!face && fonts->no_memory)
            return false;
        file->was_read = true;
        file->has = hb_set_create();
        if (face)
            hb_face_collect_unicodes(hb_font_get_face(face->font), file->has);
    }
    return hb_set_has(file->has, (hb_codepoint_t)c);
}

/* Characters that are shown in colour where colours are to be had; a rough cut of Emoji_Presentation. */
static bool is_emoji(int32_t c)
{
    return (c >= 0x1F300 && c <= 0x1FAFF) || (c >= 0x1F1E6 && c <= 0x1F1FF);
}

static int look_for(attn_fonts *fonts, int32_t c)
{
    if (has_character(fonts, 0, c))
        return 0;
    if (fonts->folders)
        attn_fonts_search(fonts);
    for (int pass = is_emoji(c) ? 0 : 1; pass < 2; pass++)
        for (size_t i = 1; i < fonts->num_files; i++)
            if ((pass == 1 || fonts->files[i].is_emoji) && has_character(fonts, (int)i, c))
                return (int)i;
    return ATTN_NO_FACE;
}

int attn_face_for(attn_fonts *fonts, int32_t c)
{
    size_t place = (size_t)c % ATTN_FACE_CACHE;
    if (c > 0 && fonts->known[place].c == c)
        return fonts->known[place].file;
    int file = look_for(fonts, c);
    if (!fonts->no_memory) {
        fonts->known[place].c = c;
        fonts->known[place].file = file;
    }
    return file;
}

/* ---- from open to close ------------------------------------------------------------------------------------------------- */

static const char *const usual_folders[] = { "/usr/share/fonts", "/usr/local/share/fonts", NULL };

static attn_status keep_folders(attn_fonts *fonts, const char *const *folders, attn_error *err)
{
    size_t n = 0;
    while (folders[n])
        n++;
    fonts->folders = attn_calloc(n + 1, sizeof *fonts->folders);
    for (size_t i = 0; fonts->folders && i < n; i++)
        if (!(fonts->folders[i] = attn_strdup(folders[i])))
            return attn_fail_memory(err);
    return fonts->folders ? ATTN_OK : attn_fail_memory(err);
}

static attn_status open_library(attn_fonts *fonts, attn_error *err)
{
    fonts->memory = (struct FT_MemoryRec_){ .user = fonts, .alloc = take_memory, .free = give_memory, .realloc = resize_memory };
    bool opened = FT_New_Library(&fonts->memory, &fonts->library) == 0;
    if (opened)
        FT_Add_Default_Modules(fonts->library);
    else
        fonts->library = NULL;
    fonts->files = opened ? attn_calloc(1, sizeof *fonts->files) : NULL;
    if (!fonts->files || fonts->no_memory)
        return attn_fail_memory(err);
    fonts->num_files = 1;
    if (attn_face_get(fonts, 0))
        return ATTN_OK;
    return fonts->no_memory ? attn_fail_memory(err) : attn_fail(err, ATTN_E_INTERNAL, "fonts", "the face inside the program cannot be opened");
}

attn_status attn_fonts_open(attn_fonts **out, const char *const *folders, attn_error *err)
{
    *out = NULL;
    attn_fonts *fonts = attn_calloc(1, sizeof *fonts);
    if (!fonts)
        return attn_fail_memory(err);
    pthread_mutex_init(&fonts->lock, NULL);
    for (size_t i = 0; i < ATTN_OPEN_FACES; i++)
        fonts->faces[i].file = ATTN_NO_FACE;
    for (size_t i = 0; i < ATTN_GLYPH_CACHE; i++)
        fonts->glyphs[i].file = ATTN_NO_FACE;
    attn_status st = keep_folders(fonts, folders ? folders : usual_folders, err);
    if (st == ATTN_OK)
        st = open_library(fonts, err);
    if (st == ATTN_OK) {
        *out = fonts;
        fonts = NULL;
    }
    attn_fonts_close(fonts);
    return st;
}

void attn_fonts_close(attn_fonts *fonts)
{
    if (!fonts)
        return;
    for (size_t i = 0; i < ATTN_OPEN_FACES; i++)
        close_face(&fonts->faces[i]);
    attn_glyphs_forget(fonts);
    for (size_t i = 0; i < fonts->num_files; i++) {
        attn_free(fonts->files[i].path);
        hb_set_destroy(fonts->files[i].has);
    }
    attn_free(fonts->files);
    for (size_t i = 0; fonts->folders && fonts->folders[i]; i++)
        attn_free(fonts->folders[i]);
    attn_free(fonts->folders);
    if (fonts->library)
        FT_Done_Library(fonts->library);
    pthread_mutex_destroy(&fonts->lock);
    attn_free(fonts);
}
