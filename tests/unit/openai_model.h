#ifndef GH_TESTS_OPENAI_MODEL_H
#define GH_TESTS_OPENAI_MODEL_H

#include "unit.h"

#include <stdio.h>
#include <string.h>

#include "openai/request.h"

/* A model to check requests against: a real tokenizer and template, no engine. */

#define FOLDER GH_TEST_DATA "/checkpoints/qwen2"

static const char *const names[] = { "m", "other" };
static const int32_t eos[] = { 409, 407 };
static gh__openai_model model;
static gh_tokenizer *tokenizer;
static gh_template *chat_template;

static inline void set_up(void)
{
	assert_ok(gh_tokenizer_load(&tokenizer, FOLDER, error));
	assert_ok(gh_template_load(&chat_template, FOLDER, error));
	model = (gh__openai_model){ .names = names,
				    .name_count = 2,
				    .response_role = "assistant",
				    .tokenizer = tokenizer,
				    .chat_template = chat_template,
				    .max_length = 512,
				    .vocab = 419,
				    .max_logprobs = 20,
				    .eos = eos,
				    .eos_count = 2,
				    .eos_id = 409 };
}

static inline void tear_down(void)
{
	gh_template_free(chat_template);
	gh_tokenizer_free(tokenizer);
}

/* Single quotes stand for double ones. */
static inline const char *quoted(const char *text)
{
	static char out[4096];
	size_t i;

	for (i = 0; text[i] && i + 1 < sizeof out; i++)
		out[i] = text[i] == '\'' ? '"' : text[i];
	out[i] = '\0';
	return out;
}

static inline gh__openai_request parsed(gh__openai_kind kind, const char *body)
{
	gh__openai_request r;
	gh__openai_error error = { 0 };
	const char *text = quoted(body);
	gh_status status = gh__openai_request_parse(&r, kind, &model, text, strlen(text), &error);

	ck_assert_msg(status == GH_OK, "%s: %s", body, error.message);
	return r;
}

static inline gh__openai_request chat_with(const char *fields)
{
	char body[2048];

	snprintf(body, sizeof body, "{'messages':[{'role':'user','content':'Hi'}]%s%s}",
		 fields[0] ? "," : "", fields);
	return parsed(GH__OPENAI_CHAT, body);
}

#endif
