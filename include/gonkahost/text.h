#ifndef GONKAHOST_TEXT_H
#define GONKAHOST_TEXT_H

#include <gonkahost/base.h>

/*
 * Text to tokens and back: byte-level BPE tokenizers, streaming detokenizers, chat templates.
 *
 * Threads: a tokenizer and a template are immutable after loading and may be shared; a detokenizer
 * belongs to one thread at a time.
 */
GH_BEGIN

/** A tokenizer, as described by a model's tokenizer.json. */
typedef struct gh_tokenizer gh_tokenizer;

/**
 * Load tokenizer.json (or vocab.json with merges.txt) and tokenizer_config.json from a folder. The
 * last of these may be missing; where both describe an added token, it has the last word.
 *
 * Owner    *out: caller frees (gh_tokenizer_free)
 * Threads  any
 * Errors   GH_ENOENT; GH_EFORMAT the text names file and field; GH_ENOTSUP a kind of tokenizer,
 *          normalizer, pre-tokenizer or decoder that is not supported, named
 * Source   Hugging Face tokenizers file format
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_tokenizer_load(gh_tokenizer **out, const char *folder,
						gh_error *error);

/**
 * Free a tokenizer. NULL is allowed.
 *
 * Owner    takes tokenizer
 * Threads  one, when nobody uses it any more
 * Errors   none
 * Since    0.1
 */
GH_API void gh_tokenizer_free(gh_tokenizer *tokenizer);

/**
 * The highest id and one more, added tokens included. Ids below it may be without a token.
 *
 * Owner    nothing
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API int32_t gh_tokenizer_size(const gh_tokenizer *tokenizer);

/** Prepend and append what the tokenizer's post-processor adds (Llama-3: the begin token). */
#define GH_ENCODE_SPECIAL 1u

/**
 * Encode text. The texts of added tokens become their ids wherever they stand.
 *
 * Shapes   *ids: *count ids
 * Needs    text is valid UTF-8 of len bytes, at most 64 MiB; it may hold NUL
 * Owner    *ids: caller frees (gh_free); NULL when *count is 0
 * Threads  any
 * Errors   GH_EINVAL invalid UTF-8 (the text says at which byte) or unknown flags; GH_ETOOBIG the
 *          text, or what the tokenizer's own pattern does with it; GH_ENOMEM
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_tokenizer_encode(const gh_tokenizer *tokenizer, const char *text,
						  size_t len, uint32_t flags, int32_t **ids,
						  size_t *count, gh_error *error);

/** Leave special tokens out of the text. */
#define GH_DECODE_SKIP_SPECIAL 1u

/**
 * Decode ids to UTF-8. Bytes that form no character become U+FFFD, one for each maximal invalid
 * part, also at the end; ids outside the table add nothing.
 *
 * Owner    *text: caller frees (gh_free); NUL-terminated, *len bytes without the NUL
 * Threads  any
 * Errors   GH_ENOMEM; GH_EINVAL unknown flags
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_tokenizer_decode(const gh_tokenizer *tokenizer, const int32_t *ids,
						  size_t count, uint32_t flags, char **text,
						  size_t *len, gh_error *error);

/**
 * Id of a token by its text: an added token ("<|im_end|>") or an entry spelled in the byte
 * alphabet ("Ġhello"); -1 when there is none.
 *
 * Owner    nothing
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API int32_t gh_tokenizer_id(const gh_tokenizer *tokenizer, const char *token);

/**
 * Text of a token as the file spells it (byte alphabet, or an added token's text); NULL when no
 * token has the id.
 *
 * Owner    borrows until gh_tokenizer_free()
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API const char *gh_tokenizer_token(const gh_tokenizer *tokenizer, int32_t id);

/**
 * Id of the end token that tokenizer_config.json names (eos_token); -1 when there is none.
 *
 * Owner    nothing
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API int32_t gh_tokenizer_eos(const gh_tokenizer *tokenizer);

/** Turns a growing list of ids into pieces of text, each of them valid UTF-8. */
typedef struct gh_detokenizer gh_detokenizer;

/**
 * Begin a text.
 *
 * Owner    *out: caller frees (gh_detokenizer_free); borrows tokenizer until then
 * Threads  any
 * Errors   GH_ENOMEM; GH_EINVAL unknown flags (GH_DECODE_*)
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_detokenizer_create(gh_detokenizer **out,
						    const gh_tokenizer *tokenizer, uint32_t flags,
						    gh_error *error);

/**
 * Free a detokenizer. NULL is allowed.
 *
 * Owner    takes detokenizer
 * Threads  one
 * Errors   none
 * Since    0.1
 */
GH_API void gh_detokenizer_free(gh_detokenizer *detokenizer);

/**
 * Add one id; answers the text that has become certain, often empty. A character spread over
 * several tokens comes whole, with the token that completes it. Invalid parts become U+FFFD once a
 * valid character follows; what is incomplete or invalid at the end never comes.
 *
 * Owner    *text: borrows until the next call; NUL-terminated, *len bytes without the NUL
 * Threads  one
 * Errors   GH_ENOMEM
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_detokenizer_push(gh_detokenizer *detokenizer, int32_t id,
						  const char **text, size_t *len, gh_error *error);

/** A chat template, parsed. */
typedef struct gh_template gh_template;

/**
 * Load the chat template of a model folder: chat_template.jinja, else the template inside
 * tokenizer_config.json. The special tokens that templates may name come from the latter.
 *
 * Owner    *out: caller frees (gh_template_free)
 * Threads  any
 * Errors   GH_ENOENT there is none; GH_ENOTSUP a construct outside the supported part of Jinja:
 *          named, with its line; GH_EFORMAT a syntax error, with its line; GH_ETOOBIG more than
 *          1 MiB, or nested too deep
 * Source   Jinja's template documentation; conventions of chat templates
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_template_load(gh_template **out, const char *folder,
					       gh_error *error);

/**
 * Parse a template's text; bos_token and eos_token are empty in it.
 *
 * Owner    *out: caller frees (gh_template_free); copies text
 * Threads  any
 * Errors   as gh_template_load()
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_template_parse(gh_template **out, const char *text, size_t len,
						gh_error *error);

/**
 * Free a template. NULL is allowed.
 *
 * Owner    takes chat_template
 * Threads  one, when nobody uses it any more
 * Errors   none
 * Since    0.1
 */
GH_API void gh_template_free(gh_template *chat_template);

/**
 * Render a conversation.
 *
 * variables is a JSON object, usually {"messages": [...], "tools": [...] or null,
 * "add_generation_prompt": true}; each member is a variable of the template.
 *
 * Units    at most 10 million steps, 256 MiB of values and 16 MiB of output; strftime_now() tells
 *          local time
 * Owner    *text: caller frees (gh_free); NUL-terminated, *len bytes without the NUL
 * Threads  any
 * Errors   GH_EINVAL malformed JSON, or the template raised an exception: its message; GH_ETOOBIG
 *          a limit was reached
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_template_render(const gh_template *chat_template,
						 const char *variables, char **text, size_t *len,
						 gh_error *error);

GH_END
#endif
