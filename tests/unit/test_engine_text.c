#include "base/alloc.h"
#include "base/buf.h"
#include "engine_client.h"

static client *c;

static void begin(void)
{
	c = client_create(256, NULL);
}

static void end(void)
{
	client_is_empty(c);
	client_free(c);
}

/* ---- text and stops ---- */

START_TEST(gives_the_whole_text)
{
	static const char *const texts[] = {
		"The children aren't late: 2024 apples",
		"na\xc3\xafve \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x98\x80!", "x", "\n\n\t  spaces  "
	};

	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		query q = query_echo(c, texts[i]);
		answer *a = client_ask(c, &q);

		ck_assert_str_eq(a->choice[0].text, texts[i]);
		ck_assert_str_eq(a->choice[0].pieces, texts[i]);
		ck_assert_int_eq(a->choice[0].finish, GH_FINISH_LENGTH);
		ck_assert_int_eq(a->choice[0].count, q.sampling.max_tokens);
		answer_free(a);
	}
}
END_TEST

/* Bytes that never become a character are not given out, nor held against the next request. */
START_TEST(leaves_half_characters_out)
{
	query q = query_echo(c, "ab\xf0\x9f\x98\x80");

	q.sampling.max_tokens--;
	answer *a = client_ask(c, &q);
	ck_assert_str_eq(a->choice[0].text, "ab");
	answer_free(a);
}
END_TEST

START_TEST(ignores_ids_beyond_the_tokenizer)
{
	int32_t size = gh_tokenizer_size(c->tokenizer);

	ck_assert_int_lt(size, SCRIPT_VOCAB);
	query q = query_echo(c, "ab");
	q.prompt[q.prompt_count++] = size;
	q.prompt[q.prompt_count++] = SCRIPT_VOCAB - 1;
	q.prompt[q.prompt_count++] = q.prompt[2];
	q.prompt[1] += 3;
	q.sampling.max_tokens += 3;
	q.sampling.flags = GH_SAMPLING_SHOW_SPECIAL;
	answer *a = client_ask(c, &q);
	ck_assert_int_eq(a->choice[0].count, q.sampling.max_tokens);
	ck_assert_int_eq(a->choice[0].text[0], 'a');
	ck_assert_uint_le(a->choice[0].text_len, 4);
	answer_free(a);
}
END_TEST

typedef struct text_case {
	const char *says;
	const char *stops[3];
	uint32_t flags;
	int32_t min_tokens;
	bool ends; /* <|im_end|> is an end token */
	const char *text;
	int32_t finish, stop_string;
} text_case;

static const text_case texts[] = {
	{ "one two END three", { "END" }, 0, 0, false, "one two ", GH_FINISH_STOP, 0 },
	{ "one two END three",
	  { "END" },
	  GH_SAMPLING_INCLUDE_STOP,
	  0,
	  false,
	  "one two END",
	  GH_FINISH_STOP,
	  0 },
	{ "one two EN", { "zz", "END" }, 0, 0, false, "one two EN", GH_FINISH_LENGTH, -1 },
	{ "one two three", { "zz", "e t", "o t" }, 0, 0, false, "one two thre", -1, -2 },
	{ "one two three", { "zz", "o t" }, 0, 0, false, "one tw", GH_FINISH_STOP, 1 },
	{ "x \xe4\xbd\xa0\xe5\xa5\xbd y",
	  { "\xe5\xa5\xbd y" },
	  0,
	  0,
	  false,
	  "x \xe4\xbd\xa0",
	  GH_FINISH_STOP,
	  0 },
	{ "stop and stop", { "stop" }, 0, 6, false, "stop and ", GH_FINISH_STOP, 0 },
	{ "ab<|im_end|>cd", { NULL }, 0, 0, true, "ab", GH_FINISH_STOP, -1 },
	{ "ab<|im_end|>cd", { NULL }, GH_SAMPLING_SHOW_SPECIAL, 0, true, "ab", GH_FINISH_STOP, -1 },
	{ "ab<|im_end|>cd",
	  { NULL },
	  GH_SAMPLING_SHOW_SPECIAL | GH_SAMPLING_INCLUDE_STOP,
	  0,
	  true,
	  "ab<|im_end|>",
	  GH_FINISH_STOP,
	  -1 },
	{ "ab<|im_end|>cd", { NULL }, GH_SAMPLING_INCLUDE_STOP, 0, true, "ab", GH_FINISH_STOP, -1 },
	{ "ab<|im_end|>cd",
	  { NULL },
	  GH_SAMPLING_IGNORE_EOS,
	  0,
	  true,
	  "abcd",
	  GH_FINISH_LENGTH,
	  -1 },
	{ "ab<|im_end|>cd",
	  { NULL },
	  GH_SAMPLING_IGNORE_EOS | GH_SAMPLING_SHOW_SPECIAL,
	  0,
	  true,
	  "ab<|im_end|>cd",
	  GH_FINISH_LENGTH,
	  -1 },
	/* what was held back comes with the end token */
	{ "abEN<|im_end|>cd", { "END" }, 0, 0, true, "abEN", GH_FINISH_STOP, -1 },
	{ "abEN<|im_end|>D", { "END" }, GH_SAMPLING_IGNORE_EOS, 0, true, "ab", GH_FINISH_STOP, 0 },
};

START_TEST(stops)
{
	const text_case *t = &texts[_i];
	int32_t eos = gh_tokenizer_eos(c->tokenizer);
	query q = query_echo(c, t->says);

	ck_assert_int_ge(eos, 0);
	q.sampling.flags = t->flags;
	q.sampling.min_tokens = t->min_tokens;
	q.sampling.stop = t->stops;
	while (q.sampling.stop_count < 3 && t->stops[q.sampling.stop_count])
		q.sampling.stop_count++;
	q.sampling.eos_ids = &eos;
	q.sampling.eos_count = t->ends;
	answer *a = client_ask(c, &q);
	const choice *got = &a->choice[0];
	if (t->stop_string == -2) { /* first of the list in one piece or in several: either */
		ck_assert_int_eq(got->finish, GH_FINISH_STOP);
	} else {
		ck_assert_str_eq(got->text, t->text);
		ck_assert_int_eq(got->finish, t->finish);
		ck_assert_int_eq(got->stop_string, t->stop_string);
		if (t->finish == GH_FINISH_STOP && t->stop_string < 0) {
			ck_assert_int_eq(got->stop_id, eos);
			ck_assert_int_eq(got->token[got->count - 1].token, eos);
		} else {
			ck_assert_int_eq(got->stop_id, -1);
		}
	}
	answer_free(a);
}
END_TEST

START_TEST(stop_ids_end_and_min_tokens_bans_them)
{
	query q = query_echo(c, "abcabcabc");
	int32_t ids[] = { SCRIPT_VOCAB + 7, q.prompt[3], -5 }; /* two that can never come */

	q.sampling.stop_ids = ids;
	q.sampling.stop_id_count = 3;
	answer *a = client_ask(c, &q);
	ck_assert_int_eq(a->choice[0].finish, GH_FINISH_STOP);
	ck_assert_int_eq(a->choice[0].stop_id, ids[1]);
	ck_assert_int_eq(a->choice[0].count, 2);
	ck_assert_uint_lt(a->choice[0].text_len, a->choice[0].pieces_len);
	ck_assert_str_eq(a->choice[0].text, gh_tokenizer_token(c->tokenizer, q.prompt[2]));
	answer_free(a);

	/* All but two are banned, one of which ends: it cannot come before the fifth. */
	int32_t prompt[] = { 1, 2, 3 }, allowed[] = { 64, 65 };
	q = query_of(prompt, 3);
	q.sampling.stop_ids = allowed;
	q.sampling.stop_id_count = 1;
	q.sampling.allowed_ids = allowed;
	q.sampling.allowed_count = 2;
	q.sampling.min_tokens = 5;
	q.sampling.max_tokens = 400;
	a = client_ask(c, &q);
	ck_assert_int_eq(a->choice[0].finish, GH_FINISH_STOP);
	ck_assert_int_gt(a->choice[0].count, 5);
	for (int32_t i = 0; i + 1 < a->choice[0].count; i++)
		ck_assert_int_eq(a->choice[0].token[i].token, 65);
	answer_free(a);
	/* Nothing is left to choose from. */
	float ban = -INFINITY;
	q.sampling.bias_ids = allowed + 1;
	q.sampling.bias = &ban;
	q.sampling.bias_count = 1;
	q.sampling.stop_id_count = 0;
	a = client_ask(c, &q);
	for (int32_t i = 0; i < a->choice[0].count; i++)
		ck_assert_int_eq(a->choice[0].token[i].token, 64);
	ck_assert_int_eq(a->choice[0].finish, GH_FINISH_LENGTH);
	answer_free(a);
}
END_TEST

START_TEST(fills_the_context)
{
	int32_t prompt[511] = { 0 };
	query q = query_of(prompt, 500);

	q.sampling.max_tokens = -1;
	answer *a = client_ask(c, &q);
	ck_assert_int_eq(a->choice[0].count, 12);
	ck_assert_int_eq(a->choice[0].finish, GH_FINISH_LENGTH);
	answer_free(a);
	q = query_of(prompt, 511);
	a = client_ask(c, &q);
	ck_assert_int_eq(a->choice[0].count, 1);
	answer_free(a);
}
END_TEST

/* ---- numbers ---- */

/* What a token was worth when it was generated is what it is worth in a prompt. */
START_TEST(prompt_logprobs_repeat_the_answer)
{
	int32_t prompt[] = { 5, 6, 7, 8, 9 };
	query q = query_of(prompt, 5);

	q.sampling.max_tokens = 70;
	q.sampling.temperature = 0.7F;
	q.sampling.flags = GH_SAMPLING_LOGPROBS;
	q.sampling.top_logprobs = 4;
	answer *a = client_ask(c, &q);
	for (int32_t i = 0; i < 70; i++)
		q.prompt[q.prompt_count++] = a->choice[0].token[i].token;
	q.sampling.prompt_logprobs = 4;
	q.sampling.max_tokens = 1;
	answer *b = client_ask(c, &q);
	ck_assert_int_eq(b->prompt_count, 75);
	for (int32_t i = 0; i < 70; i++) {
		same_logprobs(&b->prompt[5 + i].actual, &a->choice[0].token[i], 1);
		same_logprobs(b->prompt[5 + i].top, a->choice[0].top[i], 4);
	}
	answer_free(a);
	answer_free(b);
}
END_TEST

START_TEST(seeds)
{
	int32_t prompt[] = { 5, 6, 7, 8, 9 };
	query q = query_of(prompt, 5);
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;

	q.sampling.max_tokens = 20;
	answer *a = client_ask(c, &q), *b = client_ask(c, &q);
	ck_assert(!same_tokens(&a->choice[0], &b->choice[0]));
	answer_free(a);
	answer_free(b);
	/* An engine's seed fixes the seeds of those that bring none. */
	o.seed = 3;
	o.flags = GH_ENGINE_SEEDED;
	client *one = client_create(64, &o), *two = client_create(64, &o);
	answer *first[2];
	for (int i = 0; i < 2; i++) {
		first[i] = client_ask(one, &q);
		b = client_ask(two, &q);
		same_answer(first[i], b);
		answer_free(b);
	}
	ck_assert(!same_tokens(&first[0]->choice[0], &first[1]->choice[0]));
	for (int i = 0; i < 2; i++)
		answer_free(first[i]);
	client_free(one);
	client_free(two);
}
END_TEST

/* ---- what is refused ---- */

static void refuse(gh_status status, const char *words, const query *q)
{
	answer nobody = { .n = 1 };
	uint64_t id;

	assert_fails(status, words,
		     gh_engine_submit(c->engine, q->prompt, q->prompt_count, &q->sampling,
				      client_event, &nobody, &id, error));
}

#define REFUSE(field, value, words)                             \
	do {                                                    \
		query q_ = query_of((int32_t[]){ 1, 2, 3 }, 3); \
		q_.sampling.field = (value);                    \
		refuse(GH_EINVAL, words, &q_);                  \
	} while (0)

START_TEST(refuses_bad_fields)
{
	REFUSE(temperature, -0.1F, "temperature must be non-negative, got -0.1.");
	REFUSE(temperature, NAN, "temperature must be non-negative, got nan.");
	REFUSE(temperature, INFINITY, "temperature must be non-negative, got inf.");
	REFUSE(top_p, 0, "top_p must be in (0, 1], got 0.0.");
	REFUSE(top_p, 1.5F, "top_p must be in (0, 1], got 1.5.");
	REFUSE(top_p, NAN, "top_p must be in (0, 1], got nan.");
	REFUSE(top_k, -2, "top_k must be 0 (disable), or at least 1, got -2.");
	REFUSE(min_p, 1.01F, "min_p must be in [0, 1], got 1.01.");
	REFUSE(presence_penalty, 2.1F, "presence_penalty must be in [-2, 2], got 2.1.");
	REFUSE(frequency_penalty, -3, "frequency_penalty must be in [-2, 2], got -3.0.");
	REFUSE(repetition_penalty, 0, "repetition_penalty must be greater than zero, got 0.0.");
	REFUSE(repetition_penalty, NAN, "repetition_penalty must be greater than zero, got nan.");
	REFUSE(n, 0, "n must be at least 1, got 0.");
	REFUSE(n, 1000000000, "n must be at most 128, got 1000000000.");
	REFUSE(max_tokens, 0, "max_tokens must be at least 1, got 0.");
	REFUSE(max_tokens, -2, "max_tokens must be at least 1, got -2.");
	REFUSE(min_tokens, -1, "min_tokens must be greater than or equal to 0, got -1.");
	REFUSE(top_logprobs, 21, "Cannot request more than 20 logprobs.");
	REFUSE(top_logprobs, -1, "`top_logprobs` must be a positive value.");
	REFUSE(prompt_logprobs, 21, "Cannot request more than 20 logprobs.");
	REFUSE(prompt_logprobs, -2, "`prompt_logprobs` must be a positive value.");
	REFUSE(flags, 1u << 20, "flags");
	REFUSE(stop_count, 1, "stop: 1 entries, but the list is NULL");
	REFUSE(stop_count, -1, "stop");
	REFUSE(allowed_count, 1000000, "allowed_ids");
	REFUSE(struct_size, 0, "struct_size");

	query q = query_of((int32_t[]){ 1, 2, 3 }, 3);
	q.sampling.temperature = 1e-6F;
	q.sampling.n = 2;
	refuse(GH_EINVAL, "n must be 1 when using greedy sampling, got 2.", &q);
	q = query_of((int32_t[]){ 1 }, 1);
	q.sampling.max_tokens = 3;
	q.sampling.min_tokens = 4;
	refuse(GH_EINVAL, "min_tokens must be less than or equal to max_tokens=3, got 4.", &q);
	q = query_of((int32_t[]){ 1 }, 1);
	q.sampling.stop = (const char *[]){ "a", "" };
	q.sampling.stop_count = 2;
	refuse(GH_EINVAL, "stop cannot contain an empty string.", &q);
	q = query_of((int32_t[]){ 1 }, 1);
	q.sampling.bias_ids = (int32_t[]){ SCRIPT_VOCAB };
	q.sampling.bias = (float[]){ 1 };
	q.sampling.bias_count = 1;
	refuse(GH_EINVAL, "token_id 419 in logit_bias contains out-of-vocab token id", &q);
	q.sampling.bias_ids = (int32_t[]){ 3 };
	q.sampling.bias = (float[]){ NAN };
	refuse(GH_EINVAL, "logit_bias", &q);
	q = query_of((int32_t[]){ 1 }, 1);
	q.sampling.allowed_ids = (int32_t[]){ 4, -1 };
	q.sampling.allowed_count = 2;
	refuse(GH_EINVAL, "allowed_token_ids contains out-of-vocab token id", &q);
}
END_TEST

START_TEST(refuses_bad_prompts)
{
	query q = query_of((int32_t[]){ 1, SCRIPT_VOCAB }, 2);

	refuse(GH_EINVAL, "Token id 419 is out of vocabulary", &q);
	q.prompt[1] = -1;
	refuse(GH_EINVAL, "Token id -1 is out of vocabulary", &q);
	q.prompt_count = 0;
	refuse(GH_EINVAL, "The decoder prompt cannot be empty", &q);
	memset(q.prompt, 0, sizeof q.prompt);
	q.prompt_count = 512;
	refuse(GH_ETOOBIG,
	       "This model's maximum context length is 512 tokens. However, you requested 512 "
	       "tokens in the messages, Please reduce the length of the messages.",
	       &q);
	q.prompt_count = 500;
	q.sampling.max_tokens = 13;
	refuse(GH_ETOOBIG,
	       "This model's maximum context length is 512 tokens. However, you requested 513 "
	       "tokens (500 in the messages, 13 in the completion). Please reduce the length of "
	       "the "
	       "messages or completion.",
	       &q);
	q.sampling.max_tokens = INT32_MAX;
	refuse(GH_ETOOBIG, "you requested 2147484147 tokens", &q);
	gh_engine *e = c->engine;
	uint64_t id;
	assert_fails(GH_EINVAL, "fn",
		     gh_engine_submit(e, q.prompt, 1, NULL, NULL, NULL, &id, error));
}
END_TEST

START_TEST(refuses_bad_options)
{
	gh__runner runner = scripted_create(10, 512);
	gh_engine *engine = NULL;
	gh_engine_options o = GH_ENGINE_OPTIONS_INIT;

#define REFUSE_OPTION(field, value, status, words)                                              \
	do {                                                                                    \
		gh_engine_options o_ = GH_ENGINE_OPTIONS_INIT;                                  \
		o_.field = (value);                                                             \
		assert_fails(status, words,                                                     \
			     gh__engine_create(&engine, &runner, c->tokenizer, &o_, NULL, NULL, \
					       error));                                         \
	} while (0)
	REFUSE_OPTION(max_length, -1, GH_EINVAL, "max_length");
	REFUSE_OPTION(max_length, 513, GH_EINVAL, "max_length: 513 is more than the model's 512");
	REFUSE_OPTION(max_length, 161, GH_ENOMEM, "need 11 KV blocks, there are 10");
	REFUSE_OPTION(max_length, 1, GH_EINVAL, "max_length: 1");
	REFUSE_OPTION(max_sequences, -1, GH_EINVAL, "max_sequences");
	REFUSE_OPTION(step_tokens, -1, GH_EINVAL, "step_tokens");
	REFUSE_OPTION(queue_max, -1, GH_EINVAL, "queue_max");
	REFUSE_OPTION(memory_share, 1.5, GH_EINVAL, "memory_share: 1.5");
	REFUSE_OPTION(memory_share, (double)NAN, GH_EINVAL, "memory_share");
	REFUSE_OPTION(flags, 64, GH_EINVAL, "flags: 0x40");
	REFUSE_OPTION(reserved, 1, GH_EINVAL, "reserved");
	REFUSE_OPTION(struct_size, 3, GH_EINVAL, "struct_size");

	/* What nobody asked for is cut to what there is. */
	gh_engine_stats stats;
	assert_ok(gh__engine_create(&engine, &runner, c->tokenizer, &o, NULL, NULL, error));
	gh_engine_stats_get(engine, &stats);
	ck_assert_int_eq(stats.max_length, 160);
	ck_assert_int_eq(stats.kv_blocks, 10);
	gh_engine_free(engine);
	gh_engine_free(NULL);
}
END_TEST

/* ---- metrics ---- */

static void has_line(const gh__buf *text, const char *line)
{
	ck_assert_msg(strstr(gh__buf_str(text), line) != NULL, "no \"%s\"", line);
}

START_TEST(metrics)
{
	gh__buf text = GH__BUF_INIT(1 << 20);
	query q = query_echo(c, "The children aren't late");
	int32_t tokens = q.sampling.max_tokens, prompt = (int32_t)q.prompt_count;
	char line[128];

	answer_free(client_ask(c, &q));
	gh__metrics_write(c->metrics, &text);
	static const char *const lines[] = {
		"# TYPE vllm:num_requests_running gauge",
		"vllm:num_requests_running{model_name=\"tiny\"} 0",
		"vllm:num_requests_waiting{model_name=\"tiny\"} 0",
		"vllm:gpu_cache_usage_perc{model_name=\"tiny\"} 0",
		"# TYPE vllm:cache_config_info gauge",
		"block_size=\"16\",cache_dtype=\"auto\",gpu_memory_utilization=\"0.9\",",
		"num_gpu_blocks=\"256\",num_cpu_blocks=\"0\",enable_prefix_caching=\"True\"} 1",
		"# TYPE vllm:num_preemptions_total counter",
		"vllm:num_preemptions_total{model_name=\"tiny\"} 0",
		"# TYPE vllm:request_success_total counter",
		"vllm:request_success_total{model_name=\"tiny\",finished_reason=\"length\"} 1",
		"vllm:request_success_total{model_name=\"tiny\",finished_reason=\"stop\"} 0",
		"vllm:request_success_total{model_name=\"tiny\",finished_reason=\"abort\"} 0",
		"# TYPE vllm:iteration_tokens_total histogram",
		"vllm:iteration_tokens_total_bucket{model_name=\"tiny\",le=\"16384",
		"vllm:time_to_first_token_seconds_bucket{model_name=\"tiny\",le=\"2560",
		"vllm:time_to_first_token_seconds_count{model_name=\"tiny\"} 1",
		"vllm:time_per_output_token_seconds_bucket{model_name=\"tiny\",le=\"0.025\"}",
		"vllm:e2e_request_latency_seconds_bucket{model_name=\"tiny\",le=\"7680",
		"vllm:e2e_request_latency_seconds_count{model_name=\"tiny\"} 1",
		"vllm:request_queue_time_seconds_count{model_name=\"tiny\"} 1",
		"vllm:request_inference_time_seconds_count{model_name=\"tiny\"} 1",
		"vllm:request_prefill_time_seconds_count{model_name=\"tiny\"} 1",
		"vllm:request_decode_time_seconds_count{model_name=\"tiny\"} 1",
		"vllm:request_prompt_tokens_bucket{model_name=\"tiny\",le=\"500",
		"vllm:request_generation_tokens_count{model_name=\"tiny\"} 1",
		"vllm:request_max_num_generation_tokens_count{model_name=\"tiny\"} 1",
		"vllm:request_params_max_tokens_count{model_name=\"tiny\"} 1",
		"vllm:request_params_n_bucket{model_name=\"tiny\",le=\"20",
		"vllm:request_params_n_sum{model_name=\"tiny\"} 1",
		"# TYPE vllm:gpu_prefix_cache_queries_total counter",
		"vllm:gpu_prefix_cache_hits_total{model_name=\"tiny\"} 0",
	};
	for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
		has_line(&text, lines[i]);
	ck_assert_ptr_null(
		strstr(gh__buf_str(&text), "tokens_bucket{model_name=\"tiny\",le=\"1000"));
	snprintf(line, sizeof line, "vllm:generation_tokens_total{model_name=\"tiny\"} %d.0\n",
		 tokens);
	has_line(&text, line);
	snprintf(line, sizeof line, "vllm:prompt_tokens_total{model_name=\"tiny\"} %d.0\n", prompt);
	has_line(&text, line);
	snprintf(line, sizeof line,
		 "vllm:time_per_output_token_seconds_count{model_name=\"tiny\"} %d.0\n",
		 tokens - 1);
	has_line(&text, line);
	gh__buf_free(&text);

	/* While it runs the gauges say so. */
	gh__buf_init(&text, 1 << 20);
	scripted_door(c->model, true);
	answer *a = client_send(c, &q);
	scripted_await(c->model);
	gh__metrics_write(c->metrics, &text);
	has_line(&text, "vllm:num_requests_running{model_name=\"tiny\"} 1");
	gh_engine_abort(c->engine, a->id);
	scripted_door(c->model, false);
	answer_free(client_wait(c, a));
	gh__buf_reset(&text);
	gh__metrics_write(c->metrics, &text);
	has_line(&text, "vllm:num_requests_running{model_name=\"tiny\"} 0");
	has_line(&text,
		 "vllm:request_success_total{model_name=\"tiny\",finished_reason=\"abort\"} 1");
	gh__buf_free(&text);
}
END_TEST

/* ---- memory that runs out ---- */

START_TEST(survives_failing_allocations)
{
	query q = query_echo(c, "one two END three and some more of it, until it is long enough");

	q.sampling.stop = (const char *[]){ "END of all", "zz" };
	q.sampling.stop_count = 2;
	q.sampling.prompt_logprobs = 1;
	q.sampling.allowed_ids = (int32_t[]){ 1, 2, 3 };
	q.sampling.allowed_count = 3;
	q.sampling.temperature = 1;
	q.sampling.n = 2;
	q.sampling.min_tokens = 1;
	q.sampling.eos_ids = (int32_t[]){ 409 };
	q.sampling.eos_count = 1;
	int failures = 0;
	for (size_t k = 1; k < 400; k++) {
		answer *a = answer_create(c, &q);
		gh_error error = GH_ERROR_INIT;

		gh__alloc_fail_at(k);
		gh_status status = gh_engine_submit(c->engine, q.prompt, q.prompt_count,
						    &q.sampling, client_event, a, &a->id, &error);
		if (status == GH_OK) {
			client_wait(c, a);
			for (int i = 0; i < 2; i++) {
				if (a->choice[i].finish != GH_FINISH_ERROR)
					continue;
				ck_assert_int_eq(a->choice[i].error, GH_ENOMEM);
				failures++;
			}
		} else {
			ck_assert_int_eq(status, GH_ENOMEM);
			failures++;
		}
		gh__alloc_fail_at(0);
		client_is_empty(c);
		answer_free(a);
	}
	ck_assert_int_gt(failures, 20);
	answer *a = client_ask(c, &q);
	ck_assert_int_eq(a->choice[1].finish, GH_FINISH_LENGTH);
	answer_free(a);
}
END_TEST

START_TEST(survives_failing_allocations_at_birth)
{
	gh__runner runner = scripted_create(16, 512);
	gh_engine *engine = NULL;
	size_t k = 1;

	for (;; k++) {
		gh_error error = GH_ERROR_INIT;

		gh__alloc_fail_at(k);
		gh_status status =
			gh__engine_create(&engine, &runner, c->tokenizer, NULL, NULL, NULL, &error);
		gh__alloc_fail_at(0);
		if (status == GH_OK)
			break;
		ck_assert_int_eq(status, GH_ENOMEM);
	}
	ck_assert_uint_gt(k, 10);
	gh_engine_free(engine);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("engine_text");
	TCase *tc = tcase_create("text");

	tcase_add_checked_fixture(tc, begin, end);
	tcase_add_test(tc, gives_the_whole_text);
	tcase_add_test(tc, leaves_half_characters_out);
	tcase_add_test(tc, ignores_ids_beyond_the_tokenizer);
	tcase_add_loop_test(tc, stops, 0, (int)(sizeof texts / sizeof texts[0]));
	tcase_add_test(tc, stop_ids_end_and_min_tokens_bans_them);
	tcase_add_test(tc, fills_the_context);
	tcase_add_test(tc, prompt_logprobs_repeat_the_answer);
	tcase_add_test(tc, seeds);
	tcase_add_test(tc, refuses_bad_fields);
	tcase_add_test(tc, refuses_bad_prompts);
	tcase_add_test(tc, refuses_bad_options);
	tcase_add_test(tc, metrics);
	tcase_add_test(tc, survives_failing_allocations);
	tcase_add_test(tc, survives_failing_allocations_at_birth);
	suite_add_tcase(suite, tc);
	return unit_main(suite);
}
