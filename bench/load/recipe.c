#include "recipe.h"

#include <stdlib.h>
#include <string.h>

#include "content.h"
#include "crc.h"

struct recipe *recipe_new(void) { return calloc(1, sizeof(struct recipe)); }

static struct segment *add_segment(struct recipe *recipe, uint64_t from) {
    if (recipe->count == recipe->room) {
        recipe->room = 2 * recipe->room + 8;
        recipe->segments = realloc(recipe->segments, recipe->room * sizeof *recipe->segments);
        if (!recipe->segments) abort();
    }
    struct segment *added = &recipe->segments[recipe->count++];
    *added = (struct segment){from, 0};
    return added;
}

static void add_literal(struct recipe *recipe, const uint8_t *data, size_t length) {
    if (!length) return;
    struct segment *last = recipe->count ? &recipe->segments[recipe->count - 1] : NULL;
    if (!last || last->from != LITERAL) last = add_segment(recipe, LITERAL);
    last->length += length;
    text_add(&recipe->literals, data, length);
}

static size_t common_length(const uint8_t *a, const uint8_t *b, size_t length) {
    size_t same = 0;
    while (length - same >= 4096 && !memcmp(a + same, b + same, 4096)) same += 4096;
    while (length - same >= 64 && !memcmp(a + same, b + same, 64)) same += 64;
    while (same < length && a[same] == b[same]) same++;
    return same;
}

/* How much of `data` goes on where the last segment, a reference, ends. */
static size_t go_on(struct recipe *recipe, const uint8_t *data, size_t length) {
    if (!recipe->count || recipe->segments[recipe->count - 1].from == LITERAL) return 0;
    struct segment *last = &recipe->segments[recipe->count - 1];
    size_t done = 0, same, asked;
    do {
        uint64_t at = (last->from + last->length) % BLOCK_BYTES;
        asked = length - done < BLOCK_BYTES - at ? length - done : BLOCK_BYTES - at;
        same = common_length(data + done, block + at, asked);
        last->length += same;
        done += same;
    } while (same == asked && done < length);
    return done;
}

void recipe_add(struct recipe *recipe, const uint8_t *data, size_t length) {
    recipe->crc = crc32_more(recipe->crc, data, length);
    recipe->size += length;
    while (length) {
        size_t done = go_on(recipe, data, length);
        data += done;
        length -= done;
        size_t skipped = 0;
        uint64_t from = BLOCK_BYTES;
        while (skipped + 8 <= length && (from = content_locate(data + skipped)) == BLOCK_BYTES) skipped++;
        if (from == BLOCK_BYTES) skipped = length;
        add_literal(recipe, data, skipped);
        if (from != BLOCK_BYTES) add_segment(recipe, from);
        data += skipped;
        length -= skipped;
    }
}

void recipe_write(const struct recipe *recipe, struct text *out) {
    const char *literal = recipe->literals.data;
    for (size_t i = 0; i < recipe->count; i++) {
        const struct segment *segment = &recipe->segments[i];
        text_add(out, segment, sizeof *segment);
        if (segment->from != LITERAL) continue;
        text_add(out, literal, segment->length);
        literal += segment->length;
    }
}

void recipe_free(struct recipe *recipe) {
    if (!recipe) return;
    free(recipe->segments);
    text_free(&recipe->literals);
    free(recipe);
}
