/* A model written by hand with the interface of the generated ones: 4-5-3, momentum, average of the weights. */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include <stdint.h>

#define TINY_INPUTS 4u
#define TINY_OUTPUTS 3u
#define TINY_HIDDEN 5u
#define TINY_WEIGHTS 43u
#define TINY_VERSION 0x7E57C0DEu

typedef struct {
    float weights[TINY_WEIGHTS];
    float momentum[TINY_WEIGHTS];
    float average[TINY_WEIGHTS];
    uint32_t steps;
} tiny_state;

void tiny_init(tiny_state *state);
float tiny_train_step(tiny_state *state, const float *x, uint32_t label);

#endif
