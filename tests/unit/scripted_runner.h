#ifndef GH_TESTS_SCRIPTED_RUNNER_H
#define GH_TESTS_SCRIPTED_RUNNER_H

#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "model/runner.h"

/* ck_assert() writes a record each time it holds: too slow for what is checked a million times. */
#define must(condition)                                 \
	do {                                            \
		if (!(condition))                       \
			ck_abort_msg("%s", #condition); \
	} while (0)

/*
 * A runner that computes hashes instead of a model. What it answers for a token depends on all that
 * it finds in the cache before it, through the block table: a wrong block, slot, position or token
 * changes every answer behind it. It also holds every step against the rules of gh__step.
 */
enum {
	SCRIPT_VOCAB = 419,
	SCRIPT_NAN = 400,  /* a context that holds this token has logits that are no numbers */
	SCRIPT_ECHO = 401, /* prompt ECHO, length, t0, t1...: the answer is t0, t1... */
	SCRIPT_BLOCK = 16
};

typedef struct scripted {
	int32_t max_length, step_tokens, step_sequences;
	int64_t kv_blocks;
	int64_t fail_at; /* this step fails; 0 = none */
	int32_t *token;  /* [kv_blocks * SCRIPT_BLOCK] the cache */
	uint64_t *context;
	int64_t *written; /* in which step */
	int64_t steps;
	int32_t largest_step;
	pthread_mutex_t mutex;
	pthread_cond_t moved;
	bool closed; /* steps wait */
	bool inside; /* a step waits or works */
} scripted;

static inline uint64_t scramble(uint64_t x)
{
	x += UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static inline double fraction(uint64_t x) /* (0, 1) */
{
	return ((double)(scramble(x) >> 12) + 0.5) / 4503599627370496.0;
}

static inline int64_t scripted_slot(const gh__step *step, int32_t sequence, int32_t position)
{
	int32_t column = position / SCRIPT_BLOCK;

	must(column < step->blocks_max);
	return (int64_t)step->block_table[(size_t)sequence * (size_t)step->blocks_max +
					  (size_t)column] *
		       SCRIPT_BLOCK +
	       position % SCRIPT_BLOCK;
}

/* Write a token behind its context, and answer what is known there. */
static inline void scripted_write(scripted *m, const gh__step *step, int32_t row)
{
	int32_t sequence = step->sequence[row], position = step->position[row];
	uint64_t context = 1;

	must(position >= 0);
	must(position < m->max_length);
	must(step->token[row] >= 0);
	must(step->token[row] < SCRIPT_VOCAB);
	for (int32_t i = 0; i < position; i++) {
		int64_t slot = scripted_slot(step, sequence, i);

		context = scramble(context ^ (uint64_t)m->token[slot]) + m->context[slot];
	}
	int64_t slot = scripted_slot(step, sequence, position);
	must(slot == step->slot[row]);
	must(slot >= 0);
	must(slot < m->kv_blocks * SCRIPT_BLOCK);
	must(m->written[slot] != m->steps); /* two sequences write one block */
	m->written[slot] = m->steps;
	m->token[slot] = step->token[row];
	m->context[slot] = scramble(context ^ (uint64_t)(position + 1) * 7919u) ^
			   scramble((uint64_t)step->token[row]);
}

static inline void scripted_check(const scripted *m, const gh__step *step, int32_t samples)
{
	must(step->tokens > 0);
	must(step->tokens <= m->step_tokens);
	must(step->sequences <= m->step_sequences);
	must(step->logit_rows == samples);
	must(samples <= step->tokens);
	must(step->row_start[0] == 0);
	must(step->row_start[step->sequences] == step->tokens);
	for (int32_t s = 0; s < step->sequences; s++) {
		must(step->row_start[s] < step->row_start[s + 1]);
		for (int32_t row = step->row_start[s]; row < step->row_start[s + 1]; row++) {
			must(step->sequence[row] == s);
			must(step->position[row] ==
			     step->position[step->row_start[s]] + row - step->row_start[s]);
		}
	}
	for (int32_t i = 1; i < step->logit_rows; i++)
		must(step->logit_row[i - 1] < step->logit_row[i]);
}

static inline void scripted_logits(float *logits, uint64_t context, const gh__sample_row *row)
{
	for (int32_t v = 0; v < SCRIPT_VOCAB; v++) {
		logits[v] = (float)(fraction(context + (uint64_t)v * 31) * 8 - 4);
		if (row->allowed && !(row->allowed[v / 32] >> (v % 32) & 1))
			logits[v] = -INFINITY;
	}
	logits[SCRIPT_NAN] = logits[SCRIPT_ECHO] = -INFINITY;
	for (int32_t i = 0; i < row->bias_count; i++)
		logits[row->bias_id[i]] += row->bias[i];
	if (row->repetition == 1 && row->frequency == 0 && row->presence == 0)
		return;
	int32_t seen[SCRIPT_VOCAB] = { 0 }, said[SCRIPT_VOCAB] = { 0 };
	for (int32_t i = 0; i < row->prompt_count; i++)
		seen[row->prompt[i]]++;
	for (int32_t i = 0; i < row->output_count; i++)
		said[row->output[i]]++;
	for (int32_t v = 0; v < SCRIPT_VOCAB; v++) {
		if (seen[v] + said[v] > 0)
			logits[v] *= logits[v] > 0 ? 1.0F / row->repetition : row->repetition;
		if (said[v] > 0)
			logits[v] -= row->frequency * (float)said[v] + row->presence;
	}
}

/* The k-th most probable token; ties by id. */
static inline void scripted_top(const float *logprob, int32_t top, gh__sample_result *out)
{
	out->top_count = top;
	for (int32_t i = 0; i < top; i++) {
		int32_t best = -1;

		for (int32_t v = 0; v < SCRIPT_VOCAB; v++) {
			bool taken = false;

			for (int32_t k = 0; k < i; k++)
				taken = taken || out->top_id[k] == v;
			if (!taken && (best < 0 || logprob[v] > logprob[best]))
				best = v;
		}
		out->top_id[i] = best;
		out->top_logprob[i] = logprob[best];
	}
}

static inline void scripted_sample(uint64_t context, const gh__sample_row *row, int32_t scripted_id,
				   gh__sample_result *out)
{
	float logprob[SCRIPT_VOCAB];
	double sum = 0, best = -INFINITY;

	memset(out, 0, sizeof *out);
	scripted_logits(logprob, context, row);
	for (int32_t v = 0; v < SCRIPT_VOCAB; v++) {
		if (row->temperature > 0)
			logprob[v] /= row->temperature;
		sum += exp((double)logprob[v]);
	}
	out->token = scripted_id;
	const double norm = log(sum);
	for (int32_t v = 0; v < SCRIPT_VOCAB; v++) {
		logprob[v] = (float)((double)logprob[v] - norm);
		double score = logprob[v];

		if (row->temperature > 0)
			score -=
				log(-log(fraction(row->seed ^ scramble(row->stream) ^
						  scramble(row->position * 65537u + (uint64_t)v))));
		if (scripted_id < 0 && score > best) {
			best = score;
			out->token = v;
		}
	}
	if (row->forced >= 0)
		out->token = row->forced;
	out->logprob = logprob[out->token];
	out->rank = 1;
	for (int32_t v = 0; v < SCRIPT_VOCAB; v++)
		out->rank += logprob[v] > out->logprob;
	scripted_top(logprob, row->top, out);
}

static inline gh_status scripted_step(void *self, const gh__step *step,
				      const gh__sample_row *samples, gh__sample_result *results,
				      int32_t count, gh_error *error)
{
	scripted *m = self;

	pthread_mutex_lock(&m->mutex);
	m->inside = true;
	pthread_cond_broadcast(&m->moved);
	while (m->closed)
		pthread_cond_wait(&m->moved, &m->mutex);
	m->inside = false;
	pthread_mutex_unlock(&m->mutex);
	if (++m->steps == m->fail_at)
		return gh__fail(error, GH_ECUDA, "device: fell off the bus");
	if (step->tokens > m->largest_step)
		m->largest_step = step->tokens;
	scripted_check(m, step, count);
	for (int32_t row = 0; row < step->tokens; row++)
		scripted_write(m, step, row);
	for (int32_t i = 0; i < count; i++) {
		int32_t row = step->logit_row[samples[i].row];
		int32_t s = step->sequence[row], position = step->position[row];
		int32_t id = -1;
		bool nan = false;

		for (int32_t p = 0; p <= position; p++)
			nan = nan || m->token[scripted_slot(step, s, p)] == SCRIPT_NAN;
		if (samples[i].forced < 0 && m->token[scripted_slot(step, s, 0)] == SCRIPT_ECHO)
			id = m->token[scripted_slot(
				step, s, position - m->token[scripted_slot(step, s, 1)] + 3)];
		scripted_sample(m->context[step->slot[row]], &samples[i], id, &results[i]);
		if (nan)
			results[i].token = -1;
	}
	return GH_OK;
}

static inline void scripted_info(const void *self, gh__runner_info *out)
{
	const scripted *m = self;

	memset(out, 0, sizeof *out);
	out->vocab = SCRIPT_VOCAB;
	out->max_length = m->max_length;
	out->block_size = SCRIPT_BLOCK;
	out->kv_blocks = m->kv_blocks;
	out->step_tokens = m->step_tokens;
	out->step_sequences = m->step_sequences;
	out->numerics = "script/1";
}

static inline void scripted_free(void *self)
{
	scripted *m = self;

	free(m->token);
	free(m->context);
	free(m->written);
	pthread_mutex_destroy(&m->mutex);
	pthread_cond_destroy(&m->moved);
	free(m);
}

static inline gh__runner scripted_create(int64_t kv_blocks, int32_t max_length)
{
	static const gh__runner_table table = { scripted_free, scripted_info, scripted_step };
	scripted *m = calloc(1, sizeof *m);

	m->max_length = max_length;
	m->step_tokens = 4096;
	m->step_sequences = 256;
	m->kv_blocks = kv_blocks;
	m->token = calloc((size_t)kv_blocks * SCRIPT_BLOCK, sizeof *m->token);
	m->context = calloc((size_t)kv_blocks * SCRIPT_BLOCK, sizeof *m->context);
	m->written = calloc((size_t)kv_blocks * SCRIPT_BLOCK, sizeof *m->written);
	pthread_mutex_init(&m->mutex, NULL);
	pthread_cond_init(&m->moved, NULL);
	return (gh__runner){ &table, m };
}

/* Let steps wait at their door, or pass. */
static inline void scripted_door(scripted *m, bool closed)
{
	pthread_mutex_lock(&m->mutex);
	m->closed = closed;
	pthread_cond_broadcast(&m->moved);
	pthread_mutex_unlock(&m->mutex);
}

/* Wait until a step stands at the closed door. */
static inline void scripted_await(scripted *m)
{
	pthread_mutex_lock(&m->mutex);
	while (!m->inside)
		pthread_cond_wait(&m->moved, &m->mutex);
	pthread_mutex_unlock(&m->mutex);
}

#endif
