#include "network.h"

#include <stdlib.h>
#include <string.h>

uint64_t network_rate;
static uint64_t seed, *delays; /* ns */
static size_t delay_count;

static bool number(const char **at, uint64_t *value) {
    char *end;
    *value = strtoull(*at, &end, 10);
    bool any = end != *at;
    *at = end;
    return any;
}

bool network_set(const char *text) {
    uint64_t rate, new_seed, delay, *list = NULL;
    size_t count = 0;
    bool good = number(&text, &rate) && number(&text, &new_seed);
    for (; good && *text; list[count++] = delay * 1000) {
        if (!(count & (count - 1))) list = realloc(list, (count ? 2 * count : 1) * sizeof *list);
        good = number(&text, &delay) && (!count || list[count - 1] <= delay * 1000);
    }
    if (!good) return free(list), false;
    free(delays);
    network_rate = rate;
    seed = new_seed;
    delays = list;
    delay_count = count;
    for (uint32_t i = 0; i < load_count; i++) memset(loads[i].asked, 0, loads[i].count * sizeof *loads[i].asked);
    return true;
}

/* FNV-1a, and MurmurHash3's last steps, without which neighbouring keys would have neighbouring delays. */
static uint64_t hash(const char *key, uint64_t start) {
    uint64_t x = 0xcbf29ce484222325 ^ start;
    for (; *key; key++) x = (x ^ (uint8_t)*key) * 0x100000001b3;
    x = (x ^ x >> 33) * 0xff51afd7ed558ccd;
    x = (x ^ x >> 33) * 0xc4ceb9fe1a85ec53;
    return x ^ x >> 33;
}

uint64_t network_delay(const struct object *object) {
    if (!delay_count) return 0;
    if (!object) return delays[delay_count / 2];
    char key[64];
    content_key(object, key);
    uint64_t earlier = object->load->asked[object->index]++;
    return delays[hash(key, seed << 32 | earlier) % delay_count];
}
