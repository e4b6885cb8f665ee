#include "poc/rope.h"

#include <math.h>

#include "device/narrow.h"

/* Frequencies whose waves are long against the context they were made for are slowed down. */
static float rescale(float frequency)
{
	float wave = 1.0F / frequency * (float)(2.0 * M_PI);
	float smooth;

	if (wave < 2048.0F)
		return frequency;
	if (wave > 8192.0F)
		return frequency / 8.0F;
	smooth = (1.0F / wave * 8192.0F - 1.0F) / 3.0F;
	return (1.0F - smooth) * frequency / 8.0F + smooth * frequency;
}

static float frequency_of(int64_t pair, const gh__poc_params *params)
{
	int64_t head_dim = params->dim / params->n_heads;
	float exponent = (float)(2 * pair) / (float)head_dim;
	float power = (float)pow(params->rope_theta, (double)exponent);
	float frequency = 1.0F / power;

	return params->use_scaled_rope ? rescale(frequency) : frequency;
}

void gh__poc_rope_frequencies(float *out, const gh__poc_params *params)
{
	int64_t pairs = params->dim / params->n_heads / 2;

	for (int64_t i = 0; i < pairs; i++)
		out[i] = frequency_of(i, params);
}

void gh__poc_rope_table(uint16_t *out, const gh__poc_params *params)
{
	int64_t pairs = params->dim / params->n_heads / 2;

	for (int64_t pair = 0; pair < pairs; pair++) {
		float frequency = frequency_of(pair, params);

		for (int64_t position = 0; position < params->seq_len; position++) {
			float angle = (float)position * frequency;
			uint16_t *at = out + 2 * (position * pairs + pair);

			at[0] = gh__f32_to_f16((float)cos((double)angle));
			at[1] = gh__f32_to_f16((float)sin((double)angle));
		}
	}
}
