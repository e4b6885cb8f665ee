#include "cli.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A model in this process: what chat and generate share.
 */

enum {
	KEY_MODEL = 512,
	KEY_REVISION,
	KEY_DEVICE,
	KEY_DTYPE,
	KEY_QUANTIZATION,
	KEY_KV_DTYPE,
	KEY_TP,
	KEY_PP,
	KEY_LENGTH,
	KEY_THREADS
};

static const struct argp_option options[] = {
	{ "model", KEY_MODEL, "MODEL", 0, "Folder, or repository id in the cache", 10 },
	{ "revision", KEY_REVISION, "NAME", 0, "Branch or commit (main)", 10 },
	{ "device", KEY_DEVICE, "KIND", 0, "cpu or cuda (the best that is there)", 10 },
	{ "dtype", KEY_DTYPE, "TYPE", 0, "auto, float16, bfloat16 or float32", 10 },
	{ "quantization", KEY_QUANTIZATION, "KIND", 0, "fp8", 10 },
	{ "kv-cache-dtype", KEY_KV_DTYPE, "TYPE", 0, "auto or fp8", 10 },
	{ "tensor-parallel-size", KEY_TP, "N", 0, "Ranks that share a layer (1)", 10 },
	{ "pipeline-parallel-size", KEY_PP, "N", 0, "Groups of layers (1)", 10 },
	{ "max-model-len", KEY_LENGTH, "N", 0, "Context length (the model's)", 10 },
	{ "threads", KEY_THREADS, "N", 0, "CPU threads (one for each core)", 10 },
	{ 0 }
};

static int choose(struct argp_state *state, const char *option, const char *text,
		  const char *const *names, const int *values)
{
	int i;

	for (i = 0; names[i]; i++)
		if (strcmp(text, names[i]) == 0)
			return values[i];
	argp_error(state, "%s: '%s' is not among its values", option, text);
	return 0;
}

static int read_dtype(struct argp_state *state, const char *text)
{
	static const char *const names[] = { "auto",    "half",  "float16", "bfloat16",
					     "float32", "float", NULL };
	static const int values[] = { GH_DTYPE_NONE, GH_F16, GH_F16, GH_BF16, GH_F32, GH_F32 };

	return choose(state, "--dtype", text, names, values);
}

static int read_kv_dtype(struct argp_state *state, const char *text)
{
	static const char *const names[] = { "auto", "fp8", "fp8_e4m3", NULL };
	static const int values[] = { GH_DTYPE_NONE, GH_E4M3, GH_E4M3 };

	return choose(state, "--kv-cache-dtype", text, names, values);
}

static int read_quantization(struct argp_state *state, const char *text)
{
	static const char *const names[] = { "none", "fp8", NULL };
	static const int values[] = { GH_QUANT_NONE, GH_QUANT_FP8_W8A8 };

	return choose(state, "--quantization", text, names, values);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	cli_local_options *local = state->input;

	switch (key) {
	case KEY_MODEL:
		local->model = arg;
		return 0;
	case KEY_REVISION:
		local->load.revision = arg;
		return 0;
	case KEY_DEVICE:
		local->load.device = arg;
		return 0;
	case KEY_DTYPE:
		local->load.dtype = read_dtype(state, arg);
		return 0;
	case KEY_QUANTIZATION:
		local->load.quantization = read_quantization(state, arg);
		return 0;
	case KEY_KV_DTYPE:
		local->load.kv_dtype = read_kv_dtype(state, arg);
		return 0;
	case KEY_TP:
		local->load.tensor_parallel =
			cli_int(state, "--tensor-parallel-size", arg, 1, 1024);
		return 0;
	case KEY_PP:
		local->load.pipeline_parallel =
			cli_int(state, "--pipeline-parallel-size", arg, 1, 1024);
		return 0;
	case KEY_LENGTH:
		local->engine.max_length = cli_int(state, "--max-model-len", arg, 1, 1 << 24);
		return 0;
	case KEY_THREADS:
		local->load.threads = cli_int(state, "--threads", arg, 1, 1024);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

const struct argp cli_local_argp = { options, parse, NULL, NULL, NULL, NULL, NULL };

gh_status cli_local_open(cli_local *local, const cli_local_options *with, gh_error *error)
{
	gh_hub_options hub = GH_HUB_OPTIONS_INIT;
	gh_error ignored = GH_ERROR_INIT;
	char *folder = NULL;
	gh_status status;

	memset(local, 0, sizeof *local);
	hub.revision = with->load.revision;
	status = gh_hub_resolve(&folder, with->model, &hub, error);
	if (status == GH_OK)
		status = gh_tokenizer_load(&local->tokenizer, folder, error);
	if (status == GH_OK &&
	    gh_template_load(&local->chat_template, folder, &ignored) == GH_ENOTSUP)
		cli_complain("", 0, "%s", ignored.text);
	if (status == GH_OK)
		status = gh_model_create(&local->model, folder, &with->load, error);
	if (status == GH_OK)
		status = gh_engine_create(&local->engine, local->model, local->tokenizer,
					  &with->engine, error);
	gh_free(folder);
	if (status != GH_OK)
		cli_local_close(local);
	return status;
}

void cli_local_close(cli_local *local)
{
	gh_engine_free(local->engine);
	gh_model_free(local->model);
	gh_template_free(local->chat_template);
	gh_tokenizer_free(local->tokenizer);
	memset(local, 0, sizeof *local);
}

/* One answer under way: filled on the engine's thread, awaited here. */
typedef struct waiter {
	pthread_mutex_t lock;
	pthread_cond_t cond;
	cli_answer *answer;
	FILE *out;
	bool done;
} waiter;

static bool grow(cli_answer *answer, const gh_token_event *event)
{
	char *text = realloc(answer->text, answer->len + event->text_len + 1);

	if (!text)
		return false;
	answer->text = text;
	memcpy(text + answer->len, event->text, event->text_len);
	answer->len += event->text_len;
	text[answer->len] = '\0';
	if (event->token < 0)
		return true;
	if ((answer->count & (answer->count + 1)) == 0) {
		size_t room = 2 * (answer->count + 1);
		int32_t *ids = realloc(answer->ids, room * sizeof *ids);
		double *logprobs = realloc(answer->logprobs, room * sizeof *logprobs);

		answer->ids = ids ? ids : answer->ids;
		answer->logprobs = logprobs ? logprobs : answer->logprobs;
		if (!ids || !logprobs)
			return false;
	}
	answer->ids[answer->count] = event->token;
	answer->logprobs[answer->count++] = event->logprob.logprob;
	return true;
}

static void on_token(const gh_token_event *event, void *userdata)
{
	waiter *w = userdata;

	if (w->out && event->text_len) {
		fwrite(event->text, 1, event->text_len, w->out);
		fflush(w->out);
	}
	pthread_mutex_lock(&w->lock);
	if (!grow(w->answer, event))
		w->answer->error.status = GH_ENOMEM;
	w->answer->prompt_tokens = event->prompt_tokens;
	if (event->error)
		w->answer->error = *event->error;
	if (event->finish != GH_FINISH_NONE) {
		w->answer->finish = event->finish;
		w->done = true;
		pthread_cond_signal(&w->cond);
	}
	pthread_mutex_unlock(&w->lock);
}

gh_status cli_local_generate(cli_local *local, const char *prompt, size_t len, uint32_t flags,
			     const gh_sampling *sampling, FILE *out, cli_answer *answer,
			     gh_error *error)
{
	waiter w = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, answer, out, false };
	int32_t *ids = NULL;
	size_t count;
	uint64_t request;
	gh_status status;

	memset(answer, 0, sizeof *answer);
	status = gh_tokenizer_encode(local->tokenizer, prompt, len, flags, &ids, &count, error);
	if (status == GH_OK)
		status = gh_engine_submit(local->engine, ids, count, sampling, on_token, &w,
					  &request, error);
	gh_free(ids);
	if (status != GH_OK)
		return status;
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
	if (answer->error.status != GH_OK) {
		*error = answer->error;
		return (gh_status)answer->error.status;
	}
	return GH_OK;
}

void cli_answer_done(cli_answer *answer)
{
	free(answer->text);
	free(answer->ids);
	free(answer->logprobs);
	memset(answer, 0, sizeof *answer);
}
