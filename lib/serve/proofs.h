#ifndef GH_SERVE_PROOFS_H
#define GH_SERVE_PROOFS_H

#include "serve/exchange.h"

/*
 * Proofs of compute in a worker: one network at a time, made, asked and given up by the inference
 * node that started the worker, over its Unix socket.
 *
 * One thread makes the network and computes. It judges batches of others before it goes on
 * generating; requests wait in line for it. A generation lasts as long as the request that asks for
 * it: each batch of nonces is a line of its answer, and the client may go away, or let it end
 * behind the batch that is being computed.
 */
typedef struct gh__proofs gh__proofs;

gh_status gh__proofs_create(gh__proofs **out, gh_error *error);
/* Cuts short what is under way and answers what waits. Before the server stops. */
void gh__proofs_stop(gh__proofs *proofs);
void gh__proofs_free(gh__proofs *proofs);

/*
 * The routes, below /control/proofs; x->worker->proofs is there.
 *
 * POST round      {"block_hash", "params", "budget"}: the network of this round, in place of
 * another;
 *                 of the same round, nothing. Answers as status does.
 * GET  status     {"state": "none" | "building" | "ready" | "failed", "progress": 0 to 1, "error",
 * and
 *                 once it is ready "batch", "bytes" and "flops"}
 * POST generate   {"public_key", "r_target", "node_id", "node_count", "group", "groups", "index"}:
 * lines
 *                 {"index", "tried", "seconds", "nonces", "dist"}, the hits among nonces index to
 *                 index
 *                 + tried - 1 of the group. An earlier generation ends. A line {"error"} ends it.
 * POST finish     the generation ends behind its batch
 * POST distances  {"public_key", "nonces"}: {"dist"}, null for what is no number
 * POST stop       no network any more; what waits is answered 503
 */
void gh__proofs_round(gh__exchange *x);
void gh__proofs_status(gh__exchange *x);
void gh__proofs_generate(gh__exchange *x);
void gh__proofs_finish(gh__exchange *x);
void gh__proofs_distances(gh__exchange *x);
void gh__proofs_end(gh__exchange *x);

#endif
