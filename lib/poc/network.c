#include <math.h>
#include <string.h>

#include "base/alloc.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "model/rank.h"
#include "poc/ceiling.h"
#include "poc/distance.h"
#include "poc/drawing.h"
#include "poc/measure.h"
#include "poc/normals.h"
#include "poc/plan.h"
#include "poc/seed.h"

/*
 * A round's network: the weights that the block hash fixes, the model's own forward over them, and
 * distances of nonces from the target.
 */
struct gh_poc {
	gh__poc_request request; /* block_hash is below */
	char *block_hash;
	gh__poc_plan plan;
	gh__normal_tables tables;
	gh__device *device;      /* holds the pool; NULL: the host does */
	gh__poc_drawing drawing; /* there */
	uint16_t *drawn;         /* the pool on the host */
	gh__poc_pool pool;
	double pool_seconds; /* that drawing it took */
	double *target;      /* [vocab_size] */
	gh_model *model;
	gh__runner runner;
	atomic_bool interrupted;

	/* what was computed */
	_Atomic uint64_t nonces, hits, time; /* nanoseconds */

	/* of a batch */
	uint16_t *input;                /* [batch, seq_len, dim] f16; NULL: drawn on the device */
	uint16_t *logits[2];            /* [batch, vocab_size] f16; one is measured meanwhile */
	int32_t *position, *sequence;   /* [batch * seq_len] */
	int32_t *row_start, *logit_row; /* [batch + 1], [batch] */
	gh__measure measure;
};

/* More threads do not make distances faster: one takes a tenth of a millisecond. */
enum { MEASURE_THREADS = 16 };

/* ---- how far it is ---- */

/* Tells the caller how many weights are drawn, until there are no more; the caller may end it. */
typedef struct watch {
	gh_progress_fn *fn;
	void *userdata;
	uint64_t total;
	_Atomic uint64_t done;
	atomic_bool cancel;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool over;
} watch;

static void tell(void *arg)
{
	watch *w = arg;
	bool over = false;

	while (!over) {
		double part = (double)atomic_load(&w->done) / (double)w->total;

		if (w->fn(part < 1.0 ? part : 1.0, "weights", w->userdata) != 0)
			atomic_store(&w->cancel, true);
		pthread_mutex_lock(&w->lock);
		if (!w->over)
			gh__cond_wait_until(&w->changed, &w->lock,
					    gh__now() + 50 * GH__MILLISECOND);
		over = w->over;
		pthread_mutex_unlock(&w->lock);
	}
}

static gh_status watch_start(watch *w, gh_error *error)
{
	gh_status status = GH_OK;

	pthread_mutex_init(&w->lock, NULL);
	if (gh__cond_init(&w->changed) != GH_OK) {
		pthread_mutex_destroy(&w->lock);
		return gh__fail_nomem(error);
	}
	if (w->fn != NULL)
		status = gh__thread_start(&w->thread, "gh-poc-watch", tell, w, error);
	if (status != GH_OK)
		w->fn = NULL;
	return status;
}

static void watch_stop(watch *w)
{
	pthread_mutex_lock(&w->lock);
	w->over = true;
	pthread_cond_signal(&w->changed);
	pthread_mutex_unlock(&w->lock);
	if (w->fn != NULL)
		pthread_join(w->thread, NULL);
	pthread_cond_destroy(&w->changed);
	pthread_mutex_destroy(&w->lock);
}

/* ---- making a network ---- */

static gh_status draw_on_host(gh_poc *n, const gh__pcg64 *start, watch *w, gh_error *error)
{
	gh__normals normals = { .tables = &n->tables,
				.start = *start,
				.dtype = GH_F16,
				.count = n->request.shape.pool_size,
				.deviation = GH__POC_DEVIATION,
				.threads = (unsigned)n->request.machine.threads,
				.cancel = &w->cancel,
				.done = &w->done };

	n->drawn = gh__malloc(n->request.shape.pool_size * sizeof *n->drawn);
	if (n->drawn == NULL)
		return gh__fail(error, GH_ENOMEM, "pool: %lld bytes are not there",
				(long long)n->plan.pool);
	normals.out = n->drawn;
	n->pool.numbers = n->drawn;
	return gh__normals_fill(&normals, NULL, error);
}

static gh_status draw_on_device(gh_poc *n, const gh__pcg64 *start, watch *w, gh_error *error)
{
	gh_status status = gh__device_open(&n->device, &n->request.device, error);

	if (status == GH_OK)
		status = gh__poc_drawing_open(&n->drawing, n->device, &n->request.shape, &n->tables,
					      n->plan.batch, error);
	if (status == GH_OK)
		status = gh__poc_draw_pool(&n->drawing, start, error);
	n->pool.numbers = n->drawing.pool;
	n->pool.on_device = true;
	atomic_store(&w->done, n->request.shape.pool_size);
	return status;
}

static gh_status make_pool(gh_poc *n, watch *w, gh_error *error)
{
	gh__pcg64 start;
	gh_status status = gh__poc_seed_pool(&start, n->block_hash, error);
	int64_t began = gh__now();

	if (status != GH_OK)
		return status;
	n->pool.size = n->request.shape.pool_size;
	status = n->plan.draws ? draw_on_device(n, &start, w, error)
			       : draw_on_host(n, &start, w, error);
	n->pool_seconds = (double)(gh__now() - began) * 1e-9;
	return status;
}

static gh_status make_model(gh_poc *n, gh_error *error)
{
	gh__staged_options weights = { .block_hash = n->block_hash,
				       .params = &n->request.params,
				       .pool = n->pool,
				       .slots = n->plan.slots };
	const gh__runner_options options = gh__poc_runner_options(&n->request.params, &n->plan);
	gh_status status = gh__poc_assemble(&n->model, &n->request, &weights, error);

	return status == GH_OK ? gh__model_runner(&n->runner, n->model, &options, error) : status;
}

/* What all batches have in common. */
static gh_status make_batch(gh_poc *n, gh_error *error)
{
	size_t batch = (size_t)n->plan.batch, vocab = (size_t)n->request.params.vocab_size;
	size_t length = (size_t)n->request.params.seq_len, rows = batch * length;
	gh_status status;

	if (!n->plan.draws)
		n->input =
			gh__calloc(batch, (size_t)n->request.shape.input_size * sizeof *n->input);
	n->logits[0] = gh__calloc(batch, vocab * sizeof *n->logits[0]);
	n->logits[1] = gh__calloc(batch, vocab * sizeof *n->logits[1]);
	n->position = gh__calloc(rows, sizeof *n->position);
	n->sequence = gh__calloc(rows, sizeof *n->sequence);
	n->row_start = gh__calloc(batch + 1, sizeof *n->row_start);
	n->logit_row = gh__calloc(batch, sizeof *n->logit_row);
	n->target = gh__calloc(vocab, sizeof *n->target);
	if ((!n->input && !n->plan.draws) || !n->logits[0] || !n->logits[1] || !n->position ||
	    !n->sequence || !n->row_start || !n->logit_row || !n->target)
		return gh__fail_nomem(error);
	for (size_t i = 0; i < rows; i++) {
		n->position[i] = (int32_t)(i % length);
		n->sequence[i] = (int32_t)(i / length);
	}
	for (size_t i = 0; i < batch; i++) {
		n->row_start[i + 1] = (int32_t)((i + 1) * length);
		n->logit_row[i] = n->row_start[i + 1] - 1;
	}
	status = gh__measure_make(&n->measure, n->block_hash, n->target, (uint32_t)vocab,
				  n->request.machine.threads < MEASURE_THREADS
					  ? n->request.machine.threads
					  : MEASURE_THREADS,
				  error);
	if (status != GH_OK)
		return status;
	return gh__poc_target(n->target, (uint32_t)vocab, &n->tables, n->block_hash, error);
}

static gh_status make(gh_poc *n, watch *w, gh_error *error)
{
	gh_status status = gh__poc_plan_make(&n->plan, &n->request, error);

	if (status == GH_OK)
		status = gh__normal_tables_make(&n->tables, error);
	if (status == GH_OK)
		status = make_pool(n, w, error);
	if (status == GH_OK)
		status = make_model(n, error);
	if (status == GH_OK)
		status = make_batch(n, error);
	if (status == GH_OK && atomic_load(&w->cancel))
		status = gh__fail(error, GH_ECANCELLED, "cancelled by progress");
	return status;
}

gh_status gh_poc_create(gh_poc **out, const gh_poc_options *options, gh_error *error)
{
	gh__poc_request request;
	watch w = { 0 };
	gh_poc *n;
	gh_status status = gh__poc_request_read(&request, options, error);

	if (status != GH_OK)
		return status;
	n = gh__calloc(1, sizeof *n);
	if (n == NULL)
		return gh__fail_nomem(error);
	n->request = request;
	n->block_hash = gh__strdup(request.block_hash);
	n->request.block_hash = n->block_hash;
	n->request.device.kind = n->request.machine.kind;
	w.fn = options->progress;
	w.userdata = options->userdata;
	w.total = request.shape.pool_size;
	status = n->block_hash ? watch_start(&w, error) : gh__fail_nomem(error);
	if (status == GH_OK) {
		status = make(n, &w, error);
		watch_stop(&w);
	}
	if (status != GH_OK) {
		gh_poc_free(n);
		return status;
	}
	*out = n;
	return GH_OK;
}

void gh_poc_free(gh_poc *n)
{
	if (n == NULL)
		return;
	if (n->runner.table != NULL)
		n->runner.table->free(n->runner.self);
	gh_model_free(n->model);
	gh__poc_drawing_close(&n->drawing);
	gh__device_close(n->device);
	gh__measure_free(&n->measure);
	gh__free(n->drawn);
	gh__free(n->target);
	gh__free(n->input);
	gh__free(n->logits[0]);
	gh__free(n->logits[1]);
	gh__free(n->position);
	gh__free(n->sequence);
	gh__free(n->row_start);
	gh__free(n->logit_row);
	gh__free(n->block_hash);
	gh__free(n);
}

void gh_poc_info_get(const gh_poc *poc, gh_poc_info *out)
{
	gh__poc_info(out, &poc->request, &poc->plan);
	out->pool_seconds = poc->pool_seconds;
}

void gh_poc_interrupt(gh_poc *poc, int interrupted)
{
	atomic_store(&poc->interrupted, interrupted != 0);
	gh__runner_interrupt(&poc->runner, interrupted != 0);
}

/* ---- distances ---- */

static gh_status draw_input(gh_poc *n, const gh__pcg64 *start, uint16_t *out, gh_error *error)
{
	gh__normals normals = { .tables = &n->tables,
				.start = *start,
				.dtype = GH_F16,
				.out = out,
				.count = n->request.shape.input_size,
				.threads = (unsigned)n->request.machine.threads,
				.cancel = &n->interrupted };

	return gh__normals_fill(&normals, NULL, error);
}

/* Inputs of a batch, on the host or where the forward begins. */
static gh_status make_inputs(gh_poc *n, const char *public_key, const uint64_t *nonces,
			     size_t count, const void **input, gh_error *error)
{
	const gh__rank *rank = gh__runner_rank(&n->runner, 0);
	gh_status status = GH_OK;

	for (size_t i = 0; i < count && status == GH_OK; i++) {
		gh__pcg64 start;

		status = gh__poc_seed_input(&start, n->block_hash, public_key, nonces[i], error);
		if (status == GH_OK && n->plan.draws)
			n->drawing.starts[i] = gh__poc_stream_of(&start);
		else if (status == GH_OK)
			status = draw_input(n, &start,
					    n->input + i * (size_t)n->request.shape.input_size,
					    error);
	}
	*input = n->plan.draws ? rank->buf.residual : n->input;
	if (status == GH_OK && n->plan.draws)
		status = gh__poc_draw_inputs(&n->drawing, rank->device, (int32_t)count,
					     rank->buf.residual, error);
	return status;
}

static gh_status run_batch(gh_poc *n, const char *public_key, const uint64_t *nonces, size_t count,
			   uint16_t *logits, gh_error *error)
{
	gh__step step = { .tokens = (int32_t)count * (int32_t)n->request.params.seq_len,
			  .sequences = (int32_t)count,
			  .logit_rows = (int32_t)count,
			  .position = n->position,
			  .sequence = n->sequence,
			  .row_start = n->row_start,
			  .logit_row = n->logit_row };
	const void *input;
	gh_status status = make_inputs(n, public_key, nonces, count, &input, error);

	if (status != GH_OK)
		return status;
	return gh__runner_logits(&n->runner, &step, input, logits, error);
}

static void note(gh_poc *n, const double *dist, size_t count, int64_t time)
{
	uint64_t hits = 0;

	for (size_t i = 0; i < count; i++)
		hits += dist[i] < n->request.r_target;
	atomic_fetch_add(&n->nonces, count);
	atomic_fetch_add(&n->hits, hits);
	atomic_fetch_add(&n->time, (uint64_t)time);
}

/* What is under way of a batch whose logits are there. */
typedef struct measuring {
	const double *dist;
	size_t count; /* 0: nothing */
	int64_t began;
} measuring;

static gh_status end_measuring(gh_poc *n, measuring *m, gh_error *error)
{
	int64_t now = gh__now();
	gh_status status = m->count > 0 ? gh__measure_end(&n->measure, error) : GH_OK;

	if (m->count > 0 && status == GH_OK)
		note(n, m->dist, m->count, now - m->began);
	*m = (measuring){ .began = now };
	return status;
}

/* A batch is measured while the next one is computed. */
gh_status gh_poc_distances(gh_poc *poc, const char *public_key, const uint64_t *nonces,
			   size_t count, double *dist, gh_error *error)
{
	size_t batch = (size_t)poc->plan.batch, some;
	measuring last = { .began = gh__now() };
	gh_status status = GH_OK, measured;
	int which = 0;

	for (size_t at = 0; at < count && status == GH_OK; at += some, which = !which) {
		uint16_t *logits = poc->logits[which];

		some = count - at < batch ? count - at : batch;
		status = run_batch(poc, public_key, nonces + at, some, logits, error);
		measured = end_measuring(poc, &last, status == GH_OK ? error : NULL);
		status = status == GH_OK ? measured : status;
		if (status != GH_OK)
			return status;
		gh__measure_begin(&poc->measure, public_key, nonces + at, some, logits, dist + at);
		last.dist = dist + at;
		last.count = some;
	}
	return end_measuring(poc, &last, error);
}

void gh_poc_stats_get(const gh_poc *poc, gh_poc_stats *out)
{
	gh_poc_info info;

	*out = (gh_poc_stats){ .nonces = atomic_load(&poc->nonces),
			       .hits = atomic_load(&poc->hits),
			       .seconds = (double)atomic_load(&poc->time) / (double)GH__SECOND };
	if (out->nonces == 0 || out->seconds <= 0)
		return;
	gh_poc_info_get(poc, &info);
	out->nonces_per_second = (double)out->nonces / out->seconds;
	out->hit_rate = (double)out->hits / (double)out->nonces;
	out->flops_per_second = out->nonces_per_second * info.flops;
}

gh_status gh_poc_validate(gh_poc *poc, gh_poc_verdict *out, const char *public_key,
			  const uint64_t *nonces, const double *claimed, size_t count,
			  double r_target, double fraud_threshold, double *computed,
			  gh_error *error)
{
	double *mine = computed ? NULL : gh__calloc(count + 1, sizeof *mine);
	double *dist = computed ? computed : mine;
	gh_status status = dist ? gh_poc_distances(poc, public_key, nonces, count, dist, error)
				: gh__fail_nomem(error);

	if (status == GH_OK)
		status = gh_poc_judge(out, claimed, dist, count, r_target, fraud_threshold, error);
	gh__free(mine);
	return status;
}

gh_status gh_poc_ceiling(gh_poc *poc, double *flops_per_second, gh_error *error)
{
	return gh__poc_ceiling(flops_per_second, &poc->runner, &poc->pool, error);
}
