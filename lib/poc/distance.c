#include "poc/distance.h"

#include <math.h>

#include "poc/normals.h"
#include "poc/seed.h"

/*
 * NumPy's sum: runs of 8192, each cut in halves down to leaves of 128, which have eight sums.
 *
 * One code for f32 and f64: an f32 sum is an f64 sum of the same two numbers rounded to f32, since
 * f64 has more than twice the digits.
 */
#define RUN  8192
#define LEAF 128

typedef double term_fn(const void *data, uint32_t index);

typedef struct series {
	term_fn *term;
	const void *data;
	bool single; /* f32 */
} series;

static double add(const series *s, double a, double b)
{
	return s->single ? (double)(float)(a + b) : a + b;
}

static double sum_leaf(const series *s, uint32_t first, uint32_t count)
{
	double sum, r[8];
	uint32_t i = 0;

	if (count < 8) {
		sum = s->term(s->data, first);
		for (i = 1; i < count; i++)
			sum = add(s, sum, s->term(s->data, first + i));
		return sum;
	}
	for (; i < 8; i++)
		r[i] = s->term(s->data, first + i);
	for (; i < count / 8 * 8; i++)
		r[i % 8] = add(s, r[i % 8], s->term(s->data, first + i));
	sum = add(s, add(s, add(s, r[0], r[1]), add(s, r[2], r[3])),
		  add(s, add(s, r[4], r[5]), add(s, r[6], r[7])));
	for (; i < count; i++)
		sum = add(s, sum, s->term(s->data, first + i));
	return sum;
}

/* At most 6 levels deep. */
static double sum_run(const series *s, uint32_t first, uint32_t count)
{
	uint32_t half = count / 2 / 8 * 8;

	if (count <= LEAF)
		return sum_leaf(s, first, count);
	return add(s, sum_run(s, first, half), sum_run(s, first + half, count - half));
}

static double sum(const series *s, uint32_t count)
{
	double total = 0.0;

	for (uint32_t first = 0; first < count; first += RUN)
		total = add(s, total, sum_run(s, first, count - first < RUN ? count - first : RUN));
	return total;
}

static double square_of_value(const void *data, uint32_t index)
{
	double value = ((const double *)data)[index];

	return value * value;
}

double gh__poc_norm(const double *values, uint32_t count)
{
	series s = { square_of_value, values, false };

	return sqrt(sum(&s, count));
}

gh_status gh__poc_target(double *out, uint32_t count, const gh__normal_tables *tables,
			 const char *block_hash, gh_error *error)
{
	gh__normals normals = { .tables = tables, .out = out, .dtype = GH_F64, .count = count };
	gh_status status = gh__poc_seed_target(&normals.start, block_hash, error);
	double norm;

	if (status == GH_OK)
		status = gh__normals_fill(&normals, NULL, error);
	if (status != GH_OK)
		return status;
	norm = gh__poc_norm(out, count);
	for (uint32_t i = 0; i < count; i++)
		out[i] /= norm;
	return GH_OK;
}

typedef struct comparison {
	const float *logits;
	const uint32_t *permutation;
	const double *target;
	float norm;
} comparison;

static double square_of_logit(const void *data, uint32_t index)
{
	const comparison *c = data;
	float y = c->logits[c->permutation[index]];

	return (double)(y * y);
}

static double square_of_error(const void *data, uint32_t index)
{
	const comparison *c = data;
	float z = c->logits[c->permutation[index]] / c->norm;
	double e = (double)z - c->target[index];

	return e * e;
}

double gh__poc_distance(const float *logits, const uint32_t *permutation, const double *target,
			uint32_t count)
{
	comparison c = { logits, permutation, target, 0.0F };
	series squares = { square_of_logit, &c, true };
	series errors = { square_of_error, &c, false };

	c.norm = sqrtf((float)sum(&squares, count));
	return sqrt(sum(&errors, count));
}
