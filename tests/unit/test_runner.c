#include "model_session.h"

#include <math.h>

#include "base/error.h"
#include "folder.h"
#include "model_files.h"

/* ---- the runner ---- */

static gh_status runner_with(const session *s, gh__runner_options o, gh_error *error)
{
	gh__runner runner;
	gh_status status = gh__model_runner(&runner, s->model, &o, error);

	if (status == GH_OK)
		runner.table->free(runner.self);
	return status;
}

START_TEST(runner_options_are_checked)
{
	const gh__runner_options good = { .step_tokens = 8, .step_sequences = 2 };
	gh__runner_options o;
	gh__runner_info info;
	gh__runner runner;
	session s;

	session_open(&s, checkpoint_folder("qwen2-tied"), NULL);
	assert_ok(gh__model_runner(&runner, s.model, &good, error));
	runner.table->info(runner.self, &info);
	ck_assert_int_eq(info.vocab, 331);
	ck_assert_int_eq(info.max_length, 512);
	ck_assert_int_eq(info.block_size, 16);
	ck_assert_int_eq(info.kv_blocks, 64); /* two sequences of 512 */
	ck_assert_str_eq(info.numerics, "f16/1");
	runner.table->free(runner.self);
	o = good, o.max_length = 513;
	assert_fails(GH_EINVAL, "max_length: 513", runner_with(&s, o, error));
	o = good, o.max_length = -1;
	assert_fails(GH_EINVAL, "max_length: -1", runner_with(&s, o, error));
	o = good, o.step_tokens = 0;
	assert_fails(GH_EINVAL, "step_tokens: 0", runner_with(&s, o, error));
	o = good, o.step_sequences = 9;
	assert_fails(GH_EINVAL, "step_sequences: 9", runner_with(&s, o, error));
	o = good, o.kv_blocks = -1;
	assert_fails(GH_EINVAL, "kv_blocks: -1", runner_with(&s, o, error));
	o = good, o.memory_share = 1.5;
	assert_fails(GH_EINVAL, "memory_share: 1.5", runner_with(&s, o, error));
	o = good, o.memory_share = NAN;
	assert_fails(GH_EINVAL, "memory_share", runner_with(&s, o, error));
	o = good, o.memory_share = 1e-12;
	assert_fails(GH_ENOMEM, "No available memory", runner_with(&s, o, error));
	session_close(&s);
}
END_TEST

/* Steps that would read or write outside memory are refused, and the runner goes on. */
START_TEST(steps_are_checked)
{
	static const int32_t ids[] = { 1, 2, 3 }, high[] = { 1, 331, 3 }, low[] = { 1, -1, 3 };
	int32_t token = 1, position = 0, sequence = 0, row_start[] = { 0, 1 }, block = 0, row = 0;
	int64_t slot = 0;
	const gh__step good = { .tokens = 1,
				.sequences = 1,
				.logit_rows = 1,
				.blocks_max = 1,
				.token = &token,
				.position = &position,
				.slot = &slot,
				.sequence = &sequence,
				.row_start = row_start,
				.block_table = &block,
				.logit_row = &row };
	gh__sample_row sample = { .row = 0, .forced = -1, .repetition = 1.0F, .top_p = 1.0F };
	gh__sample_result result;
	session s;
	gh__step step;

#define TRY(words)                     \
	assert_fails(GH_EINVAL, words, \
		     s.runner.table->step(s.runner.self, &step, &sample, &result, 1, error))
	session_open(&s, checkpoint_folder("qwen2-tied"), NULL);
	assert_fails(GH_EINVAL, "token 331",
		     session_try(&s, &(feed){ 0, 0, 3, high }, 1, NULL, NULL, error));
	assert_fails(GH_EINVAL, "token -1",
		     session_try(&s, &(feed){ 0, 0, 3, low }, 1, NULL, NULL, error));
	step = good, step.tokens = 0;
	TRY("0 tokens");
	step = good, step.tokens = SESSION_TOKENS + 1;
	TRY("tokens");
	step = good, step.sequences = 0;
	TRY("0 sequences");
	step = good, step.blocks_max = 9;
	TRY("blocks");
	step = good, step.logit_rows = 2;
	TRY("logit rows");
	step = good, position = 128;
	TRY("position 128");
	position = 16;
	TRY("position 16 is beyond 1 blocks");
	position = 0, slot = (int64_t)SESSION_BLOCKS * SESSION_SEQUENCES * 16;
	TRY("slot");
	slot = 0, block = SESSION_BLOCKS * SESSION_SEQUENCES;
	TRY("block 64");
	block = 0, sequence = 1;
	TRY("sequence 1");
	sequence = 0, row = 1;
	TRY("logit row 1");
	row = 0, row_start[1] = 2;
	TRY("rows");
	row_start[1] = 1, sample.row = 1;
	TRY("sample 0");
#undef TRY
	session_step(&s, &(feed){ 0, 0, 3, ids }, 1, NULL, &result);
	ck_assert_int_ge(result.token, 0);
	session_close(&s);
}
END_TEST

/* More logit rows than are formed at once, and several samples of a row. */
START_TEST(many_logit_rows)
{
	enum { ROWS = 2 * GH__LOGIT_ROWS + 77, SAMPLES = ROWS + 40 };
	static int32_t token[ROWS], position[ROWS], sequence[ROWS], logit_row[ROWS], table[ROWS];
	static int64_t slot[ROWS];
	static gh__sample_row samples[SAMPLES];
	static gh__sample_result results[SAMPLES], one;
	int32_t row_start[] = { 0, ROWS };
	gh__step step = { .tokens = ROWS,
			  .sequences = 1,
			  .logit_rows = ROWS,
			  .blocks_max = 64,
			  .token = token,
			  .position = position,
			  .slot = slot,
			  .sequence = sequence,
			  .row_start = row_start,
			  .block_table = table,
			  .logit_row = logit_row };
	gh__runner_options limits = { .step_tokens = ROWS, .step_sequences = 1, .kv_blocks = 64 };
	gh_model_options options = GH_MODEL_OPTIONS_INIT;
	gh__runner runner;
	gh_model *model;

	options.overrides = "{\"max_position_embeddings\": 1024}";
	for (int tp = 1; tp <= 2; tp++) {
		options.tensor_parallel = tp;
		assert_ok(
			gh_model_create(&model, checkpoint_folder("qwen2-tied"), &options, error));
		assert_ok(gh__model_runner(&runner, model, &limits, error));
		for (int i = 0; i < ROWS; i++) {
			token[i] = i * 7 % 331;
			position[i] = logit_row[i] = i;
			slot[i] = i;
			table[i] = i % 64;
		}
		for (int i = 0; i < SAMPLES; i++)
			samples[i] = (gh__sample_row){ .row = (i * 19) % ROWS,
						       .forced = -1,
						       .repetition = 1.0F,
						       .top_p = 1.0F,
						       .logprobs = true };
		step.tokens = step.logit_rows = row_start[1] = ROWS;
		assert_ok(runner.table->step(runner.self, &step, samples, results, SAMPLES, error));
		for (int i = 0; i < SAMPLES; i++)
			for (int j = 0; j < i; j += 131)
				if (samples[i].row == samples[j].row)
					ck_assert_int_eq(results[i].token, results[j].token);
		/* The same rows one at a time. */
		for (int i = 0; i < SAMPLES; i += 97) {
			int32_t row = samples[i].row, starts[] = { 0, 1 }, first = 0;
			gh__sample_row sample = samples[i];
			gh__step single = { .tokens = 1,
					    .sequences = 1,
					    .logit_rows = 1,
					    .blocks_max = 64,
					    .token = token + row,
					    .position = position + row,
					    .slot = slot + row,
					    .sequence = sequence,
					    .row_start = starts,
					    .block_table = table,
					    .logit_row = &first };

			sample.row = 0;
			assert_ok(
				runner.table->step(runner.self, &single, &sample, &one, 1, error));
			ck_assert_int_eq(one.token, results[i].token);
			ck_assert_mem_eq(&one.logprob, &results[i].logprob, sizeof one.logprob);
		}
		runner.table->free(runner.self);
		gh_model_free(model);
	}
}
END_TEST

/* ---- numbers that are not finite ---- */

static char logged[4096];

static void keep_errors(gh_log_level level, const char *component, const char *text, void *userdata)
{
	(void)component;
	(void)userdata;
	if (level == GH_LOG_ERROR)
		snprintf(logged + strlen(logged), sizeof logged - strlen(logged), "%s\n", text);
}

/* Finite weights that overflow f16 in layer 1 for one token only: its row answers -1 and the layer
 * is told; the other row, and later steps, are as ever. */
START_TEST(overflow_is_told_with_its_layer)
{
	static const int layouts[][2] = { { 1, 1 }, { 2, 1 }, { 1, 3 }, { 2, 2 } };
	static const int32_t bad = 17, good = 23;
	gh_model_options o = GH_MODEL_OPTIONS_INIT;
	static model_files files;
	gh__sample_result results[2], again;
	uint16_t *embed, *up;

	make_root();
	files_read(&files, checkpoint_folder("qwen2"));
	/* Channel 3 is silent but for the bad token, and one row of layer 1 listens to it. */
	embed = (uint16_t *)(void *)files_find(&files, "model.embed_tokens.weight")->data;
	for (int i = 0; i < 419; i++)
		embed[i * 96 + 3] = i == bad ? 0x42c8 : 0; /* 100 */
	for (int layer = 0; layer < 2; layer++) {
		char name[96];
		uint16_t *rows;

		snprintf(name, sizeof name, "model.layers.%d.self_attn.o_proj.weight", layer);
		rows = (uint16_t *)(void *)files_find(&files, name)->data;
		memset(&rows[288], 0, 96 * sizeof *rows);
	}
	memset(&files_find(&files, "model.layers.0.mlp.down_proj.weight")->data[1200], 0, 400);
	up = (uint16_t *)(void *)files_find(&files, "model.layers.1.mlp.up_proj.weight")->data;
	for (int i = 0; i < 200; i++)
		up[i * 96 + 3] = 0x4740; /* 49152 */
	files_write(&files);
	files_free(&files);
	o.dtype = GH_F16;
	gh_log_set(keep_errors, NULL, GH_LOG_ERROR);
	for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
		feed feeds[] = { { 0, 0, 1, &bad }, { 1, 0, 1, &good } };
		session s;

		o.tensor_parallel = layouts[i][0];
		o.pipeline_parallel = layouts[i][1];
		logged[0] = '\0';
		session_open(&s, root, &o);
		session_step(&s, feeds, 2, NULL, results);
		ck_assert_int_eq(results[0].token, -1);
		ck_assert_int_ge(results[1].token, 0);
		ck_assert_msg(strstr(logged, "layer 1, position 0; numerics f16/1") != NULL, "%s",
			      logged);
		ck_assert_ptr_null(strstr(logged, "layer 0"));
		ck_assert_ptr_null(strstr(logged, "layer 2"));
		session_step(&s, &feeds[1], 1, NULL, &again);
		ck_assert_int_eq(again.token, results[1].token);
		session_close(&s);
	}
	gh_log_set(NULL, NULL, GH_LOG_ERROR);
	remove_root();
}
END_TEST

/* ---- a rank that fails ---- */

typedef struct failing {
	gh__weights inner;
	int layer, calls; /* fail at this layer from the second call on */
} failing;

static gh_status failing_layer(void *self, gh__device *on, int32_t layer, gh__layer_weights *out,
			       gh_error *error)
{
	failing *f = self;

	if (layer == f->layer && f->calls++ > 0)
		return gh__fail(error, GH_EIO, "the disk is gone");
	return f->inner.table->layer(f->inner.self, on, layer, out, error);
}

static void failing_ends(const void *self, gh__end_weights *out)
{
	const failing *f = self;

	f->inner.table->ends(f->inner.self, out);
}

static int64_t failing_bytes(const void *self)
{
	(void)self;
	return 0;
}

/* Whichever rank it is, the others are woken, the step says why, and no later one runs. */
START_TEST(a_rank_that_fails_ends_the_step)
{
	static const gh__weights_table table = { .bytes = failing_bytes,
						 .ends = failing_ends,
						 .layer = failing_layer };
	static const int32_t ids[] = { 1, 2, 3 };
	static const int layouts[][2] = { { 1, 1 }, { 4, 1 }, { 1, 3 }, { 3, 2 } };

	for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++) {
		for (int rank = 0; rank < layouts[i][0] * layouts[i][1]; rank++) {
			gh__runner_options limits = { .step_tokens = SESSION_TOKENS,
						      .step_sequences = 1,
						      .kv_blocks = SESSION_BLOCKS };
			gh_model_options o = GH_MODEL_OPTIONS_INIT;
			feed f = { 0, 0, 3, ids };
			gh__weights *held;
			failing bad;
			session s = { 0 };

			o.tensor_parallel = layouts[i][0];
			o.pipeline_parallel = layouts[i][1];
			assert_ok(gh_model_create(&s.model, checkpoint_folder("qwen2"), &o, error));
			held = &s.model->rank[rank].weights;
			bad = (failing){ .inner = *held,
					 .layer = (int)s.model->rank[rank].plan.layers.first };
			*held = (gh__weights){ &table, &bad };
			assert_ok(gh__model_runner(&s.runner, s.model, &limits, error));
			assert_ok(session_try(&s, &f, 1, NULL, NULL, error));
			assert_fails(GH_EIO, "the disk is gone",
				     session_try(&s, &f, 1, NULL, NULL, error));
			assert_fails(GH_ESTATE, "earlier",
				     session_try(&s, &f, 1, NULL, NULL, error));
			s.runner.table->free(s.runner.self);
			*held = bad.inner;
			gh_model_free(s.model);
		}
	}
}
END_TEST

/* ---- no memory ---- */

START_TEST(no_memory_is_no_crash)
{
	gh_model_options o = GH_MODEL_OPTIONS_INIT;
	gh__runner_options limits = { .step_tokens = 8, .step_sequences = 2, .kv_blocks = 8 };
	size_t made;

	o.tensor_parallel = 2;
	o.pipeline_parallel = 2;
	o.threads = 1;
	o.quantization = GH_QUANT_FP8_W8A8;
	for (size_t k = 1, step = 1;; k += step) {
		gh_model *model = NULL;
		gh__runner runner = { NULL, NULL };
		gh_status status;

		gh__alloc_fail_at(k);
		status = gh_model_create(&model, checkpoint_folder("qwen2-yarn"), &o, NULL);
		if (status == GH_OK)
			status = gh__model_runner(&runner, model, &limits, NULL);
		made = gh__alloc_fail_at(0);
		if (runner.table != NULL)
			runner.table->free(runner.self);
		gh_model_free(model);
		if (status == GH_OK)
			break;
		ck_assert_int_eq(status, GH_ENOMEM);
		step = 1 + k / 40; /* every one at first, then some */
	}
	ck_assert_uint_gt(made, 100);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("runner");
	TCase *tests = tcase_create("runner");

	tcase_add_test(tests, runner_options_are_checked);
	tcase_add_test(tests, steps_are_checked);
	tcase_add_test(tests, many_logit_rows);
	tcase_add_test(tests, overflow_is_told_with_its_layer);
	tcase_add_test(tests, a_rank_that_fails_ends_the_step);
	tcase_add_test(tests, no_memory_is_no_crash);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
