#include <float.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "device/quantise.h"
#include "model/rank.h"

/*
 * The forward: one for all models and layouts. Each line of a layer is an operation or a
 * collective; what differs between models is in the descriptors and in which weights are there.
 */
typedef struct pass {
	gh__rank *rank;
	const gh__step *step;        /* on the host */
	const gh__step *device_step; /* on the device */
	gh__step view;               /* a host copy of *device_step */
	int64_t rows;
	void *residual; /* [rows, hidden]; once the rows are chosen, last_residual */
	void *heads;    /* [rows, the rank's heads]; likewise last_heads */
	bool chosen;    /* the rows are those whose logits are wanted */
	int64_t hidden;
	size_t element; /* of an activation */
	gh_error *error;
	gh_status status; /* the first failure; later operations do nothing */
} pass;

static void run(pass *p, const gh__kernel *kernel, const gh__op_args *args)
{
	if (p->status == GH_OK)
		p->status = gh__device_run(p->rank->device, kernel, args, p->error);
}

/* ---- operations ---- */

static void embed(pass *p, const void *input)
{
	gh__rank *r = p->rank;
	gh__device *device = r->device;

	if (r->kernels.embed == NULL) {
		if (p->status == GH_OK && input != r->buf.residual)
			p->status =
				device->table->upload(device->self, r->buf.residual, input,
						      (size_t)(p->rows * p->hidden) * p->element,
						      device->stream, p->error);
		return;
	}
	run(p, r->kernels.embed,
	    &(gh__op_args){ .embed = { .table = r->ends.embed,
				       .first = r->plan->vocab.first,
				       .rows = r->plan->vocab.count,
				       .id = p->view.token,
				       .y = r->buf.residual,
				       .m = p->rows } });
	if (p->status == GH_OK)
		p->status = gh__comm_merge(r->stage, r->buf.residual,
					   (size_t)(p->rows * p->hidden) * p->element, p->error);
}

/* y = norm(residual), or residual += x and then the same. */
static void norm(pass *p, const void *x, void *residual, const void *weight, void *y, int64_t rows)
{
	const gh__kernels *k = &p->rank->kernels;

	run(p, x != NULL ? k->residual_norm : k->norm,
	    &(gh__op_args){ .norm = { .x = x != NULL ? x : residual,
				      .x_stride = p->hidden,
				      .groups = 1,
				      .residual = x != NULL ? residual : NULL,
				      .weight = weight,
				      .y = y,
				      .y_stride = p->hidden,
				      .m = rows } });
}

static void linear(pass *p, const gh__kernel *kernel, const void *x, int64_t x_stride,
		   const gh__matrix *w, const void *bias, void *y, int64_t y_stride, int64_t rows)
{
	run(p, kernel,
	    &(gh__op_args){ .linear = { .x = x,
					.x_stride = x_stride,
					.w = w->data,
					.w_scale = w->scale,
					.bias = bias,
					.y = y,
					.y_stride = y_stride,
					.workspace = p->rank->buf.workspace,
					.m = rows } });
}

static int64_t qkv_width(const gh__rank *r)
{
	return (r->plan->heads.count + 2 * r->plan->kv_heads.count) * r->model->desc.shape.head_dim;
}

/* Each head of q, then each of k, is a vector of its own. */
static void head_norms(pass *p, const gh__layer_weights *w)
{
	gh__rank *r = p->rank;
	int64_t heads = r->plan->heads.count, width = qkv_width(r);
	char *k = (char *)r->buf.qkv + (size_t)(heads * r->model->desc.shape.head_dim) * p->element;
	gh__op_args args = { .norm = { .x = r->buf.qkv,
				       .x_stride = width,
				       .groups = heads,
				       .weight = w->q_norm,
				       .y = r->buf.qkv,
				       .y_stride = width,
				       .m = p->rows } };

	if (r->kernels.head_norm == NULL)
		return;
	run(p, r->kernels.head_norm, &args);
	args.norm.x = args.norm.y = k;
	args.norm.groups = r->plan->kv_heads.count;
	args.norm.weight = w->k_norm;
	run(p, r->kernels.head_norm, &args);
}

static void attend(pass *p, const gh__layer_weights *w, void *cache)
{
	gh__rank *r = p->rank;
	int64_t width = qkv_width(r);

	run(p, r->kernels.rope,
	    &(gh__op_args){ .rope = { .qkv = r->buf.qkv,
				      .qkv_stride = width,
				      .table = r->buf.rope,
				      .position = p->view.position,
				      .slot = p->view.slot,
				      .cache = cache,
				      .k_scale = w->k_scale,
				      .v_scale = w->v_scale,
				      .m = p->rows } });
	run(p, r->kernels.attention,
	    &(gh__op_args){
		    .attention = { .qkv = r->buf.qkv,
				   .qkv_stride = width,
				   .cache = cache,
				   .k_scale = w->k_scale,
				   .v_scale = w->v_scale,
				   .step = p->device_step,
				   .host = &p->view,
				   .y = p->heads,
				   .y_stride = r->plan->heads.count * r->model->desc.shape.head_dim,
				   .workspace = r->buf.workspace } });
}

static void gate_up(pass *p, const gh__layer_weights *w)
{
	gh__rank *r = p->rank;
	int64_t n = r->plan->intermediate.count;
	bool fused = r->kernels.glu == NULL;

	linear(p, r->kernels.gate_up, r->buf.normed, p->hidden, &w->gate_up, NULL,
	       fused ? r->buf.inner : r->buf.gate_up, fused ? n : 2 * n, p->rows);
	if (!fused)
		run(p, r->kernels.glu,
		    &(gh__op_args){ .glu = { .gate_up = r->buf.gate_up,
					     .stride = 2 * n,
					     .y = r->buf.inner,
					     .y_stride = n,
					     .m = p->rows } });
}

/* The rank's columns of a matrix to all ranks of the stage; with one rank, nothing. */
static void gather(pass *p, const void *part, int64_t first, int64_t columns, void *all,
		   int64_t total, int64_t rows, size_t element)
{
	if (p->status == GH_OK && part != all)
		p->status = gh__comm_gather_columns(p->rank->stage, part, columns, first, columns,
						    all, total, rows, total, element, p->error);
}

/* ---- a layer ---- */

static void choose(pass *p, const gh__kernel *kernel, const void *x, int64_t stride, void *y,
		   int32_t first, int32_t rows)
{
	run(p, kernel,
	    &(gh__op_args){ .select = { .x = x,
					.x_stride = stride,
					.row = p->view.logit_row + first,
					.y = y,
					.m = rows } });
}

/* In the last layer, what follows attention is for the rows whose logits are wanted. */
static void choose_rows(pass *p)
{
	gh__rank *r = p->rank;
	int32_t rows = p->step->logit_rows;

	choose(p, r->kernels.select, p->residual, p->hidden, r->buf.last_residual, 0, rows);
	choose(p, r->kernels.select_heads, p->heads,
	       r->plan->heads.count * r->model->desc.shape.head_dim, r->buf.last_heads, 0, rows);
	p->residual = r->buf.last_residual;
	p->heads = r->buf.last_heads;
	p->rows = rows;
	p->chosen = true;
}

static void layer(pass *p, const gh__layer_weights *w, void *cache, bool first, bool last)
{
	gh__rank *r = p->rank;
	const gh__buffers *b = &r->buf;
	const gh_plan *plan = r->plan;
	int64_t d = r->model->desc.shape.head_dim, q = r->model->desc.shape.heads * d;
	int64_t inner = r->model->desc.shape.intermediate;
	void *all_heads;

	norm(p, first ? NULL : b->hidden, p->residual, w->input_norm, b->normed, p->rows);
	linear(p, r->kernels.qkv, b->normed, p->hidden, &w->qkv, w->qkv_bias, b->qkv, qkv_width(r),
	       p->rows);
	head_norms(p, w);
	attend(p, w, cache);
	if (last)
		choose_rows(p);
	if (p->rows == 0)
		return;
	all_heads = plan->tensor_parallel > 1 ? b->all_heads : p->heads;
	gather(p, p->heads, plan->heads.first * d, plan->heads.count * d, all_heads, q, p->rows,
	       p->element);
	linear(p, r->kernels.o, all_heads, q, &w->o, NULL, b->part, plan->hidden.count, p->rows);
	gather(p, b->part, plan->hidden.first, plan->hidden.count, b->hidden, p->hidden, p->rows,
	       p->element);
	norm(p, b->hidden, p->residual, w->post_norm, b->normed, p->rows);
	gate_up(p, w);
	gather(p, b->inner, plan->intermediate.first, plan->intermediate.count, b->all_inner, inner,
	       p->rows, p->element);
	linear(p, r->kernels.down, b->all_inner, inner, &w->down, NULL, b->part, plan->hidden.count,
	       p->rows);
	gather(p, b->part, plan->hidden.first, plan->hidden.count, b->hidden, p->hidden, p->rows,
	       p->element);
}

/* ---- from the last layer to tokens ---- */

static bool finite_row(pass *p, const void *row, gh_dtype dtype, int64_t count)
{
	gh__rank *r = p->rank;
	gh__device *device = r->device;

	if (p->status == GH_OK)
		p->status = device->table->download(device->self, r->row, row,
						    (size_t)count * gh_dtype_size(dtype),
						    device->stream, p->error);
	if (p->status == GH_OK)
		p->status = device->table->synchronise(device->self, device->stream, p->error);
	return p->status != GH_OK || gh__absmax(r->row, dtype, (size_t)count) <= FLT_MAX;
}

/* A token of -1 may also mean that nothing was allowed; only a NaN is worth a search. */
static void note_bad_rows(pass *p, const gh__sample_row *samples, const gh__sample_result *results,
			  int64_t count, int32_t first)
{
	gh__rank *r = p->rank;
	gh_dtype dtype = r->model->numerics.logits;
	int64_t vocab = r->model->desc.shape.vocab;

	for (int64_t i = 0; i < count; i++) {
		const char *row = (const char *)r->buf.all_logits +
				  (size_t)(samples[i].row * vocab) * gh_dtype_size(dtype);

		if (results[i].token < 0 && r->bad_count < r->limits.step_tokens &&
		    !finite_row(p, row, dtype, vocab))
			r->bad_rows[r->bad_count++] = p->step->logit_row[first + samples[i].row];
	}
}

static void sample(pass *p, const gh__sample_row *samples, gh__sample_result *results,
		   int64_t count, int32_t first)
{
	gh__rank *r = p->rank;

	run(p, r->kernels.sample,
	    &(gh__op_args){ .sample = { .logits = r->buf.all_logits,
					.stride = r->model->desc.shape.vocab,
					.row = samples,
					.result = results,
					.m = count } });
	if (p->status == GH_OK)
		p->status =
			r->device->table->synchronise(r->device->self, r->device->stream, p->error);
	if (p->status == GH_OK)
		note_bad_rows(p, samples, results, count, first);
}

/* Those of the job's samples that want logit rows [first, first + rows). */
static void sample_rows(pass *p, const gh__job *job, int32_t first, int32_t rows)
{
	enum { BATCH = 32 };
	gh__sample_row some[BATCH] = { 0 };
	gh__sample_result results[BATCH] = { 0 };
	int32_t from[BATCH];
	int32_t count = 0;

	if (rows == job->step->logit_rows) {
		sample(p, job->samples, job->results, job->sample_count, 0);
		return;
	}
	for (int32_t i = 0; i < job->sample_count; i++) {
		bool mine = job->samples[i].row >= first && job->samples[i].row < first + rows;

		if (mine) {
			some[count] = job->samples[i];
			some[count].row -= first;
			from[count++] = i;
		}
		if (count == BATCH || (i == job->sample_count - 1 && count > 0)) {
			sample(p, some, results, count, first);
			for (int32_t j = 0; j < count; j++)
				job->results[from[j]] = results[j];
			count = 0;
		}
	}
}

static void fetch_logits(pass *p, void *logits, int32_t first, int32_t rows)
{
	gh__device *device = p->rank->device;
	size_t row = (size_t)p->rank->model->desc.shape.vocab *
		     gh_dtype_size(p->rank->model->numerics.logits);

	p->status = device->table->download(device->self, (char *)logits + (size_t)first * row,
					    p->rank->buf.all_logits, (size_t)rows * row,
					    device->stream, p->error);
	if (p->status == GH_OK)
		p->status = device->table->synchronise(device->self, device->stream, p->error);
}

/* Rows [first, first + rows) of those whose logits are wanted, normalised. */
static void last_norm(pass *p, int32_t first, int32_t rows)
{
	gh__rank *r = p->rank;
	const gh__buffers *b = &r->buf;
	size_t row = (size_t)p->hidden * p->element;
	const char *hidden = b->last_hidden;
	char *residual = b->last_residual;

	if (p->chosen) {
		hidden = (const char *)b->hidden + (size_t)first * row;
		residual += (size_t)first * row;
	} else {
		choose(p, r->kernels.select, p->residual, p->hidden, b->last_residual, first, rows);
		choose(p, r->kernels.select, b->hidden, p->hidden, b->last_hidden, first, rows);
	}
	norm(p, hidden, residual, r->ends.norm, b->last_normed, rows);
}

/* Only rows whose logits are wanted go through the last norm and the head. */
static void head(pass *p, const gh__job *job)
{
	gh__rank *r = p->rank;
	const gh__buffers *b = &r->buf;
	const gh_plan *plan = r->plan;
	int64_t vocab = r->model->desc.shape.vocab;
	int32_t all = job->step->logit_rows;
	bool collects = plan->tensor_rank == 0;

	for (int32_t first = 0; first < all; first += GH__LOGIT_ROWS) {
		int32_t rows = all - first < GH__LOGIT_ROWS ? all - first : GH__LOGIT_ROWS;

		last_norm(p, first, rows);
		linear(p, r->kernels.head, b->last_normed, p->hidden, &r->ends.head, NULL,
		       b->logits, plan->vocab.count, rows);
		gather(p, b->logits, plan->vocab.first, plan->vocab.count,
		       collects ? b->all_logits : NULL, vocab, rows,
		       gh_dtype_size(r->model->numerics.logits));
		if (collects && p->status == GH_OK && job->logits != NULL)
			fetch_logits(p, job->logits, first, rows);
		else if (collects && p->status == GH_OK)
			sample_rows(p, job, first, rows);
	}
}

/* ---- which layer went wrong ---- */

/* Rows are reported once, by the stage where they leave the finite numbers. added: hidden, too,
 * holds numbers of this step. */
static void look(pass *p, int32_t *suspects, int32_t *count, const char *where, int32_t number,
		 bool added, bool tell)
{
	gh__rank *r = p->rank;
	gh_dtype act = r->model->numerics.act;
	int32_t left = 0;

	for (int32_t i = 0; i < *count; i++) {
		size_t at = (size_t)(suspects[i] * p->hidden) * p->element;
		bool finite = finite_row(p, (char *)r->buf.residual + at, act, p->hidden) &&
			      (!added || finite_row(p, (char *)r->buf.hidden + at, act, p->hidden));

		if (finite)
			suspects[left++] = suspects[i];
		else if (tell)
			gh__error("model",
				  "not a finite number after %s %d, position %d; numerics %s",
				  where, number, p->step->position[suspects[i]],
				  r->model->numerics.name);
	}
	*count = left;
}

/* ---- the step ---- */

/* One array of the step, if it has that, into the staging memory; answers where it will lie on the
 * device. */
static const void *stage_array(gh__rank *r, size_t *at, const void *data, size_t size)
{
	size_t begin = (*at + 7) / 8 * 8;

	if (data == NULL)
		return NULL;
	if (size > 0)
		memcpy(r->staging + begin, data, size);
	*at = begin + size;
	return (char *)r->buf.step + begin;
}

size_t gh__rank_step_size(const gh__runner_options *limits)
{
	size_t tokens = (size_t)limits->step_tokens, sequences = (size_t)limits->step_sequences;
	size_t blocks = ((size_t)limits->max_length + GH__KV_BLOCK - 1) / GH__KV_BLOCK;

	return sizeof(gh__step) + tokens * (4 * sizeof(int32_t) + sizeof(int64_t)) +
	       (sequences + 1 + sequences * blocks) * sizeof(int32_t) + 8 * sizeof(int64_t);
}

static void upload_step(pass *p)
{
	gh__rank *r = p->rank;
	const gh__step *s = p->step;
	size_t at = sizeof(gh__step), tokens = (size_t)s->tokens;
	size_t sequences = (size_t)s->sequences;

	p->view = *s;
	p->view.token = stage_array(r, &at, s->token, tokens * sizeof(int32_t));
	p->view.position = stage_array(r, &at, s->position, tokens * sizeof(int32_t));
	p->view.slot = stage_array(r, &at, s->slot, tokens * sizeof(int64_t));
	p->view.sequence = stage_array(r, &at, s->sequence, tokens * sizeof(int32_t));
	p->view.row_start = stage_array(r, &at, s->row_start, (sequences + 1) * sizeof(int32_t));
	p->view.block_table = stage_array(r, &at, s->block_table,
					  sequences * (size_t)s->blocks_max * sizeof(int32_t));
	p->view.logit_row =
		stage_array(r, &at, s->logit_row, (size_t)s->logit_rows * sizeof(int32_t));
	memcpy(r->staging, &p->view, sizeof p->view);
	p->device_step = r->buf.step;
	p->status = r->device->table->upload(r->device->self, r->buf.step, r->staging, at,
					     r->device->stream, p->error);
}

/* The residual stream and what is still to be added to it, from or to the neighbour stage. */
static void pass_on(pass *p, bool send)
{
	gh__rank *r = p->rank;
	size_t size = (size_t)(p->rows * p->hidden) * p->element;
	void *both[] = { r->buf.residual, r->buf.hidden };

	for (int i = 0; i < 2 && p->status == GH_OK; i++)
		p->status =
			send ? gh__comm_send(r->line, r->plan->stage + 1, both[i], size, p->error)
			     : gh__comm_recv(r->line, r->plan->stage - 1, both[i], size, p->error);
}

gh_status gh__forward(gh__rank *rank, const gh__job *job, gh_error *error)
{
	const gh_plan *plan = rank->plan;
	bool looks = job->suspect_count > 0 && plan->tensor_rank == 0;
	bool chooses = job->suspect_count == 0 && job->step->logit_rows <= GH__LOGIT_ROWS;
	int32_t suspects = job->suspect_count;
	int32_t last = rank->model->desc.shape.layers - 1;
	pass p = {
		.rank = rank,
		.step = job->step,
		.rows = job->step->tokens,
		.residual = rank->buf.residual,
		.heads = rank->buf.heads,
		.hidden = rank->model->desc.shape.hidden,
		.element = gh_dtype_size(rank->model->numerics.act),
		.error = error,
	};

	rank->bad_count = 0;
	upload_step(&p);
	if (plan->stage == 0)
		embed(&p, job->input);
	else
		pass_on(&p, false);
	if (looks) {
		memcpy(rank->bad_rows, job->suspects, (size_t)suspects * sizeof *job->suspects);
		look(&p, rank->bad_rows, &suspects, "the embedding of stage", plan->stage,
		     plan->stage > 0, plan->stage == 0);
	}
	for (int64_t i = 0; i < plan->layers.count && p.status == GH_OK; i++) {
		int32_t number = (int32_t)(plan->layers.first + i);
		gh__layer_weights w;

		p.status = rank->weights->table->layer(rank->weights->self, rank->device, number,
						       &w, error);
		if (p.status == GH_OK)
			layer(&p, &w, rank->cache[i], number == 0, chooses && number == last);
		if (looks)
			look(&p, rank->bad_rows, &suspects, "layer", number, true, true);
	}
	if (plan->stage < plan->pipeline_parallel - 1)
		pass_on(&p, true);
	else if (job->suspect_count == 0)
		head(&p, job);
	else if (looks)
		for (int32_t i = 0; i < suspects; i++)
			gh__error("model",
				  "not a finite number after the last layer, position %d; numerics "
				  "%s",
				  job->step->position[rank->bad_rows[i]],
				  rank->model->numerics.name);
	return p.status;
}

/* ---- memory ---- */

void gh__rank_lay_out(gh__rank *rank)
{
	const gh_plan_shape *s = &rank->model->desc.shape;
	const gh_plan *plan = rank->plan;
	gh__arena *arena = &rank->memory;
	gh__buffers *b = &rank->buf;
	size_t element = gh_dtype_size(rank->model->numerics.act);
	size_t row = (size_t)rank->limits.step_tokens * element; /* of one column */
	size_t last = GH__LOGIT_ROWS, logit = gh_dtype_size(rank->model->numerics.logits);
	size_t hidden = (size_t)s->hidden, q = (size_t)s->heads * (size_t)s->head_dim;
	bool split = plan->tensor_parallel > 1;

	if (rank->limits.step_tokens < GH__LOGIT_ROWS)
		last = (size_t)rank->limits.step_tokens;
	b->residual = gh__arena_take(arena, row * hidden);
	b->hidden = gh__arena_take(arena, row * hidden);
	b->normed = gh__arena_take(arena, row * hidden);
	b->part = split ? gh__arena_take(arena, row * (size_t)plan->hidden.count) : b->hidden;
	b->qkv = gh__arena_take(arena, row * (size_t)qkv_width(rank));
	b->all_heads = gh__arena_take(arena, row * q);
	b->heads =
		split ? gh__arena_take(arena, row * (size_t)plan->heads.count * (size_t)s->head_dim)
		      : b->all_heads;
	if (rank->kernels.glu != NULL)
		b->gate_up = gh__arena_take(arena, 2 * row * (size_t)plan->intermediate.count);
	b->all_inner = gh__arena_take(arena, row * (size_t)s->intermediate);
	b->inner = split ? gh__arena_take(arena, row * (size_t)plan->intermediate.count)
			 : b->all_inner;
	if (plan->stage == plan->pipeline_parallel - 1) {
		b->last_residual = gh__arena_take(arena, last * hidden * element);
		b->last_hidden = gh__arena_take(arena, last * hidden * element);
		b->last_heads = gh__arena_take(arena, last * (size_t)plan->heads.count *
							      (size_t)s->head_dim * element);
		b->last_normed = gh__arena_take(arena, last * hidden * element);
		b->logits = gh__arena_take(arena, last * logit * (size_t)plan->vocab.count);
		b->all_logits = !split ? b->logits
				: plan->tensor_rank == 0
					? gh__arena_take(arena, last * logit * (size_t)s->vocab)
					: NULL;
	}
	b->workspace = gh__arena_take(arena, gh__kernels_workspace(&rank->kernels,
								   rank->limits.step_tokens));
	b->rope = gh__arena_take(arena,
				 (size_t)rank->limits.max_length * (size_t)s->head_dim * element);
	b->step = gh__arena_take(arena, gh__rank_step_size(&rank->limits));
}
