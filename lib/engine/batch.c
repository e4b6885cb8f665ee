#include "engine/batch.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

gh_status gh__batch_init(gh__batch *b, int32_t max_tokens, int32_t max_entries, int32_t max_length,
			 int32_t block_size, gh_error *error)
{
	size_t tokens = (size_t)max_tokens, entries = (size_t)max_entries;
	size_t columns = ((size_t)max_length - 1) / (size_t)block_size + 1;

	memset(b, 0, sizeof *b);
	b->max_tokens = max_tokens;
	b->max_entries = max_entries;
	b->block_size = block_size;
	b->entry = gh__calloc(entries, sizeof *b->entry);
	b->sample = gh__calloc(tokens, sizeof *b->sample);
	b->result = gh__calloc(tokens, sizeof *b->result);
	b->token = gh__calloc(tokens, sizeof *b->token);
	b->position = gh__calloc(tokens, sizeof *b->position);
	b->sequence = gh__calloc(tokens, sizeof *b->sequence);
	b->slot = gh__calloc(tokens, sizeof *b->slot);
	b->row_start = gh__calloc(entries + 1, sizeof *b->row_start);
	b->block_table = gh__calloc(entries * columns, sizeof *b->block_table);
	b->logit_row = gh__calloc(tokens, sizeof *b->logit_row);
	if (b->entry && b->sample && b->result && b->token && b->position && b->sequence &&
	    b->slot && b->row_start && b->block_table && b->logit_row)
		return GH_OK;
	gh__batch_free(b);
	return gh__fail_nomem(error);
}

void gh__batch_free(gh__batch *b)
{
	gh__free(b->entry);
	gh__free(b->sample);
	gh__free(b->result);
	gh__free(b->token);
	gh__free(b->position);
	gh__free(b->sequence);
	gh__free(b->slot);
	gh__free(b->row_start);
	gh__free(b->block_table);
	gh__free(b->logit_row);
	memset(b, 0, sizeof *b);
}

void gh__batch_reset(gh__batch *b)
{
	b->entries = 0;
	b->tokens = 0;
	b->samples = 0;
}

static void add_sample(gh__batch *b, gh__sequence *s, int32_t row, int32_t position)
{
	const gh__request *r = s->request;
	gh__sample_row *sample = &b->sample[b->samples];

	if (position + 1 < gh__sequence_length(s))
		gh__sampling_prompt_row(sample, &r->sampling, r->prompt[position + 1]);
	else
		gh__sampling_row(sample, &r->sampling, s->choice, r->prompt, r->prompt_count,
				 s->output, s->output_count);
	sample->row = b->samples;
	b->logit_row[b->samples++] = row;
}

int32_t gh__batch_add(gh__batch *b, gh__sequence *s, int32_t most)
{
	const gh__request *r = s->request;
	int32_t length = gh__sequence_length(s);
	bool all_logits = r->prompt_logprob && !r->prompt_done && s->choice == 0;
	int32_t count = length - s->computed;

	if (b->entries == b->max_entries)
		return 0;
	if (count > most)
		count = most;
	if (count > b->max_tokens - b->tokens)
		count = b->max_tokens - b->tokens;
	if (count <= 0)
		return 0;

	gh__batch_entry *entry = &b->entry[b->entries];
	*entry = (gh__batch_entry){ s, count, b->samples, 0 };
	b->row_start[b->entries] = b->tokens;
	gh__sequence_tokens(s, s->computed, count, b->token + b->tokens);
	for (int32_t i = 0; i < count; i++) {
		int32_t row = b->tokens + i, position = s->computed + i;

		b->position[row] = position;
		b->sequence[row] = b->entries;
		b->slot[row] = (int64_t)s->block[position / b->block_size] * b->block_size +
			       position % b->block_size;
		if (all_logits || position + 1 == length)
			add_sample(b, s, row, position);
	}
	entry->result_count = b->samples - entry->result;
	b->tokens += count;
	b->row_start[++b->entries] = b->tokens;
	return count;
}

void gh__batch_close(gh__batch *b)
{
	int32_t columns = 1;

	for (int32_t i = 0; i < b->entries; i++) {
		if (columns < b->entry[i].sequence->block_count)
			columns = b->entry[i].sequence->block_count;
	}
	for (int32_t i = 0; i < b->entries; i++) {
		const gh__sequence *s = b->entry[i].sequence;
		int32_t *table = b->block_table + (size_t)i * (size_t)columns;
		size_t used = (size_t)s->block_count;

		memcpy(table, s->block, used * sizeof *table);
		memset(table + used, 0, ((size_t)columns - used) * sizeof *table);
	}
	b->step = (gh__step){
		.tokens = b->tokens,
		.sequences = b->entries,
		.logit_rows = b->samples,
		.blocks_max = columns,
		.token = b->token,
		.position = b->position,
		.slot = b->slot,
		.sequence = b->sequence,
		.row_start = b->row_start,
		.block_table = b->block_table,
		.logit_row = b->logit_row,
	};
}
