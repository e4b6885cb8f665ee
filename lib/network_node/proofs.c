#include "network_node/proofs.h"

#include "base/alloc.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/error.h"
#include "network_node/proofs_file.h"

/* A holder is a key in a round. The table proof says which nonces are there; batches hold them
 * again, with their distances, as they are told to others: in the order in which they came. */
static const char *const schema[] = {
	"CREATE TABLE round ("
	" id INTEGER PRIMARY KEY, block_hash TEXT NOT NULL UNIQUE, height INTEGER NOT NULL,"
	" node_count INTEGER NOT NULL DEFAULT 0,"
	" proofs INTEGER NOT NULL DEFAULT 0, judged INTEGER NOT NULL DEFAULT 0"
	") STRICT;"
	"CREATE INDEX round_at ON round (height);"
	"CREATE TABLE holder ("
	" id INTEGER PRIMARY KEY,"
	" round INTEGER NOT NULL REFERENCES round (id) ON DELETE CASCADE,"
	" height INTEGER NOT NULL, public_key TEXT NOT NULL, UNIQUE (round, public_key)"
	") STRICT;"
	"CREATE INDEX holder_at ON holder (height, public_key);"
	"CREATE TABLE proof ("
	" holder INTEGER NOT NULL REFERENCES holder (id) ON DELETE CASCADE,"
	" nonce INTEGER NOT NULL, PRIMARY KEY (holder, nonce)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE batch ("
	" id INTEGER PRIMARY KEY,"
	" holder INTEGER NOT NULL REFERENCES holder (id) ON DELETE CASCADE,"
	" name TEXT NOT NULL, node_num INTEGER NOT NULL, node_id TEXT NOT NULL,"
	" nonces BLOB NOT NULL, dist BLOB NOT NULL, received_at INTEGER NOT NULL"
	") STRICT;"
	"CREATE INDEX batch_of ON batch (holder);"
	"CREATE TABLE verdict ("
	" id INTEGER PRIMARY KEY,"
	" round INTEGER NOT NULL REFERENCES round (id) ON DELETE CASCADE,"
	" name TEXT NOT NULL, public_key TEXT NOT NULL, node_num INTEGER NOT NULL,"
	" node_id TEXT NOT NULL, nonces BLOB NOT NULL, dist BLOB NOT NULL,"
	" received_dist BLOB NOT NULL, r_target REAL NOT NULL, fraud_threshold REAL NOT NULL,"
	" n_invalid INTEGER NOT NULL, probability_honest REAL NOT NULL,"
	" fraud_detected INTEGER NOT NULL, received_at INTEGER NOT NULL, UNIQUE (round, name)"
	") STRICT;",
};

static gh_status open_side(gh__proof_side *side, const char *path, gh_error *error)
{
	gh_status status =
		gh__store_open(&side->store, path, schema, sizeof schema / sizeof *schema, error);

	if (status == GH_OK)
		pthread_mutex_init(&side->lock, NULL);
	return status;
}

static void close_side(gh__proof_side *side)
{
	if (!side->store)
		return;
	gh__store_close(side->store);
	pthread_mutex_destroy(&side->lock);
}

gh_status gh__proof_store_open(gh__proof_store **out, const char *path, gh_error *error)
{
	gh__proof_store *proofs = gh__calloc(1, sizeof *proofs);
	gh_status status;

	if (!proofs)
		return gh__fail_nomem(error);
	status = open_side(&proofs->writer, path, error);
	if (status == GH_OK)
		status = open_side(&proofs->reader, path, error);
	if (status != GH_OK) {
		gh__proof_store_close(proofs);
		return status;
	}
	*out = proofs;
	return GH_OK;
}

void gh__proof_store_close(gh__proof_store *proofs)
{
	if (!proofs)
		return;
	close_side(&proofs->reader);
	close_side(&proofs->writer);
	gh__free(proofs);
}

/* ---- proofs ---- */

static gh_status get_holder(gh__store *store, const gh__proof_batch *batch, int64_t round,
			    int64_t *holder, gh_error *error)
{
	sqlite3_stmt *statement =
		gh__store_statement(store,
				    "INSERT INTO holder (round, height, public_key)"
				    " SELECT id, height, ?2 FROM round WHERE id = ?1"
				    " ON CONFLICT DO NOTHING",
				    error);
	gh_status status;
	int step;

	if (!statement)
		return GH_EIO;
	sqlite3_bind_int64(statement, 1, round);
	sqlite3_bind_text(statement, 2, batch->public_key, -1, SQLITE_STATIC);
	status = gh__store_run(store, statement, error);
	if (status != GH_OK)
		return status;
	statement =
		gh__store_statement(store,
				    "SELECT id FROM holder WHERE round = ?1 AND public_key = ?2",
				    error);
	if (!statement)
		return GH_EIO;
	sqlite3_bind_int64(statement, 1, round);
	sqlite3_bind_text(statement, 2, batch->public_key, -1, SQLITE_STATIC);
	step = sqlite3_step(statement);
	if (step == SQLITE_ROW)
		*holder = sqlite3_column_int64(statement, 0);
	else
		status = gh__store_fail(store, "proofs: reading holders", error);
	sqlite3_reset(statement);
	return status;
}

/* New ones of a report, packed. */
typedef struct fresh {
	unsigned char *nonces, *dist;
	size_t count;
} fresh;

static gh_status keep_new(gh__store *store, const gh__proof_batch *batch, int64_t holder,
			  fresh *news, gh_error *error)
{
	gh_status status = GH_OK;

	for (size_t i = 0; i < batch->count && status == GH_OK; i++) {
		sqlite3_stmt *statement = gh__store_statement(
			store,
			"INSERT INTO proof (holder, nonce) VALUES (?1, ?2) ON CONFLICT DO NOTHING",
			error);

		if (!statement)
			return GH_EIO;
		sqlite3_bind_int64(statement, 1, holder);
		sqlite3_bind_int64(statement, 2, batch->nonces[i]);
		status = gh__store_run(store, statement, error);
		if (status != GH_OK || sqlite3_changes(gh__store_db(store)) == 0)
			continue;
		gh__proof_store_pack_int(news->nonces + news->count * GH__PROOF_ENTRY_BYTES,
					 batch->nonces[i]);
		gh__proof_store_pack_real(news->dist + news->count * GH__PROOF_ENTRY_BYTES,
					  batch->dist[i]);
		news->count++;
	}
	return status;
}

static gh_status write_batch(gh__store *store, const gh__proof_batch *batch, int64_t holder,
			     const unsigned char *nonces, const unsigned char *dist, size_t count,
			     gh_error *error)
{
	size_t bytes = count * GH__PROOF_ENTRY_BYTES;
	gh__buf text = GH__BUF_INIT(GH__PROOF_NAME_MAX + bytes);
	char name[GH__PROOF_ID_SIZE];
	sqlite3_stmt *statement;
	gh_status status;

	gh__proof_store_begin_name(&text, "proofs", batch);
	gh__buf_append(&text, nonces, bytes);
	status = gh__proof_store_end_name(name, &text, error);
	if (status != GH_OK)
		return status;
	statement = gh__store_statement(
		store,
		"INSERT INTO batch (holder, name, node_num, node_id, nonces, dist, received_at)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
		error);
	if (!statement)
		return GH_EIO;
	sqlite3_bind_int64(statement, 1, holder);
	sqlite3_bind_text(statement, 2, name, -1, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)batch->node_num);
	sqlite3_bind_text(statement, 4, batch->node_id, -1, SQLITE_STATIC);
	sqlite3_bind_blob(statement, 5, nonces, (int)bytes, SQLITE_STATIC);
	sqlite3_bind_blob(statement, 6, dist, (int)bytes, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 7, gh__wall());
	return gh__store_run(store, statement, error);
}

static gh_status write_batches(gh__store *store, const gh__proof_batch *batch, int64_t holder,
			       const fresh *news, gh_error *error)
{
	gh_status status = GH_OK;

	for (size_t at = 0; at < news->count && status == GH_OK; at += GH__PROOF_BATCH_MAX) {
		size_t left = news->count - at;

		status =
			write_batch(store, batch, holder, news->nonces + at * GH__PROOF_ENTRY_BYTES,
				    news->dist + at * GH__PROOF_ENTRY_BYTES,
				    left < GH__PROOF_BATCH_MAX ? left : GH__PROOF_BATCH_MAX, error);
	}
	return status;
}

/* In a round with shares, a node that has one reports of its own. */
static gh_status check_share(const gh__proof_batch *batch, int64_t node_count, gh_error *error)
{
	if (batch->node_num == 0 || batch->node_num >= (uint64_t)node_count)
		return GH_OK;
	for (size_t i = 0; i < batch->count; i++)
		if (batch->nonces[i] % node_count != (int64_t)batch->node_num)
			return gh__fail(error, GH_EEXIST,
					"nonces[%zu]: %lld is not of node %llu's share, which is "
					"%llu and every %lld-th behind it",
					i, (long long)batch->nonces[i],
					(unsigned long long)batch->node_num,
					(unsigned long long)batch->node_num, (long long)node_count);
	return GH_OK;
}

/* In a transaction. */
static gh_status add(gh__store *store, const gh__proof_batch *batch, fresh *news, gh_error *error)
{
	gh__proof_round round;
	int64_t holder = 0;
	gh_status status =
		gh__proof_store_round(store, batch->block_hash, batch->block_height, &round, error);

	if (status == GH_OK)
		status = check_share(batch, round.node_count, error);
	if (status == GH_OK)
		status = get_holder(store, batch, round.id, &holder, error);
	if (status == GH_OK)
		status = keep_new(store, batch, holder, news, error);
	if (status == GH_OK)
		status = gh__proof_store_room("proofs", round.proofs, news->count, error);
	if (status == GH_OK)
		status = write_batches(store, batch, holder, news, error);
	if (status == GH_OK)
		status =
			gh__proof_store_count(store,
					      "UPDATE round SET proofs = proofs + ?2 WHERE id = ?1",
					      round.id, (int64_t)news->count, error);
	return status;
}

gh_status gh__proof_store_add(gh__proof_store *proofs, const gh__proof_batch *batch, size_t *added,
			      gh_error *error)
{
	gh__proof_side *side = &proofs->writer;
	fresh news = { 0 };
	gh_status status = gh__proof_store_check(batch, error);

	*added = 0;
	if (status != GH_OK || batch->count == 0)
		return status;
	news.nonces = gh__malloc(batch->count * GH__PROOF_ENTRY_BYTES);
	news.dist = gh__malloc(batch->count * GH__PROOF_ENTRY_BYTES);
	if (!news.nonces || !news.dist) {
		status = gh__fail_nomem(error);
		goto out;
	}
	pthread_mutex_lock(&side->lock);
	status = gh__store_begin(side->store, error);
	if (status == GH_OK) {
		status = add(side->store, batch, &news, error);
		status = gh__proof_store_end(side->store, status, news.count > 0, error);
	}
	pthread_mutex_unlock(&side->lock);
	if (status == GH_OK)
		*added = news.count;
out:
	gh__free(news.nonces);
	gh__free(news.dist);
	return status;
}

/* ---- shares ---- */

static gh_status fix_count(gh__store *store, const char *block_hash, int64_t height, int64_t wanted,
			   int64_t *count, gh_error *error)
{
	gh__proof_round round;
	gh_status status = gh__proof_store_round(store, block_hash, height, &round, error);

	if (status == GH_OK && round.node_count == 0) {
		round.node_count = wanted;
		status = gh__proof_store_count(store,
					       "UPDATE round SET node_count = ?2 WHERE id = ?1",
					       round.id, wanted, error);
	}
	*count = round.node_count;
	return status;
}

gh_status gh__proof_store_share(gh__proof_store *proofs, const char *block_hash,
				int64_t block_height, uint64_t number, uint64_t highest,
				int32_t *count, gh_error *error)
{
	gh__proof_side *side = &proofs->writer;
	int64_t fixed = 0;
	gh_status status = gh__proof_store_check_text("block_hash", block_hash, error);

	if (status == GH_OK && (highest == 0 || highest >= INT32_MAX))
		status = gh__fail(error, GH_EINVAL, "highest number: %llu, expected 1 to %d",
				  (unsigned long long)highest, INT32_MAX - 1);
	if (status != GH_OK)
		return status;
	pthread_mutex_lock(&side->lock);
	status = gh__store_begin(side->store, error);
	if (status == GH_OK) {
		status = fix_count(side->store, block_hash, block_height, (int64_t)highest + 1,
				   &fixed, error);
		status = gh__proof_store_end(side->store, status, true, error);
	}
	pthread_mutex_unlock(&side->lock);
	if (status == GH_OK && (number == 0 || number >= (uint64_t)fixed))
		status = gh__fail(error, GH_EINVAL,
				  "node number: %llu, the round has shares for 1 to %lld",
				  (unsigned long long)number, (long long)fixed - 1);
	if (status == GH_OK)
		*count = (int32_t)fixed;
	return status;
}
