#ifndef GONKAHOST_BASE_H
#define GONKAHOST_BASE_H

/*
 * What every other header needs: export marks, status codes, errors, memory, log, element types.
 *
 * Conventions of the whole interface:
 *
 *   Status     functions that can fail return gh_status: GH_OK or a negative code.
 *   Errors     the last parameter, gh_error *error, may be NULL. It is written only on failure,
 *              and only if it holds no error yet: the first one wins.
 *   Ownership  four words. "caller frees" (with the function named there); "borrows" (the library
 *              keeps the pointer until the event named there); "copies"; "takes" (the library owns
 *              it if, and only if, the call returned GH_OK).
 *   Options    structs begin with struct_size, which their INIT macro sets. Zero is the default in
 *              every field, a NULL pointer to options means all defaults.
 *   Threads    what a comment does not declare safe belongs to one thread at a time.
 *   State      after a failed call the object is as it was before, unless stated.
 */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
/** Opens declarations with C linkage. */
#define GH_BEGIN extern "C" {
/** Closes them. */
#define GH_END }
#else
#define GH_BEGIN
#define GH_END
#endif

#if defined(__GNUC__) || defined(__clang__)
/** Marks what the library exports. */
#define GH_API __attribute__((visibility("default")))
/** The compiler warns when the result is not looked at. */
#define GH_NODISCARD __attribute__((warn_unused_result))
/** Parameters that are checked as printf(3)'s: the format's number and the first value's. */
#define GH_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define GH_API
#define GH_NODISCARD
#define GH_PRINTF(f, a)
#endif

GH_BEGIN

/** The one list of status codes: X(name, value, text). */
#define GH_STATUS_MAP(X)                           \
	X(GH_OK, 0, "success")                     \
	X(GH_EINVAL, -1, "invalid argument")       \
	X(GH_ENOMEM, -2, "out of memory")          \
	X(GH_EIO, -3, "input or output error")     \
	X(GH_ENOENT, -4, "not found")              \
	X(GH_EEXIST, -5, "already exists")         \
	X(GH_ETOOBIG, -6, "too large")             \
	X(GH_EFORMAT, -7, "malformed data")        \
	X(GH_ENOTSUP, -8, "not supported")         \
	X(GH_ENODEVICE, -9, "no such device")      \
	X(GH_EBUSY, -10, "busy")                   \
	X(GH_ECANCELLED, -11, "cancelled")         \
	X(GH_ETIMEOUT, -12, "timed out")           \
	X(GH_ESTATE, -13, "wrong state")           \
	X(GH_ECLOSED, -14, "closed")               \
	X(GH_ENET, -15, "network error")           \
	X(GH_ENUMERIC, -16, "not a finite number") \
	X(GH_ECUDA, -17, "CUDA error")             \
	X(GH_EBUG, -18, "internal error")

/** Outcome of a call: GH_OK (0) or one of the negative codes of GH_STATUS_MAP. */
typedef enum gh_status {
/** An entry of the list as an enumerator. */
#define GH_STATUS_ENUM_(name, value, text) name = value,
	GH_STATUS_MAP(GH_STATUS_ENUM_)
#undef GH_STATUS_ENUM_
} gh_status;

/** Whose numbering gh_error.code follows. */
typedef enum gh_domain {
	GH_DOMAIN_NONE = 0,   /**< code is 0 */
	GH_DOMAIN_ERRNO = 1,  /**< errno(3) */
	GH_DOMAIN_CURL = 2,   /**< CURLcode */
	GH_DOMAIN_SQLITE = 3, /**< SQLite result code */
	GH_DOMAIN_HTTP = 4,   /**< HTTP status */
	GH_DOMAIN_CUDA = 5,   /**< cudaError_t */
	GH_DOMAIN_NCCL = 6    /**< ncclResult_t */
} gh_domain;

/** What went wrong, in the caller's memory. Begin with GH_ERROR_INIT. */
typedef struct gh_error {
	int32_t status;   /**< a gh_status; GH_OK while there is no error */
	int32_t domain;   /**< a gh_domain */
	int32_t code;     /**< code in that domain */
	int32_t line;     /**< source line that raised it */
	const char *file; /**< source file that raised it; static, never freed */
	char text[232];   /**< one sentence, NUL-terminated UTF-8; a long one is cut */
} gh_error;

/** Initialiser of a gh_error without an error. */
#define GH_ERROR_INIT             \
	{                         \
		0, 0, 0, 0, NULL, \
		{                 \
			0         \
		}                 \
	}

/**
 * Version of the library that is running.
 *
 * Owner    static string "major.minor.patch"
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API const char *gh_version(void);

/**
 * Name of a status code, such as "GH_EINVAL".
 *
 * Owner    static string; "GH_UNKNOWN" for a number that is no status
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API const char *gh_status_name(gh_status status);

/**
 * A few words that describe a status code, such as "invalid argument".
 *
 * Owner    static string; "unknown status" for a number that is no status
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API const char *gh_status_text(gh_status status);

/** Where the library takes host memory from. */
typedef struct gh_allocator {
	void *(*allocate)(size_t size, void *userdata);             /**< as malloc(3) */
	void *(*resize)(void *memory, size_t size, void *userdata); /**< as realloc(3) */
	void (*release)(void *memory, void *userdata);              /**< as free(3) */
	void *userdata;                                             /**< passed back */
} gh_allocator;

/**
 * Replace malloc(3) and its relatives for the library's own host memory.
 *
 * Owner    copies the struct; userdata is borrowed for the life of the process
 * Threads  call once, before any other function of the library
 * Errors   GH_EINVAL a function is NULL
 * Since    0.1
 */
GH_API GH_NODISCARD gh_status gh_allocator_set(const gh_allocator *allocator);

/**
 * Release memory that a function's comment says to free with gh_free().
 *
 * Owner    takes memory; NULL is allowed
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API void gh_free(void *memory);

/** Importance of a log line. */
typedef enum gh_log_level {
	GH_LOG_ERROR = 1, /**< something failed and was not mended */
	GH_LOG_WARN = 2,  /**< something an operator should know */
	GH_LOG_INFO = 3,  /**< the course of things */
	GH_LOG_DEBUG = 4  /**< for those who look into a fault */
} gh_log_level;

/**
 * Receives log lines: component is a room ("engine", "http"), text is one line of words and
 * key=value pairs without a newline.
 *
 * Called from any thread, also from several at once; must not call back into the library.
 */
typedef void gh_log_fn(gh_log_level level, const char *component, const char *text, void *userdata);

/**
 * Send log lines to a function. Until then the library logs nothing.
 *
 * Owner    borrows userdata for the life of the process; fn NULL turns logging off
 * Threads  call before other threads use the library
 * Errors   none
 * Since    0.1
 */
GH_API void gh_log_set(gh_log_fn *fn, void *userdata, gh_log_level most);

/** Element type of a tensor. */
typedef enum gh_dtype {
	GH_DTYPE_NONE = 0, /**< not set */
	GH_F32 = 1,        /**< IEEE binary32 */
	GH_F16 = 2,        /**< IEEE binary16 */
	GH_BF16 = 3,       /**< upper half of binary32 */
	GH_E4M3 = 4,       /**< FP8, 4 exponent and 3 mantissa bits, no infinities ("fn") */
	GH_E5M2 = 5,       /**< FP8, 5 exponent and 2 mantissa bits */
	GH_F64 = 6,        /**< IEEE binary64 */
	GH_BOOL = 7,       /**< one byte */
	GH_U8 = 8,         /**< unsigned, 1 byte */
	GH_I8 = 9,         /**< signed, 1 byte */
	GH_U16 = 10,       /**< unsigned, 2 bytes */
	GH_I16 = 11,       /**< signed, 2 bytes */
	GH_U32 = 12,       /**< unsigned, 4 bytes */
	GH_I32 = 13,       /**< signed, 4 bytes */
	GH_U64 = 14,       /**< unsigned, 8 bytes */
	GH_I64 = 15        /**< signed, 8 bytes */
} gh_dtype;

/**
 * Bytes of one element; 0 for a number that is no dtype.
 *
 * Owner    nothing
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API size_t gh_dtype_size(gh_dtype dtype);

/**
 * Name of a dtype as safetensors spells it ("BF16"); "?" for a number that is no dtype.
 *
 * Owner    static string
 * Threads  any
 * Errors   none
 * Since    0.1
 */
GH_API const char *gh_dtype_name(gh_dtype dtype);

GH_END
#endif
