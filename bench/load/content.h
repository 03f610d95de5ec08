/*
 * The objects that are served: slices of one block of random words, each with a start of its own.
 *
 * Word i of the block is a bijection of i, so that eight bytes, met anywhere, tell whether they come from the block and
 * from where in it. The number of words is a prime: no two parts of an archive begin at the same place of the block by
 * chance.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_WORDS 4194301u
#define BLOCK_BYTES (8ull * BLOCK_WORDS)

struct load {
    char name[32];
    uint32_t number, count;
    uint64_t size; /* of each object */
    uint32_t *crcs, *asked; /* of each object: its CRC, and how often it was asked for */
};

struct object {
    const struct load *load;
    uint32_t index;
};

extern const uint8_t *block; /* BLOCK_BYTES */
extern struct load loads[16];
extern uint32_t load_count;

void content_make(void);
bool content_add_load(const char *name_count_size);       /* "w1:10000:20000" */
bool content_find(const char *key, struct object *found); /* "w1/000042.jpg" */
void content_key(const struct object *object, char key[64]);
uint64_t content_start(const struct object *object); /* offset in the block; content wraps at its end */
/* Where in the block these eight bytes stand: an offset, or BLOCK_BYTES if nowhere. */
uint64_t content_locate(const uint8_t *eight_bytes);
