#ifndef GH_POC_PLAN_H
#define GH_POC_PLAN_H

#include "model/model.h"
#include "model/runner.h"
#include "poc/staged.h"

/*
 * What a round's network is to the model's forward, and the memory that it takes, computed before
 * any of it is allocated: pool, the ends of the network, slots for layers, and one batch.
 */
typedef struct gh__poc_plan {
	int64_t pool;        /* bytes */
	int64_t ends, slot;  /* bytes of the last norm and head; of a layer */
	int64_t batch_bytes; /* of inputs, activations and logits */
	int64_t total;       /* bytes */
	int32_t slots;       /* layers held at a time */
	int32_t batch;       /* nonces */
	bool draws;          /* the device draws pool and inputs, and holds the pool */
} gh__poc_plan;

/* What is asked for, checked and with defaults filled in; block_hash and params are the
 * caller's. */
typedef struct gh__poc_request {
	const char *block_hash;
	gh_poc_params params;
	gh__poc_shape shape;
	gh_device_options device;
	gh_device_info machine;
	int64_t budget;
	int32_t batch; /* nonces at most; 0: as many as pay */
	double r_target;
} gh__poc_request;

/* GH_EINVAL names the option, or the parameter. */
gh_status gh__poc_request_read(gh__poc_request *out, const gh_poc_options *options,
			       gh_error *error);

/* Bytes that a network may take where nobody says: half of a CPU's memory, which others use too, and
 * nine tenths of any other device's. */
int64_t gh__poc_budget(const gh_device_info *machine);

/* GH_ENOMEM: the budget is too small even for one nonce; the text says how much is needed. */
gh_status gh__poc_plan_make(gh__poc_plan *out, const gh__poc_request *request, gh_error *error);

void gh__poc_describe(gh__model_desc *out, const gh_poc_params *params, const gh__poc_shape *shape);

/* The model whose forward it is; weights->params are the request's. */
gh_status gh__poc_assemble(gh_model **out, const gh__poc_request *request,
			   gh__staged_options *weights, gh_error *error);
gh__runner_options gh__poc_runner_options(const gh_poc_params *params, const gh__poc_plan *plan);

void gh__poc_info(gh_poc_info *out, const gh__poc_request *request, const gh__poc_plan *plan);

#endif
