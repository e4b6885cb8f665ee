#include "network_node/poc_batches.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/log.h"
#include "base/number.h"
#include "crypto/address.h"
#include "json/json.h"
#include "json/write.h"
#include "network_node/network_node.h"

enum { PIECE_MAX = 16 << 20 };

/* An answer under way. It belongs to the step that runs or, between steps, to whoever wakes it. */
typedef struct telling {
	gh_network_node *node;
	gh__http_request *request;
	int64_t height;
	gh__proof_cursor cursor;
	char public_key[GH__PROOF_TEXT_MAX + 1]; /* whose batches are being told; "" = nobody's */
	char address[GH__ADDRESS_SIZE];          /* theirs; "" = the key is none */
	gh__buf piece;                           /* not yet taken by the stream */
	bool pretty, begun, last;

	pthread_mutex_t lock;
	bool asleep; /* no step runs or is queued */
	bool woken;  /* while it was not asleep */
} telling;

static void telling_free(telling *t)
{
	gh__buf_free(&t->piece);
	pthread_mutex_destroy(&t->lock);
	gh__free(t);
}

/* ---- the text ---- */

static void line(telling *t, int depth)
{
	if (!t->pretty)
		return;
	gh__buf_append_char(&t->piece, '\n');
	for (int i = 0; i < depth; i++)
		gh__buf_append_str(&t->piece, "  ");
}

static void key(telling *t, int depth, bool first, const char *name)
{
	if (!first)
		gh__buf_append_char(&t->piece, ',');
	line(t, depth);
	gh__buf_printf(&t->piece, "\"%s\":%s", name, t->pretty ? " " : "");
}

static void string(telling *t, const char *text)
{
	json_t *value = json_string(text);

	gh__json_write(&t->piece, value, GH__JSON_ESCAPE_HTML);
	json_decref(value);
}

/* Zeros and empty texts are left out, as in all that comes from a chain. */
static void text_member(telling *t, int depth, bool *first, const char *name, const char *text)
{
	if (!text[0])
		return;
	key(t, depth, *first, name);
	string(t, text);
	*first = false;
}

static void begin_holder(telling *t, const gh__proof_batch *batch)
{
	gh_error ignored = GH_ERROR_INIT;
	unsigned char bytes[GH__ACCOUNT_KEY_SIZE];
	char base64[GH__KEY_BASE64_SIZE] = "";
	bool first = true;

	memcpy(t->public_key, batch->public_key, strlen(batch->public_key) + 1);
	t->address[0] = '\0';
	if (gh__account_key_parse(bytes, batch->public_key, &ignored) == GH_OK &&
	    gh__account_address(t->address, bytes, &ignored) == GH_OK)
		gh__account_key_base64(base64, bytes);
	line(t, 2);
	gh__buf_append_char(&t->piece, '{');
	text_member(t, 3, &first, "participant", t->address);
	text_member(t, 3, &first, "pub_key", base64);
	text_member(t, 3, &first, "hex_pub_key", batch->public_key);
	key(t, 3, first, "poc_batch");
	gh__buf_append_char(&t->piece, '[');
}

static void end_holder(telling *t)
{
	line(t, 3);
	gh__buf_append_char(&t->piece, ']');
	line(t, 2);
	gh__buf_append_char(&t->piece, '}');
}

static void numbers(telling *t, const gh__proof_batch *batch)
{
	size_t i;

	key(t, 5, false, "nonces");
	gh__buf_append_char(&t->piece, '[');
	for (i = 0; i < batch->count; i++) {
		line(t, 6);
		gh__buf_printf(&t->piece, "%lld%s", (long long)batch->nonces[i],
			       i + 1 < batch->count ? "," : "");
	}
	line(t, 5);
	gh__buf_append_char(&t->piece, ']');
	key(t, 5, false, "dist");
	gh__buf_append_char(&t->piece, '[');
	for (i = 0; i < batch->count; i++) {
		line(t, 6);
		gh__json_write_double(&t->piece, batch->dist[i]);
		if (i + 1 < batch->count)
			gh__buf_append_char(&t->piece, ',');
	}
	line(t, 5);
	gh__buf_append_char(&t->piece, ']');
}

static void write_batch(telling *t, const gh__proof_batch *batch)
{
	bool first = true;

	if (strcmp(t->public_key, batch->public_key) != 0) {
		if (t->public_key[0]) {
			end_holder(t);
			gh__buf_append_char(&t->piece, ',');
		}
		begin_holder(t, batch);
	} else {
		gh__buf_append_char(&t->piece, ',');
	}
	line(t, 4);
	gh__buf_append_char(&t->piece, '{');
	text_member(t, 5, &first, "participant_address", t->address);
	if (batch->block_height) {
		key(t, 5, first, "poc_stage_start_block_height");
		gh__buf_printf(&t->piece, "%lld", (long long)batch->block_height);
		first = false;
	}
	/* The height at which it was received is a chain's to tell. */
	numbers(t, batch);
	text_member(t, 5, &first, "batch_id", batch->id);
	text_member(t, 5, &first, "node_id", batch->node_id);
	line(t, 4);
	gh__buf_append_char(&t->piece, '}');
}

static void write_end(telling *t)
{
	if (t->public_key[0]) {
		end_holder(t);
		line(t, 1);
	}
	gh__buf_append_char(&t->piece, ']');
	line(t, 0);
	gh__buf_append_str(&t->piece, "}\n");
	t->last = true;
}

/* The next batch, or the end, into piece. */
static gh_status compose(telling *t, gh_error *error)
{
	gh__proof_batch *batch;
	gh_status status =
		gh__proof_store_next(t->node->proofs, t->height, &t->cursor, &batch, error);

	if (status != GH_OK)
		return status;
	if (!t->begun) {
		gh__buf_append_char(&t->piece, '{');
		key(t, 1, true, "poc_batch");
		gh__buf_append_char(&t->piece, '[');
	}
	if (batch)
		write_batch(t, batch);
	else
		write_end(t);
	gh__free(batch);
	status = gh__buf_status(&t->piece);
	return status == GH_OK ? GH_OK : gh__fail(error, status, "poc_batch: out of memory");
}

/* ---- the stream ---- */

static void step(gh_network_node *node, gh__http_request *request, void *data);

/* The client has read, or is gone: go on, if nobody is at it. */
static void wake(void *userdata)
{
	telling *t = userdata;
	bool asleep;

	pthread_mutex_lock(&t->lock);
	asleep = t->asleep;
	t->asleep = false;
	t->woken = !asleep;
	pthread_mutex_unlock(&t->lock);
	if (asleep && gh__desk_push(t->node->public_desk, step, t->request, t) != GH_OK) {
		gh__http_stream_abort(t->request);
		telling_free(t);
	}
}

/* False: the client has read meanwhile. */
static bool fall_asleep(telling *t)
{
	bool woken;

	pthread_mutex_lock(&t->lock);
	woken = t->woken;
	t->woken = false;
	t->asleep = !woken;
	pthread_mutex_unlock(&t->lock);
	return !woken;
}

static void begin(telling *t)
{
	gh__http_stream_begin(t->request, 200, "application/json; charset=UTF-8");
	t->begun = true;
	gh__http_on_gone(t->request, wake, t);
	gh__http_stream_on_drain(t->request, wake, t);
}

static void give_up(telling *t, const gh_error *error)
{
	gh__warn("public", "poc-batches height=%lld: %s", (long long)t->height, error->text);
	if (t->begun)
		gh__http_stream_abort(t->request);
	else
		gh__http_fail(t->request, 500, "%s", error->text);
	telling_free(t);
}

/* On the desk: tell until the client must read, or until all is told. */
static void step(gh_network_node *node, gh__http_request *request, void *data)
{
	gh_error error = GH_ERROR_INIT;
	telling *t = data;
	gh_status status;

	(void)node;
	for (;;) {
		if (t->piece.len == 0 && !t->last && compose(t, &error) != GH_OK) {
			give_up(t, &error);
			return;
		}
		if (!t->begun)
			begin(t);
		status = gh__http_stream_write(request, t->piece.data, t->piece.len);
		if (status == GH_ETOOBIG) {
			if (fall_asleep(t))
				return;
			continue;
		}
		gh__buf_reset(&t->piece);
		if (status != GH_OK || t->last)
			break;
	}
	if (status == GH_OK)
		gh__http_stream_end(request);
	else
		gh__http_stream_abort(request);
	telling_free(t);
}

static void start(gh_network_node *node, gh__http_request *request, void *data)
{
	int64_t height;
	telling *t;

	(void)data;
	if (!gh__parse_int64(gh__http_param(request, "epoch"), &height)) {
		gh__http_fail(request, 400, "Invalid epoch id");
		return;
	}
	t = gh__calloc(1, sizeof *t);
	if (!t) {
		gh__http_fail(request, 500, "out of memory");
		return;
	}
	t->node = node;
	t->request = request;
	t->height = height;
	t->pretty = gh__http_query(request, "pretty") != NULL;
	gh__buf_init(&t->piece, PIECE_MAX);
	pthread_mutex_init(&t->lock, NULL);
	step(node, request, t);
}

void gh__poc_batches(gh__http_request *request, void *userdata)
{
	gh_network_node *node = userdata;

	gh__desk_hand(node->public_desk, start, request);
}
