/* Order of samples that follows from a counter alone: a run that was interrupted goes on as if it had not been.
 * Each pass takes every sample once, in an order of its own. Nothing is stored. */
#ifndef LS_ORDER_H
#define LS_ORDER_H

#include <stdint.h>

/* Row, 0 to rows - 1, of the sample that is taken as number `taken` (0, 1, ...). rows must be 1 to 2^30. */
uint32_t ls_sample_at(uint64_t taken, uint32_t rows);

#endif
