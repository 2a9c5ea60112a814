/* Trains 50 steps with checkpoints on a simulated NOR flash in which the power fails at every write and every erase.
 *
 *   power_fail PAGE_BYTES WRITE_BYTES STEPS EVERY DOUBLE
 *
 * EVERY: steps between checkpoints. DOUBLE: 1 lets the power fail a second time at every operation after each restart.
 * Every failure is tried in several forms (how far the broken operation came, and what it left behind). Prints one line
 * of counts, or what went wrong with exit code 1. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ls_checkpoint.h"
#include "tiny_model.h"

#define FLASH_BYTES_MAX 16384u
#define FORMS 5u
#define ERASE_FORMS (FORMS + LS_CHECKPOINT_RECORD_BYTES) /* one byte of the record alone is erased */
#define OPERATIONS_MAX 65536u
#define NEVER UINT32_MAX

static uint8_t cells[FLASH_BYTES_MAX];
static uint8_t programmed[FLASH_BYTES_MAX]; /* units may be programmed once after an erase */
static ls_flash flash;
static uint8_t erases[OPERATIONS_MAX];
static jmp_buf power_off;
static uint32_t operations, fails_at, form, noise, steps_total, every;

static void stop(const char *what) {
    printf("%s (operation %u of form %u)\n", what, (unsigned)operations, (unsigned)form);
    exit(1);
}

static uint8_t random_byte(void) {
    noise = noise * 1664525u + 1013904223u;
    return (uint8_t)(noise >> 24);
}

/* What is left of `length` cells that were to become `wanted` (NULL: erased) when the power fails. */
static void tear(uint32_t offset, const uint8_t *wanted, uint32_t length) {
    for (uint32_t i = 0; i < length; i++) {
        uint8_t mask = 0u; /* bits that came to the wanted state */
        if (form == 1u) {
            mask = i < length / 2u ? 0xFFu : 0u; /* the first half is done */
        } else if (form == 2u) {
            mask = random_byte(); /* some bits are done */
        } else if (form == 3u) {
            mask = 0xFFu; /* all is done, and the power fails before the next instruction */
        } else if (form == 4u) {
            mask = i < length / 2u ? 0u : 0xFFu; /* the second half is done */
        } else if (i + FORMS == form) {
            mask = 0xFFu;
        }
        cells[offset + i] = wanted == NULL ? (uint8_t)(cells[offset + i] | mask)
                                           : (uint8_t)(cells[offset + i] & (wanted[i] | (uint8_t)~mask));
        programmed[offset + i] = 1u;
    }
}

static int erase_page(void *context, uint32_t offset) {
    (void)context;
    if (offset % flash.page_bytes != 0u || offset >= 2u * flash.slot_pages * flash.page_bytes) {
        stop("an erase breaks the flash's rules");
    }
    if (operations < OPERATIONS_MAX) {
        erases[operations] = 1u;
    }
    if (operations++ == fails_at) {
        tear(offset, NULL, flash.page_bytes);
        longjmp(power_off, 1);
    }
    memset(cells + offset, 0xFF, flash.page_bytes);
    memset(programmed + offset, 0, flash.page_bytes);
    return 0;
}

static int write_units(void *context, uint32_t offset, const uint8_t *bytes, uint32_t length) {
    (void)context;
    if (length == 0u || offset % flash.write_bytes != 0u || length % flash.write_bytes != 0u ||
        offset / LS_FLASH_CHUNK_BYTES != (offset + length - 1u) / LS_FLASH_CHUNK_BYTES ||
        offset + length > 2u * flash.slot_pages * flash.page_bytes) {
        stop("a write breaks the flash's rules");
    }
    for (uint32_t i = 0; i < length; i += flash.write_bytes) {
        if (operations++ == fails_at) {
            tear(offset + i, bytes + i, flash.write_bytes);
            longjmp(power_off, 1);
        }
        for (uint32_t j = i; j < i + flash.write_bytes; j++) {
            if (programmed[offset + j]) {
                stop("a unit is programmed twice");
            }
            cells[offset + j] = (uint8_t)(cells[offset + j] & bytes[j]);
            programmed[offset + j] = 1u;
        }
    }
    return 0;
}

/* The sample of a step follows from the step alone, so a run that goes on sees what the uninterrupted one saw. */
static void sample_of(uint32_t step, float *x, int32_t *label) {
    uint32_t seed = step * 2654435761u + 12345u;
    for (uint32_t i = 0; i < TINY_INPUTS; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    *label = (int32_t)((seed >> 8) % TINY_OUTPUTS);
}

/* One life of the device, from reset to power failure (returns 0) or to the last step (returns 1).
 * `saved` is the last step of which a save has returned; it outlives the power failure in the test alone. */
static tiny_state ram;
static uint32_t saved;
static uint32_t statuses[7];

static int live(void) {
    ls_checkpoint checkpoint;
    ls_checkpoint_status status;
    float x[TINY_INPUTS];
    int32_t label;
    memset(&ram, 0xA5, sizeof ram);
    memset(&checkpoint, 0xA5, sizeof checkpoint);
    if (setjmp(power_off) != 0) {
        return 0;
    }
    tiny_init(&ram);
    status = ls_checkpoint_load(&checkpoint, &flash, TINY_VERSION, &ram, TINY_CHECKPOINT_BYTES);
    statuses[status]++;
    if (status == LS_CHECKPOINT_NONE || status == LS_CHECKPOINT_CORRUPT) {
        if (saved != 0u) {
            stop("a saved state is lost");
        }
    } else if (status != LS_CHECKPOINT_OK && status != LS_CHECKPOINT_FALLBACK) {
        stop("loading failed");
    } else if (ram.steps < saved || ram.steps > saved + every || ram.steps % every != 0u) {
        stop("the state is older than one checkpoint");
    } else {
        saved = ram.steps; /* a save that was whole and had not returned */
    }
    while (ram.steps < steps_total) {
        for (uint32_t i = 0; i < TINY_BATCH; i++) {
            sample_of(ram.steps * TINY_BATCH + i, x, &label);
            (void)tiny_train_step(&ram, x, label);
        }
        if (ram.steps % every == 0u) {
            if (ls_checkpoint_save(&checkpoint, &ram, TINY_CHECKPOINT_BYTES) != LS_CHECKPOINT_OK) {
                stop("saving failed");
            }
            saved = ram.steps;
        }
    }
    return 1;
}

static void begin(uint32_t failure) {
    operations = 0u;
    fails_at = failure;
}

int main(int argc, char **argv) {
    static uint8_t after_cells[FLASH_BYTES_MAX], after_programmed[FLASH_BYTES_MAX], erase_of_whole[OPERATIONS_MAX];
    tiny_state whole;
    uint32_t all, area, second, saved_then, twice, failures = 0u;
    if (argc != 6) {
        return 2;
    }
    flash.base = cells;
    flash.page_bytes = (uint32_t)atoi(argv[1]);
    flash.write_bytes = (uint32_t)atoi(argv[2]);
    flash.slot_pages = ((uint32_t)TINY_CHECKPOINT_BYTES + 32u + flash.page_bytes - 1u) / flash.page_bytes;
    flash.erase_page = erase_page;
    flash.write = write_units;
    steps_total = (uint32_t)atoi(argv[3]);
    every = (uint32_t)atoi(argv[4]);
    twice = (uint32_t)atoi(argv[5]);

    area = 2u * flash.slot_pages * flash.page_bytes;
    if (area > FLASH_BYTES_MAX) {
        return 2;
    }
    memset(cells, 0xFF, sizeof cells);
    begin(NEVER);
    if (!live()) {
        stop("the uninterrupted run did not end");
    }
    memcpy(&whole, &ram, sizeof whole);
    all = operations;
    if (all > OPERATIONS_MAX) {
        stop("too many operations");
    }
    memcpy(erase_of_whole, erases, sizeof erases);
    for (uint32_t first = 0u; first < all; first++) {
        for (form = 0u; form < (erase_of_whole[first] ? ERASE_FORMS : FORMS); form++) {
            memset(cells, 0xFF, area);
            memset(programmed, 0, area);
            noise = first + 1u;
            saved = 0u;
            begin(first);
            if (live()) {
                stop("the power did not fail");
            }
            failures++;
            memcpy(after_cells, cells, area);
            memcpy(after_programmed, programmed, area);
            saved_then = saved;
            second = twice ? 0u : NEVER;
            for (;; second++) {
                memcpy(cells, after_cells, area);
                memcpy(programmed, after_programmed, area);
                saved = saved_then;
                begin(second);
                if (live()) {
                    break;
                }
                failures++;
                begin(NEVER);
                if (!live()) {
                    stop("the run did not end");
                }
                if (memcmp(&whole, &ram, sizeof whole) != 0) {
                    stop("the final state differs");
                }
            }
            if (memcmp(&whole, &ram, sizeof whole) != 0) {
                stop("the final state differs");
            }
        }
    }
    printf("%u %u %u %u %u %u\n", (unsigned)all, (unsigned)failures, (unsigned)statuses[LS_CHECKPOINT_OK],
           (unsigned)statuses[LS_CHECKPOINT_FALLBACK], (unsigned)statuses[LS_CHECKPOINT_NONE],
           (unsigned)statuses[LS_CHECKPOINT_CORRUPT]);
    return 0;
}
