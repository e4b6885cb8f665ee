#ifndef GH_TESTS_MODEL_REFERENCE_H
#define GH_TESTS_MODEL_REFERENCE_H

#include "unit.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "device/narrow.h"
#include "device/quantise.h"
#include "hub/config.h"

/*
 * The judge: a decoder's forward in plain loops and double precision, a whole sequence at once,
 * written from the definition of the models and knowing nothing of how lib/model works. With a
 * dtype it rounds where serving rounds; with GH_F64 it rounds nowhere.
 */
typedef struct reference {
	gh__hf_config config;
	gh_checkpoint *checkpoint;
	gh_dtype act;          /* GH_F64: exact */
	bool fp8, activations; /* e4m3 weights; and inputs */
	bool kv8;
	int64_t head_dim;
} reference;

static inline void reference_open(reference *r, const char *folder, gh_dtype act, bool fp8,
				  bool activations, bool kv8)
{
	assert_ok(gh__hf_config_read(&r->config, folder, error));
	assert_ok(gh_checkpoint_open(&r->checkpoint, folder, error));
	r->act = act;
	r->fp8 = fp8;
	r->activations = activations;
	r->kv8 = kv8;
	r->head_dim =
		r->config.head_dim != 0 ? r->config.head_dim : r->config.hidden / r->config.heads;
}

static inline void reference_close(reference *r)
{
	gh_checkpoint_close(r->checkpoint);
	gh__hf_config_done(&r->config);
}

static inline double reference_round(const reference *r, double x)
{
	switch (r->act) {
	case GH_F16:
		return (double)gh__f16_to_f32(gh__f32_to_f16((float)x));
	case GH_BF16:
		return (double)gh__bf16_to_f32(gh__f32_to_bf16((float)x));
	case GH_F32:
		return (double)(float)x;
	default:
		return x;
	}
}

static inline double *numbers(size_t count)
{
	double *out = gh__calloc(count, sizeof *out);

	ck_assert_ptr_nonnull(out);
	return out;
}

/* A tensor as numbers of the activations' type; NULL: not there. layer -1: of none. */
static inline double *reference_tensor(const reference *r, int64_t layer, const char *suffix)
{
	char name[128];
	const gh_tensor_info *info;
	size_t count = 1;
	float *narrow;
	double *out;
	void *raw;

	if (layer < 0)
		snprintf(name, sizeof name, "%s", suffix);
	else
		snprintf(name, sizeof name, "model.layers.%d.%s", (int)layer, suffix);
	info = gh_checkpoint_find(r->checkpoint, name);
	if (info == NULL)
		return NULL;
	for (int32_t i = 0; i < info->dims; i++)
		count *= (size_t)info->shape[i];
	raw = gh__malloc(info->size);
	narrow = gh__malloc(count * sizeof *narrow);
	assert_ok(gh_checkpoint_read(r->checkpoint, info, raw, 0, info->size, error));
	gh__convert(narrow, GH_F32, raw, (gh_dtype)info->dtype, count);
	out = numbers(count);
	for (size_t i = 0; i < count; i++)
		out[i] = reference_round(r, (double)narrow[i]);
	gh__free(raw);
	gh__free(narrow);
	return out;
}

/* Matrices that share one scale when quantised. */
typedef struct stack {
	double *rows; /* [n, k] values, dequantised only by scale */
	int64_t n, k;
	double scale;
} stack;

static inline stack stack_of(const reference *r, int64_t layer, int count,
			     const char *const *suffixes, const int64_t *rows, int64_t k)
{
	stack s = { .k = k, .scale = 1.0 };
	double most = 0.0;
	int64_t row = 0;

	for (int i = 0; i < count; i++)
		s.n += rows[i];
	s.rows = numbers((size_t)(s.n * k));
	for (int i = 0; i < count; i++) {
		double *part = reference_tensor(r, layer, suffixes[i]);

		ck_assert_ptr_nonnull(part);
		memcpy(s.rows + row * k, part, (size_t)(rows[i] * k) * sizeof *part);
		row += rows[i];
		gh__free(part);
	}
	if (!r->fp8)
		return s;
	for (int64_t i = 0; i < s.n * k; i++)
		most = fmax(most, fabs(s.rows[i]));
	s.scale = (double)((float)most / 448.0F);
	for (int64_t i = 0; i < s.n * k; i++) {
		float x = (float)s.rows[i] * (1.0F / (float)s.scale);

		s.rows[i] = (double)gh__e4m3_to_f32(gh__f32_to_e4m3(x));
	}
	return s;
}

/* y [n] = W x (+ bias). */
static inline void product(const reference *r, const stack *w, const double *bias, const double *x,
			   double *y)
{
	double *q = numbers((size_t)w->k);
	double scale = 1.0;

	memcpy(q, x, (size_t)w->k * sizeof *q);
	if (r->activations) {
		double most = 0.0;

		for (int64_t i = 0; i < w->k; i++)
			most = fmax(most, fabs(x[i]));
		scale = fmax((double)((float)most / 448.0F), 1.0 / (448.0 * 512.0));
		for (int64_t i = 0; i < w->k; i++)
			q[i] = (double)gh__e4m3_to_f32(gh__f32_to_e4m3((float)x[i] / (float)scale));
	}
	for (int64_t n = 0; n < w->n; n++) {
		double sum = 0.0;

		for (int64_t i = 0; i < w->k; i++)
			sum += w->rows[n * w->k + i] * q[i];
		sum *= w->scale * scale;
		if (bias != NULL && r->fp8 && !r->activations)
			sum = reference_round(r, sum);
		y[n] = reference_round(r, sum + (bias != NULL ? bias[n] : 0.0));
	}
	gh__free(q);
}

static inline void normalise(const reference *r, const double *x, const double *w, int64_t n,
			     double *y)
{
	double sum = 0.0;

	for (int64_t i = 0; i < n; i++)
		sum += x[i] * x[i];
	sum = 1.0 / sqrt(sum / (double)n + r->config.rms_norm_eps);
	for (int64_t i = 0; i < n; i++)
		y[i] = reference_round(r, reference_round(r, x[i] * sum) * w[i]);
}

/* The angle of pair i at a position; *amplitude multiplies cosine and sine. */
static inline double reference_angle(const reference *r, int64_t pair, int64_t position,
				     double *amplitude)
{
	const gh__rope_scaling *s = &r->config.rope_scaling;
	double dim = (double)r->head_dim, theta = r->config.rope_theta;
	double f = pow(theta, -2.0 * (double)pair / dim);
	double original = (double)s->original_max_positions;

	*amplitude = 1.0;
	if (s->kind == GH__ROPE_LINEAR)
		f /= s->factor;
	if (s->kind == GH__ROPE_LLAMA3) {
		double turns = original * f / (2.0 * M_PI);
		double smooth =
			(turns - s->low_freq_factor) / (s->high_freq_factor - s->low_freq_factor);

		smooth = fmin(fmax(smooth, 0.0), 1.0);
		f = (1.0 - smooth) * f / s->factor + smooth * f;
	}
	if (s->kind == GH__ROPE_YARN) {
		double low = floor(dim * log(original / (s->beta_fast * 2.0 * M_PI)) /
				   (2.0 * log(theta)));
		double high = ceil(dim * log(original / (s->beta_slow * 2.0 * M_PI)) /
				   (2.0 * log(theta)));
		double ramp;

		low = fmax(low, 0.0);
		high = fmin(high, dim - 1.0);
		ramp = fmin(fmax(((double)pair - low) / fmax(high - low, 0.001), 0.0), 1.0);
		f = f / s->factor * ramp + f * (1.0 - ramp);
		*amplitude = 0.1 * log(s->factor) + 1.0;
	}
	return (double)position * f;
}

static inline void rotate(const reference *r, double *head, int64_t position)
{
	int64_t half = r->head_dim / 2;

	for (int64_t i = 0; i < half; i++) {
		double amplitude, angle = reference_angle(r, i, position, &amplitude);
		double c = reference_round(r, cos(angle) * amplitude);
		double s = reference_round(r, sin(angle) * amplitude);
		double a = head[i], b = head[i + half];

		head[i] = reference_round(r, reference_round(r, a * c) - reference_round(r, b * s));
		head[i + half] =
			reference_round(r, reference_round(r, b * c) + reference_round(r, a * s));
	}
}

/* One query head over positions 0 to `last`; k and v rows are `stride` apart. */
static inline void attend_one(const reference *r, const double *q, const double *k, const double *v,
			      int64_t stride, int64_t last, double *y)
{
	double most = -INFINITY, sum = 0.0;
	double *p = numbers((size_t)last + 1);

	for (int64_t t = 0; t <= last; t++) {
		for (int64_t i = 0; i < r->head_dim; i++)
			p[t] += q[i] * k[t * stride + i];
		p[t] /= sqrt((double)r->head_dim);
		most = fmax(most, p[t]);
	}
	for (int64_t t = 0; t <= last; t++) {
		p[t] = exp(p[t] - most);
		sum += p[t];
		p[t] = reference_round(r, p[t]);
	}
	for (int64_t i = 0; i < r->head_dim; i++) {
		y[i] = 0.0;
		for (int64_t t = 0; t <= last; t++)
			y[i] += p[t] * v[t * stride + i];
		y[i] = reference_round(r, y[i] / sum);
	}
	gh__free(p);
}

static inline double e4m3_value(double x)
{
	return (double)gh__e4m3_to_f32(gh__f32_to_e4m3((float)x));
}

static inline void attention_block(const reference *r, int64_t layer, int64_t count,
				   const double *x, double *out)
{
	static const char *const matrices[] = { "self_attn.q_proj.weight",
						"self_attn.k_proj.weight",
						"self_attn.v_proj.weight" };
	static const char *const biases[] = { "self_attn.q_proj.bias", "self_attn.k_proj.bias",
					      "self_attn.v_proj.bias" };
	static const char *const o_name[] = { "self_attn.o_proj.weight" };
	int64_t d = r->head_dim, heads = r->config.heads, kv = r->config.kv_heads;
	int64_t rows[] = { heads * d, kv * d, kv * d }, hidden = r->config.hidden;
	int64_t width = rows[0] + rows[1] + rows[2];
	stack w = stack_of(r, layer, 3, matrices, rows, hidden);
	stack o = stack_of(r, layer, 1, o_name, &hidden, heads * d);
	double *bias = numbers((size_t)width), *qkv = numbers((size_t)(count * width));
	double *y = numbers((size_t)(heads * d));
	double *q_norm = reference_tensor(r, layer, "self_attn.q_norm.weight");
	double *k_norm = reference_tensor(r, layer, "self_attn.k_norm.weight");
	bool biased = false;

	for (int64_t i = 0, at = 0; i < 3; at += rows[i++]) {
		double *part = reference_tensor(r, layer, biases[i]);

		if (part != NULL) {
			memcpy(bias + at, part, (size_t)rows[i] * sizeof *part);
			biased = true;
		}
		gh__free(part);
	}
	for (int64_t t = 0; t < count; t++) {
		double *row = qkv + t * width;

		product(r, &w, biased ? bias : NULL, x + t * hidden, row);
		for (int64_t h = 0; h < heads + kv; h++) {
			if (q_norm != NULL)
				normalise(r, row + h * d, h < heads ? q_norm : k_norm, d,
					  row + h * d);
			rotate(r, row + h * d, t);
		}
		for (int64_t i = heads * d; r->kv8 && i < width; i++)
			row[i] = e4m3_value(row[i]);
	}
	for (int64_t t = 0; t < count; t++) {
		for (int64_t h = 0; h < heads; h++) {
			int64_t group = h / (heads / kv);

			attend_one(r, qkv + t * width + h * d, qkv + (heads + group) * d,
				   qkv + (heads + kv + group) * d, width, t, y + h * d);
		}
		product(r, &o, NULL, y, out + t * hidden);
	}
	gh__free(w.rows);
	gh__free(o.rows);
	gh__free(bias);
	gh__free(qkv);
	gh__free(y);
	gh__free(q_norm);
	gh__free(k_norm);
}

static inline void mlp_block(const reference *r, int64_t layer, int64_t count, const double *x,
			     double *out)
{
	static const char *const two[] = { "mlp.gate_proj.weight", "mlp.up_proj.weight" };
	static const char *const one[] = { "mlp.down_proj.weight" };
	int64_t hidden = r->config.hidden, inner = r->config.intermediate;
	stack w = stack_of(r, layer, 2, two, (const int64_t[]){ inner, inner }, hidden);
	stack down = stack_of(r, layer, 1, one, &hidden, inner);
	double *both = numbers((size_t)(2 * inner));

	for (int64_t t = 0; t < count; t++) {
		product(r, &w, NULL, x + t * hidden, both);
		for (int64_t i = 0; i < inner; i++)
			both[i] = reference_round(r, reference_round(r, both[i] / (1.0 +
										   exp(-both[i]))) *
							     both[inner + i]);
		product(r, &down, NULL, both, out + t * hidden);
	}
	gh__free(w.rows);
	gh__free(down.rows);
	gh__free(both);
}

/* logits [count, vocab] of a whole sequence. */
static inline void reference_logits(const reference *r, const int32_t *ids, int count,
				    double *logits)
{
	int64_t hidden = r->config.hidden, vocab = r->config.vocab;
	size_t size = (size_t)(count * hidden);
	double *h = numbers(size), *x = numbers(size), *y = numbers(size);
	double *embed = reference_tensor(r, -1, "model.embed_tokens.weight");
	double *head =
		r->config.tie_word_embeddings ? NULL : reference_tensor(r, -1, "lm_head.weight");
	double *last = reference_tensor(r, -1, "model.norm.weight");

	for (int t = 0; t < count; t++)
		memcpy(h + t * hidden, embed + ids[t] * hidden, (size_t)hidden * sizeof *h);
	for (int64_t layer = 0; layer < r->config.layers; layer++) {
		double *norms[] = { reference_tensor(r, layer, "input_layernorm.weight"),
				    reference_tensor(r, layer, "post_attention_layernorm.weight") };

		for (int block = 0; block < 2; block++) {
			for (int t = 0; t < count; t++)
				normalise(r, h + t * hidden, norms[block], hidden, x + t * hidden);
			if (block == 0)
				attention_block(r, layer, count, x, y);
			else
				mlp_block(r, layer, count, x, y);
			for (size_t i = 0; i < size; i++)
				h[i] = reference_round(r, h[i] + y[i]);
			gh__free(norms[block]);
		}
	}
	for (int t = 0; t < count; t++) {
		normalise(r, h + t * hidden, last, hidden, x);
		for (int64_t v = 0; v < vocab; v++) {
			const double *w = (head != NULL ? head : embed) + v * hidden;
			double sum = 0.0;

			for (int64_t i = 0; i < hidden; i++)
				sum += w[i] * x[i];
			logits[t * vocab + v] = r->act == GH_BF16 ? sum : reference_round(r, sum);
		}
	}
	gh__free(h);
	gh__free(x);
	gh__free(y);
	gh__free(embed);
	gh__free(head);
	gh__free(last);
}

#endif
