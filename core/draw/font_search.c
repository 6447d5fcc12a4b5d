/* font_search.c - font files in folders, by name alone: nothing is opened here. Bounded in depth and number; a folder that cannot be read has none.
 * SPDX-License-Identifier: Apache-2.0 */
#include "draw/fonts.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

enum { MAX_DEPTH = 6, MAX_ENTRIES = 20000, MAX_FILE_BYTES = 64 << 20 };

typedef struct finder {
    attn_fonts *fonts;
    size_t room;    /* of fonts->files */
    size_t entries; /* still to be looked at */
} finder;

static bool ends_as_font(const char *name)
{
    static const char *const endings[] = { ".ttf", ".otf", ".ttc", ".otc" };
    size_t n = strlen(name);
    for (size_t i = 0; n > 4 && i < sizeof endings / sizeof *endings; i++)
        if (strcasecmp(name + n - 4, endings[i]) == 0)
            return true;
    return false;
}

/* A label wants an upright, plain face. */
static int rank_of(const char *name)
{
    static const char *const plain[] = { "Sans", "Regular", "Book" };
    static const char *const fancy[] = { "Bold", "Italic", "Oblique",    "Light", "Thin",   "Black",   "Condensed", "Mono", "Serif",
                                         "Math", "Extra",  "Decorative", "Title", "Poster", "Display", "Emoji",     "Art" };
    int rank = 0;
    for (size_t i = 0; i < sizeof plain / sizeof *plain; i++)
        rank -= strcasestr(name, plain[i]) != NULL;
    for (size_t i = 0; i < sizeof fancy / sizeof *fancy; i++)
        rank += 4 * (strcasestr(name, fancy[i]) != NULL);
    return rank;
}

static void add_file(finder *f, const char *path, const char *name)
{
    attn_fonts *fonts = f->fonts;
    if (fonts->num_files == f->room) {
        attn_font_file *more = attn_realloc(fonts->files, 2 * f->room * sizeof *more);
        fonts->no_memory = fonts->no_memory || !more;
        if (!more)
            return;
        fonts->files = more;
        f->room *= 2;
    }
    attn_font_file file = { .path = attn_strdup(path), .rank = rank_of(name), .is_emoji = strcasestr(name, "emoji") != NULL };
    fonts->no_memory = fonts->no_memory || !file.path;
    if (file.path)
        fonts->files[fonts->num_files++] = file;
}

static void search_folder(finder *f, const char *folder, int depth)
{
    DIR *d = opendir(folder);
    struct dirent *entry;
    while (d && f->entries > 0 && f->fonts->num_files < ATTN_MAX_FONT_FILES && (entry = readdir(d)) != NULL) {
        char path[1024];
        struct stat st;
        f->entries--;
        if (entry->d_name[0] == '.' || snprintf(path, sizeof path, "%s/%s", folder, entry->d_name) >= (int)sizeof path || stat(path, &st) != 0)
            continue;
        if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH)
            search_folder(f, path, depth + 1);
        else if (S_ISREG(st.st_mode) && st.st_size > 0 && st.st_size <= MAX_FILE_BYTES && ends_as_font(entry->d_name))
            add_file(f, path, entry->d_name);
    }
    if (d)
        closedir(d);
}

static int compare(const void *a, const void *b)
{
    const attn_font_file *x = a, *y = b;
    return x->rank != y->rank ? (x->rank < y->rank ? -1 : 1) : strcmp(x->path, y->path);
}

/* What was found when memory ran out is forgotten, so that the next picture looks again. */
static void forget_files(attn_fonts *fonts)
{
    while (fonts->num_files > 1)
        attn_free(fonts->files[--fonts->num_files].path);
}

void attn_fonts_search(attn_fonts *fonts)
{
    finder f = { .fonts = fonts, .room = 1, .entries = MAX_ENTRIES };
    for (size_t i = 0; fonts->folders[i]; i++)
        search_folder(&f, fonts->folders[i], 0);
    if (fonts->no_memory) {
        forget_files(fonts);
        return;
    }
    qsort(fonts->files + 1, fonts->num_files - 1, sizeof *fonts->files, compare);
    for (size_t i = 0; fonts->folders[i]; i++)
        attn_free(fonts->folders[i]);
    attn_free(fonts->folders);
    fonts->folders = NULL;
}
