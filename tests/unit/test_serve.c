#include "worker_client.h"

/* What a worker answers, over a tiny real model. */

static gh_worker *worker;
static int port;

static void set_up(void)
{
	static const char *const args[] = { "--served-model-name", "m", "other" };

	worker = worker_with(args, 3);
	port = gh_worker_port(worker);
	wait_ready(port);
}

static void tear_down(void)
{
	gh_worker_stop(worker);
}

/* ---- errors ---- */

typedef struct row {
	const char *fields;
	int status;
	const char *type, *words;
} row;

#define FIELD   "Bad Request"
#define REFUSED "BadRequestError"

static void check_error(const char *what, reply *r, const row *expected)
{
	json_t *tree = tree_of(r);
	const char *message = json_string_value(at(tree, "message"));

	ck_assert_msg(r->status == expected->status, "%s: %d %s", what, r->status, r->body);
	ck_assert_str_eq(keys_of(tree), "object message type param code ");
	ck_assert_str_eq(json_string_value(at(tree, "object")), "error");
	ck_assert_str_eq(json_string_value(at(tree, "type")), expected->type);
	ck_assert(json_is_null(at(tree, "param")));
	ck_assert_int_eq(json_integer_value(at(tree, "code")), expected->status);
	ck_assert_msg(strstr(message, expected->words) != NULL, "%s: %s", what, message);
	json_decref(tree);
	reply_free(r);
}

static const row chat_rows[] = {
	{ "'model':'x'", 404, "NotFoundError", "The model `x` does not exist." },
	{ "'max_tokens':496", 400, REFUSED,
	  "This model's maximum context length is 512 tokens. However, you requested 513 tokens "
	  "(17 "
	  "in the messages, 496 in the completion). Please reduce the length of the messages or "
	  "completion." },
	{ "'max_completion_tokens':1000000000000", 400, REFUSED,
	  "you requested 1000000000017 tokens" },
	{ "'temperature':-0.5", 400, REFUSED, "temperature must be non-negative, got -0.5." },
	{ "'temperature':-1", 400, REFUSED, "temperature must be non-negative, got -1.0." },
	{ "'top_p':0", 400, REFUSED, "top_p must be in (0, 1], got 0.0." },
	{ "'top_p':1.5", 400, REFUSED, "top_p must be in (0, 1], got 1.5." },
	{ "'top_k':-2", 400, REFUSED, "top_k must be 0 (disable), or at least 1, got -2." },
	{ "'min_p':1.1", 400, REFUSED, "min_p must be in [0, 1], got 1.1." },
	{ "'presence_penalty':2.1", 400, REFUSED, "presence_penalty must be in [-2, 2], got 2.1." },
	{ "'frequency_penalty':-3", 400, REFUSED,
	  "frequency_penalty must be in [-2, 2], got -3.0." },
	{ "'repetition_penalty':0", 400, REFUSED,
	  "repetition_penalty must be greater than zero, got 0.0." },
	{ "'n':0", 400, REFUSED, "n must be at least 1, got 0." },
	{ "'n':1000000000", 400, REFUSED, "n must be at most" },
	{ "'n':2,'temperature':0", 400, REFUSED, "n must be 1 when using greedy sampling, got 2." },
	{ "'max_tokens':0", 400, REFUSED, "max_tokens must be at least 1, got 0." },
	{ "'max_tokens':-3", 400, REFUSED, "max_tokens must be at least 1, got -3." },
	{ "'min_tokens':-1", 400, REFUSED,
	  "min_tokens must be greater than or equal to 0, got -1." },
	{ "'min_tokens':6,'max_tokens':5", 400, REFUSED,
	  "min_tokens must be less than or equal to max_tokens=5, got 6." },
	{ "'n':3,'best_of':2", 400, REFUSED,
	  "best_of must be greater than or equal to n, got n=3 and best_of=2." },
	{ "'n':1,'best_of':2,'stream':true", 400, REFUSED,
	  "best_of must equal n to use output_kind=DELTA" },
	{ "'stop':['a','']", 400, REFUSED, "stop cannot contain an empty string." },
	{ "'stop':''", 400, REFUSED, "stop cannot contain an empty string." },
	{ "'top_logprobs':2", 400, FIELD,
	  "when using `top_logprobs`, `logprobs` must be set to true." },
	{ "'top_logprobs':-1,'logprobs':true", 400, FIELD,
	  "`top_logprobs` must be a positive value." },
	{ "'top_logprobs':21,'logprobs':true", 400, REFUSED,
	  "Cannot request more than 20 logprobs." },
	{ "'top_logprobs':21,'logprobs':true,'stream':true", 400, REFUSED,
	  "Cannot request more than 20 logprobs." },
	{ "'prompt_logprobs':1,'stream':true", 400, FIELD,
	  "`prompt_logprobs` are not available when `stream=True`." },
	{ "'prompt_logprobs':-1", 400, FIELD, "`prompt_logprobs` must be a positive value." },
	{ "'stream_options':{}", 400, FIELD,
	  "Stream options can only be defined when `stream=True`." },
	{ "'guided_json':{},'guided_regex':'a'", 400, FIELD,
	  "You can only use one kind of guided decoding ('guided_json', 'guided_regex' or "
	  "'guided_choice')." },
	{ "'continue_final_message':true,'add_generation_prompt':true", 400, FIELD,
	  "Cannot set both `continue_final_message` and `add_generation_prompt` to True." },
	{ "'tools':[{'type':'function','function':{'name':'f'}}]", 400, REFUSED,
	  "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be "
	  "set" },
	{ "'tool_choice':'auto'", 400, FIELD, "When using `tool_choice`, `tools` must be set." },
	{ "'tools':[{'function':{'name':'f'}}],'tool_choice':{'function':{'name':'g'}}", 400, FIELD,
	  "The tool specified in `tool_choice` does not match any of the specified `tools`" },
	{ "'tools':[{'function':{'name':'f'}}],'tool_choice':{'function':{'name':'f'}}", 400,
	  REFUSED, "tool_choice" },
	{ "'tools':[{'function':{'name':'f'}}],'tool_choice':'required'", 400, REFUSED,
	  "tool_choice" },
	{ "'logit_bias':{'419':1}", 400, REFUSED,
	  "token_id 419 in logit_bias contains out-of-vocab token id" },
	{ "'logit_bias':{'-1':1}", 400, REFUSED,
	  "token_id -1 in logit_bias contains out-of-vocab token id" },
	{ "'allowed_token_ids':[1,419]", 400, REFUSED,
	  "allowed_token_ids contains out-of-vocab token id" },
	{ "'temperature':'warm'", 400, FIELD, "'loc': ('body', 'temperature')" },
	{ "'response_format':{'type':'json_object'}", 400, REFUSED, "response_format" },
	{ "'guided_choice':['a']", 400, REFUSED, "guided_choice" },
	{ "'guided_choice':[]", 400, REFUSED, "guided_choice" },
	{ "'guided_json':{}", 400, REFUSED, "guided_json" },
	{ "'cache_salt':{}", 400, REFUSED, "cache_salt" },
	{ "'enforced_tokens':{}", 400, REFUSED, "enforced_tokens" },
	{ "'structural_tag':'x'", 400, REFUSED, "structural_tag" },
	{ "'enforced_str':'x'", 400, REFUSED, "enforced_str" },
	{ "'enforced_tokens':{'tokens':[{'token':'5'}]}", 400, REFUSED, "enforced_tokens" },
	{ "'use_beam_search':true", 400, REFUSED, "use_beam_search" },
	{ "'logits_processors':['x']", 400, REFUSED, "logits_processors" },
	{ "'cache_salt':'x'", 400, REFUSED, "cache_salt" },
	{ "'priority':1", 400, REFUSED, "priority" },
	{ "'chat_template':'x'", 400, REFUSED, "chat_template" },
	{ "'logprobs_mode':'raw_logprobs'", 400, REFUSED, "logprobs_mode" },
};

START_TEST(chat_errors)
{
	for (size_t i = 0; i < sizeof chat_rows / sizeof chat_rows[0]; i++) {
		reply r = chat(port, chat_rows[i].fields);

		check_error(chat_rows[i].fields, &r, &chat_rows[i]);
	}
}
END_TEST

START_TEST(completion_errors)
{
	static const row rows[] = {
		{ "'x':1", 400, FIELD, "At least one of `prompt` or `prompt_embeds` must be set." },
		{ "'prompt':null", 400, FIELD, "At least one of" },
		{ "'prompt':''", 400, REFUSED, "The decoder prompt cannot be empty" },
		{ "'prompt':[[]]", 400, REFUSED, "The decoder prompt cannot be empty" },
		{ "'prompt':[]", 400, REFUSED, "prompt" },
		{ "'prompt':[419]", 400, REFUSED, "Token id 419 is out of vocabulary" },
		{ "'prompt':[-1]", 400, REFUSED, "Token id -1 is out of vocabulary" },
		{ "'prompt':[1.5]", 400, FIELD, "'prompt'" },
		{ "'prompt':{}", 400, FIELD, "'prompt'" },
		{ "'prompt':'a','suffix':'b'", 400, REFUSED, "suffix is not currently supported" },
		{ "'prompt_embeds':'a'", 400, REFUSED, "prompt_embeds" },
		{ "'prompt':'a','logprobs':21", 400, REFUSED, "more than 20 logprobs" },
		{ "'prompt':'a','logprobs':-1", 400, FIELD, "must be a positive value" },
		{ "'prompt':'a','max_tokens':0", 400, REFUSED,
		  "max_tokens must be at least 1, got 0." },
		{ "'prompt':'a','truncate_prompt_tokens':513", 400, REFUSED,
		  "truncate_prompt_tokens value (513)" },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char body[512];

		snprintf(body, sizeof body, "{%s}", rows[i].fields);
		reply r = post(port, COMPLETION, body);
		check_error(rows[i].fields, &r, &rows[i]);
	}
}
END_TEST

/* A prompt that alone is too long, with and without a maximum. */
START_TEST(too_long)
{
	static const row rows[] = {
		{ "", 400, REFUSED,
		  "This model's maximum context length is 512 tokens. However, you requested 600 "
		  "tokens in the messages, Please reduce the length of the messages." },
		{ "", 400, REFUSED, "you requested 616 tokens (600 in the messages, 16 in the" },
	};

	for (int i = 0; i < 2; i++) {
		gh__buf body = GH__BUF_INIT(1 << 16);

		gh__buf_append_str(&body,
				   i == 0 ? "{'max_tokens':null,'prompt':[5" : "{'prompt':[5");
		for (int k = 1; k < 600; k++)
			gh__buf_append_str(&body, ",5");
		gh__buf_append_str(&body, "]}");
		reply r = post(port, COMPLETION, body.data);
		check_error("too long", &r, &rows[i]);
		gh__buf_free(&body);
	}
}
END_TEST

START_TEST(hostile_bodies)
{
	static const row not_json = { "", 400, FIELD, "JSON decode error" };
	size_t deep = 1000000;
	char *text = malloc(deep + 32);
	reply r;

	memset(text, '[', deep);
	text[deep] = '\0';
	r = post(port, CHAT, text);
	check_error("a million levels", &r, &not_json);
	memcpy(text, "{\"messages\":", 12);
	r = post(port, CHAT, text);
	check_error("levels in a field", &r, &not_json);
	free(text);
	r = post(port, CHAT, "{'messages':[{'role':'user','content':'\xff\xfe'}]}");
	check_error("not UTF-8", &r, &not_json);
	r = post(port, CHAT, "{'messages':[{'role':'user','content':'\\ud800'}]}");
	check_error("half a surrogate", &r, &not_json);
	r = post(port, CHAT, "");
	check_error("nothing", &r, &(row){ "", 400, FIELD, "Field required" });

	int fd = dial(port);
	char *large = calloc(1, 1 << 20);
	dprintf(fd, "POST " CHAT " HTTP/1.1\r\nHost: h\r\n" JSON_TYPE
		    "Content-Length: 100000000\r\n\r\n");
	for (int i = 0; i < 100; i++)
		put(fd, large, 1 << 20);
	free(large);
	r = take(fd);
	ck_assert_int_eq(r.status, 413);
	reply_free(&r);
	wait_ready(port);
}
END_TEST

/* Hopeless prompts are refused at once, in chat as well. */
START_TEST(huge_prompts)
{
	static const struct {
		const char *path, *before, *after;
	} cases[] = {
		{ COMPLETION, "{\"prompt\":\"", "\"}" },
		{ COMPLETION, "{\"prompt\":[\"Hi\",\"", "\"]}" },
		{ CHAT, "{\"messages\":[{\"role\":\"user\",\"content\":\"", "\"}]}" },
	};
	const row refused = { "", 400, REFUSED, "512 tokens. However, you requested at least " };
	size_t size = (size_t)8 << 20;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		char *body = malloc(size + 100);
		size_t start = strlen(cases[i].before);

		memcpy(body, cases[i].before, start);
		memset(body + start, 'a', size);
		memcpy(body + start + size, cases[i].after, strlen(cases[i].after) + 1);
		reply r = ask(port, "POST", cases[i].path, JSON_TYPE, body);
		check_error(cases[i].path, &r, &refused);
		free(body);
	}
}
END_TEST

/* While large bodies are worked on, others are answered. */
START_TEST(large_bodies)
{
	enum { LARGE = 4 };
	size_t size = (size_t)4 << 20;
	char *body = malloc(size + 1);
	int fd[LARGE];
	static const char start[] = "{\"max_tokens\":1,\"truncate_prompt_tokens\":8,\"prompt\":\"";

	memset(body, 'a', size);
	memcpy(body, start, sizeof start - 1);
	memcpy(body + size - 2, "\"}", 2);
	for (int i = 0; i < LARGE; i++) {
		fd[i] = dial(port);
		put_request(fd[i], "POST", COMPLETION, JSON_TYPE, body, size);
	}
	free(body);
	reply r = post(port, "/tokenize", "{'prompt':'Hi'}");
	ck_assert_int_eq(r.status, 200);
	reply_free(&r);
	r = get(port, "/metrics");
	ck_assert_ptr_null(strstr(r.body,
				  "handler=\"" COMPLETION "\",method=\"POST\",status=\"2xx\"} "
				  "4.0"));
	reply_free(&r);
	for (int i = 0; i < LARGE; i++) {
		r = take(fd[i]);
		ck_assert_msg(r.status == 200, "%d %s", r.status, r.body);
		reply_free(&r);
	}
}
END_TEST

/* ---- transport ---- */

START_TEST(paths_and_methods)
{
	static const struct {
		const char *method, *path, *headers, *body;
		int status;
		const char *words;
	} cases[] = {
		{ "GET", "/health", "", "", 200, "" },
		{ "GET", "/ping", "", "", 200, "" },
		{ "POST", "/ping", "", "", 200, "" },
		{ "GET", "/version", "", "", 200, "{\"version\":\"" },
		{ "GET", "/load", "", "", 200, "{\"server_load\":0}" },
		{ "GET", "/v1/models/", "", "", 200, "{\"object\":\"list\"" },
		{ "GET", "/nowhere", "", "", 404, "\"message\":\"Not Found\"" },
		{ "GET", CHAT, "", "", 405, "\"message\":\"Method Not Allowed\"" },
		{ "POST", "/v1/models", "", "", 405, "Method Not Allowed" },
		{ "DELETE", "/health", "", "", 405, "Method Not Allowed" },
		{ "POST", "/v1/embeddings", JSON_TYPE, "{}", 400,
		  "The model does not support Embeddings API" },
		{ "POST", "/v2/rerank", JSON_TYPE, "{}", 400,
		  "The model does not support Rerank (Score) API" },
		{ "POST", CHAT, "", "{}", 400,
		  "Unsupported Media Type: Only 'application/json' is allowed" },
		{ "POST", CHAT, "Content-Type: text/plain\r\n", "{}", 400,
		  "Unsupported Media Type" },
		{ "POST", "/tokenize", "Content-Type: Application/JSON ; charset=utf-8\r\n",
		  "{\"prompt\":\"Hi\"}", 200, "{\"count\":2,\"max_model_len\":512" },
		{ "POST", "/detokenize", JSON_TYPE, "{\"tokens\":[39,72]}", 200,
		  "{\"prompt\":\"Hi\"}" },
		{ "POST", "/invocations", JSON_TYPE, "{\"prompt\":\"a\",\"max_tokens\":1}", 200,
		  "text_completion" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		reply r =
			ask(port, cases[i].method, cases[i].path, cases[i].headers, cases[i].body);

		ck_assert_msg(r.status == cases[i].status && strstr(r.body, cases[i].words),
			      "%s %s: %d %s", cases[i].method, cases[i].path, r.status, r.body);
		reply_free(&r);
	}
}
END_TEST

START_TEST(models)
{
	reply r = get(port, "/v1/models");
	json_t *tree = tree_of(&r), *one = at(tree, "data.0");

	ck_assert_str_eq(keys_of(tree), "object data ");
	ck_assert_uint_eq(json_array_size(at(tree, "data")), 2);
	ck_assert_str_eq(keys_of(one), "id object created owned_by root parent max_model_len "
				       "permission numerics ");
	ck_assert_str_eq(json_string_value(at(one, "id")), "m");
	ck_assert_str_eq(json_string_value(at(tree, "data.1.id")), "other");
	ck_assert_str_eq(json_string_value(at(one, "root")), CHECKPOINT);
	ck_assert_str_eq(json_string_value(at(one, "owned_by")), "vllm");
	ck_assert_int_eq(json_integer_value(at(one, "max_model_len")), 512);
	ck_assert_str_eq(json_string_value(at(one, "numerics")), "bf16/1");
	ck_assert_str_eq(keys_of(at(one, "permission.0")),
			 "id object created allow_create_engine allow_sampling allow_logprobs "
			 "allow_search_indices allow_view allow_fine_tuning organization group "
			 "is_blocking ");
	json_decref(tree);
	reply_free(&r);
}
END_TEST

START_TEST(metrics)
{
	static const char *const wanted[] = {
		"vllm:num_requests_running{model_name=\"m\"} 0.0",
		"vllm:prompt_tokens_total{model_name=\"m\"} 17.0",
		"vllm:generation_tokens_total{model_name=\"m\"} 3.0",
		"http_requests_total{handler=\"" CHAT "\",method=\"POST\",status=\"2xx\"} 1.0",
		"http_requests_total{handler=\"" CHAT "\",method=\"POST\",status=\"4xx\"} 1.0",
		"http_requests_total{handler=\"none\",method=\"GET\",status=\"4xx\"} 1.0",
		"http_request_duration_seconds_count{handler=\"" CHAT "\",method=\"POST\"} 2",
		"http_request_duration_highr_seconds_count 3",
		"http_request_size_bytes_count{handler=\"" CHAT "\"} 2",
		"http_response_size_bytes_sum{handler=\"" CHAT "\"}",
	};
	reply r = chat(port, "'max_tokens':3,'ignore_eos':true");

	ck_assert_int_eq(r.status, 200);
	reply_free(&r);
	r = chat(port, "'n':0");
	reply_free(&r);
	r = get(port, "/nowhere");
	reply_free(&r);
	wait_metric(port, "vllm:num_requests_running", 0);
	r = get(port, "/metrics");
	ck_assert_ptr_nonnull(strstr(r.head, "text/plain; version=0.0.4; charset=utf-8"));
	for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++)
		ck_assert_msg(strstr(r.body, wanted[i]) != NULL, "%s\n%s", wanted[i], r.body);
	ck_assert_ptr_null(strstr(r.body, "handler=\"/health\""));
	reply_free(&r);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("serve");
	TCase *t = tcase_create("serve");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, chat_errors);
	tcase_add_test(t, completion_errors);
	tcase_add_test(t, too_long);
	tcase_add_test(t, hostile_bodies);
	tcase_add_test(t, huge_prompts);
	tcase_add_test(t, large_bodies);
	tcase_add_test(t, paths_and_methods);
	tcase_add_test(t, models);
	tcase_add_test(t, metrics);
	suite_add_tcase(suite, t);
	return unit_main(suite);
}
