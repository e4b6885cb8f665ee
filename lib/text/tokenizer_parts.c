#include "text/loader.h"

#include <string.h>

#include "base/error.h"

/* Sequences of sequences: as deep as any sane file goes. */
#define NESTING 8

/* The type of a part; an absent one is an error. */
static const char *type_of(gh__json_reader *r)
{
	const char *type = "";

	gh__json_require(r, "type");
	gh__json_string(r, "type", &type);
	return type;
}

static bool flag(gh__json_reader *r, const char *key, bool absent)
{
	bool value = absent;

	gh__json_bool(r, key, &value);
	return value;
}

static bool is_absent(const json_t *part)
{
	return !part || json_is_null(part);
}

static void refuse_text(gh__json_reader *r, const char *key)
{
	const char *text;

	if (gh__json_string(r, key, &text) && *text)
		gh__json_refuse(r, key, "\"%.40s\" is not supported, only \"\"", text);
}

gh_status gh__tokenizer_read_model(gh_tokenizer *tokenizer, json_t *model, gh_error *error)
{
	gh__json_reader r;
	const char *type = "BPE", *text;
	double dropout = 0;

	gh__json_root(&r, model, "tokenizer.json: model", error);
	gh__json_string(&r, "type", &type);
	if (strcmp(type, "BPE") != 0)
		gh__json_refuse(&r, "type", "\"%.40s\" is not supported, only \"BPE\"", type);
	if (gh__json_real(&r, "dropout", 0, 1, &dropout) && dropout > 0)
		gh__json_refuse(&r, "dropout", "%g is not supported, only null", dropout);
	if (gh__json_string(&r, "unk_token", &text))
		gh__json_refuse(&r, "unk_token", "\"%.40s\" is not supported, only null", text);
	refuse_text(&r, "continuing_subword_prefix");
	refuse_text(&r, "end_of_word_suffix");
	if (flag(&r, "byte_fallback", false))
		gh__json_refuse(&r, "byte_fallback", "true is not supported, only false");
	tokenizer->model.ignore_merges = flag(&r, "ignore_merges", false);
	return gh__json_reader_status(&r);
}

/* Reads one part, or one member of a Sequence. */
typedef gh_status part_fn(gh_tokenizer *tokenizer, gh__json_reader *r, int depth);

static gh_status read_members(gh_tokenizer *tokenizer, gh__json_reader *r, const char *key,
			      int depth, part_fn *read)
{
	const json_t *list = NULL;
	gh_status status;

	if (depth >= NESTING)
		return gh__json_refuse(r, "type", "sequences nested deeper than %d", NESTING);
	gh__json_require(r, key);
	gh__json_array(r, key, &list);
	status = gh__json_reader_status(r);
	for (size_t i = 0; status == GH_OK && i < json_array_size(list); i++) {
		gh__json_reader member;

		gh__json_child(&member, r, key, (int)i, json_array_get(list, i));
		status = gh__json_reader_status(&member);
		if (status == GH_OK)
			status = read(tokenizer, &member, depth + 1);
	}
	return status;
}

static gh_status read_whole(gh_tokenizer *tokenizer, const json_t *part, const char *name,
			    part_fn *read, gh_error *error)
{
	gh__json_reader r;

	gh__json_root(&r, part, name, error);
	if (gh__json_reader_status(&r) != GH_OK)
		return gh__json_reader_status(&r);
	return read(tokenizer, &r, 0);
}

static gh_status read_normalizer(gh_tokenizer *tokenizer, gh__json_reader *r, int depth)
{
	const char *type = type_of(r);

	if (strcmp(type, "Sequence") == 0)
		return read_members(tokenizer, r, "normalizers", depth, read_normalizer);
	if (strcmp(type, "NFC") != 0)
		return gh__json_refuse(r, "type", "\"%.40s\" is not supported, only \"NFC\"", type);
	tokenizer->nfc = true;
	return GH_OK;
}

gh_status gh__tokenizer_read_normalizer(gh_tokenizer *tokenizer, json_t *normalizer,
					gh_error *error)
{
	if (is_absent(normalizer))
		return GH_OK;
	return read_whole(tokenizer, normalizer, "tokenizer.json: normalizer", read_normalizer,
			  error);
}

/* The next free split of the row; NULL after an error. */
static gh__split *add_split(gh_tokenizer *tokenizer, gh__json_reader *r)
{
	gh__splits *splits = &tokenizer->splits;

	if (gh__json_reader_status(r) != GH_OK)
		return NULL;
	if (splits->count == GH__SPLITS) {
		gh__json_refuse(r, "type", "more than %d splits", GH__SPLITS);
		return NULL;
	}
	return &splits->split[splits->count++];
}

static gh__split_behavior behavior_of(gh__json_reader *r)
{
	static const char *const names[] = {
		[GH__SPLIT_ISOLATED] = "Isolated",
		[GH__SPLIT_REMOVED] = "Removed",
		[GH__SPLIT_MERGED_WITH_PREVIOUS] = "MergedWithPrevious",
		[GH__SPLIT_MERGED_WITH_NEXT] = "MergedWithNext",
		[GH__SPLIT_CONTIGUOUS] = "Contiguous",
	};
	const char *text = "";

	gh__json_require(r, "behavior");
	gh__json_string(r, "behavior", &text);
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strcmp(text, names[i]) == 0)
			return (gh__split_behavior)i;
	gh__json_refuse(r, "behavior", "\"%.40s\" is not supported", text);
	return GH__SPLIT_ISOLATED;
}

/* {"Regex": "..."} or {"String": "..."} */
static gh_status read_pattern(gh__json_reader *r, gh__split *split)
{
	const json_t *object = NULL;
	gh__json_reader pattern;
	gh_error why = GH_ERROR_INIT;
	const char *key = "Regex", *text;
	size_t len;
	gh_status status = GH_OK;

	gh__json_require(r, "pattern");
	if (!gh__json_object(r, "pattern", &object))
		return gh__json_reader_status(r);
	gh__json_child(&pattern, r, "pattern", -1, object);
	if (gh__json_string_n(&pattern, key, &text, &len)) {
		status = gh__split_regex(split, text, len, &why);
	} else {
		key = "String";
		gh__json_require(&pattern, key);
		if (gh__json_string_n(&pattern, key, &text, &len))
			status = gh__split_literal(split, text, len, &why);
	}
	if (status == GH_ENOMEM)
		return gh__fail_nomem(r->error);
	if (status != GH_OK)
		return gh__json_refuse(&pattern, key, "%s", why.text);
	return gh__json_reader_status(&pattern);
}

static gh_status read_split(gh_tokenizer *tokenizer, gh__json_reader *r)
{
	gh__split *split = add_split(tokenizer, r);
	gh_status status;

	if (!split)
		return gh__json_reader_status(r);
	split->behavior = behavior_of(r);
	split->invert = flag(r, "invert", false);
	status = read_pattern(r, split);
	tokenizer->splits.has_pcre |= split->kind == GH__SPLIT_PCRE;
	return status == GH_OK ? gh__json_reader_status(r) : status;
}

static gh_status read_digits(gh_tokenizer *tokenizer, gh__json_reader *r)
{
	gh__split *split = add_split(tokenizer, r);

	if (split) {
		split->kind = GH__SPLIT_NUMBER;
		split->behavior = flag(r, "individual_digits", false) ? GH__SPLIT_ISOLATED
								      : GH__SPLIT_CONTIGUOUS;
	}
	return gh__json_reader_status(r);
}

static gh_status read_pre_tokenizer(gh_tokenizer *tokenizer, gh__json_reader *r, int depth)
{
	gh__splits *splits = &tokenizer->splits;
	const char *type = type_of(r);

	if (strcmp(type, "Sequence") == 0)
		return read_members(tokenizer, r, "pretokenizers", depth, read_pre_tokenizer);
	if (splits->byte_level)
		return gh__json_refuse(r, "type", "\"%.40s\" behind ByteLevel is not supported",
				       type);
	if (strcmp(type, "Split") == 0)
		return read_split(tokenizer, r);
	if (strcmp(type, "Digits") == 0)
		return read_digits(tokenizer, r);
	if (strcmp(type, "ByteLevel") != 0)
		return gh__json_refuse(
			r, "type",
			"\"%.40s\" is not supported, only Split, Digits, ByteLevel, Sequence",
			type);
	splits->byte_level = true;
	splits->prefix_space = flag(r, "add_prefix_space", true);
	splits->gpt2 = flag(r, "use_regex", true);
	return gh__json_reader_status(r);
}

gh_status gh__tokenizer_read_pre_tokenizer(gh_tokenizer *tokenizer, json_t *pre_tokenizer,
					   gh_error *error)
{
	gh_status status = GH_OK;

	if (!is_absent(pre_tokenizer))
		status = read_whole(tokenizer, pre_tokenizer, "tokenizer.json: pre_tokenizer",
				    read_pre_tokenizer, error);
	if (status == GH_OK && !tokenizer->splits.byte_level)
		status = gh__fail(error, GH_ENOTSUP,
				  "tokenizer.json: pre_tokenizer: without ByteLevel it is not "
				  "supported");
	return status;
}

static gh_status read_decoder(gh_tokenizer *tokenizer, gh__json_reader *r, int depth)
{
	const char *type = type_of(r);

	if (strcmp(type, "Sequence") == 0)
		return read_members(tokenizer, r, "decoders", depth, read_decoder);
	/* Fuse joins texts, which bytes are already. */
	if (strcmp(type, "ByteLevel") != 0 && strcmp(type, "Fuse") != 0)
		return gh__json_refuse(r, "type",
				       "\"%.40s\" is not supported, only ByteLevel, Fuse, Sequence",
				       type);
	return gh__json_reader_status(r);
}

gh_status gh__tokenizer_read_decoder(json_t *decoder, gh_error *error)
{
	if (is_absent(decoder))
		return gh__fail(error, GH_ENOTSUP,
				"tokenizer.json: decoder: null is not supported, only ByteLevel");
	return read_whole(NULL, decoder, "tokenizer.json: decoder", read_decoder, error);
}

/* The ids that a special token of a template stands for, behind those that are in ids. */
static gh_status read_template_token(gh_tokenizer *tokenizer, gh__json_reader *template,
				     const char *name, int32_t *ids, int *count)
{
	const json_t *all = NULL, *one = NULL, *list = NULL;
	gh__json_reader tokens, token;

	gh__json_require(template, "special_tokens");
	if (!gh__json_object(template, "special_tokens", &all))
		return gh__json_reader_status(template);
	gh__json_child(&tokens, template, "special_tokens", -1, all);
	gh__json_require(&tokens, name);
	if (!gh__json_object(&tokens, name, &one))
		return gh__json_reader_status(&tokens);
	gh__json_child(&token, &tokens, name, -1, one);
	gh__json_require(&token, "ids");
	gh__json_array(&token, "ids", &list);
	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *id = json_array_get(list, i);

		if (*count == GH__TOKENIZER_AFFIXES)
			return gh__json_refuse(&token, "ids", "more than %d in all",
					       GH__TOKENIZER_AFFIXES);
		if (!json_is_integer(id) ||
		    !gh__vocab_at(&tokenizer->model.vocab, json_integer_value(id)))
			return gh__json_fail(&token, "ids", "expected ids of tokens");
		ids[(*count)++] = (int32_t)json_integer_value(id);
	}
	return gh__json_reader_status(&token);
}

/* One piece of a template: {"Sequence": ...}, which is the text, or {"SpecialToken": ...}. */
static gh_status read_template_piece(gh_tokenizer *tokenizer, gh__json_reader *template,
				     gh__json_reader *piece, int32_t *front, int *front_count,
				     int *texts)
{
	const json_t *object = NULL;
	const char *name = "";
	gh__json_reader inner;

	if (!gh__json_object(piece, "SpecialToken", &object)) {
		gh__json_require(piece, "Sequence");
		*texts += gh__json_object(piece, "Sequence", &object);
		return gh__json_reader_status(piece);
	}
	gh__json_child(&inner, piece, "SpecialToken", -1, object);
	gh__json_require(&inner, "id");
	if (!gh__json_string(&inner, "id", &name))
		return gh__json_reader_status(&inner);
	if (*texts)
		return read_template_token(tokenizer, template, name, tokenizer->suffix,
					   &tokenizer->suffix_count);
	return read_template_token(tokenizer, template, name, front, front_count);
}

/* A later processor wraps what an earlier one made: what stands before its text goes in front of
 * the prefix so far, what stands behind it to the end. */
static gh_status read_template(gh_tokenizer *tokenizer, gh__json_reader *r)
{
	const json_t *single = NULL;
	int32_t front[GH__TOKENIZER_AFFIXES];
	int front_count = 0, texts = 0;

	gh__json_require(r, "single");
	if (!gh__json_array(r, "single", &single))
		return gh__json_reader_status(r);
	for (size_t i = 0; i < json_array_size(single); i++) {
		gh__json_reader piece;

		gh__json_child(&piece, r, "single", (int)i, json_array_get(single, i));
		gh_status status = gh__json_reader_status(&piece);
		if (status == GH_OK)
			status = read_template_piece(tokenizer, r, &piece, front, &front_count,
						     &texts);
		if (status != GH_OK)
			return status;
	}
	if (texts != 1)
		return gh__json_refuse(r, "single", "%d texts are not supported, only 1", texts);
	if (front_count + tokenizer->prefix_count > GH__TOKENIZER_AFFIXES)
		return gh__json_refuse(r, "single", "more than %d tokens", GH__TOKENIZER_AFFIXES);
	memmove(tokenizer->prefix + front_count, tokenizer->prefix,
		(size_t)tokenizer->prefix_count * sizeof front[0]);
	memcpy(tokenizer->prefix, front, (size_t)front_count * sizeof front[0]);
	tokenizer->prefix_count += front_count;
	return GH_OK;
}

static gh_status read_post_processor(gh_tokenizer *tokenizer, gh__json_reader *r, int depth)
{
	const char *type = type_of(r);

	if (strcmp(type, "Sequence") == 0)
		return read_members(tokenizer, r, "processors", depth, read_post_processor);
	if (strcmp(type, "TemplateProcessing") == 0)
		return read_template(tokenizer, r);
	if (strcmp(type, "ByteLevel") != 0) /* which only moves offsets */
		return gh__json_refuse(
			r, "type",
			"\"%.40s\" is not supported, only TemplateProcessing, ByteLevel, Sequence",
			type);
	return gh__json_reader_status(r);
}

gh_status gh__tokenizer_read_post_processor(gh_tokenizer *tokenizer, json_t *post_processor,
					    gh_error *error)
{
	if (is_absent(post_processor))
		return GH_OK;
	return read_whole(tokenizer, post_processor, "tokenizer.json: post_processor",
			  read_post_processor, error);
}
