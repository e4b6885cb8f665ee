#include "openai_model.h"

#include <math.h>

#include "json/json.h"
#include "openai/answer.h"

typedef struct spoken {
	int32_t token;
	const char *text, *piece;
	gh_finish finish;
	int32_t stop_id, stop_string;
} spoken;

static void say(gh__openai_answer *a, int32_t choice, const spoken *s, gh__buf *out)
{
	const gh_logprob top[] = { { 9, 1, -0.25F, 0 },
				   { 3, 2, -1.5F, 0 },
				   { 0, 3, -INFINITY, 0 } };
	gh_token_event e = { .choice = choice,
			     .token = s->token,
			     .text = s->text,
			     .text_len = strlen(s->text),
			     .piece = s->piece,
			     .piece_len = strlen(s->piece),
			     .logprob = { s->token, 2, -1.5F, 0 },
			     .top = top,
			     .top_count = 3,
			     .finish = s->finish,
			     .stop_id = s->stop_id,
			     .stop_string = s->stop_string };

	gh__openai_answer_event(a, 0, &e, out);
}

static const spoken hello[] = { { 3, "He", "He", GH_FINISH_NONE, -1, -1 },
				{ 409, "y\"", "", GH_FINISH_STOP, 409, -1 } };

static void answer(gh__buf *out, gh__openai_request *r, const spoken *s, size_t count)
{
	gh__openai_error error = { 0 };
	gh__openai_answer *a;

	ck_assert_int_eq(gh__openai_request_encode(r, &model, &error), GH_OK);
	ck_assert_int_eq(gh__openai_answer_create(&a, r, &model, "ID", 7), GH_OK);
	if (r->stream)
		gh__openai_answer_begin(a, out);
	for (size_t i = 0; i < count; i++)
		say(a, 0, &s[i], out);
	ck_assert_int_eq(gh__openai_answer_end(a, out), GH_OK);
	gh__openai_answer_free(a);
	gh__openai_request_free(r);
}

START_TEST(chat_body)
{
	gh__openai_request r = chat_with("'logprobs':true,'top_logprobs':2");
	gh__buf out = GH__BUF_INIT(1 << 20);

	answer(&out, &r, hello, 2);
	ck_assert_str_eq(
		gh__buf_str(&out),
		"{\"id\":\"chatcmpl-ID\",\"object\":\"chat.completion\",\"created\":7,\"model\":"
		"\"m\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
		"\"reasoning_content\":null,\"content\":\"Hey\\\"\",\"tool_calls\":[]},"
		"\"logprobs\":{\"content\":[{\"token\":\"3\",\"logprob\":-1.5,\"bytes\":[72,101],"
		"\"top_logprobs\":[{\"token\":\"3\",\"logprob\":-1.5,\"bytes\":[51]},{\"token\":"
		"\"9\",\"logprob\":-0.25,\"bytes\":[57]}]},{\"token\":\"409\",\"logprob\":-1.5,"
		"\"bytes\":[],\"top_logprobs\":[{\"token\":\"409\",\"logprob\":-1.5,\"bytes\":"
		"[52,48,57]},{\"token\":\"9\",\"logprob\":-0.25,\"bytes\":[57]}]}]},"
		"\"finish_reason\":\"stop\",\"stop_reason\":null}],\"usage\":{\"prompt_tokens\":17,"
		"\"total_tokens\":19,\"completion_tokens\":2,\"prompt_tokens_details\":null},"
		"\"prompt_logprobs\":null,\"kv_transfer_params\":null}");
	gh__buf_free(&out);
}
END_TEST

#define CHUNK                                                                               \
	"data: {\"id\":\"chatcmpl-ID\",\"object\":\"chat.completion.chunk\",\"created\":7," \
	"\"model\":\"other\",\"choices\":["

START_TEST(chat_stream)
{
	gh__openai_request r = chat_with("'model':'other','stream':true,'stream_options':"
					 "{'continuous_usage_stats':true}");
	gh__buf out = GH__BUF_INIT(1 << 20);

	answer(&out, &r, hello, 2);
	ck_assert_str_eq(
		gh__buf_str(&out),
		CHUNK "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
		      "\"logprobs\":null,\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":17,"
		      "\"total_tokens\":17,\"completion_tokens\":0}}\n\n" CHUNK
		      "{\"index\":0,\"delta\":{\"content\":\"He\",\"tool_calls\":[]}}],\"usage\":{"
		      "\"prompt_tokens\":17,\"total_tokens\":18,\"completion_tokens\":1}}\n\n" CHUNK
		      "{\"index\":0,\"delta\":{\"content\":\"y\\\"\",\"tool_calls\":[]},"
		      "\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":17,"
		      "\"total_tokens\":19,\"completion_tokens\":2}}\n\n" CHUNK
		      "],\"usage\":{\"prompt_tokens\":17,\"total_tokens\":19,"
		      "\"completion_tokens\":2}}\n\ndata: [DONE]\n\n");
	gh__buf_free(&out);
}
END_TEST

/* The value at "choices"[0][key], as text. */
static void choice_value(char *value, size_t size, const gh__buf *out, const char *key)
{
	json_t *tree = gh__json_parse(gh__buf_str(out), out->len, true, NULL);

	ck_assert_ptr_nonnull(tree);
	char *text =
		gh__json_text(json_object_get(json_array_get(json_object_get(tree, "choices"), 0),
					      key),
			      NULL);
	snprintf(value, size, "%s", text);
	gh_free(text);
	json_decref(tree);
}

START_TEST(stop_reasons)
{
	static const struct {
		const char *fields;
		spoken last;
		const char *finish, *reason;
	} cases[] = {
		{ "", { 409, "", "", GH_FINISH_STOP, 409, -1 }, "\"stop\"", "null" },
		{ "", { 407, "", "", GH_FINISH_STOP, 407, -1 }, "\"stop\"", "null" },
		{ "'stop_token_ids':[407]",
		  { 407, "", "", GH_FINISH_STOP, 407, -1 },
		  "\"stop\"",
		  "407" },
		{ "'stop_token_ids':[409]",
		  { 409, "", "", GH_FINISH_STOP, 409, -1 },
		  "\"stop\"",
		  "null" },
		{ "'stop_token_ids':[409],'ignore_eos':true",
		  { 409, "", "", GH_FINISH_STOP, 409, -1 },
		  "\"stop\"",
		  "409" },
		{ "'stop':['a','\\n']",
		  { 5, "", "", GH_FINISH_STOP, -1, 1 },
		  "\"stop\"",
		  "\"\\n\"" },
		{ "", { 5, "", "", GH_FINISH_LENGTH, -1, -1 }, "\"length\"", "null" },
		{ "", { -1, "", "", GH_FINISH_ABORT, -1, -1 }, "\"abort\"", "null" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		gh__openai_request r = chat_with(cases[i].fields);
		gh__buf out = GH__BUF_INIT(1 << 20);
		char value[64];

		answer(&out, &r, &cases[i].last, 1);
		choice_value(value, sizeof value, &out, "finish_reason");
		ck_assert_str_eq(value, cases[i].finish);
		choice_value(value, sizeof value, &out, "stop_reason");
		ck_assert_str_eq(value, cases[i].reason);
		gh__buf_free(&out);
	}
}
END_TEST

START_TEST(completion_body)
{
	gh__openai_request r =
		parsed(GH__OPENAI_COMPLETION, "{'prompt':[1,2],'echo':true,'logprobs':1}");
	gh__buf out = GH__BUF_INIT(1 << 20);
	char value[1024];

	answer(&out, &r, hello, 2);
	choice_value(value, sizeof value, &out, "text");
	ck_assert_str_eq(value, "\"\\\"#Hey\\\"\"");
	/* Without facts of the prompt, which the engine would bring. */
	choice_value(value, sizeof value, &out, "logprobs");
	ck_assert_str_eq(value,
			 "{\"text_offset\":[0,1,2,3],\"token_logprobs\":[null,null,-1.5,-1.5],"
			 "\"tokens\":[\"1\",\"2\",\"3\",\"409\"],\"top_logprobs\":[null,null,"
			 "{\"3\":-1.5,\"9\":-0.25},{\"409\":-1.5,\"9\":-0.25}]}");
	gh__buf_free(&out);

	r = parsed(GH__OPENAI_COMPLETION, "{'prompt':'a','stream':true}");
	answer(&out, &r, hello, 1);
	ck_assert_ptr_nonnull(
		strstr(gh__buf_str(&out),
		       "\"choices\":[{\"index\":0,\"text\":\"He\",\"logprobs\":null,"
		       "\"finish_reason\":null,\"stop_reason\":null}],\"usage\":null}"));
	gh__buf_free(&out);
}
END_TEST

/* Minus infinity and what lies below the floor; top_logprobs 0; fillers. */
START_TEST(logprob_values)
{
	gh__openai_request r = chat_with("'logprobs':true,'top_logprobs':4");
	gh__buf out = GH__BUF_INIT(1 << 20);

	answer(&out, &r, hello, 2);
	ck_assert_ptr_nonnull(strstr(gh__buf_str(&out),
				     "{\"token\":\"0\",\"logprob\":-9999.0,\"bytes\":[48]}]}"));
	gh__buf_free(&out);
	r = chat_with("'logprobs':true");
	answer(&out, &r, hello, 2);
	ck_assert_ptr_nonnull(strstr(gh__buf_str(&out), "\"top_logprobs\":[]"));
	gh__buf_free(&out);
}
END_TEST

START_TEST(best_of)
{
	gh__openai_request r = chat_with("'n':1,'best_of':2");
	gh__openai_error error = { 0 };
	gh__buf out = GH__BUF_INIT(1 << 20);
	const spoken worse[] = { { 3, "w", "w", GH_FINISH_NONE, -1, -1 },
				 { 3, "w", "w", GH_FINISH_LENGTH, -1, -1 } };
	const spoken better = { 3, "b", "b", GH_FINISH_LENGTH, -1, -1 };
	gh__openai_answer *a;
	char value[256];

	ck_assert_int_eq(gh__openai_request_encode(&r, &model, &error), GH_OK);
	ck_assert_int_eq(gh__openai_answer_create(&a, &r, &model, "ID", 7), GH_OK);
	say(a, 0, &worse[0], NULL);
	say(a, 0, &worse[1], NULL);
	say(a, 1, &better, NULL);
	ck_assert_int_eq(gh__openai_answer_end(a, &out), GH_OK);
	choice_value(value, sizeof value, &out, "message");
	ck_assert_ptr_nonnull(strstr(value, "\"content\":\"b\""));
	ck_assert_ptr_nonnull(strstr(gh__buf_str(&out), "\"completion_tokens\":1,"));
	gh__openai_answer_free(a);
	gh__openai_request_free(&r);
	gh__buf_free(&out);
}
END_TEST

START_TEST(errors)
{
	gh__openai_error error = { 0 };
	gh__buf out = GH__BUF_INIT(1 << 20);

	gh__openai_refuse(&error, "no \"%s\"", "way");
	gh__openai_refuse(&error, "later ones are not told");
	gh__openai_error_write(&out, &error);
	ck_assert_str_eq(gh__buf_str(&out),
			 "{\"object\":\"error\",\"message\":\"no \\\"way\\\"\",\"type\":"
			 "\"BadRequestError\",\"param\":null,\"code\":400}");
	gh__buf_reset(&out);
	gh__openai_answer_fail(&out, &error);
	ck_assert_ptr_nonnull(strstr(gh__buf_str(&out), "data: {\"error\":{\"object\":\"error\","));
	ck_assert_ptr_nonnull(strstr(gh__buf_str(&out), "}}\n\ndata: [DONE]\n\n"));
	gh__buf_free(&out);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("answer");
	TCase *t = tcase_create("answer");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, chat_body);
	tcase_add_test(t, chat_stream);
	tcase_add_test(t, stop_reasons);
	tcase_add_test(t, completion_body);
	tcase_add_test(t, logprob_values);
	tcase_add_test(t, best_of);
	tcase_add_test(t, errors);
	suite_add_tcase(suite, t);
	return unit_main(suite);
}
