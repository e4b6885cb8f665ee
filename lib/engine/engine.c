#include <pthread.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/options.h"
#include "base/random.h"
#include "base/thread.h"
#include "engine/internal.h"
#include "engine/scheduler.h"

enum {
	DEFAULT_SEQUENCES = 256,
	DEFAULT_STEP_TOKENS = 2048,
	DEFAULT_QUEUE = 100000,
	BUCKETS = 4096 /* of live requests by id; ids are consecutive, so they spread evenly */
};
#define DEFAULT_MEMORY_SHARE 0.9
#define FLAGS_KNOWN          (GH_ENGINE_NO_PREFIX_CACHE | GH_ENGINE_SEEDED)

struct gh_engine {
	gh_engine_options options; /* completed */
	gh__runner runner;
	gh__runner_info info;
	gh__counters counters;
	gh__telemetry telemetry;
	gh__scheduler *scheduler; /* the thread's own */
	pthread_t thread;

	pthread_mutex_t mutex; /* what follows is handed over under it */
	pthread_cond_t wake;
	gh__request *arrived, **arrived_end;
	gh__request *aborted;
	gh__request *bucket[BUCKETS]; /* every request that has not ended */
	uint64_t last_id;
	bool closing;
	gh_error failure; /* status is GH_OK while the engine lives */
	_Atomic int32_t failed;
};

/* ---- requests by id ---- */

static gh__request **find_request(gh_engine *engine, uint64_t id)
{
	gh__request **place = &engine->bucket[id % BUCKETS];

	while (*place && (*place)->id != id)
		place = &(*place)->alike;
	return place;
}

/* The scheduler is done with a request. One that waits among the aborted is freed from there. */
static void release_request(gh__request *request, void *userdata)
{
	gh_engine *engine = userdata;

	pthread_mutex_lock(&engine->mutex);
	gh__request **place = find_request(engine, request->id);
	*place = request->alike;
	request->ended = true;
	bool aborting = request->aborting;
	pthread_mutex_unlock(&engine->mutex);
	if (!aborting)
		gh__request_free(request);
}

/* ---- the thread ---- */

static void add_all(gh_engine *engine, gh__request *arrived)
{
	while (arrived) {
		gh__request *next = arrived->next;

		gh__scheduler_add(engine->scheduler, arrived);
		arrived = next;
	}
}

static void abort_all(gh_engine *engine, gh__request *aborted)
{
	while (aborted) {
		gh__request *next = aborted->next_abort;

		if (!aborted->ended)
			gh__scheduler_abort(engine->scheduler, aborted);
		gh__request_free(aborted);
		aborted = next;
	}
}

/* What was handed over since the last time. Waits for something to do if wait. */
static bool take_over(gh_engine *engine, bool wait)
{
	pthread_mutex_lock(&engine->mutex);
	while (wait && !engine->arrived && !engine->aborted && !engine->closing)
		pthread_cond_wait(&engine->wake, &engine->mutex);
	gh__request *arrived = engine->arrived, *aborted = engine->aborted;
	engine->arrived = NULL;
	engine->arrived_end = &engine->arrived;
	engine->aborted = NULL;
	bool closing = engine->closing;
	pthread_mutex_unlock(&engine->mutex);
	add_all(engine, arrived);
	abort_all(engine, aborted);
	return !closing;
}

static void fail_engine(gh_engine *engine, const gh_error *error)
{
	gh__error("engine", "engine failed: %s", error->text);
	atomic_store(&engine->failed, 1);
	pthread_mutex_lock(&engine->mutex);
	engine->failure = *error;
	pthread_mutex_unlock(&engine->mutex);
}

static void engine_main(void *userdata)
{
	gh_engine *engine = userdata;
	gh_error error = GH_ERROR_INIT;
	gh_status status = GH_OK;

	while (take_over(engine, gh__scheduler_idle(engine->scheduler))) {
		if (gh__scheduler_idle(engine->scheduler))
			continue;
		status = gh__scheduler_step(engine->scheduler, &error);
		if (status != GH_OK)
			break;
	}
	/* Nothing is accepted from here on; what came before it ends. */
	if (status != GH_OK)
		fail_engine(engine, &error);
	take_over(engine, false);
	gh__scheduler_end_all(engine->scheduler,
			      status == GH_OK ? GH_FINISH_ABORT : GH_FINISH_ERROR,
			      status == GH_OK ? NULL : &error);
	take_over(engine, false); /* aborted meanwhile: all have ended */
}

/* ---- making one ---- */

gh_status gh__engine_options_complete(gh_engine_options *o, const gh_engine_options *given,
				      gh_error *error)
{
	const gh_engine_options defaults = GH_ENGINE_OPTIONS_INIT;
	gh_status status =
		gh__options_copy(o, sizeof *o, sizeof *o, given ? given : &defaults, error);

	if (status != GH_OK)
		return status;
	if (o->flags & ~FLAGS_KNOWN)
		return gh__fail(error, GH_EINVAL, "flags: 0x%x has unknown bits",
				(unsigned)o->flags);
	if (o->reserved != 0)
		return gh__fail(error, GH_EINVAL, "reserved: %u is not 0", (unsigned)o->reserved);
	if (o->max_length < 0 || o->max_sequences < 0 || o->step_tokens < 0 || o->queue_max < 0 ||
	    o->kv_blocks < 0)
		return gh__fail(error, GH_EINVAL,
				"engine options: %d, %d, %d, %d, %lld for max_length, "
				"max_sequences, step_tokens, queue_max, kv_blocks: none may be "
				"negative",
				o->max_length, o->max_sequences, o->step_tokens, o->queue_max,
				(long long)o->kv_blocks);
	if (!(o->memory_share >= 0 && o->memory_share <= 1))
		return gh__fail(error, GH_EINVAL, "memory_share: %g is not in (0, 1]",
				o->memory_share);
	if (o->max_sequences == 0)
		o->max_sequences = DEFAULT_SEQUENCES;
	if (o->step_tokens == 0)
		o->step_tokens = DEFAULT_STEP_TOKENS;
	if (o->queue_max == 0)
		o->queue_max = DEFAULT_QUEUE;
	return GH_OK;
}

static int32_t smaller(int32_t a, int32_t b)
{
	return a < b ? a : b;
}

/* What the options ask for and the runner has. */
static gh_status fit_options(gh_engine *engine, gh_error *error)
{
	gh_engine_options *o = &engine->options;
	const gh__runner_info *info = &engine->info;

	if (info->vocab < 1 || info->max_length < 2 || info->block_size < 1 ||
	    info->step_tokens < 1 || info->step_sequences < 1)
		return gh__fail(error, GH_EINVAL,
				"runner: vocabulary %d, length %d, block %d, step %d x %d are not "
				"all positive",
				info->vocab, info->max_length, info->block_size, info->step_tokens,
				info->step_sequences);
	if (o->kv_blocks == 0 || o->kv_blocks > info->kv_blocks)
		o->kv_blocks = info->kv_blocks;
	if (o->max_length > info->max_length)
		return gh__fail(error, GH_EINVAL, "max_length: %d is more than the model's %d",
				o->max_length, info->max_length);
	int64_t capacity = o->kv_blocks * info->block_size;
	if (o->max_length > capacity)
		return gh__fail(error, GH_ENOMEM,
				"max_length: %d tokens need %d KV blocks, there are %lld; lower "
				"max_length or raise memory_share",
				o->max_length, (o->max_length - 1) / info->block_size + 1,
				(long long)o->kv_blocks);
	if (o->max_length == 0) {
		o->max_length = info->max_length;
		if (capacity < o->max_length) {
			o->max_length = (int32_t)capacity;
			gh__warn("engine",
				 "context cut from %d to %d tokens: that is what the KV cache "
				 "holds",
				 info->max_length, o->max_length);
		}
	}
	if (o->max_length < 2)
		return gh__fail(error, GH_EINVAL,
				"max_length: %d has no room for a prompt and an answer",
				o->max_length);
	o->step_tokens = smaller(o->step_tokens, info->step_tokens);
	/* Every sequence that generates is in every step. */
	o->max_sequences = smaller(smaller(o->max_sequences, info->step_sequences), o->step_tokens);
	return GH_OK;
}

static gh_status start(gh_engine *engine, const gh_tokenizer *tokenizer, gh__metrics *metrics,
		       const char *served_name, gh_error *error)
{
	const gh_engine_options *o = &engine->options;
	bool prefix_cache = !(o->flags & GH_ENGINE_NO_PREFIX_CACHE);
	const gh__telemetry_facts facts = { .served_name = served_name,
					    .numerics = engine->info.numerics,
					    .block_size = engine->info.block_size,
					    .kv_blocks = o->kv_blocks,
					    .max_length = o->max_length,
					    .memory_share = o->memory_share > 0
								    ? o->memory_share
								    : DEFAULT_MEMORY_SHARE,
					    .prefix_cache = prefix_cache };
	const gh__scheduler_config config = { .runner = engine->runner,
					      .tokenizer = tokenizer,
					      .vocab = engine->info.vocab,
					      .max_length = o->max_length,
					      .max_sequences = o->max_sequences,
					      .step_tokens = o->step_tokens,
					      .block_size = engine->info.block_size,
					      .kv_blocks = o->kv_blocks,
					      .prefix_cache = prefix_cache,
					      .counters = &engine->counters,
					      .telemetry = &engine->telemetry,
					      .release = release_request,
					      .userdata = engine };

	gh__telemetry_init(&engine->telemetry, metrics, &facts);
	gh_status status = gh__scheduler_create(&engine->scheduler, &config, error);
	if (status == GH_OK)
		status = gh__thread_start(&engine->thread, "gh-engine", engine_main, engine, error);
	return status;
}

gh_status gh__engine_create(gh_engine **out, const gh__runner *runner,
			    const gh_tokenizer *tokenizer, const gh_engine_options *options,
			    gh__metrics *metrics, const char *served_name, gh_error *error)
{
	gh_engine *engine = gh__calloc(1, sizeof *engine);

	if (!engine)
		return gh__fail_nomem(error);
	gh_status status = gh__engine_options_complete(&engine->options, options, error);
	if (status != GH_OK)
		goto fail;
	engine->runner = *runner;
	runner->table->info(runner->self, &engine->info);
	status = fit_options(engine, error);
	if (status != GH_OK)
		goto fail;
	engine->arrived_end = &engine->arrived;
	if (gh__cond_init(&engine->wake) != GH_OK) {
		status = gh__fail_nomem(error);
		goto fail;
	}
	pthread_mutex_init(&engine->mutex, NULL);
	status = start(engine, tokenizer, metrics, served_name, error);
	if (status != GH_OK)
		goto fail_started;
	gh__info("engine",
		 "engine ready numerics=%s context=%d sequences=%d step=%d kv_blocks=%lld "
		 "prefix_cache=%s",
		 engine->info.numerics ? engine->info.numerics : "-", engine->options.max_length,
		 engine->options.max_sequences, engine->options.step_tokens,
		 (long long)engine->options.kv_blocks,
		 engine->options.flags & GH_ENGINE_NO_PREFIX_CACHE ? "off" : "on");
	*out = engine;
	return GH_OK;
fail_started:
	gh__scheduler_free(engine->scheduler);
	pthread_mutex_destroy(&engine->mutex);
	pthread_cond_destroy(&engine->wake);
fail:
	gh__free(engine);
	return status;
}

void gh_engine_free(gh_engine *engine)
{
	if (!engine)
		return;
	pthread_mutex_lock(&engine->mutex);
	engine->closing = true;
	pthread_cond_signal(&engine->wake);
	pthread_mutex_unlock(&engine->mutex);
	pthread_join(engine->thread, NULL);
	gh__scheduler_free(engine->scheduler);
	pthread_mutex_destroy(&engine->mutex);
	pthread_cond_destroy(&engine->wake);
	engine->runner.table->free(engine->runner.self);
	gh__free(engine);
}

/* ---- from any thread ---- */

/* Where unseeded requests get their seed: the engine's own and a counter, mixed well. */
static uint64_t derive_seed(uint64_t seed, uint64_t counter)
{
	uint64_t x = seed + counter * UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
	return x ^ (x >> 31);
}

static gh_status hand_over(gh_engine *engine, gh__request *request, gh_error *error)
{
	if (engine->failure.status != GH_OK)
		return gh__fail(error, GH_ECLOSED, "the engine has failed: %s",
				engine->failure.text);
	if (engine->closing)
		return gh__fail(error, GH_ECLOSED, "the engine is closing");
	if (atomic_load(&engine->counters.queued) >= engine->options.queue_max)
		return gh__fail(error, GH_EBUSY, "the queue is full: %d requests wait",
				engine->options.queue_max);
	request->id = ++engine->last_id;
	if (!(request->sampling.flags & GH_SAMPLING_SEED) &&
	    engine->options.flags & GH_ENGINE_SEEDED)
		request->sampling.seed = derive_seed(engine->options.seed, request->id);
	gh__request **bucket = &engine->bucket[request->id % BUCKETS];
	request->alike = *bucket;
	*bucket = request;
	*engine->arrived_end = request;
	engine->arrived_end = &request->next;
	atomic_fetch_add(&engine->counters.queued, 1);
	atomic_fetch_add(&engine->counters.open, request->sampling.n);
	pthread_cond_signal(&engine->wake);
	return GH_OK;
}

gh_status gh_engine_submit(gh_engine *engine, const int32_t *prompt, size_t prompt_count,
			   const gh_sampling *sampling, gh_token_fn *fn, void *userdata,
			   uint64_t *id, gh_error *error)
{
	gh__request *request = NULL;

	if (!fn)
		return gh__fail(error, GH_EINVAL, "fn: NULL is not a function");
	gh_status status =
		gh__request_create(&request, prompt, prompt_count, sampling, engine->info.vocab,
				   engine->options.max_length, gh__random_u64(), error);
	if (status != GH_OK)
		return status;
	request->fn = fn;
	request->userdata = userdata;
	request->times.arrived = gh__now();
	pthread_mutex_lock(&engine->mutex);
	status = hand_over(engine, request, error);
	if (status == GH_OK && id)
		*id = request->id;
	pthread_mutex_unlock(&engine->mutex);
	if (status != GH_OK)
		gh__request_free(request);
	return status;
}

void gh_engine_abort(gh_engine *engine, uint64_t id)
{
	pthread_mutex_lock(&engine->mutex);
	gh__request *request = *find_request(engine, id);
	if (request && !request->aborting) {
		request->aborting = true;
		request->next_abort = engine->aborted;
		engine->aborted = request;
		pthread_cond_signal(&engine->wake);
	}
	pthread_mutex_unlock(&engine->mutex);
}

void gh_engine_stats_get(const gh_engine *engine, gh_engine_stats *out)
{
	const gh__counters *c = &engine->counters;
	int32_t open = atomic_load_explicit(&c->open, memory_order_relaxed);

	memset(out, 0, sizeof *out);
	out->running = atomic_load_explicit(&c->running, memory_order_relaxed);
	out->waiting = open > out->running ? open - out->running : 0;
	out->kv_blocks = engine->options.kv_blocks;
	out->kv_blocks_used = atomic_load_explicit(&c->blocks_used, memory_order_relaxed);
	out->steps = atomic_load_explicit(&c->steps, memory_order_relaxed);
	out->prompt_tokens = atomic_load_explicit(&c->prompt_tokens, memory_order_relaxed);
	out->output_tokens = atomic_load_explicit(&c->output_tokens, memory_order_relaxed);
	out->cached_tokens = atomic_load_explicit(&c->cached_tokens, memory_order_relaxed);
	out->preemptions = atomic_load_explicit(&c->preemptions, memory_order_relaxed);
	out->max_length = engine->options.max_length;
	out->failed = atomic_load(&engine->failed);
}
