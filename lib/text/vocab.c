#include "text/vocab.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/random.h"
#include "base/utf8.h"

struct gh__vocab_slot {
	uint32_t hash;
	uint32_t id; /* id + 1; 0: empty */
};

/* Bytes that are their own characters; the 68 others come in order from U+0100 on. */
static bool is_plain(unsigned c)
{
	return (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || (c >= 174 && c <= 255);
}

uint32_t gh__alphabet_char(unsigned char byte)
{
	if (is_plain(byte))
		return byte;
	if (byte <= 32)
		return 0x100u + byte;
	if (byte <= 160)
		return 0x100u + 33 + (byte - 127u);
	return 0x100u + 67;
}

/* The byte of a character, or -1. */
static int alphabet_byte(uint32_t c)
{
	if (c < 0x100)
		return is_plain(c) ? (int)c : -1;
	c -= 0x100;
	if (c <= 32)
		return (int)c;
	if (c <= 66)
		return (int)(c - 33 + 127);
	return c == 67 ? 173 : -1;
}

size_t gh__alphabet_spell(char *out, const char *bytes, size_t len)
{
	size_t written = 0;

	for (size_t i = 0; i < len; i++)
		written += (size_t)gh__utf8_encode(out + written,
						   gh__alphabet_char((unsigned char)bytes[i]));
	return written;
}

size_t gh__alphabet_read(char *out, const char *text, size_t len)
{
	size_t written = 0;

	for (size_t at = 0; at < len;) {
		uint32_t c = 0;
		int bytes = gh__utf8_decode(text + at, len - at, &c);
		int byte = bytes > 0 ? alphabet_byte(c) : -1;

		if (byte < 0)
			return SIZE_MAX;
		out[written++] = (char)byte;
		at += (size_t)bytes;
	}
	return written;
}

/* Both halves of a product take part, so every bit of the text reaches every bit of the hash; the
 * seed keeps a file from choosing texts that collide. */
__extension__ typedef unsigned __int128 wide;

static uint64_t mix(uint64_t a, uint64_t b)
{
	wide product = (wide)a * b;

	return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static uint32_t hash_of(uint64_t seed, const char *text, size_t len)
{
	uint64_t hash = seed ^ len, word = 0;

	for (; len > sizeof word; text += sizeof word, len -= sizeof word) {
		memcpy(&word, text, sizeof word);
		hash = mix(hash ^ word, UINT64_C(0x9e3779b97f4a7c15));
	}
	word = 0;
	memcpy(&word, text, len);
	hash = mix(hash ^ word, UINT64_C(0xd6e8feb86659fd93));
	return (uint32_t)(hash >> 32 ^ hash);
}

void gh__vocab_init(gh__vocab *vocab)
{
	*vocab = (gh__vocab){ .seed = gh__random_u64() };
	gh__buf_init(&vocab->strings, UINT32_MAX / 4);
}

void gh__vocab_done(gh__vocab *vocab)
{
	gh__buf_free(&vocab->strings);
	gh__free(vocab->tokens);
	gh__free(vocab->slots);
}

static gh_status grow_slots(gh__vocab *vocab, gh_error *error)
{
	size_t mask = vocab->slots ? vocab->slot_mask * 2 + 1 : 1023;
	struct gh__vocab_slot *slots = gh__calloc(mask + 1, sizeof *slots);

	if (!slots)
		return gh__fail_nomem(error);
	for (size_t i = 0; vocab->slots && i <= vocab->slot_mask; i++) {
		size_t at = vocab->slots[i].hash & mask;

		if (!vocab->slots[i].id)
			continue;
		while (slots[at].id)
			at = (at + 1) & mask;
		slots[at] = vocab->slots[i];
	}
	gh__free(vocab->slots);
	vocab->slots = slots;
	vocab->slot_mask = mask;
	return GH_OK;
}

static gh_status grow_tokens(gh__vocab *vocab, int32_t id, gh_error *error)
{
	int32_t capacity = vocab->capacity ? vocab->capacity : 1024;

	while (capacity <= id)
		capacity *= 2;
	if (capacity != vocab->capacity) {
		gh__token *tokens =
			gh__realloc_array(vocab->tokens, (size_t)capacity, sizeof *vocab->tokens);

		if (!tokens)
			return gh__fail_nomem(error);
		memset(tokens + vocab->capacity, 0,
		       (size_t)(capacity - vocab->capacity) * sizeof *tokens);
		vocab->tokens = tokens;
		vocab->capacity = capacity;
	}
	return GH_OK;
}

/* The slot of a text: its own, or the empty one where it belongs. */
static struct gh__vocab_slot *slot_of(const gh__vocab *vocab, uint32_t hash, const char *text,
				      size_t len)
{
	for (size_t at = hash & vocab->slot_mask;; at = (at + 1) & vocab->slot_mask) {
		struct gh__vocab_slot *slot = &vocab->slots[at];

		if (!slot->id)
			return slot;
		if (slot->hash != hash)
			continue;
		const gh__token *token = &vocab->tokens[slot->id - 1];
		if (token->text_len == len && memcmp(gh__vocab_text(vocab, token), text, len) == 0)
			return slot;
	}
}

/* Both forms of a token's text into the buffer; once, where they are the same. */
static gh_status store(gh__vocab *vocab, const char *text, size_t len, unsigned flags,
		       gh__token *token, gh_error *error)
{
	gh__buf *strings = &vocab->strings;

	if (!gh__buf_reserve(strings, 2 * len + 2))
		return gh__fail(error, gh__buf_status(strings), "the texts together are too long");
	token->text = token->bytes = (uint32_t)strings->len;
	token->text_len = token->bytes_len = (uint32_t)len;
	token->flags = flags;
	gh__buf_append(strings, text, len);
	gh__buf_append_char(strings, '\0');
	if (flags & GH__TOKEN_ADDED)
		return GH_OK;
	char *out = strings->data + strings->len;
	size_t bytes = gh__alphabet_read(out, text, len);
	if (bytes != SIZE_MAX && (bytes != len || memcmp(out, text, len) != 0)) {
		token->bytes = (uint32_t)strings->len;
		token->bytes_len = (uint32_t)bytes;
		strings->len += bytes;
		strings->data[strings->len] = '\0';
	}
	return GH_OK;
}

gh_status gh__vocab_add(gh__vocab *vocab, const char *text, size_t len, int64_t id, unsigned flags,
			gh_error *error)
{
	if (id < 0 || id >= GH__VOCAB_IDS)
		return gh__fail(error, GH_EFORMAT, "\"%.*s\": the id %lld is not between 0 and %d",
				(int)(len < 60 ? len : 60), text, (long long)id, GH__VOCAB_IDS - 1);
	if (len > GH__VOCAB_TEXT)
		return gh__fail(error, GH_EFORMAT, "id %lld: a text of %zu bytes, at most %u",
				(long long)id, len, GH__VOCAB_TEXT);
	if (vocab->count * 2 >= vocab->slot_mask || !vocab->slots) {
		gh_status status = grow_slots(vocab, error);

		if (status != GH_OK)
			return status;
	}
	if (grow_tokens(vocab, (int32_t)id, error) != GH_OK)
		return GH_ENOMEM;
	uint32_t hash = hash_of(vocab->seed, text, len);
	struct gh__vocab_slot *slot = slot_of(vocab, hash, text, len);
	if (slot->id)
		return gh__fail(error, GH_EFORMAT, "\"%.*s\" is there twice, with ids %lld and %u",
				(int)(len < 60 ? len : 60), text, (long long)id, slot->id - 1);
	gh__token *token = &vocab->tokens[id];
	if (token->flags)
		return gh__fail(error, GH_EFORMAT, "\"%.*s\" and \"%.60s\" both have the id %lld",
				(int)(len < 60 ? len : 60), text, gh__vocab_text(vocab, token),
				(long long)id);
	gh_status status = store(vocab, text, len, flags, token, error);
	if (status != GH_OK)
		return status;
	*slot = (struct gh__vocab_slot){ hash, (uint32_t)id + 1 };
	vocab->count++;
	if (id >= vocab->size)
		vocab->size = (int32_t)id + 1;
	return GH_OK;
}

void gh__vocab_mark(gh__vocab *vocab, int32_t id, unsigned flags)
{
	gh__token *token = &vocab->tokens[id];

	token->flags |= GH__TOKEN_ADDED | flags;
	token->bytes = token->text;
	token->bytes_len = token->text_len;
}

int32_t gh__vocab_find(const gh__vocab *vocab, const char *text, size_t len)
{
	if (!vocab->slots)
		return -1;
	return (int32_t)slot_of(vocab, hash_of(vocab->seed, text, len), text, len)->id - 1;
}

int32_t gh__vocab_find_model(const gh__vocab *vocab, const char *text, size_t len)
{
	int32_t id = gh__vocab_find(vocab, text, len);

	return id >= 0 && vocab->tokens[id].flags & GH__TOKEN_MODEL ? id : -1;
}
