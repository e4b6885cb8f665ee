#ifndef GH_COMM_COMM_H
#define GH_COMM_COMM_H

#include "device/device.h"

/*
 * Communicators between the ranks of a model. Collectives are explicit operations of the forward;
 * with one rank each of them is nothing. Every rank of a group calls the same operation in the same
 * order, from its own thread. Results never depend on timing.
 *
 * The local communicator joins threads of one process that share memory. After an abort, memory
 * that was handed to an operation may still be read until every rank has returned from its own.
 */
typedef struct gh__comm gh__comm;

/* Fills out[0 .. ranks): one for each rank, to be freed each. */
gh_status gh__comm_create_local(gh__comm **out, int ranks, gh_error *error);

/* From now on the data of gathers, merges and messages of this rank lies in the memory of devices of
 * one kind, this rank's being `device`; without it, in the host's. */
void gh__comm_use(gh__comm *comm, gh__device *device);
void gh__comm_free(gh__comm *comm);
int gh__comm_rank(const gh__comm *comm);
int gh__comm_ranks(const gh__comm *comm);

/*
 * Gather columns: rank r holds columns [first_r, first_r + columns_r) of a row-major matrix of
 * `rows` rows and `total` columns; afterwards every rank's dst holds all of it. Slices may be of
 * different width and may overlap with equal contents; src lies outside dst. dst NULL: this rank
 * wants nothing. Strides and columns count elements of `element` bytes.
 */
gh_status gh__comm_gather_columns(gh__comm *comm, const void *src, int64_t src_stride,
				  int64_t first, int64_t columns, void *dst, int64_t dst_stride,
				  int64_t rows, int64_t total, size_t element, gh_error *error);

/*
 * Merge: of each 8 bytes at most one rank holds something other than zero bits; afterwards every
 * rank's data holds it. (Rows of a split embedding.) Exact, in place.
 */
gh_status gh__comm_merge(gh__comm *comm, void *data, size_t size, gh_error *error);

/* values[i] = max over ranks, exact; always on the host. */
gh_status gh__comm_max(gh__comm *comm, float *values, size_t count, gh_error *error);

gh_status gh__comm_barrier(gh__comm *comm, gh_error *error);

/* One to one, ranks of the same group; used between the stages of a pipeline. */
gh_status gh__comm_send(gh__comm *comm, int to, const void *data, size_t size, gh_error *error);
gh_status gh__comm_recv(gh__comm *comm, int from, void *data, size_t size, gh_error *error);

/* A rank that fails calls this: whoever waits, now or later, gets GH_ECANCELLED. Any thread. */
void gh__comm_abort(gh__comm *comm);

#endif
