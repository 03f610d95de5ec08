/* Bytes that grow. */
#pragma once
#include <stddef.h>

struct text {
    char *data;
    size_t length, room;
};

void text_add(struct text *text, const void *data, size_t length);
void text_print(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
void text_free(struct text *text);
