#ifndef GH_TESTS_TOKENIZER_FILE_H
#define GH_TESTS_TOKENIZER_FILE_H

#include <gonkahost/text.h>

#include "base/buf.h"
#include "folder.h"
#include "text/vocab.h"

/*
 * Small tokenizer.json files. Each part is JSON text; NULL is the plain choice: all 256 bytes as
 * the ids of the same number, no merges, no normalizer, ByteLevel without a pattern.
 */
typedef struct tokenizer_file {
	const char *tokens;       /* more of the vocabulary, from id 256 on: "\"he\": 256" */
	const char *merges;       /* members of the list */
	const char *model;        /* more members of model */
	const char *added_tokens; /* members of the list */
	const char *normalizer, *pre_tokenizer, *post_processor, *decoder;
	const char *config;   /* tokenizer_config.json */
	bool merges_first;    /* model.merges before model.vocab */
	const char *left_out; /* bytes that the vocabulary lacks */
} tokenizer_file;

static inline void append_vocab(gh__buf *out, const tokenizer_file *file)
{
	gh__buf_append_str(out, "\"vocab\": {");
	for (unsigned b = 0; b < 256; b++) {
		char byte = (char)b, text[4];

		if (file->left_out && b && strchr(file->left_out, byte))
			continue;
		size_t len = gh__alphabet_spell(text, &byte, 1);
		gh__buf_printf(out, "%s\"%s%.*s\": %u", b ? ", " : "",
			       b == '"' || b == '\\' ? "\\" : "", (int)len, text, b);
	}
	gh__buf_printf(out, "%s%s}", file->tokens ? ", " : "", file->tokens ? file->tokens : "");
}

static inline const char *or_else(const char *part, const char *otherwise)
{
	return part ? part : otherwise;
}

/* Writes the files and loads them. */
static inline gh_status load_file(gh_tokenizer **out, const tokenizer_file *file, gh_error *error)
{
	gh__buf json = GH__BUF_INIT(1 << 20);

	gh__buf_printf(&json, "{\"version\": \"1.0\", \"added_tokens\": [%s], ",
		       or_else(file->added_tokens, ""));
	gh__buf_printf(&json, "\"normalizer\": %s, ", or_else(file->normalizer, "null"));
	gh__buf_printf(&json, "\"pre_tokenizer\": %s, ",
		       or_else(file->pre_tokenizer,
			       "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
			       "\"trim_offsets\": true, \"use_regex\": false}"));
	gh__buf_printf(&json, "\"post_processor\": %s, ", or_else(file->post_processor, "null"));
	gh__buf_printf(&json, "\"decoder\": %s, ",
		       or_else(file->decoder, "{\"type\": \"ByteLevel\"}"));
	gh__buf_append_str(&json, "\"model\": {");
	if (file->model)
		gh__buf_printf(&json, "%s, ", file->model);
	if (!file->merges_first) {
		append_vocab(&json, file);
		gh__buf_append_str(&json, ", ");
	}
	gh__buf_printf(&json, "\"merges\": [%s]", or_else(file->merges, ""));
	if (file->merges_first) {
		gh__buf_append_str(&json, ", ");
		append_vocab(&json, file);
	}
	gh__buf_append_str(&json, "}}");
	ck_assert_int_eq(gh__buf_status(&json), GH_OK);
	write_bytes("tokenizer.json", json.data, json.len);
	gh__buf_free(&json);
	if (file->config)
		write_text("tokenizer_config.json", file->config);
	return gh_tokenizer_load(out, root, error);
}

/* he=256 hel=257 lo=258 hello=259 aa=260 aaaa=261 llo=262; "hello" and "llo" are out of reach of
 * the merges. */
#define SOME_TOKENS                                                \
	"\"he\": 256, \"hel\": 257, \"lo\": 258, \"hello\": 259, " \
	"\"aa\": 260, \"aaaa\": 261, \"llo\": 262"
#define SOME_MERGES "\"h e\", \"l o\", \"he l\", \"a a\", \"aa aa\""
#define SOME_PAIRS                                                          \
	"[\"h\", \"e\"], [\"l\", \"o\"], [\"he\", \"l\"], [\"a\", \"a\"], " \
	"[\"aa\", \"aa\"]"

static inline gh_tokenizer *load(tokenizer_file file)
{
	gh_tokenizer *tokenizer = NULL;

	assert_ok(load_file(&tokenizer, &file, error));
	return tokenizer;
}

/* Ids as text: "256 108". */
static inline const char *encode_n(const gh_tokenizer *tokenizer, const char *text, size_t len,
				   uint32_t flags)
{
	static char out[4096];
	int32_t *ids = NULL;
	size_t count, at = 0;

	assert_ok(gh_tokenizer_encode(tokenizer, text, len, flags, &ids, &count, error));
	ck_assert_int_eq(ids == NULL, count == 0);
	out[0] = '\0';
	for (size_t i = 0; i < count; i++)
		at += (size_t)snprintf(out + at, sizeof out - at, "%s%d", i ? " " : "", ids[i]);
	ck_assert_uint_lt(at, sizeof out);
	gh_free(ids);
	return out;
}

static inline const char *encode(const gh_tokenizer *tokenizer, const char *text)
{
	return encode_n(tokenizer, text, strlen(text), 0);
}

#define ADDED(id, text, flags) "{\"id\": " #id ", \"content\": \"" text "\"" flags "}"
#define SPECIAL                ", \"special\": true"

#define TEMPLATE(single, tokens)                                  \
	"{\"type\": \"TemplateProcessing\", \"single\": [" single \
	"], \"pair\": [], \"special_tokens\": {" tokens "}}"
#define TOKEN(id)  "{\"SpecialToken\": {\"id\": \"" id "\", \"type_id\": 0}}"
#define THE_TEXT   "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}"
#define BOS        "\"bos\": {\"id\": \"bos\", \"ids\": [300], \"tokens\": [\"<s>\"]}"
#define EOS        "\"eos\": {\"id\": \"eos\", \"ids\": [301, 300], \"tokens\": []}"
#define BOS_TOKENS ADDED(300, "<s>", SPECIAL) "," ADDED(301, "</s>", SPECIAL)

#endif
