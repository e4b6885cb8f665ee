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
	o = good, o.flags = 8;
	assert_fails(GH_EINVAL, "flags: 0x8", create_with(&o, error));
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
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
