#include "tiny_model.h"

#include <math.h>
#include <string.h>

#define BIAS_1 (TINY_INPUTS * TINY_HIDDEN)
#define LAYER_2 (BIAS_1 + TINY_HIDDEN)
#define BIAS_2 (LAYER_2 + TINY_HIDDEN * TINY_OUTPUTS)

void tiny_init(tiny_state *state) {
    uint32_t seed = 1u;
    memset(state, 0, sizeof *state);
    for (uint32_t i = 0; i < TINY_WEIGHTS; i++) {
        seed = seed * 1664525u + 1013904223u;
        state->weights[i] = (float)(seed >> 8) / 16777216.0f - 0.5f;
    }
    memcpy(state->average, state->weights, sizeof state->average);
}

float tiny_train_step(tiny_state *state, const float *x, uint32_t label) {
    float *w = state->weights;
    float hidden[TINY_HIDDEN], error[TINY_OUTPUTS], gradient[TINY_WEIGHTS], sum = 0.0f, loss;
    for (uint32_t h = 0; h < TINY_HIDDEN; h++) {
        float total = w[BIAS_1 + h];
        for (uint32_t i = 0; i < TINY_INPUTS; i++) {
            total += w[h * TINY_INPUTS + i] * x[i];
        }
        hidden[h] = tanhf(total);
    }
    for (uint32_t o = 0; o < TINY_OUTPUTS; o++) {
        float total = w[BIAS_2 + o];
        for (uint32_t h = 0; h < TINY_HIDDEN; h++) {
            total += w[LAYER_2 + o * TINY_HIDDEN + h] * hidden[h];
        }
        error[o] = expf(total);
        sum += error[o];
    }
    loss = -logf(error[label] / sum);
    for (uint32_t o = 0; o < TINY_OUTPUTS; o++) {
        error[o] = error[o] / sum - (o == label ? 1.0f : 0.0f);
        gradient[BIAS_2 + o] = error[o];
    }
    for (uint32_t h = 0; h < TINY_HIDDEN; h++) {
        float back = 0.0f;
        for (uint32_t o = 0; o < TINY_OUTPUTS; o++) {
            gradient[LAYER_2 + o * TINY_HIDDEN + h] = error[o] * hidden[h];
            back += error[o] * w[LAYER_2 + o * TINY_HIDDEN + h];
        }
        back *= 1.0f - hidden[h] * hidden[h];
        gradient[BIAS_1 + h] = back;
        for (uint32_t i = 0; i < TINY_INPUTS; i++) {
            gradient[h * TINY_INPUTS + i] = back * x[i];
        }
    }
    state->steps++;
    for (uint32_t i = 0; i < TINY_WEIGHTS; i++) {
        state->momentum[i] = 0.9f * state->momentum[i] + gradient[i];
        w[i] -= 0.05f * state->momentum[i];
        state->average[i] += (w[i] - state->average[i]) / (float)state->steps;
    }
    return loss;
}
