/*
 * Load a model and stream an answer.
 *
 *   cc embed.c $(pkg-config --cflags --libs gonkahost) -o embed
 *   ./embed HuggingFaceTB/SmolLM2-135M-Instruct "The capital of France is"
 */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <threads.h>

#include <gonkahost/gonkahost.h>

static atomic_bool done;

static void on_token(const gh_token_event *event, void *userdata)
{
	(void)userdata;
	fwrite(event->text, 1, event->text_len, stdout);
	fflush(stdout);
	if (event->finish != GH_FINISH_NONE)
		atomic_store(&done, true);
}

int main(int argc, char **argv)
{
	gh_error error = GH_ERROR_INIT;
	gh_model *model = NULL;
	gh_tokenizer *tokenizer = NULL;
	gh_engine *engine = NULL;
	gh_sampling sampling;
	char *folder = NULL;
	int32_t *ids = NULL;
	size_t count = 0;
	uint64_t request;

	if (argc != 3) {
		fprintf(stderr, "usage: embed MODEL PROMPT\n");
		return 2;
	}
	if (gh_hub_resolve(&folder, argv[1], NULL, &error) == GH_OK &&
	    gh_tokenizer_load(&tokenizer, folder, &error) == GH_OK &&
	    gh_model_create(&model, folder, NULL, &error) == GH_OK &&
	    gh_engine_create(&engine, model, tokenizer, NULL, &error) == GH_OK &&
	    gh_tokenizer_encode(tokenizer, argv[2], strlen(argv[2]), GH_ENCODE_SPECIAL, &ids,
				&count, &error) == GH_OK) {
		gh_sampling_recommended(&sampling, model);
		sampling.temperature = 0;
		sampling.max_tokens = 48;
		if (gh_engine_submit(engine, ids, count, &sampling, on_token, NULL, &request,
				     &error) == GH_OK)
			while (!atomic_load(&done))
				thrd_sleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
		putchar('\n');
	}
	gh_engine_free(engine);
	gh_model_free(model);
	gh_tokenizer_free(tokenizer);
	gh_free(ids);
	gh_free(folder);
	if (error.status != GH_OK)
		fprintf(stderr, "embed: %s\n", error.text);
	return error.status != GH_OK;
}
