#ifndef GH_NETWORK_NODE_REPORT_H
#define GH_NETWORK_NODE_REPORT_H

#include "network_node/proofs.h"

/*
 * What an inference node posts to a callback: a batch of proofs, or a verdict on a batch of
 * somebody else. Read without a tree, as such a body may hold very many numbers.
 */

/* Of a batch only verdict->batch counts. Caller frees (gh__report_free). Every field must be there.
 * GH_EFORMAT: no JSON, or of another type, with a text as a binder of types gives it. GH_EINVAL: a
 * field that is missing, has a value that it cannot have, or a list of another length. */
gh_status gh__report_read(gh__proof_verdict **out, const char *body, size_t len, bool verdict,
			  gh_error *error);
void gh__report_free(gh__proof_verdict *report); /* NULL is allowed */

#endif
