#include "model/dummy.h"

#include <math.h>

/* One step of a mixer whose outputs of consecutive inputs are unrelated. */
static uint64_t mix(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
	return x ^ x >> 31;
}

static uint64_t name_seed(const char *name)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (; *name != '\0'; name++)
		h = (h ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return mix(h);
}

/* Nearly normal, deviation 1: the sum of four uniform numbers, exact in f32. */
static float normal(uint64_t bits)
{
	int32_t sum = (int32_t)(bits & 0xffff) + (int32_t)(bits >> 16 & 0xffff) +
		      (int32_t)(bits >> 32 & 0xffff) + (int32_t)(bits >> 48) - 131070;

	return (float)sum / 37837.0F;
}

/* Deviation about the mean that keeps the numbers of a deep model in a sensible range. */
static float deviation(const gh__model_desc *desc, const gh__tensor *t)
{
	switch (t->slot) {
	case GH__SLOT_EMBED:
		return desc->tied ? 0.15F : 1.0F;
	case GH__SLOT_HEAD:
		return 3.0F / sqrtf((float)t->columns);
	case GH__SLOT_NORM:
	case GH__SLOT_INPUT_NORM:
	case GH__SLOT_POST_NORM:
	case GH__SLOT_Q_NORM:
	case GH__SLOT_K_NORM:
		return 0.25F;
	case GH__SLOT_Q_BIAS:
	case GH__SLOT_K_BIAS:
	case GH__SLOT_V_BIAS:
		return 0.5F;
	default:
		return 1.2F / sqrtf((float)t->columns);
	}
}

static float mean(const gh__tensor *t)
{
	bool norm = t->slot == GH__SLOT_NORM || t->slot == GH__SLOT_INPUT_NORM ||
		    t->slot == GH__SLOT_POST_NORM || t->slot == GH__SLOT_Q_NORM ||
		    t->slot == GH__SLOT_K_NORM;

	return norm ? 1.0F : 0.0F;
}

/* One row of some tensors is larger than the others by this; which one, depends on the tensor. */
static float outlier(const gh__tensor *t)
{
	switch (t->slot) {
	case GH__SLOT_DOWN:
		return t->layer % 4 == 0 ? 25.0F : 1.0F;
	case GH__SLOT_O:
		return t->layer % 4 == 1 ? 12.0F : 1.0F;
	case GH__SLOT_UP:
		return t->layer % 4 == 1 ? 10.0F : 1.0F;
	case GH__SLOT_K_BIAS:
	case GH__SLOT_K_NORM:
		return t->layer % 4 == 2 ? 1000.0F : 1.0F;
	default:
		return 1.0F;
	}
}

void gh__dummy_rows(const gh__model_desc *desc, const gh__tensor *tensor, int64_t row, int64_t rows,
		    float *dst)
{
	uint64_t seed = name_seed(tensor->name);
	int64_t large = (int64_t)(mix(seed) % (uint64_t)tensor->rows);
	float scale = deviation(desc, tensor), middle = mean(tensor);

	for (int64_t i = row; i < row + rows; i++) {
		uint64_t first = (uint64_t)i * (uint64_t)tensor->columns;
		float factor = i == large ? outlier(tensor) : 1.0F;

		for (int64_t j = 0; j < tensor->columns; j++)
			*dst++ =
				(middle + normal(mix(seed + first + (uint64_t)j)) * scale) * factor;
	}
}
