#ifndef GH_KERNELS_LINEAR_SM90_LARGE_CUH
#define GH_KERNELS_LINEAR_SM90_LARGE_CUH

#include "linear_sm90_store.cuh"

/*
 * linear for many rows: 2 m n k FLOPs, bound by the tensor cores, at length by power.
 *
 * A block stays and makes tile after tile of `rows` x `columns` outputs. One warp keeps a ring of
 * stages in shared memory filled, each a block of k of the tile's rows of x and of W, and runs ahead
 * into the next tile. `groups` warpgroups multiply, 64 rows each, x as the first operand. With
 * cluster 2, two blocks work on the same rows of W, below each other in x: each fetches half of
 * them for both.
 *
 * The warpgroups start a block of k apart and stay apart, so that while one writes its outputs the
 * others have the tensor cores for themselves. SWIGLU takes long: where the registers allow it, gates
 * and ups are kept, rounded, and made into y under the first products of the next tile.
 */
template <typename T_, int groups_, int columns_, int cluster_> struct gh_sm90_shape {
	using T = T_;
	static constexpr int groups = groups_, columns = columns_, cluster = cluster_;
	static constexpr int rows = 64 * groups;
	static constexpr int threads = 128 * (groups + 1);
	static constexpr int registers = groups == 2 ? 232 : 160;    /* a thread that multiplies */
	static constexpr int registers_left = groups == 2 ? 40 : 32; /* one that does not */
	static constexpr int x_bytes = rows * GH_SM90_BLOCK, w_bytes = columns * GH_SM90_BLOCK;
	static constexpr int stage = x_bytes + w_bytes;
	static constexpr int pieces = columns < 128 ? 1 : columns / 128; /* a warp's, of y */
	static constexpr int out = 4 * groups * pieces * GH_SM90_PIECE;
	static constexpr int fit = (GH_SM90_SHARED - GH_SM90_SPARE - out) / stage;
	static constexpr int stages = fit < 8 ? fit : 8;
	static constexpr int shared = stages * stage + out + 1024;
	static constexpr int sums = columns / 2;    /* a thread */
	static constexpr bool glu = columns >= 128; /* its outputs fill pieces */
	static constexpr bool blocks = gh_sm90_kind<T>::blocks;
	static constexpr bool twice = blocks && groups == 2; /* two blocks' sums at a time */
	static constexpr bool later = glu && !blocks; /* SWIGLU under the next tile's products */
	static constexpr int parts = sums / 16;       /* of it: 16 columns each */
	/* Cycles for a stage: those of its products, or of its bytes from L2 at 45 a cycle. */
	static constexpr int work = rows * columns / 32;
	static constexpr int traffic = (rows + columns / cluster) * GH_SM90_BLOCK / 45;
	static constexpr int cost = work > traffic ? work : traffic;

	static_assert(groups == 2 || groups == 3, "registers are shared out for these");
	static_assert(128 * (groups * registers + registers_left) <= 65536, "all there are");
	static_assert(columns / cluster <= 256 && w_bytes / cluster % 1024 == 0, "a box");
};

typedef struct gh_sm90_tile {
	int row, column; /* of x, of W */
} gh_sm90_tile;

/* Tiles of rows pass over W together, so that both come out of L2 most of the time. */
template <typename S>
__device__ __forceinline__ gh_sm90_tile gh_sm90_tile_at(const gh_sm90_linear &a, int at, int rank)
{
	const int whole = a.band * a.tiles_n;
	const int first = at / whole * a.band, inside = at % whole;
	const int tall = a.tiles_m - first < a.band ? a.tiles_m - first : a.band;
	gh_sm90_tile tile;

	tile.row = ((first + inside % tall) * S::cluster + rank) * S::rows;
	tile.column = inside / tall * S::columns;
	return tile;
}

/* A place in the ring, and the parity of the phase in which it is passed. */
typedef struct gh_sm90_slot {
	int at;
	uint32_t parity;
} gh_sm90_slot;

template <typename S> __device__ __forceinline__ void gh_sm90_advance(gh_sm90_slot *slot)
{
	if (++slot->at == S::stages) {
		slot->at = 0;
		slot->parity ^= 1;
	}
}

/* One thread's work: all stages of all of the block's tiles. */
template <typename S>
__device__ __forceinline__ void gh_sm90_fetch(const gh_sm90_linear &a, uint32_t ring, uint32_t full,
					      uint32_t empty, int rank)
{
	constexpr int share = S::columns / S::cluster;
	constexpr int width = GH_SM90_BLOCK / static_cast<int>(sizeof(typename S::T));
	const int clusters = gridDim.x / S::cluster, tiles = a.tiles_m * a.tiles_n;
	gh_sm90_slot slot = { 0, 1 };

	for (int at = blockIdx.x / S::cluster; at < tiles; at += clusters) {
		const gh_sm90_tile tile = gh_sm90_tile_at<S>(a, at, rank);

		for (int k = 0; k < a.blocks; k++) {
			const uint32_t x = ring + slot.at * S::stage, barrier = full + 8 * slot.at;
			const uint32_t w = x + S::x_bytes + rank * share * GH_SM90_BLOCK;
			const int w_row = tile.column + rank * share;

			gh_barrier_wait(empty + 8 * slot.at, slot.parity);
			gh_barrier_expect(barrier, S::stage);
			gh_copy_box(x, &a.x, k * width, tile.row, barrier);
			if (S::cluster == 1)
				gh_copy_box(w, &a.w, k * width, w_row, barrier);
			else
				gh_copy_box_to(w, &a.w, k * width, w_row, barrier,
					       (1 << S::cluster) - 1);
			gh_sm90_advance<S>(&slot);
		}
	}
}

/* A warp is done with a stage: every block that writes to it is told. */
template <typename S> __device__ __forceinline__ void gh_sm90_release(uint32_t barrier)
{
	const uint32_t lane = threadIdx.x % 32;

	if (S::cluster == 1 && lane == 0)
		gh_barrier_arrive(barrier);
	if (S::cluster > 1 && lane < S::cluster)
		gh_barrier_arrive_at(barrier, lane);
}

/* The products of a stage: d = or += x W^T of a block of k. x, w: operands. */
template <typename S>
__device__ __forceinline__ void gh_sm90_multiply(float (&d)[S::sums], uint32_t x, uint32_t w,
						 int more)
{
	gh_product_begin();
#pragma unroll
	for (int i = 0; i < 4; i++)
		gh_product<typename S::T, S::columns>::run(d, x + 2 * i, w + 2 * i,
							   i == 0 ? more : 1);
	gh_product_mark();
}

/* What a warpgroup keeps in mind from stage to stage. */
typedef struct gh_sm90_state {
	uint32_t full, empty; /* barriers */
	uint32_t x, w;        /* operands of the first stage */
	gh_sm90_slot slot;
	uint32_t now, before; /* the barriers of the last two stages begun */
	int apart;            /* after which block of k warpgroup `next` starts; -1: it has */
	int next;
} gh_sm90_state;

/* The products of the next stage begin, once it is full. */
template <typename S>
__device__ __forceinline__ void gh_sm90_begin(gh_sm90_state *s, float (&d)[S::sums], int more)
{
	const int further = s->slot.at * (S::stage / 16);

	gh_barrier_wait(s->full + 8 * s->slot.at, s->slot.parity);
	gh_sm90_multiply<S>(d, s->x + further, s->w + further, more);
	s->before = s->now;
	s->now = s->empty + 8 * s->slot.at;
	gh_sm90_advance<S>(&s->slot);
}

/* Block k is under way or done: the next warpgroup may start, if it is time. */
__device__ __forceinline__ void gh_sm90_apart(gh_sm90_state *s, int k)
{
	if (k != s->apart)
		return;
	gh_named_arrive(s->next, 256);
	s->apart = -1;
}

/* Block k of one sum over all of k, of which the block before is done now. */
template <typename S> __device__ __forceinline__ void gh_sm90_end(gh_sm90_state *s, int k)
{
	gh_product_wait<1>();
	if (k > 0)
		gh_sm90_release<S>(s->before);
	gh_sm90_apart(s, k);
}

/* Block k of sums of blocks; left: how many later ones are under way, 0 or 1. */
template <typename S, int left>
__device__ __forceinline__ void gh_sm90_add(gh_sm90_state *s, float (&sum)[S::sums],
					    float (&part)[S::sums], int k)
{
	gh_product_wait<left>();
	gh_product_done(part);
	gh_sm90_release<S>(left > 0 ? s->before : s->now);
#pragma unroll
	for (int i = 0; i < S::sums; i++)
		sum[i] = __fadd_rn(sum[i], part[i]);
	gh_sm90_apart(s, k);
}

/* All of k in sums of blocks: where the registers allow it, the next is under way at an addition. */
template <typename S>
__device__ __forceinline__ void gh_sm90_blocks(gh_sm90_state *s, float (&sum)[S::sums], int blocks)
{
	float part[S::sums] = {}, other[S::twice ? S::sums : 1] = {};
	int k = 0;

#pragma unroll
	for (int i = 0; i < S::sums; i++)
		sum[i] = 0.0F;
	if constexpr (!S::twice) {
		for (; k < blocks; k++) {
			gh_sm90_begin<S>(s, part, 0);
			gh_sm90_add<S, 0>(s, sum, part, k);
		}
	} else {
		gh_sm90_begin<S>(s, part, 0);
		for (; k + 2 < blocks; k += 2) {
			gh_sm90_begin<S>(s, other, 0);
			gh_sm90_add<S, 1>(s, sum, part, k);
			gh_sm90_begin<S>(s, part, 0);
			gh_sm90_add<S, 1>(s, sum, other, k + 1);
		}
		if (k + 2 == blocks) {
			gh_sm90_begin<S>(s, other, 0);
			gh_sm90_add<S, 1>(s, sum, part, k);
			gh_sm90_add<S, 0>(s, sum, other, k + 1);
		} else {
			gh_sm90_add<S, 0>(s, sum, part, k);
		}
	}
}

/* Part of a tile's SWIGLU, from what was kept of it. */
template <typename S, gh_dtype out>
__device__ __forceinline__ void gh_sm90_part(const gh_sm90_linear &a, const uint32_t *kept,
					     const gh_sm90_out &to, int part)
{
	uint32_t v[4];

#pragma unroll
	for (int i = 0; i < 4; i++)
		v[i] = gh_sm90_glu<out>(kept[i / 2 * 4 + i % 2], kept[i / 2 * 4 + i % 2 + 2]);
	gh_sm90_lay<S::pieces>(to, part / 4, part % 4, v);
	if (part % 4 == 3)
		gh_sm90_send<S::pieces>(a, to, part / 4);
}

/* A warpgroup's 64 rows of all tiles of the block; pieces: of all warps. */
template <typename S, gh_dtype out>
__device__ __forceinline__ void gh_sm90_make(const gh_sm90_linear &a, gh_sm90_state *s,
					     uint32_t pieces, int rank, int group)
{
	using T = typename S::T;
	const int clusters = gridDim.x / S::cluster, tiles = a.tiles_m * a.tiles_n;
	const int warp = threadIdx.x / 32;
	float sum[S::sums] = {}, scale[2];
	uint32_t kept[S::later ? S::sums / 2 : 1] = {};
	gh_sm90_out to, before;
	bool waiting = false; /* a tile's SWIGLU */

	before.at = to.at = pieces + warp * S::pieces * GH_SM90_PIECE;
	before.row = before.column = 0;
	for (int at = blockIdx.x / S::cluster; at < tiles; at += clusters) {
		const gh_sm90_tile tile = gh_sm90_tile_at<S>(a, at, rank);
		int k = 0;

		to.row = tile.row + group * 64 + warp % 4 * GH_SM90_PIECE_ROWS;
		to.column = a.epilogue.glu ? tile.column / 2 : tile.column;
		gh_sm90_scales<T>(a, to.row, scale);
		if constexpr (S::blocks) {
			gh_sm90_warm(a, to.column, S::columns);
			gh_sm90_blocks<S>(s, sum, a.blocks);
		} else {
			if constexpr (S::later)
				if (waiting) {
#pragma unroll
					for (int i = 0; i < S::parts; i++) {
						gh_sm90_begin<S>(s, sum, i > 0);
						gh_sm90_part<S, out>(a, kept + 8 * i, before, i);
						gh_sm90_end<S>(s, i);
					}
					k = S::parts;
				}
			for (; k < a.blocks; k++) {
				gh_sm90_begin<S>(s, sum, k > 0);
				gh_sm90_end<S>(s, k);
			}
			gh_product_wait<0>();
			gh_product_done(sum);
			gh_sm90_release<S>(s->now);
		}
		if constexpr (S::later)
			if (a.ending == GH_SM90_GLU) {
				gh_linear_epilogue e = a.epilogue;

				e.bias = NULL;
#pragma unroll
				for (int i = 0; i < S::parts; i++)
					gh_sm90_finish_glu<T, out>(e, sum + 16 * i, scale, 0,
								   kept + 8 * i);
				before = to;
				waiting = at + clusters < tiles && a.blocks >= S::parts;
				if (!waiting)
#pragma unroll
					for (int i = 0; i < S::parts; i++)
						gh_sm90_part<S, out>(a, kept + 8 * i, before, i);
				continue;
			}
		gh_sm90_write<T, out, S::glu && !S::later, S::pieces>(a, sum, scale, to,
								      tile.column);
	}
	gh_copy_out_wait<0>();
}

/* A warpgroup that multiplies: from the first barrier on. */
template <typename S>
__device__ __forceinline__ void gh_sm90_work(const gh_sm90_linear &a, uint32_t ring, uint32_t full,
					     uint32_t empty, int rank, int group)
{
	constexpr bool half = gh_sm90_kind<typename S::T>::out == GH_F16;
	const uint32_t pieces = ring + S::stages * S::stage;
	gh_sm90_state s;

	s.full = full;
	s.empty = empty;
	s.x = gh_operand(ring + group * 64 * GH_SM90_BLOCK);
	s.w = gh_operand(ring + S::x_bytes);
	s.slot.at = 0;
	s.slot.parity = 0;
	s.now = s.before = 0;
	s.apart = group + 1 < S::groups ? (a.blocks > 1 ? 1 : 0) : -1;
	s.next = group + 1;
	if (group > 0)
		gh_named_wait(group, 256);
	if (!S::blocks)
		gh_sm90_make<S, half ? GH_F16 : GH_BF16>(a, &s, pieces, rank, group);
	else if (a.epilogue.out == GH_F16)
		gh_sm90_make<S, GH_F16>(a, &s, pieces, rank, group);
	else
		gh_sm90_make<S, GH_BF16>(a, &s, pieces, rank, group);
}

template <typename S>
__global__ void __launch_bounds__(S::threads, 1)
	linear_sm90_large_kernel(const __grid_constant__ gh_sm90_linear a)
{
#ifdef GH_SM90
	extern __shared__ char memory[];
	__shared__ uint64_t barriers[2][S::stages];
	const uint32_t ring = (gh_shared(memory) + 1023) / 1024 * 1024;
	const uint32_t full = gh_shared(barriers[0]), empty = gh_shared(barriers[1]);
	const int group = __shfl_sync(~0U, threadIdx.x / 128, 0);
	const int rank = S::cluster > 1 ? static_cast<int>(gh_cluster_rank()) : 0;

	if (threadIdx.x == 0) {
		gh_copy_prefetch(&a.x);
		gh_copy_prefetch(&a.w);
		for (int i = 0; i < S::stages; i++) {
			gh_barrier_init(full + 8 * i, 1);
			gh_barrier_init(empty + 8 * i, 4 * S::groups * S::cluster);
		}
		gh_barrier_publish();
	}
	__syncthreads();
	if (S::cluster > 1)
		gh_cluster_sync();
	if (group == S::groups) {
		gh_registers_give<S::registers_left>();
		if (threadIdx.x == 128 * S::groups)
			gh_sm90_fetch<S>(a, ring, full, empty, rank);
		__syncwarp();
	} else {
		gh_registers_take<S::registers>();
		gh_sm90_work<S>(a, ring, full, empty, rank, group);
	}
	/* Nobody leaves while the other block may still write or arrive here. */
	if (S::cluster > 1)
		gh_cluster_sync();
#endif
}

template <typename S> static int64_t gh_sm90_rounds(const gh__launch *on, const gh_sm90_linear *a)
{
	const int64_t tiles = static_cast<int64_t>(gh_blocks(a->m, S::rows * S::cluster)) *
			      gh_blocks(a->n, S::columns);
	const int64_t places = on->units / S::cluster;

	return (tiles + places - 1) / places;
}

template <typename S>
static int gh_sm90_large_launch(const gh__launch *on, const gh__linear_desc *desc,
				const gh_linear_operands *in, gh_sm90_linear *a)
{
	const int64_t places = on->units / S::cluster;
	int code = gh__sm90_maps(a, desc, in, S::rows, S::columns / S::cluster);
	int64_t tiles;

	if (code == 0)
		code = gh__sm90_ending(a, in);
	if (code != 0)
		return code;
	if (a->ending == GH_SM90_GLU && !S::glu)
		a->ending = GH_SM90_SLOW;
	if (!S::blocks && a->epilogue.out != gh_sm90_kind<typename S::T>::out)
		a->ending = GH_SM90_SLOW;
	a->tiles_m = static_cast<int32_t>(gh_blocks(a->m, S::rows * S::cluster));
	a->tiles_n = static_cast<int32_t>(gh_blocks(a->n, S::columns));
	tiles = static_cast<int64_t>(a->tiles_m) * a->tiles_n;
	if (tiles > INT32_MAX / 2)
		return static_cast<int>(cudaErrorInvalidValue);
	return gh_sm90_launch(on, linear_sm90_large_kernel<S>, a,
			      static_cast<int>(tiles < places ? tiles : places) * S::cluster,
			      S::cluster, S::threads, S::shared, false);
}

/* The shape whose rounds of tiles take the least time; groups x columns is the largest. */
template <typename T, int groups, int columns>
static int gh_sm90_large(const gh__launch *on, const gh__linear_desc *desc,
			 const gh_linear_operands *in, gh_sm90_linear *a)
{
	using wide = gh_sm90_shape<T, groups, columns, 2>;
	using middle = gh_sm90_shape<T, 2, 128, 1>;
	using narrow = gh_sm90_shape<T, 2, 64, 1>;
	const int64_t time[3] = { gh_sm90_rounds<wide>(on, a) * wide::cost,
				  gh_sm90_rounds<middle>(on, a) * middle::cost,
				  gh_sm90_rounds<narrow>(on, a) * narrow::cost };

	a->band = 8;
	if (time[0] <= time[1] && time[0] <= time[2])
		return gh_sm90_large_launch<wide>(on, desc, in, a);
	if (time[1] <= time[2])
		return gh_sm90_large_launch<middle>(on, desc, in, a);
	return gh_sm90_large_launch<narrow>(on, desc, in, a);
}

#endif
