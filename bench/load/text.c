#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void make_room(struct text *text, size_t length) {
    if (text->length + length <= text->room) return;
    text->room = 2 * (text->length + length) + 64;
    text->data = realloc(text->data, text->room);
    if (!text->data) abort();
}

void text_add(struct text *text, const void *data, size_t length) {
    if (!length) return;
    make_room(text, length);
    memcpy(text->data + text->length, data, length);
    text->length += length;
}

void text_print(struct text *text, const char *format, ...) {
    va_list values, again;
    va_start(values, format);
    va_copy(again, values);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    make_room(text, (size_t)length + 1);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, values);
    va_end(values);
    text->length += (size_t)length;
}

void text_free(struct text *text) {
    free(text->data);
    *text = (struct text){0};
}
