#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "inference_node/spool_store.h"
#include "json/write.h"

/* Room for the longest texts, escaped, and for the longest numbers. */
#define BODY_MAX (GH__SPOOL_BATCH_MAX * 64 + (1 << 17))

/* ---- joining ---- */

/* What a batch's proofs have in common. Texts are the statement's, which stays where it is. */
typedef struct common {
	int64_t target, height, node;
	const char *url, *block_hash, *public_key;
	sqlite3_stmt *row;
} common;

static const char *text_of(sqlite3_stmt *row, int i)
{
	const unsigned char *text = sqlite3_column_text(row, i);

	return text ? (const char *)text : "";
}

/* The next target behind c->target that has loose proofs; its texts live until c->row is reset. */
static gh_status find_loose(gh__spool *spool, common *c, gh_error *error)
{
	static const char find[] =
		"SELECT t.id, t.block_height, t.node, t.url, r.block_hash, r.public_key"
		" FROM target t JOIN round r ON r.id = t.round"
		" WHERE t.id > ?1 AND EXISTS (SELECT 1 FROM proof WHERE target = t.id)"
		" ORDER BY t.id LIMIT 1";

	c->row = gh__spool_bind(spool, error, find, "i", c->target);
	if (!c->row)
		return GH_EIO;
	switch (sqlite3_step(c->row)) {
	case SQLITE_ROW:
		c->target = sqlite3_column_int64(c->row, 0);
		c->height = sqlite3_column_int64(c->row, 1);
		c->node = sqlite3_column_int64(c->row, 2);
		c->url = text_of(c->row, 3);
		c->block_hash = text_of(c->row, 4);
		c->public_key = text_of(c->row, 5);
		return GH_OK;
	case SQLITE_DONE:
		sqlite3_reset(c->row);
		return GH_ENOENT;
	default:
		sqlite3_reset(c->row);
		return gh__store_fail(spool->store, find, error);
	}
}

/* The body of the oldest loose proofs, as many as fit. *last: the number of the last of them. */
static gh_status write_body(gh__spool *spool, const common *c, gh__buf *out, int64_t *last,
			    int64_t *count, gh_error *error)
{
	static const char find[] =
		"SELECT id, nonce, dist FROM proof WHERE target = ?1 ORDER BY id LIMIT ?2";
	gh__buf dist = GH__BUF_INIT(BODY_MAX);
	sqlite3_stmt *row =
		gh__spool_bind(spool, error, find, "ii", c->target, (int64_t)GH__SPOOL_BATCH_MAX);
	int step;
	gh_status status;

	if (!row)
		return GH_EIO;
	gh__buf_append_str(out, "{\"public_key\": ");
	gh__json_write_string(out, c->public_key, strlen(c->public_key));
	gh__buf_append_str(out, ", \"block_hash\": ");
	gh__json_write_string(out, c->block_hash, strlen(c->block_hash));
	gh__buf_printf(out, ", \"block_height\": %lld, \"nonces\": [", (long long)c->height);
	for (*count = 0; (step = sqlite3_step(row)) == SQLITE_ROW; ++*count) {
		const char *comma = *count ? ", " : "";

		*last = sqlite3_column_int64(row, 0);
		gh__buf_printf(out, "%s%lld", comma, (long long)sqlite3_column_int64(row, 1));
		gh__buf_append_str(&dist, comma);
		gh__json_write_double(&dist, sqlite3_column_double(row, 2));
	}
	status = step == SQLITE_DONE ? GH_OK : gh__store_fail(spool->store, find, error);
	sqlite3_reset(row);
	gh__buf_append_str(out, "], \"dist\": [");
	gh__buf_append(out, gh__buf_str(&dist), dist.len);
	gh__buf_printf(out, "], \"node_id\": %lld}", (long long)c->node);
	if (status == GH_OK && gh__buf_status(&dist) != GH_OK)
		status = gh__fail(error, gh__buf_status(&dist), "a batch's distances");
	if (status == GH_OK && gh__buf_status(out) != GH_OK)
		status = gh__fail(error, gh__buf_status(out), "a batch's body");
	gh__buf_free(&dist);
	return status;
}

/* In a transaction: one batch. */
static gh_status join(gh__spool *spool, const common *c, gh__buf *body, int64_t *count,
		      gh_error *error)
{
	static const char keep[] =
		"INSERT INTO batch (target, url, block_hash, block_height, made, proofs, body)"
		" VALUES (?1, ?2 || '/generated', ?3, ?4, ?5, ?6, ?7)";
	static const char drop[] = "DELETE FROM proof WHERE target = ?1 AND id <= ?2";
	int64_t last = 0;
	gh_status status = write_body(spool, c, body, &last, count, error);

	if (status == GH_OK && *count > 0)
		status = gh__spool_run(spool,
				       gh__spool_bind(spool, error, keep, "ittiiit", c->target,
						      c->url, c->block_hash, c->height, gh__wall(),
						      *count, body->data),
				       error);
	if (status == GH_OK && *count > 0)
		status = gh__spool_run(spool,
				       gh__spool_bind(spool, error, drop, "ii", c->target, last),
				       error);
	return status;
}

static gh_status join_target(gh__spool *spool, const common *c, int64_t open, gh_error *error)
{
	static const char there[] = "SELECT count(*) FROM batch WHERE target = ?1 AND refused = 0";
	gh__buf body = GH__BUF_INIT(BODY_MAX);
	int64_t count = 0, batches = 0;
	gh_status status =
		gh__spool_number(spool, gh__spool_bind(spool, error, there, "i", c->target),
				 &batches, error);

	for (; status == GH_OK && batches < open; batches++) {
		gh__buf_reset(&body);
		status = gh__store_begin(spool->store, error);
		if (status != GH_OK)
			break;
		status = gh__spool_finish(spool, join(spool, c, &body, &count, error), error);
		if (status != GH_OK || count == 0)
			break;
		spool->loose -= count;
		spool->batches++;
		spool->bytes += (int64_t)body.len;
		if (count < GH__SPOOL_BATCH_MAX)
			break;
	}
	gh__buf_free(&body);
	return status;
}

gh_status gh__spool_join(gh__spool *spool, int64_t open, gh_error *error)
{
	common c = { .url = "", .block_hash = "", .public_key = "" };
	gh_status status = GH_OK;

	if (atomic_load(&spool->loose) == 0)
		return GH_OK;
	pthread_mutex_lock(&spool->lock);
	while (status == GH_OK) {
		status = find_loose(spool, &c, error);
		if (status != GH_OK)
			break;
		status = join_target(spool, &c, open, error);
		sqlite3_reset(c.row);
	}
	pthread_mutex_unlock(&spool->lock);
	return status == GH_ENOENT ? GH_OK : status;
}

/* ---- giving out ---- */

static gh__spool_batch *copy_row(sqlite3_stmt *row)
{
	const char *url = text_of(row, 3), *hash = text_of(row, 4);
	const size_t url_size = strlen(url) + 1, hash_size = strlen(hash) + 1;
	gh__spool_batch *batch = gh__malloc(sizeof *batch + url_size + hash_size);

	if (!batch)
		return NULL;
	char *texts = (char *)(batch + 1);
	memcpy(texts, url, url_size);
	memcpy(texts + url_size, hash, hash_size);
	*batch = (gh__spool_batch){
		.number = sqlite3_column_int64(row, 0),
		.refused = sqlite3_column_int(row, 1) != 0,
		.proofs = sqlite3_column_int64(row, 2),
		.url = texts,
		.block_hash = texts + url_size,
	};
	return batch;
}

gh_status gh__spool_after(gh__spool *spool, int64_t number, gh__spool_batch **out, gh_error *error)
{
	static const char find[] = "SELECT number, refused, proofs, url, block_hash FROM batch"
				   " WHERE number > ?1 ORDER BY number LIMIT 1";
	gh_status status = GH_OK;

	*out = NULL;
	if (atomic_load(&spool->batches) == 0)
		return GH_OK;
	pthread_mutex_lock(&spool->lock);
	sqlite3_stmt *row = gh__spool_bind(spool, error, find, "i", number);
	int step = row ? sqlite3_step(row) : SQLITE_ERROR;
	if (!row) {
		status = GH_EIO;
	} else if (step == SQLITE_ROW) {
		*out = copy_row(row);
		if (!*out)
			status = gh__fail_nomem(error);
	} else if (step != SQLITE_DONE) {
		status = gh__store_fail(spool->store, find, error);
	}
	if (row)
		sqlite3_reset(row);
	pthread_mutex_unlock(&spool->lock);
	return status;
}

gh_status gh__spool_body(gh__spool *spool, int64_t number, char **body, size_t *len,
			 gh_error *error)
{
	static const char find[] = "SELECT body FROM batch WHERE number = ?1";
	gh_status status = GH_OK;

	*body = NULL;
	pthread_mutex_lock(&spool->lock);
	sqlite3_stmt *row = gh__spool_bind(spool, error, find, "i", number);
	int step = row ? sqlite3_step(row) : SQLITE_ERROR;
	if (!row) {
		status = GH_EIO;
	} else if (step == SQLITE_ROW) {
		const char *text = text_of(row, 0);

		*len = (size_t)sqlite3_column_bytes(row, 0);
		*body = gh__strndup(text, *len);
		if (!*body)
			status = gh__fail_nomem(error);
	} else if (step == SQLITE_DONE) {
		status = gh__fail(error, GH_ENOENT, "batch %lld: not there", (long long)number);
	} else {
		status = gh__store_fail(spool->store, find, error);
	}
	if (row)
		sqlite3_reset(row);
	pthread_mutex_unlock(&spool->lock);
	return status;
}

/* ---- the end of a batch ---- */

gh_status gh__spool_forget(gh__spool *spool, int64_t number, gh_error *error)
{
	static const char drop[] = "DELETE FROM batch WHERE number = ?1"
				   " RETURNING proofs, length(CAST(body AS BLOB))";
	int64_t proofs = 0, bytes = 0;
	gh_status status = GH_OK;

	pthread_mutex_lock(&spool->lock);
	sqlite3_stmt *row = gh__spool_bind(spool, error, drop, "i", number);
	int step = row ? sqlite3_step(row) : SQLITE_ERROR;
	const bool there = step == SQLITE_ROW;
	if (there) {
		proofs = sqlite3_column_int64(row, 0);
		bytes = sqlite3_column_int64(row, 1);
		step = sqlite3_step(row); /* the deletion is committed behind its last row */
	}
	if (!row)
		status = GH_EIO;
	else if (step != SQLITE_DONE)
		status = gh__store_fail(spool->store, drop, error);
	if (row)
		sqlite3_reset(row);
	if (status == GH_OK && there) {
		spool->proofs -= proofs;
		spool->bytes -= bytes;
		spool->batches--;
	}
	pthread_mutex_unlock(&spool->lock);
	return status;
}

gh_status gh__spool_refuse(gh__spool *spool, int64_t number, gh_error *error)
{
	static const char mark[] = "UPDATE batch SET refused = 1 WHERE number = ?1";

	pthread_mutex_lock(&spool->lock);
	gh_status status =
		gh__spool_run(spool, gh__spool_bind(spool, error, mark, "i", number), error);
	pthread_mutex_unlock(&spool->lock);
	return status;
}

gh_status gh__spool_give_up(gh__spool *spool, const char *block_hash, gh_error *error)
{
	static const char drop[] = "DELETE FROM batch WHERE block_hash <> ?1 AND refused = 1";

	pthread_mutex_lock(&spool->lock);
	const int64_t proofs = spool->proofs;
	gh_status status =
		gh__spool_run(spool, gh__spool_bind(spool, error, drop, "t", block_hash), error);
	const int dropped = sqlite3_changes(gh__store_db(spool->store));
	if (status == GH_OK && dropped > 0)
		status = gh__spool_recount(spool, error);
	if (status == GH_OK && dropped > 0)
		gh__warn("spool", "their block is over, given up: refused batches=%d proofs=%lld",
			 dropped, (long long)(proofs - spool->proofs));
	pthread_mutex_unlock(&spool->lock);
	return status;
}

void gh__spool_counts_get(gh__spool *spool, gh__spool_counts *out)
{
	out->proofs = atomic_load(&spool->proofs);
	out->loose = atomic_load(&spool->loose);
	out->batches = atomic_load(&spool->batches);
}
