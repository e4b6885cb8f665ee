#include <math.h>

#include "base/alloc.h"
#include "model/arch.h"

static const double pi = 3.14159265358979323846;

/* From 3.1 on, Llama stretches the slow dimensions and leaves the fast ones. In f32, step by step,
 * since its makers' code computes on f32 tensors. */
static float llama3_frequency(float f, const gh__rope_scaling *s)
{
	float wavelength = 1.0F / f * (float)(2.0 * pi);
	float original = (float)s->original_max_positions, factor = (float)s->factor;
	float smooth;

	if (wavelength < original / (float)s->high_freq_factor)
		return f;
	if (wavelength > original / (float)s->low_freq_factor)
		return f / factor;
	smooth = (1.0F / wavelength * original - (float)s->low_freq_factor) /
		 (float)(s->high_freq_factor - s->low_freq_factor);
	return (1.0F - smooth) * f / factor + smooth * f;
}

/* The dimension (of pairs) that turns `rotations` times over the original context. */
static double yarn_dimension(const gh__model_desc *desc, double rotations)
{
	return desc->shape.head_dim *
	       log((double)desc->rope_scaling.original_max_positions / (rotations * 2.0 * pi)) /
	       (2.0 * log(desc->rope_theta));
}

static float yarn_frequency(float f, int pair, const gh__model_desc *desc)
{
	const gh__rope_scaling *s = &desc->rope_scaling;
	double low = fmax(floor(yarn_dimension(desc, s->beta_fast)), 0.0);
	double high = fmin(ceil(yarn_dimension(desc, s->beta_slow)), desc->shape.head_dim - 1.0);
	double ramp;

	if (high <= low)
		high = low + 0.001;
	ramp = fmin(fmax((pair - low) / (high - low), 0.0), 1.0);
	return (float)((double)f / s->factor * ramp + (double)f * (1.0 - ramp));
}

float gh__rope_frequency(const gh__model_desc *desc, int pair)
{
	const gh__rope_scaling *s = &desc->rope_scaling;
	float exponent = (float)(2 * pair) / (float)desc->shape.head_dim;
	float f = 1.0F / (float)pow(desc->rope_theta, (double)exponent);

	switch (s->kind) {
	case GH__ROPE_PLAIN:
		break;
	case GH__ROPE_LLAMA3:
		return llama3_frequency(f, s);
	case GH__ROPE_YARN:
		return yarn_frequency(f, pair, desc);
	case GH__ROPE_LINEAR:
		return (float)((double)f / s->factor);
	}
	return f;
}

float *gh__rope_table(const gh__model_desc *desc, int64_t positions)
{
	int64_t d = desc->shape.head_dim;
	const gh__rope_scaling *s = &desc->rope_scaling;
	float amplitude = 1.0F;
	float *table = gh__calloc((size_t)positions, (size_t)d * sizeof *table);

	if (table == NULL)
		return NULL;
	if (s->kind == GH__ROPE_YARN && s->factor > 1.0)
		amplitude = (float)(0.1 * log(s->factor) + 1.0);
	for (int i = 0; i < d / 2; i++) {
		float f = gh__rope_frequency(desc, i);

		/* The angle is rounded to f32: that, too, is part of the model. */
		for (int64_t p = 0; p < positions; p++) {
			float angle = (float)p * f;

			table[p * d + i] = (float)cos((double)angle) * amplitude;
			table[p * d + d / 2 + i] = (float)sin((double)angle) * amplitude;
		}
	}
	return table;
}
