#ifndef GH_CLI_BENCH_BENCH_H
#define GH_CLI_BENCH_BENCH_H

#include "../cli.h"

/*
 * gonkahost bench: how fast the kernels of a device are, each figure beside a ceiling that the same
 * run measured. A verb opens a bench, measures, and prints a line a measurement.
 */
enum { BENCH_LIST = 16, BENCH_KINDS = 2 };

typedef struct bench_list {
	int count;
	int32_t at[BENCH_LIST];
} bench_list;

typedef struct bench_arguments {
	const char *verb;
	const char *model; /* NULL: the verb's default */
	const char *dtype; /* likewise */
	bench_list rows, batch, context;
	int32_t prompt, runs, threads;
	int64_t rotate; /* bytes; 0 = what no cache of the device holds */
	gh_quantization quantization;
	bool kv_fp8, sequence, json;
	const char *device;
} bench_arguments;

/* The sizes of a model that bench knows without its files. */
typedef struct bench_shape {
	const char *name;
	int32_t hidden, heads, kv_heads, head_dim, inner;
} bench_shape;

extern const bench_shape bench_shapes[BENCH_KINDS];

typedef struct bench {
	const bench_arguments *arguments;
	gh_device *device;
	bool cuda;
	gh_device_rates rates;
	int64_t rotate;
	int32_t runs;
	gh_event *begin, *end;
	gh_devptr flood[2]; /* what keeps a GPU busy while the host enqueues; 0 on a CPU */
	float *noise;       /* [BENCH_NOISE] */
} bench;

enum { BENCH_NOISE = 1 << 20 };

int bench_device(const bench_arguments *arguments);
int bench_linear(const bench_arguments *arguments);
int bench_attention(const bench_arguments *arguments);
int bench_forward(const bench_arguments *arguments);

/* Open a device, and measure its memory. bench_close() in any case. */
gh_status bench_open(bench *b, const bench_arguments *arguments, gh_error *error);
void bench_close(bench *b);

/* Whether a model known by name is wanted. */
bool bench_wants(const bench_arguments *arguments, const bench_shape *shape);

/* The device's memory, filled with numbers that are nearly normal, of deviation `scale`. */
gh_status bench_numbers(bench *b, gh_devptr *out, gh_dtype dtype, int64_t count, float scale,
			gh_error *error);
/* count of them on the host. free(); NULL: no memory. */
void *bench_host_numbers(const bench *b, gh_dtype dtype, int64_t count, float scale);

/* int32 numbers on the device, as fn says. */
typedef int32_t bench_number_fn(const void *userdata, int64_t i);
gh_status bench_integers(bench *b, gh_devptr *out, int64_t count, bench_number_fn *fn,
			 const void *userdata, gh_error *error);

/*
 * Seconds that one piece of work takes: the median over runs of `turns` of them between two events,
 * by turns. enqueue is told which turn it is, so that it can take other operands each time.
 */
typedef gh_status bench_work_fn(void *work, int32_t turn, gh_error *error);
gh_status bench_time(bench *b, double *seconds, bench_work_fn *enqueue, void *work, int32_t turns,
		     gh_error *error);

/* How many copies of operands of that many bytes a rotation takes, and turns that use all of
 * them. */
int32_t bench_copies(const bench *b, double bytes);
int32_t bench_turns(int32_t copies);

/* Operations a second of the yardstick's product with f16 (or what dtype says) of a size that shows
 * the device's best; 0: there is none, or *why says so. */
gh_status bench_flops(bench *b, gh_dtype dtype, double *flops, gh_error *error);

/* Print a measurement: an object, which it takes. */
void bench_print(const bench_arguments *arguments, json_t *line);

/* x / ceiling, or null without one. */
json_t *bench_ratio(double x, double ceiling);
json_t *bench_number(double x); /* null for 0 */

#endif
