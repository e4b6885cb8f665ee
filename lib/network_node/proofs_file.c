#include "network_node/proofs_file.h"

#include <endian.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "crypto/digest.h"

gh_status gh__proof_store_check_text(const char *name, const char *text, gh_error *error)
{
	size_t len = text ? strlen(text) : 0;

	if (len >= 1 && len <= GH__PROOF_TEXT_MAX)
		return GH_OK;
	return gh__fail(error, GH_EINVAL, "%s: %zu bytes, expected 1 to %d", name, len,
			GH__PROOF_TEXT_MAX);
}

gh_status gh__proof_store_check_finite(const char *name, const double *values, size_t count,
				       gh_error *error)
{
	for (size_t i = 0; i < count; i++)
		if (!isfinite(values[i]))
			return gh__fail(error, GH_EINVAL, "%s[%zu]: not a finite number", name, i);
	return GH_OK;
}

gh_status gh__proof_store_check(const gh__proof_batch *batch, gh_error *error)
{
	gh_status status = gh__proof_store_check_text("block_hash", batch->block_hash, error);

	if (status == GH_OK)
		status = gh__proof_store_check_text("public_key", batch->public_key, error);
	if (status == GH_OK && batch->block_height < 0)
		status = gh__fail(error, GH_EINVAL, "block_height: %lld, expected 0 or more",
				  (long long)batch->block_height);
	if (status == GH_OK && batch->count > GH__PROOF_REPORT_MAX)
		status = gh__fail(error, GH_ETOOBIG, "nonces: %zu, expected at most %d",
				  batch->count, GH__PROOF_REPORT_MAX);
	for (size_t i = 0; status == GH_OK && i < batch->count; i++)
		if (batch->nonces[i] < 0)
			status = gh__fail(error, GH_EINVAL, "nonces[%zu]: %lld, expected 0 or more",
					  i, (long long)batch->nonces[i]);
	if (status == GH_OK)
		status = gh__proof_store_check_finite("dist", batch->dist, batch->count, error);
	return status;
}

/* ---- rounds ---- */

static gh_status find_round(gh__store *store, const char *block_hash, gh__proof_round *round,
			    bool *found, gh_error *error)
{
	sqlite3_stmt *row = gh__store_statement(
		store, "SELECT id, node_count, proofs, judged FROM round WHERE block_hash = ?1",
		error);
	gh_status status = GH_OK;
	int step;

	if (!row)
		return GH_EIO;
	sqlite3_bind_text(row, 1, block_hash, -1, SQLITE_STATIC);
	step = sqlite3_step(row);
	*found = step == SQLITE_ROW;
	if (*found)
		*round = (gh__proof_round){ sqlite3_column_int64(row, 0),
					    sqlite3_column_int64(row, 1),
					    sqlite3_column_int64(row, 2),
					    sqlite3_column_int64(row, 3) };
	else if (step != SQLITE_DONE)
		status = gh__store_fail(store, "proofs: reading rounds", error);
	sqlite3_reset(row);
	return status;
}

static gh_status forget_rounds(gh__store *store, gh_error *error)
{
	sqlite3_stmt *statement =
		gh__store_statement(store,
				    "DELETE FROM round WHERE id <="
				    " (SELECT id FROM round ORDER BY id DESC LIMIT 1 OFFSET ?1)",
				    error);

	if (!statement)
		return GH_EIO;
	sqlite3_bind_int(statement, 1, GH__PROOF_ROUNDS);
	return gh__store_run(store, statement, error);
}

gh_status gh__proof_store_round(gh__store *store, const char *block_hash, int64_t height,
				gh__proof_round *round, gh_error *error)
{
	sqlite3_stmt *statement;
	bool found;
	gh_status status = find_round(store, block_hash, round, &found, error);

	if (status != GH_OK || found)
		return status;
	statement =
		gh__store_statement(store, "INSERT INTO round (block_hash, height) VALUES (?1, ?2)",
				    error);
	if (!statement)
		return GH_EIO;
	sqlite3_bind_text(statement, 1, block_hash, -1, SQLITE_STATIC);
	sqlite3_bind_int64(statement, 2, height);
	status = gh__store_run(store, statement, error);
	if (status != GH_OK)
		return status;
	*round = (gh__proof_round){ sqlite3_last_insert_rowid(gh__store_db(store)), 0, 0, 0 };
	return forget_rounds(store, error);
}

gh_status gh__proof_store_count(gh__store *store, const char *sql, int64_t round, int64_t value,
				gh_error *error)
{
	sqlite3_stmt *statement = gh__store_statement(store, sql, error);

	if (!statement)
		return GH_EIO;
	sqlite3_bind_int64(statement, 1, round);
	sqlite3_bind_int64(statement, 2, value);
	return gh__store_run(store, statement, error);
}

gh_status gh__proof_store_room(const char *what, int64_t there, size_t more, gh_error *error)
{
	if (there + (int64_t)more <= GH__PROOF_ROUND_MAX)
		return GH_OK;
	return gh__fail(error, GH_ETOOBIG, "%s: the round holds %lld, with %zu more than %d", what,
			(long long)there, more, GH__PROOF_ROUND_MAX);
}

/* ---- lists, and names made of them ---- */

void gh__proof_store_pack_real(unsigned char *out, double value)
{
	uint64_t bits;

	memcpy(&bits, &value, sizeof bits);
	bits = htole64(bits);
	memcpy(out, &bits, sizeof bits);
}

void gh__proof_store_pack_int(unsigned char *out, int64_t value)
{
	uint64_t bits = htole64((uint64_t)value);

	memcpy(out, &bits, sizeof bits);
}

unsigned char *gh__proof_store_pack_reals(const double *values, size_t count)
{
	unsigned char *packed = gh__malloc(count * GH__PROOF_ENTRY_BYTES);

	for (size_t i = 0; packed && i < count; i++)
		gh__proof_store_pack_real(packed + i * GH__PROOF_ENTRY_BYTES, values[i]);
	return packed;
}

unsigned char *gh__proof_store_pack_ints(const int64_t *values, size_t count)
{
	unsigned char *packed = gh__malloc(count * GH__PROOF_ENTRY_BYTES);

	for (size_t i = 0; packed && i < count; i++)
		gh__proof_store_pack_int(packed + i * GH__PROOF_ENTRY_BYTES, values[i]);
	return packed;
}

/* What a name is made of; lengths before texts, so that no two contents read alike. */
void gh__proof_store_begin_name(gh__buf *text, const char *kind, const gh__proof_batch *batch)
{
	gh__buf_printf(text, "%s %zu %s %zu %s %lld %llu ", kind, strlen(batch->block_hash),
		       batch->block_hash, strlen(batch->public_key), batch->public_key,
		       (long long)batch->block_height, (unsigned long long)batch->node_num);
}

/* The first half of the digest as a UUID of the kind that applications make up (version 8). */
gh_status gh__proof_store_end_name(char out[GH__PROOF_ID_SIZE], gh__buf *text, gh_error *error)
{
	unsigned char d[GH__SHA256_SIZE];
	gh_status status = gh__buf_status(text);

	if (status == GH_OK)
		status = gh__sha256(d, text->data, text->len, error);
	else
		gh__fail(error, status, "proofs: a batch's name: out of memory");
	gh__buf_free(text);
	if (status != GH_OK)
		return status;
	d[6] = (d[6] & 0x0f) | 0x80;
	d[8] = (d[8] & 0x3f) | 0x80;
	snprintf(out, GH__PROOF_ID_SIZE,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", d[0], d[1],
		 d[2], d[3], d[4], d[5], d[6], d[7], d[8], d[9], d[10], d[11], d[12], d[13], d[14],
		 d[15]);
	return GH_OK;
}

gh_status gh__proof_store_end(gh__store *store, gh_status status, bool news, gh_error *error)
{
	if (status == GH_OK && news)
		return gh__store_commit(store, error);
	gh__store_rollback(store);
	return status;
}
