#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/options.h"
#include "model/memory.h"
#include "model/model.h"
#include "model/runner.h"

/*
 * How fast a model's steps are: a runner, and steps of our own making. Each sequence owns a run of
 * blocks; its tokens are any.
 */
enum { WARM = 3, MOST = 1 << 20 };

typedef struct meter {
	gh__runner runner;
	int32_t vocab, batch, context, prompt, steps, blocks; /* blocks: a sequence */
	int32_t *numbers;                                     /* what the step's arrays point to */
	int64_t *slot;
	gh__sample_row *rows;
	gh__sample_result *results;
	double *seconds;
} meter;

/* `count` new tokens of each of `sequences`, from position `first` on. */
static gh_status step(const meter *m, int32_t sequences, int32_t first, int32_t count,
		      double *seconds, gh_error *error)
{
	const int32_t tokens = sequences * count;
	int32_t *token = m->numbers, *position = token + tokens, *sequence = position + tokens;
	int32_t *row_start = sequence + tokens, *logit_row = row_start + sequences + 1;
	int32_t *table = logit_row + sequences;
	const gh__step s = { .tokens = tokens,
			     .sequences = sequences,
			     .logit_rows = sequences,
			     .blocks_max = m->blocks,
			     .token = token,
			     .position = position,
			     .slot = m->slot,
			     .sequence = sequence,
			     .row_start = row_start,
			     .block_table = table,
			     .logit_row = logit_row };
	gh_status status;
	int64_t began;

	for (int32_t i = 0; i < tokens; i++) {
		int64_t at = first + i % count;

		sequence[i] = i / count;
		position[i] = (int32_t)at;
		token[i] = (int32_t)((at * 31 + (int64_t)sequence[i] * 7) % m->vocab);
		m->slot[i] = (int64_t)sequence[i] * m->blocks * GH__KV_BLOCK + at;
	}
	for (int32_t i = 0; i <= sequences; i++)
		row_start[i] = i * count;
	for (int32_t i = 0; i < sequences; i++) {
		logit_row[i] = (i + 1) * count - 1;
		m->rows[i] = (gh__sample_row){
			.row = i, .forced = -1, .repetition = 1.0F, .top_p = 1.0F
		};
	}
	for (int32_t i = 0; i < sequences * m->blocks; i++)
		table[i] = i;
	began = gh__now();
	status = m->runner.table->step(m->runner.self, &s, m->rows, m->results, sequences, error);
	*seconds = (double)(gh__now() - began) / (double)GH__SECOND;
	return status;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static gh_status median_step(const meter *m, int32_t sequences, int32_t first, int32_t count,
			     double *median, gh_error *error)
{
	gh_status status = GH_OK;

	for (int32_t i = 0; i < WARM + m->steps && status == GH_OK; i++)
		status = step(m, sequences, first, count, &m->seconds[i], error);
	if (status != GH_OK)
		return status;
	qsort(m->seconds + WARM, (size_t)m->steps, sizeof *m->seconds, by_size);
	*median = m->seconds[WARM + m->steps / 2];
	return GH_OK;
}

static gh_status read_options(meter *m, const gh_model *model,
			      const gh_model_measure_options *options, gh_error *error)
{
	gh_model_measure_options all;
	gh_status status = gh__options_copy(&all, sizeof all, sizeof all, options, error);
	int32_t longest;

	if (status != GH_OK)
		return status;
	m->batch = all.batch ? all.batch : 1;
	m->context = all.context ? all.context : 64;
	m->prompt = all.prompt ? all.prompt : 512;
	m->steps = all.steps ? all.steps : 16;
	longest = m->context > m->prompt ? m->context : m->prompt;
	if (m->batch < 1 || m->context < 1 || m->prompt < 1 || m->steps < 1 || m->batch > MOST ||
	    m->steps > MOST)
		return gh__fail(error, GH_EINVAL,
				"measure: batch %d, context %d, prompt %d, steps %d: expected "
				"numbers from 1 on",
				(int)m->batch, (int)m->context, (int)m->prompt, (int)m->steps);
	if (longest > model->info.max_length)
		return gh__fail(error, GH_EINVAL, "measure: %d positions, the model is made for %d",
				(int)longest, (int)model->info.max_length);
	if (model->desc.arch->input != GH__INPUT_TOKENS)
		return gh__fail(error, GH_ENOTSUP, "measure: the model's input is no tokens");
	m->blocks = (longest + GH__KV_BLOCK - 1) / GH__KV_BLOCK;
	m->vocab = model->info.vocab;
	return GH_OK;
}

static gh_status prepare(meter *m, gh_model *model, gh_error *error)
{
	const size_t rows = (size_t)(m->batch > m->prompt ? m->batch : m->prompt);
	const size_t batch = (size_t)m->batch;
	const gh__runner_options limits = {
		.step_tokens = (int32_t)rows,
		.step_sequences = m->batch,
		.max_length = m->blocks * GH__KV_BLOCK < model->info.max_length
				      ? m->blocks * GH__KV_BLOCK
				      : model->info.max_length,
		.kv_blocks = (int64_t)m->batch * m->blocks,
	};

	m->numbers = gh__calloc(3 * rows + (2 + (size_t)m->blocks) * batch + 1, sizeof(int32_t));
	m->slot = gh__calloc(rows, sizeof *m->slot);
	m->rows = gh__calloc(batch, sizeof *m->rows);
	m->results = gh__calloc(batch, sizeof *m->results);
	m->seconds = gh__calloc((size_t)m->steps + WARM, sizeof *m->seconds);
	if (!m->numbers || !m->slot || !m->rows || !m->results || !m->seconds)
		return gh__fail_nomem(error);
	return gh__model_runner(&m->runner, model, &limits, error);
}

/* Of the weights, all but the embedding, of which a token is one row. */
static double bytes_of_decode(const gh_model_info *info, const meter *m)
{
	double embedding = (double)info->vocab * (double)info->hidden *
			   (double)gh_dtype_size((gh_dtype)info->dtype);

	return (double)info->weight_bytes - embedding +
	       (double)info->kv_bytes * (double)m->batch * (double)m->context;
}

/* Of the matrices at every token, and of attention over half the positions on the average. */
static double flops_of_prefill(const gh_model_info *info, const meter *m)
{
	double q = (double)info->heads * info->head_dim, tokens = (double)m->prompt;
	double kv = (double)info->kv_heads * info->head_dim;
	double matrices = (double)info->hidden * (2.0 * q + 2.0 * kv) +
			  3.0 * (double)info->hidden * (double)info->intermediate;

	return (double)info->layers * (2.0 * matrices * tokens + 2.0 * q * tokens * (tokens + 1.0));
}

gh_status gh_model_measure(gh_model_rates *out, gh_model *model,
			   const gh_model_measure_options *options, gh_error *error)
{
	meter m = { .numbers = NULL };
	gh_status status;

	if (out == NULL || model == NULL)
		return gh__fail(error, GH_EINVAL, "%s: NULL", out == NULL ? "out" : "model");
	memset(out, 0, sizeof *out);
	status = read_options(&m, model, options, error);
	if (status == GH_OK)
		status = prepare(&m, model, error);
	if (status == GH_OK)
		status = median_step(&m, m.batch, m.context - 1, 1, &out->decode_seconds, error);
	if (status == GH_OK)
		status = median_step(&m, 1, 0, m.prompt, &out->prefill_seconds, error);
	if (m.runner.self != NULL)
		m.runner.table->free(m.runner.self);
	gh__free(m.numbers);
	gh__free(m.slot);
	gh__free(m.rows);
	gh__free(m.results);
	gh__free(m.seconds);
	if (status != GH_OK)
		return status;
	out->batch = m.batch;
	out->context = m.context;
	out->prompt = m.prompt;
	out->decode_bytes = bytes_of_decode(&model->info, &m);
	out->prefill_flops = flops_of_prefill(&model->info, &m);
	return GH_OK;
}
