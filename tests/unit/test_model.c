#include "model_session.h"

#include <math.h>

#include "base/error.h"
#include "folder.h"
#include "model/memory.h"
#include "model_files.h"
#include "model_reference.h"

/* ---- plans ---- */

static void assert_next(const gh_span *span, int64_t *next, int64_t least)
{
	ck_assert_int_eq(span->first, *next);
	ck_assert_int_ge(span->count, least);
	*next += span->count;
}

static void check_plans(const gh_plan_shape *s, int tp, int pp)
{
	int64_t layers = 0;

	for (int stage = 0; stage < pp; stage++) {
		int64_t heads = 0, hidden = 0, inner = 0, vocab = 0, group = s->heads / s->kv_heads;
		gh_plan p;

		for (int r = 0; r < tp; r++) {
			assert_ok(gh_plan_get(&p, s, tp, pp, stage * tp + r, error));
			ck_assert_int_eq(p.stage, stage);
			ck_assert_int_eq(p.tensor_rank, r);
			assert_next(&p.heads, &heads, 1);
			assert_next(&p.hidden, &hidden, 1);
			assert_next(&p.intermediate, &inner, 1);
			assert_next(&p.vocab, &vocab, 1);
			/* Those that its query heads read, and no other. */
			ck_assert_int_eq(p.kv_heads.first, p.heads.first / group);
			ck_assert_int_eq(p.kv_heads.first + p.kv_heads.count - 1,
					 (p.heads.first + p.heads.count - 1) / group);
			/* Nobody has much more than another. */
			ck_assert_int_le(p.heads.count, s->heads / tp + 1);
			ck_assert_int_le(p.intermediate.count * tp, s->intermediate * 2);
		}
		ck_assert_int_eq(heads, s->heads);
		ck_assert_int_eq(hidden, s->hidden);
		ck_assert_int_eq(inner, s->intermediate);
		ck_assert_int_eq(vocab, s->vocab);
		assert_next(&p.layers, &layers, s->layers / pp);
	}
	ck_assert_int_eq(layers, s->layers);
}

START_TEST(plans_cover_everything_once)
{
	static const gh_plan_shape shapes[] = {
		{ 3584, 18944, 152064, 28, 28, 4, 128 }, { 5120, 27648, 152064, 64, 40, 8, 128 },
		{ 576, 1536, 49152, 30, 9, 3, 64 },      { 80, 132, 301, 3, 5, 1, 16 },
		{ 72, 216, 353, 2, 6, 2, 24 },           { 7, 7, 7, 7, 7, 7, 2 },
	};

	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++)
		for (int tp = 1; tp <= shapes[i].heads; tp++)
			for (int pp = 1; pp <= shapes[i].layers; pp += 1 + pp / 3)
				check_plans(&shapes[i], tp, pp);
}
END_TEST

START_TEST(plans_refuse)
{
	const gh_plan_shape good = { 64, 96, 277, 2, 4, 2, 16 };
	gh_plan_shape s = good;
	gh_plan p;

	assert_fails(GH_EINVAL, "4 attention heads", gh_plan_get(&p, &s, 5, 1, 0, error));
	assert_fails(GH_EINVAL, "2 layers", gh_plan_get(&p, &s, 1, 3, 0, error));
	assert_fails(GH_EINVAL, "tensor_parallel: 0", gh_plan_get(&p, &s, 0, 1, 0, error));
	assert_fails(GH_EINVAL, "pipeline_parallel: -1", gh_plan_get(&p, &s, 1, -1, 0, error));
	assert_fails(GH_EINVAL, "rank: 4", gh_plan_get(&p, &s, 2, 2, 4, error));
	assert_fails(GH_EINVAL, "rank: -1", gh_plan_get(&p, &s, 2, 2, -1, error));
	s.kv_heads = 3;
	assert_fails(GH_EINVAL, "kv_heads: 3", gh_plan_get(&p, &s, 1, 1, 0, error));
	s = good, s.vocab = 0;
	assert_fails(GH_EINVAL, "vocab: 0", gh_plan_get(&p, &s, 1, 1, 0, error));
	s = good, s.hidden = INT64_MAX;
	assert_fails(GH_EINVAL, "hidden", gh_plan_get(&p, &s, 1, 1, 0, error));
	s = good, s.vocab = 3;
	assert_fails(GH_EINVAL, "3 vocabulary rows", gh_plan_get(&p, &s, 4, 1, 0, error));
}
END_TEST

/* ---- numerics ---- */

START_TEST(numerics_have_names)
{
	static const struct {
		int32_t act, quantization, kv;
		gh__scales scales;
		const char *name;
	} cases[] = {
		{ GH_F32, GH_QUANT_NONE, 0, 0, "f32/1" },
		{ GH_F16, GH_QUANT_NONE, 0, 0, "f16/1" },
		{ GH_BF16, GH_QUANT_NONE, GH_BF16, 0, "bf16/1" },
		{ GH_BF16, GH_QUANT_NONE, GH_E4M3, 0, "bf16/1+kv8" },
		{ GH_F16, GH_QUANT_FP8_W8A8, 0, 0, "fp8-w8a8/1" },
		{ GH_F16, GH_QUANT_FP8_W8A16, 0, 0, "fp8-w8a16/1" },
		{ GH_F16, GH_QUANT_FP8_W8A8, GH_E4M3, 0, "fp8-w8a8/1+kv8" },
		{ GH_BF16, GH_QUANT_FP8_W8A8, 0, 0, "fp8-w8a8-bf16/1" },
		{ GH_F32, GH_QUANT_FP8_W8A16, GH_E4M3, 0, "fp8-w8a16-f32/1+kv8" },
		{ GH_F16, GH_QUANT_FP8_W8A8, GH_E4M3, GH__SCALE_SHARD, "fp8-w8a8/1+shards+kv8" },
		{ GH_F16, GH_QUANT_FP8_W8A8, 0, GH__SCALE_CHANNEL, "fp8-w8a8/1+channels" },
	};
	gh__numerics n;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_ok(gh__numerics_make(&n, cases[i].act, cases[i].quantization,
					    cases[i].scales, cases[i].kv, error));
		ck_assert_str_eq(n.name, cases[i].name);
	}
	assert_fails(GH_EINVAL, "dtype", gh__numerics_make(&n, GH_E4M3, 1, 0, 0, error));
	assert_fails(GH_EINVAL, "dtype", gh__numerics_make(&n, -7, 1, 0, 0, error));
	assert_fails(GH_EINVAL, "kv_dtype", gh__numerics_make(&n, GH_F16, 1, 0, GH_E5M2, error));
	assert_fails(GH_EINVAL, "kv_dtype", gh__numerics_make(&n, GH_F16, 1, 0, GH_F32, error));
	assert_fails(GH_EINVAL, "quantization", gh__numerics_make(&n, GH_F16, 9, 0, 0, error));
}
END_TEST

/* ---- config.json ---- */

static gh_status inspect(const char *name, const char *overrides, gh_model_info *info,
			 gh_error *error)
{
	gh_model_options o = GH_MODEL_OPTIONS_INIT;

	o.overrides = overrides;
	o.load_format = GH_LOAD_DUMMY;
	return gh_model_inspect(info, checkpoint_folder(name), &o, error);
}

START_TEST(what_has_no_arithmetic_is_refused)
{
	static const struct {
		const char *name, *overrides, *words;
	} cases[] = {
		{ "qwen2", "{\"architectures\": [\"GPT2LMHeadModel\"]}", "GPT2LMHeadModel" },
		{ "qwen2", "{\"architectures\": [\"MistralForCausalLM\"]}", "MistralForCausalLM" },
		{ "qwen2", "{\"hidden_act\": \"gelu\"}", "hidden_act: gelu" },
		{ "qwen2", "{\"use_sliding_window\": true}", "use_sliding_window" },
		{ "llama3", "{\"attention_bias\": true}", "attention_bias" },
		{ "llama3", "{\"mlp_bias\": true}", "mlp_bias" },
		{ "qwen3", "{\"attention_bias\": true}", "attention_bias" },
		{ "llama3", "{\"head_dim\": 15}", "head_dim" },
		{ "qwen2", "{\"quantization_config\": {\"quant_method\": \"awq\"}}", "awq" },
		{ "qwen2",
		  "{\"quantization_config\": {\"quant_method\": \"fp8\", \"weight_block_size\": "
		  "[128, 128]}}",
		  "weight_block_size" },
		{ "qwen2",
		  "{\"quantization_config\": {\"quant_method\": \"fp8\", \"activation_scheme\": "
		  "\"static\"}}",
		  "activation_scheme: static" },
		{ "qwen2",
		  "{\"quantization_config\": {\"quant_method\": \"fp8\", \"ignored_layers\": "
		  "[\"model.layers.0.mlp.down_proj\"]}}",
		  "model.layers.0.mlp.down_proj" },
		{ "qwen2",
		  "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", "
		  "\"format\": \"pack-quantized\", \"config_groups\": {}}}",
		  "pack-quantized" },
		{ "qwen2",
		  "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", "
		  "\"config_groups\": {\"g\": {\"weights\": {\"num_bits\": 4, \"type\": \"int\", "
		  "\"strategy\": \"group\"}}}}}",
		  "num_bits 8" },
		{ "qwen2",
		  "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\", "
		  "\"config_groups\": {\"g\": {\"weights\": {\"num_bits\": 8, \"type\": \"float\", "
		  "\"strategy\": \"block\"}}}}}",
		  "block" },
	};
	gh_model_info info;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_fails(GH_ENOTSUP, cases[i].words,
			     inspect(cases[i].name, cases[i].overrides, &info, error));
}
END_TEST

START_TEST(lies_are_refused)
{
	static const struct {
		const char *overrides, *words;
	} cases[] = {
		{ "{\"num_key_value_heads\": 5}", "num_key_value_heads" },
		{ "{\"num_attention_heads\": 7, \"num_key_value_heads\": 7}", "hidden_size" },
		{ "{\"num_hidden_layers\": 1000000000}", "num_hidden_layers" },
		{ "{\"vocab_size\": -1}", "vocab_size" },
		{ "{\"hidden_size\": \"96\"}", "hidden_size" },
		{ "{\"hidden_size\": null}", "hidden_size" },
		{ "{\"quantization_config\": {\"quant_method\": 7}}", "quant_method" },
		{ "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\"}}",
		  "config_groups" },
	};
	gh_model_info info;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		assert_fails(GH_EFORMAT, cases[i].words,
			     inspect("qwen2", cases[i].overrides, &info, error));
	assert_fails(GH_EFORMAT, "overrides", inspect("qwen2", "{", &info, error));
	assert_fails(GH_EINVAL, "overrides", inspect("qwen2", "[]", &info, error));
	assert_fails(GH_ENOENT, "nowhere", gh_model_inspect(&info, "/nowhere", NULL, error));
	assert_fails(GH_EINVAL, "model", gh_model_inspect(&info, NULL, NULL, error));
}
END_TEST

static void describe(gh__model_desc *desc, const char *name, const char *overrides)
{
	assert_ok(gh__model_desc_read(desc, checkpoint_folder(name), overrides, error));
}

START_TEST(overrides_reach_rope_in_both_spellings)
{
	static const char *const names[] = { "qwen2", "qwen3" };
	gh__model_desc d;

	for (size_t i = 0; i < 2; i++) {
		describe(&d, names[i], NULL);
		ck_assert_double_eq(d.rope_theta, 1e6);
		ck_assert_int_eq(d.rope_scaling.kind, GH__ROPE_PLAIN);
		ck_assert_int_eq(d.max_length, 512);
		describe(&d, names[i], "{\"rope_theta\": 5000}");
		ck_assert_double_eq(d.rope_theta, 5000.0);
		describe(&d, names[i],
			 "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4.0, "
			 "\"original_max_position_embeddings\": 256}}");
		ck_assert_int_eq(d.rope_scaling.kind, GH__ROPE_YARN);
		ck_assert_double_eq(d.rope_theta, 1e6);
		ck_assert_int_eq(d.max_length, 1024);
		describe(&d, names[i],
			 "{\"rope_theta\": 77, \"max_position_embeddings\": 100, "
			 "\"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.5}}");
		ck_assert_int_eq(d.rope_scaling.kind, GH__ROPE_LINEAR);
		ck_assert_double_eq(d.rope_theta, 77.0);
		ck_assert_int_eq(d.max_length, 250);
	}
	describe(&d, "qwen2-yarn", NULL);
	ck_assert_int_eq(d.max_length, 128);
	describe(&d, "qwen2-yarn", "{\"rope_scaling\": null}");
	ck_assert_int_eq(d.rope_scaling.kind, GH__ROPE_PLAIN);
	ck_assert_int_eq(d.max_length, 32);
	describe(&d, "llama3", NULL);
	ck_assert_int_eq(d.max_length, 512);
}
END_TEST

START_TEST(rope_tables_are_the_definition)
{
	static const struct {
		const char *name, *overrides;
	} cases[] = {
		{ "qwen2", NULL },
		{ "llama3", NULL },
		{ "qwen2-yarn", NULL },
		{ "qwen3", "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 3}}" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		gh__model_desc d;
		reference r;
		float *table;
		int64_t half;

		describe(&d, cases[i].name, cases[i].overrides);
		reference_open(&r, checkpoint_folder(cases[i].name), GH_F64, false, false, false);
		r.config.rope_scaling = d.rope_scaling;
		half = r.head_dim / 2;
		table = gh__rope_table(&d, 500);
		for (int64_t p = 0; p < 500; p++) {
			for (int64_t j = 0; j < half; j++) {
				double a, angle = reference_angle(&r, j, p, &a);

				ck_assert_double_eq_tol((double)table[p * 2 * half + j],
							a * cos(angle), 1e-4);
				ck_assert_double_eq_tol((double)table[p * 2 * half + half + j],
							a * sin(angle), 1e-4);
			}
		}
		gh__free(table);
		reference_close(&r);
	}
}
END_TEST

/* ---- what a model says of itself ---- */

START_TEST(the_networks_models_are_described)
{
	gh_model_options o = GH_MODEL_OPTIONS_INIT;
	gh_model_info info;

	if (strlen(GH_TEST_GOLDEN) == 0)
		return;
	o.load_format = GH_LOAD_DUMMY;
	o.dtype = GH_F16;
	o.tensor_parallel = 2;
	assert_ok(gh_model_inspect(&info, GH_TEST_GOLDEN "/qwen2.5", &o, error));
	ck_assert_str_eq(info.architecture, "Qwen2ForCausalLM");
	ck_assert_str_eq(info.numerics, "f16/1");
	ck_assert_str_eq(info.device, "cpu");
	ck_assert_int_eq(info.parameters, INT64_C(7615616512));
	ck_assert_int_eq(info.weight_bytes, INT64_C(15231233024));
	ck_assert_int_eq(info.kv_bytes, 57344);
	ck_assert_int_eq(info.max_length, 32768);
	ck_assert_int_eq(info.head_dim, 128);
	o.kv_dtype = GH_E4M3;
	o.quantization = GH_QUANT_FP8_W8A8;
	o.tensor_parallel = 8;
	assert_ok(gh_model_inspect(&info, GH_TEST_GOLDEN "/qwen2.5", &o, error));
	ck_assert_str_eq(info.numerics, "fp8-w8a8/1+kv8");
	/* Each of the four kv heads is read by two ranks. */
	ck_assert_int_eq(info.kv_bytes, 57344);
	o.tensor_parallel = 1;
	assert_ok(gh_model_inspect(&info, GH_TEST_GOLDEN "/qwen2.5/qwq-32b", &o, error));
	ck_assert_int_eq(info.parameters, INT64_C(32763876352));
	ck_assert_int_eq(info.kv_bytes, 131072);
	ck_assert_int_eq(info.max_length, 40960);
}
END_TEST

START_TEST(inspect_and_create_agree)
{
	gh_model_info a, b;
	gh_model *model;

	assert_ok(gh_model_inspect(&a, checkpoint_folder("qwen3"), NULL, error));
	assert_ok(gh_model_create(&model, checkpoint_folder("qwen3"), NULL, error));
	gh_model_info_get(model, &b);
	ck_assert_str_eq(a.architecture, "Qwen3ForCausalLM");
	ck_assert_str_eq(a.folder, b.folder);
	ck_assert_str_eq(a.numerics, b.numerics);
	ck_assert_int_eq(a.parameters, b.parameters);
	ck_assert_int_eq(a.kv_bytes, b.kv_bytes);
	ck_assert_int_eq(a.dtype, GH_BF16);
	/* Packing adds a little. */
	ck_assert_int_ge(b.weight_bytes, a.weight_bytes);
	ck_assert_int_le(b.weight_bytes, a.weight_bytes * 5 / 4);
	gh_model_free(model);
	gh_model_free(NULL);
}
END_TEST

static gh_status create_with(const gh_model_options *options, gh_error *error)
{
	gh_model *model = NULL;
	gh_status status = gh_model_create(&model, checkpoint_folder("qwen2"), options, error);

	gh_model_free(model);
	return status;
}

START_TEST(options_are_checked)
{
	const gh_model_options good = GH_MODEL_OPTIONS_INIT;
	gh_model_options o;

	o = good, o.struct_size = 0;
	assert_fails(GH_EINVAL, "size", create_with(&o, error));
	o = good, o.dtype = GH_U8;
	assert_fails(GH_EINVAL, "dtype", create_with(&o, error));
	o = good, o.quantization = 4;
	assert_fails(GH_EINVAL, "quantization: 4", create_with(&o, error));
	o = good, o.load_format = -1;
	assert_fails(GH_EINVAL, "load_format: -1", create_with(&o, error));
	o = good, o.flags = 2;
	assert_fails(GH_EINVAL, "flags: 0x2", create_with(&o, error));
	o = good, o.threads = -1;
	assert_fails(GH_EINVAL, "threads: -1", create_with(&o, error));
	o = good, o.tensor_parallel = -2;
	assert_fails(GH_EINVAL, "tensor_parallel: -2", create_with(&o, error));
	o = good, o.tensor_parallel = 13;
	assert_fails(GH_EINVAL, "12 attention heads", create_with(&o, error));
	o = good, o.tensor_parallel = 1 << 30;
	assert_fails(GH_EINVAL, "tensor_parallel", create_with(&o, error));
	o = good, o.pipeline_parallel = 4;
	assert_fails(GH_EINVAL, "3 layers", create_with(&o, error));
	o = good, o.device = "abacus";
	assert_fails(GH_ENODEVICE, "abacus", create_with(&o, error));
}
END_TEST

/* ---- memory ---- */

START_TEST(memory_is_planned)
{
	const int64_t gib = INT64_C(1) << 30, mib = INT64_C(1) << 20;
	gh__memory_needs needs = { .device_total = 80 * gib,
				   .sharing = 1,
				   .weights = 30 * gib,
				   .activations = 2 * gib,
				   .block = mib };
	gh__runner_options o = { .step_tokens = 2048, .step_sequences = 256, .max_length = 4096 };
	gh__memory_plan p;

	assert_ok(gh__memory_plan_make(&p, &needs, &o, error));
	ck_assert_int_eq(p.blocks, 40960);
	o.memory_share = 0.5;
	assert_ok(gh__memory_plan_make(&p, &needs, &o, error));
	ck_assert_int_eq(p.blocks, 8192);
	o.step_sequences = 3; /* more than three full sequences are never needed */
	assert_ok(gh__memory_plan_make(&p, &needs, &o, error));
	ck_assert_int_eq(p.blocks, 768);
	o.kv_blocks = 100;
	assert_ok(gh__memory_plan_make(&p, &needs, &o, error));
	ck_assert_int_eq(p.blocks, 100);
	o.kv_blocks = 8 * 1024 + 1;
	assert_fails(GH_ENOMEM, "kv_blocks", gh__memory_plan_make(&p, &needs, &o, error));
	o.kv_blocks = 0;
	o.memory_share = 0.4; /* exactly the weights and the activations */
	assert_fails(GH_ENOMEM, "No available memory for the cache blocks",
		     gh__memory_plan_make(&p, &needs, &o, error));
	o.memory_share = 0.402; /* 163 MiB more: not one sequence */
	assert_fails(GH_ENOMEM, "max_length", gh__memory_plan_make(&p, &needs, &o, error));
	o.memory_share = 0.1;
	assert_fails(GH_ENOMEM, "memory_share", gh__memory_plan_make(&p, &needs, &o, error));
	/* On the machine's own memory: a quarter at most, over all ranks together. */
	o = (gh__runner_options){ .step_sequences = 1000, .max_length = 4096 };
	needs.host = true;
	needs.sharing = 2;
	needs.weights = gib;
	assert_ok(gh__memory_plan_make(&p, &needs, &o, error));
	ck_assert_int_eq(p.blocks, 10240);
	o.memory_share = 0.9;
	assert_ok(gh__memory_plan_make(&p, &needs, &o, error));
	ck_assert_int_eq(p.blocks, 33792);
}
END_TEST

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

static gh_status failing_layer(void *self, int32_t layer, gh__layer_weights *out, gh_error *error)
{
	failing *f = self;

	if (layer == f->layer && f->calls++ > 0)
		return gh__fail(error, GH_EIO, "the disk is gone");
	return f->inner.table->layer(f->inner.self, layer, out, error);
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
	Suite *suite = suite_create("model");
	TCase *tests = tcase_create("model");

	tcase_add_test(tests, plans_cover_everything_once);
	tcase_add_test(tests, plans_refuse);
	tcase_add_test(tests, numerics_have_names);
	tcase_add_test(tests, what_has_no_arithmetic_is_refused);
	tcase_add_test(tests, lies_are_refused);
	tcase_add_test(tests, overrides_reach_rope_in_both_spellings);
	tcase_add_test(tests, rope_tables_are_the_definition);
	tcase_add_test(tests, the_networks_models_are_described);
	tcase_add_test(tests, inspect_and_create_agree);
	tcase_add_test(tests, options_are_checked);
	tcase_add_test(tests, memory_is_planned);
	tcase_add_test(tests, runner_options_are_checked);
	tcase_add_test(tests, steps_are_checked);
	tcase_add_test(tests, many_logit_rows);
	tcase_add_test(tests, overflow_is_told_with_its_layer);
	tcase_add_test(tests, a_rank_that_fails_ends_the_step);
	tcase_add_test(tests, no_memory_is_no_crash);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
