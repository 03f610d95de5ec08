#include "timers.h"

#include <stdlib.h>

static struct timer {
    uint64_t due;
    void *owner;
} *heap;
static size_t count, room;

void timers_add(uint64_t due, void *owner) {
    if (count == room) heap = realloc(heap, (room = room ? 2 * room : 256) * sizeof *heap);
    size_t at = count++;
    for (size_t parent; at && heap[parent = (at - 1) / 2].due > due; at = parent) heap[at] = heap[parent];
    heap[at] = (struct timer){due, owner};
}

void *timers_take(uint64_t now) {
    if (timers_next() > now) return NULL;
    void *owner = heap[0].owner;
    struct timer last = heap[--count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1].due < heap[child].due) child++;
        if (last.due <= heap[child].due) break;
        heap[at] = heap[child];
    }
    heap[at] = last;
    return owner;
}

uint64_t timers_next(void) { return count ? heap[0].due : NEVER; }
