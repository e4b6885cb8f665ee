#include "model_session.h"

#include <math.h>
#include <stdatomic.h>

#include "device/narrow.h"
#include "model_files.h"

static model_files files;

static void setup(void)
{
	make_root();
	files_read(&files, checkpoint_folder("qwen2"));
}

static void teardown(void)
{
	files_free(&files);
	remove_root();
}

static const char q_proj[] = "model.layers.1.self_attn.q_proj.weight";

static gh_status try_load(const gh_model_options *options, gh_error *error)
{
	gh_model *model = NULL;
	gh_status status = gh_model_create(&model, root, options, error);

	gh_model_free(model);
	return status;
}

static gh_status try_inspect(gh_error *error)
{
	gh_model_info info;

	return gh_model_inspect(&info, root, NULL, error);
}

/* ---- checkpoints that are not what they should be ---- */

START_TEST(a_written_copy_loads)
{
	files_write(&files);
	assert_ok(try_load(NULL, error));
	assert_ok(try_inspect(error));
}
END_TEST

START_TEST(missing_tensors_are_named)
{
	static const char *const names[] = { "model.embed_tokens.weight",
					     "model.norm.weight",
					     "lm_head.weight",
					     "model.layers.0.input_layernorm.weight",
					     "model.layers.2.mlp.up_proj.weight",
					     "model.layers.1.self_attn.k_proj.bias" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		files_remove(&files, names[i]);
		files_write(&files);
		assert_fails(GH_EFORMAT, names[i], try_load(NULL, error));
		assert_fails(GH_EFORMAT, names[i], try_inspect(error));
		teardown();
		setup();
	}
}
END_TEST

START_TEST(strangers_are_named)
{
	static const char *const names[] = { "model.layers.3.input_layernorm.weight",
					     "model.layers.0.self_attn.o_proj.bias",
					     "model.layers.00.mlp.up_proj.weight", "extra",
					     "model.layers.0.self_attn.q_proj.weight_scale" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		files_add(&files, names[i], GH_BF16, 1, 96, 1);
		files_write(&files);
		assert_fails(GH_EFORMAT, names[i], try_load(NULL, error));
		assert_fails(GH_EFORMAT, "model.safetensors", try_load(NULL, error));
		files_remove(&files, names[i]);
	}
	/* What older programs left behind says nothing. */
	files_add(&files, "model.layers.0.self_attn.rotary_emb.inv_freq", GH_F32, 1, 4, 1);
	files_write(&files);
	assert_ok(try_load(NULL, error));
}
END_TEST

START_TEST(shapes_and_types_are_checked)
{
	file_tensor *t = files_find(&files, q_proj);
	file_tensor before = *t;

	t->shape[0] = 48, t->shape[1] = 192;
	files_write(&files);
	assert_fails(GH_EFORMAT, q_proj, try_load(NULL, error));
	assert_fails(GH_EFORMAT, "shape [48, 192], [96, 96] expected", try_load(NULL, error));
	*t = before;
	t->dims = 1;
	t->shape[0] = 9216;
	files_write(&files);
	assert_fails(GH_EFORMAT, "shape [9216], [96, 96] expected", try_load(NULL, error));
	*t = before;
	t->dtype = GH_I16;
	files_write(&files);
	assert_fails(GH_ENOTSUP, "I16", try_load(NULL, error));
	*t = before;
	t->dtype = GH_E4M3;
	t->shape[1] = 192;
	files_write(&files);
	assert_fails(GH_ENOTSUP, "F8_E4M3", try_load(NULL, error));
	*t = before;
}
END_TEST

START_TEST(a_tied_head_may_be_there)
{
	json_object_set_new(files.config, "tie_word_embeddings", json_true());
	files_write(&files);
	assert_ok(try_load(NULL, error));
	json_object_set_new(files.config, "tie_word_embeddings", json_false());
	files_remove(&files, "lm_head.weight");
	files_write(&files);
	assert_fails(GH_EFORMAT, "lm_head.weight", try_load(NULL, error));
}
END_TEST

START_TEST(values_must_be_finite_in_their_new_type)
{
	static const char *const names[] = { q_proj, "model.norm.weight",
					     "model.embed_tokens.weight",
					     "model.layers.0.self_attn.v_proj.bias",
					     "model.layers.2.mlp.down_proj.weight" };
	static const struct {
		uint16_t bits; /* bf16 */
		int32_t dtype, quantization;
		bool good;
	} cases[] = {
		{ 0x7fc0, GH_BF16, GH_QUANT_NONE, false }, /* NaN */
		{ 0xff80, GH_BF16, GH_QUANT_NONE, false }, /* -infinity */
		{ 0x47a0, GH_F16, GH_QUANT_NONE, false },  /* 81920, beyond f16 */
		{ 0x47a0, GH_F16, GH_QUANT_FP8_W8A8, false },
		{ 0x47a0, GH_BF16, GH_QUANT_NONE, true },
		{ 0x4740, GH_F16, GH_QUANT_NONE, true }, /* 49152 */
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		file_tensor *t = files_find(&files, names[i]);
		uint16_t *value = (uint16_t *)(void *)t->data + 17, before = *value;

		for (size_t j = 0; j < sizeof cases / sizeof cases[0]; j++) {
			gh_model_options o = GH_MODEL_OPTIONS_INIT;

			o.dtype = cases[j].dtype;
			o.quantization = cases[j].quantization;
			*value = cases[j].bits;
			files_write(&files);
			if (cases[j].good)
				assert_ok(try_load(&o, error));
			else
				assert_fails(GH_ENUMERIC, names[i], try_load(&o, error));
		}
		*value = before;
	}
}
END_TEST

/* ---- files that change while they are read ---- */

typedef struct cutter {
	double at;
	double last;
	bool cut;
} cutter;

static int cut_file(double done, const char *phase, void *userdata)
{
	cutter *c = userdata;

	ck_assert_str_eq(phase, "weights");
	ck_assert(done >= c->last && done <= 1.0);
	c->last = done;
	if (done >= c->at && !c->cut) {
		c->cut = true;
		ck_assert_int_eq(truncate(at("model.safetensors"), 20000), 0);
	}
	return 0;
}

START_TEST(a_file_that_shrinks_is_an_error)
{
	static const int layouts[][2] = { { 1, 1 }, { 3, 1 }, { 2, 2 } };
	static const int quantizations[] = { GH_QUANT_NONE, GH_QUANT_FP8_W8A8 };

	for (size_t i = 0; i < 3; i++) {
		for (size_t j = 0; j < 2; j++) {
			gh_model_options o = GH_MODEL_OPTIONS_INIT;
			cutter c = { .at = 0.02 };

			files_write(&files);
			o.tensor_parallel = layouts[i][0];
			o.pipeline_parallel = layouts[i][1];
			o.quantization = quantizations[j];
			o.progress = cut_file;
			o.userdata = &c;
			assert_fails(GH_EIO, "model.safetensors", try_load(&o, error));
			ck_assert(c.cut);
		}
	}
}
END_TEST

START_TEST(progress_ends_at_one)
{
	for (int tp = 1; tp <= 4; tp++) {
		gh_model_options o = GH_MODEL_OPTIONS_INIT;
		cutter c = { .at = 2.0 };

		files_write(&files);
		o.tensor_parallel = tp;
		o.pipeline_parallel = tp % 2 + 1;
		o.quantization = tp % 2 ? GH_QUANT_FP8_W8A8 : GH_QUANT_NONE;
		o.progress = cut_file;
		o.userdata = &c;
		assert_ok(try_load(&o, error));
		ck_assert_double_eq(c.last, 1.0);
	}
}
END_TEST

/* ---- loads that are cancelled ---- */

typedef struct canceller {
	int calls, at; /* the call that cancels; 0: none */
	atomic_int within;
} canceller;

static int cancel(double done, const char *phase, void *userdata)
{
	canceller *c = userdata;

	ck_assert_str_eq(phase, "weights");
	ck_assert(done > 0.0 && done <= 1.0);
	ck_assert_int_eq(atomic_fetch_add(&c->within, 1), 0);
	c->calls++;
	ck_assert(c->at == 0 || c->calls <= c->at);
	atomic_fetch_sub(&c->within, 1);
	return c->calls == c->at;
}

/* The first call, one in between, the last: the load ends there, whoever made the call. */
START_TEST(cancelled)
{
	static const int layouts[][2] = { { 1, 1 }, { 3, 1 }, { 2, 2 } };
	static const int quantizations[] = { GH_QUANT_NONE, GH_QUANT_FP8_W8A8 };
	gh_model_options o = GH_MODEL_OPTIONS_INIT;
	canceller c = { 0 };

	files_write(&files);
	o.tensor_parallel = layouts[_i / 2][0];
	o.pipeline_parallel = layouts[_i / 2][1];
	o.quantization = quantizations[_i % 2];
	o.progress = cancel;
	o.userdata = &c;
	assert_ok(try_load(&o, error));
	const int all = c.calls, calls[] = { 1, 2, all / 2, all - 1, all };
	ck_assert_int_gt(all, 8);
	for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
		gh_model *model = NULL;

		c = (canceller){ .at = calls[i] };
		assert_fails(GH_ECANCELLED, "loading was cancelled",
			     gh_model_create(&model, root, &o, error));
		ck_assert_ptr_null(model);
		ck_assert_int_eq(c.calls, calls[i]);
	}
	c = (canceller){ 0 };
	assert_ok(try_load(&o, error));
}
END_TEST

/* ---- checkpoints in e4m3 ---- */

static const char *const modules[] = { "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
				       "self_attn.o_proj", "mlp.gate_proj",    "mlp.up_proj",
				       "mlp.down_proj" };
enum { MODULES = 7 };

static file_tensor *module_weight(int layer, int module)
{
	char name[128];

	snprintf(name, sizeof name, "model.layers.%d.%s.weight", layer, modules[module]);
	return files_find(&files, name);
}

static size_t numbers_of(const file_tensor *t)
{
	return (size_t)(t->shape[0] * t->shape[1]);
}

static float f16_absmax(const file_tensor *t, int64_t row, int64_t rows)
{
	size_t count = (size_t)(rows * t->shape[1]);
	uint16_t *narrow = gh__malloc(count * 2);
	float most;

	gh__convert(narrow, GH_F16, t->data + (size_t)(row * t->shape[1]) * 2, GH_BF16, count);
	most = gh__absmax(narrow, GH_F16, count);
	gh__free(narrow);
	return most;
}

typedef enum scaling { FUSED, TENSOR, CHANNEL } scaling;

/* Replace a module's weight by e4m3 codes and a scale beside it. */
static void quantise_module(int layer, int module, scaling how)
{
	static const int fused_with[MODULES][2] = { { 0, 2 }, { 0, 2 }, { 0, 2 }, { 3, 3 },
						    { 4, 5 }, { 4, 5 }, { 6, 6 } };
	file_tensor *t = module_weight(layer, module), *s;
	size_t count = numbers_of(t);
	uint16_t *narrow = gh__malloc(count * 2);
	float most = 0.0F, scales[512];
	char name[160];

	ck_assert_int_le(t->shape[0], 512);
	gh__convert(narrow, GH_F16, t->data, GH_BF16, count);
	for (int i = fused_with[module][0]; how == FUSED && i <= fused_with[module][1]; i++) {
		/* The maximum was taken before any of them was replaced. */
		snprintf(name, sizeof name, "model.layers.%d.%s.absmax", layer, modules[i]);
		most = fmaxf(most, *(float *)(void *)files_find(&files, name)->data);
	}
	if (how == TENSOR)
		most = f16_absmax(t, 0, t->shape[0]);
	for (int64_t row = 0; row < t->shape[0]; row++) {
		size_t width = (size_t)t->shape[1];

		scales[row] = (how == CHANNEL ? f16_absmax(t, row, 1) : most) / 448.0F;
		/* Codes are narrower than what they replace, so row after row fits in place. */
		gh__quantise_weight(t->data + (size_t)row * width, narrow + (size_t)row * width,
				    GH_F16, width, scales[row]);
	}
	gh__free(narrow);
	t->dtype = GH_E4M3;
	t->size = count;
	snprintf(name, sizeof name, "%s_scale", t->name);
	s = how == CHANNEL ? files_add(&files, name, GH_F32, 2, t->shape[0], 1)
			   : files_add(&files, name, GH_F32, module % 2, 1, 1);
	memcpy(s->data, scales, s->size);
}

static void quantise_files(scaling how)
{
	char name[160];

	for (int layer = 0; layer < 3 && how == FUSED; layer++) {
		for (int m = 0; m < MODULES; m++) {
			const file_tensor *t = module_weight(layer, m);
			float most = f16_absmax(t, 0, t->shape[0]);

			snprintf(name, sizeof name, "model.layers.%d.%s.absmax", layer, modules[m]);
			memcpy(files_add(&files, name, GH_F32, 1, 1, 1)->data, &most, 4);
		}
	}
	for (int layer = 0; layer < 3; layer++)
		for (int m = 0; m < MODULES; m++)
			quantise_module(layer, m, how);
	for (int i = files.count - 1; i >= 0; i--)
		if (strstr(files.tensors[i].name, ".absmax") != NULL)
			files_remove(&files, files.tensors[i].name);
}

static void set_quantization(const char *text)
{
	json_t *value = json_loads(text, 0, NULL);

	ck_assert_ptr_nonnull(value);
	json_object_set_new(files.config, "quantization_config", value);
}

#define COMPRESSED(strategy)                                                                       \
	"{\"quant_method\": \"compressed-tensors\", \"format\": \"float-quantized\", \"ignore\": " \
	"[\"lm_head\"], \"config_groups\": {\"group_0\": {\"targets\": [\"Linear\"], "             \
	"\"weights\": {\"num_bits\": 8, \"type\": \"float\", \"symmetric\": true, \"strategy\": "  \
	"\"" strategy "\", \"dynamic\": false}, \"input_activations\": {\"num_bits\": 8, "         \
	"\"type\": \"float\", \"strategy\": \"token\", \"dynamic\": true}}}}"

static void logits_of(const char *folder, int32_t quantization, int tp, float *out,
		      const char *numerics)
{
	static const int32_t ids[] = { 3, 141, 59, 26, 53, 58, 97, 93, 238, 46 };
	gh_model_options o = GH_MODEL_OPTIONS_INIT;
	session s;

	o.dtype = GH_F16;
	o.quantization = quantization;
	o.tensor_parallel = tp;
	session_open(&s, folder, &o);
	ck_assert_str_eq(s.model->info.numerics, numerics);
	session_feed(&s, 0, ids, 10, 10, out);
	session_close(&s);
}

static double difference(const float *a, const float *b, size_t count)
{
	double d = 0.0, size = 0.0;

	for (size_t i = 0; i < count; i++) {
		d += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
		size += (double)b[i] * (double)b[i];
	}
	return sqrt(d / size);
}

enum { LOGITS = 10 * 419 };
static float online[LOGITS], stored[LOGITS], plain[LOGITS];

/* Codes and scales as the online rule makes them give the online rule's bits. */
START_TEST(stored_e4m3_is_what_online_makes)
{
	logits_of(checkpoint_folder("qwen2"), GH_QUANT_FP8_W8A8, 1, online, "fp8-w8a8/1");
	quantise_files(FUSED);
	set_quantization("{\"quant_method\": \"fp8\", \"activation_scheme\": \"dynamic\", "
			 "\"ignored_layers\": [\"lm_head\"]}");
	files_write(&files);
	for (int tp = 1; tp <= 3; tp++) {
		logits_of(root, GH_QUANT_AUTO, tp, stored, "fp8-w8a8/1+shards");
		ck_assert_mem_eq(stored, online, sizeof online);
	}
	logits_of(checkpoint_folder("qwen2"), GH_QUANT_FP8_W8A16, 1, online, "fp8-w8a16/1");
	logits_of(root, GH_QUANT_FP8_W8A16, 4, stored, "fp8-w8a16/1+shards");
	ck_assert_mem_eq(stored, online, sizeof online);
}
END_TEST

START_TEST(stored_scales_of_shards_and_channels)
{
	static const struct {
		scaling how;
		const char *config, *numerics;
	} cases[] = {
		{ TENSOR, "{\"quant_method\": \"fp8\"}", "fp8-w8a8/1+shards" },
		{ TENSOR, COMPRESSED("tensor"), "fp8-w8a8/1+shards" },
		{ CHANNEL, COMPRESSED("channel"), "fp8-w8a8/1+channels" },
	};

	logits_of(checkpoint_folder("qwen2"), GH_QUANT_NONE, 1, plain, "f16/1");
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		quantise_files(cases[i].how);
		set_quantization(cases[i].config);
		files_write(&files);
		logits_of(root, GH_QUANT_AUTO, 1, online, cases[i].numerics);
		ck_assert_double_lt(difference(online, plain, LOGITS), 0.2);
		logits_of(root, GH_QUANT_AUTO, 3, stored, cases[i].numerics);
		ck_assert_mem_eq(stored, online, sizeof online);
		teardown();
		setup();
	}
}
END_TEST

START_TEST(stored_e4m3_is_checked)
{
	static const char scale[] = "model.layers.1.mlp.up_proj.weight_scale";
	gh_model_options o = GH_MODEL_OPTIONS_INIT;
	file_tensor *t;
	float value;

	quantise_files(TENSOR);
	set_quantization("{\"quant_method\": \"fp8\"}");
	o.quantization = GH_QUANT_NONE;
	files_write(&files);
	assert_fails(GH_EINVAL, "does not match", try_load(&o, error));
	t = files_find(&files, scale);
	for (int i = 0; i < 3; i++) {
		value = i == 0 ? 0.0F : i == 1 ? -1.0F : NAN;
		memcpy(t->data, &value, sizeof value);
		files_write(&files);
		assert_fails(GH_EFORMAT, scale, try_load(NULL, error));
	}
	value = 1.0F;
	memcpy(t->data, &value, sizeof value);
	module_weight(2, 3)->data[11] = 0x7f;
	files_write(&files);
	assert_fails(GH_ENUMERIC, "layers.2.self_attn.o_proj", try_load(NULL, error));
	files_remove(&files, scale);
	files_write(&files);
	assert_fails(GH_EFORMAT, scale, try_load(NULL, error));
	files_add(&files, scale, GH_F32, 1, 7, 1);
	files_write(&files);
	assert_fails(GH_EFORMAT, "7 scales", try_load(NULL, error));
}
END_TEST

/* Scales of the cache: halves are exact, so only codes that saturate or vanish may tell. */
START_TEST(kv_scales_are_used)
{
	gh_model_options o = GH_MODEL_OPTIONS_INIT;
	static const int32_t ids[] = { 3, 141, 59, 26, 53, 58, 97, 93, 238, 46 };
	const float scale = 0.37F;
	session s;

	o.dtype = GH_F16;
	o.kv_dtype = GH_E4M3;
	files_write(&files);
	session_open(&s, root, &o);
	session_feed(&s, 0, ids, 10, 10, plain);
	session_close(&s);
	for (int layer = 0; layer < 3; layer++) {
		char name[96];

		snprintf(name, sizeof name, "model.layers.%d.self_attn.%s", layer,
			 layer == 0   ? "kv_scale"
			 : layer == 1 ? "attn.k_scale"
				      : "k_scale");
		memcpy(files_add(&files, name, GH_F32, layer % 2, 1, 1)->data, &scale, 4);
	}
	files_write(&files);
	session_open(&s, root, &o);
	session_feed(&s, 0, ids, 10, 10, stored);
	session_close(&s);
	ck_assert_mem_ne(stored, plain, sizeof plain);
	ck_assert_double_lt(difference(stored, plain, LOGITS), 0.2);
}
END_TEST

/* ---- random weights ---- */

START_TEST(random_weights_do_not_depend_on_the_layout)
{
	static const int32_t ids[] = { 3, 141, 59, 26, 53, 58, 97, 93, 238, 46 };
	static const int layouts[][2] = { { 1, 1 }, { 2, 1 }, { 3, 2 }, { 4, 3 } };

	ck_assert_int_eq(json_dump_file(files.config, at("config.json"), 0), 0);
	for (int quantised = 0; quantised < 2; quantised++) {
		for (size_t i = 0; i < 4; i++) {
			gh_model_options o = GH_MODEL_OPTIONS_INIT;
			float *logits = i == 0 ? online : stored;
			session s;

			o.load_format = GH_LOAD_DUMMY;
			o.quantization = quantised ? GH_QUANT_FP8_W8A8 : GH_QUANT_NONE;
			o.tensor_parallel = layouts[i][0];
			o.pipeline_parallel = layouts[i][1];
			session_open(&s, root, &o);
			session_feed(&s, 0, ids, 10, 3, logits);
			session_close(&s);
			if (i > 0)
				ck_assert_mem_eq(stored, online, sizeof online);
		}
		for (int i = 0; i < LOGITS; i++)
			ck_assert(isfinite(online[i]));
	}
}
END_TEST

START_TEST(random_weights_have_outliers)
{
	gh__model_desc desc;
	gh__reader reader = { &desc, NULL };
	gh__tensor t;
	float *values;
	double sum = 0.0, squares = 0.0;
	size_t count;

	ck_assert_int_eq(json_dump_file(files.config, at("config.json"), 0), 0);
	assert_ok(gh__model_desc_read(&desc, root, NULL, error));
	ck_assert(gh__tensor_describe(&t, &desc, GH__SLOT_K_BIAS, 2));
	values = gh__malloc((size_t)(t.rows * t.columns) * sizeof *values);
	assert_ok(gh__reader_rows(&reader, &t, 0, t.rows, values, error));
	ck_assert_float_gt(gh__absmax(values, GH_F32, (size_t)t.rows), 20.0F);
	gh__free(values);

	ck_assert(gh__tensor_describe(&t, &desc, GH__SLOT_Q, 0));
	count = (size_t)(t.rows * t.columns);
	values = gh__malloc(count * sizeof *values);
	assert_ok(gh__reader_rows(&reader, &t, 0, t.rows, values, error));
	for (size_t i = 0; i < count; i++) {
		sum += (double)values[i];
		squares += (double)values[i] * (double)values[i];
	}
	ck_assert_double_lt(fabs(sum / (double)count), 0.01);
	ck_assert_double_eq_tol(sqrt(squares / (double)count), 1.2 / sqrt(96.0), 0.01);
	gh__free(values);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("weights");
	TCase *tests = tcase_create("weights");

	tcase_add_checked_fixture(tests, setup, teardown);
	tcase_add_test(tests, a_written_copy_loads);
	tcase_add_test(tests, missing_tensors_are_named);
	tcase_add_test(tests, strangers_are_named);
	tcase_add_test(tests, shapes_and_types_are_checked);
	tcase_add_test(tests, a_tied_head_may_be_there);
	tcase_add_test(tests, values_must_be_finite_in_their_new_type);
	tcase_add_test(tests, a_file_that_shrinks_is_an_error);
	tcase_add_test(tests, progress_ends_at_one);
	tcase_add_loop_test(tests, cancelled, 0, 6);
	tcase_add_test(tests, stored_e4m3_is_what_online_makes);
	tcase_add_test(tests, stored_scales_of_shards_and_channels);
	tcase_add_test(tests, stored_e4m3_is_checked);
	tcase_add_test(tests, kv_scales_are_used);
	tcase_add_test(tests, random_weights_do_not_depend_on_the_layout);
	tcase_add_test(tests, random_weights_have_outliers);
	suite_add_tcase(suite, tests);
	return unit_main(suite);
}
