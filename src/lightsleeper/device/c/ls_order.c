#include "ls_order.h"

/* Finalizer of MurmurHash3 (A. Appleby, public domain). */
static uint32_t mixed(uint32_t word) {
    word ^= word >> 16;
    word *= 0x85EBCA6Bu;
    word ^= word >> 13;
    word *= 0xC2B2AE35u;
    return word ^ (word >> 16);
}

/* A Feistel network permutes 0 to 4^half_bits - 1; places outside the rows are walked through it again, which permutes
 * the rows (J. Black, P. Rogaway, Ciphers with arbitrary finite domains, CT-RSA 2002). */
uint32_t ls_sample_at(uint64_t taken, uint32_t rows) {
    const uint64_t pass = taken / rows;
    const uint32_t key = mixed((uint32_t)pass ^ mixed((uint32_t)(pass >> 32)));
    uint32_t place = (uint32_t)(taken % rows);
    uint32_t half_bits = 1u;
    uint32_t mask;
    while ((1u << (2u * half_bits)) < rows) {
        half_bits++;
    }
    mask = (1u << half_bits) - 1u;
    do {
        uint32_t left = place >> half_bits;
        uint32_t right = place & mask;
        uint32_t round;
        for (round = 0u; round < 4u; round++) {
            const uint32_t next = left ^ (mixed(right ^ key ^ (round << 30)) & mask);
            left = right;
            right = next;
        }
        place = (left << half_bits) | right;
    } while (place >= rows);
    return place;
}
