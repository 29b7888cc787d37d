/* SPDX-License-Identifier: Apache-2.0 */
/* The index of compressed images: chunks come back in any order, what is damaged or lies is refused
 * in words, and files of before there was an index expand as ever. */
#include <errno.h>
#include <fcntl.h>
#include <lz4frame.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/codec.h"
#include "stack/packed_format.h"

#define CHUNKS    6u
#define TAIL      (5u * PACKED_PAGE_SIZE + 77)
#define RAW_SIZE  ((CHUNKS - 1) * PACKED_CHUNK_SIZE + TAIL)
#define FRAME_MAX 65536u

static const enum stack_algorithm algorithms[] = {STACK_ZSTD, STACK_LZ4};

struct place {
    char path[64];
    int dir;
    uint8_t *raw;
};

/* Chunk 2 and every third page are zeros; the rest is noise and text. */
static void raw_fill(uint8_t *raw)
{
    uint32_t noise = 1;
    for (size_t i = 0; i < RAW_SIZE; i++) {
        size_t page = i / PACKED_PAGE_SIZE;
        noise = noise * 1664525u + 1013904223u;
        if (i / PACKED_CHUNK_SIZE == 2 || page % 3 == 1)
            raw[i] = 0;
        else
            raw[i] = page % 2 ? (uint8_t)(noise >> 24) : (uint8_t)(1 + page % 250);
    }
}

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof(*place));
    struct error err = {0};
    assert_non_null(place);
    snprintf(place->path, sizeof(place->path), "/tmp/tine-packed-XXXXXX");
    assert_non_null(mkdtemp(place->path));
    place->dir = dir_open(AT_FDCWD, place->path, &err);
    place->raw = malloc(RAW_SIZE);
    assert_non_null(place->raw);
    raw_fill(place->raw);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    struct error err = {0};
    close(place->dir);
    assert_int_equal(tree_remove(AT_FDCWD, place->path, &err), 0);
    free(place->raw);
    free(place);
    return 0;
}

static struct stack_file memory_of(const struct place *place)
{
    return (struct stack_file){place->dir, "memory", "memory"};
}

static const char *name_of(enum stack_algorithm algorithm)
{
    return algorithm == STACK_ZSTD ? "memory.zst" : "memory.lz4";
}

static void pack(const struct place *place, enum stack_algorithm algorithm)
{
    const struct stack_file raw = memory_of(place);
    const struct stack_compression how = {algorithm, stack_default_level(algorithm)};
    struct stack_packing packing = {.dirfd = -1};
    struct stack_task task = {.done = 0};
    struct error err = {0};
    assert_int_equal(file_publish(place->dir, "memory", place->raw, RAW_SIZE, 0600, &err), 0);
    assert_int_equal(stack_pack(&raw, &how, &task, &packing, &err), 0);
    assert_int_equal(stack_pack_publish(&raw, &packing, &err), 0);
    cleanup_stack_packing(&packing);
}

static int file_open(const struct place *place, enum stack_algorithm algorithm)
{
    int fd = openat(place->dir, name_of(algorithm), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static struct packed_image *image_open(const struct place *place, enum stack_algorithm algorithm,
                                       struct error *err)
{
    return packed_image_open_fd(file_open(place, algorithm), name_of(algorithm), algorithm, err);
}

static uint64_t size_of(int fd)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    return (uint64_t)st.st_size;
}

/* ---- what is right ---- */

static void assert_chunk(const struct place *place, const uint8_t *chunk, uint64_t number)
{
    size_t length = packed_chunk_length(RAW_SIZE, number);
    assert_memory_equal(chunk, place->raw + number * PACKED_CHUNK_SIZE, length);
    for (size_t i = length; i < PACKED_CHUNK_SIZE; i++)
        assert_int_equal(chunk[i], 0);
}

static void test_any_order(void **state)
{
    static const uint64_t order[CHUNKS + 2] = {5, 0, 3, 3, 2, 4, 1, 5};
    const struct place *place = *state;
    _cleanup_(free) uint8_t *chunk = malloc(PACKED_CHUNK_SIZE);
    for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
        struct error err = {0};
        pack(place, algorithms[i]);
        _cleanup_(packed_decoder) struct packed_decoder *decoder = packed_decoder_new();
        _cleanup_(packed_image) struct packed_image *image = image_open(place, algorithms[i], &err);
        assert_non_null(image);
        assert_int_equal(packed_image_size(image), RAW_SIZE);
        for (size_t k = 0; k < ARRAY_SIZE(order); k++) {
            memset(chunk, 0xee, PACKED_CHUNK_SIZE);
            assert_int_equal(packed_image_decode(image, decoder, order[k], chunk, &err), 0);
            assert_chunk(place, chunk, order[k]);
        }
        assert_int_equal(unlinkat(place->dir, name_of(algorithms[i]), 0), 0);
    }
}

static void test_zeros_are_known(void **state)
{
    const struct place *place = *state;
    struct error err = {0};
    pack(place, STACK_ZSTD);
    _cleanup_(packed_image) struct packed_image *image = image_open(place, STACK_ZSTD, &err);
    assert_non_null(image);
    for (uint64_t page = 0; page < RAW_SIZE / PACKED_PAGE_SIZE; page++) {
        uint64_t chunk = page / PACKED_CHUNK_PAGES;
        bool zero = packed_image_zeros(image, chunk) >> page % PACKED_CHUNK_PAGES & 1;
        assert_int_equal(zero, chunk == 2 || page % 3 == 1);
        assert_int_equal(packed_image_is_zero(image, chunk), chunk == 2);
    }
}

/* The formats' own decoders make the image of the file, and take no notice of the index. */
static void test_other_tools(void **state)
{
    const struct place *place = *state;
    _cleanup_(free) uint8_t *back = malloc(RAW_SIZE + 1);
    for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
        const struct codec *codec = codec_of(algorithms[i]);
        _cleanup_(free) char *file = NULL;
        size_t length = 0;
        struct error err = {0};
        pack(place, algorithms[i]);
        assert_int_equal(
            file_read_all(place->dir, name_of(algorithms[i]), 1 << 24, &file, &length, &err), 0);
        void *decoder = codec->decoder_new(CODEC_WHOLE_WINDOW);
        struct codec_step step = {.in_length = 0};
        size_t used = 0, made = 0;
        while (used < length) {
            step = (struct codec_step){.in = (const uint8_t *)file + used,
                                       .in_length = length - used,
                                       .out = back + made,
                                       .out_size = RAW_SIZE + 1 - made};
            assert_null(codec->decode(decoder, &step));
            used += step.in_used;
            made += step.out_made;
        }
        assert_true(step.ended);
        assert_int_equal(made, RAW_SIZE);
        assert_memory_equal(back, place->raw, RAW_SIZE);
        codec->decoder_free(decoder);
        assert_int_equal(unlinkat(place->dir, name_of(algorithms[i]), 0), 0);
    }
}

/* ---- a file of before there was an index ---- */

static size_t one_frame(enum stack_algorithm algorithm, const uint8_t *raw, uint8_t *out,
                        size_t size)
{
    const LZ4F_preferences_t preferences = {
        .frameInfo = {.contentChecksumFlag = LZ4F_contentChecksumEnabled, .contentSize = RAW_SIZE}};
    if (algorithm == STACK_ZSTD)
        return ZSTD_compress(out, size, raw, RAW_SIZE, 1);
    return LZ4F_compressFrame(out, size, raw, RAW_SIZE, &preferences);
}

static void test_older_files(void **state)
{
    const struct place *place = *state;
    const struct stack_file raw = memory_of(place);
    const size_t room = 2 * RAW_SIZE;
    _cleanup_(free) uint8_t *frame = malloc(room);
    for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
        struct error err = {0};
        struct stack_packed packed;
        _cleanup_(free) char *back = NULL;
        size_t length = one_frame(algorithms[i], place->raw, frame, room);
        assert_true(length < room);
        assert_int_equal(
            file_publish(place->dir, name_of(algorithms[i]), frame, length, 0600, &err), 0);
        assert_null(image_open(place, algorithms[i], &err));
        assert_int_equal(err.code, ERROR_UNSUPPORTED);
        assert_non_null(strstr(err.message, "has no index"));
        assert_int_equal(stack_expand(&raw, RAW_SIZE + 1, &packed, &err), -EUCLEAN);
        assert_non_null(strstr(err.message, "less than"));
        assert_int_equal(stack_expand(&raw, RAW_SIZE, &packed, &err), 1);
        assert_int_equal(file_read_all(place->dir, "memory", RAW_SIZE, &back, &length, &err), 0);
        assert_int_equal(length, RAW_SIZE);
        assert_memory_equal(back, place->raw, RAW_SIZE);
        assert_int_equal(unlinkat(place->dir, "memory", 0), 0);
    }
}

/* ---- damage and lies ---- */

/* A file's index as it is, to be changed and put back with right checksums. */
struct forgery {
    int fd;
    struct packed_entry entries[CHUNKS];
    struct packed_head head;
    struct packed_foot foot;
    uint64_t offset; /* of the head */
};

static struct forgery forgery_begin(const struct place *place)
{
    struct forgery forgery = {.fd = file_open(place, STACK_ZSTD)};
    uint64_t end = size_of(forgery.fd);
    struct error err = {0};
    forgery.offset = end - PACKED_FRAME_SIZE - sizeof(forgery.entries);
    uint64_t entries = forgery.offset + sizeof(forgery.head);
    assert_int_equal(file_pread_exact(forgery.fd, &forgery.head, sizeof(forgery.head),
                                      forgery.offset, "head", &err),
                     0);
    assert_int_equal(file_pread_exact(forgery.fd, forgery.entries, sizeof(forgery.entries), entries,
                                      "entries", &err),
                     0);
    assert_int_equal(file_pread_exact(forgery.fd, &forgery.foot, sizeof(forgery.foot),
                                      end - sizeof(forgery.foot), "foot", &err),
                     0);
    return forgery;
}

static void forgery_write(const struct forgery *forgery)
{
    struct error err = {0};
    uint64_t offset = forgery->offset;
    assert_int_equal(
        file_pwrite_exact(forgery->fd, &forgery->head, sizeof(forgery->head), offset, "head", &err),
        0);
    offset += sizeof(forgery->head);
    assert_int_equal(file_pwrite_exact(forgery->fd, forgery->entries, sizeof(forgery->entries),
                                       offset, "entries", &err),
                     0);
    offset += sizeof(forgery->entries);
    assert_int_equal(
        file_pwrite_exact(forgery->fd, &forgery->foot, sizeof(forgery->foot), offset, "foot", &err),
        0);
}

static void foot_sum(struct packed_foot *foot)
{
    foot->checksum = packed_checksum(foot, offsetof(struct packed_foot, checksum));
}

static void lie_length_zero(struct forgery *forgery)
{
    forgery->entries[1].length = 0;
}

static void lie_length_huge(struct forgery *forgery)
{
    forgery->entries[1].length = PACKED_CHUNK_LIMIT + 1;
}

/* Into the next one's bytes: then what is left does not add up. */
static void lie_overlap(struct forgery *forgery)
{
    forgery->entries[1].length += 100;
}

static void lie_beyond(struct forgery *forgery)
{
    for (unsigned i = 0; i < CHUNKS; i++)
        forgery->entries[i].length = PACKED_CHUNK_LIMIT;
}

static void lie_zeros(struct forgery *forgery)
{
    forgery->entries[CHUNKS - 1].zeros |= 1ull << 63;
}

static void lie_reserved(struct forgery *forgery)
{
    forgery->entries[0].reserved = 1;
}

static void lie_head(struct forgery *forgery)
{
    forgery->head.length--;
}

static void lie_size(struct forgery *forgery)
{
    forgery->foot.raw_bytes = PACKED_SIZE_LIMIT;
}

static void lie_size_more(struct forgery *forgery)
{
    forgery->foot.raw_bytes = UINT64_MAX;
}

static void lie_chunk_size(struct forgery *forgery)
{
    forgery->foot.chunk_size *= 2;
}

static void lie_format(struct forgery *forgery)
{
    forgery->foot.format = 2;
}

static void test_lies_of_the_index(void **state)
{
    static const struct {
        void (*lie)(struct forgery *forgery);
        const char *words;
    } cases[] = {
        {lie_length_zero, "a chunk has an impossible length"},
        {lie_length_huge, "a chunk has an impossible length"},
        {lie_overlap, "its chunks do not end where its index begins"},
        {lie_beyond, "its chunks do not end where its index begins"},
        {lie_zeros, "a chunk has pages that there are none of"},
        {lie_reserved, "a chunk has pages that there are none of"},
        {lie_head, "its index does not begin where it should"},
        {lie_size, "it is too short for its index"},
        {lie_size_more, "its image has an impossible size"},
        {lie_chunk_size, "it has other chunks than its format"},
        {lie_format, "its index has a format that this version can't read"},
    };
    const struct place *place = *state;
    const struct stack_file raw = memory_of(place);
    pack(place, STACK_ZSTD);
    const struct forgery honest = forgery_begin(place);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct forgery forgery = honest;
        struct stack_packed packed;
        struct error err = {0};
        cases[i].lie(&forgery);
        forgery.foot.index_checksum = packed_checksum(forgery.entries, sizeof(forgery.entries));
        foot_sum(&forgery.foot);
        forgery_write(&forgery);
        assert_null(image_open(place, STACK_ZSTD, &err));
        assert_int_equal(err.code, ERROR_CORRUPT);
        if (!strstr(err.message, cases[i].words))
            fail_msg("no '%s' in: %s", cases[i].words, err.message);
        assert_int_equal(stack_expand(&raw, RAW_SIZE, &packed, &err), -EUCLEAN);
    }
    forgery_write(&honest);
    struct error err = {0};
    _cleanup_(packed_image) struct packed_image *image = image_open(place, STACK_ZSTD, &err);
    assert_non_null(image);
    close(honest.fd);
}

static void test_checksums_of_the_index(void **state)
{
    const struct place *place = *state;
    struct error err = {0};
    pack(place, STACK_ZSTD);
    const struct forgery honest = forgery_begin(place);
    struct forgery forgery = honest;
    forgery.entries[3].zeros ^= 1;
    forgery_write(&forgery);
    assert_null(image_open(place, STACK_ZSTD, &err));
    assert_non_null(strstr(err.message, "the checksum of its index does not match"));
    forgery = honest;
    forgery.foot.raw_bytes++;
    forgery_write(&forgery);
    assert_null(image_open(place, STACK_ZSTD, &err));
    assert_non_null(strstr(err.message, "the checksum at its end does not match"));
    close(honest.fd);
}

static void expect_bad_chunk(const struct place *place, uint64_t bad, const char *words)
{
    _cleanup_(free) uint8_t *chunk = malloc(PACKED_CHUNK_SIZE);
    _cleanup_(packed_decoder) struct packed_decoder *decoder = packed_decoder_new();
    struct error err = {0};
    _cleanup_(packed_image) struct packed_image *image = image_open(place, STACK_ZSTD, &err);
    assert_non_null(image);
    assert_int_equal(packed_image_decode(image, decoder, bad, chunk, &err), -EUCLEAN);
    assert_int_equal(err.code, ERROR_CORRUPT);
    if (!strstr(err.message, words) || !strstr(err.message, "memory.zst is damaged: chunk "))
        fail_msg("no '%s' in: %s", words, err.message);
    /* The decoder is none the worse for it, nor is another chunk. */
    assert_int_equal(packed_image_decode(image, decoder, CHUNKS - 1, chunk, &err), 0);
    assert_chunk(place, chunk, CHUNKS - 1);
}

/* Chunks that decode to something else than the index says, all checksums of the index right. */
static void test_lies_of_the_chunks(void **state)
{
    const struct place *place = *state;
    pack(place, STACK_ZSTD);
    const struct forgery honest = forgery_begin(place);
    struct forgery forgery = honest;
    forgery.entries[1].checksum ^= 1;
    forgery.entries[3].length += forgery.entries[4].length - 16;
    forgery.entries[4].length = 16;
    forgery.foot.index_checksum = packed_checksum(forgery.entries, sizeof(forgery.entries));
    foot_sum(&forgery.foot);
    forgery_write(&forgery);
    expect_bad_chunk(place, 1, "chunk 1 at ");
    expect_bad_chunk(place, 1, "its checksum does not match");
    expect_bad_chunk(place, 3, "it ends too early");
    expect_bad_chunk(place, 4, "chunk 4 at ");
    close(honest.fd);
}

/* A file of one chunk, with this frame and an index that is right; and what comes of it. */
static void expect_bad_frame(const struct place *place, const uint8_t *frame, size_t length,
                             const char *words)
{
    _cleanup_(free) uint8_t *chunk = calloc(1, PACKED_CHUNK_SIZE);
    struct packed_entry entry = packed_entry_of(chunk, PACKED_CHUNK_SIZE - 1, length);
    struct packed_head head;
    struct packed_foot foot;
    struct error err = {0};
    entry.zeros = 1;
    packed_seal(&entry, PACKED_CHUNK_SIZE, &head, &foot);
    _cleanup_(close) int fd =
        openat(place->dir, "memory.zst", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_int_equal(file_write_exact(fd, frame, length, "frame", &err), 0);
    assert_int_equal(file_write_exact(fd, &head, sizeof(head), "head", &err), 0);
    assert_int_equal(file_write_exact(fd, &entry, sizeof(entry), "entry", &err), 0);
    assert_int_equal(file_write_exact(fd, &foot, sizeof(foot), "foot", &err), 0);
    _cleanup_(packed_decoder) struct packed_decoder *decoder = packed_decoder_new();
    _cleanup_(packed_image) struct packed_image *image = image_open(place, STACK_ZSTD, &err);
    assert_non_null(image);
    assert_int_equal(packed_image_decode(image, decoder, 0, chunk, &err), -EUCLEAN);
    if (!strstr(err.message, words))
        fail_msg("no '%s' in: %s", words, err.message);
}

/* What there is to serve, without a look at the chunks. */
static void test_check(void **state)
{
    const struct place *place = *state;
    const struct stack_file raw = memory_of(place);
    for (size_t i = 0; i < ARRAY_SIZE(algorithms); i++) {
        struct error err = {0};
        struct stack_packed packed;
        enum stack_algorithm algorithm;
        pack(place, algorithms[i]);
        assert_int_equal(stack_find_packed(&raw, &packed, &err), 1);
        assert_int_equal(packed.algorithm, algorithms[i]);
        assert_int_equal(stack_packed_check(&raw, &packed, RAW_SIZE, &err), 1);
        assert_int_equal(stack_packed_check(&raw, &packed, RAW_SIZE + 1, &err), -EUCLEAN);
        assert_non_null(strstr(err.message, "it holds less than"));
        assert_int_equal(stack_packed_check(&raw, &packed, RAW_SIZE - 1, &err), -EUCLEAN);
        assert_non_null(strstr(err.message, "it holds more than"));
        _cleanup_(close) int fd = file_open(place, algorithms[i]);
        uint8_t byte = 0xee;
        uint64_t index = size_of(fd) - PACKED_FRAME_SIZE - CHUNKS * sizeof(struct packed_entry);
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)index + 20), 1);
        assert_int_equal(stack_packed_check(&raw, &packed, RAW_SIZE, &err), -EUCLEAN);
        assert_non_null(strstr(err.message, "is damaged: the checksum of its index"));
        assert_int_equal(ftruncate(fd, (off_t)index), 0);
        assert_int_equal(stack_packed_check(&raw, &packed, RAW_SIZE, &err), 0);
        assert_true(stack_packed_name_is(name_of(algorithms[i]), "memory", &algorithm));
        assert_int_equal(algorithm, algorithms[i]);
        assert_int_equal(unlinkat(place->dir, name_of(algorithms[i]), 0), 0);
        assert_int_equal(stack_packed_check(&raw, &packed, RAW_SIZE, &err), -ENOENT);
    }
    enum stack_algorithm algorithm;
    static const char *const others[] = {"memory", "memory.gz", "memory.zst.1", "memory.1", ""};
    for (size_t i = 0; i < ARRAY_SIZE(others); i++)
        assert_false(stack_packed_name_is(others[i], "memory", &algorithm));
}

/* A compressed file that had too many links left a copy for those that followed: it goes with it.
 */
static void test_expansion_takes_spread_copies(void **state)
{
    const struct place *place = *state;
    const struct stack_file raw = memory_of(place);
    struct stack_packed packed;
    struct error err = {0};
    pack(place, STACK_ZSTD);
    assert_int_equal(file_publish(place->dir, "memory.zst.spread-1", "x", 1, 0600, &err), 0);
    assert_int_equal(stack_expand(&raw, RAW_SIZE, &packed, &err), 1);
    assert_int_equal(file_exists(place->dir, "memory.zst.spread-1", &err), 0);
    assert_int_equal(file_exists(place->dir, "memory.zst", &err), 0);
}

/* A frame of so many zeros that claims a window of 2^window_log bytes. It does not tell the size of
 * its content, which would say that less will do. */
static size_t frame_make(size_t bytes, int window_log, uint8_t frame[FRAME_MAX])
{
    _cleanup_(free) uint8_t *text = calloc(1, bytes);
    ZSTD_CCtx *encoder = ZSTD_createCCtx();
    ZSTD_inBuffer in = {text, bytes, 0};
    ZSTD_outBuffer out = {frame, FRAME_MAX, 0};
    assert_non_null(encoder);
    assert_false(ZSTD_isError(ZSTD_CCtx_setParameter(encoder, ZSTD_c_windowLog, window_log)));
    assert_int_equal(ZSTD_compressStream2(encoder, &out, &in, ZSTD_e_flush), 0);
    assert_int_equal(ZSTD_compressStream2(encoder, &out, &in, ZSTD_e_end), 0);
    ZSTD_freeCCtx(encoder);
    return out.pos;
}

/* A frame that is whole, but of fewer or more bytes than the chunk has. */
static void test_sizes_of_the_chunks(void **state)
{
    static const struct {
        size_t bytes;
        const char *words;
    } cases[] = {{PACKED_CHUNK_SIZE - 1, "it holds less than it should"},
                 {PACKED_CHUNK_SIZE + 1, "it holds more than it should"}};
    const struct place *place = *state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        uint8_t frame[FRAME_MAX];
        size_t length = frame_make(cases[i].bytes, CODEC_CHUNK_WINDOW, frame);
        expect_bad_frame(place, frame, length, cases[i].words);
    }
}

/* One that claims a window of 128 MiB, as it may: its decoder would allocate that. */
static void test_window_of_a_chunk(void **state)
{
    const struct place *place = *state;
    uint8_t frame[FRAME_MAX];
    size_t length = frame_make(PACKED_CHUNK_SIZE, 27, frame);
    expect_bad_frame(place, frame, length, "too much memory");
}

/* Whatever its length, it is refused or has no index any more; chunks that are gone can't be read.
 */
static void test_truncated(void **state)
{
    const struct place *place = *state;
    _cleanup_(free) uint8_t *chunk = malloc(PACKED_CHUNK_SIZE);
    _cleanup_(packed_decoder) struct packed_decoder *decoder = packed_decoder_new();
    struct error err = {0};
    pack(place, STACK_LZ4);
    _cleanup_(close) int fd = file_open(place, STACK_LZ4);
    uint64_t size = size_of(fd);
    _cleanup_(packed_image) struct packed_image *image = image_open(place, STACK_LZ4, &err);
    assert_non_null(image);
    for (uint64_t left = size - 1; left > 0; left -= left / 9 + 1) {
        assert_int_equal(ftruncate(fd, (off_t)left), 0);
        err = (struct error){0};
        assert_null(image_open(place, STACK_LZ4, &err));
        assert_int_equal(err.code, ERROR_UNSUPPORTED);
    }
    assert_true(packed_image_decode(image, decoder, 3, chunk, &err) < 0);
    assert_non_null(strstr(err.message, "memory.lz4"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_any_order, setup, teardown),
        cmocka_unit_test_setup_teardown(test_zeros_are_known, setup, teardown),
        cmocka_unit_test_setup_teardown(test_other_tools, setup, teardown),
        cmocka_unit_test_setup_teardown(test_older_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lies_of_the_index, setup, teardown),
        cmocka_unit_test_setup_teardown(test_checksums_of_the_index, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lies_of_the_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes_of_the_chunks, setup, teardown),
        cmocka_unit_test_setup_teardown(test_window_of_a_chunk, setup, teardown),
        cmocka_unit_test_setup_teardown(test_check, setup, teardown),
        cmocka_unit_test_setup_teardown(test_expansion_takes_spread_copies, setup, teardown),
        cmocka_unit_test_setup_teardown(test_truncated, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
