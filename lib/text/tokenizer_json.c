#include "text/loader.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "json/pull.h"

/* Values in one small part of the file; a tree costs many times what its text does. */
#define TREE_MAX 1000000

typedef struct reader {
	gh_tokenizer *tokenizer;
	gh__tokenizer_parts *parts;
	gh__pull *pull;
	const char *name; /* of the file */
	gh_error *error;
	int left; /* values that may still go into trees */
	bool has_vocab, has_merges;
	bool merges_early; /* merges came before the vocabulary that they speak of */
} reader;

void gh__tokenizer_parts_done(gh__tokenizer_parts *parts)
{
	json_decref(parts->model);
	json_decref(parts->added_tokens);
	json_decref(parts->normalizer);
	json_decref(parts->pre_tokenizer);
	json_decref(parts->post_processor);
	json_decref(parts->decoder);
}

/* What stands here is not what was expected: the reader's own error, if it has one, goes first. */
static gh_status unexpected(const reader *r, gh__pull_event event, const char *field,
			    const char *expected)
{
	if (event == GH__PULL_ERROR)
		return gh__pull_error(r->pull, r->name, r->error);
	return gh__fail(r->error, GH_EFORMAT, "%s: %s: expected %s (before byte %zu)", r->name,
			field, expected, gh__pull_offset(r->pull));
}

static json_t *read_tree(reader *r, gh__pull_event event);

static bool read_object(reader *r, json_t *object)
{
	for (;;) {
		gh__pull_event event = gh__pull_next(r->pull);
		size_t len;
		const char *text;
		char key[256];

		if (event == GH__PULL_OBJECT_END)
			return true;
		if (event != GH__PULL_KEY)
			return false;
		text = gh__pull_text(r->pull, &len);
		if (len >= sizeof key || memchr(text, '\0', len))
			return false;
		memcpy(key, text, len);
		key[len] = '\0';
		json_t *value = read_tree(r, gh__pull_next(r->pull));
		if (!value || json_object_set_new_nocheck(object, key, value) != 0)
			return false;
	}
}

static bool read_array(reader *r, json_t *array)
{
	for (;;) {
		gh__pull_event event = gh__pull_next(r->pull);

		if (event == GH__PULL_ARRAY_END)
			return true;
		json_t *value = read_tree(r, event);
		if (!value || json_array_append_new(array, value) != 0)
			return false;
	}
}

/* The value that begins with event, as a tree; NULL: malformed, too much of it, or no memory. */
static json_t *read_tree(reader *r, gh__pull_event event)
{
	json_t *value = NULL;
	const char *text;
	size_t len;
	int64_t integer;
	double real;
	bool complete = true;

	if (r->left-- <= 0)
		return NULL;
	switch (event) {
	case GH__PULL_OBJECT:
		value = json_object();
		complete = value && read_object(r, value);
		break;
	case GH__PULL_ARRAY:
		value = json_array();
		complete = value && read_array(r, value);
		break;
	case GH__PULL_STRING:
		text = gh__pull_text(r->pull, &len);
		return json_stringn_nocheck(text, len);
	case GH__PULL_NUMBER:
		if (gh__pull_int(r->pull, &integer))
			return json_integer(integer);
		return gh__pull_double(r->pull, &real) ? json_real(real) : NULL;
	case GH__PULL_TRUE:
		return json_true();
	case GH__PULL_FALSE:
		return json_false();
	case GH__PULL_NULL:
		return json_null();
	default:
		return NULL;
	}
	if (!complete) {
		json_decref(value);
		value = NULL;
	}
	return value;
}

static gh_status read_part(reader *r, const char *field, json_t **part)
{
	gh_error inner = GH_ERROR_INIT;

	if (*part)
		return gh__fail(r->error, GH_EFORMAT, "%s: %s is there twice", r->name, field);
	*part = read_tree(r, gh__pull_next(r->pull));
	if (*part)
		return GH_OK;
	if (gh__pull_error(r->pull, r->name, &inner) != GH_OK)
		return gh__fail(r->error, inner.status, "%s", inner.text);
	if (r->left <= 0)
		return gh__fail(r->error, GH_ETOOBIG, "%s: %s: more than %d values", r->name, field,
				TREE_MAX);
	return gh__fail(r->error, GH_EFORMAT, "%s: %s: a value that cannot be used", r->name,
			field);
}

static gh_status read_vocab(reader *r, const char *field)
{
	gh__vocab *vocab = &r->tokenizer->model.vocab;
	gh__pull_event event = gh__pull_next(r->pull);
	gh__buf key = GH__BUF_INIT(GH__VOCAB_TEXT + 1);
	gh_status status = GH_OK;

	if (event != GH__PULL_OBJECT)
		return unexpected(r, event, field, "an object");
	while (status == GH_OK) {
		size_t len;
		int64_t id;

		event = gh__pull_next(r->pull);
		if (event == GH__PULL_OBJECT_END)
			break;
		if (event != GH__PULL_KEY) {
			status = unexpected(r, event, field, "a member");
			break;
		}
		/* The text is good until the next call only. */
		const char *text = gh__pull_text(r->pull, &len);
		gh__buf_reset(&key);
		gh__buf_append(&key, text, len);
		if (gh__buf_status(&key) != GH_OK) {
			status = gh__fail(r->error, gh__buf_status(&key),
					  "%s: %s: a text of %zu bytes, at most %u", r->name, field,
					  len, GH__VOCAB_TEXT);
			break;
		}
		event = gh__pull_next(r->pull);
		if (event != GH__PULL_NUMBER || !gh__pull_int(r->pull, &id)) {
			status = unexpected(r, event, field, "an integer as the id");
			break;
		}
		status = gh__vocab_add(vocab, key.data, key.len, id, GH__TOKEN_MODEL, r->error);
		if (status != GH_OK)
			gh__error_prefix(r->error, "%s: %s: ", r->name, field);
	}
	gh__buf_free(&key);
	return status;
}

/* One merge, "a b" or ["a", "b"], that begins with event. */
static gh_status read_merge(reader *r, gh__pull_event event, uint32_t rank, gh__buf *left)
{
	static const char field[] = "model.merges";
	gh__bpe_model *model = &r->tokenizer->model;
	gh_status status;
	const char *text;
	size_t len;

	if (event == GH__PULL_STRING) {
		text = gh__pull_text(r->pull, &len);
		status = gh__merges_add_line(&model->merges, rank, &model->vocab, text, len,
					     r->error);
	} else if (event == GH__PULL_ARRAY) {
		event = gh__pull_next(r->pull);
		if (event != GH__PULL_STRING)
			return unexpected(r, event, field, "two texts in a pair");
		text = gh__pull_text(r->pull, &len);
		gh__buf_reset(left);
		gh__buf_append(left, text, len);
		if (gh__buf_status(left) != GH_OK)
			return gh__fail(r->error, gh__buf_status(left), "%s: %s: a text too long",
					r->name, field);
		event = gh__pull_next(r->pull);
		if (event != GH__PULL_STRING)
			return unexpected(r, event, field, "two texts in a pair");
		text = gh__pull_text(r->pull, &len);
		status = gh__merges_add(&model->merges, rank, &model->vocab, left->data, left->len,
					text, len, r->error);
		if (status == GH_OK) {
			event = gh__pull_next(r->pull);
			if (event != GH__PULL_ARRAY_END)
				return unexpected(r, event, field, "two texts in a pair");
		}
	} else {
		return unexpected(r, event, field, "\"a b\" or [\"a\", \"b\"]");
	}
	if (status != GH_OK)
		gh__error_prefix(r->error, "%s: %s[%u]: ", r->name, field, rank);
	return status;
}

static gh_status read_merges(reader *r)
{
	gh__pull_event event = gh__pull_next(r->pull);
	gh__buf left = GH__BUF_INIT(GH__VOCAB_TEXT + 1);
	gh_status status = GH_OK;

	if (event != GH__PULL_ARRAY)
		return unexpected(r, event, "model.merges", "an array");
	for (uint32_t rank = 0; status == GH_OK; rank++) {
		event = gh__pull_next(r->pull);
		if (event == GH__PULL_ARRAY_END)
			break;
		if (rank == GH__MERGE_NONE)
			status = gh__fail(r->error, GH_ETOOBIG, "%s: too many merges", r->name);
		else
			status = read_merge(r, event, rank, &left);
	}
	gh__buf_free(&left);
	return status;
}

/* Fields that are kept for gh__tokenizer_read_model(); what others say does not matter here. */
static bool is_model_field(const gh__pull *pull)
{
	static const char *const fields[] = { "type",
					      "dropout",
					      "unk_token",
					      "continuing_subword_prefix",
					      "end_of_word_suffix",
					      "byte_fallback",
					      "ignore_merges" };

	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		if (gh__pull_is(pull, fields[i]))
			return true;
	return false;
}

static gh_status once(const reader *r, bool *seen, const char *field)
{
	if (*seen)
		return gh__fail(r->error, GH_EFORMAT, "%s: %s is there twice", r->name, field);
	*seen = true;
	return GH_OK;
}

static gh_status read_model_field(reader *r)
{
	gh_status status;

	if (gh__pull_is(r->pull, "vocab")) {
		status = once(r, &r->has_vocab, "model.vocab");
		/* Another kind of model has another kind of vocabulary: refuse the kind first. */
		if (status == GH_OK)
			status = gh__tokenizer_read_model(r->tokenizer, r->parts->model, r->error);
		return status == GH_OK ? read_vocab(r, "model.vocab") : status;
	}
	if (gh__pull_is(r->pull, "merges")) {
		status = once(r, &r->has_merges, "model.merges");
		if (status != GH_OK)
			return status;
		if (r->has_vocab)
			return read_merges(r);
		r->merges_early = true;
	} else if (is_model_field(r->pull)) {
		char key[64];
		size_t len;
		const char *text = gh__pull_text(r->pull, &len);

		memcpy(key, text, len);
		key[len] = '\0';
		json_t *value = NULL;
		status = read_part(r, key, &value);
		if (status == GH_OK &&
		    json_object_set_new_nocheck(r->parts->model, key, value) != 0)
			status = gh__fail_nomem(r->error);
		return status;
	}
	status = gh__pull_skip(r->pull);
	return status == GH_OK ? status : gh__pull_error(r->pull, r->name, r->error);
}

static gh_status read_model(reader *r)
{
	gh__pull_event event = gh__pull_next(r->pull);

	if (event != GH__PULL_OBJECT)
		return unexpected(r, event, "model", "an object");
	if (r->parts->model)
		return gh__fail(r->error, GH_EFORMAT, "%s: model is there twice", r->name);
	r->parts->model = json_object();
	if (!r->parts->model)
		return gh__fail_nomem(r->error);
	for (;;) {
		event = gh__pull_next(r->pull);
		if (event == GH__PULL_OBJECT_END)
			return GH_OK;
		if (event != GH__PULL_KEY)
			return unexpected(r, event, "model", "a member");
		gh_status status = read_model_field(r);
		if (status != GH_OK)
			return status;
	}
}

static gh_status read_top_field(reader *r)
{
	struct {
		const char *name;
		json_t **part;
	} fields[] = {
		{ "added_tokens", &r->parts->added_tokens },
		{ "normalizer", &r->parts->normalizer },
		{ "pre_tokenizer", &r->parts->pre_tokenizer },
		{ "post_processor", &r->parts->post_processor },
		{ "decoder", &r->parts->decoder },
	};

	if (gh__pull_is(r->pull, "model"))
		return read_model(r);
	for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++)
		if (gh__pull_is(r->pull, fields[i].name))
			return read_part(r, fields[i].name, fields[i].part);
	gh_status status = gh__pull_skip(r->pull);
	return status == GH_OK ? status : gh__pull_error(r->pull, r->name, r->error);
}

/* The file's outermost object; field reads the value behind each key. */
static gh_status read_file(reader *r, const char *text, size_t len, gh_status (*field)(reader *r))
{
	gh_status status = gh__pull_create(&r->pull, text, len, r->error);
	gh__pull_event event;

	if (status != GH_OK)
		return status;
	event = gh__pull_next(r->pull);
	if (event != GH__PULL_OBJECT)
		status = unexpected(r, event, "the file", "an object");
	while (status == GH_OK) {
		event = gh__pull_next(r->pull);
		if (event == GH__PULL_OBJECT_END) {
			event = gh__pull_next(r->pull);
			if (event != GH__PULL_END)
				status = unexpected(r, event, "the file", "one value");
			break;
		}
		if (event != GH__PULL_KEY)
			status = unexpected(r, event, "the file", "a member");
		else
			status = field(r);
	}
	gh__pull_free(r->pull);
	return status;
}

/* The second walk, for model.merges only. */
static gh_status read_late_model(reader *r)
{
	if (!gh__pull_is(r->pull, "model"))
		return gh__pull_skip(r->pull);
	gh__pull_event event = gh__pull_next(r->pull); /* the object */
	while (event == GH__PULL_OBJECT || event == GH__PULL_KEY) {
		event = gh__pull_next(r->pull);
		if (event != GH__PULL_KEY)
			break;
		gh_status status =
			gh__pull_is(r->pull, "merges") ? read_merges(r) : gh__pull_skip(r->pull);
		if (status != GH_OK)
			return status;
	}
	return event == GH__PULL_OBJECT_END ? GH_OK : unexpected(r, event, "model", "a member");
}

gh_status gh__tokenizer_read_json(gh_tokenizer *tokenizer, gh__tokenizer_parts *parts,
				  const char *text, size_t len, gh_error *error)
{
	reader r = { .tokenizer = tokenizer,
		     .parts = parts,
		     .name = "tokenizer.json",
		     .error = error,
		     .left = TREE_MAX };
	gh_status status = read_file(&r, text, len, read_top_field);

	if (status != GH_OK)
		return status;
	if (!parts->model)
		return gh__fail(error, GH_EFORMAT, "%s: model is missing", r.name);
	status = gh__tokenizer_read_model(tokenizer, parts->model, error);
	if (status == GH_OK && !r.has_vocab)
		status = gh__fail(error, GH_EFORMAT, "%s: model.vocab is missing", r.name);
	if (status == GH_OK && !r.has_merges)
		status = gh__fail(error, GH_EFORMAT, "%s: model.merges is missing", r.name);
	if (status == GH_OK && r.merges_early)
		status = read_file(&r, text, len, read_late_model);
	return status;
}

gh_status gh__tokenizer_read_vocab(gh_tokenizer *tokenizer, const char *text, size_t len,
				   gh_error *error)
{
	reader r = { .tokenizer = tokenizer, .name = "vocab.json", .error = error };
	gh_status status = gh__pull_create(&r.pull, text, len, error);

	if (status != GH_OK)
		return status;
	status = read_vocab(&r, "the file");
	if (status == GH_OK) {
		gh__pull_event event = gh__pull_next(r.pull);

		if (event != GH__PULL_END)
			status = unexpected(&r, event, "the file", "one value");
	}
	gh__pull_free(r.pull);
	return status;
}

gh_status gh__tokenizer_read_merges(gh_tokenizer *tokenizer, const char *text, size_t len,
				    gh_error *error)
{
	static const char version[] = "#version";
	gh__bpe_model *model = &tokenizer->model;
	const char *end = text + len;
	uint32_t line = 0;

	while (text < end) {
		const char *stop = memchr(text, '\n', (size_t)(end - text));
		size_t size = (size_t)((stop ? stop : end) - text);

		line++;
		if (size && text[size - 1] == '\r')
			size--;
		if (size < sizeof version - 1 || memcmp(text, version, sizeof version - 1) != 0) {
			gh_status status = gh__merges_add_line(&model->merges, line, &model->vocab,
							       text, size, error);

			if (status != GH_OK) {
				gh__error_prefix(error, "merges.txt: line %u: ", line);
				return status;
			}
		}
		text = stop ? stop + 1 : end;
	}
	return GH_OK;
}
