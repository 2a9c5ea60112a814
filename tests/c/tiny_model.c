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

static void forward(const float *w, const float *x, float *hidden, float *y) {
    for (uint32_t h = 0; h < TINY_HIDDEN; h++) {
        float total = w[BIAS_1 + h];
        for (uint32_t i = 0; i < TINY_INPUTS; i++) {
            total += w[h * TINY_INPUTS + i] * x[i];
        }
        hidden[h] = tanhf(total);
    }
    for (uint32_t o = 0; o < TINY_OUTPUTS; o++) {
        y[o] = w[BIAS_2 + o];
        for (uint32_t h = 0; h < TINY_HIDDEN; h++) {
            y[o] += w[LAYER_2 + o * TINY_HIDDEN + h] * hidden[h];
        }
    }
}

int tiny_train_step(tiny_state *state, const float x[TINY_INPUTS], int32_t label) {
    float *w = state->weights, *gradient = state->gradient;
    float hidden[TINY_HIDDEN], error[TINY_OUTPUTS], sum = 0.0f;
    for (uint32_t i = 0; i < TINY_INPUTS; i++) {
        if (!isfinite(x[i])) {
            return TINY_SKIPPED;
        }
    }
    forward(w, x, hidden, error);
    for (uint32_t o = 0; o < TINY_OUTPUTS; o++) {
        error[o] = expf(error[o]);
        sum += error[o];
    }
    for (uint32_t o = 0; o < TINY_OUTPUTS; o++) {
        error[o] = error[o] / sum - ((int32_t)o == label ? 1.0f : 0.0f);
        gradient[BIAS_2 + o] += error[o];
    }
    for (uint32_t h = 0; h < TINY_HIDDEN; h++) {
        float back = 0.0f;
        for (uint32_t o = 0; o < TINY_OUTPUTS; o++) {
            gradient[LAYER_2 + o * TINY_HIDDEN + h] += error[o] * hidden[h];
            back += error[o] * w[LAYER_2 + o * TINY_HIDDEN + h];
        }
        back *= 1.0f - hidden[h] * hidden[h];
        gradient[BIAS_1 + h] += back;
        for (uint32_t i = 0; i < TINY_INPUTS; i++) {
            gradient[h * TINY_INPUTS + i] += back * x[i];
        }
    }
    if (++state->in_batch < TINY_BATCH) {
        return TINY_ACCUMULATED;
    }
    state->in_batch = 0;
    state->steps++;
    for (uint32_t i = 0; i < TINY_WEIGHTS; i++) {
        state->momentum[i] = 0.9f * state->momentum[i] + gradient[i] / (float)TINY_BATCH;
        w[i] -= 0.05f * state->momentum[i];
        state->average[i] += (w[i] - state->average[i]) / (float)state->steps;
        gradient[i] = 0.0f;
    }
    return TINY_STEPPED;
}

void tiny_infer(const tiny_state *state, const float x[TINY_INPUTS], float y[TINY_OUTPUTS]) {
    float hidden[TINY_HIDDEN];
    forward(state->average, x, hidden, y);
}
