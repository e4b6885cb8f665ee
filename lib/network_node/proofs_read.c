#include "network_node/proofs.h"

#include <endian.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "network_node/proofs_file.h"

/* Columns of every row that is read here. What is behind them only verdicts have. */
enum {
	ROW,
	BLOCK_HASH,
	HEIGHT,
	PUBLIC_KEY,
	NODE_NUM,
	NODE_ID,
	NAME,
	NONCES,
	DIST,
	RECEIVED_DIST,
	R_TARGET,
	FRAUD_THRESHOLD,
	N_INVALID,
	PROBABILITY_HONEST,
	FRAUD_DETECTED
};

#define BATCH_COLUMNS                                                                \
	"b.id, r.block_hash, r.height, h.public_key, b.node_num, b.node_id, b.name," \
	" b.nonces, b.dist"

static const char *column(sqlite3_stmt *row, int i)
{
	const unsigned char *text = sqlite3_column_text(row, i);

	return text ? (const char *)text : "";
}

static char *put_text(char *at, const char **out, sqlite3_stmt *row, int i)
{
	size_t size = strlen(column(row, i)) + 1;

	*out = memcpy(at, column(row, i), size);
	return at + size;
}

/* Little end first is how lists are stored; both kinds of entry are 64 bits of it. */
static char *put_list(char *at, const void **out, sqlite3_stmt *row, int i, size_t count)
{
	const unsigned char *packed = sqlite3_column_blob(row, i);

	*out = at;
	for (size_t k = 0; k < count; k++, at += GH__PROOF_ENTRY_BYTES) {
		uint64_t bits;

		memcpy(&bits, packed + k * GH__PROOF_ENTRY_BYTES, sizeof bits);
		bits = le64toh(bits);
		memcpy(at, &bits, sizeof bits);
	}
	return at;
}

static gh_status check_lists(sqlite3_stmt *row, int lists, gh_error *error)
{
	int bytes = sqlite3_column_bytes(row, NONCES);

	for (int i = 0; i < lists; i++)
		if (sqlite3_column_bytes(row, NONCES + i) != bytes ||
		    bytes % GH__PROOF_ENTRY_BYTES != 0)
			return gh__fail(error, GH_EFORMAT,
					"proofs: batch %lld: %d bytes in list %d, %d in the first",
					(long long)sqlite3_column_int64(row, ROW),
					sqlite3_column_bytes(row, NONCES + i), i, bytes);
	return GH_OK;
}

/* A row as one block of memory: the struct, its lists, its texts. A batch is read as the beginning
 * of a verdict. lists: 2 or, of a verdict, 3. */
static gh_status read_row(gh__proof_verdict **out, sqlite3_stmt *row, int lists, gh_error *error)
{
	static const int texts[] = { BLOCK_HASH, PUBLIC_KEY, NODE_ID, NAME };
	gh__proof_verdict *verdict;
	gh__proof_batch *batch;
	const void *list[3] = { 0 };
	size_t size = sizeof *verdict;
	gh_status status = check_lists(row, lists, error);
	char *at;

	if (status != GH_OK)
		return status;
	size += (size_t)lists * (size_t)sqlite3_column_bytes(row, NONCES);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
		size += strlen(column(row, texts[i])) + 1;
	verdict = gh__calloc(1, size);
	if (!verdict)
		return gh__fail_nomem(error);
	batch = &verdict->batch;
	batch->count = (size_t)sqlite3_column_bytes(row, NONCES) / GH__PROOF_ENTRY_BYTES;
	at = (char *)(verdict + 1);
	for (int i = 0; i < lists; i++)
		at = put_list(at, &list[i], row, NONCES + i, batch->count);
	batch->nonces = list[0];
	batch->dist = list[1];
	verdict->received_dist = list[2];
	at = put_text(at, &batch->block_hash, row, BLOCK_HASH);
	at = put_text(at, &batch->public_key, row, PUBLIC_KEY);
	at = put_text(at, &batch->node_id, row, NODE_ID);
	put_text(at, &batch->id, row, NAME);
	batch->block_height = sqlite3_column_int64(row, HEIGHT);
	batch->node_num = (uint64_t)sqlite3_column_int64(row, NODE_NUM);
	*out = verdict;
	return GH_OK;
}

/* The next row of a statement that answers one or none: GH_ENOENT, without an error's text. */
static gh_status step(gh__store *store, sqlite3_stmt *row, gh_error *error)
{
	int code = sqlite3_step(row);

	if (code == SQLITE_ROW)
		return GH_OK;
	return code == SQLITE_DONE ? GH_ENOENT : gh__store_fail(store, "proofs: reading", error);
}

/* ---- batches ---- */

static gh_status next_of_holder(gh__store *store, gh__proof_cursor *cursor, gh__proof_verdict **out,
				gh_error *error)
{
	sqlite3_stmt *row = gh__store_statement(
		store,
		"SELECT " BATCH_COLUMNS " FROM holder h"
		" JOIN round r ON r.id = h.round JOIN batch b ON b.holder = h.id"
		" WHERE h.id = ?1 AND b.id > ?2 ORDER BY b.id LIMIT 1",
		error);
	gh_status status;

	if (!row)
		return GH_EIO;
	sqlite3_bind_int64(row, 1, cursor->holder);
	sqlite3_bind_int64(row, 2, cursor->row);
	status = step(store, row, error);
	if (status == GH_OK) {
		cursor->row = sqlite3_column_int64(row, ROW);
		status = read_row(out, row, 2, error);
	}
	sqlite3_reset(row);
	return status;
}

static gh_status next_holder(gh__store *store, int64_t height, gh__proof_cursor *cursor,
			     gh_error *error)
{
	sqlite3_stmt *row = gh__store_statement(store,
						"SELECT id, public_key FROM holder"
						" WHERE height = ?1 AND (public_key, id) > (?2, ?3)"
						" ORDER BY public_key, id LIMIT 1",
						error);
	gh_status status;

	if (!row)
		return GH_EIO;
	sqlite3_bind_int64(row, 1, height);
	sqlite3_bind_text(row, 2, cursor->public_key, -1, SQLITE_TRANSIENT);
	sqlite3_bind_int64(row, 3, cursor->holder);
	status = step(store, row, error);
	if (status == GH_OK) {
		const char *key = column(row, 1);
		size_t len = strnlen(key, GH__PROOF_TEXT_MAX);

		cursor->holder = sqlite3_column_int64(row, 0);
		cursor->row = 0;
		memcpy(cursor->public_key, key, len);
		cursor->public_key[len] = '\0';
	}
	sqlite3_reset(row);
	return status;
}

gh_status gh__proof_store_next(gh__proof_store *proofs, int64_t height, gh__proof_cursor *cursor,
			       gh__proof_batch **out, gh_error *error)
{
	gh__proof_side *side = &proofs->reader;
	gh__proof_verdict *found = NULL;
	gh_status status = GH_ENOENT;

	pthread_mutex_lock(&side->lock);
	if (cursor->holder)
		status = next_of_holder(side->store, cursor, &found, error);
	while (status == GH_ENOENT && !found) {
		status = next_holder(side->store, height, cursor, error);
		if (status != GH_OK)
			break;
		status = next_of_holder(side->store, cursor, &found, error);
	}
	pthread_mutex_unlock(&side->lock);
	*out = status == GH_OK ? &found->batch : NULL;
	return status == GH_ENOENT ? GH_OK : status;
}

/* ---- verdicts ---- */

static gh_status next_verdict(gh__store *store, int64_t height, int64_t *cursor,
			      gh__proof_verdict **out, gh_error *error)
{
	sqlite3_stmt *row = gh__store_statement(
		store,
		"SELECT v.id, r.block_hash, r.height, v.public_key, v.node_num, v.node_id, v.name,"
		" v.nonces, v.dist, v.received_dist, v.r_target, v.fraud_threshold, v.n_invalid,"
		" v.probability_honest, v.fraud_detected"
		" FROM verdict v JOIN round r ON r.id = v.round"
		" WHERE r.height = ?1 AND v.id > ?2 ORDER BY v.id LIMIT 1",
		error);
	gh_status status;

	if (!row)
		return GH_EIO;
	sqlite3_bind_int64(row, 1, height);
	sqlite3_bind_int64(row, 2, *cursor);
	status = step(store, row, error);
	if (status == GH_OK)
		status = read_row(out, row, 3, error);
	if (status == GH_OK) {
		gh__proof_verdict *verdict = *out;

		*cursor = sqlite3_column_int64(row, ROW);
		verdict->r_target = sqlite3_column_double(row, R_TARGET);
		verdict->fraud_threshold = sqlite3_column_double(row, FRAUD_THRESHOLD);
		verdict->n_invalid = sqlite3_column_int64(row, N_INVALID);
		verdict->probability_honest = sqlite3_column_double(row, PROBABILITY_HONEST);
		verdict->fraud_detected = sqlite3_column_int(row, FRAUD_DETECTED) != 0;
	}
	sqlite3_reset(row);
	return status;
}

gh_status gh__proof_store_next_verdict(gh__proof_store *proofs, int64_t height, int64_t *cursor,
				       gh__proof_verdict **out, gh_error *error)
{
	gh__proof_side *side = &proofs->reader;
	gh_status status;

	*out = NULL;
	pthread_mutex_lock(&side->lock);
	status = next_verdict(side->store, height, cursor, out, error);
	pthread_mutex_unlock(&side->lock);
	return status == GH_ENOENT ? GH_OK : status;
}

/* ---- rounds ---- */

gh_status gh__proof_store_height(gh__proof_store *proofs, int64_t *height, gh_error *error)
{
	gh__proof_side *side = &proofs->reader;
	sqlite3_stmt *row;
	gh_status status = GH_EIO;

	pthread_mutex_lock(&side->lock);
	row = gh__store_statement(side->store, "SELECT coalesce(max(height), 0) FROM round", error);
	if (row) {
		status = step(side->store, row, error);
		if (status == GH_OK)
			*height = sqlite3_column_int64(row, 0);
		sqlite3_reset(row);
	}
	pthread_mutex_unlock(&side->lock);
	return status;
}
