#include "openai_model.h"

#include "json/json.h"
#include "openai/tokenize.h"

/* ---- requests ---- */

START_TEST(coercion)
{
	gh__openai_request r = chat_with("'n':'2','temperature':'0.5','top_k':3.0,'stream':1,"
					 "'logprobs':1,'top_logprobs':'5','seed':'-5',"
					 "'ignore_eos':'yes','min_tokens':true,'max_tokens':null,"
					 "'stop':'x','stop_token_ids':['7',8.0],"
					 "'logit_bias':{'5':200,'6':'-1'},'nonsense':{}");

	ck_assert_int_eq(r.n, 2);
	ck_assert(r.has_temperature && r.temperature == 0.5);
	ck_assert(r.has_top_k && r.top_k == 3);
	ck_assert(r.stream && r.logprobs && r.ignore_eos);
	ck_assert_int_eq(r.top_logprobs, 5);
	ck_assert(r.has_seed && r.seed == -5);
	ck_assert_int_eq(r.min_tokens, 1);
	ck_assert(!r.has_max_tokens);
	ck_assert_uint_eq(r.stop_count, 1);
	ck_assert_str_eq(r.stop[0], "x");
	ck_assert_uint_eq(r.stop_id_count, 2);
	ck_assert_int_eq(r.stop_ids[1], 8);
	ck_assert_uint_eq(r.bias_count, 2);
	ck_assert(r.bias[0] == 100 && r.bias[1] == -1);
	gh__openai_request_free(&r);

	r = chat_with("'seed':-1,'max_tokens':7,'max_completion_tokens':0,'top_logprobs':null,"
		      "'logprobs':true");
	ck_assert(!r.has_seed && r.has_max_tokens && !r.logprobs);
	ck_assert_int_eq(r.max_tokens, 7);
	gh__openai_request_free(&r);
	r = chat_with("'max_tokens':7,'max_completion_tokens':3,'model':''");
	ck_assert_int_eq(r.max_tokens, 3);
	gh__openai_request_free(&r);
	r = parsed(GH__OPENAI_COMPLETION, "{'prompt':'x'}");
	ck_assert(r.has_max_tokens && r.max_tokens == 16 && r.add_special_tokens);
	gh__openai_request_free(&r);
}
END_TEST

START_TEST(findings)
{
	static const struct {
		const char *fields, *loc, *msg;
	} cases[] = {
		{ "'temperature':'hot'", "'loc': ('body', 'temperature')",
		  "'msg': 'Input should be a valid number" },
		{ "'temperature':[]", "'temperature'", "Input should be a valid number" },
		{ "'n':1.5", "('body', 'n')", "fractional part" },
		{ "'n':{}", "('body', 'n')", "valid integer" },
		{ "'n':1e300", "('body', 'n')", "64 bits" },
		{ "'stream':2", "('body', 'stream')", "valid boolean" },
		{ "'stream':'maybe'", "('body', 'stream')", "valid boolean" },
		{ "'stop':[1]", "('body', 'stop')", "valid string" },
		{ "'stop':{}", "('body', 'stop')", "valid string" },
		{ "'logit_bias':[]", "('body', 'logit_bias')", "valid dictionary" },
		{ "'logit_bias':{'a':1}", "('body', 'logit_bias')", "integer" },
		{ "'model':7", "('body', 'model')", "valid string" },
		{ "'stream_options':7,'stream':true", "('body', 'stream_options')",
		  "valid dictionary" },
		{ "'truncate_prompt_tokens':0", "'truncate_prompt_tokens'",
		  "greater than or equal" },
		{ "'tools':{}", "('body', 'tools')", "valid list" },
		{ "'response_format':'json'", "'response_format'", "Field required" },
		{ "'chat_template_kwargs':1", "'chat_template_kwargs'", "valid dictionary" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		gh__openai_request r;
		gh__openai_error error = { 0 };
		char body[512];

		snprintf(body, sizeof body, "{'messages':[{'role':'user','content':'Hi'}],%s}",
			 cases[i].fields);
		const char *text = quoted(body);
		ck_assert_int_eq(gh__openai_request_parse(&r, GH__OPENAI_CHAT, &model, text,
							  strlen(text), &error),
				 GH_EINVAL);
		ck_assert_int_eq(error.status, 400);
		ck_assert_str_eq(error.type, "Bad Request");
		ck_assert_msg(strstr(error.message, cases[i].loc) &&
				      strstr(error.message, cases[i].msg),
			      "%s: %s", cases[i].fields, error.message);
	}
}
END_TEST

START_TEST(bodies)
{
	static const struct {
		const char *body, *words;
	} cases[] = {
		{ "", "Field required" },           { "[]", "valid dictionary" },
		{ "{", "JSON decode error" },       { "{}", "'loc': ('body', 'messages')" },
		{ "{'messages':7}", "'messages'" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		gh__openai_request r;
		gh__openai_error error = { 0 };
		const char *text = quoted(cases[i].body);

		ck_assert_int_eq(gh__openai_request_parse(&r, GH__OPENAI_CHAT, &model, text,
							  strlen(text), &error),
				 GH_EINVAL);
		ck_assert_msg(strstr(error.message, cases[i].words) != NULL, "%s: %s",
			      cases[i].body, error.message);
	}
}
END_TEST

/* The rendered text, or the error's message. */
static char *rendered(const char *body)
{
	gh__openai_request r = parsed(GH__OPENAI_CHAT, body);
	gh__openai_error error = { 0 };
	char *text = NULL;
	size_t len;

	if (gh__openai_render(&text, &len, &r, &model, &error) != GH_OK)
		text = strdup(error.message);
	else
		text[len] = '\0';
	gh__openai_request_free(&r);
	return text;
}

START_TEST(messages)
{
	static const struct {
		const char *body, *text;
	} cases[] = {
		{ "{'messages':[{'role':'system','content':'S'},{'role':'user','content':'U'}]}",
		  "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nU<|im_end|>\n"
		  "<|im_start|>assistant\n" },
		{ "{'messages':[{'role':'user','content':[{'type':'text','text':'a'},'b',"
		  "{'type':'refusal','refusal':'c'}]}],'add_generation_prompt':false}",
		  "<|im_start|>user\na\nb\nc<|im_end|>\n" },
		{ "{'messages':[{'role':'developer','content':null}],"
		  "'add_generation_prompt':false}",
		  "<|im_start|>developer\n<|im_end|>\n" },
		{ "{'messages':[{'role':'user','content':'U'},{'role':'assistant',"
		  "'content':' go on  '}],'continue_final_message':true}",
		  "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n go on" },
		{ "{'messages':[]}", "messages: the list is empty" },
		{ "{'messages':[{'content':'x'}]}", "('body', 'messages', 0, 'role')" },
		{ "{'messages':['x']}", "('body', 'messages', 0)" },
		{ "{'messages':[{'role':'user','content':7}]}", "'messages', 0, 'content'" },
		{ "{'messages':[{'role':'user','content':[{'type':'image_url'}]}]}", "image_url" },
		{ "{'messages':[{'role':'assistant','tool_calls':[{'function':{'name':'f',"
		  "'arguments':'{'}}]}]}",
		  "tool_calls" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *text = rendered(cases[i].body);

		ck_assert_msg(strstr(text, cases[i].text) != NULL, "%s: %s", cases[i].body, text);
		gh_free(text);
	}
}
END_TEST

START_TEST(tool_shapes)
{
	gh__openai_error error = { 0 };
	json_t *tools =
		json_loads("[{\"x\":1,\"function\":{\"strict\":true,\"name\":\"f\"}}]", 0, NULL);
	json_t *list = gh__openai_tools(tools, &error);
	char *text = gh__json_text(list, NULL);

	ck_assert_str_eq(text, "[{\"type\":\"function\",\"function\":{\"name\":\"f\","
			       "\"description\":null,\"parameters\":null,\"strict\":true},"
			       "\"x\":1}]");
	gh_free(text);
	json_decref(list);
	json_decref(tools);

	json_t *calls = json_loads("[{\"role\":\"assistant\",\"content\":null,\"tool_calls\":["
				   "{\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":"
				   "\"{\\\"a\\\":1}\"}}]},{\"role\":\"tool\",\"tool_call_id\":"
				   "\"1\",\"content\":\"r\"}]",
				   0, NULL);
	list = gh__openai_messages(calls, &error);
	text = gh__json_text(list, NULL);
	ck_assert_str_eq(text, "[{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{"
			       "\"id\":\"1\",\"function\":{\"name\":\"f\",\"arguments\":{"
			       "\"a\":1}}}]},{\"role\":\"tool\",\"content\":\"r\","
			       "\"tool_call_id\":\"1\"}]");
	gh_free(text);
	json_decref(list);
	json_decref(calls);
}
END_TEST

START_TEST(effective_values)
{
	gh__openai_request r = chat_with("'top_p':0.5,'n':2,'best_of':3,'stop_token_ids':[5]");
	gh__openai_error error = { 0 };
	gh_sampling s;

	model.defaults = (gh__generation_config){ .has_temperature = true,
						  .temperature = 0.7,
						  .has_top_p = true,
						  .top_p = 0.8,
						  .has_top_k = true,
						  .top_k = 20,
						  .has_repetition_penalty = true,
						  .repetition_penalty = 1.05 };
	ck_assert_int_eq(gh__openai_request_encode(&r, &model, &error), GH_OK);
	ck_assert_int_eq(gh__openai_request_sampling(&s, &r, &model, r.prompts, &error), GH_OK);
	ck_assert(s.temperature == 0.7F && s.top_p == 0.5F && s.repetition_penalty == 1.05F);
	ck_assert_int_eq(s.top_k, 20);
	ck_assert_int_eq(s.n, 3);
	ck_assert_int_eq(s.max_tokens, 512 - (int)r.prompts[0].count);
	ck_assert_int_eq(s.eos_count, 2);
	ck_assert(s.flags & GH_SAMPLING_LOGPROBS); /* best_of needs them */
	model.defaults.has_max_new_tokens = true;
	model.defaults.max_new_tokens = 9;
	ck_assert_int_eq(gh__openai_request_sampling(&s, &r, &model, r.prompts, &error), GH_OK);
	ck_assert_int_eq(s.max_tokens, 9);
	gh__openai_request_free(&r);
}
END_TEST

/* A text that cannot fit is refused without being encoded. The longest token is <|endoftext|>. */
START_TEST(too_long_by_bytes)
{
	enum { MOST = 512 * 13 };
	static const struct {
		size_t bytes;
		const char *fields, *message;
	} cases[] = {
		{ MOST, "", "you requested 6672 tokens (6656 in the messages, 16 in the" },
		{ MOST + 1, "",
		  "This model's maximum context length is 512 tokens. However, you requested at "
		  "least 529 tokens (at least 513 in the messages, 16 in the completion). Please "
		  "reduce the length of the messages or completion." },
		{ MOST + 1, ",'max_tokens':-100", "you requested at least 513 tokens in the" },
		{ 2 * MOST, ",'max_tokens':null",
		  "This model's maximum context length is 512 tokens. However, you requested at "
		  "least 1024 tokens in the messages, Please reduce the length of the messages." },
		{ 2 * MOST, ",'echo':true,'max_tokens':0", "(at least 1024 in the messages, 0 in" },
		{ 2 * MOST, ",'truncate_prompt_tokens':9", NULL },
		{ 2 * MOST, ",'truncate_prompt_tokens':513", "truncate_prompt_tokens value (513)" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		gh__buf body = GH__BUF_INIT(1 << 20);
		gh__openai_request r;
		gh__openai_error error = { 0 };
		gh_sampling s;

		gh__buf_append_str(&body, "{\"prompt\":\"");
		for (size_t k = 0; k < cases[i].bytes; k++)
			gh__buf_append_char(&body, '0');
		gh__buf_append_str(&body, "\"");
		gh__buf_append_str(&body, quoted(cases[i].fields));
		gh__buf_append_str(&body, "}");
		ck_assert_int_eq(gh__openai_request_parse(&r, GH__OPENAI_COMPLETION, &model,
							  body.data, body.len, &error),
				 GH_OK);
		if (gh__openai_request_encode(&r, &model, &error) == GH_OK &&
		    gh__openai_request_sampling(&s, &r, &model, r.prompts, &error) == GH_OK)
			ck_assert_uint_eq(r.prompts[0].count, 9);
		if (cases[i].message)
			ck_assert_msg(strstr(error.message, cases[i].message) != NULL, "%zu: %s", i,
				      error.message);
		else
			ck_assert_int_eq(error.status, 0);
		gh__openai_request_free(&r);
		gh__buf_free(&body);
	}
}
END_TEST

/* ---- tokens ---- */

static void convert(char *result, size_t size, const char *body,
		    gh_status (*fn)(gh__buf *, const gh__openai_model *, const char *, size_t,
				    gh__openai_error *))
{
	gh__openai_error error = { 0 };
	gh__buf out = GH__BUF_INIT(1 << 20);
	const char *text = quoted(body);

	if (fn(&out, &model, text, strlen(text), &error) == GH_OK)
		snprintf(result, size, "%s", gh__buf_str(&out));
	else
		snprintf(result, size, "%d %s", error.status, error.message);
	gh__buf_free(&out);
}

START_TEST(tokens)
{
	static const struct {
		bool back;
		const char *body, *result;
	} cases[] = {
		{ false, "{'prompt':'Hi'}",
		  "{\"count\":2,\"max_model_len\":512,\"tokens\":[39,72],\"token_strs\":null}" },
		{ false, "{'prompt':'a b','return_token_strs':true}",
		  "\"token_strs\":[\"a\",\"\u0120b\"]}" },
		{ false, "{'prompt':''}", "\"tokens\":[]" },
		{ false, "{'messages':[{'role':'user','content':'Hi'}]}", "{\"count\":17," },
		{ false,
		  "{'messages':[{'role':'user','content':'Hi'}],'add_generation_prompt':false}",
		  "{\"count\":9," },
		{ false, "{'model':'nobody','prompt':''}",
		  "404 The model `nobody` does not exist." },
		{ false, "{}", "400 [{'type': 'missing', 'loc': ('body', 'prompt')" },
		{ false, "{'prompt':[1]}", "valid string" },
		{ true, "{'tokens':[408,39,72]}", "{\"prompt\":\"<|im_start|>Hi\"}" },
		{ true, "{'tokens':[]}", "{\"prompt\":\"\"}" },
		{ true, "{'tokens':[419]}", "400 Token id 419 is out of vocabulary" },
		{ true, "{'tokens':[-1]}", "400 Token id -1 is out of vocabulary" },
		{ true, "{'tokens':['x']}", "valid integer" },
		{ true, "{}", "Field required" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char result[2048];

		convert(result, sizeof result, cases[i].body,
			cases[i].back ? gh__openai_detokenize : gh__openai_tokenize);
		ck_assert_msg(strstr(result, cases[i].result) != NULL, "%s: %s", cases[i].body,
			      result);
	}
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("openai");
	TCase *t = tcase_create("openai");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, coercion);
	tcase_add_test(t, findings);
	tcase_add_test(t, bodies);
	tcase_add_test(t, messages);
	tcase_add_test(t, tool_shapes);
	tcase_add_test(t, effective_values);
	tcase_add_test(t, too_long_by_bytes);
	tcase_add_test(t, tokens);
	suite_add_tcase(suite, t);
	return unit_main(suite);
}
