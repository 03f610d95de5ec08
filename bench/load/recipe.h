/*
 * What was uploaded, kept whole but small: as references into the block of random words, and as the bytes between them.
 * Nothing is lost: the upload can be written out again byte for byte. Only wrong content costs memory.
 */
#pragma once
#include <stdint.h>

#include "text.h"

#define LITERAL UINT64_MAX

struct segment {
    uint64_t from; /* offset in the block (the segment wraps at its end), or LITERAL */
    uint64_t length;
};

struct recipe {
    struct segment *segments;
    size_t count, room;
    struct text literals; /* the bytes of the literal segments, one after the other */
    uint64_t size;
    uint32_t crc;
};

struct recipe *recipe_new(void);
void recipe_add(struct recipe *recipe, const uint8_t *data, size_t length);
/* Each segment as two u64 (native byte order), a literal one followed by its bytes. */
void recipe_write(const struct recipe *recipe, struct text *out);
void recipe_free(struct recipe *recipe);
