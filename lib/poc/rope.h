#ifndef GH_POC_ROPE_H
#define GH_POC_ROPE_H

#include "poc/params.h"

/*
 * Rotary positions, every step rounded as the network's nodes round it. params has been checked.
 */

/* head_dim / 2 frequencies. */
void gh__poc_rope_frequencies(float *out, const gh__poc_params *params);

/* Positions 0 to seq_len - 1 as f16, [position][pair][cos, sin]: seq_len * head_dim elements. */
void gh__poc_rope_table(uint16_t *out, const gh__poc_params *params);

#endif
