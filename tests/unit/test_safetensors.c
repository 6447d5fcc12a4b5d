/* test_safetensors.c - the reader of weight files: what the format allows is read as it is, and no prefix or change of a file makes it read past the end.
 * What it refuses, and with which words, is in test_broken_models.c.
 * SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>

#include "attn_base.h"
#include "model/safetensors.h"
#include "unit.h"

typedef struct built {
    uint8_t *bytes; /* exactly `size` of them, so that a sanitizer sees one too far */
    size_t size;
} built;

static built build(const char *header, size_t data)
{
    size_t n = strlen(header);
    built b = { malloc(8 + n + data), 8 + n + data };
    for (size_t i = 0; i < 8; i++)
        b.bytes[i] = (uint8_t)(n >> (8 * i));
    memcpy(b.bytes + 8, header, n);
    for (size_t i = 0; i < data; i++)
        b.bytes[8 + n + i] = (uint8_t)i;
    return b;
}

START_TEST(tensors_come_in_order_of_their_data_with_names_shapes_and_types)
{
    built b = build("{\"b\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[4,16]},\"__metadata__\":{\"x\":\"y\"},"
                    "\"a\":{\"data_offsets\":[0,4],\"shape\":[],\"dtype\":\"F32\"},\"none\":{\"dtype\":\"I64\",\"shape\":[5,0],\"data_offsets\":[16,16]},"
                    "\"c\":{\"dtype\":\"BF16\",\"shape\":[1,1,1,1,1,1,1,1],\"data_offsets\":[16,18]}}   ",
                    18);
    attn_error err = { 0 };
    attn_safetensors s;
    ck_assert_int_eq(attn_safetensors_open(&s, b.bytes, b.size, "f", &err), ATTN_OK);
    ck_assert_uint_eq(s.count, 4);
    static const char *const names[] = { "a", "b", "none", "c" };
    static const attn_dtype types[] = { ATTN_DTYPE_F32, ATTN_DTYPE_F16, ATTN_DTYPE_OTHER, ATTN_DTYPE_BF16 };
    static const size_t ranks[] = { 0, 2, 2, 8 }, bytes[] = { 4, 12, 0, 2 }, at[] = { 0, 4, 16, 16 };
    for (size_t i = 0; i < 4; i++) {
        const attn_tensor *t = &s.tensors[i];
        ck_assert_str_eq(t->name, names[i]);
        ck_assert_int_eq(t->type, types[i]);
        ck_assert_uint_eq(t->rank, ranks[i]);
        ck_assert_uint_eq(t->bytes, bytes[i]);
        ck_assert_ptr_eq(t->data, b.bytes + b.size - 18 + at[i]);
        ck_assert(!t->used);
    }
    ck_assert_uint_eq(s.tensors[1].shape[0], 2);
    ck_assert_uint_eq(s.tensors[1].shape[1], 3);
    attn_safetensors_close(&s);
    free(b.bytes);
}
END_TEST

START_TEST(every_dtype_of_the_format_has_its_width)
{
    static const struct {
        const char *name;
        size_t bits;
    } types[] = { { "BOOL", 8 }, { "U8", 8 },   { "I8", 8 },    { "F8_E5M2", 8 }, { "F8_E4M3", 8 }, { "F8_E8M0", 8 }, { "I16", 16 },
                  { "U16", 16 }, { "F16", 16 }, { "BF16", 16 }, { "I32", 32 },    { "U32", 32 },    { "F32", 32 },    { "F64", 64 },
                  { "I64", 64 }, { "U64", 64 }, { "C64", 64 },  { "F6_E2M3", 6 }, { "F6_E3M2", 6 }, { "F4", 4 } };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char header[128];
        attn_error err = { 0 };
        attn_safetensors s;
        size_t bytes = 4 * types[i].bits / 8;
        snprintf(header, sizeof header, "{\"t\":{\"dtype\":\"%s\",\"shape\":[4],\"data_offsets\":[0,%zu]}}", types[i].name, bytes);
        built b = build(header, bytes);
        ck_assert_msg(attn_safetensors_open(&s, b.bytes, b.size, "f", &err) == ATTN_OK, "%s: %s", types[i].name, err.text);
        attn_safetensors_close(&s);
        free(b.bytes);
    }
}
END_TEST

START_TEST(an_empty_header_and_no_data_is_a_file_without_tensors)
{
    built b = build("{}", 0);
    attn_error err = { 0 };
    attn_safetensors s;
    ck_assert_int_eq(attn_safetensors_open(&s, b.bytes, b.size, "f", &err), ATTN_OK);
    ck_assert_uint_eq(s.count, 0);
    attn_safetensors_close(&s);
    free(b.bytes);
}
END_TEST

static const char small[] =
    "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"F16\",\"shape\":[2,2],\"data_offsets\":[8,16]}}";

START_TEST(no_prefix_of_a_file_is_a_file)
{
    built b = build(small, 16);
    for (size_t n = 0; n < b.size; n++) {
        attn_error err = { 0 };
        attn_safetensors s;
        uint8_t *part = malloc(n ? n : 1);
        memcpy(part, b.bytes, n);
        ck_assert_int_eq(attn_safetensors_open(&s, part, n, "f", &err), ATTN_E_FORMAT);
        ck_assert(err.where[0] == 'f' && err.text[0]);
        ck_assert(!s.header && !s.tensors && s.count == 0);
        free(part);
    }
    free(b.bytes);
}
END_TEST

/* A changed byte of the header gives another file or none; whatever is accepted still covers its data once. */
START_TEST(whatever_one_byte_is_changed_to_the_data_is_covered_once_or_the_file_refused)
{
    built b = build(small, 16);
    size_t accepted = 0;
    for (size_t i = 0; i < b.size - 16; i++) {
        uint8_t old = b.bytes[i];
        for (int x = 0; x < 256; x++) {
            attn_error err = { 0 };
            attn_safetensors s;
            b.bytes[i] = (uint8_t)x;
            if (attn_safetensors_open(&s, b.bytes, b.size, "f", &err) != ATTN_OK)
                continue;
            size_t sum = 0;
            for (size_t t = 0; t < s.count; t++)
                sum += s.tensors[t].bytes;
            ck_assert_uint_eq(sum, 16);
            accepted++;
            attn_safetensors_close(&s);
        }
        b.bytes[i] = old;
    }
    ck_assert_uint_gt(accepted, b.size - 24); /* at least the file itself, once for each byte */
    free(b.bytes);
}
END_TEST

START_TEST(shapes_are_written_as_lists_and_cut_where_there_is_no_room)
{
    char text[12];
    attn_shape_text(text, sizeof text, (const size_t[]){ 3, 40 }, 2);
    ck_assert_str_eq(text, "[3, 40]");
    attn_shape_text(text, sizeof text, NULL, 0);
    ck_assert_str_eq(text, "[]");
    attn_shape_text(text, sizeof text, (const size_t[]){ 123456, 7890123, 4 }, 3);
    ck_assert_str_eq(text, "[123456, 78");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("safetensors");
    TCase *tcase = tcase_create("reader");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, tensors_come_in_order_of_their_data_with_names_shapes_and_types);
    tcase_add_test(tcase, every_dtype_of_the_format_has_its_width);
    tcase_add_test(tcase, an_empty_header_and_no_data_is_a_file_without_tensors);
    tcase_add_test(tcase, no_prefix_of_a_file_is_a_file);
    tcase_add_test(tcase, whatever_one_byte_is_changed_to_the_data_is_covered_once_or_the_file_refused);
    tcase_add_test(tcase, shapes_are_written_as_lists_and_cut_where_there_is_no_room);
    suite_add_tcase(suite, tcase);
    return unit_main(suite);
}
