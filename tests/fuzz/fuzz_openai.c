/* A request: its first byte says of which kind ('c'hat, 'p'rompt, 't'okenize, 'd'etokenize, or 'a'
 * for a command line with a NUL between arguments), the rest is its body. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "json/json.h"
#include "openai/answer.h"
#include "openai/args.h"
#include "openai/tokenize.h"

static const char *const names[] = { "m" };
static gh__openai_model model = {
	.names = names,
	.name_count = 1,
	.response_role = "assistant",
	.max_length = 512,
	.vocab = 419,
	.max_logprobs = 20,
	.eos_id = 409,
};

static void must(int holds)
{
	if (!holds)
		abort();
}

/* An error is a well formed body with a status that fits. */
static void check_error(const gh__openai_error *error)
{
	gh__buf out = GH__BUF_INIT(1 << 16);

	must(error->status >= 400 && error->status < 600 && error->type && error->message[0]);
	gh__openai_error_write(&out, error);
	json_t *tree = gh__json_parse(gh__buf_str(&out), out.len, true, NULL);
	must(json_is_object(tree));
	json_decref(tree);
	gh__buf_free(&out);
}

static void must_be_json(const gh__buf *out)
{
	json_t *tree = gh__json_parse(gh__buf_str(out), out->len, true, NULL);

	must(json_is_object(tree));
	json_decref(tree);
}

/* Two events and the end of every choice. */
static void answer(const gh__openai_request *r, int32_t n)
{
	static const gh_logprob top[] = { { 5, 1, -0.5F, 0 }, { 0, 2, -1e30F, 0 } };
	gh__openai_answer *a;
	gh__buf out = GH__BUF_INIT((size_t)64 << 20);

	must(gh__openai_answer_create(&a, r, &model, "x", 1) == GH_OK);
	if (r->stream)
		gh__openai_answer_begin(a, &out);
	for (size_t p = 0; p < r->prompt_count; p++) {
		for (int32_t i = 0; i < 2 * n; i++) {
			gh_token_event e = { .choice = i / 2,
					     .token = 5,
					     .text = "\"\xc3\xa9",
					     .text_len = 3,
					     .piece = "a",
					     .piece_len = 1,
					     .logprob = { 5, 1, -0.5F, 0 },
					     .top = top,
					     .top_count = 2,
					     .finish = i % 2 ? GH_FINISH_STOP : GH_FINISH_NONE,
					     .stop_id = 5,
					     .stop_string = -1,
					     .prompt_tokens = (int32_t)r->prompts[p].count };

			gh__openai_answer_event(a, p, &e, &out);
		}
	}
	must(gh__openai_answer_end(a, &out) == GH_OK);
	if (!r->stream)
		must_be_json(&out);
	gh__openai_answer_free(a);
	gh__buf_free(&out);
}

static void generate(gh__openai_kind kind, const char *body, size_t len)
{
	gh__openai_error error = { 0 };
	gh__openai_request r;
	gh_sampling sampling;

	if (gh__openai_request_parse(&r, kind, &model, body, len, &error) != GH_OK) {
		check_error(&error);
		return;
	}
	gh_status status = gh__openai_request_encode(&r, &model, &error);
	for (size_t i = 0; status == GH_OK && i < r.prompt_count; i++)
		status = gh__openai_request_sampling(&sampling, &r, &model, &r.prompts[i], &error);
	if (status != GH_OK)
		check_error(&error);
	else if (r.prompt_count > 0 && r.prompt_count * (size_t)sampling.n < 64)
		answer(&r, sampling.n);
	gh__openai_request_free(&r);
}

static void convert(int back, const char *body, size_t len)
{
	gh__openai_error error = { 0 };
	gh__buf out = GH__BUF_INIT((size_t)64 << 20);
	gh_status status = back ? gh__openai_detokenize(&out, &model, body, len, &error)
				: gh__openai_tokenize(&out, &model, body, len, &error);

	if (status == GH_OK)
		must_be_json(&out);
	else
		check_error(&error);
	gh__buf_free(&out);
}

static void command_line(const char *text, size_t len)
{
	const char *args[64];
	size_t count = 0;
	gh_error error = GH_ERROR_INIT;
	int32_t tp, pp;
	gh__args a;

	for (size_t at = 0; at < len && count < 64; at += strlen(text + at) + 1) {
		if (strncmp(text + at, "--config", 8) != 0) /* no files */
			args[count++] = text + at;
	}
	gh_status status = gh__args_parse(&a, args, count, &error);
	must((status == GH_OK) == (error.status == GH_OK));
	if (status == GH_OK)
		gh__args_free(&a);
	if (gh__args_parallel(args, count, &tp, &pp, NULL) == GH_OK)
		must(tp >= 1 && tp <= 1024 && pp >= 1 && pp <= 1024);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static gh_tokenizer *tokenizer;
	static gh_template *chat_template;

	if (!tokenizer) {
		must(gh_tokenizer_load(&tokenizer, GH_TEST_DATA "/checkpoints/qwen2", NULL) ==
		     GH_OK);
		must(gh_template_load(&chat_template, GH_TEST_DATA "/checkpoints/qwen2", NULL) ==
		     GH_OK);
		model.tokenizer = tokenizer;
		model.chat_template = chat_template;
	}
	if (size == 0)
		return 0;
	char *body = calloc(1, size);
	must(body != NULL);
	memcpy(body, data + 1, size - 1);
	switch (data[0]) {
	case 'c':
		generate(GH__OPENAI_CHAT, body, size - 1);
		break;
	case 'p':
		generate(GH__OPENAI_COMPLETION, body, size - 1);
		break;
	case 'a':
		command_line(body, size - 1);
		break;
	default:
		convert(data[0] == 'd', body, size - 1);
		break;
	}
	free(body);
	return 0;
}
