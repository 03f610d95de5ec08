/* Who waits for which moment: a heap, the earliest first. Moments are ns of the monotonic clock. */
#pragma once
#include <stdint.h>

#define NEVER UINT64_MAX

void timers_add(uint64_t due, void *owner);
/* Takes out the earliest that is due; NULL where none is. */
void *timers_take(uint64_t now);
/* When the earliest is due; NEVER where nobody waits. */
uint64_t timers_next(void);
