#define _GNU_SOURCE
#include "content.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "crc.h"

#define KEY 0x5bd1e9955bd1e995ull
#define FIRST 0x9e3779b97f4a7c15ull
#define SECOND 0xbf58476d1ce4e5b9ull

const uint8_t *block;
struct load loads[16];
uint32_t load_count;

static uint64_t undo_first, undo_second;

static uint64_t inverse(uint64_t odd) { /* modulo 2^64, by Newton's iteration: each step doubles the right bits */
    uint64_t x = odd;
    for (int i = 0; i < 6; i++) x *= 2 - odd * x;
    return x;
}

static uint64_t word(uint64_t index) {
    uint64_t x = (index + KEY) * FIRST;
    x = (x ^ x >> 32) * SECOND;
    return x ^ x >> 32;
}

uint64_t content_locate(const uint8_t *eight_bytes) {
    uint64_t x;
    memcpy(&x, eight_bytes, 8);
    x = (x ^ x >> 32) * undo_second;
    x = (x ^ x >> 32) * undo_first - KEY;
    return x < BLOCK_WORDS ? 8 * x : BLOCK_BYTES;
}

void content_make(void) {
    undo_first = inverse(FIRST);
    undo_second = inverse(SECOND);
    uint64_t *words = mmap(NULL, BLOCK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (words == MAP_FAILED) abort();
    madvise(words, BLOCK_BYTES, MADV_HUGEPAGE);
    for (uint64_t i = 0; i < BLOCK_WORDS; i++) words[i] = word(i);
    block = (const uint8_t *)words;
}

static uint32_t crc_of(const struct object *object) {
    uint64_t start = content_start(object), left = object->load->size;
    uint64_t head = BLOCK_BYTES - start < left ? BLOCK_BYTES - start : left;
    uint32_t crc = crc32_more(0, block + start, head);
    static uint32_t whole;
    if (!whole) whole = crc32_more(0, block, BLOCK_BYTES);
    for (left -= head; left >= BLOCK_BYTES; left -= BLOCK_BYTES) crc = crc32_join(crc, whole, BLOCK_BYTES);
    return crc32_more(crc, block, left);
}

bool content_add_load(const char *name_count_size) {
    struct load *load = &loads[load_count];
    unsigned long long size;
    if (load_count == 16 || sscanf(name_count_size, "%31[^:]:%u:%llu", load->name, &load->count, &size) != 3)
        return false;
    if (load->count > 999999) return false;
    load->number = load_count++;
    load->size = size;
    load->crcs = calloc(load->count, sizeof *load->crcs);
    load->asked = calloc(load->count, sizeof *load->asked);
    for (uint32_t i = 0; i < load->count; i++) load->crcs[i] = crc_of(&(struct object){load, i});
    return true;
}

bool content_find(const char *key, struct object *found) {
    const char *slash = strchr(key, '/');
    if (!slash || strlen(slash) != 11 || strcmp(slash + 7, ".jpg") || strspn(slash + 1, "0123456789") != 6)
        return false;
    for (uint32_t i = 0; i < load_count; i++)
        if (strlen(loads[i].name) == (size_t)(slash - key) && !memcmp(loads[i].name, key, (size_t)(slash - key))) {
            *found = (struct object){&loads[i], (uint32_t)atoi(slash + 1)};
            return found->index < loads[i].count;
        }
    return false;
}

void content_key(const struct object *object, char key[64]) {
    snprintf(key, 64, "%s/%06u.jpg", object->load->name, object->index);
}

uint64_t
content_start(const struct object *object) { /* distinct within a load: the factor and the prime share nothing */
    return 8 * ((object->load->number * 1000003ull + object->index) * 2654435761ull % BLOCK_WORDS);
}
