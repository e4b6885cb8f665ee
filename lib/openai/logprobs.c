#include "openai/logprobs.h"

#include <math.h>
#include <stdio.h>

#include "json/write.h"

#define ID_SIZE 16

void gh__logprob_write(gh__buf *out, float logprob)
{
	if (!(logprob > -9999.0F)) /* a NaN too */
		gh__buf_append_str(out, "-9999.0");
	else
		gh__json_write_double(out, (double)logprob);
}

static void append_number(gh__buf *out, unsigned value)
{
	char digits[10];
	size_t at = sizeof digits;

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value > 0);
	gh__buf_append(out, digits + at, sizeof digits - at);
}

static void write_bytes(gh__buf *out, const char *bytes, size_t len)
{
	gh__buf_append_str(out, ",\"bytes\":[");
	for (size_t i = 0; i < len; i++) {
		if (i > 0)
			gh__buf_append_char(out, ',');
		append_number(out, (unsigned char)bytes[i]);
	}
	gh__buf_append_char(out, ']');
}

static void write_top(gh__buf *out, const gh_logprob *entry, bool first)
{
	char id[ID_SIZE];
	int len = snprintf(id, sizeof id, "%d", entry->token);

	gh__buf_append_str(out, first ? "{\"token\":\"" : ",{\"token\":\"");
	gh__buf_append(out, id, (size_t)len);
	gh__buf_append_str(out, "\",\"logprob\":");
	gh__logprob_write(out, entry->logprob);
	write_bytes(out, id, (size_t)len);
	gh__buf_append_char(out, '}');
}

void gh__logprobs_chat_entry(gh__buf *out, const gh_token_event *event, int64_t most)
{
	int64_t written = 0;

	gh__buf_append_str(out, "{\"token\":\"");
	append_number(out, (unsigned)event->token);
	gh__buf_append_str(out, "\",\"logprob\":");
	gh__logprob_write(out, event->logprob.logprob);
	write_bytes(out, event->piece, event->piece_len);
	gh__buf_append_str(out, ",\"top_logprobs\":[");
	if (most > 0) {
		write_top(out, &event->logprob, true);
		written = 1;
	}
	for (size_t i = 0; i < event->top_count && written < most; i++) {
		if (event->top[i].token == event->token)
			continue;
		write_top(out, &event->top[i], false);
		written++;
	}
	gh__buf_append_str(out, "]}");
}

static void write_pair(gh__buf *out, const gh_logprob *entry, bool first)
{
	gh__buf_append_str(out, first ? "\"" : ",\"");
	append_number(out, (unsigned)entry->token);
	gh__buf_append_str(out, "\":");
	gh__logprob_write(out, entry->logprob);
}

void gh__logprobs_map(gh__buf *out, const gh_logprob *chosen, const gh_logprob *top,
		      size_t top_count, int64_t most)
{
	gh__buf_append_char(out, '{');
	write_pair(out, chosen, true);
	for (size_t i = 0; i < top_count && (int64_t)i < most; i++) {
		if (top[i].token != chosen->token)
			write_pair(out, &top[i], false);
	}
	gh__buf_append_char(out, '}');
}

static void write_decoded(gh__buf *out, const gh_logprob *entry, bool first,
			  const gh_tokenizer *tokenizer)
{
	char *text = NULL;
	size_t len = 0;

	gh__buf_append_str(out, first ? "\"" : ",\"");
	append_number(out, (unsigned)entry->token);
	gh__buf_append_str(out, "\":{\"logprob\":");
	gh__logprob_write(out, entry->logprob);
	if (entry->rank > 0)
		gh__buf_printf(out, ",\"rank\":%d,\"decoded_token\":", entry->rank);
	else
		gh__buf_append_str(out, ",\"rank\":null,\"decoded_token\":");
	if (gh_tokenizer_decode(tokenizer, &entry->token, 1, 0, &text, &len, NULL) == GH_OK)
		gh__json_write_string(out, text, len);
	else
		gh__buf_append_str(out, "null");
	gh_free(text);
	gh__buf_append_char(out, '}');
}

void gh__logprobs_prompt(gh__buf *out, const gh_prompt_logprob *prompt, size_t count, int64_t most,
			 const gh_tokenizer *tokenizer)
{
	gh__buf_append_char(out, '[');
	for (size_t i = 0; i < count; i++) {
		const gh_prompt_logprob *p = &prompt[i];

		if (i > 0)
			gh__buf_append_char(out, ',');
		if (p->actual.token < 0) {
			gh__buf_append_str(out, "null");
			continue;
		}
		gh__buf_append_char(out, '{');
		write_decoded(out, &p->actual, true, tokenizer);
		for (size_t k = 0; k < p->top_count && (int64_t)k < most; k++) {
			if (p->top[k].token != p->actual.token)
				write_decoded(out, &p->top[k], false, tokenizer);
		}
		gh__buf_append_char(out, '}');
	}
	gh__buf_append_char(out, ']');
}
