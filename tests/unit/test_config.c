#include "unit.h"

#include <unistd.h>

#include "folder.h"
#include "hub/config.h"

/* config.json */

static const char good_config[] =
	"{\"architectures\":[\"Qwen2ForCausalLM\"],\"model_type\":\"qwen2\",\"hidden_size\":3584,"
	"\"intermediate_size\":18944,\"num_hidden_layers\":28,\"num_attention_heads\":28,"
	"\"num_key_value_heads\":4,\"vocab_size\":152064,\"max_position_embeddings\":32768,"
	"\"rms_norm_eps\":1e-06}";

/* good_config with members put before its end; keys given again replace the earlier ones. */
static gh_status try_config(const char *members, gh__hf_config *config, gh_error *error)
{
	char text[2048];

	snprintf(text, sizeof text, "%.*s%s%s}", (int)strlen(good_config) - 1, good_config,
		 *members ? "," : "", members);
	write_text("config.json", text);
	return gh__hf_config_read(config, root, error);
}

START_TEST(config_defaults)
{
	gh__hf_config c;

	assert_ok(try_config("", &c, error));
	ck_assert_str_eq(c.architecture, "Qwen2ForCausalLM");
	ck_assert_str_eq(c.model_type, "qwen2");
	ck_assert_int_eq(c.hidden, 3584);
	ck_assert_int_eq(c.intermediate, 18944);
	ck_assert_int_eq(c.layers, 28);
	ck_assert_int_eq(c.heads, 28);
	ck_assert_int_eq(c.kv_heads, 4);
	ck_assert_int_eq(c.head_dim, 0);
	ck_assert_int_eq(c.vocab, 152064);
	ck_assert_int_eq(c.max_positions, 32768);
	ck_assert_double_eq(c.rms_norm_eps, 1e-6);
	ck_assert_double_eq(c.rope_theta, 10000.0);
	ck_assert_int_eq(c.rope_scaling.kind, GH__ROPE_PLAIN);
	ck_assert(!c.tie_word_embeddings && !c.use_sliding_window);
	ck_assert_int_eq(c.max_window_layers, -1);
	ck_assert_int_eq(c.attention_bias, -1);
	ck_assert_int_eq(c.mlp_bias, -1);
	ck_assert_str_eq(c.hidden_act, "silu");
	ck_assert_int_eq(c.torch_dtype, GH_DTYPE_NONE);
	ck_assert_int_eq(c.bos, -1);
	ck_assert_int_eq(c.eos_count, 0);
	ck_assert_str_eq(c.quant_method, "");
	ck_assert_ptr_null(c.quantization);
	gh__hf_config_done(&c);
}
END_TEST

START_TEST(config_values)
{
	gh__hf_config c;

	assert_ok(try_config("\"head_dim\":64,\"rope_theta\":1000000,\"tie_word_embeddings\":true,"
			     "\"use_sliding_window\":true,\"max_window_layers\":7,"
			     "\"attention_bias\":false,\"mlp_bias\":true,\"hidden_act\":\"gelu\","
			     "\"torch_dtype\":\"bfloat16\",\"bos_token_id\":5,"
			     "\"eos_token_id\":[7,9],\"rope_scaling\":null,"
			     "\"quantization_config\":{\"quant_method\":\"gptq\",\"bits\":4}",
			     &c, error));
	ck_assert_int_eq(c.head_dim, 64);
	ck_assert_double_eq(c.rope_theta, 1e6);
	ck_assert(c.tie_word_embeddings && c.use_sliding_window);
	ck_assert_int_eq(c.max_window_layers, 7);
	ck_assert_int_eq(c.attention_bias, 0);
	ck_assert_int_eq(c.mlp_bias, 1);
	ck_assert_str_eq(c.hidden_act, "gelu");
	ck_assert_int_eq(c.torch_dtype, GH_BF16);
	ck_assert_int_eq(c.bos, 5);
	ck_assert_int_eq(c.eos_count, 2);
	ck_assert_int_eq(c.eos[0], 7);
	ck_assert_int_eq(c.eos[1], 9);
	ck_assert_str_eq(c.quant_method, "gptq");
	ck_assert_int_eq(json_integer_value(json_object_get(c.quantization, "bits")), 4);
	gh__hf_config_done(&c);

	assert_ok(try_config("\"num_key_value_heads\":null,\"dtype\":\"float16\","
			     "\"eos_token_id\":3",
			     &c, error));
	ck_assert_int_eq(c.kv_heads, 28);
	ck_assert_int_eq(c.torch_dtype, GH_F16);
	ck_assert_int_eq(c.eos_count, 1);
	ck_assert_int_eq(c.eos[0], 3);
	gh__hf_config_done(&c);
}
END_TEST

START_TEST(config_rope)
{
	gh__hf_config c;

	assert_ok(try_config("\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,"
			     "\"low_freq_factor\":1.0,\"high_freq_factor\":4.0,"
			     "\"original_max_position_embeddings\":8192}",
			     &c, error));
	ck_assert_int_eq(c.rope_scaling.kind, GH__ROPE_LLAMA3);
	ck_assert_double_eq(c.rope_scaling.factor, 8.0);
	ck_assert_double_eq(c.rope_scaling.low_freq_factor, 1.0);
	ck_assert_double_eq(c.rope_scaling.high_freq_factor, 4.0);
	ck_assert_int_eq(c.rope_scaling.original_max_positions, 8192);
	gh__hf_config_done(&c);

	assert_ok(try_config("\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}", &c, error));
	ck_assert_int_eq(c.rope_scaling.kind, GH__ROPE_YARN);
	ck_assert_double_eq(c.rope_scaling.beta_fast, 32.0);
	ck_assert_double_eq(c.rope_scaling.beta_slow, 1.0);
	ck_assert_int_eq(c.rope_scaling.original_max_positions, 32768);
	gh__hf_config_done(&c);

	assert_ok(try_config("\"rope_parameters\":{\"rope_type\":\"linear\",\"factor\":2.0,"
			     "\"rope_theta\":5e5}",
			     &c, error));
	ck_assert_int_eq(c.rope_scaling.kind, GH__ROPE_LINEAR);
	ck_assert_double_eq(c.rope_scaling.factor, 2.0);
	ck_assert_double_eq(c.rope_theta, 5e5);
	gh__hf_config_done(&c);

	assert_ok(try_config("\"rope_parameters\":{\"rope_theta\":7}", &c, error));
	ck_assert_int_eq(c.rope_scaling.kind, GH__ROPE_PLAIN);
	ck_assert_double_eq(c.rope_theta, 7.0);
	gh__hf_config_done(&c);
}
END_TEST

/* Members that replace good ones, and the field that the error must name. */
static const struct {
	const char *members, *words;
} bad_configs[] = {
	{ "\"architectures\":null", "architectures" },
	{ "\"architectures\":[]", "architectures" },
	{ "\"architectures\":[1]", "architectures" },
	{ "\"architectures\":\"Qwen2ForCausalLM\"", "architectures" },
	{ "\"architectures\":["
	  "\"AnArchitectureWhoseNameHasFarMoreCharactersThanAnyOtherOneEverHad\"]",
	  "architectures" },
	{ "\"architectures\":[\"a\\u0000b\"]", "architectures" },
	{ "\"model_type\":3", "model_type" },
	{ "\"hidden_size\":null", "hidden_size" },
	{ "\"hidden_size\":0", "hidden_size" },
	{ "\"hidden_size\":-3584", "hidden_size" },
	{ "\"hidden_size\":65537", "hidden_size" },
	{ "\"hidden_size\":3584.0", "hidden_size" },
	{ "\"hidden_size\":\"3584\"", "hidden_size" },
	{ "\"hidden_size\":3585", "hidden_size" },
	{ "\"intermediate_size\":null", "intermediate_size" },
	{ "\"intermediate_size\":1000000000", "intermediate_size" },
	{ "\"num_hidden_layers\":null", "num_hidden_layers" },
	{ "\"num_hidden_layers\":1025", "num_hidden_layers" },
	{ "\"num_attention_heads\":null", "num_attention_heads" },
	{ "\"num_attention_heads\":0", "num_attention_heads" },
	{ "\"num_key_value_heads\":0", "num_key_value_heads" },
	{ "\"num_key_value_heads\":5", "num_key_value_heads" },
	{ "\"num_key_value_heads\":56", "num_key_value_heads" },
	{ "\"head_dim\":0", "head_dim" },
	{ "\"head_dim\":1025", "head_dim" },
	{ "\"vocab_size\":null", "vocab_size" },
	{ "\"vocab_size\":16777217", "vocab_size" },
	{ "\"max_position_embeddings\":null", "max_position_embeddings" },
	{ "\"max_position_embeddings\":99999999999", "max_position_embeddings" },
	{ "\"rms_norm_eps\":null", "rms_norm_eps" },
	{ "\"rms_norm_eps\":0", "rms_norm_eps" },
	{ "\"rms_norm_eps\":-1e-6", "rms_norm_eps" },
	{ "\"rope_theta\":0", "rope_theta" },
	{ "\"rope_theta\":1e300", "rope_theta" },
	{ "\"rope_theta\":\"10000\"", "rope_theta" },
	{ "\"rope_scaling\":[]", "rope_scaling" },
	{ "\"rope_scaling\":{\"factor\":2.0}", "rope_scaling.rope_type" },
	{ "\"rope_scaling\":{\"type\":\"dynamic\",\"factor\":2.0}", "\"dynamic\"" },
	{ "\"rope_scaling\":{\"type\":\"yarn\"}", "rope_scaling.factor" },
	{ "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":0.5}", "rope_scaling.factor" },
	{ "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"mscale\":0.7}", "mscale" },
	{ "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4,\"beta_fast\":1}", "beta_fast" },
	{ "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":4.0,"
	  "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":8192}",
	  "high_freq_factor" },
	{ "\"rope_scaling\":{\"rope_type\":\"llama3\",\"factor\":8.0}",
	  "original_max_position_embeddings" },
	{ "\"tie_word_embeddings\":1", "tie_word_embeddings" },
	{ "\"use_sliding_window\":\"no\"", "use_sliding_window" },
	{ "\"max_window_layers\":-1", "max_window_layers" },
	{ "\"attention_bias\":0", "attention_bias" },
	{ "\"mlp_bias\":0", "mlp_bias" },
	{ "\"hidden_act\":\"an activation of more than thirty characters\"", "hidden_act" },
	{ "\"torch_dtype\":\"int3\"", "torch_dtype" },
	{ "\"dtype\":16", "dtype" },
	{ "\"bos_token_id\":-2", "bos_token_id" },
	{ "\"eos_token_id\":-1", "eos_token_id" },
	{ "\"eos_token_id\":true", "eos_token_id" },
	{ "\"eos_token_id\":[1,\"2\"]", "eos_token_id" },
	{ "\"eos_token_id\":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]", "eos_token_id" },
	{ "\"quantization_config\":\"fp8\"", "quantization_config" },
	{ "\"quantization_config\":{\"bits\":4}", "quantization_config.quant_method" },
	{ "\"quantization_config\":{\"quant_method\":8}", "quantization_config.quant_method" },
};

START_TEST(bad_config)
{
	gh__hf_config c;

	assert_fails(GH_EFORMAT, "config.json", try_config(bad_configs[_i].members, &c, error));
	assert_fails(GH_EFORMAT, bad_configs[_i].words,
		     try_config(bad_configs[_i].members, &c, error));
}
END_TEST

START_TEST(config_file)
{
	gh__hf_config c;
	char *deep = malloc(1000001);

	ck_assert_ptr_nonnull(deep);
	assert_fails(GH_ENOENT, "config.json", gh__hf_config_read(&c, root, error));
	write_text("config.json", "");
	assert_fails(GH_EFORMAT, "config.json", gh__hf_config_read(&c, root, error));
	write_text("config.json", "[]");
	assert_fails(GH_EFORMAT, "config.json", gh__hf_config_read(&c, root, error));
	write_text("config.json", "{\"hidden_size\": \"\xff\"}");
	assert_fails(GH_EFORMAT, "config.json", gh__hf_config_read(&c, root, error));
	memset(deep, '[', 1000000);
	deep[1000000] = '\0';
	write_text("config.json", deep);
	free(deep);
	assert_fails(GH_ETOOBIG, "config.json", gh__hf_config_read(&c, root, error));
	write_text("config.json", "");
	ck_assert_int_eq(truncate(at("config.json"), (off_t)1 << 40), 0);
	assert_fails(GH_ETOOBIG, "config.json", gh__hf_config_read(&c, root, error));
	/* An architecture we do not know and whose sizes have other names is named. */
	write_text("config.json", "{\"architectures\":[\"GPT2LMHeadModel\"],\"n_embd\":768}");
	assert_fails(GH_EFORMAT, "GPT2LMHeadModel", gh__hf_config_read(&c, root, error));
}
END_TEST

/* generation_config.json */

START_TEST(generation_config)
{
	gh__generation_config g;

	assert_ok(gh__generation_config_read(&g, root, error));
	ck_assert(!g.present);
	write_text("generation_config.json", "{}");
	assert_ok(gh__generation_config_read(&g, root, error));
	ck_assert(g.present && !g.has_temperature && !g.has_top_p && !g.has_top_k && !g.has_min_p &&
		  !g.has_repetition_penalty && !g.has_max_new_tokens);
	ck_assert_int_eq(g.eos_count, 0);
	write_text("generation_config.json",
		   "{\"bos_token_id\":151643,\"pad_token_id\":151643,\"do_sample\":true,"
		   "\"eos_token_id\":[151645,151643],\"repetition_penalty\":1.05,"
		   "\"temperature\":0.7,\"top_p\":0.8,\"top_k\":20,\"min_p\":0,"
		   "\"max_new_tokens\":2048,\"transformers_version\":\"4.37.0\"}");
	assert_ok(gh__generation_config_read(&g, root, error));
	ck_assert(g.has_temperature && g.has_top_p && g.has_top_k && g.has_min_p &&
		  g.has_repetition_penalty && g.has_max_new_tokens);
	ck_assert_double_eq(g.temperature, 0.7);
	ck_assert_double_eq(g.top_p, 0.8);
	ck_assert_double_eq(g.min_p, 0.0);
	ck_assert_double_eq(g.repetition_penalty, 1.05);
	ck_assert_int_eq(g.top_k, 20);
	ck_assert_int_eq(g.max_new_tokens, 2048);
	ck_assert_int_eq(g.eos_count, 2);
	ck_assert_int_eq(g.eos[0], 151645);
	ck_assert_int_eq(g.eos[1], 151643);
}
END_TEST

START_TEST(bad_generation_config)
{
	static const char *const rows[][2] = {
		{ "\"temperature\":-0.1", "temperature" },
		{ "\"temperature\":\"hot\"", "temperature" },
		{ "\"top_p\":0", "top_p" },
		{ "\"top_p\":1.01", "top_p" },
		{ "\"top_k\":-2", "top_k" },
		{ "\"top_k\":20.5", "top_k" },
		{ "\"min_p\":2", "min_p" },
		{ "\"repetition_penalty\":0", "repetition_penalty" },
		{ "\"max_new_tokens\":0", "max_new_tokens" },
		{ "\"eos_token_id\":{}", "eos_token_id" },
		{ "\"eos_token_id\":99999999", "eos_token_id" },
	};
	gh__generation_config g;
	char text[256];

	for (size_t i = 0; i < COUNT(rows); i++) {
		snprintf(text, sizeof text, "{%s}", rows[i][0]);
		write_text("generation_config.json", text);
		assert_fails(GH_EFORMAT, rows[i][1], gh__generation_config_read(&g, root, error));
	}
	write_text("generation_config.json", "{");
	assert_fails(GH_EFORMAT, "generation_config.json",
		     gh__generation_config_read(&g, root, error));
	ck_assert_int_eq(unlink(at("generation_config.json")), 0);
	ck_assert_int_eq(symlink("gone", at("generation_config.json")), 0);
	assert_fails(GH_EIO, "generation_config.json", gh__generation_config_read(&g, root, error));
}
END_TEST

/* The configurations that the network's models really have. */
START_TEST(golden_configs)
{
	gh__generation_config g;
	gh__hf_config c;

	if (*GH_TEST_GOLDEN == '\0')
		return;
	assert_ok(gh__hf_config_read(&c, GH_TEST_GOLDEN "/qwen2.5", error));
	ck_assert_int_eq(c.hidden, 3584);
	ck_assert_int_eq(c.vocab, 152064);
	ck_assert_double_eq(c.rope_theta, 1e6);
	ck_assert_int_eq(c.torch_dtype, GH_BF16);
	ck_assert_int_eq(c.eos[0], 151645);
	gh__hf_config_done(&c);
	assert_ok(gh__generation_config_read(&g, GH_TEST_GOLDEN "/qwen2.5", error));
	ck_assert_double_eq(g.repetition_penalty, 1.05);
	assert_ok(gh__hf_config_read(&c, GH_TEST_GOLDEN "/qwen2.5/qwq-32b", error));
	ck_assert_int_eq(c.hidden, 5120);
	ck_assert_int_eq(c.layers, 64);
	ck_assert_double_eq(c.rms_norm_eps, 1e-5);
	gh__hf_config_done(&c);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("config");
	TCase *tests = tcase_create("config");

	tcase_add_checked_fixture(tests, make_root, remove_root);
	tcase_add_test(tests, config_defaults);
	tcase_add_test(tests, config_values);
	tcase_add_test(tests, config_rope);
	tcase_add_loop_test(tests, bad_config, 0, (int)COUNT(bad_configs));
	tcase_add_test(tests, config_file);
	tcase_add_test(tests, generation_config);
	tcase_add_test(tests, bad_generation_config);
	tcase_add_test(tests, golden_configs);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
