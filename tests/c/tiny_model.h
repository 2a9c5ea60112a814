/* A model written by hand with the interface of the generated ones: 4-5-3, batches of two, momentum,
 * average of the weights. */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include <stddef.h>
#include <stdint.h>

#define TINY_INPUTS 4u
#define TINY_OUTPUTS 3u
#define TINY_HIDDEN 5u
#define TINY_WEIGHTS 43u
#define TINY_VERSION 0x7E57C0DEu
#define TINY_BATCH 2
#define TINY_CHECKPOINT_BYTES offsetof(tiny_state, gradient)

enum { TINY_SKIPPED = -1, TINY_ACCUMULATED = 0, TINY_STEPPED = 1 };

typedef struct {
    float weights[TINY_WEIGHTS];
    float momentum[TINY_WEIGHTS];
    float average[TINY_WEIGHTS];
    uint32_t steps;
    float gradient[TINY_WEIGHTS];
    uint32_t in_batch;
} tiny_state;

void tiny_init(tiny_state *state);
int tiny_train_step(tiny_state *state, const float x[TINY_INPUTS], int32_t label);
void tiny_infer(const tiny_state *state, const float x[TINY_INPUTS], float y[TINY_OUTPUTS]);

#endif
