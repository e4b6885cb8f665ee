#ifndef GH_TESTS_SAMPLE_ROWS_H
#define GH_TESTS_SAMPLE_ROWS_H

#include "device.h"

/*
 * Rows to sample from, with every setting in many combinations, and their random logits.
 */
enum { SAMPLE_ROWS = 40 };

static inline gh__sample_row neutral(void)
{
	return (gh__sample_row){
		.forced = -1, .repetition = 1, .temperature = 1, .top_p = 1, .logprobs = true
	};
}

typedef struct sample_rows {
	int stride;
	void *logits; /* [SAMPLE_ROWS, stride]; what is behind the vocabulary is NaN */
	uint32_t *allowed;
	int32_t prompt[8], output[8], bias_id[3];
	float bias[3];
	gh__sample_row row[SAMPLE_ROWS]; /* they point into this structure */
} sample_rows;

static inline void sample_rows_make(sample_rows *out, gh_dtype dtype, int vocab, uint64_t *state)
{
	const int words = vocab / 32 + 1;

	out->stride = vocab + 3;
	out->logits = gh__malloc((size_t)SAMPLE_ROWS * (size_t)out->stride * 4);
	out->allowed = gh__malloc((size_t)words * sizeof *out->allowed);
	ck_assert(out->logits && out->allowed);
	memcpy(out->bias, ((float[]){ 4.7F, -INFINITY, 100 }), sizeof out->bias);
	for (int i = 0; i < 8; i++) {
		out->prompt[i] = (int32_t)(random_next(state) % (uint64_t)(vocab + 1)) - 1;
		out->output[i] = (int32_t)(random_next(state) % (uint64_t)vocab);
	}
	out->output[3] = out->output[4] = out->output[5];
	out->prompt[2] = vocab; /* an id that is no column */
	out->bias_id[0] = out->output[1], out->bias_id[1] = vocab > 7 ? 3 : -5;
	out->bias_id[2] = out->prompt[1];
	for (int i = 0; i < words; i++)
		out->allowed[i] = i % 3 ? (uint32_t)random_next(state) : UINT32_MAX;
	for (int t = 0; t < SAMPLE_ROWS; t++) {
		double spread = (double[]){ 1, 3, 8, 0.01 }[t % 4];
		gh__sample_row *row = &out->row[t];

		for (int i = 0; i < out->stride; i++)
			put(dtype, out->logits, (int64_t)t * out->stride + i,
			    i < vocab ? (float)(spread * (random_unit(state) + random_unit(state) +
							  random_unit(state)))
				      : NAN);
		*row = neutral();
		row->row = t;
		row->seed = random_next(state);
		row->stream = (uint32_t)t;
		row->position = (uint32_t)random_next(state);
		row->top = t % 21;
		row->temperature = (float[]){ 0.7F, 0, 1, 1.3F, 0.05F }[t % 5];
		row->top_k = (int[]){ 0, 1, 5, 40 }[t / 2 % 4];
		row->top_p = (float[]){ 1, 0.8F, 0.95F, 0.1F, 0.999F }[t / 3 % 5];
		row->min_p = (float[]){ 0, 0, 0.05F }[t % 3];
		row->forced = t % 7 == 6 ? vocab - 1 : -1;
		if (t % 3 == 1)
			row->allowed = out->allowed;
		if (t % 4 == 1)
			row->bias_count = 3;
		if (t % 5 > 2)
			row->repetition = t % 2 ? 1.05F : 0.7F;
		if (t % 6 > 3)
			row->frequency = 0.3F, row->presence = -0.45F;
		row->bias_id = out->bias_id, row->bias = out->bias;
		row->prompt = out->prompt, row->output = out->output;
		row->prompt_count = t % 5 > 2 ? 8 : 0;
		row->output_count = t % 5 > 2 || t % 6 > 3 ? 8 : 0;
	}
}

static inline void sample_rows_free(sample_rows *rows)
{
	gh__free(rows->logits);
	gh__free(rows->allowed);
}

#endif
