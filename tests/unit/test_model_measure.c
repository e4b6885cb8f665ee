#include "unit.h"

#include <string.h>

#include <gonkahost/model.h>

static gh_model *load(gh_load_format format)
{
	gh_model_options options = GH_MODEL_OPTIONS_INIT;
	gh_model *model = NULL;

	options.device = "cpu";
	options.load_format = format;
	assert_ok(gh_model_create(&model, GH_TEST_DATA "/checkpoints/qwen2", &options, error));
	return model;
}

START_TEST(measures_steps)
{
	gh_model_measure_options options = GH_MODEL_MEASURE_OPTIONS_INIT;
	gh_model *model = load(GH_LOAD_DUMMY);
	gh_model_rates rates;

	options.batch = 3;
	options.context = 20;
	options.prompt = 33;
	options.steps = 2;
	assert_ok(gh_model_measure(&rates, model, &options, error));
	ck_assert_int_eq(rates.batch, 3);
	ck_assert_int_eq(rates.context, 20);
	ck_assert_int_eq(rates.prompt, 33);
	ck_assert_double_gt(rates.decode_seconds, 0.0);
	ck_assert_double_gt(rates.prefill_seconds, 0.0);
	ck_assert_double_gt(rates.decode_bytes, 0.0);
	ck_assert_double_gt(rates.prefill_flops, 0.0);
	gh_model_free(model);
}
END_TEST

START_TEST(refuses_to_measure)
{
	gh_model_measure_options options = GH_MODEL_MEASURE_OPTIONS_INIT;
	gh_model *model = load(GH_LOAD_AUTO);
	gh_model_rates rates;

	assert_fails(GH_EINVAL, "model", gh_model_measure(&rates, NULL, &options, error));
	options.context = 1 << 30;
	assert_fails(GH_EINVAL, "positions", gh_model_measure(&rates, model, &options, error));
	options.context = -1;
	assert_fails(GH_EINVAL, "context -1", gh_model_measure(&rates, model, &options, error));
	options.struct_size = 0;
	assert_fails(GH_EINVAL, "struct_size", gh_model_measure(&rates, model, &options, error));
	gh_model_free(model);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("model_measure");
	TCase *tcase = tcase_create("model_measure");

	suite_add_tcase(suite, tcase);
	tcase_add_test(tcase, measures_steps);
	tcase_add_test(tcase, refuses_to_measure);
	return unit_main(suite);
}
