#ifndef GH_TESTS_MODEL_SESSION_H
#define GH_TESTS_MODEL_SESSION_H

#include "unit.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "device/quantise.h"
#include "model/rank.h"

/*
 * A model, its runner, and sequences fed to it by hand: each sequence owns a run of KV blocks,
 * handed out from the end so that block tables are no identity.
 */
enum { SESSION_TOKENS = 96, SESSION_SEQUENCES = 8, SESSION_BLOCKS = 8 };

typedef struct session {
	gh_model *model;
	gh__runner runner;
	const gh__rank *last; /* where the logits are */
	int vocab;
} session;

static inline const char *checkpoint_folder(const char *name)
{
	static char path[512];

	snprintf(path, sizeof path, GH_TEST_DATA "/checkpoints/%s", name);
	return path;
}

static inline void session_open(session *s, const char *folder, const gh_model_options *options)
{
	gh__runner_options limits = {
		.step_tokens = SESSION_TOKENS,
		.step_sequences = SESSION_SEQUENCES,
		.kv_blocks = (int64_t)SESSION_BLOCKS * SESSION_SEQUENCES,
	};
	gh_model_info info;

	assert_ok(gh_model_create(&s->model, folder, options, error));
	gh_model_info_get(s->model, &info);
	limits.max_length = info.max_length < SESSION_BLOCKS * GH__KV_BLOCK
				    ? info.max_length
				    : SESSION_BLOCKS * GH__KV_BLOCK;
	assert_ok(gh__model_runner(&s->runner, s->model, &limits, error));
	s->last = gh__runner_rank(&s->runner, (info.pipeline_parallel - 1) * info.tensor_parallel);
	s->vocab = info.vocab;
}

static inline void session_close(session *s)
{
	s->runner.table->free(s->runner.self);
	gh_model_free(s->model);
}

/* New tokens of one sequence. */
typedef struct feed {
	int sequence; /* whose blocks */
	int first;    /* position of ids[0] */
	int count;
	const int32_t *ids;
} feed;

/* The last step's logits, widened. */
static inline void session_logits(const session *s, float *out, size_t count)
{
	gh__device *device = s->last->device;
	gh_dtype dtype = s->model->numerics.logits;
	void *narrow = gh__malloc(count * sizeof(float));

	ck_assert_ptr_nonnull(narrow);
	assert_ok(device->table->download(device->self, narrow, s->last->buf.all_logits,
					  count * gh_dtype_size(dtype), device->stream, error));
	assert_ok(device->table->synchronise(device->self, device->stream, error));
	gh__convert(out, GH_F32, narrow, dtype, count);
	gh__free(narrow);
}

/* One step of all feeds; logits [all rows, vocab] in f32 if not NULL; results [feeds] the greedy
 * token after each feed's last row, and the five most probable, if not NULL. */
static inline gh_status session_try(session *s, const feed *feeds, int count, float *logits,
				    gh__sample_result *results, gh_error *error)
{
	int32_t token[SESSION_TOKENS], position[SESSION_TOKENS], sequence[SESSION_TOKENS];
	int32_t logit_row[SESSION_TOKENS], row_start[SESSION_SEQUENCES + 1] = { 0 };
	int32_t table[SESSION_SEQUENCES * SESSION_BLOCKS];
	int64_t slot[SESSION_TOKENS];
	gh__sample_row rows[SESSION_SEQUENCES];
	int32_t n = 0;
	gh__step step = { .sequences = count,
			  .blocks_max = SESSION_BLOCKS,
			  .token = token,
			  .position = position,
			  .slot = slot,
			  .sequence = sequence,
			  .row_start = row_start,
			  .block_table = table,
			  .logit_row = logit_row };
	gh_status status;

	for (int i = 0; i < count; i++) {
		const feed *f = &feeds[i];

		for (int b = 0; b < SESSION_BLOCKS; b++)
			table[i * SESSION_BLOCKS + b] = (f->sequence + 1) * SESSION_BLOCKS - 1 - b;
		for (int j = 0; j < f->count; j++, n++) {
			int p = f->first + j;

			ck_assert_int_lt(n, SESSION_TOKENS);
			token[n] = f->ids[j];
			position[n] = p;
			slot[n] = (int64_t)table[i * SESSION_BLOCKS + p / GH__KV_BLOCK] *
					  GH__KV_BLOCK +
				  p % GH__KV_BLOCK;
			sequence[n] = i;
			logit_row[n] = n;
		}
		row_start[i + 1] = n;
		rows[i] = (gh__sample_row){ .row = n - 1,
					    .forced = -1,
					    .repetition = 1.0F,
					    .top_p = 1.0F,
					    .top = 5,
					    .logprobs = true };
	}
	step.tokens = step.logit_rows = n;
	if (s->model->info.max_length < SESSION_BLOCKS * GH__KV_BLOCK)
		step.blocks_max = (s->model->info.max_length + GH__KV_BLOCK - 1) / GH__KV_BLOCK;
	for (int i = 0; i < count; i++)
		memmove(&table[(size_t)i * (size_t)step.blocks_max],
			&table[(size_t)i * SESSION_BLOCKS],
			(size_t)step.blocks_max * sizeof *table);
	status = s->runner.table->step(s->runner.self, &step, rows, results,
				       results != NULL ? count : 0, error);
	if (status != GH_OK)
		return status;
	if (logits != NULL)
		session_logits(s, logits, (size_t)n * (size_t)s->vocab);
	return GH_OK;
}

static inline void session_step(session *s, const feed *feeds, int count, float *logits,
				gh__sample_result *results)
{
	assert_ok(session_try(s, feeds, count, logits, results, error));
}

/* One sequence in pieces of `piece` tokens; logits [count, vocab]. */
static inline void session_feed(session *s, int sequence, const int32_t *ids, int count, int piece,
				float *logits)
{
	for (int i = 0; i < count; i += piece) {
		int n = count - i < piece ? count - i : piece;
		feed f = { sequence, i, n, ids + i };

		session_step(s, &f, 1, logits + (size_t)i * (size_t)s->vocab, NULL);
	}
}

/* ---- what transformers answered ---- */

enum { EXPECTED_PROMPTS = 3, EXPECTED_GREEDY = 32 };

typedef struct expected_prompt {
	int32_t ids[SESSION_TOKENS]; /* the prompt, then greedy */
	int length;                  /* of the prompt */
	int row, rows;               /* of logits */
} expected_prompt;

typedef struct expected {
	int vocab;
	expected_prompt prompts[EXPECTED_PROMPTS];
	float *logits;
} expected;

static inline void expected_load(expected *e, const char *name)
{
	char path[600];
	json_t *tree, *list;
	FILE *file;
	int rows;

	snprintf(path, sizeof path, "%s/expected.json", checkpoint_folder(name));
	tree = json_load_file(path, 0, NULL);
	ck_assert_ptr_nonnull(tree);
	e->vocab = (int)json_integer_value(json_object_get(tree, "vocab"));
	rows = (int)json_integer_value(json_object_get(tree, "rows"));
	list = json_object_get(tree, "prompts");
	ck_assert_uint_eq(json_array_size(list), EXPECTED_PROMPTS);
	for (size_t i = 0; i < EXPECTED_PROMPTS; i++) {
		expected_prompt *p = &e->prompts[i];
		json_t *prompt = json_array_get(list, i), *ids = json_object_get(prompt, "ids");
		json_t *greedy = json_object_get(prompt, "greedy"), *id;
		size_t j;

		p->length = (int)json_array_size(ids);
		p->row = (int)json_integer_value(json_object_get(prompt, "row"));
		p->rows = (int)json_integer_value(json_object_get(prompt, "count"));
		ck_assert_int_le(p->length + EXPECTED_GREEDY, SESSION_TOKENS);
		ck_assert_uint_eq(json_array_size(greedy), EXPECTED_GREEDY);
		json_array_foreach(ids, j, id) p->ids[j] = (int32_t)json_integer_value(id);
		json_array_foreach(greedy, j, id) p->ids[p->length + (int)j] =
			(int32_t)json_integer_value(id);
	}
	json_decref(tree);
	e->logits = gh__malloc((size_t)rows * (size_t)e->vocab * sizeof *e->logits);
	snprintf(path, sizeof path, "%s/logits.f32", checkpoint_folder(name));
	file = fopen(path, "rb");
	ck_assert_ptr_nonnull(file);
	ck_assert_uint_eq(fread(e->logits, sizeof *e->logits, (size_t)rows * (size_t)e->vocab,
				file),
			  (size_t)rows * (size_t)e->vocab);
	fclose(file);
}

static inline void expected_free(expected *e)
{
	gh__free(e->logits);
}

#endif
