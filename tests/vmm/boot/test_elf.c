/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "boots.h"
#include "images.h"

static void boots_with_pvh_note(void **state)
{
    (void)state;
    struct elf_image image;
    struct guest_memory memory;
    struct boot_entry entry;
    struct error err = {0};
    elf_image_init(&image);
    test_memory_make(&memory, 32);
    assert_int_equal(test_boot(&memory, &image, sizeof(image), &entry, &err), 0);
    assert_int_equal(entry.protocol, BOOT_PVH);
    assert_int_equal(entry.rip, ELF_PVH_ENTRY);
    const uint8_t *data = guest_pointer(&memory, ELF_DATA_GPA, ELF_DATA_MEMSZ);
    assert_memory_equal(guest_pointer(&memory, ELF_TEXT_GPA, sizeof(image.text)), image.text,
                        sizeof(image.text));
    assert_memory_equal(data, image.data, sizeof(image.data));
    for (size_t i = sizeof(image.data); i < ELF_DATA_MEMSZ; i++)
        assert_int_equal(data[i], 0);
    guest_memory_release(&memory);
}

static void boots_without_pvh_note(void **state)
{
    (void)state;
    struct elf_image image;
    struct guest_memory memory;
    struct boot_entry entry;
    struct error err = {0};
    elf_image_init(&image);
    image.notes[1].header.n_type = 17;
    test_memory_make(&memory, 32);
    assert_int_equal(test_boot(&memory, &image, sizeof(image), &entry, &err), 0);
    assert_int_equal(entry.protocol, BOOT_LINUX64);
    assert_int_equal(entry.rip, ELF_ENTRY_64);
    guest_memory_release(&memory);
}

/* The descriptor may have 32 bits, notes may be aligned to 8, and the last padding may be gone. */
static void takes_other_note_shapes(void **state)
{
    (void)state;
    struct elf_image image;
    struct guest_memory memory;
    struct boot_entry entry;
    struct error err = {0};
    test_memory_make(&memory, 32);
    elf_image_init(&image);
    image.notes[1].header.n_descsz = 4;
    image.segments[ELF_NOTE].p_filesz -= 4;
    assert_int_equal(test_boot(&memory, &image, sizeof(image), &entry, &err), 0);
    assert_int_equal(entry.rip, ELF_PVH_ENTRY);
    guest_memory_release(&memory);

    test_memory_make(&memory, 32);
    elf_image_init(&image);
    /* A five-byte name: the descriptor is at 24 with alignment 8, at 20 with 4. */
    const uint8_t aligned[] = {5,   0,   0,   0,   4, 0,   0,   0,   9, 0,    0, 0, 'O',
                               't', 'h', 'e', 'r', 0, 0,   0,   0,   0, 0,    0, 1, 2,
                               3,   4,   0,   0,   0, 0,   4,   0,   0, 0,    4, 0, 0,
                               0,   18,  0,   0,   0, 'X', 'e', 'n', 0, 0x20, 1, 0, 1};
    memcpy(&image.notes, aligned, sizeof(aligned));
    image.segments[ELF_NOTE].p_filesz = sizeof(aligned);
    image.segments[ELF_NOTE].p_align = 8;
    assert_int_equal(test_boot(&memory, &image, sizeof(image), &entry, &err), 0);
    assert_int_equal(entry.protocol, BOOT_PVH);
    assert_int_equal(entry.rip, ELF_PVH_ENTRY);
    guest_memory_release(&memory);
}

static void refuses_what_is_no_kernel(void **state)
{
    static const struct test_refusal refusals[] = {
        {"not for x86-64", {FLAW(elf_image, header.e_machine, EM_AARCH64)}},
        {"not for x86-64", {FLAW(elf_image, header.e_ident[EI_CLASS], ELFCLASS32)}},
        {"not for x86-64", {FLAW(elf_image, header.e_ident[EI_DATA], ELFDATA2MSB)}},
        {"not executable", {FLAW(elf_image, header.e_type, ET_REL)}},
        {"nothing to load",
         {FLAW(elf_image, segments[ELF_TEXT].p_type, PT_NULL),
          FLAW(elf_image, segments[ELF_DATA].p_type, PT_NULL)}},
    };
    struct elf_image image;
    (void)state;
    const char text[] = "#!/bin/sh\necho no kernel\n";
    assert_refused(text, sizeof(text), 32, "not a kernel: neither an ELF file nor a bzImage");
    assert_refused("\x7f", 1, 32, "neither an ELF file nor a bzImage");
    elf_image_init(&image);
    assert_refusals(&image, sizeof(image), refusals, ARRAY_SIZE(refusals));
}

static void refuses_every_truncation(void **state)
{
    (void)state;
    struct elf_image image;
    elf_image_init(&image);
    assert_refused(&image, 4, 32, "truncated: it ends inside the ELF header");
    assert_refused(&image, sizeof(image.header) - 1, 32, "ends inside the ELF header");
    assert_refused(&image, sizeof(image.header), 32, "ends before its ELF program headers do");
    assert_refused(&image, offsetof(struct elf_image, notes) - 1, 32, "program headers do");
    assert_refused(&image, offsetof(struct elf_image, notes), 32, "ends before its ELF notes do");
    assert_refused(&image, offsetof(struct elf_image, padding) - 1, 32, "its ELF notes do");
    assert_refused(&image, offsetof(struct elf_image, text), 32, "truncated: segment 0");
    assert_refused(&image, offsetof(struct elf_image, data) - 1, 32, "truncated: segment 0");
    assert_refused(&image, sizeof(image) - 1, 32, "truncated: segment 1");
}

static void refuses_bad_program_headers(void **state)
{
    static const struct test_refusal refusals[] = {
        {"program headers are 32 bytes", {FLAW(elf_image, header.e_phentsize, 32)}},
        {"it has 0 ELF program headers", {FLAW(elf_image, header.e_phnum, 0)}},
        {"it has 65535 ELF program headers", {FLAW(elf_image, header.e_phnum, 0xffff)}},
        {"ends before its ELF program headers do",
         {FLAW(elf_image, header.e_phoff, UINT64_MAX - 8)}},
    };
    struct elf_image image;
    (void)state;
    elf_image_init(&image);
    assert_refusals(&image, sizeof(image), refusals, ARRAY_SIZE(refusals));
}

static void refuses_bad_segments(void **state)
{
    static const struct test_refusal refusals[] = {
        {"segment 1 has more bytes in the file",
         {FLAW(elf_image, segments[ELF_DATA].p_filesz, ELF_DATA_MEMSZ + 1)}},
        {"truncated: segment 1", {FLAW(elf_image, segments[ELF_DATA].p_offset, UINT64_MAX - 100)}},
        {"truncated: segment 1",
         {FLAW(elf_image, segments[ELF_DATA].p_filesz, 1ull << 20),
          FLAW(elf_image, segments[ELF_DATA].p_memsz, 1ull << 20)}},
        {"does not fit the guest's 32 MiB",
         {FLAW(elf_image, segments[ELF_DATA].p_memsz, UINT64_MAX - ELF_DATA_GPA + 1)}},
        {"does not fit the guest's 32 MiB",
         {FLAW(elf_image, segments[ELF_DATA].p_memsz, UINT64_MAX)}},
        {"does not fit the guest's 32 MiB",
         {FLAW(elf_image, segments[ELF_DATA].p_paddr, UINT64_MAX - 1)}},
        {"below 1 MiB", {FLAW(elf_image, segments[ELF_DATA].p_paddr, 0x7000)}},
        {"segments 0 and 1 overlap",
         {FLAW(elf_image, segments[ELF_DATA].p_paddr, ELF_TEXT_GPA + 0xfff)}},
        {"does not fit the guest's 17 MiB", {{0}}, .mib = 17},
    };
    struct elf_image image;
    (void)state;
    elf_image_init(&image);
    assert_refusals(&image, sizeof(image), refusals, ARRAY_SIZE(refusals));
}

/* Across the hole below 4 GiB: not in one region, so not loadable. */
static void refuses_segment_over_the_gap(void **state)
{
    static const struct test_refusal refusals[] = {
        {"does not fit the guest's 4096 MiB",
         {FLAW(elf_image, segments[ELF_DATA].p_paddr, GUEST_MMIO_GAP_START - 0x1000)},
         .mib = 4096},
        {"does not fit the guest's 4096 MiB",
         {FLAW(elf_image, segments[ELF_DATA].p_paddr, GUEST_MMIO_GAP_START)},
         .mib = 4096},
    };
    struct elf_image image;
    (void)state;
    elf_image_init(&image);
    assert_refusals(&image, sizeof(image), refusals, ARRAY_SIZE(refusals));
}

static void refuses_bad_entries(void **state)
{
    static const struct test_refusal refusals[] = {
        {"lies in none of its segments", {FLAW(elf_image, notes[1].descriptor, ELF_TEXT_GPA - 1)}},
        {"above 4 GiB", {FLAW(elf_image, notes[1].descriptor, 0xffffffff81000000ull)}},
        {"lies in none of its segments",
         {FLAW(elf_image, segments[ELF_NOTE].p_type, PT_NULL),
          FLAW(elf_image, header.e_entry, 0xffffffff81000000ull)}},
        {"above 1 GiB",
         {FLAW(elf_image, segments[ELF_NOTE].p_type, PT_NULL),
          FLAW(elf_image, segments[ELF_TEXT].p_paddr, 1ull << 30),
          FLAW(elf_image, header.e_entry, 1ull << 30)},
         .mib = 2048},
    };
    struct elf_image image;
    (void)state;
    elf_image_init(&image);
    assert_refusals(&image, sizeof(image), refusals, ARRAY_SIZE(refusals));
}

static void refuses_bad_notes(void **state)
{
    static const struct test_refusal refusals[] = {
        {"an ELF note is longer than its segment",
         {FLAW(elf_image, notes[0].header.n_namesz, UINT32_MAX)}},
        {"an ELF note is longer than its segment",
         {FLAW(elf_image, notes[0].header.n_descsz, UINT32_MAX)}},
        {"an ELF note is longer than its segment", {FLAW(elf_image, notes[1].header.n_descsz, 9)}},
        {"its PVH note has 2 bytes", {FLAW(elf_image, notes[1].header.n_descsz, 2)}},
        {"more than 65536", {FLAW(elf_image, segments[ELF_NOTE].p_filesz, 1u << 20)}},
        {"ends before its ELF notes do",
         {FLAW(elf_image, segments[ELF_NOTE].p_offset, UINT64_MAX)}},
    };
    struct elf_image image;
    (void)state;
    elf_image_init(&image);
    assert_refusals(&image, sizeof(image), refusals, ARRAY_SIZE(refusals));
}

/* A note cut off in its header is the end of the notes, not an error. */
static void ignores_rest_of_notes(void **state)
{
    (void)state;
    struct elf_image image;
    struct guest_memory memory;
    struct boot_entry entry;
    struct error err = {0};
    elf_image_init(&image);
    image.segments[ELF_NOTE].p_filesz = sizeof(struct elf_note) + sizeof(Elf64_Nhdr) - 1;
    test_memory_make(&memory, 32);
    assert_int_equal(test_boot(&memory, &image, sizeof(image), &entry, &err), 0);
    assert_int_equal(entry.protocol, BOOT_LINUX64);
    guest_memory_release(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(boots_with_pvh_note),      cmocka_unit_test(boots_without_pvh_note),
        cmocka_unit_test(takes_other_note_shapes),  cmocka_unit_test(refuses_what_is_no_kernel),
        cmocka_unit_test(refuses_every_truncation), cmocka_unit_test(refuses_bad_program_headers),
        cmocka_unit_test(refuses_bad_segments),     cmocka_unit_test(refuses_segment_over_the_gap),
        cmocka_unit_test(refuses_bad_entries),      cmocka_unit_test(refuses_bad_notes),
        cmocka_unit_test(ignores_rest_of_notes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
