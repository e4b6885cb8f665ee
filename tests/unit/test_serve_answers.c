#include "worker_client.h"

/* What a worker generates, over a tiny real model: shapes, streams, choices, stops. */

static gh_worker *worker;
static int port;

static void set_up(void)
{
	static const char *const args[] = { "--served-model-name", "m",
					    "--enable-prompt-tokens-details" };

	worker = worker_with(args, 3);
	port = gh_worker_port(worker);
	wait_ready(port);
}

static void tear_down(void)
{
	gh_worker_stop(worker);
}

static json_t *ok_tree(reply r)
{
	ck_assert_msg(r.status == 200, "%d %s", r.status, r.body);
	json_t *tree = tree_of(&r);
	reply_free(&r);
	return tree;
}

static const char *text_at(const json_t *tree, const char *path)
{
	const char *text = json_string_value(at(tree, path));

	ck_assert_msg(text != NULL, "%s is no string", path);
	return text;
}

START_TEST(chat_shape)
{
	json_t *t = ok_tree(chat(port, "'max_tokens':4,'ignore_eos':true,'logprobs':true,"
				       "'top_logprobs':3,'temperature':0,'request_id':'abc'"));

	ck_assert_str_eq(keys_of(t), "id object created model choices usage prompt_logprobs "
				     "kv_transfer_params ");
	ck_assert_str_eq(text_at(t, "id"), "chatcmpl-abc");
	ck_assert_str_eq(text_at(t, "object"), "chat.completion");
	ck_assert_str_eq(text_at(t, "model"), "m");
	ck_assert_str_eq(keys_of(at(t, "choices.0")),
			 "index message logprobs finish_reason stop_reason ");
	ck_assert_str_eq(keys_of(at(t, "choices.0.message")),
			 "role reasoning_content content tool_calls ");
	ck_assert_str_eq(text_at(t, "choices.0.message.role"), "assistant");
	ck_assert_str_eq(text_at(t, "choices.0.finish_reason"), "length");
	ck_assert_str_eq(keys_of(at(t, "usage")),
			 "prompt_tokens total_tokens completion_tokens prompt_tokens_details ");
	ck_assert_int_eq(json_integer_value(at(t, "usage.prompt_tokens")), 17);
	ck_assert_int_eq(json_integer_value(at(t, "usage.total_tokens")), 21);
	ck_assert_ptr_nonnull(at(t, "usage.prompt_tokens_details.cached_tokens"));
	ck_assert_uint_eq(json_array_size(at(t, "choices.0.logprobs.content")), 4);
	for (int i = 0; i < 4; i++) {
		char path[64];

		snprintf(path, sizeof path, "choices.0.logprobs.content.%d", i);
		const json_t *e = at(t, path);
		ck_assert_str_eq(keys_of(e), "token logprob bytes top_logprobs ");
		ck_assert_uint_eq(json_array_size(at(e, "top_logprobs")), 3);
		/* Greedy: the chosen one is the most probable one. */
		ck_assert_str_eq(text_at(e, "token"), text_at(e, "top_logprobs.0.token"));
		ck_assert(json_real_value(at(e, "logprob")) >=
			  json_real_value(at(e, "top_logprobs.1.logprob")));
		ck_assert(strtol(text_at(e, "token"), NULL, 10) >= 0);
	}
	json_decref(t);
}
END_TEST

/* The bytes of all entries are the text. */
START_TEST(logprob_bytes)
{
	json_t *t = ok_tree(chat(port, "'max_tokens':40,'seed':3,'logprobs':true,"
				       "'skip_special_tokens':false"));
	const json_t *list = at(t, "choices.0.logprobs.content"), *entry;
	const char *content = text_at(t, "choices.0.message.content");
	char text[1024];
	size_t len = 0, i;

	json_array_foreach(list, i, entry)
	{
		size_t k;
		const json_t *byte;

		json_array_foreach(at(entry, "bytes"), k, byte) text[len++] =
			(char)json_integer_value(byte);
	}
	ck_assert_uint_ge(len, strlen(content));
	ck_assert_mem_eq(text, content, strlen(content));
	json_decref(t);
}
END_TEST

/* The pieces of a stream together are the whole answer. */
START_TEST(stream_is_body)
{
	static const char *const fields[] = {
		"'max_tokens':60,'seed':1,'logprobs':true,'top_logprobs':5",
		"'max_tokens':60,'seed':2,'logprobs':true,'top_logprobs':0,'min_tokens':30",
		"'max_tokens':80,'seed':5,'stop':['e','XYZZY'],'logprobs':true",
		"'max_tokens':9,'temperature':0,'logprobs':true,'top_logprobs':20",
	};

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
		char with[512];
		json_t *whole = ok_tree(chat(port, fields[i]));
		json_t *entries = json_array();
		gh__buf text = GH__BUF_INIT(1 << 20);
		const char *finish = NULL;
		json_t *last = NULL;

		snprintf(with, sizeof with,
			 "%s,'stream':true,'stream_options':{'include_usage':true}", fields[i]);
		reply r = chat(port, with);
		ck_assert_int_eq(r.status, 200);
		ck_assert_ptr_nonnull(
			strcasestr(r.head, "content-type: text/event-stream; charset=utf-8"));
		for (int k = 0;; k++) {
			char *data = event(&r, k);
			ck_assert_ptr_nonnull(data);
			if (strcmp(data, "[DONE]") == 0) {
				free(data);
				break;
			}
			json_decref(last);
			last = json_loads(data, 0, NULL);
			free(data);
			ck_assert_str_eq(text_at(last, "object"), "chat.completion.chunk");
			if (json_array_size(at(last, "choices")) == 0)
				continue;
			ck_assert_ptr_null(finish);
			if (k == 0) {
				ck_assert_str_eq(keys_of(at(last, "choices.0")),
						 "index delta logprobs finish_reason ");
				ck_assert_str_eq(text_at(last, "choices.0.delta.role"),
						 "assistant");
			} else {
				ck_assert_str_eq(keys_of(at(last, "choices.0.delta")),
						 "content tool_calls ");
				json_array_extend(entries, at(last, "choices.0.logprobs.content"));
			}
			gh__buf_append_str(&text, text_at(last, "choices.0.delta.content"));
			if (k > 0 && at(last, "choices.0.finish_reason"))
				finish = strdup(text_at(last, "choices.0.finish_reason"));
		}
		ck_assert_str_eq(gh__buf_str(&text), text_at(whole, "choices.0.message.content"));
		ck_assert(json_equal(entries, at(whole, "choices.0.logprobs.content")));
		ck_assert_str_eq(finish, text_at(whole, "choices.0.finish_reason"));
		ck_assert_str_eq(keys_of(last), "id object created model choices usage ");
		ck_assert_int_eq(json_integer_value(at(last, "usage.completion_tokens")),
				 json_integer_value(at(whole, "usage.completion_tokens")));
		free((char *)finish);
		gh__buf_free(&text);
		json_decref(entries);
		json_decref(last);
		json_decref(whole);
		reply_free(&r);
	}
}
END_TEST

/* Stop at what an unstopped answer is known to contain. */
START_TEST(stops)
{
	json_t *free_run = ok_tree(chat(port, "'max_tokens':30,'temperature':0,'ignore_eos':true,"
					      "'logprobs':true"));
	const char *all = text_at(free_run, "choices.0.message.content");
	const char *id = text_at(free_run, "choices.0.logprobs.content.5.token");
	char fields[256];

	/* The last ASCII letter, so that it is easy to write. */
	size_t where = strlen(all);
	while (where > 0 && !(all[where - 1] >= 'a' && all[where - 1] <= 'z'))
		where--;
	ck_assert_uint_gt(where, 0);
	const char letter = all[where - 1];
	size_t first = (size_t)(strchr(all, letter) - all);

	for (int include = 0; include < 2; include++) {
		snprintf(fields, sizeof fields,
			 "'max_tokens':30,'temperature':0,'ignore_eos':true,'stop':'%c',"
			 "'include_stop_str_in_output':%s",
			 letter, include ? "true" : "false");
		json_t *t = ok_tree(chat(port, fields));
		const char *text = text_at(t, "choices.0.message.content");
		ck_assert_uint_eq(strlen(text), first + (size_t)include);
		ck_assert_mem_eq(text, all, first);
		ck_assert_str_eq(text_at(t, "choices.0.finish_reason"), "stop");
		ck_assert(text_at(t, "choices.0.stop_reason")[0] == letter);
		json_decref(t);
	}
	snprintf(fields, sizeof fields,
		 "'max_tokens':30,'temperature':0,'ignore_eos':true,'stop_token_ids':[%s]", id);
	json_t *t = ok_tree(chat(port, fields));
	ck_assert_int_eq(json_integer_value(at(t, "choices.0.stop_reason")), atoi(id));
	ck_assert_int_le(json_integer_value(at(t, "usage.completion_tokens")), 6);
	json_decref(t);
	json_decref(free_run);
}
END_TEST

START_TEST(choices_and_seeds)
{
	json_t *three = ok_tree(chat(port, "'n':3,'seed':40,'max_tokens':12"));

	ck_assert_uint_eq(json_array_size(at(three, "choices")), 3);
	for (int i = 0; i < 3; i++) {
		char fields[64], path[64];

		snprintf(fields, sizeof fields, "'seed':%d,'max_tokens':12", 40 + i);
		json_t *one = ok_tree(chat(port, fields));
		snprintf(path, sizeof path, "choices.%d.message.content", i);
		ck_assert_str_eq(text_at(three, path), text_at(one, "choices.0.message.content"));
		json_decref(one);
	}
	json_decref(three);

	json_t *best = ok_tree(chat(port, "'n':1,'best_of':4,'seed':40,'max_tokens':5"));
	ck_assert_uint_eq(json_array_size(at(best, "choices")), 1);
	ck_assert(json_is_null(at(best, "choices.0.logprobs")));
	json_decref(best);
}
END_TEST

START_TEST(completion_shape)
{
	json_t *t = ok_tree(post(port, COMPLETION,
				 "{'prompt':'The children','max_tokens':3,'logprobs':2,'echo':true,"
				 "'ignore_eos':true,'temperature':0}"));

	ck_assert_str_eq(keys_of(t), "id object created model choices usage kv_transfer_params ");
	ck_assert_str_eq(text_at(t, "object"), "text_completion");
	ck_assert_str_eq(keys_of(at(t, "choices.0")),
			 "index text logprobs finish_reason stop_reason prompt_logprobs ");
	ck_assert_int_eq(strncmp(text_at(t, "choices.0.text"), "The children", 12), 0);
	const json_t *l = at(t, "choices.0.logprobs");
	ck_assert_str_eq(keys_of(l), "text_offset token_logprobs tokens top_logprobs ");
	ck_assert_uint_eq(json_array_size(at(l, "tokens")), 7);
	ck_assert(json_is_null(at(l, "token_logprobs.0")));
	ck_assert(json_is_null(at(l, "top_logprobs.0")));
	ck_assert_uint_le(json_object_size(at(l, "top_logprobs.6")), 3);
	ck_assert_uint_ge(json_object_size(at(l, "top_logprobs.6")), 2);
	long long offset = 0;
	for (int i = 0; i < 7; i++) {
		char path[32];

		snprintf(path, sizeof path, "text_offset.%d", i);
		ck_assert_int_eq(json_integer_value(at(l, path)), offset);
		snprintf(path, sizeof path, "tokens.%d", i);
		offset += (long long)strlen(text_at(l, path));
	}
	json_decref(t);
}
END_TEST

START_TEST(completion_prompts)
{
	json_t *t = ok_tree(post(port, COMPLETION,
				 "{'prompt':['The','children'],'n':2,'max_tokens':2,'seed':1}"));

	ck_assert_uint_eq(json_array_size(at(t, "choices")), 4);
	ck_assert_int_eq(json_integer_value(at(t, "choices.3.index")), 3);
	json_decref(t);

	json_t *ids = ok_tree(
		post(port, COMPLETION, "{'prompt':[279,384,301,314],'max_tokens':6,'seed':1}"));
	json_t *text = ok_tree(
		post(port, COMPLETION, "{'prompt':'The children','max_tokens':6,'seed':1}"));
	ck_assert_str_eq(text_at(ids, "choices.0.text"), text_at(text, "choices.0.text"));
	json_decref(ids);
	json_decref(text);

	t = ok_tree(post(port, COMPLETION, "{'prompt':'The children','max_tokens':0,'echo':true}"));
	ck_assert_str_eq(text_at(t, "choices.0.text"), "The children");
	ck_assert_str_eq(text_at(t, "choices.0.finish_reason"), "length");
	ck_assert_int_eq(json_integer_value(at(t, "usage.completion_tokens")), 0);
	json_decref(t);

	t = ok_tree(post(port, COMPLETION,
			 "{'prompt':'The children','max_tokens':1,'truncate_prompt_tokens':2}"));
	ck_assert_int_eq(json_integer_value(at(t, "usage.prompt_tokens")), 2);
	json_decref(t);
}
END_TEST

START_TEST(completion_stream)
{
	const char *fields = "'prompt':'The children','max_tokens':8,'seed':9,'logprobs':1";
	char body[256];
	gh__buf text = GH__BUF_INIT(1 << 20);

	snprintf(body, sizeof body, "{%s}", fields);
	json_t *whole = ok_tree(post(port, COMPLETION, body));
	snprintf(body, sizeof body, "{%s,'stream':true}", fields);
	reply r = post(port, COMPLETION, body);
	for (int k = 0;; k++) {
		char *data = event(&r, k);

		ck_assert_ptr_nonnull(data);
		if (strcmp(data, "[DONE]") == 0) {
			free(data);
			break;
		}
		json_t *chunk = json_loads(data, 0, NULL);
		ck_assert_str_eq(keys_of(chunk), "id object created model choices usage ");
		ck_assert_str_eq(keys_of(at(chunk, "choices.0")),
				 "index text logprobs finish_reason stop_reason ");
		gh__buf_append_str(&text, text_at(chunk, "choices.0.text"));
		ck_assert(json_equal(at(chunk, "choices.0.logprobs.text_offset.0"),
				     json_array_get(at(whole, "choices.0.logprobs.text_offset"),
						    (size_t)k)));
		json_decref(chunk);
		free(data);
	}
	ck_assert_str_eq(gh__buf_str(&text), text_at(whole, "choices.0.text"));
	gh__buf_free(&text);
	json_decref(whole);
	reply_free(&r);
}
END_TEST

START_TEST(prompt_logprobs)
{
	json_t *t = ok_tree(chat(port, "'max_tokens':1,'prompt_logprobs':2"));
	const json_t *list = at(t, "prompt_logprobs");

	ck_assert_uint_eq(json_array_size(list), 17);
	ck_assert(json_is_null(json_array_get(list, 0)));
	for (size_t i = 1; i < 17; i++) {
		const json_t *one = json_array_get(list, i);

		ck_assert_uint_ge(json_object_size(one), 2);
		ck_assert_uint_le(json_object_size(one), 3);
		ck_assert_str_eq(keys_of(json_object_iter_value(json_object_iter((json_t *)one))),
				 "logprob rank decoded_token ");
	}
	json_decref(t);
}
END_TEST

START_TEST(echo_and_roles)
{
	json_t *t = ok_tree(post(port, CHAT,
				 "{'messages':[{'role':'user','content':'U'},{'role':'assistant',"
				 "'content':'go on'}],'echo':true,'continue_final_message':true,"
				 "'max_tokens':2}"));

	ck_assert_int_eq(strncmp(text_at(t, "choices.0.message.content"), "go on", 5), 0);
	ck_assert_str_eq(text_at(t, "choices.0.message.role"), "assistant");
	json_decref(t);
	t = ok_tree(
		post(port, CHAT,
		     "{'messages':[{'role':'bard','content':'U'}],"
		     "'add_generation_prompt':false,'max_tokens':1,'tools':[{'function':{'name':"
		     "'f'}}],'tool_choice':'none','response_format':{'type':'text'}}"));
	ck_assert_str_eq(text_at(t, "choices.0.message.role"), "bard");
	json_decref(t);
}
END_TEST

int main(void)
{
	Suite *suite = suite_create("serve_answers");
	TCase *t = tcase_create("serve_answers");

	tcase_add_checked_fixture(t, set_up, tear_down);
	tcase_add_test(t, chat_shape);
	tcase_add_test(t, logprob_bytes);
	tcase_add_test(t, stream_is_body);
	tcase_add_test(t, stops);
	tcase_add_test(t, choices_and_seeds);
	tcase_add_test(t, completion_shape);
	tcase_add_test(t, completion_prompts);
	tcase_add_test(t, completion_stream);
	tcase_add_test(t, prompt_logprobs);
	tcase_add_test(t, echo_and_roles);
	suite_add_tcase(suite, t);
	return unit_main(suite);
}
