#include "poc/normal.h"

#include <math.h>

#include "base/error.h"
#include "crypto/digest.h"

/* Where the tail begins, and the area of a layer. */
#define TAIL_START   0x1.d3bb48209ad33p+1
#define TAIL_INVERSE 0x1.183aa6c20e8c1p-2
#define AREA         0x1.43016a5a4372ep-8
#define SCALE        0x1p52

/* The network's tables come out of an f64 computation with its rounding errors, one entry of which
 * is not the correctly rounded one. */
#define ODD_LAYER 38

static const unsigned char digest_k[GH__SHA256_SIZE] = {
	0x56, 0x52, 0x95, 0x79, 0x78, 0x25, 0x93, 0x15, 0x47, 0xa1, 0x03,
	0x6f, 0x5b, 0x01, 0x2a, 0x24, 0x7b, 0xe5, 0x4a, 0xbb, 0xe0, 0x77,
	0xc3, 0x9f, 0xe0, 0x6c, 0x8e, 0xd1, 0xe9, 0xd0, 0xa5, 0xa9,
};
static const unsigned char digest_w[GH__SHA256_SIZE] = {
	0x33, 0xc6, 0x47, 0x22, 0x09, 0xe1, 0xd0, 0x9e, 0xa3, 0x54, 0x8f,
	0x02, 0x91, 0xe5, 0xe1, 0xad, 0x67, 0xfb, 0x4f, 0x1d, 0x03, 0x05,
	0xe9, 0xf1, 0x08, 0x66, 0x89, 0x58, 0x4b, 0x7b, 0xb7, 0xfa,
};
static const unsigned char digest_f[GH__SHA256_SIZE] = {
	0xac, 0xd8, 0x98, 0xd9, 0xd8, 0x7e, 0x21, 0x2f, 0x65, 0x77, 0x55,
	0xba, 0x43, 0xb2, 0x1e, 0x40, 0x95, 0x80, 0x90, 0xa7, 0xff, 0x21,
	0x03, 0xc9, 0xe7, 0x9f, 0x4e, 0xa1, 0xb0, 0xfe, 0x2b, 0xc5,
};

static uint64_t nearest(double value)
{
	return (uint64_t)llrint(value);
}

static void compute(gh__normal_tables *t)
{
	double x[GH__NORMAL_LAYERS];

	x[255] = TAIL_START;
	t->f[255] = exp(-0.5 * x[255] * x[255]);
	for (int i = 254; i >= 1; i--) {
		x[i] = sqrt(-2.0 * log(AREA / x[i + 1] + t->f[i + 1]));
		t->f[i] = exp(-0.5 * x[i] * x[i]);
		if (i == ODD_LAYER)
			t->f[i] = nextafter(t->f[i], INFINITY);
	}
	t->f[0] = 1.0;
	t->w[0] = AREA / t->f[255] / SCALE;
	t->k[0] = nearest(x[255] * t->f[255] / AREA * SCALE);
	t->w[1] = x[1] / SCALE;
	t->k[1] = 0;
	for (int i = 2; i < GH__NORMAL_LAYERS; i++) {
		t->w[i] = x[i] / SCALE;
		t->k[i] = nearest(x[i - 1] / x[i] * SCALE);
	}
}

/* Digests are of little-endian numbers. */
static gh_status check(const char *name, const void *table, const unsigned char *expected,
		       gh_error *error)
{
	unsigned char bytes[8 * GH__NORMAL_LAYERS], digest[GH__SHA256_SIZE];
	gh_status status;

	for (size_t i = 0; i < GH__NORMAL_LAYERS; i++) {
		uint64_t entry;

		memcpy(&entry, (const unsigned char *)table + 8 * i, sizeof entry);
		for (size_t j = 0; j < 8; j++)
			bytes[8 * i + j] = (unsigned char)(entry >> 8 * j);
	}
	status = gh__sha256(digest, bytes, sizeof bytes, error);
	if (status != GH_OK)
		return status;
	if (memcmp(digest, expected, sizeof digest) != 0)
		return gh__fail(
			error, GH_ENOTSUP,
			"normal table %s: its SHA-256 begins %02x%02x%02x%02x, "
			"%02x%02x%02x%02x expected: exp and log of this machine's C library "
			"round otherwise than the network's",
			name, digest[0], digest[1], digest[2], digest[3], expected[0], expected[1],
			expected[2], expected[3]);
	return GH_OK;
}

gh_status gh__normal_tables_make(gh__normal_tables *out, gh_error *error)
{
	gh_status status;

	compute(out);
	status = check("k", out->k, digest_k, error);
	if (status == GH_OK)
		status = check("w", out->w, digest_w, error);
	if (status == GH_OK)
		status = check("f", out->f, digest_f, error);
	return status;
}

static double tail(gh__pcg64 *rng, uint64_t place, uint32_t *more)
{
	double a, b;

	do {
		a = -TAIL_INVERSE * log1p(-gh__pcg64_unit(rng));
		b = -log1p(-gh__pcg64_unit(rng));
		*more += 2;
	} while (!(b + b > a * a));
	/* the sign of a tail comes from another bit than that of the layers */
	return place >> 8 & 1 ? -(TAIL_START + a) : TAIL_START + a;
}

double gh__normal_finish(const gh__normal_tables *tables, gh__pcg64 *rng, uint64_t draw,
			 uint32_t *more)
{
	for (;;) {
		unsigned layer = draw & 0xff;
		double x = gh__normal_value(tables, draw);

		if (gh__normal_inside(tables, draw))
			return x;
		if (layer == 0)
			return tail(rng, gh__normal_place(draw), more);
		++*more;
		if ((tables->f[layer - 1] - tables->f[layer]) * gh__pcg64_unit(rng) +
			    tables->f[layer] <
		    exp(-0.5 * x * x))
			return x;
		++*more;
		draw = gh__pcg64_draw(rng);
	}
}
