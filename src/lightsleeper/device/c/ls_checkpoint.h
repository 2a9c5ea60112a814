/* Checkpoints in flash that survive a power failure at any write or erase. C99, no heap, no libc beyond memcpy, memset, memcmp.
 *
 * Two slots are written by turns, so the last state that was saved whole stays untouched while the next one is
 * written. A slot holds, from its start:
 *
 *   record   24 bytes, filled up with 0xFF to a whole number of write_bytes, written last; little-endian words:
 *            magic "LSC1", model version, sequence number, bytes of the state, CRC-32 of the state, CRC-32 of the record
 *   state    the bytes of the state struct, filled up with 0xFF to a whole number of write_bytes
 *
 * Both CRCs are those of zlib. A state counts only if both match, so a save that was cut off does not count.
 */
#ifndef LS_CHECKPOINT_H
#define LS_CHECKPOINT_H

#include <stdint.h>

#define LS_CHECKPOINT_RECORD_BYTES 24u
#define LS_FLASH_WRITE_BYTES_MAX 32u
#define LS_FLASH_CHUNK_BYTES 256u

/* Flash area of 2 * slot_pages pages, readable at base. Both functions get offsets from base and return 0 when done.
 * erase_page: sets the page_bytes at offset to 0xFF.
 * write: programs erased bytes. Offset and length are multiples of write_bytes, at most LS_FLASH_CHUNK_BYTES that
 *   cross no boundary of that size (the program page of serial NOR); each unit is programmed once after an erase, so
 *   flash with error correction works. */
typedef struct {
    const uint8_t *base;
    uint32_t page_bytes;  /* a multiple of LS_FLASH_CHUNK_BYTES, or a power of two below it */
    uint32_t write_bytes; /* a power of two, 1 to 32, at most page_bytes */
    uint32_t slot_pages;  /* pages of one slot */
    int (*erase_page)(void *context, uint32_t offset);
    int (*write)(void *context, uint32_t offset, const uint8_t *bytes, uint32_t length);
    void *context;
} ls_flash;

typedef enum {
    LS_CHECKPOINT_OK = 0,           /* loaded the newest state, or saved */
    LS_CHECKPOINT_FALLBACK = 1,     /* loaded, but the other slot is damaged and may have held a newer state:
                                       a save or erase that was cut off, or a fault of the flash */
    LS_CHECKPOINT_NONE = 2,         /* nothing was ever saved: begin with MODEL_init */
    LS_CHECKPOINT_CORRUPT = 3,      /* no slot holds a whole state, and the flash is not blank */
    LS_CHECKPOINT_WRONG_MODEL = 4,  /* the newest state is of another model version or size: refused */
    LS_CHECKPOINT_FLASH_FAILED = 5, /* erase, write or reading back failed; the older state is kept */
    LS_CHECKPOINT_BAD_LAYOUT = 6    /* ls_flash breaks its rules, or the state is too large for a slot */
} ls_checkpoint_status;

/* What a running device remembers of its slots; ls_checkpoint_load fills it. */
typedef struct {
    const ls_flash *flash;
    uint32_t model_version;
    uint32_t sequence;  /* of the newest whole state; 0 where there is none */
    uint32_t next_slot; /* 0 or 1: where the next save goes */
} ls_checkpoint;

/* Call once after each reset, before any save, also where nothing was saved yet.
 * `state` (length bytes) is written only where OK or FALLBACK is returned. After any other status than BAD_LAYOUT
 * saving is allowed: after NONE, CORRUPT, and WRONG_MODEL it begins anew, the newest other slot lost last. */
ls_checkpoint_status ls_checkpoint_load(ls_checkpoint *checkpoint, const ls_flash *flash, uint32_t model_version,
                                        void *state, uint32_t length);

/* Writes the state to the slot that does not hold the newest one. Reads it back. The state must not change meanwhile. */
ls_checkpoint_status ls_checkpoint_save(ls_checkpoint *checkpoint, const void *state, uint32_t length);

/* CRC-32 of zlib over more bytes; the first call gets crc 0. */
uint32_t ls_crc32(uint32_t crc, const void *bytes, uint32_t length);

#endif
