/* What a Linux process needs to train a generated model: compiled with the model into one shared library.
 *
 * Defined by the compiler's command line: LS_NAME (prefix of the model's functions), LS_NAME_CAPITALS (prefix of its
 * constants), LS_HEADER (its header, in quotes), and LS_REGRESSION where its targets are numbers. */
#include LS_HEADER

#include <stdint.h>
#include <string.h>

#include "ls_order.h"

#define LS_PASTE_(a, b) a##b
#define LS_PASTE(a, b) LS_PASTE_(a, b)
#define LS_FUNCTION(suffix) LS_PASTE(LS_NAME, suffix)
#define LS_CONSTANT(suffix) LS_PASTE(LS_NAME_CAPITALS, suffix)
#define LS_TEXT_(a) #a
#define LS_TEXT(a) LS_TEXT_(a)

#ifdef LS_REGRESSION
typedef float label_part;
#define LS_LABEL_PARTS ((uint32_t)LS_CONSTANT(_OUTPUTS))
#define LS_LABEL(labels, row) ((labels) + (uint64_t)(row) * LS_LABEL_PARTS)
#define LS_CLASSES 0u
#else
typedef int32_t label_part;
#define LS_LABEL(labels, row) ((labels)[row])
/* One output tells two classes apart. */
#define LS_CLASSES ((uint32_t)(LS_CONSTANT(_OUTPUTS) > 1 ? LS_CONSTANT(_OUTPUTS) : 2))
#endif

/* Counters that are kept with the model's state. */
typedef struct {
    uint64_t taken;   /* samples, also skipped ones */
    uint64_t skipped; /* samples that the model refused */
} counters;

typedef struct {
    counters counted;
    LS_FUNCTION(_state) model;
} host_state;

typedef struct {
    uint32_t interface_version;
    uint32_t model_version;
    uint32_t inputs;
    uint32_t outputs;
    uint32_t classes;     /* 0 where targets are numbers */
    uint32_t host_bytes;  /* of a state in memory */
    uint32_t saved_bytes; /* of a state in a checkpoint */
    uint32_t batch;
    char name[64];
} ls_library_info;

void ls_library(ls_library_info *info);
void ls_host_begin(void *host);
void ls_host_save(const void *host, void *saved);
void ls_host_restore(void *host, const void *saved);
uint64_t ls_host_train(void *host, const float *x, const void *labels, uint32_t rows, uint64_t samples);
void ls_host_infer(const void *host, const float *x, uint32_t rows, float *outputs);

void ls_library(ls_library_info *info) {
    memset(info, 0, sizeof *info);
    info->interface_version = 1u;
    info->model_version = LS_CONSTANT(_VERSION);
    info->inputs = (uint32_t)LS_CONSTANT(_INPUTS);
    info->outputs = (uint32_t)LS_CONSTANT(_OUTPUTS);
    info->classes = LS_CLASSES;
    info->host_bytes = (uint32_t)sizeof(host_state);
    info->saved_bytes = (uint32_t)(sizeof(counters) + LS_CONSTANT(_CHECKPOINT_BYTES));
    info->batch = (uint32_t)LS_CONSTANT(_BATCH);
    strncpy(info->name, LS_TEXT(LS_NAME), sizeof info->name - 1u);
}

void ls_host_begin(void *host) {
    host_state *state = (host_state *)host;
    memset(state, 0, sizeof *state);
    LS_FUNCTION(_init)(&state->model);
}

void ls_host_save(const void *host, void *saved) {
    const host_state *state = (const host_state *)host;
    memcpy(saved, &state->counted, sizeof state->counted);
    memcpy((char *)saved + sizeof state->counted, &state->model, LS_CONSTANT(_CHECKPOINT_BYTES));
}

void ls_host_restore(void *host, const void *saved) {
    host_state *state = (host_state *)host;
    ls_host_begin(host);
    memcpy(&state->counted, saved, sizeof state->counted);
    memcpy(&state->model, (const char *)saved + sizeof state->counted, LS_CONSTANT(_CHECKPOINT_BYTES));
}

/* Takes `samples` samples, then as many more as complete the batch, as only then a state is whole. Returns how many
 * were taken in all since the beginning. */
uint64_t ls_host_train(void *host, const float *x, const void *labels, uint32_t rows, uint64_t samples) {
    host_state *state = (host_state *)host;
    const label_part *of = (const label_part *)labels;
    const uint64_t end = state->counted.taken + samples;
    int open = 0; /* a batch is under way */
    while (state->counted.taken < end || open) {
        const uint32_t row = ls_sample_at(state->counted.taken, rows);
        const float *sample = x + (uint64_t)row * (uint32_t)LS_CONSTANT(_INPUTS);
        const int result = LS_FUNCTION(_train_step)(&state->model, sample, LS_LABEL(of, row));
        state->counted.taken++;
        if (result == LS_CONSTANT(_SKIPPED)) {
            state->counted.skipped++;
        } else {
            open = result == LS_CONSTANT(_ACCUMULATED);
        }
    }
    return state->counted.taken;
}

void ls_host_infer(const void *host, const float *x, uint32_t rows, float *outputs) {
    const host_state *state = (const host_state *)host;
    uint32_t row;
    for (row = 0u; row < rows; row++) {
        LS_FUNCTION(_infer)(&state->model, x + (uint64_t)row * (uint32_t)LS_CONSTANT(_INPUTS),
                            outputs + (uint64_t)row * (uint32_t)LS_CONSTANT(_OUTPUTS));
    }
}
