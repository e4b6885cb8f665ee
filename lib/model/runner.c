#include "model/runner.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/thread.h"
#include "device/quantise.h"
#include "model/memory.h"
#include "model/rank.h"

/*
 * The runner: rank 0 runs on the caller's thread, each other rank on its own. A step is one job
 * for all of them; the comms between them keep it together.
 */
typedef struct runner runner;

typedef struct rank_thread {
	runner *runner;
	int rank;
	bool started;
	pthread_t thread;
	gh_status status; /* of the latest job */
	gh_error error;
} rank_thread;

struct runner {
	gh_model *model;
	gh__runner_options limits;
	int64_t blocks;
	int ranks;
	gh__rank *rank;       /* [ranks] */
	rank_thread *threads; /* [ranks]; 0 is the caller */
	bool lost;            /* a step has failed: the ranks no longer agree */

	pthread_mutex_t mutex;
	pthread_cond_t wake, done;
	unsigned generation; /* of jobs */
	int running;         /* threads that have not finished the latest one */
	bool closing;
	const gh__job *job;
};

static void run_rank(rank_thread *w, const gh__job *job)
{
	gh__rank *rank = &w->runner->rank[w->rank];

	w->error = (gh_error)GH_ERROR_INIT;
	w->status = gh__forward(rank, job, &w->error);
	/* Each rank that is woken by this fails too, and wakes its own neighbours. */
	if (w->status != GH_OK && w->runner->ranks > 1) {
		gh__comm_abort(rank->stage);
		gh__comm_abort(rank->line);
	}
}

static void work(void *arg)
{
	rank_thread *w = arg;
	runner *r = w->runner;
	unsigned seen = 0;

	pthread_mutex_lock(&r->mutex);
	for (;;) {
		const gh__job *job;

		while (r->generation == seen && !r->closing)
			pthread_cond_wait(&r->wake, &r->mutex);
		if (r->closing)
			break;
		seen = r->generation;
		job = r->job;
		pthread_mutex_unlock(&r->mutex);
		run_rank(w, job);
		pthread_mutex_lock(&r->mutex);
		if (--r->running == 0)
			pthread_cond_signal(&r->done);
	}
	pthread_mutex_unlock(&r->mutex);
}

/* The error of the rank that failed by itself, not of one that was only woken by it. */
static gh_status verdict(const runner *r, gh_error *error)
{
	const rank_thread *failed = NULL;

	for (int i = 0; i < r->ranks; i++) {
		const rank_thread *w = &r->threads[i];

		if (w->status != GH_OK && (failed == NULL || failed->status == GH_ECANCELLED))
			failed = w;
	}
	if (failed == NULL)
		return GH_OK;
	if (r->ranks == 1)
		return gh__fail(error, failed->status, "%s", failed->error.text);
	return gh__fail(error, failed->status, "rank %d: %s", failed->rank, failed->error.text);
}

static gh_status run_job(runner *r, const gh__job *job, gh_error *error)
{
	gh_status status;

	if (r->ranks > 1) {
		pthread_mutex_lock(&r->mutex);
		r->job = job;
		r->running = r->ranks - 1;
		r->generation++;
		pthread_cond_broadcast(&r->wake);
		pthread_mutex_unlock(&r->mutex);
	}
	run_rank(&r->threads[0], job);
	if (r->ranks > 1) {
		pthread_mutex_lock(&r->mutex);
		while (r->running > 0)
			pthread_cond_wait(&r->done, &r->mutex);
		pthread_mutex_unlock(&r->mutex);
	}
	status = verdict(r, error);
	/* A rank alone that was interrupted holds nothing that the next step does not write
	 * anew. */
	r->lost = status != GH_OK && (r->ranks > 1 || status != GH_ECANCELLED);
	return status;
}

/* ---- what a step may be ---- */

static gh_status check_rows(const runner *r, const gh__step *s, gh_error *error)
{
	const gh__arch *arch = r->model->desc.arch;
	bool tokens = arch->input == GH__INPUT_TOKENS, paged = arch->kv == GH__KV_PAGED;
	int32_t vocab = (int32_t)r->model->desc.shape.vocab;
	int64_t slots = r->blocks * GH__KV_BLOCK;

	for (int32_t i = 0; i < s->tokens; i++) {
		if (tokens && (s->token[i] < 0 || s->token[i] >= vocab))
			return gh__fail(error, GH_EINVAL, "step: token %d is not below %d",
					s->token[i], vocab);
		if (s->position[i] < 0 || s->position[i] >= r->limits.max_length)
			return gh__fail(error, GH_EINVAL, "step: position %d is not below %d",
					s->position[i], r->limits.max_length);
		if (paged && (s->slot[i] < -1 || s->slot[i] >= slots))
			return gh__fail(error, GH_EINVAL, "step: slot %lld is not below %lld",
					(long long)s->slot[i], (long long)slots);
		if (s->sequence[i] < 0 || s->sequence[i] >= s->sequences)
			return gh__fail(error, GH_EINVAL, "step: sequence %d is not below %d",
					s->sequence[i], s->sequences);
	}
	for (int32_t i = 0; i < s->logit_rows; i++)
		if (s->logit_row[i] < (i > 0 ? s->logit_row[i - 1] + 1 : 0) ||
		    s->logit_row[i] >= s->tokens)
			return gh__fail(error, GH_EINVAL, "step: logit row %d is out of place",
					s->logit_row[i]);
	return GH_OK;
}

/* The blocks up to a sequence's last position exist. */
static gh_status check_blocks(const runner *r, const gh__step *s, int32_t sequence, int32_t last,
			      gh_error *error)
{
	const int32_t *table = s->block_table + (int64_t)sequence * s->blocks_max;

	if (last / GH__KV_BLOCK >= s->blocks_max)
		return gh__fail(error, GH_EINVAL, "step: position %d is beyond %d blocks", last,
				s->blocks_max);
	for (int32_t b = 0; b <= last / GH__KV_BLOCK; b++)
		if (table[b] < 0 || table[b] >= r->blocks)
			return gh__fail(error, GH_EINVAL, "step: block %d is not below %lld",
					table[b], (long long)r->blocks);
	return GH_OK;
}

/* A sequence's rows are one run. Without a cache they are its positions from 0 on. */
static gh_status check_sequences(const runner *r, const gh__step *s, gh_error *error)
{
	if (s->row_start[0] != 0 || s->row_start[s->sequences] != s->tokens)
		return gh__fail(error, GH_EINVAL, "step: the sequences' rows are not its %d tokens",
				s->tokens);
	for (int32_t i = 0; i < s->sequences; i++) {
		bool paged = r->model->desc.arch->kv == GH__KV_PAGED;
		gh_status status = GH_OK;
		int32_t last = 0;

		if (s->row_start[i + 1] < s->row_start[i])
			return gh__fail(error, GH_EINVAL, "step: row_start falls at sequence %d",
					i);
		for (int32_t row = s->row_start[i]; row < s->row_start[i + 1]; row++) {
			if (s->sequence[row] != i)
				return gh__fail(error, GH_EINVAL,
						"step: row %d is of sequence %d, not %d", row,
						s->sequence[row], i);
			if (!paged && s->position[row] != row - s->row_start[i])
				return gh__fail(error, GH_EINVAL,
						"step: row %d is at position %d, not %d", row,
						s->position[row], row - s->row_start[i]);
			last = s->position[row] > last ? s->position[row] : last;
		}
		if (paged)
			status = check_blocks(r, s, i, last, error);
		if (status != GH_OK)
			return status;
	}
	return GH_OK;
}

static gh_status check_step(const runner *r, const gh__job *job, gh_error *error)
{
	const gh__step *s = job->step;
	int32_t blocks = (r->limits.max_length + GH__KV_BLOCK - 1) / GH__KV_BLOCK;
	gh_status status;

	if (s->tokens < 1 || s->tokens > r->limits.step_tokens)
		return gh__fail(error, GH_EINVAL, "step: %d tokens are not between 1 and %d",
				s->tokens, r->limits.step_tokens);
	if (s->sequences < 1 || s->sequences > r->limits.step_sequences)
		return gh__fail(error, GH_EINVAL, "step: %d sequences are not between 1 and %d",
				s->sequences, r->limits.step_sequences);
	if (s->blocks_max < (r->model->desc.arch->kv == GH__KV_PAGED) || s->blocks_max > blocks ||
	    s->logit_rows < 0 || s->logit_rows > s->tokens)
		return gh__fail(error, GH_EINVAL, "step: %d blocks or %d logit rows are too many",
				s->blocks_max, s->logit_rows);
	status = check_rows(r, s, error);
	if (status == GH_OK)
		status = check_sequences(r, s, error);
	for (int32_t i = 0; i < job->sample_count && status == GH_OK; i++)
		if (job->samples[i].row < 0 || job->samples[i].row >= s->logit_rows)
			return gh__fail(error, GH_EINVAL,
					"step: sample %d wants logit row %d of %d", i,
					job->samples[i].row, s->logit_rows);
	return status;
}

static gh_status runner_step(void *self, const gh__step *step, const gh__sample_row *samples,
			     gh__sample_result *results, int32_t sample_count, gh_error *error)
{
	runner *r = self;
	gh__rank *last = &r->rank[r->ranks - r->model->info.tensor_parallel];
	gh__job job = {
		.step = step, .samples = samples, .results = results, .sample_count = sample_count
	};
	gh_status status;

	if (r->lost)
		return gh__fail(error, GH_ESTATE, "an earlier step has failed");
	status = check_step(r, &job, error);
	if (status == GH_OK && r->model->desc.arch->input != GH__INPUT_TOKENS)
		status = gh__fail(error, GH_EINVAL, "step: the model's input is not tokens");
	if (status == GH_OK)
		status = run_job(r, &job, error);
	if (status == GH_OK && last->bad_count > 0) {
		/* Running again changes nothing, and costs nothing when all is well. */
		int32_t *suspects = gh__memdup(last->bad_rows,
					       (size_t)last->bad_count * sizeof *last->bad_rows);

		if (suspects == NULL)
			return GH_OK;
		job.suspects = suspects;
		job.suspect_count = last->bad_count;
		status = run_job(r, &job, error);
		gh__free(suspects);
	}
	return status;
}

gh_status gh__runner_logits(gh__runner *gh_runner, const gh__step *step, const void *input,
			    void *logits, gh_error *error)
{
	runner *r = gh_runner->self;
	gh__job job = { .step = step, .input = input, .logits = logits };
	gh_status status;

	if (r->lost)
		return gh__fail(error, GH_ESTATE, "an earlier step has failed");
	status = check_step(r, &job, error);
	if (status == GH_OK && (input != NULL) != (r->model->desc.arch->input == GH__INPUT_ROWS))
		status = gh__fail(error, GH_EINVAL, "step: the input is not what the model takes");
	return status == GH_OK ? run_job(r, &job, error) : status;
}

void gh__runner_interrupt(gh__runner *gh_runner, bool interrupted)
{
	runner *r = gh_runner->self;

	for (int i = 0; i < r->ranks; i++) {
		gh__device *run = r->rank[i].device, *hold = r->model->rank[i].device;

		run->table->interrupt(run->self, interrupted);
		hold->table->interrupt(hold->self, interrupted);
	}
}

static void runner_info(const void *self, gh__runner_info *out)
{
	const runner *r = self;

	*out = (gh__runner_info){
		.vocab = (int32_t)r->model->desc.shape.vocab,
		.max_length = r->limits.max_length,
		.block_size = GH__KV_BLOCK,
		.kv_blocks = r->blocks,
		.step_tokens = r->limits.step_tokens,
		.step_sequences = r->limits.step_sequences,
		.numerics = r->model->numerics.name,
	};
}

/* ---- making and freeing ---- */

static void rank_free(gh__rank *rank)
{
	gh__arena_free(&rank->memory);
	gh__arena_free(&rank->cache_memory);
	gh__kernels_free(&rank->kernels);
	if (rank->device != NULL)
		gh__device_close(rank->device);
	gh__comm_free(rank->stage);
	gh__comm_free(rank->line);
	gh__free(rank->cache);
	gh__free(rank->staging);
	gh__free(rank->row);
	gh__free(rank->bad_rows);
}

static void runner_free(void *self)
{
	runner *r = self;

	if (r == NULL)
		return;
	pthread_mutex_lock(&r->mutex);
	r->closing = true;
	pthread_cond_broadcast(&r->wake);
	pthread_mutex_unlock(&r->mutex);
	for (int i = 1; i < r->ranks; i++)
		if (r->threads[i].started)
			pthread_join(r->threads[i].thread, NULL);
	for (int i = 0; i < r->ranks; i++)
		rank_free(&r->rank[i]);
	pthread_cond_destroy(&r->wake);
	pthread_cond_destroy(&r->done);
	pthread_mutex_destroy(&r->mutex);
	gh__free(r->rank);
	gh__free(r->threads);
	gh__free(r);
}

static const gh__runner_table table = {
	.free = runner_free,
	.info = runner_info,
	.step = runner_step,
};

const gh__rank *gh__runner_rank(const gh__runner *gh_runner, int index)
{
	const runner *r = gh_runner->self;

	return &r->rank[index];
}

/* What a rank needs apart from memory on its device. */
static gh_status rank_prepare(gh__rank *rank, runner *r, int index, gh_error *error)
{
	gh__model_rank *held = &r->model->rank[index];
	const gh_plan_shape *s = &r->model->desc.shape;
	size_t row = (size_t)(s->hidden > s->vocab ? s->hidden : s->vocab);
	gh_status status;

	rank->model = r->model;
	rank->plan = &held->plan;
	rank->weights = &held->weights;
	rank->limits = r->limits;
	held->weights.table->ends(held->weights.self, &rank->ends);
	rank->cache = gh__calloc((size_t)held->plan.layers.count, sizeof *rank->cache);
	rank->staging = gh__malloc(gh__rank_step_size(&r->limits));
	rank->row = gh__malloc(row * sizeof(float));
	rank->bad_rows = gh__calloc((size_t)r->limits.step_tokens, sizeof *rank->bad_rows);
	if (rank->cache == NULL || rank->staging == NULL || rank->row == NULL ||
	    rank->bad_rows == NULL)
		return gh__fail_nomem(error);
	status = gh__model_device(r->model, index, &rank->device, error);
	if (status != GH_OK)
		return status;
	rank->memory.device = rank->cache_memory.device = rank->device;
	if (rank->stage != NULL) {
		gh__comm_use(rank->stage, rank->device);
		gh__comm_use(rank->line, rank->device);
	}
	return gh__kernels_prepare(&rank->kernels, rank->device, &r->model->desc,
				   &r->model->numerics, &held->plan, error);
}

static gh_status join_ranks(runner *r, gh_error *error)
{
	int tp = r->model->info.tensor_parallel, pp = r->model->info.pipeline_parallel;
	gh__comm **comms = gh__calloc((size_t)(tp > pp ? tp : pp), sizeof(gh__comm *));
	gh_status status = GH_OK;

	if (comms == NULL)
		return gh__fail_nomem(error);
	for (int stage = 0; stage < pp && status == GH_OK; stage++) {
		status = gh__comm_create_local(comms, tp, error);
		for (int i = 0; i < tp && status == GH_OK; i++)
			r->rank[stage * tp + i].stage = comms[i];
	}
	for (int i = 0; i < tp && status == GH_OK; i++) {
		status = gh__comm_create_local(comms, pp, error);
		for (int stage = 0; stage < pp && status == GH_OK; stage++)
			r->rank[stage * tp + i].line = comms[stage];
	}
	gh__free(comms);
	return status;
}

/* The plan of all ranks' memory; all of them have the same number of blocks. */
static gh_status plan_memory(runner *r, gh_error *error)
{
	gh__memory_plan *plans = gh__calloc((size_t)r->ranks, sizeof *plans);
	gh_status status = GH_OK;

	if (plans == NULL)
		return gh__fail_nomem(error);
	for (int i = 0; i < r->ranks && status == GH_OK; i++) {
		gh__rank *rank = &r->rank[i];
		bool host = strcmp(rank->device->table->kind, "cpu") == 0;
		gh__memory_needs needs = {
			.device_total = rank->device->memory_total,
			.sharing = host ? r->ranks : 1,
			.host = host,
			.weights = rank->weights->table->bytes(rank->weights->self),
			.block = gh__kv_block_bytes(&rank->kernels.kv, rank->plan->layers.count),
		};

		gh__rank_lay_out(rank);
		needs.activations = (int64_t)rank->memory.used;
		status = gh__memory_plan_make(&plans[i], &needs, &r->limits, error);
		if (i == 0 || plans[i].blocks < r->blocks)
			r->blocks = plans[i].blocks;
	}
	for (int i = 0; i < r->ranks; i++)
		plans[i].blocks = r->blocks;
	if (status == GH_OK)
		gh__memory_plans_log(plans, r->ranks);
	gh__free(plans);
	return status;
}

static gh_status allocate(gh__rank *rank, int64_t blocks, const float *rope, gh_error *error)
{
	const gh__model_desc *desc = &rank->model->desc;
	gh_dtype act = rank->model->numerics.act;
	size_t layer = (size_t)(gh__kv_block_bytes(&rank->kernels.kv, 1) * blocks);
	size_t count = (size_t)rank->limits.max_length * (size_t)desc->shape.head_dim;
	void *narrow;
	gh_status status = gh__arena_commit(&rank->memory, error);

	if (status != GH_OK)
		return status;
	gh__rank_lay_out(rank);
	for (int64_t i = 0; i < rank->plan->layers.count; i++)
		gh__arena_take(&rank->cache_memory, layer);
	status = gh__arena_commit(&rank->cache_memory, error);
	if (status != GH_OK)
		return status;
	for (int64_t i = 0; i < rank->plan->layers.count; i++)
		rank->cache[i] = gh__arena_take(&rank->cache_memory, layer);

	narrow = gh__malloc(count * sizeof(float));
	if (narrow == NULL)
		return gh__fail_nomem(error);
	gh__convert(narrow, act, rope, GH_F32, count);
	status = rank->device->table->upload(rank->device->self, rank->buf.rope, narrow,
					     count * gh_dtype_size(act), rank->device->stream,
					     error);
	gh__free(narrow);
	return status;
}

static gh_status check_options(gh__runner_options *out, const gh_model *model,
			       const gh__runner_options *given, gh_error *error)
{
	*out = *given;
	if (out->max_length == 0)
		out->max_length = model->desc.max_length;
	if (out->max_length < 1 || out->max_length > model->desc.max_length)
		return gh__fail(
			error, GH_EINVAL,
			"max_length: %d is not between 1 and %d, which the model is made for",
			out->max_length, model->desc.max_length);
	if (out->step_tokens < 1 || out->step_tokens > 1 << 20)
		return gh__fail(error, GH_EINVAL, "step_tokens: %d is not between 1 and %d",
				out->step_tokens, 1 << 20);
	if (out->step_sequences < 1 || out->step_sequences > out->step_tokens)
		return gh__fail(error, GH_EINVAL,
				"step_sequences: %d is not between 1 and step_tokens %d",
				out->step_sequences, out->step_tokens);
	if (out->memory_limit < 0)
		return gh__fail(error, GH_EINVAL, "memory_limit: %lld is below 0",
				(long long)out->memory_limit);
	if (out->kv_blocks < 0 || out->kv_blocks > INT32_MAX)
		return gh__fail(error, GH_EINVAL, "kv_blocks: %lld is not between 0 and %d",
				(long long)out->kv_blocks, INT32_MAX);
	if (!(out->memory_share >= 0.0 && out->memory_share <= 1.0))
		return gh__fail(error, GH_EINVAL, "memory_share: %g is not between 0 and 1",
				out->memory_share);
	return GH_OK;
}

static gh_status runner_start(runner *r, gh_error *error)
{
	float *rope = NULL;
	gh_status status = join_ranks(r, error);

	for (int i = 0; i < r->ranks && status == GH_OK; i++)
		status = rank_prepare(&r->rank[i], r, i, error);
	if (status == GH_OK)
		status = plan_memory(r, error);
	if (status == GH_OK) {
		rope = gh__rope_table(&r->model->desc, r->limits.max_length);
		status = rope == NULL ? gh__fail_nomem(error) : GH_OK;
	}
	for (int i = 0; i < r->ranks && status == GH_OK; i++)
		status = allocate(&r->rank[i], r->blocks, rope, error);
	gh__free(rope);
	for (int i = 0; i < r->ranks && status == GH_OK; i++) {
		rank_thread *w = &r->threads[i];

		w->runner = r;
		w->rank = i;
		if (i == 0)
			continue;
		status = gh__thread_start(&w->thread, "gh-rank", work, w, error);
		w->started = status == GH_OK;
	}
	return status;
}

gh_status gh__model_runner_measure(int64_t *out, gh_model *model, const gh__runner_options *options,
				   gh_error *error)
{
	runner r = { .model = model };
	gh_status status = check_options(&r.limits, model, options, error);

	*out = 0;
	for (int i = 0; i < model->ranks && status == GH_OK; i++) {
		gh__rank rank = { 0 };

		status = rank_prepare(&rank, &r, i, error);
		if (status == GH_OK) {
			gh__rank_lay_out(&rank);
			*out = (int64_t)rank.memory.used > *out ? (int64_t)rank.memory.used : *out;
		}
		rank_free(&rank);
	}
	return status;
}

gh_status gh__model_runner(gh__runner *out, gh_model *model, const gh__runner_options *options,
			   gh_error *error)
{
	gh__runner_options limits;
	gh_status status = check_options(&limits, model, options, error);
	runner *r;

	if (status != GH_OK)
		return status;
	r = gh__calloc(1, sizeof *r);
	if (r == NULL)
		return gh__fail_nomem(error);
	r->model = model;
	r->limits = limits;
	if (gh__cond_init(&r->wake) != GH_OK) {
		gh__free(r);
		return gh__fail_nomem(error);
	}
	if (gh__cond_init(&r->done) != GH_OK) {
		pthread_cond_destroy(&r->wake);
		gh__free(r);
		return gh__fail_nomem(error);
	}
	pthread_mutex_init(&r->mutex, NULL);
	r->rank = gh__calloc((size_t)model->ranks, sizeof *r->rank);
	r->threads = gh__calloc((size_t)model->ranks, sizeof *r->threads);
	if (r->rank == NULL || r->threads == NULL) {
		status = gh__fail_nomem(error);
	} else {
		r->ranks = model->ranks;
		status = runner_start(r, error);
	}
	if (status != GH_OK) {
		runner_free(r);
		return status;
	}
	*out = (gh__runner){ &table, r };
	return GH_OK;
}
